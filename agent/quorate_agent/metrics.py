"""The agent's own metrics: base units, prefix `quorate_agent_`, never a pid as a label (docs/agent.md, "Metrics")."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from quorate.missions.decisions import Decision, Effect, Step
from quorate.missions.engine import Engine
from quorate.missions.samples import DeviceMemory, Event, Missing, Utilization
from quorate.missions.verdict import State
from quorate_agent.ports import Done
from quorate_agent.workers import Answer

_REACTIONS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0)
_CALLS = (0.0001, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 45.0)


class Metrics:
    """One registry, filled by the loop."""

    def __init__(self, node: str) -> None:
        self.registry = registry = CollectorRegistry()
        self._node = node
        name = "quorate_agent_"
        gpu = ("gpu_uuid", "node")
        self.memory = Gauge(f"{name}gpu_memory_used_bytes", "Memory in use on a device.", gpu, registry=registry)
        self.load = Gauge(f"{name}gpu_utilization_ratio", "Utilisation, 0 to 1.", gpu, registry=registry)
        self.unattributed = Gauge(
            f"{name}gpu_memory_unattributed_bytes", "Memory of processes that are no known pod's.", gpu,
            registry=registry,
        )  # fmt: skip
        self.hanging = Gauge(f"{name}gpus_hanging", "Devices that do not answer.", ("node",), registry=registry)
        self.decisions = Counter(
            f"{name}decisions_total", "Decisions.", ("node", "policy", "rule", "action", "step", "mode"),
            registry=registry,
        )  # fmt: skip
        self.outcomes = Counter(
            f"{name}actions_total", "Actions by how they ended.", ("node", "action", "outcome"), registry=registry
        )
        self.reaction = Histogram(
            f"{name}reaction_seconds", "From the moment at which an action was due to its decision.",
            ("node", "rule"), buckets=_REACTIONS, registry=registry,
        )  # fmt: skip
        self.calls = Histogram(
            f"{name}backend_call_seconds", "Duration of calls to the driver.", ("node", "call"), buckets=_CALLS,
            registry=registry,
        )  # fmt: skip
        self.missing = Counter(
            f"{name}readings_missing_total", "Readings that were not to be had.", ("gpu_uuid", "node", "reason"),
            registry=registry,
        )  # fmt: skip
        self.broken = Gauge(
            f"{name}violations", "Rules of pods that are broken now.", ("node", "policy", "rule"), registry=registry
        )
        self.unknown = Gauge(
            f"{name}rules_unknown", "Rules of pods that are unknown now.", ("node",), registry=registry
        )
        self.pods = Gauge(f"{name}pods", "Pods with a rule.", ("node",), registry=registry)
        self.online = Gauge(f"{name}online", "1 while the operator takes entries.", ("node",), registry=registry)
        self.offline = Counter(
            f"{name}offline_seconds_total", "Time without an operator.", ("node",), registry=registry
        )
        self.spool = Gauge(f"{name}spool_entries", "Entries not handed in.", ("node",), registry=registry)
        self.dropped = Gauge(f"{name}spool_dropped", "Records without room in the spool.", ("node",), registry=registry)
        self.failures = Counter(
            f"{name}spool_failures_total", "Writes of the spool that failed.", ("node",), registry=registry
        )
        self.serial = Gauge(f"{name}policies_serial", "Serial of the policies in force.", ("node",), registry=registry)
        self.refused = Gauge(
            f"{name}policies_refused", "Documents of policies that were refused.", ("node", "field"), registry=registry
        )
        self._calls: dict[str, Histogram] = {}
        self._memory: dict[tuple[str, str], Gauge] = {}

    def answered(self, answers: Iterable[Answer]) -> None:
        """How long calls took."""
        for answer in answers:
            call = self._calls.get(answer.kind)
            if call is None:
                call = self._calls[answer.kind] = self.calls.labels(self._node, answer.kind)
            call.observe((answer.at - answer.began) / 1_000_000)

    def sampled(self, events: Iterable[Event]) -> None:
        """The last readings of devices."""
        for event in events:
            if isinstance(event, DeviceMemory):
                self._gauge("memory", event.gpu, event.used)
            elif isinstance(event, Utilization):
                self._gauge("load", event.gpu, event.value)

    def _gauge(self, name: str, gpu: str, value: int | Missing) -> None:
        if isinstance(value, Missing):
            self.missing.labels(gpu, self._node, value).inc()
            return
        child = self._memory.get((name, gpu))
        if child is None:
            gauge = self.memory if name == "memory" else self.load
            child = self._memory[name, gpu] = gauge.labels(gpu, self._node)
        child.set(value if name == "memory" else value / 10_000)

    def decided(self, decision: Decision) -> None:
        """A decision was made."""
        rule = str(decision.rule or "")
        labels = (self._node, decision.policy, rule, decision.action, decision.step, decision.mode)
        self.decisions.labels(*labels).inc()
        if decision.effect is Effect.ACT and decision.step is Step.STARTED:
            self.reaction.labels(self._node, rule).observe(decision.reaction / 1_000_000)

    def ended(self, decision: Decision, done: Done) -> None:
        """An action ended."""
        self.outcomes.labels(self._node, decision.action, str(done.outcome or done.answer or "")).inc()

    def looked(self, engine: Engine) -> None:
        """What the rules say; called by the loop every few seconds."""
        counts: dict[tuple[str, str], int] = {}
        unknown = 0
        watches = engine.watches
        for watch in watches:
            state = watch.verdict.state if watch.verdict is not None else State.UNKNOWN
            key = (watch.policy.name, str(watch.rule))
            counts[key] = counts.get(key, 0) + (state is State.BROKEN)
            unknown += state is State.UNKNOWN
        self.broken.clear()
        for (policy, rule), count in counts.items():
            self.broken.labels(self._node, policy, rule).set(count)
        self.unknown.labels(self._node).set(unknown)
        self.pods.labels(self._node).set(len({watch.tracked.pod.uid for watch in watches}))
        for gpu, held in engine.placement.attribution.unattributed.items():
            self.unattributed.labels(gpu, self._node).set(held)
