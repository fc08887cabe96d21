"""The connections on which the log is written: one statement, one transaction, one round trip, through libpq itself.

A pool, a cursor and the adaptation of each parameter take a lone append longer than the statement takes Postgres. Here
parameters are bytes in Postgres' binary form (`arrays`), a connection stays watched, a call is one send, one receive.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import pq
from psycopg.errors import error_from_result

Connection = psycopg.AsyncConnection[tuple[Any, ...]]
Parameters = Sequence[bytes | None]
"""In binary form; None is NULL."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement that is prepared once on each connection; it answers one row of one column."""

    name: bytes
    text: bytes


class Line:
    """One connection; it carries one call at a time."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._low = connection.pgconn
        self._socket = self._low.socket
        self._loop = asyncio.get_running_loop()
        self._prepared: set[bytes] = set()
        self._answer: asyncio.Future[pq.abc.PGresult] | None = None
        self._last: pq.abc.PGresult | None = None
        self._open = True
        # Always watched: so the end of an idle one is noticed, and no call has to begin and end the watching.
        self._loop.add_reader(self._socket, self._readable)

    @property
    def usable(self) -> bool:
        """Whether it may carry the next call."""
        return self._open and self._answer is None

    async def call(self, statement: Statement, parameters: Parameters) -> bytes | None:
        """The value that the statement answers, once its transaction is committed.

        Raises:
            psycopg.Error: the statement was refused, or the connection was lost and the outcome is unknown.
        """
        if statement.name not in self._prepared:
            self._low.send_prepare(statement.name, statement.text)
            await self._result()
            self._prepared.add(statement.name)
        self._low.send_query_prepared(statement.name, parameters, (1,) * len(parameters), 1)
        return (await self._result()).get_value(0, 0)

    async def _result(self) -> pq.abc.PGresult:
        self._answer = self._loop.create_future()
        self._write()
        try:
            result = await self._answer
        except asyncio.CancelledError:
            # Its answer would be taken for that of the next call.
            self.close()
            raise
        finally:
            self._answer = None
        if result.status == pq.ExecStatus.FATAL_ERROR:
            raise error_from_result(result, self._connection.info.encoding)
        return result

    def _write(self) -> None:
        """Send what libpq holds; the rest when the socket takes it."""
        try:
            if self._low.flush():
                self._loop.add_writer(self._socket, self._write)
            else:
                self._loop.remove_writer(self._socket)
        except psycopg.Error as error:
            self._lost(error)

    def _readable(self) -> None:
        try:
            self._low.consume_input()
            while not self._low.is_busy():
                result = self._low.get_result()
                if result is None:
                    self._done()
                    return
                # An error at the commit comes behind the row.
                self._last = result
        except psycopg.Error as error:
            self._lost(error)

    def _done(self) -> None:
        result, self._last = self._last, None
        if result is not None and self._answer is not None and not self._answer.done():
            self._answer.set_result(result)

    def _lost(self, error: psycopg.Error) -> None:
        self.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)

    def close(self) -> None:
        """Disconnect."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._low.finish()


class Lines:
    """Connections for calls, made when needed, at most `most`, and kept.

    Args:
        connect: makes one, in autocommit mode.
        most: how many calls run at once; further ones wait.
    """

    def __init__(self, connect: Callable[[], Awaitable[Connection]], most: int) -> None:
        self._connect = connect
        self._slots = asyncio.Semaphore(most)
        self._idle: list[Line] = []

    async def call(self, statement: Statement, parameters: Parameters) -> bytes | None:
        """`Line.call` on one that is free."""
        async with self._slots:
            line = self._free() or Line(await self._connect())
            try:
                return await line.call(statement, parameters)
            finally:
                if line.usable:
                    self._idle.append(line)

    @property
    def idle(self) -> int:
        """How many connections wait for a call."""
        return sum(line.usable for line in self._idle)

    def _free(self) -> Line | None:
        while self._idle:
            if (line := self._idle.pop()).usable:
                return line
        return None

    def close(self) -> None:
        """Disconnect those that are idle; none may be in use."""
        while self._idle:
            self._idle.pop().close()
