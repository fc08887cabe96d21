"""The shared libraries of programs: found with `ldd`, and put where the loader looks without being told."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from quorate_cli.sandbox.errors import SandboxError

_FOUND = re.compile(r"^\s+(?:(\S+) => )?(/\S+) \(0x[0-9a-f]+\)$", re.MULTILINE)
_SECONDS = 120
_LIBC = re.compile(r"libc\.so\.6|libc\.musl-.*|ld-musl-.*")
# Opened by the C library when it first needs them: `ldd` does not name them.
_OPENED_LATER = ("libgcc_s.so.1", "libnss_dns.so.2", "libnss_files.so.2", "libresolv.so.2")


def add(root: Path) -> None:
    """Copy into the tree at `root` every library that a program or module in it needs from outside.

    Raises:
        SandboxError: there is no `ldd`, or it fails.
    """
    needed = dict(_needed(root, _programs(root)))
    standard = next((path.parent for name, path in sorted(needed.items()) if _LIBC.fullmatch(name)), None)
    if standard is None:
        return
    needed |= {name: path for name in _OPENED_LATER if (path := standard / name).exists()}
    for name, path in sorted(needed.items()):
        # The loader is named by its path in every program. All else lies beside the C library, where the loader looks
        # without a configuration of its own.
        place = path if name == str(path) else standard / name
        target = root / place.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        target.chmod(0o755)


def _programs(root: Path) -> list[Path]:
    """Files in the ELF format."""
    found = []
    for directory, _, names in os.walk(root):
        for path in (Path(directory, name) for name in names):
            if not path.is_symlink():
                with path.open("rb") as file:
                    if file.read(4) == b"\x7fELF":
                        found.append(path)
    return sorted(found)


def _needed(root: Path, programs: Iterable[Path]) -> Iterator[tuple[str, Path]]:
    """Name and place of each library outside the tree; the loader's name is its path."""
    try:
        done = subprocess.run(
            ["ldd", *map(str, programs)], capture_output=True, text=True, timeout=_SECONDS, check=False,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
        )  # fmt: skip
    except FileNotFoundError:
        raise SandboxError("building images needs `ldd` (Debian: libc-bin), and it is not here") from None
    except subprocess.TimeoutExpired:
        raise SandboxError(f"ldd gave no answer for {_SECONDS} s") from None
    for name, path in _FOUND.findall(done.stdout):
        if not Path(path).is_relative_to(root):
            yield name or path, Path(path)
