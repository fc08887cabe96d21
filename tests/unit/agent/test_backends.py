"""One contract for every backend; and the real pynvml over a driver library of the tests."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from quorate.missions.samples import Missing
from quorate_agent.clock import BootClock
from quorate_agent.nvml import NvmlBackend
from quorate_agent.ports import Condition, GpuBackend, Listed, Load, PowerState
from quorate_agent.replay import Recorder, RecordingError, ReplayBackend
from quorate_agent.simulated import SimulatedBackend
from tests.unit.agent.driver import Driver, library
from tests.unit.agent.world import GIB, KEY, NodeDisk, gpu, memory_policy, port_of

pynvml = pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed (extra `agent`)")
BAD = "GPU-bad"
ROWS = {11: GIB, 12: 2 * GIB}


@dataclass
class Steps:
    """A clock that a test moves."""

    at: int = 1_000

    def now(self) -> int:
        return self.at


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    """Two devices; the second is lost. pynvml speaks to it in this process."""
    monkeypatch.setenv("QUORATE_NVML_STATE", str(tmp_path / "driver"))
    made = Driver(tmp_path / "driver", ["GPU-0", BAD])
    made.list(0, ROWS)
    first = made.devices[0]
    first.utilization, first.celsius = 70, 40
    made.devices[1].lost = 1
    loaded = ctypes.CDLL(str(library()))
    monkeypatch.setattr(pynvml, "nvmlLib", loaded)
    pynvml._nvmlGetFunctionPointer_cache.clear()
    yield made
    loaded.nvmlShutdown()
    pynvml._nvmlGetFunctionPointer_cache.clear()


def simulated(disk: NodeDisk) -> SimulatedBackend:
    rows = [{"pid": pid, "used": used} for pid, used in ROWS.items()]
    power = {"watts": 700, "defaultWatts": 700, "megahertz": 1_980}
    disk.devices([gpu(0, rows, **power, xids=[]), {"uuid": BAD, "lost": True}], [])
    return SimulatedBackend(disk.file)


@pytest.fixture(params=["nvml", "simulated", "replay"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> GpuBackend:
    """Each says the same of the same node."""
    if request.param == "nvml":
        request.getfixturevalue("driver")
        made = NvmlBackend()
        made.devices()
        return made
    node = simulated(NodeDisk(tmp_path))
    if request.param == "simulated":
        return node
    clock = Steps()
    recorder = Recorder(node, clock)
    recorder.round()
    (tmp_path / "recording.json").write_text(json.dumps(recorder.document()))
    return ReplayBackend(tmp_path / "recording.json", clock)


def test_readings(backend: GpuBackend) -> None:
    """What a device says, in the units of the port."""
    found = backend.devices()
    assert not isinstance(found, Missing)
    assert [(device.uuid, device.index, device.mig) for device in found] == [("GPU-0", 0, False), (BAD, 1, False)]
    assert found[0].total == 80 * GIB
    assert backend.memory("GPU-0") == 3 * GIB
    assert backend.processes("GPU-0") == (Listed(11, GIB), Listed(12, 2 * GIB))
    assert backend.utilization("GPU-0") == Load(7_000, "duty cycle")
    assert backend.condition("GPU-0").celsius == 40
    assert backend.power("GPU-0") == PowerState(700, 1_980, 700)
    assert backend.wait("GPU-0", 0) == ()


@pytest.mark.parametrize("uuid", [BAD, "GPU-never-seen"])
def test_a_lost_device_is_a_result(backend: GpuBackend, uuid: str) -> None:
    """Every call answers for a device that is lost or never was; none raises."""
    lost = Missing.LOST
    assert (backend.memory(uuid), backend.processes(uuid), backend.utilization(uuid).value) == (lost, lost, lost)
    assert backend.condition(uuid) == Condition(*[lost] * 6)
    assert backend.power(uuid).watts is lost
    assert backend.wait(uuid, 0) in (lost, ())
    for failed in (
        backend.limit_power(uuid, 300), backend.limit_clock(uuid, 900), backend.allow_compute(uuid, allowed=False),
    ):  # fmt: skip
        assert isinstance(failed, Missing)


def test_a_setting_is_read_back_or_refused(backend: GpuBackend) -> None:
    """A setter that says None changed what the getter says; one that says why changed nothing."""
    before = backend.power("GPU-0")
    failed = backend.limit_power("GPU-0", 300)
    assert backend.power("GPU-0").watts == (300 if failed is None else before.watts)
    failed = backend.limit_clock("GPU-0", 900)
    assert backend.power("GPU-0").clock == (900 if failed is None else before.clock)
    if failed is None:
        assert backend.limit_clock("GPU-0", 0) is None
        assert backend.power("GPU-0").clock == before.clock


def test_nvml_setters(driver: Driver) -> None:
    """Without permission nothing is set; with it the driver says what was set, and compute mode comes back."""
    nvml, device = NvmlBackend(), driver.devices[0]
    nvml.devices()
    for failed in (
        nvml.limit_power("GPU-0", 300), nvml.limit_clock("GPU-0", 900), nvml.allow_compute("GPU-0", allowed=False),
    ):  # fmt: skip
        assert failed is Missing.NO_PERMISSION
    device.may_set, device.compute_mode = 1, 3
    assert nvml.limit_power("GPU-0", 300) is None
    assert device.watts_mw == 300_000
    assert nvml.limit_power("GPU-0", 9_000) is Missing.UNSUPPORTED
    assert nvml.limit_clock("GPU-0", 900) is None
    assert device.clock == 900
    assert nvml.allow_compute("GPU-0", allowed=False) is None
    assert device.compute_mode == 2
    assert nvml.allow_compute("GPU-0", allowed=True) is None
    assert device.compute_mode == 3


def test_nvml_health(driver: Driver) -> None:
    """Slowdown, ECC, remapped rows and the driver's recovery action, each by itself."""
    nvml, device = NvmlBackend(), driver.devices[0]
    nvml.devices()
    assert nvml.condition("GPU-0") == Condition(40, 0, 0, 0, 0, 0)
    device.reasons, device.ecc, device.remap_pending, device.recovery = 0x40 | 0x1, 3, 1, 2
    assert nvml.condition("GPU-0") == Condition(40, 1, 3, 1, 0, 2)
    device.reasons = 0x1 | 0x4
    assert nvml.condition("GPU-0").slowdown == 0


def test_nvml_utilisation_names_its_statistic(driver: Driver) -> None:
    """GPM where the device has it, the first interval being unknown; the duty cycle elsewhere; nothing under MIG."""
    nvml, device = NvmlBackend(), driver.devices[0]
    device.gpm, device.sm_util_bp = 1, 4_250
    nvml.devices()
    assert nvml.utilization("GPU-0") == Load(Missing.TIMEOUT, "SM_UTIL")
    assert nvml.utilization("GPU-0") == Load(4_250, "SM_UTIL")
    other = NvmlBackend()
    device.gpm, device.utilization = 0, 140
    other.devices()
    assert other.utilization("GPU-0") == Load(10_000, "duty cycle")
    device.mig = 1
    assert other.utilization("GPU-0").value is Missing.UNSUPPORTED


def test_nvml_process_lists(driver: Driver) -> None:
    """A list of many, one that may not be seen, one without numbers, an error as a result."""
    nvml, device = NvmlBackend(), driver.devices[0]
    nvml.devices()
    driver.list(0, {pid: pid for pid in range(1, 65)})
    found = nvml.processes("GPU-0")
    assert not isinstance(found, Missing)
    assert len(found) == 64
    driver.list(0, {5: 2**64 - 1, 6: 7})
    assert nvml.processes("GPU-0") == (Listed(5, Missing.UNSUPPORTED), Listed(6, 7))
    for error, reason in ((4, Missing.NO_PERMISSION), (3, Missing.UNSUPPORTED), (999, Missing.LOST)):
        device.list_error = error
        assert nvml.processes("GPU-0") is reason


def test_nvml_events(driver: Driver) -> None:
    """An XID error ends a wait, each is told once, and those before the first wait are not told."""
    nvml = NvmlBackend()
    nvml.devices()
    driver.xid(0, 31)
    assert nvml.wait("GPU-0", 0) == ()
    timer = threading.Timer(0.1, driver.xid, (0, 79))
    timer.start()
    assert nvml.wait("GPU-0", 10) == (79,)
    assert nvml.wait("GPU-0", 0) == ()


def test_a_call_that_hangs_leaves_others(driver: Driver) -> None:
    """A driver that hangs in one device's call lets other threads call it for another."""
    driver.devices[1].lost = 0
    nvml = NvmlBackend()
    nvml.devices()
    driver.devices[1].delay_ms = 10
    thread = threading.Thread(target=nvml.memory, args=(BAD,), daemon=True)
    thread.start()
    assert nvml.memory("GPU-0") == 3 * GIB
    assert thread.is_alive()
    driver.devices[1].delay_ms = 0
    thread.join(10)
    assert not thread.is_alive()


def test_the_driver_goes_away_and_comes_back(driver: Driver) -> None:
    """After the driver was unloaded every reading is lost until devices are looked for again."""
    nvml = NvmlBackend()
    nvml.devices()
    pynvml.nvmlLib.nvmlShutdown()
    assert nvml.memory("GPU-0") is Missing.LOST
    assert nvml.memory("GPU-0") is Missing.LOST
    nvml.devices()
    assert nvml.memory("GPU-0") == 3 * GIB


class FakeLibrary:
    """A library object: every function answers with one error, but for the handles."""

    def __init__(self, error: int) -> None:
        self.error = error

    def __getattr__(self, name: str) -> Any:
        if name.startswith("nvmlGpm"):
            raise AttributeError(name)  # an older driver: the symbol is not there
        return lambda *_: self.error


@pytest.mark.parametrize(
    ("error", "reason"),
    [(3, Missing.UNSUPPORTED), (13, Missing.UNSUPPORTED), (4, Missing.NO_PERMISSION), (15, Missing.LOST),
     (16, Missing.LOST), (999, Missing.LOST), (10, Missing.TIMEOUT), (1, Missing.LOST)],
)  # fmt: skip
def test_errors_are_reasons(driver: Driver, monkeypatch: pytest.MonkeyPatch, error: int, reason: Missing) -> None:
    """Every error of the library is a reading with a reason, never an exception."""
    nvml = NvmlBackend()
    nvml.devices()
    monkeypatch.setattr(pynvml, "nvmlLib", FakeLibrary(error))
    pynvml._nvmlGetFunctionPointer_cache.clear()
    handle = dict(nvml._handles)
    for call in (nvml.memory, nvml.processes, lambda gpu: nvml.utilization(gpu).value):
        nvml._handles.update(handle)
        assert call("GPU-0") is reason
    nvml._handles.update(handle)
    assert nvml.condition("GPU-0").celsius is reason
    assert isinstance(nvml.devices(), Missing)


def test_recordings_are_checked(tmp_path: Path) -> None:
    """A file that is no recording is refused with its name."""
    for content in ("", "{}", '{"format": "quorate.dev/gpu-recording/v1"}', "[]"):
        (tmp_path / "r.json").write_text(content)
        with pytest.raises(RecordingError, match=r"r\.json"):
            ReplayBackend(tmp_path / "r.json", BootClock())


def test_a_recording_is_played_in_its_time(tmp_path: Path) -> None:
    """Between two answers the earlier one holds; errors are told once, when their time has come."""
    disk, clock = NodeDisk(tmp_path), Steps()
    node = simulated(disk)
    recorder = Recorder(node, clock)
    recorder.round()
    clock.at += 1_000_000
    disk.devices([gpu(0, [{"pid": 1, "used": 5}])], [])
    recorder.round()
    recorder.xids("GPU-0", (79,))
    (tmp_path / "r.json").write_text(json.dumps(recorder.document()))
    later = Steps(5)
    replay = ReplayBackend(tmp_path / "r.json", later)
    assert (replay.memory("GPU-0"), replay.wait("GPU-0", 5)) == (3 * GIB, ())
    later.at += 999_999
    assert replay.memory("GPU-0") == 3 * GIB
    later.at += 1
    assert (replay.memory("GPU-0"), replay.wait("GPU-0", 5), replay.wait("GPU-0", 5)) == (5, (79,), ())


def test_the_unmodified_agent_on_a_driver(tmp_path: Path, driver: Driver) -> None:
    """The agent as a process, real pynvml, the tests' driver: it reads devices, tells of one that hangs, and ends."""
    disk = NodeDisk(tmp_path)
    disk.policies(1, {"cap": memory_policy("4Gi", mode="Audit")})
    environment = os.environ | {"LD_LIBRARY_PATH": str(library().parent), "QUORATE_NVML_STATE": str(driver.file)}
    flags = ["--node-name", "node-1", "--state", disk.state, "--policy-key", KEY, "--http", "127.0.0.1:0"]
    command = [sys.executable, "-m", "quorate_agent", *flags]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        port = port_of(process)
        metric = f'quorate_agent_gpu_memory_used_bytes{{gpu_uuid="GPU-0",node="node-1"}} {3 * GIB:.1f}'
        wait_for(metric.replace("3221225472.0", "3.221225472e+09"), port)
        driver.devices[1].delay_ms = 20
        driver.devices[1].lost = 0
        wait_for('quorate_agent_gpus_hanging{node="node-1"} 1.0', port)
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
        assert process.wait(40) == 0
    driver.devices[1].delay_ms = 0


def wait_for(line: str, port: int) -> None:
    """Until the agent's metrics hold a line."""
    deadline, text = time.monotonic() + 30, ""
    while line not in text:
        assert time.monotonic() < deadline, f"{line!r} is not in {text}"
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
