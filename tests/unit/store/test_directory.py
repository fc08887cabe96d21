"""Directories in tile layout: written from a log, read back; interrupted, hostile, diverged."""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from quorate.audit import tiles
from quorate.audit.tiles import Bundle, Tile, TileError
from quorate_operator.errors import OperatorError
from quorate_operator.store.directory import LogDirectory, find
from quorate_operator.store.directory_writer import write_view
from quorate_operator.store.files import LocalFiles
from tests.unit.audit.tree import CHAIN, Tree

TREE = Tree([b"record %d" % number for number in range(1200)])


def directory(root: Path, chain: str = CHAIN) -> LogDirectory:
    return LogDirectory.of(LocalFiles(root), chain)


def below(root: Path, pattern: str) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob(pattern))


def check(place: LogDirectory, tree: Tree, size: int, first: int = 0) -> None:
    """Everything that the view of `size` needs is there and right."""
    head = place.checkpoint()
    assert head is not None and (head.origin, head.size, head.root) == (CHAIN, size, tree.root(size))
    assert place.tiles(tiles.covering(first, size, size)) == {
        tile: tree.tile(tile) for tile in tiles.covering(first, size, size)
    }
    assert [record for _, record in place.records(first, size, size)] == tree.records[first:size]


async def test_a_view_is_written_and_grows(tmp_path: Path) -> None:
    """Each view holds all tiles and records of its size; only what is new is written, and again changes nothing."""
    place, told = directory(tmp_path), []
    for size in (1, 3, 255, 256, 300, 700, 1200):
        written = await write_view(place, TREE, TREE.note(size), progress=told.append)
        check(place, TREE, size)
        assert written <= size - (size - written) // 256 * 256
        assert await write_view(place, TREE, TREE.note(size)) == 0
    assert sum(told) >= 1200
    assert [found.base for found in find(LocalFiles(tmp_path))] == ["mesh.example/fleet"]
    assert not below(tmp_path, "*.tmp")


async def test_partial_tiles_go_when_the_full_one_is_there(tmp_path: Path) -> None:
    """A partial tile of the newest view stays; one whose full tile is there by now is removed."""
    place = directory(tmp_path)
    for size in (200, 250, 300):
        await write_view(place, TREE, TREE.note(size))
    assert below(tmp_path / CHAIN, "*.p/*") == ["tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/001.p/44"]
    assert place.tile(Tile(0, 0, 200)) == TREE.tile(Tile(0, 0, 200))
    assert len(place.bundle(Bundle(0, 200))) == 200


async def test_a_cosigned_note_replaces_the_one_of_its_size(tmp_path: Path) -> None:
    """The note of the size that is there is replaced, without a tile being written."""
    place = directory(tmp_path)
    await write_view(place, TREE, TREE.note(300))
    cosigned = TREE.note(300) + "— witness.example AAAAAAAAAAAAAAAA\n"
    assert await write_view(place, TREE, cosigned) == 0
    assert place.note() == cosigned


class CrashError(BaseException):
    """Ends a write where a process may be killed."""


class Crashing(LocalFiles):
    """Ends at the n-th thing it is asked to do."""

    def __init__(self, root: Path, steps: int) -> None:
        super().__init__(root)
        self.steps = steps

    def _step(self) -> None:
        self.steps -= 1
        if self.steps < 0:
            raise CrashError

    def write(self, name: str, data: bytes) -> None:
        self._step()
        super().write(name, data)

    def flush(self) -> None:
        self._step()
        super().flush()
        self._step()

    def remove_folder(self, name: str) -> None:
        self._step()
        super().remove_folder(name)


async def test_a_crash_at_any_step_leaves_a_valid_view(tmp_path: Path) -> None:
    """Wherever writing ends, the directory shows the old view or the new one, and the next run completes it."""
    seen = set()
    for steps in range(60):
        root = tmp_path / str(steps)
        await write_view(directory(root), TREE, TREE.note(250))
        try:
            await write_view(LogDirectory.of(Crashing(root, steps), CHAIN), TREE, TREE.note(700))
        except CrashError:
            head = directory(root).checkpoint()
            assert head is not None
            check(directory(root), TREE, head.size)
            seen.add(head.size)
            await write_view(directory(root), TREE, TREE.note(700))
            check(directory(root), TREE, 700)
            continue
        break
    assert seen == {250, 700} and steps > 10


class Overtaken(LocalFiles):
    """Another process publishes more while this one writes."""

    def __init__(self, root: Path, other: Callable[[], Awaitable[object]]) -> None:
        super().__init__(root)
        self._other = other

    def flush(self) -> None:
        super().flush()
        other, self._other = self._other, _nothing
        asyncio.run(other())  # type: ignore[arg-type]


async def _nothing() -> None:
    pass


async def test_a_larger_view_is_not_written_over(tmp_path: Path) -> None:
    """A process that was overtaken leaves the larger checkpoint of the other one."""
    place = LogDirectory.of(Overtaken(tmp_path, lambda: write_view(directory(tmp_path), TREE, TREE.note(700))), CHAIN)
    await write_view(place, TREE, TREE.note(300))
    check(directory(tmp_path), TREE, 700)


async def test_a_range_is_written_with_the_tiles_that_prove_it(tmp_path: Path) -> None:
    """An archive of entries 256 to 511 holds their records, no others, and what proves them in the whole tree."""
    place = directory(tmp_path)
    assert await write_view(place, TREE, TREE.note(), first=256, end=512) == 256
    assert [record for _, record in place.records(256, 512, 1200)] == TREE.records[256:512]
    with pytest.raises(TileError, match="missing"):
        place.bundle(Bundle(0))
    for index in (256, 511):
        plan = tiles.inclusion(index, 1200)
        plan.hashes(place.tiles(plan.tiles))


class Lying(Tree):
    """A log whose database was changed."""

    def __init__(self, tree: Tree, *, record: int | None = None, tile: Tile | None = None, lost: int = -1) -> None:
        super().__init__(tree.records)
        self._tile, self._lost = tile, lost
        if record is not None:
            self.records[record] = b"another"

    def tile(self, tile: Tile) -> bytes:
        data = super().tile(tile)
        return bytes([data[0] ^ 1]) + data[1:] if tile == self._tile else data

    async def entries(self, chain: str, start: int = 0, end: int | None = None) -> Any:
        async for entry in super().entries(chain, start, end):
            if entry.sequence != self._lost:
                yield entry


@pytest.mark.parametrize(
    ("log", "says"),
    [
        (Lying(TREE, record=77), "entry 77 is not what its leaf says"),
        (Lying(TREE, lost=300), "entry 300 is not what its leaf says"),
        (Lying(TREE, lost=1199), "entry 1199 is not in the log"),
        (Lying(TREE, tile=Tile(0, 2)), "tile/0/002 is not what the tile above it says"),
        (Lying(TREE, tile=Tile(1, 0, 4)), "the root is another one"),
        (Lying(TREE, tile=Tile(0, 4, 176)), "the root is another one"),
    ],
)
async def test_what_does_not_lead_to_the_root_is_not_published(tmp_path: Path, log: Tree, says: str) -> None:
    """A changed record, a lost one and a changed tile are named, and no checkpoint is written over them."""
    place = directory(tmp_path)
    with pytest.raises(OperatorError, match=f"TreeMismatch.*{says}"):
        await write_view(place, log, TREE.note())
    assert place.note() is None


async def test_another_history_is_not_written_over_what_is_published(tmp_path: Path) -> None:
    """A log that does not continue the published view, is behind it, or is another one, is refused with its reason."""
    other = Tree([b"other", *TREE.records[1:]])
    place = directory(tmp_path)
    await write_view(place, TREE, TREE.note(300))
    for log, note, reason in [
        (other, other.note(700), "ViewDiverged"),
        (other, other.note(300), "ViewDiverged"),
        (TREE, TREE.note(299), "ViewAhead"),
        (Tree(TREE.records, "mesh.example/other"), Tree(TREE.records, "mesh.example/other").note(400), "ViewDiverged"),
    ]:
        with pytest.raises(OperatorError, match=reason):
            await write_view(place, log, note)
        check(place, TREE, 300)
    (tmp_path / CHAIN / "checkpoint").write_text("not a note\n")
    with pytest.raises(OperatorError, match="ViewUnreadable"):
        await write_view(place, TREE, TREE.note(700))


async def test_hostile_files_are_refused_not_followed(tmp_path: Path) -> None:
    """Pipes, devices, links to them, folders, files too large or of another width: nothing waits, nothing is taken."""
    place = directory(tmp_path)
    await write_view(place, TREE, TREE.note(300))
    tile, bundle = tmp_path / CHAIN / Tile(0, 0).path, tmp_path / CHAIN / Bundle(1, 44).path
    for damage in ("pipe", "zero", "folder", "large", "short", "empty", "loop"):
        for path in (tile, bundle, tmp_path / CHAIN / "checkpoint"):
            path.unlink()
            if damage == "pipe":
                os.mkfifo(path)
            elif damage == "zero":
                path.symlink_to("/dev/zero")
            elif damage == "folder":
                path.mkdir()
            elif damage == "loop":
                path.symlink_to(path)
            else:
                path.write_bytes({"large": bytes(20_000_000), "short": bytes(31), "empty": b""}[damage])
        for read in (lambda: place.tile(Tile(0, 0)), lambda: place.bundle(Bundle(1, 44)), place.checkpoint):
            with contextlib.suppress(TileError, ValueError, OperatorError):
                assert read() is None
        for path in (tile, bundle, tmp_path / CHAIN / "checkpoint"):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
            path.touch()


def test_find_follows_no_links_and_ends(tmp_path: Path) -> None:
    """Folders that lead back to themselves are not walked, and depth is bounded."""
    (tmp_path / "loop").symlink_to(tmp_path)
    deep = tmp_path
    for _ in range(20):
        deep /= "d"
    deep.mkdir(parents=True)
    (deep / "checkpoint").write_text("x")
    assert list(find(LocalFiles(tmp_path))) == []
