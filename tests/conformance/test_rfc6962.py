"""Inclusion and consistency proofs against the vectors of transparency-dev/merkle."""

import base64
from pathlib import Path

import pytest

from quorate.audit import tiles
from quorate.audit.merkle import (
    EMPTY_ROOT,
    Frontier,
    ProofError,
    node_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from quorate.audit.record import leaf_hash
from tests.conformance.vectors import folder, load

CASES = sorted(folder("rfc6962").rglob("*.json"))


def raw(text: str | None) -> bytes:
    return base64.b64decode(text or "")


@pytest.mark.parametrize("path", CASES, ids=lambda path: "-".join(path.parts[-3:]))
def test_proof_vector(path: Path) -> None:
    """A proof verifies exactly when its vector says so."""
    case = load(path)
    proof = [raw(item) for item in case["proof"] or []]
    try:
        if "leafHash" in case:
            verify_inclusion(
                leaf=raw(case["leafHash"]),
                index=case["leafIdx"],
                size=case["treeSize"],
                proof=proof,
                root=raw(case["root"]),
            )
        else:
            verify_consistency(
                old_size=case["size1"],
                old_root=raw(case["root1"]),
                size=case["size2"],
                root=raw(case["root2"]),
                proof=proof,
            )
        refused = False
    except ProofError:
        refused = True
    assert refused is case["wantErr"]


def test_all_vectors_are_there() -> None:
    """The published part has 40 inclusion and 40 consistency cases."""
    kinds = [path.relative_to(folder("rfc6962")).parts[0] for path in CASES]
    assert (kinds.count("inclusion"), kinds.count("consistency")) == (40, 40)


# Values of transparency-dev/merkle, rfc6962/rfc6962_test.go and the reference tree of certificate-transparency
# (Apache-2.0): hashes of nothing, of a leaf, of a node, and the roots over the first 1 to 8 leaves.
REFERENCE = [
    ("", "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
    ("00", "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
    ("10", "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
    ("2021", "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"),
    ("3031", "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"),
    ("40414243", "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"),
    ("5051525354555657", "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"),
    ("606162636465666768696a6b6c6d6e6f", "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
]


def test_hashes_of_the_reference() -> None:
    """Nothing, a leaf and a node hash to the published values."""
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert leaf_hash(b"L123456").hex() == "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56"
    assert node_hash(b"N123", b"N456").hex() == "aa217fe888e47007fa15edab33c2b492a722cb106c64667fc2b044444de66bbb"


def test_roots_of_the_reference_tree() -> None:
    """Leaf by leaf, from all leaves and from tiles, the root is the published one."""
    frontier, leaves = Frontier(), []
    for text, root in REFERENCE:
        leaves.append(leaf_hash(bytes.fromhex(text)))
        frontier.append(leaves[-1])
        plan = tiles.root(len(leaves))
        from_tiles = plan.hashes({tiles.Tile(0, 0, len(leaves)): b"".join(leaves)})
        assert {frontier.root().hex(), root_of(leaves).hex(), from_tiles[0].hex()} == {root}


@pytest.mark.parametrize("size", [1, 2, 7, 8])
def test_our_proofs_verify_by_their_rules(size: int) -> None:
    """Every inclusion and consistency proof of the reference tree, made from tiles, verifies against its root."""
    leaves = [leaf_hash(bytes.fromhex(text)) for text, _ in REFERENCE[:size]]
    held = {tiles.Tile(0, 0, size): b"".join(leaves)}
    root = bytes.fromhex(REFERENCE[size - 1][1])
    for index, leaf in enumerate(leaves):
        path = tiles.inclusion(index, size).hashes(held)
        verify_inclusion(leaf=leaf, index=index, size=size, proof=path, root=root)
        old = bytes.fromhex(REFERENCE[index][1])
        proof = tiles.consistency(index + 1, size).hashes(held)
        verify_consistency(old_size=index + 1, old_root=old, size=size, root=root, proof=proof)
