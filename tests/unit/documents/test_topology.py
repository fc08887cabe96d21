"""The governance_mesh_topology document."""

import copy
import json
from typing import Any

import pytest
import rfc8785

from quorate.canonical import digest_of_bytes
from quorate.documents.reading import read
from quorate.documents.schema import DocumentKind, DocumentRefusedError, document_id
from quorate.documents.topology import Mesh, export_topology
from quorate.trust.domain import DomainRevision
from quorate.trust.edges import Edge
from tests.unit.proposals.fleet import MESH, member, node, public

NOW = 1_767_225_600
A, B, C, D = (node(name) for name in "abcd")
EDGE = "sha256:" + "12" * 32


def domain(name: str = "fleet", members: Any = None, **more: Any) -> DomainRevision:
    listed = members or [
        {**member("a"), "role": "GovernanceHub"},
        {**member("b"), "role": "ComplianceWitness"},
        {**member("c"), "role": "TrustFork"},
        {**member("d"), "suspended": True},
    ]
    listed[0]["keys"] = [*listed[0]["keys"], {"purpose": "Machine", "name": "m", "publicKey": public("a.machine")}]
    return DomainRevision(name, {"meshId": MESH, "homeHub": A, "members": listed, **more})


def mesh_node(name: str, identity: str = "Verified", *, alive: bool = True, **spec: Any) -> dict[str, Any]:
    verified = identity == "Verified"
    conditions = [
        {"type": "IdentityVerified", "status": str(verified), "reason": identity},
        {"type": "Heartbeating", "status": str(verified and alive), "reason": "Heartbeating"},
    ]
    spec = {"nodeId": node(name), "trustDomains": ["fleet"], **spec}
    return {"metadata": {"name": f"node-{name}"}, "spec": spec, "status": {"conditions": conditions}}


def mesh(*nodes: dict[str, Any], **more: Any) -> Mesh:
    return Mesh((domain(sharedClauses={"rules": ["2.10", "2.9"]}, localOverridesPermitted={A: ["1"]}),), nodes, **more)


FULL = mesh(
    mesh_node("a", endpoint="https://a.example:8443", connections=[{"node": "node-b", "type": "Direct"}]),
    mesh_node("b", privileges=["VoteOnProposal"], connections=[{"node": "node-z", "type": "Backup"}]),
    mesh_node("c", alive=False),
    mesh_node("z"),
    last_seen={A: NOW - 5},
    edges=(Edge(A, B, 9000, EDGE, 1, None),),
)


def test_complete_document() -> None:
    """Every field has its source: constitution, MeshNode, heartbeat, Trust attestation."""
    made = export_topology(FULL, now=NOW, previous={"topology_id": document_id(EDGE)})
    document = made.document
    nodes = {item["node_id"]: item for item in document["nodes"]}
    assert nodes[A] == {
        "node_id": A,
        "node_type": "governance_hub",
        "status": "active",
        "privileges": [
            "can_override_policy",
            "can_propose_policy",
            "can_validate_attestation",
            "can_vote_on_proposal",
        ],
        "public_key": public("a.machine"),
        "network_address": "https://a.example:8443",
        "last_seen": "2025-12-31T23:59:55Z",
    }
    assert (nodes[B]["node_type"], nodes[B]["privileges"]) == ("compliance_witness", ["can_vote_on_proposal"])
    assert [nodes[name]["status"] for name in (A, B, C, D)] == ["active", "active", "inactive", "suspended"]
    assert nodes[D]["privileges"] == []
    assert document["connections"] == [
        {
            "source_node_id": A,
            "target_node_id": B,
            "connection_type": "direct",
            "trust_score": 0.9,
            "attestation_id": document_id(EDGE),
        }
    ]
    (shown,) = document["domains"]
    assert (shown["name"], shown["admin_node_id"], shown["member_nodes"]) == ("fleet", A, sorted([A, B, C, D]))
    assert shown["shared_clauses"] == ["2.9", "2.10"]
    assert shown["local_overrides"] == {A: ["1"]}
    assert document["health_status"] == {
        "overall_status": "degraded",
        "health_score": 0.5,
        "node_counts": {"healthy": 2, "degraded": 1, "offline": 1},
    }
    assert document["previous_topology_id"] == document_id(EDGE)
    assert len(made.notes) == 2
    assert any("node-z" in note for note in made.notes)


@pytest.mark.parametrize(
    ("nodes", "status"),
    [
        ((), "pending"),
        ((mesh_node("a", "NoHeartbeat"),), "pending"),
        ((mesh_node("a", "BadSignature"),), "inactive"),
        ((mesh_node("a", "NotAMember"),), "inactive"),
        ((mesh_node("a", suspended=True),), "suspended"),
        (({"metadata": {"name": "a"}, "spec": {"nodeId": A, "trustDomains": ["fleet"]}},), "pending"),
        ((mesh_node("a", trustDomains=["other"]),), "pending"),
    ],
)
def test_status(nodes: tuple[dict[str, Any], ...], status: str) -> None:
    """A node is active only while its heartbeats are verified and fresh; what is not known yet is pending."""
    document = export_topology(mesh(*nodes), now=NOW).document
    assert next(item for item in document["nodes"] if item["node_id"] == A)["status"] == status


@pytest.mark.parametrize(
    ("alive", "overall"), [("abcd", "degraded"), ("ab", "degraded"), ("a", "critical"), ("", "critical")]
)
def test_health(alive: str, overall: str) -> None:
    """Fewer than half of the nodes active is critical; a suspended node is never healthy."""
    document = export_topology(mesh(*(mesh_node(name) for name in alive)), now=NOW).document
    assert document["health_status"]["overall_status"] == overall


def test_two_objects_of_one_node_are_told() -> None:
    """The first by name stands for the node, and the other is said to be left out."""
    twin = {**mesh_node("a", "BadSignature"), "metadata": {"name": "another"}}
    made = export_topology(mesh(mesh_node("a"), twin), now=NOW)
    assert made.notes == ("MeshNode node-a: another has the same nodeId; left out",)
    assert next(item for item in made.document["nodes"] if item["node_id"] == A)["status"] == "inactive"


def test_a_member_of_two_domains_stands_once() -> None:
    """Its type is its strongest role, its privileges those of both."""
    other = domain("other", [{**member("b"), "role": "GovernanceHub"}])
    document = export_topology(Mesh((domain(), other)), now=NOW).document
    assert [item["node_type"] for item in document["nodes"] if item["node_id"] == B] == ["governance_hub"]
    assert [item["name"] for item in document["domains"]] == ["fleet", "other"]


def test_the_hash_is_that_of_rfc_8785() -> None:
    """Another implementation of RFC 8785 derives the same hash, scores included, and the id follows from it."""
    document = export_topology(FULL, now=NOW).document
    hashed = {name: value for name, value in document.items() if name not in ("topology_id", "topology_hash")}
    digest = digest_of_bytes(rfc8785.dumps(hashed))
    assert document["topology_hash"] == digest.removeprefix("sha256:")
    assert document["topology_id"] == document_id(digest)


def test_an_attestation_is_about_this_very_document() -> None:
    """The signature of an Attestation travels along if its subject is the document's hash, else nothing is made."""
    digest = "sha256:" + export_topology(FULL, now=NOW).document["topology_hash"]
    spec = {"attester": A, "signature": "A" * 86, "at": "2026-01-01T00:00:00Z", "subject": {"digest": digest}}
    document = export_topology(FULL, now=NOW, attestation=spec).document
    assert document["attestation"]["attester_node_id"] == A
    assert read(json.dumps(document).encode())[0] is DocumentKind.MESH_TOPOLOGY
    with pytest.raises(DocumentRefusedError, match="subject"):
        export_topology(FULL, now=NOW + 1, attestation=spec)


def test_nobody_is_no_mesh() -> None:
    """The schema demands a node; without a domain there is no document."""
    with pytest.raises(DocumentRefusedError, match="nodes"):
        export_topology(Mesh(()), now=NOW)


def broken(change: Any) -> bytes:
    document = copy.deepcopy(export_topology(FULL, now=NOW).document)
    change(document)
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda d: d["nodes"][0].update(status="asleep"), "status"),
        (lambda d: d["nodes"][0].update(node_type="trust_fork"), "topology_hash"),
        (lambda d: d.update(topology_id=document_id(EDGE)), "topology_id"),
        (lambda d: d["connections"][0].update(trust_score=0.90001), "0.90001"),
        (lambda d: d["connections"][0].update(trust_score=1.5), "1.5"),
        (lambda d: d["connections"][0].update(trust_score=float("nan")), "NaN"),
        (
            lambda d: (d.pop("topology_hash"), d["connections"][0].update(target_node_id=document_id(EDGE))),
            "is no node",
        ),
        (lambda d: (d.pop("topology_hash"), d["domains"][0]["member_nodes"].append(document_id(EDGE))), "is no node"),
        (lambda d: d.update(timestamp="2026-02-30T00:00:00Z"), "timestamp"),
        (lambda d: d.update(timestamp="yesterday"), "timestamp"),
        (lambda d: d["nodes"][0].update(network_address="not a uri"), "network_address"),
        (lambda d: d["nodes"][0].update(node_id=A + "\n"), "node_id"),
        (lambda d: d.update(phase_id="5.6"), "phase_id"),
        (lambda d: d.update(sync_id=A), "exactly one"),
        (lambda d: d.pop("topology_id"), "exactly one"),
    ],
)
def test_what_is_read_is_checked(change: Any, named: str) -> None:
    """A document of another program is refused with the field that is wrong."""
    with pytest.raises(DocumentRefusedError, match=named):
        read(broken(change))


def test_a_refusal_is_short() -> None:
    """However large the value that is refused, the sentence is one that people can read."""
    with pytest.raises(DocumentRefusedError, match="status") as refused:
        read(broken(lambda d: d["nodes"][0].update(status="x" * 1_000_000)))
    assert len(str(refused.value)) < 600


HALF = broken(lambda d: d["domains"][0].update(name="\ud800"))
"""Half a character, which an escape can write and no hash has."""


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{", b"\xff", b'{"topology_id": 1, "topology_id": 1}', b"[" * 100_000, HALF]
)
def test_what_is_no_document_is_refused(data: bytes) -> None:
    """Bytes that are no JSON object, and names that occur twice."""
    with pytest.raises(DocumentRefusedError):
        read(data)
