"""Group commit: one sealer per chain writes everything that waits, in one transaction after another.

Callers await a future. While a transaction runs the next batch gathers, so the batch grows with the load and an idle
log answers at once. A transaction whose outcome is unknown is done again: ids make that safe, and the records of the
earlier attempts tell an entry that this process wrote from one that was there before.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from quorate_operator.errors import OperatorError, Stalled, Transient
from quorate_operator.store.batch import Item
from quorate_operator.store.intake import Waiting
from quorate_operator.store.ports import Bytes
from quorate_operator.store.recorded import Recorded

_log = logging.getLogger(__name__)
MAX_BATCH = 512
MAX_WAITING = 10_000
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 0.5
_PASSING = frozenset({"Conflict", "DatabaseUnavailable"})


@dataclass(eq=False)
class Pending:
    """One append that waits; `taken` are the rows of the intake that its items came from, each for itself.

    `attempts` are the records that were sent for it so far.
    """

    items: Sequence[Item]
    content: Bytes
    future: asyncio.Future[list[Recorded]]
    attempts: dict[UUID, set[bytes]] = field(default_factory=dict)
    outcome: list[Recorded] | OperatorError | None = None
    taken: Sequence[Waiting] = ()

    def part(self, rows: Sequence[Waiting]) -> "Pending":
        """The same for some of the rows that were taken in."""
        return replace(self, items=[row.item for row in rows if row.item], taken=rows, outcome=None)

    def tried(self, recorded: Sequence[Recorded]) -> None:
        """Remember what is about to be written."""
        for item in recorded:
            self.attempts.setdefault(item.entry_id, set()).add(item.record)

    def found(self, recorded: Sequence[Recorded]) -> list[Recorded]:
        """Entries that the log held already; ours of an attempt whose outcome was unknown count as written now."""
        ours = all(item.record in self.attempts.get(item.entry_id, ()) for item in recorded)
        return [replace(item, existing=not ours) for item in recorded]


Seal = Callable[[str, Sequence[Pending]], Awaitable[None]]
"""Write a batch in one transaction and set each outcome; Transient when the outcome is unknown or nothing was done."""


class Sealer:
    """The queue and the task of one chain.

    Args:
        chain_id: the chain.
        seal: writes a batch.
        patience: seconds for which an unreachable database is tried again before callers get the error.
        max_waiting: entries that may wait; more are refused with `LogBusy`.
    """

    def __init__(self, chain_id: str, seal: Seal, *, patience: float, max_waiting: int = MAX_WAITING) -> None:
        self._chain_id = chain_id
        self._seal = seal
        self._patience = patience
        self._max_waiting = max_waiting
        self._queue: deque[Pending] = deque()
        self._waiting = 0
        self._task: asyncio.Task[None] | None = None

    async def append(self, items: Sequence[Item], content: Bytes, taken: Sequence[Waiting] = ()) -> list[Recorded]:
        """Wait until the items are durable, or known to be refused; of those that were taken in, the new ones."""
        if self._waiting + len(items) > self._max_waiting:
            raise Transient("LogBusy", f"{self._waiting} entries wait for chain {self._chain_id}", retry_after=1.0)
        self._waiting += len(items)
        return await self._settled(Pending(items, content, asyncio.get_running_loop().create_future(), taken=taken))

    async def _settled(self, pending: Pending) -> list[Recorded]:
        self._queue.append(pending)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        # A caller that goes away cancels its own future only, never what may be half written.
        return await pending.future

    async def close(self) -> None:
        """Wait for what is under way."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    def _take(self) -> list[Pending]:
        batch, count = [], 0
        while self._queue and count < MAX_BATCH:
            pending = self._queue.popleft()
            batch.append(pending)
            count += len(pending.items)
        self._waiting -= count
        return batch

    async def _run(self) -> None:
        while self._queue:
            batch = self._take()
            try:
                await self._persist(batch)
            except OperatorError as error:
                self._settle(batch, error)
            except Exception as error:  # noqa: BLE001 - whatever it was, callers must not wait for ever
                _log.exception("chain %s: sealing failed", self._chain_id)
                self._settle(batch, Stalled("InternalError", f"sealing failed: {type(error).__name__}"))
            except BaseException:
                self._settle([*batch, *self._queue], Transient("DatabaseUnavailable", "the sealer was stopped"))
                self._queue.clear()
                self._waiting = 0
                raise
            else:
                self._settle(batch, Transient("DatabaseUnavailable", "the sealer gave no outcome"))

    async def _persist(self, batch: Sequence[Pending]) -> None:
        """Seal, again and again while the database is away, within the patience."""
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + self._patience, _FIRST_PAUSE
        while True:
            try:
                await self._seal(self._chain_id, batch)
                return
            except Transient as error:
                if error.reason not in _PASSING or loop.time() + pause > deadline:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    @staticmethod
    def _settle(batch: Sequence[Pending], otherwise: OperatorError) -> None:
        for pending in batch:
            outcome = otherwise if pending.outcome is None else pending.outcome
            if pending.future.done():
                continue
            if isinstance(outcome, OperatorError):
                pending.future.set_exception(outcome)
            else:
                pending.future.set_result(outcome)
