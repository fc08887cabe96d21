"""The log's database as a verification reads it: one read-only snapshot, so a running operator disturbs nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from quorate.audit.verify import StoredEntry, StoredHead
from quorate_operator.errors import Stalled, Transient
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
SELECT e.seq, e.record, i.event_id FROM quorate.audit_entry e
LEFT JOIN quorate.audit_event_id i ON i.chain_id = e.chain_id AND i.seq = e.seq WHERE e.chain_id = %s ORDER BY e.seq
"""
_HEAD = "SELECT epoch, size, chain_hash, frontier FROM quorate.chain_head WHERE chain_id = %s"
_NOTES = """
SELECT note || coalesce((
    SELECT string_agg(line, '' ORDER BY number) FROM quorate.cosignature k
    WHERE k.chain_id = c.chain_id AND k.size = c.size
), '') FROM quorate.checkpoint c WHERE chain_id = %s ORDER BY size
"""


class Reader:
    """What one snapshot of the log holds."""

    def __init__(self, connection: "psycopg.Connection[Any]") -> None:
        self.connection = connection

    def chains(self) -> list[str]:
        """Every chain that has entries or a head; an entry without head, or a head without entry, is found so."""
        return [str(row[0]) for row in self.connection.execute(_CHAINS)]

    def head(self, chain: str) -> StoredHead | None:
        """The head row of a chain."""
        row = self.connection.execute(_HEAD, (chain,), binary=True).fetchone()
        return None if row is None else StoredHead(chain, row[0], row[1], bytes(row[2]), bytes(row[3]))

    def entries(self, chain: str) -> Iterator[StoredEntry]:
        """All rows of a chain in ascending sequence, streamed."""
        with self.connection.cursor(name="entries", binary=True) as cursor:
            cursor.itersize = BATCH
            cursor.execute(_ENTRIES, (chain,))
            for sequence, record, indexed in cursor:
                yield StoredEntry(sequence, bytes(record), indexed)

    def checkpoints(self, chain: str) -> list[str]:
        """The signed notes that the database keeps, by size."""
        return [str(row[0]) for row in self.connection.execute(_NOTES, (chain,))]


@contextmanager
def reading(dsn: str) -> Iterator[Reader]:
    """A snapshot of the log.

    Raises:
        Transient: `DatabaseUnavailable`, it does not answer.
        Stalled: `ForeignDatabase`, `SchemaOld`, `SchemaNewer`, `SchemaChanged`, `ReadDenied`.
    """
    try:
        with psycopg.connect(dsn, connect_timeout=10, application_name="quorate audit") as connection:
            connection.read_only = True
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            _check_ours(connection)
            yield Reader(connection)
    except psycopg.errors.InsufficientPrivilege as error:
        raise Stalled("ReadDenied", f"this user may not read the log: {_sentence(error)}") from error
    except (psycopg.OperationalError, psycopg.ProgrammingError) as error:
        raise Transient("DatabaseUnavailable", _sentence(error)) from error


def _sentence(error: Exception) -> str:
    return " ".join((str(error) or type(error).__name__).split())


def _check_ours(connection: "psycopg.Connection[Any]") -> None:
    row = connection.execute(_OURS).fetchone()
    if row is None or row[0] is None:
        raise Stalled("ForeignDatabase", "this database is not Quorate's: it has no table quorate.migration")
    rows = connection.execute("SELECT version, digest FROM quorate.migration ORDER BY version").fetchall()
    done = check_schema([(int(version), str(digest)) for version, digest in rows])
    if done < len(migrations()):
        raise Stalled(
            "SchemaOld",
            f"the database has schema version {done}, this Quorate needs {len(migrations())}: the operator migrates it",
        )
