"""Coupled append at 16 callers: a state change with its entry, against the same change alone, with and without work.

The sealer is a process of its own, as in production: who changes state is not the operator.
"""

import asyncio
import secrets
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import psycopg
import uvloop

from quorate_operator.__main__ import collect_rarely
from quorate_operator.store.intake import Intake
from quorate_operator.store.log import PostgresStore
from tests.bench.bench_append import caller_of, collected, draft_of, prepare, rate_of
from tests.bench.figure import Figure, percentile
from tests.contract.server import Server

CALLERS = 16
_TURNS = 6
_SECONDS = 4.0
_CHANGE = "UPDATE bench.state SET version = version + 1 WHERE id = %s"
Change = Callable[[str], Awaitable[object]]
Connections = list[psycopg.AsyncConnection[tuple[object, ...]]]


def _change(connections: Connections, intake: Intake | None, work: float, pause: float = 0.0) -> Change:
    async def change(key: str) -> None:
        connection = connections[caller_of(key)]
        await connection.execute(_CHANGE, (caller_of(key),))
        if work:
            await asyncio.sleep(work)
        if intake is None:
            await connection.commit()
        else:
            await intake.commit(connection, "bench", draft_of(key))
        if pause:
            await asyncio.sleep(pause)

    return change


@asynccontextmanager
async def _sealer(dsn: str, key: bytes) -> AsyncIterator[None]:
    """A leading process that moves what is taken in."""
    command = [sys.executable, "-m", "tests.bench.bench_intake", dsn, key.hex()]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"leads\n"
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


async def _lead(dsn: str, key: bytes) -> None:
    collect_rarely()
    store = PostgresStore(dsn, intake_key=key)
    await store.open()
    await store.take("bench")
    sys.stdout.write("leads\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


async def _drained(store: PostgresStore) -> None:
    async with asyncio.timeout(60):
        while await store.log.backlog():
            pass


async def _in_turns(store: PostgresStore, alone: Change, coupled: Change) -> tuple[float, float]:
    """The rates of both, one second each and again: what else the machine does meanwhile hits both."""
    rates = [0.0, 0.0]
    for _ in range(_TURNS):
        for number, change in enumerate((alone, coupled)):
            rates[number] += (await rate_of(change, CALLERS, 1.0))[0] / _TURNS
        await _drained(store)
    return rates[0], rates[1]


async def _ages(store: PostgresStore) -> list[float]:
    """Milliseconds that the oldest entry waits, looked at again and again: no entry waits longer than what is seen."""
    ages: list[float] = []
    end = time.perf_counter() + _SECONDS
    while time.perf_counter() < end:
        backlog = await store.log.backlog()
        ages += [1000 * waiting.age(time.time_ns() // 1000) for waiting in backlog.values()] or [0.0]
        await asyncio.sleep(0.005)
    return ages


async def figures(dsn: str) -> AsyncIterator[Figure]:
    """The rows of coupled appends."""
    key = secrets.token_bytes(32)
    intake = Intake(key)
    store = PostgresStore(dsn)
    await store.open()
    connections = [await psycopg.AsyncConnection.connect(dsn) for _ in range(CALLERS)]
    async with _sealer(dsn, key):
        peak = 0.0
        for work, budget in ((0.005, 0.75), (0.0, 0.65)):
            alone, peak = await _in_turns(store, _change(connections, None, work), _change(connections, intake, work))
            name = f"coupled append, {1000 * work:g} ms of work"
            baseline = f"the state change alone, {CALLERS} callers"
            yield Figure(name, peak, "changes/s", baseline, alone, budget, of_ratio=True, at_least=True)
        # Half of the rate: each caller rests as long as a change takes.
        change = _change(connections, intake, 0.0, CALLERS / peak)
        (half, _), ages = await asyncio.gather(rate_of(change, CALLERS, _SECONDS), _ages(store))
        yield Figure("coupled append, intake to sealed, p99", percentile(ages, 99), "ms",
                     f"peak rate, of which {half / peak:.2f} is offered", peak, 100.0)  # fmt: skip
    for connection in connections:
        await connection.close()
    await store.close()


def run() -> Iterator[Figure]:
    """The figures of issue 4's table about coupled appends."""
    server = Server()
    server.start()
    try:
        yield from collected(figures(prepare(server)))
    finally:
        server.remove()


if __name__ == "__main__":
    uvloop.run(_lead(sys.argv[1], bytes.fromhex(sys.argv[2])))
