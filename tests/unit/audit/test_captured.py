"""Who signed a captured entry can be checked from the entry alone."""

from dataclasses import replace
from typing import Any

import pytest

from quorate.audit.captured import CapturedError, statement_of, verify
from quorate.audit.entry import Captured, Draft, Tether
from quorate.canonical import encode_base64, parse_json
from quorate.identity import ed25519
from quorate.identity.vkey import SignerKey

SEED = bytes(range(32))
KEY = SignerKey("node-7", SEED).verifier.public_key


def signed(**changes: Any) -> dict[str, Any]:
    unsigned = Captured("node-7", 3, encode_base64(bytes(64)))
    draft = Draft("node-7/spool", None, "mission.task.finished", {"kind": "Task", "name": "t"}, Tether("5.5"),
                  1_780_000_000_000_000, captured=unsigned, **changes)  # fmt: skip
    signature = encode_base64(ed25519.sign(SEED, statement_of(draft)))
    document: dict[str, Any] = parse_json(replace(draft, captured=replace(unsigned, signature=signature)).content)
    return document


def test_its_machine_key_verifies_it() -> None:
    """The signature of the source verifies over what the log recorded."""
    verify(signed(actor_id="a", detail={"n": 1}), KEY)


@pytest.mark.parametrize("member", ["timestamp", "event_type", "detail", "sourceSeq", "source", "signature", "subject"])
def test_whatever_was_signed_cannot_change(member: str) -> None:
    """Every member that the source knew is under its signature."""
    content = signed()
    where = content if member in content else content["payload"]
    where = where if member in where else where["captured"]
    where[member] = {"timestamp": "2026-01-01T00:00:00.000000Z", "detail": {"n": 2}, "sourceSeq": 4, "subject": {},
                     "signature": encode_base64(bytes(64))}.get(member, "x.y.z")  # fmt: skip
    with pytest.raises(CapturedError):
        verify(content, KEY)


@pytest.mark.parametrize("content", [{}, {"payload": {}}, {"payload": {"captured": None}}, {"payload": []}])
def test_what_is_not_captured_is_refused(content: dict[str, Any]) -> None:
    """A content without signature is no captured entry, and another key is not the source's."""
    with pytest.raises(CapturedError):
        verify(content, KEY)
    with pytest.raises(CapturedError, match="node-7"):
        verify(signed(), bytes(31) + b"\1")
