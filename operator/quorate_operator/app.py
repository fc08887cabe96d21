"""The composition root: everything is made and wired here, and nowhere else.

Order: probes, API server, start-up check, database, election, term, watch, planner. Whatever of the running parts ends
first ends the process; only a requested stop is graceful (the pass in progress finishes, the Lease is released).
"""

import asyncio
import contextlib
import importlib
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from quorate.api.conditions import Observation
from quorate_operator.config import Config
from quorate_operator.custody.checkpoints import Checkpoints
from quorate_operator.custody.engine import Subprocess
from quorate_operator.election import Election
from quorate_operator.errors import Conflict, Fatal, OperatorError
from quorate_operator.http import metrics
from quorate_operator.http.health import Health
from quorate_operator.http.server import ProbeServer
from quorate_operator.kube.client import Client
from quorate_operator.kube.connection import Connection, load
from quorate_operator.kube.events import Recorder
from quorate_operator.parts import WATCH, Parts
from quorate_operator.planner import Planner
from quorate_operator.reconcile.checkpoint import keys_of, manifest
from quorate_operator.reconcile.effects import Applier
from quorate_operator.reconcile.protocol import Context, Reconciler
from quorate_operator.reconcile.routes import Routes
from quorate_operator.resync import Resync
from quorate_operator.selfcheck import check_cluster
from quorate_operator.stores import OpenStore, Store
from quorate_operator.view import View

if TYPE_CHECKING:
    from quorate_operator.custody.custody import Custody
    from quorate_operator.custody.publication import Publication
    from quorate_operator.custody.retention import Archived
    from quorate_operator.custody.verified import Verified
    from quorate_operator.notify.notifier import Notifier

_log = logging.getLogger(__name__)
_DRAIN_SECONDS = 8.0
Heard = Callable[[str], None]


def abort(error: OperatorError) -> NoReturn:
    """End the process at once: no finalizer, thread or pooled connection may write anything after this."""
    _log.critical(error.message, extra={"reason": error.reason})
    logging.shutdown()
    os._exit(1)


@dataclass(slots=True)
class Operator:
    """One process's worth of operator.

    Args:
        config: parsed configuration.
        env: environment, for the in-cluster connection.
        open_store: opens the store, checks its schema.
        reconcilers: in dependency order.
        clock: Unix seconds.
        abort: ends the process at once.
    """

    config: Config
    env: Mapping[str, str]
    open_store: OpenStore
    reconcilers: Callable[[], list[Reconciler[Any]]]
    clock: Callable[[], float] = time.time
    abort: Callable[[OperatorError], NoReturn] = abort

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT; `abort` once it leads and something of it fails.

        Raises:
            OperatorError: it cannot start.
        """
        stop = asyncio.Event()
        _on_signals(stop)
        health = Health()
        identity = self.config.identity or f"{socket.gethostname()}-{os.getpid()}"
        connection = load(self.config.kubeconfig, env=self.env)
        async with AsyncExitStack() as stack:
            probes = ProbeServer(self.config.http, health)
            stack.callback(probes.close)
            _log.info("probes and metrics on %s:%d", self.config.http[0], probes.port, extra={"reason": "Probes"})
            client = await stack.enter_async_context(Client(connection))
            election_client = Client(connection, timeout=self.config.renew_deadline_seconds / 2, limit=2)
            election = self._election(await stack.enter_async_context(election_client), identity)
            health.election_beat = lambda: election.last_answer
            # Candidacy comes first: waiting for a dead leader's Lease to expire overlaps with everything else.
            candidacy = asyncio.create_task(election.acquire(), name="candidacy")
            stack.push_async_callback(_withdraw, election, candidacy)
            _import_early()
            await check_cluster(client)
            store = await self.open_store(self.config)
            stack.push_async_callback(store.close)
            health.database = await store.ping()
            if await _elected(candidacy, stop):
                await self._lead(connection, client, store, election, health, stop)

    def _election(self, client: Client, identity: str) -> Election:
        return Election(
            client,
            identity,
            lease_seconds=self.config.lease_seconds,
            renew_deadline=self.config.renew_deadline_seconds,
            retry=self.config.retry_seconds,
        )

    def _checkpoints(
        self,
        store: Store,
        client: Client,
        view: View,
        planner: Planner,
        custody: "Custody",
        publication: "Publication | None",
    ) -> Checkpoints:
        """The schedule; a new checkpoint is shown in its AuditCheckpoint, verified, published, may complete proofs."""

        async def signed(chain: str) -> None:
            custody.verifications.grown(chain)
            if publication is not None:
                publication.mark(chain)
            if not keys_of(view, chain):
                with contextlib.suppress(Conflict):
                    view.fold(await client.create(manifest(chain)))
            planner.mark(keys_of(view, chain))
            planner.mark(view.by("GovernanceProposal", "domain", chain.partition("/")[2]))

        before = custody.before_checkpoint
        hurry = custody.resumptions.resumed
        return Checkpoints(store.log, self.config.log_keys, self.config.checkpoint_seconds, signed, before, hurry)

    def _publication(self, store: Store, custody: "Custody") -> "Publication | None":
        from quorate_operator.custody.publication import Publication  # noqa: PLC0415 - see _import_early
        from quorate_operator.store.files import open_files  # noqa: PLC0415 - as above

        if not self.config.publish:
            return None
        return Publication(store.log, open_files(self.config.publish), custody.doubt)

    def _custody(self, store: Store, client: Client, view: View) -> "tuple[Context, Custody, dict[str, Archived]]":
        from quorate_operator.custody.custody import Custody  # noqa: PLC0415 - see _import_early

        results: dict[str, Verified] = {}
        refused: dict[str, str] = {}
        guarded: dict[str, Observation] = {}
        archived: dict[str, Archived] = {}
        context = Context(
            view, client, store.log, store.content, self.config, self.clock, results, refused, guarded, archived
        )
        engine = Subprocess(self.config.dsn)
        custody = Custody(context, client, engine, store.identity, store.catalogue, results, refused, guarded)
        return context, custody, archived

    def _planner(
        self, context: Context, custody: "Custody", recorder: Recorder, cosigned: Heard, told: "Notifier"
    ) -> tuple[Routes, Planner]:
        reconcilers = self.reconcilers()
        routes = Routes(reconcilers, context.view)
        applier = Applier(
            client=context.client,
            log=context.log,
            view=context.view,
            routes=routes,
            recorder=recorder,
            quarantines=custody.quarantines,
            cosigned=cosigned,
            notices=told.update,
        )
        return routes, Planner(context, reconcilers, applier)

    async def _lead(
        self,
        connection: Connection,
        client: Client,
        store: Store,
        election: Election,
        health: Health,
        stop: asyncio.Event,
    ) -> None:
        from quorate_operator.custody.retention import retention_of  # noqa: PLC0415 - as above
        from quorate_operator.handlers import watch as watching  # noqa: PLC0415 - see _import_early
        from quorate_operator.notify.notifier import notifier_of  # noqa: PLC0415 - as above
        from quorate_operator.reconcile.registry import AT_START  # noqa: PLC0415 - as above

        view, recorder = View(), Recorder(client, election.identity, clock=self.clock)
        notifier = notifier_of(self.config, client, election.identity, view, recorder.record, self.clock)
        context, custody, archived = self._custody(store, client, view)
        # Before anything can be sealed: a database that is not what it was must not be built upon.
        await custody.compare()
        metrics.TERM.set(await store.take(election.identity))
        publication = self._publication(store, custody)
        cosigned = publication.mark if publication is not None else lambda chain: None
        routes, planner = self._planner(context, custody, recorder, cosigned, notifier)
        await custody.begin()
        custody.attend(planner, recorder)
        planner.mark(AT_START)
        health.planner_beat = lambda: planner.heartbeat
        health.watch_beat = time.monotonic()
        health.leader = True
        metrics.LEADER.set(1)
        resync = Resync(client, view, planner, health)
        watch = watching.Watch(view, routes, planner, health, resync.request)
        checkpoints = self._checkpoints(store, client, view, planner, custody, publication)
        retention = retention_of(
            context, archived, lambda chain: planner.mark(keys_of(view, chain)), store.partitions_ahead
        )
        # Kopf cancels every task that is younger than itself when it ends, so ours are made first.
        parts = Parts()
        parts.begin("planner", planner.run())
        parts.begin("resync", resync.run())
        parts.begin("election", election.hold())
        parts.begin("events", recorder.run())
        parts.begin("notices", notifier.run(lambda: planner.settled))
        parts.begin("checkpoints", checkpoints.run())
        parts.begin("gauges", _gauges(view, store, health))
        for name, part in custody.parts().items():
            parts.begin(name, part)
        parts.begin("retention", retention.run())
        if publication is not None:
            parts.begin("publication", publication.run())
        kopf_stop = asyncio.Event()
        parts.begin(WATCH, watching.run(watch, connection, kopf_stop, _on_signals_of(stop)))
        await self._hold(parts, kopf_stop, planner, recorder, election, health, stop)

    async def _hold(
        self,
        parts: Parts,
        kopf_stop: asyncio.Event,
        planner: Planner,
        recorder: Recorder,
        election: Election,
        health: Health,
        stop: asyncio.Event,
    ) -> None:
        """Lead until a part ends or the process is asked to stop; then in order: the pass, the Events, the Lease."""
        try:
            await parts.first_end(stop)
            health.stopping = True
            await _drain(planner, parts["planner"])
            await recorder.flush(1.0)
            # Kopf takes seconds to end; the next leader need not wait for that.
            await parts.end("election")
            await election.release()
        except Fatal as error:
            self.abort(error)
        finally:
            kopf_stop.set()
            await parts.end_all(_DRAIN_SECONDS)


def _import_early() -> None:
    """Import what only a leader needs while the election goes on: Kopf and the models take a second or two."""
    loop = asyncio.get_running_loop()
    for module in (
        "quorate_operator.handlers.watch",
        "quorate_operator.reconcile.registry",
        "quorate_operator.custody.custody",
        "quorate_operator.custody.retention",
        "quorate_operator.notify.notifier",
    ):
        loop.run_in_executor(None, importlib.import_module, module)


async def _elected(candidacy: "asyncio.Task[None]", stop: asyncio.Event) -> bool:
    """Wait for leadership; False if asked to stop first."""
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({candidacy, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if stop.is_set():
        return False
    candidacy.result()
    return True


async def _withdraw(election: Election, candidacy: "asyncio.Task[None]") -> None:
    """Whatever ends this process gracefully, the Lease is not left behind."""
    candidacy.cancel()
    await asyncio.wait({candidacy})
    await election.release()


def _on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


def _on_signals_of(stop: asyncio.Event) -> Callable[[], None]:
    """Kopf installs signal handlers of its own when it starts; this puts ours back."""
    return lambda: _on_signals(stop)


async def _drain(planner: Planner, task: "asyncio.Task[Any]") -> None:
    planner.stop()
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            await asyncio.shield(task)
    except TimeoutError:
        _log.warning("the last pass did not finish in %g s", _DRAIN_SECONDS, extra={"reason": "DrainTimeout"})


async def _gauges(view: View, store: Store, health: Health) -> None:
    """Once a second: event-loop lag, database, sizes."""
    while True:
        due = time.monotonic() + 1.0
        await asyncio.sleep(1.0)
        metrics.LOOP_LAG.set(max(0.0, time.monotonic() - due))
        health.database = await store.ping()
        for kind in view.kinds():
            metrics.OBJECTS.labels(kind).set(view.count(kind))
