"""Publishes the log: after each signed checkpoint its chain's directory is brought to it (docs/verification.md).

Whoever watches the directory, a stock C2SP monitor for example, needs neither cluster nor database. A place that is
away is tried again and holds up nothing else. What is published is never rewritten: a log that does not continue it
went back or was changed, which is told to `alarm`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from quorate.audit.checkpoint import parse_checkpoint
from quorate.audit.note import parse_note
from quorate_operator.errors import Fatal, OperatorError, Stalled
from quorate_operator.http import metrics
from quorate_operator.store.directory import LogDirectory
from quorate_operator.store.directory_writer import write_view
from quorate_operator.store.files import Files
from quorate_operator.store.ports import Log

_log = logging.getLogger(__name__)
_RETRY_SECONDS = 10.0
Alarm = Callable[[str, Stalled], Awaitable[None]]


async def _silent(chain: str, error: Stalled) -> None:
    del chain, error


class Publication:
    """The published view of every chain.

    Args:
        log: what is published.
        files: where.
        alarm: hears of a chain whose log does not continue what is published, or does not lead to its own checkpoint.
        retry_seconds: how long a place that was away is left alone.
    """

    def __init__(
        self, log: Log, files: Files, alarm: Alarm = _silent, *, retry_seconds: float = _RETRY_SECONDS
    ) -> None:
        self._log = log
        self._files = files
        self._alarm = alarm
        self._retry_seconds = retry_seconds
        self._due: set[str] = set()
        self._marked = asyncio.Event()

    def mark(self, chain: str) -> None:
        """The chain has a new checkpoint, or new cosignatures on its newest."""
        self._due.add(chain)
        self._marked.set()

    async def run(self) -> None:
        """Publish what is marked, for ever.

        Raises:
            Fatal: leadership was lost.
        """
        while True:
            await self._marked.wait()
            self._marked.clear()
            due, self._due = self._due, set()
            for chain in sorted(due):
                await self._attempt(chain)

    async def _attempt(self, chain: str) -> None:
        try:
            await self.publish(chain)
        except Fatal:
            raise
        except OperatorError as error:
            metrics.PUBLICATION_FAILURES.labels(chain, error.reason).inc()
            _log.error("not published: %s", error.message, extra={"reason": error.reason, "chain": chain})
            if isinstance(error, Stalled):
                await self._alarm(chain, error)
            else:
                asyncio.get_running_loop().call_later(self._retry_seconds, self.mark, chain)

    async def publish(self, chain: str) -> None:
        """Bring the chain's directory to its newest checkpoint; nothing happens where there is none.

        Raises:
            Stalled, Transient: as of `write_view`.
        """
        note = await self._log.newest_checkpoint(chain)
        if note is None:
            return
        directory = LogDirectory.of(self._files, chain)
        await write_view(directory, self._log, note)
        metrics.PUBLISHED.labels(chain).set(parse_checkpoint(parse_note(note).text).size)
