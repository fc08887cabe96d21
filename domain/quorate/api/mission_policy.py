"""MissionPolicy: what GPU workloads promise, and what follows when they do not keep it (api.md, gpu.md)."""

from enum import StrEnum
from typing import Annotated, ClassVar

from quorate.api.mission_rules import (
    ConvergenceRule,
    EntropyRule,
    HealthRule,
    HostMemoryRule,
    IdleRule,
    LatencyRule,
    MemoryRule,
    PrivacyBudget,
    ReproducibilityRule,
    RuleName,
    Selector,
    UptimeRule,
    UtilizationRule,
)
from quorate.api.resource import AGE, READY, REASON, Column, Resource, Status
from quorate.api.schema import (
    BasisPoints,
    ClauseId,
    Count,
    Digest,
    Model,
    Number,
    Period,
    ResourceName,
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


class ClauseReference(Model):
    """The clause of a contract that the policy implements."""

    contract: ResourceName
    """Name of the DynamicContract."""
    clause: ClauseId
    """Id of the clause."""


class Strategy(StrEnum):
    """How a workload is brought back (docs/missions.md, "Recovery")."""

    RESTART_FROM_CHECKPOINT = "RestartFromCheckpoint"
    REDUCE_COMPLEXITY = "ReduceComplexity"
    FREE_RESOURCES = "FreeResources"
    ROLL_BACK = "RollBack"
    FAIL_OVER = "FailOver"


class Recovery(Model):
    """The strategy for one rule."""

    rule: RuleName
    """The rule that is violated."""
    strategy: Strategy
    """What the step Recover does about it."""


class Hysteresis(Model):
    """When a violation is over."""

    margin_basis_points: BasisPoints | None = None
    """How far on the good side of the limit the value must be, as a share of the limit; absent: 500."""
    clear_seconds: Seconds | None = None
    """How long it must stay there, without a gap; absent: 10."""


class LadderAction(StrEnum):
    """What is done about a violation, from mild to hard."""

    WARN = "Warn"
    FREE_MEMORY = "FreeMemory"
    REDUCE_PRECISION = "ReducePrecision"
    REDUCE_BATCH = "ReduceBatch"
    DISABLE_OPTIONAL = "DisableOptional"
    CHECKPOINT = "Checkpoint"
    ROLL_BACK = "RollBack"
    RECOVER = "Recover"
    CHECKPOINT_AND_ABORT = "CheckpointAndAbort"
    EVICT = "Evict"
    TERMINATE = "Terminate"


class Step(Model):
    """One step of the escalation."""

    action: LadderAction
    """What is done."""
    after_seconds: Seconds
    """How long after the violation began."""
    acknowledge_seconds: Seconds | None = None
    """How long the workload has to answer before the next step; absent: 30."""


class Budget(Model):
    """What enforcement may cost at once."""

    max_concurrent_evictions: Annotated[int, within(0, 1000)] | None = None
    """Evictions at one time; absent: 1."""
    max_node_evictions_per_hour: Annotated[int, within(0, 1000)] | None = None
    """Evictions and terminations on one node within an hour; absent: 6."""
    max_fleet_evictions_per_hour: Annotated[int, within(0, 100_000)] | None = None
    """Evictions in the whole fleet within an hour; absent: 60."""
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
    host_memory: HostMemoryRule | None = None
    """Host memory."""
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
    reproducibility: ReproducibilityRule | None = None
    """Same inputs, same result."""
    health: HealthRule | None = None
    """Health of the devices."""
    idle: IdleRule | None = None
    """Reclaim of idle devices."""
    ladder: Annotated[list[Step], some(16)] | None = None
    """The escalation, mild to hard."""
    recovery: Annotated[list[Recovery], list_of(16, kind="map", keys=("rule",))] | None = None
    """Strategies that differ from the usual ones."""
    hysteresis: Hysteresis | None = None
    """When a violation is over."""
    cooldown_seconds: Seconds | None = None
    """Time after an action on a pod in which it is not done again; absent: 300."""
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


class AcceptedPolicy(Model):
    """The spec that agents are given: the last one that was accepted."""

    digest: Digest
    """Of the policy as the distributed document holds it: name, contract version and spec."""
    version: Annotated[str, text(18)]
    """Version of the contract that it implements; empty without clauseRef."""
    since: Time
    """When it was accepted."""


class Overlap(Model):
    """Another policy that can govern the same pods."""

    policy: ResourceName
    """Its name."""
    rule: Annotated[str, text(63)]
    """The rule that both hold."""
    wins: bool
    """This policy wins the rule over the other, on every pod that both govern."""
    contradiction: bool
    """No workload can keep both."""


class MissionPolicyStatus(Status):
    """The state of the fleet under this policy, at most every 30 s."""

    accepted: AcceptedPolicy | None = None
    """What agents are given."""
    overlaps: Annotated[list[Overlap], some(32)] | None = None
    """Policies that it meets on a pod: contradictions first, then those that it loses to."""
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
        "Ready": "the policy is accepted, and in the signed document that the agents of its nodes read",
        "Accepted": "the live spec can be judged, and the clause that it implements is in force",
        "Distributed": "the signed document holds the accepted spec",
        "Overlaps": "another policy can govern the same pods; the message says which one wins",
    }

    spec: MissionPolicySpec
    """Which pods, which rules, and what follows."""
    status: MissionPolicyStatus | None = None
    """The state of the fleet."""
