"""The verifier: re-derives a chain from its stored bytes and says what it found (audit.md, 8; docs/verification.md).

Per entry content → record → chain → indexes → Merkle tiles, then checkpoints, then the head. Nothing stored is trusted.
The first fault of a chain ends it, because whatever follows hangs on it. Segments that a fast scan found fine are
joined; where one does not fit, its entries are fed one by one, and the rules here name the fault.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from quorate.audit.archive import GENESIS, Point
from quorate.audit.checkpoint import Checkpoint, CheckpointError, parse_checkpoint
from quorate.audit.growth import FullTile, Growth
from quorate.audit.merkle import HASH_BYTES, TILE_WIDTH, Frontier
from quorate.audit.note import NoteError, verify_note
from quorate.audit.quarantine import ResumptionError, check_resumption
from quorate.audit.record import Record, chain_hash, leaf_hash
from quorate.audit.rules import FaultError, StoredEntry, check_entry, id_of
from quorate.audit.segment import Segment
from quorate.audit.tiles import perfect_root
from quorate.audit.witness import witnesses_of
from quorate.identity.vkey import VerifierKey


class Verdict(StrEnum):
    """What a verification says as a whole; the command line gives each its own exit code."""

    INTACT = "Intact"
    TAMPERED = "Tampered"
    UNANCHORED = "Unanchored"
    CANNOT_TELL = "CannotTell"


@dataclass(frozen=True)
class StoredHead:
    """The head row of a chain: `size` entries, `frontier` as Frontier.encode."""

    chain_id: str
    epoch: int
    size: int
    chain: bytes
    frontier: bytes
    sealed_at: int | None = None


@dataclass(frozen=True)
class StoredTile:
    """A full tile as it is stored; `root` is None where the place keeps none."""

    hashes: bytes
    root: bytes | None = None


TileReader = Callable[[int, int], StoredTile | None]
"""The full tile of a level and number, None if it is not there."""


@dataclass(frozen=True)
class Start:
    """Where a verification begins when it does not begin at entry 0: the chain's state there, and how it is known.

    `covered`: by a signed checkpoint that was believed; otherwise one must still prove it.
    """

    point: Point
    frontier: Frontier
    why: str
    covered: bool = False


@dataclass(frozen=True)
class Fault:
    """The first thing wrong with a chain. `phase` is content | record | chain | index | merkle | checkpoint."""

    chain_id: str
    phase: str
    message: str
    sequence: int | None = None
    entry_id: str | None = None


@dataclass
class ChainReport:
    """What was checked of one chain.

    `checked` entries from `first` on, behind the chain hash `previous`; the chain has `size`. `anchored_size` is the
    size of the largest checkpoint that whoever holds the bytes cannot make: one from outside, or one that witnesses
    cosigned (`witnesses`, on the best). `checkpoints` were compared. `unsealed` and `refused` are rows of the intake,
    None where there is none. `entry_id` is set where one entry alone was checked.
    """

    chain_id: str
    checked: int = 0
    first: int = 0
    previous: str = ""
    size: int = 0
    epoch: int = 0
    root: str = ""
    anchored_size: int = 0
    witnesses: int = 0
    checkpoints: int = 0
    unsealed: int | None = None
    refused: int | None = None
    entry_id: str | None = None
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


@dataclass(frozen=True)
class _Wanted:
    """A checkpoint that the chain is compared with."""

    checkpoint: Checkpoint
    external: bool
    cosigned: int

    @property
    def kind(self) -> str:
        return "given" if self.external else "stored"


class ChainVerifier:
    """Verifies one chain as a stream of rows in ascending sequence, in constant memory.

    Args:
        chain_id: the chain.
        keys: who may sign its checkpoints.
        stored: signed notes that the database itself holds.
        anchors: signed notes that were kept outside of it.
        witnesses: whose cosignatures count.
        require_witnesses: a checkpoint is an anchor only with so many cosignatures; with 0 any from outside is.
        start: where to begin; None at entry 0.
        tiles: reads stored tiles, which are then compared; None where there are none.
    """

    def __init__(
        self,
        chain_id: str,
        *,
        keys: Sequence[VerifierKey] = (),
        stored: Iterable[str] = (),
        anchors: Iterable[str] = (),
        witnesses: Sequence[VerifierKey] = (),
        require_witnesses: int = 0,
        start: Start | None = None,
        tiles: TileReader | None = None,
    ) -> None:
        self.report = ChainReport(chain_id)
        point = GENESIS if start is None else start.point
        self._growth = Growth(Frontier() if start is None else start.frontier)
        self._chain, self._epoch = point.chain_hash, point.epoch
        self._sealed_at = point.sealed_at if start is not None else -(2**63)
        self._tiles = tiles
        self._keys, self._witnesses, self._needed = tuple(keys), tuple(witnesses), require_witnesses
        self._wanted: dict[int, list[_Wanted]] = {}
        self._doubts: list[_Wanted] = []
        self._lost: dict[Checkpoint, int] = {}
        self.report.first, self.report.previous, self.report.size = point.size, point.chain_hash.hex(), point.size
        for text, external in [*((t, False) for t in stored), *((t, True) for t in anchors)]:
            self._expect(text, external=external)
        self._compare(point.size)

    @property
    def size(self) -> int:
        """How many entries of the chain are behind the verifier."""
        return self._growth.frontier.size

    @property
    def wanted(self) -> list[int]:
        """Sizes at which a checkpoint is still to be compared, ascending."""
        return sorted(self._wanted)

    def _expect(self, text: str, *, external: bool) -> None:
        kind = "given" if external else "stored"
        try:
            note = verify_note(text, self._keys, self._witnesses)
            checkpoint = parse_checkpoint(note.text)
        except (NoteError, CheckpointError) as error:
            self.fail("checkpoint", f"a {kind} checkpoint does not verify: {error}")
            return
        if checkpoint.origin != self.report.chain_id:
            self.fail("checkpoint", f"a {kind} checkpoint is of log {checkpoint.origin!r}")
            return
        wanted = _Wanted(checkpoint, external, witnesses_of(note.cosignatures))
        if checkpoint.size >= self.report.first:
            self._wanted.setdefault(checkpoint.size, []).append(wanted)
        elif external:
            self.report.notes.append(f"the given checkpoint of size {checkpoint.size} lies before what was verified")

    @property
    def tree(self) -> Growth:
        """The tree so far."""
        return self._growth

    def fail(self, phase: str, message: str, entry: StoredEntry | None = None) -> None:
        """Report a fault, also one that whoever reads the chain found beside it; the first one stays."""
        if self.report.fault is None:
            sequence, identifier = (None, None) if entry is None else (entry.sequence, id_of(entry))
            self.report.fault = Fault(self.report.chain_id, phase, message, sequence, identifier)

    def feed(self, entry: StoredEntry) -> bool:
        """Check the next row; False once a fault was found (the rest of the chain proves nothing)."""
        if self.report.fault is not None:
            return False
        try:
            self._check(entry)
        except FaultError as error:
            self.fail(error.phase, str(error), entry)
            return False
        self.report.checked += 1
        self._compare(self.size)
        return True

    def _check(self, entry: StoredEntry) -> None:
        if entry.sequence != self.size:
            raise FaultError("chain", f"entry {self.size} is missing: the next row has sequence {entry.sequence}")
        try:
            record = Record.decode(entry.record)
        except ValueError as error:
            raise FaultError("record", str(error)) from error
        content = check_entry(entry, record)
        self._check_place(record)
        if record.epoch != self._epoch:
            self._resume(record, content)
        leaf = leaf_hash(entry.record)
        growth = self._growth
        full = growth.add(0, leaf)
        self._chain = chain_hash(self._chain, leaf)
        self._epoch, self._sealed_at = record.epoch, record.sealed_at
        for tile in full:
            self._check_tile(tile)

    def _check_place(self, record: Record) -> None:
        if record.chain_id != self.report.chain_id:
            raise FaultError("record", f"the record belongs to chain {record.chain_id!r}")
        if record.sequence != self.size:
            raise FaultError("record", f"the record says sequence {record.sequence}, its place is {self.size}")
        if record.previous != self._chain:
            raise FaultError("chain", "the record's previous hash is not its predecessor's chain hash")
        if record.epoch not in (self._epoch, self._epoch + 1):
            raise FaultError("record", f"epoch {record.epoch} cannot follow epoch {self._epoch}")
        if record.sealed_at < self._sealed_at:
            raise FaultError("record", "the sealed time runs backwards")

    def _resume(self, record: Record, content: object) -> None:
        """An epoch begins with the entry in which people say what they go on from, and what was lost."""
        assert isinstance(content, dict)
        try:
            self._lost |= dict.fromkeys(check_resumption(record, content), record.sequence)
        except ResumptionError as error:
            raise FaultError("record", str(error)) from error

    def _check_tile(self, tile: FullTile) -> None:
        if self._tiles is None:
            return
        stored = self._tiles(tile.level, tile.number)
        name = f"the stored tile {tile.number} of level {tile.level}"
        if stored is None:
            raise FaultError("merkle", f"{name} is missing")
        hold = [stored.hashes[at : at + HASH_BYTES] for at in range(0, len(stored.hashes), HASH_BYTES)]
        if len(stored.hashes) != TILE_WIDTH * HASH_BYTES or not stored.hashes.endswith(b"".join(tile.hashes)):
            raise FaultError("merkle", f"{name} does not hold the hashes below it")
        if len(tile.hashes) < TILE_WIDTH and perfect_root(hold) != tile.root:
            raise FaultError("merkle", f"{name} does not hold the hashes below it")
        if stored.root not in (None, tile.root):
            raise FaultError("merkle", f"{name} has another root")

    def _compare(self, size: int) -> None:
        for wanted in self._wanted.pop(size, ()):
            if wanted.checkpoint.root == self._growth.frontier.root():
                self._count(wanted)
            else:
                self._doubts.append(wanted)

    def _count(self, wanted: _Wanted) -> None:
        report, size = self.report, wanted.checkpoint.size
        report.checkpoints += 1
        if wanted.cosigned >= self._needed and (wanted.external or wanted.cosigned):
            report.anchored_size = max(report.anchored_size, size)
            report.witnesses = max(report.witnesses, wanted.cosigned)

    def join(self, segment: Segment) -> bool:
        """Go on behind entries that a scan found fine; False, and nothing changed, if they must be fed one by one."""
        follows = (segment.start, segment.previous, segment.epoch) == (self.size, self._chain, self._epoch)
        if self.report.fault is not None or not follows or segment.first_sealed < self._sealed_at:
            return False
        growth = self._growth.copy()
        sizes = [size for size in self.wanted if segment.start < size <= segment.end]
        if not self._grow(growth, segment, sizes):
            return False
        self._growth = growth
        self._chain, self._sealed_at = segment.chain, segment.last_sealed
        self.report.checked += segment.end - segment.start
        for size in sizes:
            for wanted in self._wanted.pop(size):
                self._count(wanted)
        return True

    def _grow(self, growth: Growth, segment: Segment, sizes: list[int]) -> bool:
        """Add a segment's subtrees; False at a tile or a checkpoint that does not fit."""
        for height, subtree in segment.nodes:
            first = growth.frontier.size
            inside = sizes[bisect_right(sizes, first) : bisect_right(sizes, first + (1 << height) - 1)]
            if any(not self._agrees(size, growth.root_with(segment.views[size])) for size in inside):
                return False
            full = growth.add(height, subtree)
            if growth.frontier.size in self._wanted and not self._agrees(growth.frontier.size, growth.frontier.root()):
                return False
            try:
                for tile in full:
                    if tile.level or not segment.tiles_checked:
                        self._check_tile(tile)
            except FaultError:
                return False
        return growth.frontier.size == segment.end

    def _agrees(self, size: int, root: bytes) -> bool:
        return all(wanted.checkpoint.root == root for wanted in self._wanted[size])

    def point(self) -> Point:
        """The state of the chain so far."""
        return Point(self.size, self._epoch, self._sealed_at, self._chain)

    def finish(self, head: StoredHead | None) -> ChainReport:
        """Compare with checkpoints and with the head row (None: the chain has none)."""
        self._check_doubts()
        if self.report.fault is None:
            self._check_head(head)
        return self.conclude()

    def conclude(self) -> ChainReport:
        """Compare with checkpoints, also with those beyond the end, where there is no head row."""
        report = self.report
        report.size, report.epoch, report.root = self.size, self._epoch, self._growth.frontier.root().hex()
        self._check_doubts()
        beyond = [item for size in self._wanted for item in self._wanted[size] if not self._is_lost(item)]
        if report.fault is None and beyond:
            most = max(item.checkpoint.size for item in beyond)
            self.fail(
                "checkpoint", f"a signed checkpoint covers {most} entries but only {self.size} are there: truncated"
            )
        if self._needed and report.witnesses < self._needed:
            report.notes.append(f"no checkpoint has the cosignatures of {self._needed} given witnesses")
        return report

    def _check_doubts(self) -> None:
        """A checkpoint with another root is a fault, unless a resumption further on says that it was lost."""
        doubts, self._doubts = self._doubts, []
        for doubt in doubts:
            name = f"the {doubt.kind} checkpoint of size {doubt.checkpoint.size}"
            if self._is_lost(doubt):
                self.report.notes.append(f"{name} was lost: resumed")
            elif doubt.checkpoint in self._lost:
                at = self._lost[doubt.checkpoint]
                rule = "no checkpoint from outside covers: give a later one, or it may be forged"
                self.fail("checkpoint", f"{name} has another root; it was given up by entry {at}, which {rule}")
            else:
                self.fail("checkpoint", f"{name} has another root")

    def _is_lost(self, wanted: _Wanted) -> bool:
        """Whether a resumption gave it up: whoever holds the bytes can write one, so a later anchor must cover it."""
        at = self._lost.get(wanted.checkpoint)
        return at is not None and (not wanted.external or at < self.report.anchored_size)

    def _check_head(self, head: StoredHead | None) -> None:
        if head is None or head.size != self.size:
            held = "no head row" if head is None else f"a head row of size {head.size}"
            self.fail("chain", f"the chain has {self.size} entries but {held}")
        elif head.chain != self._chain:
            self.fail("chain", "the head row has another chain hash than the last entry")
        elif head.frontier != self._growth.frontier.encode():
            self.fail("merkle", "the head row has another frontier than the entries")
        elif head.epoch != self._epoch:
            self.fail("record", f"the head row has epoch {head.epoch}, the last entry {self._epoch}")
        elif head.sealed_at not in (None, self._sealed_at) and self.size:
            self.fail("record", "the head row has another sealed time than the last entry")


def combine(reports: Sequence[ChainReport]) -> Verdict:
    """The verdict over all chains: the worst one; nothing checked at all is CANNOT_TELL."""
    verdicts = {report.verdict for report in reports}
    for worst in (Verdict.TAMPERED, Verdict.CANNOT_TELL, Verdict.UNANCHORED):
        if worst in verdicts:
            return worst
    return Verdict.INTACT if verdicts else Verdict.CANNOT_TELL
