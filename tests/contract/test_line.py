"""The connections on which the log is written, against a real Postgres."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import psycopg
import pytest

from quorate_operator.store.arrays import bigint
from quorate_operator.store.line import Lines, Statement

ECHO = Statement(b"echo", b"SELECT $1::bigint")
SLOW = Statement(b"slow", b"SELECT $1::bigint FROM pg_sleep(30)")
LENGTH = Statement(b"length", b"SELECT octet_length($1::bytea)::bigint")
DIVIDE = Statement(b"divide", b"SELECT 1 / $1::bigint")
BACKEND = Statement(b"backend", b"SELECT pg_backend_pid()::bigint")


@pytest.fixture
async def lines(postgres_dsn: str) -> AsyncIterator[Lines]:
    """Two connections at most."""

    async def connect() -> psycopg.AsyncConnection[Any]:
        return await psycopg.AsyncConnection.connect(postgres_dsn, autocommit=True)

    made = Lines(connect, 2)
    yield made
    made.close()


async def _backend(lines: Lines) -> int:
    return int.from_bytes(await lines.call(BACKEND, ()) or b"", "big")


async def _until(holds: Callable[[], bool]) -> None:
    for _ in range(1000):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the condition did not come true in time")


async def test_calls_share_connections(lines: Lines) -> None:
    """More calls than connections wait for one, each gets its own answer, and connections are kept."""
    answers = await asyncio.gather(*(lines.call(ECHO, (bigint(number),)) for number in range(20)))
    assert answers == [bigint(number) for number in range(20)]
    assert await _backend(lines) == await _backend(lines)


async def test_more_than_a_socket_takes(lines: Lines) -> None:
    """Parameters larger than the socket's buffer are sent as it takes them."""
    assert await lines.call(LENGTH, (bytes(8_000_000),)) == bigint(8_000_000)


async def test_a_refusal_costs_no_connection(lines: Lines) -> None:
    """A statement that the server refuses raises its error, and the connection carries the next call."""
    before = await _backend(lines)
    with pytest.raises(psycopg.errors.DivisionByZero):
        await lines.call(DIVIDE, (bigint(0),))
    assert await _backend(lines) == before


async def test_a_cancelled_call_leaves_no_answer(lines: Lines) -> None:
    """The answer to a call that was given up is never taken for that of a later one."""
    before = await _backend(lines)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await lines.call(SLOW, (bigint(1),))
    assert await lines.call(ECHO, (bigint(2),)) == bigint(2)
    assert await _backend(lines) != before


async def test_a_connection_that_ended_is_left(lines: Lines, postgres_dsn: str) -> None:
    """A connection that the server ended is not used again; in a call it is an OperationalError."""
    ended = await _backend(lines)
    with psycopg.connect(postgres_dsn, autocommit=True) as other:

        def found(pid: int, waits: str) -> bool:
            query = "SELECT pid FROM pg_stat_activity WHERE pid = %s AND wait_event = %s"
            return other.execute(query, (pid, waits)).fetchone() is not None

        slow = asyncio.create_task(lines.call(SLOW, (bigint(1),)))
        await _until(lambda: found(ended, "PgSleep"))
        other.execute("SELECT pg_terminate_backend(%s)", (ended,))
        with pytest.raises(psycopg.OperationalError):
            await slow
        idle = await _backend(lines)
        other.execute("SELECT pg_terminate_backend(%s)", (idle,))
        await _until(lambda: not lines.idle)
    assert await _backend(lines) not in (ended, idle)
