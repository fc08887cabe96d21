"""A tree that grows by whole subtrees, and the tiles that become full as it does."""

from collections.abc import Sequence
from dataclasses import dataclass

from quorate.audit.merkle import Frontier, node_hash
from quorate.audit.tiles import TILE_BITS


@dataclass(frozen=True, slots=True)
class FullTile:
    """A tile that is full now. `hashes` are its last ones, all of 256 unless the tree was taken up inside the tile."""

    level: int
    number: int
    hashes: tuple[bytes, ...]
    root: bytes


class Growth:
    """Grows from `frontier` on; remembers, for each level, the hashes of the rightmost tile that came since."""

    def __init__(self, frontier: Frontier) -> None:
        self.frontier = frontier
        self._tails: dict[int, list[bytes]] = {}

    def add(self, height: int, subtree: bytes) -> list[FullTile]:
        """Add a perfect subtree of 2^height leaves, at whose width the tree must end; the tiles that this fills.

        Raises:
            ValueError: the tree's size is no multiple of the subtree's.
        """
        frontier = self.frontier
        if frontier.size & ((1 << height) - 1):
            raise ValueError(f"a tree of {frontier.size} leaves does not end at a multiple of {1 << height}")
        full: list[FullTile] = []
        index = frontier.size >> height
        self._note(height, index, subtree, full)
        while index & 1:
            subtree = node_hash(frontier.hashes.pop(), subtree)
            index >>= 1
            height += 1
            self._note(height, index, subtree, full)
        frontier.hashes.append(subtree)
        frontier.size = (index + 1) << height
        return full

    def _note(self, height: int, index: int, subtree: bytes, full: list[FullTile]) -> None:
        level, rest = divmod(height, TILE_BITS)
        if rest:
            return
        if level:
            hashes = tuple(self._tails.pop(level - 1, ()))
            full.append(FullTile(level - 1, index, hashes, subtree))
        self._tails.setdefault(level, []).append(subtree)

    def copy(self) -> "Growth":
        """The same state, to grow apart."""
        other = Growth(Frontier(self.frontier.size, self.frontier.hashes))
        other._tails = {level: list(tail) for level, tail in self._tails.items()}
        return other

    def tail(self, level: int) -> Sequence[bytes]:
        """The last hashes of the level's partial tile, all of them unless the tree was taken up inside it."""
        return self._tails.get(level, ())

    def root_with(self, leaves: Sequence[tuple[int, bytes]]) -> bytes:
        """The root if these subtrees were added; the tree stays as it is."""
        view = Growth(Frontier(self.frontier.size, self.frontier.hashes))
        for height, subtree in leaves:
            view.add(height, subtree)
        return view.frontier.root()


def perfect_subtrees(leaves: Sequence[bytes]) -> list[tuple[int, bytes]]:
    """The subtrees, largest first, that leaves from a multiple of 256 on make up: (height, root) each."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    heights = [bit for bit in reversed(range(len(leaves).bit_length())) if len(leaves) >> bit & 1]
    return list(zip(heights, frontier.hashes, strict=True))
