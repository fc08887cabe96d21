"""Edges of trust: who vouches for whom at a second, from recorded Attestations (governance.md, "Trust"; docs/trust.md).

Only attestations of one domain make its graph: another constitution may list the same nodeId with keys of its own, so
what is signed under it says nothing here.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from quorate.api.attestation import AttestationType
from quorate.api.trust_domain import KeyPurpose
from quorate.trust.domain import DomainRevision, MemberKey
from quorate.trust.record import AHEAD_SECONDS, AttestationRecord, stand

FULL = 10_000
"""A whole in basis points."""
NODE_KIND = "MeshNode"
"""`subject.kind` of an attestation about a node; `subject.name` is then its nodeId."""


class Revisions(Protocol):
    """What was in force when: a domain's whole history, or the one revision that somebody knows."""

    @property
    def latest(self) -> DomainRevision:
        """The newest revision."""

    def at(self, second: int) -> DomainRevision | None:
        """The revision in force at a second, None before the first."""


@dataclass(frozen=True, slots=True)
class Edge:
    """`attester` vouches for `subject` with `weight` basis points; `digest` names the attestation."""

    attester: str
    subject: str
    weight: int
    digest: str
    sequence: int
    expires_at: int | None


class Graph:
    """The edges that hold at one second. Never changed; one more edge makes another graph that shares the rest.

    Attributes:
        out: The edges of each attester by subject, subjects in order; none to the attester itself.
    """

    def __init__(self, edges: Iterable[Edge] = ()) -> None:
        found: dict[str, list[Edge]] = {}
        for edge in edges:
            if edge.attester != edge.subject:
                found.setdefault(edge.attester, []).append(edge)
        self.out: Mapping[str, Mapping[str, Edge]] = {name: _by_subject(items) for name, items in found.items()}

    @cached_property
    def edges(self) -> Mapping[tuple[str, str], Edge]:
        """(attester, subject) → edge."""
        return {(edge.attester, edge.subject): edge for row in self.out.values() for edge in row.values()}

    @cached_property
    def weights(self) -> Mapping[tuple[str, str], int]:
        """(attester, subject) → weight."""
        return {pair: edge.weight for pair, edge in self.edges.items()}

    def with_edge(self, edge: Edge) -> "Graph":
        """A graph in which this edge is added, or takes the place of the one between the same two."""
        made = Graph()
        if edge.attester == edge.subject:
            made.out = self.out
        else:
            row = self.out.get(edge.attester, {})
            made.out = {**self.out, edge.attester: _by_subject([*row.values(), edge])}
        return made


def _by_subject(edges: Iterable[Edge]) -> Mapping[str, Edge]:
    return dict(sorted({edge.subject: edge for edge in edges}.items()))


def about_node(record: AttestationRecord) -> str | None:
    """The nodeId that an attestation is about, None where it is about something else."""
    subject = record.subject
    return str(subject.get("name")) if subject.get("kind") == NODE_KIND else None


def holds(history: Revisions, record: AttestationRecord, second: int) -> bool:
    """Whether an attestation says something at a second: recorded, unexpired, and by a key that is valid now.

    The key is the one that was in force when it was recorded, unexpired then, and that still is among the attester's
    keys: a removed key takes all its attestations along, a `notAfter` only those from that second on.
    """
    if record.recorded > second or record.statement.fields.get("domain") != history.latest.name:
        return False
    if record.expires_at is not None and second >= record.expires_at:
        return False
    if record.made_at > record.recorded + AHEAD_SECONDS:
        return False
    then, now = _key(history, record, record.recorded), _key(history, record, second)
    if then is None or now is None or then.public_key != now.public_key:
        return False
    return then.valid_at(record.recorded) and now.valid_at(record.recorded) and record.signed_by(now.public_key)


def purpose_of(kind: str) -> KeyPurpose:
    """Which keys sign attestations of a type: machines acknowledge what they hold, people say everything else."""
    return KeyPurpose.MACHINE if kind == AttestationType.CONTRACT_HELD else KeyPurpose.VOTE


def _key(history: Revisions, record: AttestationRecord, second: int) -> MemberKey | None:
    revision = history.at(second)
    member = None if revision is None else revision.members.get(record.holder)
    return None if member is None else member.key(purpose_of(record.type), record.key_name)


def standing(
    history: Revisions, records: Iterable[AttestationRecord], second: int
) -> Iterator[tuple[tuple[str, str], AttestationRecord]]:
    """((attester, subject), the attestation that stands) among those of one type about nodes, in no order.

    Of one key the highest sequence that holds stands; one sequence with two contents voids both. Of several keys of the
    attester the highest sequence stands, of equal ones the lower digest.
    """
    groups: dict[tuple[str, str], list[AttestationRecord]] = {}
    for record in records:
        subject = about_node(record)
        if subject is not None and subject != record.holder and holds(history, record, second):
            groups.setdefault((record.holder, subject), []).append(record)
    for pair, items in groups.items():
        candidates = items if len(items) == 1 else stand(items).records
        if candidates:
            yield pair, min(candidates, key=lambda item: (-item.sequence, item.digest))


def _is_weight(record: AttestationRecord) -> bool:
    """Whether the weight is one: a bundle's records were accepted by the hub alone, and a hub can be dishonest."""
    weight = record.content.get("weightBasisPoints")
    return type(weight) is int and 1 <= weight <= FULL


def trust_graph(history: Revisions, records: Iterable[AttestationRecord], second: int) -> Graph:
    """The graph of a domain at a second.

    Args:
        history: The domain's accepted revisions.
        records: Attestations as recorded, in any order; other types than Trust are passed over.
        second: Unix seconds.
    """
    trust = (record for record in records if record.type == AttestationType.TRUST and _is_weight(record))
    return Graph(
        Edge(
            attester,
            subject,
            int(record.content["weightBasisPoints"]),
            record.digest,
            record.sequence,
            record.expires_at,
        )
        for (attester, subject), record in standing(history, trust, second)
    )
