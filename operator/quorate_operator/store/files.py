"""Named bytes below one root: where a log is published, exported or archived."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from quorate_operator.errors import Transient

_PENDING = 256


class Files(Protocol):
    """A directory, or an object store. Names are relative, with `/` between their segments.

    Every method raises Transient (`FilesUnavailable`, names the place) when the place does not do what it should.
    """

    def read(self, name: str, limit: int) -> bytes | None:
        """The bytes; None if there is nothing of this name, or if it is no plain file, or larger than `limit`."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Write or replace: readers see all of the old bytes or all of the new, from the next `flush` at the latest."""
        ...

    def flush(self) -> None:
        """Return when everything that was written can be seen and survives a crash of the machine."""
        ...

    def folders(self, name: str) -> list[str]:
        """Names of the folders in a folder (`""` is the root), sorted."""
        ...

    def remove_folder(self, name: str) -> None:
        """Remove a folder of plain files; nothing happens if it is not there."""
        ...


class LocalFiles:
    """Port `Files` on a directory, which need not exist yet."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._pending: list[tuple[Path, Path]] = []
        self._folders: set[Path] = set()

    def read(self, name: str, limit: int) -> bytes | None:
        """Port `Files`; a device or a pipe in an archive by a stranger is neither waited for nor read."""
        with _translated(self._root / name):
            try:
                handle = os.open(self._root / name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except (FileNotFoundError, NotADirectoryError):
                return None
            try:
                state = os.fstat(handle)
                if not stat.S_ISREG(state.st_mode) or state.st_size > limit:
                    return None
                with open(handle, "rb", closefd=False) as file:
                    data = file.read(limit + 1)
                return data if len(data) <= limit else None
            finally:
                os.close(handle)

    def write(self, name: str, data: bytes) -> None:
        """Port `Files`: into a temporary file, which `flush` makes durable before it gets its name."""
        target = self._root / name
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        with _translated(target):
            if not target.parent.is_dir():
                self._make(target.parent)
            temporary.write_bytes(data)
        self._pending.append((temporary, target))
        if len(self._pending) >= _PENDING:
            self.flush()

    def _make(self, folder: Path) -> None:
        missing = [folder, *(parent for parent in folder.parents if not parent.is_dir())]
        folder.mkdir(parents=True, exist_ok=True)
        self._folders.update(parent.parent for parent in missing)

    def flush(self) -> None:
        """Port `Files`. One file's fsync commits the others' metadata too, so a batch costs little more than one."""
        with _translated(self._root):
            for temporary, _ in self._pending:
                _sync(temporary)
            for temporary, target in self._pending:
                temporary.replace(target)
                self._folders.add(target.parent)
            for folder in self._folders:
                _sync(folder)
        self._pending.clear()
        self._folders.clear()

    def folders(self, name: str) -> list[str]:
        """Port `Files`; links are not followed."""
        with _translated(self._root / name):
            try:
                with os.scandir(self._root / name) as entries:
                    return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
            except (FileNotFoundError, NotADirectoryError):
                return []

    def remove_folder(self, name: str) -> None:
        """Port `Files`."""
        folder = self._root / name
        with _translated(folder), suppress(FileNotFoundError):
            for file in folder.iterdir():
                file.unlink()
            folder.rmdir()


def open_files(place: str) -> Files:
    """The files below a directory or, with `://` in its name, an object store.

    Raises:
        Stalled: `ObjectStoreUnusable`.
    """
    if "://" not in place:
        return LocalFiles(Path(place))
    from quorate_operator.store.object_store import ObjectFiles  # noqa: PLC0415 - an extra

    return ObjectFiles(place)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Transient("FilesUnavailable", f"{path}: {error.strerror or error}", retry_after=5.0) from error
    except ValueError as error:  # a NUL in a name
        raise Transient("FilesUnavailable", f"{path}: {error}", retry_after=5.0) from error
