"""Convergence and entropy, from what the workload reports (docs/missions.md, "Rules")."""

from collections import deque
from dataclasses import dataclass

from quorate.api.mission_rules import Direction, RuleName
from quorate.missions.decisions import Severity
from quorate.missions.periods import PERIODS
from quorate.missions.samples import Event, Metric, Missing, Pod, Report
from quorate.missions.series import SECOND, Series
from quorate.missions.verdict import WHOLE, State, Validator, Verdict, floor, unknown

PERIOD = PERIODS[RuleName.ENTROPY]
SLOTS = 64


@dataclass(frozen=True, slots=True)
class ConvergenceSpec:
    """Least improvement in basis points per window (microseconds), target in millionths, most iterations."""

    metric: str
    direction: Direction
    improvement: int
    window: int
    target: int | None
    iterations: int | None

    rule = RuleName.CONVERGENCE
    reads = (Metric.OBJECTIVE, Metric.ITERATION)

    @property
    def strictness(self) -> tuple[int, ...]:
        """The fewest iterations; then the most improvement and the shortest window."""
        return (2**53 if self.iterations is None else self.iterations, -self.improvement, self.window)

    @property
    def bound(self) -> str:
        """The bound in words."""
        most = "" if self.iterations is None else f", target within {self.iterations} iterations"
        return f"{self.metric} improves {self.improvement} basis points in {self.window // SECOND} s{most}"

    def watch(self, pod: Pod, margin: int) -> Validator:
        """Judges what the pod reports."""
        del pod
        return ConvergenceValidator(self, margin)


class ConvergenceValidator:
    """The best value now against the best at the window's beginning; once the target is reached all is good.

    Iterations alone break nothing: whether the target is reached is unknown until the objective is reported.
    """

    __slots__ = ("_best", "_iteration", "_last", "_margin", "_sign", "_since", "_spec", "_width")

    def __init__(self, spec: ConvergenceSpec, margin: int) -> None:
        self._spec = spec
        self._margin = margin
        self._since = 0
        self._sign = 1 if spec.direction is Direction.MINIMIZE else -1
        self._width = max(1, spec.window // SLOTS)
        self._best: deque[tuple[int, int]] = deque()  # begin of a slot, best until its end (smaller is better)
        self._iteration: int | None = None
        self._last: int | None = None

    def take(self, event: Event) -> None:
        """Take an iteration or a value of the objective."""
        if not isinstance(event, Report) or isinstance(event.value, Missing):
            return
        if event.metric is Metric.ITERATION:
            self._iteration, self._since = event.value, event.at
            return
        if event.name != self._spec.metric:
            return
        self._since = event.at
        begin, value = event.at - event.at % self._width, self._sign * event.value
        self._last = event.at
        best = min(value, self._best[-1][1]) if self._best else value
        if self._best and self._best[-1][0] >= begin:
            self._best[-1] = (self._best[-1][0], best)
        else:
            self._best.append((begin, best))
        # What ended before the window began says how good it was at its beginning: one such slot is kept.
        while len(self._best) > 1 and self._best[1][0] + self._width <= event.at - self._spec.window:
            self._best.popleft()

    def _reached(self) -> bool:
        target = self._spec.target
        return target is not None and bool(self._best) and self._best[-1][1] <= self._sign * target

    def judge(self, now: int) -> Verdict:
        """Target, then iterations, then improvement."""
        spec = self._spec
        if self._reached():
            return Verdict(State.GOOD, Severity.LOW, "target reached", (), self._last or now)
        statistic = f"improvement of {spec.metric} in {spec.window // SECOND} s"
        if self._last is None or now - self._last > spec.window:
            return unknown(f"{statistic}: nothing was reported")
        done, until = self._iteration, self._last + spec.window
        if spec.iterations is not None and done is not None and done > spec.iterations:
            facts = (("iterations", done), ("maximum", spec.iterations))
            statistic = "iterations without reaching the target"
            return Verdict(State.BROKEN, Severity.HIGH, statistic, facts, self._since, until)
        before = [best for begin, best in self._best if begin + self._width <= self._last - spec.window]
        if not before:
            return unknown(f"{statistic}: the window is not full")
        old, new = before[-1], self._best[-1][1]
        share = WHOLE * (old - new) // abs(old) if old else WHOLE * (new < old)
        evidence = (("basisPoints", share), ("minimum", spec.improvement), ("best", self._sign * new))
        state = floor(share, spec.improvement, self._margin)
        return Verdict(state, Severity.MEDIUM, statistic, evidence, self._last, until)

    def due(self) -> int | None:
        """Only reports change it."""
        return None


@dataclass(frozen=True, slots=True)
class EntropySpec:
    """Lowest entropy in thousandths of a bit per symbol, window in microseconds."""

    minimum: int
    window: int

    rule = RuleName.ENTROPY
    reads = (Metric.ENTROPY,)

    @property
    def strictness(self) -> tuple[int, ...]:
        """The highest floor; then the shortest window."""
        return (-self.minimum, self.window)

    @property
    def bound(self) -> str:
        """The bound in words."""
        return f"at least {self.minimum} millibits in {self.window // SECOND} s"

    def watch(self, pod: Pod, margin: int) -> Validator:
        """Judges what the pod reports."""
        del pod
        return EntropyValidator(self, margin)


class EntropyValidator:
    """Mean of the reports in the window."""

    __slots__ = ("_margin", "_series", "_since", "_spec")

    def __init__(self, spec: EntropySpec, margin: int) -> None:
        self._spec = spec
        self._margin = margin
        self._series = Series(spec.window, PERIOD, spec.window)
        self._since = 0

    def take(self, event: Event) -> None:
        """Take a report; a negative entropy is none."""
        if isinstance(event, Report) and not isinstance(event.value, Missing) and event.value >= 0:
            self._series.add(event.at, event.value)
            self._since = event.at

    def judge(self, now: int) -> Verdict:
        """The mean against the floor."""
        spec = self._spec
        mean = self._series.mean(now)
        statistic = f"Mean of {spec.window // SECOND} s"
        if mean is None:
            return unknown(f"{statistic}: the window has gaps")
        evidence = (("millibits", mean), ("minimum", spec.minimum))
        state = floor(mean, spec.minimum, self._margin)
        return Verdict(state, Severity.CRITICAL, statistic, evidence, self._since, self._series.until)

    def due(self) -> int | None:
        """Only reports change it."""
        return None
