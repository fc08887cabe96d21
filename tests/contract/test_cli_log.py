"""`quorate audit log` on a real Postgres: filters, the end first, several databases, followed over restarts."""

import asyncio
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest

from quorate.audit.entry import Draft, Tether
from quorate.audit.record import Record
from quorate.identity.vkey import SignerKey
from quorate_cli.audit.follow import Follower
from quorate_cli.audit.search import DivergentError, Filter, Search
from quorate_cli.audit.shown import printable
from quorate_cli.audit.source import Database
from quorate_cli.database import reading
from quorate_cli.main import run
from quorate_operator.store.log import PostgresStore
from quorate_operator.store.migrate import migrate
from tests.contract.server import Server, until

CHAIN, OTHER = "mesh/acme", "mesh/other"
SIGNER = SignerKey(CHAIN, bytes(range(32)))
Call = Callable[..., tuple[int, str, str]]


def vote(number: int, **more: Any) -> Draft:
    """A vote's entry; the subject key is a digest, the actor one of three, every second one is refused."""
    event = "governance.vote.accepted" if number % 2 else "governance.vote.refused"
    more.setdefault("about", [f"sha256:{'ab' * 32}"] if number in (3, 4) else [])
    return Draft(f"sha256:{number:064x}", None, event, {"kind": "Vote", "name": f"v{number}"}, Tether("5.5"),
                 now(), actor_id=f"node-{number % 3}", detail={"reason": "TooLate"}, **more)  # fmt: skip


def now() -> int:
    return time.time_ns() // 1000


async def fill(dsn: str, numbers: Sequence[int], chain: str = CHAIN, *, at_once: bool = True) -> list[int]:
    """Append votes; their sealed times."""
    store = PostgresStore(dsn)
    await store.open()
    await store.take("test")
    drafts = [vote(number) for number in numbers]
    for part in [drafts] if at_once else [[draft] for draft in drafts]:
        await store.log.append(chain, part)
    sealed = [Record.decode(entry.record).sealed_at async for entry in store.log.entries(chain)]
    await store.close()
    return sealed[-len(numbers) :]


@pytest.fixture
def quorate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """`quorate(…)` → exit code, standard output, standard error; without any cluster."""
    for name in ("KUBECONFIG", "QUORATE_SANDBOX", "QUORATE_DSN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run(["audit", "log", *(str(argument) for argument in arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


async def test_every_filter_selects(quorate: Call, postgres_dsn: str) -> None:
    """Actor, target, type and chain select as told, and all that are given must hold."""
    await fill(postgres_dsn, range(12))
    await fill(postgres_dsn, [100], OTHER)

    def found(*filters: object) -> list[int]:
        code, out, err = quorate("--dsn", postgres_dsn, "-o", "jsonl", *filters)
        assert code == 0, err
        return [json.loads(line)["sequence"] for line in out.splitlines()]

    one = ("--chain", CHAIN)
    assert found() == [*range(12), 0]
    assert found(*one) == list(range(12))
    assert found(*one, "--actor", "node-2") == [2, 5, 8, 11]
    assert found(*one, "--type", "governance.vote.accepted", "--actor", "node-1") == [1, 7]
    assert found(*one, "--type", "governance") == list(range(12))
    assert found("--target", "Vote/v7") == found("--target", "v7") == found("--target", f"sha256:{7:064x}") == [7]
    assert found("--target", f"sha256:{'ab' * 32}") == [3, 4]
    assert found(*one, "--limit", 2) == [10, 11] and found(*one, "--limit", 0) == list(range(12))
    assert found("--chain", "mesh/none") == found("--target", f"sha256:{'cd' * 32}") == []


async def test_times_select_by_sealing(quorate: Call, postgres_dsn: str) -> None:
    """`--since` and `--until` cut where the sealed time does, found by bisection; a time that is none is bad input."""
    sealed = await fill(postgres_dsn, range(40), at_once=False)
    read: list[tuple[int, int]] = []

    class Counting(Database):
        def block(self, chain: str, start: int, end: int) -> list[tuple[int, bytes]]:
            read.append((start, end))
            return super().block(chain, start, end)

    def found(since: int | None, until: int | None) -> list[int]:
        with reading(postgres_dsn) as reader:
            search = Search([Counting(reader.connection, "")], [], Filter(since=since, until=until), print)
            return [shown.sequence for shown in search.ascending()]

    for low, high in ((0, 40), (7, 8), (7, 31), (39, 40)):
        upper = None if high == 40 else sealed[high]
        want = [n for n in range(40) if sealed[n] >= sealed[low] and (upper is None or sealed[n] < upper)]
        assert found(sealed[low], upper) == want
    read.clear()
    assert found(sealed[39], None)[-1] == 39 and sum(end - start for start, end in read) < 20
    for wrong in ("yesterday", "2026-02-30", "5y"):
        assert quorate("--dsn", postgres_dsn, "--since", wrong)[0] == 2
    assert len(quorate("--dsn", postgres_dsn, "--since", "1h", "-o", "name")[1].split()) == 40
    assert quorate("--dsn", postgres_dsn, "--until", "2026-01-31")[2] == "nothing found\n"


async def test_the_last_are_read_from_the_end(postgres_dsn: str) -> None:
    """The last entries of a long chain are found without reading it."""
    await fill(postgres_dsn, range(2500))
    lowest: list[int] = []

    class Watched(Database):
        def block(self, chain: str, start: int, end: int) -> list[tuple[int, bytes]]:
            lowest.append(start)
            return super().block(chain, start, end)

    with reading(postgres_dsn) as reader:
        search = Search([Watched(reader.connection, "")], [], Filter(), print)
        assert [shown.sequence for shown in search.last(3)] == [2497, 2498, 2499]
    assert lowest == [1500]


async def test_several_databases_are_one_history(quorate: Call, postgres: Server, postgres_dsn: str) -> None:
    """Two hubs' databases are merged by sealed time, what both hold comes once; where they differ it ends with 4."""
    name = postgres_dsn.rpartition("/")[2].partition("?")[0]
    await fill(postgres_dsn, range(3))
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}_b TEMPLATE {name}")
    second = postgres_dsn.replace(name, f"{name}_b")
    await fill(second, [50, 51], OTHER)
    await fill(postgres_dsn, [3])
    both = ("--dsn", postgres_dsn, "--dsn", second, "-o", "jsonl")
    code, out, err = quorate(*both)
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0, err
    assert [(row["chain"], row["sequence"]) for row in rows] == [
        (CHAIN, 0), (CHAIN, 1), (CHAIN, 2), (OTHER, 0), (OTHER, 1), (CHAIN, 3),
    ]  # fmt: skip
    await fill(second, [99])
    code, _, err = quorate(*both)
    assert code == 4 and f"{CHAIN}, entry 3" in err and "different records" in err


async def test_the_table_is_safe_and_tells(quorate: Call, postgres_dsn: str) -> None:
    """The table has a heading, tells reasons, and shows nothing that could steer a terminal."""
    store = PostgresStore(postgres_dsn)
    await store.open()
    await store.take("test")
    hostile = Draft("uid:x", None, "governance.vote.refused", {"kind": "Vote", "name": "\x1b[2Jv"}, Tether("0"), now(),
                    actor_id="a\u202eb", detail={"reason": "TooLate", "message": "late\nby far"})  # fmt: skip
    await store.log.append(CHAIN, [hostile])
    await store.close()
    _, out, _ = quorate("--dsn", postgres_dsn)
    assert out.splitlines()[0].split() == ["SEALED", "CHAIN", "SEQ", "EVENT", "SUBJECT", "ACTOR", "WHAT"]
    assert r"Vote/\x1b[2Jv" in out and r"a\u202eb" in out and r"TooLate late\nby far" in out
    assert len(out.splitlines()) == 2 and printable("é…") == "é…"
    assert "ENTRY ID" in quorate("--dsn", postgres_dsn, "-o", "wide")[1]


async def test_follow_refuses_what_has_no_end(quorate: Call, postgres_dsn: str) -> None:
    """`--follow` refuses `--until` and formats that are one document: exit code 2."""
    for extra in (("--until", "2100-01-01"), ("-o", "json"), ("-o", "yaml")):
        code, _, err = quorate("--dsn", postgres_dsn, "-f", *extra)
        assert code == 2 and "--follow" in err


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A server that a test may stop."""
    server = Server()
    server.start()
    yield server
    server.remove()


def following(dsn: str) -> "subprocess.Popen[str]":
    """`quorate audit log -f` as a process that prints JSON lines."""
    options = ["-f", "--limit", "2", "--interval", "0.05", "-o", "jsonl", "--type", "governance.vote"]
    return subprocess.Popen(
        [sys.executable, "-m", "quorate_cli", "audit", "log", *options, "--dsn", dsn],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def _into(process: "subprocess.Popen[str]", lines: "queue.SimpleQueue[str]") -> None:
    for line in process.stdout or ():
        lines.put(line)


async def test_follow_misses_nothing_across_a_restart(own_server: Server) -> None:
    """What is sealed before, during and after a restart of Postgres is shown once, in order, new chains included."""
    migrate(own_server.dsn("postgres"))
    dsn = own_server.dsn("postgres")
    await fill(dsn, range(4))
    process = following(dsn)
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_into, args=(process, lines), daemon=True).start()

    def next_line() -> tuple[str, int]:
        row = json.loads(lines.get(timeout=20))
        return row["chain"], row["sequence"]

    try:
        assert [await asyncio.to_thread(next_line) for _ in range(2)] == [(CHAIN, 2), (CHAIN, 3)]
        await fill(dsn, [4], CHAIN)
        assert await asyncio.to_thread(next_line) == (CHAIN, 4)
        await asyncio.to_thread(own_server.stop)
        await asyncio.to_thread(own_server.start)
        await fill(dsn, range(5, 2005))
        await fill(dsn, [3000], OTHER)
        rows = [await asyncio.to_thread(next_line) for _ in range(2001)]
        assert [n for chain, n in rows if chain == CHAIN] == list(range(5, 2005)) and (OTHER, 0) in rows
    finally:
        process.terminate()
        process.wait(20)
    err = process.stderr.read() if process.stderr else ""
    assert "waiting for it" in err and "it is back" in err


async def test_a_log_that_was_set_back_is_told(own_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A follower says so when the log becomes shorter than what it showed, or goes on otherwise."""
    migrate(own_server.dsn("postgres"))
    dsn = own_server.dsn("postgres")
    await fill(dsn, range(3))
    ahead = Follower.after(dsn, [], Filter(), print, {CHAIN: 4})
    with pytest.raises(DivergentError, match="was set back"):
        ahead.poll()
    other = Follower.after(dsn, [], Filter(), print, {CHAIN: 2})
    other.places[CHAIN].chain = bytes(32)
    with pytest.raises(DivergentError, match="does not continue"):
        other.poll()
    fine = Follower.after(dsn, [], Filter(), print, {})
    shown, more = fine.poll()
    assert [row.sequence for row in shown] == [0, 1, 2] and not more
    until(lambda: fine.poll() == ([], False), 5)


async def test_a_directory_is_read_like_a_database(
    quorate: Call, postgres_dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--from` shows the entries of an export; beside its database each once; the report verifies and tells it too."""
    await fill(postgres_dsn, range(300))
    store = PostgresStore(postgres_dsn)
    await store.open()
    await store.take("test")
    await store.log.checkpoint(CHAIN, SIGNER)
    await store.close()
    place = tmp_path / "export"
    export = ["audit", "export", "--chain", CHAIN, "--dsn", postgres_dsn]
    assert await asyncio.to_thread(run, [*export, "--to", str(place)]) == 0
    assert await asyncio.to_thread(run, [*export, "--to", str(tmp_path / "later"), "--since", "256"]) == 0
    await fill(postgres_dsn, [300])

    def sequences(*options: object) -> list[int]:
        code, out, err = quorate("-o", "jsonl", "--limit", 0, *options)
        assert code == 0, err
        return [json.loads(line)["sequence"] for line in out.splitlines()]

    assert sequences("--from", place) == list(range(300))
    assert sequences("--from", place, "--dsn", postgres_dsn) == list(range(301))
    assert sequences("--from", place, "--target", f"sha256:{7:064x}") == [7]
    assert sequences("--from", tmp_path / "later") == list(range(256, 300))
    assert quorate("--from", tmp_path / "nothing")[0] == 2 and quorate("--from", place, "-f")[0] == 2
    report = ["audit", "report", "--from", str(place), "--log-key", str(SIGNER.verifier)]
    capsys.readouterr()
    assert run(report) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["verification"]["checked"] == 300 and document["sources"] == [str(place / CHAIN)]
    assert document["chains"][0]["entries"] == 300 and document["refusals"]["total"] == 150
    assert document["verification"]["verdict"] in ("Intact", "Unanchored")
