"""Direct append at 64 callers, against plain one-row-per-commit INSERTs of the same payload by the same driver."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator

import psycopg
from psycopg_pool import AsyncConnectionPool

from quorate.audit.entry import Draft, Tether
from quorate_operator.store.log import PostgresStore
from quorate_operator.store.migrate import create_login, migrate
from tests.bench.figure import Figure, percentile
from tests.contract.server import Server

CALLERS, SECONDS = 64, 4.0


def draft_of(key: str) -> Draft:
    """A first entry of its subject, of about 600 bytes."""
    return Draft(key, None, "governance.vote.accepted", {"kind": "Vote", "name": "v"}, Tether("0"),
                 time.time_ns() // 1000, detail={"statement": "x" * 300})  # fmt: skip


async def rate_of(call: Callable[[str], Awaitable[object]], callers: int = CALLERS) -> tuple[float, list[float]]:
    """Calls per second and each call's milliseconds, by `callers` at once, each call with a key of its own."""
    latencies: list[float] = []
    end = time.perf_counter() + SECONDS

    async def caller(number: int) -> None:
        count = 0
        while (begun := time.perf_counter()) < end:
            await call(f"{number}-{count}")
            latencies.append(1000 * (time.perf_counter() - begun))
            count += 1

    begun = time.perf_counter()
    await asyncio.gather(*(caller(number) for number in range(callers)))
    return len(latencies) / (time.perf_counter() - begun), latencies


async def _measure(server: Server) -> Iterator[Figure]:
    with psycopg.connect(server.dsn("bench")) as connection:
        connection.execute("CREATE SCHEMA bench CREATE TABLE bench.plain (id uuid PRIMARY KEY, data bytea)")
        connection.execute("GRANT ALL ON SCHEMA bench TO operator; GRANT ALL ON bench.plain TO operator")
    dsn = server.dsn("bench", "operator")
    async with AsyncConnectionPool(dsn, min_size=CALLERS, max_size=CALLERS, kwargs={"autocommit": True}) as pool:
        await pool.wait()

        async def insert(key: str) -> None:
            draft = draft_of(key)
            async with pool.connection() as connection:
                await connection.execute("INSERT INTO bench.plain VALUES (%s, %s)", (draft.entry_id, draft.content))

        plain, _ = await rate_of(insert)
    store = PostgresStore(dsn)
    await store.open()
    await store.take("bench")
    await store.log.append("bench", [draft_of("warm")])
    rate, latencies = await rate_of(lambda key: store.log.append("bench", [draft_of(key)]))
    await store.close()
    name = f"plain one-row-per-commit INSERT, {CALLERS} callers"
    return iter([
        Figure("audit append, direct", rate, "entries/s", name, plain, 3.0, of_ratio=True, at_least=True),
        Figure("audit append p99", percentile(latencies, 99), "ms", name, plain, 15.0),
    ])  # fmt: skip


def run() -> Iterator[Figure]:
    """The figures of architecture.md, Budgets, first row."""
    server = Server()
    server.start()
    try:
        with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
            connection.execute("CREATE DATABASE bench")
        migrate(server.dsn("bench"))
        create_login(server.dsn("bench"), "operator", ["quorate_app", "quorate_sealer"])
        yield from asyncio.run(_measure(server))
    finally:
        server.remove()
