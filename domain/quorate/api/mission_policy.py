"""MissionPolicy: what GPU workloads promise, and what follows when they do not keep it (api.md, gpu.md)."""

from enum import StrEnum
from typing import Annotated, ClassVar

from quorate.api.resource import AGE, READY, REASON, Column, Resource, Status
from quorate.api.schema import (
    BasisPoints,
    ClauseId,
    Count,
    Labels,
    Model,
    Number,
    Period,
    Quantity,
    ResourceName,
    Rule,
    Seconds,
    Time,
    list_of,
    some,
    text,
    within,
)


class PolicyMode(StrEnum):
    """What a violation leads to."""

    AUDIT = "Audit"
    WARN = "Warn"
    ENFORCE = "Enforce"


class MemoryScope(StrEnum):
    """Whose memory is summed."""

    CONTAINER = "Container"
    POD = "Pod"


class Selector(Model):
    """Selects objects by label."""

    match_labels: Labels | None = None
    """Labels that must be present with these values."""


class ClauseReference(Model):
    """The clause of a contract that the policy implements."""

    contract: ResourceName
    """Name of the DynamicContract."""
    clause: ClauseId
    """Id of the clause."""


class MemoryRule(Model):
    """GPU memory."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.warnBasisPoints) || !has(self.cleanupBasisPoints) || "
            "self.warnBasisPoints <= self.cleanupBasisPoints",
            "warnBasisPoints must not exceed cleanupBasisPoints",
            "warnBasisPoints %d must not exceed cleanupBasisPoints %d",
            ("self.warnBasisPoints", "self.cleanupBasisPoints"),
        ),
    )

    limit: Quantity
    """Most GPU memory that may be in use."""
    warn_basis_points: BasisPoints | None = None
    """Share of the limit at which the workload is warned."""
    cleanup_basis_points: BasisPoints | None = None
    """Share of the limit at which it is asked to clean up."""
    scope: MemoryScope | None = None
    """Whose memory is summed; absent: Pod."""


class Statistic(StrEnum):
    """How a window is summarised."""

    MEAN = "Mean"
    MAX = "Max"
    P50 = "P50"
    P95 = "P95"


class UtilizationRule(Model):
    """GPU utilisation."""

    min_basis_points: BasisPoints
    """Lowest utilisation."""
    statistic: Statistic | None = None
    """How the window is summarised; absent: Mean."""
    window_seconds: Period
    """Length of the window."""
    grace_seconds: Seconds | None = None
    """Time after the start in which nothing is demanded."""


class LatencyRule(Model):
    """Latency of the workload's requests."""

    target_microseconds: Annotated[int, within(1, 3_600_000_000)]
    """Highest latency."""
    quantile: Annotated[int, within(1, 10_000)]
    """Quantile in basis points: 9900 is the 99th percentile."""
    window_seconds: Period
    """Length of the window."""
    source: Annotated[str, text(253, minimum=1)] | None = None
    """Metric that is read."""


class ConvergenceRule(Model):
    """Progress of a training."""

    metric: Annotated[str, text(253, minimum=1)]
    """Metric that must improve."""
    min_improvement_basis_points: BasisPoints
    """Least improvement per window."""
    window_seconds: Period
    """Length of the window."""


class EntropyRule(Model):
    """Entropy of a generator's output, in thousandths of a bit."""

    min_millibits: Annotated[int, within(0, 64_000)]
    """Lowest entropy per symbol."""
    window_seconds: Period
    """Length of the window."""


class UptimeRule(Model):
    """Availability of a service."""

    min_basis_points: BasisPoints
    """Lowest share of time up."""
    window_seconds: Period
    """Length of the window."""


class PrivacyBudget(Model):
    """Differential privacy: epsilon in millionths, delta in 10⁻¹²."""

    epsilon_millionths: Annotated[int, within(1, 1_000_000_000)]
    """Most epsilon that may be spent."""
    delta_trillionths: Annotated[int, within(0, 1_000_000_000_000)] | None = None
    """Most delta that may be spent."""
    window_seconds: Period | None = None
    """Length of the window after which the budget is new; absent: never."""


class LadderAction(StrEnum):
    """What is done about a violation, from mild to hard."""

    WARN = "Warn"
    CLEANUP = "Cleanup"
    THROTTLE = "Throttle"
    CHECKPOINT = "Checkpoint"
    PAUSE = "Pause"
    EVICT = "Evict"
    TERMINATE = "Terminate"


class Step(Model):
    """One step of the escalation."""

    action: LadderAction
    """What is done."""
    after_seconds: Seconds
    """How long after the violation began."""
    acknowledge_seconds: Seconds | None = None
    """How long the workload has to answer before the next step."""


class Budget(Model):
    """What enforcement may cost at once."""

    max_concurrent_evictions: Annotated[int, within(0, 1000)] | None = None
    """Evictions at one time."""
    respect_disruption_budgets: bool | None = None
    """Honour PodDisruptionBudgets; absent: true."""
    offline_terminate: bool | None = None
    """The agent may terminate while the API server cannot be reached."""


class PowerRule(Model):
    """Power and clock of the devices."""

    limit_watts: Annotated[int, within(1, 10_000)] | None = None
    """Power limit per device."""
    max_clock_m_hz: Annotated[int, within(1, 100_000)] | None = None
    """Highest clock."""


class MissionPolicySpec(Model):
    """Which pods, which rules, and what follows."""

    pod_selector: Selector | None = None
    """Pods by label; absent: all."""
    namespace_selector: Selector | None = None
    """Namespaces by label; absent: all."""
    node_selector: Selector | None = None
    """Nodes by label; absent: all."""
    mission_type: Annotated[str, text(63, minimum=1)] | None = None
    """Kind of mission that the pods declare."""
    clause_ref: ClauseReference | None = None
    """The clause that the policy implements."""
    mode: PolicyMode
    """What a violation leads to."""
    memory: MemoryRule | None = None
    """GPU memory."""
    utilization: UtilizationRule | None = None
    """GPU utilisation."""
    latency: LatencyRule | None = None
    """Request latency."""
    convergence: ConvergenceRule | None = None
    """Training progress."""
    entropy: EntropyRule | None = None
    """Output entropy."""
    uptime: UptimeRule | None = None
    """Availability."""
    runtime_limit_seconds: Period | None = None
    """Longest run."""
    privacy_budget: PrivacyBudget | None = None
    """Differential privacy."""
    ladder: Annotated[list[Step], some(16)] | None = None
    """The escalation, mild to hard."""
    budget: Budget | None = None
    """What enforcement may cost."""
    power: PowerRule | None = None
    """Power and clock."""
    emergency_stop: bool | None = None
    """Stop all governed pods now."""


class RuleViolations(Model):
    """Violations of one rule."""

    rule: Annotated[str, text(63)]
    """The rule."""
    count: Count
    """Pods that violate it now."""


class LastAction(Model):
    """An action that was taken."""

    pod: Annotated[str, text(320)]
    """`namespace/name` of the pod."""
    action: Annotated[str, text(63)]
    """What was done."""
    at: Time
    """When."""
    value: Number | None = None
    """The measured value."""


class MissionPolicyStatus(Status):
    """The state of the fleet under this policy, at most every 30 s."""

    nodes: Count | None = None
    """Nodes that are covered."""
    pods: Count | None = None
    """Pods that are governed."""
    violations: Annotated[list[RuleViolations], list_of(16, kind="map", keys=("rule",))] | None = None
    """Violations by rule."""
    last_actions: Annotated[list[LastAction], some(16)] | None = None
    """The last actions, newest first."""


class MissionPolicy(Resource):
    """Rules for GPU workloads and the escalation that follows a violation."""

    plural: ClassVar[str] = "missionpolicies"
    short_name: ClassVar[str] = "mp"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("Mode", ".spec.mode"),
        Column("Nodes", ".status.nodes", "integer"),
        Column("Pods", ".status.pods", "integer"),
        READY,
        REASON,
        AGE,
    )
    conditions: ClassVar[dict[str, str]] = {
        "Ready": "every node that the policy covers enforces it",
    }

    spec: MissionPolicySpec
    """Which pods, which rules, and what follows."""
    status: MissionPolicyStatus | None = None
    """The state of the fleet."""
