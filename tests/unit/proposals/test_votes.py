"""Which votes and delegations count, and the reason of each that does not."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.canonical import format_time
from quorate.proposals import outcome
from quorate.proposals.decision import decide
from tests.unit.proposals.fleet import OPENED, PERIOD, STANDARD, Fleet, constitution, history, member, node

LATER = OPENED + 10_000_000
TWO = ("a", "b", "c")


def reasons(fleet: Fleet, now: int = LATER) -> list[str]:
    """The reason of each ballot, in the order in which the test recorded them."""
    judged = {vote.ballot: str(vote.reason) for vote in decide(fleet.case(), now).tally.votes}
    return [judged[ballot] for ballot in fleet.ballots]


@pytest.mark.parametrize(
    ("name", "choice", "at", "more", "reason"),
    [
        ("m1", "Approve", 10, {}, "Counted"),
        ("m1", "Approve", -500, {}, "Counted"),
        ("m1", "Approve", PERIOD, {}, "Counted"),
        ("m1", "Approve", 10, {"cast": 310}, "Counted"),
        ("m1", "Approve", 10, {"cast": -90_000}, "Counted"),
        ("m1", "Approve", 10, {"proposal": {"digest": "sha256:" + "1" * 64}}, "OtherProposal"),
        ("m1", "Approve", 10, {"revision": 2}, "OtherProposal"),
        ("m1", "PartyA", 10, {}, "UnknownChoice"),
        ("stranger", "PartyA", 10, {}, "UnknownChoice"),
        ("stranger", "Approve", PERIOD + 1, {}, "NotInElectorate"),
        ("learner", "Approve", 10, {}, "NotInElectorate"),
        ("fork", "Approve", 10, {}, "NotInElectorate"),
        ("m1", "Approve", PERIOD + 1, {"cast": 90_000}, "TooLate"),
        ("m1", "Approve", 10, {"cast": 311}, "FromTheFuture"),
        ("m1", "Veto", 10, {"key": "none"}, "VetoNotAllowed"),
        ("m1", "Approve", 10, {"key": "none"}, "UnknownKey"),
        ("expiring", "Approve", 10, {"signer": "m1.main"}, "KeyExpired"),
        ("expiring", "Approve", 9, {}, "Counted"),
        ("m1", "Approve", 10, {"signer": "m2.main"}, "BadSignature"),
    ],
)
def test_reason_of_a_vote(name: str, choice: str, at: int, more: dict[str, Any], reason: str) -> None:
    """The first check that fails, in the order of governance.md, gives the reason."""
    members = [
        *(member(f"m{i}") for i in range(3)),
        member("learner", learner=True),
        member("fork", role="TrustFork"),
        member("expiring", not_after=OPENED + 10),
    ]
    fleet = Fleet({"Standard": {**STANDARD, "allowVeto": []}}, members)
    fleet.vote(name, choice, at, **more)
    assert reasons(fleet) == [reason]


@pytest.mark.parametrize(
    ("not_after", "keys", "expected"),
    [
        (None, ("new",), "KeyRevoked"),
        (OPENED + 10, ("main",), "KeyExpired"),
        (OPENED + 11, ("main",), "Counted"),
    ],
)
def test_a_key_that_a_revision_took_back(not_after: int | None, keys: tuple[str, ...], expected: str) -> None:
    """The key must also be good in the revision in force at T, at the recorded second."""
    others = [member("m0"), member("m2")]
    fleet = Fleet(
        members=[member("m1"), *others],
        revised=[(OPENED + 50, [member("m1", keys=keys, not_after=not_after), *others])],
    )
    fleet.vote("m1", "Approve")
    assert reasons(fleet) == [expected]


@pytest.mark.parametrize(
    ("votes", "expected"),
    [
        ([("Approve", 1), ("Reject", 2)], ["Overtaken", "Counted"]),
        ([("Approve", 2), ("Reject", 1)], ["Counted", "Overtaken"]),
        ([("Approve", 1), ("Approve", 1)], ["Counted", "Duplicate"]),
        ([("Approve", 1), ("Reject", 2), ("Approve", 2)], ["Counted", "Equivocation", "Equivocation"]),
        ([("Approve", 1), ("Retract", 2)], ["Overtaken", "Retracted"]),
    ],
)
def test_sequence(votes: list[tuple[str, int]], expected: list[str]) -> None:
    """Highest sequence stands; two contents with one sequence void each other; Retract leaves nothing."""
    fleet = Fleet()
    for place, (choice, sequence) in enumerate(votes):
        fleet.vote("m1", choice, 10 + place, cast=10, sequence=sequence)
    assert reasons(fleet) == expected


@pytest.mark.parametrize(
    ("choices", "expected"),
    [
        ("Y", ["ThresholdNotReached"]),
        ("YY", ["Counted", "Counted"]),
        ("YYN", ["Counted", "Counted", "Outvoted"]),
        ("YYNN", ["KeysDisagree"] * 4),
    ],
)
def test_vote_threshold(choices: str, expected: list[str]) -> None:
    """A member's choice counts when voteThreshold of its keys agree on one choice only."""
    fleet = Fleet(members=[member("m0"), member("m1", keys=("a", "b", "c", "d"), voteThreshold=2)])
    for key, letter in zip("abcd", choices, strict=False):
        fleet.vote("m1", {"Y": "Approve", "N": "Reject"}[letter], key=key)
    assert reasons(fleet) == expected
    assert decide(fleet.case(), LATER).tally.sums.cast == ("Counted" in expected)


def sums(fleet: Fleet) -> tuple[int, int, int]:
    found = decide(fleet.case(), LATER).tally.sums
    return found.approve, found.reject, found.outstanding


@pytest.mark.parametrize(
    ("more", "approve"),
    [
        ({}, 2),
        ({"types": ["Constitutional"]}, 1),
        ({"expiresAt": format_time(OPENED + PERIOD)}, 1),
        ({"expiresAt": format_time(OPENED + PERIOD + 1)}, 2),
        ({"signed": 306}, 1),
        ({"key": "none"}, 1),
    ],
)
def test_delegation(more: dict[str, Any], approve: int) -> None:
    """A delegation gives the weight to the delegate's own choice, if it covers the type up to the end."""
    fleet = Fleet()
    fleet.delegate("m1", "m2", **more)
    fleet.vote("m2", "Approve")
    assert sums(fleet) == (approve, 0, 10 - approve)


def test_delegation_is_never_passed_on() -> None:
    """A delegated choice gives nothing to those who delegate to the delegator, and an own vote switches it off."""
    fleet = Fleet()
    fleet.delegate("m1", "m2")
    fleet.delegate("m2", "m3")
    fleet.vote("m3", "Approve")
    assert sums(fleet) == (2, 0, 8)
    fleet.vote("m2", "Reject")
    assert sums(fleet) == (1, 2, 7)
    fleet.vote("m1", "Abstain")
    assert sums(fleet) == (1, 1, 7)
    fleet.vote("m1", "Retract", sequence=2)
    assert sums(fleet) == (1, 2, 7)


def test_a_delegated_veto_needs_both() -> None:
    """The delegator too must be allowed the veto."""
    fleet = Fleet({"Standard": {**STANDARD, "allowVeto": [node("m2")]}})
    fleet.delegate("m1", "m2")
    fleet.vote("m2", "Veto")
    assert decide(fleet.case(), LATER).tally.sums.veto == 1


def test_revoked_delegation() -> None:
    """A higher sequence with an empty `to` revokes."""
    fleet = Fleet()
    fleet.delegate("m1", "m2")
    fleet.delegate("m1", None, 20, sequence=2)
    fleet.vote("m2", "Approve")
    assert sums(fleet) == (1, 0, 9)


def test_double_majority() -> None:
    """Each domain counts its own votes under its own rules; all must adopt."""
    other = history((0, constitution([member(f"o{i}") for i in range(3)], {"Standard": STANDARD})), name="other")
    fleet = Fleet(domains=["fleet", "other"], others={"other": other}).cast("YYYY")
    decision = decide(fleet.case(), LATER).decision
    assert decision is not None
    assert (decision.outcome, decision.reason) == ("Expired", "QuorumNotReached")
    for name in ("o0", "o1"):
        fleet.vote(name, "Approve", domain="other")
    progress = decide(fleet.case(), LATER)
    assert progress.decision is not None
    assert progress.decision.outcome == "Adopted"
    document = outcome.document(progress)
    assert document["domains"]["other"]["sums"]["approve"] == 2
    assert document["sums"]["approve"] == 4


def test_the_vote_that_made_quorum() -> None:
    """Of ten equal members the fourth choice in order of recording made a quorum of a third."""
    fleet = Fleet()
    for index in range(6):
        fleet.vote(f"m{index}", "Approve", 50 - index)
    assert decide(fleet.case(), LATER).tally.quorum_made_by == fleet.ballots[2].digest


CASTS = st.lists(
    st.tuples(
        st.integers(0, 9),
        st.sampled_from(["Approve", "Reject", "Abstain", "Veto", "Retract"]),
        st.integers(-5, 40),
        st.integers(1, 3),
    ),
    max_size=14,
)
RULES = {**STANDARD, "earlyDecision": True, "vetoBasisPoints": 3340}


@settings(max_examples=60, deadline=None)
@given(CASTS, st.randoms(use_true_random=False))
def test_order_and_copies_are_irrelevant(casts: list[tuple[int, str, int, int]], random: Any) -> None:
    """The same votes in any order, some twice, give the same decision, sums and tests."""
    fleet = Fleet({"Standard": RULES})
    for member_, choice, at, sequence in casts:
        fleet.vote(f"m{member_}", choice, at, sequence=sequence)
    before = outcome.document(decide(fleet.case(), LATER))
    fleet.ballots += fleet.ballots[: len(fleet.ballots) // 2]
    random.shuffle(fleet.ballots)
    after = outcome.document(decide(fleet.case(), LATER))
    for name in ("outcome", "reason", "decidedAt", "sums", "tests", "quorumMadeBy"):
        assert before[name] == after[name]


@settings(max_examples=60, deadline=None)
@given(CASTS, st.integers(0, 60))
def test_a_decision_stays(casts: list[tuple[int, str, int, int]], now: int) -> None:
    """Once it may be taken, every later evaluation gives the same T, outcome and reason."""
    fleet = Fleet({"Standard": RULES})
    for member_, choice, at, sequence in casts:
        fleet.vote(f"m{member_}", choice, at, sequence=sequence)
    early, last = decide(fleet.case(), OPENED + now), decide(fleet.case(), LATER)
    if early.decision is not None:
        assert early.decision == last.decision


@settings(max_examples=60, deadline=None)
@given(CASTS, st.lists(st.sampled_from("YNA."), min_size=10, max_size=10))
def test_early_contradicts_no_completion(casts: list[tuple[int, str, int, int]], rest: list[str]) -> None:
    """After an early decision no choice of the outstanding members gives another outcome at the deadline."""
    fleet, late = Fleet({"Standard": RULES}), Fleet({"Standard": {**RULES, "earlyDecision": False}})
    for member_, choice, at, _ in casts:
        if not any(ballot.holder == node(f"m{member_}") for ballot in fleet.ballots):
            fleet.vote(f"m{member_}", choice, at)
            late.vote(f"m{member_}", choice, at)
    decided = decide(fleet.case(), LATER).decision
    assert decided is not None
    if decided.reason == "Early":
        silent = [i for i in range(10) if not any(item.holder == node(f"m{i}") for item in late.ballots)]
        for index in silent:
            late.cast("." * index + rest[index], 100)
        completed = decide(late.case(), LATER).decision
        assert completed is not None
        assert (completed.outcome == "Adopted") is (decided.outcome == "Adopted")


def test_a_vote_from_before_the_constitution_is_judged_by_its_first_revision() -> None:
    """What git holds may be applied in any order: nothing before revision 1 could have said otherwise."""
    fleet = Fleet()
    ballot = fleet.vote("m0", "Approve", at=-50)
    forged = fleet.vote("m1", "Approve", at=-50, signer="m2.main")
    case = replace(fleet.case(), histories={"fleet": history((OPENED - 20, constitution(fleet.members, fleet.voting)))})
    judged = {vote.ballot: str(vote.reason) for vote in decide(case, OPENED + 100).tally.votes}
    assert (judged[ballot], judged[forged]) == ("Counted", "BadSignature")
