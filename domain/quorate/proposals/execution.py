"""Execution of an adopted proposal: what comes into force, or why nothing does (governance.md, "Lifecycle").

All or nothing, and conditional: the base must still hold. What is recorded decides; this only says what to record.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from quorate.api.conditions import Reason
from quorate.api.governance_proposal import Phase
from quorate.canonical import canonical_bytes, digest_of, digest_of_bytes
from quorate.contracts.content import NULL_DIGEST, Content
from quorate.contracts.form import ContractRefusedError
from quorate.contracts.patch import Target, check_base, check_type, successor

Statement = Mapping[str, Any]


@dataclass(frozen=True)
class Situation:
    """What an execution meets. `domain` of the contract is the TrustDomain that its object names.

    `accepted_digest` is that of the accepted revision of the proposal's domain; `forked` says that a fully authorised
    Fork blocks execution in it (trust.md, "Revisions").
    """

    accepted_digest: str
    content: Content | None = None
    contract_domain: str | None = None
    shared_clauses: tuple[str, ...] = ()
    forked: bool = False


@dataclass(frozen=True)
class ReverseChange:
    """The change that undoes an emergency's: {patch, baseDigest} relative to the same target."""

    change: Mapping[str, Any]

    @cached_property
    def data(self) -> bytes:
        """The canonical bytes, stored as content by digest."""
        return canonical_bytes(dict(self.change))

    @property
    def digest(self) -> str:
        """What the executing entry names as `reverseDigest`."""
        return digest_of_bytes(self.data)


@dataclass(frozen=True)
class Executed:
    """What the executing entry records and the effect does.

    For a contract: `content` replaces the content whose digest is `base_digest`, and only that. For a TrustDomain:
    `result_digest` is the revision that is authorised, recorded ≤ `authorised_until` (None: without end).
    """

    outcome: Phase
    base_digest: str
    result_digest: str
    content: Content | None = None
    reverse: ReverseChange | None = None
    authorised_until: int | None = None

    def detail(self, evidence_digest: str) -> dict[str, Any]:
        """`detail` of the executing entry."""
        fields = {
            "outcome": str(self.outcome),
            "evidenceDigest": evidence_digest,
            "baseDigest": self.base_digest,
            "resultDigest": self.result_digest,
            "version": None if self.content is None else self.content.version,
            "reverseDigest": None if self.reverse is None else self.reverse.digest,
            "reason": Reason.AWAITING_REVISION if self.content is None else None,
        }
        return {name: str(value) for name, value in fields.items() if value is not None}


@dataclass(frozen=True)
class NotExecuted:
    """The proposal ends here: `outcome` is Failed or Expired."""

    outcome: Phase
    reason: Reason
    message: str

    def detail(self) -> dict[str, Any]:
        """`detail` of the failing entry."""
        return {"outcome": str(self.outcome), "reason": str(self.reason), "message": self.message}


@dataclass(frozen=True)
class Postponed:
    """Nothing is recorded: to be tried again inside the window, at `until` at the latest (None: when it changes)."""

    reason: Reason
    message: str
    until: int | None = None


@dataclass(frozen=True)
class Window:
    """The seconds in which execution may take place, both ends included."""

    after: int
    before: int | None = None


def execute(
    statement: Statement, digest: str, situation: Situation, *, window: Window, now: int
) -> Executed | NotExecuted | Postponed:
    """What to record at `now` for the adopted proposal with this statement and digest."""
    if now < window.after:
        return Postponed(Reason.TIMELOCK, "the timelock runs", window.after)
    if window.before is not None and now > window.before:
        return NotExecuted(Phase.EXPIRED, Reason.WINDOW_CLOSED, "the execution window closed before it was executed")
    if situation.forked:
        until = None if window.before is None else window.before + 1
        return Postponed(
            Reason.FORK, "a fork of the domain blocks execution until the admins sign the next revision", until
        )
    if statement["target"]["kind"] == "TrustDomain":
        return _authorise(statement, situation, window)
    if situation.content is None:
        until = None if window.before is None else window.before + 1
        return Postponed(Reason.UNKNOWN_TARGET, f"contract {statement['target']['name']} has nothing in force", until)
    try:
        return _change(statement, digest, situation, situation.content, now)
    except ContractRefusedError as error:
        return NotExecuted(Phase.FAILED, error.reason, str(error))


def _authorise(statement: Statement, situation: Situation, window: Window) -> Executed | NotExecuted:
    change = statement["change"]
    if change["baseDigest"] != situation.accepted_digest:
        message = f"change.baseDigest {change['baseDigest']} is not the accepted revision {situation.accepted_digest}"
        return NotExecuted(Phase.FAILED, Reason.STALE_BASE, message)
    return Executed(Phase.EXECUTED, situation.accepted_digest, change["resultDigest"], authorised_until=window.before)


def _change(statement: Statement, digest: str, situation: Situation, content: Content, now: int) -> Executed:
    target = Target.parse(statement["target"])
    check_domain(statement, situation)
    # Here a clause that is gone is a stale base, not an unknown clause: it was there when the proposal opened.
    check_base(content, target, statement["change"].get("baseDigest"))
    check_type(content, target, statement["type"])
    result = successor(
        content,
        target,
        statement["change"],
        proposal_digest=digest,
        executed_at=now,
        shared_clauses=situation.shared_clauses,
    )
    emergency = statement["type"] == "Emergency"
    return Executed(
        Phase.EMERGENCY_EXECUTED if emergency else Phase.EXECUTED,
        content.digest,
        result.digest,
        result,
        reverse_change(target, content, result) if emergency else None,
    )


def check_domain(statement: Statement, situation: Situation) -> None:
    """Refuse a contract that belongs to another domain than the proposal (UnknownTarget)."""
    if situation.contract_domain != statement["domain"]:
        name, owner = statement["target"]["name"], situation.contract_domain
        message = f"contract {name} belongs to domain {owner}, not to the proposal's {statement['domain']}"
        raise ContractRefusedError(Reason.UNKNOWN_TARGET, message)


def check_change(statement: Statement, situation: Situation, *, opened: int) -> None:
    """What an opening checks of the change: target, minimum type, base, patch, result and size.

    Raises:
        ContractRefusedError: UnknownTarget, TypeNotAllowed, NoSuchClause, StaleBase, PatchFailed, InvalidResult,
            TooLarge.
    """
    if statement["target"]["kind"] == "TrustDomain":
        _check_revision(statement, situation)
        return
    if situation.content is None:
        message = f"target: contract {statement['target']['name']} has nothing in force"
        raise ContractRefusedError(Reason.UNKNOWN_TARGET, message)
    check_domain(statement, situation)
    target = Target.parse(statement["target"])
    check_type(situation.content, target, statement["type"])
    successor(
        situation.content,
        target,
        statement["change"],
        proposal_digest=NULL_DIGEST,
        executed_at=opened,
        shared_clauses=situation.shared_clauses,
    )


def _check_revision(statement: Statement, situation: Situation) -> None:
    name, domain, change = statement["target"]["name"], statement["domain"], statement["change"]
    if name != domain:
        message = f"target.name {name} must be the proposal's domain {domain}: it can authorise no other's revision"
        raise ContractRefusedError(Reason.UNKNOWN_TARGET, message)
    if statement["type"] != "Constitutional":
        message = f"type {statement['type']} may not authorise a revision: it needs Constitutional"
        raise ContractRefusedError(Reason.TYPE_NOT_ALLOWED, message)
    if change["baseDigest"] != situation.accepted_digest:
        message = f"change.baseDigest {change['baseDigest']} is not the accepted revision {situation.accepted_digest}"
        raise ContractRefusedError(Reason.STALE_BASE, message)


def reverse_change(target: Target, before: Content, after: Content) -> ReverseChange:
    """The change that brings the target back: it replaces, re-adds or removes it as a whole."""
    old, new = target.value(before), target.value(after)
    operation = {"op": "add" if new is None else "replace", "path": "", "value": old}
    return ReverseChange({"baseDigest": digest_of(new), "patch": [operation]})


@dataclass(frozen=True)
class Reversal:
    """What an unratified emergency brings about: `content`, or a PolicyConflict where the clause moved on."""

    content: Content | None
    conflict: str | None = field(default=None)


def reverse(
    statement: Statement,
    digest: str,
    change: ReverseChange,
    content: Content,
    *,
    now: int,
    shared_clauses: Iterable[str] = (),
) -> Reversal:
    """The content after undoing an emergency at `now`, only if its clause is still what the emergency made of it."""
    target = Target.parse(statement["target"])
    try:
        check_base(content, target, change.change["baseDigest"])
        result = successor(
            content,
            target,
            change.change,
            proposal_digest=digest,
            executed_at=now,
            shared_clauses=shared_clauses,
        )
    except ContractRefusedError as error:
        return Reversal(None, str(error))
    return Reversal(result)
