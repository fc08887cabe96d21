"""Proofs from tiles, publication, `prove` and `export`: on both stores, judged by the outsider too."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from quorate.audit import tiles
from quorate.audit.entry import Draft, Tether
from quorate.audit.merkle import ProofError, verify_consistency, verify_inclusion
from quorate.audit.note import cosign, parse_note, sign_note
from quorate.audit.proof import open_bundle, parse_bundle
from quorate.identity.vkey import COSIGNATURE, SignerKey
from quorate_cli.main import run
from quorate_operator.custody.publication import Publication
from quorate_operator.errors import OperatorError, Stalled, Transient
from quorate_operator.store.directory import LogDirectory
from quorate_operator.store.files import LocalFiles
from quorate_operator.store.log import PostgresStore
from quorate_operator.store.memory import MemoryStore
from tests.conformance.go import RefusedError, outsider
from tests.contract import archiving
from tests.unit.audit.tree import Tree

CHAIN = "mesh.example/fleet"
SIGNER = SignerKey(CHAIN, bytes([7]) * 32)
WITNESS = SignerKey("mesh.example/witness", bytes([8]) * 32, COSIGNATURE)
Store = Any


def draft(number: int) -> Draft:
    now = time.time_ns() // 1000
    return Draft(f"n{number}", None, "trust.node.verified", {"kind": "MeshNode", "name": "n"}, Tether("5.5"), now)


async def grow(store: Store, size: int) -> None:
    """Append until the chain has `size` entries."""
    heads = {head.chain_id: head.size for head in await store.log.chains()}
    for start in range(heads.get(CHAIN, 0), size, 500):
        await store.log.append(CHAIN, [draft(number) for number in range(start, min(size, start + 500))])


@pytest.fixture(params=["memory", "postgres"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """A store that leads."""
    opened: Store = MemoryStore()
    if request.param == "postgres":
        opened = PostgresStore(request.getfixturevalue("postgres_dsn"))
        await opened.open()
    await opened.take("test")
    yield opened
    await opened.close()


async def tree_of(store: Store) -> Tree:
    return Tree([entry.record async for entry in store.log.entries(CHAIN)], CHAIN)


async def test_tiles_and_proofs_are_those_of_the_records(store: Store) -> None:
    """Full and partial tiles of any size up to the newest, and proofs between any sizes, follow from the records."""
    await grow(store, 1100)
    tree = await tree_of(store)
    for size in (1, 255, 256, 257, 700, 1100):
        wanted = list(tiles.covering(0, size, size))
        assert await store.log.tiles(CHAIN, wanted) == Tree(tree.records[:size]).every_tile()
        for index in {0, size // 2, size - 1}:
            head, path = await store.log.inclusion_proof(CHAIN, index, size)
            assert head.root == tree.root(size) and head.size == size
            verify_inclusion(leaf=tree.leaves[index], index=index, size=size, proof=path, root=head.root)
            proof = await store.log.consistency_proof(CHAIN, index + 1, size)
            old = tree.root(index + 1)
            verify_consistency(old_size=index + 1, old_root=old, size=size, root=head.root, proof=proof)


async def test_proofs_that_cannot_be_are_refused(store: Store) -> None:
    """A tree larger than the chain, one of no entries and a chain that is not there have no proofs."""
    await grow(store, 3)
    for size in (0, 4, 300):
        with pytest.raises(OperatorError, match="ChainUnknown"):
            await store.log.inclusion_proof(CHAIN, 0, size)
    with pytest.raises(OperatorError, match="ChainUnknown"):
        await store.log.consistency_proof("mesh.example/none", 1, 2)
    with pytest.raises(ProofError):
        await store.log.consistency_proof(CHAIN, 0, 3)
    assert await store.log.tiles(CHAIN, []) == {}


async def test_each_checkpoint_is_published_and_verifies_elsewhere(store: Store, tmp_path: Path) -> None:
    """After each checkpoint the directory is that of its size, for the outsider too; a cosignature arrives there."""
    publication = Publication(store.log, LocalFiles(tmp_path))
    await publication.publish(CHAIN)
    place = LogDirectory.of(LocalFiles(tmp_path), CHAIN)
    assert place.note() is None and await store.log.newest_checkpoint(CHAIN) is None
    for size in (2, 300, 1100):
        await grow(store, size)
        note = await store.log.checkpoint(CHAIN, SIGNER)
        await publication.publish(CHAIN)
        assert place.note() == note == await store.log.newest_checkpoint(CHAIN)
        assert outsider("directory", "-dir", tmp_path / CHAIN, log=[SIGNER.verifier])["size"] == size
    await store.log.keep_cosignatures(CHAIN, 1100, [cosign(parse_note(note).text, WITNESS, at=1_769_947_560)])
    await publication.publish(CHAIN)
    found = outsider(
        "directory", "-dir", tmp_path / CHAIN, "-need", 1, log=[SIGNER.verifier], witnesses=[WITNESS.verifier]
    )
    assert found["cosigners"] == [WITNESS.name]


class Away(LocalFiles):
    """A place that is away until told otherwise."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.away, self.asked = True, 0

    def read(self, name: str, limit: int) -> bytes | None:
        self.asked += 1
        if self.away:
            raise Transient("FilesUnavailable", "away")
        return super().read(name, limit)


async def test_a_place_that_is_away_is_tried_again(store: Store, tmp_path: Path) -> None:
    """A place that does not answer holds up nothing, and gets the newest checkpoint once it is back."""
    await grow(store, 3)
    note, files = await store.log.checkpoint(CHAIN, SIGNER), Away(tmp_path)
    publication = Publication(store.log, files, retry_seconds=0.01)
    task = asyncio.create_task(publication.run())
    publication.mark(CHAIN)
    await until(lambda: files.asked >= 2)
    files.away = False
    await until(lambda: LogDirectory.of(LocalFiles(tmp_path), CHAIN).note() == note)
    task.cancel()


async def test_a_log_that_went_back_is_told(store: Store, tmp_path: Path) -> None:
    """A database that does not continue what is published raises the alarm, and the published view stays."""
    await grow(store, 300)
    await store.log.checkpoint(CHAIN, SIGNER)
    await Publication(store.log, LocalFiles(tmp_path)).publish(CHAIN)
    other = MemoryStore()
    await other.take("test")
    await grow(other, 400)
    await other.log.checkpoint(CHAIN, SIGNER)
    alarms: list[str] = []

    async def alarm(chain: str, error: Stalled) -> None:
        alarms.append(f"{chain} {error.reason}")

    publication = Publication(other.log, LocalFiles(tmp_path), alarm)
    task = asyncio.create_task(publication.run())
    publication.mark(CHAIN)
    await until(lambda: bool(alarms))
    task.cancel()
    assert alarms == [f"{CHAIN} ViewDiverged"]
    assert outsider("directory", "-dir", tmp_path / CHAIN, log=[SIGNER.verifier])["size"] == 300


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for a condition that no event tells of."""
    async with asyncio.timeout(seconds):
        while True:
            if condition():
                return
            await asyncio.sleep(0.005)


@pytest.fixture
def filled(postgres_dsn: str) -> str:
    """DSN of a database with 700 entries, of which a checkpoint covers 600."""

    async def fill() -> None:
        store = PostgresStore(postgres_dsn)
        await store.open()
        await store.take("test")
        await grow(store, 600)
        await store.log.checkpoint(CHAIN, SIGNER)
        await grow(store, 700)
        await store.log.append("mesh.example/unsigned", [draft(-1)])
        await store.close()

    asyncio.run(fill())
    return postgres_dsn


def test_prove_makes_bundles_for_the_outsider(
    filled: str, postgres: Any, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`prove` by id and by place makes the same bundle, with a reader's rights too, and it verifies elsewhere."""
    file = tmp_path / "bundle.json"
    assert run(["audit", "prove", f"{CHAIN}/77", "--dsn", filled, "-o", str(file)]) == 0
    assert f"entry 77 of {CHAIN} (trust.node.verified" in capsys.readouterr().err
    proven = open_bundle(parse_bundle(file.read_bytes()), [SIGNER.verifier])
    reader = postgres.dsn(database, "only_read")
    assert run(["audit", "prove", proven.content["entry_id"], "--dsn", reader]) == 0
    assert capsys.readouterr().out.encode() == file.read_bytes()
    found = outsider("bundle", "-file", file, log=[SIGNER.verifier])
    assert (found["index"], found["size"], found["entry_id"]) == (77, 600, proven.content["entry_id"])
    with pytest.raises(RefusedError, match="no known key"):
        outsider("bundle", "-file", file, log=[SignerKey(CHAIN, bytes(32)).verifier])


@pytest.mark.parametrize(
    ("entry", "code", "says"),
    [
        (f"{CHAIN}/650", 1, "no signed checkpoint covers entry 650"),
        (f"{CHAIN}/700", 1, "has no entry 700"),
        ("mesh.example/none/0", 1, "has no entry 0"),
        ("00000000-0000-4000-8000-000000000000", 1, "this database has no entry"),
        ("nonsense", 2, "must be an entry id or CHAIN/SEQUENCE"),
    ],
)
def test_prove_says_what_cannot_be_proven(
    filled: str, capsys: pytest.CaptureFixture[str], entry: str, code: int, says: str
) -> None:
    """An entry that no checkpoint covers, that is not there, or that is no entry's name gets one sentence."""
    assert run(["audit", "prove", entry, "--dsn", filled]) == code
    assert says in capsys.readouterr().err


def test_export_is_what_stock_tools_read(filled: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An export verifies elsewhere, adds nothing twice, proves without the database, and names what is unsigned."""
    to = tmp_path / "export"
    assert run(["audit", "export", "--chain", CHAIN, "--to", str(to), "--dsn", filled]) == 0
    assert "600 entries written" in capsys.readouterr().err
    assert run(["audit", "export", "--to", str(to), "--dsn", filled]) == 1
    told = capsys.readouterr().err
    assert f"{CHAIN}: 0 entries written" in told and "mesh.example/unsigned" in told
    assert outsider("directory", "-dir", to / CHAIN, log=[SIGNER.verifier])["size"] == 600
    assert run(["audit", "prove", f"{CHAIN}/77", "--from", str(to)]) == 0
    bundle = tmp_path / "bundle.json"
    bundle.write_text(capsys.readouterr().out)
    assert outsider("bundle", "-file", bundle, "-dir", to / CHAIN, log=[SIGNER.verifier])["index"] == 77
    for entry, says in ((f"{CHAIN}/600", "holds no log"), ("mesh.example/x/1", "holds no log")):
        assert run(["audit", "prove", entry, "--from", str(to)]) == 1 and says in capsys.readouterr().err
    assert run(["audit", "prove", "00000000-0000-4000-8000-000000000000", "--from", str(to)]) == 2


def test_export_from_an_entry_on(filled: str, tmp_path: Path) -> None:
    """With --since the bundles begin there, and the tiles prove them all the same."""
    assert run(["audit", "export", "--chain", CHAIN, "--since", "300", "--to", str(tmp_path), "--dsn", filled]) == 0
    assert outsider("directory", "-dir", tmp_path / CHAIN, "-first", 256, log=[SIGNER.verifier])["size"] == 600


def test_bundles_and_exports_are_verified_here_too(filled: str, tmp_path: Path) -> None:
    """`audit verify` says 0 to a bundle and an export, 4 when a byte is changed, 5 under the key of another log."""
    bundle, to, key = tmp_path / "bundle.json", tmp_path / "export", str(SIGNER.verifier)
    assert run(["audit", "prove", f"{CHAIN}/77", "--dsn", filled, "-o", str(bundle)]) == 0
    assert run(["audit", "export", "--chain", CHAIN, "--to", str(to), "--dsn", filled]) == 0
    for place in (bundle, to):
        assert run(["audit", "verify", str(place), "--log-key", key]) == 0
    other = SignerKey("mesh.example/other", bytes([9]) * 32)
    made = parse_bundle(bundle.read_bytes())
    note = sign_note(parse_note(made.proof.note).text, other)
    bundle.write_bytes(replace(made, proof=replace(made.proof, note=note)).encode())
    assert run(["audit", "verify", str(bundle), "--log-key", key, "--log-key", str(other.verifier)]) == 5
    bundle.write_bytes(replace(made, record=made.record[:-1] + b"?").encode())
    (to / CHAIN / "tile/entries/001").write_bytes((to / CHAIN / "tile/entries/001").read_bytes()[:-1] + b"?")
    for place in (bundle, to):
        assert run(["audit", "verify", str(place), "--log-key", key]) == 4


async def test_a_pruned_log_is_published_and_proven(
    postgres: Any, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A publication goes on over a prune; a new one begins with what is left; what is gone is proven by its archive."""
    archiving.narrow(postgres.dsn(database))
    dsn, chain, log = postgres.dsn(database, "operator"), archiving.CHAIN, [archiving.SIGNER.verifier]

    async def quorate(*arguments: object) -> int:
        return await asyncio.to_thread(run, ["audit", *map(str, arguments)])

    async with archiving.leading(dsn) as store:
        await archiving.fill(store, 0, 700)
        publication = Publication(store.log, LocalFiles(tmp_path / "whole"))
        await publication.publish(chain)
        async with archiving.keeping(postgres.dsn(database, "keeper"), tmp_path / "cold") as pruner:
            for number in range(2):
                await pruner.prune(chain, number, archiving.RULES)
        await archiving.fill(store, 700, 900)
        await publication.publish(chain)
    assert outsider("directory", "-dir", tmp_path / "whole" / chain, log=log)["size"] == 900
    assert await quorate("export", "--chain", chain, "--to", tmp_path / "rest", "--dsn", dsn) == 0
    assert outsider("directory", "-dir", tmp_path / "rest" / chain, "-first", 512, log=log)["size"] == 900
    capsys.readouterr()
    assert await quorate("prove", f"{chain}/3", "--dsn", dsn) == 1 and "was pruned" in capsys.readouterr().err
    bundle = tmp_path / "bundle.json"
    assert await quorate("prove", f"{chain}/3", "--from", tmp_path / "cold", "-o", bundle) == 0
    assert outsider("bundle", "-file", bundle, log=log)["index"] == 3
    archived = tmp_path / "cold" / chain / "256-512"
    assert outsider("directory", "-dir", archived, "-first", 256, "-end", 512, log=log)["size"] == 700


def test_what_was_tampered_with_is_neither_proven_nor_exported(
    filled: str, postgres: Any, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A record changed in the database leads to no bundle and no view, but to the entry's name."""
    tamper(postgres.dsn(database))
    assert run(["audit", "prove", f"{CHAIN}/77", "--dsn", filled]) == 1
    assert "does not prove this entry" in capsys.readouterr().err
    assert run(["audit", "export", "--chain", CHAIN, "--to", str(tmp_path), "--dsn", filled]) == 1
    assert "entry 77 is not what its leaf says" in capsys.readouterr().err
    assert not (tmp_path / CHAIN / "checkpoint").exists()


def tamper(dsn: str) -> None:
    """Change one byte of entry 77, as a superuser can."""
    with psycopg.connect(dsn) as connection:
        (name,) = connection.execute(
            "SELECT tableoid::regclass::text FROM quorate.audit_entry WHERE chain_id = %s AND seq = 77", (CHAIN,)
        ).fetchone() or ("",)
        connection.execute(f"ALTER TABLE {name} DISABLE TRIGGER ALL")
        connection.execute(f"UPDATE {name} SET record = set_byte(record, 60, get_byte(record, 60) # 1) WHERE seq = 77")
