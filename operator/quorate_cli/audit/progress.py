"""How far a long command is: a bar on a terminal, a line for each tenth elsewhere."""

import time
from typing import Any

from quorate_cli.output import tell

_LONG = 50_000


class Bar:
    """A bar with rate and remaining time on standard error; it appears with the first step.

    Not before: its thread must not be there when processes are forked.
    """

    def __init__(self) -> None:
        self._shown: Any = None
        self._task: Any = None

    def __call__(self, done: int, total: int) -> None:
        """Show `done` of `total` entries."""
        if self._shown is None:
            self._start()
        self._shown.update(self._task, completed=done, total=total, rate=f"{self._rate():,.0f}/s")

    def _rate(self) -> float:
        return float(self._shown.tasks[0].speed or 0)

    def _start(self) -> None:
        from rich.console import Console  # noqa: PLC0415 - only on a terminal
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

        columns = (
            TextColumn("verifying"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        self._shown = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._shown.add_task("verifying", total=None, rate="")
        self._shown.start()

    def close(self) -> None:
        """Take the bar away."""
        if self._shown is not None:
            self._shown.stop()


class Lines:
    """A line on standard error for each tenth, with the rate, of what has more than a few entries."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._told = 0

    def __call__(self, done: int, total: int) -> None:
        """Tell of `done` of `total` entries."""
        tenth = done * 10 // total if total else 0
        if total < _LONG or tenth <= self._told:
            return
        self._told = tenth
        rate = done / max(time.monotonic() - self._begun, 0.001)
        tell(f"verified {done} of {total} entries ({tenth}0 %), {rate:,.0f}/s")

    def close(self) -> None:
        """Nothing is left to say."""
