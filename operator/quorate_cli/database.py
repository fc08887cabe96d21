"""The log's database as the command line reads it: one read-only snapshot, so a running operator disturbs nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg

from quorate.audit.verify import StoredEntry, StoredHead
from quorate_cli.output import CliError, UnreachableError
from quorate_operator.errors import Stalled
from quorate_operator.store.migrate import check_schema, migrations

BATCH = 5000
_OURS = "SELECT to_regclass('quorate.migration')"
_CHAINS = """
WITH RECURSIVE found AS (
    (SELECT chain_id FROM quorate.audit_entry ORDER BY chain_id LIMIT 1)
    UNION ALL
    SELECT (SELECT chain_id FROM quorate.audit_entry WHERE chain_id > found.chain_id ORDER BY chain_id LIMIT 1)
    FROM found WHERE found.chain_id IS NOT NULL
) SELECT chain_id FROM found WHERE chain_id IS NOT NULL UNION SELECT chain_id FROM quorate.chain_head ORDER BY 1
"""
_ENTRIES = """
SELECT seq, entry_id, record, leaf, chain_hash, subject_key FROM quorate.audit_entry WHERE chain_id = %s ORDER BY seq
"""
_HEAD = "SELECT epoch, size, chain_hash, frontier FROM quorate.chain_head WHERE chain_id = %s"
_NOTES = "SELECT note FROM quorate.checkpoint WHERE chain_id = %s ORDER BY size"


class Reader:
    """What one snapshot of the log holds."""

    def __init__(self, connection: "psycopg.Connection[Any]") -> None:
        self._connection = connection

    def chains(self) -> list[str]:
        """Every chain that has entries or a head; an entry without head, or a head without entry, is found so."""
        return [str(row[0]) for row in self._connection.execute(_CHAINS)]

    def head(self, chain: str) -> StoredHead | None:
        """The head row of a chain."""
        row = self._connection.execute(_HEAD, (chain,), binary=True).fetchone()
        return None if row is None else StoredHead(chain, row[0], row[1], bytes(row[2]), bytes(row[3]))

    def entries(self, chain: str) -> Iterator[StoredEntry]:
        """All rows of a chain in ascending sequence, streamed."""
        with self._connection.cursor(name="entries", binary=True) as cursor:
            cursor.itersize = BATCH
            cursor.execute(_ENTRIES, (chain,))
            for sequence, identifier, record, leaf, hashed, subject in cursor:
                yield StoredEntry(sequence, UUID(str(identifier)), bytes(record), bytes(leaf), bytes(hashed), subject)

    def checkpoints(self, chain: str) -> list[str]:
        """The signed notes that the database keeps, by size."""
        return [str(row[0]) for row in self._connection.execute(_NOTES, (chain,))]


@contextmanager
def reading(dsn: str) -> Iterator[Reader]:
    """A snapshot of the log.

    Raises:
        UnreachableError: the database does not answer.
        CliError: it is not ours, or has the schema of another version.
    """
    try:
        with psycopg.connect(dsn, connect_timeout=10, application_name="quorate audit") as connection:
            connection.read_only = True
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            _check_ours(connection)
            yield Reader(connection)
    except psycopg.errors.InsufficientPrivilege as error:
        raise CliError(f"database {place_of(dsn)}: this user may not read the log: {_sentence(error)}") from error
    except (psycopg.OperationalError, psycopg.ProgrammingError) as error:
        raise UnreachableError(f"database {place_of(dsn)}: {_sentence(error)}") from error


def place_of(dsn: str) -> str:
    """Host, port and name of a database, without user and password."""
    try:
        parts = psycopg.conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        return "(--dsn is not a connection string)"
    host = parts.get("host") or parts.get("hostaddr") or "localhost"
    return f"{parts.get('dbname') or '(default)'} at {host}" + (f":{parts['port']}" if parts.get("port") else "")


def _sentence(error: Exception) -> str:
    return " ".join((str(error) or type(error).__name__).split())


def _check_ours(connection: "psycopg.Connection[Any]") -> int:
    row = connection.execute(_OURS).fetchone()
    if row is None or row[0] is None:
        raise CliError("this database is not Quorate's: it has no table quorate.migration; check --dsn")
    rows = connection.execute("SELECT version, digest FROM quorate.migration ORDER BY version").fetchall()
    try:
        done = check_schema([(int(version), str(digest)) for version, digest in rows])
    except Stalled as error:
        raise CliError(str(error)) from error
    if done < len(migrations()):
        raise CliError(
            f"the database has schema version {done}, this Quorate needs {len(migrations())}: the operator migrates it"
        )
    return done


def describe(dsn: str) -> Iterator[tuple[str, str, str, str]]:
    """(check, state, message, advice) of a database, for `quorate doctor`."""
    with reading(dsn) as reader:
        connection = reader._connection  # noqa: SLF001 - the same module's class
        server = str(connection.execute("SHOW server_version").fetchone()[0])  # type: ignore[index]
        message = f"{place_of(dsn)}, Postgres {server}, schema version {len(migrations())}"
        yield "database", "ok", message, ""
        heads = [reader.head(chain) for chain in reader.chains()]
        entries = sum(head.size for head in heads if head is not None)
        lost = sum(head is None for head in heads)
        advice = "run `quorate audit verify`" if lost else ""
        yield "log", "failed" if lost else "ok", f"{len(heads)} chains, {entries} entries", advice
