"""Moves what was taken in: looks which chains have entries waiting and has their sealers take them.

It asks the queue itself and never remembers how far it came: a transaction that commits late is simply found later.
Not LISTEN/NOTIFY: a notifying transaction commits under a lock of the whole database.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from quorate_operator.errors import LostLeadership, OperatorError
from quorate_operator.store.recorded import Recorded

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Backlog:
    """What waits for one chain: how many entries, and when (Unix µs) the oldest was taken in."""

    count: int
    oldest: int

    def age(self, now: int) -> float:
        """Seconds that the oldest waits; for the metric, the alert and the limit of audit.md, 1."""
        return max(0, now - self.oldest) / 1e6


class Source(Protocol):
    """Where entries wait."""

    async def look(self) -> dict[str, Backlog]:
        """What waits, by chain; what committed late may be seen later."""
        ...

    async def drain(self, chain: str) -> list[Recorded]:
        """Move a batch of it."""
        ...


class Drainer:
    """The task that drains, on the leader.

    Args:
        source: the log.
        busy: seconds from one look to the next after something was found: what comes meanwhile is sealed together,
            and waits so long at most.
        idle: the longest time between two looks; the wait doubles from `busy` up to it.
    """

    def __init__(self, source: Source, *, busy: float = 0.04, idle: float = 0.25) -> None:
        self.report: Callable[[Mapping[str, Backlog]], None] | None = None
        """Called with the backlog at each look; the hook of the backlog's metrics."""
        self._source = source
        self._busy = busy
        self._idle = idle
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopped = False

    def start(self) -> None:
        """Begin, unless it runs."""
        self._stopped = False
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="intake")

    def wake(self) -> None:
        """Look now: for whoever committed an entry in this process and does not want to wait for the next look."""
        self._wake.set()

    async def stop(self, patience: float = 2.0) -> None:
        """End after the look that is under way, or during it after `patience` seconds; the next leader moves the rest.

        A cancellation costs the pool a connection if it comes as that is given back, and is lost if it comes as one is
        handed out.
        """
        self._stopped = True
        self._wake.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=patience)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        loop, pause, told = asyncio.get_running_loop(), self._busy, ""
        while not self._stopped:
            begun = loop.time()
            try:
                found = await self._look()
                told = ""
            except LostLeadership as error:
                _log.warning("the intake is left to the next leader: %s", error.message)
                return
            except OperatorError as error:
                if told != error.reason:  # once, not at every look while it lasts
                    _log.warning("the intake waits: %s", error.message, extra={"reason": error.reason})
                found, told = False, error.reason
            pause = self._busy if found else min(2 * pause, self._idle)
            with contextlib.suppress(TimeoutError):
                # Not wait_for: until Python 3.12 it may swallow a cancellation.
                async with asyncio.timeout_at(begun + pause):
                    await self._wake.wait()
            self._wake.clear()

    async def _look(self) -> bool:
        """One look at the queue; whether anything was moved."""
        backlog = await self._source.look()
        if self.report is not None:
            self.report(backlog)
        moved = await asyncio.gather(*(self._source.drain(chain) for chain in backlog))
        return any(moved)
