"""Direct append against plain one-row-per-commit INSERTs of the same payload by the same driver, loop and callers."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from statistics import median

import psycopg
import uvloop

from quorate.audit.entry import Draft, Tether
from quorate_operator.__main__ import collect_rarely
from quorate_operator.store.log import PostgresStore
from quorate_operator.store.migrate import create_login, migrate
from tests.bench.figure import Figure, percentile
from tests.contract.server import Server

SECONDS = 1.2
TURNS = 5
_WARM = 20
TABLES = """
CREATE SCHEMA bench;
CREATE TABLE bench.plain (id uuid PRIMARY KEY, data bytea);
CREATE TABLE bench.head (size bigint NOT NULL, hash bytea NOT NULL);
INSERT INTO bench.head VALUES (0, '');
CREATE TABLE bench.linked (seq bigint PRIMARY KEY, id uuid UNIQUE, data bytea, hash bytea);
CREATE TABLE bench.state (id int PRIMARY KEY, version int NOT NULL);
INSERT INTO bench.state SELECT n, 0 FROM generate_series(0, 100) n;
GRANT ALL ON SCHEMA bench TO operator;
GRANT ALL ON ALL TABLES IN SCHEMA bench TO operator;
"""
# What users pick today: one transaction per entry, serialised by an advisory lock, the hash in SQL.
_LINKED = """
WITH locked AS MATERIALIZED (SELECT pg_advisory_xact_lock(7)), moved AS (
    UPDATE bench.head SET size = size + 1, hash = sha256(hash || %(data)s) WHERE (SELECT true FROM locked)
    RETURNING size, hash
) INSERT INTO bench.linked SELECT size, %(id)s, %(data)s, hash FROM moved
"""
Call = Callable[[str], Awaitable[object]]
Connection = psycopg.AsyncConnection[tuple[object, ...]]


def draft_of(key: str) -> Draft:
    """A first entry of its subject, of about 500 bytes."""
    return Draft(key, None, "governance.vote.accepted", {"kind": "Vote", "name": "v"}, Tether("5.5"),
                 time.time_ns() // 1000, actor_id="bench-node", detail={"statement": "x" * 150})  # fmt: skip


async def rate_of(call: Call, callers: int, seconds: float = SECONDS) -> tuple[float, list[float]]:
    """Calls per second and each call's milliseconds, by `callers` at once, each call with a key of its own.

    Each makes some calls before the clock runs: statements are prepared then, and each server process has its caches.
    """
    latencies: list[float] = []
    run = time.monotonic_ns()

    async def caller(number: int, end: float, done: list[float]) -> None:
        for count in itertools.count():
            if (begun := time.perf_counter()) >= end and count >= _WARM:
                return
            await call(f"{number}-{count}-{run}-{end:g}")
            done.append(1000 * (time.perf_counter() - begun))

    await asyncio.gather(*(caller(number, 0.0, []) for number in range(callers)))
    begun = time.perf_counter()
    await asyncio.gather(*(caller(number, begun + seconds, latencies) for number in range(callers)))
    return len(latencies) / (time.perf_counter() - begun), latencies


def caller_of(key: str) -> int:
    """Which caller a key of `rate_of` is of."""
    return int(key.partition("-")[0])


def statement_call(connections: Sequence[Connection], statement: str) -> Call:
    """A transaction of one statement with `id` and `data`, on the caller's own connection."""

    async def write(key: str) -> None:
        draft = draft_of(key)
        await connections[caller_of(key)].execute(statement, {"id": draft.entry_id, "data": draft.content}, binary=True)

    return write


async def opened(dsn: str, **more: object) -> PostgresStore:
    """A store that leads and knows its chain."""
    store = PostgresStore(dsn, **more)  # type: ignore[arg-type]
    await store.open()
    await store.take("bench")
    await store.log.append("bench", [draft_of(f"warm-{time.monotonic_ns()}")])
    return store


async def in_turns(dsn: str, callers: int, waits: list[float]) -> dict[str, list[tuple[float, list[float]]]]:
    """Rate and latencies of each way to write, one after another, TURNS times: a neighbour's load meets them all."""
    connections = [await psycopg.AsyncConnection.connect(dsn, autocommit=True) for _ in range(callers)]
    store = await opened(dsn)
    store.log.meter.locked = waits.append
    ways = {
        "plain": statement_call(connections, "INSERT INTO bench.plain VALUES (%(id)s, %(data)s)"),
        "linked": statement_call(connections, _LINKED),
        "direct": lambda key: store.log.append("bench", [draft_of(key)]),
    }
    taken: dict[str, list[tuple[float, list[float]]]] = {name: [] for name in ways}
    for _ in range(TURNS):
        for name, call in ways.items():
            taken[name].append(await rate_of(call, callers))
    await store.close()
    for connection in connections:
        await connection.close()
    return taken


async def figures(dsn: str) -> AsyncIterator[Figure]:
    """The rows of direct appends, plain and linked inserts beside them; medians of the turns."""
    collect_rarely()  # As the operator does; every way to write gains by it.
    for callers, budget, p99 in ((64, 3.0, 15.0), (100, 3.0, 15.0), (1, 0.4, 3.0)):
        waits: list[float] = []
        taken = await in_turns(dsn, callers, waits)
        plain, linked, rate = (median(rate for rate, _ in taken[name]) for name in ("plain", "linked", "direct"))
        latency = median(percentile(latencies, 99) for _, latencies in taken["direct"])
        word = "caller" if callers == 1 else "callers"
        name, base = f"direct append, {callers} {word}", f"plain one-row-per-commit INSERT, {callers} {word}"
        yield Figure(name, rate, "entries/s", base, plain, budget, of_ratio=True, at_least=True)
        yield Figure(f"{name}, p99", latency, "ms", base, plain, p99)
        yield Figure(f"{name}, wait for term and head, p99", 1000 * percentile(waits, 99), "ms", base, plain, 10.0)
        base, name = f"advisory-lock chain in SQL, {callers} {word}", f"{name}, against what users pick today"
        yield Figure(name, rate, "entries/s", base, linked, 1.0, of_ratio=True, at_least=True)


def prepare(server: Server) -> str:
    """A migrated database with the baselines' tables; the operator's DSN."""
    server.run("CREATE DATABASE bench")
    migrate(server.dsn("bench"))
    create_login(server.dsn("bench"), "operator", ["quorate_app", "quorate_sealer"])
    with psycopg.connect(server.dsn("bench")) as connection:
        connection.execute(TABLES)
    return server.dsn("bench", "operator")


def collected(source: AsyncIterator[Figure]) -> Iterator[Figure]:
    """The figures as they are measured, on the loop that the operator runs on."""

    async def following() -> Figure | None:
        return await anext(source, None)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        while (figure := runner.run(following())) is not None:
            yield figure


def run() -> Iterator[Figure]:
    """The figures of issue 4's table about direct appends."""
    server = Server()
    server.start()
    try:
        yield from collected(figures(prepare(server)))
    finally:
        server.remove()
