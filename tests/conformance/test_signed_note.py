"""Signed notes against the example of the C2SP specification."""

import pytest

from quorate.audit.checkpoint import Checkpoint, CheckpointError, parse_checkpoint
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


ROOT = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
# Cases of TestUnmarshalLogState in transparency-dev/formats, log/checkpoint_test.go (Apache-2.0), with a root of 32
# bytes, as SHA-256 trees have; ours have no extension lines, which c2sp.org/tlog-checkpoint does not recommend.
CHECKPOINTS = [
    ("valid one", f"Log\n123\n{ROOT}\n", Checkpoint("Log", 123, bytes(32))),
    ("valid with different origin", f"Banana\n9944\n{ROOT}\n", Checkpoint("Banana", 9944, bytes(32))),
    ("empty tree", f"Log\n0\n{ROOT}\n", Checkpoint("Log", 0, bytes(32))),
    ("trailing data", f"Log\n9944\n{ROOT}\nHere's some associated data.\n", None),
    ("trailing newlines", f"Log\n9944\n{ROOT}\n\n\n\n", None),
    ("insufficient lines", "Head\n9944\n", None),
    ("empty header", f"\n9944\n{ROOT}\n", None),
    ("missing newline on root", f"Log\n123\n{ROOT}", None),
    ("size not a number", f"Log\nbananas\n{ROOT}\n", None),
    ("size negative", f"Log\n-34\n{ROOT}\n", None),
    ("size with a sign", f"Log\n+34\n{ROOT}\n", None),
    ("size with leading zero", f"Log\n034\n{ROOT}\n", None),
    ("size too large", f"Log\n3438945738945739845734895735\n{ROOT}\n", None),
    ("size of 2^63", f"Log\n9223372036854775808\n{ROOT}\n", None),
    ("root not base64", "Log\n123\nThisIsn'tBase64\n", None),
    ("root too short", "Log\n123\nYmFuYW5hcw==\n", None),
    ("root with unused bits", f"Log\n123\n{ROOT[:-2]}B=\n", None),
    ("root without padding", f"Log\n123\n{ROOT[:-1]}\n", None),
]


@pytest.mark.parametrize(("text", "found"), [case[1:] for case in CHECKPOINTS], ids=[case[0] for case in CHECKPOINTS])
def test_checkpoint_texts(text: str, found: Checkpoint | None) -> None:
    """What the public package reads is read alike; what it refuses, and what is not minimal, is refused."""
    if found is None:
        with pytest.raises(CheckpointError):
            parse_checkpoint(text)
    else:
        assert parse_checkpoint(text) == found and found.text() == text
