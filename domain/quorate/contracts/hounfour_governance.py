"""Governance documents of loa-hounfour: proposals, executions, policy versions (hounfour-spec.md §9).

Their votes have weights between 0 and 1. They are read as exact fractions, never as floats: a JSON number is given as
text, int or Decimal.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

from quorate.contracts.hounfour import DocumentError

MAX_VOTES = 100
TOLERANCE = Fraction(1, 1000)
PROPOSAL_TRANSITIONS: Mapping[str, frozenset[str]] = {
    "proposed": frozenset({"voting", "withdrawn"}),
    "voting": frozenset({"ratified", "rejected", "withdrawn"}),
    "ratified": frozenset(),
    "rejected": frozenset(),
    "withdrawn": frozenset(),
}
EXECUTION_TRANSITIONS: Mapping[str, frozenset[str]] = {
    "pending": frozenset({"executing"}),
    "executing": frozenset({"completed", "failed"}),
    "completed": frozenset(),
    "failed": frozenset({"rolled_back"}),
    "rolled_back": frozenset(),
}
HEALTH_ACTIONS: Mapping[str, frozenset[str]] = {
    "healthy": frozenset({"continue"}),
    "degraded": frozenset({"continue", "pause"}),
    "failing": frozenset({"rollback"}),
}
STATE_FACTORS: Mapping[str, Fraction] = {
    "authoritative": Fraction(1),
    "established": Fraction(3, 4),
    "warming": Fraction(1, 4),
    "cold": Fraction(0),
}
_SEMVER = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)", re.ASCII)


@dataclass(frozen=True)
class Count:
    """The count of a vote. `warning` says that the weights do not sum to 1, which upstream tolerates."""

    quorum_met: bool
    passed: bool
    approve: Fraction
    reject: Fraction
    abstain: Fraction
    warning: str | None = None


def number(value: Any) -> Fraction:
    """An exact number; DocumentError for floats, NaN, infinities and what is no number."""
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise DocumentError(f"{value!r} is not an exact number")
    try:
        return Fraction(Decimal(value))
    except (InvalidOperation, ValueError, OverflowError) as error:
        raise DocumentError(f"{value!r} is not a number") from error


def count_votes(votes: Iterable[Mapping[str, Any]], quorum_required: Any) -> Count:
    """quorum_met: all weights, abstentions too, reach the quorum; passed: also approve > reject, so a tie fails.

    Raises:
        DocumentError: over 100 votes, an unknown choice, a weight outside 0…1, or two votes of one voter.
    """
    given = list(votes)
    if len(given) > MAX_VOTES:
        raise DocumentError(f"votes_cast holds {len(given)} votes; at most {MAX_VOTES}")
    sums = {"approve": Fraction(0), "reject": Fraction(0), "abstain": Fraction(0)}
    voters: set[Any] = set()
    for vote in given:
        weight, choice = number(vote.get("weight")), vote.get("vote")
        if choice not in sums:
            raise DocumentError(f"vote {choice!r} must be one of {', '.join(sums)}")
        if not 0 <= weight <= 1:
            raise DocumentError(f"weight {vote['weight']} must be between 0 and 1")
        if vote.get("voter_id") in voters:
            raise DocumentError(f"voter_id {vote.get('voter_id')!r} votes twice")
        voters.add(vote.get("voter_id"))
        sums[choice] += weight
    total = sum(sums.values(), Fraction(0))
    quorum = total >= number(quorum_required)
    warning = None if abs(total - 1) <= TOLERANCE else f"the weights sum to {float(total):.3f}, not to 1"
    return Count(quorum, quorum and sums["approve"] > sums["reject"], **sums, warning=warning)


def voter_weight(blended: Any, state: str) -> Fraction:
    """clamp(blended × factor of the reputation state) to 0…1; an unknown state has no weight (fail-closed)."""
    weight = number(blended) * STATE_FACTORS.get(state, Fraction(0))
    return min(max(weight, Fraction(0)), Fraction(1))


def check_proposal(document: Mapping[str, Any]) -> Count | None:
    """The count of a proposal's vote, None before voting; DocumentError where status and votes contradict."""
    status = document.get("status")
    if status not in PROPOSAL_TRANSITIONS:
        raise DocumentError(f"status {status!r} must be one of {', '.join(PROPOSAL_TRANSITIONS)}")
    if not document.get("changes"):
        raise DocumentError("changes must hold at least one change")
    voting = document.get("voting")
    if voting is None:
        if status in ("proposed", "withdrawn"):
            return None
        raise DocumentError(f"status {status} needs voting")
    count = count_votes(voting["votes_cast"], voting["quorum_required"])
    if status in ("ratified", "rejected") and count.passed != (status == "ratified"):
        raise DocumentError(f"status {status} contradicts the votes")
    return count


def check_transition(transitions: Mapping[str, frozenset[str]], before: str, after: str) -> None:
    """Refuse a change of status that the table does not have."""
    if after not in transitions.get(before, frozenset()):
        raise DocumentError(f"{before} cannot become {after}")


def check_health(health: str, action: str) -> None:
    """Refuse an action that the health of an execution's checkpoint does not allow; failing demands rollback."""
    if action not in HEALTH_ACTIONS.get(health, frozenset()):
        raise DocumentError(f"health {health} does not allow {action}")


def check_policy_version(version: Any, supersedes: Any) -> None:
    """Refuse a version that is not semver or that supersedes itself."""
    for value in (version, supersedes):
        if value is not None and (not isinstance(value, str) or _SEMVER.fullmatch(value) is None):
            raise DocumentError(f"version {value!r} must be of the form MAJOR.MINOR.PATCH")
    if version is None or version == supersedes:
        raise DocumentError(f"version {version} must be given and cannot supersede itself")
