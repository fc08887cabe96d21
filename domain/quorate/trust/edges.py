"""Edges of trust: who vouches for whom at a second, from recorded Attestations (governance.md, "Trust"; docs/trust.md).

Only attestations of one domain make its graph: another constitution may list the same nodeId with keys of its own, so
what is signed under it says nothing here.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import Protocol

from quorate.api.attestation import AttestationType
from quorate.api.trust_domain import KeyPurpose
from quorate.trust.domain import DomainRevision, MemberKey
from quorate.trust.record import AHEAD_SECONDS, AttestationRecord, stand

FULL = 10_000
"""A whole in basis points."""
NODE_KIND = "MeshNode"
"""`subject.kind` of an attestation about a node; `subject.name` is then its nodeId."""
Pair = tuple[str, str]
"""NodeIds of attester and subject."""


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
    """The edges that hold at one second. Never changed; another edge makes another graph that shares the rest.

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
    def edges(self) -> Mapping[Pair, Edge]:
        """(attester, subject) → edge."""
        return {(edge.attester, edge.subject): edge for row in self.out.values() for edge in row.values()}

    @cached_property
    def weights(self) -> Mapping[Pair, int]:
        """(attester, subject) → weight."""
        return {pair: edge.weight for pair, edge in self.edges.items()}

    def changed(self, edges: Mapping[Pair, Edge | None]) -> "Graph":
        """The graph in which there is this edge, or none, between these two nodes each; itself where there is already.

        Edges to oneself are passed over.
        """
        rows: dict[str, dict[str, Edge]] = {}
        for (attester, subject), edge in edges.items():
            if attester != subject and self.out.get(attester, _NO_EDGES).get(subject) != edge:
                row = rows.setdefault(attester, dict(self.out.get(attester, _NO_EDGES)))
                row.pop(subject, None)
                row |= {} if edge is None else {subject: edge}
        if not rows:
            return self
        made = Graph()
        merged = {**self.out, **{name: _by_subject(row.values()) for name, row in rows.items()}}
        made.out = {name: row for name, row in merged.items() if row} if not all(rows.values()) else merged
        return made


_NO_EDGES: Mapping[str, Edge] = {}


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
) -> Iterator[tuple[Pair, AttestationRecord]]:
    """((attester, subject), the attestation that stands) among those of one type about nodes, in no order.

    Of one key the highest sequence that holds stands; one sequence with two contents voids both. Of several keys of the
    attester the highest sequence stands, of equal ones the lower digest.
    """
    for pair, items in _by_pair(records).items():
        record = _stands(history, items, second)
        if record is not None:
            yield pair, record


def _by_pair(records: Iterable[AttestationRecord]) -> dict[Pair, list[AttestationRecord]]:
    """Those about nodes, but for those about the attester itself."""
    found: dict[Pair, list[AttestationRecord]] = {}
    for record in records:
        subject = about_node(record)
        if subject is not None and subject != record.holder:
            found.setdefault((record.holder, subject), []).append(record)
    return found


def _stands(history: Revisions, items: Iterable[AttestationRecord], second: int) -> AttestationRecord | None:
    """The one of a pair's attestations that stands."""
    items = [item for item in items if holds(history, item, second)]
    candidates: Sequence[AttestationRecord] = items if len(items) < 2 else stand(items).records
    return min(candidates, key=lambda item: (-item.sequence, item.digest), default=None)


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
    return GraphOverTime(history, records).at(second)


class GraphOverTime:
    """The graph of a domain, at one second after the other.

    From one second to a later one of the same revision only those pairs are looked at about which something was
    recorded or expired in between, and one graph is held; any other step looks at all of them.

    Args:
        history: The domain's accepted revisions.
        records: Attestations as recorded, in any order; other types than Trust are passed over.
    """

    def __init__(self, history: Revisions, records: Iterable[AttestationRecord]) -> None:
        self._history = history
        trust = (record for record in records if record.type == AttestationType.TRUST and _is_weight(record))
        self._pairs = _by_pair(trust)
        self._changes = sorted(
            (second, pair)
            for pair, items in self._pairs.items()
            for item in items
            for second in (item.recorded, item.expires_at)
            if second is not None
        )
        self._second: int | None = None
        self._graph = Graph()

    def at(self, second: int) -> Graph:
        """The edges that hold at a second; the graph of the call before where no edge is another."""
        before, self._second = self._second, second
        if before is None or second < before or self._history.at(second) is not self._history.at(before):
            found = (self._edge(pair, second) for pair in self._pairs)
            self._graph = Graph(edge for edge in found if edge is not None)
        else:
            known, now = (bisect_right(self._changes, item, key=itemgetter(0)) for item in (before, second))
            pairs = {pair for _, pair in self._changes[known:now]}
            self._graph = self._graph.changed({pair: self._edge(pair, second) for pair in pairs})
        return self._graph

    def _edge(self, pair: Pair, second: int) -> Edge | None:
        record = _stands(self._history, self._pairs[pair], second)
        if record is None:
            return None
        weight = int(record.content["weightBasisPoints"])
        return Edge(*pair, weight, record.digest, record.sequence, record.expires_at)
