"""Coupled append at 16 callers: a state change with its entry, against the same change alone, with and without work."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import psycopg
from psycopg_pool import AsyncConnectionPool

from quorate_operator.store.intake import Intake
from quorate_operator.store.log import PostgresStore
from quorate_operator.store.migrate import create_login, migrate
from tests.bench.bench_append import draft_of, rate_of
from tests.bench.figure import Figure
from tests.contract.server import Server

CALLERS = 16
_CHANGE = "UPDATE bench.state SET version = version + 1 WHERE id = %s"
Change = Callable[[str], Awaitable[object]]


def _change(pool: AsyncConnectionPool, intake: Intake | None, work: float) -> Change:
    async def change(key: str) -> None:
        async with pool.connection() as connection:
            await connection.execute(_CHANGE, (int(key.partition("-")[0]),))
            if work:
                await asyncio.sleep(work)
            if intake is not None:
                await intake.put(connection, "bench", draft_of(f"{work}-{key}"))

    return change


async def _drained(store: PostgresStore) -> None:
    async with asyncio.timeout(60):
        while await store.log.backlog():
            pass


async def _measure(dsn: str) -> AsyncIterator[Figure]:
    key = secrets.token_bytes(32)
    store = PostgresStore(dsn, intake_key=key)
    await store.open()
    await store.take("bench")
    async with AsyncConnectionPool(dsn, min_size=CALLERS, max_size=CALLERS) as pool:
        await pool.wait()
        for work, budget in ((0.005, 0.75), (0.0, 0.65)):
            alone, _ = await rate_of(_change(pool, None, work), CALLERS)
            coupled, _ = await rate_of(_change(pool, Intake(key), work), CALLERS)
            await _drained(store)
            name = f"audit append, coupled, {1000 * work:g} ms of work"
            baseline = f"the state change alone, {CALLERS} callers"
            yield Figure(name, coupled, "changes/s", baseline, alone, budget, of_ratio=True, at_least=True)
    await store.close()


def _prepare(server: Server) -> str:
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE bench")
    migrate(server.dsn("bench"))
    create_login(server.dsn("bench"), "operator", ["quorate_app", "quorate_sealer"])
    with psycopg.connect(server.dsn("bench")) as connection:
        connection.execute("CREATE SCHEMA bench CREATE TABLE bench.state (id int PRIMARY KEY, version int NOT NULL)")
        connection.execute("GRANT ALL ON SCHEMA bench TO operator; GRANT ALL ON bench.state TO operator")
        connection.execute("INSERT INTO bench.state SELECT n, 0 FROM generate_series(0, %s) n", (CALLERS,))
    return server.dsn("bench", "operator")


async def _collect(dsn: str) -> list[Figure]:
    return [figure async for figure in _measure(dsn)]


def run() -> Iterator[Figure]:
    """The figures of architecture.md, Budgets, second row."""
    server = Server()
    server.start()
    try:
        yield from asyncio.run(_collect(_prepare(server)))
    finally:
        server.remove()
