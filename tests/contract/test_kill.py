"""kill -9 under load, of sealer, client and Postgres: nothing acknowledged is lost, nothing is recorded twice."""

import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from quorate.audit.record import Record
from quorate.audit.verify import Verdict
from quorate.canonical import parse_json
from quorate_operator.store.migrate import create_login, migrate
from quorate_operator.verification import ChainRequest, verify_database
from tests.contract.server import Installation, Server, until
from tests.contract.worker import CHAIN, SIGNER

KEY = bytes(range(32)).hex()
ROLES = ("sealer", "client")
VICTIMS = (*ROLES, "postgres")
PAIR = len("try ") + len("done ") + 2 * (36 + 1)


class Town:
    """A Postgres, a sealer and a client, each a process of its own, and what they were told."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.starts = 0

    def start(self, role: str) -> None:
        """Start a process with the memory of the one before it."""
        self.starts += 1
        name = role if role == "client" else f"{role}-{self.starts}"
        log = (self.folder / f"{role}.log").open("ab")
        self.processes[role] = subprocess.Popen(
            [sys.executable, "-m", "tests.contract.worker", role, name, self.dsn("operator"), str(self.folder), KEY],
            stdout=log,
            stderr=log,
        )

    def dsn(self, user: str) -> str:
        """The database, as this user."""
        return self.server.dsn("log", user)

    def journals(self, word: str, role: str = "") -> Counter[str]:
        """Ids in whole lines that begin with `word`, of one role or of all."""
        prefix = {"sealer": "direct-", "client": "client-", "": ""}[role]
        lines = [
            line
            for path in self.folder.glob(f"{prefix}*.journal")
            for line in path.read_text().splitlines(keepends=True)
            if line.endswith("\n") and line.startswith(word)
        ]
        return Counter(line.split()[1] for line in lines)

    def written(self, role: str) -> int:
        """How many entries a role was told of, as its journals' size says: a try and a done line for each."""
        prefix = {"sealer": "direct-", "client": "client-"}[role]
        return sum(path.stat().st_size for path in self.folder.glob(f"{prefix}*.journal")) // PAIR

    def goes_on(self, more: int) -> None:
        """Wait until each role was told of so many further entries."""
        before = {role: self.written(role) for role in ROLES}

        def grown() -> bool:
            for role, process in self.processes.items():
                assert process.poll() is None, (self.folder / f"{role}.log").read_text()[-3000:]
            return all(self.written(role) >= before[role] + more for role in ROLES)

        until(grown, 60)

    def kill(self, victim: str) -> None:
        """Kill -9 a process, or stop Postgres as in a power cut; then start it again."""
        if victim == "postgres":
            self.server.stop(signal.SIGQUIT)
            self.server.start()
            return
        self.processes[victim].kill()
        self.processes[victim].wait(30)
        self.start(victim)

    def settle(self) -> None:
        """End the client, let the sealer move what was taken in, end the sealer."""
        self._end("client")

        def empty() -> bool:
            with psycopg.connect(self.dsn("postgres")) as connection:
                return connection.execute("SELECT FROM quorate.audit_intake LIMIT 1").fetchone() is None

        until(empty, 60)
        self._end("sealer")

    def _end(self, role: str) -> None:
        process = self.processes.pop(role)
        process.kill()
        process.wait(30)


@pytest.fixture
def town(installation: Installation, tmp_path: Path) -> Iterator[Town]:
    """A town with a database of its own; everything in it ends with the test."""
    server = Server(installation)
    server.start()
    made = Town(server, tmp_path)
    try:
        server.run("CREATE DATABASE log")
        migrate(made.dsn("postgres"))
        create_login(made.dsn("postgres"), "operator", ["quorate_app", "quorate_sealer"])
        with psycopg.connect(made.dsn("postgres")) as connection:
            connection.execute("CREATE TABLE public.state (entry uuid PRIMARY KEY)")
            connection.execute("GRANT ALL ON public.state TO operator")
        yield made
    finally:
        for process in made.processes.values():
            process.kill()
            process.wait(30)
        server.remove()


def recorded(town: Town) -> list[str]:
    """The ids of all entries of the log."""
    with psycopg.connect(town.dsn("postgres")) as connection:
        rows = connection.execute("SELECT record FROM quorate.audit_entry WHERE chain_id = %s ORDER BY seq", (CHAIN,))
        return [str(parse_json(Record.decode(bytes(row[0])).content)["entry_id"]) for row in rows]


@pytest.mark.parametrize("kills", [6, pytest.param(200, marks=pytest.mark.long)])
def test_nothing_is_lost_and_nothing_doubled(town: Town, kills: int) -> None:
    """After all kills: every acknowledged entry is in the log, each once; every committed change has its entry, exactly
    once; nothing was refused; the chain verifies, and every checkpoint that was handed out meanwhile holds.
    """
    chance = random.Random(f"kills {kills}")
    for role in ROLES:
        town.start(role)
    for number in range(kills):
        town.goes_on(chance.randrange(1, 40))
        town.kill(VICTIMS[number % len(VICTIMS)])
    town.goes_on(20)
    town.settle()

    entries = recorded(town)
    assert len(entries) == len(set(entries))
    told, asked = town.journals("done"), town.journals("try")
    assert set(told) <= set(entries) <= set(asked) and max(told.values()) == 1
    with psycopg.connect(town.dsn("postgres")) as connection:
        changes = {str(row[0]) for row in connection.execute("SELECT entry FROM public.state")}
        (refused,) = connection.execute("SELECT count(*) FROM quorate.audit_intake_refused").fetchone() or (None,)
    assert set(entries) & set(town.journals("try", "client")) == changes and refused == 0
    notes = tuple(path.read_text() for path in town.folder.glob("checkpoint-*"))
    request = ChainRequest(CHAIN, keys=(str(SIGNER.verifier),), anchors=notes)
    report = verify_database(town.dsn("postgres"), [request], workers=1)
    assert report.verdict is Verdict.INTACT, report.document()
    assert report.chains[0].checked == len(entries) and notes
