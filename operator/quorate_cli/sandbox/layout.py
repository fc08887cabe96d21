"""Where a sandbox keeps what: `$QUORATE_STATE` or `~/.local/state/quorate/sandbox/<name>/`."""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quorate_cli.sandbox.errors import SandboxError

MACHINE_KEY = "machine.key"
"""In a sandbox's directory: signs what node agents are given."""
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
# sun_path holds 104 bytes on the BSDs and 108 on Linux; the longest file name in the directory is Postgres's lock.
_SOCKET_PATH = 104 - len("/.s.PGSQL.5432.lock") - 1
PORTS = ("apiserver", "etcd", "etcd-peer", "controller-manager", "scheduler", "kwok", "operator")


def state_root() -> Path:
    """The directory that holds one directory per sandbox."""
    if value := os.environ.get("QUORATE_STATE"):
        return Path(value)
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "quorate" / "sandbox"


def check_name(name: str) -> str:
    """The name, if it can be one.

    Raises:
        SandboxError: it cannot.
    """
    if not _NAME.fullmatch(name):
        raise SandboxError(f"--name {name!r}: must be 1 to 40 lower-case letters, digits or '-', and not end in '-'")
    return name


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one sandbox."""

    root: Path
    name: str

    @property
    def state(self) -> Path:
        """Everything that the sandbox keeps."""
        return self.root / self.name

    @property
    def file(self) -> Path:
        """Ports, pids with start times and DSNs; written by the supervisor alone."""
        return self.state / "sandbox.json"

    @property
    def lock(self) -> Path:
        """Held while somebody brings the sandbox up or down."""
        return self.root / f".{self.name}.lock"

    @property
    def run(self) -> Path:
        """Directory of the Unix sockets: in the state, or a short path elsewhere where that is too long."""
        inside = self.state / "run"
        if len(os.fsencode(inside.absolute())) <= _SOCKET_PATH:
            return inside
        digest = hashlib.sha256(os.fsencode(self.state.absolute())).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"quorate-{os.getuid()}-{digest}"

    @property
    def control(self) -> Path:
        """The supervisor's socket."""
        return self.run / "control"

    @property
    def pki(self) -> Path:
        """Certificates and keys of the control plane."""
        return self.state / "pki"

    @property
    def logs(self) -> Path:
        """One log per component."""
        return self.state / "logs"

    def make(self) -> None:
        """Make the directories, for their owner's eyes only."""
        for path in (self.state, self.run, self.pki, self.logs, self.state / "log-keys", self.state / "heartbeats"):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.run.lstat().st_uid != os.getuid() or self.run.is_symlink():
            raise SandboxError(f"{self.run} belongs to somebody else; set QUORATE_STATE to a shorter path")

    def remove(self) -> None:
        """Remove everything that the sandbox kept."""
        shutil.rmtree(self.state, ignore_errors=True)
        shutil.rmtree(self.run, ignore_errors=True)

    def read(self) -> dict[str, Any]:
        """What the supervisor last wrote; empty if there is nothing usable."""
        try:
            content = json.loads(self.file.read_text())
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a file lock; the file is gone afterwards. A second caller waits."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX)
        # Whoever held it before may have removed it: then this lock is on a file that nobody else will find.
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(handle).st_ino:
                break
        os.close(handle)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def write_atomically(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace a file in one step; after a crash either the old or the new content is there."""
    temporary = path.with_name(f".{path.name}.new")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def free_ports(names: tuple[str, ...] = PORTS) -> dict[str, int]:
    """A free port of 127.0.0.1 for each name; all are held until the last is found, so no two are the same."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in names]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return {name: each.getsockname()[1] for name, each in zip(names, sockets, strict=True)}


def check_free(port: int) -> None:
    """Refuse a port of 127.0.0.1 that somebody listens on.

    Raises:
        SandboxError: it is busy.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise SandboxError(
                f"--port {port}: 127.0.0.1:{port} cannot be used ({error.strerror}); "
                "choose another, or leave --port out and a free one is taken"
            ) from None
