"""Content of an entry: put together from parts, it is what canonicalising the whole document gives."""

import time
from typing import Any
from uuid import NAMESPACE_DNS, UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.audit.entry import Captured, Draft, EntryRefusedError, Tether, check_content, format_timestamp
from quorate.audit.ids import entry_id, spool_id
from quorate.canonical import NotCanonicalError, canonical_bytes, encode_base64, parse_json

DIGEST = "sha256:" + 64 * "a"
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


def draft(**changes: Any) -> Draft:
    made: dict[str, Any] = {
        "subject_key": "k", "previous": None, "event_type": "governance.vote.accepted",
        "subject": {"kind": "Vote", "name": "v"}, "tether": Tether("5.5"), "timestamp": 1_780_000_000_000_001,
    }  # fmt: skip
    return Draft(**made | changes)


@given(
    key=TEXTS.filter(bool),
    name=TEXTS.filter(bool),
    previous=st.none() | st.uuids(),
    actor=st.none() | TEXTS.filter(bool),
    question=st.none() | TEXTS,
    about=st.lists(st.sampled_from([DIGEST, DIGEST[:-1] + "b"]), max_size=3),
    detail=st.dictionaries(TEXTS, VALUES, max_size=4),
    moment=st.integers(0, 4_000_000_000_000_000),
    clauses=st.lists(TEXTS.filter(bool), max_size=2),
)
def test_parts_are_canonical(
    key: str, name: str, previous: UUID | None, actor: str | None, question: str | None, about: list[str],
    detail: dict[str, Any], moment: int, clauses: list[str],
) -> None:  # fmt: skip
    """Whatever the members are, the bytes are the canonical form of the document that they parse to, and it may be."""
    made = draft(subject_key=key, subject={"kind": "K", "name": name, "uid": None}, previous=previous, actor_id=actor,
                 question=question, about=about, erasable=about, detail=detail, timestamp=moment,
                 tether=Tether("1", "v", tuple(clauses)))  # fmt: skip
    document = parse_json(made.content)
    assert canonical_bytes(document) == made.content
    check_content(document)
    payload = document["payload"]
    assert (document.get("actor_id"), payload.get("question"), payload["detail"]) == (actor, question, detail)
    assert (payload["about"], payload["subject"]["key"], payload["tether"]["clauses"]) == (
        sorted(set(about)), key, clauses)  # fmt: skip
    assert (document["entry_id"], document["timestamp"]) == (str(made.entry_id), format_timestamp(moment))


@given(key=TEXTS, previous=st.none() | st.uuids(), number=st.integers(0, 2**53 - 1))
def test_ids_are_those_of_the_standard_library(key: str, previous: UUID | None, number: int) -> None:
    """Our derivation gives what uuid.uuid5 gives, version and variant included."""
    namespace = uuid5(NAMESPACE_DNS, "quorate.dev")
    assert entry_id(key, previous) == uuid5(namespace, f"{key}/{previous or ''}")
    assert spool_id(key, number) == uuid5(namespace, f"{key}/{number}")


def test_a_captured_entry() -> None:
    """Its id follows from source and sequence, its content names both, and the document is accepted."""
    captured = Captured("node-7", 41, encode_base64(bytes(64)))
    made = draft(captured=captured)
    document = parse_json(made.content)
    assert made.entry_id == spool_id("node-7", 41) and document["payload"]["captured"] == captured.document()
    assert canonical_bytes(document) == made.content
    check_content(document)


@pytest.mark.parametrize(
    "change",
    [
        {"event_type": "Vote"},
        {"actor_id": ""},
        {"subject": {"kind": "Vote"}},
        {"about": ["sha256:x"]},
        {"tether": Tether("x")},
        {"captured": Captured("", 1, encode_base64(bytes(64)))},
        {"captured": Captured("s", -1, encode_base64(bytes(64)))},
        {"captured": Captured("s", 1, "AA")},
        {"captured": Captured("s" * 513, 1, encode_base64(bytes(64)))},
        {"captured": Captured("s", 1, encode_base64(bytes(64))), "previous": UUID(int=1)},
    ],
)
def test_what_may_not_be_logged(change: dict[str, Any]) -> None:
    """A member that breaks a rule is refused with the name of the rule's field."""
    with pytest.raises(EntryRefusedError):
        assert draft(timestamp=time.time_ns() // 1000, **change).content


def test_a_float_names_its_path() -> None:
    """A part's path in a refusal is that in the whole document."""
    with pytest.raises(NotCanonicalError, match=r"/payload/detail/a/0: 1\.5"):
        assert draft(detail={"a": [1.5]}).content
