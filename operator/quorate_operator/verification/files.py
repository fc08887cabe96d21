"""Verifies what left the database: directories in tlog-tiles layout, archives, and proof bundles."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from quorate.audit.archive import MANIFEST, MAX_MANIFEST_BYTES, ArchiveError, Manifest, Point, parse_manifest
from quorate.audit.checkpoint import Checkpoint, CheckpointError
from quorate.audit.merkle import HASH_BYTES, TILE_WIDTH, Frontier, ProofError, verify_consistency
from quorate.audit.note import NoteError, UnsignedError, verify_note
from quorate.audit.proof import BundleError, NotProvenError, examine_bundle, parse_bundle
from quorate.audit.record import Record
from quorate.audit.rules import StoredEntry
from quorate.audit.scan import Block, Scanner, block_of
from quorate.audit.tiles import MAX_BUNDLE_BYTES, Tile, TileError, bundle_at, frontier, partial_tiles, tile_at
from quorate.audit.verify import ChainReport, ChainVerifier, Fault, Start, StoredTile
from quorate.audit.witness import witnesses_of
from quorate.identity.vkey import VerifierKey, parse_verifier_key
from quorate_operator.store.archive import Archive
from quorate_operator.store.directory import LogDirectory, find
from quorate_operator.store.files import LocalFiles
from quorate_operator.verification.request import ChainRequest

Terms = Callable[[str], ChainRequest]
"""The keys, anchors and witnesses that count for a chain."""
_SEGMENT = 64 * TILE_WIDTH


class _Unindexed:
    """Port `Found` where there are no indexes."""

    def entries(self, ids: Sequence[bytes], sequences: Sequence[bytes], keys: Sequence[bytes]) -> None:
        """Port `Found`."""

    def names(self, sequence: bytes, key: bytes, names: Sequence[bytes]) -> None:
        """Port `Found`."""


def verify_directory(path: Path, terms: Terms, progress: Callable[[int, int], None] | None = None) -> list[ChainReport]:
    """Verify every log and archive at or below a directory, in constant memory; an empty list if there is none.

    Raises:
        Transient: `FilesUnavailable`, a file cannot be read.
    """
    return [_Folder(directory, path, terms).verify(progress) for directory in find(LocalFiles(path))]


def verify_here(path: Path, terms: Terms, progress: Callable[[int, int], None] | None = None) -> ChainReport:
    """Verify the log or archive in a directory itself, whatever is below it; errors as of `verify_directory`."""
    return _Folder(LogDirectory(LocalFiles(path), ""), path, terms).verify(progress)


class _Folder:
    """One chain's directory."""

    def __init__(self, directory: LogDirectory, root: Path, terms: Terms) -> None:
        self._directory, self._terms = directory, terms
        self._path = root / directory.base if directory.base else root

    def verify(self, progress: Callable[[int, int], None] | None) -> ChainReport:
        """The report; what cannot be read is a fault."""
        try:
            checkpoint, manifest = self._read()
        except (NoteError, CheckpointError, ArchiveError) as error:
            return _faulty(str(self._path), "checkpoint", str(error))
        request = self._terms(checkpoint.origin)
        keys = [parse_verifier_key(key) for key in request.keys]
        try:
            verifier = self._verifier(checkpoint, manifest, request, keys)
        except ValueError as error:
            return _faulty(checkpoint.origin, "checkpoint", str(error))
        try:
            end = checkpoint.size if manifest is None else manifest.after.size
            self._scan(verifier, end, checkpoint.size, progress)
            self._finish(verifier, checkpoint, manifest, keys, request)
        except TileError as error:
            verifier.fail("record", str(error))
        except ArchiveError as error:
            verifier.fail("checkpoint", str(error))
        return verifier.report

    def _read(self) -> tuple[Checkpoint, Manifest | None]:
        checkpoint = self._directory.checkpoint()
        if checkpoint is None:
            raise CheckpointError("the checkpoint cannot be read")
        data = self._directory.files.read(self._directory.name(MANIFEST), MAX_MANIFEST_BYTES)
        return checkpoint, None if data is None else parse_manifest(data)

    def _verifier(
        self, checkpoint: Checkpoint, manifest: Manifest | None, request: ChainRequest, keys: list[VerifierKey]
    ) -> ChainVerifier:
        start, anchors = None, list(request.anchors)
        note = self._directory.note() or ""
        signed = _is_signed(note, keys)
        if manifest is not None:
            if manifest.chain != checkpoint.origin or manifest.checkpoint != note:
                raise ArchiveError("the manifest is of another chain, or of another checkpoint")
            why = f"an archive of entries {manifest.before.size}…{manifest.after.size - 1}"
            start = Start(manifest.before, Frontier(manifest.before.size, manifest.frontier), why)
            # Those beyond the archive are for the chain that goes on after it.
            anchors = []
        else:
            start = self._rest(checkpoint.size)
            anchors += [note] if signed else []
        verifier = ChainVerifier(
            checkpoint.origin,
            keys=keys,
            anchors=anchors,
            witnesses=[parse_verifier_key(key) for key in request.witnesses],
            require_witnesses=request.require_witnesses,
            start=start,
            tiles=lambda level, number: self._tile(level, number, checkpoint.size),
        )
        if start is not None:
            verifier.report.notes.append(start.why)
        if not signed:
            verifier.report.notes.append("no known key signed the checkpoint: give --log-key")
        return verifier

    def _rest(self, size: int) -> Start | None:
        """Where the entries of a directory begin whose first ones were left out, or pruned; None at entry 0.

        What the first record says of its predecessor is under the checkpoint, as the record is.
        """
        here = range(-(-size // TILE_WIDTH))
        first = 0 if self._has(0, size) else bisect_left(here, True, key=lambda at: self._has(at, size)) * TILE_WIDTH
        if first == 0 or first >= size:
            return None
        plan = frontier(first)
        tiles = {tile: self._directory.tile(tile_at(tile.level, tile.number, size)) for tile in plan.tiles}
        hashes = plan.hashes({tile: data[: tile.width * HASH_BYTES] for tile, data in tiles.items()})
        _, data = next(self._directory.records(first, first + 1, size))
        record = Record.decode(data)
        point = Point(first, record.epoch, record.sealed_at, record.previous)
        return Start(point, Frontier(first, hashes), f"entries 0…{first - 1} are not here, the tiles over them are")

    def _has(self, number: int, size: int) -> bool:
        """Whether there is a bundle, well formed or not."""
        bundle = bundle_at(number, size)
        names = {self._directory.name(name.path) for name in (bundle, bundle.full)}
        return any(self._directory.files.read(name, MAX_BUNDLE_BYTES) is not None for name in names)

    def _tile(self, level: int, number: int, size: int) -> StoredTile | None:
        if (number + 1) * TILE_WIDTH > size >> 8 * level:
            return None
        try:
            return StoredTile(self._directory.tile(Tile(level, number)))
        except TileError:
            return None

    def _scan(self, verifier: ChainVerifier, end: int, size: int, progress: Callable[[int, int], None] | None) -> None:
        scanner = Scanner(verifier.report.chain_id, _Unindexed())
        first = verifier.size
        for start in range(first, end, _SEGMENT):
            stop = min(start + _SEGMENT, end)
            views = [wanted for wanted in verifier.wanted if start < wanted < stop]
            segment = scanner.scan(start, stop, self._blocks(start, stop, size), views=views)
            if segment is None or not verifier.join(segment):
                for sequence, record in self._directory.records(start, stop, size):
                    if not verifier.feed(StoredEntry(sequence, record)):
                        return
            if progress is not None:
                progress(stop - first, end - first)

    def _blocks(self, start: int, end: int, size: int) -> Iterator[Block]:
        records: list[bytes] = []
        for sequence, record in self._directory.records(start, end, size):
            records.append(record)
            if (sequence + 1) % TILE_WIDTH == 0 or sequence + 1 == end:
                yield block_of(records)
                records = []

    def _finish(
        self,
        verifier: ChainVerifier,
        checkpoint: Checkpoint,
        manifest: Manifest | None,
        keys: list[VerifierKey],
        request: ChainRequest,
    ) -> None:
        """Compare the end with the checkpoint, whoever signed it, and the partial tiles with what is below them."""
        if manifest is not None and _is_signed(manifest.checkpoint, keys):
            witnesses = [parse_verifier_key(key) for key in request.witnesses]
            verifier.report.witnesses = witnesses_of(verify_note(manifest.checkpoint, keys, witnesses).cosignatures)
        verifier.conclude()
        if verifier.report.fault is not None:
            return
        if manifest is not None:
            self._archive(verifier, checkpoint, manifest, keys, request.require_witnesses)
            return
        if verifier.tree.frontier.root() != checkpoint.root:
            verifier.fail("checkpoint", f"the checkpoint of size {checkpoint.size} has another root")
        for tile in partial_tiles(checkpoint.size):
            if not self._directory.tile(tile).endswith(b"".join(verifier.tree.tail(tile.level))):
                verifier.fail("merkle", f"{tile.path} does not hold the hashes below it")

    def _archive(
        self, verifier: ChainVerifier, checkpoint: Checkpoint, manifest: Manifest, keys: list[VerifierKey], needed: int
    ) -> None:
        """The end of an archive lies before its checkpoint: a consistency proof leads there."""
        if verifier.point() != manifest.after:
            raise ArchiveError(f"the records end at entry {verifier.size} with another state than the manifest says")
        try:
            verify_consistency(
                old_size=verifier.size,
                old_root=verifier.tree.frontier.root(),
                size=checkpoint.size,
                root=checkpoint.root,
                proof=manifest.consistency,
            )
        except ProofError as error:
            raise ArchiveError(f"the records do not lead to the checkpoint: {error}") from error
        if _is_signed(manifest.checkpoint, keys):
            Archive(self._path).verify(keys)  # its files against their digests
            verifier.report.checkpoints += 1
            if verifier.report.witnesses >= needed:
                verifier.report.anchored_size = verifier.size


def _is_signed(note: str, keys: Sequence[VerifierKey]) -> bool:
    """Whether a known key claims to have signed; NoteError if its signature is wrong."""
    try:
        verify_note(note, keys)
    except UnsignedError:
        return False
    return True


def _faulty(chain: str, phase: str, message: str) -> ChainReport:
    report = ChainReport(chain)
    report.fault = Fault(chain, phase, message)
    return report


def verify_bundle(data: bytes, terms: Terms) -> ChainReport:
    """Verify a proof bundle: one entry, its path, and the signatures under its checkpoint."""
    try:
        proven = examine_bundle(bundle := parse_bundle(data))
    except BundleError as error:
        return _faulty("", "record", str(error))
    except NotProvenError as error:
        return _faulty("", error.phase, str(error))
    checkpoint, note = proven.checkpoint, bundle.proof.note
    request = terms(checkpoint.origin)
    report = ChainReport(
        checkpoint.origin,
        checked=1,
        first=proven.record.sequence,
        size=checkpoint.size,
        epoch=proven.record.epoch,
        root=checkpoint.root.hex(),
        entry_id=str(proven.content["entry_id"]),
    )
    try:
        signed = verify_note(
            note,
            [parse_verifier_key(key) for key in request.keys],
            [parse_verifier_key(key) for key in request.witnesses],
        )
    except UnsignedError:
        report.notes.append("no known key signed the checkpoint: give --log-key")
        return report
    except NoteError as error:
        report.fault = Fault(checkpoint.origin, "checkpoint", str(error), proven.record.sequence, report.entry_id)
        return report
    report.checkpoints, report.witnesses = 1, witnesses_of(signed.cosignatures)
    if report.witnesses >= request.require_witnesses:
        report.anchored_size = checkpoint.size
    else:
        report.notes.append(f"the checkpoint lacks the cosignatures of {request.require_witnesses} given witnesses")
    return report
