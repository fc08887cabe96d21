"""From the steps of a spec to rungs, and which ladders are refused (docs/missions.md, "The ladder")."""

from collections.abc import Sequence
from itertools import pairwise

from quorate.api.mission_policy import LadderAction, MissionPolicySpec, PolicyMode, Step
from quorate.api.mission_rules import IdleRule, RuleName
from quorate.missions.ladder import ASKED, HARDNESS, Rung
from quorate.missions.refusal import PolicyRefusedError
from quorate.missions.series import SECOND

ACKNOWLEDGE = 30
IDLE_GRACE = 300
IDLE_TERMINATE = 600
"""Seconds after the eviction could not be asked for."""


def rungs_of(steps: Sequence[Step]) -> tuple[Rung, ...]:
    """The rungs, with the usual time to answer where none is given."""
    return tuple(Rung(step.action, step.after_seconds * SECOND, _answer(step)) for step in steps)


def _answer(step: Step) -> int:
    if step.action not in ASKED:
        return 0
    return SECOND * (ACKNOWLEDGE if step.acknowledge_seconds is None else step.acknowledge_seconds)


def idle_rungs(rule: IdleRule, offline_terminate: bool) -> tuple[Rung, ...]:
    """Warn, evict after the grace; terminate where nobody can be asked and the policy allows it."""
    grace = IDLE_GRACE if rule.grace_seconds is None else rule.grace_seconds
    rungs = [Rung(LadderAction.WARN, 0, 0), Rung(LadderAction.EVICT, grace * SECOND, 0)]
    if offline_terminate:
        rungs.append(Rung(LadderAction.TERMINATE, (grace + IDLE_TERMINATE) * SECOND, 0))
    return tuple(rungs)


def check_ladder(
    rungs: Sequence[Rung], model: MissionPolicySpec, respects: bool, *, judged: Sequence[RuleName]
) -> None:
    """Refuse a ladder that cannot be climbed as it is written.

    Raises:
        PolicyRefusedError: names field, value and rule.
    """
    field = "spec.ladder"
    if judged and not rungs and model.mode is PolicyMode.ENFORCE:
        raise PolicyRefusedError(field, "absent", f"mode Enforce needs a step for {', '.join(judged)}")
    for index, (lower, upper) in enumerate(pairwise(rungs), start=1):
        if upper.after < lower.after:
            seconds, before = upper.after // SECOND, lower.after // SECOND
            raise PolicyRefusedError(f"{field}[{index}].afterSeconds", seconds, f"the step before has {before}")
        if HARDNESS[upper.action] < HARDNESS[lower.action]:
            rule = f"steps go from mild to hard, {lower.action} is before it"
            raise PolicyRefusedError(f"{field}[{index}].action", upper.action, rule)
    actions = [rung.action for rung in rungs]
    for index, step in enumerate(model.ladder or []):
        if step.acknowledge_seconds is not None and step.action not in ASKED:
            rule = f"nobody acknowledges {step.action}"
            raise PolicyRefusedError(f"{field}[{index}].acknowledgeSeconds", step.acknowledge_seconds, rule)
    if LadderAction.TERMINATE in actions and LadderAction.EVICT not in actions and respects:
        rule = "needs Evict before it while disruption budgets are respected: it would circumvent them"
        raise PolicyRefusedError(f"{field}[{actions.index(LadderAction.TERMINATE)}].action", "Terminate", rule)
