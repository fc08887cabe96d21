"""The store on Postgres: connection pool, leader term, and the sealing transaction.

A seal is two round trips: the first locks term and head and reads what the batch needs, the second writes and commits.
READ COMMITTED and row locks, never SERIALIZABLE: audit.md, 1 has the measurements.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar
from uuid import UUID

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from quorate.audit.merkle import Frontier
from quorate_operator.errors import LostLeadership, OperatorError, Stalled, Transient
from quorate_operator.store import statements as sql
from quorate_operator.store.batch import Batch, Head, Item, now_micros
from quorate_operator.store.intake import Waiting, set_aside, take_in
from quorate_operator.store.migrate import check_schema, migrations
from quorate_operator.store.recorded import Recorded
from quorate_operator.store.sealer import MAX_BATCH, Pending
from quorate_operator.store.tiles import write_tiles

_log = logging.getLogger(__name__)
Connection = psycopg.AsyncConnection[tuple[Any, ...]]
Pool = AsyncConnectionPool[Connection]
T = TypeVar("T")
PARTITION_WIDTH = 1_048_576
_SESSION = "-c idle_in_transaction_session_timeout=5s -c lock_timeout=5s -c client_min_messages=warning"


class Database:
    """The pool, and the translation of its errors."""

    def __init__(self, dsn: str, *, connections: int = 6, timeout: float = 5.0) -> None:

        def pool(*, autocommit: bool) -> Pool:
            return AsyncConnectionPool(
                dsn,
                min_size=1,
                max_size=connections,
                open=False,
                timeout=timeout,
                reconnect_timeout=10.0,
                kwargs={"options": _SESSION, "connect_timeout": 5, "autocommit": autocommit},
            )

        self._pool = pool(autocommit=False)
        # BEGIN and COMMIT around a single SELECT would make it three round trips.
        self._readers = pool(autocommit=True)
        self.term = 0

    async def open(self) -> None:
        """Connect and check the schema.

        Raises:
            Stalled: `SchemaMissing`, `SchemaOlder`, `SchemaNewer`, `SchemaChanged`, `DatabaseDenied`.
            Transient: `DatabaseUnavailable`.
        """
        await self._pool.open()
        await self._readers.open()
        try:
            done = check_schema(await self.read(sql.SCHEMA))
        except psycopg.errors.UndefinedTable as error:
            raise Stalled("SchemaMissing", "the database has no schema of Quorate: run its migrations") from error
        if done < len(migrations()):
            raise Stalled("SchemaOlder", f"the database has schema version {done}, not {len(migrations())}: migrate it")

    async def close(self) -> None:
        """Close every connection."""
        await self._readers.close()
        await self._pool.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection in a transaction of its own; Transient when the database is away."""
        async with _translated(), self._pool.connection() as connection:
            yield connection

    @asynccontextmanager
    async def _reader(self) -> AsyncIterator[Connection]:
        async with _translated(), self._readers.connection() as connection:
            yield connection

    async def read(self, query: str, *args: Any) -> list[Any]:
        """Rows of one query; asked again once, because a pooled connection may be of before a restart."""
        return await _again(self._reader, lambda connection: _rows(connection, query, args))

    async def again(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Do idempotent work in a transaction; stale connections of the pool are used up by trying again."""
        return await _again(self.connection, work)

    async def ping(self) -> bool:
        """Whether the database answers."""
        try:
            return bool(await self.read("SELECT 1"))
        except OperatorError:
            return False

    async def take(self, holder: str) -> int:
        """Port `Term`."""

        async def work(connection: Connection) -> int:
            rows = await _rows(connection, sql.TAKE_TERM, (holder,))
            return int(rows[0][0])

        self.term = await self.again(work)
        return self.term


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    try:
        yield
    except (PoolTimeout, psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise Transient("DatabaseUnavailable", _first_line(error), retry_after=0.5) from error
    except psycopg.errors.InsufficientPrivilege as error:
        rule = "grant it quorate_app and quorate_sealer to lead, quorate_read to read"
        raise Stalled("DatabaseDenied", f"this database user lacks a role: {_first_line(error)}; {rule}") from error


async def _again(
    connect: Callable[[], AbstractAsyncContextManager[Connection]],
    work: Callable[[Connection], Awaitable[T]],
    *,
    tries: int = 8,
) -> T:
    while True:
        try:
            async with connect() as connection:
                return await work(connection)
        except Transient as error:
            tries -= 1
            if tries <= 0 or isinstance(error.__cause__, PoolTimeout):
                raise


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


async def _rows(connection: Connection, query: str, args: Sequence[Any]) -> list[Any]:
    cursor = await connection.execute(query, args, binary=True)
    return await cursor.fetchall()


def check_term(row: Any, mine: int) -> None:
    """LostLeadership unless `mine` is the term in the locked row."""
    if mine == 0 or row is None or row[0] != mine:
        held = "none was taken" if mine == 0 else f"term {row and row[0]} was taken since, by {row and row[1]}"
        raise LostLeadership(f"this process may not write: it has term {mine}, {held}")


class Sealing:
    """Writes batches of one process; a `Seal` for the sealers of all chains.

    Args:
        database: where.
        intake_key: with it, batches that drain also move what was taken in.
        clock: Unix microseconds.
    """

    def __init__(
        self, database: Database, *, intake_key: bytes | None = None, clock: Callable[[], int] = now_micros
    ) -> None:
        self._database = database
        self._intake_key = intake_key
        self._clock = clock
        self._known: set[str] = set()

    async def seal(self, chain: str, batch: Sequence[Pending]) -> None:
        """Port `Seal`: one transaction; outcomes are set only after it is durable."""
        aside: list[Waiting] = []
        try:
            async with self._database.connection() as connection:
                outcomes = await self._transact(connection, chain, batch, aside)
        except psycopg.errors.UniqueViolation as error:
            raise Transient(
                "Conflict", f"another chain recorded one of the entries: {error.diag.message_detail}"
            ) from error
        except (psycopg.errors.CheckViolation, psycopg.DataError) as error:
            await self._divided(chain, batch, error)
            return
        for pending, outcome in zip(batch, outcomes, strict=True):
            pending.outcome = outcome
        for row in aside:
            _log.error("taken in, not sealed: %s", row.reason, extra={"chain": chain, "entry": row.entry_id})

    async def _divided(self, chain: str, batch: Sequence[Pending], error: psycopg.Error) -> None:
        """The database refused a batch: seal its halves, so that only the append at fault is refused."""
        if len(batch) == 1:
            reason = (error.diag.message_primary or str(error)).splitlines()[0]
            batch[0].outcome = Stalled("EntryRefused", f"the database refused the append: {reason}")
            return
        middle = len(batch) // 2
        await self.seal(chain, batch[:middle])
        await self.seal(chain, batch[middle:])

    async def _transact(
        self, connection: Connection, chain: str, batch: Sequence[Pending], aside: list[Waiting]
    ) -> list[list[Recorded] | OperatorError]:
        drains = self._intake_key is not None and any(pending.drain for pending in batch)
        if chain not in self._known:
            if all(pending.drain for pending in batch) and not await self._authentic(connection, chain, aside):
                return [[] for _ in batch]
            # In a transaction of its own, before any lock: it makes partitions.
            await connection.execute(sql.MAKE_CHAIN, (chain,))
            await connection.commit()
            self._known.add(chain)
        taken = await self._taken(connection, chain) if drains else []
        items = [item for pending in batch for item in pending.items] + [row.item for row in taken if row.item]
        head, recorded, subjects = await read_locked(connection, chain, items, self._database.term)
        start = head.size
        work = Batch(chain, head, recorded=recorded, subjects=subjects, now=self._clock())
        moved = seal_taken(work, taken, aside)
        content: dict[str, bytes] = {}
        outcomes = [moved if pending.drain else seal_append(work, pending, content) for pending in batch]
        if aside:
            await set_aside(connection, chain, aside)
        if work.rows:
            await write_batch(connection, chain, work, content, start, self._database.term)
        return outcomes

    async def _authentic(self, connection: Connection, chain: str, aside: list[Waiting]) -> bool:
        """Whether an authentic entry waits for a chain that may not exist; rows of a forger make no chain."""
        if self._intake_key is None:
            return False
        check_term(await (await connection.execute(sql.LOCK_TERM, binary=True)).fetchone(), self._database.term)
        rows = await take_in(connection, chain, self._intake_key, MAX_BATCH)
        if any(row.item for row in rows):
            await connection.rollback()
            return True
        aside.extend(rows)
        await set_aside(connection, chain, rows)
        return False

    async def _taken(self, connection: Connection, chain: str) -> list[Waiting]:
        """Rows of the intake, in the order in which they came; term and head are locked first, as always."""
        assert self._intake_key is not None
        locked = await connection.execute(sql.LOCK_TERM_AND_HEAD, (chain,), binary=True)
        check_term(await locked.fetchone(), self._database.term)
        return await take_in(connection, chain, self._intake_key, MAX_BATCH)


def seal_append(work: Batch, pending: Pending, content: dict[str, bytes]) -> list[Recorded] | OperatorError:
    """Place one append; its outcome once the batch is durable. Content of a new one is added to `content`."""
    try:
        found, new = work.add(pending.items)
    except OperatorError as error:
        return error
    if not new:
        return pending.found(found)
    pending.tried(found)
    content.update(pending.content)
    return found


def seal_taken(work: Batch, taken: Sequence[Waiting], aside: list[Waiting]) -> list[Recorded]:
    """Place what was taken in; the new entries. Rows that may not be sealed go to `aside` with the reason."""
    moved: list[Recorded] = []
    for row in taken:
        if row.item is None:
            aside.append(row)
            continue
        try:
            found, new = work.add([row.item], intake=row.intake_at)
        except OperatorError as error:
            aside.append(replace(row, reason=error.message))
            continue
        if new:
            moved += found
        elif found[0].header.content != row.content:
            aside.append(replace(row, reason=f"entry {row.entry_id} is recorded with other content"))
    return moved


async def read_locked(
    connection: Connection, chain: str, items: Sequence[Item], term: int
) -> tuple[Head, dict[UUID, Recorded], dict[str, UUID]]:
    """Lock term and head; the entries among `items` that are recorded, the last entry's id of each subject."""
    ids, keys = [item.entry_id for item in items], list({item.subject_key for item in items})
    async with connection.pipeline():
        locked = await connection.execute(sql.LOCK_TERM_AND_HEAD, (chain,), binary=True)
        existing = await connection.execute(sql.RECORDED, (ids,), binary=True)
        lasts = await connection.execute(sql.LAST_IDS, (keys,), binary=True)
    row = await locked.fetchone()
    if row is None:
        raise Stalled("ChainUnknown", f"chain {chain} has no head row")
    check_term(row, term)
    epoch, size, chain_hash, frontier, sealed_at = row[2:]
    head = Head(epoch, size, chain_hash, Frontier.decode(size, frontier), sealed_at)
    recorded = {r[2]: found_row(r) for r in await existing.fetchall()}
    return head, recorded, dict(await lasts.fetchall())


async def write_batch(
    connection: Connection, chain: str, work: Batch, content: dict[str, bytes], start: int, term: int
) -> None:
    """Insert the rows of a batch and move the head, compare-and-swap on its size."""
    rows, head = work.rows, work.head
    size = start + len(rows)
    about = [(name, row.recorded.sequence) for row in rows for name in row.found_by]
    if (size - 1) // PARTITION_WIDTH != (start - 1) // PARTITION_WIDTH:
        number = (size - 1) // PARTITION_WIDTH
        # The next one too: two ahead of the last entry (audit.md, 10).
        await connection.execute(sql.MAKE_PARTITIONS, (chain, number, number + 2))
    columns = (
        [r.recorded.sequence for r in rows],
        [r.recorded.entry_id for r in rows],
        [r.subject_key for r in rows],
        [r.recorded.record for r in rows],
        [r.leaf for r in rows],
        [r.chain for r in rows],
    )
    names = ([name for name, _ in about], [sequence for _, sequence in about])
    state = (head.epoch, head.size, head.chain, head.frontier.encode(), head.sealed_at, term)
    if content:
        await connection.execute(sql.INSERT_CONTENT, (list(content), list(content.values())))
    moved = await connection.execute(sql.WRITE_BATCH, (chain, *columns, chain, *names, *state, chain, start))
    if moved.rowcount != 1:
        raise LostLeadership(f"the head of chain {chain} moved under its lock")
    await write_tiles(connection, chain, start, size)


def found_row(row: Sequence[Any]) -> Recorded:
    """The recorded entry of a row that begins with chain_id, seq, entry_id, record."""
    chain, sequence, entry_id, record = row[:4]
    return Recorded(chain, sequence, entry_id, record, existing=True)
