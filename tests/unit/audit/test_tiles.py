"""Tiles: names, plans, proofs from them; against the trees of RFC 6962 made from all leaves."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.audit import merkle, tiles
from quorate.audit.merkle import Frontier, ProofError
from quorate.audit.tiles import Bundle, Tile, TileError
from tests.unit.audit.tree import Tree

SIZES = [1, 2, 3, 5, 255, 256, 257, 511, 512, 513, 700, 1000]
RECORDS = [b"%d" % number for number in range(65_536 + 300)]


@pytest.mark.parametrize(
    ("number", "width", "path"),
    [
        (0, 256, "000"),
        (5, 112, "005.p/112"),
        (1234067, 256, "x001/x234/067"),
        (1000, 1, "x001/000.p/1"),
        (1000000, 256, "x001/x000/000"),
    ],
)
def test_names_are_those_of_the_specification(number: int, width: int, path: str) -> None:
    """Numbers are written in groups of three digits, all but the last behind an x; partial ones have their width."""
    assert Tile(3, number, width).path == f"tile/3/{path}"
    assert Bundle(number, width).path == f"tile/entries/{path}"


def test_a_tree_of_70000_has_the_tiles_that_the_specification_counts() -> None:
    """273 full and one of width 112 at level 0; one full and one of 17 at level 1; one of width 1 at level 2."""
    found = list(tiles.covering(0, 70_000, 70_000))
    widths = {level: [tile.width for tile in found if tile.level == level] for level in range(4)}
    assert widths == {0: [256] * 273 + [112], 1: [256, 17], 2: [1], 3: []}
    assert [tile.width for tile in tiles.covering(0, 256, 256)] == [1, 256]


@pytest.mark.parametrize("size", [*SIZES, len(RECORDS)])
def test_tiles_give_root_frontier_and_proofs_of_the_tree(size: int) -> None:
    """What is computed from tiles is what all the leaves give, for every kind of size."""
    tree = Tree(RECORDS[:size])
    held, root = tree.every_tile(), tree.root()
    assert set(tiles.covering(0, size, size)) == set(held)
    assert tiles.root(size).hashes(held) == [root]
    frontier = Frontier()
    for leaf in tree.leaves:
        frontier.append(leaf)
    assert tiles.frontier(size).hashes(held) == frontier.hashes
    chance = random.Random(size)
    for index in {0, size - 1, size // 2, *(chance.randrange(size) for _ in range(6))}:
        plan = tiles.inclusion(index, size).with_root()
        *path, again = plan.hashes({tile: held[tile] for tile in plan.tiles})
        assert again == root and len(plan.tiles) <= 2 * len(tiles.partial_tiles(size)) + 2
        assert set(plan.tiles) <= set(tiles.covering(index, index + 1, size))
        merkle.verify_inclusion(leaf=tree.leaves[index], index=index, size=size, proof=path, root=root)
        proof = tiles.consistency(index + 1, size).hashes(held)
        old = tree.root(index + 1)
        merkle.verify_consistency(old_size=index + 1, old_root=old, size=size, root=root, proof=proof)
        if size <= 1000:
            assert path == merkle.inclusion_proof(tree.leaves, index)
            assert proof == merkle.consistency_proof(tree.leaves, index + 1)


@pytest.mark.parametrize(("old", "size"), [(1, 2), (255, 256), (256, 257), (257, 513), (700, 66_000), (65_536, 65_700)])
def test_covering_what_came_later_gives_every_tile_that_is_new(old: int, size: int) -> None:
    """The tiles over the new leaves and those of the old tree are all tiles of the new tree."""
    new = list(tiles.covering(old, size, size))
    assert len(new) == len(set(new))
    before = set(tiles.covering(0, old, old))
    assert set(tiles.covering(0, size, size)) <= set(new) | before
    assert [tile.level for tile in new] == sorted((tile.level for tile in new), reverse=True)


@pytest.mark.parametrize(
    "make", [lambda: tiles.inclusion(3, 3), lambda: tiles.consistency(0, 3), lambda: tiles.root(0)]
)
def test_proofs_that_do_not_exist_are_refused(make: object) -> None:
    """A leaf beyond the tree, an old size of 0 and the empty tree have no plan."""
    with pytest.raises(ProofError):
        make()  # type: ignore[operator]


def test_a_tile_that_is_missing_or_too_short_is_named() -> None:
    """Nothing is computed from other bytes than a tile's."""
    plan = tiles.inclusion(0, 3)
    with pytest.raises(TileError, match=r"tile/0/000\.p/3 is missing"):
        plan.hashes({})
    with pytest.raises(TileError, match="95 bytes, not 96"):
        plan.hashes({Tile(0, 0, 3): bytes(95)})


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=5), st.data())
def test_bundles_round_trip_and_damage_is_noticed(records: list[bytes], data: st.DataObject) -> None:
    """A bundle gives back its records; cut short or prolonged it is refused."""
    name, encoded = Bundle(0, len(records)), tiles.encode_bundle(records)
    assert tiles.decode_bundle(name, encoded) == records
    cut = data.draw(st.integers(0, len(encoded) - 1))
    for damaged in (encoded[:cut], encoded + b"\0", encoded + b"\0\0"):
        with pytest.raises(TileError):
            tiles.decode_bundle(name, damaged)


@settings(max_examples=200)
@given(st.binary(max_size=600), st.integers(1, 256))
def test_any_bytes_are_a_bundle_or_refused(data: bytes, width: int) -> None:
    """No bytes crash the reader, and what it accepts it writes back unchanged."""
    try:
        records = tiles.decode_bundle(Bundle(0, width), data)
    except TileError:
        return
    assert len(records) == width and tiles.encode_bundle(records) == data


@given(st.text(min_size=1, max_size=40))
def test_a_chain_has_one_path_that_stays_below_the_root(chain: str) -> None:
    """The path gives the chain back, has no part that means another place, and none that is a name of the layout."""
    try:
        path = tiles.chain_path(chain)
    except (TileError, UnicodeEncodeError):
        assert "" in chain.split("/") or not chain.isprintable()
        return
    parts = path.split("/")
    assert tiles.chain_of(path) == chain and path.isascii()
    assert not {"", ".", "..", "tile", "checkpoint", "manifest.json", "content"} & set(parts)


@pytest.mark.parametrize("path", ["a//b", "/a", "%2e%2e", "%61", "..", "a/../b", "tile", "%ff"])
def test_a_path_that_no_chain_has_is_refused(path: str) -> None:
    """Each chain has exactly one spelling; others are not understood."""
    with pytest.raises(TileError):
        tiles.chain_of(path)


def test_a_large_tree_needs_few_tiles() -> None:
    """An inclusion proof in ten million entries reads at most six tiles."""
    for index in (0, 5_000_000, 9_999_999):
        assert len(tiles.inclusion(index, 10_000_000).with_root().tiles) <= 6
        assert len(tiles.consistency(index + 1, 10_000_000).tiles) <= 6
