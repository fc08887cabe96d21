"""Content of a contract: what is in force, as canonical bytes (trust.md, "Contracts" and "Content by digest").

A content document is {contractId, version, clauses, surfaces, previous {version, digest}, proposalDigest}. The genesis
is its own content: {contractId, version, clauses, surfaces}, and nothing precedes it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from quorate.api.conditions import Reason
from quorate.canonical import NotCanonicalError, canonical_bytes, digest_of, digest_of_bytes, parse_json
from quorate.contracts.form import SURFACES, ContractRefusedError, check_form
from quorate.identity.statements import without_nulls

NULL_DIGEST = digest_of(None)


@dataclass(frozen=True)
class Previous:
    """The content that this one replaced."""

    version: str
    digest: str


@dataclass(frozen=True)
class Content:
    """One version of a contract. Build it with `genesis`, `parse` or `successor`; the mappings are never modified."""

    contract_id: str
    version: str
    clauses: Mapping[str, Mapping[str, Any]]
    surfaces: Mapping[str, Any] | None = None
    previous: Previous | None = None
    proposal_digest: str | None = None

    @classmethod
    def genesis(cls, spec: Mapping[str, Any]) -> Self:
        """The content that `spec.genesis` of a DynamicContract is; ContractRefusedError where its form is wrong."""
        document = without_nulls(spec)
        foreign = set(document) - {"contractId", "version", "clauses", SURFACES}
        if foreign:
            raise ContractRefusedError(Reason.INVALID, f"genesis holds unknown fields: {', '.join(sorted(foreign))}")
        check_form(document, Reason.INVALID)
        return cls._of(document)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The content in canonical `data`; ContractRefusedError for bytes that are not the canonical form of one."""
        try:
            document = parse_json(data)
            canonical = isinstance(document, dict) and canonical_bytes(document) == data
        except NotCanonicalError as error:
            raise ContractRefusedError(Reason.INVALID, f"content: {error}") from error
        if not canonical:
            raise ContractRefusedError(Reason.INVALID, "content is not a JSON object in canonical form")
        check_form(document, Reason.INVALID)
        return cls._of(document)

    @classmethod
    def _of(cls, document: Mapping[str, Any]) -> Self:
        before = document.get("previous")
        return cls(
            contract_id=document["contractId"],
            version=document["version"],
            clauses=document["clauses"],
            surfaces=document.get(SURFACES),
            previous=None if before is None else Previous(before["version"], before["digest"]),
            proposal_digest=document.get("proposalDigest"),
        )

    @cached_property
    def document(self) -> dict[str, Any]:
        """The JSON object whose canonical bytes are the content; absent members are left out."""
        fields = {
            "contractId": self.contract_id,
            "version": self.version,
            "clauses": {name: dict(clause) for name, clause in self.clauses.items()},
            SURFACES: None if self.surfaces is None else dict(self.surfaces),
            "previous": None
            if self.previous is None
            else {"version": self.previous.version, "digest": self.previous.digest},
            "proposalDigest": self.proposal_digest,
        }
        return {name: value for name, value in fields.items() if value is not None}

    @cached_property
    def data(self) -> bytes:
        """The canonical bytes."""
        return canonical_bytes(self.document)

    @cached_property
    def digest(self) -> str:
        """`sha256:…` of the canonical bytes: for a genesis, what the domain's contracts[] names."""
        return digest_of_bytes(self.data)

    @cached_property
    def clause_digests(self) -> dict[str, str]:
        """Digest of each clause by id: the baseDigest of a change of it."""
        return {name: digest_of(clause) for name, clause in self.clauses.items()}

    @cached_property
    def surfaces_digest(self) -> str:
        """Digest of the section `surfaces`; that of JSON null where there is none."""
        return digest_of(self.surfaces)

    def clause_digest(self, clause: str) -> str:
        """Digest of a clause; that of JSON null where it does not exist."""
        return self.clause_digests.get(clause, NULL_DIGEST)


def clause_order(clause: str) -> tuple[int, ...]:
    """Sort key of clause ids: 2.10 comes after 2.9."""
    return tuple(int(part) for part in clause.split("."))
