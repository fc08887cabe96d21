"""Signed notes against the example of the C2SP specification."""

import pytest

from quorate.audit.note import NoteError, verify_note
from quorate.identity.vkey import parse_verifier_key
from tests.conformance.vectors import folder, load

EXAMPLE = load(folder("signed-note") / "example.json")


def test_example_verifies() -> None:
    """The specification's note verifies under its key, and the key is written back unchanged."""
    key = parse_verifier_key(EXAMPLE["vkey"])
    assert str(key) == EXAMPLE["vkey"]
    assert verify_note(EXAMPLE["note"], [key]).signatures[0].name == key.name


def test_every_changed_character_of_the_text_is_noticed() -> None:
    """No single character of the signed text can change unnoticed."""
    key = parse_verifier_key(EXAMPLE["vkey"])
    note = EXAMPLE["note"]
    for index in range(note.rindex("\n\n") + 1):
        changed = note[:index] + ("x" if note[index] != "x" else "y") + note[index + 1 :]
        with pytest.raises(NoteError):
            verify_note(changed, [key])
