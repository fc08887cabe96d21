"""Kopf as the informer: `on.event` handlers fold and mark; they do no I/O and store nothing in the objects."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import kopf
from kopf import AnnotationsProgressStorage, DiffBaseStorage, OperatorRegistry, OperatorSettings

from quorate_operator.election import LEASE_KEY
from quorate_operator.http.health import Health
from quorate_operator.kube.connection import Connection
from quorate_operator.kube.resources import GROUP, WATCHED, Obj, Resource, key_of
from quorate_operator.planner import Planner
from quorate_operator.reconcile.routes import Routes
from quorate_operator.resync import LABELS
from quorate_operator.view import View

_STARTING_SECONDS = 10.0


class _NoDiffBase(DiffBaseStorage):
    """Nothing is diffed: without this Kopf copies every object's essence on every event."""

    def fetch(self, *, body: Any) -> None:
        """Nothing was stored."""

    def store(self, *, body: Any, patch: Any, essence: Any) -> None:
        """Store nothing."""

    def build(self, *, body: Any, extra_fields: Any = None) -> Any:
        """An empty essence."""
        return {}


@dataclass(slots=True)
class Watch:
    """What handlers reach; `relisted` is called when a watch that was running starts over."""

    view: View
    routes: Routes
    planner: Planner
    health: Health
    relisted: Callable[[], None]
    started: float = field(default_factory=time.monotonic)

    def event(self, kind: str | None, raw: Obj) -> None:
        """Fold one watch event and mark what it concerns."""
        key = key_of(raw)
        if key == LEASE_KEY:
            self.health.watch_beat = time.monotonic()
            return
        old = self.view.get(key)
        changed = self.view.remove(key, raw["metadata"].get("uid")) if kind == "DELETED" else self.view.fold(raw)
        if kind is None and time.monotonic() - self.started > _STARTING_SECONDS:
            self.relisted()
        if changed:
            for state in (old, raw):
                self.planner.mark(self.routes.touched(state) if state is not None else ())


def registry(watch: Watch, connection: Connection) -> OperatorRegistry:
    """Handlers of every watched kind, and the login."""
    result = OperatorRegistry()

    @kopf.on.login(registry=result)
    def login(**_: Any) -> kopf.ConnectionInfo:
        connection.headers()
        return kopf.ConnectionInfo(
            server=connection.server,
            ca_data=connection.ca,
            certificate_data=connection.certificate,
            private_key_data=connection.private_key,
            scheme="Bearer" if connection.token else None,
            token=connection.token,
        )

    for resource in WATCHED.values():
        _handle(result, watch, resource)
    return result


def _handle(result: OperatorRegistry, watch: Watch, resource: Resource) -> None:
    # List items carry neither kind nor apiVersion.
    named = {"apiVersion": resource.api_version, "kind": resource.kind}
    where = (resource.group, resource.version, resource.plural)

    @kopf.on.event(*where, registry=result, id=f"watch-{resource.plural}")
    async def event(event: Mapping[str, Any], **_: Any) -> None:
        watch.event(event["type"], {**named, **event["object"]})


def settings() -> OperatorSettings:
    """Kopf's settings (operator-engineering.md B2); the planner, not Kopf, sets the timing."""
    result = OperatorSettings()
    result.peering.standalone = True
    result.scanning.disabled = True
    result.posting.loggers = False
    result.posting.level = logging.WARNING
    result.watching.server_timeout = 600
    result.watching.client_timeout = 660
    result.watching.connect_timeout = 10
    result.watching.chunk_size = 500
    for kind, label in LABELS.items():
        result.watching.label_selectors[WATCHED[kind].plural] = label
    result.networking.request_timeout = 30
    result.networking.connect_timeout = 5
    result.networking.error_backoffs = (0.5, 1, 2, 4, 8)
    result.queueing.idle_timeout = 1.0
    result.queueing.exit_timeout = 2
    result.queueing.error_delays = (1, 2, 5, 10, 30)
    result.execution.max_workers = 8
    result.execution.default_backoff = 5
    result.persistence.finalizer = f"{GROUP}/finalizer"
    result.persistence.progress_storage = AnnotationsProgressStorage(prefix=GROUP, v1=False)
    result.persistence.diffbase_storage = _NoDiffBase()
    result.background.cancellation_polling = 10
    result.process.ultimate_exiting_timeout = 20
    return result


async def run(watch: Watch, connection: Connection, stop: asyncio.Event, started: Callable[[], None]) -> None:
    """Watch until `stop` is set; `started` is called once Kopf runs and has set its signal handlers.

    Raises:
        Exception: a watch failed for good; the process must end (a silent watcher would be worse).
    """
    ready = asyncio.Event()

    async def announce() -> None:
        await ready.wait()
        started()

    task = asyncio.create_task(announce())
    try:
        await kopf.operator(
            registry=registry(watch, connection),
            settings=settings(),
            standalone=True,
            clusterwide=True,
            stop_flag=stop,
            ready_flag=ready,
        )
    finally:
        task.cancel()
