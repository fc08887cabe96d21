"""What a conflict is: two parties, and the digest that arbitrators' votes bind (docs/conflicts.md; api.md)."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

from quorate.api.policy_conflict import Cause
from quorate.canonical import digest_of, hex_of_digest
from quorate.identity.statements import without_nulls

PROPOSAL = "GovernanceProposal"


class ConflictEvent(StrEnum):
    """Entries whose subject is the conflict, by its digest."""

    OPENED = "governance.conflict.opened"
    ESCALATED = "governance.conflict.escalated"
    RESOLVED = "governance.conflict.resolved"
    REFUSED = "governance.conflict.refused"


@dataclass(frozen=True)
class Party:
    """One side: `digest` is what is meant, the rest helps people find it."""

    kind: str
    name: str
    digest: str
    namespace: str | None = None
    clause: str | None = None

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Party":
        """From a PolicyConflict's `parties`."""
        namespace, clause = document.get("namespace"), document.get("clause")
        return cls(document["kind"], document["name"], document["digest"], namespace, clause)

    @property
    def document(self) -> dict[str, Any]:
        """As it stands in `parties`: absent members are left out."""
        fields = {name: getattr(self, name) for name in ("kind", "namespace", "name", "digest", "clause")}
        return {name: value for name, value in fields.items() if value is not None}


@dataclass(frozen=True)
class Conflict:
    """Two parties in one domain; PartyA is the first. `evidence` None: the field is absent."""

    mesh_id: str
    domain: str
    parties: tuple[Party, Party]
    evidence: tuple[Mapping[str, Any], ...] | None = None

    @classmethod
    def of(cls, mesh_id: str, spec: Mapping[str, Any]) -> "Conflict":
        """From a PolicyConflict's spec, or from a `document`."""
        first, second = map(Party.of, spec["parties"])
        evidence = spec.get("evidence")
        kept = None if evidence is None else tuple(without_nulls(item) for item in evidence)
        return cls(mesh_id, spec["domain"], (first, second), kept)

    @cached_property
    def document(self) -> dict[str, Any]:
        """What the digest covers: {meshId, domain, parties, evidence}."""
        fields: dict[str, Any] = {
            "meshId": self.mesh_id,
            "domain": self.domain,
            "parties": [party.document for party in self.parties],
        }
        return fields if self.evidence is None else {**fields, "evidence": [dict(item) for item in self.evidence]}

    @cached_property
    def digest(self) -> str:
        """The digest of the document."""
        return digest_of(self.document)

    @property
    def name(self) -> str:
        """Name of the object of a detected conflict."""
        return f"conflict-{hex_of_digest(self.digest)[:16]}"

    @property
    def namespace(self) -> str:
        """Namespace of the object of a detected conflict: that of the first party which has one."""
        return next((party.namespace for party in self.parties if party.namespace), "default")

    def side(self, digest: str) -> str | None:
        """PartyA or PartyB, whichever has this digest; None: it is no party."""
        sides = (side for side, party in zip(("PartyA", "PartyB"), self.parties, strict=True) if party.digest == digest)
        return next(sides, None)

    @property
    def pair(self) -> frozenset[str]:
        """The digests of the parties, whatever the evidence: a pair is arbitrated once."""
        return frozenset(party.digest for party in self.parties)


@dataclass(frozen=True)
class Found:
    """A conflict with its cause and who may not arbitrate it: nodeId → why."""

    conflict: Conflict
    cause: Cause
    excluded: Mapping[str, str]
    targets: tuple[Mapping[str, Any], ...]
    """What its proposals change."""
    shared: bool = False
    """Whether the clause is shared with the parent."""
