"""Proof bundles: one entry of the log that verifies without cluster and database (docs/audit-format.md).

A bundle is a JSON object {format, record, proof}: the record in base64, and a C2SP tlog-proof (c2sp.org/tlog-proof),
which holds the entry's index, its audit path and the signed, perhaps cosigned, checkpoint.
"""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from quorate.audit.checkpoint import Checkpoint, CheckpointError, open_checkpoint, parse_checkpoint
from quorate.audit.merkle import HASH_BYTES, ProofError, verify_inclusion
from quorate.audit.note import MAX_NOTE_BYTES, NoteError, parse_note
from quorate.audit.record import Record, RecordError, leaf_hash
from quorate.audit.rules import FaultError, StoredEntry, check_entry
from quorate.canonical import NotCanonicalError, parse_json
from quorate.identity.vkey import VerifierKey

FORMAT = "quorate.dev/entry-proof/v1"
MAX_BUNDLE_BYTES = 2 * MAX_NOTE_BYTES
MAX_PATH = 63
_HEADER = "c2sp.org/tlog-proof@v1"
_MAX_INDEX = 2**63 - 1


class BundleError(ValueError):
    """Bytes that are not a proof bundle, or not a tlog-proof; the message names the part and the rule."""


class NotProvenError(Exception):
    """A well-formed bundle that does not prove its entry; `phase` is that of the verifier's faults."""

    def __init__(self, phase: str, message: str) -> None:
        super().__init__(message)
        self.phase = phase


@dataclass(frozen=True)
class TlogProof:
    """A C2SP tlog-proof: audit path of leaf `index`, from the leaf upwards, and the signed note that it leads to."""

    index: int
    hashes: tuple[bytes, ...]
    note: str
    extra: bytes | None = None

    def text(self) -> str:
        """The proof as text."""
        lines = [_HEADER]
        if self.extra is not None:
            lines.append(f"extra {base64.b64encode(self.extra).decode()}")
        lines.append(f"index {self.index}")
        lines += [base64.b64encode(item).decode() for item in self.hashes]
        return "\n".join([*lines, "", self.note])


@dataclass(frozen=True)
class ProofBundle:
    """The bytes of a record and the proof that it stands in a log."""

    record: bytes
    proof: TlogProof

    def encode(self) -> bytes:
        """The bundle as indented JSON with a line end."""
        document = {"format": FORMAT, "record": base64.b64encode(self.record).decode(), "proof": self.proof.text()}
        return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


@dataclass(frozen=True)
class Proven:
    """What a bundle shows: the record and its parsed content, in the tree of `checkpoint`."""

    record: Record
    content: dict[str, Any]
    checkpoint: Checkpoint


def parse_tlog_proof(text: str) -> TlogProof:
    """Parse a tlog-proof; BundleError for anything that `TlogProof.text` cannot have written."""
    head, separator, note = text.partition("\n\n")
    lines = head.split("\n")
    if not separator or lines.pop(0) != _HEADER:
        raise BundleError(f"a tlog-proof begins with {_HEADER} and holds a checkpoint behind an empty line")
    extra = None
    if lines and lines[0].startswith("extra "):
        extra = _base64("extra", lines.pop(0).removeprefix("extra "))
    if not lines or not lines[0].startswith("index "):
        raise BundleError("a tlog-proof has a line `index <number>`")
    index = _index(lines.pop(0).removeprefix("index "))
    if len(lines) > MAX_PATH:
        raise BundleError(f"the audit path has {len(lines)} hashes, more than {MAX_PATH}")
    hashes = tuple(_base64("hash", line) for line in lines)
    if any(len(item) != HASH_BYTES for item in hashes):
        raise BundleError(f"a hash of the audit path does not have {HASH_BYTES} bytes")
    return TlogProof(index, hashes, note, extra)


def _index(text: str) -> int:
    if not text.isascii() or not text.isdigit() or (text.startswith("0") and text != "0") or len(text) > 19:
        raise BundleError(f"index {text[:40]!r} is not a decimal number")
    if int(text) > _MAX_INDEX:
        raise BundleError(f"index {text} is above {_MAX_INDEX}")
    return int(text)


def _base64(what: str, text: str) -> bytes:
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise BundleError(f"{what} {text[:80]!r} is not base64") from error
    if base64.b64encode(data).decode() != text:
        raise BundleError(f"{what} {text[:80]!r} is not base64 as it is written: unused bits must be zero")
    return data


def parse_bundle(data: bytes) -> ProofBundle:
    """Parse the bytes of a bundle, at most MAX_BUNDLE_BYTES of them; BundleError names what is wrong."""
    if len(data) > MAX_BUNDLE_BYTES:
        raise BundleError(f"the bundle is over {MAX_BUNDLE_BYTES} bytes")
    try:
        document = parse_json(data)
    except NotCanonicalError as error:
        raise BundleError(f"the bundle is not JSON: {error}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise BundleError(f"a proof bundle is a JSON object whose `format` is {FORMAT}")
    if set(document) != {"format", "record", "proof"}:
        raise BundleError("a proof bundle holds format, record and proof, no more and no less")
    record, proof = document["record"], document["proof"]
    if not isinstance(record, str) or not isinstance(proof, str):
        raise BundleError("`record` and `proof` of a bundle are strings")
    return ProofBundle(_base64("record", record), parse_tlog_proof(proof))


def examine_bundle(bundle: ProofBundle) -> Proven:
    """Check everything of a bundle but the signatures under its checkpoint.

    Raises:
        NotProvenError: record, content, chain, merkle or checkpoint is at fault.
    """
    try:
        record = Record.decode(bundle.record)
    except RecordError as error:
        raise NotProvenError("record", str(error)) from error
    try:
        content = dict(check_entry(StoredEntry(record.sequence, bundle.record), record))
    except FaultError as error:
        raise NotProvenError(error.phase, str(error)) from error
    try:
        checkpoint = parse_checkpoint(parse_note(bundle.proof.note).text)
    except (NoteError, CheckpointError) as error:
        raise NotProvenError("checkpoint", str(error)) from error
    _check_place(record, bundle.proof, checkpoint)
    return Proven(record, content, checkpoint)


def _check_place(record: Record, proof: TlogProof, checkpoint: Checkpoint) -> None:
    if record.chain_id != checkpoint.origin:
        raise NotProvenError("record", f"the record belongs to chain {record.chain_id!r}, not {checkpoint.origin!r}")
    if record.sequence != proof.index:
        raise NotProvenError("record", f"the record says sequence {record.sequence}, its proof {proof.index}")
    leaf = leaf_hash(record.encode())
    try:
        verify_inclusion(leaf=leaf, index=proof.index, size=checkpoint.size, proof=proof.hashes, root=checkpoint.root)
    except ProofError as error:
        raise NotProvenError("merkle", str(error)) from error


def open_bundle(bundle: ProofBundle, keys: Sequence[VerifierKey]) -> Proven:
    """What a bundle proves, its checkpoint signed by one of `keys`.

    Whether enough witnesses cosigned `bundle.proof.note` is for `quorate.audit.witness` to say.

    Raises:
        NotProvenError: it does not prove its entry, or no known key signed the checkpoint.
    """
    proven = examine_bundle(bundle)
    try:
        open_checkpoint(bundle.proof.note, keys, origin=proven.record.chain_id)
    except CheckpointError as error:
        raise NotProvenError("checkpoint", str(error)) from error
    return proven
