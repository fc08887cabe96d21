"""A small decided proposal with real keys, real entries and a real log, for the tests of its evidence."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from quorate.audit.checkpoint import Checkpoint
from quorate.audit.entry import Draft, Tether, content_hash, format_timestamp
from quorate.audit.merkle import inclusion_proof, root_of
from quorate.audit.record import GENESIS_HASH, Record, chain_hash, leaf_hash
from quorate.canonical import canonical_bytes, digest_of, encode_base64, format_time, parse_json, parse_time
from quorate.contracts.content import Content
from quorate.identity.ed25519 import public_key_of
from quorate.identity.statements import (
    Statement,
    act_statement,
    attestation_statement,
    proposal_statement,
    trust_domain_statement,
    vote_statement,
)
from quorate.identity.vkey import SignerKey
from quorate.proposals.bundle import RevisionRecord, Signed, bundle_digest, entry_second, parse_bundle
from quorate.proposals.evidence import build
from quorate.proposals.proof import ChainProof, ProvenEntry, build_proof
from quorate.trust.domain import AcceptedRevision, DomainHistory, parse_domain

OPENED = parse_time("2026-02-01T12:00:00Z")
CHAIN = "mesh/acme"
NODES = [f"{digit * 8}-{digit * 4}-4{digit * 3}-8{digit * 3}-{digit * 12}" for digit in "123"]
SEEDS = {name: bytes([index]) * 32 for index, name in enumerate(["root", *NODES], 1)}
LOG = SignerKey(CHAIN, bytes([9]) * 32)
CONTENT = Content.genesis(
    {"contractId": "6b1b36cb-1111-4222-8333-444455556666", "version": "v2026.01.05", "clauses": {"1": {"text": "One."}}}
)


def public(name: str) -> str:
    return encode_base64(public_key_of(SEEDS[name]))


def domain_spec(name: str = "acme", **more: Any) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "meshId": "mesh",
        "revision": 1,
        "homeHub": NODES[0],
        "admins": [{"name": "root", "publicKey": public("root")}],
        "adminThreshold": 1,
        "phaseId": "5.5",
        "log": {"origin": f"mesh/{name}", "keys": [str(LOG.verifier)]},
        "members": [
            {
                "nodeId": node,
                "role": "GovernanceHub",
                "weight": 100,
                "keys": [{"purpose": "Vote", "name": "alice", "publicKey": public(node)}],
            }
            for node in NODES
        ],
        "voting": {
            kind: {"quorumBasisPoints": 5000, "thresholdBasisPoints": 5000, "votingPeriodSeconds": 3600}
            for kind in ("Standard", "Constitutional")
        }
        | {"Emergency": {"votingPeriodSeconds": 600, "ratificationSeconds": 1000}},
        **more,
    }
    signature = trust_domain_statement(name, spec).sign(SEEDS["root"])
    return {**spec, "signatures": [{"name": "root", "signature": signature}]}


@dataclass
class Log:
    """A chain that grows entry by entry."""

    entries: list[dict[str, Any]] = field(default_factory=list)
    heads: dict[str, UUID] = field(default_factory=dict)

    def append(self, event: str, key: str, second: int, about: list[str], **detail: Any) -> dict[str, Any]:
        """Record an entry about `key` and return its content."""
        subject = {"kind": "Thing", "name": "thing"}
        previous = self.heads.get(key)
        draft = Draft(key, previous, event, subject, Tether("5.5"), second * 1_000_000, about=about, detail=detail)
        self.heads[key] = draft.entry_id
        entry = parse_json(draft.content)
        self.entries.append(entry)
        return dict(entry)

    def proof(self, digest: str) -> dict[str, Any]:
        """Prove every entry under one signed checkpoint."""
        chain, records = GENESIS_HASH, []
        for index, entry in enumerate(self.entries):
            content = canonical_bytes(entry)
            record = Record(CHAIN, 0, index, 10**15 + index, chain, content_hash(content), content).encode()
            chain = chain_hash(chain, leaf_hash(record))
            records.append(record)
        leaves = [leaf_hash(record) for record in records]
        note = Checkpoint(CHAIN, len(leaves), root_of(leaves)).sign(LOG)
        proven = [
            ProvenEntry(index, record, tuple(inclusion_proof(leaves, index))) for index, record in enumerate(records)
        ]
        return build_proof(digest, [ChainProof(CHAIN, note, tuple(proven))])


def proposal_spec() -> dict[str, Any]:
    return {
        "trustDomain": "acme",
        "proposer": NODES[0],
        "keyName": "alice",
        "type": "Standard",
        "target": {"kind": "DynamicContract", "name": "rules", "clause": "1"},
        "change": {
            "baseDigest": digest_of({"text": "One."}),
            "patch": [{"op": "replace", "path": "/text", "value": "Uno."}],
        },
        "revision": 1,
    }


def cast(
    log: Log, proposal: Statement, node: str, choice: str, second: int, *, domain: str = "acme", refused: str = ""
) -> Signed:
    """Record a vote; `refused` is the reason that the hub gives, empty where it accepts."""
    spec = {
        "proposal": {"digest": proposal.digest},
        "revision": 1,
        "voter": node,
        "keyName": "alice",
        "domain": domain,
        "choice": choice,
        "sequence": 1,
        "castAt": format_time(second),
    }
    statement = vote_statement("mesh", spec)
    event, detail = "governance.vote.accepted", {"recordedAt": format_time(second)}
    if refused:
        event, detail = "governance.vote.refused", {**detail, "reason": refused}
    entry = log.append(event, statement.digest, second + 1, [proposal.digest], **detail)
    return Signed(statement, statement.sign(SEEDS[node]), entry)


def delegate(log: Log, node: str, to: str, second: int) -> Signed:
    spec = {
        "domain": "acme",
        "attester": node,
        "keyName": "alice",
        "sequence": 1,
        "at": format_time(second),
        "subject": {"kind": "TrustDomain", "name": "acme"},
        "type": "Delegation",
        "expiresAt": format_time(second + 10**6),
        "statement": {"to": to, "types": ["Standard"]},
    }
    statement = attestation_statement("mesh", spec)
    entry = log.append("trust.attestation.accepted", statement.digest, second, [], recordedAt=format_time(second))
    return Signed(statement, statement.sign(SEEDS[node]), entry)


def act(log: Log, kind: str, proposal: Statement, second: int) -> Signed:
    fields = {
        "act": kind,
        "proposalDigest": proposal.digest,
        "by": "root",
        "keyName": "root",
        "at": format_time(second),
    }
    statement = act_statement("mesh", "acme", fields)
    entry = log.append("governance.act.accepted", statement.digest, second, [proposal.digest])
    return Signed(statement, statement.sign(SEEDS["root"]), entry)


def next_revision(spec: dict[str, Any]) -> dict[str, Any]:
    """Revision 2 of the domain, not signed by its admins: only a proposal or a recovery can authorise it."""
    before = trust_domain_statement("acme", spec).digest
    fields = {name: value for name, value in spec.items() if name != "signatures"}
    return {**fields, "revision": 2, "previousDigest": before, "phaseId": "5.6"}


def _history(revisions: Sequence[RevisionRecord]) -> DomainHistory:
    return DomainHistory(
        AcceptedRevision(parse_domain(item.name, item.spec), entry_second(item.entry)) for item in revisions
    )


@dataclass
class Story:
    """A proposal that opens, gets its votes and is decided; `revisions` may already hold more than the first."""

    recompute: Any
    spec: dict[str, Any] = field(default_factory=proposal_spec)
    opened: int = OPENED
    log: Log = field(default_factory=Log)
    revisions: list[RevisionRecord] = field(default_factory=list)
    choices: tuple[str, ...] = ("Approve", "Approve", "Reject")
    delegates: bool = False
    acts: tuple[str, ...] = ()
    executed: int | None = None
    decides: int | None = None
    refuses: tuple[int, ...] = ()
    others: dict[str, RevisionRecord] = field(default_factory=dict)

    def decide(self) -> dict[str, Any]:
        """The bundle of the decision."""
        log, opened = self.log, self.opened
        if not self.revisions:
            spec = domain_spec()
            digest = trust_domain_statement("acme", spec).digest
            entry = log.append("trust.domain.accepted", CHAIN, opened - 100, [digest])
            self.revisions.append(RevisionRecord("acme", spec, entry))
        history = _history(self.revisions)
        proposal = proposal_statement("mesh", "ns", "p", self.spec)
        opening = log.append("governance.proposal.opened", proposal.digest, opened, [])
        votes = [
            cast(log, proposal, node, choice, opened + 10 + index, refused="TooLate" if index in self.refuses else "")
            for index, (node, choice) in enumerate(zip(NODES, self.choices, strict=False))
        ]
        votes += [
            cast(log, proposal, node, "Approve", opened + 40, domain=name) for name in self.others for node in NODES[:2]
        ]
        histories = {"acme": history, **{name: _history([record]) for name, record in self.others.items()}}
        parts: dict[str, Any] = {
            "mesh_id": "mesh",
            "domain": "acme",
            "revisions": {"acme": self.revisions, **{name: [record] for name, record in self.others.items()}},
            "electorates": {name: item.latest.electorate.document for name, item in histories.items()},
            "proposal": proposal,
            "signature": proposal.sign(SEEDS[NODES[0]]),
            "opening": opening,
            "acts": [act(log, kind, proposal, opened + 20) for kind in self.acts],
            "votes": votes,
            "delegations": [delegate(log, NODES[2], NODES[1], opened + 15)] if self.delegates else [],
        }
        if self.executed is not None:
            detail = {"outcome": "EmergencyExecuted"}
            parts["executing"] = log.append(
                "governance.proposal.executed", proposal.digest, self.executed, [], **detail
            )
        second = self.decides or opened + (22 if self.acts else 3602)
        # The document is what the votes give: derived from a bundle that does not hold it yet.
        pending = {**opening, "timestamp": format_timestamp(second * 1_000_000)}
        draft = build(**parts, outcome={}, outcome_entry=pending)
        outcome = dict(self.recompute(parse_bundle(draft), histories))
        decided = log.append(
            "governance.proposal.decided",
            proposal.digest,
            second,
            [],
            outcome=outcome["outcome"],
            reason=outcome["reason"],
            decidedAt=outcome["decidedAt"],
            outcomeDigest=digest_of(outcome),
        )
        return build(**parts, outcome=outcome, outcome_entry=decided)


def proof_of(bundle: dict[str, Any], log: Log) -> bytes:
    return canonical_bytes(log.proof(bundle_digest(bundle)))
