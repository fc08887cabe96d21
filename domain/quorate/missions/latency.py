"""Latency of requests, from histograms that the workload reports (docs/missions.md, "Rules")."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quorate.api.mission_rules import RuleName
from quorate.missions.decisions import Severity
from quorate.missions.samples import Event, Latencies, Pod
from quorate.missions.series import SECOND
from quorate.missions.verdict import WHOLE, State, Validator, Verdict, unknown

SLOTS = 60
SUB_BITS = 4
"""A power of two is divided into 16 buckets: an edge is within 6.25 % of every value in its bucket."""
MOST_MICROSECONDS = 2**32 - 1
MOST_REPORTS = 64
"""Of one slot; more are merged, so that a flood costs no memory."""
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


class _Slot:
    """The reports of a part of the window: how many requests, over the target for certain, not good for certain."""

    __slots__ = ("begin", "near", "over", "reports", "requests")

    def __init__(self, begin: int) -> None:
        self.begin = begin
        self.reports: list[Mapping[int, int]] = []
        self.requests = self.over = self.near = 0


class LatencyValidator:
    """Sums of buckets over the window: broken only when the whole bucket of the quantile is over the target.

    While all is good, three sums say so; buckets are only sorted when it is not.
    """

    __slots__ = ("_first", "_last", "_near", "_near_from", "_needed", "_over", "_over_from", "_requests", "_slots",
                 "_spec", "_statistic", "_width")  # fmt: skip

    def __init__(self, spec: LatencySpec, margin: int) -> None:
        self._spec = spec
        self._width = max(1, spec.window // SLOTS)
        self._slots: deque[_Slot] = deque()
        self._requests = self._over = self._near = 0
        self._first = self._last = 0
        self._needed = requests_needed(spec.quantile)
        self._statistic = f"quantile {spec.quantile} of the requests in {spec.window // SECOND} s"
        # The first bucket that is over the target as a whole, and the first that reaches beyond the good side.
        self._over_from = bucket_of(spec.target) + 1
        good = spec.target * (WHOLE - margin) // WHOLE
        bucket = bucket_of(good)
        self._near_from = bucket + 1 if edges(bucket)[1] <= good else bucket

    def take(self, event: Event) -> None:
        """Take a report; counts that are none and buckets that do not exist are left out."""
        if not isinstance(event, Latencies) or event.source != self._spec.source or not event.counts:
            return
        counts = event.counts
        if min(counts) < 0 or max(counts) > MOST_BUCKET or min(counts.values()) < 1:
            counts = {bucket: n for bucket, n in counts.items() if 0 <= bucket <= MOST_BUCKET and n > 0}
        begin = event.at // self._width
        self._drop(event.at)
        if not self._slots:
            self._first = event.at
        if not self._slots or self._slots[-1].begin < begin:
            self._slots.append(_Slot(begin))
        slot, near_from, over_from, near, over = self._slots[-1], self._near_from, self._over_from, 0, 0
        for bucket, count in counts.items():
            if bucket >= near_from:
                near += count
                if bucket >= over_from:
                    over += count
        requests = sum(counts.values())
        slot.reports.append(counts)
        slot.requests += requests
        slot.over += over
        slot.near += near
        self._requests += requests
        self._over += over
        self._near += near
        self._last = max(self._last, event.at)
        if len(slot.reports) > MOST_REPORTS:
            slot.reports = [_merged(slot.reports)]

    def _drop(self, now: int) -> None:
        oldest = (now - self._spec.window) // self._width
        while self._slots and self._slots[0].begin <= oldest:
            slot = self._slots.popleft()
            self._requests -= slot.requests
            self._over -= slot.over
            self._near -= slot.near

    def judge(self, now: int) -> Verdict:
        """The quantile's bucket against the target."""
        self._drop(now)
        spec, requests = self._spec, self._requests
        if requests < self._needed:
            return unknown(f"{self._statistic}: there are {requests}, it takes {self._needed}")
        if now - self._first < spec.window:
            return unknown(f"{self._statistic}: the window is not full")
        rank = -(-requests * spec.quantile // WHOLE)
        if requests - self._near >= rank:
            evidence = (("target", spec.target), ("requests", requests))
            return Verdict(State.GOOD, Severity.LOW, self._statistic, evidence, self._last, self._last + spec.window)
        state = State.BROKEN if requests - self._over < rank else State.BETWEEN
        low, high = self._quantile(rank)
        facts = (("microseconds", low), ("upTo", high), ("target", spec.target), ("requests", requests))
        return Verdict(state, Severity.HIGH, self._statistic, facts, self._last, self._last + spec.window)

    def _quantile(self, rank: int) -> tuple[int, int]:
        """The edges of the bucket that holds the request of this rank."""
        counts = _merged([report for slot in self._slots for report in slot.reports])
        bucket = 0
        for bucket in sorted(counts):
            rank -= counts[bucket]
            if rank <= 0:
                break
        return edges(bucket)

    def due(self) -> int | None:
        """Only reports change it."""
        return None


def _merged(reports: Sequence[Mapping[int, int]]) -> dict[int, int]:
    total: dict[int, int] = {}
    for report in reports:
        for bucket, count in report.items():
            total[bucket] = total.get(bucket, 0) + count
    return total
