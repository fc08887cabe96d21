"""What may still happen to an open proposal: amendment, withdrawal, stop (governance.md, "Lifecycle").

Tally and execution read the recorded statement, never the live spec; here stands what a live spec can bring about.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from quorate.api.conditions import Reason
from quorate.identity.statements import act_statement, proposal_statement
from quorate.proposals.lifecycle import MAX_AMENDMENTS, Life


class Standing(StrEnum):
    """What a live spec is to the open revision."""

    OPEN = "Open"
    AMENDS = "Amends"
    REFUSED = "Refused"


@dataclass(frozen=True)
class SpecVerdict:
    """The condition `SpecAccepted`: true unless REFUSED. `digest` is that of the live spec's statement."""

    standing: Standing
    digest: str
    reason: Reason
    message: str


@dataclass(frozen=True)
class OpenRevision:
    """The revision that is being voted on (or was decided), as recorded at its opening.

    `ends` is the current deadline (Unix seconds); `amendments` counts the revisions that it and its predecessors
    superseded; `reached` is T of a decision that the votes give already, although it is not recorded yet.
    """

    digest: str
    statement: Mapping[str, Any]
    ends: int
    amendments: int
    life: Life
    reached: int | None = None

    @property
    def closes(self) -> int:
        """min(end, decision): the last second at which an amendment's or a withdrawal's entry counts."""
        decided = self.reached if self.life.decided_at is None else self.life.decided_at
        return self.ends if decided is None else min(self.ends, decided)


def as_recorded(digest: str) -> SpecVerdict:
    """The verdict on a live spec that is the open revision, word for word."""
    return SpecVerdict(Standing.OPEN, digest, Reason.ACCEPTED, "the spec is the recorded revision")


def judge_spec(
    current: OpenRevision,
    *,
    namespace: str,
    name: str,
    spec: Mapping[str, Any],
    public_key: bytes | None,
    recorded: int,
) -> SpecVerdict:
    """What a live spec does to the open revision: nothing, amend it, or nothing with SpecAccepted=False.

    Args:
        current: The open revision.
        namespace: Of the object.
        name: Of the object.
        spec: The live spec.
        public_key: The proposer's Vote key of the spec's keyName in the revision in force, None if there is none.
        recorded: The second that an amendment's entry would have.
    """
    before = current.statement
    statement = proposal_statement(before["meshId"], namespace, name, spec)

    def refused(reason: Reason, message: str) -> SpecVerdict:
        return SpecVerdict(
            Standing.REFUSED, statement.digest, reason, f"{message}; revision {before['revision']} stands"
        )

    if statement.digest == current.digest:
        return as_recorded(current.digest)
    if spec.get("signature") is None:
        return refused(Reason.NOT_SIGNED, "the spec was edited without a signature")
    if not isinstance(spec.get("revision"), int) or spec["revision"] <= before["revision"]:
        return refused(
            Reason.SPEC_CHANGED, f"the spec was edited but its revision {spec.get('revision')} is not higher"
        )
    if (spec.get("proposer"), spec.get("trustDomain")) != (before["proposer"], before["domain"]):
        return refused(Reason.PROPOSER_NOT_ALLOWED, "an amendment keeps proposer and trustDomain")
    if public_key is None:
        return refused(Reason.UNKNOWN_KEY, f"keyName {spec.get('keyName')!r} is no Vote key of the proposer")
    if not statement.verify(public_key, spec["signature"]):
        return refused(Reason.BAD_SIGNATURE, "the amendment's signature does not verify")
    if recorded > current.closes or current.life.final or not current.life.open:
        return refused(Reason.AMENDMENT_TOO_LATE, "an amendment must be recorded by the end and before the decision")
    if current.amendments >= MAX_AMENDMENTS:
        return refused(Reason.TOO_MANY_AMENDMENTS, f"a proposal may be amended at most {MAX_AMENDMENTS} times")
    return SpecVerdict(Standing.AMENDS, statement.digest, Reason.OPEN, f"revision {spec['revision']} supersedes")


@dataclass(frozen=True)
class ActVerdict:
    """Whether an act is accepted; `reason` says why not. `digest` is its statement's, the subject of its entry."""

    accepted: bool
    digest: str
    reason: Reason
    message: str


def judge_act(current: OpenRevision, act: Mapping[str, Any], *, public_key: bytes | None, recorded: int) -> ActVerdict:
    """Whether a Withdraw, Stop or Endorse takes effect when recorded at `recorded`.

    Args:
        current: The revision that it is about.
        act: {act, proposalDigest, by, keyName, at, signature}.
        public_key: In force at `recorded`: the proposer's Vote key `keyName` for Withdraw, else the admin's key; None
            if there is none.
        recorded: The second of its entry.
    """
    before = current.statement
    statement = act_statement(before["meshId"], before["domain"], act)

    def refused(reason: Reason, message: str) -> ActVerdict:
        return ActVerdict(False, statement.digest, reason, message)

    if act.get("proposalDigest") != current.digest:
        return refused(Reason.OTHER_PROPOSAL, f"proposalDigest {act.get('proposalDigest')} is not {current.digest}")
    if act.get("act") == "Withdraw" and act.get("by") != before["proposer"]:
        return refused(Reason.PROPOSER_NOT_ALLOWED, f"only the proposer withdraws; by is {act.get('by')!r}")
    if act.get("act") != "Withdraw" and act.get("by") != act.get("keyName"):
        return refused(Reason.UNKNOWN_KEY, f"by {act.get('by')!r} must equal keyName {act.get('keyName')!r}")
    if public_key is None:
        return refused(Reason.UNKNOWN_KEY, f"keyName {act.get('keyName')!r} of {act.get('by')!r} is not in force")
    if not statement.verify(public_key, act.get("signature")):
        return refused(Reason.BAD_SIGNATURE, "the act's signature does not verify")
    if not _in_time(current, str(act["act"]), recorded):
        return refused(Reason.TOO_LATE, f"{act['act']} came too late for a proposal in phase {current.life.phase}")
    return ActVerdict(True, statement.digest, Reason.ACCEPTED, f"{act['act']} by {act.get('by')} accepted")


def _in_time(current: OpenRevision, act: str, recorded: int) -> bool:
    life = current.life
    if life.opened_at is None or life.final:
        return False
    if act == "Stop":
        return life.executed_at is None
    if act == "Withdraw":
        return life.executed_at is None and recorded <= current.closes
    return life.decided_at is None and recorded <= current.ends
