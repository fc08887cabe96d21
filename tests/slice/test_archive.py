"""Entries leave the database of a running operator, by itself and by command; it goes on deciding."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from quorate.audit.entry import Draft
from quorate_cli.main import run
from quorate_cli.place import KEEPER, READER
from quorate_cli.sandbox import install, postgres
from quorate_cli.sandbox.instance import Sandbox
from quorate_cli.sandbox.layout import Layout
from quorate_operator.store.intake import Intake, read_key
from quorate_operator.store.log import PostgresLog
from quorate_operator.store.payload import erasable
from quorate_operator.store.postgres import Database
from tests.contract.archiving import WIDTH, narrow, observed
from tests.slice.fleet import Fleet, condition, wait_for

Call = Callable[..., tuple[int, str]]
CHAIN = "example-mesh/old"
OLD = WIDTH + 200
"""Entries of three days ago: a partition, and most of the next."""
SECRET = erasable(b"her name")


async def _seal_old(dsn: str) -> None:
    """What an operator of three days ago sealed."""
    then = time.time_ns() // 1000 - 3 * 86_400 * 1_000_000
    database = Database(dsn)
    await database.open()
    await database.take("three days ago")
    log = PostgresLog(database, clock=lambda: then)
    await log.append(CHAIN, [observed(number, then) for number in range(OLD)])
    await log.close()
    await database.close()


@pytest.fixture(scope="module")
def cold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cold")


@pytest.fixture(scope="module")
def town(cold: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox with narrow partitions and an operator that may archive."""
    installed = install.install_database

    def prepared(layout: Layout) -> None:
        installed(layout)
        narrow(postgres.dsn(layout, postgres.SUPERUSER))
        asyncio.run(_seal_old(postgres.dsn(layout, install.OPERATOR_ROLE)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(install, "install_database", prepared)
        patch.setenv("QUORATE_ARCHIVES", f"cold={cold}")
        with Sandbox.up("archive", fast=True, state_root=tmp_path_factory.mktemp("archive")) as running:
            yield running


@pytest.fixture
def quorate(town: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """`quorate(…)` on the sandbox → exit code, everything that it said."""
    monkeypatch.setenv("KUBECONFIG", str(town.kubeconfig))

    def call(*arguments: object) -> tuple[int, str]:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return call


def _take_in(town: Sandbox, drafts: list[Draft]) -> None:
    """Coupled appends, which the leading operator seals."""

    async def put() -> None:
        intake = Intake(read_key(town.log_keys))
        async with await psycopg.AsyncConnection.connect(town.dsn(KEEPER)) as connection:
            for made in drafts:
                await intake.put(connection, CHAIN, made, {SECRET.digest: SECRET} if made.erasable else {})

    asyncio.run(put())


def _ask(fleet: Fleet, days: int) -> None:
    """Ask for an archive."""
    spec = {"chain": CHAIN, "archive": {"name": "cold", "afterDays": days}}
    api = "quorate.dev/v1alpha1"
    fleet.cluster.apply({"apiVersion": api, "kind": "AuditCheckpoint", "metadata": {"name": fleet.name}, "spec": spec})


def _sequences(answer: tuple[int, str]) -> list[int]:
    """Of what `audit log -o jsonl` printed."""
    assert answer[0] == 0, answer[1]
    return [json.loads(line)["sequence"] for line in answer[1].splitlines() if line.startswith("{")]


def _proven(quorate: Call, verify: tuple[object, ...], cold: Path, folder: Path) -> None:
    """What stayed, what is archived, and single entries of both verify."""
    code, said = quorate(*verify)
    assert code == 0 and f"entries 0…{2 * WIDTH - 1} were pruned, proven by checkpoint" in said, said
    code, said = quorate(*verify, "--archive", cold, "-o", "json")
    assert code == 0 and json.loads(said)["chains"][0]["checked"] >= 2 * WIDTH + 20, said
    code, said = quorate("audit", "archive", "inspect", cold)
    assert code == 0 and f"{WIDTH}-{2 * WIDTH}" in said, said
    for place in ((f"{CHAIN}/3", "--from", cold), (f"{CHAIN}/{2 * WIDTH}",)):
        assert quorate("audit", "prove", *place, "-o", folder / "bundle")[0] == 0
        code, said = quorate("audit", "verify", folder / "bundle")
        assert code == 0, said
    assert "was pruned" in quorate("audit", "prove", f"{CHAIN}/3")[1]


def _erased(town: Sandbox, cold: Path, quorate: Call, entry: str) -> None:
    """The payload of an archived entry is erased, and nowhere any more."""
    code, said = quorate("audit", "erase", entry, "--reason", "request 17")
    assert code == 0 and SECRET.digest in said, said
    with psycopg.connect(town.dsn()) as connection:
        rows = connection.execute("SELECT digest, bytes FROM quorate.audit_content").fetchall()
    assert rows == [(SECRET.digest, None)]
    assert not any(SECRET.data in path.read_bytes() for path in cold.rglob("*") if path.is_file())
    assert "system.content.erased" in quorate("audit", "log", "--chain", "system", "--type", "system.content")[1]


def test_a_log_is_pruned_while_the_operator_leads(town: Sandbox, cold: Path, quorate: Call, tmp_path: Path) -> None:
    """The operator prunes what is old, a person what has a low number; votes, proofs, verification, erasure go on."""
    fleet = Fleet(town, tmp_path / "fleet", name="old", earlyDecision=True)
    status = lambda: fleet.cluster.get("AuditCheckpoint", fleet.name).get("status") or {}  # noqa: E731
    archived = lambda size: status().get("archived") == {"name": "cold", "size": size}  # noqa: E731
    assert fleet.chain == CHAIN
    fleet.found()
    fleet.open()
    fleet.counted(fleet.vote("alice", "Approve"), "Counted")
    wait_for("a checkpoint", lambda: status().get("size", 0) >= WIDTH)

    # Of three days ago is one whole partition; the next one holds what was decided today.
    _ask(fleet, 1)
    wait_for("the first archive", lambda: archived(WIDTH))
    now = time.time_ns() // 1000
    person = replace(observed(OLD, now), erasable=[SECRET.digest])
    _take_in(town, [person, *(observed(number, now) for number in range(OLD + 1, 2 * WIDTH + 20))])
    covered = wait_for("a checkpoint", lambda: found if (found := status()).get("size", 0) >= 2 * WIDTH else None)
    code, said = quorate("audit", "prune", "--chain", CHAIN, "--before", 2 * WIDTH, "--archive", cold)
    assert code == 0 and f"entries {WIDTH} to {2 * WIDTH - 1} archived and dropped" in said, said

    # What is left verifies by a note that was kept outside; with the archives so does all of it.
    note = tmp_path / "note"
    note.write_text(covered["note"])
    verify = ("audit", "verify", "--chain", CHAIN, "--checkpoint", note)
    _proven(quorate, verify, cold, tmp_path)

    # The domain's own entries stay within reach, so the vote goes on and is executed.
    log = ("audit", "log", "--chain", CHAIN, "--limit", 0, "-o", "jsonl")
    assert _sequences(quorate(*log))[0] == 2 * WIDTH
    everything = (*log, "--from", cold, "--dsn", town.dsn(READER))
    assert _sequences(quorate(*everything))[: 2 * WIDTH + 1] == list(range(2 * WIDTH + 1))
    assert _sequences(quorate(*everything, "--target", f"TrustDomain/{fleet.name}")) == [OLD]
    for name in ("bob", "carol", "dave"):
        fleet.vote(name, "Approve")
    fleet.phase("Executed")
    assert condition(fleet.get("DynamicContract"), "Ready")[0] == "True"

    # The person's entry is in the archive and verifies; her name is nowhere any more.
    _erased(town, cold, quorate, str(person.entry_id))
    code, said = quorate(*verify, "--archive", cold)
    assert code == 0, said

    # What a person did is shown at the operator's next turn.
    _ask(fleet, 2)
    wait_for("both archives", lambda: archived(2 * WIDTH))
