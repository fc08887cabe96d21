"""Governance documents against our own fixtures from hounfour-spec.md §9; no published vector is counted here."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from quorate.contracts.hounfour import DocumentError
from quorate.contracts.hounfour_governance import (
    EXECUTION_TRANSITIONS,
    PROPOSAL_TRANSITIONS,
    check_health,
    check_policy_version,
    check_proposal,
    check_transition,
    count_votes,
    voter_weight,
)


def votes(*cast: tuple[str, str]) -> list[dict[str, Any]]:
    return [{"voter_id": index, "vote": choice, "weight": weight} for index, (choice, weight) in enumerate(cast)]


@pytest.mark.parametrize(
    ("cast", "quorum", "met", "passed"),
    [
        ([("approve", "0.6"), ("reject", "0.4")], "0.5", True, True),
        ([("approve", "0.5"), ("reject", "0.5")], "0.5", True, False),
        ([("approve", "0.3")], "0.5", False, False),
        ([("approve", "0.3"), ("abstain", "0.2")], "0.5", True, True),
        ([("approve", "0.1")] * 3 + [("reject", "0.2")], "0.5", True, True),
        ([], "0", True, False),
    ],
)
def test_count(cast: list[tuple[str, str]], quorum: str, met: bool, passed: bool) -> None:
    """Abstentions count to the quorum, a tie fails, and the sums are exact: 0.1 + 0.1 + 0.1 + 0.2 is 0.5."""
    count = count_votes(votes(*cast), quorum)
    assert (count.quorum_met, count.passed) == (met, passed)


def test_weights_that_do_not_sum_to_one_warn() -> None:
    """Weights within a thousandth of 1 are silent, others warn and still count."""
    assert count_votes(votes(("approve", "0.9991")), "0.5").warning is None
    warned = count_votes(votes(("approve", "0.9")), "0.5")
    assert warned.warning is not None and warned.passed


@pytest.mark.parametrize(
    "cast",
    [
        [{"voter_id": index, "vote": "approve", "weight": "0.01"} for index in range(101)],
        [{"voter_id": 1, "vote": "veto", "weight": "0.5"}],
        [{"voter_id": 1, "vote": "approve", "weight": "1.1"}],
        [{"voter_id": 1, "vote": "approve", "weight": "-0.1"}],
        [{"voter_id": 1, "vote": "approve", "weight": "NaN"}],
        [{"voter_id": 1, "vote": "approve", "weight": 0.5}],
        [{"voter_id": 1, "vote": "approve", "weight": "0.5"}] * 2,
    ],
)
def test_refused_votes(cast: list[dict[str, Any]]) -> None:
    """Over 100 votes, unknown choices, weights outside 0…1, floats and a second vote of one voter are refused."""
    with pytest.raises(DocumentError):
        count_votes(cast, "0.5")


@pytest.mark.parametrize(
    ("blended", "state", "expected"),
    [
        ("0.9", "authoritative", "0.9"),
        ("0.8", "established", "0.6"),
        ("0.8", "warming", "0.2"),
        ("0.9", "cold", "0"),
        ("1.5", "authoritative", "1"),
        ("-1", "authoritative", "0"),
        ("0.9", "unknown", "0"),
    ],
)
def test_voter_weight(blended: str, state: str, expected: str) -> None:
    """A voter's weight is the blended score times the factor of its state, clamped; an unknown state weighs nothing."""
    assert voter_weight(Decimal(blended), state) == Fraction(expected)


@pytest.mark.parametrize(
    ("table", "allowed"),
    [
        (
            PROPOSAL_TRANSITIONS,
            {"proposed>voting", "proposed>withdrawn", "voting>ratified", "voting>rejected", "voting>withdrawn"},
        ),
        (EXECUTION_TRANSITIONS, {"pending>executing", "executing>completed", "executing>failed", "failed>rolled_back"}),
    ],
)
def test_transitions(table: Any, allowed: set[str]) -> None:
    """Exactly the listed changes of status are allowed."""
    for before in table:
        for after in table:
            if f"{before}>{after}" in allowed:
                check_transition(table, before, after)
                continue
            with pytest.raises(DocumentError):
                check_transition(table, before, after)


def proposal(status: str, *cast: tuple[str, str]) -> dict[str, Any]:
    return {"status": status, "changes": [{}], "voting": {"quorum_required": "0.5", "votes_cast": votes(*cast)}}


def test_proposal_documents() -> None:
    """A status must agree with the votes: ratified needs a passed vote, rejected one that did not pass."""
    assert check_proposal(proposal("ratified", ("approve", "1"))) is not None
    assert check_proposal(proposal("rejected", ("reject", "1"))) is not None
    assert check_proposal({"status": "proposed", "changes": [{}]}) is None
    for wrong in (
        proposal("ratified", ("reject", "1")),
        proposal("rejected", ("approve", "1")),
        {"status": "voting", "changes": [{}]},
        {"status": "proposed", "changes": []},
        {"status": "adopted", "changes": [{}]},
    ):
        with pytest.raises(DocumentError):
            check_proposal(wrong)


@pytest.mark.parametrize(
    ("health", "action", "allowed"),
    [
        ("healthy", "continue", True),
        ("degraded", "pause", True),
        ("degraded", "continue", True),
        ("failing", "rollback", True),
        ("failing", "continue", False),
        ("healthy", "rollback", False),
        ("unknown", "continue", False),
    ],
)
def test_health(health: str, action: str, allowed: bool) -> None:
    """A failing checkpoint demands rollback; an unknown health allows nothing."""
    if allowed:
        check_health(health, action)
        return
    with pytest.raises(DocumentError):
        check_health(health, action)


@pytest.mark.parametrize(("version", "supersedes"), [("1.0", None), ("1.0.0", "1.0.0"), ("01.0.0", None), (None, None)])
def test_policy_versions(version: Any, supersedes: Any) -> None:
    """A policy version is semver and does not supersede itself."""
    check_policy_version("1.2.0", "1.1.9")
    with pytest.raises(DocumentError):
        check_policy_version(version, supersedes)
