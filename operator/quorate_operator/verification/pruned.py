"""The tiles of entries that were pruned: they stay, so that proofs of those entries stay possible."""

from collections.abc import Callable

from quorate.audit.merkle import HASH_BYTES, TILE_WIDTH
from quorate.audit.tiles import perfect_root
from quorate_operator.verification.database import Reader

Fail = Callable[[str, str], None]
_TILES = """
SELECT number, hashes, root FROM quorate.merkle_tile WHERE chain_id = %s AND level = %s AND number < %s ORDER BY number
"""


def check_pruned(reader: Reader, chain: str, size: int, fail: Fail) -> None:
    """Check the tiles over the first `size` entries, a multiple of 256.

    Each tile must have its root, and each hash above level 0 be the root of the tile below it; what is at the top is in
    the frontier with which the verification began, and a checkpoint proves that.
    """
    level, below = 0, b""
    while count := size >> 8 * (level + 1):
        roots, at = [], 0
        # One more, if it is there: of a tile that goes on behind the prune point the first hashes are checked.
        with reader.connection.cursor(name="pruned", binary=True) as cursor:
            cursor.execute(_TILES, (chain, level, count + 1))
            for number, hashes, root in cursor:
                part = below[number * TILE_WIDTH * HASH_BYTES : (number + 1) * TILE_WIDTH * HASH_BYTES]
                if level and bytes(hashes)[: len(part)] != part:
                    fail("merkle", f"the stored tile {number} of level {level} does not hold the hashes below it")
                    return
                if number >= count:
                    continue
                found = perfect_root([hashes[i : i + HASH_BYTES] for i in range(0, len(hashes), HASH_BYTES)])
                if number != at or bytes(root) != found:
                    fail("merkle", f"the stored tile {at} of level {level} is missing or has another root")
                    return
                roots.append(found)
                at += 1
        if at != count:
            fail("merkle", f"the stored tile {at} of level {level} is missing or has another root")
            return
        level, below = level + 1, b"".join(roots)
