"""governance.md sentence by sentence where types, revocations, windows and domains meet."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.proposals import outcome
from quorate.proposals.decision import decide
from quorate.proposals.tally import Rules, Sums, quorum_test
from quorate.trust.domain import DomainHistory
from tests.unit.proposals.fleet import OPENED, PERIOD, STANDARD, Fleet, constitution, history, member, node
from tests.unit.proposals.test_decision import ADAPTIVE, EMERGENCY, EXPEDITED, OPTIMISTIC, standard, verdict

LATER = OPENED + 10_000_000


def without(fleet: Fleet, gone: range, at: int) -> Fleet:
    """A revision `at` seconds after the opening replaces the keys of the members in `gone`."""
    fleet.revised = [(OPENED + at, [member(f"m{i}", keys=("new",) if i in gone else ("main",)) for i in range(10)])]
    return fleet


# "Early and adaptive adoption need both counts to hold, else voting goes on; failing at the end gives Rejected."


def test_revocation_holds_up_an_early_adoption() -> None:
    """Six of seven approve; without the reject's removed key it is early, with it not: the vote goes on to the end."""
    fleet = Fleet(standard(earlyDecision=True, thresholdBasisPoints=8500))
    fleet.cast("Y" * 6).cast("......N").cast(".......YYY", 500)
    assert verdict(without(fleet, range(6, 7), 100)) == ("Adopted", "Early", 500)
    late = Fleet(standard(earlyDecision=True, thresholdBasisPoints=6100)).cast("YYYYYYNNN").cast(".........N", 60)
    assert verdict(without(late, range(6, 9), 50)) == ("Rejected", "RevokedDuringVote", PERIOD)


def test_revocation_holds_up_an_adaptive_adoption() -> None:
    """Removing the rejecting keys gives a pass in one count only: not confirmed, and rejected at the end."""
    fleet = Fleet({"Standard": ADAPTIVE}).cast("YYYYNNNN", 0)
    assert verdict(without(fleet, range(4, 8), 50)) == ("Rejected", "RevokedDuringVote", PERIOD)
    fleet.vote("m8", "Approve", 600)
    assert verdict(fleet) == ("Adopted", "Confirmed", 700)


def test_revocation_during_a_ratification() -> None:
    """A ratification that passes only because keys were removed after it opened is Reversed."""
    fleet = Fleet(EMERGENCY, kind="Emergency").cast("YYYYNNNN", 200)
    fleet.act("Endorse", "ada", 10)
    fleet.act("Endorse", "bob", 10)
    without(fleet, range(4, 8), 300)
    assert verdict(fleet, executed=OPENED + 12) == ("Reversed", "RevokedDuringVote", 512)


def test_revocation_under_an_objection() -> None:
    """An Optimistic proposal is not adopted because the objectors' keys were removed."""
    fleet = Fleet(OPTIMISTIC, kind="Optimistic").cast("NNNN")
    assert verdict(without(fleet, range(4), 50)) == ("Rejected", "RevokedDuringVote", PERIOD)


def test_a_removed_delegation_key_cannot_adopt() -> None:
    """Delegations refused solely because their key was removed take part in the second count too."""
    fleet = Fleet().cast("YYYY.N")
    for name in ("m6", "m7", "m8"):
        fleet.delegate(name, "m5")
    assert verdict(fleet) == ("Rejected", "ThresholdNotReached", PERIOD)
    assert verdict(without(fleet, range(6, 9), 50)) == ("Rejected", "RevokedDuringVote", PERIOD)


def test_suspension_role_and_weight_after_the_opening_change_nothing() -> None:
    """Membership and weight are those of the opening revision, the keys' alone are looked at again."""
    changed = [
        member("m0", 100, suspended=True),
        member("m1", 0),
        member("m2", role="TrustFork"),
        member("m3", learner=True),
    ]
    fleet = Fleet(revised=[(OPENED + 50, changed)]).cast("YYYY")
    assert verdict(fleet) == ("Adopted", "Passed", PERIOD)
    fleet.vote("m4", "Reject")
    assert [str(vote.reason) for vote in decide(fleet.case(), LATER).tally.votes].count("KeyRevoked") == 1


# Late quorum: once per phase, and the adaptive decline does not move.


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (450, ("Adopted", "Confirmed", 600)),
        (920, ("Adopted", "Confirmed", 1020)),
        (1000, ("Adopted", "Confirmed", 1100)),
    ],
)
def test_late_quorum_with_an_adaptive_quorum(at: int, expected: tuple[str, str, int]) -> None:
    """The extension gives time to confirm; the decline ends with the original period."""
    rules = {**ADAPTIVE, "lateQuorum": {"windowSeconds": 100, "extensionSeconds": 300}}
    fleet = Fleet({"Standard": rules}).cast("YYYYY" if at > 450 else "YYYYYY", 0 if at == 450 else at)
    found = verdict(fleet)
    assert found is not None
    assert found[:2] == expected[:2]
    assert found[2] == (500 if at == 450 else expected[2])


def test_an_adaptive_decline_may_make_the_late_quorum() -> None:
    """Three of ten meet the floor of 3000 at the last second only: first quorum in the window, so the end grows."""
    rules = {**ADAPTIVE, "lateQuorum": {"windowSeconds": 0, "extensionSeconds": 200}}
    assert verdict(Fleet({"Standard": rules}).cast("YYY", 0)) == ("Adopted", "Confirmed", PERIOD + 100)


def test_late_quorum_once_per_phase() -> None:
    """Expedited and the Standard phase after it each may grow once; the fallback keeps the later end."""
    late = {"windowSeconds": 100, "extensionSeconds": 2500}
    voting: dict[str, Any] = {**EXPEDITED, "Expedited": {**EXPEDITED["Expedited"], "lateQuorum": late}}
    fleet = Fleet(voting, kind="Expedited").cast("YYNN", 950).cast("....Y", 3499)
    assert verdict(fleet) == ("Adopted", "Passed", 3500)
    voting["Standard"] = {**voting["Standard"], "lateQuorum": {"windowSeconds": 100, "extensionSeconds": 7}}
    assert verdict(fleet) == ("Adopted", "Passed", 3500)
    fleet = Fleet(voting, kind="Expedited").cast("YYYY", 1950)
    assert verdict(fleet) == ("Adopted", "Passed", 2007)


def test_the_end_after_a_fallback_is_the_later_one() -> None:
    """The end becomes max(opening + Standard period, Expedited end)."""
    voting = {**EXPEDITED, "Standard": {**STANDARD, "votingPeriodSeconds": 10}}
    assert verdict(Fleet(voting, kind="Expedited").cast("YYYYNN")) == ("Adopted", "Passed", PERIOD)


# Double majorities: adopted with the last domain, else outcome and time are those of the first that does not adopt.


def chamber(name: str, count: int = 3, **rules: Any) -> DomainHistory:
    members = [member(f"{name}{i}") for i in range(count)]
    return history((0, constitution(members, {"Standard": {**STANDARD, **rules}})), name=name)


def chambers(**others: DomainHistory) -> Fleet:
    return Fleet(domains=["fleet", *others], others=others)


def test_double_majority_adopts_with_the_last() -> None:
    """The time is that of the last domain to adopt."""
    fleet = chambers(other=chamber("other", votingPeriodSeconds=3000)).cast("YYYY")
    fleet.vote("other0", "Approve", domain="other")
    fleet.vote("other1", "Approve", 2900, domain="other")
    assert verdict(fleet) == ("Adopted", "Passed", 3000)
    assert verdict(fleet, OPENED + 3001) is None


def test_double_majority_falls_with_the_first() -> None:
    """Outcome and time are those of the first domain that does not adopt, while others still vote."""
    fleet = chambers(a=chamber("a", votingPeriodSeconds=400), b=chamber("b", votingPeriodSeconds=300)).cast("YYYY")
    for index in range(2):
        fleet.vote(f"b{index}", "Reject", domain="b")
    assert verdict(fleet, OPENED + 302) == ("Rejected", "ThresholdNotReached", 300)
    document = outcome.document(decide(fleet.case(), LATER))
    assert document["domains"]["b"]["outcome"] == "Rejected"
    assert document["domains"]["fleet"]["outcome"] is None


@pytest.mark.parametrize(("rejecting", "expected"), [("b", "Expired"), ("a", "Rejected")])
def test_double_majority_ties_go_by_name(rejecting: str, expected: str) -> None:
    """Of two domains that fail in one second the first by name says how."""
    fleet = chambers(a=chamber("a"), b=chamber("b")).cast("YYYY")
    for index in range(2):
        fleet.vote(f"{rejecting}{index}", "Reject", domain=rejecting)
    found = verdict(fleet)
    assert found is not None
    assert (found[0], found[2]) == (expected, PERIOD)


def test_a_member_of_two_domains_votes_in_each() -> None:
    """A vote counts in the domain that it was signed for, and in no other."""
    both = history((0, constitution([member("m0"), member("m1")], {"Standard": STANDARD})), name="other")
    fleet = chambers(other=both).cast("YYYY")
    fleet.vote("m0", "Approve", domain="other")
    tallies = decide(fleet.case(), LATER).tallies
    assert (tallies["fleet"].sums.approve, tallies["other"].sums.approve) == (4, 1)
    assert verdict(fleet) == ("Adopted", "Passed", PERIOD)


# Emergencies.


def test_endorsements_are_of_keys_in_force_when_it_executes() -> None:
    """An admin removed before the completing endorsement no longer endorses."""
    fleet = Fleet(EMERGENCY, kind="Emergency")
    fleet.act("Endorse", "ada", 10)
    fleet.act("Endorse", "bob", 50)
    spec = constitution(fleet.members, EMERGENCY, revision=2)
    spec["admins"] = spec["admins"][1:]
    case = fleet.case()
    changed = history((0, constitution(fleet.members, EMERGENCY)), (OPENED + 30, spec))
    found = decide(type(case)(case.statement, case.opened, {"fleet": changed}, acts=case.acts), LATER).decision
    assert found is not None
    assert (found.outcome, found.reason) == ("Expired", "NotEndorsed")


def test_ratification_uses_the_floor_and_no_early_decision() -> None:
    """Of Standard only quorum (its floor), threshold, veto and minimumVoters apply."""
    voting = {**EMERGENCY, "Standard": {**ADAPTIVE, "earlyDecision": True, "minimumVoters": 3}}
    fleet = Fleet(voting, kind="Emergency").cast("YYY", 20)
    fleet.act("Endorse", "ada", 10)
    fleet.act("Endorse", "bob", 10)
    assert verdict(fleet, executed=OPENED + 12) == ("Ratified", "Passed", 512)
    assert verdict(fleet, OPENED + 513, executed=OPENED + 12) == ("EmergencyExecuted", "Passed", 10)


def test_votes_before_the_execution_count_in_the_ratification() -> None:
    """All votes on the digest recorded by its end count, of the electorate of the executing entry."""
    grown = [member(f"m{i}") for i in range(20)]
    fleet = Fleet(EMERGENCY, kind="Emergency", revised=[(OPENED + 11, grown)]).cast("YYYY", -100)
    fleet.act("Endorse", "ada", 10)
    fleet.act("Endorse", "bob", 10)
    assert verdict(fleet, executed=OPENED + 12) == ("Reversed", "QuorumNotReached", 512)
    for index in range(10, 13):
        fleet.vote(f"m{index}", "Approve", 512)
    assert verdict(fleet, executed=OPENED + 12) == ("Ratified", "Passed", 512)


# "Tally"


def test_zero_weight() -> None:
    """ZeroWeight comes first and expires, an Optimistic proposal too; early, no completion can adopt."""
    nobody = [member("m0", 0), member("m1", 0)]
    assert verdict(Fleet(members=nobody).cast("YY")) == ("Expired", "ZeroWeight", PERIOD)
    assert verdict(Fleet(OPTIMISTIC, nobody, "Optimistic")) == ("Expired", "ZeroWeight", PERIOD)
    assert verdict(Fleet(standard(earlyDecision=True), nobody)) == ("Rejected", "Early", 0)


def test_minimum_voters_are_members_with_weight() -> None:
    """A member without weight does not count, a delegator does."""
    members = [member("m0", 5), member("m1", 5), member("m2", 0)]
    fleet = Fleet(standard(minimumVoters=2), members).cast("Y.Y")
    assert verdict(fleet) == ("Expired", "QuorumNotReached", PERIOD)
    fleet.delegate("m1", "m0")
    assert verdict(fleet) == ("Adopted", "Passed", PERIOD)


def test_a_veto_that_is_not_allowed_lets_the_lower_sequence_stand() -> None:
    """VetoNotAllowed is no vote: the key's earlier one counts."""
    fleet = Fleet(standard(allowVeto=[])).cast("YYY")
    fleet.vote("m3", "Approve")
    fleet.vote("m3", "Veto", 20, sequence=2)
    assert verdict(fleet) == ("Adopted", "Passed", PERIOD)


def test_a_duplicate_of_an_equivocation_is_one() -> None:
    """Equivocation comes before Duplicate; the next lower sequence stands."""
    fleet = Fleet()
    fleet.vote("m1", "Abstain", sequence=1)
    for choice in ("Approve", "Reject", "Approve"):
        fleet.vote("m1", choice, 20, sequence=2)
    found = [str(vote.reason) for vote in decide(fleet.case(), LATER).tally.votes]
    assert sorted(found) == ["Counted", "Equivocation", "Equivocation", "Equivocation"]


def test_a_different_time_of_signing_is_another_content() -> None:
    """Content is the statement's digest, castAt too: the same choice signed twice under one sequence voids both."""
    fleet = Fleet()
    fleet.vote("m1", "Approve", 20)
    fleet.vote("m1", "Approve", 20, cast=19)
    assert decide(fleet.case(), LATER).tally.sums.cast == 0


@given(
    start=st.integers(0, 10_000),
    drop=st.integers(0, 10_000),
    period=st.integers(1, 10**6),
    seconds=st.lists(st.integers(0, 2 * 10**6), min_size=2, max_size=8),
    total=st.integers(1, 10**7),
)
def test_an_adaptive_quorum_never_rises(start: int, drop: int, period: int, seconds: list[int], total: int) -> None:
    """From second to second the needed weight does not increase; it starts at start and ends at the floor."""
    floor = max(start - drop, 0)
    adaptive = {"startBasisPoints": start, "floorBasisPoints": floor, "confirmSeconds": 0}
    rules = Rules.of(
        "Standard", {"adaptiveQuorum": adaptive, "votingPeriodSeconds": period, "thresholdBasisPoints": 5000}
    )
    needed = [quorum_test(rules, Sums(total=total), second).right for second in (0, *sorted(seconds), 3 * 10**6)]
    assert needed == sorted(needed, reverse=True)
    assert (needed[0], needed[-1]) == (start * period * total, floor * period * total)


REFUSED = st.tuples(
    st.sampled_from(["m0", "m5", "m9", "stranger", "learner"]),
    st.sampled_from(
        [
            {"choice": "PartyB"},
            {"revision": 2},
            {"proposal": {"digest": "sha256:" + "2" * 64}},
            {"cast": 5000},
            {"key": "none"},
            {"signer": "eve.main"},
            {"at": PERIOD + 1},
            {"choice": "Veto"},
        ]
    ),
    st.integers(1, 9),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from("YNA."), min_size=10, max_size=10), st.lists(REFUSED, max_size=6))
def test_a_refused_vote_changes_no_sum(pattern: list[str], refused: list[tuple[str, dict[str, Any], int]]) -> None:
    """Whatever is refused by itself leaves outcome, sums, tests and the other votes' reasons as they are."""
    rules = standard(earlyDecision=True, allowVeto=[])
    members = [*(member(f"m{i}") for i in range(10)), member("learner", learner=True)]
    fleet = Fleet(rules, members).cast("".join(pattern))
    before = outcome.document(decide(fleet.case(), LATER))
    for name, fault, sequence in refused:
        given_ = {"choice": "Approve", "at": 10, "sequence": sequence, **fault}
        fleet.vote(name, given_.pop("choice"), given_.pop("at"), **given_)
    after = outcome.document(decide(fleet.case(), LATER))
    assert {name: after[name] for name in after if name != "votes"} == {n: before[n] for n in before if n != "votes"}
    assert [vote for vote in after["votes"] if vote["counted"]] == before["votes"]


def test_numbers_over_two_to_the_53_are_text() -> None:
    """Products of an adaptive quorum with a long period are decimal strings, exact to the last digit."""
    rules = {**ADAPTIVE, "votingPeriodSeconds": 31_536_000}
    fleet = Fleet({"Standard": rules}, [member(f"m{i}", 10_000) for i in range(400)]).cast("Y" * 10)
    (quorum, _) = outcome.document(decide(fleet.case(), OPENED + 20))["tests"]
    assert quorum["left"] == str(100_000 * 10_000 * 31_536_000)
    assert quorum["right"] == str((8000 * 31_536_000 - 5000 * 20) * 4_000_000)


def test_allow_veto_by_role_and_node() -> None:
    """What may veto is given by role or nodeId."""
    rules = standard(vetoBasisPoints=1000, allowVeto=["ComplianceWitness", node("m1")])
    members = [member("m0"), member("m1"), member("m2", role="ComplianceWitness"), *(member(f"m{i}") for i in (3, 4))]
    fleet = Fleet(rules, members).cast("VVV")
    assert [str(vote.reason) for vote in decide(fleet.case(), LATER).tally.votes].count("VetoNotAllowed") == 1
    assert decide(fleet.case(), LATER).tally.sums.veto == 2
