"""Entries that pruning left a copy of: each must be the leaf at its place in the tree before the prune point."""

from collections.abc import Iterator
from itertools import groupby

from quorate.audit import tiles
from quorate.audit.merkle import TILE_WIDTH, Frontier, ProofError, verify_inclusion
from quorate.audit.record import Record, RecordError, leaf_hash
from quorate.audit.tiles import Tile, perfect_root, split_tile
from quorate_operator.verification.database import Reader

_KEPT = "SELECT seq, record FROM quorate.audit_kept WHERE chain_id = %s ORDER BY seq"


def kept_fault(reader: Reader, chain: str, before: Frontier) -> str | None:
    """What is wrong with the first kept entry that is not what was sealed; None if all are.

    `before` is the tree of what was pruned, whole tiles. Of each tile with a kept entry the root is proven, so one
    proof serves up to 256 of them.
    """
    for number, group in groupby(_records(reader, chain), key=lambda item: item[0] // TILE_WIDTH):
        try:
            leaves = _leaves(reader, chain, number, before)
        except (tiles.TileError, ProofError) as error:
            return f"kept entries from {number * TILE_WIDTH} on cannot be proven: {error}"
        for sequence, record in group:
            if leaf_hash(record) != leaves[sequence % TILE_WIDTH] or not _stands_at(record, chain, sequence):
                return f"kept entry {sequence} is not what was sealed"
    return None


def _records(reader: Reader, chain: str) -> Iterator[tuple[int, bytes]]:
    with reader.connection.cursor(name="kept", binary=True) as cursor:
        cursor.execute(_KEPT, (chain,))
        for sequence, record in cursor:
            yield int(sequence), bytes(record)


def _leaves(reader: Reader, chain: str, number: int, before: Frontier) -> list[bytes]:
    """The hashes of a leaf tile, its root proven in the tree whose leaves are the roots of leaf tiles."""
    tile = Tile(0, number)
    leaves = split_tile(tile, reader.tiles(chain, [tile])[tile])
    size = before.size // TILE_WIDTH
    plan = tiles.inclusion(number, size)
    above = {item: Tile(item.level + 1, item.number, item.width) for item in plan.tiles}
    read = reader.tiles(chain, list(above.values()))
    proof = plan.hashes({item: read[real] for item, real in above.items()})
    verify_inclusion(leaf=perfect_root(leaves), index=number, size=size, proof=proof, root=before.root())
    return leaves


def _stands_at(record: bytes, chain: str, sequence: int) -> bool:
    try:
        header = Record.decode(record)
    except RecordError:
        return False
    return (header.chain_id, header.sequence) == (chain, sequence)
