"""The house holds: the status page is true in form, the source root shadows nothing, modules stay small."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| ([A-F]\d+) \| (.+?) \| (.+?) \|(.*)\|$", re.MULTILINE)
ROWS = ROW.findall((ROOT / "docs/status.md").read_text())
COUNTS = {"A": 14, "B": 8, "C": 22, "D": 14, "E": 11, "F": 7}
SOURCES = sorted(path for top in ("domain", "operator", "agent", "sdk") for path in (ROOT / top).rglob("*.py"))


def test_every_row_has_a_line() -> None:
    """Each row of the feature table stands once on the status page."""
    names = [row[0] for row in ROWS]
    assert names == [f"{letter}{number}" for letter, count in COUNTS.items() for number in range(1, count + 1)]


@pytest.mark.parametrize(("row", "state", "proof"), [(row[0], row[2], row[3].strip()) for row in ROWS])
def test_a_state_has_its_proof(row: str, state: str, proof: str) -> None:
    """Whatever works, wholly or partly, names tests that exist; what does not exist yet names none."""
    assert re.fullmatch(r"works|not yet|partly: \S.*", state), f"{row}: {state!r}"
    named = re.findall(r"`([^`]+)`", proof)
    assert bool(named) is (state != "not yet"), f"{row} is {state!r} and names {named}"
    for name in named:
        path, _, test = name.partition("::")
        assert (ROOT / path).is_file(), f"{row} names {path}, which does not exist"
        if test:
            assert re.search(rf"^ *(async )?def {re.escape(test)}\b", (ROOT / path).read_text(), re.MULTILINE), name


def test_what_works_has_a_slice() -> None:
    """A row that works is proven end to end, on a real API server or database, beside whatever else proves it."""
    bare = [row[0] for row in ROWS if row[2] == "works" and "`tests/slice/" not in row[3]]
    assert bare == []


def test_operator_folder_is_no_package() -> None:
    """An `__init__.py` in operator/ would shadow the standard library's `operator`."""
    assert not (ROOT / "operator/__init__.py").exists()
    subprocess.run([sys.executable, "-c", "import collections"], cwd=ROOT, check=True)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_stay_small(path: Path) -> None:
    """No module is over 400 lines."""
    assert len(path.read_text().splitlines()) <= 400


def test_no_registry_addresses_in_pins() -> None:
    """Requirements are pinned by hash and name no index."""
    for path in (ROOT / "requirements").glob("*.txt"):
        text = path.read_text()
        assert "--hash=sha256:" in text
        assert "://" not in text
        assert not re.search(r"^(-i|--index|--extra-index|--find-links)", text, re.MULTILINE)
