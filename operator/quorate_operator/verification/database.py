"""The log's database as a verification reads it: one read-only snapshot, so a running operator disturbs nothing."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg

from quorate.audit.archive import Point, StoredPrune
from quorate.audit.merkle import TILE_WIDTH
from quorate.audit.record import leaf_hash
from quorate.audit.rules import NO_ROW, StoredEntry
from quorate.audit.tiles import Tile
from quorate.audit.verify import StoredHead, StoredTile
from quorate_operator.errors import Stalled, Transient
from quorate_operator.store.migrate import check_schema, migrations

BATCH = 2000
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
SELECT seq, record FROM quorate.audit_entry WHERE chain_id = %s AND seq >= %s AND seq < %s ORDER BY seq
"""
_INDEXED = """
SELECT e.seq, e.record, i.ids, i.subjects, a.keys FROM quorate.audit_entry e
LEFT JOIN (
    SELECT seq, array_agg(event_id) AS ids, array_agg(subject) AS subjects FROM quorate.audit_event_id
    WHERE chain_id = %(chain)s AND seq >= %(start)s AND seq < %(end)s GROUP BY seq
) i ON i.seq = e.seq
LEFT JOIN (
    SELECT seq, array_agg(key) AS keys FROM quorate.audit_about
    WHERE chain_id = %(chain)s AND seq >= %(start)s AND seq < %(end)s GROUP BY seq
) a ON a.seq = e.seq
WHERE e.chain_id = %(chain)s AND e.seq >= %(start)s AND e.seq < %(end)s ORDER BY e.seq
"""
_STRAY = """
SELECT 'ids', event_id::text, seq FROM quorate.audit_event_id i WHERE chain_id = %(chain)s AND seq >= %(start)s
AND NOT EXISTS (SELECT FROM quorate.audit_entry e WHERE e.chain_id = i.chain_id AND e.seq = i.seq)
UNION ALL
SELECT 'names', key::text, seq FROM quorate.audit_about i WHERE chain_id = %(chain)s AND seq >= %(start)s
AND NOT EXISTS (SELECT FROM quorate.audit_entry e WHERE e.chain_id = i.chain_id AND e.seq = i.seq) LIMIT 1
"""
_HEAD = "SELECT epoch, size, chain_hash, frontier, sealed_at FROM quorate.chain_head WHERE chain_id = %s"
_LAST = "SELECT max(seq) FROM quorate.audit_entry WHERE chain_id = %s"
_NOTES = """
SELECT size, note || coalesce((
    SELECT string_agg(line, '' ORDER BY number) FROM quorate.cosignature k
    WHERE k.chain_id = c.chain_id AND k.size = c.size
), '') FROM quorate.checkpoint c WHERE chain_id = %s AND size >= %s AND size <= %s ORDER BY size
"""
_PRUNED = """
SELECT end_seq, epoch, sealed_at, chain_hash, manifest FROM quorate.prune
WHERE chain_id = %s AND state <> 'exporting' ORDER BY number DESC LIMIT 1
"""
_TILE = "SELECT hashes, root FROM quorate.merkle_tile WHERE chain_id = %s AND level = %s AND number = %s"
_TILES = "SELECT level, count(*) FROM quorate.merkle_tile WHERE chain_id = %s GROUP BY level"
_ROOTS = """
SELECT root FROM quorate.merkle_tile WHERE chain_id = %s AND level = %s AND number >= %s AND number < %s ORDER BY number
"""
_INTAKE = """
SELECT (SELECT count(*) FROM quorate.audit_intake WHERE chain_id = %(chain)s),
       (SELECT count(*) FROM quorate.audit_intake_refused WHERE chain_id = %(chain)s)
"""
# Before the snapshot, as what is pruned after it would be missing in it: which partitions there are is no part of it.
_HOLD = "LOCK TABLE ONLY quorate.audit_entry IN ACCESS SHARE MODE"
_PAGES = "SELECT pg_relation_size(%s::regclass) / current_setting('block_size')::bigint"


class Reader:
    """What one snapshot of the log holds."""

    def __init__(self, connection: "psycopg.Connection[Any]") -> None:
        self.connection = connection

    def _one(self, query: str, *args: Any) -> Any:
        return self.connection.execute(query, args, binary=True).fetchone()

    def snapshot(self) -> str:
        """The name under which other connections can read the same snapshot while this one is open."""
        return str(self._one("SELECT pg_export_snapshot()")[0])

    def chains(self) -> list[str]:
        """Every chain that has entries or a head; an entry without head, or a head without entry, is found so."""
        return [str(row[0]) for row in self.connection.execute(_CHAINS)]

    def head(self, chain: str) -> StoredHead | None:
        """The head row of a chain."""
        row = self._one(_HEAD, chain)
        return None if row is None else StoredHead(chain, row[0], row[1], bytes(row[2]), bytes(row[3]), row[4])

    def end(self, chain: str) -> int:
        """One more than the sequence of the chain's last row."""
        last = self._one(_LAST, chain)[0]
        return 0 if last is None else int(last) + 1

    def entries(self, chain: str, start: int = 0, end: int = 2**63 - 1) -> Iterator[StoredEntry]:
        """Rows start ≤ seq < end of a chain in ascending sequence, streamed; of the indexes nothing is read."""
        with self.connection.cursor(name="entries", binary=True) as cursor:
            cursor.itersize = BATCH
            cursor.execute(_ENTRIES, (chain, start, end))
            for sequence, record in cursor:
                yield StoredEntry(sequence, bytes(record))

    def indexed(self, chain: str, start: int = 0, end: int = 2**63 - 1) -> Iterator[StoredEntry]:
        """As `entries`, with what the indexes hold of each."""
        with self.connection.cursor(name="indexed", binary=True) as cursor:
            cursor.itersize = BATCH
            cursor.execute(_INDEXED, {"chain": chain, "start": start, "end": end})
            for sequence, record, ids, subjects, names in cursor:
                found, subject = _single(bytes(record), ids, subjects)
                yield StoredEntry(sequence, bytes(record), found, subject, frozenset(names or ()))

    def stray(self, chain: str, start: int) -> tuple[str, str, int] | None:
        """An index row (index, key, seq) of the chain that no entry from `start` on stands behind."""
        row = self.connection.execute(_STRAY, {"chain": chain, "start": start}).fetchone()
        return None if row is None else (row[0], row[1], row[2])

    def checkpoints(self, chain: str, start: int = 0, end: int = 2**63 - 1) -> list[str]:
        """The signed notes of sizes from `start` to `end` that the database keeps, with cosignatures, by size."""
        return [str(row[1]) for row in self.connection.execute(_NOTES, (chain, start, end))]

    def pruned(self, chain: str) -> StoredPrune | None:
        """How far the chain was pruned."""
        row = self._one(_PRUNED, chain)
        return None if row is None else StoredPrune(chain, Point(row[0], row[1], row[2], bytes(row[3])), row[4])

    def tile(self, chain: str, level: int, number: int) -> StoredTile | None:
        """A full tile."""
        row = self._one(_TILE, chain, level, number)
        return None if row is None else StoredTile(bytes(row[0]), bytes(row[1]))

    def tile_counts(self, chain: str) -> dict[int, int]:
        """How many full tiles each level has."""
        return {int(row[0]): int(row[1]) for row in self.connection.execute(_TILES, (chain,))}

    def tiles(self, chain: str, wanted: Sequence[Tile]) -> dict[Tile, bytes]:
        """The bytes of tiles, partial ones from what is below them; one that is not there has too few bytes."""
        return {tile: self._tile_bytes(chain, tile) for tile in wanted}

    def _tile_bytes(self, chain: str, tile: Tile) -> bytes:
        stored = self.tile(chain, tile.level, tile.number)
        if stored is not None:
            return stored.hashes[: tile.width * 32]
        first = tile.number * TILE_WIDTH
        if tile.level:
            rows = self.connection.execute(_ROOTS, (chain, tile.level - 1, first, first + tile.width), binary=True)
            return b"".join(bytes(row[0]) for row in rows)
        return b"".join(leaf_hash(entry.record) for entry in self.entries(chain, first, first + tile.width))

    def intake(self, chain: str) -> tuple[int, int]:
        """Rows of the intake that wait, and rows that were refused."""
        row = self.connection.execute(_INTAKE, {"chain": chain}).fetchone()
        assert row is not None
        return int(row[0]), int(row[1])

    def pages(self, table: str) -> int:
        """Size of a table in pages."""
        return int(self._one(_PAGES, table)[0])


def _single(record: bytes, ids: Sequence[UUID] | None, subjects: Sequence[UUID] | None) -> tuple[UUID, UUID | None]:
    """The one id at a place; of several, one that is not the content's, so that the rules say so."""
    if not ids or not subjects:
        return NO_ROW, None
    if len(ids) == 1:
        return ids[0], subjects[0]
    own = [str(item).encode() in record for item in ids]
    return ids[own.index(False)] if False in own else ids[0], subjects[0]


@contextmanager
def reading(dsn: str) -> Iterator[Reader]:
    """A snapshot of the log.

    Raises:
        Transient: `DatabaseUnavailable`, it does not answer.
        Stalled: `ForeignDatabase`, `SchemaOlder`, `SchemaNewer`, `SchemaChanged`, `ReadDenied`.
    """
    try:
        with psycopg.connect(dsn, connect_timeout=10, application_name="quorate audit") as connection:
            connection.read_only = True
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            _check_ours(connection)
            connection.rollback()
            connection.execute(_HOLD)
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
            "SchemaOlder",
            f"the database has schema version {done}, this Quorate needs {len(migrations())}: the operator migrates it",
        )
