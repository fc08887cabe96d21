"""From the rules of a spec to what judges them; windows, limits and quantiles that make no sense are refused."""

from collections.abc import Mapping

from quorate.api.mission_policy import MissionPolicySpec
from quorate.api.mission_rules import Direction, MemoryScope, RuleName, Statistic
from quorate.missions import latency as latencies
from quorate.missions.availability import RuntimeSpec, UptimeSpec
from quorate.missions.health import APPLICATION_XIDS, HealthSpec
from quorate.missions.memory import HostMemorySpec, MemorySpec
from quorate.missions.periods import PERIODS
from quorate.missions.privacy import PrivacySpec
from quorate.missions.progress import ConvergenceSpec, EntropySpec
from quorate.missions.quantity import bytes_of
from quorate.missions.refusal import PolicyRefusedError
from quorate.missions.reproducibility import ReproducibilitySpec
from quorate.missions.series import SECOND
from quorate.missions.usage import IdleSpec, UtilizationSpec
from quorate.missions.verdict import RuleSpec


def rules_of(model: MissionPolicySpec) -> Mapping[RuleName, RuleSpec]:
    """The specs by name, in the order of the rules.

    Raises:
        PolicyRefusedError: names field, value and rule.
    """
    found: list[RuleSpec | None] = [
        _memory(model),
        _host_memory(model),
        _utilization(model),
        _latency(model),
        _convergence(model),
        _entropy(model),
        _uptime(model),
        None if model.runtime_limit_seconds is None else RuntimeSpec(model.runtime_limit_seconds * SECOND),
        _privacy(model),
        None if model.reproducibility is None else ReproducibilitySpec(model.reproducibility.runs or 2),
        _health(model),
        _idle(model),
    ]
    return {spec.rule: spec for spec in found if spec is not None}


def _window(name: RuleName, seconds: int) -> int:
    """Microseconds of a window."""
    period = PERIODS[name]
    if seconds * SECOND < 2 * period:
        rule = f"a window must be at least twice the sample period of {period // SECOND} s"
        raise PolicyRefusedError(f"spec.{name}.windowSeconds", seconds, rule)
    return seconds * SECOND


def _limit(field: str, quantity: int | str) -> int:
    """Bytes of a limit."""
    number = bytes_of(quantity)
    if number <= 0:
        raise PolicyRefusedError(f"spec.{field}.limit", quantity, "a limit must be more than 0 bytes")
    return number


def _memory(model: MissionPolicySpec) -> RuleSpec | None:
    rule = model.memory
    if rule is None:
        return None
    warn, cleanup = rule.warn_basis_points, rule.cleanup_basis_points
    if warn is not None and cleanup is not None and warn > cleanup:
        raise PolicyRefusedError("spec.memory.warnBasisPoints", warn, f"must not exceed cleanupBasisPoints {cleanup}")
    return MemorySpec(_limit("memory", rule.limit), warn, cleanup, rule.scope or MemoryScope.POD)


def _host_memory(model: MissionPolicySpec) -> RuleSpec | None:
    rule = model.host_memory
    return None if rule is None else HostMemorySpec(_limit("hostMemory", rule.limit))


def _utilization(model: MissionPolicySpec) -> RuleSpec | None:
    rule = model.utilization
    if rule is None:
        return None
    window = _window(RuleName.UTILIZATION, rule.window_seconds)
    if rule.min_basis_points == 0:
        raise PolicyRefusedError("spec.utilization.minBasisPoints", 0, "a floor of 0 demands nothing")
    return UtilizationSpec(
        rule.min_basis_points, rule.statistic or Statistic.MEAN, window, (rule.grace_seconds or 0) * SECOND
    )


def _latency(model: MissionPolicySpec) -> RuleSpec | None:
    rule = model.latency
    if rule is None:
        return None
    if rule.quantile >= 10_000 or latencies.requests_needed(rule.quantile) > latencies.MOST_REQUESTS:
        raise PolicyRefusedError("spec.latency.quantile", rule.quantile, "a quantile must be 1 to 9999 basis points")
    window = _window(RuleName.LATENCY, rule.window_seconds)
    return latencies.LatencySpec(rule.target_microseconds, rule.quantile, window, rule.source or "")


def _convergence(model: MissionPolicySpec) -> RuleSpec | None:
    rule = model.convergence
    if rule is None:
        return None
    if rule.max_iterations is not None and rule.target_millionths is None:
        sentence = "says nothing without targetMillionths: reached is what is demanded within so many iterations"
        raise PolicyRefusedError("spec.convergence.maxIterations", rule.max_iterations, sentence)
    return ConvergenceSpec(
        rule.metric,
        rule.direction or Direction.MINIMIZE,
        rule.min_improvement_basis_points,
        _window(RuleName.CONVERGENCE, rule.window_seconds),
        rule.target_millionths,
        rule.max_iterations,
    )


def _entropy(model: MissionPolicySpec) -> RuleSpec | None:
    rule = model.entropy
    return None if rule is None else EntropySpec(rule.min_millibits, _window(RuleName.ENTROPY, rule.window_seconds))


def _uptime(model: MissionPolicySpec) -> RuleSpec | None:
    rule = model.uptime
    return None if rule is None else UptimeSpec(rule.min_basis_points, _window(RuleName.UPTIME, rule.window_seconds))


def _privacy(model: MissionPolicySpec) -> RuleSpec | None:
    rule = model.privacy_budget
    if rule is None:
        return None
    window = None if rule.window_seconds is None else _window(RuleName.PRIVACY_BUDGET, rule.window_seconds)
    return PrivacySpec(rule.epsilon_millionths, rule.delta_trillionths, window)


def _health(model: MissionPolicySpec) -> RuleSpec | None:
    rule = model.health
    if rule is None:
        return None
    ignored = APPLICATION_XIDS if rule.ignored_xids is None else frozenset(rule.ignored_xids)
    return HealthSpec(ignored, rule.max_celsius)


def _idle(model: MissionPolicySpec) -> RuleSpec | None:
    rule = model.idle
    if rule is None:
        return None
    window = _window(RuleName.IDLE, rule.window_seconds)
    grace = 300 if rule.grace_seconds is None else rule.grace_seconds
    exempt = None if rule.exempt is None else dict(rule.exempt.match_labels or {})
    return IdleSpec(rule.max_basis_points or 0, window, grace * SECOND, exempt)
