"""The life of a proposal revision, derived from its recorded entries alone (governance.md, "Lifecycle").

```
Draft ─ opened ─▶ Voting ─ decided ─▶ Adopted ─ executed ─▶ Executed
                    │                   │  └──── executed ─▶ EmergencyExecuted ─ decided ─▶ Ratified | Reversed
                    │                   └─ failed ─▶ Failed | Expired | Stopped
                    ├─ decided ─▶ Rejected | Expired | Withdrawn | Stopped
                    └─ superseded ─▶ Superseded
```

Details that the entries carry: `decided` {outcome, reason, decidedAt}, `executed` {outcome, evidenceDigest, baseDigest,
resultDigest, version, reverseDigest}, `failed` {outcome, reason}, `superseded` {by}. Times in `detail` are text.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from quorate.api.conditions import Reason
from quorate.api.governance_proposal import Phase
from quorate.audit.entry import parse_timestamp
from quorate.canonical import parse_time

SETTLE_SECONDS = 2
MAX_AMENDMENTS = 5


class EventType(StrEnum):
    """Entries whose subject is the proposal revision."""

    REFUSED = "governance.proposal.refused"
    OPENED = "governance.proposal.opened"
    DECIDED = "governance.proposal.decided"
    EXECUTED = "governance.proposal.executed"
    FAILED = "governance.proposal.failed"
    SUPERSEDED = "governance.proposal.superseded"


class HistoryError(ValueError):
    """Entries that no life can have: one is missing, doubled or out of order."""


@dataclass(frozen=True)
class Step:
    """One recorded entry of the proposal revision; `at` is the second of its timestamp, truncated."""

    event: str
    at: int
    detail: Mapping[str, Any] = field(default_factory=dict)
    entry_id: str = ""

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> "Step":
        """From the content document of an entry."""
        second = parse_timestamp(entry["timestamp"]) // 1_000_000
        return cls(entry["event_type"], second, entry["payload"].get("detail", {}), entry["entry_id"])


@dataclass(frozen=True)
class Timing:
    """The rules of the opening revision that matter after the decision, in seconds; None: without end."""

    timelock: int = 0
    execution_window: int | None = None
    ratification: int | None = None

    @classmethod
    def of(cls, rules: Mapping[str, Any], proposal_type: str) -> "Timing":
        """From the `voting.<type>` block of a TrustDomain; an Emergency has no timelock (governance.md)."""
        emergency = proposal_type == "Emergency"
        return cls(
            timelock=0 if emergency else rules.get("timelockSeconds", 0),
            execution_window=rules.get("executionWindowSeconds"),
            ratification=rules.get("ratificationSeconds") if emergency else None,
        )

    def window(self, decided: int) -> tuple[int, int | None]:
        """The seconds, both included, in which what was adopted at T may be executed; None: without end."""
        after = decided + self.timelock
        return after, None if self.execution_window is None else after + self.execution_window


@dataclass(frozen=True)
class Life:
    """Where a proposal revision stands. All times are Unix seconds; None: not known (yet)."""

    phase: Phase = Phase.DRAFT
    reason: str | None = None
    opened_at: int | None = None
    decided_at: int | None = None
    execute_after: int | None = None
    execute_before: int | None = None
    executed_at: int | None = None
    ratification_ends: int | None = None
    closed_at: int | None = None

    @property
    def open(self) -> bool:
        """Whether votes may still change the outcome, ratification included."""
        return self.phase in (Phase.VOTING, Phase.EMERGENCY_EXECUTED)

    @property
    def final(self) -> bool:
        """Whether nothing can follow any more."""
        return self.closed_at is not None

    @property
    def outcome(self) -> str | None:
        """The outcome that the status shows; None while it is undecided."""
        return None if self.phase in (Phase.DRAFT, Phase.VOTING) else str(self.phase)

    @property
    def succeeded(self) -> bool | None:
        """The condition `Succeeded`: None (Unknown) while undecided, an unratified emergency included."""
        if self.phase in (Phase.ADOPTED, Phase.EXECUTED, Phase.RATIFIED):
            return True
        return False if self.final else None


_CLOSING = {Phase.REJECTED, Phase.EXPIRED, Phase.WITHDRAWN, Phase.STOPPED}
_UNEXECUTED = {Phase.FAILED, Phase.EXPIRED, Phase.STOPPED}


def derive(steps: Iterable[Step], timing: Timing) -> Life:
    """The life after `steps`, oldest first.

    Raises:
        HistoryError: an entry that cannot follow the ones before, or an outcome that its event cannot have.
    """
    life = Life()
    for step in steps:
        life = _follow(life, step, timing)
    return life


def _follow(life: Life, step: Step, timing: Timing) -> Life:
    phase, detail = life.phase, step.detail
    match step.event, phase:
        case EventType.REFUSED, Phase.DRAFT:
            return replace(life, reason=detail.get("reason"))
        case EventType.OPENED, Phase.DRAFT:
            return Life(Phase.VOTING, opened_at=step.at)
        case EventType.SUPERSEDED, Phase.VOTING:
            return replace(life, phase=Phase.SUPERSEDED, reason=Reason.SUPERSEDED, closed_at=step.at)
        case EventType.DECIDED, Phase.VOTING:
            return _decide(life, step, timing)
        case EventType.DECIDED, Phase.EMERGENCY_EXECUTED:
            outcome = _outcome(step, {Phase.RATIFIED, Phase.REVERSED})
            return replace(life, phase=outcome, reason=detail.get("reason"), closed_at=step.at)
        case EventType.EXECUTED, Phase.ADOPTED:
            return _execute(life, step, timing)
        case EventType.FAILED, Phase.ADOPTED:
            outcome = _outcome(step, _UNEXECUTED)
            return replace(life, phase=outcome, reason=detail.get("reason"), closed_at=step.at)
        case _:
            raise HistoryError(f"entry {step.entry_id or step.event} ({step.event}) cannot follow phase {phase}")


def _outcome(step: Step, allowed: set[Phase]) -> Phase:
    value = step.detail.get("outcome")
    if value not in allowed:
        raise HistoryError(
            f"entry {step.entry_id or step.event}: outcome {value!r} is none of {', '.join(sorted(allowed))}"
        )
    return Phase(value)


def _decide(life: Life, step: Step, timing: Timing) -> Life:
    outcome = _outcome(step, {Phase.ADOPTED, *_CLOSING})
    text = step.detail.get("decidedAt")
    decided = step.at if text is None else parse_time(text)
    life = replace(life, phase=outcome, reason=step.detail.get("reason"), decided_at=decided)
    if outcome is not Phase.ADOPTED:
        return replace(life, closed_at=step.at)
    after, before = timing.window(decided)
    return replace(life, execute_after=after, execute_before=before)


def _execute(life: Life, step: Step, timing: Timing) -> Life:
    outcome = _outcome(step, {Phase.EXECUTED, Phase.EMERGENCY_EXECUTED})
    life = replace(life, phase=outcome, reason=step.detail.get("reason"), executed_at=step.at)
    if outcome is Phase.EXECUTED:
        return replace(life, closed_at=step.at)
    # The ratification opens with the executing entry; without the rule it could never end, so it ends at once.
    return replace(life, ratification_ends=step.at + (timing.ratification or 0))


class Action(StrEnum):
    """What falls to the home hub next."""

    NONE = "None"
    DECIDE = "Decide"
    WAIT = "Wait"
    EXECUTE = "Execute"
    EXPIRE = "Expire"
    RATIFY = "Ratify"


@dataclass(frozen=True)
class Due:
    """An action and, where it has to wait, the second at which to look again (None: when something changes)."""

    action: Action
    at: int | None = None


def due(life: Life, now: int) -> Due:
    """What is due at `now`. DECIDE has no second here: the tally knows when the vote is next worth looking at.

    Both ends of the execution window belong to it; a decision of the ratification waits two seconds past its end, as
    every decision does (governance.md, "Decision").
    """
    if life.phase is Phase.VOTING:
        return Due(Action.DECIDE)
    if life.phase is Phase.ADOPTED and life.execute_after is not None:
        if now < life.execute_after:
            return Due(Action.WAIT, life.execute_after)
        if life.execute_before is not None and now > life.execute_before:
            return Due(Action.EXPIRE)
        return Due(Action.EXECUTE, None if life.execute_before is None else life.execute_before + 1)
    if life.phase is Phase.EMERGENCY_EXECUTED and life.ratification_ends is not None:
        at = life.ratification_ends + SETTLE_SECONDS
        return Due(Action.RATIFY) if now >= at else Due(Action.WAIT, at)
    return Due(Action.NONE)


def shown_phase(life: Life, *, conflict: bool) -> Phase:
    """The phase that the status shows: Conflict stands beside Adopted (governance.md, "Lifecycle")."""
    return Phase.CONFLICT if conflict and life.phase is Phase.ADOPTED else life.phase
