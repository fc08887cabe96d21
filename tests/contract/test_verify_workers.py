"""The processes of a verification: none is waited for in vain, and none outlives the one that started them."""

import os
import signal
import subprocess
import sys
from multiprocessing import active_children
from pathlib import Path

import pytest

from quorate_operator.errors import Transient
from quorate_operator.verification import ChainRequest, verify_database
from quorate_operator.verification import run as engine
from tests.chains import CHAIN, build, write
from tests.contract.server import Server, until

WHOLE = build(600)
PROGRAM = """
import sys
from multiprocessing import active_children
from quorate_operator.verification import ChainRequest, run, verify_database
run.SMALL, run.SEGMENT = 100, 64
def progress(done, total):
    print(*[child.pid for child in active_children()], flush=True)
    sys.stdin.read()
verify_database(sys.argv[1], [ChainRequest(sys.argv[2])], workers=2, progress=progress)
"""


@pytest.fixture
def dsn(postgres: Server, database: str) -> str:
    """A database with one chain."""
    made = postgres.dsn(database)
    write(made, WHOLE)
    return made


def test_a_worker_that_is_killed_ends_the_verification(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told apart from a fault of the log, and nothing is left running."""
    monkeypatch.setattr(engine, "SMALL", 100)
    monkeypatch.setattr(engine, "SEGMENT", 32)

    def kill(done: int, total: int) -> None:
        for child in active_children()[:1]:
            os.kill(child.pid or 0, signal.SIGKILL)

    with pytest.raises(Transient) as ended:
        verify_database(dsn, [ChainRequest(CHAIN)], workers=2, progress=kill)
    assert ended.value.reason == "VerificationAborted"
    assert active_children() == []


def test_workers_end_with_the_process_that_started_them(dsn: str) -> None:
    """Also when that one is killed, so that no verification goes on that nobody hears of."""
    command = [sys.executable, "-c", PROGRAM, dsn, CHAIN]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        workers = [int(word) for word in process.stdout.readline().split()]
        assert len(workers) == 2
        process.kill()

    def gone(pid: int) -> bool:
        stat = Path(f"/proc/{pid}/stat")
        try:
            return stat.read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True

    until(lambda: all(map(gone, workers)), 30)
