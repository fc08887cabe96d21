"""`quorate audit` on a real Postgres: what it checks, what it names, and how it ends."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from quorate.audit.checkpoint import Checkpoint
from quorate.audit.merkle import Frontier
from quorate_cli.main import run
from quorate_cli.sandbox.instance import Sandbox
from quorate_operator.store.migrate import migrate
from tests.chains import CHAIN, SIGNER, build, tamper, write

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def dsn(sandbox: Sandbox) -> Iterator[str]:
    """A fresh database of ours for one test."""
    name = f"audit_{uuid4().hex[:12]}"
    admin = sandbox.dsn("postgres")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    made = psycopg.conninfo.make_conninfo(admin, dbname=name)
    migrate(made)
    yield made
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def quorate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """`quorate(…)` → exit code, standard output, standard error; without any cluster."""
    for name in ("KUBECONFIG", "QUORATE_SANDBOX", "QUORATE_DSN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def fill(dsn: str, count: int) -> Frontier:
    """Write a sealed chain of `count` entries, as the sealer does; its frontier."""
    chain = build(count)
    write(dsn, chain)
    return chain.frontier()


def checkpoint(frontier: Frontier, folder: Path) -> Path:
    """A signed checkpoint kept outside the database."""
    path = folder / "checkpoint.txt"
    path.write_text(Checkpoint(CHAIN, frontier.size, frontier.root()).sign(SIGNER))
    return path


def test_an_empty_database_cannot_tell(dsn: str, quorate: Call) -> None:
    """Nothing checked is no success: exit code 6."""
    code, out, _ = quorate("audit", "verify", "--dsn", dsn)
    assert code == 6 and "CANNOTTELL: nothing was checked" in out


def test_an_intact_log_is_unanchored_without_and_intact_with_a_checkpoint(
    dsn: str, quorate: Call, tmp_path: Path
) -> None:
    """Exit code 5 without an external checkpoint, 0 with one; the report says what was checked and anchored."""
    frontier = fill(dsn, 25)
    code, out, _ = quorate("audit", "verify", "--dsn", dsn)
    assert code == 5 and "checked: 25 entries of 1 chains" in out and "UNANCHORED" in out
    given = ("--checkpoint", checkpoint(frontier, tmp_path), "--log-key", SIGNER.verifier)
    code, out, err = quorate("audit", "verify", "--dsn", dsn, *given, "-o", "json")
    report = json.loads(out)
    assert (code, report["verdict"], report["chains"][0]["anchoredSize"]) == (0, "Intact", 25), err


@pytest.mark.parametrize("statement", [
    "UPDATE quorate.audit_entry SET record = set_byte(record, 400, get_byte(record, 400) # 1) WHERE seq = 17",
    "UPDATE quorate.audit_event_id SET event_id = gen_random_uuid() WHERE seq = 17",
])  # fmt: skip
def test_one_changed_byte_is_named(dsn: str, quorate: Call, statement: str) -> None:
    """One byte changed in a record, or an id in the index, ends with 4 and names chain, sequence and entry id."""
    fill(dsn, 25)
    tamper(dsn, statement)
    code, out, _ = quorate("audit", "verify", "--dsn", dsn, "-o", "json")
    fault = json.loads(out)["chains"][0]["fault"]
    assert (code, fault["sequence"], fault["chainId"]) == (4, 17, CHAIN)
    assert fault["entryId"] in quorate("audit", "verify", "--dsn", dsn)[1]


def test_a_cut_tail_and_a_deleted_chain_are_found_by_the_checkpoint(dsn: str, quorate: Call, tmp_path: Path) -> None:
    """Rows and head removed consistently are found by an external checkpoint, and so is a chain that is gone."""
    frontier = fill(dsn, 9)
    given = ("--checkpoint", checkpoint(frontier, tmp_path), "--log-key", SIGNER.verifier)
    tamper(dsn, "DELETE FROM quorate.audit_entry; DELETE FROM quorate.chain_head")
    code, out, _ = quorate("audit", "verify", "--dsn", dsn, *given)
    assert code == 4 and CHAIN in out and "TAMPERED" in out


def test_checkpoints_that_prove_nothing_are_refused(dsn: str, quorate: Call, tmp_path: Path) -> None:
    """A checkpoint by an unknown key, and a file that is none, are bad input: exit code 2."""
    path = checkpoint(fill(dsn, 3), tmp_path)
    code, _, err = quorate("audit", "verify", "--dsn", dsn, "--checkpoint", path)
    assert code == 2 and f"no known key of log {CHAIN} signed it" in err
    path.write_text("hello")
    code, _, err = quorate("audit", "verify", "--dsn", dsn, "--checkpoint", path)
    assert code == 2 and "has no signature block" in err


def test_a_foreign_and_an_unreachable_database_are_named(sandbox: Sandbox, quorate: Call) -> None:
    """A database that is not ours is refused (1), one that does not answer is unreachable (3), without its password."""
    foreign = psycopg.conninfo.make_conninfo(sandbox.dsn("postgres"), dbname="template1")
    code, _, err = quorate("audit", "verify", "--dsn", foreign)
    assert code == 1 and "this database is not Quorate's" in err
    code, _, err = quorate("audit", "verify", "--dsn", "postgresql://u:secret@127.0.0.1:1/q")
    assert code == 3 and "database q at 127.0.0.1:1" in err and "secret" not in err
