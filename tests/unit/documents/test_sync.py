"""The governance_contract_sync document."""

from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.api.contract_sync import SyncMode
from quorate.canonical import canonical_bytes, digest_of
from quorate.contracts.content import Content, Previous
from quorate.documents.reading import check_contract, read
from quorate.documents.schema import DocumentKind, DocumentRefusedError
from quorate.documents.sync import Acknowledgement, Rollout, changes_between, export_sync

HUB = "11111111-1111-4111-8111-111111111111"
NODES = [f"2222222{index}-2222-4222-8222-222222222222" for index in range(3)]
DIGEST = "sha256:" + "ff" * 32
SIGNATURE = "A" * 86
LONG = {str(number): {"text": "x" * 400} for number in range(20, 40)}
BASE = Content.genesis(
    {
        "contractId": "6b1b36cb-1111-4222-8333-444455556666",
        "version": "v2026.01.05",
        "clauses": {"1": {"text": "One.", "rule": "a/b"}, "2": {"text": "Two."}, **LONG},
    }
)


def after(clauses: dict[str, Any], surfaces: Any = None) -> Content:
    previous = Previous(BASE.version, BASE.digest)
    return Content(BASE.contract_id, "v2026.01.06-3", clauses, surfaces, previous, DIGEST)


CONTENT = after({"1": {"text": "Uno.", "title": "First"}, "3": {"text": "Three."}, **LONG})


def document(**more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "digest": DIGEST,
        "source": HUB,
        "targets": NODES,
        "at": 1_767_225_600,
        "base": BASE,
        **more,
    }
    return export_sync(CONTENT, **given)


def patched(base: Content, changes: list[dict[str, Any]]) -> Any:
    operations = [
        {"op": item["operation"], "path": item["path"]}
        | ({} if item["operation"] == "remove" else {"value": item["value"]})
        for item in changes
    ]
    return jsonpatch.apply_patch(base.document, operations)


def test_complete_document() -> None:
    """Every field has its source; versions lose their number, hashes their prefix; Auto takes the smaller form."""
    acknowledgements = tuple(Acknowledgement(node, f"2026-01-0{index}T00:00:00Z", SIGNATURE) for index, node in
                             enumerate([HUB, NODES[0], NODES[0]], 1))  # fmt: skip
    rollout = Rollout(frozenset([HUB, NODES[0]]), ((NODES[2], "StaleBase"),), acknowledgements, DIGEST)
    made = document(rollout=rollout)
    changes = made["diff"].pop("changes")
    assert digest_of(patched(BASE, changes)) == CONTENT.digest
    assert made == {
        "sync_id": "ffffffff-ffff-4fff-bfff-ffffffffffff",
        "source_node_id": HUB,
        "target_node_ids": NODES,
        "contract_version": "v2026.01.06",
        "contract_hash": CONTENT.digest.removeprefix("sha256:"),
        "timestamp": "2026-01-01T00:00:00Z",
        "phase_id": "5.5",
        "sync_type": "diff",
        "diff": {"base_version": "v2026.01.05", "base_hash": BASE.digest.removeprefix("sha256:")},
        "successful_nodes": [NODES[0]],
        "failed_nodes": [{"node_id": NODES[2], "error": "StaleBase"}],
        "attestation": {"attester_node_id": HUB, "signature": SIGNATURE, "timestamp": "2026-01-01T00:00:00Z"},
        "last_attested_by": [
            {"node_id": HUB, "timestamp": "2026-01-01T00:00:00Z"},
            {"node_id": NODES[0], "timestamp": "2026-01-03T00:00:00Z"},
        ],
        "consensus_hash": "ff" * 32,
        "codex_clauses": ["5.5", "5.4", "11.0", "11.1", "5.2.5"],
    }


@pytest.mark.parametrize(
    ("mode", "base", "kind"),
    [
        (SyncMode.FULL, BASE, "full"),
        (SyncMode.DIFF, BASE, "diff"),
        (SyncMode.INCREMENTAL, BASE, "incremental"),
        (SyncMode.AUTO, BASE, "diff"),
        (SyncMode.AUTO, None, "full"),
        (SyncMode.FULL, None, "full"),
    ],
)
def test_modes(mode: SyncMode, base: Content | None, kind: str) -> None:
    """A diff needs a base; Auto without one is full."""
    made = document(mode=mode, base=base)
    assert made["sync_type"] == kind
    assert ("diff" in made) is (kind != "full")


def test_auto_takes_the_whole_where_the_diff_is_not_smaller() -> None:
    """A change of everything is sent as the content."""
    whole = after({"9": {"text": "Nine."}})
    made = export_sync(whole, digest=DIGEST, source=HUB, targets=NODES, at=0, base=BASE)
    assert made["sync_type"] == "full"


@pytest.mark.parametrize("change", [{"mode": SyncMode.DIFF, "base": None}, {"targets": []}, {"source": "hub"}])
def test_refused(change: dict[str, Any]) -> None:
    """A diff of nothing, a sync to nobody, an id that is none: no document."""
    with pytest.raises(DocumentRefusedError):
        document(**change)


def test_a_receiver_checks_the_hash() -> None:
    """What was exported can be read again, and fits the content that it names and no other."""
    kind, made = read(canonical_bytes(document()))
    assert kind is DocumentKind.CONTRACT_SYNC
    check_contract(made, CONTENT)
    with pytest.raises(DocumentRefusedError, match="contract_hash"):
        check_contract(made, BASE)


CLAUSE = st.fixed_dictionaries({"text": st.sampled_from("abc")}, optional={"rule": st.sampled_from(["~", "a/b"])})
CLAUSES = st.dictionaries(st.sampled_from(["1", "2", "2.10", "3"]), CLAUSE)
SURFACES = st.none() | st.just({"cold": {"capabilities": ["a"]}}) | st.just({"cold": {"capabilities": ["a", "b"]}})


@given(CLAUSES, CLAUSES, SURFACES, SURFACES)
def test_changes_always_lead_there(low: Any, high: Any, old: Any, new: Any) -> None:
    """Whatever the two contents are, the changes applied to one give the digest of the other."""
    base = Content(BASE.contract_id, BASE.version, low, old)
    content = after(high, new)
    assert digest_of(patched(base, changes_between(base, content))) == content.digest
