"""The composition root: everything is made and wired here, and nowhere else.

Order: probes, API server, start-up check, database, election, term, watch, planner. Whatever of the running parts ends
first ends the process; only a requested stop is graceful (the pass in progress finishes, the Lease is released).
"""

import asyncio
import importlib
import logging
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quorate_operator.config import Config
from quorate_operator.election import Election
from quorate_operator.errors import Fatal
from quorate_operator.http import metrics
from quorate_operator.http.health import Health
from quorate_operator.http.server import ProbeServer
from quorate_operator.kube.client import Client
from quorate_operator.kube.connection import Connection, load
from quorate_operator.kube.events import Recorder
from quorate_operator.planner import Planner
from quorate_operator.reconcile.effects import Applier
from quorate_operator.reconcile.protocol import Context, Reconciler
from quorate_operator.reconcile.routes import Routes
from quorate_operator.resync import Resync
from quorate_operator.selfcheck import check_cluster
from quorate_operator.view import View

if TYPE_CHECKING:
    from quorate_operator.store.ports import Content, Log

_log = logging.getLogger(__name__)
_DRAIN_SECONDS = 8.0


@dataclass(frozen=True, slots=True)
class Backend:
    """The store as the operator uses it."""

    log: "Log"
    content: "Content"
    take_term: Callable[[str], Awaitable[int]]
    """Become the one leader that may write; the number is for people and metrics."""
    ping: Callable[[], Awaitable[bool]]
    close: Callable[[], Awaitable[None]]


OpenBackend = Callable[[Config], Awaitable[Backend]]


@dataclass(slots=True)
class Operator:
    """One process's worth of operator.

    Args:
        config: parsed configuration.
        env: environment, for the in-cluster connection.
        open_backend: opens the store, checks its schema.
        reconcilers: in dependency order.
        clock: Unix seconds.
    """

    config: Config
    env: Mapping[str, str]
    open_backend: OpenBackend
    reconcilers: Callable[[], list[Reconciler[Any]]]
    clock: Callable[[], float] = time.time

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT.

        Raises:
            Fatal: the process must end at once, with an error; Kubernetes or the sandbox starts a new one.
        """
        stop = asyncio.Event()
        _on_signals(stop)
        health = Health()
        identity = self.config.identity or f"{socket.gethostname()}-{os.getpid()}"
        connection = load(self.config.kubeconfig, env=self.env)
        async with AsyncExitStack() as stack:
            stack.callback(ProbeServer(self.config.http, health).close)
            client = await stack.enter_async_context(Client(connection))
            election_client = Client(connection, timeout=self.config.renew_deadline_seconds / 2, limit=2)
            election = self._election(await stack.enter_async_context(election_client), identity)
            health.election_beat = lambda: election.last_answer
            await check_cluster(client)
            backend = await self.open_backend(self.config)
            stack.push_async_callback(backend.close)
            health.database = await backend.ping()
            if await self._elected(election, stop):
                await self._lead(connection, client, backend, election, health, stop)

    def _election(self, client: Client, identity: str) -> Election:
        return Election(
            client,
            identity,
            lease_seconds=self.config.lease_seconds,
            renew_deadline=self.config.renew_deadline_seconds,
            retry=self.config.retry_seconds,
        )

    async def _elected(self, election: Election, stop: asyncio.Event) -> bool:
        """Wait for leadership; False if asked to stop first. Kopf is imported meanwhile: it takes a second."""
        asyncio.get_running_loop().run_in_executor(None, importlib.import_module, "quorate_operator.handlers.watch")
        won, stopped = asyncio.ensure_future(election.acquire()), asyncio.ensure_future(stop.wait())
        await asyncio.wait({won, stopped}, return_when=asyncio.FIRST_COMPLETED)
        for task in (won, stopped):
            if not task.done():
                task.cancel()
        if won.done() and not stop.is_set():
            won.result()
            return True
        await asyncio.gather(won, stopped, return_exceptions=True)
        await election.release()
        return False

    async def _lead(  # noqa: PLR0917
        self,
        connection: Connection,
        client: Client,
        backend: Backend,
        election: Election,
        health: Health,
        stop: asyncio.Event,
    ) -> None:
        from quorate_operator.handlers import watch as watching  # noqa: PLC0415 - see _elected

        metrics.TERM.set(await backend.take_term(election.identity))
        view, recorder = View(), Recorder(client, election.identity, clock=self.clock)
        reconcilers = self.reconcilers()
        routes = Routes(reconcilers, view)
        context = Context(view, client, backend.log, backend.content, self.config, self.clock)
        applier = Applier(client=client, log=backend.log, view=view, routes=routes, recorder=recorder)
        planner = Planner(context, reconcilers, applier)
        health.planner_beat = lambda: planner.heartbeat
        health.watch_beat = time.monotonic()
        health.leader = True
        metrics.LEADER.set(1)
        resync = Resync(client, view, planner, health)
        watch = watching.Watch(view, routes, planner, health, resync.request)
        # Kopf cancels every task that is younger than itself when it ends, so ours are made first.
        parts = {
            "planner": asyncio.create_task(planner.run(), name="planner"),
            "resync": asyncio.create_task(resync.run(), name="resync"),
            "election": asyncio.create_task(election.hold(), name="election"),
            "events": asyncio.create_task(recorder.run(), name="events"),
            "gauges": asyncio.create_task(_gauges(view, backend, health), name="gauges"),
            "stop": asyncio.create_task(stop.wait(), name="stop"),
        }
        kopf_stop = asyncio.Event()
        parts["watch"] = asyncio.create_task(
            watching.run(watch, connection, kopf_stop, _on_signals_of(stop)), name="watch"
        )
        try:
            await asyncio.wait(parts.values(), return_when=asyncio.FIRST_COMPLETED)
            _raise_first(parts, stop)
            health.stopping = True
            await _drain(planner, parts["planner"])
            await recorder.flush(1.0)
            # Kopf takes seconds to end; the next leader need not wait for that.
            parts["election"].cancel()
            await asyncio.wait({parts["election"]})
            await election.release()
        finally:
            health.stopping = True
            kopf_stop.set()
            for name, task in parts.items():
                if name != "watch":
                    task.cancel()
            await asyncio.wait(parts.values(), timeout=_DRAIN_SECONDS)


def _on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


def _on_signals_of(stop: asyncio.Event) -> Callable[[], None]:
    """Kopf installs signal handlers of its own when it starts; this puts ours back."""
    return lambda: _on_signals(stop)


def _raise_first(parts: Mapping[str, "asyncio.Task[Any]"], stop: asyncio.Event) -> None:
    """Name the part that ended although nobody asked for it."""
    for name, task in parts.items():
        if not task.done() or name == "stop":
            continue
        error = task.exception() if not task.cancelled() else None
        if isinstance(error, Fatal):
            raise error
        if error is not None or not stop.is_set():
            raise Fatal("PartEnded", f"the operator's {name} ended: {error or 'without an error'}") from error


async def _drain(planner: Planner, task: "asyncio.Task[Any]") -> None:
    planner.stop()
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            await asyncio.shield(task)
    except TimeoutError:
        _log.warning("the last pass did not finish in %g s", _DRAIN_SECONDS, extra={"reason": "DrainTimeout"})


async def _gauges(view: View, backend: Backend, health: Health) -> None:
    """Once a second: event-loop lag, database, sizes."""
    while True:
        due = time.monotonic() + 1.0
        await asyncio.sleep(1.0)
        metrics.LOOP_LAG.set(max(0.0, time.monotonic() - due))
        health.database = await backend.ping()
        for kind in view.kinds():
            metrics.OBJECTS.labels(kind).set(view.count(kind))
