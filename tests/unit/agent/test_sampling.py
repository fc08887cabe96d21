"""Sampling in virtual time, and threads that hang in real time."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

from quorate.missions.samples import DeviceMemory, Event, Missing, Owned, Processes, Utilization
from quorate.missions.series import SECOND
from quorate_agent.clock import BootClock
from quorate_agent.ports import Condition, Gpu, Listed, Load, Owner, PowerState
from quorate_agent.sampling import JUMP, Sampler
from quorate_agent.workers import Answer, DeviceThreads, Kind

MS = SECOND // 1_000


class Pods:
    """Every pid started at ten times itself, and belongs to a pod of its own."""

    def __init__(self) -> None:
        self.starts: dict[int, int] = {}
        self.nobody: set[int] = set()

    def start_of(self, pid: int) -> int | None:
        return self.starts.get(pid, pid * 10)

    def owner_of(self, pid: int, start: int) -> Owner | None:
        return None if pid in self.nobody else Owner(f"u{pid}", "c" * 64)


@dataclass
class World:
    """Devices in virtual time: each answers 1 ms after it was asked, unless it hangs."""

    hangs: dict[str, tuple[int, int]] = field(default_factory=dict)
    memory: Callable[[str, int], int] = lambda gpu, now: 0
    rows: tuple[Listed, ...] = (Listed(1, 5),)
    now: int = 0
    asked: list[tuple[int, str, Kind]] = field(default_factory=list)
    pods: Pods = field(default_factory=Pods)

    def __post_init__(self) -> None:
        self._later: list[Answer] = []
        self.sampler = Sampler(self._ask, lambda: None, self.pods, lambda _: "main", own=7)

    def _ask(self, gpu: str, number: int, kinds: tuple[Kind, ...]) -> None:
        begin, end = self.hangs.get(gpu, (0, 0))
        at = end if begin <= self.now < end else self.now + MS
        for kind in kinds:
            self.asked.append((self.now, gpu, kind))
            value = {
                Kind.MEMORY: self.memory(gpu, self.now),
                Kind.PROCESSES: self.rows,
                Kind.UTILIZATION: Load(5_000),
                Kind.CONDITION: Condition(celsius=40),
                Kind.POWER: PowerState(400),
            }[kind]
            self._later.append(Answer(gpu, kind, number, self.now, at, value))

    def run(self, gpus: list[str], until: int) -> list[Event]:
        self.sampler.add([Gpu(gpu, 0, "", 2**30) for gpu in gpus], self.now)
        events: list[Event] = []
        while self.now < until:
            due = [time for time in (self.sampler.due, *(answer.at for answer in self._later)) if time is not None]
            self.now = max(self.now, min(due))
            ready = [answer for answer in self._later if answer.at <= self.now]
            self._later = [answer for answer in self._later if answer.at > self.now]
            events += self.sampler.take(ready)
            events += self.sampler.tick(self.now)
        return events

    def times(self, gpu: str, kind: Kind) -> list[int]:
        return [at for at, name, asked in self.asked if name == gpu and asked is kind]


def test_rates() -> None:
    """Memory 4 Hz, utilisation and process lists 1 Hz, health and power each 10 s, at the same moments everywhere."""
    world = World()
    world.run(["A", "B"], 10 * SECOND)
    counts = [len(world.times("A", kind)) for kind in Kind]
    assert counts == [41, 11, 11, 2, 2]
    assert world.times("A", Kind.MEMORY) == world.times("B", Kind.MEMORY)
    assert {at % (250 * MS) for at in world.times("A", Kind.PROCESSES)} == {0}


def test_a_jump_brings_a_list() -> None:
    """Memory that jumps is attributed within 750 ms, and lists are never less than 500 ms apart."""
    world = World(memory=lambda gpu, now: JUMP * (now // (250 * MS)))
    world.run(["A"], 20 * SECOND)
    lists = world.times("A", Kind.PROCESSES)
    apart = [later - earlier for earlier, later in pairwise(lists)]
    assert min(apart) >= 500 * MS
    assert max(apart) <= 750 * MS
    slow = World(memory=lambda gpu, now: JUMP // 100 * (now // (250 * MS)))
    slow.run(["A"], 20 * SECOND)
    assert len(slow.times("A", Kind.PROCESSES)) <= 22


def test_a_device_that_hangs_45_seconds() -> None:
    """It is told as Timeout after 2 s and each second, is not asked meanwhile, and comes back; others miss nothing."""
    world = World(hangs={"A": (5 * SECOND, 50 * SECOND)})
    events = world.run(["A", "B"], 60 * SECOND)
    silent = [event for event in events if isinstance(event, DeviceMemory) and event.used is Missing.TIMEOUT]
    assert {event.gpu for event in silent} == {"A"}
    assert 42 <= len(silent) <= 44
    assert 7 * SECOND <= silent[0].at <= 7 * SECOND + 300 * MS
    assert not [at for at in world.times("A", Kind.MEMORY) if 5_250 * MS < at < 50 * SECOND]
    assert len(world.times("B", Kind.MEMORY)) == 241
    back = [event.at for event in events if isinstance(event, DeviceMemory) and event.gpu == "A" and event.used == 0]
    assert not [at for at in back if 5_100 * MS < at <= 50 * SECOND]
    assert [at for at in back if 50 * SECOND < at < 51 * SECOND]
    assert not world.sampler.hanging


def test_whose_processes() -> None:
    """A process is owned once by pid and start time, again when the pid is reused; the agent's own is left out."""
    world = World(rows=(Listed(1, 5), Listed(7, 1), Listed(9, 1)))
    world.pods.nobody = {9}
    events = world.run(["A"], 3 * SECOND)
    owned = [event for event in events if isinstance(event, Owned)]
    assert [(event.pid, event.start, event.uid, event.container) for event in owned] == [
        (1, 10, "u1", "main"),
        (7, 70, None, ""),
    ]
    world.pods.starts[1] = 11
    world.pods.nobody = set()
    events = world.run(["A"], 5 * SECOND)
    assert {(event.pid, event.start) for event in events if isinstance(event, Owned)} == {(1, 11), (9, 90)}
    lists = [event.rows for event in events if isinstance(event, Processes)]
    assert [(row.pid, row.start) for row in lists[-1]] == [(1, 11), (7, 70), (9, 90)]


def test_a_clock_that_was_suspended() -> None:
    """After a gap each reading is asked for once, not once for every period that was missed."""
    world = World()
    world.run(["A"], 2 * SECOND)
    world.asked.clear()
    world.now += 3_600 * SECOND
    world.run(["A"], world.now + SECOND // 2)
    assert 2 <= len(world.times("A", Kind.MEMORY)) <= 4


class Hanging:
    """A backend of which one device hangs until it is let go."""

    name = "hanging"

    def __init__(self) -> None:
        self.let_go = threading.Event()

    def memory(self, gpu: str) -> int:
        if gpu == "bad":
            self.let_go.wait(30)
        return 5

    def wait(self, gpu: str, seconds: int = 0) -> Missing:
        return Missing.UNSUPPORTED

    processes = utilization = condition = power = wait


def test_threads_go_on_beside_one_that_hangs() -> None:
    """In real time: a device's call that does not return delays nobody else, and its late answer still arrives."""
    backend, woken = Hanging(), threading.Semaphore(0)
    threads = DeviceThreads(backend, BootClock(), woken.release, lambda *_: None)  # type: ignore[arg-type]
    for gpu in ("bad", "good"):
        threads.add(gpu)
        threads.ask(gpu, 1, (Kind.MEMORY,))
    began = time.monotonic()
    found: list[Answer] = []
    while not found and time.monotonic() - began < 10:
        found += threads.take()
    assert [answer.gpu for answer in found] == ["good"]
    threads.settle()
    threads.ask("good", 2, (Kind.MEMORY,))
    assert woken.acquire(timeout=10)
    backend.let_go.set()
    assert woken.acquire(timeout=10)
    assert {answer.gpu for answer in threads.take()} == {"bad", "good"}
    threads.close()


def test_utilisation_names_its_source() -> None:
    """What a load is called travels with it."""
    events = World().run(["A"], SECOND)
    assert {event.source for event in events if isinstance(event, Utilization)} == {"duty cycle"}
