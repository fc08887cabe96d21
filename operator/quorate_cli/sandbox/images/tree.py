"""The file tree of an image: a Python interpreter, distributions and what they need, below one directory.

`build` is the whole of it; a Dockerfile `FROM scratch` that copies the directory has the same image. The layout is that
of the official `python` images: `/usr/local/bin/python3`, `/usr/local/lib/python3.N/site-packages`.
"""

import hashlib
import os
import shutil
import ssl
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from quorate_cli.sandbox.errors import SandboxError
from quorate_cli.sandbox.images import libraries, packages

USER = 65532
"""Who runs in the images: nobody of the machine, as in the distroless images."""
_PREFIX = "usr/local"
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
# Of the standard library: what needs a screen, tests, installers, and what compiles C.
_LEFT_OUT = {"__pycache__", "site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3", "ensurepip"}
_LEFT_OUT |= {"tkinter", "turtledemo", "turtle.py"}
_LEFT_OUT_BEGINNINGS = ("config-", "_tkinter", "_test", "_ctypes_test", "_xxtestfuzz", "xxlimited", "libpython")
_COMPILE_SECONDS = 300
_COMPILE = """
import compileall, py_compile, sys
mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
compileall.compile_dir(sys.argv[1], quiet=2, stripdir=sys.argv[2], prependdir="/", invalidation_mode=mode)
"""

Content = Path | bytes


@dataclass(frozen=True, slots=True)
class Recipe:
    """What an image has beside the interpreter."""

    distribution: str = ""
    """It and all that it needs; its commands are in `/usr/local/bin`."""
    extras: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    """The packages of the distribution that are in it; one that is installed as editable does not name them."""
    without: tuple[str, ...] = ()
    """Distributions that none of these modules imports."""


def site_packages() -> str:
    """Path of the distributions in an image."""
    return f"{_library()}/site-packages"


def _library() -> str:
    """Path of the standard library in an image: where the interpreter looks from its own place."""
    return f"{_PREFIX}/{Path(sysconfig.get_path('stdlib')).relative_to(sys.base_prefix).as_posix()}"


def contents(recipe: Recipe) -> dict[str, Content]:
    """Path in the image → its file here, or its bytes; without shared libraries and compiled modules.

    Raises:
        SandboxError: something that the recipe names is not installed.
    """
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    found: dict[str, Content] = {f"{_PREFIX}/bin/{version}": _interpreter()}
    found |= {f"{_library()}/{name}": path for name, path in _standard_library()}
    found |= _system()
    if recipe.distribution:
        for dist in packages.closure(recipe.distribution, recipe.extras, recipe.without):
            found |= {f"{site_packages()}/{name}": path for name, path in packages.files(dist)}
            if dist.name == recipe.distribution:
                commands = packages.scripts(dist, recipe.modules)
                found |= {f"{_PREFIX}/bin/{name}": text.encode() for name, text in commands.items()}
    for module in recipe.modules:
        found |= {f"{site_packages()}/{name}": path for name, path in packages.module_files(module)}
    return found


def fingerprint(found: Mapping[str, Content]) -> str:
    """A digest that changes when an input does: by size and time of change for files, and by this room's own code."""
    digest = hashlib.sha256(sys.version.encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    for name, content in sorted(found.items()):
        if isinstance(content, bytes):
            digest.update(f"{name} {hashlib.sha256(content).hexdigest()}\n".encode())
        else:
            state = content.stat()
            digest.update(f"{name} {state.st_size} {state.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def build(found: Mapping[str, Content], root: Path) -> None:
    """Write the tree of `contents` into the empty directory `root`, with libraries and compiled modules.

    The same inputs give the same bytes.

    Raises:
        SandboxError: no `ldd`, or the modules cannot be compiled.
        OSError: the disk refuses.
    """
    for name, content in found.items():
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            target.write_bytes(content)
        else:
            shutil.copyfile(content, target)
        program = target.parent.name == "bin" or (isinstance(content, Path) and os.access(content, os.X_OK))
        target.chmod(0o755 if program else 0o644)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for name in ("python", "python3"):
        (root / _PREFIX / "bin" / name).symlink_to(version)
    libraries.add(root)
    _compile(root)


def _interpreter() -> Path:
    executable = getattr(sys, "_base_executable", "") or sys.executable
    return Path(executable).resolve()


def _standard_library() -> Iterator[tuple[str, Path]]:
    root = Path(sysconfig.get_path("stdlib"))
    for directory, below, names in os.walk(root):
        below[:] = sorted(name for name in below if not _left_out(name))
        for name in names:
            if not _left_out(name) and not name.endswith((".pyc", ".a")):
                path = Path(directory, name)
                yield path.relative_to(root).as_posix(), path


def _left_out(name: str) -> bool:
    return name in _LEFT_OUT or name.startswith(_LEFT_OUT_BEGINNINGS)


def _system() -> dict[str, Content]:
    """The few files of a system that libraries ask for."""
    found: dict[str, Content] = {
        "etc/passwd": f"root:x:0:0::/root:/sbin/nologin\nnonroot:x:{USER}:{USER}::/tmp:/sbin/nologin\n".encode(),
        "etc/group": f"root:x:0:\nnonroot:x:{USER}:\n".encode(),
        "etc/nsswitch.conf": b"hosts: files dns\n",
    }
    paths = ssl.get_default_verify_paths()
    for candidate in (os.environ.get("SSL_CERT_FILE"), paths.cafile, f"/{CERTIFICATES}"):
        if candidate and Path(candidate).is_file():
            return found | {CERTIFICATES: Path(candidate)}
    return found


def _compile(root: Path) -> None:
    """Compile every module, each file with the hash of its source and no time, so that the bytes are the same again."""
    environment = {"PYTHONHASHSEED": "0", "PATH": os.environ.get("PATH", "")}
    args = [sys.executable, "-s", "-S", "-c", _COMPILE, str(root / _library()), str(root)]
    try:
        done = subprocess.run(
            args, env=environment, capture_output=True, text=True, timeout=_COMPILE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise SandboxError(f"compiling the modules of an image took longer than {_COMPILE_SECONDS} s") from None
    if done.returncode != 0:
        raise SandboxError(f"the modules of an image cannot be compiled: {done.stderr.strip()[-300:]}")
