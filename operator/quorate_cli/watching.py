"""`--watch`: what is shown, again each time that it changed, until interrupted (docs/cli.md, "--watch").

An API server that goes away after something was shown is waited for, and said so once; before that it is an error.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import Annotated, Any, TypeVar

import typer

from quorate_cli.cluster import RefusedError
from quorate_cli.output import CliError, Format, UnreachableError, tell, warn

Obj = dict[str, Any]
T = TypeVar("T")
INTERVAL_SECONDS = 1.0
"""Between two readings, and between two attempts to reach an API server that is away."""
SHARE = 4
"""A reading that takes t seconds is followed by a pause of at least t times this: watching costs others no more."""
GIVE_UP_SECONDS = 600.0
"""Without an answer for so long, a watch ends as any other command that reaches no API server."""
_STARTING = (401, 403, 429, 500, 502, 503, 504)
"""What an API server answers that starts or stops; of one that answered before it says nothing about rights."""
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Show it again each time that it changes.")]


def readings(
    read: Callable[[], T],
    *,
    pause: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[T]:
    """What `read` gives, again and again: for what many objects and the time of day decide."""
    while True:
        began = clock()
        found = read()
        took = clock() - began
        yield found
        pause(max(INTERVAL_SECONDS, SHARE * took))


def each(
    start: Callable[[], Iterator[T]],
    shown: Callable[[T], None],
    *,
    watch: bool,
    output: Format | None,
    key: Callable[[T], object] = lambda item: item,
    pause: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Show the first that `start` yields; with `watch` each that differs from the last by `key` and in what is printed.

    Dashes stand between two where `output` is for people or YAML; None: `shown` prints lines, and nothing is between.

    It ends when `start` has no more, or the user interrupts. `start` is called again after the API server was away;
    what cannot be shown, later than the first, is a warning.

    Raises:
        UnreachableError: no answer to the first question, or for GIVE_UP_SECONDS.
        CliError: the first cannot be shown; or there is nothing to watch any more.
    """
    if not watch:
        shown(next(start()))
        return
    view = _View(shown, key, output)
    gap = _Gap(pause, clock)
    try:
        while True:
            try:
                for item in start():
                    view.show(item)
                    gap.close()
                return
            except (UnreachableError, RefusedError) as error:
                if not view.began:
                    raise
                gap.wait(error)
    except KeyboardInterrupt:
        return


class _View:
    """Prints what `shown` prints where it differs from the last time."""

    def __init__(self, shown: Callable[[Any], None], key: Callable[[Any], object], output: Format | None) -> None:
        self._shown, self._key = shown, key
        self._dashes = output in (Format.TABLE, Format.WIDE, Format.YAML)
        self._seen: object = None
        self._text = ""
        self.began = False

    def show(self, item: Any) -> None:
        """Print it if it differs; what cannot be shown, later than the first, is a warning."""
        key = self._key(item)
        if self.began and key == self._seen:
            return
        try:
            text = self._page(item)
        except (UnreachableError, RefusedError):
            raise  # asked again
        except CliError as error:
            if not self.began:
                raise
            warn(str(error))
            text = self._text
        if text != self._text and self.began and self._dashes:
            print("---")
        if text != self._text or not self.began:
            print(text, end="", flush=True)
        self._seen, self._text, self.began = key, text, True

    def _page(self, item: Any) -> str:
        page = _Page(sys.stdout.isatty())
        with redirect_stdout(page):
            self._shown(item)
        return page.getvalue()


class _Page(StringIO):
    """Standard output that is kept; in colours where the real one has them."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        """Whether what is kept will be written to a terminal."""
        return self._terminal


@dataclass
class _Gap:
    """Since when the API server is away."""

    pause: Callable[[float], None]
    clock: Callable[[], float]
    since: float | None = None

    def wait(self, error: UnreachableError | RefusedError) -> None:
        """Say so once and pause; raises the error when it is none that passes, or after GIVE_UP_SECONDS."""
        if isinstance(error, RefusedError) and error.status not in _STARTING:
            raise error
        now = self.clock()
        if self.since is None:
            self.since = now
            warn(f"{error}; asked again until it answers")
        elif now - self.since >= GIVE_UP_SECONDS:
            raise error
        self.pause(INTERVAL_SECONDS)

    def close(self) -> None:
        """It answers."""
        if self.since is not None:
            self.since = None
            tell("the API server answers again")
