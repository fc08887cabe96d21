"""The sentence that says what has to happen next, and the numbers in it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.api.tally import Phase
from quorate.proposals.decision import decide
from quorate.proposals.lifecycle import Life
from quorate.proposals.next_step import approval_lacking, next_step, quorum_lacking
from quorate.proposals.tally import Rules, Sums, passes, quorum_test
from tests.unit.proposals.fleet import OPENED, PERIOD, STANDARD, Fleet, member, node

VOTING = Life(Phase.VOTING, opened_at=OPENED)


def said(fleet: Fleet, at: int = 100) -> str:
    """The sentence at a second after the opening."""
    return next_step(VOTING, decide(fleet.case(), OPENED + at).tallies, name="p")


@given(
    approve=st.integers(0, 60),
    reject=st.integers(0, 60),
    threshold=st.integers(0, 9999),
    quorum=st.integers(0, 10_000),
    approve_only=st.booleans(),
)
def test_the_lacking_weight_is_exact(
    approve: int, reject: int, threshold: int, quorum: int, approve_only: bool
) -> None:
    """With the weight that is said to lack the test holds, with one less it does not."""
    rules = Rules({}, 100, quorum=quorum, threshold=threshold, approve_only=approve_only)
    sums = Sums(approve=approve, reject=reject, total=1000)
    more = approval_lacking(rules, sums)
    assert passes(rules, sums._replace(approve=approve + more))
    assert more == 0 or not passes(rules, sums._replace(approve=approve + more - 1))
    voting = quorum_lacking(rules, sums, 0)
    assert quorum_test(rules, sums._replace(approve=approve + voting), 0).holds
    assert voting == 0 or not quorum_test(rules, sums._replace(approve=approve + voting - 1), 0).holds


def test_it_says_what_is_missing_who_has_not_voted_and_until_when() -> None:
    """Quorum and threshold lack by a number; five members are named, the others counted; the command and the end."""
    text = said(Fleet().cast("N"))
    # Ten of weight 1; quorum 3340 bp needs ⌈3.34⌉ = 4 cast; over half of 1 reject + a approvals needs a = 2.
    assert "lacks 3 weight that votes for the quorum and 2 approving weight for the threshold" in text
    assert "9 with weight 9 have not voted: " in text and "(main)" in text and "and 4 more" in text
    assert text.endswith("`quorate vote CHOICE p` until 1970-01-12T14:03:20Z")
    assert node("m0") not in text


def test_heavy_members_are_named_first() -> None:
    """Who would decide it is named before who would not, and members without weight are not waited for."""
    members = [member("m0", 1), member("m1", 0), member("m2", 5)]
    text = said(Fleet(members=members))
    assert text.index(node("m2")) < text.index(node("m0")) and node("m1") not in text


@pytest.mark.parametrize(
    ("rules", "votes", "sentence"),
    [
        ({}, "YYYY", "as it stands it is adopted at the end; "),
        ({"earlyDecision": True}, "YYYY", "adopted at the end, or as soon as no outstanding vote can change that; "),
        ({"minimumVoters": 6}, "YYYY", "lacks 2 more voters for minimumVoters; "),
        ({"vetoBasisPoints": 2000}, "YYYV", "that the veto is taken back (weight 1 of 4 cast)"),
        ({}, "NNNNNNNN", "9 approving weight for the threshold, of which only 2 is outstanding"),
        ({}, "YYYYYYYYYY", "everybody has voted, a vote may be changed until"),
    ],
)
def test_each_lack_has_its_words(rules: dict[str, object], votes: str, sentence: str) -> None:
    """Each test that fails is named with what makes it hold."""
    assert sentence in said(Fleet(voting={"Standard": {**STANDARD, **rules}}).cast(votes))


def test_an_optimistic_proposal_says_what_objects() -> None:
    """It is adopted unless objections reach the first weight over the share."""
    fleet = Fleet(
        voting={"Optimistic": {"objectionBasisPoints": 3000, "votingPeriodSeconds": PERIOD}}, kind="Optimistic"
    )
    assert "adopted at the end unless reject and veto reach weight 4, they have 1" in said(fleet.cast("N"))


def test_an_emergency_says_who_has_to_endorse() -> None:
    """Admins are asked, by name, until the end of the period."""
    voting = {"Standard": STANDARD, "Emergency": {"votingPeriodSeconds": 60, "ratificationSeconds": 60}}
    fleet = Fleet(voting=voting, kind="Emergency")
    fleet.act("Endorse", "ada", 5)
    assert "1 more admins have to endorse, of bob: `quorate endorse p` until" in said(fleet, at=10)


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase not in (Phase.DRAFT, Phase.VOTING)])
def test_every_outcome_has_a_next_step(phase: Phase) -> None:
    """Whatever became of a proposal, the sentence says what follows."""
    life = replace(VOTING, phase=phase, execute_after=OPENED, execute_before=OPENED + 9, closed_at=OPENED)
    tallies = decide(Fleet().case(), OPENED + 5).tallies
    assert next_step(life, tallies, name="p")


def test_a_stale_base_says_to_propose_again() -> None:
    """A failed execution names what mends it."""
    life = replace(VOTING, phase=Phase.FAILED, reason="StaleBase", closed_at=OPENED)
    assert "propose the change again" in next_step(life, {}, name="p")
