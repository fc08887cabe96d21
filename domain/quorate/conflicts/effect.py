"""What the conflicts of an adopted proposal mean for its execution (docs/conflicts.md, "What follows")."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from quorate.api.conditions import Reason
from quorate.api.governance_proposal import Phase
from quorate.api.policy_conflict import Cause, ConflictOutcome
from quorate.audit.entry import parse_timestamp
from quorate.conflicts.document import Conflict, ConflictEvent
from quorate.proposals.lifecycle import Life

Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Held:
    """One conflict as its entries tell it; seconds of the entries. `outcome` None: it is open.

    `namespace` and `name` are those of its PolicyConflict.
    """

    conflict: Conflict
    opened: int
    cause: str
    resolved: int | None = None
    outcome: str | None = None
    namespace: str = ""
    name: str = ""

    @property
    def open(self) -> bool:
        """Whether it is still arbitrated."""
        return self.outcome is None

    def lost_by(self, digest: str) -> Reason | None:
        """Why the party with this digest does not go on, None: it may, or the conflict is open."""
        if self.outcome is None or self.outcome == self.conflict.side(digest):
            return None
        others = {ConflictOutcome.BLOCKED: Reason.UNRESOLVED, ConflictOutcome.COMPROMISE: Reason.COMPROMISE}
        return others.get(ConflictOutcome(self.outcome), Reason.CONFLICT_LOST)


def held_conflicts(entries: Iterable[Entry]) -> tuple[Held, ...]:
    """The opened conflicts in the contents of log entries, in the order of their openings; other entries are passed."""
    found: dict[str, Held] = {}
    for entry in entries:
        event, payload = entry["event_type"], entry["payload"]
        if not event.startswith("governance.conflict."):
            continue
        digest, second = payload["subject"]["key"], parse_timestamp(entry["timestamp"]) // 1_000_000
        if event == ConflictEvent.OPENED:
            document = payload["detail"]["conflict"]
            conflict = Conflict.of(document["meshId"], document)
            subject = payload["subject"]
            where = {"namespace": subject.get("namespace", ""), "name": subject["name"]}
            found.setdefault(digest, Held(conflict, second, payload["detail"]["cause"], **where))
        elif event == ConflictEvent.RESOLVED and digest in found:
            found[digest] = replace(found[digest], resolved=second, outcome=payload["detail"]["outcome"])
    return tuple(found.values())


def is_held(conflicts: Iterable[Held]) -> bool:
    """Whether one of a proposal's conflicts is open: it does not execute, and its window stands still."""
    return any(item.open for item in conflicts)


def loss(conflicts: Iterable[Held], digest: str) -> tuple[Reason, Held] | None:
    """The first conflict that the proposal did not win, with why it fails; None: it may go on."""
    for item in conflicts:
        reason = item.lost_by(digest)
        if reason is not None:
            return reason, item
    return None


def met_override(conflicts: Iterable[Held]) -> bool:
    """Whether the proposal was contested by this node's override once: whatever is set anew contests it no more."""
    return any(item.cause == Cause.OVERRIDE_CONTRADICTS for item in conflicts)


def overruled(conflicts: Iterable[Held]) -> tuple[str, ...]:
    """The clauses of the overrides against which a proposal, PartyA, won."""
    won = (
        item.conflict.parties[1].clause
        for item in conflicts
        if item.cause == Cause.OVERRIDE_CONTRADICTS and item.outcome == ConflictOutcome.PARTY_A
    )
    return tuple(clause for clause in won if clause is not None)


def resumed(life: Life, conflicts: Sequence[Held]) -> Life:
    """The life with the window that the arbitration leaves: of the same length, from the last resolution on.

    An arbitration that ended within the timelock changes nothing. A conflict opens only on what is adopted.
    """
    seconds = [item.resolved for item in conflicts if item.resolved is not None]
    if life.execute_after is None or not seconds or life.phase in (Phase.DRAFT, Phase.VOTING):
        return life
    after, before = resumed_window((life.execute_after, life.execute_before), seconds)
    return replace(life, execute_after=after, execute_before=before)


def resumed_window(bounds: tuple[int, int | None], resolved: Iterable[int]) -> tuple[int, int | None]:
    """The execution window after resolutions at these seconds."""
    after, before = bounds
    later = max([after, *resolved])
    return later, None if before is None else before + later - after
