"""One receiver of signed messages, as Standard Webhooks has it; URL and keys appear in no log."""

import asyncio
import logging
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import httpx

from quorate.canonical import canonical_bytes
from quorate.notifications.notice import Notice
from quorate.notifications.signature import WebhookKey, WebhookKeyError, headers
from quorate_operator.errors import Fatal

_log = logging.getLogger(__name__)
TIMEOUT_SECONDS = 10.0
_GONE = 410


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of an attempt: delivered, refused for good, or (neither) to be tried again after `wait` seconds."""

    delivered: bool = False
    refused: bool = False
    wait: float = 0.0
    said: str = ""


class Receiver(Protocol):
    """Takes notices; `attempt` never raises for what the other side does."""

    async def attempt(self, notice: Notice) -> Answer:
        """Try once; returns within `TIMEOUT_SECONDS`."""
        ...

    async def close(self) -> None:
        """Give connections back."""
        ...


class NoReceiver:
    """Nobody is told but by Events."""

    async def attempt(self, notice: Notice) -> Answer:
        """Done at once."""
        del notice
        return Answer(delivered=True)

    async def close(self) -> None:
        """Nothing is held."""


class Webhook:
    """A receiver at a URL.

    Args:
        url: http or https.
        keys: at least one; each signs every message.
        clock: Unix seconds.
        timeout: seconds an attempt may last.
    """

    def __init__(
        self, url: str, keys: Sequence[WebhookKey], clock: Callable[[], float], *, timeout: float = TIMEOUT_SECONDS
    ) -> None:
        self._url, self._keys, self._clock, self._timeout = url, tuple(keys), clock, timeout
        # Redirects are not followed: the administrator chose this address, its answer may not choose another.
        self._http = httpx.AsyncClient(timeout=timeout, follow_redirects=False)
        # httpx writes each request's whole URL at INFO, and its path may be a token.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        host = urlsplit(url).hostname
        publics = ", ".join(key.public for key in keys if key.public)
        _log.info("notices go to %s; they are verified with %s", host, publics or "the shared secret")

    async def attempt(self, notice: Notice) -> Answer:
        """POST the signed message; of the answer only status and Retry-After are read."""
        body = canonical_bytes(dict(notice.document))
        signed = headers(self._keys, notice.id, int(self._clock()), body)
        try:
            # The client's timeout is for each read: one that answers a byte at a time would never reach it.
            async with (
                asyncio.timeout(self._timeout),
                self._http.stream(
                    "POST", self._url, content=body, headers={"content-type": "application/json", **signed}
                ) as response,
            ):
                return _judge(response)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            return Answer(said=type(error).__name__)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()


def _judge(response: httpx.Response) -> Answer:
    said, wait = f"HTTP {response.status_code}", response.headers.get("retry-after", "")
    if response.is_success:
        return Answer(delivered=True, said=said)
    seconds = float(wait) if wait.isascii() and wait.isdecimal() and len(wait) <= 9 else 0.0
    return Answer(refused=response.status_code == _GONE, wait=seconds, said=said)


def read_webhook_keys(path: Path) -> list[WebhookKey]:
    """The keys in a file, one a line; empty lines and lines that begin with # are passed over.

    Raises:
        Fatal: the file cannot be read, others may read it, or it holds no key.
    """
    try:
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise Fatal("WebhookKey", f"--webhook-key {path}: others may read it; its mode must be 0600")
        lines = [line.strip() for line in path.read_text().splitlines()]
        keys = [WebhookKey.parse(line) for line in lines if line and not line.startswith("#")]
    except (OSError, UnicodeDecodeError) as error:
        raise Fatal("WebhookKey", f"--webhook-key {path}: cannot be read ({type(error).__name__})") from error
    except WebhookKeyError as error:
        raise Fatal("WebhookKey", f"--webhook-key {path}: {error}") from error
    if not keys:
        raise Fatal("WebhookKey", f"--webhook-key {path}: holds no key")
    return keys
