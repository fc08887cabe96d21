"""Proofs from tiles, the same for every store."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from quorate.audit.checkpoint import Checkpoint
from quorate.audit.tiles import Plan, Tile, TileError, consistency, inclusion
from quorate_operator.errors import Stalled


class TileProofs(ABC):
    """The proofs of the port `Log`; whoever has them says how tiles are read. A proof reads each tile once, together.

    What is proved hangs on the stored tiles: a caller compares the root with a signed one.
    """

    @abstractmethod
    async def tiles(self, chain: str, wanted: Sequence[Tile]) -> dict[Tile, bytes]:
        """Port `Log`."""

    async def inclusion_proof(self, chain: str, sequence: int, size: int) -> tuple[Checkpoint, list[bytes]]:
        """Port `Log`."""
        if size < 1:
            raise Stalled("ChainUnknown", f"a tree of {size} entries has no proofs")
        *path, root = await self._hashes(chain, inclusion(sequence, size).with_root())
        return Checkpoint(chain, size, root), path

    async def consistency_proof(self, chain: str, old: int, size: int) -> list[bytes]:
        """Port `Log`."""
        return await self._hashes(chain, consistency(old, size))

    async def _hashes(self, chain: str, plan: Plan) -> list[bytes]:
        try:
            return plan.hashes(await self.tiles(chain, plan.tiles))
        except TileError as error:
            raise Stalled("ChainUnknown", f"chain {chain} has no {plan.size} entries: {error}") from error
