"""Listing every watched kind: the barrier at the start, and the safety net ever after.

The first complete listing opens the planner: no decision before every kind was listed. Later ones find what a watch can
lose: Kopf lists again after an expired watch without telling which objects are gone meanwhile. Kopf's own barrier
(`kopf.index`) is not used, because it wakes every waiting object for every other: 1000 objects cost half a million
wake-ups before the first decision (docs/adr).
"""

import asyncio
import logging

from quorate_operator.errors import OperatorError
from quorate_operator.http.health import Health
from quorate_operator.kube.client import Client
from quorate_operator.kube.resources import CONTENT_LABEL, HEARTBEAT_LABEL, WATCHED, Key, key_of
from quorate_operator.planner import Planner
from quorate_operator.view import View

_log = logging.getLogger(__name__)

LABELS = {"Lease": HEARTBEAT_LABEL, "ConfigMap": CONTENT_LABEL}
"""Server-side label selectors of kinds of which only ours are watched."""
_CONCURRENT_LISTS = 4
_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.2, 5.0


class Resync:
    """Keeps the view equal to the cluster.

    Args:
        client: reads the lists.
        view: what they are folded into.
        planner: opened by the first listing, then asked to look at everything again.
        health: `listed` is set.
        settle: seconds until the second listing, which covers what changed while the watches were starting.
        period: seconds between the others.
    """

    def __init__(
        self,
        client: Client,
        view: View,
        planner: Planner,
        health: Health,
        *,
        settle: float = 5.0,
        period: float = 300.0,
    ) -> None:
        self._client = client
        self._view = view
        self._planner = planner
        self._health = health
        self._settle = settle
        self._period = period
        self._requested = asyncio.Event()

    def request(self) -> None:
        """List again now: a watch started over, so deletions may have been missed."""
        self._requested.set()

    async def run(self) -> None:
        """List for ever; the API server's absence is waited out."""
        failures, pause = 0, self._settle
        while True:
            self._requested.clear()
            try:
                await self.once()
            except OperatorError as error:
                _log.warning("listing: %s", error.message, extra={"reason": error.reason})
                await asyncio.sleep(min(_FIRST_BACKOFF * 2**failures, _LONGEST_BACKOFF))
                failures += 1
                continue
            failures = 0
            self._health.listed = True
            self._planner.open()
            self._planner.mark(key for kind in WATCHED for key in self._view.keys(kind))
            try:
                async with asyncio.timeout(pause):
                    await self._requested.wait()
                    await asyncio.sleep(self._settle)  # several watches start over together
            except TimeoutError:
                pass
            pause = self._period

    async def once(self) -> None:
        """List every watched kind once and fold it into the view."""
        limit = asyncio.Semaphore(_CONCURRENT_LISTS)

        async def one(kind: str) -> None:
            async with limit:
                await self._list(kind)

        await asyncio.gather(*(one(kind) for kind in WATCHED))

    async def _list(self, kind: str) -> None:
        items, version = await self._client.list_at(kind, labels=LABELS.get(kind, ""))
        listed: set[Key] = set()
        for item in items:
            listed.add(key_of(item))
            self._view.fold(item)
        self._view.retain(kind, listed, version)
