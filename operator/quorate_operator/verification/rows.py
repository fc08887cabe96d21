"""Rows of the log as a verification streams them: binary COPY, parsed by hand, as nothing else is fast enough."""

import struct
from collections.abc import Generator, Sequence
from hashlib import sha256
from itertools import accumulate, repeat
from typing import Any
from uuid import UUID

import psycopg
from psycopg import pq, sql

from quorate.audit.merkle import TILE_WIDTH
from quorate.audit.scan import Block

Connection = psycopg.Connection[Any]
_SIGNATURE = b"PGCOPY\n\xff\r\n\x00"
_HEADER_BYTES = len(_SIGNATURE) + 8
_END = b"\xff\xff"
_LENGTH = struct.Struct(">i")
_BLOCKS = sql.SQL("""COPY (
    SELECT t.hashes, t.root, r.lengths, r.records
    FROM generate_series({first}::bigint, {last}::bigint) g(n)
    LEFT JOIN quorate.merkle_tile t ON t.chain_id = {chain} AND t.level = 0 AND t.number = g.n
        AND t.number BETWEEN {first} AND {last}
    CROSS JOIN LATERAL (
        SELECT string_agg(int4send(octet_length(e.record)), '') AS lengths, string_agg(e.record, '') AS records
        FROM (
            SELECT record FROM quorate.audit_entry
            WHERE chain_id = {chain} AND seq >= greatest(g.n * 256, {start}) AND seq < least(g.n * 256 + 256, {end})
            ORDER BY seq
        ) e
    ) r ORDER BY g.n
) TO STDOUT (FORMAT binary)""")
_IDS = sql.SQL("""COPY (
    SELECT event_id::text, seq, subject, chain_id FROM quorate.audit_event_id {}
) TO STDOUT (FORMAT binary)""")
_AMONG = sql.SQL("WHERE chain_id = {} AND (key, seq) IN (SELECT * FROM unnest({}::uuid[], {}::bigint[]))")
_NAMES = sql.SQL("COPY (SELECT key, seq, chain_id FROM quorate.audit_about {}) TO STDOUT (FORMAT binary)")


def _start(connection: Connection, query: sql.Composed) -> pq.abc.PGconn:
    connection.execute("SELECT 1")  # begins the transaction where there is none yet
    low = connection.pgconn
    result = low.exec_(query.as_bytes(connection))
    if result.status != pq.ExecStatus.COPY_OUT:
        raise psycopg.errors.error_from_result(result)
    return low


def _finish(low: pq.abc.PGconn) -> None:
    failed = None
    while (result := low.get_result()) is not None:
        if result.status == pq.ExecStatus.FATAL_ERROR:
            failed = result
    if failed is not None:
        raise psycopg.errors.error_from_result(failed)


def copy_rows(connection: Connection, query: sql.Composed) -> Generator[bytes, None, None]:
    """The rows of a binary COPY, each as the server sends it (but for its end mark).

    Raises:
        psycopg.Error: the server refuses or breaks off.
    """
    low, head, more = _start(connection, query), _HEADER_BYTES, True
    try:
        while (got := low.get_copy_data(0))[0] >= 0:
            row = bytes(got[1])[head:]
            head = 0
            if row and row != _END:
                yield row
        more = False
    finally:
        # Whoever reads may have seen enough; cancelling would end the transaction, and with it the snapshot.
        while more and low.get_copy_data(0)[0] >= 0:
            pass
        _finish(low)


def copy_sum(connection: Connection, query: sql.Composed, salt: bytes) -> int:
    """The sum of the hashes of the rows of a binary COPY behind `salt`; psycopg.Error as of `copy_rows`."""
    low, total = _start(connection, query), 0
    get, begun = low.get_copy_data, False
    while True:
        size, row = get(0)
        if size <= len(_END):
            if size < 0:
                break
        elif begun:
            total += hash(salt + row)
        else:
            begun = True
            total += hash(salt + row[_HEADER_BYTES:]) if size > _HEADER_BYTES + len(_END) else 0
    _finish(low)
    return total


def blocks(connection: Connection, chain: str, start: int, end: int) -> Generator[Block, None, None]:
    """Records start ≤ n < end up to each multiple of 256, with the stored tile of level 0 over them."""
    query = _BLOCKS.format(
        chain=sql.Literal(chain),
        start=sql.Literal(start),
        end=sql.Literal(end),
        first=sql.Literal(start // TILE_WIDTH),
        last=sql.Literal((end - 1) // TILE_WIDTH),
    )
    for row in copy_rows(connection, query):
        hashes, place = _field(row, 2)
        root, place = _field(row, place)
        lengths, place = _field(row, place)
        begin = place + _LENGTH.size
        ends = list(accumulate(struct.unpack(f">{len(lengths or b'') // 4}i", lengths or b""), initial=begin))
        yield Block(row, ends[:-1], ends[1:], hashes, root)


def _field(row: bytes, place: int) -> tuple[bytes | None, int]:
    (length,) = _LENGTH.unpack_from(row, place)
    place += 4
    return (None, place) if length < 0 else (row[place : place + length], place + length)


class IndexTally:
    """What the indexes hold, or should hold, of each chain: sums over keyed hashes of their rows, in any order.

    `probes` are rows (chain, key, sequence) of the index of names that are to be looked up.

    Two sets of rows with the same sums are the same, but for a chance of 2^-64 that nobody can improve who does not
    know the key: Python's own hash of bytes is keyed, and `salt` is a further secret of this verification. Processes
    must be forked from one another to share Python's key.
    """

    def __init__(self, salt: bytes) -> None:
        self.salt = salt
        self.probes: list[tuple[bytes, bytes, bytes]] = []
        self.ids: dict[bytes, int] = {}
        self.names: dict[bytes, int] = {}

    def merge(self, ids: dict[bytes, int], names: dict[bytes, int]) -> None:
        """Add the sums of another tally with the same salt."""
        for mine, others in ((self.ids, ids), (self.names, names)):
            for chain, total in others.items():
                mine[chain] = mine.get(chain, 0) + total

    def take(self) -> tuple[dict[bytes, int], dict[bytes, int]]:
        """The sums since the last time."""
        taken = self.ids, self.names
        self.ids, self.names = {}, {}
        return taken

    def read(self, connection: Connection, where: sql.Composable, *, names: bool, by_chain: bool) -> None:
        """Add rows of the index of names, or else of ids; of all chains together (as chain b"") or of each."""
        query, place = (_NAMES.format(where), 38) if names else (_IDS.format(where), 78)
        sums, salt = self.names if names else self.ids, self.salt
        if not by_chain:
            sums[b""] = sums.get(b"", 0) + copy_sum(connection, query, salt)
            return
        for row in copy_rows(connection, query):
            sums[row[place:]] = sums.get(row[place:], 0) + hash(salt + row)

    def agrees(self, expected: "IndexTally") -> bool:
        """Whether all chains together have what is expected of them together."""
        pairs = ((self.ids, expected.ids), (self.names, expected.names))
        return all(sum(mine.values()) == sum(theirs.values()) for mine, theirs in pairs)

    def probe(self, connection: Connection, expected: "IndexTally", chain: str) -> None:
        """Add those rows of the index of names that were expected, looked up one by one: cheaper for a few entries."""
        wanted = [(key, sequence) for name, key, sequence in expected.probes if name == chain.encode()]
        if wanted:
            keys = [UUID(bytes=key) for key, _ in wanted]
            places = [int.from_bytes(sequence, "big") for _, sequence in wanted]
            among = _AMONG.format(sql.Literal(chain), sql.Literal(keys), sql.Literal(places))
            self.read(connection, among, names=True, by_chain=True)


class Expected:
    """Port `Found` of a scan: adds to a tally the rows that must be there of one chain."""

    def __init__(self, tally: IndexTally, chain: str, probes: "list[tuple[bytes, bytes, bytes]] | None" = None) -> None:
        self._probes = probes
        name = chain.encode()
        self._tally, self._chain = tally, name
        self._tail = b"\x00\x00\x00\x10", _LENGTH.pack(len(name)) + name
        self._ids_head = tally.salt + b"\x00\x04\x00\x00\x00\x24"
        self._names_head = tally.salt + b"\x00\x03\x00\x00\x00\x10"

    def entries(self, ids: Sequence[bytes], sequences: Sequence[bytes], keys: Sequence[bytes]) -> None:
        """Port `Found`."""
        subjects = [sha.digest()[:16] for sha in map(sha256, keys)]
        (middle, tail), between = self._tail, b"\x00\x00\x00\x08"
        rows = zip(repeat(self._ids_head), ids, repeat(between), sequences, repeat(middle), subjects, repeat(tail))
        total = sum(map(hash, map(b"".join, rows)))
        self._tally.ids[self._chain] = self._tally.ids.get(self._chain, 0) + total

    def names(self, sequence: bytes, key: bytes, names: Sequence[bytes]) -> None:
        """Port `Found`."""
        head, tail = self._names_head, b"\x00\x00\x00\x08" + sequence + self._tail[1]
        keys = [sha256(name).digest()[:16] for name in set(names) if name != key]
        total = sum([hash(head + item + tail) for item in keys])
        self._tally.names[self._chain] = self._tally.names.get(self._chain, 0) + total
        if self._probes is not None:
            self._probes += [(self._chain, item, sequence) for item in keys]
