"""Where entries are read from: a database, or a directory in tlog-tiles layout (archive, publication, export)."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

from quorate.canonical import digest_of_bytes

if TYPE_CHECKING:
    import psycopg

BLOCK = 1000
"""Records read at once: memory stays constant, and a round trip is cheap beside them."""

_CHAINS = "SELECT chain_id FROM quorate.chain_head WHERE size > 0 ORDER BY chain_id"
_FIRST = "SELECT seq FROM quorate.audit_entry WHERE chain_id = %s ORDER BY seq LIMIT 1"
_SIZE = "SELECT size FROM quorate.chain_head WHERE chain_id = %s"
_RECORDS = "SELECT seq, record FROM quorate.audit_entry WHERE chain_id = %s AND seq >= %s AND seq < %s ORDER BY seq"
# LATERAL: one index probe for each, in the one partition that holds it.
_AT = """
SELECT i.seq, e.record FROM unnest(%s::bigint[]) i(seq) JOIN LATERAL (
    SELECT record FROM quorate.audit_entry e WHERE e.chain_id = %s AND e.seq = i.seq LIMIT 1
) e ON true
"""
_CONTENT = "SELECT bytes FROM quorate.content WHERE digest = %s"
_ABOUT = """
SELECT chain_id, seq FROM quorate.audit_event_id WHERE subject = quorate.name_key(%(name)s)
UNION SELECT chain_id, seq FROM quorate.audit_about WHERE key = quorate.name_key(%(name)s) ORDER BY 1, 2
"""


class Source(Protocol):
    """Sealed records by chain and sequence."""

    name: str
    """Shown where several sources are read."""

    def chains(self) -> list[str]:
        """The chains that are here, in order."""
        ...

    def bounds(self, chain: str) -> tuple[int, int]:
        """First sequence that is here, and the one after the last; (0, 0) for a chain that is not here."""
        ...

    def block(self, chain: str, start: int, end: int) -> list[tuple[int, bytes]]:
        """The records with start ≤ sequence < end that are here, in order; callers keep to BLOCK of them."""
        ...

    def about(self, name: str) -> list[tuple[str, int]] | None:
        """Chain and sequence of every entry with this subject key or digest, perhaps more; None without an index."""
        ...

    def at(self, chain: str, sequences: list[int]) -> list[tuple[int, bytes]]:
        """The records in these places, in any order; used with `about`."""
        ...

    def content(self, digest: str) -> bytes | None:
        """The bytes that entries name by this digest; None if they are not here, or are others."""
        ...


class Database:
    """A database of ours. Each call is a statement of its own: what is sealed meanwhile shows in the next one."""

    def __init__(self, connection: "psycopg.Connection[Any]", name: str) -> None:
        self.connection = connection
        self.name = name

    def chains(self) -> list[str]:
        """As Source."""
        return [str(row[0]) for row in self.connection.execute(_CHAINS)]

    def bounds(self, chain: str) -> tuple[int, int]:
        """As Source; what was pruned is not here."""
        end = self.connection.execute(_SIZE, (chain,)).fetchone()
        first = self.connection.execute(_FIRST, (chain,)).fetchone()
        return (0, 0) if end is None or first is None else (int(first[0]), int(end[0]))

    def block(self, chain: str, start: int, end: int) -> list[tuple[int, bytes]]:
        """As Source."""
        rows = self.connection.execute(_RECORDS, (chain, start, end), binary=True)
        return [(int(sequence), bytes(record)) for sequence, record in rows]

    def about(self, name: str) -> list[tuple[str, int]] | None:
        """As Source."""
        return [(str(chain), int(sequence)) for chain, sequence in self.connection.execute(_ABOUT, {"name": name})]

    def at(self, chain: str, sequences: list[int]) -> list[tuple[int, bytes]]:
        """As Source."""
        rows = self.connection.execute(_AT, (sequences, chain), binary=True)
        return [(int(sequence), bytes(record)) for sequence, record in rows]

    def content(self, digest: str) -> bytes | None:
        """As Source."""
        row = self.connection.execute(_CONTENT, (digest,), binary=True).fetchone()
        return None if row is None else checked(bytes(row[0]), digest)


def checked(data: bytes, digest: str) -> bytes | None:
    """`data` if it has this digest."""
    return data if digest_of_bytes(data) == digest else None


def forward(source: Source, chain: str, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """The records of a range in ascending order, a block at a time."""
    for low in range(start, end, BLOCK):
        yield from source.block(chain, low, min(low + BLOCK, end))


def backward(source: Source, chain: str, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """The records of a range in descending order, a block at a time."""
    high = end
    while high > start:
        low = max(start, high - BLOCK)
        yield from reversed(source.block(chain, low, high))
        high = low
