"""What happened on this node and is not yet in the log: entries, chained, signed with the node's key, on its disk.

A line is the canonical content of a log entry with `payload.captured`, so that nothing is signed twice and the operator
appends it as it is; `payload.detail.chain` is the content hash of the line before (64 zeros for the first). Files
`<first sequence>.spool` hold the lines; `acknowledged` holds the sequence up to which the operator has them. An append
is written and synced as a whole before it returns; what a crash left of the last line is cut off at the next start.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from quorate.audit import captured
from quorate.audit.entry import Captured as Source
from quorate.audit.entry import Draft, EntryRefusedError, Tether, content_hash
from quorate.canonical import NotCanonicalError, canonical_bytes, encode_base64
from quorate.identity import ed25519
from quorate_agent.files import sync_directory, write_whole
from quorate_agent.ports import Captured, SpoolError

FIRST = "0" * 64
SEGMENT = 4 * 2**20
"""A file is closed when it is larger."""
KEPT_BACK = 4
"""A fourth of the spool is for entries that announce actions."""
_UNSIGNED = "A" * 86
PHASE = "7"
"""Phase of what nodes record."""


class BrokenSpoolError(SpoolError):
    """What is on the disk is not what was written; it is set aside and never sent."""


@dataclass(slots=True)
class _Place:
    """Where reading goes on: a file and an offset in it."""

    segment: int = 0
    offset: int = 0


class FileSpool:
    """`Spool` in a directory that is the agent's alone.

    Args:
        directory: made where it is absent.
        seed: the node's private key, 32 bytes.
        source: what the entries call their source.
        most: bytes that all files may have.

    Attributes:
        sequence: of the last entry; 0 where there is none.
        acknowledged: up to which the operator has them.
        dropped: entries that were not vital and found no room.

    Raises:
        BrokenSpoolError: a line before the last is not as it was written.
        SpoolError: the directory cannot be read or written.
    """

    def __init__(self, directory: Path, seed: bytes, source: str, *, most: int, segment: int = SEGMENT) -> None:
        self._directory, self._seed, self._source, self._most, self._segment = directory, seed, source, most, segment
        self._public = ed25519.public_key_of(seed)
        self.sequence, self.acknowledged, self.dropped = 0, 0, 0
        self._chain = FIRST
        self._spoilt = False
        self._file: BinaryIO | None = None
        self._first: list[int] = []
        self._place = _Place()
        self._size = 0
        try:
            self._open()
        except OSError as error:
            raise SpoolError(f"{directory}: {error.strerror}") from error

    @property
    def depth(self) -> int:
        """Entries that nobody has acknowledged."""
        return self.sequence - self.acknowledged

    # Writing.

    def append(self, entries: Sequence[Captured]) -> None:
        """See `Spool.append`; either all that find room are on the disk, or none is and nothing was counted."""
        room = self._most if any(entry.vital for entry in entries) else self._most - self._most // KEPT_BACK
        chosen = list(entries) if self._size < room else [entry for entry in entries if entry.vital]
        self.dropped += len(entries) - len(chosen)
        if not chosen:
            return
        lines, chain = [], self._chain
        for number, entry in enumerate(chosen, self.sequence + 1):
            line = self._line(entry, number, chain)
            chain = content_hash(line).hex()
            lines.append(line + b"\n")
        data = b"".join(lines)
        if self._size + len(data) > self._most:
            raise SpoolError(f"{self._directory}: {self._size} of {self._most} bytes are waiting to be handed in")
        self._write(data)
        self._chain, self._size = chain, self._size + len(data)
        self.sequence += len(chosen)

    def _line(self, entry: Captured, number: int, chain: str) -> bytes:
        detail = {**entry.detail, "chain": chain}
        try:
            draft = self._draft(entry, detail, Source(self._source, number, _UNSIGNED))
            signature = encode_base64(ed25519.sign(self._seed, captured.statement_of(draft)))
            return self._draft(entry, detail, Source(self._source, number, signature)).content
        except (EntryRefusedError, NotCanonicalError) as error:
            raise SpoolError(f"{entry.event_type} of {entry.key}: {error}") from error

    @staticmethod
    def _draft(entry: Captured, detail: dict[str, Any], source: Source) -> Draft:
        tether = Tether(PHASE, entry.version or "none", entry.clauses)
        return Draft(entry.key, None, entry.event_type, entry.subject, tether, entry.at, detail=detail, captured=source)

    def _write(self, data: bytes) -> None:
        """Write and sync; after a failure the file is as it was before, or not used again."""
        if self._spoilt:
            raise SpoolError(f"{self._directory}: a write could not be taken back; the next start cuts it off")
        try:
            file = self._current()
            before = file.tell()
            try:
                left = memoryview(data)
                while left:  # a disk that fills up takes a part without an error
                    left = left[file.write(left) or 0 :]
                os.fdatasync(file.fileno())
            except OSError:
                self._undo(file, before)
                raise
        except OSError as error:
            raise SpoolError(f"{self._directory}: {error.strerror}") from error

    def _undo(self, file: BinaryIO, size: int) -> None:
        """Take back what a failed write may have left; where that fails too, only the next start can tell."""
        self._file, self._spoilt = None, True
        with file:
            os.ftruncate(file.fileno(), size)
            os.fdatasync(file.fileno())
        self._spoilt = False

    def _current(self) -> BinaryIO:
        if self._file is not None and self._file.tell() >= self._segment:
            self._file.close()
            self._file = None
        if self._file is None:
            name = self._path(self._first[-1]) if self._first else None
            if name is None or name.stat().st_size >= self._segment:
                self._first.append(self.sequence + 1)
                name = self._path(self._first[-1])
            self._file = name.open("ab", buffering=0)
            sync_directory(self._directory)
        return self._file

    # Reading.

    def waiting(self, most: int) -> list[bytes]:
        """See `Spool.waiting`."""
        found: list[bytes] = []
        for segment in range(self._place.segment, len(self._first)):
            with self._path(self._first[segment]).open("rb") as file:
                file.seek(self._place.offset if segment == self._place.segment else 0)
                for line in file:
                    if len(found) == most:
                        return found
                    if line.endswith(b"\n") and _sequence(line) > self.acknowledged:
                        found.append(line[:-1])
        return found

    def acknowledge(self, sequence: int) -> None:
        """See `Spool.acknowledge`; files that are not needed any more are removed."""
        if not self.acknowledged < sequence <= self.sequence:
            return
        try:
            self._note({"source": self._source, "sequence": sequence})
            self.acknowledged = sequence
            self._advance()
        except OSError as error:
            raise SpoolError(f"{self._directory}: {error.strerror}") from error

    def _advance(self) -> None:
        """Remove whole files, and read on behind what is acknowledged."""
        while len(self._first) > 1 and self._first[1] <= self.acknowledged + 1:
            path = self._path(self._first.pop(0))
            self._size -= path.stat().st_size
            path.unlink()
            self._place = _Place()
        if not self._first:
            return
        with self._path(self._first[0]).open("rb") as file:
            file.seek(self._place.offset)
            for line in file:
                if not line.endswith(b"\n") or _sequence(line) > self.acknowledged:
                    break
                self._place.offset += len(line)
        if self.acknowledged == self.sequence:
            self._empty()

    def _empty(self) -> None:
        """Everything is handed in: the last file goes too, but the chain goes on."""
        if self._place.offset < self._segment // KEPT_BACK:
            return
        if self._file is not None:
            self._file.close()
            self._file = None
        path = self._path(self._first.pop())
        self._note({"source": self._source, "sequence": self.acknowledged, "chain": self._chain})
        path.unlink()
        self._size, self._place = 0, _Place()

    def _note(self, head: dict[str, Any]) -> None:
        write_whole(self._directory / "acknowledged", orjson.dumps(head))

    # Opening.

    def _path(self, first: int) -> Path:
        return self._directory / f"{first:020}.spool"

    def _open(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._first = sorted(int(path.stem) for path in self._directory.glob("*.spool"))
        head = self._acknowledged()
        self.acknowledged = head.get("sequence", 0)
        if "chain" in head and (not self._first or self._first[0] == self.acknowledged + 1):
            self.sequence, self._chain = self.acknowledged, head["chain"]
        for position, first in enumerate(self._first):
            self._check(self._path(first), first, position == 0, last=position == len(self._first) - 1)
        self.sequence = max(self.sequence, self.acknowledged)
        self._advance()

    def _acknowledged(self) -> dict[str, Any]:
        try:
            head = orjson.loads((self._directory / "acknowledged").read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise BrokenSpoolError(f"{self._directory / 'acknowledged'}: {error}") from error
        if head.get("source") != self._source:
            raise BrokenSpoolError(f"{self._directory}: is of source {head.get('source')!r}, this is {self._source!r}")
        return dict(head)

    def _check(self, path: Path, first: int, oldest: bool, *, last: bool) -> None:
        """Follow the chain through a file; the first file of all may begin anywhere in it."""
        expected, good = first, 0
        for line in _lines(path):
            if not line.endswith(b"\n"):
                break  # what the last write before a crash left
            chain, number = self._judge(path, line[:-1])
            if number != expected or (chain != self._chain and not (oldest and expected == first and first > 1)):
                raise BrokenSpoolError(f"{path}: line {expected - first + 1} does not follow the one before")
            self._chain, self.sequence = content_hash(line[:-1]).hex(), number
            expected, good = expected + 1, good + len(line)
        if good != path.stat().st_size:
            if not last:
                raise BrokenSpoolError(f"{path}: ends within a line, and others follow")
            with path.open("r+b") as file:
                file.truncate(good)
                os.fsync(file.fileno())
        self._size += good

    def _judge(self, path: Path, line: bytes) -> tuple[str, int]:
        try:
            content = orjson.loads(line)
            if canonical_bytes(content) != line:
                raise ValueError("it is not canonical")
            captured.verify(content, self._public)
            source = content["payload"]["captured"]
            if source["source"] != self._source:
                raise ValueError(f"its source is {source['source']!r}")
            return str(content["payload"]["detail"]["chain"]), int(source["sourceSeq"])
        except (ValueError, KeyError, TypeError) as error:
            raise BrokenSpoolError(f"{path}: a line is not as it was written: {error}") from error


def _sequence(line: bytes) -> int:
    return int(orjson.loads(line)["payload"]["captured"]["sourceSeq"])


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from file
