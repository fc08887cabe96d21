"""The verifier: re-derives a whole chain from its stored bytes and says what it found (audit.md, 8).

Phases in order, per entry content → record → chain, then Merkle head, then checkpoints. Nothing stored is trusted: each
column is recomputed from the record's bytes. The first fault of a chain ends it, because whatever follows hangs on it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

import orjson

from quorate.audit.checkpoint import Checkpoint, CheckpointError, open_checkpoint
from quorate.audit.entry import check_content, content_hash, parse_timestamp
from quorate.audit.merkle import Frontier
from quorate.audit.record import GENESIS_HASH, Record, chain_hash, leaf_hash
from quorate.canonical import canonical_bytes
from quorate.identity.vkey import VerifierKey


class Verdict(StrEnum):
    """What a verification says as a whole; the command line gives each its own exit code."""

    INTACT = "Intact"
    TAMPERED = "Tampered"
    UNANCHORED = "Unanchored"
    CANNOT_TELL = "CannotTell"


@dataclass(frozen=True)
class StoredEntry:
    """One row as the database holds it; `about` and `subject_key` are the columns that queries use."""

    sequence: int
    entry_id: UUID
    record: bytes
    leaf: bytes
    chain: bytes
    subject_key: str | None = None


@dataclass(frozen=True)
class StoredHead:
    """The head row of a chain: `size` entries, `frontier` as Frontier.encode."""

    chain_id: str
    epoch: int
    size: int
    chain: bytes
    frontier: bytes


@dataclass(frozen=True)
class Fault:
    """The first thing wrong with a chain. `phase` is content | record | chain | merkle | checkpoint."""

    chain_id: str
    phase: str
    message: str
    sequence: int | None = None
    entry_id: str | None = None


@dataclass
class ChainReport:
    """What was checked of one chain."""

    chain_id: str
    checked: int = 0
    root: str = ""
    anchored_size: int = 0
    checkpoints: int = 0
    fault: Fault | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        """TAMPERED with a fault; CANNOT_TELL if nothing was checked; UNANCHORED without an external checkpoint."""
        if self.fault is not None:
            return Verdict.TAMPERED
        if self.checked == 0:
            return Verdict.CANNOT_TELL
        return Verdict.INTACT if self.anchored_size else Verdict.UNANCHORED


class _FaultError(Exception):
    def __init__(self, phase: str, message: str) -> None:
        super().__init__(message)
        self.phase = phase


class Progress(Protocol):
    """Called with the number of entries checked so far, at most once per batch."""

    def __call__(self, checked: int) -> None:
        """Tell how far the verification is."""


class ChainVerifier:
    """Verifies one chain as a stream of rows in ascending sequence, in constant memory.

    `anchors` are external checkpoints (texts of signed notes kept outside the database) with the keys that may sign
    them; `stored` are the checkpoints that the database itself holds. Roots at their sizes are taken in passing.
    """

    def __init__(
        self,
        chain_id: str,
        *,
        keys: Sequence[VerifierKey] = (),
        stored: Iterable[str] = (),
        anchors: Iterable[str] = (),
    ) -> None:
        self.report = ChainReport(chain_id)
        self._frontier = Frontier()
        self._chain = GENESIS_HASH
        self._sealed_at = -(2**63)
        self._epoch = 0
        self._wanted: dict[int, list[tuple[Checkpoint, bool]]] = {}
        self._keys = tuple(keys)
        for text, external in [*((t, False) for t in stored), *((t, True) for t in anchors)]:
            self._expect(text, external=external)

    def _expect(self, text: str, *, external: bool) -> None:
        try:
            checkpoint = open_checkpoint(text, self._keys, origin=self.report.chain_id)
        except CheckpointError as error:
            self._fail("checkpoint", f"a {'given' if external else 'stored'} checkpoint does not verify: {error}")
            return
        self._wanted.setdefault(checkpoint.size, []).append((checkpoint, external))

    def _fail(self, phase: str, message: str, entry: StoredEntry | None = None) -> None:
        if self.report.fault is None:
            self.report.fault = Fault(
                self.report.chain_id,
                phase,
                message,
                None if entry is None else entry.sequence,
                None if entry is None else str(entry.entry_id),
            )

    def feed(self, entry: StoredEntry) -> bool:
        """Check the next row; False once a fault was found (the rest of the chain proves nothing)."""
        if self.report.fault is not None:
            return False
        try:
            self._check(entry)
        except _FaultError as error:
            self._fail(error.phase, str(error), entry)
            return False
        self.report.checked += 1
        self._compare(self._frontier.size)
        return self.report.fault is None

    def _check(self, entry: StoredEntry) -> None:
        expected = self._frontier.size
        if entry.sequence != expected:
            raise _FaultError("chain", f"entry {expected} is missing: the next row has sequence {entry.sequence}")
        try:
            record = Record.decode(entry.record)
        except ValueError as error:
            raise _FaultError("record", str(error)) from error
        check_row(entry, record)
        self._check_place(record, expected)
        leaf = leaf_hash(entry.record)
        if leaf != entry.leaf:
            raise _FaultError("merkle", "the stored leaf hash is not the hash of the record")
        self._chain = chain_hash(self._chain, leaf)
        if self._chain != entry.chain:
            raise _FaultError("chain", "the stored chain hash does not follow from the record and its predecessor")
        self._frontier.append(leaf)

    def _check_place(self, record: Record, expected: int) -> None:
        if record.chain_id != self.report.chain_id:
            raise _FaultError("record", f"the record belongs to chain {record.chain_id!r}")
        if record.sequence != expected:
            raise _FaultError("record", f"the record says sequence {record.sequence}, its place is {expected}")
        if record.previous != self._chain:
            raise _FaultError("chain", "the record's previous hash is not its predecessor's chain hash")
        if record.epoch not in (self._epoch, self._epoch + 1):
            raise _FaultError("record", f"epoch {record.epoch} cannot follow epoch {self._epoch}")
        if record.sealed_at < self._sealed_at:
            raise _FaultError("record", "the sealed time runs backwards")
        self._epoch, self._sealed_at = record.epoch, record.sealed_at

    def _compare(self, size: int) -> None:
        for checkpoint, external in self._wanted.pop(size, ()):
            if checkpoint.root != self._frontier.root():
                kind = "given" if external else "stored"
                self._fail("checkpoint", f"the {kind} checkpoint of size {size} has another root")
                return
            self.report.checkpoints += 1
            if external:
                self.report.anchored_size = max(self.report.anchored_size, size)

    def finish(self, head: StoredHead | None) -> ChainReport:
        """Compare with the head row (None: the chain has none) and with checkpoints beyond the end."""
        report = self.report
        report.root = self._frontier.root().hex()
        if report.fault is not None:
            return report
        size = self._frontier.size
        if head is None or head.size != size:
            held = "no head row" if head is None else f"a head row of size {head.size}"
            self._fail("chain", f"the chain has {size} entries but {held}")
        elif head.chain != self._chain or head.frontier != self._frontier.encode():
            self._fail("merkle", "the head row does not match the entries")
        elif self._wanted:
            beyond = max(self._wanted)
            self._fail(
                "checkpoint", f"a signed checkpoint covers {beyond} entries but only {size} are there: truncated"
            )
        return report


def check_row(entry: StoredEntry, record: Record) -> Mapping[str, Any]:
    """The content of a row whose columns agree with its record; raises the fault otherwise."""
    if content_hash(record.content) != record.entry_hash:
        raise _FaultError("content", "the content does not have the entry hash of its record")
    try:
        # Fast and still strict: what a lenient parse would repair (a name given twice, a number rounded) comes out
        # as other bytes than went in.
        document = orjson.loads(record.content)
        if canonical_bytes(document) != record.content:
            raise _FaultError("content", "the content is not in canonical form")
        check_content(document)
        parse_timestamp(document["timestamp"])
    except ValueError as error:
        raise _FaultError("content", str(error)) from error
    if document["entry_id"] != str(entry.entry_id):
        raise _FaultError("content", f"the row's id {entry.entry_id} is not the content's {document['entry_id']}")
    if entry.subject_key is not None and entry.subject_key != document["payload"]["subject"]["key"]:
        raise _FaultError("content", "the row's subject key is not the content's")
    return dict(document)


def combine(reports: Sequence[ChainReport]) -> Verdict:
    """The verdict over all chains: the worst one; nothing checked at all is CANNOT_TELL."""
    verdicts = {report.verdict for report in reports}
    for worst in (Verdict.TAMPERED, Verdict.CANNOT_TELL, Verdict.UNANCHORED):
        if worst in verdicts:
            return worst
    return Verdict.INTACT if verdicts else Verdict.CANNOT_TELL
