"""Latency of requests, from histograms that the workload reports (docs/missions.md, "Rules")."""

from collections import deque
from dataclasses import dataclass

from quorate.api.mission_rules import RuleName
from quorate.missions.decisions import Severity
from quorate.missions.samples import Event, Latencies, Pod
from quorate.missions.series import SECOND
from quorate.missions.verdict import WHOLE, State, Validator, Verdict, ceiling, unknown

PERIOD = SECOND
SLOTS = 60
SUB_BITS = 4
"""A power of two is divided into 16 buckets: an edge is within 6.25 % of every value in its bucket."""
MOST_MICROSECONDS = 2**32 - 1
MOST_REQUESTS = 100_000
"""A quantile that needs more requests than this is refused."""


def bucket_of(microseconds: int) -> int:
    """The bucket of a latency; exact up to 31 µs."""
    value = min(max(microseconds, 0), MOST_MICROSECONDS)
    shift = max(0, value.bit_length() - SUB_BITS - 1)
    return (shift << SUB_BITS) + (value >> shift)


def edges(bucket: int) -> tuple[int, int]:
    """The lowest and highest latency in a bucket, in microseconds."""
    shift = max(0, (bucket >> SUB_BITS) - 1)
    low = (bucket - (shift << SUB_BITS)) << shift
    return low, low + (1 << shift) - 1


MOST_BUCKET = bucket_of(MOST_MICROSECONDS)


def requests_needed(quantile: int) -> int:
    """How many requests a quantile (basis points) takes, so that at least one is beyond it."""
    return -(-WHOLE // (WHOLE - quantile))


@dataclass(frozen=True, slots=True)
class LatencySpec:
    """Target in microseconds, quantile in basis points, window in microseconds, source (empty: the usual one)."""

    target: int
    quantile: int
    window: int
    source: str = ""

    rule = RuleName.LATENCY
    reads = (Latencies,)

    @property
    def strictness(self) -> tuple[int, ...]:
        """The lowest target; then the highest quantile and the shortest window."""
        return (self.target, -self.quantile, self.window)

    @property
    def bound(self) -> str:
        """The bound in words."""
        return f"quantile {self.quantile} at most {self.target} µs in {self.window // SECOND} s"

    def watch(self, pod: Pod, margin: int) -> Validator:
        """Judges what the pod reports."""
        del pod
        return LatencyValidator(self, margin)


class LatencyValidator:
    """Sums of buckets over the window: broken only when the whole bucket of the quantile is over the target."""

    __slots__ = ("_counts", "_last", "_margin", "_requests", "_slots", "_spec", "_width")

    def __init__(self, spec: LatencySpec, margin: int) -> None:
        self._spec = spec
        self._margin = margin
        self._width = max(1, spec.window // SLOTS)
        self._slots: deque[tuple[int, dict[int, int]]] = deque()
        self._counts: dict[int, int] = {}
        self._requests = 0
        self._last = 0

    def take(self, event: Event) -> None:
        """Take a report; counts that are none and buckets that do not exist are left out."""
        if not isinstance(event, Latencies) or event.source != self._spec.source:
            return
        slot = event.at // self._width
        if not self._slots or self._slots[-1][0] < slot:
            self._slots.append((slot, {}))
        counts = self._slots[-1][1]
        for bucket, count in event.counts.items():
            if 0 <= bucket <= MOST_BUCKET and count > 0:
                counts[bucket] = counts.get(bucket, 0) + count
                self._counts[bucket] = self._counts.get(bucket, 0) + count
                self._requests += count
        self._last = max(self._last, event.at)

    def _drop(self, now: int) -> None:
        oldest = (now - self._spec.window) // self._width
        while self._slots and self._slots[0][0] <= oldest:
            for bucket, count in self._slots.popleft()[1].items():
                self._requests -= count
                self._counts[bucket] -= count
                if not self._counts[bucket]:
                    del self._counts[bucket]

    def judge(self, now: int) -> Verdict:
        """The quantile's bucket against the target."""
        self._drop(now)
        spec = self._spec
        statistic = f"quantile {spec.quantile} of {self._requests} requests in {spec.window // SECOND} s"
        if self._requests < requests_needed(spec.quantile):
            return unknown(f"{statistic}: it takes {requests_needed(spec.quantile)}")
        rank, bucket = -(-self._requests * spec.quantile // WHOLE), 0
        for bucket in sorted(self._counts):
            rank -= self._counts[bucket]
            if rank <= 0:
                break
        low, high = edges(bucket)
        evidence = (("microseconds", low), ("upTo", high), ("target", spec.target), ("requests", self._requests))
        state = State.BROKEN if low > spec.target else ceiling(high, spec.target, self._margin)
        # The target lies inside the bucket: neither is certain.
        state = State.BETWEEN if state is State.BROKEN and low <= spec.target else state
        return Verdict(state, Severity.HIGH, statistic, evidence, self._last)

    def due(self) -> int | None:
        """Only reports change it."""
        return None
