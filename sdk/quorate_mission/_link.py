"""The socket of the agent, one connection to it, and the pipe that wakes the speaker."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
import time
from typing import Any

from quorate_mission._wire import MOST_BYTES, Frames, framed

MOST_READ = 2 * MOST_BYTES
MOST_MESSAGES = 64
"""Read in a second."""
CHUNK = 16_384
_TIMEVAL = struct.Struct("@ll")


def connect_to(path: str) -> socket.socket:
    """A connection to the socket at `path` itself: what is a symlink, or no socket, is refused.

    Raises:
        OSError: it cannot be had.
    """
    handle = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISSOCK(os.fstat(handle).st_mode):
            raise OSError(f"{path}: is a symlink or no socket")
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # Waits for its turn where many connect at once, a second at most; without blocking it would be refused.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _TIMEVAL.pack(1, 0))
            sock.connect(f"/proc/self/fd/{handle}")
            sock.setblocking(False)
        except OSError:
            sock.close()
            raise
        return sock
    finally:
        os.close(handle)


class Wake:
    """A pipe that ends the speaker's waiting; touching it never blocks and never fails."""

    def __init__(self) -> None:
        try:
            self.read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:  # no descriptor is free: then nobody speaks
            self.read = self._write = -1

    def __call__(self) -> None:
        """Wake the speaker."""
        with contextlib.suppress(OSError):
            os.write(self._write, b"\0")

    def drain(self) -> None:
        """The speaker: it is awake."""
        with contextlib.suppress(OSError):
            os.read(self.read, 4096)

    def close(self) -> None:
        """Give the descriptors back; for a forked child, whose speaker is not there."""
        for descriptor in (self.read, self._write):
            with contextlib.suppress(OSError):
                os.close(descriptor)


class Link:
    """One connection: what is to be sent, and how much was read in this second."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.out = bytearray()
        self.welcomed = False
        self.answered: set[str] = set()
        """Ids whose answer was sent here."""
        self.tells = False
        """What is under way was sent here."""
        self.spoken = self.moved = time.monotonic()
        """When something was queued last, and when some of it was last taken."""
        self._frames = Frames()
        self._second = 0.0
        self._read = self._messages = 0

    def may_read(self, now: float) -> bool:
        """Whether this second has room; an agent that floods waits."""
        if now >= self._second + 1:
            self._second, self._read, self._messages = now, 0, 0
        return self._read < MOST_READ and self._messages < MOST_MESSAGES

    def read(self) -> list[dict[str, Any]]:
        """The messages that came.

        Raises:
            OSError: the connection ended.
            WireError: it is no message.
        """
        data = self.sock.recv(CHUNK)
        if not data:
            raise ConnectionResetError("the agent closed the connection")
        found = self._frames.feed(data)
        self._read += len(data)
        self._messages += len(found)
        return found

    def send(self, message: dict[str, Any]) -> None:
        """Queue a message."""
        now = time.monotonic()
        if not self.out:
            self.moved = now
        self.spoken = now
        self.out += framed(message)
        self.flush()

    def flush(self) -> None:
        """Send what there is room for."""
        with contextlib.suppress(BlockingIOError):
            sent = self.sock.send(self.out)
            del self.out[:sent]
            self.moved = time.monotonic()
