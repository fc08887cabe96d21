"""C2SP signed notes: a text, an empty line, and signature lines (`— name base64(key id ‖ signature)`).

The signed text runs up to and including the line end before the empty line. Unknown signatures are ignored, as the
specification asks; a known key whose signature is wrong makes the whole note invalid.
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass

from quorate.identity import ed25519
from quorate.identity.vkey import ED25519, SignerKey, VerifierKey

MAX_NOTE_BYTES = 1_000_000
MAX_SIGNATURES = 100
_DASH = "— "


class NoteError(ValueError):
    """A note that cannot be read or whose signatures do not hold."""


@dataclass(frozen=True)
class SignatureLine:
    """One parsed signature line."""

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True)
class Note:
    """A parsed note; `text` ends with a line end."""

    text: str
    signatures: tuple[SignatureLine, ...]


def parse_note(note: str) -> Note:
    """Split a note into text and signature lines; NoteError for malformed or oversized input."""
    if len(note.encode(errors="replace")) > MAX_NOTE_BYTES:
        raise NoteError(f"the note is over {MAX_NOTE_BYTES} bytes")
    if any(ord(character) < 0x20 and character != "\n" for character in note) or "\ufffd" in note:
        raise NoteError("the note holds control characters")
    text, separator, tail = note.rpartition("\n\n")
    if not separator or not tail.endswith("\n"):
        raise NoteError("the note has no signature block")
    lines = tail.removesuffix("\n").split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteError(f"the note has over {MAX_SIGNATURES} signatures")
    return Note(text + "\n", tuple(_parse_line(line) for line in lines))


def _parse_line(line: str) -> SignatureLine:
    if not line.startswith(_DASH):
        raise NoteError(f"malformed signature line {line[:80]!r}")
    name, _, blob = line.removeprefix(_DASH).partition(" ")
    try:
        raw = base64.b64decode(blob, validate=True)
    except binascii.Error as error:
        raise NoteError(f"malformed signature of {name!r}: {error}") from error
    if not name or len(raw) < 5:
        raise NoteError(f"malformed signature line {line[:80]!r}")
    return SignatureLine(name, raw[:4], raw[4:])


def verify_note(note: str, keys: Sequence[VerifierKey]) -> Note:
    """The note, if at least one of `keys` signed it and no signature of a known key is wrong; else NoteError."""
    parsed = parse_note(note)
    known = {(key.name, key.key_id): key for key in keys if key.algorithm == ED25519}
    good = 0
    for line in parsed.signatures:
        key = known.get((line.name, line.key_id))
        if key is None:
            continue
        if not ed25519.verify(key.public_key, parsed.text.encode(), line.signature):
            raise NoteError(f"the signature of {line.name!r} does not verify")
        good += 1
    if good == 0:
        raise NoteError("no known key signed the note")
    return parsed


def sign_note(text: str, signer: SignerKey) -> str:
    """The note over `text` (which must end with a line end) with one Ed25519 signature."""
    if not text.endswith("\n"):
        raise NoteError("the text of a note ends with a line end")
    return text + "\n" + signature_line(text, signer)


def signature_line(text: str, signer: SignerKey) -> str:
    """One signature line, to be appended to a note over the same text."""
    raw = signer.verifier.key_id + ed25519.sign(signer.seed, text.encode())
    return f"{_DASH}{signer.name} {base64.b64encode(raw).decode()}\n"
