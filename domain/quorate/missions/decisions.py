"""Decision records: what was decided, by which policy and clause, from which evidence, how fast (docs/missions.md)."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from quorate.api.mission_policy import PolicyMode
from quorate.api.mission_rules import RuleName


class Severity(IntEnum):
    """How far the ladder may climb (docs/missions.md, "Severity")."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4


class Effect(StrEnum):
    """What the agent does with a decision."""

    RECORD = "Record"
    """An entry, nothing else."""
    NOTIFY = "Notify"
    """An entry, an Event and a metric: people are told, nothing is touched."""
    ACT = "Act"
    """An entry first, then the action."""


class Step(StrEnum):
    """What happened on the ladder."""

    STARTED = "Started"
    RETRIED = "Retried"
    ANSWERED = "Answered"
    UNANSWERED = "Unanswered"
    SKIPPED = "Skipped"
    HELD = "Held"
    LATCHED = "Latched"
    CLEARED = "Cleared"
    RECOVERED = "Recovered"
    FLAGGED = "Flagged"


class Hold(StrEnum):
    """Why a rung is held, skipped or flagged."""

    UNKNOWN = "Unknown"
    DISRUPTION_BUDGET = "DisruptionBudget"
    NODE_BREAKER = "NodeBreaker"
    FLEET_BREAKER = "FleetBreaker"
    CONCURRENCY = "ConcurrentEvictions"
    OFFLINE = "Offline"
    COOL_DOWN = "CoolDown"
    LATCH = "RestartLoop"
    LEAVING = "Leaving"
    FAILED = "Failed"
    NO_TAKER = "NoTaker"
    NOT_EVICTED = "NotEvicted"
    LIMIT_ABOVE_DEVICE = "LimitAboveDevice"
    CLOCK_WENT_BACK = "ClockWentBack"


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision; `id` is stable across retries and reconnects, so that it is applied once.

    Attributes:
        action: a `LadderAction`, or `LimitPower`, `LimitClock`, `DenyCompute`, `AllowCompute` on a device; empty where
            none is concerned.
        subject: `namespace/name` of the pod, or UUID of the device.
        uid: of the pod; empty for a device.
        rung: index in the ladder; -1 where no rung is concerned.
        statistic: what was computed, in words.
        evidence: names and integers or words, in a fixed order.
        reaction: microseconds from the moment at which it was due to the decision.
        clause: `contract#clause` that the policy implements, with `version` of the contract; empty where none.
    """

    id: str
    at: int
    step: Step
    effect: Effect
    policy: str
    rule: RuleName | None
    mode: PolicyMode
    action: str
    subject: str
    uid: str
    rung: int
    severity: Severity | None
    statistic: str
    evidence: tuple[tuple[str, int | str], ...]
    reaction: int
    clause: str
    version: str
    hold: Hold | None = None
    attempt: int = 1
    strategy: str = ""
