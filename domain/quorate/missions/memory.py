"""Device memory and host memory (docs/missions.md, "Rules")."""

from dataclasses import dataclass

from quorate.api.mission_rules import MemoryScope, RuleName
from quorate.missions import periods
from quorate.missions.decisions import Severity
from quorate.missions.samples import Event, Held, Metric, Pod, Report
from quorate.missions.series import Latest
from quorate.missions.verdict import WHOLE, State, Validator, Verdict, ceiling, unknown

STALE = periods.STALE[RuleName.MEMORY]
HOST_STALE = periods.STALE[RuleName.HOST_MEMORY]


@dataclass(frozen=True, slots=True)
class MemorySpec:
    """Limit in bytes, with the shares of it at which the workload is warned and asked to clean up."""

    limit: int
    warn: int | None
    cleanup: int | None
    scope: MemoryScope

    rule = RuleName.MEMORY
    reads = (Held,)

    @property
    def strictness(self) -> tuple[int, ...]:
        """The lowest limit; then the lowest thresholds."""
        return (self.limit, WHOLE if self.warn is None else self.warn, WHOLE if self.cleanup is None else self.cleanup)

    @property
    def bound(self) -> str:
        """The bound in words."""
        return f"limit {self.limit} bytes, scope {self.scope}"

    @property
    def tiers(self) -> tuple[tuple[int, Severity], ...]:
        """Thresholds in bytes from the highest to the lowest; each is passed by more than it."""
        shares = ((self.cleanup, Severity.MEDIUM), (self.warn, Severity.LOW))
        lower = tuple((self.limit * share // WHOLE - 1, severity) for share, severity in shares if share is not None)
        return ((self.limit, Severity.HIGH), *lower)

    def watch(self, pod: Pod, margin: int) -> Validator:
        """Judges the pod's sum."""
        return MemoryValidator(self, pod, margin)


class MemoryValidator:
    """The last sum over the pod's devices; a lower bound is enough to know that a limit is exceeded.

    What it uses on a device that it was not given counts too, while a process list shows it.
    """

    __slots__ = ("_gpus", "_held", "_limit", "_margin", "_others", "_scope", "_statistic", "_tiers")

    def __init__(self, spec: MemorySpec, pod: Pod, margin: int) -> None:
        self._tiers = spec.tiers
        self._limit = spec.limit
        self._margin = margin
        self._scope = spec.scope
        self._gpus = pod.gpus
        self._held: dict[str, Held] = {}
        self._others: tuple[str, ...] = ()
        self._statistic = f"last sum of the {'largest container' if spec.scope is MemoryScope.CONTAINER else 'pod'}"

    def take(self, event: Event) -> None:
        """Take a device's shares."""
        if isinstance(event, Held):
            if event.gpu not in self._held and event.gpu not in self._gpus:
                self._others += (event.gpu,)
            self._held[event.gpu] = event

    def _sum(self, now: int) -> tuple[int, bool, int, int]:
        """Bytes, whether they are all, and when the newest and the oldest share were sampled."""
        sums: dict[str, int] = {}
        complete, since, oldest = True, 0, now
        single = self._scope is MemoryScope.CONTAINER
        for gpu in self._gpus + self._others if self._others else self._gpus:
            held = self._held.get(gpu)
            if held is None or now - held.at > STALE:
                complete = complete and gpu in self._others
                continue
            complete = complete and held.complete
            since, oldest = max(since, held.at), min(oldest, held.at)
            if held.whole and single and any(used > self._limit for used in held.containers.values()):
                complete = False  # an upper bound: it may be the sum of several containers
                continue
            for container, used in held.containers.items():
                key = container if single else ""
                sums[key] = sums.get(key, 0) + used
        return max(sums.values(), default=0), complete, since, oldest

    def judge(self, now: int) -> Verdict:
        """The tier that the sum has passed."""
        used, complete, since, oldest = self._sum(now)
        until = oldest + STALE
        evidence = (("used", used), ("limit", self._limit))
        for threshold, severity in self._tiers:
            if used > threshold:
                return Verdict(State.BROKEN, severity, self._statistic, evidence, since, until)
        if not complete or not self._gpus:
            return unknown("no complete and fresh memory reading of every device")
        lowest = self._tiers[-1][0]
        return Verdict(ceiling(used, lowest, self._margin), Severity.LOW, self._statistic, evidence, since, until)

    def due(self) -> int | None:
        """Only samples change it."""
        return None


@dataclass(frozen=True, slots=True)
class HostMemorySpec:
    """Limit in bytes."""

    limit: int

    rule = RuleName.HOST_MEMORY
    reads = (Metric.HOST_MEMORY,)

    @property
    def strictness(self) -> tuple[int, ...]:
        """The lowest limit."""
        return (self.limit,)

    @property
    def bound(self) -> str:
        """The bound in words."""
        return f"limit {self.limit} bytes"

    def watch(self, pod: Pod, margin: int) -> Validator:
        """Judges the pod's cgroup."""
        return HostMemoryValidator(self.limit, margin)


class HostMemoryValidator:
    """The last reading of the pod's memory cgroup."""

    __slots__ = ("_last", "_limit", "_margin")

    def __init__(self, limit: int, margin: int) -> None:
        self._limit = limit
        self._margin = margin
        self._last = Latest(HOST_STALE)

    def take(self, event: Event) -> None:
        """Take a reading."""
        if isinstance(event, Report):
            self._last.add(event.at, event.value)

    def judge(self, now: int) -> Verdict:
        """Against the limit."""
        used = self._last.number(now)
        if used is None:
            return unknown("no fresh reading of the pod's memory")
        evidence = (("used", used), ("limit", self._limit))
        state, last = ceiling(used, self._limit, self._margin), self._last
        return Verdict(state, Severity.MEDIUM, "last", evidence, last.at, last.at + HOST_STALE)

    def due(self) -> int | None:
        """Only samples change it."""
        return None
