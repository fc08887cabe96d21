"""A conflict that a member raises: who may, how many, and what it is (docs/conflicts.md, "Raised by a member").

The hub, a reader of an evidence bundle and `quorate tally` ask here, so that a hub that allows more is found.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from quorate.api.attestation import AttestationType
from quorate.api.policy_conflict import Cause
from quorate.api.schema import Privilege
from quorate.conflicts.document import Conflict, Found
from quorate.trust.domain import DomainHistory, DomainRevision
from quorate.trust.edges import holds
from quorate.trust.record import AttestationRecord

CONFLICT_KIND = "PolicyConflict"
MAX_RAISED = 3
"""Raised conflicts of one member that may be open at a time, and that there may ever be against one proposal."""


@dataclass(frozen=True)
class Earlier:
    """Conflicts that one member raised before: how many are open, and how often each digest was a party."""

    open: int
    parties: Mapping[str, int]

    @property
    def full(self) -> bool:
        """Whether the next one waits until one of them is resolved."""
        return self.open >= MAX_RAISED

    def often(self, pending: Iterable[str]) -> bool:
        """Whether one of these proposals, which have not ended, had its share: else one could delay it forever."""
        return any(self.parties.get(digest, 0) >= MAX_RAISED for digest in pending)


def raises(statement: Mapping[str, Any], digest: str) -> bool:
    """Whether an attestation's statement is the one that raises the conflict of this digest."""
    subject = statement.get("subject") or {}
    found = (statement.get("type"), subject.get("kind"), subject.get("digest"))
    return found == (AttestationType.COMPLIANCE, CONFLICT_KIND, digest)


def may_raise(record: AttestationRecord, history: DomainHistory, second: int) -> bool:
    """Whether a conflict may open on this attestation at a second: by a member who may, with a key that is valid then.

    The key is the one that was in force when it was recorded; a key that was removed before the opening raises nothing.
    """
    revision = history.at(second)
    member = None if revision is None else revision.members.get(record.holder)
    if member is None or member.suspended or not member.may(Privilege.VALIDATE_ATTESTATION):
        return False
    return holds(history, record, second)


def raised(
    conflict: Conflict, domain: DomainRevision, raiser: str, proposals: Mapping[str, Mapping[str, Any]]
) -> Found:
    """The conflict with who may not arbitrate it.

    Args:
        conflict: As the member wrote it.
        domain: Revision of its domain in force when it opens.
        raiser: nodeId of the member.
        proposals: Signed fields by digest of the proposals that are parties, open ones too.
    """
    excluded, targets = {raiser: "raised it"}, []
    for party in conflict.parties:
        if party.kind == "TrustDomain":
            excluded[domain.home_hub] = f"homeHub of {party.name}"
        if party.digest in proposals:
            excluded[str(proposals[party.digest]["proposer"])] = f"proposer of {party.name}"
            targets.append(proposals[party.digest]["target"])
    shared = {clause for clauses in (domain.spec.get("sharedClauses") or {}).values() for clause in clauses}
    clauses = {party.clause for party in conflict.parties} | {target.get("clause") for target in targets}
    return Found(conflict, Cause.RAISED, excluded, tuple(targets), shared=bool(shared & clauses))
