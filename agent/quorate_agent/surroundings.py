"""What goes on around the loop: pods, policies, the operator. Each may fail by itself, and begins again."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from quorate.api.mission_policy import LadderAction
from quorate.api.mission_rules import RuleName
from quorate.missions.distribution import NodePolicies
from quorate.missions.policies import NAMESPACE_LABEL
from quorate.missions.samples import Metric, Missing, Online, Pod, Reading, Report, Stop, StopScope
from quorate.missions.verdict import State
from quorate_agent import journal
from quorate_agent.agent import Agent
from quorate_agent.cgroups import ProcResolver
from quorate_agent.hostmemory import HostMemory
from quorate_agent.ingest import Ingest
from quorate_agent.nodekey import NodeKey
from quorate_agent.policies import StoredPolicies, in_force
from quorate_agent.ports import PodSource, SpoolError

_log = logging.getLogger("quorate_agent")
Ups = Mapping[str, bool]
PODS_SECONDS = 5.0
REPORT_SECONDS = 30.0
BATCH = 200
"""Entries of one request."""
STOP_FILE = "emergency-stop"
"""While a file of this name is in the state directory, the node is stopped; it needs no API server."""


class Takes(Protocol):
    """What the workloads of a pod can carry out, and which pods are gone."""

    def takes(self, uid: str) -> frozenset[LadderAction]:
        """See `workloads.Workloads.takes`."""

    def forget(self, uid: str) -> None:
        """See `workloads.Workloads.forget`."""


class PodWatch:
    """Looks at the node's pods every few seconds, and when somebody asks.

    Attributes:
        answered: whether the pods were known once; until then nothing is ready.
    """

    def __init__(self, agent: Agent, source: PodSource, state: Path) -> None:
        self._agent, self._source, self._stop = agent, source, state / STOP_FILE
        self._found: Sequence[Pod] = ()
        self._now = asyncio.Event()
        self._stopped = False
        self.workloads: Takes | None = None
        self.namespaces: Mapping[str, Mapping[str, str]] = {}
        self.answered = False

    async def run(self) -> None:
        """For ever."""
        while True:
            self._now.clear()
            self.look_for_stop()
            found = await self._source.pods()
            if isinstance(found, Missing):
                _log.warning("pods: %s", found)
            else:
                self._take(found)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PODS_SECONDS):
                    await self._now.wait()

    def _take(self, found: Sequence[Pod]) -> None:
        gone = {pod.uid for pod in self._found} - {pod.uid for pod in found}
        self._found = found
        self.refresh()
        for uid in gone:
            if self.workloads is not None:
                self.workloads.forget(uid)
        if not self.answered:
            self.answered = True
            agent = self._agent
            agent.sink(agent.parts.taken.earlier(agent.parts.clock.now()))

    def refresh(self) -> None:
        """Namespaces' labels changed, or a workload came or left."""
        self._agent.see([self._full(pod) for pod in self._found])

    def look(self) -> None:
        """Look at once."""
        self._now.set()

    def _full(self, pod: Pod) -> Pod:
        spaces = {NAMESPACE_LABEL: pod.namespace, **self.namespaces.get(pod.namespace, {}), **pod.namespace_labels}
        takes = frozenset[LadderAction]() if self.workloads is None else self.workloads.takes(pod.uid)
        return replace(pod, namespace_labels=spaces, takes=takes or pod.takes)

    def look_for_stop(self) -> None:
        """Whether a person has stopped this node."""
        stopped = self._stop.exists()
        if stopped is not self._stopped:
            self._stopped = stopped
            _log.warning("emergency stop of this node: %s", "on" if stopped else "off")
            self._agent.sink([Stop(self._agent.parts.clock.now(), StopScope.NODE, stopped)])


class PodReports:
    """Once a second what the node itself says of pods: their memory, and whether their containers run.

    Args:
        up: uid → whether every container of the pod runs; a pod that is not named is not reported.
    """

    def __init__(self, agent: Agent, resolver: ProcResolver, memory: HostMemory, up: Callable[[], Ups]) -> None:
        self._agent, self._resolver, self._memory, self._up = agent, resolver, memory, up
        self._paths: dict[str, str] = {}

    async def run(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(1)
            now, up = self._agent.parts.clock.now(), self._up()
            events = [Report(now, uid, Metric.HOST_MEMORY, self._read(uid)) for uid in self._with(RuleName.HOST_MEMORY)]
            served = [uid for uid in self._with(RuleName.UPTIME) if uid in up]
            events += [Report(now, uid, Metric.UP, 10_000 if up[uid] else 0) for uid in served]
            if events:
                self._agent.sink(events)

    def _with(self, rule: RuleName) -> list[str]:
        """Pods with a rule, each once."""
        return list(dict.fromkeys(w.tracked.pod.uid for w in self._agent.engine.watches if w.rule is rule))

    def _read(self, uid: str) -> Reading:
        """The path is looked for again as long as it leads nowhere: a pod's first process may come late."""
        value = self._memory.read(self._paths.get(uid))
        if value is Missing.LOST:
            self._paths.pop(uid, None)
            pid = next((pid for pid, _, _ in self._resolver.processes_of(uid)), None)
            path = None if pid is None else self._resolver.memory_path(pid)
            if path is not None:
                self._paths[uid] = path
                value = self._memory.read(path)
        return value


class PolicyWatch:
    """Puts in force what the source accepts, after it was written down."""

    def __init__(
        self, agent: Agent, source: StoredPolicies, pods: PodWatch, labels: Mapping[str, str], *, dry_run: bool
    ) -> None:
        self._agent, self._source, self._pods, self._labels = agent, source, pods, labels
        self._dry_run = dry_run
        self._last: NodePolicies | None = None
        self._told = False

    async def run(self) -> None:
        """For ever; the disk first."""
        kept = self._source.cached()
        if kept is not None:
            await self._take(kept)
        while True:
            await self._take(await self._source.next())

    async def relabel(self, labels: Mapping[str, str]) -> None:
        """The node's labels changed."""
        self._labels = labels
        if self._last is not None:
            await self._take(self._last)

    async def _take(self, found: NodePolicies) -> None:
        agent, metrics = self._agent, self._agent.parts.metrics
        self._last = found
        chosen = in_force(found, self._labels, dry_run=self._dry_run)
        detail = {"serial": found.serial, "digest": found.digest, "policies": len(chosen), "dryRun": self._dry_run}
        for name, why in found.refused.items():
            _log.error("policy %s cannot be judged by this version: %s", name, why)
        try:
            entry = journal.on_node("governed", agent.parts.node, agent.parts.clock.now(), **detail)
            await agent.record([entry])
        except SpoolError as error:
            # In force all the same: rules that were taken back must not act on because a disk is full.
            metrics.failures.labels(agent.parts.node).inc()
            _log.error("serial %d is in force without an entry: %s", found.serial, error)
        self._pods.namespaces = found.namespaces
        self._pods.refresh()
        agent.govern(chosen)
        if not self._told:
            # With the stops in force, or what they closed would be opened.
            self._told = True
            self._pods.look_for_stop()
            agent.sink(agent.parts.taken.devices())
        metrics.serial.labels(agent.parts.node).set(found.serial)
        _log.info("policies of serial %d are in force: %d of %d", found.serial, len(chosen), len(found.policies))


class Delivery:
    """Hands in the spool and reports; tells the engine whether there is an operator."""

    def __init__(self, agent: Agent, ingest: Ingest, key: NodeKey, *, seconds: float = PODS_SECONDS) -> None:
        self._agent, self._ingest, self._key, self._seconds = agent, ingest, key, seconds
        self._online = False
        self._registered = False
        self._reported = float("-inf")

    async def run(self) -> None:
        """For ever."""
        loop = asyncio.get_running_loop()
        while True:
            await self._once(loop.time())
            if self._ingest.online is not self._online:
                self._online = self._ingest.online
                agent = self._agent
                agent.sink([Online(agent.parts.clock.now(), self._online)])
                _log.warning("the operator is %s", "there" if self._online else "not to be reached")
            metrics, node = self._agent.parts.metrics, self._agent.parts.node
            metrics.online.labels(node).set(self._online)
            if not self._online:
                metrics.offline.labels(node).inc(self._seconds)
            await asyncio.sleep(self._seconds)

    async def _once(self, now: float) -> None:
        agent = self._agent
        if not self._registered:
            self._registered = await self._ingest.register(agent.parts.node, self._key.source, self._key.public)
        if self._registered:
            await self._hand_in()
        if now - self._reported >= REPORT_SECONDS and await self._ingest.report(report_of(agent)):
            self._reported = now

    async def _hand_in(self) -> None:
        spool = self._agent.parts.spool
        while lines := spool.waiting(BATCH):
            taken = await self._ingest.hand_in(lines)
            if taken is None or taken <= spool.acknowledged:
                return
            try:
                spool.acknowledge(taken)
            except SpoolError as error:
                _log.error("handed in, and will be again: %s", error)
                return


def report_of(agent: Agent) -> dict[str, Any]:
    """What the node governs: pods and broken rules by policy; counts, never one line for each pod."""
    pods: dict[str, set[str]] = {}
    broken: dict[tuple[str, str], int] = {}
    for watch in agent.engine.watches:
        name = watch.policy.name
        pods.setdefault(name, set()).add(watch.tracked.pod.uid)
        if watch.verdict is not None and watch.verdict.state is State.BROKEN:
            key = (name, str(watch.rule))
            broken[key] = broken.get(key, 0) + 1
    return {
        "node": agent.parts.node,
        "at": agent.parts.clock.now(),
        "pods": {name: len(uids) for name, uids in pods.items()},
        "violations": [{"policy": name, "rule": rule, "count": count} for (name, rule), count in broken.items()],
    }
