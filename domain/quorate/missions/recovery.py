"""Recovery strategies: which one for which rule, and what each becomes (docs/missions.md, "Recovery")."""

from collections.abc import Mapping
from typing import Final

from quorate.api.mission_policy import LadderAction, Strategy
from quorate.api.mission_rules import RuleName

USUAL: Final[Mapping[RuleName, Strategy]] = {
    RuleName.MEMORY: Strategy.FREE_RESOURCES,
    RuleName.HOST_MEMORY: Strategy.FREE_RESOURCES,
    RuleName.UTILIZATION: Strategy.REDUCE_COMPLEXITY,
    RuleName.LATENCY: Strategy.REDUCE_COMPLEXITY,
    RuleName.CONVERGENCE: Strategy.ROLL_BACK,
    RuleName.ENTROPY: Strategy.ROLL_BACK,
    RuleName.UPTIME: Strategy.FAIL_OVER,
    RuleName.RUNTIME: Strategy.RESTART_FROM_CHECKPOINT,
    RuleName.PRIVACY_BUDGET: Strategy.RESTART_FROM_CHECKPOINT,
    RuleName.REPRODUCIBILITY: Strategy.RESTART_FROM_CHECKPOINT,
    RuleName.HEALTH: Strategy.FAIL_OVER,
    RuleName.IDLE: Strategy.FAIL_OVER,
}
"""The strategy of a rule where the policy names none."""

BECOMES: Final[Mapping[Strategy, tuple[LadderAction, ...]]] = {
    Strategy.FREE_RESOURCES: (LadderAction.FREE_MEMORY,),
    Strategy.REDUCE_COMPLEXITY: (
        LadderAction.REDUCE_PRECISION,
        LadderAction.REDUCE_BATCH,
        LadderAction.DISABLE_OPTIONAL,
    ),
    Strategy.ROLL_BACK: (LadderAction.ROLL_BACK,),
    Strategy.RESTART_FROM_CHECKPOINT: (LadderAction.CHECKPOINT_AND_ABORT,),
    Strategy.FAIL_OVER: (LadderAction.EVICT,),
}
"""What a strategy does, in order of preference."""


def action_of(strategy: Strategy, takes: frozenset[LadderAction]) -> LadderAction:
    """The first action of a strategy that the workload takes; the first of all where it takes none."""
    actions = BECOMES[strategy]
    return next((action for action in actions if action in takes), actions[0])
