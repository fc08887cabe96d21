"""Which revision is accepted: the order of the checks, the authorities, and what a rival meets (trust.md)."""

from collections.abc import Mapping
from typing import Any

import pytest

from quorate.identity.statements import act_statement, recovery_statement
from quorate.trust.domain import DomainHistory
from quorate.trust.revisions import (
    Announcement,
    Authority,
    Verdict,
    announcement_verdict,
    cancellation_verdict,
    check_revision,
    signers,
)
from tests.unit.trust.domains import (
    NAME,
    NODES,
    REMOVED,
    after,
    base_spec,
    first,
    history,
    member,
    named,
    revision,
    seed,
    signature,
    signed,
)

Spec = dict[str, Any]
ONE = first()
TWO = after(ONE, "ann", "bob", members=[member(0), member(1)])
THREE = after(TWO, "ann", "bob", members=[member(0)])
OTHER = "sha256:" + "e" * 64


def check(spec: Mapping[str, Any], accepted: DomainHistory | None, *, name: str = NAME, **inputs: Any) -> Verdict:
    return check_revision(name, spec, accepted, **{"pin": None, "now": 10_000, **inputs})


def spoiled(spec: Spec, **changes: Any) -> Spec:
    """A revision with fields changed and no signature that still holds."""
    return {**spec, **changes}


# Each row is wrong in two ways: the earlier check names the reason.
ORDER = (
    ("form before number", spoiled(THREE, adminThreshold=9), (ONE,), "Invalid"),
    (
        "duplicate key before number",
        spoiled(THREE, admins=[*named("ann", "bob"), {**named("ann")[0], "name": "x"}]),
        (ONE,),
        "DuplicateKey",
    ),
    ("form before same digest", spoiled(ONE, adminThreshold=9), (ONE,), "Invalid"),
    ("same digest before authority", {**ONE, "signatures": []}, (ONE,), "Accepted"),
    ("same digest of an older one", {**ONE, "signatures": []}, (ONE, TWO), "Accepted"),
    ("gap before previousDigest", spoiled(THREE, previousDigest=OTHER), (ONE,), "MissingRevision"),
    ("gap before meshId", spoiled(THREE, meshId="other", log=None), (ONE,), "MissingRevision"),
    ("gap before authority", spoiled(THREE, signatures=[]), (ONE,), "MissingRevision"),
    ("gap from nothing", TWO, (), "MissingRevision"),
    ("previousDigest before authority", spoiled(TWO, previousDigest=OTHER, signatures=[]), (ONE,), "PreviousMismatch"),
    ("meshId before authority", spoiled(TWO, meshId="other", log=None, signatures=[]), (ONE,), "PreviousMismatch"),
    ("previousDigest before fork", after(ONE, "ann", "bob", previousDigest=OTHER), (ONE, TWO), "PreviousMismatch"),
    ("authority before fork", after(ONE, "ann", drift="Report"), (ONE, TWO), "Unauthorized"),
    ("fork", after(ONE, "ann", "bob", drift="Report"), (ONE, TWO), "Fork"),
    ("fork of an old number", after(ONE, "ann", "bob", drift="Report"), (ONE, TWO, THREE), "Fork"),
    ("pin before authority", spoiled(ONE, drift="Report", signatures=[]), (ONE,), "PinMismatch"),
)


class TestOrder:
    """The sequence of the checks."""

    @pytest.mark.parametrize(("spec", "accepted", "reason"), [row[1:] for row in ORDER], ids=[row[0] for row in ORDER])
    def test_first_fault_names_the_reason(self, spec: Spec, accepted: tuple[Spec, ...], reason: str) -> None:
        """Form, same digest, number, previousDigest with name and meshId, authorisation, fork: in this order."""
        verdict = check(spec, history(*accepted) if accepted else None)
        assert verdict.reason == reason
        assert not verdict.accepted
        assert verdict.fork is (reason == "Fork")
        assert verdict.unchanged is (reason == "Accepted")

    def test_another_name_is_a_mismatch(self) -> None:
        """The name of the object belongs to the chain."""
        spec = {key: value for key, value in TWO.items() if key != "log"}
        verdict = check(spec, history(ONE), name="other")
        assert (verdict.reason, verdict.message) == ("PreviousMismatch", "metadata.name 'other' must stay 'acme'")

    def test_a_refusal_names_field_value_and_rule(self) -> None:
        """The sentence shows what was found and what was wanted."""
        verdict = check(spoiled(TWO, previousDigest=OTHER), history(ONE))
        assert verdict.message == (
            f"spec.previousDigest {OTHER} is not the digest of revision 1, {revision(ONE).digest}"
        )


class TestRevisionOne:
    def test_first_use(self) -> None:
        """Without a pin the first revision seen is taken, signed by its own admins."""
        verdict = check(ONE, None)
        assert (verdict.accepted, verdict.first_use, verdict.authority) == (True, True, Authority.ADMINS)

    def test_needs_its_own_admins(self) -> None:
        """As many of its own admins as adminThreshold says sign revision 1, pinned or not."""
        spec = signed(base_spec(), "ann", "rex")
        assert check(spec, None).reason == "Unauthorized"
        assert check(spec, None, pin=revision(spec).digest).reason == "Unauthorized"

    def test_pin(self) -> None:
        """With a pin only that digest is taken."""
        assert check(ONE, None, pin=revision(ONE).digest).accepted
        assert check(ONE, None, pin=OTHER).reason == "PinMismatch"

    def test_pin_against_the_log(self) -> None:
        """A pin set after another revision 1 was taken on first use stops that chain, whatever comes."""
        for spec in (ONE, TWO, first(drift="Report")):
            verdict = check(spec, history(ONE), pin=OTHER)
            assert (verdict.reason, verdict.accepted, verdict.unchanged) == ("PinMismatch", False, False)
        assert check(TWO, history(ONE), pin=revision(ONE).digest).accepted

    def test_recreated_with_another_revision_one(self) -> None:
        """The log remembers revision 1: another one is PinMismatch after delete and recreate, authorised or not."""
        rival = first(drift="Report")
        for accepted in (history(ONE), history(ONE, TWO)):
            verdict = check(rival, accepted)
            assert (verdict.reason, verdict.fork) == ("PinMismatch", False)

    def test_recreated_as_it_was(self) -> None:
        """The same revision 1 again is no change."""
        assert check(ONE, history(ONE, TWO)).unchanged


class TestAdmins:
    def test_threshold_of_the_revision_before(self) -> None:
        """As many of n−1's admins as its adminThreshold says authorise n."""
        assert check(TWO, history(ONE)).authority is Authority.ADMINS
        assert check(after(ONE, "ann", drift="Report"), history(ONE)).reason == "Unauthorized"

    def test_a_key_counts_once(self) -> None:
        """Two signatures of one key are one, under its name or another's."""
        spec = after(ONE, "ann", "ann", drift="Report")
        assert check(spec, history(ONE)).reason == "Unauthorized"
        borrowed = {**spec, "signatures": [spec["signatures"][0], {**spec["signatures"][0], "name": "bob"}]}
        assert check(borrowed, history(ONE)).reason == "Unauthorized"

    def test_the_name_binds(self) -> None:
        """A good signature under another admin's name is not tried with its own key."""
        statement = revision(after(ONE, drift="Report")).statement
        items = [signature(statement, "ann"), signature(statement, "bob", name="cid")]
        assert signers(statement, items, revision(ONE).admins) == {"ann"}

    def test_unknown_and_broken_signatures_do_no_harm(self) -> None:
        """What does not verify is not counted and refuses nothing."""
        spec = after(ONE, "ann", "stranger", "bob", drift="Report")
        spec["signatures"].insert(0, {**spec["signatures"][0], "signature": "A" * 86})
        assert check(spec, history(ONE)).accepted

    def test_new_set_signs_if_admin_keys_differ(self) -> None:
        """New admin keys must sign too; a key that is in both sets counts in both."""
        admins = named("ann", "dan", "eve")
        assert check(after(ONE, "ann", "bob", admins=admins), history(ONE)).reason == "Unauthorized"
        assert check(after(ONE, "ann", "bob", "dan", admins=admins), history(ONE)).accepted
        assert check(after(ONE, "ann", "dan", "eve", admins=admins), history(ONE)).reason == "Unauthorized"

    def test_new_set_signs_if_the_threshold_differs(self) -> None:
        """A changed adminThreshold needs the new number of signatures."""
        assert check(after(ONE, "ann", "bob", adminThreshold=3), history(ONE)).reason == "Unauthorized"
        assert check(after(ONE, "ann", "bob", "cid", adminThreshold=3), history(ONE)).accepted
        assert check(after(ONE, "ann", adminThreshold=1), history(ONE)).reason == "Unauthorized"

    def test_one_name_in_both_sets(self) -> None:
        """An admin who changes the key signs twice under one name: each signature counts in the set of its key."""
        admins = [*named("bob", "cid"), {**named("ann-2")[0], "name": "ann"}]
        spec = after(ONE, "ann", admins=admins, adminThreshold=3)
        statement = revision(spec).statement
        spec["signatures"] += [signature(statement, "ann-2", name="ann")]
        assert check(spec, history(ONE)).reason == "Unauthorized"
        spec["signatures"] += [signature(statement, "bob"), signature(statement, "cid")]
        assert check(spec, history(ONE)).accepted

    def test_a_renamed_admin_is_no_new_set(self) -> None:
        """Keys make the set, not names: after a renaming the old set alone signs."""
        admins = [{**named("ann")[0], "name": "anna"}, *named("bob", "cid")]
        assert check(after(ONE, "ann", "bob", admins=admins), history(ONE)).accepted

    def test_another_spec_is_not_signed(self) -> None:
        """Signatures cover the whole spec: any change undoes them."""
        for field, value in (("drift", "Report"), ("members", []), ("phaseId", "6"), ("homeHub", NODES[1])):
            assert check({**TWO, field: value}, history(ONE)).reason == "Unauthorized", field


class TestProposal:
    def test_an_executed_proposal_authorises_its_digest(self) -> None:
        """A revision that an executed Constitutional proposal names needs no admin."""
        spec = after(ONE, drift="Report")
        verdict = check(spec, history(ONE), authorised_digests={revision(spec).digest})
        assert (verdict.accepted, verdict.authority) == (True, Authority.PROPOSAL)
        assert check(spec, history(ONE), authorised_digests={OTHER}).reason == "Unauthorized"

    def test_new_admins_sign_even_then(self) -> None:
        """With new admin keys or another threshold the new set signs, also when a proposal authorises."""
        for changes, labels in (({"admins": named("dan", "eve")}, ("dan", "eve")), ({"adminThreshold": 1}, ("cid",))):
            unsigned, good = after(ONE, **changes), after(ONE, *labels, **changes)
            digests = {revision(good).digest}
            assert check(unsigned, history(ONE), authorised_digests=digests).reason == "Unauthorized"
            assert check(good, history(ONE), authorised_digests=digests).authority is Authority.PROPOSAL

    def test_a_rival_by_proposal_is_a_fork(self) -> None:
        """An authorised rival of an accepted number is a Fork whatever authorised it."""
        rival = after(ONE, drift="Report")
        verdict = check(rival, history(ONE, TWO), authorised_digests={revision(rival).digest})
        assert (verdict.reason, verdict.fork) == ("Fork", True)


def recovered(*labels: str, before: Spec = ONE, **changes: Any) -> Spec:
    """A revision that replaces the admins, signed by the recovery set."""
    fields = {"admins": named("new"), "adminThreshold": 1, **changes}
    return after(before, *(labels or ("rex", "ria")), **fields)


def announced(spec: Spec, second: int = 500, **changes: Any) -> Announcement:
    candidate = revision(spec)
    fields = {"revision": candidate.revision, "previous_digest": candidate.previous_digest, **changes}
    return Announcement(result_digest=candidate.digest, announced=second, **fields)


class TestRecovery:
    def test_accepted_after_the_delay(self) -> None:
        """The announced digest, signed by the same threshold, is accepted from the end of the delay on."""
        spec = recovered()
        early = check(spec, history(ONE), now=1499, announcements=[announced(spec)])
        assert (early.reason, early.retry_at) == ("Unauthorized", 1500)
        verdict = check(spec, history(ONE), now=1500, announcements=[announced(spec)])
        assert (verdict.accepted, verdict.authority) == (True, Authority.RECOVERY)

    def test_the_new_admins_need_not_sign(self) -> None:
        """Only recovery keys sign it; without an announcement that is nothing."""
        assert check(recovered(), history(ONE)).reason == "Unauthorized"

    def test_delay_starts_no_earlier_than_the_revision_before(self) -> None:
        """An announcement recorded before n−1's acceptance runs from that acceptance."""
        spec, accepted = recovered(), history(ONE, seconds=[5000])
        verdict = check(spec, accepted, now=5999, announcements=[announced(spec, 500)])
        assert verdict.retry_at == 6000
        assert check(spec, accepted, now=6000, announcements=[announced(spec, 500)]).accepted

    @pytest.mark.parametrize(
        "changes", [{"revision": 3}, {"previous_digest": OTHER}, {"cancelled": True}], ids=lambda item: next(iter(item))
    )
    def test_announcement_must_fit(self, changes: dict[str, Any]) -> None:
        """Number and previousDigest of the announcement are the revision's, and it was not cancelled."""
        spec = recovered()
        assert check(spec, history(ONE), announcements=[announced(spec, **changes)]).reason == "Unauthorized"

    def test_another_digest_was_announced(self) -> None:
        """A revision other than the announced one has no authority."""
        other = announced(recovered(recovery=None))
        assert check(recovered(), history(ONE), announcements=[other]).reason == "Unauthorized"

    def test_threshold_of_distinct_recovery_keys(self) -> None:
        """recovery.threshold distinct keys sign the revision too."""
        for labels in (("rex",), ("rex", "rex"), ("rex", "new"), ("ann", "bob")):
            spec = recovered(*labels)
            assert check(spec, history(ONE), announcements=[announced(spec)]).reason == "Unauthorized", labels

    @pytest.mark.parametrize(
        ("field", "value"),
        [("members", []), ("phaseId", "6"), ("homeHub", NODES[1]), ("drift", "Report"), ("contracts", REMOVED)],
    )
    def test_what_it_may_not_change(self, field: str, value: Any) -> None:
        """Besides revision and previousDigest it changes only admins, adminThreshold and recovery."""
        spec = recovered(**{field: value})
        verdict = check(spec, history(ONE), announcements=[announced(spec)])
        assert (verdict.reason, verdict.message) == ("Unauthorized", f"a recovery may not change {field}")

    def test_what_it_may_change(self) -> None:
        """The recovery set may replace itself, or end."""
        for value in (REMOVED, {"keys": named("zoe"), "threshold": 1, "delaySeconds": 5}):
            spec = recovered(recovery=value)
            assert check(spec, history(ONE), announcements=[announced(spec)]).accepted

    def test_an_absent_field_may_be_written_as_null(self) -> None:
        """Absent and null are the same, here too."""
        spec = recovered(parent=None)
        assert check(spec, history(ONE), announcements=[announced(spec)]).accepted

    def test_revision_n_of_the_admins_cancels(self) -> None:
        """Once n is accepted by the admins the recovery is void: it is no Fork that blocks the domain."""
        spec = recovered()
        verdict = check(spec, history(ONE, TWO), announcements=[announced(spec)])
        assert (verdict.reason, verdict.fork) == ("Unauthorized", False)
        assert "cancelled" in verdict.message

    def test_two_matured_recoveries_fork(self) -> None:
        """A second announced recovery of one number is an authorised rival of the first."""
        one, two = recovered(), recovered(admins=named("newer"))
        verdict = check(two, history(ONE, one), announcements=[announced(one), announced(two)])
        assert (verdict.reason, verdict.fork) == ("Fork", True)

    def test_admins_may_still_authorise(self) -> None:
        """A recovery whose delay runs does not stop the admins from signing that very revision."""
        spec = after(ONE, "ann", "bob", "new", admins=named("new"), adminThreshold=1)
        assert check(spec, history(ONE), now=0, announcements=[announced(spec)]).authority is Authority.ADMINS


class TestAnnouncement:
    LATEST = revision(ONE)

    def judge(self, labels: tuple[str, ...] = ("rex", "ria"), **changes: Any) -> str | None:
        fields = {
            "revision": 2,
            "previousDigest": self.LATEST.digest,
            "resultDigest": OTHER,
            "at": "2026-01-01T00:00:00Z",
            **changes,
        }
        mesh, domain = fields.pop("meshId", "mesh"), fields.pop("domain", NAME)
        statement = recovery_statement(mesh, domain, fields)
        return announcement_verdict(statement, [signature(statement, label) for label in labels], self.LATEST)

    def test_signed_by_the_threshold(self) -> None:
        """recovery.threshold distinct keys announce."""
        assert self.judge() is None
        for labels in ((), ("rex",), ("rex", "rex"), ("ann", "bob")):
            assert "the threshold is 2" in (self.judge(labels) or ""), labels

    @pytest.mark.parametrize(
        "changes",
        [
            {"revision": 3},
            {"revision": 1},
            {"previousDigest": OTHER},
            {"resultDigest": None},
            {"resultDigest": "x"},
            {"meshId": "x"},
            {"domain": "x"},
        ],
        ids=str,
    )
    def test_must_replace_the_latest(self, changes: dict[str, Any]) -> None:
        """It names the domain, the revision after the latest, the latest's digest, and a result."""
        assert self.judge(**changes) is not None

    def test_needs_a_recovery_set(self) -> None:
        """A domain without `recovery` knows none."""
        latest = revision(first(recovery=None))
        statement = recovery_statement("mesh", NAME, {"revision": 2, "previousDigest": latest.digest})
        assert "no recovery set" in (announcement_verdict(statement, [], latest) or "")


class TestCancellation:
    RECOVERY = recovery_statement("mesh", NAME, {"revision": 2, "previousDigest": OTHER, "resultDigest": OTHER})

    def act(self, label: str, domain: str = NAME, **changes: Any) -> dict[str, Any]:
        act = {
            "act": "CancelRecovery",
            "proposalDigest": self.RECOVERY.digest,
            "by": label,
            "keyName": label,
            "at": "2026-01-01T00:00:00Z",
            **changes,
        }
        return {**act, "signature": act_statement("mesh", domain, act).sign(seed(label))}

    def judge(self, *acts: dict[str, Any]) -> str | None:
        return cancellation_verdict(self.RECOVERY, acts, revision(ONE))

    def test_admin_threshold_cancels(self) -> None:
        """As many distinct admins as adminThreshold says cancel by an act each."""
        assert self.judge(self.act("ann"), self.act("cid")) is None

    @pytest.mark.parametrize(
        "change",
        [
            {"act": "Stop"},
            {"proposalDigest": OTHER},
            {"keyName": "bob"},
            {"by": "bob", "keyName": "bob"},
            {"by": "nobody", "keyName": "nobody"},
            {"domain": "other"},
        ],
        ids=str,
    )
    def test_an_act_must_fit(self, change: dict[str, Any]) -> None:
        """Act, recovery, name, key and domain bind; a second act of one admin adds nothing."""
        for acts in ((self.act("ann"), self.act("cid", **change)), (self.act("ann"), self.act("ann"))):
            assert "1 of the admins" in (self.judge(*acts) or "")
