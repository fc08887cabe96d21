"""A copy of a sandbox's data directory, put back later: the restored backup of the quarantine's runbook."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quorate_cli.sandbox.instance import Sandbox


class Backup:
    """The database as it is now, copied while nobody writes."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self._sandbox, self._folder = sandbox, folder / "old-database"
        with _database_stopped(sandbox) as data:
            shutil.copytree(data, self._folder, symlinks=True)

    def put_back(self) -> None:
        """In place of what is there since; once."""
        with _database_stopped(self._sandbox) as data:
            owner = (data.owner(), data.group())
            shutil.rmtree(data)
            shutil.move(self._folder, data)
            for path in (data, *data.rglob("*")):
                shutil.chown(path, *owner)


@contextmanager
def _database_stopped(sandbox: Sandbox) -> Iterator[Path]:
    sandbox.stop("operator")
    sandbox.stop("postgres")
    yield sandbox.layout.state / "postgres"
    sandbox.start("postgres")
    sandbox.wait("postgres")
    sandbox.start("operator")
