"""The composition root: from a configuration to a running agent."""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from quorate.missions.engine import Engine
from quorate.missions.samples import Event, Online
from quorate_agent import journal
from quorate_agent.acting import Acting
from quorate_agent.agent import Agent, Parts
from quorate_agent.cgroups import ProcResolver
from quorate_agent.clock import BootClock
from quorate_agent.config import Config
from quorate_agent.files import write_whole
from quorate_agent.hostmemory import HostMemory
from quorate_agent.ingest import Ingest
from quorate_agent.kube import Reader, client
from quorate_agent.metrics import Metrics
from quorate_agent.nodekey import NodeKey, open_key
from quorate_agent.pods import NodePods
from quorate_agent.policies import StoredPolicies
from quorate_agent.ports import Clock, GpuBackend, SpoolError
from quorate_agent.probes import Probes
from quorate_agent.sampling import Sampler
from quorate_agent.signals import Signals
from quorate_agent.simulated import SimulatedBackend, SimulatedPods
from quorate_agent.spool import BrokenSpoolError, FileSpool
from quorate_agent.surroundings import Delivery, PodReports, PodWatch, PolicyWatch
from quorate_agent.taken import TakenActions
from quorate_agent.workloads import Workloads

_log = logging.getLogger("quorate_agent")
SCAN_SECONDS = 60
STALLED = 30_000_000
"""Microseconds after which a loop that did not go round is to be restarted."""


def backend_of(config: Config, clock: Clock) -> GpuBackend:
    """Where readings come from; what is not chosen is not imported."""
    if config.backend == "simulated" and config.source is not None:
        return SimulatedBackend(config.source)
    if config.backend == "replay" and config.source is not None:
        from quorate_agent.replay import ReplayBackend  # noqa: PLC0415 - only who replays

        return ReplayBackend(config.source, clock)
    from quorate_agent.nvml import NvmlBackend  # noqa: PLC0415 - needs the extra `agent`

    return NvmlBackend()


class Running:
    """An agent and its tasks.

    Attributes:
        port: of the probes; 0 without.
    """

    def __init__(self, config: Config) -> None:
        self._config, self._clock = config, BootClock()
        self._stopping = asyncio.Event()
        self._key, spool = open_spool(config)
        self._metrics = Metrics(config.node)
        self._resolver = ProcResolver(config.proc)
        simulated = SimulatedPods(config.source) if config.backend == "simulated" and config.source else None
        self._names = NodePods(config.runtime, config.pod_resources, config.resources)
        source = self._names if simulated is None else simulated
        backend = backend_of(config, self._clock)
        self._ingest = Ingest(client(config.ingest, config.token, config.ingest_ca)) if config.ingest else None
        self._workloads = self._socket()
        acting = Acting(backend, self._workloads, self._ingest, Signals(self._resolver, grace=config.grace_seconds))
        parts = Parts(config.node, self._clock, backend, spool, TakenActions(config.state / "taken.json"),
                      acting, self._metrics)  # fmt: skip
        self._reader = Reader(client(config.api_server, config.token, config.ca)) if config.api_server else None
        self._labels = kept_labels(config)
        self.agent = Agent(parts, Engine(()))
        self.agent.sink([Online(self._clock.now(), online=False)])
        self._sampler = Sampler(
            self.agent.threads.ask, self.agent.threads.settle, simulated or self._resolver, source.container_name,
            os.getpid(),
        )  # fmt: skip
        self._pods = PodWatch(self.agent, source, config.state)
        self._pods.workloads = self._workloads
        stored = StoredPolicies(config.state / "policies.json", config.policy_key, self._reader)
        self._policies = PolicyWatch(self.agent, stored, self._pods, self._labels, dry_run=config.dry_run)
        self._stored = stored
        self.port = 0

    def _socket(self) -> Workloads | None:
        if self._config.socket is None:
            return None
        return Workloads(
            self._config.socket, self._resolver, self._clock, self._said,
            lambda _: self._pods.refresh(),
        )  # fmt: skip

    def _said(self, events: Sequence[Event]) -> None:
        self.agent.sink(events)

    async def run(self) -> None:
        """Until SIGTERM or SIGINT, or until a part of it fails for good."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        probes = self._probes()
        if self._workloads is not None:
            await self._workloads.start()
        try:
            await self._record_start()
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(work) for work in self._works()]
                await self.agent.run(self._sampler, self._stopping)
                for task in tasks:
                    task.cancel()
        finally:
            await self.agent.finish(self._config.grace_seconds)
            if self._workloads is not None:
                await self._workloads.stop()
            if probes is not None:
                probes.close()

    def _works(self) -> list[Coroutine[Any, Any, None]]:
        reports = PodReports(self.agent, self._resolver, HostMemory(self._config.cgroup), lambda: self._names.up)
        works = [self._pods.run(), self._policies.run(), self._scan(), reports.run()]
        if self._ingest is not None:
            works.append(Delivery(self.agent, self._ingest, self._key).run())
        if self._reader is not None:
            works.append(self._relabel(self._reader))
        return works

    def _stop(self) -> None:
        _log.info("ending")
        self._stopping.set()
        self.agent.stop()

    async def _record_start(self) -> None:
        detail = {"backend": self.agent.parts.backend.name, "publicKey": self._key.public}
        try:
            await self.agent.record([journal.on_node("started", self._config.node, self._clock.now(), **detail)])
        except SpoolError as error:
            _log.error("the start could not be written down: %s", error)

    async def _scan(self) -> None:
        """Devices come with a driver that is loaded later, and after a reset."""
        while True:
            await self.agent.scan(self._sampler)
            for field, count in self._stored.refused.items():
                self._metrics.refused.labels(self._config.node, field).set(count)
            await asyncio.sleep(SCAN_SECONDS)

    async def _relabel(self, reader: Reader) -> None:
        """The node's labels, as long as they are not known, and then again every few minutes."""
        while True:
            found = await reader.labels(self._config.node)
            if found is not None and {**found, **self._config.labels} != self._labels:
                self._labels = {**found, **self._config.labels}
                with contextlib.suppress(OSError):  # asked for again at the next start
                    write_whole(self._config.state / "labels.json", orjson.dumps(self._labels))
                await self._policies.relabel(self._labels)
            await asyncio.sleep(5 if found is None else SCAN_SECONDS * 5)

    def _probes(self) -> Probes | None:
        if self._config.http is None:
            return None
        probes = Probes(self._config.http, self._metrics.registry, self._problems)
        self.port = probes.port
        _log.info("probes on port %d", probes.port)
        return probes

    def _problems(self, path: str) -> list[str]:
        """A loop that stands still is a reason to restart; offline or without a device the agent is still of use."""
        found = []
        if self._clock.now() - self.agent.beat > STALLED:
            found.append("loop: it stands still")
        if path == "/readyz":
            found += [] if self._pods.answered else ["pods: not known yet"]
            found += [] if self._stored.cached() is not None else ["policies: none accepted yet"]
            found += ["stopping"] if self._stopping.is_set() else []
        return found


def open_spool(config: Config) -> tuple[NodeKey, FileSpool]:
    """Key and spool; a broken spool is set aside with its key, since a new source begins at one.

    Raises:
        SpoolError: the directory cannot be used.
    """
    for _ in range(2):
        key = open_key(config.state, config.node)
        try:
            return key, FileSpool(config.state / "spool", key.seed, key.source, most=config.spool_bytes)
        except BrokenSpoolError as error:
            _log.critical("the spool is set aside: %s", error)
            aside = config.state / f"broken-{key.source.rpartition('/')[2]}"
            aside.mkdir(mode=0o700, exist_ok=True)
            for name in ("spool", "node.key"):
                (config.state / name).rename(aside / name)
    raise SpoolError(f"{config.state}: a new spool is broken too")


def kept_labels(config: Config) -> Mapping[str, str]:
    """The node's labels as they were last known, and those of the configuration."""
    return {**_kept(config.state / "labels.json"), **config.labels}


def _kept(file: Path) -> Mapping[str, str]:
    try:
        found = orjson.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
