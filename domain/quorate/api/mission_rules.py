"""The rules that a MissionPolicy can hold (api.md; what each one means: docs/missions.md)."""

from enum import StrEnum
from typing import Annotated, ClassVar

from quorate.api.schema import BasisPoints, Labels, Model, Period, Quantity, Rule, Seconds, list_of, text, within


class RuleName(StrEnum):
    """The rules of a policy; a rule's name is its field's (docs/missions.md)."""

    MEMORY = "memory"
    HOST_MEMORY = "hostMemory"
    UTILIZATION = "utilization"
    LATENCY = "latency"
    CONVERGENCE = "convergence"
    ENTROPY = "entropy"
    UPTIME = "uptime"
    RUNTIME = "runtimeLimitSeconds"
    PRIVACY_BUDGET = "privacyBudget"
    REPRODUCIBILITY = "reproducibility"
    HEALTH = "health"
    IDLE = "idle"
    POWER = "power"
    EMERGENCY_STOP = "emergencyStop"


class Selector(Model):
    """Selects objects by label."""

    match_labels: Labels | None = None
    """Labels that must be present with these values."""


class MemoryScope(StrEnum):
    """Whose memory is summed."""

    CONTAINER = "Container"
    POD = "Pod"


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


class HostMemoryRule(Model):
    """Host memory of the pod."""

    limit: Quantity
    """Most host memory that may be in use."""


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


class Direction(StrEnum):
    """Which values of a metric are better."""

    MINIMIZE = "Minimize"
    MAXIMIZE = "Maximize"


class ConvergenceRule(Model):
    """Progress of a training or search."""

    metric: Annotated[str, text(253, minimum=1)]
    """Metric that must improve."""
    direction: Direction | None = None
    """Which values are better; absent: Minimize."""
    min_improvement_basis_points: BasisPoints
    """Least improvement per window, as a share of the value at its beginning."""
    window_seconds: Period
    """Length of the window."""
    target_millionths: Annotated[int, within(-(2**53) + 1, 2**53 - 1)] | None = None
    """Value in millionths at which the objective is reached: from then on nothing more is demanded."""
    max_iterations: Annotated[int, within(1, 2**53 - 1)] | None = None
    """Iterations after which the objective must be reached."""


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


class ReproducibilityRule(Model):
    """Runs with the same inputs and seed must have the same result."""

    runs: Annotated[int, within(2, 64)] | None = None
    """Runs of the same inputs that are compared; absent: 2."""


class HealthRule(Model):
    """Health of the devices: XID errors, ECC, row remapping, temperature."""

    ignored_xids: Annotated[list[Annotated[int, within(1, 1000)]], list_of(64, kind="set")] | None = None
    """XID codes that are the workload's own errors; absent: 13, 31, 43, 45, 68."""
    max_celsius: Annotated[int, within(1, 150)] | None = None
    """Highest temperature; absent: only the device's own slowdown counts."""


class IdleRule(Model):
    """Reclaim of devices that are held and not used."""

    max_basis_points: BasisPoints | None = None
    """Utilisation up to which a device is idle; absent: 0."""
    window_seconds: Period
    """How long every device of the pod must have been idle."""
    grace_seconds: Seconds | None = None
    """Time from the warning to the eviction; absent: 300."""
    exempt: Selector | None = None
    """Pods that are never reclaimed."""
