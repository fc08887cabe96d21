"""Sends notices when they are due: at least once, from a bounded queue, and never in the way of a decision.

Reconcilers say which notices an object asks for as it is now; that is computed from the log, so nothing is kept here
but which were sent. Of that one second survives a restart: all that was due before it was sent or given up.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from quorate.api.conditions import Reason
from quorate.notifications.notice import Notice
from quorate_operator.config import Config
from quorate_operator.errors import Fatal, OperatorError
from quorate_operator.http import metrics
from quorate_operator.kube.client import Client
from quorate_operator.kube.resources import Key, Obj
from quorate_operator.notify.memory import LeaseMemory, Memory
from quorate_operator.notify.webhook import Answer, NoReceiver, Receiver, Webhook, read_webhook_keys
from quorate_operator.view import View

_log = logging.getLogger(__name__)
RETRY_SECONDS = (5.0, 30.0, 120.0, 600.0, 1800.0)
SLACK_SECONDS = 60
"""A notice may be computed this much later than one that was due after it."""
_LONGEST_WAIT = 1800.0
_LONGEST_IDLE = 5.0
_AT_ONCE = 8
Record = Callable[[Obj, Literal["Normal", "Warning"], str, str], None]


@dataclass(slots=True)
class _Asked:
    """The notices of one object by id, and those of them that are under way or over."""

    notices: dict[str, Notice] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)


class Notifier:
    """Notices of every object, and when the next is due.

    Args:
        receiver: who is told.
        memory: what survives a restart.
        view: whose objects are told about, and whether they are still there.
        record: writes an Event about an object; never waits, never fails.
        clock: Unix seconds.
        retries: seconds before each further attempt.
        capacity: how many may be under way; more are dropped and counted.
    """

    def __init__(
        self,
        receiver: Receiver,
        memory: Memory,
        view: View,
        record: Record,
        clock: Callable[[], float],
        *,
        retries: tuple[float, ...] = RETRY_SECONDS,
        capacity: int = 1024,
    ) -> None:
        self._receiver, self._memory, self._view, self._record = receiver, memory, view, record
        self._clock = clock
        self._retries, self._capacity = retries, capacity
        self._asked: dict[Key, _Asked] = {}
        self._pending: dict[str, int] = {}
        self._limit = asyncio.Semaphore(_AT_ONCE)
        self._changed = asyncio.Event()
        self._newest = self._saved = self._floor = 0

    def update(self, key: Key, notices: Iterable[Notice]) -> None:
        """The notices that an object asks for now; what it asked for before and does not any more is not sent."""
        wanted = {notice.id: notice for notice in notices}
        known = self._asked.pop(key, _Asked())
        if wanted:
            self._asked[key] = _Asked(wanted, known.begun & wanted.keys())
            if wanted.keys() != known.notices.keys():  # not for each vote that is counted
                self._changed.set()

    async def run(self, settled: Callable[[], bool]) -> None:
        """Send what is due, for ever; cancelling it drops what is under way, and the next start sends that again.

        Args:
            settled: whether everything that was there at the start was looked at; until then no second is remembered.

        Raises:
            Fatal: leadership was lost.
        """
        try:
            self._newest = self._saved = await self._load() or 0
            self._floor = self._saved - SLACK_SECONDS
            async with asyncio.TaskGroup() as group:
                while True:
                    self._changed.clear()
                    for key, notice in self._due():
                        self._begin(group, key, notice)
                    await self._save(settled=settled())
                    await _wait(self._changed, self._rest())
        finally:
            await self._receiver.close()

    async def _load(self) -> int | None:
        while True:
            try:
                return await self._memory.load()
            except Fatal:
                raise
            except OperatorError as error:
                _log.info("notices wait: %s", error.message, extra={"reason": error.reason})
                await asyncio.sleep(_LONGEST_IDLE)

    def _due(self) -> list[tuple[Key, Notice]]:
        now = self._clock()
        for key in [key for key in self._asked if self._view.get(key) is None]:
            if max(notice.until for notice in self._asked[key].notices.values()) < now:
                del self._asked[key]
        return [
            (key, notice)
            for key, asked in self._asked.items()
            for notice in asked.notices.values()
            if self._floor < notice.due <= now <= notice.until and notice.id not in asked.begun and self._view.get(key)
        ]

    def _rest(self) -> float:
        """Seconds until the next is due, at most a few, because the clock may be set."""
        now = self._clock()
        coming = [item.due - now for asked in self._asked.values() for item in asked.notices.values() if item.due > now]
        return max(0.0, min([_LONGEST_IDLE, *coming]))

    def _begin(self, group: asyncio.TaskGroup, key: Key, notice: Notice) -> None:
        self._asked[key].begun.add(notice.id)
        self._tell(key, "Normal", Reason.VOTE_NEEDED, notice.sentence)
        if len(self._pending) >= self._capacity:
            metrics.NOTIFICATIONS.labels("dropped").inc()
            self._end(notice)
            return
        self._pending[notice.id] = notice.due
        metrics.NOTIFICATIONS_WAITING.set(len(self._pending))
        group.create_task(self._deliver(key, notice), name=f"notice {notice.id}")

    def _tell(self, key: Key, kind: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        obj = self._view.get(key)
        if obj is not None:
            self._record(obj, kind, reason, message)

    def _end(self, notice: Notice) -> None:
        """Delivered, given up, or not wanted any more."""
        self._pending.pop(notice.id, None)
        metrics.NOTIFICATIONS_WAITING.set(len(self._pending))
        self._newest = max(self._newest, notice.due)
        self._changed.set()

    async def _deliver(self, key: Key, notice: Notice) -> None:
        answer = Answer()
        for pause in (0.0, *self._retries):
            if pause or answer.wait:
                await asyncio.sleep(max(pause, min(answer.wait, _LONGEST_WAIT)))
            if not self._stands(key, notice):
                self._end(notice)
                return
            answer = await self._attempt(notice)
            if answer.delivered or answer.refused:
                break
        metrics.NOTIFICATIONS.labels("delivered" if answer.delivered else "failed").inc()
        if not answer.delivered:
            message = f"{notice.cause} was not delivered to the webhook: {answer.said}"
            _log.warning(message, extra={"object": str(key), "reason": str(Reason.NOTIFICATION_FAILED)})
            self._tell(key, "Warning", Reason.NOTIFICATION_FAILED, message)
        self._end(notice)

    def _stands(self, key: Key, notice: Notice) -> bool:
        """Whether the vote still goes on."""
        wanted = key in self._asked and notice.id in self._asked[key].notices
        return wanted and self._clock() <= notice.until and self._view.get(key) is not None

    async def _attempt(self, notice: Notice) -> Answer:
        async with self._limit:
            try:
                return await self._receiver.attempt(notice)
            except Exception as error:  # noqa: BLE001 - telling must never end the operator
                _log.error("a notice failed: %s", type(error).__name__, extra={"reason": "InternalError"})
                return Answer(said=type(error).__name__)

    async def _save(self, *, settled: bool) -> None:
        """Remember how far everything is over; a failure only means that more comes twice."""
        second = min([self._newest, *(due - 1 for due in self._pending.values())])
        if second <= self._saved or not settled:
            return
        with suppress(OperatorError):
            await self._memory.save(second)
            self._saved = second


def notifier_of(
    config: Config, client: Client, identity: str, view: View, record: Record, clock: Callable[[], float]
) -> Notifier:
    """The notifier that the configuration asks for.

    Raises:
        Fatal: the keys of the webhook cannot be used.
    """
    receiver: Receiver = NoReceiver()
    if config.webhook and config.webhook_key is not None:
        receiver = Webhook(config.webhook, read_webhook_keys(config.webhook_key), clock)
    return Notifier(receiver, LeaseMemory(client, identity), view, record, clock)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
