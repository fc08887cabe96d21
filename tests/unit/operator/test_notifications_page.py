"""The receiver on docs/notifications.md, against the operator's own webhook."""

import asyncio
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from quorate.notifications.notice import Cause, Notice
from quorate.notifications.signature import WebhookKey
from quorate_operator.notify.webhook import Answer, Webhook

PAGE = Path(__file__).parents[3] / "docs/notifications.md"
LINE = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
NOTICE = Notice(Cause.OPENED, "GovernanceProposal", "default", "p", "sha256:1", "fleet", 1, 2, ("m1",), "vote on p")


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """The program as the page has it, and its port."""
    found = re.search(r"<!-- receiver -->\n```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    (tmp_path / "receiver.py").write_text(found[1])
    (tmp_path / "webhook.key").write_text(LINE + "\n")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    command = [sys.executable, "receiver.py", "webhook.key", str(port)]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        yield process, port
        process.kill()


async def told(port: int, line: str, second: float) -> Answer:
    webhook = Webhook(f"http://127.0.0.1:{port}/", [WebhookKey.parse(line)], lambda: second)
    async with asyncio.timeout(20):
        while (answer := await webhook.attempt(NOTICE)).said == "ConnectError":  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(0.02)
    await webhook.close()
    return answer


async def test_the_receiver_of_the_page(receiver: tuple["subprocess.Popen[str]", int]) -> None:
    """It takes what is signed with its secret and fresh, shows it once, and refuses another key and an old message."""
    process, port = receiver
    now = time.time()
    assert (await told(port, OTHER, now)).said == "HTTP 401"
    assert (await told(port, LINE, now - 301)).said == "HTTP 401"
    for _ in range(2):
        assert (await told(port, LINE, now)).delivered
    process.kill()
    assert process.communicate()[0] == "vote on p\n"
