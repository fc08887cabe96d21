"""A proposal whose votes arrive one by one: what is kept from look to look never changes what is said."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.proposals import outcome
from quorate.proposals.case import Kept
from quorate.proposals.decision import Case, decide
from tests.unit.proposals.fleet import OPENED, PERIOD, STANDARD, Fleet, member
from tests.unit.proposals.test_decision import ADAPTIVE, EXPEDITED, OPTIMISTIC

CHOICES = ("Approve", "Reject", "Abstain", "Veto", "Retract")
RULES: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("Standard", {"Standard": {**STANDARD, "vetoBasisPoints": 3000, "minimumVoters": 3}}),
    "early": ("Standard", {"Standard": {**STANDARD, "earlyDecision": True}}),
    "adaptive": ("Standard", {"Standard": ADAPTIVE}),
    "late": ("Standard", {"Standard": {**STANDARD, "lateQuorum": {"windowSeconds": 400, "extensionSeconds": 300}}}),
    "expedited": ("Expedited", EXPEDITED),
    "optimistic": ("Optimistic", OPTIMISTIC),
}
VOTE = st.tuples(
    st.integers(0, 5),
    st.sampled_from(("a", "b", "c")),
    st.sampled_from(CHOICES),
    st.integers(0, PERIOD + 400),
    st.integers(1, 3),
)


def fleet_of(rules: str, votes: list[tuple[int, str, str, int, int]], revised: int | None) -> Fleet:
    """Six members, of whom every other has three keys and needs two of them; `revised`: m0 loses a key then."""
    kind, voting = RULES[rules]
    members = [member(f"m{i}", i + 1, keys=("a", "b", "c"), voteThreshold=1 + i % 2) for i in range(6)]
    fleet = Fleet(voting, members, kind)
    fleet.delegate("m4", "m1", key="a", at=5)
    if revised is not None:
        fleet.revised = [(OPENED + revised, [member("m0", 1, keys=("b",)), *members[1:]])]
    for number, key, choice, at, sequence in votes:
        fleet.vote(f"m{number}", choice, at, key=key, sequence=sequence)
    return fleet


@settings(deadline=None)
@given(
    rules=st.sampled_from(sorted(RULES)),
    votes=st.lists(VOTE, max_size=14),
    revised=st.none() | st.integers(1, PERIOD),
    late=st.integers(0, 3),
)
def test_what_is_kept_changes_nothing(
    rules: str, votes: list[tuple[int, str, str, int, int]], revised: int | None, late: int
) -> None:
    """At every second at which a vote arrives, the document is that of a count which starts from nothing."""
    fleet = fleet_of(rules, sorted(votes, key=lambda vote: vote[3]), revised)
    whole = fleet.case()
    arriving = [*whole.ballots[late:], *whole.ballots[:late]]  # some are recorded after others that are younger
    held: Case | None = None
    for count in range(len(arriving) + 1):
        kept = Kept() if held is None else held.kept
        held = Case(
            whole.statement,
            whole.opened,
            whole.histories,
            arriving[:count],
            whole.delegations,
            kept=kept,
        )
        fresh = Case(whole.statement, whole.opened, whole.histories, arriving[:count], whole.delegations)
        now = max([OPENED + 1, *(ballot.recorded for ballot in arriving[:count])])
        for second in (now, now + 2, now - 1, OPENED + 3 * PERIOD):
            shown = decide(held, second)
            before = shown.tally
            decide(held, second + 1)
            assert outcome.document(shown) == outcome.document(decide(fresh_of(fresh), second))
            assert before.votes == decide(fresh_of(fresh), second).tally.votes


def fresh_of(case: Case) -> Case:
    """The same without anything that was kept."""
    return Case(case.statement, case.opened, case.histories, case.ballots, case.delegations)
