"""The store on Postgres: connection pools, the translation of errors, the leader term.

READ COMMITTED, never SERIALIZABLE: audit.md, 1 has the measurements.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from quorate_operator.errors import LostLeadership, OperatorError, Stalled, Transient
from quorate_operator.store import statements as sql
from quorate_operator.store.line import Connection, Lines, Parameters, Statement
from quorate_operator.store.migrate import check_schema, migrations

__all__ = ["Connection", "Database", "check_term"]

Pool = AsyncConnectionPool[Connection]
T = TypeVar("T")
_SESSION = "-c idle_in_transaction_session_timeout=5s -c lock_timeout=5s -c client_min_messages=warning"


class Database:
    """The pools, the lines on which the log is written, and the translation of their errors."""

    def __init__(self, dsn: str, *, connections: int = 6, timeout: float = 5.0) -> None:
        session: dict[str, Any] = {"options": _SESSION, "connect_timeout": 5}

        def pool(*, autocommit: bool) -> Pool:
            return AsyncConnectionPool(
                dsn,
                min_size=1,
                max_size=connections,
                open=False,
                timeout=timeout,
                reconnect_timeout=10.0,
                kwargs={**session, "autocommit": autocommit},
            )

        async def connect() -> Connection:
            return await psycopg.AsyncConnection.connect(dsn, autocommit=True, **session)

        self._pool = pool(autocommit=False)
        # BEGIN and COMMIT around a single SELECT would make it three round trips.
        self._readers = pool(autocommit=True)
        self._lines = Lines(connect, connections)
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
        self._lines.close()
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

    @asynccontextmanager
    async def writer(self) -> AsyncIterator[Connection]:
        """A connection for one statement that is a transaction; Transient when the database is away."""
        async with self._reader() as connection:
            yield connection

    async def call(self, statement: Statement, parameters: Parameters) -> bytes | None:
        """What one statement answers, which is a transaction; tried once, its outcome is the caller's to find out.

        Raises:
            Transient: `DatabaseUnavailable`, the outcome may be unknown.
            Stalled: `DatabaseDenied`.
            psycopg.Error: the statement was refused for another reason.
        """
        try:
            return await self._lines.call(statement, parameters)
        except psycopg.Error as error:
            raise _translation(error) or error from error

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
    except psycopg.Error as error:
        raise _translation(error) or error from error


def _translation(error: psycopg.Error) -> OperatorError | None:
    """What an error of the connection means; None for one of the statement."""
    if isinstance(error, PoolTimeout | psycopg.OperationalError | psycopg.InterfaceError):
        return Transient("DatabaseUnavailable", _first_line(error), retry_after=0.5)
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        rule = "grant it quorate_app and quorate_sealer to lead, quorate_read to read"
        return Stalled("DatabaseDenied", f"this database user lacks a role: {_first_line(error)}; {rule}")
    return None


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
