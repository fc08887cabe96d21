"""Small TrustDomains with real keys, and signatures over them, for the tests of this room."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from enum import Enum
from hashlib import sha256
from typing import Any

from quorate.canonical import encode_base64
from quorate.identity.ed25519 import public_key_of
from quorate.identity.statements import Statement, trust_domain_statement
from quorate.identity.vkey import COSIGNATURE, SignerKey
from quorate.trust.domain import AcceptedRevision, DomainHistory, DomainRevision, parse_domain

NAME = "acme"
NODES = [f"{digit * 8}-{digit * 4}-4{digit * 3}-8{digit * 3}-{digit * 12}" for digit in "12345"]
REMOVED = Enum("Removed", ["REMOVED"]).REMOVED  # Its repr is part of a test's name, the same in every process.
"""As the value of a change: the field is removed."""


def seed(label: str) -> bytes:
    """The private key of a label."""
    return sha256(label.encode()).digest()


def public(label: str) -> str:
    """The public key of a label as a document writes it."""
    return encode_base64(public_key_of(seed(label)))


def named(*labels: str) -> list[dict[str, Any]]:
    """Keys whose names are their labels."""
    return [{"name": label, "publicKey": public(label)} for label in labels]


def log_key(label: str, name: str = "mesh/acme") -> str:
    """A C2SP verifier key for a log."""
    return str(SignerKey(name, seed(label)).verifier)


def witness_key(label: str) -> str:
    """A C2SP verifier key for cosignatures."""
    return str(SignerKey(label, seed(label), COSIGNATURE).verifier)


def key(label: str, purpose: str = "Vote", **fields: Any) -> dict[str, Any]:
    """A member's key whose name is its label."""
    return {"purpose": purpose, "name": label, "publicKey": public(label), **fields}


def member(node: int, **fields: Any) -> dict[str, Any]:
    """A hub with one Vote and one Machine key."""
    keys = [key(f"vote-{node}"), key(f"machine-{node}", "Machine")]
    return {"nodeId": NODES[node], "role": "GovernanceHub", "weight": 100, "keys": keys, **fields}


def base_spec() -> dict[str, Any]:
    """Revision 1, unsigned: three admins of whom two sign, a recovery set, three members."""
    return {
        "meshId": "mesh",
        "revision": 1,
        "homeHub": NODES[0],
        "admins": named("ann", "bob", "cid"),
        "adminThreshold": 2,
        "recovery": {"keys": named("rex", "ria"), "threshold": 2, "delaySeconds": 1000},
        "log": {"origin": "mesh/acme", "keys": [log_key("log")]},
        "members": [member(0), member(1), member(2)],
        "contracts": [
            {"name": "house", "contractId": NODES[3], "genesisDigest": "sha256:" + "a" * 64},
            {"name": "code", "contractId": NODES[4], "genesisDigest": "sha256:" + "b" * 64},
        ],
        "phaseId": "5.5",
        "voting": {
            "Standard": {"quorumBasisPoints": 5000, "thresholdBasisPoints": 5000, "votingPeriodSeconds": 3600},
            "Emergency": {"votingPeriodSeconds": 600, "ratificationSeconds": 7200},
            "Optimistic": {"objectionBasisPoints": 2000, "votingPeriodSeconds": 3600},
        },
    }


def changed(spec: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy with the values at dotted paths replaced, or removed."""
    result: dict[str, Any] = deepcopy(dict(spec))
    for path, value in changes.items():
        *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        place: Any = result
        for part in parents:
            place = place[part]
        if value is REMOVED:
            del place[last]
        elif isinstance(place, list) and last == len(place):
            place.append(value)
        else:
            place[last] = value
    return result


def signature(statement: Statement, label: str, name: str | None = None) -> dict[str, str]:
    """One item of `signatures`: the key of `label` under a name."""
    return {"name": name or label, "signature": statement.sign(seed(label))}


def signed(spec: Mapping[str, Any], *labels: str, name: str = NAME) -> dict[str, Any]:
    """The spec with signatures by the keys of labels."""
    statement = trust_domain_statement(name, spec)
    return {**spec, "signatures": [signature(statement, label) for label in labels]}


def first(**changes: Any) -> dict[str, Any]:
    """Revision 1, signed by two of its admins."""
    return signed({**base_spec(), **changes}, "ann", "bob")


def after(before: Mapping[str, Any], *labels: str, **changes: Any) -> dict[str, Any]:
    """The revision that follows, with top-level fields changed, signed by the keys of labels."""
    spec = {key: value for key, value in before.items() if key != "signatures"}
    digest = trust_domain_statement(NAME, spec).digest
    following = {**spec, "revision": spec["revision"] + 1, "previousDigest": digest, **changes}
    return signed({key: value for key, value in following.items() if value is not REMOVED}, *labels)


def revision(spec: Mapping[str, Any], name: str = NAME) -> DomainRevision:
    """The parsed revision."""
    return parse_domain(name, spec)


def history(*specs: Mapping[str, Any], seconds: Sequence[int] | None = None) -> DomainHistory:
    """Accepted revisions, recorded at 100, 200, … unless said otherwise."""
    times = seconds or [100 * (index + 1) for index in range(len(specs))]
    return DomainHistory([AcceptedRevision(revision(spec), second) for spec, second in zip(specs, times, strict=True)])
