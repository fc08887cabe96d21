"""A signed domain with any number of members and contracts, made in memory: what the operator's benchmarks apply."""

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from quorate.canonical import encode_base64, format_time
from quorate.contracts.content import Content
from quorate.identity.ed25519 import public_key_of
from quorate.identity.statements import (
    heartbeat_statement,
    proposal_statement,
    trust_domain_statement,
    vote_statement,
)
from quorate.trust.domain import DomainRevision

Obj = dict[str, Any]
MESH = "bench-mesh"
API = "quorate.dev/v1alpha1"
HEARTBEAT = "quorate.dev/heartbeat"
STANDARD: Mapping[str, Any] = {"quorumBasisPoints": 1, "thresholdBasisPoints": 5000, "votingPeriodSeconds": 600}


def seed(name: str) -> bytes:
    """The private key of a name."""
    return hashlib.sha256(name.encode()).digest()


def public(name: str) -> str:
    """The public key of a name, as text."""
    return encode_base64(public_key_of(seed(name)))


def identifier(name: str) -> str:
    """A UUIDv4 that a name always gets."""
    return str(uuid.UUID(bytes=hashlib.sha256(b"id" + name.encode()).digest()[:16], version=4))


@dataclass(frozen=True)
class Fleet:
    """One TrustDomain `name` with members `<name>-m0` … and contracts `<name>-c0` …; two admins sign it.

    Member `m` votes with key `m.vote` and beats with key `m.machine`; all have weight 1, the first is the home hub.
    """

    name: str
    members: int = 3
    contracts: int = 0
    voting: Mapping[str, Any] = field(default_factory=lambda: STANDARD)

    @property
    def nodes(self) -> list[str]:
        """Names of the MeshNodes."""
        return [f"{self.name}-m{index}" for index in range(self.members)]

    @cached_property
    def domain(self) -> Obj:
        """The TrustDomain, revision 1, signed."""
        spec: Obj = {
            "meshId": MESH,
            "revision": 1,
            "phaseId": "1",
            "homeHub": HOME,
            "admins": [{"name": name, "publicKey": public(name)} for name in ("ada", "bob")],
            "adminThreshold": 2,
            "members": [self._member(index, name) for index, name in enumerate(self.nodes)],
            "contracts": [self._listed(contract) for contract in self.contract_objects],
            "voting": {"Standard": dict(self.voting)},
        }
        statement = trust_domain_statement(self.name, spec)
        spec["signatures"] = [{"name": name, "signature": statement.sign(seed(name))} for name in ("ada", "bob")]
        return _object("TrustDomain", self.name, spec)

    @property
    def pin(self) -> tuple[str, str]:
        """`<meshId>/<name>` and the digest of revision 1."""
        return f"{MESH}/{self.name}", DomainRevision(self.name, self.domain["spec"]).digest

    def _member(self, index: int, name: str) -> Obj:
        keys = [
            {"purpose": "Vote", "name": "vote", "publicKey": public(f"{name}.vote")},
            {"purpose": "Machine", "name": "machine", "publicKey": public(f"{name}.machine")},
        ]
        role = "GovernanceHub" if index == 0 else "ComplianceWitness"
        return {"nodeId": self.node_id(index), "role": role, "weight": 1, "keys": keys}

    def node_id(self, index: int) -> str:
        """The nodeId of a member; the first is the operator's own."""
        return HOME if index == 0 else identifier(self.nodes[index])

    @staticmethod
    def _listed(contract: Obj) -> Obj:
        genesis = contract["spec"]["genesis"]
        digest = Content.genesis(genesis).digest
        return {
            "name": contract["metadata"]["name"],
            "contractId": genesis["contractId"],
            "genesisDigest": digest,
        }

    @cached_property
    def contract_objects(self) -> list[Obj]:
        """The DynamicContracts, as their domain lists them."""
        return [self._contract(f"{self.name}-c{index}") for index in range(self.contracts)]

    def _contract(self, name: str) -> Obj:
        clauses = {
            "1": {"title": "Purpose", "text": f"What {name} is for."},
            "2.1": {"title": "Memory", "text": "A pod may hold at most 60 GiB.", "rule": "memory.limit <= 60Gi"},
        }
        genesis = {"contractId": identifier(name), "version": "v2026.01.01", "clauses": clauses}
        return _object("DynamicContract", name, {"trustDomain": self.name, "genesis": genesis})

    def mesh_node(self, index: int) -> Obj:
        """The MeshNode of a member."""
        return _object("MeshNode", self.nodes[index], {"nodeId": self.node_id(index), "trustDomains": [self.name]})

    def node_namespace(self, index: int) -> Obj:
        """The namespace of a member's node."""
        labels = {"quorate.dev/node-id": self.node_id(index)}
        metadata = {"name": f"quorate-node-{self.nodes[index]}", "labels": labels}
        return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}

    def heartbeat(self, index: int, challenge: str, now: int) -> Obj:
        """The Lease with a member's signed heartbeat; `now` in Unix seconds."""
        beat: Obj = {
            "nodeId": self.node_id(index),
            "renewTime": format_time(now),
            "challenge": challenge,
            "held": {},
        }
        beat["signature"] = heartbeat_statement(MESH, self.name, beat).sign(seed(f"{self.nodes[index]}.machine"))
        metadata = {
            "name": f"quorate-heartbeat-{self.name}",
            "namespace": f"quorate-node-{self.nodes[index]}",
            "labels": {HEARTBEAT: "true"},
            "annotations": {HEARTBEAT: json.dumps(beat)},
        }
        spec = {"holderIdentity": beat["nodeId"], "leaseDurationSeconds": 180}
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}

    def proposal(self, name: str, contract: Obj, text: str) -> Obj:
        """A signed proposal of the home hub to replace clause 2.1 of a contract as its genesis has it."""
        base = Content.genesis(contract["spec"]["genesis"]).clause_digest("2.1")
        spec: Obj = {
            "trustDomain": self.name,
            "proposer": HOME,
            "keyName": "vote",
            "type": "Standard",
            "target": {"kind": "DynamicContract", "name": contract["metadata"]["name"], "clause": "2.1"},
            "change": {"baseDigest": base, "patch": [{"op": "replace", "path": "/text", "value": text}]},
            "revision": 1,
        }
        statement = proposal_statement(MESH, NAMESPACE, name, spec)
        spec["signature"] = statement.sign(seed(f"{self.nodes[0]}.vote"))
        return _object("GovernanceProposal", name, spec, NAMESPACE)

    def vote(self, proposal: Obj, index: int, now: int, choice: str = "Approve") -> Obj:
        """A member's signed vote on a proposal; `now` in Unix seconds."""
        name = proposal["metadata"]["name"]
        digest = proposal_statement(MESH, NAMESPACE, name, proposal["spec"]).digest
        spec: Obj = {
            "proposal": {"namespace": NAMESPACE, "name": name, "digest": digest},
            "revision": 1,
            "voter": self.node_id(index),
            "keyName": "vote",
            "domain": self.name,
            "choice": choice,
            "sequence": 1,
            "castAt": format_time(now),
        }
        spec["signature"] = vote_statement(MESH, spec).sign(seed(f"{self.nodes[index]}.vote"))
        return _object("Vote", f"{name}-{index}", spec, NAMESPACE)


HOME = identifier("home hub")
"""The nodeId of the hub that the benchmarked operator is."""
NAMESPACE = "default"
"""Where proposals and votes lie."""


def _object(kind: str, name: str, spec: Obj, namespace: str = "") -> Obj:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": API, "kind": kind, "metadata": metadata, "spec": spec}
