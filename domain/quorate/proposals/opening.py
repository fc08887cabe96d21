"""Whether a signed proposal opens, and under which revisions (governance.md, "A refused opening")."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quorate.api.conditions import Reason
from quorate.api.schema import Privilege
from quorate.canonical import format_time
from quorate.identity.ed25519 import parse_public_key
from quorate.identity.statements import Statement
from quorate.proposals.votes import vote_key
from quorate.trust.domain import DomainHistory, DomainRevision


@dataclass(frozen=True)
class Opening:
    """A proposal that may open at `second`; `revisions` are those in force then, by domain name."""

    statement: Statement
    second: int
    revisions: Mapping[str, DomainRevision]


@dataclass(frozen=True)
class Refusal:
    """Why it may not open."""

    reason: Reason
    message: str


def check_opening(
    statement: Statement, signature: Any, histories: Mapping[str, DomainHistory], *, second: int
) -> Opening | Refusal:
    """Judge an opening, in the order of governance.md.

    Args:
        statement: The proposal's statement.
        signature: The proposer's, 86 characters of base64.
        histories: The accepted revisions by domain name; a missing name has none.
        second: Of the opening.
    """
    fields = statement.fields
    domain, others = str(fields.get("domain")), [str(item) for item in fields.get("domains") or ()]
    revisions: dict[str, DomainRevision] = {}
    for name in [domain, *others]:
        revision = histories[name].at(second) if name in histories else None
        if revision is None:
            message = f"domain {name!r} has no accepted revision at {format_time(second)}"
            return Refusal(Reason.NO_ACCEPTED_REVISION, message)
        revisions[name] = revision
    wrong = _domains_fault(str(fields.get("type")), domain, others, revisions)
    if wrong is not None:
        return Refusal(Reason.INVALID_DOMAINS, f"spec.domains {others}: {wrong}")
    refusal = judge_proposer(statement, signature, revisions[domain], second)
    if refusal is not None:
        return refusal
    for name, revision in revisions.items():
        if revision.rules(str(fields.get("type"))) is None:
            message = f"spec.type {fields.get('type')!r} has no voting rules in domain {name!r}"
            return Refusal(Reason.TYPE_NOT_ALLOWED, message)
    return Opening(statement, second, revisions)


def _domains_fault(kind: str, domain: str, others: list[str], revisions: Mapping[str, DomainRevision]) -> str | None:
    if not others:
        return None
    if len(set(others)) != len(others) or len(others) < 2:
        return "must be empty or at least two distinct names"
    if domain not in others:
        return f"must include spec.trustDomain, {domain!r}"
    if len({revision.mesh_id for revision in revisions.values()}) > 1:
        return "all must be of one meshId"
    if len({revision.home_hub for revision in revisions.values()}) > 1:
        return "all must have one homeHub"
    if kind in ("Expedited", "Emergency"):
        return f"must be empty for type {kind}"
    return None


def judge_proposer(statement: Statement, signature: Any, revision: DomainRevision, second: int) -> Refusal | None:
    """Why the proposer may not open it at `second`, under the revision in force then; None: it may, and signed it."""
    fields = statement.fields
    if fields.get("meshId") != revision.mesh_id:
        return Refusal(
            Reason.NO_ACCEPTED_REVISION, f"meshId {fields.get('meshId')!r} is not the domain's, {revision.mesh_id!r}"
        )
    proposer, name = str(fields.get("proposer")), str(fields.get("keyName"))
    member = revision.members.get(proposer)
    if member is None:
        return Refusal(Reason.PROPOSER_NOT_ALLOWED, f"spec.proposer {proposer!r} is no member of {revision.name!r}")
    if not member.may(Privilege.PROPOSE_POLICY):
        message = f"spec.proposer {proposer!r} has role {member.role}, which may not propose"
        return Refusal(Reason.PROPOSER_NOT_ALLOWED, message)
    if member.learner or member.suspended:
        state = "suspended" if member.suspended else "a learner"
        return Refusal(Reason.PROPOSER_NOT_ALLOWED, f"spec.proposer {proposer!r} is {state}")
    key = vote_key(revision, proposer, name)
    if key is None or not key.valid_at(second):
        return Refusal(Reason.UNKNOWN_KEY, f"spec.keyName {name!r} is no Vote key in force of proposer {proposer!r}")
    if not statement.verify(parse_public_key(key.public_key), signature):
        return Refusal(Reason.BAD_SIGNATURE, f"spec.signature is not that of key {name!r} of {proposer!r}")
    return None
