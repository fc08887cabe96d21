"""`quorate migrate`, `doctor` on the database, and `audit catalogue`, against a real server."""

import json
import time
from pathlib import Path

import psycopg
import pytest

from quorate_cli.database import describe
from quorate_cli.main import run
from quorate_operator.custody.catalogue import CatalogueWatch
from quorate_operator.store.intake import read_key
from quorate_operator.store.log import PostgresStore
from quorate_operator.store.migrate import migrations
from tests.contract.server import Server


async def _look(dsn: str) -> None:
    """The operator's next look at the catalogue."""
    store = PostgresStore(dsn)
    await store.open()
    await store.take("test")
    assert store.catalogue is not None
    watch = CatalogueWatch(
        store.catalogue, store.log, store.content, clock=time.time, alarm=lambda _: True, force=lambda: None
    )
    await watch.turn()
    await store.close()


def test_migrate(postgres: Server, empty_database: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty database gets schema, login and guard, or says that it cannot have the guard; again changes nothing."""
    dsn = postgres.dsn(empty_database, postgres.installation.migrator)
    for state in ("applied", "present"):
        assert run(["migrate", "--dsn", dsn, "--login", "hub", "--role", "quorate_read", "-o", "json"]) == 0
        done = capsys.readouterr()
        assert [row["state"] for row in json.loads(done.out)] == [state] * len(migrations())
        assert f"ddlGuard={'false' if postgres.installation.managed else 'true'}" in done.err
    with psycopg.connect(postgres.dsn(empty_database, "hub")) as connection:
        assert connection.execute("SELECT count(*) FROM quorate.chain_head").fetchone() == (0,)


def test_migrate_refuses(postgres: Server, empty_database: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Unknown roles, users without rights and servers that are away each end with their exit code and one sentence."""
    dsn = postgres.dsn(empty_database, "only_read")
    assert run(["migrate", "--dsn", dsn, "--login", "x", "--role", "quorate_owner"]) == 2
    assert run(["migrate", "--dsn", dsn, "--role", "quorate_read"]) == 2
    assert run(["migrate", "--dsn", dsn]) == 1
    assert "SchemaDenied" in capsys.readouterr().err
    assert run(["migrate", "--dsn", "postgresql://x@127.0.0.1:1/x"]) == 3


def test_the_intake_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`keygen -p intake intake` makes a key that the operator reads, and does not overwrite one."""
    arguments = ["keygen", "-p", "intake", "intake", "-d", str(tmp_path)]
    assert run(arguments) == 0
    assert len(read_key(tmp_path)) == 32
    assert run(arguments) == 2
    assert run(["keygen", "-p", "intake", "other", "-d", str(tmp_path)]) == 2
    assert read_key(tmp_path).hex() not in "".join(capsys.readouterr())


async def test_doctor_and_catalogue(
    postgres: Server, database: str, postgres_dsn: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Doctor says what the server allows and whether the catalogue is the recorded one; a change is acknowledged."""

    def found() -> dict[str, tuple[str, str]]:
        return {check: (state, message) for check, state, message, _ in describe(postgres.dsn(database, "only_read"))}

    assert found()["catalogue"] == ("warning", "not recorded yet")
    await _look(postgres_dsn)
    guarded = not postgres.installation.managed
    assert found()["guards"][0] == ("ok" if guarded else "warning")
    assert found()["catalogue"][0] == "ok" and "logins" not in found()
    reader, keeper = postgres.dsn(database, "only_read"), postgres.dsn(database, "only_maint")
    assert run(["audit", "catalogue", "show", "--dsn", reader]) == 0
    with psycopg.connect(postgres.dsn(database)) as connection:
        connection.execute("ALTER TABLE quorate.content DISABLE TRIGGER append_only")
    assert found()["catalogue"][0] == "failed" and "fires was always, is never" in found()["catalogue"][1]
    await _look(postgres_dsn)
    assert found()["catalogue"][1].startswith("a change is not acknowledged")
    capsys.readouterr()
    assert run(["audit", "catalogue", "show", "--dsn", reader, "-o", "json"]) == 1
    shown = json.loads(capsys.readouterr().out)[0]
    assert shown["state"] == "changed" and shown["entered"] == [
        "trigger append_only on quorate.content: fires was always, is never",
        *shown["entered"][1:],
    ]
    acknowledge = ["audit", "catalogue", "acknowledge", shown["recorded"], "--reason", "test", "--dsn"]
    assert run([*acknowledge, reader]) == 1
    assert run([*acknowledge, keeper]) == 0
    await _look(postgres_dsn)
    assert found()["catalogue"][0] == "ok"
