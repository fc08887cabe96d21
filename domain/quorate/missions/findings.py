"""What is told about two policies that can meet on a pod."""

from dataclasses import dataclass

from quorate.api.mission_rules import RuleName


@dataclass(frozen=True, slots=True)
class Finding:
    """Two policies that can meet on a pod.

    Attributes:
        contradiction: no workload can keep both, or one can never follow; else one overrules or slows the other.
        message: names field, values and rule.
    """

    rule: RuleName
    winner: str
    loser: str
    contradiction: bool
    message: str
