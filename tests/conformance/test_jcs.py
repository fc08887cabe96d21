"""The JCS vectors of cyberphone/json-canonicalization: equal bytes, or refused where they hold floats."""

import json

import pytest

from quorate.canonical import NotCanonicalError, canonical_bytes, parse_json
from tests.conformance.vectors import folder

INPUTS = sorted(folder("jcs").glob("input/*.json"))
FLOATS = {"structures", "values"}


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.stem)
def test_vector(path) -> None:
    """Without floats the canonical bytes are the vector's; with floats the text is refused, never rounded."""
    expected = (path.parents[1] / "output" / path.name).read_bytes()
    assert bytes.fromhex((path.parents[1] / "outhex" / f"{path.stem}.txt").read_text()) == expected
    if path.stem in FLOATS:
        for refuse in (lambda: parse_json(path.read_bytes()), lambda: canonical_bytes(json.loads(path.read_bytes()))):
            with pytest.raises(NotCanonicalError, match="floating-point"):
                refuse()
    else:
        assert canonical_bytes(parse_json(path.read_bytes())) == expected


def test_all_vectors_are_there() -> None:
    """The set has six names."""
    assert len(INPUTS) == 6
    assert {path.stem for path in INPUTS} > FLOATS
