"""A database whose log already holds many entries: a real chain, bulk-loaded by the database's superuser.

Ids, subjects, records, chain, tiles and head are those that the sealer would have written; only the way in is another.
"""

import os
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import psycopg

from quorate.audit.checkpoint import Checkpoint
from quorate.audit.entry import Draft, Tether, content_hash, format_timestamp
from quorate.audit.ids import entry_id
from quorate.audit.merkle import Frontier
from quorate.audit.record import GENESIS_HASH, chain_hash, leaf_hash
from quorate.identity.vkey import SignerKey
from quorate_operator.store.lookup import key_bytes
from quorate_operator.store.migrate import create_login, migrate
from quorate_operator.store.tiles import Edge
from tests.contract.server import Server

CHAIN = "bench-mesh/fleet"
SIGNER = SignerKey(CHAIN, bytes(range(32)))
_BLOCK = 4096
_COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_WIDTH = 1_048_576


@dataclass(frozen=True)
class Filled:
    """A server with a filled log; `checkpoint` is its note by `SIGNER`, kept outside the database."""

    server: Server
    database: str
    size: int
    checkpoint: str

    @property
    def dsn(self) -> str:
        """As the operator: it may lead and append to `CHAIN`."""
        return self.server.dsn(self.database, "operator")

    @property
    def admin(self) -> str:
        """As superuser."""
        return self.server.dsn(self.database)

    def entry_id(self, number: int) -> str:
        """The id of entry `number` (its sequence)."""
        return str(entry_id(f"subject-{number}", None))


def draft_of(number: int, timestamp: int) -> Draft:
    """A first entry of its subject; its content is 500 bytes and the digits of its number."""
    return Draft(f"subject-{number}", None, "governance.vote.accepted", {"kind": "Vote", "name": f"v{number}"},
                 Tether("5.5"), timestamp, actor_id="bench-node", detail={"statement": "x" * 156})  # fmt: skip


@contextmanager
def filled(entries: int, *, database: str = "bench") -> Iterator[Filled]:
    """A running server whose database holds `entries` entries in `CHAIN`; removed at the end."""
    server = Server()
    server.start()
    try:
        yield fill(server, entries, database=database)
    finally:
        server.remove()


def fill(server: Server, entries: int, *, database: str = "bench") -> Filled:
    """Make a migrated database with a login `operator` and fill it."""
    server.run(f"CREATE DATABASE {database}")
    dsn = server.dsn(database)
    migrate(dsn)
    create_login(dsn, "operator", ["quorate_app", "quorate_sealer"])
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SELECT quorate.make_chain(%s)", (CHAIN,))
        connection.execute(
            "SELECT quorate.make_partition(%s, n) FROM generate_series(0, %s::bigint) n", (CHAIN, entries // _WIDTH + 2)
        )
        root = _load(connection, dsn, entries)
        connection.execute("CHECKPOINT")
    return Filled(server, database, entries, Checkpoint(CHAIN, entries, root).sign(SIGNER))


def _load(connection: psycopg.Connection, dsn: str, entries: int) -> bytes:
    frontier, edge, chain = Frontier(), Edge(), GENESIS_HASH
    sealed_at = time.time_ns() // 1000
    # Indexes over random keys are built at the end, sorted: one by one they cost more than all the rest.
    connection.execute("DROP INDEX quorate.audit_event_id_subject")
    connection.execute("ALTER TABLE quorate.audit_event_id DROP CONSTRAINT audit_event_id_pkey")
    name = CHAIN.encode()
    named = _field(name)
    head = struct.pack(">BH", 1, len(name)) + name
    with ExitStack() as stack, ProcessPoolExecutor(os.cpu_count()) as pool:
        copies = []
        for table in ("audit_entry (chain_id, seq, record)", "audit_event_id (event_id, chain_id, seq, subject)",
                      "merkle_tile (chain_id, level, number, hashes, root)"):  # fmt: skip
            session = stack.enter_context(psycopg.connect(dsn))
            copy = stack.enter_context(session.cursor().copy(f"COPY quorate.{table} FROM STDIN (FORMAT binary)"))
            copy.write(_COPY_HEADER)
            copies.append(copy)
        sequence = 0
        starts = range(0, entries, _BLOCK)
        for block in pool.map(_block, starts, [min(_BLOCK, entries - start) for start in starts], [sealed_at] * len(
            starts), chunksize=4):  # fmt: skip
            rows, ids, leaves = [], [], []
            for identifier, subject, content, digest in block:
                record = head + struct.pack(">IQq", 0, sequence, sealed_at) + chain + digest + content
                leaf = leaf_hash(record)
                chain = chain_hash(chain, leaf)
                frontier.append(leaf)
                leaves.append(leaf)
                place = named + struct.pack(">iq", 8, sequence)
                rows.append(b"\0\3" + place + _field(record))
                ids.append(b"\0\4" + _field(identifier) + place + _field(subject))
                sequence += 1
            tiles = [
                b"\0\5" + named + struct.pack(">ihiq", 2, tile.level, 8, tile.number) + _field(tile.hashes)
                + _field(tile.root)
                for tile in edge.extend(leaves)
            ]  # fmt: skip
            for copy, encoded in zip(copies, (rows, ids, tiles), strict=True):
                copy.write(b"".join(encoded))
        for copy in copies:
            copy.write(b"\xff\xff")
    connection.execute("ALTER TABLE quorate.audit_event_id ADD CONSTRAINT audit_event_id_pkey PRIMARY KEY (event_id)")
    connection.execute("CREATE INDEX audit_event_id_subject ON quorate.audit_event_id (subject, chain_id, seq)")
    connection.execute(
        "UPDATE quorate.chain_head SET size = %s, chain_hash = %s, frontier = %s, sealed_at = %s WHERE chain_id = %s",
        (entries, chain, frontier.encode(), sealed_at, CHAIN),
    )
    connection.execute("VACUUM ANALYZE quorate.audit_event_id")
    connection.execute("VACUUM ANALYZE quorate.audit_entry")
    return frontier.root()


def _field(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _block(start: int, count: int, timestamp: int) -> list[tuple[bytes, bytes, bytes, bytes]]:
    """(id, subject, content, entry hash) of entries from `start` on."""
    sample = draft_of(0, timestamp).content.decode()
    assert _content(0, str(entry_id("subject-0", None)), format_timestamp(timestamp)) == sample.encode()
    text, found = format_timestamp(timestamp), []
    for number in range(start, start + count):
        key = f"subject-{number}"
        identifier = entry_id(key, None)
        content = _content(number, str(identifier), text)
        found.append((identifier.bytes, key_bytes(key), content, content_hash(content)))
    return found


def _content(number: int, identifier: str, timestamp: str) -> bytes:
    """The canonical content of `draft_of`, by substitution: ten million of them are to be made."""
    return (
        f'{{"actor_id":"bench-node","entry_id":"{identifier}","event_type":"governance.vote.accepted","payload":'
        f'{{"about":[],"detail":{{"statement":"{"x" * 156}"}},"previous":null,"subject":{{"key":"subject-{number}",'
        f'"kind":"Vote","name":"v{number}"}},"tether":{{"clauses":[],"contractVersion":"none","phaseId":"5.5"}}}},'
        f'"timestamp":"{timestamp}"}}'
    ).encode()
