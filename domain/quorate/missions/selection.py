"""Which policies govern a pod, which one wins each rule, and where policies meet (docs/missions.md, "Two policies")."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from quorate.api.mission_policy import PolicyMode
from quorate.api.mission_rules import RuleName
from quorate.missions.findings import Finding
from quorate.missions.meeting import contradictions, slowed, unasked
from quorate.missions.policies import OWN_LABELS, OWN_NAMESPACE, Policy
from quorate.missions.samples import Pod
from quorate.missions.types import TYPE_LABEL
from quorate.missions.verdict import RuleSpec

__all__ = ["Finding", "Governed", "can_meet", "findings", "governs", "winners"]


@dataclass(frozen=True, slots=True)
class Governed:
    """A rule of a pod, and the policy that won it in its mode; `overruled` names the others."""

    policy: Policy
    spec: RuleSpec
    overruled: tuple[str, ...] = ()


def governs(policy: Policy, pod: Pod, node_labels: Mapping[str, str]) -> bool:
    """Whether a policy is for a pod on a node; never for the operator and the agent themselves."""
    if pod.namespace == OWN_NAMESPACE or OWN_LABELS.items() <= pod.labels.items():
        return False
    return (
        policy.pod_labels.items() <= pod.labels.items()
        and policy.namespace_labels.items() <= pod.namespace_labels.items()
        and policy.node_labels.items() <= node_labels.items()
        and (policy.mission_type is None or pod.labels.get(TYPE_LABEL) == policy.mission_type)
    )


def winners(policies: Iterable[Policy]) -> list[Governed]:
    """Of the policies that govern a pod: one for each rule and mode, strictest bound first, then name."""
    claims: dict[tuple[PolicyMode, RuleName], list[Policy]] = {}
    for policy in policies:
        for rule in policy.rules:
            claims.setdefault((policy.mode, rule), []).append(policy)
    found = []
    for (_, rule), claimants in claims.items():
        first, *others = sorted(claimants, key=lambda policy: _order(policy, rule))
        found.append(Governed(first, first.rules[rule], tuple(policy.name for policy in others)))
    return found


def _order(policy: Policy, rule: RuleName) -> tuple[tuple[int, ...], str]:
    return policy.rules[rule].strictness, policy.name


def can_meet(one: Policy, other: Policy) -> bool:
    """Whether some pod can be governed by both: no label is asked to have two values."""
    if None not in (one.mission_type, other.mission_type) and one.mission_type != other.mission_type:
        return False
    pairs = (
        (one.pod_labels, other.pod_labels),
        (one.namespace_labels, other.namespace_labels),
        (one.node_labels, other.node_labels),
    )
    return all(ours.get(key, value) == value for ours, theirs in pairs for key, value in theirs.items())


def findings(policies: Sequence[Policy]) -> list[Finding]:
    """Every overlap and contradiction, within one policy too."""
    found = [finding for policy in policies for finding in contradictions(policy, policy)]
    for one, other in combinations(sorted(policies, key=lambda policy: policy.name), 2):
        if not can_meet(one, other):
            continue
        for pair in ((one, other), (other, one)):
            found += [*contradictions(*pair), *slowed(*pair)]
        if one.mode is other.mode:
            found += [_overlap(one, other, rule) for rule in one.rules if rule in other.rules]
    return found


def _overlap(one: Policy, other: Policy, rule: RuleName) -> Finding:
    first, second = sorted((one, other), key=lambda policy: _order(policy, rule))
    ours, theirs = first.rules[rule], second.rules[rule]
    why = "the names are compared, the bounds are equal" if ours.strictness == theirs.strictness else "it is stricter"
    message = f"spec.{rule}: {first.name} ({ours.bound}) wins over {second.name} ({theirs.bound}): {why}"
    message += unasked(ours, theirs)
    return Finding(rule, first.name, second.name, contradiction=False, message=message)
