"""Severity from scope and blast radius, and the seats that it gives (docs/conflicts.md, "Severity")."""

from dataclasses import dataclass

from quorate.api.policy_conflict import Severity
from quorate.conflicts.document import Found
from quorate.contracts.form import SURFACES

SEATS = {Severity.LOW: 3, Severity.MEDIUM: 3, Severity.HIGH: 5, Severity.CRITICAL: 5}
"""Arbitrators of a level, by severity; with four that may sit, four do."""
MIN_SEATS = 3
_MOST = 2


@dataclass(frozen=True)
class Extent:
    """What a conflict touches: scope 0 to 2, numbers of nodes and pods. None is unknown and counts as the most."""

    scope: int
    nodes: int | None
    pods: int | None


def scope_of(found: Found) -> int:
    """0 one clause that nobody shares, 1 a shared clause or surfaces, 2 a TrustDomain or two domains."""
    kinds = {party.kind for party in found.conflict.parties} | {target["kind"] for target in found.targets}
    if "TrustDomain" in kinds or not found.targets:
        return _MOST
    return int(found.shared or any(target.get("section") == SURFACES for target in found.targets))


def _points(number: int | None, first: int, second: int) -> int:
    return _MOST if number is None else (number >= first) + (number >= second)


def severity_of(extent: Extent) -> Severity:
    """Low, Medium, High or Critical: the points of the scope and of the larger size."""
    size = max(_points(extent.nodes, 10, 100), _points(extent.pods, 100, 1000))
    return tuple(Severity)[min(extent.scope + size, 3)]
