"""What the reader sees: chapters, sentences, commands with their real output; and what each command must come to."""

import os
import subprocess
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from quorate_cli.output import CliError

_WIDTH = 100
_PAUSE_SECONDS = 0.2
_LIMIT_SECONDS = 120
_COMMAND = "bold cyan"


class DemoError(CliError):
    """A step that did not come out as told: the command, and what was expected of it."""


class Stage:
    """Runs commands in one folder with one environment, and shows them. Plain text where it is no terminal."""

    def __init__(self, folder: Path, console: Console | None = None) -> None:
        self.folder = folder
        self.environment: dict[str, str] = dict(os.environ)
        self._console = console or Console(highlight=False)

    def chapter(self, number: int, title: str) -> None:
        """A heading."""
        line = f"{number}. {title}"
        self._line(f"\n{line}\n{'─' * len(line)}", style="bold")

    def say(self, text: str) -> None:
        """A paragraph."""
        self._line("\n" + textwrap.fill(" ".join(text.split()), _WIDTH))

    def run(
        self, command: str, *, code: int = 0, said: Sequence[str] = (), within: float = 0.0, shown: bool = True
    ) -> str:
        """Show a shell command, run it, show its output, and check it; the output (both streams).

        `code`: the exit code it must have; `said`: what its output must hold; `within`: seconds for which it is asked
        again until both are so (then only the last output is shown). Not `shown`: the output is not, the command is.

        Raises:
            DemoError: it ended otherwise.
        """
        self._line(f"\n$ {command}".replace("\n", "\n  ").replace("\n  $", "\n$", 1), style=_COMMAND)
        deadline = time.monotonic() + within
        with self.doing(""):
            while True:
                ended, output = self._call(command)
                missing = [text for text in said if text not in output]
                if (ended == code and not missing) or time.monotonic() > deadline:
                    break
                time.sleep(_PAUSE_SECONDS)
        if shown and output.strip():
            self._line(output.rstrip("\n"))
        _check(command, ended, output, code, missing)
        return output

    def attach(self, command: str) -> None:
        """Show and run a command that shows its own progress on this terminal.

        Raises:
            DemoError: it failed.
        """
        self._line(f"\n$ {command}", style=_COMMAND)
        self._console.file.flush()
        done = subprocess.run(command, shell=True, cwd=self.folder, env=self.environment, check=False)  # noqa: S602 - the story's own text
        _check(command, done.returncode, "", 0, [])

    def quiet(self, command: str) -> str:
        """Run a command unseen; its output.

        Raises:
            DemoError: it failed.
        """
        ended, output = self._call(command)
        _check(command, ended, output, 0, [])
        return output.strip()

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """A spinner on a terminal while something takes its time; nothing elsewhere."""
        if not self._console.is_terminal:
            yield
            return
        with self._console.status(what):
            yield

    def export(self, values: Mapping[str, str], *, apply: bool = False) -> None:
        """Show how the reader sets these variables; `apply`: and set them for all later commands."""
        if apply:
            self.use(values)
        self._line("\n" + "\n".join(f"$ export {name}={value}" for name, value in values.items()), style=_COMMAND)

    def suggest(self, commands: Sequence[str]) -> None:
        """Show commands that are not run."""
        self._line("\n".join(f"$ {command}" for command in commands), style=_COMMAND)

    def use(self, values: Mapping[str, str]) -> None:
        """Set environment variables for all later commands, as `export` would."""
        self.environment.update(values)

    def _call(self, command: str) -> tuple[int, str]:
        try:
            done = subprocess.run(  # noqa: S602 - the story's own text
                command, shell=True, cwd=self.folder, env=self.environment, check=False, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=_LIMIT_SECONDS,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise DemoError(f"the story stops here: `{command}` did not end within {_LIMIT_SECONDS} s") from error
        return done.returncode, done.stdout

    def _line(self, text: str, style: str | None = None) -> None:
        self._console.print(text, style=style, markup=False, soft_wrap=True)


def _check(command: str, ended: int, output: str, code: int, missing: Sequence[str]) -> None:
    short = " ".join(command.split())
    last = next((line for line in reversed(output.splitlines()) if line.strip()), "it said nothing")
    if ended != code:
        raise DemoError(f"the story stops here: `{short}` ended with {ended}, not {code}: {last}")
    if missing:
        raise DemoError(f"the story stops here: `{short}` did not say {missing[0]!r}: {last}")
