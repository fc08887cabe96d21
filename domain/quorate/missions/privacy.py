"""Differential privacy: what was spent against the budget (docs/missions.md, "Rules")."""

from collections import deque
from dataclasses import dataclass

from quorate.api.mission_rules import RuleName
from quorate.missions.decisions import Severity
from quorate.missions.samples import Event, Metric, Missing, Pod, Report
from quorate.missions.series import SECOND
from quorate.missions.verdict import State, Validator, Verdict, unknown

SLOTS = 64


@dataclass(frozen=True, slots=True)
class PrivacySpec:
    """Most epsilon in millionths, most delta in 10⁻¹², window in microseconds (None: since the start)."""

    epsilon: int
    delta: int | None
    window: int | None

    rule = RuleName.PRIVACY_BUDGET
    reads = (Metric.EPSILON, Metric.DELTA)

    @property
    def strictness(self) -> tuple[int, ...]:
        """The smallest epsilon; then the smallest delta and the longest window, which renews the budget last."""
        endless = 2**62
        return (self.epsilon, endless if self.delta is None else self.delta, -(self.window or endless))

    @property
    def bound(self) -> str:
        """The bound in words."""
        return f"epsilon at most {self.epsilon} millionths"

    def watch(self, pod: Pod, margin: int) -> Validator:
        """Judges what the pod reports."""
        del margin
        return PrivacyValidator(self, pod.started)


class _Spent:
    """A counter that only grows, and how much it grew within the window.

    What it stood at when it was first seen was spent at a time that nobody knows (the agent may have come later),
    unless the pod started within the window.
    """

    __slots__ = ("_first", "_marks", "_started", "_width", "_window", "highest")

    def __init__(self, window: int | None, started: int | None) -> None:
        self._window = window
        self._started = started
        self._first = 0
        self._width = max(1, (window or 0) // SLOTS)
        self._marks: deque[tuple[int, int]] = deque()  # begin of a slot, total before it
        self.highest: int | None = None

    def add(self, at: int, value: int) -> None:
        """Take a total; one below an earlier total is disbelieved, what was spent stays spent."""
        before = self.highest or 0
        if self.highest is None:
            self._first = value
        self.highest = max(before, value)
        if self._window is None:
            return
        begin = at - at % self._width
        if not self._marks or self._marks[-1][0] < begin:
            self._marks.append((begin, before))
        while self._marks[0][0] <= at - self._window:
            self._marks.popleft()

    def spent(self, now: int) -> tuple[int, int] | None:
        """The least and the most that was spent within the window; None where nothing was reported."""
        if self.highest is None:
            return None
        if self._window is None:
            return self.highest, self.highest
        begin = now - self._window
        # The total at the window's beginning: what stood before the first slot that begins inside it.
        before = next((total for mark, total in self._marks if mark > begin), self.highest)
        whole = self._started is not None and self._started >= begin
        return self.highest - (before if whole else max(before, self._first)), self.highest - before


class PrivacyValidator:
    """The highest report of each total against its budget."""

    __slots__ = ("_delta", "_epsilon", "_since", "_spec")

    def __init__(self, spec: PrivacySpec, started: int | None) -> None:
        self._spec = spec
        self._epsilon = _Spent(spec.window, started)
        self._delta = _Spent(spec.window, started)
        self._since = 0

    def take(self, event: Event) -> None:
        """Take a total; a negative one is none."""
        if isinstance(event, Report) and not isinstance(event.value, Missing) and event.value >= 0:
            (self._epsilon if event.metric is Metric.EPSILON else self._delta).add(event.at, event.value)
            self._since = event.at

    def judge(self, now: int) -> Verdict:
        """Epsilon, then delta."""
        spec = self._spec
        where = "since the start" if spec.window is None else f"in {spec.window // SECOND} s"
        totals = [("epsilon", self._epsilon.spent(now), spec.epsilon)]
        if spec.delta is not None:
            totals.append(("delta", self._delta.spent(now), spec.delta))
        for name, spent, budget in totals:
            if spent is not None and spent[0] > budget:
                evidence = ((name, spent[0]), ("budget", budget))
                return Verdict(State.BROKEN, Severity.CRITICAL, f"highest {name} {where}", evidence, self._since)
        if any(spent is None for _, spent, _ in totals):
            return unknown("what was spent has not been reported")
        if any(spent[1] > budget for _, spent, budget in totals if spent is not None):
            return unknown(f"how much was spent {where} is not known: some of it was spent before it was seen")
        return Verdict(State.GOOD, Severity.LOW, f"spent {where}", (), self._since)

    def due(self) -> int | None:
        """A window that passes is seen with the next report."""
        return None
