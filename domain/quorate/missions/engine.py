"""The agent's decisions: events and time in, decisions out. The agent and `quorate mission test` run this class.

`Engine.step` changes the engine and returns the decisions of this step, in a fixed order: nothing depends on anything
but the calls. The caller writes each decision's entry before it carries out one whose effect is `Act`, and says how
that ended with `Acknowledged` or `Ended`. `Engine.due` says when to call again without a sample.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from quorate.api.mission_policy import LadderAction, PolicyMode
from quorate.api.mission_rules import RuleName
from quorate.missions.decisions import Decision, Effect, Hold, Step
from quorate.missions.emergency import Emergency
from quorate.missions.gate import Node, Tracked, Watch
from quorate.missions.ladder import HARD, REMOVES, Ladder, Move, Terms
from quorate.missions.memory import MemorySpec
from quorate.missions.placement import Placement
from quorate.missions.policies import Policy
from quorate.missions.reclaim import Freed
from quorate.missions.record import ALLOW, DENY, decision, device_decision, flag
from quorate.missions.samples import (
    Acknowledged,
    Device,
    DeviceMemory,
    DeviceTaken,
    Ended,
    Event,
    Gone,
    Health,
    Held,
    Latencies,
    Limits,
    Online,
    Outcome,
    Owned,
    Pod,
    Processes,
    Report,
    Run,
    Running,
    Stop,
    Taken,
    Unlatch,
    Utilization,
    Xid,
)
from quorate.missions.schedule import Schedule
from quorate.missions.selection import Governed, governs, winners
from quorate.missions.settings import Settings
from quorate.missions.verdict import Channel, State

_WAITS: Final = frozenset({Hold.OFFLINE, Hold.CONCURRENCY, Hold.LEAVING, Hold.LATCH})
"""Holds that end with an event and not with time or a sample."""
_OVER: Final = frozenset({Step.CLEARED, Step.RECOVERED, Step.UNANSWERED})
"""Nobody's answer is waited for any more."""


class Engine:
    """All pods, devices and policies of one node.

    Args:
        policies: those that are in force; `govern` replaces them.
        node_labels: of the node.

    Attributes:
        node: connection, breaker and latches.
        placement: pods by device; `placement.attribution.unattributed` for metrics.
        freed: GPU time that reclaim freed.
    """

    def __init__(self, policies: Sequence[Policy], node_labels: Mapping[str, str] | None = None) -> None:
        self.node = Node()
        self.placement = Placement()
        self.freed = Freed()
        self.now = 0
        self._labels = dict(node_labels or {})
        self._policies: tuple[Policy, ...] = ()
        self._pods: dict[str, Tracked] = {}
        self._pending: dict[str, tuple[Tracked, Watch | None, LadderAction]] = {}
        self._dirty: dict[Watch, None] = {}
        self._schedule = Schedule()
        self._emergency = Emergency()
        self._settings = Settings()
        self._out: list[Decision] = []
        self._handlers: dict[type, Callable[[Any], None]] = {
            Processes: self._processes,
            DeviceMemory: self._device_memory,
            Utilization: self._device_sample,
            Health: self._device_sample,
            Xid: self._device_sample,
            Report: self._report,
            Latencies: self._pod_sample,
            Run: self._pod_sample,
            Owned: self.placement.attribution.own,
            Running: self._running,
            Gone: self._gone,
            Device: self._device,
            Limits: self._limits,
            Acknowledged: self._acknowledged,
            Ended: self._ended,
            Taken: self._taken,
            DeviceTaken: self._device_taken,
            Online: self._online,
            Stop: self._stop,
            Unlatch: self._unlatch,
        }
        self.govern(policies)

    # What the caller does.

    def step(self, now: int, events: Iterable[Event] = ()) -> list[Decision]:
        """Take what happened until `now` (microseconds), and decide.

        A `now` before that of the last step counts as it, and is flagged.
        """
        self._out = []
        if now < self.now:
            self._out.append(flag(self.now, Hold.CLOCK_WENT_BACK, (("back", self.now - now),)))
        else:
            self.now = now
        handlers = self._handlers
        for event in events:
            handlers[type(event)](event)
        self._emergency_step()
        for watch in self._schedule.take(self.now):
            self._dirty[watch] = None
        dirty, self._dirty = self._dirty, {}
        for watch in dirty:
            self._judge(watch)
        return self._out

    @property
    def due(self) -> int | None:
        """When to step again without an event; None: no need."""
        times = (self._emergency.due, self._schedule.next)
        return min((time for time in times if time is not None), default=None)

    def govern(self, policies: Sequence[Policy]) -> None:
        """Replace the policies; a rule whose policy did not change keeps its window and its rung."""
        self._policies = tuple(sorted(policies, key=lambda policy: policy.name))
        for tracked in self._pods.values():
            self._watch(tracked)
        self._emergency.govern(self._policies, self.now)
        self._settings.forget()

    @property
    def watches(self) -> list[Watch]:
        """Every rule of every pod, for `mission top` and metrics."""
        return [watch for tracked in self._pods.values() for watch in tracked.watches]

    # Pods and devices.

    def _running(self, event: Running) -> None:
        pod, before = event.pod, self._pods.get(event.pod.uid)
        tracked = Tracked(pod) if before is None else before
        fresh = before is None or (before.pod.started, before.pod.gpus) != (pod.started, pod.gpus)
        if before is not None:
            self.placement.remove(before)
            if fresh:
                self._drop_pending(before)
                before.watches = []
                before.granted = False
        tracked.pod = pod
        self._pods[pod.uid] = tracked
        self.placement.place(tracked)
        if pod.gpus:
            self.freed.back(pod.owner, event.at)
        self._watch(tracked)
        self._emergency.look(self.now)

    def _drop_pending(self, tracked: Tracked) -> None:
        self.node.leaving.pop(tracked.pod.uid, None)
        self.node.asked.discard(tracked.pod.uid)
        for key in [key for key, pending in self._pending.items() if pending[0] is tracked]:
            del self._pending[key]
        for watch in tracked.watches:
            watch.due = None
            self._dirty.pop(watch, None)

    def _gone(self, event: Gone) -> None:
        tracked = self._pods.pop(event.uid, None)
        if tracked is None:
            return
        policy = self.node.leaving.get(event.uid)
        if tracked.removed_for is RuleName.IDLE and policy is not None:
            self.freed.gone(policy, tracked.pod.owner, len(tracked.pod.gpus), event.at)
        self.placement.remove(tracked)
        self._drop_pending(tracked)
        self._emergency.look(self.now)
        self._wake()

    def _watch(self, tracked: Tracked) -> None:
        """Give a pod the rules that govern it now."""
        pod = tracked.pod
        tracked.policies = tuple(policy for policy in self._policies if governs(policy, pod, self._labels))
        kept = {(watch.policy.name, watch.rule): watch for watch in tracked.watches}
        tracked.watches = []
        for governed in winners(tracked.policies):
            old = kept.pop((governed.policy.name, governed.spec.rule), None)
            watch = old if old is not None and old.policy.same(governed.policy) else self._new(tracked, governed)
            watch.policy, watch.overruled, watch.ladder.takes = governed.policy, governed.overruled, pod.takes
            tracked.watches.append(watch)
            self._dirty[watch] = None
        for watch in kept.values():
            watch.due = None
            self._dirty.pop(watch, None)
        tracked.routes = {}
        for watch in tracked.watches:
            for channel in watch.policy.rules[watch.rule].reads:
                tracked.routes.setdefault(channel, []).append(watch)
        self._check_limits(tracked)

    def _new(self, tracked: Tracked, governed: Governed) -> Watch:
        policy, rule = governed.policy, governed.spec.rule
        terms = Terms(
            policy.ladders[rule],
            policy.strategies[rule],
            policy.clear,
            policy.mode is PolicyMode.ENFORCE,
            policy.budget.offline_terminate,
            tracked.pod.takes,
        )
        validator = governed.spec.watch(tracked.pod, policy.margin)
        return Watch(self.node, tracked, policy, rule, validator, Ladder(terms))

    def _device(self, event: Device) -> None:
        self.placement.device(event)
        for tracked in self.placement.on(event.gpu).values():
            self._check_limits(tracked)

    def _check_limits(self, tracked: Tracked) -> None:
        """A memory limit that the pod's devices cannot reach is told once."""
        total = self.placement.total(tracked.pod)
        for watch in tracked.watches if total is not None else ():
            spec = watch.policy.rules[watch.rule]
            if isinstance(spec, MemorySpec) and total is not None and spec.limit > total and not watch.flagged:
                watch.flagged = True
                evidence = (("limit", spec.limit), ("devices", total))
                self._out.append(flag(self.now, Hold.LIMIT_ABOVE_DEVICE, evidence, watch))

    # Samples.

    def _feed(self, tracked: Tracked, channel: Channel, event: Event) -> None:
        for watch in tracked.routes.get(channel, ()):
            watch.validator.take(event)
            self._dirty[watch] = None

    def _processes(self, event: Processes) -> None:
        for uid, held in self.placement.shares(event):
            if uid in self._pods:
                self._feed(self._pods[uid], Held, held)

    def _device_memory(self, event: DeviceMemory) -> None:
        for uid, held in self.placement.alone(event):
            self._feed(self._pods[uid], Held, held)

    def _device_sample(self, event: Utilization | Health | Xid) -> None:
        for tracked in self.placement.on(event.gpu).values():
            self._feed(tracked, type(event), event)

    def _report(self, event: Report) -> None:
        if event.uid in self._pods:
            self._feed(self._pods[event.uid], event.metric, event)

    def _pod_sample(self, event: Latencies | Run) -> None:
        if event.uid in self._pods:
            self._feed(self._pods[event.uid], type(event), event)

    # What became of decisions.

    def _acknowledged(self, event: Acknowledged) -> None:
        tracked, watch, action = self._pending.get(event.decision, (None, None, None))
        if tracked is None or watch is None or watch.current != event.decision or action in REMOVES:
            return
        move = watch.ladder.answer(event.answer, self.now)
        if move is not None:
            evidence = (("answer", str(event.answer)),)
            self._out.append(decision(watch, move, self.now, watch.current, evidence))
            del self._pending[event.decision]
            self._dirty[watch] = None

    def _ended(self, event: Ended) -> None:
        tracked, watch, action = self._pending.get(event.decision, (None, None, None))
        if tracked is None or action not in REMOVES:
            return
        uid = tracked.pod.uid
        self.node.asked.discard(uid)
        if event.outcome is Outcome.DONE:
            del self._pending[event.decision]
            if watch is not None:
                self.node.breaker.count(self.now)
                self.node.hard(tracked.pod.owner, self.now)
            tracked.granted = tracked.granted or action is LadderAction.EVICT
        else:
            self.node.leaving.pop(uid, None)
        if watch is not None and watch.current == event.decision:
            move = watch.ladder.ended(event.outcome, self.now)
            if move is not None:
                self._out.append(decision(watch, move, self.now, event.decision))
            self._dirty[watch] = None
        self._wake()

    def _taken(self, event: Taken) -> None:
        tracked = self._pods.get(event.uid)
        if tracked is not None:
            tracked.taken[event.action] = max(event.at, tracked.taken.get(event.action, 0))
        if event.action in HARD:
            self.node.hard(event.owner, event.at)

    def _device_taken(self, event: DeviceTaken) -> None:
        if event.action in (DENY, ALLOW):
            self._emergency.taken(event)
        else:
            self._settings.taken(event)

    def _online(self, event: Online) -> None:
        self.node.online = event.online
        self._wake()

    def _unlatch(self, event: Unlatch) -> None:
        self.node.unlatch(event.owner)
        self._wake()

    def _wake(self) -> None:
        for watch in self.watches:
            if watch.ladder.hold in _WAITS:
                self._dirty[watch] = None

    # Decisions.

    def _judge(self, watch: Watch) -> None:
        now, ladder = self.now, watch.ladder
        verdict = watch.verdict = watch.validator.judge(now)
        began = ladder.began
        if began is not None or verdict.state is State.BROKEN:
            for move in ladder.judge(verdict, now, watch):
                self._carry(watch, move, watch.key(ladder.began if began is None else began, move.rung))
        due, change = ladder.due, watch.validator.due()
        if change is not None and change > now and (due is None or change < due):
            due = change
        if due != watch.due:
            self._schedule.put(watch, due)

    def _carry(self, watch: Watch, move: Move, key: str) -> None:
        """Record a move, and note what is begun."""
        made = decision(watch, move, self.now, key)
        self._out.append(made)
        tracked, action = watch.tracked, move.action
        if move.step not in (Step.STARTED, Step.RETRIED):
            if move.step in _OVER and tracked.pod.uid not in self.node.leaving:
                self._pending.pop(key, None)
            return
        if action is None or watch.policy.mode is not PolicyMode.ENFORCE:
            return
        tracked.taken[action] = self.now
        if made.effect is Effect.ACT:
            self._pending[key] = (tracked, watch, action)
        if action in REMOVES:
            self.node.leaving[tracked.pod.uid] = watch.policy.name
            self.node.asked.add(tracked.pod.uid)
            tracked.removed_for = watch.rule
        elif action in HARD:
            self.node.hard(tracked.pod.owner, self.now)

    def _emergency_step(self) -> None:
        if self._emergency.due is None or self._emergency.due > self.now:
            return
        for made in self._emergency.judge(self._pods, self.placement.holders, self.now):
            self._out.append(made)
            tracked = self._pods.get(made.uid)
            if tracked is not None and made.effect is Effect.ACT:
                tracked.taken[LadderAction.TERMINATE] = self.now
                self._pending[made.id] = (tracked, None, LadderAction.TERMINATE)
                self.node.leaving[made.uid] = made.policy

    def _stop(self, event: Stop) -> None:
        self._emergency.order(event)
        self._emergency.look(self.now)

    def _limits(self, event: Limits) -> None:
        pods = self.placement.on(event.gpu).values()
        policies = {policy.name: policy for tracked in pods for policy in tracked.policies}
        for setting, mode in self._settings.judge(tuple(policies.values()), event, self.now):
            self._out.append(device_decision(event.gpu, setting, mode, self.now))

    def pods(self) -> list[Pod]:
        """The pods on the node."""
        return [tracked.pod for tracked in self._pods.values()]
