"""Notices against a real HTTP server: signed, tried again, sent once, remembered."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from quorate.notifications.notice import Cause, Notice
from quorate.notifications.signature import WebhookKey, headers
from quorate_operator.config import ConfigError, parse
from quorate_operator.errors import Fatal, Transient
from quorate_operator.kube.resources import Key
from quorate_operator.notify.notifier import SLACK_SECONDS, Notifier
from quorate_operator.notify.webhook import Webhook, read_webhook_keys
from quorate_operator.view import View
from tests.unit.operator.fakes import FakeRecorder

NOW = 1_000_000
SECRET = WebhookKey.parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
KEY = Key("GovernanceProposal", "default", "p")


async def until(what: Callable[[], object]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(5):
        while not what():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.005)


@dataclass
class Request:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Server:
    """Answers with `answers` in turn, then 204; nothing while `released` is not set."""

    port: int = 0
    answers: list[str] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        given = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        body = await reader.readexactly(int(given.get("content-length", "0")))
        self.requests.append(Request(lines[0].split(" ")[1], given, body))
        await self.released.wait()
        answer = self.answers.pop(0) if self.answers else "204 No Content\r\n"
        writer.write(f"HTTP/1.1 {answer}content-length: 0\r\nconnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    async def got(self, count: int) -> list[Request]:
        """Wait for so many requests."""
        await until(lambda: len(self.requests) >= count)
        return self.requests


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A receiver on a port of its own."""
    receiver = Server()
    receiver.released.set()
    listening = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = listening.sockets[0].getsockname()[1]
    yield receiver
    receiver.released.set()
    listening.close()


class FakeMemory:
    """What a Lease would hold."""

    def __init__(self) -> None:
        self.second: int | None = None
        self.away = 0

    async def load(self) -> int | None:
        """As remembered."""
        if self.away:
            self.away -= 1
            raise Transient("ApiUnavailable", "away")
        return self.second

    async def save(self, second: int) -> None:
        """Remember."""
        self.second = second


class Rig:
    """A notifier on a clock that the test sets."""

    def __init__(self, server: Server, memory: FakeMemory | None = None, **options: Any) -> None:
        self.now, self.view, self.recorder = float(NOW), View(), FakeRecorder()
        self.memory = memory or FakeMemory()
        self.view.fold(
            {
                "apiVersion": "quorate.dev/v1alpha1",
                "kind": KEY.kind,
                "metadata": {"namespace": "default", "name": "p", "uid": "u", "resourceVersion": "1"},
                "spec": {"target": {}},
            }
        )
        options = {"retries": (0.01, 0.01), **options}
        timeout = options.pop("timeout", 5.0)
        self.receiver = Webhook(
            f"http://127.0.0.1:{server.port}/hook/TOKEN", [SECRET], lambda: self.now, timeout=timeout
        )
        self.notifier = Notifier(
            self.receiver,
            self.memory,
            self.view,
            self.recorder.record,
            lambda: self.now,
            **options,  # type: ignore[arg-type]
        )
        self.settled = True
        self.task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Rig":
        self.task = asyncio.create_task(self.notifier.run(lambda: self.settled))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self.task is not None
        self.task.cancel()
        await asyncio.wait({self.task})


def notice(cause: Cause = Cause.OPENED, due: int = NOW, until: int = NOW + 1000, digest: str = "sha256:1") -> Notice:
    return Notice(cause, KEY.kind, "default", "p", digest, "fleet", due, until, ("m1",), "vote")


async def test_a_notice_is_signed_over_its_exact_body(server: Server) -> None:
    """Headers are those of Standard Webhooks over the bytes that came, and an Event says the same."""
    async with Rig(server) as rig:
        rig.notifier.update(KEY, [notice()])
        (request,) = await server.got(1)
        await until(lambda: rig.memory.second == NOW)
    assert json.loads(request.body)["data"]["waitingFor"] == {"total": 1, "names": ["m1"]}
    expected = headers([SECRET], notice().id, NOW, request.body)
    assert {name: request.headers[name] for name in expected} == expected
    assert request.headers["content-type"] == "application/json"
    assert rig.recorder.notes == [("p", "VoteNeeded")]


async def test_what_is_not_due_waits_and_what_is_not_wanted_is_not_sent(server: Server) -> None:
    """A reminder comes at its second, a decision ends it; a notice is sent once, however often it is said."""
    early, late = notice(due=NOW), notice(Cause.ENDING_SOON, due=NOW + 50)
    async with Rig(server) as rig:
        for _ in range(3):
            rig.notifier.update(KEY, [early, late])
        await server.got(1)
        rig.notifier.update(KEY, ())
        rig.now += 100
        rig.notifier.update(KEY, [notice(Cause.EXTENDED, due=NOW + 90)])
        found = await server.got(2)
    assert [json.loads(item.body)["data"]["cause"] for item in found] == ["Opened", "Extended"]


async def test_a_failed_attempt_is_tried_again_with_the_same_id(server: Server) -> None:
    """Errors, a redirect among them, are tried again and the redirect is not followed; then it is given up and said."""
    server.answers = ["500 No\r\n", "302 Found\r\nlocation: /elsewhere\r\n", "503 No\r\nretry-after: 0\r\n"]
    async with Rig(server) as rig:
        rig.notifier.update(KEY, [notice()])
        found = await server.got(3)
        await until(lambda: ("p", "NotificationFailed") in rig.recorder.notes)
        await until(lambda: rig.memory.second == NOW)
    assert {item.path for item in found} == {"/hook/TOKEN"}
    assert len({item.headers["webhook-id"] for item in found}) == 1


async def test_gone_is_for_good(server: Server) -> None:
    """410 is not tried again."""
    server.answers = ["410 Gone\r\n"]
    async with Rig(server) as rig:
        rig.notifier.update(KEY, [notice()])
        await until(lambda: ("p", "NotificationFailed") in rig.recorder.notes)
    assert len(server.requests) == 1


async def test_a_receiver_that_hangs_costs_an_attempt(server: Server) -> None:
    """An attempt ends with its timeout, and the next one delivers."""
    server.released.clear()
    async with Rig(server, timeout=0.1, retries=(0.01,) * 50) as rig:
        rig.notifier.update(KEY, [notice()])
        await server.got(2)
        server.released.set()
        await until(lambda: rig.memory.second == NOW)


async def test_a_receiver_that_drips_costs_an_attempt() -> None:
    """An answer that comes a byte at a time ends with the attempt's timeout, however long it would go on."""

    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            for _ in range(10_000):
                writer.write(b"H")
                await writer.drain()
                await asyncio.sleep(0.01)

    async with await asyncio.start_server(drip, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        webhook = Webhook(f"http://127.0.0.1:{port}/", [SECRET], lambda: float(NOW), timeout=0.1)
        async with asyncio.timeout(5):
            answer = await webhook.attempt(notice())
        await webhook.close()
    assert not answer.delivered and not answer.refused and answer.said == "TimeoutError"


async def test_a_restart_sends_what_was_not_sent(server: Server) -> None:
    """What was over before is not sent again, what fell due meanwhile and what was under way is; ids do not change."""
    old, sent = notice(due=NOW - SLACK_SECONDS - 1, digest="sha256:old"), notice(due=NOW)
    memory = FakeMemory()
    async with Rig(server, memory) as rig:
        rig.notifier.update(KEY, [sent])
        await until(lambda: memory.second == NOW)
    memory.away = 0
    async with Rig(server, memory) as again:
        again.now = NOW + 500
        fresh = notice(Cause.ENDING_SOON, due=NOW + 400)
        again.notifier.update(KEY, [old, fresh])
        found = await server.got(2)
        await until(lambda: memory.second == NOW + 400)
    assert [item.headers["webhook-id"] for item in found] == [sent.id, fresh.id]


async def test_nothing_is_remembered_before_everything_was_looked_at(server: Server) -> None:
    """A second crash during the start loses no notice of an object that was not looked at yet."""
    async with Rig(server) as rig:
        rig.settled = False
        rig.notifier.update(KEY, [notice()])
        await server.got(1)
        await until(lambda: not rig.notifier._pending)
        assert rig.memory.second is None
        rig.settled = True
        rig.notifier.update(KEY, [notice(Cause.EXTENDED, due=NOW - 1)])
        await until(lambda: rig.memory.second == NOW)


async def test_the_queue_is_bounded(server: Server) -> None:
    """More than the capacity is dropped; the others are delivered."""
    server.released.clear()
    async with Rig(server, capacity=2) as rig:
        rig.notifier.update(KEY, [notice(digest=f"sha256:{number}") for number in range(5)])
        await until(lambda: len(rig.recorder.notes) == 5)
        assert len(rig.notifier._pending) == 2
        server.released.set()
        await until(lambda: not rig.notifier._pending)
    assert len(server.requests) == 2


async def test_a_deleted_object_is_not_told_about(server: Server) -> None:
    """Where the proposal is gone there is nothing to vote on."""
    async with Rig(server) as rig:
        rig.view.remove(KEY)
        rig.notifier.update(KEY, [notice()])
        other = Key(KEY.kind, "default", "q")
        rig.view.fold({"kind": KEY.kind, "metadata": {"namespace": "default", "name": "q"}, "spec": {"target": {}}})
        rig.notifier.update(other, [notice(digest="sha256:q")])
        (request,) = await server.got(1)
    assert json.loads(request.body)["data"]["digest"] == "sha256:q"


async def test_neither_url_nor_key_is_logged(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever happens, the log names the host alone."""
    server.answers = ["500 No\r\n"]
    with caplog.at_level(logging.DEBUG):
        async with Rig(server) as rig:
            rig.notifier.update(KEY, [notice()])
            await server.got(2)
    assert "127.0.0.1" in caplog.text
    assert "TOKEN" not in caplog.text and "MfKQ9r8" not in caplog.text


def test_the_key_file_is_private_and_holds_keys(tmp_path: Path) -> None:
    """A file that others may read, that is empty or holds something else is refused by name."""
    path = tmp_path / "keys"
    with pytest.raises(Fatal, match="cannot be read"):
        read_webhook_keys(path)
    path.write_text("# old\nwhsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n\n")
    path.chmod(0o644)
    with pytest.raises(Fatal, match="must be 0600"):
        read_webhook_keys(path)
    path.chmod(0o600)
    assert read_webhook_keys(path) == [SECRET]
    path.write_text("hunter2\n")
    with pytest.raises(Fatal, match="must begin with whsec_") as refused:
        read_webhook_keys(path)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "key", "sentence"),
    [
        ("ftp://example.org/SECRET", "k", "must be an http or https URL"),
        ("https://me:SECRET@example.org/", "k", "must hold no user and no password"),
        ("https://example.org/SECRET", "", "--webhook-key: is required"),
    ],
)
def test_a_webhook_that_cannot_be_used_is_refused_without_showing_it(url: str, key: str, sentence: str) -> None:
    """The sentence names flag and rule, never the URL."""
    with pytest.raises(ConfigError) as refused:
        parse(
            ["--node-id", "3f0a1c5e-7b2d-4c89-9e31-5a6b7c8d9e01", "--dsn", "x", "--webhook", url, "--webhook-key", key],
            {},
        )
    assert sentence in str(refused.value) and "SECRET" not in str(refused.value)
