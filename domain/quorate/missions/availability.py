"""Uptime and runtime (docs/missions.md, "Rules")."""

from dataclasses import dataclass

from quorate.api.mission_rules import RuleName
from quorate.missions import periods
from quorate.missions.decisions import Severity
from quorate.missions.periods import PERIODS
from quorate.missions.samples import Event, Metric, Pod, Report
from quorate.missions.series import SECOND, Series
from quorate.missions.verdict import WHOLE, State, Validator, Verdict, floor, unknown

PERIOD = PERIODS[RuleName.UPTIME]
STALE = periods.STALE[RuleName.UPTIME]


@dataclass(frozen=True, slots=True)
class UptimeSpec:
    """Lowest share of time up in basis points, window in microseconds."""

    minimum: int
    window: int

    rule = RuleName.UPTIME
    reads = (Metric.UP,)

    @property
    def strictness(self) -> tuple[int, ...]:
        """The highest share; then the shortest window."""
        return (-self.minimum, self.window)

    @property
    def bound(self) -> str:
        """The bound in words."""
        return f"at least {self.minimum} basis points of {self.window // SECOND} s"

    def watch(self, pod: Pod, margin: int) -> Validator:
        """Judges the pod's readiness."""
        del pod
        return UptimeValidator(self, margin)


class UptimeValidator:
    """Mean of up and down over the window."""

    __slots__ = ("_margin", "_series", "_since", "_spec")

    def __init__(self, spec: UptimeSpec, margin: int) -> None:
        self._spec = spec
        self._margin = margin
        self._series = Series(spec.window, PERIOD, STALE)
        self._since = 0

    def take(self, event: Event) -> None:
        """Take up or down."""
        if isinstance(event, Report):
            self._series.add(event.at, event.value)
            self._since = event.at

    def judge(self, now: int) -> Verdict:
        """The share against the floor."""
        spec = self._spec
        share = self._series.mean(now)
        statistic = f"Mean of {spec.window // SECOND} s"
        if share is None:
            return unknown(f"{statistic}: the window has gaps")
        evidence = (("basisPoints", share), ("minimum", spec.minimum))
        state = floor(share, spec.minimum, self._margin, WHOLE)
        return Verdict(state, Severity.HIGH, statistic, evidence, self._since, self._series.until)

    def due(self) -> int | None:
        """Only samples change it."""
        return None


@dataclass(frozen=True, slots=True)
class RuntimeSpec:
    """Longest run in microseconds."""

    limit: int

    rule = RuleName.RUNTIME
    reads = ()

    @property
    def strictness(self) -> tuple[int, ...]:
        """The shortest run."""
        return (self.limit,)

    @property
    def bound(self) -> str:
        """The bound in words."""
        return f"at most {self.limit // SECOND} s"

    def watch(self, pod: Pod, margin: int) -> Validator:
        """Judges the pod's age."""
        del margin
        return RuntimeValidator(self.limit, pod.started)


class RuntimeValidator:
    """Time since the start."""

    __slots__ = ("_limit", "_started")

    def __init__(self, limit: int, started: int | None) -> None:
        self._limit = limit
        self._started = started

    def take(self, event: Event) -> None:
        """Nothing is sampled."""

    def judge(self, now: int) -> Verdict:
        """The age against the limit; a run that has not ended cannot become younger."""
        if self._started is None:
            return unknown("when the pod started is not known")
        elapsed = now - self._started
        evidence = (("seconds", elapsed // SECOND), ("limit", self._limit // SECOND))
        state = State.BROKEN if elapsed > self._limit else State.GOOD
        return Verdict(state, Severity.HIGH, "elapsed", evidence, self._started + self._limit + 1)

    def due(self) -> int | None:
        """The end of the time that it may run."""
        return None if self._started is None else self._started + self._limit + 1
