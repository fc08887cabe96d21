"""What is kept of an entry, a statement and an object: enough to sort and show them, the rest is read again."""

import copy
from uuid import UUID

from quorate.audit.record import Record
from quorate.canonical import canonical_bytes
from quorate.identity.statements import Statement
from quorate_operator.store.recorded import Recorded
from quorate_operator.view import once, slim

CONTENT = {
    "entry_id": str(UUID(int=1)),
    "timestamp": "2026-01-01T00:00:00.000000Z",
    "event_type": "governance.vote.accepted",
    "payload": {"subject": {"key": "sha256:s"}, "about": ["sha256:p"], "detail": {"signature": "x"}},
}


def entry() -> Recorded:
    record = Record("mesh/fleet", 0, 7, 5, bytes(32), bytes(32), canonical_bytes(CONTENT)).encode()
    return Recorded("mesh/fleet", 7, UUID(int=1), record)


def test_an_entry_that_forgot_its_content_says_the_same() -> None:
    """Type, subject and time are at hand without parsing; all else is read from the bytes again."""
    found = entry()
    found.forget()
    assert "content" not in found.__dict__
    known = (found.event_type, found.subject_key, found.timestamp)
    assert "content" not in found.__dict__
    assert known == (entry().event_type, entry().subject_key, entry().timestamp)
    assert (found.detail, found.about, found.content) == ({"signature": "x"}, ["sha256:p"], CONTENT)
    assert found == entry()


def test_a_statement_that_forgot_its_bytes_makes_the_same_again() -> None:
    """The digest stays; the bytes and what is signed come out as before."""
    statement, other = (Statement("vote", {"choice": "Approve", "sequence": 1}) for _ in range(2))
    signed = statement.signing_bytes
    statement.forget()
    assert not {"payload", "signing_bytes"} & statement.__dict__.keys()
    assert (statement.digest, statement.payload, statement.signing_bytes) == (other.digest, other.payload, signed)


def test_equal_strings_of_votes_are_one() -> None:
    """Two votes that were parsed apart share what they have in common, and are as they were sent."""
    words = ["counted", "as", "Approve"]
    sent = {"kind": "Vote", "metadata": {"name": "v"}, "spec": {"sequence": 1, "list": ["a", True, None]}}
    first, second = (slim(copy.deepcopy({**sent, "status": {"message": " ".join(words)}})) for _ in range(2))
    assert first == {**sent, "status": {"message": "counted as Approve"}}
    assert first["status"]["message"] is second["status"]["message"]
    assert once({"a": (1,)}) == {"a": (1,)}
