"""Group commit: one sealer per chain writes everything that waits, in one transaction after another.

Callers await a future. While a batch is written the next one is placed, entry by entry as they come, on the head that
the first leads to: so a batch grows with the load, an idle log answers at once, and nothing is computed between two
commits. This fast way takes each entry for new and each link for good, and the database decides. If it refuses, or its
answer is lost, the batch is done again the careful way, which reads what is recorded before it writes; ids make that
safe, and the records of the earlier attempts tell an entry that this process wrote from one that was there before.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol
from uuid import UUID

from quorate_operator.errors import OperatorError, Stalled, Transient
from quorate_operator.store.batch import Batch, Item
from quorate_operator.store.intake import Waiting
from quorate_operator.store.meter import Meter
from quorate_operator.store.recorded import Recorded

_log = logging.getLogger(__name__)
MAX_BATCH = 512
MAX_WAITING = 10_000
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 0.5
_PASSING = frozenset({"Conflict", "DatabaseUnavailable"})


@dataclass(eq=False, slots=True)
class Pending:
    """One append that waits; `taken` are the rows of the intake that its items came from, each for itself.

    `attempts` are the records that were sent for it so far; None: none yet.
    """

    items: Sequence[Item]
    content: Mapping[str, bytes]
    future: asyncio.Future[list[Recorded]]
    taken: Sequence[Waiting] = ()
    outcome: list[Recorded] | OperatorError | None = None
    attempts: dict[UUID, set[bytes]] | None = None

    def part(self, rows: Sequence[Waiting]) -> "Pending":
        """The same for some of the rows that were taken in."""
        return replace(self, items=[row.item for row in rows if row.item], taken=rows, outcome=None)

    def tried(self, recorded: Sequence[Recorded]) -> None:
        """Remember what was, or is about to be, sent."""
        if self.attempts is None:
            self.attempts = {}
        for item in recorded:
            self.attempts.setdefault(item.entry_id, set()).add(item.record)

    def found(self, recorded: Sequence[Recorded]) -> list[Recorded]:
        """Entries that the log held already; ours of an attempt whose outcome was unknown count as written now."""
        sent = self.attempts or {}
        ours = all(item.record in sent.get(item.entry_id, ()) for item in recorded)
        return [replace(item, existing=not ours) for item in recorded]


class Placed:
    """Appends placed on the head that the sealer believes in, to be written in one transaction."""

    __slots__ = ("outcomes", "pendings", "work")

    def __init__(self, work: Batch) -> None:
        self.work = work
        self.pendings: list[Pending] = []
        self.outcomes: list[list[Recorded]] = []

    def add(self, pending: Pending) -> bool:
        """Place an append; False when it does not go the fast way, and the batch is as before."""
        if len(self.work.rows) >= MAX_BATCH or (pending.taken and any(row.item is None for row in pending.taken)):
            return False
        try:
            found, new = self.work.add(pending.items)
        except OperatorError:
            return False
        if not new and pending.taken:
            return False
        self.pendings.append(pending)
        self.outcomes.append(found if new else pending.found(found))
        return True

    def failed(self) -> None:
        """The outcome is unknown, or the database refused: what was sent is remembered."""
        for pending, outcome in zip(self.pendings, self.outcomes, strict=True):
            pending.tried(outcome)

    def done(self) -> None:
        """It is durable."""
        for pending, outcome in zip(self.pendings, self.outcomes, strict=True):
            pending.outcome = outcome


class Seal(Protocol):
    """Writes batches of one chain."""

    meter: Meter

    async def seal(self, chain: str, batch: Sequence[Pending]) -> None:
        """The careful way: write a batch in one transaction and set each outcome.

        Raises Transient when the outcome is unknown or nothing was done.
        """
        ...

    def place(self, chain: str) -> Placed | None:
        """A batch on the head that the last one led to; None while the head is unknown."""
        ...

    async def write(self, chain: str, placed: Placed) -> None:
        """The fast way: write the batch that was placed; any error forgets the head."""
        ...


class Sealer:
    """The queue and the task of one chain.

    Args:
        chain_id: the chain.
        seal: writes batches.
        patience: seconds for which an unreachable database is tried again before callers get the error.
        max_waiting: entries that may wait; more are refused with `LogBusy`.
    """

    def __init__(self, chain_id: str, seal: Seal, *, patience: float, max_waiting: int = MAX_WAITING) -> None:
        self._chain_id = chain_id
        self._seal = seal
        self._patience = patience
        self._max_waiting = max_waiting
        self._queue: deque[Pending] = deque()
        self._open: Placed | None = None
        self._waiting = 0
        self._task: asyncio.Task[None] | None = None

    async def append(
        self, items: Sequence[Item], content: Mapping[str, bytes], taken: Sequence[Waiting] = ()
    ) -> list[Recorded]:
        """Wait until the items are durable, or known to be refused; of those that were taken in, the new ones."""
        if self._waiting + len(items) > self._max_waiting:
            raise Transient("LogBusy", f"{self._waiting} entries wait for chain {self._chain_id}", retry_after=1.0)
        self._waiting += len(items)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        pending = Pending(items, content, loop.create_future(), taken)
        # In order: nothing overtakes what could not be placed.
        if self._queue or not self._place(pending):
            self._queue.append(pending)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        # A caller that goes away cancels its own future only, never what may be half written.
        recorded = await pending.future
        self._seal.meter.appended(loop.time() - begun)
        return recorded

    def _place(self, pending: Pending) -> bool:
        placed = self._open or self._seal.place(self._chain_id)
        if placed is None or not placed.add(pending):
            return False
        self._open = placed
        return True

    async def close(self) -> None:
        """Wait for what is under way."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while self._open is not None or self._queue:
            placed, self._open = self._open, None
            batch = self._take() if placed is None else placed.pendings
            self._waiting -= sum(len(pending.items) for pending in batch)
            if self._queue:
                # Once this batch is on its way.
                asyncio.get_running_loop().call_soon(self._refill)
            try:
                await (self._persist(batch) if placed is None else self._quickly(placed))
            except OperatorError as error:
                self._failed(batch, error)
            except Exception as error:  # noqa: BLE001 - whatever it was, callers must not wait for ever
                _log.exception("chain %s: sealing failed", self._chain_id)
                self._failed(batch, Stalled("InternalError", f"sealing failed: {type(error).__name__}"))
            except BaseException:
                stopped = Transient("DatabaseUnavailable", "the sealer was stopped")
                self._failed(batch, stopped)
                self._settle(self._queue, stopped)
                self._queue.clear()
                self._waiting = 0
                raise
            else:
                self._tell(batch)
                self._refill()

    def _tell(self, batch: Sequence[Pending]) -> None:
        """Half of the callers hear of it now, half when what those ask next is on its way.

        All at once they would ask again all at once, and for ever: while a batch is written nobody would place the
        next, and while that is placed nothing would be written.
        """
        silent, middle = Transient("DatabaseUnavailable", "the sealer gave no outcome"), (len(batch) + 1) // 2
        self._settle(batch[:middle], silent)
        if middle < len(batch):
            asyncio.get_running_loop().call_soon(self._settle, batch[middle:], silent)

    def _failed(self, batch: Sequence[Pending], error: OperatorError) -> None:
        self._withdraw()
        self._settle(batch, error)

    def _take(self) -> list[Pending]:
        batch, count = [], 0
        while self._queue and count < MAX_BATCH:
            batch.append(self._queue.popleft())
            count += len(batch[-1].items)
        return batch

    def _refill(self) -> None:
        """Place what waits, up to the first that does not go the fast way: the next batch is then a careful one."""
        while self._queue and self._place(self._queue[0]):
            self._queue.popleft()

    def _withdraw(self) -> None:
        """Put what was placed on a head that is not there back into the queue, before what came later."""
        if self._open is not None:
            self._queue.extendleft(reversed(self._open.pendings))
        self._open = None

    async def _quickly(self, placed: Placed) -> None:
        try:
            await self._seal.write(self._chain_id, placed)
        except Transient as error:
            self._seal.meter.retried(error.reason)
            placed.failed()
            self._withdraw()
            await self._persist(placed.pendings)
        else:
            placed.done()

    async def _persist(self, batch: Sequence[Pending]) -> None:
        """Seal the careful way, again and again while the database is away, within the patience."""
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + self._patience, _FIRST_PAUSE
        while True:
            try:
                await self._seal.seal(self._chain_id, batch)
                return
            except Transient as error:
                if error.reason not in _PASSING or loop.time() + pause > deadline:
                    raise
                self._seal.meter.retried(error.reason)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    @staticmethod
    def _settle(batch: Iterable[Pending], otherwise: OperatorError) -> None:
        for pending in batch:
            outcome = otherwise if pending.outcome is None else pending.outcome
            if pending.future.done():
                continue
            if isinstance(outcome, OperatorError):
                pending.future.set_exception(outcome)
            else:
                pending.future.set_result(outcome)
