"""Attestations: form, keys, expiry, and the recoveries that travel in them."""

from collections.abc import Mapping
from typing import Any

import pytest

from quorate.canonical import parse_time
from quorate.identity.statements import act_statement, attestation_statement, recovery_statement
from quorate.trust.attestations import (
    Judged,
    announced_recovery,
    cancelling_acts,
    is_expired,
    judge_attestation,
)
from quorate.trust.domain import DomainRevision
from quorate.trust.revisions import announcement_verdict, cancellation_verdict
from tests.unit.trust.domains import NAME, NODES, REMOVED, changed, first, key, member, revision, seed, signature

Spec = dict[str, Any]
AT = "2026-02-01T12:00:00Z"
RECORDED = parse_time("2026-02-01T12:00:05Z")
DIGEST = "sha256:" + "a" * 64
SUBJECT = {"kind": "MeshNode", "name": NODES[1], "digest": DIGEST}


def delegation(**changes: Any) -> Spec:
    """A delegation by node 0 to node 1, signed; a signature among the changes stands as it is."""
    spec: Spec = {
        "domain": NAME,
        "attester": NODES[0],
        "keyName": "vote-0",
        "sequence": 1,
        "at": AT,
        "type": "Delegation",
        "statement": {"to": NODES[1], "types": ["Standard"]},
    }
    return signed({**spec, **changes})


def signed(spec: Spec, label: str = "vote-0") -> Spec:
    return {"signature": attestation_statement("mesh", spec).sign(seed(label)), **spec}


def domain(**changes: Any) -> DomainRevision:
    return revision(first(**changes))


def judge(spec: Mapping[str, Any], recorded: int = RECORDED, **changes: Any) -> Judged:
    return judge_attestation(domain(**changes), spec, recorded=recorded)


class TestForm:
    @pytest.mark.parametrize(
        ("statement", "type_"),
        [
            ({"to": NODES[1], "types": ["Standard", "Emergency"]}, "Delegation"),
            ({"to": "", "types": []}, "Delegation"),
            ({"to": ""}, "Delegation"),
            ({"weightBasisPoints": 1}, "Trust"),
            ({"weightBasisPoints": 10_000}, "Trust"),
            ({"release": True}, "BoundaryCrossing"),
            ({"anything": {"goes": None}}, "Compliance"),
        ],
    )
    def test_accepted(self, statement: Spec, type_: str) -> None:
        """Each type has its own statement; types without a form take any object."""
        verdict = judge(delegation(type=type_, statement=statement, subject=SUBJECT))
        assert verdict.accepted, verdict.message
        assert verdict.statement is not None

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"statement": {"types": ["Standard"]}}, "spec.statement"),
            ({"statement": {"to": "bob"}}, "spec.statement.to"),
            ({"statement": {"to": NODES[1], "types": ["Urgent"]}}, "spec.statement.types[0]"),
            ({"statement": {"to": NODES[1], "forever": True}}, "spec.statement.forever"),
            ({"type": "Trust", "statement": {"weightBasisPoints": 0}}, "spec.statement.weightBasisPoints"),
            ({"type": "Trust", "statement": {"weightBasisPoints": 10_001}}, "spec.statement.weightBasisPoints"),
            ({"type": "Trust", "statement": {}}, "spec.statement.weightBasisPoints"),
            ({"type": "Trust", "statement": {"weightBasisPoints": 1}}, "spec.subject"),
            (
                {"type": "Trust", "statement": {"weightBasisPoints": 1}, "subject": {**SUBJECT, "kind": "Node"}},
                "spec.subject",
            ),
            (
                {"type": "Trust", "statement": {"weightBasisPoints": 1}, "subject": {**SUBJECT, "name": "hub-b"}},
                "spec.subject",
            ),
            ({"type": "BoundaryCrossing", "statement": {"release": True}}, "spec.subject.digest"),
            ({"type": "BoundaryCrossing", "statement": {"release": 1}, "subject": SUBJECT}, "spec.statement.release"),
            ({"type": "Recovery", "statement": {"revision": 2}}, "spec.statement.previousDigest"),
            ({"type": "CancelRecovery", "statement": {"acts": []}}, "spec.statement.acts"),
            ({"type": "Rumour"}, "spec.type"),
            ({"attester": "node"}, "spec.attester"),
            ({"sequence": -1}, "spec.sequence"),
            ({"sequence": True}, "spec.sequence"),
            ({"at": "2026-02-30T12:00:00Z"}, "spec.at"),
            ({"expiresAt": "2026-13-01T00:00:00Z"}, "spec.expiresAt"),
            ({"signature": "x"}, "spec.signature"),
            ({"mood": "good"}, "spec.mood"),
        ],
    )
    def test_refused(self, changes: Spec, field: str) -> None:
        """A wrong form is Invalid, and the sentence begins with the field."""
        verdict = judge(delegation(**changes))
        assert verdict.reason == "Invalid"
        assert verdict.message.startswith(field)
        assert verdict.statement is None

    def test_floats_are_refused(self) -> None:
        """What has no canonical form cannot be signed, in a free statement either."""
        spec = {**delegation(type="Compliance"), "statement": {"share": 0.5}}
        verdict = judge(spec)
        assert verdict.reason == "Invalid"
        assert "/statement/share" in verdict.message


class TestKeys:
    def test_the_sentence_names_key_and_member(self) -> None:
        """An accepted attestation says which key of whom signed it."""
        assert judge(delegation()).message == f"Vote key 'vote-0' of {NODES[0]} signed it"

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"domain": "other", "attester": NODES[4]}, "UnknownDomain"),
            ({"attester": NODES[4], "at": "2027-01-01T00:00:00Z"}, "NotAMember"),
            ({"at": "2026-02-01T12:05:06Z", "keyName": "nobody"}, "FromTheFuture"),
            ({"keyName": "nobody"}, "UnknownKey"),
            ({"keyName": "machine-0"}, "UnknownKey"),
            ({"keyName": "vote-1"}, "UnknownKey"),
            ({"attester": NODES[1], "keyName": "vote-1"}, "BadSignature"),
            ({"type": "ContractHeld", "statement": {}}, "UnknownKey"),
        ],
    )
    def test_first_fault_names_the_reason(self, changes: Spec, reason: str) -> None:
        """The order is domain, membership, future, key, signature; a name binds, a purpose too."""
        assert judge(delegation(**changes)).reason == reason

    def test_five_minutes_ahead_are_allowed(self) -> None:
        """`at` may be 300 s after the recorded second, not more."""
        assert judge(delegation(at="2026-02-01T12:05:05Z")).accepted

    def test_machine_keys_acknowledge(self) -> None:
        """ContractHeld is signed by a Machine key."""
        spec = delegation(type="ContractHeld", keyName="machine-0", statement={"digest": DIGEST})
        del spec["signature"]
        assert judge(signed(spec, "machine-0")).accepted
        assert judge(signed(spec, "vote-0")).reason == "BadSignature"

    @pytest.mark.parametrize(("seconds", "accepted"), [(-1, True), (0, False)])
    def test_an_expired_key_signs_nothing(self, seconds: int, accepted: bool) -> None:
        """Up to notAfter a key signs; from that second on it is KeyExpired."""
        expiring = member(0, keys=[key("vote-0", notAfter="2026-02-01T12:00:05Z")])
        verdict = judge(delegation(), RECORDED + seconds, members=[expiring])
        assert verdict.accepted == accepted
        assert accepted or verdict.reason == "KeyExpired"

    @pytest.mark.parametrize("change", [{"sequence": 2}, {"at": "2026-02-01T11:00:00Z"}, {"expiresAt": AT}])
    def test_every_field_is_signed(self, change: Spec) -> None:
        """A field changed after signing is a BadSignature."""
        assert judge({**delegation(), **change}).reason == "BadSignature"

    def test_another_mesh_is_another_statement(self) -> None:
        """The meshId is signed although it does not stand in the object."""
        assert judge(delegation(), meshId="mesh2", log=None).reason == "BadSignature"

    def test_learners_and_suspended_members_may_attest(self) -> None:
        """Who may not vote may still attest: what it is worth is decided where it counts."""
        assert judge(delegation(), members=[member(0, learner=True, suspended=True)]).accepted


class TestExpiry:
    @pytest.mark.parametrize(("seconds", "expired"), [(-1, False), (0, True), (1, True)])
    def test_void_from_that_second_on(self, seconds: int, expired: bool) -> None:
        """From expiresAt on an attestation is void."""
        assert is_expired(delegation(expiresAt=AT), parse_time(AT) + seconds) == expired

    def test_never_without_a_time(self) -> None:
        """An attestation without expiresAt does not expire."""
        assert not is_expired(delegation(), 2**40)

    def test_an_expired_one_is_recorded(self) -> None:
        """An expired attestation is accepted: by its sequence it still replaces the one before."""
        assert judge(delegation(expiresAt="2026-01-01T00:00:00Z")).accepted


class TestRecovery:
    def recovery(self, **changes: Any) -> Spec:
        fields: Spec = {"revision": 2, "previousDigest": domain().digest, "resultDigest": DIGEST, "at": AT}
        statement = recovery_statement("mesh", NAME, fields)
        signatures = [signature(statement, label) for label in ("rex", "ria")]
        content = changed({**fields, "signatures": signatures}, changes)
        return delegation(type="Recovery", statement=content)

    def cancellation(self, **changes: Any) -> Spec:
        statement, _ = announced_recovery("mesh", self.recovery())
        acts = []
        for name in ("ann", "bob"):
            act = {"act": "CancelRecovery", "proposalDigest": statement.digest, "by": name, "keyName": name, "at": AT}
            acts.append({**act, "signature": act_statement("mesh", NAME, act).sign(seed(name))})
        return delegation(type="CancelRecovery", statement=changed({"acts": acts}, changes))

    def test_announced(self) -> None:
        """A member carries a recovery that its keys signed: it may be announced."""
        spec = self.recovery()
        assert judge(spec).accepted
        statement, signatures = announced_recovery("mesh", spec)
        assert announcement_verdict(statement, signatures, domain()) is None

    def test_cancelled(self) -> None:
        """A member carries the admins' acts: they cancel the recovery."""
        spec = self.cancellation()
        assert judge(spec).accepted
        statement, _ = announced_recovery("mesh", self.recovery())
        assert cancellation_verdict(statement, cancelling_acts(spec), domain()) is None

    def test_no_other_type_cancels(self) -> None:
        """Acts inside another type are no acts."""
        assert cancelling_acts(self.recovery()) == ()
        assert cancelling_acts(delegation(type="Compliance", statement={"acts": [{"act": "CancelRecovery"}]})) == ()

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"signatures": []}, "spec.statement.signatures"),
            ({"resultDigest": "sha256:1"}, "spec.statement.resultDigest"),
            ({"at": "2026-02-30T12:00:00Z"}, "spec.statement.at"),
            ({"meshId": "mesh"}, "spec.statement.meshId"),
            ({"signatures.0.signature": REMOVED}, "spec.statement.signatures[0].signature"),
        ],
    )
    def test_form_of_a_recovery(self, change: Spec, field: str) -> None:
        """A recovery holds its four fields and its signatures, nothing else."""
        verdict = judge(self.recovery(**change))
        assert verdict.reason == "Invalid"
        assert verdict.message.startswith(field)

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"acts.0.keyName": "bob"}, "spec.statement.acts[0].keyName"),
            ({"acts.1.act": "Stop"}, "spec.statement.acts[1].act"),
            ({"acts.1.at": "2026-02-30T12:00:00Z"}, "spec.statement.acts[1].at"),
            ({"acts.0.signature": REMOVED}, "spec.statement.acts[0].signature"),
        ],
    )
    def test_form_of_a_cancellation(self, change: Spec, field: str) -> None:
        """Each act names one admin as by and keyName, has a time that exists, and a signature."""
        verdict = judge(self.cancellation(**change))
        assert verdict.reason == "Invalid"
        assert verdict.message.startswith(field)
