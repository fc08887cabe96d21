"""Kubernetes Events (events.k8s.io/v1): aggregated, from a bounded queue, and never worth a failed decision.

The same (object, reason, note) within ten minutes becomes one Event whose series counts; more than the queue holds is
dropped and counted. Routine Ready is not an Event (api.md, Conventions).
"""

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from quorate_operator.errors import OperatorError
from quorate_operator.http import metrics
from quorate_operator.kube.client import Client
from quorate_operator.kube.resources import Obj

_log = logging.getLogger(__name__)
_WINDOW = 600.0
_REMEMBERED = 2048
_MAX_NOTE = 1024


@dataclass(slots=True)
class _Series:
    first: float
    count: int
    name: str

    def event(self, body: Obj, now: float) -> Obj:
        """`body` as this series' Event: one name for all of it, a count from the second on."""
        event = {**body, "metadata": {**body["metadata"], "name": self.name}, "eventTime": _micro(self.first)}
        if self.count > 1:
            event["series"] = {"count": self.count, "lastObservedTime": _micro(now)}
        return event


def _micro(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Recorder:
    """Records Events in the background; `record` never waits and never fails."""

    def __init__(
        self, client: Client, instance: str, *, clock: Callable[[], float] = time.time, capacity: int = 512
    ) -> None:
        self._client = client
        self._instance = instance
        self._clock = clock
        self._queue: asyncio.Queue[Obj] = asyncio.Queue(capacity)
        self._seen: OrderedDict[tuple[str, str, str], _Series] = OrderedDict()

    def record(self, obj: Obj, kind: Literal["Normal", "Warning"], reason: str, note: str) -> None:
        """Queue an Event about an object; `reason` is the condition's reason, `note` a sentence."""
        now, key = self._clock(), (obj["metadata"].get("uid") or "", reason, note)
        series = self._seen.get(key)
        if series is None or now - series.first > _WINDOW:
            name = hashlib.sha256(f"{key}{now}".encode()).hexdigest()[:16]
            series = self._seen[key] = _Series(now, 0, f"{obj['metadata']['name'][:230]}.{name}")
        series.count += 1
        self._seen.move_to_end(key)
        while len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        # Every doubling is written, so that a storm of one refusal costs a handful of requests.
        if series.count & (series.count - 1) == 0:
            self._put(series.event({**_event(obj, kind, reason, note), "reportingInstance": self._instance[:128]}, now))

    def _put(self, event: Obj) -> None:
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            metrics.EVENTS_DROPPED.inc()

    async def run(self) -> None:
        """Write queued Events one by one until cancelled."""
        while True:
            event = await self._queue.get()
            try:
                await (self._client.apply(event) if "series" in event else self._client.create(event))
            except OperatorError as error:
                _log.info("event not written: %s", error.message, extra={"reason": error.reason})
            finally:
                self._queue.task_done()

    async def flush(self, seconds: float) -> None:
        """Wait for the queue to empty, at most this long."""
        try:
            async with asyncio.timeout(seconds):
                await self._queue.join()
        except TimeoutError:
            return


def _event(obj: Obj, kind: str, reason: str, note: str) -> Obj:
    meta = obj["metadata"]
    namespace = meta.get("namespace") or "default"  # Events of cluster-wide objects live in `default`
    regarding = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "name": meta["name"], "uid": meta.get("uid", "")}
    if meta.get("namespace"):
        regarding["namespace"] = meta["namespace"]
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"namespace": namespace},
        "reportingController": "quorate.dev/operator",
        "action": "Reconcile",
        "type": kind,
        "reason": reason,
        "note": note[:_MAX_NOTE],
        "regarding": {**regarding, "resourceVersion": meta.get("resourceVersion", "")},
    }
