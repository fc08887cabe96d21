"""The socket of the workloads: who connects is what the kernel says, and no workload costs more than its bounds.

The protocol is `quorate.missions.protocol`, what is known `quorate.missions.sessions`; here are sockets and time.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from quorate.api.mission_policy import LadderAction
from quorate.missions.admission import Admission, Allowance
from quorate.missions.protocol import (
    Answered,
    Directive,
    Frames,
    Hello,
    Message,
    ProtocolRefusedError,
    Ran,
    Told,
    directed,
    parse,
    received,
    refused,
    welcome,
)
from quorate.missions.samples import Event
from quorate.missions.series import SECOND
from quorate.missions.sessions import Key, Sessions
from quorate_agent.listening import listen, peer_of, remove
from quorate_agent.ports import Clock, PodResolver

INTERVAL = SECOND
PATIENCE = 5
"""Seconds for a hello, for a frame that was begun, and for a workload to take what it is sent."""
SILENCE = 60
"""Seconds after which a session that says nothing is closed."""
PACE = 1 / 200
"""Seconds between two connections that are turned away: a flood of them costs little."""
CHUNK = 16_384


class _Connection:
    """One accepted socket, its bounds and its session."""

    def __init__(self, sock: socket.socket, uid: str) -> None:
        self.sock = sock
        self.uid = uid
        self.key: Key | None = None
        self.frames = Frames()
        self.allowance = Allowance(rate=20, burst=40)
        self.until: float = 0
        """When something must have come: loop time."""
        self.sending = asyncio.Lock()


class Workloads:
    """Serves the socket.

    Args:
        path: of the socket; its directory belongs to the agent alone.
        resolver: whose process connects.
        clock: of the events.
        sink: takes the events of a message, at once; must not block.
        changed: told the uid of a pod whose `takes` may have changed.
    """

    def __init__(
        self,
        path: Path,
        resolver: PodResolver,
        clock: Clock,
        sink: Callable[[Sequence[Event]], None],
        changed: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._path, self._resolver, self._clock, self._sink, self._changed = path, resolver, clock, sink, changed
        self.sessions = Sessions()
        self._admission = Admission()
        self._connections: dict[Key, _Connection] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: socket.socket | None = None
        self.refusals = 0
        """Messages that were refused."""
        self.turned_away = 0
        """Connections that were closed without a word."""

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: the directory is not the agent's alone, or the socket cannot be made; the message says why.
        """
        self._listener = listen(self._path)
        self._spawn(self._accept(self._listener))
        self._spawn(self._settle())

    async def stop(self) -> None:
        """End every connection and remove the socket."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._listener is not None:
            self._listener.close()
            remove(self._path)

    def takes(self, uid: str) -> frozenset[LadderAction]:
        """What the workloads of a pod can carry out."""
        return self.sessions.takes(uid, self._clock.now())

    def direct(self, uid: str, directive: Directive) -> bool:
        """Ask the workloads of a pod; False where none takes it, or it was asked before. The answer is an event."""
        keys = self.sessions.ask(uid, directive, self._clock.now())
        for key in keys:
            if key in self._connections:
                self._spawn(self._send(self._connections[key], directed(directive)))
        return bool(keys)

    def forget(self, uid: str) -> None:
        """The pod is gone: so are its sessions."""
        self.sessions.forget(uid)
        for key, connection in list(self._connections.items()):
            if key.uid == uid:
                _end(connection)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _settle(self) -> None:
        while True:
            await asyncio.sleep(1)
            self._tell(self.sessions.settle(self._clock.now()))

    def _tell(self, events: Sequence[Event]) -> None:
        if events:
            self._sink(events)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, _ = await loop.sock_accept(listener)
            except OSError:  # no descriptor is free, or who connected is gone already
                await asyncio.sleep(PACE)
                continue
            peer = peer_of(sock, self._resolver)
            if peer is None or not self._admission.enter(peer.owner.uid, self._clock.now()):
                self.turned_away += 1
                sock.close()
                await asyncio.sleep(PACE)
                continue
            self._spawn(self._serve(_Connection(sock, peer.owner.uid)))

    async def _serve(self, connection: _Connection) -> None:
        try:
            await self._converse(connection)
        except ProtocolRefusedError as error:
            self.refusals += 1
            with contextlib.suppress(OSError, TimeoutError):
                await self._put(connection, refused(error))
        except (OSError, TimeoutError):
            pass  # it is gone, hangs or is silent
        finally:
            self._left(connection)

    def _left(self, connection: _Connection) -> None:
        connection.sock.close()
        self._admission.leave(connection.uid)
        key = connection.key
        if key is not None and self._connections.get(key) is connection:
            del self._connections[key]
            self.sessions.gone(key, self._clock.now())
            self._changed(key.uid)

    async def _converse(self, connection: _Connection) -> None:
        """Read until the end: at most the allowed messages, each in time."""
        loop = asyncio.get_running_loop()
        connection.until = loop.time() + PATIENCE
        while True:
            async with asyncio.timeout_at(connection.until):
                data = await loop.sock_recv(connection.sock, CHUNK)
            if not data:
                return
            was_begun = connection.frames.begun
            frames = connection.frames.feed(data)
            for frame in frames:
                await self._allowed(connection)
                await self._take(connection, parse(frame))
            if connection.key is None:
                continue  # the hello's time goes on
            if not connection.frames.begun:
                connection.until = loop.time() + SILENCE
            elif frames or not was_begun:
                connection.until = loop.time() + PATIENCE

    async def _allowed(self, connection: _Connection) -> None:
        while not connection.allowance.may(self._clock.now()):  # noqa: ASYNC110 - time is what is waited for
            await asyncio.sleep(connection.allowance.wait() / SECOND)

    async def _take(self, connection: _Connection, message: Message) -> None:
        now = self._clock.now()
        if connection.key is None:
            if not isinstance(message, Hello):
                raise ProtocolRefusedError("type", type(message).__name__, "the first message is a hello")
            await self._greet(connection, message, now)
            return
        before = self.sessions.takes(connection.uid, now)
        self._tell(self.sessions.take(connection.key, message, now))
        if isinstance(message, Told | Ran | Answered):
            await self._put(connection, received(message))
        elif self.sessions.takes(connection.uid, now) != before:
            self._changed(connection.uid)

    async def _greet(self, connection: _Connection, hello: Hello, now: int) -> None:
        key, asked = self.sessions.hello(connection.uid, hello, now)
        earlier = self._connections.pop(key, None)
        connection.key, self._connections[key] = key, connection
        if earlier is not None:
            _end(earlier)
        self._changed(key.uid)
        await self._put(connection, welcome(INTERVAL))
        for directive in asked:
            await self._put(connection, directed(directive))

    async def _send(self, connection: _Connection, frame: bytes) -> None:
        try:
            await self._put(connection, frame)
        except (OSError, TimeoutError):
            _end(connection)

    @staticmethod
    async def _put(connection: _Connection, frame: bytes) -> None:
        async with asyncio.timeout(PATIENCE), connection.sending:
            await asyncio.get_running_loop().sock_sendall(connection.sock, frame)


def _end(connection: _Connection) -> None:
    """Its reader sees the end and leaves."""
    with contextlib.suppress(OSError):
        connection.sock.shutdown(socket.SHUT_RDWR)
