"""Inclusion and consistency proofs against the vectors of transparency-dev/merkle."""

import base64
from pathlib import Path

import pytest

from quorate.audit.merkle import ProofError, verify_consistency, verify_inclusion
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
