"""The loop: samples and what happened in, decisions out, each written down before it is carried out."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from quorate.missions.decisions import Decision, Effect, Step
from quorate.missions.engine import Engine
from quorate.missions.policies import Policy
from quorate.missions.samples import Device, Event, Gone, Missing, Pod, Running, Xid
from quorate.missions.series import SECOND
from quorate_agent import journal
from quorate_agent.acting import Acting, ending, taken_on_device
from quorate_agent.metrics import Metrics
from quorate_agent.ports import Captured, Clock, GpuBackend, SpoolError
from quorate_agent.sampling import Sampler
from quorate_agent.spool import FileSpool
from quorate_agent.taken import TakenActions
from quorate_agent.workers import DeviceThreads, aside

_log = logging.getLogger("quorate_agent")
LOOK = 5 * SECOND
"""How often metrics look at the rules."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the loop works with."""

    node: str
    clock: Clock
    backend: GpuBackend
    spool: FileSpool
    taken: TakenActions
    acting: Acting
    metrics: Metrics


class Agent:
    """One node.

    Attributes:
        engine: its decisions; only the loop touches it.
        beat: when the loop last went round, for /healthz.
    """

    def __init__(self, parts: Parts, engine: Engine) -> None:
        self.parts, self.engine = parts, engine
        self.beat = parts.clock.now()
        self.pods: dict[str, Pod] = {}
        self.policies: dict[str, Policy] = {}
        self._inbox: list[Event] = []
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._writing = asyncio.Lock()
        self._acts: set[asyncio.Task[None]] = set()
        self._looked = 0
        self.threads = DeviceThreads(parts.backend, parts.clock, self._woken, self._xid)

    # What others tell it.

    def sink(self, events: Iterable[Event]) -> None:
        """Events for the next step; on the loop's own thread."""
        self._inbox += events
        self._wake.set()

    def _woken(self) -> None:
        self._loop.call_soon_threadsafe(self._wake.set)

    def _xid(self, at: int, gpu: str, code: int) -> None:
        self._loop.call_soon_threadsafe(self.sink, [Xid(at, gpu, code)])

    def govern(self, policies: Sequence[Policy]) -> None:
        """Policies that are in force from now on."""
        self.policies = {policy.name: policy for policy in policies}
        self.engine.govern(policies)
        self._wake.set()

    def see(self, pods: Iterable[Pod]) -> None:
        """The pods that are here now; only what changed is an event."""
        now, found = self.parts.clock.now(), {pod.uid: pod for pod in pods}
        events: list[Event] = [Gone(now, uid) for uid in self.pods if uid not in found]
        events += [Running(now, pod) for uid, pod in found.items() if self.pods.get(uid) != pod]
        self.pods = found
        if events:
            self.sink(events)

    async def record(self, entries: Sequence[Captured]) -> None:
        """Write entries down; SpoolError where that failed."""
        async with self._writing:
            await asyncio.to_thread(self.parts.spool.append, entries)

    # The loop.

    async def run(self, sampler: Sampler, stopping: asyncio.Event) -> None:
        """Until `stopping`; actions that were begun are then waited for by `finish`."""
        clock, engine, metrics = self.parts.clock, self.engine, self.parts.metrics
        while not stopping.is_set():
            self._wake.clear()
            now = self.beat = clock.now()
            answers = self.threads.take()
            inbox, self._inbox = self._inbox, []
            events = [*inbox, *sampler.take(answers), *sampler.tick(now)]
            metrics.answered(answers)
            metrics.sampled(events)
            due = engine.due
            if events or (due is not None and due <= now):
                await self._carry(engine.step(now, events))
            if now - self._looked >= LOOK:
                self._look(sampler, now)
            await self._sleep(sampler.due, engine.due, self._looked + LOOK)

    async def _sleep(self, *times: int | None) -> None:
        due = min(time for time in times if time is not None)
        wait = (due - self.parts.clock.now()) / SECOND
        if wait <= 0:
            await asyncio.sleep(0)
            return
        timer = self._loop.call_later(wait, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()

    def stop(self) -> None:
        """Wake the loop so that it sees that it is to end."""
        self._wake.set()

    def _look(self, sampler: Sampler, now: int) -> None:
        parts = self.parts
        self._looked = now
        parts.metrics.looked(self.engine)
        parts.metrics.hanging.labels(parts.node).set(len(sampler.hanging))
        parts.metrics.spool.labels(parts.node).set(parts.spool.depth)
        parts.metrics.dropped.labels(parts.node).set(parts.spool.dropped)

    async def scan(self, sampler: Sampler) -> None:
        """Find devices, and begin with those that are new."""
        found = await aside(self.parts.backend.devices)
        if isinstance(found, Missing):
            _log.warning("no devices: %s", found)
            return
        now = self.parts.clock.now()
        for gpu in found:
            self.threads.add(gpu.uuid)
        if sampler.add(found, now):
            self.sink([Device(now, gpu.uuid, gpu.total) for gpu in found])

    # Decisions.

    async def _carry(self, decisions: Sequence[Decision]) -> None:
        """Write down, then begin; where it cannot be written nothing is begun."""
        if not decisions:
            return
        for made in decisions:
            self.parts.metrics.decided(made)
        acts = [made for made in decisions if made.effect is Effect.ACT and made.step in (Step.STARTED, Step.RETRIED)]
        try:
            await self.record([journal.decided(made) for made in decisions])
            pods = [(self.pods[made.uid], made.action) for made in acts if made.uid in self.pods]
            devices = [taken_on_device(made) for made in acts if not made.uid]
            if acts:
                await asyncio.to_thread(self.parts.taken.add, pods, devices, self.parts.clock.now())
        except SpoolError as error:
            self.parts.metrics.failures.labels(self.parts.node).inc()
            _log.error("%d decisions could not be written down, nothing is done: %s", len(decisions), error)
            self.sink(event for made in acts for event in ending(made, None, self.parts.clock.now()))
            return
        for made in acts:
            task = asyncio.create_task(self._perform(made), name=f"{made.action} {made.subject}")
            self._acts.add(task)
            task.add_done_callback(self._acts.discard)

    async def _perform(self, made: Decision) -> None:
        done = await self.parts.acting.act(made, self.policies.get(made.policy))
        if done is None:
            return  # the workload answers
        now = self.parts.clock.now()
        _log.info("%s %s: %s %s", made.action, made.subject, done.outcome or done.answer, done.message)
        self.parts.metrics.ended(made, done)
        self.sink(ending(made, done, now))
        try:
            await self.record([journal.ended(made, done, now)])
        except SpoolError as error:
            self.parts.metrics.failures.labels(self.parts.node).inc()
            _log.error("the end of %s could not be written down: %s", made.id, error)

    async def finish(self, seconds: float) -> None:
        """Wait for actions under way, at most so long: a pod that got SIGTERM gets SIGKILL too."""
        if self._acts:
            await asyncio.wait(self._acts, timeout=seconds)
        for task in self._acts:
            task.cancel()
        self.threads.close()
