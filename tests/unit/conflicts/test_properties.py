"""Properties of arbitration that hold for every conflict."""

from hypothesis import given
from hypothesis import strategies as st

from quorate.api.policy_conflict import ConflictOutcome, Level, Severity
from quorate.conflicts.arbitration import arbitrate
from tests.unit.conflicts.arena import NAMES, Arena
from tests.unit.proposals.fleet import OPENED, PERIOD, member, node

_NAMES = st.lists(st.sampled_from(NAMES), unique=True, max_size=len(NAMES))
_VOTES = st.text(alphabet="ABC-", min_size=3, max_size=3)


@given(_NAMES, _NAMES, st.sampled_from(list(Severity)), st.randoms())
def test_arbitrators_are_deterministic_and_never_parties(
    members: list[str], parties: list[str], severity: Severity, order: st.DrawFn
) -> None:
    """The same people in any order seat the same arbitrators, none of whom is excluded."""
    excluded = frozenset(map(node, parties))
    shuffled = list(members)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    first, second = (
        Arena(members=[member(name) for name in names], severity=severity, excluded=excluded).bench()
        for names in (members, shuffled)
    )
    assert first == second
    assert not excluded & {seat.node_id for seat in first}
    assert len(first) == min(len({*members} - {*parties}), 3 if severity in ("Low", "Medium") else 5)


@given(_VOTES, st.permutations(range(3)), st.integers(0, 3))
def test_the_order_of_votes_does_not_matter(pattern: str, order: list[int], doubled: int) -> None:
    """Votes recorded in any order, some twice, give one outcome."""
    plain, mixed = Arena().cast(pattern), Arena().cast(pattern)
    mixed.ballots = [mixed.ballots[index] for index in order if index < len(mixed.ballots)]
    mixed.ballots += mixed.ballots[:doubled]
    now = OPENED + 3 * PERIOD + 2
    one, other = arbitrate(plain.case(), now), arbitrate(mixed.case(), now)
    assert [item.document for item in one.levels] == [item.document for item in other.levels]
    assert one.step == other.step


@given(_VOTES)
def test_a_tie_escalates_or_blocks(pattern: str) -> None:
    """Whoever leads alone wins; nobody wins a tie, at any level."""
    arena = Arena().cast(pattern)
    counts = sorted((pattern.count(letter) for letter in "ABC"), reverse=True)
    progress = arbitrate(arena.case(), OPENED + PERIOD + 2)
    if counts[0] > counts[1]:
        assert progress.step is not None
        assert progress.step.outcome == {"A": "PartyA", "B": "PartyB", "C": "Compromise"}[max("ABC", key=pattern.count)]
    else:
        assert progress.step is None
        assert progress.current.level is Level.HUBS
        top = arbitrate(arena.case(), OPENED + 2 * PERIOD + 2)
        assert top.step is not None
        assert top.step.outcome is ConflictOutcome.BLOCKED


@given(_VOTES, st.integers(OPENED, OPENED + 2 * PERIOD))
def test_a_decision_stands(pattern: str, now: int) -> None:
    """What is decided at one second is decided at every later one, as of the same T."""
    case = Arena().cast(pattern).case()
    early, late = arbitrate(case, now), arbitrate(case, OPENED + 5 * PERIOD)
    assert all(item.step == late.levels[index].step for index, item in enumerate(early.levels) if item.step)


def test_a_vote_on_a_level_that_is_not_reached_says_nothing() -> None:
    """Recorded before the level below was decided, it is OtherProposal, and stands in no later vote's way."""
    arena = Arena().cast("ABC", at=10)
    seat = arena.bench(Level.HUBS)[0]
    early = arena.vote(seat, "PartyA", 5, level=Level.HUBS)
    late = arena.vote(seat, "PartyB", 20, level=Level.HUBS)
    progress = arbitrate(arena.case(), OPENED + 30)
    assert progress.current.level is Level.HUBS
    reasons = {vote.ballot: vote.reason for vote in progress.current.votes}
    assert reasons == {early: "OtherProposal", late: "Counted"}


def test_many_votes_of_one_arbitrator_are_one() -> None:
    """Falling sequences, one a second: the first stands throughout, and all the others are Overtaken."""
    arena = Arena()
    seat = arena.bench()[0]
    for number in range(800):
        arena.vote(seat, "PartyA", 1 + number, sequence=800 - number)
    progress = arbitrate(arena.case(), OPENED + PERIOD - 1)
    (counted,) = (vote for vote in progress.current.votes if vote.reason == "Counted")
    assert (counted.ballot.sequence, progress.current.counts.party_a) == (800, 1)
