"""A conflict that a member raises, as anybody derives it who knows the parties (docs/conflicts.md)."""

from collections.abc import Mapping

from quorate.api.policy_conflict import Cause
from quorate.conflicts.document import Conflict, Found
from quorate.trust.domain import DomainRevision


def raised(conflict: Conflict, domain: DomainRevision, raiser: str, proposers: Mapping[str, str]) -> Found:
    """The conflict with who may not arbitrate it.

    Args:
        conflict: As the member wrote it.
        domain: Revision of its domain in force when it opens.
        raiser: nodeId of the member.
        proposers: nodeId by digest of the proposals that are parties, open ones too.
    """
    excluded = {raiser: "raised it"}
    for party in conflict.parties:
        if party.kind == "TrustDomain":
            excluded[domain.home_hub] = f"homeHub of {party.name}"
        if party.digest in proposers:
            excluded[proposers[party.digest]] = f"proposer of {party.name}"
    shared = {clause for clauses in (domain.spec.get("sharedClauses") or {}).values() for clause in clauses}
    clauses = {party.clause for party in conflict.parties if party.clause}
    return Found(conflict, Cause.RAISED, excluded, shared=bool(shared & clauses))
