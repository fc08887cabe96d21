"""A small fleet for tests: members with keys, a constitution, signed proposals, votes, delegations and acts."""

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from quorate.canonical import encode_base64, format_time
from quorate.identity.ed25519 import public_key_of
from quorate.identity.statements import act_statement, attestation_statement, proposal_statement, vote_statement
from quorate.proposals.acts import ActRecord
from quorate.proposals.decision import Case
from quorate.proposals.delegation import DelegationRecord
from quorate.proposals.votes import Ballot
from quorate.trust.domain import AcceptedRevision, DomainHistory, DomainRevision

MESH = "11111111-1111-4111-8111-111111111111"
OPENED = 1_000_000
PERIOD = 1000
STANDARD = {"quorumBasisPoints": 3340, "thresholdBasisPoints": 5000, "votingPeriodSeconds": PERIOD}


@cache
def seed(name: str) -> bytes:
    """The private key of a name."""
    return hashlib.sha256(name.encode()).digest()


@cache
def public(name: str) -> str:
    """The public key of a name, as text."""
    return encode_base64(public_key_of(seed(name)))


@cache
def node(name: str) -> str:
    """The nodeId of a member."""
    return str(uuid.UUID(bytes=hashlib.sha256(b"node" + name.encode()).digest()[:16], version=4))


def member(
    name: str, weight: int = 1, *, keys: Sequence[str] = ("main",), not_after: int | None = None, **more: Any
) -> dict[str, Any]:
    """A member whose Vote keys are named `keys`; key `k` of member `m` is `public("m.k")`."""
    vote_keys: list[dict[str, Any]] = [
        {"purpose": "Vote", "name": key, "publicKey": public(f"{name}.{key}")} for key in keys
    ]
    if not_after is not None:
        vote_keys[0]["notAfter"] = format_time(not_after)
    return {"nodeId": node(name), "role": "GovernanceHub", "weight": weight, "keys": vote_keys, **more}


def constitution(
    members: Sequence[Mapping[str, Any]], voting: Mapping[str, Any], *, revision: int = 1, **more: Any
) -> dict[str, Any]:
    """A TrustDomain's spec with two admins, ada and bob, of whom both sign."""
    return {
        "meshId": MESH,
        "revision": revision,
        "homeHub": node("m0"),
        "phaseId": "1",
        "admins": [{"name": name, "publicKey": public(name)} for name in ("ada", "bob")],
        "adminThreshold": 2,
        "members": [dict(item) for item in members],
        "voting": dict(voting),
        **more,
    }


def history(*revisions: tuple[int, Mapping[str, Any]], name: str = "fleet") -> DomainHistory:
    """(recorded, spec) of each revision."""
    return DomainHistory([AcceptedRevision(DomainRevision(name, spec), recorded) for recorded, spec in revisions])


@dataclass
class Fleet:
    """A proposal on a domain with ten members m0 … m9 of weight 1, and what is recorded about it."""

    voting: Mapping[str, Any] = field(default_factory=lambda: {"Standard": STANDARD})
    members: Sequence[Mapping[str, Any]] = field(default_factory=lambda: [member(f"m{i}") for i in range(10)])
    kind: str = "Standard"
    domains: Sequence[str] | None = None
    revised: Sequence[tuple[int, Sequence[Mapping[str, Any]]]] = ()
    ballots: list[Ballot] = field(default_factory=list)
    delegations: list[DelegationRecord] = field(default_factory=list)
    acts: list[ActRecord] = field(default_factory=list)
    others: Mapping[str, DomainHistory] = field(default_factory=dict)

    def spec(self) -> dict[str, Any]:
        """The proposal's spec, without signature."""
        spec: dict[str, Any] = {
            "trustDomain": "fleet",
            "proposer": node("m0"),
            "keyName": "main",
            "type": self.kind,
            "target": {"kind": "DynamicContract", "name": "rules", "clause": "1"},
            "change": {
                "baseDigest": "sha256:" + "0" * 64,
                "patch": [{"op": "replace", "path": "/text", "value": "x"}],
            },
            "revision": 1,
        }
        return spec if self.domains is None else {**spec, "domains": list(self.domains)}

    @property
    def digest(self) -> str:
        """The proposal's digest."""
        return proposal_statement(MESH, "default", "p", self.spec()).digest

    def domain(self) -> DomainHistory:
        """The chain of revisions, the first recorded long before the opening."""
        specs = [(0, constitution(self.members, self.voting))]
        for number, (recorded, members) in enumerate(self.revised, 2):
            specs.append((recorded, constitution(members, self.voting, revision=number)))
        return history(*specs)

    def vote_spec(self, name: str, choice: str, at: int = 10, **more: Any) -> dict[str, Any]:
        """A signed vote, `at` seconds after the opening."""
        key = more.pop("key", "main")
        signer = more.pop("signer", f"{name}.{key}")
        cast = more.pop("cast", at)
        spec = {
            "proposal": {"namespace": "default", "name": "p", "digest": self.digest},
            "revision": 1,
            "voter": node(name),
            "keyName": key,
            "domain": "fleet",
            "choice": choice,
            "sequence": 1,
            "castAt": format_time(OPENED + cast),
            **more,
        }
        return {**spec, "signature": vote_statement(MESH, spec).sign(seed(signer))}

    def vote(self, name: str, choice: str, at: int = 10, **more: Any) -> Ballot:
        """Record a vote."""
        ballot = Ballot.of(MESH, self.vote_spec(name, choice, at, **more), OPENED + at)
        self.ballots.append(ballot)
        return ballot

    def cast(self, pattern: str, at: int = 10) -> "Fleet":
        """m0, m1, … vote as the letters say: Y approve, N reject, A abstain, V veto, `.` not at all."""
        words = {"Y": "Approve", "N": "Reject", "A": "Abstain", "V": "Veto"}
        for index, letter in enumerate(pattern):
            if letter != ".":
                self.vote(f"m{index}", words[letter], at)
        return self

    def delegate(self, name: str, to: str | None, at: int = 5, **more: Any) -> DelegationRecord:
        """Record a delegation; `to` None revokes."""
        key, types = more.pop("key", "main"), more.pop("types", [self.kind])
        spec = {
            "domain": "fleet",
            "attester": node(name),
            "keyName": key,
            "sequence": 1,
            "at": format_time(OPENED + more.pop("signed", at)),
            "type": "Delegation",
            "statement": {"to": "" if to is None else node(to), "types": types},
            **more,
        }
        spec["signature"] = attestation_statement(MESH, spec).sign(seed(f"{name}.{key}"))
        record = DelegationRecord.of(MESH, spec, OPENED + at)
        self.delegations.append(record)
        return record

    def act(self, kind: str, by: str, at: int) -> None:
        """Record an act `at` seconds after the opening; `by` is an admin, or a member for Withdraw."""
        withdraw = kind == "Withdraw"
        spec = {
            "act": kind,
            "proposalDigest": self.digest,
            "by": node(by) if withdraw else by,
            "keyName": "main" if withdraw else by,
            "at": format_time(OPENED + at),
        }
        signer = seed(f"{by}.main" if withdraw else by)
        spec["signature"] = act_statement(MESH, "fleet", spec).sign(signer)
        self.acts.append(ActRecord.of(MESH, "fleet", spec, OPENED + at))

    def case(self, **more: Any) -> Case:
        """The case as recorded."""
        statement = proposal_statement(MESH, "default", "p", self.spec())
        histories = {"fleet": self.domain(), **self.others}
        return Case(
            statement, OPENED, histories, tuple(self.ballots), tuple(self.delegations), tuple(self.acts), **more
        )
