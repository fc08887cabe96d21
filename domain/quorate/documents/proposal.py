"""The governance_proposal JSON document of a proposal (api.md, "Exported JSON documents"; row A9).

Votes are written as weights, as the tally has them: approve; reject with veto; everything cast. The document's
`phase_id` and `codex_clauses` are constants of its schema, which travels with the package.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from quorate.api.conditions import Reason
from quorate.api.governance_proposal import Phase
from quorate.canonical import hex_of_digest
from quorate.contracts.content import Content
from quorate.contracts.diff import json_patch
from quorate.contracts.form import ContractRefusedError
from quorate.contracts.patch import Target, changed_target
from quorate.documents.schema import (
    CODEX_CLAUSES,
    PHASE_ID,
    DocumentKind,
    DocumentRefusedError,
    document_id,
    validate,
    with_present,
)

NO_RATIONALE = "No rationale was given."
STATUS: Mapping[Phase, str] = {
    Phase.DRAFT: "draft",
    Phase.VOTING: "voting",
    Phase.CONFLICT: "voting",
    Phase.ADOPTED: "adopted",
    Phase.EXECUTED: "adopted",
    Phase.FAILED: "adopted",
    Phase.EMERGENCY_EXECUTED: "adopted",
    Phase.RATIFIED: "adopted",
    Phase.REJECTED: "rejected",
    Phase.EXPIRED: "rejected",
    Phase.STOPPED: "rejected",
    Phase.REVERSED: "rejected",
    Phase.WITHDRAWN: "withdrawn",
    Phase.SUPERSEDED: "withdrawn",
}


@dataclass(frozen=True)
class Resolution:
    """How a conflict was resolved: digests of the PolicyConflict and of its resolution, and which party prevailed."""

    conflict_digest: str
    resolution_digest: str
    kind: str

    def document(self) -> dict[str, str]:
        """`kind` PartyA, PartyB or Compromise becomes policy_a, policy_b, compromise."""
        kinds = {"PartyA": "policy_a", "PartyB": "policy_b", "Compromise": "compromise"}
        return {
            "conflict_id": document_id(self.conflict_digest),
            "resolution_id": document_id(self.resolution_digest),
            "resolution_type": kinds[self.kind],
        }


def export_proposal(
    proposal: Mapping[str, Any],
    *,
    digest: str,
    base: Content,
    domain_spec: Mapping[str, Any],
    attestations: Iterable[str] = (),
    resolution: Resolution | None = None,
) -> dict[str, Any]:
    """The document of a live GovernanceProposal, checked against its schema.

    Args:
        proposal: The object with metadata, spec and status.
        digest: Of the proposal revision.
        base: The content that the change is based on (before execution: the one in force).
        domain_spec: Spec of the domain revision under which it was opened.
        attestations: Digests of attestations about the proposal.
        resolution: Of a conflict that it took part in.

    Raises:
        DocumentRefusedError: NoClauseTarget, the reason of a change that does not apply to `base`, or Invalid where the
            result would break the schema.
    """
    spec, status, metadata = proposal["spec"], proposal.get("status") or {}, proposal["metadata"]
    clause = spec["target"].get("clause")
    if clause is None:
        raise DocumentRefusedError(Reason.NO_CLAUSE_TARGET, "target: only a proposal on a clause has a document")
    shared = (domain_spec.get("sharedClauses") or {}).get(spec["target"]["name"]) or ()
    scope = domain_spec.get("scope")
    document = {
        "proposal_id": document_id(digest),
        "proposed_by": spec["proposer"],
        "target_contract_clause": clause,
        "rationale": spec.get("rationale") or NO_RATIONALE,
        "changes": _changes(base, spec),
        "status": STATUS[Phase(status.get("phase", Phase.DRAFT))],
        "created_at": metadata["creationTimestamp"],
        "updated_at": status.get("executedAt") or status.get("decidedAt") or status.get("openedAt"),
        "phase_id": PHASE_ID,
        "voting_starts": status.get("votingStarts"),
        "voting_ends": status.get("votingEnds"),
        "voting_result": _result(status.get("tally")),
        "attestation_hashes": sorted({hex_of_digest(item) for item in attestations}),
        "governance_scope": None if scope is None else scope.lower(),
        "shared_clause": clause in shared,
        "local_override": False,
        "conflict_resolution": None if resolution is None else resolution.document(),
        "codex_clauses": list(CODEX_CLAUSES),
    }
    return validate(DocumentKind.PROPOSAL, with_present(document))


def _changes(base: Content, spec: Mapping[str, Any]) -> dict[str, Any]:
    target = Target.parse(spec["target"])
    try:
        after = changed_target(base, target, spec["change"])
    except ContractRefusedError as error:
        raise DocumentRefusedError(error.reason, str(error)) from error
    before = target.value(base)
    return {
        "current_text": "" if before is None else before["text"],
        "proposed_text": "" if after is None else after["text"],
        "diff": [_operation(item, removed=after is None) for item in json_patch(before, after)],
    }


def _operation(operation: Mapping[str, Any], *, removed: bool) -> dict[str, Any]:
    name = "remove" if removed else operation["op"]
    return {"path": operation["path"], "operation": name, "value": operation.get("value")}


def _result(tally: Mapping[str, Any] | None) -> dict[str, int] | None:
    if tally is None:
        return None
    return {
        "approve_votes": tally["approve"],
        "reject_votes": tally["reject"] + tally["veto"],
        "total_votes": tally["cast"],
    }
