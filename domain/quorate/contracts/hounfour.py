"""Dynamic contracts and negotiations of loa-hounfour 8.2.0, read strictly (hounfour-spec.md §5).

Where upstream is lenient we deny: unknown states, tiers and capabilities, a negotiation before its start, a grant
beyond the surface of the state.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from quorate.contracts.surfaces import (
    HOUNFOUR,
    STATES,
    Surface,
    SurfaceError,
    Violation,
    monotonic_violations,
    parse_surface,
    parse_surfaces,
)

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_SEMVER = re.compile(r"\d+\.\d+\.\d+", re.ASCII)
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?Z", re.ASCII)
_ASSERTIONS = ("server-derived", "signed-attestation")


class DocumentError(ValueError):
    """A hounfour document that is not accepted; the message names field, value and rule."""


@dataclass(frozen=True)
class DynamicContract:
    """A contract whose four surfaces expand monotonically."""

    contract_id: str
    surfaces: Mapping[str, Surface]


@dataclass(frozen=True)
class Validity:
    """Whether a negotiation holds at a clock time, and for how many milliseconds (0: not)."""

    valid: bool
    remaining_ms: int
    reason: str


def parse_contract(document: Mapping[str, Any]) -> DynamicContract:
    """A contract with all four states; DocumentError for any other, one that is not monotonic included."""
    _members(document, {"contract_id", "surfaces", "contract_version", "created_at"}, set())
    _match(document, "contract_id", _UUID)
    _match(document, "contract_version", _SEMVER)
    if instant(document["created_at"]) is None:
        raise DocumentError(f"created_at {document['created_at']!r} is not a time")
    try:
        surfaces = parse_surfaces(document["surfaces"], HOUNFOUR)
    except SurfaceError as error:
        raise DocumentError(f"surfaces: {error}") from error
    missing = [state for state in STATES if state not in surfaces]
    if missing:
        raise DocumentError(f"surfaces lacks the state {missing[0]}")
    violations = monotonic_violations(surfaces)
    if violations:
        raise DocumentError("; ".join(violation.details for violation in violations))
    return DynamicContract(document["contract_id"], surfaces)


def monotonic_expansion(document: Any) -> list[Violation]:
    """Violations over the present states of a surfaces map; SurfaceError for what upstream would ignore."""
    return monotonic_violations(parse_surfaces(document, HOUNFOUR))


def check_negotiation(document: Mapping[str, Any], contract: DynamicContract | None = None) -> Surface:
    """The granted surface; DocumentError for a wrong form or a grant beyond the contract's surface of the state."""
    required = {"negotiation_id", "model_id", "reputation_state", "assertion_method"}
    required |= {"granted_surface", "negotiated_at", "nonce", "expires_at"}
    _members(document, required, {"requested_surface"})
    _match(document, "negotiation_id", _UUID)
    state = document["reputation_state"]
    if state not in STATES:
        raise DocumentError(f"reputation_state {state!r} must be one of {', '.join(STATES)}")
    if document["assertion_method"] not in _ASSERTIONS:
        raise DocumentError(
            f"assertion_method {document['assertion_method']!r} must be one of {', '.join(_ASSERTIONS)}"
        )
    nonce = document["nonce"]
    if not isinstance(nonce, str) or not 16 <= len(nonce) <= 64:
        raise DocumentError("nonce must have 16 to 64 characters")
    start, end = instant(document["negotiated_at"]), instant(document["expires_at"])
    if start is None or end is None or end <= start:
        raise DocumentError("expires_at must be a time after negotiated_at")
    try:
        granted = parse_surface("granted_surface", document["granted_surface"], HOUNFOUR)
    except SurfaceError as error:
        raise DocumentError(str(error)) from error
    if contract is not None and not contract.surfaces[state].holds(granted):
        raise DocumentError(f"granted_surface grants more than the contract's surface of {state}")
    return granted


def validity(document: Mapping[str, Any], clock: str) -> Validity:
    """Whether a negotiation holds at `clock`: from negotiated_at on, before expires_at; unreadable times deny."""
    now, start, end = instant(clock), instant(document.get("negotiated_at")), instant(document.get("expires_at"))
    if end is None:
        return Validity(False, 0, f"Invalid expires_at: {document.get('expires_at')}")
    if now is None:
        return Validity(False, 0, f"Invalid clock time: {clock}")
    if start is None or now < start:
        return Validity(False, 0, f"Negotiation not valid before {document.get('negotiated_at')}")
    remaining = (end - now) // timedelta(milliseconds=1)
    if now < end:
        reason = f"Negotiation valid until {document['expires_at']} ({remaining}ms remaining)"
        return Validity(True, remaining, reason)
    return Validity(False, 0, f"Negotiation expired at {document['expires_at']} ({-remaining}ms ago)")


def effective_surface(contract: DynamicContract, document: Mapping[str, Any], clock: str) -> Surface:
    """What a negotiation gives now: its grant, or the cold surface where it is expired or invalid (fail-closed)."""
    try:
        granted = check_negotiation(document, contract)
    except DocumentError:
        return contract.surfaces["cold"]
    return granted if validity(document, clock).valid else contract.surfaces["cold"]


def instant(text: Any) -> datetime | None:
    """A UTC time with up to six fractional digits; None where it cannot be read."""
    if not isinstance(text, str) or _TIME.fullmatch(text) is None:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _members(document: Any, required: set[str], optional: set[str]) -> None:
    if not isinstance(document, Mapping):
        raise DocumentError("the document must be an object")
    missing, unknown = required - set(document), set(document) - required - optional
    if missing or unknown:
        raise DocumentError(f"missing {sorted(missing)}, unknown {sorted(map(str, unknown))}")


def _match(document: Mapping[str, Any], field: str, pattern: re.Pattern[str]) -> None:
    if not isinstance(document[field], str) or pattern.fullmatch(document[field]) is None:
        raise DocumentError(f"{field} {document[field]!r} must match {pattern.pattern}")
