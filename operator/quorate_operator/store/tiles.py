"""Merkle tiles: full ones only, each written once, in the transaction that fills it."""

from collections.abc import Sequence
from typing import Any

import psycopg

from quorate.audit.merkle import TILE_WIDTH, root_of
from quorate_operator.store import statements as sql

Connection = psycopg.AsyncConnection[tuple[Any, ...]]


async def write_tiles(connection: Connection, chain: str, start: int, size: int) -> None:
    """Write the tiles that became full when the chain grew from `start` to `size`; one level after another."""
    level = 0
    while size // TILE_WIDTH > start // TILE_WIDTH:
        first, end = start // TILE_WIDTH, size // TILE_WIDTH
        hashes = await _hashes(connection, chain, level, first * TILE_WIDTH, end * TILE_WIDTH)
        for number in range(first, end):
            tile = hashes[(number - first) * TILE_WIDTH : (number - first + 1) * TILE_WIDTH]
            await connection.execute(sql.INSERT_TILE, (chain, level, number, b"".join(tile), root_of(tile)))
        start, size, level = first, end, level + 1


async def _hashes(connection: Connection, chain: str, level: int, start: int, end: int) -> Sequence[bytes]:
    """Nodes start ≤ n < end of a level: leaves, or the roots of the tiles below."""
    query, args = (sql.LEAVES, (chain, start, end)) if level == 0 else (sql.TILE_ROOTS, (chain, level - 1, start, end))
    cursor = await connection.execute(query, args, binary=True)
    return [row[0] for row in await cursor.fetchall()]
