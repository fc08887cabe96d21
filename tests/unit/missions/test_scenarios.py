"""Every scenario file, through the command's own code."""

from pathlib import Path

import pytest

from quorate_cli.mission.report import as_text
from quorate_cli.mission.run import run_file

ROOT = Path(__file__).resolve().parents[3]
FILES = sorted((ROOT / "tests/missions").glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_scenario(file: Path) -> None:
    """The decisions are those that the file expects, no more and no less."""
    for result in run_file(str(file)):
        assert result.passed, as_text(result, verbose=True)


def test_every_example_has_a_scenario() -> None:
    """Each MissionPolicy among the examples is played by a file here."""
    text = "".join(file.read_text() for file in FILES)
    for example in (ROOT / "examples/missions").glob("*.yaml"):
        assert f"examples/missions/{example.name}" in text
