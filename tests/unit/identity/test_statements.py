"""Statements: the fields of each kind, what is omitted, and what a signature covers (trust.md, "Statements")."""

from collections.abc import Callable
from typing import Any

import pytest

from quorate.canonical import NotCanonicalError, digest_of_bytes
from quorate.identity.ed25519 import public_key_of
from quorate.identity.statements import (
    Statement,
    act_statement,
    attestation_statement,
    heartbeat_statement,
    pre_authentication_encoding,
    proposal_statement,
    rationale_digest,
    recovery_statement,
    trust_domain_statement,
    vote_statement,
)

SEED = bytes(range(32))
D = "sha256:" + "d" * 64
RATIONALE = "sha256:" + "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"  # of "foo"

PROPOSAL: dict[str, Any] = {
    "trustDomain": "acme",
    "proposer": "n",
    "keyName": "alice",
    "type": "Standard",
    "domains": ["acme"],
    "target": {"kind": "DynamicContract", "name": "house", "clause": "1"},
    "change": {"baseDigest": D, "patch": [{"op": "add", "path": "/x", "value": 1}]},
    "revision": 1,
    "rationale": "foo",
}
VOTE: dict[str, Any] = {
    "domain": "acme",
    "proposal": {"name": "p", "digest": D},
    "revision": 1,
    "voter": "n",
    "keyName": "alice",
    "choice": "Approve",
    "sequence": 0,
    "rationale": "foo",
    "castAt": "2026-01-01T00:00:00Z",
}
ACT: dict[str, Any] = {"act": "Stop", "proposalDigest": D, "by": "ann", "keyName": "ann", "at": "2026-01-01T00:00:00Z"}
ATTESTATION: dict[str, Any] = {
    "domain": "acme",
    "attester": "n",
    "keyName": "m",
    "sequence": 3,
    "at": "2026-01-01T00:00:00Z",
    "subject": {"kind": "MeshNode", "name": "x"},
    "type": "Trust",
    "expiresAt": "2027-01-01T00:00:00Z",
    "statement": {"weightBasisPoints": 5000},
}
HEARTBEAT: dict[str, Any] = {"nodeId": "n", "renewTime": "2026-01-01T00:00:00Z", "challenge": "c", "held": {"id": D}}
RECOVERY: dict[str, Any] = {"revision": 2, "previousDigest": D, "resultDigest": D, "at": "2026-01-01T00:00:00Z"}
DOMAIN: dict[str, Any] = {"meshId": "mesh", "revision": 1, "admins": [], "log": {"origin": "mesh/acme", "keys": []}}


def proposal(spec: dict[str, Any]) -> Statement:
    return proposal_statement("mesh", "ns", "p", spec)


def act(spec: dict[str, Any]) -> Statement:
    return act_statement("mesh", "acme", spec)


def vote(spec: dict[str, Any]) -> Statement:
    return vote_statement("mesh", spec)


def attestation(spec: dict[str, Any]) -> Statement:
    return attestation_statement("mesh", spec)


def heartbeat(spec: dict[str, Any]) -> Statement:
    return heartbeat_statement("mesh", "acme", spec)


def recovery(spec: dict[str, Any]) -> Statement:
    return recovery_statement("mesh", "acme", spec)


def trust_domain(spec: dict[str, Any]) -> Statement:
    return trust_domain_statement("acme", spec)


Make = Callable[[dict[str, Any]], Statement]
# Builder, object, kind, and the column "fields" of the table in trust.md.
KINDS: list[tuple[Make, dict[str, Any], str, str]] = [
    (trust_domain, DOMAIN, "trustdomain", "meshId revision admins log name"),
    (
        proposal,
        PROPOSAL,
        "proposal",
        "meshId domain namespace name proposer keyName type domains target change revision rationaleDigest",
    ),
    (
        vote,
        VOTE,
        "vote",
        "meshId domain proposalDigest revision voter keyName choice sequence rationaleDigest castAt",
    ),
    (act, ACT, "act", "meshId domain proposalDigest act by keyName at"),
    (
        attestation,
        ATTESTATION,
        "attestation",
        "meshId domain attester keyName sequence at subject type expiresAt statement",
    ),
    (heartbeat, HEARTBEAT, "heartbeat", "meshId domain nodeId renewTime challenge held"),
    (recovery, RECOVERY, "recovery", "meshId domain revision previousDigest resultDigest at"),
]
each_kind = pytest.mark.parametrize(("make", "spec", "kind", "names"), KINDS, ids=[row[2] for row in KINDS])


@each_kind
class TestEveryKind:
    def test_fields(self, make: Make, spec: dict[str, Any], kind: str, names: str) -> None:
        """The statement has exactly the fields of the table, and its kind is in the payload type."""
        statement = make(spec)
        assert set(statement.fields) == set(names.split())
        assert statement.payload_type == f"application/vnd.quorate.{kind}.v1+json"
        assert statement.digest == digest_of_bytes(statement.payload)

    def test_what_is_outside(self, make: Make, spec: dict[str, Any], kind: str, names: str) -> None:
        """Signatures, drafts and acts are not signed."""
        outside: dict[str, Any] = {"signatures": [{"name": "x"}]}
        if kind != "trustdomain":
            outside |= {"signature": "x", "draft": False, "endorsements": [ACT], "stops": [ACT], "withdrawal": ACT}
        assert make({**spec, **outside}).payload == make(spec).payload

    def test_null_is_absent(self, make: Make, spec: dict[str, Any], kind: str, names: str) -> None:
        """Each field may be absent or null, which is the same statement without it."""
        for name in spec:
            absent = make({field: value for field, value in spec.items() if field != name})
            assert make({**spec, name: None}).payload == absent.payload
            assert absent.payload != make(spec).payload

    def test_signature(self, make: Make, spec: dict[str, Any], kind: str, names: str) -> None:
        """A signature verifies for its key, statement and kind only."""
        statement, key = make(spec), public_key_of(SEED)
        signature = statement.sign(SEED)
        assert len(signature) == 86
        assert statement.verify(key, signature)
        assert not statement.verify(public_key_of(bytes(32)), signature)
        assert not Statement("other", statement.fields).verify(key, signature)
        assert not Statement(kind, {**statement.fields, "x": 1}).verify(key, signature)
        for malformed in (signature + "==", signature[:-1], "", None, 7, "B" * 86):
            assert not statement.verify(key, malformed)


EMPTIES = [[], "", 0, False, {}]


class TestOmission:
    @pytest.mark.parametrize("value", EMPTIES, ids=repr)
    def test_empty_values_stay(self, value: Any) -> None:
        """`[]`, `""`, `0`, `false` and `{}` are kept as written."""
        assert trust_domain({"x": value}).fields["x"] == value
        assert proposal({**PROPOSAL, "domains": value}).fields["domains"] == value
        assert heartbeat({**HEARTBEAT, "held": value}).fields["held"] == value

    def test_nulls_inside_are_omitted(self) -> None:
        """A null member of an object is omitted at every depth; a null element of a list stays."""
        spec = {"recovery": None, "members": [{"nodeId": "n", "learner": None, "keys": [{"notAfter": None}]}, None]}
        assert trust_domain(spec).fields == {"members": [{"nodeId": "n", "keys": [{}]}, None], "name": "acme"}
        assert proposal({**PROPOSAL, "target": {"name": "h", "clause": None}}).fields["target"] == {"name": "h"}

    @pytest.mark.parametrize("value", [None, {"a": None}, [None, {"b": None}], *EMPTIES], ids=repr)
    def test_patch_values_are_kept(self, value: Any) -> None:
        """The value of a patch operation is signed as written, null and nulls inside included."""
        operation = {"op": "add", "path": "/x", "value": value, "from": None}
        fields = proposal({**PROPOSAL, "change": {"baseDigest": D, "resultDigest": None, "patch": [operation]}}).fields
        assert fields["change"] == {"baseDigest": D, "patch": [{"op": "add", "path": "/x", "value": value}]}

    def test_absent_patch_value_is_not_null(self) -> None:
        """An operation without value and one with null are two statements."""
        specs = [{"op": "remove", "path": "/x"}, {"op": "remove", "path": "/x", "value": None}]
        digests = {proposal({**PROPOSAL, "change": {"patch": [item]}}).digest for item in specs}
        assert len(digests) == 2

    def test_patch_of_nothing(self) -> None:
        """A null patch is an absent one, an empty one stays."""
        assert proposal({**PROPOSAL, "change": {"resultDigest": D, "patch": None}}).fields["change"] == {
            "resultDigest": D
        }
        assert proposal({**PROPOSAL, "change": {"patch": []}}).fields["change"] == {"patch": []}

    def test_attested_statement_is_kept(self) -> None:
        """`statement` of an attestation is signed as written."""
        inner = {"a": None, "b": [{"c": None}], "d": ""}
        assert attestation({**ATTESTATION, "statement": inner}).fields["statement"] == inner
        assert attestation({**ATTESTATION, "subject": {"kind": "K", "digest": None}}).fields["subject"] == {"kind": "K"}

    def test_nothing_is_refilled(self) -> None:
        """Absence has a meaning: no default is signed."""
        assert proposal({}).fields == {"meshId": "mesh", "namespace": "ns", "name": "p"}
        assert vote({}).fields == {"meshId": "mesh"}


class TestRationale:
    def test_digest_of_the_text(self) -> None:
        """The rationale is signed by the digest of its UTF-8 bytes; the text itself is outside."""
        for make, spec in ((proposal, PROPOSAL), (vote, VOTE)):
            assert make(spec).fields["rationaleDigest"] == RATIONALE
            assert "rationale" not in make(spec).fields

    def test_empty_is_not_absent(self) -> None:
        """An empty rationale has a digest, an absent one has none."""
        assert rationale_digest(None) is None
        assert rationale_digest("") == digest_of_bytes(b"")
        assert rationale_digest("é") == digest_of_bytes(b"\xc3\xa9")


class TestEnvelope:
    def test_encoding(self) -> None:
        """The example of the DSSE specification."""
        expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        assert pre_authentication_encoding("http://example.com/HelloWorld", b"hello world") == expected

    def test_lengths_are_of_bytes(self) -> None:
        """Lengths count bytes, not characters."""
        assert pre_authentication_encoding("é", "ü".encode()) == "DSSEv1 2 é 2 ü".encode()

    @pytest.mark.parametrize("value", [1.5, 2**53, "\ud800"], ids=repr)
    def test_no_canonical_form_no_signature(self, value: Any) -> None:
        """Floats, large integers and lone surrogates have no statement."""
        with pytest.raises(NotCanonicalError):
            attestation({**ATTESTATION, "statement": {"x": value}}).sign(SEED)
