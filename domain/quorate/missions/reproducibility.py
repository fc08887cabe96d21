"""Reproducibility: same inputs and seed, same result (docs/missions.md, "Rules")."""

from dataclasses import dataclass

from quorate.api.mission_rules import RuleName
from quorate.missions.decisions import Severity
from quorate.missions.samples import Event, Pod, Run
from quorate.missions.verdict import State, Validator, Verdict, unknown

MOST_INPUTS = 64


@dataclass(frozen=True, slots=True)
class ReproducibilitySpec:
    """How many runs of the same inputs are compared."""

    runs: int

    rule = RuleName.REPRODUCIBILITY
    reads = (Run,)

    @property
    def strictness(self) -> tuple[int, ...]:
        """The most runs."""
        return (-self.runs,)

    @property
    def bound(self) -> str:
        """The bound in words."""
        return f"{self.runs} runs of the same inputs agree"

    def watch(self, pod: Pod, margin: int) -> Validator:
        """Judges what the pod reports."""
        del pod, margin
        return ReproducibilityValidator(self.runs)


class ReproducibilityValidator:
    """The last results of each inputs, 64 at most; the inputs that ran last are judged."""

    __slots__ = ("_last", "_results", "_runs", "_since")

    def __init__(self, runs: int) -> None:
        self._runs = runs
        self._results: dict[str, tuple[str, ...]] = {}
        self._last = ""
        self._since = 0

    def take(self, event: Event) -> None:
        """Take a run."""
        if not isinstance(event, Run):
            return
        results = (*self._results.pop(event.inputs, ()), event.result)[-self._runs :]
        self._results[event.inputs] = results
        self._last, self._since = event.inputs, event.at
        if len(self._results) > MOST_INPUTS:
            del self._results[next(iter(self._results))]

    def judge(self, now: int) -> Verdict:
        """Whether the last results agree; two that do not are enough, fewer than `runs` are not."""
        del now
        results = self._results.get(self._last, ())
        different = len(set(results))
        evidence = (("runs", len(results)), ("results", different), ("inputs", self._last))
        if different > 1:
            return Verdict(State.BROKEN, Severity.HIGH, "results of the same inputs", evidence, self._since)
        if len(results) < self._runs:
            return unknown(f"{self._runs} runs of the same inputs are needed")
        return Verdict(State.GOOD, Severity.LOW, "results of the same inputs", evidence, self._since)

    def due(self) -> int | None:
        """Only runs change it."""
        return None
