"""A real Postgres for the tests: the server of the wheel, on a Unix socket, durable as in production."""

import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg

from quorate_cli.sandbox.postgres import binaries
from quorate_cli.sandbox.processes import spawn


def until(holds: Callable[[], bool], seconds: float) -> None:
    """Wait for a condition; AssertionError after the deadline."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        select.select([], [], [], 0.02)


@dataclass(frozen=True)
class Installation:
    """Which Postgres, and whether who migrates it is a superuser (`managed`: the database's owner with CREATEROLE)."""

    directory: Path
    major: int
    managed: bool = False

    def __str__(self) -> str:
        return f"{self.major}-managed" if self.managed else str(self.major)

    @property
    def migrator(self) -> str:
        """The login that owns the databases and migrates them."""
        return "dba" if self.managed else "postgres"


def installations() -> list[Installation]:
    """The wheel's server, then the Debian packages' where they are installed."""
    places = [binaries(), *sorted(Path("/usr/lib/postgresql").glob("*/bin"))]
    found = {_major(place): place for place in reversed(places) if (place / "initdb").exists()}
    newest = _major(binaries())
    majors = [newest, *sorted(found.keys() - {newest})]
    return [Installation(found[major], major, managed) for major in majors for managed in (False, True)]


def _major(directory: Path) -> int:
    said = subprocess.run([directory / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    return int(said.split()[2].partition(".")[0])


class Server:
    """One Postgres; `start` after `stop` or `kill` goes on with the same data.

    Args:
        installation: which one; None takes the wheel's.
        settings: `name=value` beyond its defaults.
    """

    def __init__(self, installation: Installation | None = None, settings: Sequence[str] = ()) -> None:
        self._settings = [word for setting in settings for word in ("-c", setting)]
        self.installation = installation or installations()[0]
        self.root = Path(tempfile.mkdtemp(prefix="qpg"))
        self.data = self.root / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._run("initdb", "-D", str(self.data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C",
                  "--no-sync").wait(60)  # fmt: skip
        assert (self.data / "PG_VERSION").exists(), (self.root / "log").read_text()

    def _run(self, program: str, *args: str) -> "subprocess.Popen[bytes]":
        with (self.root / "log").open("ab") as log:
            return spawn([str(self.installation.directory / program), *args], log=log, unprivileged=os.geteuid() == 0)

    def start(self) -> None:
        """Start and wait until it answers."""
        self._process = self._run(
            "postgres", "-D", str(self.data), "-k", str(self.root), "-c", "listen_addresses=",
            "-c", "dynamic_shared_memory_type=mmap", "-c", "max_connections=120", *self._settings,
        )  # fmt: skip
        until(self._answers, 30)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.dsn("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self, number: int = signal.SIGINT) -> None:
        """Send a signal (SIGINT: fast stop, SIGQUIT: as a crash) and wait for the end."""
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(30)

    def remove(self) -> None:
        """Crash it and delete its files."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.root, ignore_errors=True)

    def run(self, statement: str) -> None:
        """One statement outside any transaction, as superuser."""
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            connection.execute(statement)

    def dsn(self, database: str, user: str = "postgres") -> str:
        """Connection string over the socket."""
        return f"postgresql://{quote(user)}@/{database}?host={quote(str(self.root), safe='')}"
