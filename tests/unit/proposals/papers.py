"""Signed documents for the offline tally: what a folder of YAML would hold."""

from collections.abc import Sequence
from typing import Any

from quorate.canonical import format_time
from quorate.identity.statements import (
    act_statement,
    attestation_statement,
    proposal_statement,
    recovery_statement,
    trust_domain_statement,
)
from tests.unit.proposals.fleet import MESH, OPENED, Fleet, constitution, node, public, seed

Object = dict[str, Any]
WORDS = {"Y": "Approve", "N": "Reject", "A": "Abstain", "V": "Veto"}


def resource(kind: str, name: str, spec: Object, created: int | None = None) -> Object:
    """An object; `created` is its creationTimestamp."""
    metadata: Object = {"name": name, "namespace": "default"}
    if created is not None:
        metadata["creationTimestamp"] = format_time(created)
    return {"apiVersion": "quorate.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def signed_domain(
    spec: Object, created: int | None = None, *, name: str = "fleet", by: Sequence[str] = ("ada", "bob")
) -> Object:
    """A TrustDomain signed by its admins, or whoever `by` names."""
    statement = trust_domain_statement(name, spec)
    signatures = [{"name": signer, "signature": statement.sign(seed(signer))} for signer in by]
    return resource("TrustDomain", name, {**spec, "signatures": signatures}, created)


def digest_of_domain(spec: Object, name: str = "fleet") -> str:
    """The digest of a revision."""
    return trust_domain_statement(name, spec).digest


def proposal(spec: Object, created: int | None = None, *, by: str = "m0.main") -> Object:
    """A signed GovernanceProposal."""
    signature = proposal_statement(MESH, "default", "p", spec).sign(seed(by))
    return resource("GovernanceProposal", "p", {**spec, "signature": signature}, created)


def act(kind: str, by: str, digest: str, at: int) -> Object:
    """A signed act, `at` seconds after the opening."""
    withdraw = kind == "Withdraw"
    fields = {
        "act": kind,
        "proposalDigest": digest,
        "by": node(by) if withdraw else by,
        "keyName": "main" if withdraw else by,
        "at": format_time(OPENED + at),
    }
    key = seed(f"{by}.main" if withdraw else by)
    return {**fields, "signature": act_statement(MESH, "fleet", fields).sign(key)}


def attestation(kind: str, statement: Object, at: int, *, by: str = "m0", **more: Any) -> Object:
    """A signed Attestation, recorded at its own time."""
    spec: Object = {
        "domain": "fleet",
        "attester": node(by),
        "keyName": "main",
        "sequence": 1,
        "at": format_time(at),
        "subject": {"kind": "TrustDomain", "name": "fleet"},
        "type": kind,
        "expiresAt": format_time(at + 10**8),
        "statement": statement,
        **more,
    }
    spec["signature"] = attestation_statement(MESH, spec).sign(seed(f"{by}.main"))
    return resource("Attestation", f"{kind.lower()}-{by}", spec)


def recovery(spec: Object, at: int, keys: Sequence[str]) -> tuple[Object, str]:
    """The announcement of a revision by recovery keys, and the digest of the recovery statement."""
    fields = {
        "revision": spec["revision"],
        "previousDigest": spec["previousDigest"],
        "resultDigest": digest_of_domain(spec),
        "at": format_time(at),
    }
    statement = recovery_statement(MESH, "fleet", fields)
    signatures = [{"name": key, "signature": statement.sign(seed(key))} for key in keys]
    return attestation("Recovery", {**fields, "signatures": signatures}, at), statement.digest


def votes(fleet: Fleet, pattern: str, at: int = 10, **more: Any) -> list[Object]:
    """m0, m1, … vote as the letters say."""
    return [
        resource("Vote", f"v{at}-{index}", fleet.vote_spec(f"m{index}", WORDS[letter], at, **more))
        for index, letter in enumerate(pattern)
        if letter != "."
    ]


def folder(fleet: Fleet, pattern: str = "YYYYN") -> list[Object]:
    """Domain, proposal and votes, without any recorded time."""
    return [
        signed_domain(constitution(fleet.members, fleet.voting)),
        proposal(fleet.spec()),
        *votes(fleet, pattern),
    ]


RECOVERY = {
    "keys": [{"name": name, "publicKey": public(name)} for name in ("safe", "bank")],
    "threshold": 2,
    "delaySeconds": 100,
}
