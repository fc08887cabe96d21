"""What no vote can do, and what is exact: properties of the decision over all rules and sums."""

from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.proposals.tally import (
    Rules,
    Sums,
    failure,
    objected,
    passes,
    quorum_test,
    veto_holds,
)
from tests.unit.proposals.fleet import Fleet, member
from tests.unit.proposals.test_decision import verdict

SHARE = st.integers(0, 9_999)
WEIGHT = st.integers(0, 10_000 * 1024)
MANY = settings(max_examples=300, deadline=None)
VETO_OR_NONE = st.one_of(st.none(), SHARE)


@st.composite
def sums(draw: st.DrawFn) -> Sums:
    """Weights by choice, and as much again outstanding."""
    approve, reject, abstain, veto, out = (draw(WEIGHT) for _ in range(5))
    return Sums(approve, reject, abstain, veto, total=approve + reject + abstain + veto + out)


def share(part: int, whole: int) -> Fraction:
    """An exact share; of nothing: zero."""
    return Fraction(part, whole) if whole else Fraction(0)


def rules(**values: Any) -> Rules:
    return Rules(written={}, period=100, **values)


@MANY
@given(sums(), SHARE, SHARE, VETO_OR_NONE, st.booleans())
def test_no_boundary_is_rounded(found: Sums, quorum: int, threshold: int, veto: int | None, approve_only: bool) -> None:
    """Each test is the comparison of exact fractions: at least the quorum, over threshold, veto and objection."""
    terms = rules(quorum=quorum, threshold=threshold, veto=veto, approve_only=approve_only, objection=threshold)
    basis = found.approve if approve_only else found.cast
    assert quorum_test(terms, found, 0).holds is (
        found.total == 0 or share(basis, found.total) >= Fraction(quorum, 10_000)
    )
    assert passes(terms, found) is (share(found.approve, found.decisive) > Fraction(threshold, 10_000))
    vetoed = veto is not None and share(found.veto, found.cast) > Fraction(veto, 10_000)
    assert veto_holds(terms, found) is vetoed
    objection = share(found.reject + found.veto, found.total) > Fraction(threshold, 10_000)
    assert objected(terms, found) is objection


@MANY
@given(st.integers(1, 10_000 * 1024), SHARE)
def test_one_unit_of_weight_decides(total: int, threshold: int) -> None:
    """The smallest weight over a threshold passes, and one less does not."""
    least = threshold * total // 10_000 + 1
    if least <= total:
        assert passes(rules(threshold=threshold), Sums(least, total - least, total=total))
        assert not passes(rules(threshold=threshold), Sums(least - 1, total - least + 1, total=total))
    reached = -(-threshold * total // 10_000)
    assert quorum_test(rules(quorum=threshold), Sums(reached, total=total), 0).holds
    assert reached == 0 or not quorum_test(rules(quorum=threshold), Sums(reached - 1, total=total), 0).holds


@MANY
@given(
    sums(), st.integers(1, 10_000), SHARE, SHARE, VETO_OR_NONE, st.booleans(), st.sampled_from("YAN."), st.booleans()
)
def test_a_vote_against_never_helps(
    before: Sums,
    weight: int,
    quorum: int,
    threshold: int,
    veto: int | None,
    approve_only: bool,
    was: str,
    as_veto: bool,
) -> None:
    """With quorum met before and after, turning a vote against, or adding one, adopts nothing that was not adopted.

    One case is by the rule itself: where a veto holds, a Reject that is added makes its share of what is cast smaller.
    """
    outstanding = was == "."
    weight = min(
        weight,
        before.outstanding if outstanding else {"Y": before.approve, "A": before.abstain, "N": before.reject}[was],
    )
    approve = before.approve - weight * (was == "Y")
    reject = before.reject - weight * (was == "N") + weight * (not as_veto)
    after = before._replace(
        approve=approve,
        reject=reject,
        abstain=before.abstain - weight * (was == "A"),
        veto=before.veto + weight * as_veto,
    )
    terms = rules(quorum=quorum, threshold=threshold, veto=veto, approve_only=approve_only)
    if not (quorum_test(terms, before, 0).holds and quorum_test(terms, after, 0).holds):
        return
    if outstanding and not as_veto and veto_holds(terms, before):
        return
    assert failure(terms, before, 0) is None or failure(terms, after, 0) is not None


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from("YNAV."), min_size=6, max_size=6),
    st.integers(0, 5),
    st.sampled_from("NV"),
    st.booleans(),
    st.sampled_from((2500, 5000, 6666)),
)
def test_nor_does_it_in_a_whole_decision(
    pattern: list[str], place: int, turned: str, early: bool, threshold: int
) -> None:
    """The same over signed votes with weights, early decisions included, where a veto is a Reject."""
    terms = {
        "quorumBasisPoints": 1,
        "thresholdBasisPoints": threshold,
        "votingPeriodSeconds": 1000,
        "earlyDecision": early,
    }

    def outcome(letters: list[str]) -> str:
        fleet = Fleet({"Standard": terms}, [member(f"m{i}", 1 + i % 3) for i in range(6)])
        found = verdict(fleet.cast("".join(letters)))
        assert found is not None
        return found[0]

    if set(pattern) == {"."}:
        return
    against = [*pattern[:place], turned, *pattern[place + 1 :]]
    assert outcome(pattern) == "Adopted" or outcome(against) != "Adopted"


def outcome_of(pattern: str, **terms: Any) -> tuple[str, str]:
    """Outcome and reason of ten votes of weight 1."""
    voting = {"thresholdBasisPoints": 5000, "votingPeriodSeconds": 1000, **terms}
    found = verdict(Fleet({"Standard": voting}).cast(pattern))
    assert found is not None
    return found[0], found[1]


def test_the_quorum_effect() -> None:
    """A Reject may bring the quorum that an adoption lacked, with the basis Cast; with the basis Approve it cannot."""
    assert outcome_of("YYY", quorumBasisPoints=4000) == ("Expired", "QuorumNotReached")
    assert outcome_of("YYYN", quorumBasisPoints=4000) == ("Adopted", "Passed")
    for pattern in ("YYY", "YYYN", "YYYNNNNNNN"):
        assert outcome_of(pattern, quorumBasisPoints=4000, quorumBasis="Approve") == ("Expired", "QuorumNotReached")


def test_a_reject_dilutes_a_veto() -> None:
    """A veto is a share of what is cast: a Reject that is added, as an Abstain, can take it below its share."""
    assert outcome_of("YYYV", quorumBasisPoints=4000, vetoBasisPoints=2400) == ("Rejected", "Vetoed")
    assert outcome_of("YYYVN", quorumBasisPoints=4000, vetoBasisPoints=2400) == ("Adopted", "Passed")
    assert outcome_of("YYYVA", quorumBasisPoints=4000, vetoBasisPoints=2400) == ("Adopted", "Passed")
