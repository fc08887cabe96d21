"""The ladder against random verdicts, answers and outcomes: never on unknown, a refusal holds, in order."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.api.mission_policy import LadderAction, Strategy
from quorate.missions.decisions import Hold, Severity, Step
from quorate.missions.ladder import BACK_OFF, CLIMBS, HARDNESS, Ladder, Move, Rung, Terms
from quorate.missions.samples import Answer, Outcome
from quorate.missions.series import SECOND
from quorate.missions.verdict import State, Verdict

A = LadderAction
RUNGS = (
    Rung(A.WARN, 0, 0),
    Rung(A.FREE_MEMORY, 5 * SECOND, 10 * SECOND),
    Rung(A.EVICT, 20 * SECOND, 0),
    Rung(A.TERMINATE, 40 * SECOND, 0),
)
TERMS = Terms(RUNGS, Strategy.FREE_RESOURCES, 10 * SECOND, True, False, frozenset({A.FREE_MEMORY}))


class Open:
    """A gate that lets everything pass."""

    def blocked(self, action: LadderAction, now: int, *, again: bool) -> tuple[Hold, int | None] | None:
        return None


def verdict(state: State, severity: Severity = Severity.HIGH, since: int = 0) -> Verdict:
    return Verdict(state, severity, "", (), since)


def climbed(terms: Terms = TERMS, until: int = 60, severity: Severity = Severity.HIGH) -> list[tuple[int, Move]]:
    """A violation that goes on, one verdict a second, nobody answering."""
    ladder = Ladder(terms)
    return [
        (second, move)
        for second in range(until)
        for move in ladder.judge(verdict(State.BROKEN, severity), second * SECOND, Open())
    ]


STEPS = st.lists(
    st.tuples(
        st.integers(1, 40),
        st.sampled_from(State),
        st.sampled_from(Severity),
        st.one_of(st.none(), st.sampled_from(Answer), st.sampled_from(Outcome)),
    ),
    max_size=80,
)


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_properties(steps: list[tuple[int, State, Severity, Answer | Outcome | None]]) -> None:
    """Nothing is begun but on a broken verdict of enough severity; no rung twice; a refused one is asked again late."""
    ladder, now, refused_at = Ladder(TERMS), 0, None
    begun: list[int] = []
    for passed, state, severity, said in steps:
        now += passed * SECOND
        if isinstance(said, Answer):
            ladder.answer(said, now)
        elif isinstance(said, Outcome):
            move = ladder.ended(said, now)
            refused_at = now if move is not None else refused_at
        for move in ladder.judge(verdict(state, severity, now), now, Open()):
            if move.step in (Step.STARTED, Step.RETRIED):
                assert state is State.BROKEN
                assert move.action is not None
                assert HARDNESS[move.action] <= CLIMBS[severity]
            if move.step is Step.STARTED:
                assert not begun or move.rung > begun[-1]
                assert refused_at is None, "a harder rung followed a refusal"
                begun.append(move.rung)
            if move.step is Step.RETRIED:
                assert refused_at is not None
                assert now - refused_at >= BACK_OFF[0]
                refused_at = None
            if move.step in (Step.CLEARED, Step.RECOVERED):
                assert state is State.GOOD
                begun, refused_at = [], None


def test_time_by_time() -> None:
    """Rungs at their seconds; Terminate waits for the eviction's outcome."""
    assert [(at, move.step, move.action) for at, move in climbed()] == [
        (0, Step.STARTED, A.WARN),
        (5, Step.STARTED, A.FREE_MEMORY),
        (15, Step.UNANSWERED, A.FREE_MEMORY),
        (20, Step.STARTED, A.EVICT),
    ]


def test_without_acting_it_climbs_by_time() -> None:
    """In Audit and Warn nobody is waited for, and every rung is told once."""
    told = climbed(replace(TERMS, acts=False))
    assert [(at, move.action) for at, move in told] == [
        (0, A.WARN),
        (5, A.FREE_MEMORY),
        (20, A.EVICT),
        (40, A.TERMINATE),
    ]


def test_severity_bounds_the_climb() -> None:
    """Low warns, Medium asks, Critical waits for no afterSeconds."""
    assert [move.action for _, move in climbed(severity=Severity.LOW)] == [A.WARN]
    assert {move.action for _, move in climbed(severity=Severity.MEDIUM)} == {A.WARN, A.FREE_MEMORY}
    assert [(at, move.action) for at, move in climbed(severity=Severity.CRITICAL)][:3] == [
        (0, A.WARN), (0, A.FREE_MEMORY), (10, A.FREE_MEMORY),
    ]  # fmt: skip


def test_an_unknown_begins_the_clear_time_anew() -> None:
    """Unknown is not healthy: the good seconds before it do not count."""
    ladder = Ladder(TERMS)
    ladder.judge(verdict(State.BROKEN), 0, Open())
    states = [State.GOOD] * 9 + [State.UNKNOWN] + [State.GOOD] * 11
    steps = [move.step for second, state in enumerate(states, start=1)
             for move in ladder.judge(verdict(state), second * SECOND, Open())]  # fmt: skip
    assert steps == [Step.HELD, Step.CLEARED]
    assert ladder.began is None


def test_a_gap_that_nobody_judged_does_not_count() -> None:
    """An agent that stood still counts what its last samples vouch for, and begins the clear time anew."""
    ladder = Ladder(replace(TERMS, rungs=RUNGS[:1] + RUNGS[2:3]))
    broken, good = verdict(State.BROKEN), verdict(State.GOOD)

    def judged(found: Verdict, second: int) -> list[Step]:
        at = second * SECOND
        sample = replace(found, since=at, until=at + 3 * SECOND)
        return [move.step for move in ladder.judge(sample, at, Open())]

    assert judged(broken, 0) == [Step.STARTED]
    assert judged(broken, 100) == []  # three seconds are known
    assert ladder.due == 117 * SECOND
    assert judged(good, 102) == []
    assert judged(good, 200) == [], "ninety good seconds are not known"
    assert judged(broken, 201) == []
    assert ladder.due == (201 + 15) * SECOND
