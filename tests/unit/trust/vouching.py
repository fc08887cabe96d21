"""Signed Attestations of the small domain's members as records, and graphs by names alone."""

from collections.abc import Iterable, Mapping
from typing import Any

from quorate.canonical import format_time
from quorate.identity.statements import attestation_statement
from quorate.trust.edges import Edge, Graph
from quorate.trust.record import AttestationRecord
from tests.unit.trust.domains import NAME, NODES, seed

SINCE = 1000


def edge(attester: str, subject: str, weight: int) -> Edge:
    """An edge without an attestation behind it."""
    return Edge(attester, subject, weight, f"{attester}>{subject}", 1, None)


def graph(*edges: tuple[str, str, int]) -> Graph:
    """A graph of (attester, subject, weight)."""
    return Graph(edge(*item) for item in edges)


def about(node: int | str) -> dict[str, Any]:
    """The subject of an attestation about a node."""
    return {"kind": "MeshNode", "name": NODES[node] if isinstance(node, int) else node}


def attested(
    by: int,
    kind: str,
    subject: Mapping[str, Any],
    statement: Mapping[str, Any],
    *,
    at: int = SINCE,
    key: str = "",
    signer: str = "",
    sequence: int = 1,
    expires: int | None = None,
    domain: str = NAME,
    signed_at: int | None = None,
) -> AttestationRecord:
    """Recorded at second `at`; key and signer are `vote-<by>` unless said otherwise."""
    label = key or f"vote-{by}"
    spec = {
        "domain": domain,
        "attester": NODES[by],
        "keyName": label,
        "sequence": sequence,
        "at": format_time(at if signed_at is None else signed_at),
        "subject": dict(subject),
        "type": kind,
        **({} if expires is None else {"expiresAt": format_time(expires)}),
        "statement": dict(statement),
    }
    spec["signature"] = attestation_statement("mesh", spec).sign(seed(signer or label))
    return AttestationRecord.of("mesh", spec, at)


def trusts(by: int, node: int | str, weight: int = 9000, **more: Any) -> AttestationRecord:
    """A Trust attestation of member `by`."""
    return attested(by, "Trust", about(node), {"weightBasisPoints": weight}, **more)


def weights(found: Graph) -> dict[tuple[int, Any], int]:
    """The edges of a graph with members by number."""
    numbers: dict[str, Any] = {node: number for number, node in enumerate(NODES)}
    return {(numbers[a], numbers.get(b, b)): edge.weight for (a, b), edge in found.edges.items()}


def digests(records: Iterable[AttestationRecord]) -> list[str]:
    """Their digests."""
    return [record.digest for record in records]
