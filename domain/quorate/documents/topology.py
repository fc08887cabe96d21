"""The governance_mesh_topology JSON document: nodes, connections, domains and health (api.md, row A9).

Roles, keys and domains are those of the accepted revisions; a MeshNode adds liveness, address and connections. The hash
is the SHA-256 of the document's RFC 8785 form without `topology_id`, `topology_hash` and `attestation`; the id follows
from it, so the same mesh at the same second has the same id for everybody.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quorate.api.conditions import ConditionType, Reason, find_condition, is_true
from quorate.api.schema import Role
from quorate.api.trust_domain import KeyPurpose
from quorate.canonical import digest_of, digest_of_bytes, format_time, hex_of_digest
from quorate.contracts.content import clause_order
from quorate.documents.schema import (
    CODEX_CLAUSES,
    PHASE_ID,
    SCALE,
    DocumentKind,
    DocumentRefusedError,
    document_id,
    score,
    snake_case,
    validate,
    with_present,
)
from quorate.trust.domain import PRIVILEGES, DomainRevision, Member
from quorate.trust.edges import Edge

Obj = Mapping[str, Any]
STRONGEST = (Role.GOVERNANCE_HUB, Role.COMPLIANCE_WITNESS, Role.TRUST_FORK)
_WAITING = frozenset({Reason.NO_HEARTBEAT, Reason.NO_CHALLENGE, Reason.NAMESPACE_MISSING, Reason.NO_ACCEPTED_REVISION})
_UNHASHED = frozenset({"topology_id", "topology_hash", "attestation"})
_HEALTH = {"active": "healthy", "pending": "degraded", "suspended": "degraded", "inactive": "offline"}


@dataclass(frozen=True)
class Mesh:
    """What a topology is made of.

    Args:
        domains: Accepted revisions.
        nodes: MeshNode objects.
        last_seen: nodeId → Unix second of the newest verified heartbeat.
        edges: Trust edges that stand now.
    """

    domains: tuple[DomainRevision, ...]
    nodes: tuple[Obj, ...] = ()
    last_seen: Mapping[str, int] | None = None
    edges: tuple[Edge, ...] = ()


@dataclass(frozen=True)
class Topology:
    """The document, and sentences about what it leaves out."""

    document: dict[str, Any]
    notes: tuple[str, ...] = ()


def export_topology(
    mesh: Mesh, *, now: int, previous: Mapping[str, Any] | None = None, attestation: Obj | None = None
) -> Topology:
    """The document of a mesh at `now`, checked against its schema.

    Args:
        mesh: What is known.
        now: Unix seconds.
        previous: The topology document before, which this one names.
        attestation: Spec of an Attestation whose subject digest is this document's hash.

    Raises:
        DocumentRefusedError: Invalid where the result breaks the schema (no members at all), or the attestation is
            about something else.
    """
    places = _places(mesh.domains)
    objects, left_out = _objects(mesh, places)
    connections, dangling = _connections(mesh, objects)
    nodes = [_node(name, places[name], objects.get(name), mesh, now) for name in sorted(places)]
    document = {
        "nodes": nodes,
        "connections": connections,
        "domains": [_domain(domain) for domain in sorted(mesh.domains, key=lambda item: item.name)],
        "timestamp": format_time(now),
        "phase_id": PHASE_ID,
        "previous_topology_id": None if previous is None else str(previous["topology_id"]),
        "health_status": _health(nodes),
        "codex_clauses": list(CODEX_CLAUSES),
    }
    made = with_present(document)
    digest = topology_digest(made)
    made |= {"topology_id": document_id(digest), "topology_hash": hex_of_digest(digest)}
    if attestation is not None:
        made["attestation"] = _attestation(attestation, digest)
    return Topology(validate(DocumentKind.MESH_TOPOLOGY, made), (*left_out, *dangling))


def topology_digest(document: Mapping[str, Any]) -> str:
    """The digest that a topology document's hash and id follow from.

    Its only numbers that are no integers are scores in steps of 0.0001, which Python and RFC 8785 write alike; its
    names are ASCII.
    """
    hashed = {name: value for name, value in document.items() if name not in _UNHASHED}
    return digest_of_bytes(json.dumps(hashed, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode())


def check_topology(document: Mapping[str, Any]) -> None:
    """Refuse a topology document whose hash or id is not its own, or whose connections and domains name no node."""
    digest = topology_digest(document)
    if document.get("topology_hash", hex_of_digest(digest)) != hex_of_digest(digest):
        raise DocumentRefusedError(Reason.INVALID, f"topology_hash: the document's hash is {hex_of_digest(digest)}")
    if "topology_hash" in document and document["topology_id"] != document_id(digest):
        raise DocumentRefusedError(Reason.INVALID, f"topology_id: the hash gives {document_id(digest)}")
    known = {node["node_id"] for node in document["nodes"]}
    for index, item in enumerate(document["connections"]):
        for name in ("source_node_id", "target_node_id"):
            if item[name] not in known:
                raise DocumentRefusedError(Reason.INVALID, f"connections/{index}/{name}: {item[name]} is no node")
    for index, domain in enumerate(document["domains"]):
        unknown = sorted(set(domain["member_nodes"]) - known)
        if unknown:
            raise DocumentRefusedError(Reason.INVALID, f"domains/{index}/member_nodes: {unknown[0]} is no node")


Place = tuple[DomainRevision, Member]


def _places(domains: Iterable[DomainRevision]) -> dict[str, list[Place]]:
    """Each member's places, in order of the domains' names."""
    found: dict[str, list[Place]] = {}
    for domain in sorted(domains, key=lambda item: item.name):
        for member in domain.members.values():
            found.setdefault(member.node_id, []).append((domain, member))
    return found


def _objects(mesh: Mesh, places: Mapping[str, Any]) -> tuple[dict[str, Obj], list[str]]:
    """The MeshNode of each member, of those that take part in one of the domains; and which are left out."""
    domains = {domain.name for domain in mesh.domains}
    found: dict[str, Obj] = {}
    notes = []
    for obj in sorted(mesh.nodes, key=lambda item: str(item["metadata"]["name"])):
        name, node_id = obj["metadata"]["name"], str(obj["spec"]["nodeId"])
        if node_id not in places or not domains & set(obj["spec"].get("trustDomains") or ()):
            notes.append(f"MeshNode {name}: is no member of a domain that is shown; left out")
        elif node_id in found:
            notes.append(f"MeshNode {name}: {found[node_id]['metadata']['name']} has the same nodeId; left out")
        else:
            found[node_id] = obj
    return found, notes


def _node(name: str, places: Sequence[Place], obj: Obj | None, mesh: Mesh, now: int) -> dict[str, Any]:
    spec = {} if obj is None else obj["spec"]
    roles = [role for role in STRONGEST if any(member.role == role for _, member in places)]
    keys = [key for _, member in places for key in member.keys if key.purpose == KeyPurpose.MACHINE]
    seen = (mesh.last_seen or {}).get(name)
    held = {privilege for _, member in places if not member.suspended for privilege in PRIVILEGES[Role(member.role)]}
    narrowed = held if spec.get("privileges") is None else held & set(spec["privileges"])
    return with_present(
        {
            "node_id": name,
            "node_type": snake_case(roles[0]),
            "status": _status(places, obj),
            "privileges": sorted(f"can_{snake_case(privilege)}" for privilege in narrowed),
            "public_key": next((key.public_key for key in keys if key.valid_at(now)), None),
            "network_address": spec.get("endpoint"),
            "last_seen": None if seen is None else format_time(seen),
        }
    )


def _status(places: Sequence[Place], obj: Obj | None) -> str:
    """Suspended first; pending until a first heartbeat; active while heartbeats are verified and fresh."""
    if all(member.suspended for _, member in places) or (obj is not None and obj["spec"].get("suspended")):
        return "suspended"
    status = None if obj is None else obj.get("status")
    if is_true(status, ConditionType.IDENTITY_VERIFIED) and is_true(status, ConditionType.HEARTBEATING):
        return "active"
    identity = find_condition(status, ConditionType.IDENTITY_VERIFIED)
    return "pending" if identity is None or identity.get("reason") in _WAITING else "inactive"


def _connections(mesh: Mesh, objects: Mapping[str, Obj]) -> tuple[list[dict[str, Any]], list[str]]:
    """The connections between members, with the direct trust of source in target; and what points nowhere."""
    names = {str(obj["metadata"]["name"]): node_id for node_id, obj in objects.items()}
    edges = {(edge.attester, edge.subject): edge for edge in mesh.edges}
    found, notes = [], []
    for source, obj in objects.items():
        for item in obj["spec"].get("connections") or ():
            target = names.get(item["node"])
            if target is None:
                notes.append(f"connection of {obj['metadata']['name']} to {item['node']}: no such member; left out")
                continue
            edge = edges.get((source, target))
            fields = {
                "source_node_id": source,
                "target_node_id": target,
                "connection_type": snake_case(item["type"]),
                "trust_score": None if edge is None else score(edge.weight),
                "attestation_id": None if edge is None else document_id(edge.digest),
            }
            found.append(with_present(fields))
    return sorted(found, key=lambda item: (item["source_node_id"], item["target_node_id"])), sorted(notes)


def _domain(domain: DomainRevision) -> dict[str, Any]:
    shared = {clause for clauses in (domain.spec.get("sharedClauses") or {}).values() for clause in clauses}
    overrides = domain.spec.get("localOverridesPermitted") or {}
    return {
        # Of mesh and name, not of the revision: the domain stays the same one.
        "domain_id": document_id(digest_of({"meshId": domain.mesh_id, "name": domain.name})),
        "name": domain.name,
        "admin_node_id": domain.home_hub,
        "member_nodes": sorted(domain.members),
        "shared_clauses": sorted(shared, key=clause_order),
        "local_overrides": {node: sorted(clauses, key=clause_order) for node, clauses in sorted(overrides.items())},
    }


def _health(nodes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """healthy: all are active; critical: fewer than half are; the score is the share of active nodes, floored."""
    counts = dict.fromkeys(("healthy", "degraded", "offline"), 0)
    for node in nodes:
        counts[_HEALTH[node["status"]]] += 1
    points = counts["healthy"] * SCALE // max(len(nodes), 1)
    overall = "healthy" if counts["healthy"] == len(nodes) else "degraded" if points * 2 >= SCALE else "critical"
    return {"overall_status": overall, "health_score": score(points), "node_counts": counts}


def _attestation(spec: Obj, digest: str) -> dict[str, str]:
    subject = (spec.get("subject") or {}).get("digest")
    if subject != digest:
        raise DocumentRefusedError(Reason.INVALID, f"attestation: its subject is {subject}, the topology is {digest}")
    return {"attester_node_id": spec["attester"], "signature": spec["signature"], "timestamp": spec["at"]}
