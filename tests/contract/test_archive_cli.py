"""`quorate audit prune`, `archive` and `erase` on a real Postgres, beside a process that leads."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from quorate.identity.vkey import COSIGNATURE, SignerKey
from quorate_cli.main import run
from quorate_operator.store.log import PostgresStore
from quorate_operator.store.payload import erasable
from tests.contract.archiving import CHAIN, KEY, SIGNER, WIDTH, fill, leading, narrow
from tests.contract.server import Server
from tests.contract.test_log import draft

Call = Callable[..., Awaitable[tuple[int, str, str]]]
LOG_KEY = str(SIGNER.verifier)


@pytest.fixture
def keeper(postgres: Server, database: str) -> str:
    """Connection string of the keeper of a log with narrow partitions."""
    narrow(postgres.dsn(database))
    return postgres.dsn(database, "keeper")


@pytest.fixture
async def store(keeper: str, postgres: Server, database: str) -> AsyncIterator[PostgresStore]:
    """A store that leads, with 600 entries below a checkpoint."""
    async with leading(postgres.dsn(database, "operator")) as store:
        await fill(store, 0, 600)
        yield store


@pytest.fixture
def quorate(keeper: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Await a command line: exit code, standard output, standard error; beside the loop of the test."""
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "intake.key").write_text(KEY.hex())
    (tmp_path / "keys" / "intake.key").chmod(0o600)
    for name in ("KUBECONFIG", "QUORATE_SANDBOX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("QUORATE_DSN", keeper)
    monkeypatch.setenv("QUORATE_LOG_KEYS", str(tmp_path / "keys"))

    async def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = await asyncio.to_thread(run, ["audit", *(str(argument) for argument in arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


async def test_prune_and_look(store: PostgresStore, quorate: Call, tmp_path: Path) -> None:
    """A dry run changes nothing; a prune shows its plan, archives and drops; archives are listed and inspected."""
    cold = tmp_path / "cold"
    prune = ("prune", "--chain", CHAIN, "--archive", cold, "--log-key", LOG_KEY, "-o", "json")
    code, out, err = await quorate(*prune, "--before", "600", "--dry-run")
    assert (code, [item["number"] for item in json.loads(out)]) == (0, [0, 1]), err
    assert not cold.exists()
    assert json.loads((await quorate(*prune, "--before", "1d", "--dry-run"))[1]) == []
    code, out, err = await quorate(*prune, "--before", str(2 * WIDTH - 1))
    assert code == 0, err
    assert f"entries 0 to {WIDTH - 1} archived and dropped" in err
    assert [head.size for head in await store.log.chains() if head.chain_id == CHAIN] == [600]
    assert len([entry async for entry in store.log.entries(CHAIN)]) == 600 - WIDTH
    code, out, err = await quorate("archive", "list", cold, "-o", "json")
    assert [(row["chain"], row["first"], row["end"]) for row in json.loads(out)] == [(CHAIN, 0, WIDTH)], err
    code, out, err = await quorate("archive", "inspect", cold, "--log-key", LOG_KEY)
    assert code == 0, err
    code, _, err = await quorate("archive", "inspect", cold, "--log-key", str(replace(SIGNER, seed=bytes(32)).verifier))
    assert code == 1 and "no known key signed" in err
    code, out, err = await quorate("verify", "--log-key", LOG_KEY)
    assert (code, f"entries 0…{WIDTH - 1} were pruned, proven by checkpoint" in out) == (5, True), (out, err)
    code, out, err = await quorate("verify", cold, "--log-key", LOG_KEY, "-o", "json")
    assert (code, json.loads(out)["chains"][0]["checked"]) == (0, WIDTH), err
    asked = ("--witness", SignerKey("w1", bytes(32), COSIGNATURE).verifier, "--require-witnesses", "1")
    code, out, err = await quorate("verify", cold, "--log-key", LOG_KEY, *asked)
    assert (code, "cosignatures of 1 given witnesses" in out) == (5, True), (out, err)
    code, out, err = await quorate("verify", "--archive", cold, "--log-key", LOG_KEY, "-o", "json")
    assert {item["chain"]: item["checked"] for item in json.loads(out)["chains"]}[CHAIN] == 600, out
    # What is verified is the archive that the manifest stands in, not another one below it.
    hollow = tmp_path / "hollow"
    (archive,) = (cold / CHAIN).iterdir()
    shutil.copytree(archive, hollow / "inner")
    shutil.copy(archive / "manifest.json", hollow)
    code, out, err = await quorate("verify", "--archive", hollow, "--log-key", LOG_KEY)
    assert (code, "the checkpoint cannot be read" in out) == (4, True), (out, err)


async def test_restore(
    store: PostgresStore, quorate: Call, tmp_path: Path, postgres: Server, empty_database: str, database: str
) -> None:
    """Archives load into an empty database, which verifies and lets nobody append; a live log is refused."""
    cold = tmp_path / "cold"
    code, _, err = await quorate(
        "prune", "--chain", CHAIN, "--archive", cold, "--log-key", LOG_KEY, "--before", 2 * WIDTH
    )
    assert code == 0, err
    into = postgres.dsn(empty_database)
    code, _, err = await quorate("archive", "restore", cold, "--into", into, "--log-key", LOG_KEY)
    assert code == 0 and f"{2 * WIDTH} entries restored" in err, err
    code, out, err = await quorate("verify", "--dsn", into, "-o", "json")
    assert (code, json.loads(out)["chains"][0]["checked"]) == (5, 2 * WIDTH), err
    code, out, err = await quorate("log", "--dsn", into, "-o", "jsonl", "--target", "Vote/20")
    assert [json.loads(line)["sequence"] for line in out.splitlines()] == [20], err
    other = PostgresStore(into)
    await other.open()
    with pytest.raises(Exception, match="refused"):
        await other.take("somebody")
    await other.close()
    for place, said in ((into, "already"), (postgres.dsn(database), "holds a log")):
        code, _, err = await quorate("archive", "restore", cold, "--into", place, "--log-key", LOG_KEY)
        assert code == 1 and said in err
    for half in (cold / CHAIN / f"{WIDTH}-{2 * WIDTH}", tmp_path):
        code, _, err = await quorate("archive", "restore", half, "--into", into, "--log-key", LOG_KEY)
        assert code == 1, half


async def test_erase(store: PostgresStore, quorate: Call) -> None:
    """Erasure by the command line, with its reason in the log."""
    secret = erasable(b"her name")
    made = replace(draft("person"), erasable=[secret.digest])
    await store.log.append(CHAIN, [made], {secret.digest: secret})
    code, out, err = await quorate("erase", made.entry_id, "--reason", "asked for", "--actor", "dpo")
    assert code == 0 and secret.digest in out, err
    assert await store.content.erasable(made.entry_id) == {secret.digest: None}
    assert (await quorate("erase", made.entry_id, "--reason", " "))[0] == 2
    assert (await quorate("erase", "nonsense", "--reason", "r"))[0] == 2
