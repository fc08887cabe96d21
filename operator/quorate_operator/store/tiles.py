"""Merkle tiles in Postgres: full ones are stored once, in the transaction that fills them.

Partial ones follow from the records, or from the roots of the tiles below.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from quorate.audit.merkle import TILE_WIDTH
from quorate.audit.tiles import Tile, partial_tiles, perfect_root, split_tile

# A partial tile is the beginning of the full one where that exists by now (its records may be pruned), else the roots
# of the full tiles below it, else the hashes of records.
READ = """
SELECT w.level, w.number, w.width, coalesce(
    (SELECT substr(t.hashes, 1, w.width * 32) FROM quorate.merkle_tile t
     WHERE t.chain_id = %s AND t.level = w.level AND t.number = w.number),
    CASE WHEN w.level > 0 THEN
        (SELECT string_agg(t.root, ''::bytea ORDER BY t.number) FROM quorate.merkle_tile t
         WHERE t.chain_id = %s AND t.level = w.level - 1 AND t.number >= w.number * 256
           AND t.number < w.number * 256 + w.width)
    ELSE
        (SELECT string_agg(sha256('\\x00'::bytea || e.record), ''::bytea ORDER BY e.seq) FROM quorate.audit_entry e
         WHERE e.chain_id = %s AND e.seq >= w.number * 256 AND e.seq < w.number * 256 + w.width)
    END, '')
FROM unnest(%s::int[], %s::bigint[], %s::int[]) AS w(level, number, width)
"""


class Reader(Protocol):
    """A database."""

    async def read(self, query: str, *args: Any) -> list[Any]:
        """Rows of one query."""
        ...


@dataclass(frozen=True, slots=True)
class FullTile:
    """A tile that became full, to be stored."""

    level: int
    number: int
    hashes: bytes
    root: bytes


class Edge:
    """The partial tiles at the right edge of a tree of `size` leaves: hashes by level, lowest first."""

    __slots__ = ("levels", "size")

    def __init__(self, size: int = 0, levels: Iterable[list[bytes]] = ()) -> None:
        self.size = size
        self.levels = list(levels)

    def extend(self, leaves: Iterable[bytes]) -> list[FullTile]:
        """Add leaf hashes; the tiles that they filled."""
        full: list[FullTile] = []
        for leaf in leaves:
            self.size += 1
            level, node = 0, leaf
            while True:
                if level == len(self.levels):
                    self.levels.append([])
                hashes = self.levels[level]
                hashes.append(node)
                if len(hashes) < TILE_WIDTH:
                    break
                node = perfect_root(hashes)
                full.append(FullTile(level, (self.size >> 8 * (level + 1)) - 1, b"".join(hashes), node))
                hashes.clear()
                level += 1
        return full


async def read_edge(database: Reader, chain: str, size: int) -> Edge:
    """The edge of the stored tree at `size`; TileError when the store has fewer entries."""
    partial = partial_tiles(size)
    data = await read_tiles(database, chain, partial)
    height = (size.bit_length() + 7) // 8
    levels: list[list[bytes]] = [[] for _ in range(height)]
    for tile in partial:
        levels[tile.level] = split_tile(tile, data[tile])
    return Edge(size, levels)


async def read_tiles(database: Reader, chain: str, tiles: Iterable[Tile]) -> dict[Tile, bytes]:
    """The hashes of tiles, full or partial, in one query; shorter than the tile where entries are missing."""
    wanted = list(tiles)
    names = ([tile.level for tile in wanted], [tile.number for tile in wanted], [tile.width for tile in wanted])
    rows = await database.read(READ, chain, chain, chain, *names)
    return {Tile(level, number, width): bytes(data) for level, number, width, data in rows}
