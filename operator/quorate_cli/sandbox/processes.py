"""Starting processes that cannot outlive the one that started them."""

import contextlib
import ctypes
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from quorate_cli.sandbox import guard
from quorate_cli.sandbox.guard import start_time

_LINUX = sys.platform == "linux"
_PR_SET_PDEATHSIG = 1
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWIPC = 0x08000000
_SWEEP_SECONDS = 5.0
# Loaded before any fork: a child between fork and exec should not import or allocate more than it must.
_libc = ctypes.CDLL(None, use_errno=True) if _LINUX else None


def alive(pid: int, started: str) -> bool:
    """Whether the process that was recorded with this start time still runs (a zombie does not)."""
    return bool(pid and started) and start_time(pid) == started


def kill_group(pid: int, number: int = signal.SIGKILL) -> None:
    """Signal a process group; one that is gone is no error."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def sweep(directory: Path) -> None:
    """Kill whatever works in `directory` (Linux; elsewhere nothing): children that outlived the process they serve.

    Raises:
        TimeoutError: something is still there after some seconds.
    """
    deadline = time.monotonic() + _SWEEP_SECONDS
    while left := _working_in(directory):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {left} in {directory} cannot be killed")
        time.sleep(0.005)


def _working_in(directory: Path) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*") if _LINUX else ():
        with contextlib.suppress(OSError):
            if (entry / "cwd").readlink() == directory:
                found.append(int(entry.name))
    return found


def unprivileged_user() -> pwd.struct_passwd:
    """An account that Postgres may run as when we are root: `nobody`, else any that is not root."""
    accounts = pwd.getpwall()
    return next((entry for entry in accounts if entry.pw_name == "nobody"), next(e for e in accounts if e.pw_uid != 0))


def _enter_user_namespace(uid: int, gid: int) -> None:
    """Become uid:gid in a user namespace of one's own: Postgres refuses root, yet the files stay root's own.

    Its System V memory lives in a namespace too, so that kill -9 leaves none behind.
    """
    assert _libc is not None
    # Both are read before they change; afterwards they are the overflow ids.
    outer_uid, outer_gid = os.geteuid(), os.getegid()
    if _libc.unshare(_CLONE_NEWUSER | _CLONE_NEWIPC) != 0:
        raise OSError(ctypes.get_errno(), "user namespaces are not available")
    Path("/proc/self/uid_map").write_text(f"{uid} {outer_uid} 1")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/gid_map").write_text(f"{gid} {outer_gid} 1")


def user_namespaces_work() -> bool:
    """Whether `unprivileged=True` can be used on this machine."""
    if not _LINUX:
        return False
    account = unprivileged_user()
    try:
        subprocess.run(["true"], check=True, preexec_fn=_prepare(account), timeout=10)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def _prepare(account: pwd.struct_passwd | None) -> Callable[[], None]:
    parent = os.getpid()

    def prepare() -> None:
        if account is not None:
            _enter_user_namespace(account.pw_uid, account.pw_gid)
        if _libc is not None:
            # After the change of credentials, which clears it. The signal comes when the parent's *thread* ends, so
            # only main threads start processes here.
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)

    return prepare


def spawn(
    args: Sequence[str],
    *,
    log: IO[bytes] | int,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    unprivileged: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own; it is killed when this process ends, however it ends.

    Raises:
        OSError: the program cannot be started.
    """
    account = unprivileged_user() if unprivileged else None
    return subprocess.Popen(
        args,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=env,
        cwd=cwd,
        start_new_session=True,
        preexec_fn=_prepare(account),  # noqa: PLW1509 - it takes no lock and this is the main thread
    )


class Guard:
    """A process that kills the registered process groups when this one is gone (`guard.py`)."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def add(self, pid: int, started: str) -> None:
        """Register the process group that `pid` leads."""
        self._tell(f"add {pid} {started}\n")

    def remove(self, pid: int, started: str) -> None:
        """Forget a process group that has ended."""
        self._tell(f"del {pid} {started}\n")

    def own(self, group: str) -> None:
        """Remove this cgroup, with who is in it, at the end."""
        self._tell(f"own {group}\n")

    def close(self) -> None:
        """Kill what is registered, and end the guard."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.wait()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()

    def __enter__(self) -> "Guard":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
