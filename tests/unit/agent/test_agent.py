"""The whole agent over simulated devices: what it decides, writes down and does, and what it leaves alone."""

import asyncio
import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from quorate_agent.cgroups import ProcResolver
from quorate_agent.compose import Running
from quorate_agent.ports import Owner, SpoolError
from quorate_agent.signals import Signals
from tests.unit.agent.test_actions import operator
from tests.unit.agent.world import GIB, KEY, NodeDisk, gpu, memory_policy, pod, port_of


@pytest.fixture
def disk(tmp_path: Path) -> NodeDisk:
    return NodeDisk(tmp_path)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


class Ours(ProcResolver):
    """One real process is the pod's."""

    def __init__(self, pid: int, uid: str) -> None:
        super().__init__(Path("/proc"))
        self.pid, self.uid = pid, uid

    def owner_of(self, pid: int, start: int) -> Owner | None:
        return Owner(self.uid, "c" * 64) if pid == self.pid and self.start_of(pid) == start else None

    def processes_of(self, uid: str) -> list[tuple[int, int, str]]:
        start = self.start_of(self.pid)
        return [(self.pid, start, "c" * 64)] if uid == self.uid and start else []


@asynccontextmanager
async def agent(disk: NodeDisk, process: int = 0, uid: str = "u0", **more: Any) -> AsyncIterator[Running]:
    """A running agent whose signals can reach one process."""
    made = Running(disk.config(**more))
    made.agent.parts.acting._signals = Signals(Ours(process, uid), grace=1)
    task = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        made._stop()
        async with asyncio.timeout(20):
            await task


async def until(condition: Callable[[], Any], seconds: float = 15) -> Any:
    """Wait for a condition, with a deadline."""
    async with asyncio.timeout(seconds):
        while not (found := condition()):  # noqa: ASYNC110 - files and threads tell no event
            await asyncio.sleep(0.02)
    return found


def events(disk: NodeDisk, kind: str, **detail: Any) -> list[dict[str, Any]]:
    found = [entry["payload"]["detail"] for entry in disk.entries() if entry["event_type"] == kind]
    return [entry for entry in found if detail.items() <= entry.items()]


def over(disk: NodeDisk, used: int, pid: int, number: int = 0) -> None:
    row = {"pid": pid, "used": used, "pod": f"u{number}", "container": "main"}
    disk.devices([gpu(number, [row]), gpu(9)], [pod(number, number)])


async def test_offline_to_the_last_rung(disk: NodeDisk, sleeper: subprocess.Popen[bytes]) -> None:
    """Nobody can be reached: policies come from the disk, and where they say so the pod is terminated by the agent."""
    over(disk, GIB, sleeper.pid)
    disk.policies(1, {"cap": memory_policy("4Gi")})
    async with agent(disk, sleeper.pid) as made:
        await until(lambda: made.agent.engine.watches and made.agent.engine.watches[0].verdict)
        assert not events(disk, "mission.ladder.started")
        over(disk, 5 * GIB, sleeper.pid)
        await until(lambda: events(disk, "mission.action.ended", action="Terminate"))
    assert sleeper.wait(5) == -signal.SIGTERM
    started = events(disk, "mission.ladder.started", action="Terminate")[0]
    assert started["evidence"]["sum"] == 5 * GIB if "sum" in started["evidence"] else started["evidence"]
    assert {"policy": "cap", "mode": "Enforce", "rule": "memory", "effect": "Act"}.items() <= started.items()
    assert started["reactionMicroseconds"] < 1_000_000
    ended = events(disk, "mission.action.ended", action="Terminate")
    assert [entry["outcome"] for entry in ended] == ["Done"]
    order = [entry["event_type"] for entry in disk.entries()]
    assert order.index("mission.ladder.started") < order.index("mission.action.ended")


@pytest.mark.parametrize("mode", ["Audit", "Warn", "dry run"])
async def test_modes_that_touch_nothing(disk: NodeDisk, sleeper: subprocess.Popen[bytes], mode: str) -> None:
    """Audit, Warn and a dry run write down what would have been done, and do none of it."""
    over(disk, 5 * GIB, sleeper.pid)
    disk.policies(1, {"cap": memory_policy("4Gi", mode="Enforce" if mode == "dry run" else mode)})
    async with agent(disk, sleeper.pid, dry_run=mode == "dry run") as made:
        await until(lambda: events(disk, "mission.ladder.started", action="Terminate"))
        assert not made.agent._acts
    assert not events(disk, "mission.action.ended")
    assert sleeper.poll() is None
    assert {entry["effect"] for entry in events(disk, "mission.ladder.started")} <= {"Record", "Notify"}


async def test_nothing_without_an_entry(disk: NodeDisk, sleeper: subprocess.Popen[bytes]) -> None:
    """Where a decision cannot be written down it is not carried out, and it is told."""
    over(disk, GIB, sleeper.pid)
    disk.policies(1, {"cap": memory_policy("4Gi")})
    async with agent(disk, sleeper.pid) as made:
        await until(lambda: made.agent.engine.watches and made.agent.engine.watches[0].verdict)
        failures: list[int] = []

        def refuse(entries: Any) -> None:
            failures.append(len(entries))
            raise SpoolError("no space left on device")

        made.agent.parts.spool.append = refuse  # type: ignore[method-assign]
        over(disk, 5 * GIB, sleeper.pid)
        await until(lambda: len(failures) >= 2)
        assert sleeper.poll() is None
    assert not events(disk, "mission.action.ended")


async def test_after_a_restart(disk: NodeDisk, sleeper: subprocess.Popen[bytes]) -> None:
    """An action of an earlier life is not done again within its cool-down, and the chain of entries goes on."""
    over(disk, 5 * GIB, sleeper.pid)
    disk.policies(1, {"cap": memory_policy("4Gi")})
    async with agent(disk, sleeper.pid):
        await until(lambda: events(disk, "mission.action.ended", action="Terminate"))
    with subprocess.Popen(["sleep", "60"]) as again:  # noqa: ASYNC220
        over(disk, 5 * GIB, again.pid)
        async with agent(disk, again.pid):
            await until(lambda: events(disk, "mission.ladder.held", hold="CoolDown"))
        assert again.poll() is None
        again.kill()
    assert len(events(disk, "mission.agent.started")) == 2
    sequences = [entry["payload"]["captured"]["sourceSeq"] for entry in disk.entries()]
    assert sequences == list(range(1, len(sequences) + 1))


async def test_the_node_is_stopped_by_a_file(disk: NodeDisk, sleeper: subprocess.Popen[bytes]) -> None:
    """An emergency stop of the node needs no API server: pods end, devices close, a later life opens them."""
    over(disk, GIB, sleeper.pid)
    disk.policies(1, {"cap": memory_policy("4Gi")})
    async with agent(disk, sleeper.pid) as made:
        await until(lambda: made.agent.engine.watches)
        (disk.state / "emergency-stop").touch()
        made._pods.look()
        await until(lambda: events(disk, "mission.action.ended", action="Terminate"))
        assert sleeper.wait(5) == -signal.SIGTERM
        await until(lambda: events(disk, "mission.ladder.started", action="DenyCompute"))
        await until(lambda: b'"computeAllowed":false' in disk.file.read_bytes())
    async with agent(disk) as made:
        await until(lambda: made._pods.answered and made.agent.engine.watches)
        assert not events(disk, "mission.ladder.started", action="AllowCompute")
        (disk.state / "emergency-stop").unlink()
        made._pods.look()
        await until(lambda: b'"computeAllowed":true' in disk.file.read_bytes())


async def test_a_hanging_device_stops_nobody(disk: NodeDisk, sleeper: subprocess.Popen[bytes]) -> None:
    """One device does not answer and another is lost: a breach on a third is acted on as ever."""
    row = {"pid": sleeper.pid, "used": GIB, "pod": "u0", "container": "main"}
    devices = [gpu(0, [row]), gpu(1, hangs=True), gpu(2, lost=True)]
    disk.devices(devices, [pod(0, 0), pod(1, 1), pod(2, 2)])
    disk.policies(1, {"cap": memory_policy("4Gi")})
    async with agent(disk, sleeper.pid) as made:
        await until(lambda: made._sampler.hanging == ["GPU-1"])
        disk.devices([gpu(0, [row | {"used": 5 * GIB}]), *devices[1:]], [pod(0, 0), pod(1, 1), pod(2, 2)])
        await until(lambda: events(disk, "mission.action.ended", action="Terminate"))
        unknown = {watch.tracked.pod.uid for watch in made.agent.engine.watches if watch.verdict
                   and watch.verdict.state.name == "UNKNOWN"}  # fmt: skip
        assert unknown == {"u1", "u2"}
        disk.devices([gpu(0), gpu(1), gpu(2)], [])
        await until(lambda: not made._sampler.hanging)


async def test_xid_errors_arrive(disk: NodeDisk) -> None:
    """An XID error is an event of its own thread, not of a sample."""
    disk.devices([gpu(0, xids=[])], [pod(0, 0)])
    disk.policies(1, {"health": {"mode": "Warn", "health": {}, "ladder": [{"action": "Warn", "afterSeconds": 0}]}})
    async with agent(disk) as made:
        await until(lambda: made.agent.engine.watches and made.agent.engine.watches[0].verdict)
        await until(lambda: "GPU-0" in made.agent.parts.backend._told)
        disk.devices([gpu(0, xids=[79])], [pod(0, 0)])
        found = await until(lambda: events(disk, "mission.ladder.started", rule="health"))
    assert 79 in found[0]["evidence"].values() or "79" in str(found[0]["evidence"])


async def test_the_spool_is_handed_in(disk: NodeDisk, sleeper: subprocess.Popen[bytes]) -> None:
    """The operator was away and comes: it gets the key, then each entry until it has said that it has it."""
    over(disk, 5 * GIB, sleeper.pid)
    disk.policies(1, {"cap": memory_policy("4Gi", mode="Audit")})
    taken: list[int] = []

    def answer(path: str, _: str, data: bytes) -> dict[str, int]:
        if path == "/ingest/spool":
            taken.extend(json.loads(line)["payload"]["captured"]["sourceSeq"] for line in data.splitlines())
        return {"acknowledged": taken[-1] - 1 if len(taken) < 4 else taken[-1]} if taken else {}

    async with operator() as (server, _):
        server.status, server.body = 503, answer
        async with agent(disk, sleeper.pid, ingest=server.url) as made:
            await until(lambda: events(disk, "mission.ladder.started") and server.got)
            assert not made.agent.engine.node.online
            assert {path for path, _, _ in server.got} <= {"/ingest/key", "/ingest/report"}
            server.status = 200
            await until(lambda: made.agent.engine.node.online and made.agent.parts.spool.depth == 0)
    assert sorted(set(taken)) == list(range(1, max(taken) + 1))


def test_as_a_process(disk: NodeDisk) -> None:
    """`python -m quorate_agent`: probes and metrics answer, SIGTERM ends it with 0, a wrong flag with 2."""
    disk.devices([gpu(0)], [pod(0, 0)])
    disk.policies(1, {"cap": memory_policy("4Gi", mode="Audit")})
    command = [sys.executable, "-m", "quorate_agent"]
    wrong = subprocess.run([*command, "--node-name", "n"], capture_output=True, text=True, check=False)
    assert (wrong.returncode, wrong.stderr) == (2, "quorate-agent: --state: required\n")
    flags = ["--node-name", "node-1", "--state", disk.state, "--policy-key", KEY, "--backend", "simulated"]
    flags += ["--source", disk.file, "--http", "127.0.0.1:0"]
    with subprocess.Popen([*command, *flags], stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        port = port_of(process)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as answer:
            assert answer.status == 200
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            assert b'quorate_agent_policies_serial{node="node-1"} 1.0' in answer.read()
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
        assert process.wait(20) == 0


def test_it_imports_neither_kopf_nor_kubernetes() -> None:
    """The agent runs where neither is installed."""
    script = """
import sys
for name in ("kopf", "kubernetes", "psycopg", "typer", "rich", "aiohttp", "pynvml"):
    sys.modules[name] = None
import quorate_agent.compose, quorate_agent.__main__
"""
    subprocess.run([sys.executable, "-c", script], check=True)
