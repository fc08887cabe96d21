"""Finding the control plane's binaries: `KUBEBUILDER_ASSETS`, the cache, the official releases, a build from source.

In this order for each binary (architecture.md); never a fake. What is downloaded or built goes into the cache, a
directory named after everything that decides its content, by renaming a finished file: a binary that is there is whole.
"""

import hashlib
import json
import os
import platform
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from quorate_cli.sandbox import download, gobuild
from quorate_cli.sandbox.errors import SandboxError
from quorate_cli.sandbox.layout import locked, write_atomically
from quorate_cli.sandbox.versions import ETCD, KUBERNETES, KWOK, LDFLAGS

CONTROL_PLANE = ("etcd", "kube-apiserver")
CONTROLLERS = ("kube-controller-manager", "kube-scheduler", "kwok", "kubectl")
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Target:
    """The platform that binaries are for, in Go's words."""

    os: str
    arch: str


def this_machine() -> Target:
    """The platform that runs this."""
    machine = platform.machine().lower()
    return Target(sys.platform, {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine))


def cache_root() -> Path:
    """`$QUORATE_CACHE`, else the user's cache directory."""
    if value := os.environ.get("QUORATE_CACHE"):
        return Path(value)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "quorate"


def cache_key(target: Target) -> str:
    """Names what the binaries are made of: versions, pinned modules, build flags and platform."""
    digest = hashlib.sha256(json.dumps([KUBERNETES, ETCD, KWOK, LDFLAGS, target.os, target.arch]).encode())
    for file in gobuild.pinned_files():
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return f"{KUBERNETES}-{digest.hexdigest()[:16]}"


class Cache:
    """Finished binaries, and a note of the size of each: a truncated one is found and made again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._sizes = directory / "sizes.json"

    def get(self, name: str) -> Path | None:
        """The binary, if it is there whole."""
        path = self.directory / name
        try:
            whole = path.stat().st_size == self._read()[name]
        except (OSError, KeyError):
            return None
        return path if whole and os.access(path, os.X_OK) else None

    def put(self, name: str, finished: Path) -> Path:
        """Move a finished file in; it is on the disk before its name is."""
        with finished.open("rb") as file:
            os.fsync(file.fileno())
            size = os.fstat(file.fileno()).st_size
        finished.chmod(0o755)
        write_atomically(self._sizes, json.dumps({**self._read(), name: size}, indent=2).encode())
        path = self.directory / name
        finished.replace(path)
        return path

    def clean(self) -> None:
        """Remove what an interrupted run left; only with the cache's lock."""
        for left in self.directory.glob(".part-*"):
            left.unlink(missing_ok=True)

    def _read(self) -> dict[str, int]:
        try:
            sizes = json.loads(self._sizes.read_text())
        except (OSError, ValueError):
            return {}
        return sizes if isinstance(sizes, dict) else {}


def find(names: Iterable[str], *, say: Say) -> dict[str, Path]:
    """Where each binary is, made if need be; `say` gets a line for every step that takes long.

    Raises:
        SandboxError: one cannot be had; what could be had stays in the cache.
    """
    wanted = list(names)
    found = _from_assets(wanted)
    target = this_machine()
    cache = Cache(cache_root() / "bin" / cache_key(target))
    found |= {name: path for name in wanted if name not in found and (path := cache.get(name))}
    missing = [name for name in wanted if name not in found]
    if missing:
        found |= _make(missing, cache, target, say)
    return {name: found[name] for name in wanted}


def _from_assets(names: list[str]) -> dict[str, Path]:
    value = os.environ.get("KUBEBUILDER_ASSETS")
    if not value:
        return {}
    directory = Path(value)
    if not directory.is_dir():
        raise SandboxError(f"KUBEBUILDER_ASSETS={value}: is not a directory; correct it or unset it")
    return {name: directory / name for name in names if os.access(directory / name, os.X_OK)}


def _make(names: list[str], cache: Cache, target: Target, say: Say) -> dict[str, Path]:
    try:
        cache.directory.mkdir(parents=True, exist_ok=True)
        with locked(cache.directory.with_name(f".{cache.directory.name}.lock")):
            # Somebody else may have made them while we waited.
            made = {name: path for name in names if (path := cache.get(name))}
            cache.clean()
            left = [name for name in names if name not in made]
            if left:
                made |= _download(left, cache, target, say)
                left = [name for name in left if name not in made]
            if left:
                gobuild.build(left, cache.directory, lambda name, path: made.update({name: cache.put(name, path)}), say)
            return made
    except OSError as error:
        raise SandboxError(
            f"the binaries cannot be kept in {cache.directory} ({error.strerror}); "
            "free space there, or name another directory in QUORATE_CACHE"
        ) from None


def _download(names: list[str], cache: Cache, target: Target, say: Say) -> dict[str, Path]:
    made: dict[str, Path] = {}
    for name in names:
        part = cache.directory / f".part-{name}"
        try:
            download.fetch(name, target.os, target.arch, part, say)
        except download.UnavailableError as error:
            say(f"no official binaries here ({error})")
            break
        made[name] = cache.put(name, part)
    return made
