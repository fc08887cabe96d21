"""Merkle tiles in Postgres: full ones are stored once, in the transaction that fills them; partial ones follow from
the records, or from the roots of the tiles below.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from quorate.audit.merkle import TILE_WIDTH
from quorate.audit.record import leaf_hash
from quorate.audit.tiles import Tile, partial_tiles, perfect_root, split_tile
from quorate_operator.store import statements as sql


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
    """The hashes of tiles of one tree, full or partial; shorter than the tile where entries are missing."""
    wanted = list(tiles)
    rows = await database.read(sql.TILES, [tile.level for tile in wanted], [tile.number for tile in wanted], chain)
    stored = {(level, number): bytes(hashes) for level, number, hashes in rows}
    found: dict[Tile, bytes] = {}
    for tile in wanted:
        hashes = stored.get((tile.level, tile.number))
        if hashes is None:
            hashes = await _unfinished(database, chain, tile)
        found[tile] = hashes[: 32 * tile.width]
    return found


async def _unfinished(database: Reader, chain: str, tile: Tile) -> bytes:
    start = tile.number * TILE_WIDTH
    if tile.level == 0:
        rows = await database.read(sql.RECORDS, chain, start, start + tile.width)
        return b"".join(leaf_hash(row[0]) for row in rows)
    rows = await database.read(sql.TILE_ROOTS, chain, tile.level - 1, start, start + tile.width)
    return b"".join(row[0] for row in rows)
