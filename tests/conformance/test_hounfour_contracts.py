"""Dynamic contracts against loa-hounfour v8.2.0, governance documents against our own fixtures, RFC 6902 vectors.

The three are counted apart: published vectors (2), own fixtures, json-patch records.
"""

from typing import Any

import pytest

from quorate.canonical import NotCanonicalError, parse_json
from quorate.contracts.form import ContractRefusedError
from quorate.contracts.gate import Want, gate
from quorate.contracts.hounfour import (
    DocumentError,
    check_negotiation,
    effective_surface,
    monotonic_expansion,
    parse_contract,
    validity,
)
from quorate.contracts.patch import apply_patch
from quorate.contracts.surfaces import HOUNFOUR as HOUNFOUR_SPELLING
from quorate.contracts.surfaces import STATES, SurfaceError, Tier, select_surface
from tests.conformance.vectors import folder, load

HOUNFOUR = folder("hounfour") / "conformance/commons/dynamic-contract"
CONTRACT = load(HOUNFOUR / "valid-monotonic-surfaces.json")["input"]
NEGOTIATION = load(HOUNFOUR / "valid-negotiation-server-derived.json")["input"]
PATCHES = [
    pytest.param(record, id=f"{name}-{index}")
    for name in ("tests", "spec_tests")
    for index, record in enumerate(load(folder("json-patch") / f"{name}.json"))
    if not record.get("disabled") and "patch" in record
]


@pytest.mark.parametrize("path", sorted(HOUNFOUR.glob("*.json")), ids=lambda path: path.stem)
def test_published_vectors(path: Any) -> None:
    """Each published vector of the set is accepted or refused as it expects."""
    case = load(path)
    check = check_negotiation if "negotiation_id" in case["input"] else parse_contract
    if case["expected_valid"]:
        check(case["input"])
        return
    with pytest.raises(DocumentError):
        check(case["input"])


def test_vectors_are_the_two() -> None:
    """The dynamic-contract set has exactly the two published vectors."""
    assert len(list(HOUNFOUR.glob("*.json"))) == 2


LOWER = {"schemas": ["A", "B"], "capabilities": ["inference", "tools"], "rate_limit_tier": "extended"}
HIGHER = {"schemas": ["A"], "capabilities": ["inference"], "rate_limit_tier": "restricted"}


def test_violations_in_order() -> None:
    """Own fixture (§5): capabilities, schemas, tier, in this order and with these sentences."""
    found = monotonic_expansion({"established": HIGHER, "cold": LOWER})
    assert [(item.violation_type, item.details) for item in found] == [
        ("missing_capabilities", "established is missing capabilities present in cold: tools"),
        ("missing_schemas", "established is missing schemas present in cold: B"),
        ("rate_limit_regression", "established has lower rate limit tier (restricted) than cold (extended)"),
    ]


@pytest.mark.parametrize("surfaces", [{}, {"warming": LOWER}, {"cold": LOWER, "authoritative": LOWER}])
def test_no_violation(surfaces: Any) -> None:
    """Own fixture (§5): empty, single-state and equal surfaces are monotonic."""
    assert monotonic_expansion(surfaces) == []


@pytest.mark.parametrize(
    "surfaces",
    [{"hot": LOWER}, {"cold": {**LOWER, "rate_limit_tier": "infinite"}}, {"cold": {**LOWER, "capabilities": ["fly"]}}],
)
def test_stricter_than_upstream(surfaces: Any) -> None:
    """Own fixture (§5): unknown states, tiers and capabilities are refused, not ranked lowest."""
    with pytest.raises(SurfaceError):
        monotonic_expansion(surfaces)


def test_strategies_count() -> None:
    """Own fixture (§5): ensemble strategies must expand too."""
    (found,) = monotonic_expansion({"cold": {**LOWER, "ensemble_strategies": ["parallel"]}, "warming": LOWER})
    assert found.violation_type == "missing_ensemble_strategies"


@pytest.mark.parametrize(
    ("document", "state", "capabilities"),
    [
        ({"cold": {"capabilities": ["a"]}, "warming": {"capabilities": ["a", "b"]}}, "warming", ("a", "b")),
        ({"cold": {"capabilities": ["a"]}, "established": {"capabilities": ["a", "b"]}}, "warming", ("a",)),
        ({"cold": {"capabilities": ["a"]}, "warming": {"capabilities": ["a", "b"]}}, "hot", ("a",)),
        ({"cold": {"capabilities": ["a"]}, "warming": {"capabilities": ["b"]}}, "warming", ("a",)),
    ],
)
def test_selection_fails_closed(document: Any, state: str, capabilities: tuple[str, ...]) -> None:
    """Own fixture (§5): an absent or unknown state or surfaces that shrink give cold, never a higher surface."""
    chosen = select_surface(document, state)
    assert chosen is not None and chosen[1].capabilities == capabilities


ORDER = ("inference", "tools", "ensemble", "governance", "byok")
GRANTED = {"cold": 1, "warming": 2, "established": 3, "authoritative": 5, "hot": 1}


@pytest.mark.parametrize("state", GRANTED)
@pytest.mark.parametrize("capability", ORDER)
def test_the_gate_on_the_published_contract(state: str, capability: str) -> None:
    """Published vector 001 (§5): each state is granted its capabilities and no others; an unknown state is cold."""
    answer = gate(CONTRACT["surfaces"], state, Want(capabilities=(capability,)), HOUNFOUR_SPELLING)
    assert answer.allowed is (capability in ORDER[: GRANTED[state]])


@pytest.mark.parametrize("tier", list(Tier))
@pytest.mark.parametrize(("state", "held"), list(zip(STATES, Tier, strict=True)))
def test_the_tiers_of_the_published_contract(state: str, held: Tier, tier: Tier) -> None:
    """Published vector 001 (§5): restricted, standard, extended, unlimited, in the order of the states."""
    assert gate(CONTRACT["surfaces"], state, Want(tier=tier), HOUNFOUR_SPELLING).allowed is (tier <= held)


@pytest.mark.parametrize("document", [{"warming": {}}, {"cold": {"rateLimitTier": "Infinite"}}, None, []])
def test_selection_denies(document: Any) -> None:
    """Own fixture (§5): without a cold surface, or with surfaces that cannot be read, nothing is granted."""
    assert select_surface(document, "cold") is None


@pytest.mark.parametrize(
    ("clock", "valid", "remaining", "reason"),
    [
        ("10:00:00", True, 3600000, "Negotiation valid until 2026-02-25T11:00:00Z (3600000ms remaining)"),
        ("10:59:59.999", True, 1, "Negotiation valid until 2026-02-25T11:00:00Z (1ms remaining)"),
        ("11:00:00", False, 0, "Negotiation expired at 2026-02-25T11:00:00Z (0ms ago)"),
        ("12:00:00", False, 0, "Negotiation expired at 2026-02-25T11:00:00Z (3600000ms ago)"),
        ("09:00:00", False, 0, "Negotiation not valid before 2026-02-25T10:00:00Z"),
        ("noon", False, 0, "Invalid clock time: 2026-02-25TnoonZ"),
    ],
)
def test_validity(clock: str, valid: bool, remaining: int, reason: str) -> None:
    """Own fixture (§5): valid from negotiated_at until just before expires_at, to the millisecond."""
    result = validity(NEGOTIATION, f"2026-02-25T{clock}Z")
    assert (result.valid, result.remaining_ms, result.reason) == (valid, remaining, reason)


@pytest.mark.parametrize(
    "change",
    [
        {"nonce": "short"},
        {"expires_at": "2026-02-25T10:00:00Z"},
        {"reputation_state": "hot"},
        {"assertion_method": "trust-me"},
        {"expires_at": "soon"},
        {"granted_surface": {"schemas": [], "capabilities": ["byok"], "rate_limit_tier": "standard"}},
    ],
)
def test_invalid_negotiation_gives_cold(change: dict[str, Any]) -> None:
    """Own fixture (§5): an invalid negotiation, or one that grants beyond its state, falls to the cold surface."""
    contract = parse_contract(CONTRACT)
    clock = "2026-02-25T10:30:00Z"
    assert effective_surface(contract, NEGOTIATION, clock) == check_negotiation(NEGOTIATION, contract)
    with pytest.raises(DocumentError):
        check_negotiation({**NEGOTIATION, **change}, contract)
    assert effective_surface(contract, {**NEGOTIATION, **change}, clock) == contract.surfaces["cold"]


@pytest.mark.parametrize("state", ["cold", "warming", "established", "authoritative"])
def test_all_states_are_required(state: str) -> None:
    """Own fixture (§5): the 8.2.0 contract needs all four states."""
    surfaces = {name: surface for name, surface in CONTRACT["surfaces"].items() if name != state}
    with pytest.raises(DocumentError, match=state):
        parse_contract({**CONTRACT, "surfaces": surfaces})


@pytest.mark.parametrize("record", PATCHES)
def test_json_patch(record: dict[str, Any]) -> None:
    """Every enabled json-patch record gives its result or is refused; what we refuse beyond RFC 6902 is listed."""
    if "error" in record:
        with pytest.raises(ContractRefusedError):
            apply_patch(record["doc"], record["patch"])
        return
    result = apply_patch(record["doc"], record["patch"])
    assert "expected" not in record or result == record["expected"]


@pytest.mark.parametrize(
    "raw",
    [
        '[{"op": "add", "op": "remove", "path": "/a", "value": 1}]',
        '[{"op": "add", "path": "/a", "path": "/b", "value": 1}]',
    ],
)
def test_duplicate_keys_on_raw_text(raw: str) -> None:
    """The disabled records: a duplicate member of an operation is refused where the text is parsed."""
    with pytest.raises(NotCanonicalError, match="twice"):
        parse_json(raw)
