"""What is being done, for people who wait: a spinner with the time on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """A function that takes what is being done now."""
    from rich.console import Console  # noqa: PLC0415 - `--help` stays fast
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda line: print(f"{line} ...", file=sys.stderr, flush=True)
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as shown:
        step = shown.add_task("preparing", total=None)
        yield lambda line: shown.update(step, description=line)
