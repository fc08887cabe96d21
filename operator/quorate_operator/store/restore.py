"""Archives loaded into a database of their own, to be looked at; never back into a log that goes on.

The database gets the schema, the entries from number 0 on and what follows from them. Nobody can lead there: nothing is
ever sealed behind restored entries.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import orjson
import psycopg

from quorate.audit.archive import GENESIS, ArchiveError, Point
from quorate.audit.merkle import Frontier
from quorate.audit.record import Record, leaf_hash
from quorate_operator.errors import Stalled, Transient
from quorate_operator.store.archive import Archive
from quorate_operator.store.lookup import key_of
from quorate_operator.store.migrate import migrate
from quorate_operator.store.tiles import Edge

_LOT = 1024
_HEADS = "SELECT count(*) FROM quorate.chain_head"
_IS_RESTORED = "SELECT to_regclass('quorate.restored') IS NOT NULL"
_MARK = """
CREATE TABLE quorate.restored (
    chain_id text COLLATE "C" PRIMARY KEY, size bigint NOT NULL, archives text[] NOT NULL,
    restored_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
GRANT SELECT ON quorate.restored TO quorate_app, quorate_sealer, quorate_read, quorate_maint;
CREATE TRIGGER restored BEFORE UPDATE ON quorate.leader_term FOR EACH ROW EXECUTE FUNCTION quorate.refuse_change()
"""
_ENTRIES = "INSERT INTO quorate.audit_entry (chain_id, seq, record) SELECT %s, * FROM unnest(%s::bigint[], %s::bytea[])"
_IDS = """
INSERT INTO quorate.audit_event_id (event_id, chain_id, seq, subject)
SELECT u.id, %s, u.seq, u.subject FROM unnest(%s::bigint[], %s::uuid[], %s::uuid[]) AS u(seq, id, subject)
"""
_ABOUT = """
INSERT INTO quorate.audit_about (key, chain_id, seq)
SELECT u.key, %s, u.seq FROM unnest(%s::bigint[], %s::uuid[]) AS u(seq, key)
"""
_TILES = """
INSERT INTO quorate.merkle_tile (chain_id, level, number, hashes, root)
SELECT %s, * FROM unnest(%s::int[], %s::bigint[], %s::bytea[], %s::bytea[])
"""
_HEAD = """
INSERT INTO quorate.chain_head (chain_id, epoch, size, chain_hash, frontier, sealed_at, term)
VALUES (%s, %s, %s, %s, %s, %s, 0)
"""
Connection = psycopg.Connection[tuple[object, ...]]


def restore(dsn: str, archives: Sequence[Archive], progress: Callable[[int], None] = lambda _: None) -> Point:
    """Load the archives of one chain, from entry 0 without gap, into a database that holds no log; its end.

    Args:
        dsn: of the user that migrates: the database's owner.
        archives: in ascending order, verified by the caller.
        progress: hears how many entries were loaded since it last heard.

    Raises:
        Stalled: `RestoreRefused` (the database holds a log, the archives do not follow each other), or as `migrate`.
        Transient: `DatabaseUnavailable`.
        ArchiveError: an archive cannot be read to its end.
    """
    chain = _one_chain(archives)
    migrate(dsn)
    try:
        with psycopg.connect(dsn, connect_timeout=10) as connection:
            connection.execute("SET ROLE quorate_owner")
            _take_over(connection, chain)
            return _load(connection, chain, archives, progress)
    except psycopg.errors.InsufficientPrivilege as error:
        raise Stalled("RestoreRefused", f"this database user may not restore: {error.diag.message_primary}") from error
    except psycopg.OperationalError as error:
        raise Transient("DatabaseUnavailable", str(error).splitlines()[0]) from error


def _one_chain(archives: Sequence[Archive]) -> str:
    at = GENESIS
    for archive in archives:
        manifest = archive.manifest
        if manifest.before != at or manifest.chain != archives[0].manifest.chain:
            wanted = f"entry {at.size} of chain {archives[0].manifest.chain}"
            raise Stalled(
                "RestoreRefused",
                f"{archive.path} begins with entry {manifest.before.size}, not with {wanted}: give all",
            )
        at = manifest.after
    if not archives:
        raise Stalled("RestoreRefused", "no archive is given")
    return archives[0].manifest.chain


def _take_over(connection: Connection, chain: str) -> None:
    """Make the database one of restored chains; refuse one that holds a log."""
    marked = connection.execute(_IS_RESTORED).fetchone() == (True,)
    if not marked:
        if connection.execute(_HEADS).fetchone() != (0,):
            raise Stalled("RestoreRefused", "the database holds a log; restore into an empty one")
        connection.execute(_MARK)
    elif connection.execute("SELECT FROM quorate.restored WHERE chain_id = %s", (chain,)).fetchone() is not None:
        raise Stalled("RestoreRefused", f"the database holds restored entries of chain {chain} already")


def _load(connection: Connection, chain: str, archives: Sequence[Archive], progress: Callable[[int], None]) -> Point:
    width_row = connection.execute("SELECT quorate.partition_width()").fetchone()
    assert width_row is not None
    width, end = int(str(width_row[0])), archives[-1].manifest.after
    for number in range(-(-end.size // width)):
        connection.execute("SELECT quorate.make_partition(%s, %s)", (chain, number))
    frontier, edge = Frontier(), Edge()
    for lot in _lots(archives):
        leaves = [leaf_hash(record) for _, record in lot]
        for leaf in leaves:
            frontier.append(leaf)
        full = edge.extend(leaves)
        columns = [[getattr(tile, name) for tile in full] for name in ("level", "number", "hashes", "root")]
        connection.execute(_TILES, (chain, *columns))
        _insert(connection, chain, lot)
        progress(len(lot))
    connection.execute(_HEAD, (chain, end.epoch, end.size, end.chain_hash, frontier.encode(), end.sealed_at))
    names = [archive.manifest.digest for archive in archives]
    connection.execute(
        "INSERT INTO quorate.restored (chain_id, size, archives) VALUES (%s, %s, %s)", (chain, end.size, names)
    )
    for archive in archives:
        for digest, data in archive.content():
            connection.execute("SELECT quorate.put_content(%s, %s)", ([digest], [data]))
    return end


def _lots(archives: Sequence[Archive]) -> Iterator[list[tuple[int, bytes]]]:
    for archive in archives:
        records = archive.records()
        while lot := list(islice(records, _LOT)):
            yield lot


def _insert(connection: Connection, chain: str, lot: Sequence[tuple[int, bytes]]) -> None:
    sequences = [sequence for sequence, _ in lot]
    connection.execute(_ENTRIES, (chain, sequences, [record for _, record in lot]))
    ids, subjects, about = [], [], []
    for sequence, record in lot:
        try:
            document = orjson.loads(Record.decode(record).content)
            ids.append(document["entry_id"])
            subjects.append(key_of(document["payload"]["subject"]["key"]))
            about += [(sequence, key_of(name)) for name in document["payload"].get("about", ())]
        except (ValueError, KeyError, TypeError) as error:
            raise ArchiveError(f"entry {sequence} cannot be read: {error}") from error
    connection.execute(_IDS, (chain, sequences, ids, subjects))
    connection.execute(_ABOUT, (chain, [place for place, _ in about], [key for _, key in about]))
