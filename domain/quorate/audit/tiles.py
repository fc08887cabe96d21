"""C2SP tlog-tiles: names, which tiles a proof needs, and proofs from them (c2sp.org/tlog-tiles).

The tile of level L and number N holds nodes 256·N … 256·N+255 of the tree's level 8·L: leaf hashes at L = 0, roots of
full tiles of the level below above it. A full tile is the same in every larger tree; the rightmost ones are partial.

A proof is planned without I/O: `inclusion`, `consistency`, `root` and `frontier` give a `Plan`, whose `tiles` are then
read from wherever they are (database, directory, object store), and `Plan.hashes` computes from their bytes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote

from quorate.audit.merkle import HASH_BYTES, TILE_WIDTH, ProofError, node_hash
from quorate.audit.record import MAX_RECORD_BYTES

TILE_BITS = 8
CHECKPOINT = "checkpoint"
MAX_TILE_BYTES = TILE_WIDTH * HASH_BYTES
MAX_BUNDLE_BYTES = TILE_WIDTH * (2 + MAX_RECORD_BYTES)
_RESERVED = frozenset({CHECKPOINT, "tile", "manifest.json", "content", ".", ".."})


class TileError(ValueError):
    """Bytes that are not the tile or bundle which they should be, or a name that cannot be."""


@dataclass(frozen=True, slots=True)
class Tile:
    """Name of a tile: `width` (1 … 256) hashes; partial if fewer than 256."""

    level: int
    number: int
    width: int = TILE_WIDTH

    @property
    def path(self) -> str:
        """`tile/<L>/<N>[.p/<W>]`."""
        return f"tile/{self.level}/{number_path(self.number, self.width)}"

    @property
    def full(self) -> "Tile":
        """The full tile in the same place."""
        return Tile(self.level, self.number)


@dataclass(frozen=True, slots=True)
class Bundle:
    """Name of an entry bundle: the records of the `width` leaves in level-0 tile `number`."""

    number: int
    width: int = TILE_WIDTH

    @property
    def path(self) -> str:
        """`tile/entries/<N>[.p/<W>]`."""
        return f"tile/entries/{number_path(self.number, self.width)}"

    @property
    def full(self) -> "Bundle":
        """The full bundle in the same place."""
        return Bundle(self.number)


def number_path(number: int, width: int = TILE_WIDTH) -> str:
    """`x001/x234/067` for 1 234 067, with `.p/<W>` behind it if the width is below 256."""
    if number < 0 or not 1 <= width <= TILE_WIDTH:
        raise TileError(f"there is no tile {number} of width {width}")
    text = f"{number % 1000:03}"
    while number := number // 1000:
        text = f"x{number % 1000:03}/{text}"
    return text if width == TILE_WIDTH else f"{text}.p/{width}"


def chain_path(chain: str) -> str:
    """Path of a chain's directory below the root of a publication: each `/`-segment percent-encoded.

    A segment that would be a name of the layout itself has its first character encoded, so that no chain's directory
    can be another one's file.

    Raises:
        TileError: a segment is empty.
    """
    return "/".join(_encoded(segment) for segment in chain.split("/"))


def _encoded(segment: str) -> str:
    if not segment:
        raise TileError("a chain id with an empty segment has no path")
    text = quote(segment, safe="")
    return f"%{ord(text[0]):02X}{text[1:]}" if text in _RESERVED else text


def chain_of(path: str) -> str:
    """The chain of a directory's path; TileError unless `chain_path` wrote it."""
    try:
        chain = "/".join(unquote(segment, errors="strict") for segment in path.split("/"))
    except UnicodeDecodeError as error:
        raise TileError(f"{path!r} is not the path of a chain") from error
    if chain_path(chain) != path:
        raise TileError(f"{path!r} is not the path of a chain")
    return chain


def tile_at(level: int, number: int, size: int) -> Tile:
    """The tile of a tree of `size` leaves; TileError if that tree has none there."""
    width = min(TILE_WIDTH, (size >> TILE_BITS * level) - number * TILE_WIDTH)
    if width < 1 or number < 0:
        raise TileError(f"a tree of {size} leaves has no tile {number} at level {level}")
    return Tile(level, number, width)


def bundle_at(number: int, size: int) -> Bundle:
    """The bundle of a tree of `size` leaves; TileError if that tree has none there."""
    return Bundle(number, tile_at(0, number, size).width)


def partial_tiles(size: int) -> list[Tile]:
    """The partial tiles of a tree: at most one for each level, lowest first."""
    found, level = [], 0
    while count := size >> TILE_BITS * level:
        if count % TILE_WIDTH:
            found.append(Tile(level, count // TILE_WIDTH, count % TILE_WIDTH))
        level += 1
    return found


def covering(first: int, end: int, size: int) -> Iterator[Tile]:
    """The tiles that prove the leaves first ≤ n < end in the tree of `size`: highest level first, then by number.

    They are the tiles above those leaves and the partial tiles at the right edge; whoever has them for
    (old size, size, size) besides those of the old tree has every tile of the new one.
    """
    if not 0 <= first < end <= size:
        raise TileError(f"leaves {first} to {end} are not in a tree of {size}")
    edge = {tile.level: tile for tile in partial_tiles(size)}
    for level in range((size.bit_length() - 1) // TILE_BITS, -1, -1):
        step, count = TILE_BITS * (level + 1), size >> TILE_BITS * level
        last = min(end - 1 >> step, (count - 1) // TILE_WIDTH)
        for number in range(first >> step, last + 1):
            yield tile_at(level, number, size)
        if level in edge and edge[level].number > last:
            yield edge[level]


def split_tile(tile: Tile, data: bytes) -> list[bytes]:
    """The hashes of a tile; TileError when the bytes do not have its width."""
    if len(data) != tile.width * HASH_BYTES:
        raise TileError(f"{tile.path} has {len(data)} bytes, not {tile.width * HASH_BYTES}")
    return [data[start : start + HASH_BYTES] for start in range(0, len(data), HASH_BYTES)]


def encode_bundle(records: Sequence[bytes]) -> bytes:
    """Records one after another, each behind its length as a big-endian u16."""
    return b"".join(len(record).to_bytes(2, "big") + record for record in records)


def decode_bundle(bundle: Bundle, data: bytes) -> list[bytes]:
    """The records of a bundle; TileError unless the bytes are exactly as many as its width."""
    records, at = [], 0
    while at < len(data):
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        records.append(data[at + 2 : end])
        if end > len(data) or len(records) > bundle.width:
            raise TileError(f"{bundle.path} does not hold {bundle.width} whole records")
        at = end
    if len(records) != bundle.width:
        raise TileError(f"{bundle.path} holds {len(records)} records, not {bundle.width}")
    return records


Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Plan:
    """Hashes over ranges of the leaves of a tree of `size`; each is what RFC 6962 calls MTH(D[start:end])."""

    size: int
    ranges: tuple[Range, ...]

    @property
    def tiles(self) -> tuple[Tile, ...]:
        """The tiles to read, each once."""
        nodes = (node for start, end in self.ranges for node in _perfect(start, end))
        return tuple(dict.fromkeys(self._place(*node)[0] for node in nodes))

    def with_root(self) -> "Plan":
        """The same, with the tree's root as its last hash."""
        return Plan(self.size, (*self.ranges, (0, self.size)))

    def hashes(self, tiles: Mapping[Tile, bytes]) -> list[bytes]:
        """The hash of each range, from the bytes of the tiles.

        Raises:
            TileError: a tile is missing or has another width.
        """
        held: dict[Tile, list[bytes]] = {}
        for tile in self.tiles:
            if tile not in tiles:
                raise TileError(f"{tile.path} is missing")
            held[tile] = split_tile(tile, tiles[tile])
        return [self._range(held, start, end) for start, end in self.ranges]

    def _range(self, held: Mapping[Tile, list[bytes]], start: int, end: int) -> bytes:
        *lefts, current = [self._node(held, *node) for node in _perfect(start, end)]
        for left in reversed(lefts):
            current = node_hash(left, current)
        return current

    def _node(self, held: Mapping[Tile, list[bytes]], height: int, index: int) -> bytes:
        tile, offset, count = self._place(height, index)
        return perfect_root(held[tile][offset : offset + count])

    def _place(self, height: int, index: int) -> tuple[Tile, int, int]:
        """Where the root of a perfect subtree comes from: `count` hashes of a tile from `offset`."""
        level, rest = divmod(height, TILE_BITS)
        first = index << rest
        return tile_at(level, first // TILE_WIDTH, self.size), first % TILE_WIDTH, 1 << rest


def perfect_root(hashes: Sequence[bytes]) -> bytes:
    """The root over as many hashes as a power of two."""
    level = list(hashes)
    while len(level) > 1:
        level = [node_hash(level[at], level[at + 1]) for at in range(0, len(level), 2)]
    return level[0]


def _perfect(start: int, end: int) -> Iterator[tuple[int, int]]:
    """The perfect subtrees that make up a range, largest first, as (height, index at that height)."""
    while start < end:
        height = (end - start).bit_length() - 1
        yield height, start >> height
        start += 1 << height


def _middle(start: int, end: int) -> int:
    """Where RFC 6962 splits a range: at the largest power of two smaller than its length."""
    return start + (1 << (end - start - 1).bit_length() - 1)


def inclusion(index: int, size: int) -> Plan:
    """Plan of the audit path of leaf `index`, from the leaf upwards; ProofError if the tree has no such leaf."""
    if not 0 <= index < size:
        raise ProofError(f"leaf {index} is not in a tree of {size}")
    path: list[Range] = []
    start, end = 0, size
    while end - start > 1:
        middle = _middle(start, end)
        path.append((middle, end) if index < middle else (start, middle))
        start, end = (start, middle) if index < middle else (middle, end)
    return Plan(size, tuple(reversed(path)))


def consistency(old: int, size: int) -> Plan:
    """Plan of the proof that the tree of `old` leaves is a prefix; ProofError unless 0 < old ≤ size."""
    if not 0 < old <= size:
        raise ProofError(f"no consistency proof from size {old} to {size}")
    path: list[Range] = []
    start, end = 0, size
    while end != old:
        middle = _middle(start, end)
        path.append((middle, end) if old <= middle else (start, middle))
        start, end = (start, middle) if old <= middle else (middle, end)
    if start > 0:  # the old tree is not itself a node of the new one, so its last subtree is part of the proof
        path.append((start, end))
    return Plan(size, tuple(reversed(path)))


def root(size: int) -> Plan:
    """Plan of the root of the first `size` leaves; its `hashes` has one member. ProofError for an empty tree."""
    if size < 1:
        raise ProofError("the root of an empty tree needs no tiles")
    return Plan(size, ((0, size),))


def frontier(size: int) -> Plan:
    """Plan of the hashes of `merkle.Frontier(size, …)`: the perfect subtrees, largest first."""
    ranges = tuple((index << height, (index + 1) << height) for height, index in _perfect(0, size))
    return Plan(size, ranges)
