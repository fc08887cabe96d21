"""Faults: what can fail, when it heals, and what the commands refuse (docs/faults.md)."""

import json
import os
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from quorate_cli.main import run
from quorate_cli.sandbox import components, fault_commands
from quorate_cli.sandbox.errors import SandboxError
from quorate_cli.sandbox.faults import FaultError, Faults, Kind, remaining
from quorate_cli.sandbox.layout import PORTS, Layout
from quorate_cli.sandbox.nodes import plan
from quorate_cli.sandbox.nodes.node import RealNodes


@dataclass
class Part:
    """A component without a process of its own: the test's pid stands for it."""

    wanted: bool = True
    started: str = "1"
    pid: int = field(default_factory=os.getpid)
    groups: list[str] = field(default_factory=list)


class Sandbox:
    """Components and what was done to them."""

    def __init__(self, state: Path) -> None:
        group = state / "freezer"
        group.mkdir()
        self.frozen = group / "freezer.state"
        self.frozen.write_text("THAWED")
        names = ("apiserver", "node-real-1", "node-real-2")
        self.parts = {name: Part(groups=[str(group), str(state / "none")]) for name in names}
        self.faults = Faults(state, state / "no-fabric", self.parts, stop=self._stop, start=self._start)

    def _stop(self, name: str) -> None:
        self.parts[name].wanted, self.parts[name].pid = False, 0

    def _start(self, name: str) -> None:
        self.parts[name].wanted, self.parts[name].pid = True, os.getpid()

    def on(self) -> list[tuple[str, str]]:
        return [(each["kind"], each["gpu"] or each["name"]) for each in self.faults.shown()]


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    """An API server and two real nodes that run; one simulated GPU."""
    gpus = [{"node": "real-1", "index": 0, "id": "GPU-1111", "healthy": True}]
    (tmp_path / "gpus.json").write_text(json.dumps(gpus))
    return Sandbox(tmp_path)


def pass_time(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let both clocks go forward."""
    wall, steady = time.time() + seconds, time.monotonic() + seconds
    monkeypatch.setattr(time, "time", lambda: wall)
    monkeypatch.setattr(time, "monotonic", lambda: steady)


@pytest.mark.parametrize(
    ("kind", "name", "gpu", "seconds", "says"),
    [
        ("node-stop", "real-3", "", 30, r"^NODE 'real-3': must be a real node of this sandbox \(real-1, real-2\)$"),
        ("partition", "", "", 30, "^NODE '': must be a real node"),
        ("node-pause", "real-1", "", 0, "^--for 0s: must be from 1s to 1h$"),
        ("node-pause", "real-1", "", 3601, "^--for 3601s: must be from 1s to 1h$"),
        ("api-stop", "real-1", "", 30, "^NAME 'real-1': api-stop takes none"),
        ("gpu-lost", "real-1", "GPU-2", 30, r"^GPU 'GPU-2': must be the beginning of one GPU of real-1 \(GPU-1111\)$"),
        ("gpu-lost", "real-2", "GPU-1", 30, r"^GPU 'GPU-1': must be the beginning of one GPU of real-2 \(none\)$"),
        ("partition", "real-1", "", 30, "^partition real-1: "),
        ("kubelet-kill", "real-1", "", 30, "^kubelet-kill real-1: the node "),
    ],
)
def test_what_cannot_fail_is_refused(
    sandbox: Sandbox, kind: str, name: str, gpu: str, seconds: float, says: str
) -> None:
    """One sentence names field, value and rule, and nothing is on."""
    with pytest.raises(FaultError, match=says):
        sandbox.faults.begin(kind, name, gpu, seconds)
    assert sandbox.on() == []


def test_a_fault_heals_when_its_time_is_over(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frozen node moves again after its time, and not before; the seconds that are left are shown."""
    sandbox.faults.begin("node-pause", "real-1", "", 30)
    assert (sandbox.frozen.read_text(), sandbox.on()) == ("FROZEN", [("node-pause", "real-1")])
    pass_time(monkeypatch, 29)
    assert not sandbox.faults.tend()
    assert remaining(sandbox.faults.shown()[0], time.time()) == 1
    pass_time(monkeypatch, 2)
    assert sandbox.faults.tend()
    assert (sandbox.frozen.read_text(), sandbox.on(), sandbox.faults.next_due()) == ("THAWED", [], None)


def test_heal_ends_one_or_all(sandbox: Sandbox, tmp_path: Path) -> None:
    """`heal` of a name ends that fault alone, without a name all; of a name that has none it is refused."""
    sandbox.faults.begin("node-stop", "real-1", "", 30)
    sandbox.faults.begin("api-stop", "", "", 30)
    sandbox.faults.begin("gpu-lost", "real-1", "GPU-1", 30)
    assert not json.loads((tmp_path / "gpus.json").read_text())[0]["healthy"]
    sandbox.faults.heal("apiserver")
    assert sandbox.on() == [("node-stop", "real-1"), ("gpu-lost", "GPU-1111")]
    with pytest.raises(FaultError, match=r"^NAME 'real-2': must have a fault on; real-1, GPU-1111 "):
        sandbox.faults.heal("real-2")
    sandbox.faults.heal()
    assert sandbox.on() == []
    assert all(part.wanted for part in sandbox.parts.values())
    assert json.loads((tmp_path / "gpus.json").read_text())[0]["healthy"]


def test_what_fails_or_does_not_run_cannot_fail(sandbox: Sandbox) -> None:
    """One fault at a time, and none for what does not run."""
    sandbox.faults.begin("node-pause", "real-1", "", 30)
    with pytest.raises(FaultError, match=r"^real-1 fails already \(node-pause, 30 s left\); end that: .* heal real-1$"):
        sandbox.faults.begin("node-stop", "real-1", "", 30)
    sandbox.parts["node-real-2"].pid = 0
    with pytest.raises(FaultError, match=r"^real-2 does not run now"):
        sandbox.faults.begin("node-stop", "real-2", "", 30)


def test_a_fault_is_over_with_what_it_is_about(sandbox: Sandbox) -> None:
    """A node that has started anew is not frozen, and a component that somebody started does not fail any more."""
    sandbox.faults.begin("node-pause", "real-1", "", 30)
    sandbox.faults.begin("node-stop", "real-2", "", 30)
    sandbox.parts["node-real-1"].started = "2"
    sandbox.parts["node-real-2"].wanted = True
    assert sandbox.faults.tend()
    assert sandbox.on() == []


def test_an_end_that_does_not_work_is_tried_again(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault stays on, with no seconds left, until its end works, which is tried after a second."""
    sandbox.faults.begin("node-pause", "real-1", "", 30)
    undo = sandbox.faults._undo
    monkeypatch.setattr(sandbox.faults, "_undo", lambda fault: sandbox.frozen.joinpath("no").write_text(fault.name))
    pass_time(monkeypatch, 31)
    assert not sandbox.faults.tend()
    due = sandbox.faults.next_due()
    assert due is not None and 0 < due - time.monotonic() <= 1
    assert remaining(sandbox.faults.shown()[0], time.time()) == 0
    monkeypatch.setattr(sandbox.faults, "_undo", undo)
    pass_time(monkeypatch, 2)
    assert sandbox.faults.tend() and sandbox.frozen.read_text() == "THAWED"


@pytest.mark.parametrize(("value", "length"), [("1s", 1), ("30s", 30), ("5m", 300), ("1h", 3600), ("0s", 0)])
def test_durations(value: str, length: int) -> None:
    """A whole number and a unit."""
    assert fault_commands.seconds(value) == length


@pytest.mark.parametrize("value", ["", "30", "s", "-1s", "1.5s", "1d", "30 s", "01s", "30S"])
def test_what_is_no_duration_is_refused(value: str) -> None:
    """The sentence names the option, the value and the rule."""
    with pytest.raises(SandboxError, match=r"^--for '.*': must be a whole number and s, m or h, like 30s$"):
        fault_commands.seconds(value)


def test_a_line_for_each_fault() -> None:
    """Kind, what fails, and the seconds left."""
    shown = [
        {"kind": Kind.PARTITION, "name": "real-1", "gpu": "", "until": 1000.2},
        {"kind": "gpu-lost", "name": "real-1", "gpu": "GPU-1", "until": 900.0},
    ]
    assert fault_commands.lines(shown, 990.0) == [
        "fault partition real-1: 11 s left",
        "fault gpu-lost real-1 GPU-1: 0 s left",
    ]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--list", "heal"], "--list: shows what is on, and heal changes it; leave one out"),
        (["partition", "real-1", "--for", "soon"], "--for 'soon': must be a whole number and s, m or h"),
        (["partition", "real-1"], "no sandbox named 'default' runs here"),
        (["-o", "yaml"], "-o yaml: must be table or json"),
    ],
)
def test_commands_refuse_in_one_sentence(
    arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bad input, and a sandbox that is not there: exit code 1 or 2, and what is wrong."""
    monkeypatch.setenv("QUORATE_STATE", str(tmp_path))
    monkeypatch.delenv("QUORATE_SANDBOX", raising=False)
    assert run(["sandbox", "fault", *arguments]) in (1, 2)
    assert says in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(("simulated", "quick"), [(0, True), (300, True), (301, False)])
def test_a_silent_node_is_soon_seen_if_not_too_many_speak(tmp_path: Path, simulated: int, quick: bool) -> None:
    """Beside real nodes Ready is Unknown after ten seconds; with many simulated nodes, or none real, by default."""
    real = RealNodes(Layout(tmp_path, "a"), plan.network(plan.DEFAULT_NETWORK), [], tmp_path)
    ports = dict.fromkeys(PORTS, 1)
    found: defaultdict[str, Path] = defaultdict(Path)
    for nodes, expected in ((real, quick), (None, False)):
        planned = components.Plan(Layout(tmp_path, "a"), found, ports, fast=True, real=nodes, simulated=simulated)
        assert ("--node-monitor-grace-period=10s" in components.controller_manager(planned).args) is expected
        assert ("--node-lease-duration-seconds=12" in components.kwok(planned).args) is expected
