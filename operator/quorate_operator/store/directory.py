"""A chain as files in C2SP tlog-tiles layout: archive, publication and export (docs/audit-format.md, "Directory").

Below its folder a chain has `checkpoint`, `tile/<L>/<N>[.p/<W>]` and `tile/entries/<N>[.p/<W>]`. `checkpoint` is
written last, when all that it needs is durable, so a crash at any moment leaves the previous view valid. What is read
is bounded and believed in nothing; the verifier judges it.
"""

from collections.abc import Iterable, Iterator

from quorate.audit.checkpoint import Checkpoint, parse_checkpoint
from quorate.audit.merkle import HASH_BYTES, TILE_WIDTH
from quorate.audit.note import MAX_NOTE_BYTES, parse_note
from quorate.audit.tiles import (
    CHECKPOINT,
    MAX_BUNDLE_BYTES,
    MAX_TILE_BYTES,
    Bundle,
    Tile,
    TileError,
    bundle_at,
    chain_path,
    decode_bundle,
    split_tile,
)
from quorate_operator.store.files import Files

MAX_DEPTH = 8


class LogDirectory:
    """What the folder `base` below `files` holds of one chain. Nothing read here is verified."""

    def __init__(self, files: Files, base: str) -> None:
        self.files = files
        self.base = base

    @classmethod
    def of(cls, files: Files, chain: str) -> "LogDirectory":
        """The place of a chain below the root of a publication."""
        return cls(files, chain_path(chain))

    def name(self, path: str) -> str:
        """Name of one of its files below the root of `files`."""
        return f"{self.base}/{path}" if self.base else path

    def note(self) -> str | None:
        """The text of `checkpoint`, None if it is not there or cannot be text."""
        data = self.files.read(self.name(CHECKPOINT), MAX_NOTE_BYTES)
        try:
            return None if data is None else data.decode()
        except UnicodeDecodeError:
            return None

    def checkpoint(self) -> Checkpoint | None:
        """The checkpoint of `note`, its signatures not looked at; None if there is none.

        Raises:
            NoteError, CheckpointError: there is a file, but no checkpoint in it.
        """
        note = self.note()
        return None if note is None else parse_checkpoint(parse_note(note).text)

    def tile(self, tile: Tile) -> bytes:
        """The bytes of a tile; from the full one if the partial one is gone.

        Raises:
            TileError: there is none of the right size.
        """
        for candidate in dict.fromkeys((tile, tile.full)):
            data = self.files.read(self.name(candidate.path), MAX_TILE_BYTES)
            if data is not None:
                split_tile(candidate, data)
                return data[: tile.width * HASH_BYTES]
        raise TileError(f"{self.name(tile.path)} is missing")

    def tiles(self, wanted: Iterable[Tile]) -> dict[Tile, bytes]:
        """The bytes of tiles, as for `Plan.hashes`; TileError as of `tile`."""
        return {tile: self.tile(tile) for tile in wanted}

    def bundle(self, bundle: Bundle) -> list[bytes]:
        """The records of a bundle; from the full one if the partial one is gone.

        Raises:
            TileError: there is none, or it does not hold so many records.
        """
        for candidate in dict.fromkeys((bundle, bundle.full)):
            data = self.files.read(self.name(candidate.path), MAX_BUNDLE_BYTES)
            if data is not None:
                return decode_bundle(candidate, data)[: bundle.width]
        raise TileError(f"{self.name(bundle.path)} is missing")

    def records(self, start: int, end: int, size: int) -> Iterator[tuple[int, bytes]]:
        """(sequence, record) for start ≤ sequence < end of a tree of `size`, one bundle in memory; TileError."""
        for number in range(start // TILE_WIDTH, -(-end // TILE_WIDTH)):
            first = number * TILE_WIDTH
            for offset, record in enumerate(self.bundle(bundle_at(number, size))):
                if start <= first + offset < end:
                    yield first + offset, record


def find(files: Files, base: str = "", depth: int = MAX_DEPTH) -> Iterator[LogDirectory]:
    """Every folder at or below `base` that has a `checkpoint`; those inside a log's `tile` are not looked into."""
    here = LogDirectory(files, base)
    if files.read(here.name(CHECKPOINT), MAX_NOTE_BYTES) is not None:
        yield here
    for folder in files.folders(base) if depth else ():
        if folder != "tile":
            yield from find(files, here.name(folder), depth - 1)
