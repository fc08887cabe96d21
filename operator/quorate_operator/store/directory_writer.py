"""Writes a chain's directory: from the root downwards, each tile checked by the one above, records by their tile."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import NoReturn, Protocol

from quorate.audit.checkpoint import Checkpoint, CheckpointError, parse_checkpoint
from quorate.audit.merkle import TILE_WIDTH, ProofError, verify_consistency
from quorate.audit.note import NoteError, parse_note
from quorate.audit.record import leaf_hash
from quorate.audit.rules import StoredEntry
from quorate.audit.tiles import (
    CHECKPOINT,
    Bundle,
    Tile,
    TileError,
    consistency,
    covering,
    encode_bundle,
    partial_tiles,
    perfect_root,
    root,
    split_tile,
    tile_at,
)
from quorate_operator.errors import Stalled
from quorate_operator.store.directory import LogDirectory

_LOT = 16
Progress = Callable[[int], None]


class TreeSource(Protocol):
    """What a view is written from; the port `Log` is one."""

    def entries(self, chain: str, start: int = 0, end: int | None = None) -> AsyncIterator[StoredEntry]:
        """Entries with start ≤ sequence < end in ascending order."""
        ...

    async def tiles(self, chain: str, wanted: Sequence[Tile]) -> dict[Tile, bytes]:
        """The bytes of tiles."""
        ...


async def write_view(
    directory: LogDirectory,
    log: TreeSource,
    note: str,
    *,
    first: int = 0,
    end: int | None = None,
    progress: Progress | None = None,
) -> int:
    """Bring a directory to the view of a signed note: entries first ≤ n < end, the tiles that prove them, the note.

    Only what is missing since the view that is there gets written. Everything is checked against the note's root on
    the way. The signatures of `note` are the caller's matter; a note of the size that is there (cosigned since, for
    example) just replaces it. `first` is a multiple of 256, `end` too or the whole size (None); where the log is pruned
    a new directory begins with what is left, as C2SP tlog-tiles allows. `progress` hears how many entries are written.
    Idempotent, and safe to be interrupted anywhere.

    Returns:
        How many entries were written.

    Raises:
        Stalled: `ViewDiverged` (the view that is there is not a prefix of the log), `ViewAhead` (it is larger),
            `TreeMismatch` (what the log holds does not lead to the note's root), `ViewUnreadable`.
        Transient: the place, or the log, is not available.
    """
    checkpoint = parse_checkpoint(parse_note(note).text)
    before = await asyncio.to_thread(_view_there, directory)
    old = 0 if before is None else before.size
    if before is not None:
        await _check_growth(log, before, checkpoint)
    start, stop = max(first, old - old % TILE_WIDTH), checkpoint.size if end is None else end
    if start == 0:
        start = await oldest(log, checkpoint.origin)
    written = 0
    if old < checkpoint.size and start < stop:
        written = await _Writer(directory, log, checkpoint, progress).write(start, stop)
    await asyncio.to_thread(_conclude, directory, note, old, checkpoint.size)
    return written


async def oldest(log: TreeSource, chain: str) -> int:
    """The first multiple of 256 from which on the log has every entry; 0 unless it was pruned."""
    entry = await anext(aiter(log.entries(chain)), None)
    return 0 if entry is None else -(-entry.sequence // TILE_WIDTH) * TILE_WIDTH


def _view_there(directory: LogDirectory) -> Checkpoint | None:
    try:
        return directory.checkpoint()
    except (NoteError, CheckpointError) as error:
        raise Stalled("ViewUnreadable", f"{directory.name(CHECKPOINT)} is not a checkpoint: {error}") from error


async def _check_growth(log: TreeSource, before: Checkpoint, after: Checkpoint) -> None:
    where = f"what is published of chain {before.origin}"
    if before.origin != after.origin:
        raise Stalled("ViewDiverged", f"{where} stands where chain {after.origin} belongs")
    if before.size > after.size:
        raise Stalled("ViewAhead", f"{where} has {before.size} entries, the log's checkpoint only {after.size}")
    if before.size == 0:
        return
    try:
        plan = consistency(before.size, after.size)
        proof = plan.hashes(await log.tiles(after.origin, plan.tiles))
        verify_consistency(old_size=before.size, old_root=before.root, size=after.size, root=after.root, proof=proof)
    except (ProofError, TileError) as error:
        raise Stalled(
            "ViewDiverged", f"{where} at size {before.size} is no prefix of the log at size {after.size}: {error}"
        ) from error


def _conclude(directory: LogDirectory, note: str, old: int, size: int) -> None:
    """`checkpoint`, now that all it needs is durable; then the partial tiles that it no longer needs.

    Not over a larger one: another process may have become the leader, and published, while this one wrote.
    """
    directory.files.flush()
    current = _view_there(directory)
    if current is not None and current.size > size:
        return
    directory.files.write(directory.name(CHECKPOINT), note.encode())
    directory.files.flush()
    for tile in partial_tiles(old):
        if tile_at(tile.level, tile.number, size).width == TILE_WIDTH:
            names = [tile.full.path, *([Bundle(tile.number).path] if tile.level == 0 else [])]
            for name in names:
                directory.files.remove_folder(directory.name(f"{name}.p"))


class _Writer:
    def __init__(
        self, directory: LogDirectory, log: TreeSource, checkpoint: Checkpoint, progress: Progress | None
    ) -> None:
        self._directory = directory
        self._log = log
        self._chain, self._size, self._root = checkpoint.origin, checkpoint.size, checkpoint.root
        self._progress = progress
        self._edge: dict[Tile, bytes] = {}
        self._parents: dict[int, tuple[Tile, list[bytes]]] = {}

    async def write(self, start: int, stop: int) -> int:
        """Write what covers start ≤ n < stop; the number of entries."""
        try:
            await self._read_edge()
            lot: list[Tile] = []
            for tile in covering(start, stop, self._size):
                if lot and (len(lot) == _LOT or lot[0].level != tile.level):
                    await self._write(lot, start, stop)
                    lot = []
                lot.append(tile)
            await self._write(lot, start, stop)
        except TileError as error:
            self._mismatch(str(error))
        return stop - start

    def _mismatch(self, what: str) -> NoReturn:
        raise Stalled("TreeMismatch", f"chain {self._chain} does not lead to its checkpoint of {self._size}: {what}")

    async def _read_edge(self) -> None:
        """The partial tiles: they alone lead to the root, and every full tile hangs from them."""
        plan = root(self._size)
        self._edge = await self._log.tiles(self._chain, plan.tiles)
        if plan.hashes(self._edge) != [self._root]:
            self._mismatch("the root is another one")

    async def _write(self, lot: Sequence[Tile], start: int, stop: int) -> None:
        tiles = await self._trusted(lot)
        files = [(tile.path, b"".join(hashes)) for tile, hashes in tiles.items()]
        if lot[0].level == 0:
            leaves = [tile for tile in lot if start <= tile.number * TILE_WIDTH < stop]
            files += await self._bundles({tile: tiles[tile] for tile in leaves})
        await asyncio.to_thread(self._put, files)
        if lot[0].level == 0 and self._progress is not None:
            self._progress(sum(tile.width for tile in leaves))

    def _put(self, files: Sequence[tuple[str, bytes]]) -> None:
        for path, data in files:
            self._directory.files.write(self._directory.name(path), data)

    async def _trusted(self, lot: Sequence[Tile]) -> dict[Tile, list[bytes]]:
        """The hashes of tiles of one level, each the one that the tile above it names."""
        read = await self._log.tiles(self._chain, [tile for tile in lot if tile not in self._edge])
        found = {}
        for tile in lot:
            data = self._edge.get(tile) or read.get(tile)
            if data is None:
                self._mismatch(f"{tile.path} is missing")
            found[tile] = split_tile(tile, data)
            if tile not in self._edge:
                above = await self._above(tile)
                if perfect_root(found[tile]) != above[tile.number % TILE_WIDTH]:
                    self._mismatch(f"{tile.path} is not what the tile above it says")
        return found

    async def _above(self, tile: Tile) -> list[bytes]:
        parent = tile_at(tile.level + 1, tile.number // TILE_WIDTH, self._size)
        held = self._parents.get(parent.level)
        if held is None or held[0] != parent:
            held = self._parents[parent.level] = parent, (await self._trusted([parent]))[parent]
        return held[1]

    async def _bundles(self, leaves: dict[Tile, list[bytes]]) -> list[tuple[str, bytes]]:
        """The records under leaf tiles that stand side by side."""
        if not leaves:
            return []
        tiles = list(leaves)
        first, end = tiles[0].number * TILE_WIDTH, tiles[-1].number * TILE_WIDTH + tiles[-1].width
        expected = first
        bundles: dict[Tile, list[bytes]] = {tile: [] for tile in tiles}
        async for entry in self._log.entries(self._chain, first, end):
            tile = tiles[(entry.sequence - first) // TILE_WIDTH]
            if entry.sequence != expected or leaf_hash(entry.record) != leaves[tile][expected % TILE_WIDTH]:
                self._mismatch(f"entry {expected} is not what its leaf says")
            bundles[tile].append(entry.record)
            expected += 1
        if expected != end:
            self._mismatch(f"entry {expected} is not in the log")
        return [(Bundle(tile.number, tile.width).path, encode_bundle(records)) for tile, records in bundles.items()]
