"""What a leader runs side by side: named tasks, of which the first that ends ends all."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from quorate_operator.errors import Fatal

WATCH = "watch"
"""The part that ends by its own flag and is never cancelled: Kopf cleans up behind itself."""


class Parts:
    """The tasks by name, in the order in which they were begun."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[Any]] = {}

    def __getitem__(self, name: str) -> "asyncio.Task[Any]":
        return self._tasks[name]

    def begin(self, name: str, work: Coroutine[Any, Any, Any]) -> None:
        """Make a task of it at once."""
        self._tasks[name] = asyncio.create_task(work, name=name)

    async def first_end(self, stop: asyncio.Event) -> None:
        """Wait until a part ends, or `stop` is asked for.

        Raises:
            Fatal: a part ended although nobody asked for it; the message names it.
        """
        stopped = asyncio.create_task(stop.wait(), name="stop")
        await asyncio.wait({stopped, *self._tasks.values()}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        for name, task in self._tasks.items():
            if task.done():
                _raise_end(name, task, asked=stop.is_set())

    async def end(self, name: str) -> None:
        """Cancel one and wait for its end."""
        self._tasks[name].cancel()
        await asyncio.wait({self._tasks[name]})

    async def end_all(self, patience: float) -> None:
        """Cancel what may be cancelled; wait for all of them, `patience` seconds at most."""
        for name, task in self._tasks.items():
            if name != WATCH:
                task.cancel()
        await asyncio.wait(self._tasks.values(), timeout=patience)


def _raise_end(name: str, task: "asyncio.Task[Any]", *, asked: bool) -> None:
    error = task.exception() if not task.cancelled() else None
    if isinstance(error, Fatal):
        raise error
    if name == WATCH and error is None:
        # Kopf ends without an error only when it is told to: by our flag, or by a signal that came in the moment
        # before its handlers were replaced by ours. Either way somebody asked the process to stop.
        return
    if error is not None or not asked:
        raise Fatal("PartEnded", f"the operator's {name} ended: {error or 'without an error'}") from error
