"""Checkpoints: C2SP tlog-checkpoints over the tree of a chain (audit.md, 7).

The text is three lines, origin (= chain id), size in decimal, root in standard base64; no extension lines.
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass

from quorate.audit.merkle import HASH_BYTES
from quorate.audit.note import NoteError, sign_note, verify_note
from quorate.identity.vkey import SignerKey, VerifierKey

MAX_SIZE = 2**63 - 1


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, is not signed by a known key, or is of another log."""


@dataclass(frozen=True)
class Checkpoint:
    """The head of a log: `size` leaves under `root` (32 bytes)."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The text that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    def sign(self, signer: SignerKey) -> str:
        """The signed note."""
        return sign_note(self.text(), signer)


def parse_checkpoint(text: str) -> Checkpoint:
    """Parse the text of a checkpoint (without signatures); CheckpointError names the line that is wrong."""
    lines = text.split("\n")
    if len(lines) != 4 or lines[3]:
        raise CheckpointError("a checkpoint has three lines: origin, size, root")
    origin, size, root = lines[:3]
    if not origin:
        raise CheckpointError("the origin is empty")
    if not size.isascii() or not size.isdigit() or (size.startswith("0") and size != "0") or len(size) > 19:
        raise CheckpointError(f"size {size[:40]!r} is not a decimal number")
    if int(size) > MAX_SIZE:
        raise CheckpointError(f"size {size} is above {MAX_SIZE}")
    return Checkpoint(origin, int(size), _root(root))


def _root(text: str) -> bytes:
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise CheckpointError(f"root {text[:80]!r} is not base64") from error
    if len(raw) != HASH_BYTES:
        raise CheckpointError(f"the root has {len(raw)} bytes, not {HASH_BYTES}")
    if base64.b64encode(raw).decode() != text:
        raise CheckpointError(f"root {text!r} is not base64 as it is written: unused bits must be zero")
    return raw


def open_checkpoint(note: str, keys: Sequence[VerifierKey], *, origin: str) -> Checkpoint:
    """The checkpoint in a signed note by one of `keys` for the log `origin`; else CheckpointError."""
    try:
        checkpoint = parse_checkpoint(verify_note(note, keys).text)
    except NoteError as error:
        raise CheckpointError(str(error)) from error
    if checkpoint.origin != origin:
        raise CheckpointError(f"the checkpoint is of log {checkpoint.origin!r}, not {origin!r}")
    return checkpoint
