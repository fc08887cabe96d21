"""Documents of witnesses: read back as written, and nothing else is read."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.audit.witness import Conflict, Refuse, WitnessState, judge
from quorate.audit.witness_form import (
    FormError,
    consistency_document,
    encode_conflict,
    encode_state,
    parse_conflict,
    parse_consistency,
    parse_offers,
    parse_state,
)
from tests.unit.audit.test_witness import AT_5, AT_8, KEYS, START, leaves, note, offer

ITEM = offer(leaves(9), 5)[0]


def split() -> WitnessState:
    decision = judge(AT_5.advanced(AT_8.last), note(leaves(9, 1)), KEYS, offer(leaves(9, 1), 8))  # type: ignore[arg-type]
    assert isinstance(decision, Refuse)
    return decision.state


@pytest.mark.parametrize("state", [START, AT_5, split()])
def test_a_state_is_read_back(state: WitnessState) -> None:
    """What a witness stores is what it reads again."""
    assert parse_state(encode_state(state)) == state


def test_evidence_is_read_back() -> None:
    """Evidence and offers are read as they were written."""
    conflict = split().conflict
    assert conflict is not None and conflict.consistency is not None
    assert parse_conflict(encode_conflict(conflict)) == conflict
    assert parse_consistency(consistency_document(ITEM)) == ITEM


def test_unreadable_offers_are_worth_nothing() -> None:
    """An offer that cannot be read hides no other one, and there is a bound to how many are looked at."""
    good = consistency_document(ITEM)
    bad: list[Any] = [None, {}, {**good, "size": 0}, {**good, "size": True}, {**good, "root": "x"}]
    bad += [{**good, "proof": "x"}, {**good, "proof": [good["root"]] * 65}, {**good, "proof": [1]}]
    assert parse_offers([*bad, good]) == [ITEM]
    assert parse_offers(None) == [] and parse_offers({"size": 1}) == [] and len(parse_offers([good] * 100)) == 64


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "quorate.dev/witness/v2"},
        {"origin": None},
        {"origin": ""},
        {"last": {}},
        {"last": {"size": -1, "root": "", "note": "x"}},
        {"earlier": None},
        {"conflict": {}},
    ],
)
def test_another_state_is_refused(changes: dict[str, Any]) -> None:
    """A witness goes on from nothing that it did not store itself."""
    with pytest.raises(FormError):
        parse_state(json.dumps({**json.loads(encode_state(AT_5)), **changes}).encode())


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_garbage_is_refused(data: bytes | str) -> None:
    """Whatever is written into an annotation, it is refused with a sentence."""
    with pytest.raises(FormError):
        parse_conflict(data)


def test_large_evidence_is_refused() -> None:
    """Evidence has a bound."""
    with pytest.raises(FormError, match="over"):
        parse_conflict(encode_conflict(Conflict("x" * 70_000, "y")))
