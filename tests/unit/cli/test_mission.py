"""`quorate mission test`: the documented example, the diff, JSON, exit codes, refusals of test files."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from quorate_cli.main import run

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = re.search(r"<<'EOF'\n(.*?)EOF\n", (ROOT / "docs/mission-test.md").read_text(), re.DOTALL)


def example() -> str:
    assert EXAMPLE is not None
    return EXAMPLE[1]


def written(folder: Path, text: str) -> str:
    file = folder / "test.yaml"
    file.write_text(text)
    return str(file)


def test_the_documented_example_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the page tells people to type passes, in one line."""
    assert run(["mission", "test", written(tmp_path, example())]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 1
    assert shown[0].startswith("PASS ")


def test_a_difference_is_shown_line_by_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An expectation that is not met stands beside what happened, and the command exits with 1."""
    text = example().replace("at: 30s, step: Started, action: Evict", "at: 31s, step: Started, action: Evict")
    assert run(["mission", "test", written(tmp_path, text)]) == 1
    shown = capsys.readouterr().out
    assert shown.startswith("FAIL ")
    assert "\n  - 31s Started Evict\n" in shown
    assert "\n  + 30s Started Evict team/train memory " in shown
    assert "1 expected and missing (-), 1 not expected (+)" in shown


def test_json_has_every_decision(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Machines get each decision with policy, rule, evidence, statistic and reaction time."""
    assert run(["mission", "test", written(tmp_path, example()), "-o", "json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)
    assert result["passed"] is True
    first = result["decisions"][0]
    assert first["policy"] == "memory"
    assert first["statistic"] == "last sum of the pod"
    assert first["evidence"] == {"used": 21 * 2**30, "limit": 20 * 2**30}
    assert first["reaction"] == "0s"


def test_json_has_the_time_that_reclaim_freed(capsys: pytest.CaptureFixture[str]) -> None:
    """Two devices free from the departure at 111 s to the end at 200 s are 178 device seconds."""
    assert run(["mission", "test", str(ROOT / "tests/missions/idle-reclaim.yaml"), "-o", "json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)
    assert result["freedDeviceSeconds"] == {"reclaim": 178}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("name: over", "nmae: over"), "the test 'nmae': is not one of"),
        (("limit: 20Gi", "limit: lots"), "policy memory: spec.memory.limit"),
        (("from: 0s", "from: soon"), "timeline[0].from 'soon': must be a duration"),
        (("GPU-0: {team/train: 10Gi}", "GPU-0: {team/other: 10Gi}"), "'team/other': is none of the pods team/train"),
        (("memory: {GPU-0: {team/train: 10Gi}}", "memroy: {}"), "timeline[0] 'memroy': is not one of"),
        (("every: 500ms", "every: 0s"), "every must be more than 0"),
        (("takes: [FreeMemory]", "takes: [Everything]"), "pods[0].takes 'Everything': is not one of Warn"),
        (("Refused, Evict", "Maybe, Evict"), "responses.FreeMemory 'Maybe': is not one of Done"),
        (("within: 250ms", "wihtin: 250ms"), "expect 'wihtin': is not one of"),
    ],
)
def test_a_bad_file_is_refused(
    change: tuple[str, str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that cannot be played exits with 2 and a sentence that names field, value and rule."""
    assert run(["mission", "test", written(tmp_path, example().replace(*change, 1))]) == 2
    assert words in capsys.readouterr().err


def test_neither_kopf_nor_kubernetes_is_imported() -> None:
    """The agent's decisions and the command that tests them run where neither is installed."""
    modules = "quorate_cli.mission, quorate.missions.engine"
    code = f"import sys, {modules}; sys.exit(bool({{'kopf', 'kubernetes'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
