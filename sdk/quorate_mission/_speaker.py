"""The one daemon thread that speaks with the agent: connects, tells, listens, begins again (docs/mission-protocol.md).

It holds the interpreter for a fraction of a millisecond a second, whatever the agent does: what it reads in a second is
bounded, and what it sends is one message at a time.
"""

from __future__ import annotations

import logging
import os
import random
import select
import socket
import threading
import time
from typing import Any, Callable

from quorate_mission._directives import Book, is_directive
from quorate_mission._ledger import Ledger
from quorate_mission._link import Link, Wake, connect_to
from quorate_mission._wire import CLIENT, PROTOCOL, WireError

INTERVAL = 1.0
HEARTBEAT = 10.0
"""Seconds of silence after which an empty report is sent."""
PATIENCE = 10.0
"""Seconds that the agent has for a `received` or `welcome`, and to read something; then it counts as hung."""
STALE = 10.0
"""Seconds after which latencies say nothing about now."""
BACK_OFF = (1.0, 60.0)
logger = logging.getLogger("quorate_mission")


class Speaker(threading.Thread):
    """Speaks for one mission until it is closed."""

    def __init__(self, path: str, ledger: Ledger, book: Book, wake: Wake, takes: Callable[[], list[str]]) -> None:
        super().__init__(name="quorate-mission", daemon=True)
        self._path, self._ledger, self._book, self._wake, self._takes = path, ledger, book, wake, takes
        self._session = os.urandom(16).hex()
        self._seq = 0
        self._under_way: dict[str, Any] | None = None
        self._begun = self._next = 0.0  # when what is under way was made; when the next report is due
        self._interval = INTERVAL
        self._told: list[str] = []
        self._closing = self._ended = False  # told to close; the last report was made
        self._fruitful = False
        self._complaint = ""
        self._sock: socket.socket | None = None
        self.connected = False

    def abandon(self) -> None:
        """In a forked child: the connection is the parent's, only the descriptor is given back."""
        if self._sock is not None:
            self._sock.close()

    def close(self, seconds: float) -> None:
        """Send what there is, and end; waits `seconds` at most."""
        self._closing = True
        self._wake()
        self.join(seconds)

    def run(self) -> None:
        """Connect, speak, wait longer each time that it led to nothing."""
        wait = BACK_OFF[0]
        while not self._closing:
            self._fruitful = False
            try:
                with connect_to(self._path) as self._sock:
                    self._speak(Link(self._sock))
            except Exception as error:  # noqa: BLE001 - whatever it is must neither reach the workload nor end its reports
                self._complain(error)
            self.connected = False
            wait = BACK_OFF[0] if self._fruitful else wait
            self._rest(wait * random.uniform(0.5, 1.0))  # noqa: S311 - spreads reconnects, nothing secret
            wait = min(2 * wait, BACK_OFF[1])

    def _complain(self, error: Exception) -> None:
        """Say once what is wrong, at a level that is not shown by default: no agent is no error."""
        complaint = f"{type(error).__name__}: {error}"
        if complaint != self._complaint:
            self._complaint = complaint
            logger.info("mission socket %s: %s", self._path, complaint)

    def _rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        waiting = select.poll()
        waiting.register(self._wake.read, select.POLLIN)
        while not self._closing and (left := until - time.monotonic()) > 0:
            if waiting.poll(1000 * left):
                self._wake.drain()
                self._book.collect()

    def _speak(self, link: Link) -> None:
        """Speak until the mission closes.

        Raises:
            OSError, WireError: the connection ended, hangs or makes no sense.
        """
        self._told = self._takes()
        link.send({"type": "hello", "protocol": PROTOCOL, "session": self._session, "client": CLIENT,
                   "takes": self._told})  # fmt: skip
        while True:
            now = time.monotonic()
            self._check(link, now)
            if link.welcomed:
                self._say(link, now)
            if self._closing and not (link.welcomed and self._waits(link)):
                return
            ready = self._wait(link, now)
            if ready & select.POLLOUT:
                link.flush()
            if ready & select.POLLIN:
                for message in link.read():
                    self._take(link, message)
            elif ready & (select.POLLHUP | select.POLLERR):
                raise ConnectionResetError("the agent closed the connection")

    def _waits(self, link: Link) -> bool:
        return bool(link.out or self._book.unsent) or self._under_way is not None or not self._ended

    def _wait(self, link: Link, now: float) -> int:
        """Until something can be done, half a second at most; what the socket is ready for."""
        waiting = select.poll()
        waiting.register(self._wake.read, select.POLLIN)
        wanted = (select.POLLIN if link.may_read(now) else 0) | (select.POLLOUT if link.out else 0)
        waiting.register(link.sock, wanted)
        idle = link.welcomed and self._under_way is None
        ready = dict(waiting.poll(1000 * max(0.01, min(0.5, self._next - now)) if idle else 500))
        if self._wake.read in ready:
            self._wake.drain()
        return ready.get(link.sock.fileno(), 0)

    def _check(self, link: Link, now: float) -> None:
        """Raises TimeoutError where the agent hangs."""
        silent = not link.welcomed or link.tells
        if (link.out and now - link.moved > PATIENCE) or (silent and now - link.spoken > PATIENCE):
            raise TimeoutError("the agent does not answer")

    def _say(self, link: Link, now: float) -> None:
        """Queue what is to be said now."""
        self._book.collect()
        takes = self._takes()
        if takes != self._told:
            self._told = takes
            link.send({"type": "takes", "takes": takes})
        for key, answer in self._book.unsent.items():
            if key not in link.answered:
                link.answered.add(key)
                link.send(answer)
        if self._under_way is None:
            self._under_way = self._made(link, now)
        if self._under_way is not None and not link.tells:
            if now - self._begun > STALE:
                self._under_way.pop("latency", None)
            link.tells = True
            link.send(self._under_way)

    def _made(self, link: Link, now: float) -> dict[str, Any] | None:
        """The next report or run, if one is due."""
        if self._ledger.runs:
            members = {"type": "run", **self._ledger.runs.popleft()}
        elif (now >= self._next or self._closing) and not self._ended:
            self._next, self._ended = now + self._interval, self._closing
            members = {"type": "report", **self._ledger.take()}
            if len(members) == 2 and now - link.spoken < HEARTBEAT:  # nothing but type and span
                return None
        else:
            return None
        self._seq += 1
        self._begun = now
        return {**members, "seq": self._seq}

    def _take(self, link: Link, message: dict[str, Any]) -> None:
        """What the agent said; what this version does not know is passed over."""
        kind = message.get("type")
        if kind == "welcome":
            interval = message.get("interval")
            if message.get("protocol") != PROTOCOL or type(interval) is not int or not 0 <= interval <= 10**7:
                raise WireError(f"a welcome that makes no sense: {message}")
            link.welcomed = self.connected = True
            self._interval = max(INTERVAL, interval / 1e6)
        elif kind == "received":
            self._fruitful = True
            self._complaint = ""
            if self._under_way is not None and message.get("seq") == self._under_way["seq"]:
                self._under_way, link.tells = None, False
            self._book.received(message.get("id"))
        elif kind == "directive" and is_directive(message):
            self._book.offer(message)
        elif kind == "refused":
            if link.tells:  # it will never be taken
                self._under_way = None
            logger.warning("the agent refused a message: %.300s", message)
            raise WireError("refused")
