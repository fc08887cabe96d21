"""The gate of docs/contracts.md: what a party in one reputation state may use."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.api.conditions import Reason
from quorate.contracts.gate import Want, gate
from quorate.contracts.surfaces import STATES, Tier, monotonic_violations, parse_surfaces

COLD = {"capabilities": ["inference"], "schemas": ["Task"], "rateLimitTier": "Restricted"}
WARM = {**COLD, "capabilities": ["inference", "tools"], "rateLimitTier": "Standard", "ensembleStrategies": ["vote"]}
SURFACES = {"cold": COLD, "warming": WARM}
TOOLS = Want(capabilities=("tools",))


@pytest.mark.parametrize(
    ("state", "want", "allowed", "used"),
    [
        ("warming", TOOLS, True, "warming"),
        ("warming", Want(("inference", "tools"), ("Task",), Tier.STANDARD, ("vote",)), True, "warming"),
        ("cold", TOOLS, False, "cold"),
        ("cold", Want(tier=Tier.RESTRICTED), True, "cold"),
        ("cold", Want(tier=Tier.STANDARD), False, "cold"),
        ("cold", Want(schemas=("Other",)), False, "cold"),
        ("cold", Want(strategies=("vote",)), False, "cold"),
        ("established", TOOLS, False, "cold"),
        (None, TOOLS, False, "cold"),
        ("Warming", TOOLS, False, "cold"),
        ("hot", Want(capabilities=("inference",)), True, "cold"),
    ],
)
def test_table(state: str | None, want: Want, allowed: bool, used: str) -> None:
    """A state has its own surface or the cold one, and everything that is asked for must be in it."""
    answer = gate(SURFACES, state, want)
    assert (answer.allowed, answer.state) == (allowed, used)
    assert answer.reason is (Reason.GRANTED if allowed else Reason.NOT_GRANTED)
    assert answer.document()["allowed"] is allowed


@pytest.mark.parametrize(
    "surfaces", [None, {}, [], {"warming": WARM}, {"cold": {"rateLimitTier": "Infinite"}}, {"hot": COLD}]
)
def test_nothing_to_stand_on_grants_nothing(surfaces: Any) -> None:
    """Without a readable cold surface everything is refused."""
    answer = gate(surfaces, "cold", Want(capabilities=("inference",)))
    assert (answer.allowed, answer.reason) == (False, Reason.NO_SURFACE)


def test_surfaces_that_shrink_give_cold() -> None:
    """A contract that is not monotonic gives everybody the cold surface."""
    broken = {"cold": {**COLD, "schemas": ["Task", "More"]}, "warming": WARM}
    assert gate(broken, "warming", TOOLS).state == "cold"
    assert not gate(broken, "warming", TOOLS).allowed


def test_no_state_and_an_unknown_one_are_told_apart() -> None:
    """The sentence says why the cold surface was used."""
    want = Want(capabilities=("read",))
    assert "no state is given" in gate({"cold": {"capabilities": ["read"]}}, None, want).message
    assert "state 'hot' is unknown" in gate({"cold": {"capabilities": ["read"]}}, "hot", want).message


def test_a_refusal_names_everything() -> None:
    """Each thing that is missing is named, and an empty question is no question."""
    answer = gate(SURFACES, "cold", Want(("tools", "byok"), ("Other",), Tier.UNLIMITED, ("vote",)))
    assert answer.missing == (
        "capability 'tools'",
        "capability 'byok'",
        "schema 'Other'",
        "rate limit tier Unlimited (it has Restricted)",
        "ensemble strategy 'vote'",
    )
    assert all(item in answer.message for item in answer.missing)
    assert gate(SURFACES, "warming", Want()).reason is Reason.INVALID


ITEMS = st.lists(st.sampled_from(["a", "b", "c"]), unique=True)
SURFACE = st.fixed_dictionaries({"capabilities": ITEMS, "schemas": ITEMS})


@given(st.dictionaries(st.sampled_from(STATES), SURFACE), st.sampled_from([*STATES, "hot", None]), ITEMS)
def test_never_more_than_the_own_state(surfaces: dict[str, Any], state: str | None, asked: list[str]) -> None:
    """Whatever is granted is in the surface of the very state, or in the cold one."""
    if gate(surfaces, state, Want(capabilities=tuple(asked))).allowed:
        own = surfaces.get(state or "", surfaces.get("cold", {})).get("capabilities", [])
        cold = surfaces.get("cold", {}).get("capabilities", [])
        assert set(asked) <= set(own) or set(asked) <= set(cold)


@given(SURFACE, SURFACE, ITEMS)
def test_a_higher_state_loses_nothing(low: dict[str, Any], high: dict[str, Any], asked: list[str]) -> None:
    """In monotonic surfaces what cold may do, every state may do."""
    surfaces = {"cold": low, "warming": high}
    want = Want(capabilities=tuple(asked))
    if not monotonic_violations(parse_surfaces(surfaces)) and gate(surfaces, "cold", want).allowed:
        assert gate(surfaces, "warming", want).allowed
