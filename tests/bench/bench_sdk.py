"""What a workload pays for the SDK: a call, and a loop beside an agent that is well, dead, hung or floods."""

import contextlib
import multiprocessing
import socket
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import quorate_mission
from tests.bench.figure import Figure, percentile

CALLS, ROUNDS, STEPS, WORK = 200, 400, 400, 200_000


def run() -> Iterator[Figure]:
    """Calls first, then the loop with each kind of agent, in turns with the bare loop."""
    with tempfile.TemporaryDirectory() as folder:
        mission = quorate_mission.connect(f"{folder}/none.sock")
        yield from _calls(mission)
        yield _memory(mission)
        for kind in ("no", "well", "hung", "flooding", "dying"):
            yield _loop(Path(folder), kind)


def _calls(mission: quorate_mission.Mission) -> Iterator[Figure]:
    calls: dict[str, Callable[[], object]] = {
        "latency": lambda: mission.latency(0.001_23),
        "iteration": lambda: mission.iteration(5),
        "objective": lambda: mission.objective("loss", 0.31),
        "privacy": lambda: mission.privacy(0.5, 1e-6),
        "obey": mission.obey,
    }
    bare = _microseconds(lambda: None)
    for name, call in calls.items():
        taken = _microseconds(call)
        yield Figure(f"SDK call {name}, p50", percentile(taken, 50), "us", "an empty call", percentile(bare, 50), 2.0)


def _microseconds(call: Callable[[], object]) -> list[float]:
    """Microseconds of a call, over batches of `CALLS`."""
    taken = []
    for _ in range(ROUNDS):
        begun = time.perf_counter_ns()
        for _ in range(CALLS):
            call()
        taken.append((time.perf_counter_ns() - begun) / 1_000 / CALLS)
    return taken


def _memory(mission: quorate_mission.Mission) -> Figure:
    """KiB that two million calls add where nobody takes them."""

    def calls(count: int) -> float:
        for number in range(count):
            mission.latency(number / 1e5)
            mission.objective("loss", number)
        return tracemalloc.get_traced_memory()[0] / 1024

    tracemalloc.start()
    first, last = calls(100_000), calls(300_000)
    tracemalloc.stop()
    return Figure("memory after 400 000 reports that nobody takes", last, "KiB", "after 100 000", first, first + 64)


def _loop(folder: Path, kind: str) -> Figure:
    """The calls of a step beside the step, and all of the time that the SDK's thread takes."""
    path = folder / f"{kind}.sock"
    ours, theirs = multiprocessing.get_context("fork").Pipe()
    agent = multiprocessing.get_context("spawn").Process(target=_agent, args=(str(path), kind, theirs), daemon=True)
    agent.start()
    ours.recv()
    mission = quorate_mission.connect(str(path))
    if kind == "well":
        deadline = time.monotonic() + 20
        while not mission.connected and time.monotonic() < deadline:
            pass
    began, own = time.process_time_ns(), time.thread_time_ns()
    calls = percentile(_microseconds(lambda: _report(mission)), 50) / 1_000
    bare = percentile([_step() for _ in range(STEPS)], 50)
    all_of_it = time.thread_time_ns() - own
    speaker = time.process_time_ns() - began - all_of_it
    agent.kill()
    agent.join()
    mission.close(0.1)
    # A loop's own noise is larger than this, so the parts are measured; all of the thread's time counts as waited for.
    value = bare * (1 + speaker / all_of_it) + calls
    return Figure(f"a step of the loop, {kind} agent", value, "ms", "without the SDK", bare, 1.01, of_ratio=True)


def _report(mission: quorate_mission.Mission) -> None:
    with mission.timed():
        pass
    mission.iteration(5)
    mission.objective("loss", 0.5)
    mission.obey()


def _step() -> float:
    """Milliseconds."""
    begun = time.perf_counter_ns()
    sum(range(WORK))
    return (time.perf_counter_ns() - begun) / 1e6


def _agent(path: str, kind: str, ready: Connection) -> None:
    """In a process of its own: an agent of a kind."""
    if kind == "no":
        ready.send(True)
        threading.Event().wait()
    if kind == "well":
        from tests.unit.sdk.rig import agent_at  # noqa: PLC0415

        with agent_at(Path(path)):
            ready.send(True)
            threading.Event().wait()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen()
    ready.send(True)
    held = []
    while True:
        sock, _ = listener.accept()
        held.append(sock)
        with contextlib.suppress(OSError):
            if kind == "dying":
                sock.close()
            elif kind == "flooding":
                welcome = b'{"type":"welcome","protocol":1,"interval":0}'
                frame = b'{"type":"directive","id":"x","action":"Checkpoint"}'
                sock.sendall(len(welcome).to_bytes(4, "big") + welcome)
                while True:
                    sock.sendall((len(frame).to_bytes(4, "big") + frame) * 1_000)
