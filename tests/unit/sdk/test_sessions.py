"""Sessions of workloads: each message once, each directive once, the worst answer (docs/mission-protocol.md)."""

import pytest

from quorate.api.mission_policy import LadderAction
from quorate.missions.admission import MOST_OF_NODE, MOST_OF_POD, MOST_PODS, Admission, Allowance
from quorate.missions.protocol import Answered, Directive, Hello, ProtocolRefusedError, Ran, Takes, Told
from quorate.missions.samples import Acknowledged, Answer, Latencies, Metric, Report, Run
from quorate.missions.series import SECOND
from quorate.missions.sessions import GRACE, MOST_ASKED, MOST_SESSIONS, Key, Sessions

FREE = frozenset({LadderAction.FREE_MEMORY})


def hello(name: str = "a", takes: frozenset[LadderAction] = FREE) -> Hello:
    return Hello(name, "test", takes)


def told(seq: int, span: int = SECOND, **other: object) -> Told:
    return Told(**{"seq": seq, "span": span, "latency": {}, "gauges": {}, "objective": {}, "lost": 0, **other})  # type: ignore[arg-type]


def directive(name: str = "d1", within: int = 30 * SECOND) -> Directive:
    return Directive(name, LadderAction.FREE_MEMORY, within, "cap", "memory", {"limit": 5})


def test_a_report_becomes_events_with_the_agents_time() -> None:
    """Latencies, gauges and objectives are dated when they come, and belong to the pod of the connection."""
    sessions = Sessions()
    key, _ = sessions.hello("u1", hello(), 5)
    message = told(1, latency={"": {7: 2}, "decode": {}}, gauges={Metric.UP: 10_000}, objective={"loss": -3}, lost=4)
    assert sessions.take(key, message, 9) == [
        Latencies(9, "u1", {7: 2}, ""),
        Report(9, "u1", Metric.UP, 10_000),
        Report(9, "u1", Metric.OBJECTIVE, -3, "loss"),
    ]
    assert sessions.lost == 4


def test_a_run_has_the_digest_of_its_facts() -> None:
    """Equal facts are equal inputs, in whatever order they were said."""
    sessions = Sessions()
    key, _ = sessions.hello("u1", hello(), 0)
    (first,) = sessions.take(key, Ran(1, {"seed": "7", "data": "v1"}, "0" * 64), 1)
    (second,) = sessions.take(key, Ran(2, {"data": "v1", "seed": "7"}, "1" * 64), 2)
    assert isinstance(first, Run) and isinstance(second, Run)
    assert first.inputs == second.inputs
    assert (first.result, second.result) == ("sha256:" + "0" * 64, "sha256:" + "1" * 64)


def test_a_message_counts_once() -> None:
    """What is sent again after a reconnect changes nothing; the session goes on where it was."""
    sessions = Sessions()
    key, _ = sessions.hello("u1", hello(), 0)
    assert len(sessions.take(key, told(1, latency={"": {7: 2}}), 1)) == 1
    sessions.gone(key, 2)
    key, _ = sessions.hello("u1", hello(), 3)
    assert sessions.take(key, told(1, latency={"": {7: 2}}), 4) == []
    assert sessions.take(key, Ran(1, {}, "0" * 64), 4) == []
    assert len(sessions.take(key, told(2, latency={"": {7: 1}}), 5)) == 1


def test_the_same_name_in_another_pod_is_another_session() -> None:
    """A session is of its pod: nobody goes on with another pod's."""
    sessions = Sessions()
    mine, _ = sessions.hello("u1", hello(), 0)
    sessions.take(mine, told(9), 1)
    other, _ = sessions.hello("u2", hello(), 0)
    assert len(sessions.take(other, told(1, objective={"loss": 1}), 1)) == 1


def test_time_travel_is_refused() -> None:
    """A report cannot be about more time than has passed since the last one of the connection."""
    sessions = Sessions()
    key, _ = sessions.hello("u1", hello(), 0)
    sessions.take(key, told(1, 10 * SECOND), 0)  # it may have gathered before it connected
    sessions.take(key, told(2, 3 * SECOND), SECOND)
    with pytest.raises(ProtocolRefusedError, match="only 1000000 microseconds have passed since the last report"):
        sessions.take(key, told(3, 3 * SECOND + 1), 2 * SECOND)


def test_a_second_hello_is_refused() -> None:
    """A connection is of one session."""
    sessions = Sessions()
    key, _ = sessions.hello("u1", hello(), 0)
    with pytest.raises(ProtocolRefusedError, match="only the first message is a hello"):
        sessions.take(key, hello("b"), 1)


def test_takes_is_of_whoever_is_there() -> None:
    """What a pod takes is what its workloads say, with ten seconds for one that reconnects."""
    sessions = Sessions()
    a, _ = sessions.hello("u1", hello("a"), 0)
    b, _ = sessions.hello("u1", hello("b", frozenset({LadderAction.CHECKPOINT})), 0)
    assert sessions.takes("u1", 0) == FREE | {LadderAction.CHECKPOINT}
    sessions.gone(a, SECOND)
    assert sessions.takes("u1", SECOND + GRACE - 1) == FREE | {LadderAction.CHECKPOINT}
    assert sessions.takes("u1", SECOND + GRACE) == {LadderAction.CHECKPOINT}
    sessions.take(b, Takes(frozenset()), SECOND + GRACE)
    assert sessions.takes("u1", SECOND + GRACE) == frozenset()
    assert sessions.takes("u2", 0) == frozenset()


def test_a_directive_that_nobody_takes_is_not_asked() -> None:
    """No taker, no key; and nothing is waited for."""
    sessions = Sessions()
    assert sessions.ask("u1", directive(), 0) == []
    sessions.hello("u1", hello(takes=frozenset()), 0)
    assert sessions.ask("u1", directive(), 0) == []
    assert sessions.settle(60 * SECOND) == []


@pytest.mark.parametrize(
    ("answers", "worst"),
    [
        ((Answer.DONE, Answer.DONE), Answer.DONE),
        ((Answer.DONE, Answer.REFUSED), Answer.REFUSED),
        ((Answer.FAILED, Answer.REFUSED), Answer.FAILED),
    ],
)
def test_the_worst_answer_counts(answers: tuple[Answer, Answer], worst: Answer) -> None:
    """Of several processes the worst answer is the pod's, once all have answered."""
    sessions = Sessions()
    keys = [sessions.hello("u1", hello(name), 0)[0] for name in ("a", "b")]
    assert sessions.ask("u1", directive(), 0) == keys
    assert sessions.ask("u1", directive(), 1) == []  # once
    assert sessions.take(keys[0], Answered("d1", answers[0], ""), 2) == []
    assert sessions.take(keys[0], Answered("d1", Answer.FAILED, ""), 3) == []  # the first answer counts
    assert sessions.take(keys[1], Answered("d1", answers[1], ""), 4) == [Acknowledged(4, "d1", worst)]
    assert sessions.take(keys[1], Answered("d1", answers[1], ""), 5) == []


def test_a_directive_is_said_again_with_the_time_that_is_left() -> None:
    """After a reconnect an unanswered directive comes again, an answered or late one does not."""
    sessions = Sessions()
    key, _ = sessions.hello("u1", hello(), 0)
    sessions.ask("u1", directive(), 0)
    sessions.gone(key, SECOND)
    assert sessions.hello("u1", hello(), 10 * SECOND)[1] == [directive(within=20 * SECOND)]
    assert sessions.hello("u1", hello(), 30 * SECOND)[1] == []
    assert sessions.take(key, Answered("d1", Answer.DONE, ""), 31 * SECOND) == []


def test_who_went_away_is_not_waited_for() -> None:
    """An answer counts when those who have not answered are gone; when all are gone there is none."""
    sessions = Sessions()
    a, b = (sessions.hello("u1", hello(name), 0)[0] for name in ("a", "b"))
    sessions.ask("u1", directive(), 0)
    sessions.take(a, Answered("d1", Answer.DONE, ""), 1)
    sessions.gone(b, 2)
    assert sessions.settle(2 + GRACE - 1) == []
    assert sessions.settle(2 + GRACE) == [Acknowledged(2 + GRACE, "d1", Answer.DONE)]
    sessions.ask("u1", directive("d2"), 2 + GRACE)
    sessions.gone(a, 2 + GRACE)
    assert sessions.settle(2 + 2 * GRACE) == []


def test_a_strangers_answer_changes_nothing() -> None:
    """Only who was asked answers: not another pod, and not with another id."""
    sessions = Sessions()
    key, _ = sessions.hello("u1", hello(), 0)
    stranger, _ = sessions.hello("u2", hello(), 0)
    sessions.ask("u1", directive(), 0)
    assert sessions.take(stranger, Answered("d1", Answer.DONE, ""), 1) == []
    assert sessions.take(key, Answered("d2", Answer.DONE, ""), 1) == []


def test_what_is_remembered_is_bounded() -> None:
    """Sessions and directives of a pod are bounded; those without a connection are forgotten first."""
    sessions = Sessions()
    kept, _ = sessions.hello("u1", hello("kept"), 0)
    for number in range(3 * MOST_SESSIONS):
        key, _ = sessions.hello("u1", hello(f"s{number}"), 0)
        sessions.gone(key, 0)
    assert len(sessions._pods["u1"].sessions) == MOST_SESSIONS
    assert sessions.take(kept, told(1, objective={"x": 1}), 1)
    for number in range(3 * MOST_ASKED):
        sessions.ask("u1", directive(f"d{number}"), 0)
    assert len(sessions._pods["u1"].asked) == MOST_ASKED
    sessions.forget("u1")
    assert sessions.take(kept, told(2, objective={"x": 1}), 2) == []
    assert sessions.takes("u1", 2) == frozenset()


def test_an_allowance_gives_a_burst_and_then_its_rate() -> None:
    """Forty at once, then one each twentieth of a second, exactly; a clock that stands still gives nothing."""
    allowance = Allowance(rate=20, burst=40)
    assert [allowance.may(0) for _ in range(41)] == [True] * 40 + [False]
    assert allowance.wait() == SECOND // 20
    assert not allowance.may(SECOND // 20 - 1)
    assert allowance.may(SECOND // 20)
    assert not allowance.may(SECOND // 20)


def test_connections_are_counted_by_pod() -> None:
    """One pod's flood leaves room for another; the node has a bound too."""
    admission = Admission()
    assert [admission.enter("u1", 0) for _ in range(MOST_OF_POD + 1)] == [True] * MOST_OF_POD + [False]
    assert admission.enter("u2", 0)
    admission.leave("u1")
    assert admission.enter("u1", 0)
    for pod in range(MOST_OF_NODE):
        admission.enter(f"p{pod}", 0)
    assert not admission.enter("late", 0)


def test_reconnecting_has_a_pace() -> None:
    """Thirty-two at once, then eight a second."""
    admission = Admission()

    def once(now: int) -> bool:
        if admission.enter("u1", now):
            admission.leave("u1")
            return True
        return False

    assert sum(once(0) for _ in range(100)) == 32
    assert sum(once(SECOND + number) for number in range(100)) == 8
    for pod in range(2 * MOST_PODS):
        admission.enter(f"p{pod}", 0)
    assert len(admission._pace) == MOST_PODS


def test_an_unknown_session_says_nothing() -> None:
    """A connection whose pod is gone is heard no more."""
    assert Sessions().take(Key("u1", "a"), told(1), 0) == []
