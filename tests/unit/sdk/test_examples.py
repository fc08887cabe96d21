"""docs/workload-sdk.md and examples/missions: what people copy, run as it stands."""

import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import quorate_mission
from quorate.api.mission_policy import LadderAction
from quorate.missions.samples import Acknowledged, Answer, Latencies, Metric, Report, Run
from quorate_mission._directives import ACTIONS
from tests.unit.sdk.rig import Agent, until
from tests.unit.sdk.stand_ins import cupy_module, torch_module

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs/workload-sdk.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"<!-- sdk ?(\w*) -->\n```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize(("needs", "code"), BLOCKS, ids=range(len(BLOCKS)))
def test_the_pages_snippets_run(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, needs: str, code: str
) -> None:
    """Each block runs as it stands, and speaks with the agent."""
    monkeypatch.setenv("QUORATE_MISSION_SOCKET", str(agent.path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "cupy", cupy_module())
    monkeypatch.setitem(sys.modules, "torch", torch_module())
    for name in ("cupy", "torch"):
        monkeypatch.delitem(sys.modules, f"quorate_mission.{name}", raising=False)
    model = SimpleNamespace(state_dict=dict, load_state_dict=lambda _: None)
    names: dict[str, Any] = {"batches": [1, 2, 3], "train": float, "save_checkpoint": str, "cache": {}, "compute": str,
                             "model": model}  # fmt: skip
    exec(compile(code, "docs/workload-sdk.md", "exec"), names)
    if "every_second" in names:
        names["every_second"]()
        assert names["answer"](5) == "5"
    mission = names["mission"]
    until(lambda: mission.connected)
    if "batches" in code:
        until(lambda: [found.value for found in agent.of(Report) if found.metric is Metric.ITERATION] == [3])
        assert agent.takes() == {LadderAction.CHECKPOINT, LadderAction.CHECKPOINT_AND_ABORT}
    assert not needs or agent.takes() >= {LadderAction.FREE_MEMORY}
    mission.close(5)


def test_the_page_names_every_action_and_call() -> None:
    """No directive and no method is missing on the page."""
    calls = {name for name in vars(quorate_mission.Mission) if not name.startswith("_")}
    assert {name for name in calls | set(ACTIONS) if name not in PAGE} == set()


def start(agent: Agent, script: str, *arguments: str) -> subprocess.Popen[str]:
    environment = {"QUORATE_MISSION_SOCKET": str(agent.path), "PATH": "/usr/bin:/bin"}
    return subprocess.Popen([sys.executable, "-u", str(ROOT / "examples/missions" / script), *arguments],
                            stdout=subprocess.PIPE, text=True, env=environment)  # fmt: skip


def test_train(agent: Agent, tmp_path: Path) -> None:
    """The example learns, reports, saves and ends when asked, and goes on from its checkpoint."""
    checkpoint = tmp_path / "train.json"
    training = start(agent, "train.py", "100000000", str(checkpoint))
    until(lambda: len(agent.takes()) == 3)
    assert agent.ask("ReduceBatch", "less")
    assert agent.ask("CheckpointAndAbort", "end")
    out, _ = training.communicate(timeout=60)
    assert re.fullmatch(r"ended at step \d+, as asked\n", out)
    until(lambda: len(agent.of(Acknowledged)) == 2)
    assert {found.answer for found in agent.of(Acknowledged)} == {Answer.DONE}
    assert {found.metric for found in agent.of(Report)} >= {Metric.ITERATION, Metric.OBJECTIVE}
    assert checkpoint.exists()
    step = int(out.split()[3].rstrip(","))
    again = start(agent, "train.py", str(step + 300), str(checkpoint))
    out, _ = again.communicate(timeout=60)
    assert out.startswith("slope 3.00, offset 1.00")


def test_serve(agent: Agent) -> None:
    """The example serves, reports each request, frees its cache and ends when asked."""
    serving = start(agent, "serve.py", "0")
    assert serving.stdout is not None
    port = serving.stdout.readline().split()[-1]
    try:
        for _ in range(3):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/hello", timeout=20) as answer:
                assert len(answer.read()) == 65
        until(lambda: sum(sum(found.counts.values()) for found in agent.of(Latencies)) == 3)
        until(lambda: [found for found in agent.of(Report) if found.metric is Metric.UP])
        assert agent.ask("FreeMemory", "free")
        assert agent.ask("CheckpointAndAbort", "end")
        assert serving.wait(60) == 0
        until(lambda: len(agent.of(Acknowledged)) == 2)
    finally:
        serving.send_signal(signal.SIGKILL)
        serving.wait()
        serving.stdout.close()


def test_runs_of_the_example_agree(agent: Agent, tmp_path: Path) -> None:
    """Two whole runs have the same facts and the same result."""
    for number in range(2):
        training = start(agent, "train.py", "20000", str(tmp_path / f"{number}.json"))
        assert training.wait(120) == 0
        assert training.stdout is not None
        training.stdout.close()
    until(lambda: len(agent.of(Run)) == 2)
    assert len({(run.inputs, run.result) for run in agent.of(Run)}) == 1
