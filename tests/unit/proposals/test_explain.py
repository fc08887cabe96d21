"""An outcome document in sentences."""

import pytest

from quorate.api.conditions import Reason
from quorate.api.vote import Choice
from quorate.proposals.decision import decide
from quorate.proposals.explain import _OUTCOMES, _WHY, explain, why
from quorate.proposals.outcome import document, refusal
from tests.unit.proposals.fleet import OPENED, PERIOD, STANDARD, Fleet


def test_each_rule_stands_with_its_formula_and_numbers() -> None:
    """Quorum, voters, veto and threshold are shown as compared, and the outcome in words."""
    rules = {**STANDARD, "minimumVoters": 2, "vetoBasisPoints": 3000}
    fleet = Fleet(voting={"Standard": rules}).cast("YYNV")
    fleet.vote("m0", "Reject", at=5, sequence=0)
    found = explain(document(decide(fleet.case(), OPENED + PERIOD + 5)))
    decided = "Rejected (ThresholdNotReached) as of 1970-01-12T14:03:20Z"
    assert found.headline == f"{decided}: too few of those who decided approved"
    steps = {step.rule: step for step in found.steps}
    assert steps["quorum"].numbers == "40000 ≥ 33400" and "quorumBasisPoints 3340" in steps["quorum"].formula
    assert steps["minimumVoters"].numbers == "4 ≥ 2"
    assert steps["veto"].numbers == "10000 ≤ 12000" and not steps["veto"].holds
    assert steps["threshold"].numbers == "20000 ≤ 20000" and steps["threshold"].verdict == "not approved: Rejected"
    assert "electorate: 10 members with weight 10" in found.inputs
    ((vote, because),) = found.refused
    assert (vote["reason"], because) == ("Overtaken", "its key voted again with a higher sequence")


def test_what_is_open_says_so() -> None:
    """Numbers of an undecided vote are those of now."""
    assert explain(document(decide(Fleet().case(), OPENED + 5))).headline.startswith("not decided yet")


def test_a_refused_opening_is_explained_by_its_message() -> None:
    """Nothing was counted, so the message is all."""
    assert explain(refusal("UnknownKey", "no such key")).headline == "Refused (UnknownKey): no such key"


@pytest.mark.parametrize("reason", _WHY)
def test_a_reason_of_a_vote_has_its_sentence(reason: Reason) -> None:
    """Each stands in docs/reasons.md's section of votes by the same name."""
    assert why({"reason": str(reason), "counted": False, "choice": Choice.APPROVE}) == _WHY[reason]


def test_reasons_of_outcomes_are_reasons() -> None:
    """A sentence for what no outcome can give would never be read."""
    assert set(_OUTCOMES) <= set(Reason)
