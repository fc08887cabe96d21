"""Form of an evidence bundle and of its proof (trust.md, "Evidence and proof"; docs/evidence.md).

A bundle is one canonical JSON object:

```
{format, meshId, domain, proposalDigest,
 domains: {name: {revisions: [{statement, signatures, entry, authority}], electorate}},
 proposal: {statement, signature}, opening: entry,
 acts | votes | delegations: [{statement, signature, entry}],
 outcome, outcomeEntry: entry, executing?: entry, attestations?: [{statement, signature, entry}]}
```

`statement` is the object that was signed, `entry` the content of a log entry. `authority` is {kind: Admins}, {kind:
Proposal, evidenceDigest, entry: the executing one} or {kind: Recovery, statement, signatures, entry: the announcement}.
`attestations` are those made under the deciding domain that its boundaries ask about, where other domains vote too.
`conflicts` are of the form that `quorate.conflicts.record` reads; with them it is v2.
The proof is {format, evidenceDigest, chains: [{origin, checkpoint, entries: [{index, record, path}]}]}, record and path
in standard base64.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from quorate.audit.entry import EntryRefusedError, check_content, parse_timestamp
from quorate.audit.ids import entry_id
from quorate.canonical import NotCanonicalError, canonical_bytes, digest_of_bytes, parse_json, parse_time
from quorate.identity.statements import Statement
from quorate.lazy import lazy
from quorate.proposals.votes import Ballot

FORMAT = "quorate.dev/evidence/v1"
CONFLICT_FORMAT = "quorate.dev/evidence/v2"
"""Of a bundle with conflicts: it holds when each party opened, and who raised it, which v1 does not know."""
PROOF_FORMAT = "quorate.dev/proof/v1"
_MEMBERS = frozenset(
    {
        "format",
        "meshId",
        "domain",
        "proposalDigest",
        "domains",
        "proposal",
        "opening",
        "acts",
        "votes",
        "delegations",
        "outcome",
        "outcomeEntry",
    }
)
_OPTIONAL = frozenset({"executing", "attestations", "conflicts"})
_PARTY = frozenset({"statement", "signature"})
_CONFLICT = frozenset({"conflict", "opening", "escalations", "resolution", "proposals", "domains", "votes"})
Entry = Mapping[str, Any]


class BundleError(ValueError):
    """Bytes that are no evidence bundle, or a part of one that is not of the form it must have."""


@dataclass(frozen=True)
class Signed:
    """A statement with its one signature and the entry that recorded it."""

    statement: Statement
    signature: str
    entry: Entry

    @property
    def accepted(self) -> bool:
        """Whether its entry accepted it; a refused one carries its reason in the entry's detail."""
        return str(self.entry["event_type"]).endswith(".accepted")

    @lazy
    def ballot(self) -> Ballot:
        """A vote as it is counted: its signature is verified once, whoever asks."""
        return Ballot(self.statement, self.signature, self.recorded)

    @property
    def recorded(self) -> int:
        """The recorded second: for votes and attestations what the entry copied, else the time of the entry."""
        text = self.entry["payload"]["detail"].get("recordedAt")
        return entry_second(self.entry) if text is None else parse_time(text)

    def document(self) -> dict[str, Any]:
        """As it stands in the bundle."""
        return {"statement": dict(self.statement.fields), "signature": self.signature, "entry": dict(self.entry)}


@dataclass(frozen=True)
class RevisionRecord:
    """One accepted revision of a TrustDomain: spec with signatures, its entry, and what authorised it."""

    name: str
    spec: Mapping[str, Any]
    entry: Entry
    authority: Mapping[str, Any] = field(default_factory=lambda: {"kind": "Admins"})

    def document(self) -> dict[str, Any]:
        """As it stands in the bundle."""
        statement = {name: value for name, value in self.spec.items() if name != "signatures"}
        return {
            "statement": {**statement, "name": self.name},
            "signatures": list(self.spec.get("signatures") or ()),
            "entry": dict(self.entry),
            "authority": dict(self.authority),
        }

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> "RevisionRecord":
        """From the bundle."""
        spec = {name: value for name, value in document["statement"].items() if name != "name"}
        spec["signatures"] = document["signatures"]
        return cls(document["statement"]["name"], spec, document["entry"], document["authority"])


@dataclass(frozen=True)
class DomainRecord:
    """The revisions of one domain from 1 to the last used, and the electorate of the opening revision."""

    revisions: tuple[RevisionRecord, ...]
    electorate: Mapping[str, Any]


@dataclass(frozen=True)
class Bundle:
    """A parsed bundle.

    `outcome` is the outcome document of governance.md, "Tally"; `executing` is there when a ratification was decided:
    the entry with which it opened. `conflicts` are the resolved ones that the proposal was a party of, as they stand in
    the bundle (`quorate.conflicts.record`).
    """

    mesh_id: str
    domain: str
    proposal_digest: str
    domains: Mapping[str, DomainRecord]
    proposal: Statement
    proposal_signature: str
    opening: Entry
    acts: tuple[Signed, ...]
    votes: tuple[Signed, ...]
    delegations: tuple[Signed, ...]
    outcome: Mapping[str, Any]
    outcome_entry: Entry
    executing: Entry | None = None
    attestations: tuple[Signed, ...] = ()
    conflicts: tuple[Mapping[str, Any], ...] = ()

    @property
    def format(self) -> str:
        """The version that what it holds needs."""
        parties = (party for item in self.conflicts for party in item["proposals"])
        return CONFLICT_FORMAT if any("opening" in party for party in parties) else FORMAT

    def document(self) -> dict[str, Any]:
        """The JSON object whose canonical bytes are the bundle."""
        document: dict[str, Any] = {
            "format": self.format,
            "meshId": self.mesh_id,
            "domain": self.domain,
            "proposalDigest": self.proposal_digest,
            "domains": {
                name: {
                    "revisions": [item.document() for item in record.revisions],
                    "electorate": dict(record.electorate),
                }
                for name, record in self.domains.items()
            },
            "proposal": {"statement": dict(self.proposal.fields), "signature": self.proposal_signature},
            "opening": dict(self.opening),
            "acts": _ordered(self.acts),
            "votes": _ordered(self.votes),
            "delegations": _ordered(self.delegations),
            "outcome": dict(self.outcome),
            "outcomeEntry": dict(self.outcome_entry),
        }
        if self.attestations:
            document["attestations"] = _ordered(self.attestations)
        if self.executing is not None:
            document["executing"] = dict(self.executing)
        return {**document, "conflicts": [dict(item) for item in self.conflicts]} if self.conflicts else document

    def entries(self) -> list[tuple[str, Entry]]:
        """Every entry with the chain (`<meshId>/<domain>`) that it belongs to.

        What belongs to the proposal is in the chain of the domain that decides; a revision or a delegation is in its
        own domain's.
        """
        own = f"{self.mesh_id}/{self.domain}"
        found = [(own, self.opening), (own, self.outcome_entry)]
        found += [] if self.executing is None else [(own, self.executing)]
        found += [(own, item.entry) for item in (*self.acts, *self.votes)]
        attested = (*self.delegations, *self.attestations)
        found += [(f"{self.mesh_id}/{item.statement.fields['domain']}", item.entry) for item in attested]
        for name, record in self.domains.items():
            chain = f"{self.mesh_id}/{name}"
            found += [(chain, item.entry) for item in record.revisions]
            found += [(chain, item.authority["entry"]) for item in record.revisions if "entry" in item.authority]
        # A conflict repeats the domain's entries; a copy that says something else is an entry of its own, to be proven.
        held = {(chain, entry["entry_id"]): entry for chain, entry in found}
        for chain, entry in (pair for item in self.conflicts for pair in self._of_conflict(item)):
            key = (chain, entry["entry_id"])
            if held.get(key) != entry:
                held.setdefault(key, entry)
                found.append((chain, entry))
        return found

    def revisions_of(self, name: str) -> list[RevisionRecord]:
        """Every revision of a domain that the bundle holds, those of its conflicts too."""
        found = list(self.domains[name].revisions) if name in self.domains else []
        parts = (item["domains"].get(name, ()) for item in self.conflicts)
        return found + [RevisionRecord.parse(document) for part in parts for document in part]

    def _of_conflict(self, document: Mapping[str, Any]) -> list[tuple[str, Entry]]:
        """The entries of a conflict: its own, its parties' and votes in its domain's chain, revisions in theirs."""
        own = f"{self.mesh_id}/{document['conflict']['domain']}"
        votes = [item["entry"] for item in document["votes"]]
        votes += [document["attestation"]["entry"]] if "attestation" in document else []
        votes += [item["opening"] for item in document["proposals"] if "opening" in item]
        found = [
            (own, item) for item in (document["opening"], *document["escalations"], document["resolution"], *votes)
        ]
        for name, revisions in document["domains"].items():
            chain = f"{self.mesh_id}/{name}"
            found += [(chain, item["entry"]) for item in revisions]
            found += [(chain, item["authority"]["entry"]) for item in revisions if "entry" in item["authority"]]
        return found


def _ordered(items: Iterable[Signed]) -> list[dict[str, Any]]:
    """By digest, then by entry: the bundle of one history is always the same bytes."""
    ordered = sorted(items, key=lambda item: (item.statement.digest, item.entry["entry_id"]))
    return [item.document() for item in ordered]


def bundle_digest(document: Mapping[str, Any]) -> str:
    """What the executing entry and `inForce.evidenceDigest` name."""
    return digest_of_bytes(canonical_bytes(dict(document)))


def parse_bundle(data: bytes | Mapping[str, Any]) -> Bundle:
    """The bundle in `data` (bytes or a parsed document); BundleError for anything that is not of the form."""
    try:
        document = parse_json(data) if isinstance(data, bytes) else data
        return _parse(document)
    except NotCanonicalError as error:
        raise BundleError(f"the bundle is not strict JSON: {error}") from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise BundleError(f"the bundle is not of the form {FORMAT}: {error!r}") from error


def _parse(document: Mapping[str, Any]) -> Bundle:
    if document.get("format") not in (FORMAT, CONFLICT_FORMAT):
        raise BundleError(f"format {document.get('format')!r} must be {FORMAT!r} or {CONFLICT_FORMAT!r}")
    if set(document) - _OPTIONAL != _MEMBERS:
        raise BundleError(f"a bundle holds exactly {', '.join(sorted(_MEMBERS))}")
    bundle = Bundle(
        mesh_id=document["meshId"],
        domain=document["domain"],
        proposal_digest=document["proposalDigest"],
        domains={
            name: DomainRecord(tuple(map(RevisionRecord.parse, record["revisions"])), record["electorate"])
            for name, record in document["domains"].items()
        },
        proposal=Statement("proposal", document["proposal"]["statement"]),
        proposal_signature=document["proposal"]["signature"],
        opening=document["opening"],
        acts=_signed("act", document["acts"]),
        votes=_signed("vote", document["votes"]),
        delegations=_signed("attestation", document["delegations"]),
        outcome=document["outcome"],
        outcome_entry=document["outcomeEntry"],
        executing=document.get("executing"),
        conflicts=tuple(document.get("conflicts") or ()),
        attestations=_signed("attestation", document.get("attestations") or ()),
    )
    if bundle.format != document["format"]:
        held = "the" if bundle.format == CONFLICT_FORMAT else "no"
        raise BundleError(f"format {document['format']!r} with {held} opening of a conflict's party")
    for item in bundle.conflicts:
        _check_conflict(item, bundle.format)
    for _, entry in bundle.entries():
        check_entry(entry)
    return bundle


def _check_conflict(document: Mapping[str, Any], version: str) -> None:
    conflict, party = _CONFLICT, _PARTY
    if version == CONFLICT_FORMAT:
        conflict, party = conflict | ({"attestation"} & document.keys()), party | {"opening"}
    for form, items in ((conflict, [document]), (party, document["proposals"])):
        if any(set(item) != form for item in items):
            raise BundleError(f"a conflict or a party of it, in {version}, holds exactly {', '.join(sorted(form))}")


def _signed(kind: str, items: Sequence[Mapping[str, Any]]) -> tuple[Signed, ...]:
    return tuple(Signed(Statement(kind, item["statement"]), item["signature"], item["entry"]) for item in items)


def check_entry(entry: Entry) -> None:
    """Refuse an entry whose form is wrong or whose id does not follow from its subject (BundleError)."""
    try:
        check_content(entry)
    except EntryRefusedError as error:
        raise BundleError(f"entry {entry.get('entry_id')}: {error}") from error
    payload = entry["payload"]
    expected = str(entry_id(payload["subject"]["key"], payload.get("previous")))
    if entry["entry_id"] != expected:
        raise BundleError(f"entry {entry['entry_id']}: its subject and previous entry give the id {expected}")
    if not isinstance(payload.get("detail"), Mapping):
        raise BundleError(f"entry {expected}: payload.detail must be an object")


def entry_second(entry: Entry) -> int:
    """The time of an entry in whole seconds, truncated."""
    return parse_timestamp(entry["timestamp"]) // 1_000_000
