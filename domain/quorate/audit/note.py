"""C2SP signed notes: a text, an empty line, and signature lines (`— name base64(key id ‖ signature)`).

The signed text runs up to and including the line end before the empty line. Unknown signatures are ignored, as the
specification asks; a known key whose signature is wrong makes the whole note invalid.

A witness's line is a C2SP cosignature (tlog-cosignature.md, key algorithm 0x04): Unix seconds as eight bytes,
big-endian, and the Ed25519 signature of the lines `cosignature/v1` and `time <seconds>` followed by the note's text.
"""

import base64
import struct
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from quorate.identity import ed25519
from quorate.identity.vkey import COSIGNATURE, ED25519, SignerKey, VerifierKey

MAX_NOTE_BYTES = 1_000_000
MAX_SIGNATURES = 100
MAX_TIME = 2**63 - 1
_COSIGNATURE_BYTES = 8 + 64
_DASH = "— "


class NoteError(ValueError):
    """A note that cannot be read or whose signatures do not hold."""


class UnsignedError(NoteError):
    """A note that no known key signed: unlike a wrong signature, it may be fine for somebody with other keys."""


@dataclass(frozen=True)
class SignatureLine:
    """One parsed signature line."""

    name: str
    key_id: bytes
    signature: bytes

    def __str__(self) -> str:
        """The line as it stands in a note, with its line end."""
        return f"{_DASH}{self.name} {base64.b64encode(self.key_id + self.signature).decode()}\n"


@dataclass(frozen=True)
class Cosignature:
    """A verified cosignature: whose, and when it says it was made (Unix seconds)."""

    key: VerifierKey
    at: int
    line: SignatureLine


@dataclass(frozen=True)
class Note:
    """A parsed note; `text` ends with a line end. `cosignatures` are those that were verified, one per witness key."""

    text: str
    signatures: tuple[SignatureLine, ...]
    cosignatures: tuple[Cosignature, ...] = ()

    def __str__(self) -> str:
        """The note as it is written."""
        return self.text + "\n" + "".join(str(line) for line in self.signatures)

    def signed_by(self, keys: Iterable[VerifierKey]) -> "Note":
        """The same note with the lines of these keys only."""
        known = {(key.name, key.key_id) for key in keys}
        return Note(self.text, tuple(line for line in self.signatures if (line.name, line.key_id) in known))

    def extended(self, lines: Iterable[SignatureLine]) -> "Note":
        """The same note with further lines at its end; one that it has already is not repeated."""
        new = (line for line in lines if line not in self.signatures)
        return Note(self.text, (*self.signatures, *dict.fromkeys(new)), self.cosignatures)


def parse_note(note: str) -> Note:
    """Split a note into text and signature lines; NoteError for malformed or oversized input."""
    try:
        size = len(note.encode())
    except UnicodeEncodeError as error:
        raise NoteError(f"the note is no Unicode text: {error.reason}") from error
    if size > MAX_NOTE_BYTES:
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
    except ValueError as error:  # binascii.Error, or characters that are not ASCII
        raise NoteError(f"malformed signature of {name!r}: {error}") from error
    if not name or len(raw) < 5:
        raise NoteError(f"malformed signature line {line[:80]!r}")
    return SignatureLine(name, raw[:4], raw[4:])


def verify_note(note: str, keys: Sequence[VerifierKey], witnesses: Collection[VerifierKey] = ()) -> Note:
    """The note, if at least one of `keys` signed it and no signature of a known key is wrong; else NoteError.

    Of `keys` only those of algorithm 0x01 count, of `witnesses` only those of 0x04: a cosignature never stands for the
    log's own signature. The cosignatures of `witnesses` are returned; how many are enough is the caller's question.
    """
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
        raise UnsignedError("no known key signed the note")
    return Note(parsed.text, parsed.signatures, _cosignatures(parsed, witnesses))


def _cosignatures(parsed: Note, witnesses: Collection[VerifierKey]) -> tuple[Cosignature, ...]:
    known = {(key.name, key.key_id): key for key in witnesses if key.algorithm == COSIGNATURE}
    found: dict[VerifierKey, Cosignature] = {}
    for line in parsed.signatures:
        key = known.get((line.name, line.key_id))
        if key is None:
            continue
        cosignature = Cosignature(key, verify_cosignature(parsed.text, line, key), line)
        if key not in found or found[key].at < cosignature.at:
            found[key] = cosignature
    return tuple(found.values())


def verify_cosignature(text: str, line: SignatureLine, key: VerifierKey) -> int:
    """The time (Unix seconds) of a witness's cosignature over the text of a note; NoteError if it does not verify."""
    if len(line.signature) != _COSIGNATURE_BYTES or (line.name, line.key_id) != (key.name, key.key_id):
        raise NoteError(f"the cosignature of {line.name!r} is not one of key {key.name!r}")
    (at,) = struct.unpack_from(">Q", line.signature)
    if at > MAX_TIME or not ed25519.verify(key.public_key, _cosigned(text, at), line.signature[8:]):
        raise NoteError(f"the cosignature of {line.name!r} does not verify")
    return int(at)


def _cosigned(text: str, at: int) -> bytes:
    return f"cosignature/v1\ntime {at}\n{text}".encode()


def sign_note(text: str, signer: SignerKey) -> str:
    """The note over `text` (which must end with a line end) with one Ed25519 signature."""
    if not text.endswith("\n"):
        raise NoteError("the text of a note ends with a line end")
    return text + "\n" + signature_line(text, signer)


def signature_line(text: str, signer: SignerKey) -> str:
    """One signature line, to be appended to a note over the same text."""
    if signer.algorithm != ED25519:
        raise NoteError(f"key {signer.name!r} of algorithm {signer.algorithm:#04x} signs no notes, it cosigns them")
    return str(SignatureLine(signer.name, signer.verifier.key_id, ed25519.sign(signer.seed, text.encode())))


def cosign(text: str, witness: SignerKey, *, at: int) -> SignatureLine:
    """A witness's line over the text of a note, saying that it was made at `at` (Unix seconds).

    Whoever calls this has made sure that the note continues what the witness saw before, and has stored it.
    """
    if witness.algorithm != COSIGNATURE:
        raise NoteError(f"key {witness.name!r} of algorithm {witness.algorithm:#04x} is no witness key (0x04)")
    signature = struct.pack(">Q", at) + ed25519.sign(witness.seed, _cosigned(text, at))
    return SignatureLine(witness.name, witness.verifier.key_id, signature)
