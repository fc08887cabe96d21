"""A log of small records, held as lists: what tiles and proofs are compared with."""

from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any

from quorate.audit.checkpoint import Checkpoint
from quorate.audit.entry import content_hash
from quorate.audit.merkle import TILE_WIDTH, root_of
from quorate.audit.record import GENESIS_HASH, Record, chain_hash, leaf_hash
from quorate.audit.tiles import Tile
from quorate.identity.vkey import SignerKey

CHAIN = "mesh.example/fleet"
SIGNER = SignerKey(CHAIN, bytes([7]) * 32)


def sealed(contents: Sequence[bytes], chain: str = CHAIN) -> list[bytes]:
    """The records of a chain with these contents."""
    records, previous = [], GENESIS_HASH
    for number, content in enumerate(contents):
        records.append(Record(chain, 0, number, 10 + number, previous, content_hash(content), content).encode())
        previous = chain_hash(previous, leaf_hash(records[-1]))
    return records


class Tree:
    """A tree over records, with the parts of the port `Log` that read it."""

    def __init__(self, records: Sequence[bytes], chain: str = CHAIN) -> None:
        self.chain = chain
        self.records = list(records)
        self.leaves = [leaf_hash(record) for record in records]
        self._levels = [self.leaves]
        while len(self._levels[-1]) >= TILE_WIDTH:
            below = self._levels[-1]
            self._levels.append(
                [root_of(below[n : n + TILE_WIDTH]) for n in range(0, len(below) - TILE_WIDTH + 1, TILE_WIDTH)]
            )

    def tile(self, tile: Tile) -> bytes:
        """The bytes of a tile."""
        first = tile.number * TILE_WIDTH
        return b"".join(self._levels[tile.level][first : first + tile.width])

    def every_tile(self) -> dict[Tile, bytes]:
        """All tiles, by the definition."""
        return {
            tile: self.tile(tile)
            for level, hashes in enumerate(self._levels)
            for n in range(-(-len(hashes) // TILE_WIDTH))
            for tile in [Tile(level, n, min(TILE_WIDTH, len(hashes) - n * TILE_WIDTH))]
        }

    def root(self, size: int | None = None) -> bytes:
        """The root of the first `size` leaves."""
        return root_of(self.leaves[:size])

    def note(self, size: int | None = None, signer: SignerKey = SIGNER) -> str:
        """A signed checkpoint."""
        size = len(self.leaves) if size is None else size
        return Checkpoint(self.chain, size, self.root(size)).sign(signer)

    async def tiles(self, chain: str, wanted: Sequence[Tile]) -> dict[Tile, bytes]:
        """Port `Log`."""
        assert chain == self.chain
        return {tile: self.tile(tile) for tile in wanted}

    async def entries(self, chain: str, start: int = 0, end: int | None = None) -> AsyncIterator[Any]:
        """Port `Log`."""
        assert chain == self.chain
        for sequence in range(start, min(len(self.records), len(self.records) if end is None else end)):
            yield SimpleNamespace(sequence=sequence, record=self.records[sequence])
