"""Directories in tlog-tiles layout as sources of `quorate audit log` and `report`: nothing read here is verified."""

from bisect import bisect_left
from pathlib import Path

from quorate.audit.archive import MANIFEST, MAX_MANIFEST_BYTES, ArchiveError, parse_manifest
from quorate.audit.checkpoint import CheckpointError
from quorate.audit.merkle import TILE_WIDTH
from quorate.audit.note import NoteError
from quorate.audit.tiles import TileError, bundle_at
from quorate.canonical import hex_of_digest
from quorate_cli.audit.source import Source, checked
from quorate_cli.output import BadInputError, CliError
from quorate_operator.errors import Transient
from quorate_operator.store.directory import LogDirectory, find
from quorate_operator.store.files import LocalFiles

MAX_CONTENT_BYTES = 64_000_000


class Folder:
    """The entries of one chain below a directory; an archive holds a part of it."""

    def __init__(self, directory: LogDirectory, name: str) -> None:
        """Read checkpoint and manifest.

        Raises:
            NoteError, CheckpointError, ArchiveError: one of them is not what it should be.
        """
        self.name = name
        self._directory = directory
        checkpoint = directory.checkpoint()
        if checkpoint is None:
            raise CheckpointError("there is no checkpoint")
        self._size = checkpoint.size
        self._chain, self._bounds = checkpoint.origin, (self._first(), checkpoint.size)
        data = directory.files.read(directory.name(MANIFEST), MAX_MANIFEST_BYTES)
        if data is not None:
            manifest = parse_manifest(data)
            self._bounds = (manifest.before.size, manifest.after.size)

    def _first(self) -> int:
        """The first entry that is here: an export may leave earlier ones out."""
        bundles = range(-(-self._size // TILE_WIDTH))
        return bisect_left(bundles, 1, key=self._has) * TILE_WIDTH

    def _has(self, number: int) -> int:
        try:
            return bool(self._directory.bundle(bundle_at(number, self._size)))
        except TileError:
            return False

    def chains(self) -> list[str]:
        """As Source."""
        return [self._chain]

    def bounds(self, chain: str) -> tuple[int, int]:
        """As Source."""
        return self._bounds if chain == self._chain else (0, 0)

    def block(self, chain: str, start: int, end: int) -> list[tuple[int, bytes]]:
        """As Source.

        Raises:
            CliError: an entry bundle is missing or malformed.
        """
        if chain != self._chain:
            return []
        try:
            return list(self._directory.records(start, end, self._size))
        except (TileError, Transient) as error:
            raise CliError(f"{self.name}: {error}") from error

    def about(self, name: str) -> list[tuple[str, int]] | None:
        """As Source: a directory has no index."""
        return None

    def at(self, chain: str, sequences: list[int]) -> list[tuple[int, bytes]]:
        """As Source."""
        return [row for sequence in sequences for row in self.block(chain, sequence, sequence + 1)]

    def content(self, digest: str) -> bytes | None:
        """As Source: only archives hold content, and only what left the database with their entries."""
        name = self._directory.name(f"content/{hex_of_digest(digest)}")
        data = self._directory.files.read(name, MAX_CONTENT_BYTES)
        return None if data is None else checked(data, digest)


def folders(path: Path) -> list[Source]:
    """A source for every chain, and every archive of one, at or below `path`.

    Raises:
        BadInputError: there is none, or one cannot be read.
    """
    if not path.is_dir():
        raise BadInputError(f"--from {path}: it is not a directory")
    try:
        found: list[Source] = [Folder(directory, str(path / directory.base)) for directory in find(LocalFiles(path))]
    except (Transient, NoteError, CheckpointError, ArchiveError) as error:
        raise BadInputError(f"--from {path}: {error}") from error
    if not found:
        raise BadInputError(f"--from {path}: no directory at or below it has a checkpoint")
    return found
