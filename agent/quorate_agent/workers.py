"""A thread per device that asks the backend, and one that waits for its events: a call that hangs holds up its own."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from queue import SimpleQueue
from typing import Any, TypeVar

from quorate.missions.samples import Missing
from quorate_agent.ports import Clock, GpuBackend

_T = TypeVar("_T")
EVENT_SECONDS = 5
"""How long a wait for events blocks at most, and how long a device that cannot wait is left alone."""


class Kind(StrEnum):
    """What is asked of a device."""

    MEMORY = "memory"
    PROCESSES = "processes"
    UTILIZATION = "utilization"
    CONDITION = "condition"
    POWER = "power"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a device said; `number` is that of the question, `began` and `at` are when it was asked and answered."""

    gpu: str
    kind: Kind
    number: int
    began: int
    at: int
    value: Any


class DeviceThreads:
    """Asks devices side by side. Answers are taken with `take`; `wake` is called from the threads.

    Args:
        wake: told when everything that was asked is answered, or when an answer comes that nobody waits for any more.
        xid: told of an XID error: time, device, code.
    """

    def __init__(
        self, backend: GpuBackend, clock: Clock, wake: Callable[[], None], xid: Callable[[int, str, int], None]
    ) -> None:
        self._backend, self._clock, self._wake, self._xid = backend, clock, wake, xid
        self._asked: dict[str, SimpleQueue[tuple[int, tuple[Kind, ...]] | None]] = {}
        self._answers: deque[Answer] = deque()
        self._open: set[str] = set()
        self._lock = threading.Lock()
        self._ending = threading.Event()

    def add(self, gpu: str) -> None:
        """Begin with a device; a second time changes nothing."""
        if gpu in self._asked:
            return
        queue = self._asked[gpu] = SimpleQueue()
        for name, work in (("calls", lambda: self._serve(gpu, queue)), ("events", lambda: self._listen(gpu))):
            threading.Thread(target=work, name=f"{name}-{gpu[:12]}", daemon=True).start()

    def ask(self, gpu: str, number: int, kinds: tuple[Kind, ...]) -> None:
        """Ask a device; it must have answered what it was asked before."""
        with self._lock:
            self._open.add(gpu)
        self._asked[gpu].put((number, kinds))

    def settle(self) -> None:
        """Do not wait any longer for those that have not answered: each wakes by itself."""
        with self._lock:
            self._open.clear()

    def take(self) -> list[Answer]:
        """What was answered since the last time."""
        found = []
        while self._answers:
            found.append(self._answers.popleft())
        return found

    def close(self) -> None:
        """End the threads; one that hangs in a call ends with the process."""
        self._ending.set()
        for queue in self._asked.values():
            queue.put(None)

    def _serve(self, gpu: str, queue: "SimpleQueue[tuple[int, tuple[Kind, ...]] | None]") -> None:
        backend, clock = self._backend, self._clock
        calls: dict[Kind, Callable[[str], Any]] = {
            Kind.MEMORY: backend.memory,
            Kind.PROCESSES: backend.processes,
            Kind.UTILIZATION: backend.utilization,
            Kind.CONDITION: backend.condition,
            Kind.POWER: backend.power,
        }
        while (asked := queue.get()) is not None:
            number, kinds = asked
            for kind in kinds:
                began = clock.now()
                value = calls[kind](gpu)
                self._answers.append(Answer(gpu, kind, number, began, clock.now(), value))
            with self._lock:
                self._open.discard(gpu)
                done = not self._open
            if done:
                self._wake()

    def _listen(self, gpu: str) -> None:
        while not self._ending.is_set():
            codes = self._backend.wait(gpu, EVENT_SECONDS)
            if codes is Missing.UNSUPPORTED:
                return
            if isinstance(codes, Missing):
                self._ending.wait(EVENT_SECONDS)
                continue
            self._tell(gpu, codes)

    def _tell(self, gpu: str, codes: Iterable[int]) -> None:
        if not self._ending.is_set():
            for code in codes:
                self._xid(self._clock.now(), gpu, code)


async def aside(call: Callable[[], _T]) -> _T:
    """A call on a thread of its own that neither a pool nor the end of the process waits for: it may hang for ever."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_T] = loop.create_future()

    def settle(value: _T) -> None:
        if not done.done():
            done.set_result(value)

    threading.Thread(target=lambda: loop.call_soon_threadsafe(settle, call()), name="aside", daemon=True).start()
    return await done
