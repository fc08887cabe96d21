"""Archives on disk: written beside their place, verified again from the disk, put in place by one rename.

An archive lies in `<root>/<chain path>/<first>-<end>`: the chain's directory in C2SP tlog-tiles layout, restricted to
the range and what proves it, `content/<hex>` for the bulky content that its entries name, and `manifest.json`, written
last (docs/archive.md).
"""

import asyncio
import os
import re
import shutil
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from quorate.audit.archive import (
    MANIFEST,
    MAX_MANIFEST_BYTES,
    ArchiveError,
    ArchiveVerifier,
    Manifest,
    Point,
    check_file,
    is_kept,
    parse_manifest,
)
from quorate.audit.checkpoint import parse_checkpoint
from quorate.audit.merkle import TILE_WIDTH
from quorate.audit.note import parse_note
from quorate.audit.record import Record, leaf_hash
from quorate.audit.tiles import (
    CHECKPOINT,
    TileError,
    bundle_at,
    chain_path,
    consistency,
    covering,
    frontier,
    root,
    tile_at,
)
from quorate.canonical import digest_of_bytes
from quorate.identity.vkey import VerifierKey
from quorate_operator.errors import Stalled
from quorate_operator.store.directory import LogDirectory
from quorate_operator.store.directory_writer import Progress, TreeSource, write_view
from quorate_operator.store.files import Files, LocalFiles

MAX_FILE_BYTES = 64 * 1024 * 1024
_DIGEST = re.compile(rb"sha256:[0-9a-f]{64}")
ReadContent = Callable[[Sequence[str]], Awaitable[dict[str, bytes]]]
"""Bytes by digest, of those that are there: `Content.get`."""


@dataclass
class Exported:
    """An archive that was written: its manifest, and the sequences of entries that stay in the database."""

    path: Path
    manifest: Manifest
    kept: list[int] = field(default_factory=list)


class Archive:
    """An archive directory as it is found. Nothing of it is believed before `verify`.

    Raises:
        ArchiveError: there is no manifest, or it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files: Files = LocalFiles(path)
        data = self._files.read(MANIFEST, MAX_MANIFEST_BYTES)
        if data is None:
            raise ArchiveError(f"{path} holds no {MANIFEST}, so it is no archive, or one that was not finished")
        self.manifest = parse_manifest(data)
        self._directory = LogDirectory(self._files, "")

    @property
    def size(self) -> int:
        """Entries of the tree that the checkpoint covers, its signature not looked at."""
        return parse_checkpoint(parse_note(self.manifest.checkpoint).text).size

    def records(self) -> Iterator[tuple[int, bytes]]:
        """(sequence, record) of the archived entries; ArchiveError when one cannot be read."""
        manifest = self.manifest
        try:
            yield from self._directory.records(manifest.before.size, manifest.after.size, self.size)
        except (TileError, ValueError) as error:
            raise ArchiveError(f"{self.path}: {error}") from error

    def content(self) -> Iterator[tuple[str, bytes]]:
        """(digest, bytes) of the bulky content in it; ArchiveError when a file is missing or has another digest."""
        for digest in self.manifest.content:
            path = f"content/{digest.removeprefix('sha256:')}"
            data = self._files.read(path, MAX_FILE_BYTES)
            if data is None:
                raise ArchiveError(f"{path} is missing")
            check_file(self.manifest, path, data)
            yield digest, data

    def verify(self, keys: Sequence[VerifierKey], progress: Progress | None = None) -> None:
        """Re-derive all of it: the digest of each file, records, tiles, checkpoint; ArchiveError names the fault."""
        verifier = ArchiveVerifier(self.manifest, keys)
        self._check_files()
        leaves: list[bytes] = []
        for sequence, record in self.records():
            verifier.feed(record)
            leaves.append(leaf_hash(record))
            if len(leaves) == TILE_WIDTH:
                self._check_leaves(sequence // TILE_WIDTH, leaves)
                leaves = []
                if progress is not None:
                    progress(TILE_WIDTH)
        verifier.finish()
        plan = root(verifier.checkpoint.size)
        try:
            if plan.hashes(self._directory.tiles(plan.tiles)) != [verifier.checkpoint.root]:
                raise ArchiveError("the tiles do not lead to the checkpoint's root")
        except TileError as error:
            raise ArchiveError(str(error)) from error

    def _check_files(self) -> None:
        for path in self.manifest.files:
            data = self._files.read(path, MAX_FILE_BYTES)
            if data is None:
                raise ArchiveError(f"{path} is missing")
            check_file(self.manifest, path, data)
        expected = set(_paths(self.manifest.before.size, self.manifest.after.size, self.size))
        if missing := expected - self.manifest.files.keys():
            raise ArchiveError(f"the manifest does not name {min(missing)}")

    def _check_leaves(self, number: int, leaves: Sequence[bytes]) -> None:
        tile = tile_at(0, number, self.size)
        if self._directory.tile(tile) != b"".join(leaves):
            raise ArchiveError(f"{tile.path} is not the tile over its records")


def _paths(first: int, end: int, size: int) -> Iterator[str]:
    """The files of an archive beside manifest and content."""
    yield CHECKPOINT
    for tile in covering(first, end, size):
        yield tile.path
    for number in range(first // TILE_WIDTH, -(-end // TILE_WIDTH)):
        yield bundle_at(number, size).path


async def write_archive(
    place: Path,
    log: TreeSource,
    read_content: ReadContent,
    note: str,
    before: Point,
    end: int,
    progress: Progress | None = None,
) -> Exported:
    """Write the archive of entries before.size ≤ n < end below `place`, and put it in its place when it is complete.

    An archive of this range that is there already is taken if its checkpoint is of the same chain; the caller verifies
    either. Both ends of the range are multiples of 256.

    Raises:
        Stalled: `ArchiveRefused` (the archive that is there is another one), or as of `write_view`.
        Transient: the place, or the log, is not available.
    """
    chain = parse_checkpoint(parse_note(note).text).origin
    path = place / chain_path(chain) / f"{before.size}-{end}"
    if path.exists():
        return await asyncio.to_thread(_there, path, chain, before)
    work = path.with_name(f".{path.name}.partial")
    await asyncio.to_thread(shutil.rmtree, work, ignore_errors=True)
    directory = LogDirectory(LocalFiles(work), "")
    await write_view(directory, log, note, first=before.size, end=end, progress=progress)
    exported = await _describe(path, directory, log, read_content, note, before, end)
    await asyncio.to_thread(_put_in_place, directory.files, work, path, exported.manifest)
    return exported


def _there(path: Path, chain: str, before: Point) -> Exported:
    try:
        archive = Archive(path)
        if (archive.manifest.chain, archive.manifest.before) != (chain, before):
            raise ArchiveError(f"it is of chain {archive.manifest.chain} from {archive.manifest.before}")
        found = Exported(path, archive.manifest)
        for sequence, record in archive.records():
            _look(found, sequence, record)
    except ArchiveError as error:
        raise Stalled("ArchiveRefused", f"{path} is there and cannot be used: {error}") from error
    return found


def _look(found: Exported, sequence: int, record: bytes) -> None:
    if is_kept(orjson.loads(Record.decode(record).content)):
        found.kept.append(sequence)


async def _describe(
    path: Path,
    directory: LogDirectory,
    log: TreeSource,
    read_content: ReadContent,
    note: str,
    before: Point,
    end: int,
) -> Exported:
    """The manifest of what `write_view` wrote, with the content that the entries name written beside it."""
    checkpoint = parse_checkpoint(parse_note(note).text)
    chain, size = checkpoint.origin, checkpoint.size
    edge, proof = frontier(before.size), consistency(end, size)
    tiles = await log.tiles(chain, [*edge.tiles, *proof.tiles])

    def reread() -> tuple[Point, set[str], dict[str, str], Exported]:
        point = before
        named: set[str] = set()
        exported = Exported(path, Manifest(chain, before, before, (), (), note, {}))
        for sequence, record in directory.records(before.size, end, size):
            point = point.after(chain, record)
            named.update(match.decode() for match in _DIGEST.findall(record))
            _look(exported, sequence, record)
        files = {name: _digest(directory.files, name) for name in _paths(before.size, end, size)}
        return point, named, files, exported

    try:
        after, named, files, exported = await asyncio.to_thread(reread)
    except (ArchiveError, TileError) as error:
        raise Stalled(
            "ArchiveRefused", f"what was exported of chain {chain} is not what was sealed: {error}"
        ) from error
    files |= await _write_content(directory.files, read_content, named)
    exported.manifest = Manifest(
        chain, before, after, tuple(edge.hashes(tiles)), tuple(proof.hashes(tiles)), note, files
    )
    return exported


def _digest(files: Files, name: str) -> str:
    data = files.read(name, MAX_FILE_BYTES)
    if data is None:
        raise ArchiveError(f"{name} is missing")
    return digest_of_bytes(data)


async def _write_content(files: Files, read_content: ReadContent, named: set[str]) -> dict[str, str]:
    """Write the content of these digests, and of those that it names in turn; digests by name of file."""
    written: dict[str, str] = {}
    waiting, seen = sorted(named), set(named)
    while waiting:
        lot, waiting = waiting[:64], waiting[64:]
        for digest, data in (await read_content(lot)).items():
            name = f"content/{digest.removeprefix('sha256:')}"
            await asyncio.to_thread(files.write, name, data)
            written[name] = digest
            new = {match.decode() for match in _DIGEST.findall(data)} - seen
            waiting += sorted(new)
            seen |= new
    return written


def _put_in_place(files: Files, work: Path, path: Path, manifest: Manifest) -> None:
    files.flush()  # the manifest comes last
    files.write(MANIFEST, manifest.encode())
    files.flush()
    work.rename(path)
    handle = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def find_archives(place: Path) -> list[Archive]:
    """The archives at or below a directory, by chain and range; unfinished and unreadable ones are left out."""
    found = []
    for manifest in place.rglob(MANIFEST):
        if not any(part.startswith(".") for part in manifest.relative_to(place).parts):
            with suppress(ArchiveError):
                found.append(Archive(manifest.parent))
    return sorted(found, key=lambda archive: (archive.manifest.chain, archive.manifest.before.size))
