"""What the agent does to the world: signals to exactly the processes that were meant, requests to the operator."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from quorate.api.mission_policy import PolicyMode
from quorate.api.mission_rules import RuleName
from quorate.missions.decisions import Decision, Effect, Severity, Step
from quorate.missions.samples import Outcome
from quorate_agent.cgroups import ProcResolver
from quorate_agent.ingest import Ingest
from quorate_agent.kube import client
from quorate_agent.ports import Owner
from quorate_agent.signals import Signals

CID = "c" * 64


def decision(action: str, uid: str = "u1") -> Decision:
    return Decision(
        f"{uid}/p/memory/1/0", 1, Step.STARTED, Effect.ACT, "p", RuleName.MEMORY, PolicyMode.ENFORCE, action,
        "team/train-0", uid, 0, Severity.HIGH, "last sum", (("sum", 5),), 0, "", "",
    )  # fmt: skip


class Real(ProcResolver):
    """Real processes of this machine; whose they are is said here."""

    def __init__(self, pids: dict[int, str], paused: int = 0) -> None:
        super().__init__(Path("/proc"))
        self.pids, self.paused = pids, paused
        self.reused: set[int] = set()

    def owner_of(self, pid: int, start: int) -> Owner | None:
        known = pid in self.pids and self.start_of(pid) == start and pid not in self.reused
        return Owner(self.pids[pid], CID) if known else None

    def processes_of(self, uid: str) -> list[tuple[int, int, str]]:
        return [(pid, self.start_of(pid) or 0, CID) for pid, owner in self.pids.items() if owner == uid]

    def is_pause(self, pid: int) -> bool:
        return pid == self.paused


OBEYS = "import time; print(1, flush=True); time.sleep(60)"
IGNORES = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[bytes]]]:
    """One that obeys SIGTERM, one that ignores it, one of another pod, a sandbox's, one whose pid was reused."""
    made = [
        subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE)
        for source in (OBEYS, IGNORES, OBEYS, OBEYS, OBEYS)
    ]
    for one in made:
        assert one.stdout is not None
        one.stdout.readline()
    yield made
    for one in made:
        one.kill()
        one.wait()
        assert one.stdout is not None
        one.stdout.close()


async def test_exactly_those_that_were_meant(processes: list[subprocess.Popen[bytes]]) -> None:
    """SIGTERM, then SIGKILL to the pod's processes; others, its sandbox and a reused pid get nothing."""
    obeys, ignores, other, pause, reused = processes
    resolver = Real({obeys.pid: "u1", ignores.pid: "u1", other.pid: "u2", pause.pid: "u1", reused.pid: "u1"})
    resolver.paused = pause.pid
    resolver.reused = {reused.pid}
    done = await Signals(resolver, grace=0.3).act(decision("Terminate"))
    assert (done.outcome, done.message) == (Outcome.DONE, "2 processes ended, 1 by SIGKILL")
    assert obeys.wait(5) == -15
    assert ignores.wait(5) == -9
    assert [one.poll() for one in (other, pause, reused)] == [None, None, None]


async def test_nothing_there_is_done() -> None:
    """A pod whose processes are gone is as good as terminated."""
    done = await Signals(Real({}), grace=1).act(decision("Terminate", "nobody"))
    assert done.outcome is Outcome.DONE


class Operator:
    """Answers `/ingest` as it is told, and keeps what it got."""

    def __init__(self) -> None:
        self.url = ""
        self.status: int | str = 201
        self.body: Any = {}
        self.got: list[tuple[str, str, bytes]] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.got.append((request.path, request.headers.get("Authorization", ""), await request.read()))
        if self.status == "hang up":
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        assert isinstance(self.status, int)
        body = self.body(*self.got[-1]) if callable(self.body) else self.body
        return web.json_response(body, status=self.status)


@asynccontextmanager
async def operator(token: Path | None = None) -> AsyncIterator[tuple[Operator, Ingest]]:
    server = Operator()
    app = web.Application()
    app.router.add_post("/{rest:.*}", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server, Ingest(client(server.url, token, None))
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("status", "body", "outcome", "online"),
    [
        (201, {}, Outcome.DONE, True),
        (429, {"reason": "DisruptionBudget", "message": "budget"}, Outcome.REFUSED, True),
        (429, {"reason": "Breaker"}, Outcome.BREAKER, True),
        (503, {}, Outcome.UNAVAILABLE, False),
        (502, "no json", Outcome.UNAVAILABLE, False),
        ("hang up", {}, Outcome.UNAVAILABLE, False),
        (403, {}, Outcome.FAILED, True),
        (500, {}, Outcome.FAILED, True),
    ],
)
async def test_evictions(tmp_path: Path, status: int | str, body: Any, outcome: Outcome, online: bool) -> None:
    """201, 429 for a budget or a breaker, 503, nobody and nonsense: each is the outcome that the ladder knows."""
    token = tmp_path / "token"
    token.write_text("one")
    async with operator(token) as (server, ingest):
        server.status, server.body = status, body
        done = await ingest.act(decision("Evict"))
        assert (done.outcome, ingest.online) == (outcome, online)
        token.write_text("two")
        await ingest.act(decision("Evict"))
    assert [header for _, header, _ in server.got][:1] == ["Bearer one"]
    assert [header for _, header, _ in server.got][-1] == "Bearer two"
    assert b'"decision":"u1/p/memory/1/0"' in server.got[0][2]
    assert server.got[0][2] == server.got[-1][2]


async def test_nobody_listens() -> None:
    """An operator that cannot be reached is an outcome, not an error."""
    async with operator() as (_, ingest):
        pass
    async with asyncio.timeout(20):
        assert (await ingest.act(decision("Evict"))).outcome is Outcome.UNAVAILABLE
        assert not await ingest.register("node-1", "agent/node-1/x", "key")
        assert await ingest.hand_in([b"{}"]) is None


@pytest.mark.parametrize("body", [{"acknowledged": 7}, {"acknowledged": True}, {"acknowledged": "7"}, [], {}])
async def test_what_the_operator_has(body: Any) -> None:
    """Only a whole number acknowledges entries."""
    async with operator() as (server, ingest):
        server.status, server.body = 200, body
        assert await ingest.hand_in([b"a", b"b"]) == (7 if body == {"acknowledged": 7} else None)
    assert server.got[0][2] == b"a\nb\n"
