"""Ed25519 verification against Wycheproof and C2SP/CCTV, under the rule of docs/adr/0002-strict-ed25519.md."""

from pathlib import Path

import pytest

from quorate.identity.ed25519 import verify
from tests.conformance.vectors import folder, load

ROOT = folder("ed25519")
WYCHEPROOF = [
    pytest.param(group["publicKey"]["pk"], case, id=str(case["tcId"]))
    for group in load(ROOT / "wycheproof/ed25519_test.json")["testGroups"]
    for case in group["tests"]
]
CCTV = load(ROOT / "cctv/ed25519vectors.json")
REFUSED = {"non_canonical_R", "low_order_residue", "low_order_A", "non_canonical_A"}


@pytest.mark.parametrize(("key", "case"), WYCHEPROOF)
def test_wycheproof(key: str, case: dict[str, str]) -> None:
    """A signature verifies exactly when the vector says valid."""
    good = verify(bytes.fromhex(key), bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"]))
    assert good is (case["result"] == "valid")


def test_cctv() -> None:
    """Of the edge cases exactly those without a refused flag are accepted."""
    wrong = []
    for case in CCTV:
        good = verify(bytes.fromhex(case["key"]), case["msg"].encode(), bytes.fromhex(case["sig"]))
        if good is not REFUSED.isdisjoint(case["flags"] or ()):
            wrong.append(case["number"])
    assert wrong == []


def test_all_vectors_are_there() -> None:
    """151 cases of Wycheproof; 914 of CCTV, of which the rule accepts 86."""
    accepted = sum(REFUSED.isdisjoint(case["flags"] or ()) for case in CCTV)
    assert (len(WYCHEPROOF), len(CCTV), accepted) == (151, 914, 86)


def test_nothing_else_verifies() -> None:
    """What these vectors are run against is the only code that verifies a signature or reads a foreign public key."""
    root = Path(__file__).resolve().parents[2]
    sources = [path for top in ("domain", "operator") for path in (root / top).rglob("*.py")]
    found = {path.relative_to(root).as_posix() for path in sources if "Ed25519PublicKey" in path.read_text()}
    assert found == {"domain/quorate/identity/ed25519.py"}
