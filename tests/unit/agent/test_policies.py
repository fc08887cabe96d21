"""Policies: watched over a real socket, kept on the disk, refused when they are not the operator's or older."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from quorate.api.mission_policy import PolicyMode
from quorate_agent.kube import Reader, client
from quorate_agent.policies import StoredPolicies, in_force
from tests.unit.agent.world import PUBLIC, config_map, memory_policy


class ApiServer:
    """List and watch of one ConfigMap, and a node; goes away and comes back."""

    def __init__(self) -> None:
        self.item: dict[str, Any] | None = None
        self.version = 1
        self.changed = asyncio.Event()
        self.watches = 0
        self.expired = False
        self.paths: list[str] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.paths.append(f"{request.method} {request.path}?{request.query_string}")
        if "/nodes/" in request.path:
            return web.json_response({"metadata": {"labels": {"pool": "gpu"}}})
        if "watch" not in request.query:
            items = [] if self.item is None else [self.item]
            return web.json_response({"items": items, "metadata": {"resourceVersion": str(self.version)}})
        self.watches += 1
        stream = web.StreamResponse()
        await stream.prepare(request)
        if self.expired:
            self.expired = False
            await stream.write(b'{"type":"ERROR","object":{"code":410}}\n')
            return stream
        await stream.write(b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9"}}}\n')
        await self.changed.wait()
        self.changed.clear()
        line = json.dumps({"type": "MODIFIED", "object": self.item}).encode() + b"\n"
        await stream.write(line[:50])
        await stream.write(line[50:])
        return stream


@asynccontextmanager
async def serving(server: ApiServer, port: int = 0) -> AsyncIterator[int]:
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def reader(port: int) -> Reader:
    return Reader(client(f"http://127.0.0.1:{port}", None, None))


async def soon(policies: StoredPolicies) -> int:
    async with asyncio.timeout(20):
        return (await policies.next()).serial


async def test_watched_and_kept(tmp_path: Path) -> None:
    """What is listed and what the watch brings is in force and on the disk; a watch that ended begins again."""
    server = ApiServer()
    server.item = config_map(1, {"a": memory_policy("1Gi")})
    async with serving(server) as port:
        policies = StoredPolicies(tmp_path / "p.json", PUBLIC, reader(port))
        assert policies.cached() is None
        assert await soon(policies) == 1
        server.item = config_map(2, {"a": memory_policy("2Gi")})
        server.changed.set()
        assert await soon(policies) == 2
        server.expired = True
        server.item = config_map(3, {})
        server.changed.set()
        assert await soon(policies) == 3
    assert all("fieldSelector=metadata.name%3Dquorate-node-policies" in path for path in server.paths)
    assert all(path.startswith("GET ") for path in server.paths)
    kept = StoredPolicies(tmp_path / "p.json", PUBLIC, None).cached()
    assert kept is not None
    assert kept.serial == 3


async def test_without_the_api_server(tmp_path: Path) -> None:
    """It runs from the disk while nobody answers, and takes up the watch when somebody does."""
    first = StoredPolicies(tmp_path / "p.json", PUBLIC, None)
    assert first.offer(config_map(4, {"a": memory_policy("1Gi")})) is not None
    server = ApiServer()
    async with serving(server) as port:
        pass
    policies = StoredPolicies(tmp_path / "p.json", PUBLIC, reader(port))
    kept = policies.cached()
    assert kept is not None
    assert [policy.name for policy in kept.policies] == ["a"]
    waiting = asyncio.create_task(soon(policies))
    server.item = config_map(5, {})
    async with serving(server, port):
        assert await waiting == 5


async def test_refused_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Another key, a changed byte, a rollback and other bytes of one serial change nothing, and are told."""
    policies = StoredPolicies(tmp_path / "p.json", PUBLIC, None)
    good = config_map(7, {"a": memory_policy("1Gi")})
    assert policies.offer(good) is not None
    assert policies.offer(good) is None
    changed = config_map(8, {"a": memory_policy("1Gi")})
    changed["data"]["content"] = changed["data"]["content"].replace("1Gi", "9Gi")
    bad = {
        "other key": config_map(8, {}, key=bytes(32)),
        "changed": changed,
        "rollback": config_map(6, {}),
        "same serial": config_map(7, {}),
        "empty": {},
    }
    with caplog.at_level(logging.ERROR):
        for item in bad.values():
            assert policies.offer(item) is None
    assert policies.refused == {"signature": 3, "serial": 2}
    assert "rollback" in caplog.text
    kept = policies.cached()
    assert kept is not None
    assert kept.serial == 7
    (tmp_path / "p.json").write_bytes((tmp_path / "p.json").read_bytes().replace(b"1Gi", b"9Gi"))
    assert StoredPolicies(tmp_path / "p.json", PUBLIC, None).cached() is None


def test_for_this_node(tmp_path: Path) -> None:
    """A node's labels choose its policies; a dry run turns Enforce into Warn and leaves Audit alone."""
    policies = StoredPolicies(tmp_path / "p.json", PUBLIC, None)
    elsewhere = memory_policy("1Gi") | {"nodeSelector": {"matchLabels": {"pool": "other"}}}
    here = memory_policy("2Gi") | {"nodeSelector": {"matchLabels": {"pool": "gpu"}}}
    audit = memory_policy("2Gi", mode="Audit")
    found = policies.offer(config_map(1, {"audit": audit, "elsewhere": elsewhere, "here": here}))
    assert found is not None
    labels = {"pool": "gpu", "zone": "a"}
    assert [policy.name for policy in in_force(found, labels, dry_run=False)] == ["audit", "here"]
    modes = [policy.mode for policy in in_force(found, labels, dry_run=True)]
    assert modes == [PolicyMode.AUDIT, PolicyMode.WARN]


async def test_labels_of_the_node() -> None:
    """They come from the API server; without it they are not known."""
    async with serving(ApiServer()) as port:
        assert await reader(port).labels("node-1") == {"pool": "gpu"}
    assert await reader(port).labels("node-1") is None
