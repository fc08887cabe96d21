"""The entry that puts a new content of a contract in force."""

from typing import Any

from quorate.audit.entry import Draft, Tether
from quorate.conflicts.effect import overruled
from quorate.contracts.content import Content
from quorate_operator.reconcile.contract import CHANGED
from quorate_operator.reconcile.docket import Docket
from quorate_operator.reconcile.proposal_gathered import Contract, Gathered


def contract_changed(
    gathered: Gathered, docket: Docket, contract: Contract, content: Content, evidence: str | None
) -> Draft:
    """Successor of the contract's last entry, so that of two changes on one base only one can be recorded."""
    meta = contract.obj["metadata"]
    target = docket.fields["target"]
    clauses = (str(target["clause"]),) if target.get("clause") else ()
    detail: dict[str, Any] = {"digest": content.digest, "version": content.version, "proposalDigest": docket.digest}
    if contract.content is not None:
        detail["baseDigest"] = contract.content.digest
    if evidence is not None:
        detail["evidenceDigest"] = evidence
    if ended := overruled(docket.conflicts):
        detail["overruled"] = {clause: content.clause_digest(clause) for clause in ended}
    return Draft(
        content.contract_id,
        None if contract.head is None else contract.head.entry_id,
        CHANGED,
        {"kind": "DynamicContract", "name": meta["name"], "uid": meta["uid"], "generation": meta.get("generation")},
        Tether(docket.constitution.latest.phase_id, content.version, clauses),
        gathered.at * 1_000_000,
        actor_id=str(docket.fields["proposer"]),
        question="contract.change",
        about=[content.digest, docket.digest],
        detail=detail,
    )
