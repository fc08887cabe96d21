"""Inclusion proofs from the roots of full tiles and the leaves of two of them.

A tree of n leaves is the RFC 6962 tree over the roots of its blocks of 256 (the last may be partial), because every
split is at a power of two; so a proof is the path inside the block, then the path among the block roots.
"""

from collections.abc import Sequence

from quorate.audit.merkle import TILE_WIDTH, inclusion_proof, root_of


def block_of(index: int) -> int:
    """The block that holds the leaf."""
    return index // TILE_WIDTH


def proof_from_blocks(
    index: int, size: int, roots: Sequence[bytes], own: Sequence[bytes], last: Sequence[bytes]
) -> tuple[bytes, list[bytes]]:
    """Root of the tree of `size` leaves, and the audit path of leaf `index` from the leaf upwards.

    `roots` are the roots of the full blocks below `size`; `own` the leaves (below `size`) of the index's block;
    `last` those of the partial block at the end, if there is one.
    """
    blocks = [*roots, *([root_of(last)] if last else [])]
    upper = inclusion_proof(blocks, block_of(index))
    return root_of(blocks), [*inclusion_proof(own, index % TILE_WIDTH), *upper]
