"""`python -m tests.bench.anchors [SYSTEM …]`: Quorate's direct append beside what users pick today, on one machine.

The anchors are small Go programs over public modules, built here on demand; nothing of them is shipped. Same payload,
callers and disk; every entry is durable (fsync) before it counts. Needs Go, and the module proxy for the first build.
"""

import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from quorate_operator.store.log import PostgresStore
from quorate_operator.store.migrate import create_login, migrate
from tests.bench.bench_append import draft_of, rate_of
from tests.bench.figure import Figure
from tests.contract.server import Server

HERE = Path(__file__).parent
SYSTEMS = {
    "immudb": "immudb embedded in a Go process, synced",
    "immudb-server": "immudb server, verified writes, synced",
    "tessera": "Tessera POSIX, index durable",
    "tessera-published": "Tessera POSIX, checkpoint published",
}
CALLERS = (16, 64, 100)
SECONDS = 8


def built(folder: Path) -> Path:
    """The anchors' program, compiled."""
    go = shutil.which("go")
    if go is None:
        raise SystemExit("the anchors are Go programs: install Go (https://go.dev/dl) or leave them out")
    program = folder / "anchors"
    subprocess.run([go, "build", "-o", str(program), "."], cwd=HERE, check=True)
    return program


def anchor(program: Path, system: str, callers: int, place: Path) -> float:
    """Entries per second of one system."""
    with tempfile.TemporaryDirectory(dir=place) as folder:
        command = [str(program), "-system", system, "-callers", str(callers), "-seconds", str(SECONDS), "-dir", folder]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    figure = next(line for line in done.stdout.splitlines() if line.startswith("{"))  # immudb greets there, too
    return float(json.loads(figure)["perSecond"])


@contextmanager
def database() -> Iterator[Server]:
    """A Postgres with an empty log."""
    server = Server()
    server.start()
    try:
        with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
            connection.execute("CREATE DATABASE bench")
        migrate(server.dsn("bench"))
        create_login(server.dsn("bench"), "operator", ["quorate_app", "quorate_sealer"])
        yield server
    finally:
        server.remove()


async def ours(dsn: str, callers: int) -> float:
    """Entries per second of the direct append."""
    store = PostgresStore(dsn)
    await store.open()
    await store.take("bench")
    await store.log.append("bench", [draft_of(f"warm-{callers}")])
    rate, _ = await rate_of(lambda key: store.log.append("bench", [draft_of(f"{callers}-{key}")]), callers)
    await store.close()
    return rate


def run(systems: list[str]) -> Iterator[Figure]:
    """A line for each system and number of callers: ours, the anchor's as baseline."""
    with tempfile.TemporaryDirectory() as folder, database() as server:
        program = built(Path(folder))
        for callers in CALLERS:
            rate = asyncio.run(ours(server.dsn("bench", "operator"), callers))
            for system in systems:
                found = anchor(program, system, callers, server.root)
                name = f"direct append, {callers} callers"
                yield Figure(name, rate, "entries/s", SYSTEMS[system], found, 1.0, of_ratio=True, at_least=True)


def main(names: list[str]) -> int:
    """Run and print; 1 if an anchor was faster."""
    if unknown := set(names) - set(SYSTEMS):
        sys.stderr.write(f"no anchor {', '.join(sorted(unknown))}; there are: {', '.join(SYSTEMS)}\n")
        return 2
    missed = sum(not figure.emit() for figure in run(names or list(SYSTEMS)))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
