"""Surfaces of a contract: what each reputation state may use, each at least the one below (hounfour-spec.md §5).

Unknown states and tiers are refused and ensemble strategies are compared too: upstream ignores both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from itertools import pairwise
from typing import Any

STATES = ("cold", "warming", "established", "authoritative")
MAX_ITEMS = 32
MAX_ITEM = 64


class SurfaceError(ValueError):
    """Surfaces of the wrong form; the message names field, value and rule."""


class Tier(IntEnum):
    """Rate limit tiers, ascending."""

    RESTRICTED = 0
    STANDARD = 1
    EXTENDED = 2
    UNLIMITED = 3


class ViolationType(StrEnum):
    """How a higher state falls short of a lower one; the first three are hounfour's names."""

    MISSING_CAPABILITIES = "missing_capabilities"
    MISSING_SCHEMAS = "missing_schemas"
    RATE_LIMIT_REGRESSION = "rate_limit_regression"
    MISSING_ENSEMBLE_STRATEGIES = "missing_ensemble_strategies"


@dataclass(frozen=True)
class Surface:
    """What one state may use; an absent tier is the lowest."""

    schemas: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    tier: Tier = Tier.RESTRICTED
    strategies: tuple[str, ...] = ()

    def holds(self, other: "Surface") -> bool:
        """Whether everything that `other` grants is granted here too."""
        return not shortfalls("", other, "", self)


@dataclass(frozen=True)
class Violation:
    """One way in which `higher_state` holds less than `lower_state`."""

    lower_state: str
    higher_state: str
    violation_type: ViolationType
    details: str


@dataclass(frozen=True)
class Spelling:
    """How a document writes a surface: its member names, its tiers, and the only capabilities that it allows."""

    tier_field: str
    strategies_field: str
    tiers: Mapping[str, Tier]
    capabilities: frozenset[str] | None = None


API = Spelling(
    "rateLimitTier",
    "ensembleStrategies",
    {tier.name.capitalize(): tier for tier in Tier},
)
HOUNFOUR = Spelling(
    "rate_limit_tier",
    "ensemble_strategies",
    {tier.name.lower(): tier for tier in Tier},
    frozenset({"inference", "ensemble", "tools", "governance", "byok"}),
)


def parse_surfaces(document: Any, spelling: Spelling = API) -> dict[str, Surface]:
    """The surfaces by state in ascending order; SurfaceError for an unknown state, field, tier or capability."""
    if not isinstance(document, Mapping):
        raise SurfaceError(f"must be an object keyed by reputation state, not {type(document).__name__}")
    unknown = [state for state in document if state not in STATES]
    if unknown:
        raise SurfaceError(f"unknown state {unknown[0]!r}; the states are {', '.join(STATES)}")
    return {state: parse_surface(state, document[state], spelling) for state in STATES if state in document}


def parse_surface(state: str, document: Any, spelling: Spelling = API) -> Surface:
    """One surface; SurfaceError names the state and the field that is wrong."""
    if not isinstance(document, Mapping):
        raise SurfaceError(f"{state} must be an object, not {type(document).__name__}")
    fields = ("schemas", "capabilities", spelling.tier_field, spelling.strategies_field)
    unknown = [name for name in document if name not in fields]
    if unknown:
        raise SurfaceError(f"{state} holds the unknown field {unknown[0]!r}")
    surface = Surface(
        schemas=_items(state, "schemas", document.get("schemas", ())),
        capabilities=_items(state, "capabilities", document.get("capabilities", ())),
        tier=_tier(state, document, spelling),
        strategies=_items(state, spelling.strategies_field, document.get(spelling.strategies_field, ())),
    )
    foreign = [item for item in surface.capabilities if spelling.capabilities and item not in spelling.capabilities]
    if foreign:
        raise SurfaceError(f"{state}.capabilities holds the unknown capability {foreign[0]!r}")
    return surface


def _items(state: str, field: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or len(value) > MAX_ITEMS:
        raise SurfaceError(f"{state}.{field} must be a list of at most {MAX_ITEMS} items")
    for item in value:
        if not isinstance(item, str) or not 1 <= len(item) <= MAX_ITEM:
            raise SurfaceError(f"{state}.{field} holds {item!r}; an item is a string of 1 to {MAX_ITEM} characters")
    return tuple(value)


def _tier(state: str, document: Mapping[str, Any], spelling: Spelling) -> Tier:
    if spelling.tier_field not in document:
        return Tier.RESTRICTED
    value = document[spelling.tier_field]
    if not isinstance(value, str) or value not in spelling.tiers:
        raise SurfaceError(f"{state}.{spelling.tier_field} {value!r} must be one of {', '.join(spelling.tiers)}")
    return spelling.tiers[value]


def monotonic_violations(surfaces: Mapping[str, Surface]) -> list[Violation]:
    """Every way in which a present state holds less than the present state below it; empty: monotonic."""
    present = [state for state in STATES if state in surfaces]
    return [
        violation
        for lower, higher in pairwise(present)
        for violation in shortfalls(lower, surfaces[lower], higher, surfaces[higher])
    ]


def shortfalls(lower: str, below: Surface, higher: str, above: Surface) -> list[Violation]:
    """What `above` lacks of `below`, in hounfour's order: capabilities, schemas, tier; then strategies."""
    found: list[Violation] = []

    def compare(kind: ViolationType, noun: str, needed: Sequence[str], held: Sequence[str]) -> None:
        missing = [item for item in dict.fromkeys(needed) if item not in held]
        if missing:
            details = f"{higher} is missing {noun} present in {lower}: {', '.join(missing)}"
            found.append(Violation(lower, higher, kind, details))

    compare(ViolationType.MISSING_CAPABILITIES, "capabilities", below.capabilities, above.capabilities)
    compare(ViolationType.MISSING_SCHEMAS, "schemas", below.schemas, above.schemas)
    if above.tier < below.tier:
        details = (
            f"{higher} has lower rate limit tier ({above.tier.name.lower()}) than {lower} ({below.tier.name.lower()})"
        )
        found.append(Violation(lower, higher, ViolationType.RATE_LIMIT_REGRESSION, details))
    compare(ViolationType.MISSING_ENSEMBLE_STRATEGIES, "ensemble strategies", below.strategies, above.strategies)
    return found


def select_surface(document: Any, state: str | None, spelling: Spelling = API) -> tuple[str, Surface] | None:
    """The surface that a party in `state` gets and the state it belongs to, fail-closed: never that of a higher state.

    An unknown state, an absent one or surfaces that are not monotonic give the cold surface; where there is none, or
    the document itself cannot be read, None: denied.
    """
    try:
        surfaces = parse_surfaces(document, spelling)
    except SurfaceError:
        return None
    used = state if state is not None and state in surfaces and not monotonic_violations(surfaces) else STATES[0]
    return (used, surfaces[used]) if used in surfaces else None
