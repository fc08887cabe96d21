"""A workload with the SDK and a real agent's socket: alive, gone, hung, flooding, replaced, forked."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import quorate_mission
from quorate.api.mission_policy import LadderAction
from quorate.missions.latency import bucket_of
from quorate.missions.samples import Acknowledged, Answer, Latencies, Metric, Report, Run
from quorate_mission import Mission, _link, _speaker
from tests.unit.sdk.rig import Agent, agent_at, until


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports each 20 ms, reconnects within 40 ms."""
    monkeypatch.setattr(_speaker, "BACK_OFF", (0.02, 0.04))
    monkeypatch.setattr(_speaker, "INTERVAL", 0.02)
    monkeypatch.setattr("quorate_agent.workloads.INTERVAL", 0)


@pytest.fixture
def mission(path: Path) -> Iterator[Mission]:
    """A mission that speaks with the test's agent, if there is one."""
    found = quorate_mission.connect(str(path))
    yield found
    found.close(5)


def test_everything_that_is_said_arrives(mission: Mission, agent: Agent) -> None:
    """Latency, progress, entropy, privacy, serving and runs become the engine's events in its units."""
    mission.facts(seed=7, data="v1")
    mission.latency(0.005)
    mission.latency(0.000_031, "decode")
    with mission.timed("decode"):
        pass
    mission.iteration(12)
    mission.objective("loss", 0.31)
    mission.entropy(7.99)
    mission.privacy(0.7, 1e-6)
    mission.up()
    mission.result(b"weights")
    until(lambda: len(agent.of(Report)) == 6 and agent.of(Run) and len(agent.of(Latencies)) >= 2)
    said = {(found.metric, found.name): found.value for found in agent.of(Report)}
    assert said == {
        (Metric.ITERATION, ""): 12,
        (Metric.OBJECTIVE, "loss"): 310_000,
        (Metric.ENTROPY, ""): 7_990,
        (Metric.EPSILON, ""): 700_000,
        (Metric.DELTA, ""): 1_000_000,
        (Metric.UP, ""): 10_000,
    }
    usual = [found.counts for found in agent.of(Latencies) if not found.source]
    assert usual == [{bucket_of(5_000): 1}]
    assert sum(sum(found.counts.values()) for found in agent.of(Latencies) if found.source == "decode") == 2
    assert mission.connected


def test_a_directive_is_carried_out_once_and_answered(mission: Mission, agent: Agent) -> None:
    """Handlers run where the loop calls obey; what they return or raise is the answer."""
    calls: list[str] = []

    def free(directive: quorate_mission.Directive) -> str:
        calls.append(f"{threading.current_thread().name} {directive.arguments['limit']}")
        return "1 GiB"

    def reduce(_: quorate_mission.Directive) -> None:
        raise quorate_mission.Cannot("already the smallest")

    def save(_: quorate_mission.Directive) -> None:
        raise OSError("disk full")

    mission.on("FreeMemory", free)
    mission.on("ReduceBatch", reduce)
    mission.on("Checkpoint", save)
    mission.on("CheckpointAndAbort", lambda _: None)
    until(lambda: len(agent.takes()) == 4)
    for action in ("FreeMemory", "ReduceBatch", "Checkpoint", "CheckpointAndAbort"):
        assert agent.ask(action, action, limit=5)
    assert not mission.aborting

    def answers() -> dict[str, Answer]:
        mission.obey()
        return {found.decision: found.answer for found in agent.of(Acknowledged)}

    assert until(lambda: len(answers()) == 4)
    assert answers() == {"FreeMemory": Answer.DONE, "ReduceBatch": Answer.REFUSED, "Checkpoint": Answer.FAILED,
                         "CheckpointAndAbort": Answer.DONE}  # fmt: skip
    assert calls == ["MainThread 5"]
    assert mission.aborting


def test_directives_by_hand(mission: Mission, agent: Agent) -> None:
    """Who declared an action without a handler takes it from `directives`; a late one does not come."""
    mission.takes("FreeMemory", "Checkpoint")
    until(lambda: len(agent.takes()) == 2)
    assert agent.ask("Checkpoint", "late", seconds=0)
    assert agent.ask("FreeMemory", "d1")
    directive = until(lambda: next(mission.directives(), None))
    assert (directive.id, directive.policy, directive.rule) == ("d1", "cap", "memory")
    assert 0 < directive.remaining <= 30
    directive.failed("why not")
    until(lambda: agent.of(Acknowledged))
    assert list(mission.directives()) == []
    with pytest.raises(ValueError, match="'Evict' is no directive: one of FreeMemory"):
        mission.takes("Evict")


def test_the_agent_restarts(mission: Mission, path: Path) -> None:
    """The workload finds the next agent, declares itself again, and is asked once by each id."""
    carried: list[str] = []
    mission.on("FreeMemory", lambda directive: carried.append(directive.id))
    for life in range(2):
        with agent_at(path) as agent:
            until(lambda agent=agent: agent.takes() == {LadderAction.FREE_MEMORY})
            assert agent.ask("FreeMemory")

            def answered(agent: Agent = agent) -> list[Any]:
                mission.obey()
                mission.latency(0.001)
                return agent.of(Acknowledged)

            # The second agent asks with the same id: the answer comes again, the deed does not.
            until(answered)
            assert carried == ["d1"], life
            until(lambda agent=agent: agent.of(Latencies))


def test_without_an_agent_nothing_happens(mission: Mission, path: Path) -> None:
    """No socket, a file, or a symlink to a socket: no connection, no error; a real socket in its place is found."""
    mission.iteration(1)
    path.write_text("no socket")
    with agent_at(path.with_name("other.sock")) as other:
        path.unlink()
        path.symlink_to(other.path)
        with pytest.raises(OSError, match="is a symlink or no socket"):
            _link.connect_to(str(path))
        mission.iteration(2)
        mission.obey()
        assert not other.changed
        path.unlink()
    with agent_at(path) as agent:
        until(lambda: [found.value for found in agent.of(Report)] == [2])


@pytest.mark.parametrize("value", ["x", None, float("nan"), float("inf"), -1.0, 1e300, object(), [], b"\0"])
def test_whatever_is_passed_the_loop_goes_on(mission: Mission, agent: Agent, value: Any) -> None:
    """What is no number is counted as lost, not raised and not reported as a number."""
    mission.iteration(value)
    mission.entropy(value)
    mission.privacy(value, value)
    mission.objective("loss", value)
    mission.objective(value, 1)
    mission.latency(value)
    mission.latency(0.1, value)
    mission.facts(**{"a" * 65: value})
    mission.result(value)
    mission.obey()
    until(lambda: agent.server.sessions.lost >= 5)
    assert all(abs(found.value) < 2**53 for found in agent.of(Report))
    assert agent.server.refusals == 0


def serve(path: Path, talk: Any) -> tuple[socket.socket, threading.Thread]:
    """An agent that is none: `talk` with each connection."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen()

    def run() -> None:
        while True:
            try:
                talk(listener.accept()[0])
            except OSError:
                if listener.fileno() < 0:
                    return

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return listener, thread


@pytest.mark.parametrize(
    "answer",
    [b"", b"\0\0\0\0", b"\xff" * 70_000, b"\0\0\0\x02{}" * 20_000, b"\0\0\0\x01[", b"\0\0\x10\0" + b"[" * 4_096,
     b'\0\0\0\x13{"type":"directive"}', b'\0\0\0\x12{"type":"welcome"}', b'\0\0\0\x12{"type":"refused"}'],
    ids=["hangs-up", "no-length", "noise", "flood", "no-json", "deep", "no-directive", "no-welcome", "refuses"],
)  # fmt: skip
def test_an_agent_that_makes_no_sense(path: Path, mission: Mission, answer: bytes) -> None:
    """Whatever the other end sends, the loop goes on, and the next agent is found."""
    talks: list[int] = []

    def talk(sock: socket.socket) -> None:
        talks.append(1)
        sock.settimeout(0.05)
        with sock:
            sock.sendall(answer)

    listener, _ = serve(path, talk)
    until(lambda: len(talks) >= 2)
    mission.iteration(3)
    mission.obey()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    path.unlink()
    with agent_at(path) as agent:
        until(lambda: agent.of(Report))


def test_a_hung_agent_is_given_up(path: Path, mission: Mission, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that takes the connection and never answers is left after a while, and tried again."""
    monkeypatch.setattr(_speaker, "PATIENCE", 0.1)
    held: list[socket.socket] = []
    listener, _ = serve(path, held.append)
    until(lambda: len(held) >= 3)
    assert not mission.connected
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    for sock in held:
        sock.close()


def test_a_forked_child_is_a_session_of_its_own(mission: Mission, agent: Agent) -> None:
    """The child speaks from its first call on, the parent goes on, and nothing is counted twice."""
    until(lambda: mission.connected)
    mission.latency(0.001)
    until(lambda: agent.of(Latencies))
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        try:
            for _ in range(5):
                mission.latency(1.0)
            until(lambda: mission.connected)
            mission.close(5)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    mission.latency(0.001)

    def counted() -> dict[int, int]:
        total: dict[int, int] = {}
        for found in agent.of(Latencies):
            for bucket, count in found.counts.items():
                total[bucket] = total.get(bucket, 0) + count
        return total

    until(lambda: counted() == {bucket_of(1_000): 2, bucket_of(1_000_000): 5})
    assert len(agent.server.sessions._pods["u1"].sessions) == 2


def test_the_end_of_a_process_says_the_last(agent: Agent) -> None:
    """What was said just before the end arrives; with a socket that nobody answers the end is not delayed."""
    subprocess.run([sys.executable, "-c", _LAST, str(agent.path), "wait"], check=True, timeout=60)
    until(lambda: 9 in [found.value for found in agent.of(Report)])
    deaf = agent.path.with_name("deaf.sock")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(deaf))
    listener.listen()
    begun = time.monotonic()
    subprocess.run([sys.executable, "-c", _LAST, str(deaf)], check=True, timeout=60)
    bare = time.monotonic()
    subprocess.run([sys.executable, "-c", "import quorate_mission"], check=True, timeout=60)
    assert bare - begun < time.monotonic() - bare + 5
    listener.close()


_LAST = """
import sys, time, quorate_mission
mission = quorate_mission.connect(sys.argv[1])
until = time.monotonic() + 20
while len(sys.argv) > 2 and not mission.connected and time.monotonic() < until:
    pass
mission.iteration(9)
"""


def test_no_descriptor_and_no_thread_are_no_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the process may open nothing more, a mission is one without an agent."""

    def none(*_: object) -> Any:
        raise OSError(24, "Too many open files")

    def never(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_link.os, "pipe2", none)
    mission = quorate_mission.connect(str(path))
    mission.iteration(1)
    mission.obey()
    monkeypatch.undo()
    monkeypatch.setattr(threading.Thread, "start", never)
    mission = quorate_mission.connect(str(path))
    mission.iteration(1)
    mission.close()


def test_the_path_is_taken_from_the_environment(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """`QUORATE_MISSION_SOCKET` says where the agent is."""
    monkeypatch.setenv("QUORATE_MISSION_SOCKET", str(agent.path))
    mission = quorate_mission.connect()
    until(lambda: mission.connected)
    mission.close(5)
