"""The capability gate: what a party in one reputation state may use of a contract (docs/contracts.md, "Gate").

Fail-closed (hounfour-spec.md §5): an unknown state, an absent one or surfaces that are not monotonic give the cold
surface; without one, or with surfaces that cannot be read, everything is refused.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from quorate.api.conditions import Reason
from quorate.contracts.surfaces import API, Spelling, Surface, Tier, select_surface


@dataclass(frozen=True)
class Want:
    """What a party asks for; everything that is named must be granted. `tier` None asks for none."""

    capabilities: tuple[str, ...] = ()
    schemas: tuple[str, ...] = ()
    tier: Tier | None = None
    strategies: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing is asked for."""
        return self == Want()


@dataclass(frozen=True)
class Grant:
    """The answer: `reason` Granted, or NotGranted, NoSurface, Invalid; `state` is the one whose surface was used.

    `missing` are sentences, one for each thing that the surface lacks.
    """

    reason: Reason
    message: str
    state: str | None = None
    surface: Surface | None = None
    missing: tuple[str, ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether everything that was asked for is granted."""
        return self.reason is Reason.GRANTED

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "allowed": self.allowed,
            "reason": str(self.reason),
            "message": self.message,
            "state": self.state,
            "missing": list(self.missing),
        }


def gate(surfaces: Any, state: str | None, want: Want, spelling: Spelling = API) -> Grant:
    """Whether a party in `state` (None: unknown) may have what it wants of `surfaces`, the section of a contract.

    Args:
        surfaces: The section as it is in force; None where the contract has none: everything is refused.
        state: cold, warming, established or authoritative; anything else is unknown and counts as cold.
        want: What is asked for.
        spelling: How the document writes surfaces.
    """
    if want.empty:
        return Grant(Reason.INVALID, "nothing is asked for: name a capability, a schema, a tier or a strategy")
    chosen = select_surface(surfaces, state, spelling)
    if chosen is None:
        return Grant(Reason.NO_SURFACE, "the contract has no surface that can be read for this state, nor a cold one")
    used, surface = chosen
    missing = (
        *_lacking("capability", want.capabilities, surface.capabilities),
        *_lacking("schema", want.schemas, surface.schemas),
        *_short(want.tier, surface.tier),
        *_lacking("ensemble strategy", want.strategies, surface.strategies),
    )
    shown = used if used == state else f"{used} ({_why_not(state)})"
    if missing:
        return Grant(Reason.NOT_GRANTED, f"{shown} lacks {'; '.join(missing)}", used, surface, missing)
    return Grant(Reason.GRANTED, f"{shown} grants it", used, surface)


def _why_not(state: str | None) -> str:
    return "no state is given" if state is None else f"state {state!r} is unknown or has no surface of its own"


def _lacking(noun: str, wanted: Iterable[str], held: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{noun} {item!r}" for item in dict.fromkeys(wanted) if item not in held)


def _short(wanted: Tier | None, held: Tier) -> tuple[str, ...]:
    if wanted is None or wanted <= held:
        return ()
    return (f"rate limit tier {wanted.name.capitalize()} (it has {held.name.capitalize()})",)
