"""Edges of the store on Postgres: unknown commits, boundaries, wrong schemas and logins, one bad append of many."""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from quorate.audit.merkle import root_of
from quorate.audit.record import leaf_hash
from quorate_operator.errors import OperatorError, Transient
from quorate_operator.store import statements as sql
from quorate_operator.store.line import Parameters, Statement
from quorate_operator.store.log import PostgresLog, PostgresStore
from quorate_operator.store.lookup import key_of
from quorate_operator.store.migrate import migrate, migrations
from quorate_operator.store.postgres import Database
from tests.contract.server import Server
from tests.contract.test_log import CHAIN, draft

TILE_ROOTS = """
SELECT root FROM quorate.merkle_tile WHERE chain_id = %s AND level = %s AND number >= %s AND number < %s ORDER BY number
"""


class Unsure(Database):
    """A database that loses its answer `times` times, after the commit or before it."""

    times = 0
    after = True

    async def call(self, statement: Statement, parameters: Parameters) -> bytes | None:
        """A call as always, until an answer is to be lost."""
        if self.times and not self.after:
            self.times -= 1
            raise Transient("DatabaseUnavailable", "lost before the commit")
        answer = await super().call(statement, parameters)
        if self.times:
            self.times -= 1
            raise Transient("DatabaseUnavailable", "lost after the commit")
        return answer


@pytest.mark.parametrize("after", [True, False])
async def test_an_unknown_commit_is_retried(postgres_dsn: str, after: bool) -> None:
    """Whether or not the lost transaction was committed, the entry is there once and comes back as newly written."""
    database = Unsure(postgres_dsn)
    database.after = after
    await database.open()
    await database.take("test")
    log = PostgresLog(database)
    first = draft("a")
    await log.append(CHAIN, [first])
    database.times = 1 if after else 2
    recorded = await log.append(CHAIN, [draft("a", first.entry_id), draft("b")])
    assert database.times == 0 and [(item.sequence, item.existing) for item in recorded] == [(1, False), (2, False)]
    again = await log.append(CHAIN, [draft("b")])
    assert [(item.sequence, item.existing) for item in again] == [(2, True)]
    assert [head.size for head in await log.chains()] == [3]
    await database.close()


async def test_appends_are_measured(postgres_dsn: str) -> None:
    """The meter is told of each append's latency, of each fast transaction's wait, and why a batch is done again."""
    database = Unsure(postgres_dsn)
    await database.open()
    await database.take("test")
    log, reasons = PostgresLog(database), list[str]()
    seconds: list[float] = []
    waits: list[float] = []
    log.meter.appended, log.meter.locked, log.meter.retried = seconds.append, waits.append, reasons.append
    for number in range(3):
        database.times = number == 2
        await log.append(CHAIN, [draft(f"k{number}")])
    assert (len(seconds), len(waits), reasons) == (3, 1, ["DatabaseUnavailable"]) and min(seconds + waits) >= 0
    await database.close()


@pytest.fixture
async def store(postgres_dsn: str) -> AsyncIterator[PostgresStore]:
    """A leading store."""
    store = PostgresStore(postgres_dsn)
    await store.open()
    await store.take("test")
    yield store
    await store.close()


async def test_partitions_and_tiles_across_their_boundary(
    postgres: Server, database: str, store: PostgresStore
) -> None:
    """One append crosses a partition and fills tiles of two levels; two further partitions are there before it."""
    start = 1_048_576 - 256
    await store.log.append(CHAIN, [draft("first")])
    with psycopg.connect(postgres.dsn(database)) as connection:
        # As if the chain had grown so far: a head, and the tiles below the one that is filled next.
        connection.execute(
            "UPDATE quorate.chain_head SET size = %s, frontier = decode(repeat('ab', 32 * %s), 'hex')",
            (start, start.bit_count()),
        )
        connection.execute(
            "INSERT INTO quorate.merkle_tile SELECT %s, 0, n, decode(repeat('cd', 8192), 'hex'), sha256(int8send(n))"
            " FROM generate_series(%s::bigint, %s::bigint) n UNION ALL"
            " SELECT %s, 1, n, decode(repeat('ef', 8192), 'hex'), sha256(int8send(n)) FROM generate_series(0, 14) n",
            (CHAIN, start // 256 - 255, start // 256 - 1, CHAIN),
        )
    done = await store.log.append(CHAIN, [draft(f"k{n}") for n in range(300)])
    assert [item.sequence for item in done] == list(range(start, start + 300))
    rows = [entry async for entry in store.log.entries(CHAIN, start)]
    assert [row.sequence for row in rows] == [item.sequence for item in done]
    partitions = await store.database.read(
        "SELECT right(tableoid::regclass::text, 1), count(*) FROM quorate.audit_entry WHERE seq >= %s GROUP BY 1"
        " ORDER BY 1", start)  # fmt: skip
    assert partitions == [("0", 256), ("1", 44)]
    bounds = await store.database.read("SELECT count(*) FROM pg_inherits WHERE inhparent = %s::text::regclass",
                                       "quorate.audit_entry")  # fmt: skip
    assert bounds == [(4,)]
    below = [row[0] for row in await store.database.read(TILE_ROOTS, CHAIN, 0, start // 256 - 255, start // 256 + 1)]
    assert below[-1] == root_of([leaf_hash(row.record) for row in rows[:256]])
    assert await store.database.read(TILE_ROOTS, CHAIN, 1, 15, 16) == [(root_of(below),)]


@pytest.mark.parametrize(
    "query",
    [
        (sql.HEADS, [key_of("k1"), key_of("k2")]),
        (sql.ABOUT, key_of("k1"), key_of("k1")),
        (sql.RECORDED, [draft("k1").entry_id]),
    ],
)
async def test_entries_are_found_by_index_probes(store: PostgresStore, query: tuple[str, *tuple[object, ...]]) -> None:
    """heads, about and the look for recorded entries touch only the partition that holds the row, by its key."""
    for chain in ("mesh/a", "mesh/b", "mesh/c"):
        await store.log.append(chain, [draft(f"{chain}-{n}") for n in range(300)])
    await store.log.append(CHAIN, [draft("k1"), draft("k2")])
    async with store.database.connection() as connection:
        # As over large partitions: a sequential scan of three hundred rows would be right.
        await connection.execute("SET LOCAL enable_seqscan = off")
        cursor = await connection.execute(f"EXPLAIN (ANALYZE, TIMING off, SUMMARY off) {query[0]}", query[1:])
        plan = [str(row[0]) for row in await cursor.fetchall()]
    probes = [line for line in plan if "on audit_entry_" in line]
    assert len(probes) == 12 and all("Index Scan" in line for line in probes)
    assert sum("never executed" not in line for line in probes) == 1, "\n".join(plan)


async def test_a_refused_append_harms_no_other(postgres: Server, database: str, store: PostgresStore) -> None:
    """When the database refuses a batch, only the append at fault is refused; the others are recorded."""
    with psycopg.connect(postgres.dsn(database)) as connection:
        connection.execute("ALTER TABLE quorate.audit_entry ADD CHECK (position('poison'::bytea IN record) = 0)")
    keys = [f"k{n}" for n in range(6)] + ["poison"] + [f"k{n}" for n in range(6, 12)]
    results = await asyncio.gather(*(store.log.append(CHAIN, [draft(key)]) for key in keys), return_exceptions=True)
    refused = [key for key, result in zip(keys, results, strict=True) if isinstance(result, BaseException)]
    assert refused == ["poison"] and "EntryRefused" in str(results[6])
    assert [head.size for head in await store.log.chains()] == [12]


@pytest.mark.parametrize("key", ["k" * 513, "a\0b"])
async def test_an_impossible_subject_key_is_refused(store: PostgresStore, key: str) -> None:
    """A subject key that no index of Postgres can hold is refused before it reaches a batch."""
    with pytest.raises(OperatorError, match="EntryRefused: subject key"):
        await store.log.append(CHAIN, [draft(key)])


async def _refusal(dsn: str, *, lead: bool = False) -> str:
    store = PostgresStore(dsn)
    try:
        await store.open()
        if lead:
            await store.take("test")
    except OperatorError as error:
        return str(error)
    finally:
        await store.close()
    return ""


async def test_a_database_of_another_version_is_named(postgres: Server, empty_database: str) -> None:
    """No schema, or an older one: one sentence that says what to do; after migrating the store opens."""
    dsn = postgres.dsn(empty_database)
    assert "SchemaMissing: the database has no schema of Quorate: run its migrations" in await _refusal(dsn)
    for version in range(1, len(migrations())):
        migrate(dsn, target=version)
        assert f"SchemaOlder: the database has schema version {version}" in await _refusal(dsn)
    migrate(dsn)
    assert await _refusal(dsn) == ""


async def test_a_login_without_roles_is_told(postgres: Server, database: str) -> None:
    """A login without roles, and one that may only read, get a sentence that names what to grant."""
    with psycopg.connect(postgres.dsn(database)) as connection:
        connection.execute("DROP ROLE IF EXISTS stranger; CREATE ROLE stranger LOGIN")
    message = await _refusal(postgres.dsn(database, "stranger"))
    assert message.startswith("DatabaseDenied: this database user lacks a role") and "\n" not in message
    assert await _refusal(postgres.dsn(database, "only_read")) == ""
    assert "grant it quorate_app and quorate_sealer" in await _refusal(postgres.dsn(database, "only_read"), lead=True)
