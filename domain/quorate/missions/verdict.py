"""What a validator says: broken, good, in between or unknown, with severity, statistic and evidence."""

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from quorate.api.mission_rules import RuleName
from quorate.missions.decisions import Severity
from quorate.missions.samples import Event, Metric, Pod

WHOLE = 10_000


class State(Enum):
    """How a rule stands."""

    UNKNOWN = 0
    """Not known: nothing is begun, goes on or is cleared."""
    GOOD = 1
    """On the good side by the margin."""
    BETWEEN = 2
    """Neither: nothing climbs, nothing clears."""
    BROKEN = 3


@dataclass(slots=True)
class Verdict:
    """One judgement; times in microseconds.

    Attributes:
        since: of the sample that it rests on.
        until: when its samples are stale, from which on they say nothing; None: they never are.
    """

    state: State
    severity: Severity
    statistic: str
    evidence: tuple[tuple[str, int | str], ...] = ()
    since: int = 0
    until: int | None = None


Channel = type | Metric
"""What a validator reads: events of a class, or reports of one metric."""


class Validator(Protocol):
    """Judges one rule of one pod; holds its window."""

    def take(self, event: Event) -> None:
        """Take a sample of the kind that the rule reads."""

    def judge(self, now: int) -> Verdict:
        """How the rule stands."""

    def due(self) -> int | None:
        """When the verdict may change by time alone; None: only with a sample."""


class RuleSpec(Protocol):
    """A rule as a policy holds it; frozen, shared by all pods."""

    @property
    def rule(self) -> RuleName:
        """Its name."""

    @property
    def reads(self) -> tuple[Channel, ...]:
        """The events that its validators take."""

    @property
    def strictness(self) -> tuple[int, ...]:
        """Orders specs of one rule: the smallest is the strictest."""

    @property
    def bound(self) -> str:
        """The bound in words, for findings."""

    def watch(self, pod: Pod, margin: int) -> Validator:
        """A validator of this rule for a pod; `margin` in basis points of the limit."""


def ceiling(value: int, limit: int, margin: int) -> State:
    """How a value stands that must not exceed `limit`."""
    if value > limit:
        return State.BROKEN
    return State.GOOD if value * WHOLE <= limit * (WHOLE - margin) else State.BETWEEN


def floor(value: int, limit: int, margin: int, most: int | None = None) -> State:
    """How a value stands that must not fall below `limit`; `most` is the best that there is."""
    if value < limit:
        return State.BROKEN
    enough = limit * (WHOLE + margin)
    return State.GOOD if value * WHOLE >= (enough if most is None else min(enough, most * WHOLE)) else State.BETWEEN


def unknown(why: str, severity: Severity = Severity.LOW) -> Verdict:
    """Nothing can be said, and why."""
    return Verdict(State.UNKNOWN, severity, why)
