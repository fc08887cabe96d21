"""Verification of a filled database: whole, and of the last entries behind a checkpoint."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import psycopg

from quorate.audit import tiles
from quorate.audit.checkpoint import Checkpoint
from quorate.audit.verify import Verdict
from quorate_operator.verification import ChainRequest, verify_database
from quorate_operator.verification.database import reading
from tests.bench.figure import Figure
from tests.bench.filled import CHAIN, SIGNER, Filled, filled

ENTRIES = int(os.environ.get("QUORATE_BENCH_ENTRIES", "200000"))
LAST = 10_000
KEYS = (str(SIGNER.verifier),)


def run() -> Iterator[Figure]:
    """On a database of ENTRIES entries of its own."""
    with filled(ENTRIES) as database:
        yield from figures(database)


def figures(database: Filled) -> Iterator[Figure]:
    """Full verification, its memory, and the last 10 000 entries; baselines read the same records and do nothing."""
    read = _seconds(lambda: _read(database, 0))
    report = verify_database(database.admin, [ChainRequest(CHAIN, KEYS, (database.checkpoint,))])
    assert report.verdict is Verdict.INTACT, report.document()
    baseline = "reading the records by binary COPY, one connection"
    yield Figure("full verification", database.size / report.seconds, "entries/s", baseline, database.size / read,
                 200_000, at_least=True)  # fmt: skip
    yield Figure("full verification, memory of all its processes", _megabytes(database), "MB", "none", 0, 200)
    note = _note(database, database.size - LAST)
    request = ChainRequest(CHAIN, KEYS, since=note)
    taken = min(_seconds(lambda: _verify_last(database, request)) for _ in range(3))
    read = min(_seconds(lambda: _read(database, database.size - LAST)) for _ in range(3))
    yield Figure("verification of the last 10 000 from a checkpoint", taken * 1000, "ms", baseline, read * 1000, 150)


def _megabytes(database: Filled) -> float:
    """Peak of a verification in a process of its own and its workers; pages that they share count for each."""
    program = (
        "import os, resource as r, sys; from quorate_operator.verification import ChainRequest, verify_database\n"
        "verify_database(sys.argv[1], [ChainRequest(sys.argv[2])])\n"
        # Not getrusage: its peak is that of the process that forked this one, too.
        "own = next(int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('VmHWM:'))\n"
        "print((own + os.cpu_count() * r.getrusage(r.RUSAGE_CHILDREN).ru_maxrss) / 1024)"
    )
    command = [sys.executable, "-c", program, database.admin, CHAIN]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _seconds(work: Callable[[], None]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _verify_last(database: Filled, request: ChainRequest) -> None:
    (report,) = verify_database(database.admin, [request]).chains
    assert report.fault is None and report.checked == LAST, report


def _read(database: Filled, start: int) -> None:
    where = f"WHERE chain_id = '{CHAIN}' AND seq >= {start} ORDER BY seq"
    query = f"COPY (SELECT record FROM quorate.audit_entry {where}) TO STDOUT (FORMAT binary)"
    with psycopg.connect(database.admin) as connection, connection.cursor().copy(query) as copy:
        for _ in copy:
            pass


def _note(database: Filled, size: int) -> str:
    plan = tiles.root(size)
    with reading(database.admin) as reader:
        (root,) = plan.hashes(reader.tiles(CHAIN, plan.tiles))
    return Checkpoint(CHAIN, size, root).sign(SIGNER)
