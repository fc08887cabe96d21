"""The agent's Unix socket, and who is at the other end of a connection as the kernel says."""

import contextlib
import os
import select
import socket
import stat
import struct
from dataclasses import dataclass
from pathlib import Path

from quorate_agent.ports import Owner, PodResolver

BACKLOG = 128
_PEER = struct.Struct("3i")
_SO_PEERPIDFD = 77
"""Linux 6.5 and later; not in `socket` yet."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The process that connected, and whose it is."""

    pid: int
    owner: Owner


def listen(path: Path) -> socket.socket:
    """A listening socket at `path`, open to every user, in place of what an earlier life of the agent left.

    Raises:
        OSError: the directory is a symlink or others may write it, or something that is no socket is in the way.
    """
    _check_directory(path.parent)
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(f"{path}: is no socket, and is not removed")
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        fresh.unlink(missing_ok=True)
        listener.bind(str(fresh))
        fresh.chmod(0o666)
        listener.listen(BACKLOG)
        fresh.replace(path)  # listening before it has its name: who finds it is answered
    except OSError:
        listener.close()
        fresh.unlink(missing_ok=True)
        raise
    return listener


def _check_directory(directory: Path) -> None:
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(f"{directory}: is a symlink or no directory")
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise PermissionError(f"{directory}: must belong to the agent, and nobody else may write it")


def remove(path: Path) -> None:
    """Remove the socket."""
    path.unlink(missing_ok=True)


def peer_of(connection: socket.socket, resolver: PodResolver) -> Peer | None:
    """Who connected; None where it is no process of a pod, or it ended before this was certain.

    A pid alone may be another process's by now: while the process itself is held by a pidfd and lives, what /proc says
    about its pid is about it.
    """
    pid, _, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    if pid <= 0:  # of a pid namespace that the agent does not see: it runs without hostPID
        return None
    try:
        handle = _handle_of(connection, pid)
    except OSError:
        return None
    try:
        start = resolver.start_of(pid)
        owner = None if start is None else resolver.owner_of(pid, start)
        if owner is None or not owner.uid or not _lives(handle):
            return None
        return Peer(pid, owner)
    finally:
        os.close(handle)


def _handle_of(connection: socket.socket, pid: int) -> int:
    """A pidfd of the process that connected; before Linux 6.5, of the one that has its pid now."""
    try:
        return connection.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD)
    except OSError:
        return os.pidfd_open(pid)


def _lives(handle: int) -> bool:
    waiting = select.poll()
    waiting.register(handle, select.POLLIN)
    return not waiting.poll(0)  # readable once the process has ended
