"""The planner: a dirty set, a heap of due times, and one loop that turns them into decisions.

Idle, it runs at once; busy, it coalesces for a few milliseconds. A pass takes at most a batch of keys of each kind, in
dependency order: gather the batch, decide each, apply with bounded concurrency. Nothing runs before the barrier opens
(`Resync`: every kind was listed).
"""

import asyncio
import heapq
import logging
import random
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

from quorate_operator.errors import Conflict, Fatal, OperatorError, Stalled, Transient, Waiting
from quorate_operator.http import metrics
from quorate_operator.kube.resources import Key
from quorate_operator.reconcile.effects import Applier
from quorate_operator.reconcile.protocol import Context, Plan, Reconciler

_log = logging.getLogger(__name__)
_LONGEST_IDLE = 1.0
_FIRST_BACKOFF = 0.2
_LONGEST_BACKOFF = 60.0


class Agenda:
    """Which keys to look at now, and which later."""

    def __init__(self) -> None:
        self._dirty: dict[str, dict[Key, None]] = {}
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, Key]] = []

    def mark(self, key: Key) -> None:
        """Look at the key in the next pass."""
        self._dirty.setdefault(key.kind, {})[key] = None

    def wake(self, key: Key, at: float | None) -> None:
        """Look at the key at this time (Unix seconds) instead of any earlier appointment; None cancels it."""
        if at is None:
            self._due.pop(key, None)
        elif self._due.get(key) != at:
            self._due[key] = at
            heapq.heappush(self._heap, (at, key))

    def collect_due(self, now: float) -> None:
        """Mark every key whose time has come."""
        while self._heap and self._heap[0][0] <= now:
            at, key = heapq.heappop(self._heap)
            # An appointment that was moved or cancelled leaves its old heap entry behind.
            if self._due.get(key) == at:
                del self._due[key]
                self.mark(key)

    def next_due(self) -> float | None:
        """The earliest appointment, or None."""
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take(self, kind: str, limit: int, together: Callable[[Key], Iterable[Key]] = lambda key: ()) -> list[Key]:
        """Remove and return up to `limit` marked keys of a kind, oldest mark first, each with those that belong to it.

        Where more are marked than are taken, what is gathered and told once for all of them is not done for each.
        """
        marked = self._dirty.get(kind)
        if not marked:
            return []
        if len(marked) <= limit:
            self._dirty[kind] = {}
            return list(marked)
        keys: dict[Key, None] = {}
        for key in marked:
            if len(keys) >= limit:
                break
            keys[key] = None
            keys |= dict.fromkeys(islice((other for other in together(key) if other in marked), limit - len(keys)))
        for key in keys:
            del marked[key]
        return list(keys)

    def __len__(self) -> int:
        return sum(len(marked) for marked in self._dirty.values())


class Planner:
    """Runs reconcilers. All methods belong to one asyncio loop.

    Args:
        context: what gather may read from.
        reconcilers: in dependency order, one per kind.
        applier: performs plans.
        batch: most keys of a kind in one pass; bounds how long another kind waits.
        concurrency: plans applied at the same time.
        coalesce: seconds to wait for more work while busy.
    """

    def __init__(
        self,
        context: Context,
        reconcilers: Sequence[Reconciler[Any]],
        applier: Applier,
        *,
        batch: int = 128,
        concurrency: int = 64,
        coalesce: float = 0.005,
    ) -> None:
        self.heartbeat = time.monotonic()
        """Monotonic time at which the loop last made progress; /healthz looks at its age."""
        self._context = context
        self._clock: Callable[[], float] = context.clock
        self._reconcilers = list(reconcilers)
        self._kinds = {item.kind for item in reconcilers}
        self._applier = applier
        self._batch = batch
        self._limit = asyncio.Semaphore(concurrency)
        self._coalesce = coalesce
        self._agenda = Agenda()
        self._failures: dict[Key, int] = {}
        self._owed: dict[Key, tuple[Key, ...]] = {}
        self._wakeup = asyncio.Event()
        self._barrier = asyncio.Event()
        self._stopping = False
        self.settled = False
        """Whether everything that was there at the start was looked at once."""

    @property
    def is_open(self) -> bool:
        """Whether every kind was listed, so that decisions are taken."""
        return self._barrier.is_set()

    def open(self) -> None:
        """Every watched kind was listed: start deciding."""
        self._barrier.set()

    def mark(self, keys: Iterable[Key]) -> None:
        """Look at these keys as soon as possible; kinds without a reconciler are ignored."""
        for key in keys:
            if key.kind in self._kinds:
                self._agenda.mark(key)
                self._wakeup.set()

    def stop(self) -> None:
        """Finish the pass in progress and return from `run`."""
        self._stopping = True
        self._wakeup.set()
        self._barrier.set()

    async def run(self) -> None:
        """Work until `stop`.

        Raises:
            Fatal: in-memory state can no longer be trusted; the process must end.
        """
        while not self._barrier.is_set():
            self.heartbeat = time.monotonic()
            await _wait(self._barrier, _LONGEST_IDLE)
        while not self._stopping:
            self.heartbeat = time.monotonic()
            now = self._clock()
            self._agenda.collect_due(now)
            metrics.DIRTY.set(len(self._agenda))
            if not len(self._agenda):
                await self._rest(now)
                continue
            await self._pass()
            # Work that came in meanwhile means busy: a short wait makes the next batch worth its round trips.
            await asyncio.sleep(self._coalesce if len(self._agenda) else 0)

    async def _rest(self, now: float) -> None:
        self.settled = True
        due = self._agenda.next_due()
        self._wakeup.clear()
        await _wait(self._wakeup, _LONGEST_IDLE if due is None else max(0.0, min(due - now, _LONGEST_IDLE)))

    async def _pass(self) -> None:
        for reconciler in self._reconcilers:
            keys = self._agenda.take(reconciler.kind, self._batch, self._context.view.together)
            if keys:
                started = time.perf_counter()
                await self._reconcile(reconciler, keys)
                metrics.PASS_SECONDS.labels(reconciler.kind).observe(time.perf_counter() - started)
                metrics.RECONCILED.labels(reconciler.kind).inc(len(keys))
                self.heartbeat = time.monotonic()

    async def _reconcile(self, reconciler: Reconciler[Any], keys: Sequence[Key]) -> None:
        try:
            gathered = await reconciler.gather(keys, self._context)
        except Fatal:
            raise
        except Exception as error:  # noqa: BLE001 - what is wrong with one object must not stop the others
            # Transient and Waiting concern what all of them were read from, so all wait.
            if len(keys) == 1 or (isinstance(error, OperatorError) and not isinstance(error, Stalled)):
                await asyncio.gather(*(self._failed(key, error) for key in keys))
                return
            for key in keys:
                await self._reconcile(reconciler, [key])
            return
        for key in keys:
            if key not in gathered:
                self._forget(key)
        now = int(self._clock())
        results = await asyncio.gather(
            *(self._settle(reconciler, key, value, now) for key, value in gathered.items()), return_exceptions=True
        )
        # One Fatal must not leave the others' effects running behind a loop that is being torn down.
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _settle(self, reconciler: Reconciler[Any], key: Key, value: Any, now: int) -> None:
        plan = Plan()
        async with self._limit:
            try:
                plan = reconciler.decide(value, now)
                current = await self._applier.apply(key, plan)
            except Fatal:
                raise
            except Exception as error:  # noqa: BLE001 - the one adapter of errors
                self._owe(key, plan)
                await self._failed(key, error)
                return
        self._succeeded(key, plan, current=current)

    def _succeeded(self, key: Key, plan: Plan, *, current: bool) -> None:
        if not current:
            self._owe(key, plan)
            self._retry(key, _FIRST_BACKOFF / 10)
            return
        self.mark(self._owed.pop(key, ()))
        self._failures.pop(key, None)
        self._agenda.wake(key, plan.wake_at)
        self.mark(self._applier.touched(key))
        self.mark(plan.dirty)

    def _owe(self, key: Key, plan: Plan) -> None:
        """Its entries may be in the log all the same: whom the plan concerns is told when the key is done with."""
        self._owed[key] = tuple(dict.fromkeys((*self._owed.get(key, ()), *plan.dirty)))

    def _forget(self, key: Key) -> None:
        self.mark(self._owed.pop(key, ()))
        self._failures.pop(key, None)
        self._agenda.wake(key, None)

    async def _failed(self, key: Key, error: Exception) -> None:
        """The one adapter: retry time, condition, metric and log line of an error."""
        if isinstance(error, Conflict):
            metrics.CONFLICTS.labels(key.kind).inc()
            await self._applier.refresh(key)
            self._retry(key, _FIRST_BACKOFF / 10)
            return
        if not isinstance(error, OperatorError):
            _log.exception("reconcile failed", exc_info=error, extra={"object": str(key), "reason": "InternalError"})
            error = Transient("InternalError", f"{type(error).__name__} in the operator; its log has the details")
        else:
            _log.warning(error.message, extra={"object": str(key), "reason": error.reason})
        metrics.FAILURES.labels(key.kind, error.reason).inc()
        if isinstance(error, Waiting):
            self._agenda.wake(key, self._clock() + error.retry_after)
        elif isinstance(error, Transient):
            self._retry(key, _FIRST_BACKOFF, at_least=error.retry_after)
        else:
            self.mark(self._owed.pop(key, ()))  # nothing looks at it again by itself
        await self._applier.report(key, error, int(self._clock()))

    def _retry(self, key: Key, first: float, *, at_least: float = 0.0) -> None:
        """Exponential backoff with jitter, so that objects that failed together do not come back together."""
        attempt = self._failures[key] = self._failures.get(key, 0) + 1
        delay = min(first * 2 ** min(attempt - 1, 16), _LONGEST_BACKOFF)
        self._agenda.wake(key, self._clock() + max(delay * random.uniform(0.5, 1.0), at_least))  # noqa: S311


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
