"""Decision of every type at exact boundaries."""

from typing import Any

import pytest

from quorate.proposals.decision import decide
from tests.unit.proposals.fleet import OPENED, PERIOD, STANDARD, Fleet, member

LATER = OPENED + 10_000_000


def verdict(fleet: Fleet, now: int = LATER, **case: Any) -> tuple[str, str, int] | None:
    decision = decide(fleet.case(**case), now).decision
    return None if decision is None else (decision.outcome, decision.reason, decision.at - OPENED)


def standard(**more: Any) -> dict[str, Any]:
    return {"Standard": {**STANDARD, **more}}


@pytest.mark.parametrize(
    ("pattern", "more", "outcome", "reason"),
    [
        ("", {}, "Expired", "QuorumNotReached"),
        ("YYY", {}, "Expired", "QuorumNotReached"),
        ("YYYY", {}, "Adopted", "Passed"),
        ("YYNN", {}, "Rejected", "ThresholdNotReached"),
        ("YYYYVVV", {"vetoBasisPoints": 3340}, "Rejected", "Vetoed"),
        ("YYYYVVV", {}, "Adopted", "Passed"),
        ("YYYVVV", {}, "Rejected", "ThresholdNotReached"),
        ("AAAA", {}, "Rejected", "NoDecisiveVote"),
        ("YYY", {"quorumBasisPoints": 3000}, "Adopted", "Passed"),
        ("YYYNNNN", {"quorumBasisPoints": 3001, "quorumBasis": "Approve"}, "Expired", "QuorumNotReached"),
        ("YYYY", {"minimumVoters": 5}, "Expired", "QuorumNotReached"),
        ("YYYYA", {"minimumVoters": 5}, "Adopted", "Passed"),
        ("YYYV", {"vetoBasisPoints": 2500}, "Adopted", "Passed"),
        ("YYYV", {"vetoBasisPoints": 2499}, "Rejected", "Vetoed"),
    ],
)
def test_standard_at_the_deadline(pattern: str, more: dict[str, Any], outcome: str, reason: str) -> None:
    """Each boundary of quorum, pass and veto falls to the side that the inequality says."""
    assert verdict(Fleet(standard(**more)).cast(pattern)) == (outcome, reason, PERIOD)


def test_zero_weight_expires() -> None:
    """An electorate without weight expires without a division."""
    fleet = Fleet(members=[member("m0", 0), member("m1", 0)]).cast("YY")
    assert verdict(fleet) == ("Expired", "ZeroWeight", PERIOD)


def test_a_decision_waits_two_seconds() -> None:
    """T + 1 is too early, T + 2 is not."""
    fleet = Fleet().cast("YYYY")
    assert verdict(fleet, OPENED + PERIOD + 1) is None
    assert verdict(fleet, OPENED + PERIOD + 2) == ("Adopted", "Passed", PERIOD)
    progress = decide(fleet.case(), OPENED + 100)
    assert (progress.deadline, progress.next_check) == (OPENED + PERIOD, OPENED + PERIOD + 2)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("YYYYY", ("Adopted", "Passed", PERIOD)),
        ("YYYYYNNNNN", ("Rejected", "Early", 10)),
        ("YYYYYY", ("Adopted", "Early", 10)),
        ("NNNNN", ("Rejected", "Early", 10)),
        ("NNNN", ("Rejected", "ThresholdNotReached", PERIOD)),
    ],
)
def test_early(pattern: str, expected: tuple[str, str, int]) -> None:
    """An early decision needs that no completion can change it."""
    assert verdict(Fleet(standard(earlyDecision=True)).cast(pattern)) == expected


def test_early_counts_the_veto_of_those_who_may() -> None:
    """Outstanding members that may veto can still veto; others cannot."""
    rules = standard(earlyDecision=True, vetoBasisPoints=3000)
    assert verdict(Fleet(rules).cast("YYYYYY")) == ("Adopted", "Passed", PERIOD)
    rules = standard(earlyDecision=True, vetoBasisPoints=3000, allowVeto=["ComplianceWitness"])
    assert verdict(Fleet(rules).cast("YYYYYY")) == ("Adopted", "Early", 10)


ADAPTIVE = {
    "adaptiveQuorum": {"startBasisPoints": 8000, "floorBasisPoints": 3000, "confirmSeconds": 100},
    "thresholdBasisPoints": 5000,
    "votingPeriodSeconds": PERIOD,
}


@pytest.mark.parametrize(
    ("pattern", "at", "expected"),
    [
        ("YYYYYYYY", 0, ("Adopted", "Confirmed", 100)),
        ("YYYYYY", 10, ("Adopted", "Confirmed", 500)),
        ("YYYY", 0, ("Adopted", "Confirmed", 900)),
        ("YYY", 0, ("Expired", "NotConfirmed", PERIOD)),
        ("YY", 0, ("Expired", "QuorumNotReached", PERIOD)),
        ("YYYYYY", 950, ("Expired", "NotConfirmed", PERIOD)),
        ("YYYYYY", 900, ("Adopted", "Confirmed", PERIOD)),
    ],
)
def test_adaptive(pattern: str, at: int, expected: tuple[str, str, int]) -> None:
    """The quorum falls to its floor, and the confirmation runs from the second at which all holds."""
    assert verdict(Fleet({"Standard": ADAPTIVE}).cast(pattern, at)) == expected


def test_adaptive_confirmation_is_interrupted() -> None:
    """A reject that ends the pass restarts the confirmation."""
    fleet = Fleet({"Standard": ADAPTIVE}).cast("YYYYNNNN", 0).cast("........Y", 950)
    assert verdict(fleet) == ("Expired", "NotConfirmed", PERIOD)


@pytest.mark.parametrize(
    ("at", "end"),
    [(899, PERIOD), (900, PERIOD + 300), (1000, PERIOD + 300)],
)
def test_late_quorum(at: int, end: int) -> None:
    """A quorum first reached at deadline - window or later extends once."""
    rules = standard(lateQuorum={"windowSeconds": 100, "extensionSeconds": 300})
    fleet = Fleet(rules).cast("YYY").cast("...Y", at)
    assert verdict(fleet) == ("Adopted", "Passed", end)
    assert decide(fleet.case(), OPENED + at).deadline == OPENED + end
    assert decide(fleet.case(), OPENED + at - 1).deadline == OPENED + PERIOD


def test_votes_in_the_extension_count() -> None:
    """A vote recorded up to the extended end counts, one second later it is too late."""
    rules = standard(lateQuorum={"windowSeconds": 100, "extensionSeconds": 300})
    fleet = Fleet(rules).cast("YYYY", 950).cast("....NNN", 1300).cast(".......N", 1301)
    assert verdict(fleet) == ("Adopted", "Passed", 1300)
    fleet.ballots[-1] = fleet.vote("m7", "Reject", 1300)
    assert verdict(fleet) == ("Rejected", "ThresholdNotReached", 1300)


EXPEDITED = {
    "Standard": {**STANDARD, "votingPeriodSeconds": 2000},
    "Expedited": {**STANDARD, "thresholdBasisPoints": 6670, "vetoBasisPoints": 3340},
}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("YYYYNNV", ("Adopted", "Passed", 2000)),
        ("YYYYYNV", ("Adopted", "Passed", PERIOD)),
        ("YYYYYVVV", ("Adopted", "Passed", 2000)),
        ("YYNNV", ("Rejected", "ThresholdNotReached", 2000)),
    ],
)
def test_expedited(pattern: str, expected: tuple[str, str, int]) -> None:
    """What is not adopted as Expedited goes on as Standard with the same votes."""
    assert verdict(Fleet(EXPEDITED, kind="Expedited").cast(pattern)) == expected


def test_expedited_decides_as_standard_from_the_fallback_on() -> None:
    """An early Standard decision is not taken before the fallback."""
    voting = {**EXPEDITED, "Standard": {**EXPEDITED["Standard"], "earlyDecision": True}}
    fleet = Fleet(voting, kind="Expedited").cast("YYYYYYNNNN")
    assert verdict(fleet) == ("Adopted", "Early", PERIOD)


EMERGENCY = {
    "Standard": {**STANDARD, "vetoBasisPoints": 3340},
    "Emergency": {"votingPeriodSeconds": 100, "ratificationSeconds": 500},
}


def test_emergency() -> None:
    """Endorsed by the admins, executed, then ratified or reversed by the votes."""
    fleet = Fleet(EMERGENCY, kind="Emergency")
    assert verdict(fleet) == ("Expired", "NotEndorsed", 100)
    fleet.act("Endorse", "ada", 10)
    fleet.act("Endorse", "ada", 20)
    assert verdict(fleet) == ("Expired", "NotEndorsed", 100)
    fleet.act("Endorse", "bob", 100)
    assert verdict(fleet) == ("Adopted", "Passed", 100)
    executed = OPENED + 103
    assert verdict(fleet, OPENED + 200, executed=executed) == ("EmergencyExecuted", "Passed", 100)
    assert verdict(fleet, executed=executed) == ("Reversed", "QuorumNotReached", 603)
    fleet.cast("YYYY", 603)
    assert verdict(fleet, executed=executed) == ("Ratified", "Passed", 603)


OPTIMISTIC = {"Optimistic": {"votingPeriodSeconds": PERIOD, "objectionBasisPoints": 3000}}


@pytest.mark.parametrize(
    ("pattern", "outcome", "reason"),
    [("", "Adopted", "NoObjection"), ("NNV", "Adopted", "NoObjection"), ("NNVV", "Rejected", "Objection")],
)
def test_optimistic(pattern: str, outcome: str, reason: str) -> None:
    """Adopted at the deadline unless the objections exceed their share."""
    assert verdict(Fleet(OPTIMISTIC, kind="Optimistic").cast(pattern)) == (outcome, reason, PERIOD)


@pytest.mark.parametrize(("recorded", "expected"), [(500, "RevokedDuringVote"), (-5, "QuorumNotReached")])
def test_a_removed_key_cannot_adopt(recorded: int, expected: str) -> None:
    """Removing the keys of those who reject during the vote does not adopt; before it, it simply takes them out."""
    kept = [member(f"m{i}") for i in range(4)]
    gone = [member(f"m{i}", keys=("new",)) for i in range(4, 10)]
    fleet = Fleet(revised=[(OPENED + recorded, kept + gone)]).cast("YYYYNNNNNN", at=-10 if recorded < 0 else 10)
    if recorded < 0:
        fleet.ballots = fleet.ballots[1:]
    outcome = verdict(fleet)
    assert outcome is not None
    assert outcome[1] == expected


@pytest.mark.parametrize(
    ("at", "expected"),
    [(PERIOD, ("Withdrawn", "Withdrawn", PERIOD)), (PERIOD + 1, ("Adopted", "Passed", PERIOD))],
)
def test_withdrawal(at: int, expected: tuple[str, str, int]) -> None:
    """The proposer may withdraw until the end."""
    fleet = Fleet().cast("YYYY")
    fleet.act("Withdraw", "m0", at)
    assert verdict(fleet) == expected


def test_stop() -> None:
    """Both admins stop, even after the adoption, but not after the executing entry."""
    fleet = Fleet().cast("YYYY")
    fleet.act("Stop", "ada", 500)
    assert verdict(fleet) == ("Adopted", "Passed", PERIOD)
    fleet.act("Stop", "bob", PERIOD + 50)
    assert verdict(fleet) == ("Stopped", "Stopped", PERIOD + 50)
    assert verdict(fleet, executed=OPENED + PERIOD + 10) == ("Adopted", "Passed", PERIOD)


def test_superseded() -> None:
    """An amendment recorded by the end closes the vote."""
    fleet = Fleet().cast("YYYY")
    assert verdict(fleet, superseded=OPENED + PERIOD) == ("Superseded", "Superseded", PERIOD)
    assert verdict(fleet, superseded=OPENED + PERIOD + 1) == ("Adopted", "Passed", PERIOD)
