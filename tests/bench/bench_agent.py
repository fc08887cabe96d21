"""The node agent as a process: 8 simulated devices, 64 processes, 20 policies; what it costs, and how soon it acts."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from quorate_agent.acting import Acting
from quorate_agent.compose import Running
from quorate_agent.ports import Done
from tests.bench.figure import Figure, percentile
from tests.unit.agent.world import GIB, KEY, NodeDisk, gpu, memory_policy, pod

GPUS, EACH, POLICIES = 8, 8, 20
SETTLE, MEASURED, BREACHES = 4.0, 8.0, 8
LIMIT = 20


def run() -> Iterator[Figure]:
    """Processor time and memory of the process; then breaches, one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        yield from _costs(NodeDisk(Path(folder)))
    for shared, budget in ((False, 1.0), (True, 1.5)):
        with tempfile.TemporaryDirectory() as folder:
            taken = asyncio.run(_breaches(NodeDisk(Path(folder)), shared))
        scope = "container scope, a shared device" if shared else "device scope"
        name = f"memory breach → first action started, {scope}, p99"
        yield Figure(name, percentile(taken, 99), "s", "p50", percentile(taken, 50), budget)


def _rows(device: int, more: int = 0) -> list[dict[str, Any]]:
    """Eight processes of 1 GiB; the first has `more`."""
    return [
        {"pid": 100 * device + row, "used": GIB + (more if row == 0 else 0), "pod": f"u{device}", "container": "main"}
        for row in range(EACH)
    ]


def _policies() -> dict[str, dict[str, Any]]:
    modes = ("Enforce", "Warn", "Audit")
    return {
        f"policy-{index:02}": {
            **memory_policy(f"{LIMIT + index}Gi", mode=modes[index % 3], action="Checkpoint"),
            "utilization": {"minBasisPoints": 1_000 + index, "windowSeconds": 60},
            "idle": {"windowSeconds": 600, "maxBasisPoints": 100},
            "health": {"maxCelsius": 80 + index},
            "cooldownSeconds": 0,
        }
        for index in range(POLICIES)
    }


def _costs(disk: NodeDisk) -> Iterator[Figure]:
    disk.devices([gpu(each, _rows(each)) for each in range(GPUS)], [pod(each, each) for each in range(GPUS)])
    disk.policies(1, _policies())
    flags = ["--node-name", "node-1", "--state", disk.state, "--policy-key", KEY, "--backend", "simulated"]
    command = [sys.executable, "-m", "quorate_agent", *flags, "--source", disk.file, "--http", "127.0.0.1:0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        while b"in force" not in process.stderr.readline():
            assert process.poll() is None
        time.sleep(SETTLE)
        began, spent = time.monotonic(), _ticks(process.pid)
        time.sleep(MEASURED)
        share = 100 * (_ticks(process.pid) - spent) / os.sysconf("SC_CLK_TCK") / (time.monotonic() - began)
        resident = _resident(process.pid)
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
    what = f"agent, {GPUS} simulated GPUs × {EACH} processes, {POLICIES} policies"
    bare = int(subprocess.check_output([sys.executable, "-c", _BARE]))
    yield Figure(f"{what}: one core", share, "%", "the budget", 1.0, 1.0)
    yield Figure(f"{what}: RSS", resident / 1024, "MB", "its imports alone", bare / 1024, 80)


_BARE = """
import quorate_agent.compose
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmRSS")))
"""


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _resident(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


class Started(Acting):
    """Notes when an action is begun, and does nothing."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.at = 0.0

    async def act(self, decision: Any, policy: Any) -> Done | None:
        """The moment."""
        if not self.begun.is_set():
            self.at = time.monotonic()
            self.begun.set()
        return None


async def _breaches(disk: NodeDisk, shared: bool) -> list[float]:
    """Seconds from the write of the state file to the first action; each breach at another moment of the schedule."""
    pods = [pod(each, each) for each in range(GPUS)]
    if shared:  # a second pod on the device, so that only a process list tells whose memory it is
        pods.append(pod(9, 0))
    disk.devices([gpu(each, _rows(each)) for each in range(GPUS)], pods)
    policy = memory_policy(f"{LIMIT}Gi", action="Terminate") | {"cooldownSeconds": 0, "hysteresis": {"clearSeconds": 0}}
    disk.policies(1, {"cap": policy})
    running = Running(disk.config())
    started = Started()
    object.__setattr__(running.agent.parts, "acting", started)
    task, taken = asyncio.create_task(running.run()), []
    await asyncio.sleep(SETTLE)
    for number in range(BREACHES):
        await asyncio.sleep(0.37 * (number % 5))
        started.begun.clear()
        began = time.monotonic()
        disk.devices([gpu(each, _rows(each, 30 * GIB if each == 0 else 0)) for each in range(GPUS)], pods)
        async with asyncio.timeout(10):
            await started.begun.wait()
        taken.append(started.at - began)
        # The pod's replacement: another pod, so that what was begun on the first one holds nothing up.
        pods[0] = pods[0] | {"uid": "u0", "started": number + 2}
        disk.devices([gpu(each, _rows(each)) for each in range(GPUS)], pods)
        running._pods.look()
        await asyncio.sleep(1.2)
    running._stop()
    await task
    return taken


def main() -> None:
    """Print the figures."""
    good = [figure.emit() for figure in run()]
    sys.stderr.write(json.dumps({"figures": len(good), "ok": all(good)}) + "\n")


if __name__ == "__main__":
    main()
