"""The few calls of Linux that Python 3.11 does not offer."""

import contextlib
import ctypes
import os
import platform
import signal
from collections.abc import Iterator
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND = 1, 2, 4, 8, 32, 4096
MS_REC, MS_PRIVATE, MS_SHARED = 16384, 1 << 18, 1 << 20
_MNT_DETACH = 2
_PR_SET_PDEATHSIG = 1
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def unshare(flags: int) -> None:
    """Leave namespaces for new ones."""
    _checked(_libc.unshare(flags), "unshare")


@contextlib.contextmanager
def network_of(inside: int, back: int) -> Iterator[None]:
    """Work in another network namespace (descriptors of `/proc/…/ns/net`); sockets stay where they were made."""
    _checked(_libc.setns(inside, CLONE_NEWNET), "setns")
    try:
        yield
    finally:
        _checked(_libc.setns(back, CLONE_NEWNET), "setns")


def mount(source: str | Path, target: str | Path, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Call the system call of that name."""
    texts = [os.fsencode(text) if text else None for text in (source, target, kind)]
    _checked(_libc.mount(*texts, ctypes.c_ulong(flags), os.fsencode(options) if options else None), str(target))


def bind(source: Path, target: Path, *, read_only: bool = False) -> None:
    """Show a file or directory in a second place."""
    mount(source, target, "", MS_BIND)
    if read_only:
        mount("", target, "", MS_BIND | MS_REMOUNT | MS_RDONLY)


def pivot_root(root: Path, old: Path) -> None:
    """Make the mount `root` the root, and take the old one, moved to `old`, away."""
    _checked(_libc.syscall(_PIVOT_ROOT[platform.machine()], os.fsencode(root), os.fsencode(old)), "pivot_root")
    os.chdir("/")
    inside = Path("/") / old.relative_to(root)
    _checked(_libc.umount2(os.fsencode(inside), _MNT_DETACH), str(old))
    inside.rmdir()


def die_with_parent() -> None:
    """Be killed when the thread that forked this process ends."""
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")
