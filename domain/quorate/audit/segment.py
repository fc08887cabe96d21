"""What a scan knows of consecutive entries that it found fine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Subtree = tuple[int, bytes]
"""Height and root of a perfect subtree."""


@dataclass(frozen=True)
class Segment:
    """Entries start ≤ n < end of one chain and one epoch.

    Each is well formed and follows its predecessor; that the first one follows what is before, by `previous` (the chain
    hash that it names) and `first_sealed`, is for whoever joins the segment. `nodes` are the subtrees of the leaves in
    order: leaves up to a multiple of 256, roots of full tiles, leaves again. `views` are, for sizes inside a full tile,
    the subtrees of its leaves up to there. `tiles_checked` says that the stored tiles of level 0 are as they should be.
    """

    start: int
    end: int
    epoch: int
    previous: bytes
    chain: bytes
    first_sealed: int
    last_sealed: int
    nodes: Sequence[Subtree]
    views: Mapping[int, Sequence[Subtree]] = field(default_factory=dict)
    tiles_checked: bool = False
