"""MissionPolicies compiled: the form in which agent, operator and `mission test` judge (docs/missions.md)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from quorate.api.mission_policy import MissionPolicySpec, PolicyMode, Strategy
from quorate.api.mission_rules import RuleName
from quorate.missions.ladder import Rung
from quorate.missions.recovery import USUAL
from quorate.missions.refusal import PolicyRefusedError
from quorate.missions.rules import rules_of
from quorate.missions.series import SECOND
from quorate.missions.steps import check_ladder, idle_rungs, rungs_of
from quorate.missions.types import MISSION_TYPES
from quorate.missions.verdict import RuleSpec

OWN_LABELS: Mapping[str, str] = {"app.kubernetes.io/part-of": "quorate"}
"""Labels of the operator's and the agent's own pods."""
OWN_NAMESPACE = "quorate-system"
NAMESPACE_LABEL = "kubernetes.io/metadata.name"
MARGIN, CLEAR, COOL_DOWN = 500, 10, 300
NODE_PER_HOUR, FLEET_PER_HOUR = 6, 60


@dataclass(frozen=True, slots=True)
class Budget:
    """What enforcement may cost at once."""

    concurrent: int = 1
    node_per_hour: int = NODE_PER_HOUR
    fleet_per_hour: int = FLEET_PER_HOUR
    respects: bool = True
    """PodDisruptionBudgets are honoured."""
    offline_terminate: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """A policy that was accepted; times in microseconds.

    Attributes:
        clause: `contract#clause`, or empty; `version` is the contract's in force when it was compiled.
        rules: the specs by name; `ladders` the rungs of each.
        margin: basis points of the limit by which a value must be good, for `clear`.
        watts: power limit, None where none is wanted; `clock` in MHz.
        stop: all pods that it governs are stopped.
        source: the spec that was compiled.
    """

    name: str
    mode: PolicyMode
    clause: str
    version: str
    pod_labels: Mapping[str, str]
    namespace_labels: Mapping[str, str]
    node_labels: Mapping[str, str]
    mission_type: str | None
    rules: Mapping[RuleName, RuleSpec]
    ladders: Mapping[RuleName, tuple[Rung, ...]]
    strategies: Mapping[RuleName, Strategy]
    margin: int
    clear: int
    cooldown: int
    budget: Budget
    watts: int | None
    clock: int | None
    stop: bool
    source: Mapping[str, Any]

    def same(self, other: "Policy") -> bool:
        """Whether nothing that is judged differs."""
        return self is other or (self.name, self.version, self.source) == (other.name, other.version, other.source)


def compile_policy(name: str, spec: Mapping[str, Any], *, version: str = "") -> Policy:
    """A MissionPolicy's spec in the form in which it is judged.

    Args:
        name: of the MissionPolicy.
        spec: as in the object; a mission type's fields are added where it has none of its own.
        version: of the contract that `clauseRef` names.

    Raises:
        PolicyRefusedError: names field, value and rule.
    """
    typed = {**MISSION_TYPES.get(str(spec.get("missionType")), {}), **spec}
    model = _validated(typed)
    _check_selectors(model)
    rules = rules_of(model)
    _check_content(model, rules)
    budget = _budget(model)
    rungs = rungs_of(model.ladder or [])
    check_ladder(rungs, model, budget.respects, judged=[rule for rule in rules if rule is not RuleName.IDLE])
    hysteresis, reference = model.hysteresis, model.clause_ref
    margin = hysteresis.margin_basis_points if hysteresis else None
    clear = hysteresis.clear_seconds if hysteresis else None
    idle = model.idle
    return Policy(
        name=name,
        mode=model.mode,
        clause="" if reference is None else f"{reference.contract}#{reference.clause}",
        version=version,
        pod_labels=_labels(model.pod_selector),
        namespace_labels=_labels(model.namespace_selector),
        node_labels=_labels(model.node_selector),
        mission_type=model.mission_type,
        rules=rules,
        ladders={
            rule: idle_rungs(idle, budget.offline_terminate) if rule is RuleName.IDLE and idle else rungs
            for rule in rules
        },
        strategies={**USUAL, **{item.rule: item.strategy for item in model.recovery or []}},
        margin=MARGIN if margin is None else margin,
        clear=SECOND * (CLEAR if clear is None else clear),
        cooldown=SECOND * (COOL_DOWN if model.cooldown_seconds is None else model.cooldown_seconds),
        budget=budget,
        watts=model.power.limit_watts if model.power else None,
        clock=model.power.max_clock_m_hz if model.power else None,
        stop=bool(model.emergency_stop),
        source=dict(spec),
    )


def _validated(spec: Mapping[str, Any]) -> MissionPolicySpec:
    try:
        model = MissionPolicySpec.model_validate(spec, strict=False)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in ("spec", *first["loc"]))
        raise PolicyRefusedError(field, first.get("input"), first["msg"]) from error
    return model


def _labels(selector: Any) -> Mapping[str, str]:
    return dict(selector.match_labels or {}) if selector is not None else {}


def _check_selectors(model: MissionPolicySpec) -> None:
    """The agent must not act on itself or on the operator."""
    pods, spaces = _labels(model.pod_selector), _labels(model.namespace_selector)
    if pods and pods.items() <= OWN_LABELS.items():
        raise PolicyRefusedError("spec.podSelector.matchLabels", pods, "selects the operator and the agent themselves")
    if spaces.get(NAMESPACE_LABEL) == OWN_NAMESPACE or (spaces and spaces.items() <= OWN_LABELS.items()):
        raise PolicyRefusedError(
            "spec.namespaceSelector.matchLabels", spaces, "selects the namespace of the operator itself"
        )


def _check_content(model: MissionPolicySpec, rules: Mapping[RuleName, RuleSpec]) -> None:
    power = model.power is not None and (model.power.limit_watts or model.power.max_clock_m_hz)
    if not rules and not power and model.emergency_stop is None:
        if model.mission_type is not None:
            known = ", ".join(MISSION_TYPES)
            rule = f"is no built-in type ({known}), so the policy itself must hold its rules"
            raise PolicyRefusedError("spec.missionType", model.mission_type, rule)
        raise PolicyRefusedError("spec", "no rule", "a policy must hold a rule, power or emergencyStop")
    for item in model.recovery or []:
        if item.rule not in rules:
            raise PolicyRefusedError("spec.recovery.rule", item.rule, "the policy holds no such rule")


def _budget(model: MissionPolicySpec) -> Budget:
    given = model.budget
    if given is None:
        return Budget()
    usual = Budget()

    def chosen(value: int | None, absent: int) -> int:
        return absent if value is None else value

    return Budget(
        chosen(given.max_concurrent_evictions, usual.concurrent),
        chosen(given.max_node_evictions_per_hour, usual.node_per_hour),
        chosen(given.max_fleet_evictions_per_hour, usual.fleet_per_hour),
        given.respect_disruption_budgets is not False,
        bool(given.offline_terminate),
    )
