"""The governance_proposal document."""

from typing import Any

import pytest

from quorate.api.conditions import Reason
from quorate.api.governance_proposal import Phase
from quorate.canonical import digest_of
from quorate.contracts.content import Content
from quorate.documents.proposal import STATUS, Resolution, export_proposal
from quorate.documents.schema import DocumentKind, DocumentRefusedError, document_id, schema

DIGEST = "sha256:" + "ff" * 32
NODE = "11111111-1111-4111-8111-111111111111"
ONE = {"text": "One.", "title": "First", "rule": "a"}
BASE = Content.genesis(
    {"contractId": "6b1b36cb-1111-4222-8333-444455556666", "version": "v2026.01.05-3", "clauses": {"1.2": ONE}}
)
TALLY = {"approve": 7, "reject": 2, "abstain": 1, "veto": 3, "cast": 13}
DOMAIN = {"scope": "Federated", "sharedClauses": {"rules": ["1.2"]}}


def proposal(patch: Any, base: Any = ONE, target: Any = None, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "p", "creationTimestamp": "2026-02-01T00:00:00Z"},
        "spec": {
            "proposer": NODE,
            "target": target or {"kind": "DynamicContract", "name": "rules", "clause": "1.2"},
            "change": {"patch": patch, "baseDigest": digest_of(base)},
            "rationale": "Clearer.",
        },
        "status": {"phase": "Voting", "openedAt": "2026-02-01T00:00:01Z", **status},
    }


PATCH = [
    {"op": "test", "path": "/text", "value": "One."},
    {"op": "replace", "path": "/text", "value": "Uno."},
    {"op": "remove", "path": "/rule"},
]


def test_complete_document() -> None:
    """A proposal on a clause gives a document that satisfies the schema, with every mapped field."""
    given = proposal(PATCH, votingStarts="2026-02-01T00:00:01Z", votingEnds="2026-02-08T00:00:01Z", tally=TALLY)
    resolution = Resolution(DIGEST, "sha256:" + "00" * 32, "PartyA")
    document = export_proposal(
        given, digest=DIGEST, base=BASE, domain_spec=DOMAIN, attestations=[DIGEST, DIGEST], resolution=resolution
    )
    assert document == {
        "proposal_id": "ffffffff-ffff-4fff-bfff-ffffffffffff",
        "proposed_by": NODE,
        "target_contract_clause": "1.2",
        "rationale": "Clearer.",
        "changes": {
            "current_text": "One.",
            "proposed_text": "Uno.",
            "diff": [
                {"path": "/rule", "operation": "remove", "value": None},
                {"path": "/text", "operation": "replace", "value": "Uno."},
            ],
        },
        "status": "voting",
        "created_at": "2026-02-01T00:00:00Z",
        "updated_at": "2026-02-01T00:00:01Z",
        "phase_id": "5.5",
        "voting_starts": "2026-02-01T00:00:01Z",
        "voting_ends": "2026-02-08T00:00:01Z",
        "voting_result": {"approve_votes": 7, "reject_votes": 5, "total_votes": 13},
        "attestation_hashes": ["ff" * 32],
        "governance_scope": "federated",
        "shared_clause": True,
        "local_override": False,
        "conflict_resolution": {
            "conflict_id": "ffffffff-ffff-4fff-bfff-ffffffffffff",
            "resolution_id": "00000000-0000-4000-8000-000000000000",
            "resolution_type": "policy_a",
        },
        "codex_clauses": ["5.5", "5.4", "11.0", "11.1", "5.2.5"],
    }


@pytest.mark.parametrize(
    ("patch", "base", "clause", "texts", "operation"),
    [
        ([{"op": "replace", "path": "", "value": None}], ONE, "1.2", ("One.", ""), "remove"),
        ([{"op": "add", "path": "", "value": {"text": "Two."}}], None, "2", ("", "Two."), "add"),
    ],
)
def test_whole_clauses(patch: Any, base: Any, clause: str, texts: tuple[str, str], operation: str) -> None:
    """A new clause is one add, a removed one is one remove with value null."""
    target = {"kind": "DynamicContract", "name": "rules", "clause": clause}
    changes = export_proposal(proposal(patch, base, target), digest=DIGEST, base=BASE, domain_spec={})["changes"]
    assert (changes["current_text"], changes["proposed_text"]) == texts
    assert [(item["path"], item["operation"]) for item in changes["diff"]] == [("", operation)]
    assert operation == "add" or changes["diff"][0]["value"] is None


@pytest.mark.parametrize(
    "target",
    [{"kind": "DynamicContract", "name": "rules", "section": "surfaces"}, {"kind": "TrustDomain", "name": "acme"}],
)
def test_no_clause_target(target: dict[str, str]) -> None:
    """Only a proposal on a clause has a document."""
    with pytest.raises(DocumentRefusedError) as caught:
        export_proposal(proposal(PATCH, target=target), digest=DIGEST, base=BASE, domain_spec={})
    assert caught.value.reason is Reason.NO_CLAUSE_TARGET


def test_other_refusals() -> None:
    """A change that does not fit the base, or a field that breaks the schema, is refused and named."""
    with pytest.raises(DocumentRefusedError) as caught:
        export_proposal(proposal(PATCH, {"text": "old"}), digest=DIGEST, base=BASE, domain_spec={})
    assert caught.value.reason is Reason.STALE_BASE
    broken = proposal(PATCH)
    broken["spec"]["proposer"] = "node-1"
    with pytest.raises(DocumentRefusedError, match="proposed_by"):
        export_proposal(broken, digest=DIGEST, base=BASE, domain_spec={})


@pytest.mark.parametrize(
    ("phases", "status"),
    [
        ("Draft", "draft"),
        ("Voting Conflict", "voting"),
        ("Adopted Executed Failed EmergencyExecuted Ratified", "adopted"),
        ("Rejected Expired Stopped Reversed", "rejected"),
        ("Withdrawn Superseded", "withdrawn"),
    ],
)
def test_status(phases: str, status: str) -> None:
    """Every phase has the status that api.md gives it."""
    for phase in phases.split():
        assert STATUS[Phase(phase)] == status
        given = proposal(PATCH, phase=phase)
        assert export_proposal(given, digest=DIGEST, base=BASE, domain_spec={})["status"] == status


def test_ids_and_schema() -> None:
    """Every phase is mapped, ids have the UUIDv4 form, and the schema's constants are ours."""
    assert set(STATUS) == set(Phase)
    assert document_id("sha256:" + "12" * 32) == "12121212-1212-4212-9212-121212121212"
    assert schema(DocumentKind.PROPOSAL)["properties"]["phase_id"]["const"] == "5.5"
