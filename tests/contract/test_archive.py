"""Pruning on a real Postgres: what leaves, what stays, what refuses, and every place where a run may end."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from quorate.audit.archive import ArchiveError
from quorate.audit.checkpoint import open_checkpoint
from quorate.audit.merkle import verify_inclusion
from quorate.audit.record import leaf_hash
from quorate.canonical import digest_of_bytes
from quorate_operator.errors import OperatorError, Stalled
from quorate_operator.store.archive import Archive
from quorate_operator.store.log import PostgresStore
from quorate_operator.store.prune import STEPS, plan, stored_prunes
from tests.contract.archiving import CHAIN, RULES, SIGNER, WIDTH, fill, keeping, leading, narrow, observed
from tests.contract.server import Server


@pytest.fixture
def dsns(postgres: Server, database: str) -> tuple[str, str]:
    """Connection strings of a log with narrow partitions: the operator's, the keeper's."""
    narrow(postgres.dsn(database))
    return postgres.dsn(database, "operator"), postgres.dsn(database, "keeper")


@pytest.fixture
async def store(dsns: tuple[str, str]) -> AsyncIterator[PostgresStore]:
    """A leading store with 700 entries, of which 512 fill two partitions, below a checkpoint."""
    async with leading(dsns[0]) as store:
        await fill(store, 0, 700)
        yield store


async def _system_events(store: PostgresStore) -> list[str]:
    return [event for _, event in await _system(store)]


async def _system(store: PostgresStore) -> list[tuple[int, str]]:
    from quorate.canonical import parse_json
    from quorate.audit.record import Record

    found = []
    async for entry in store.log.entries("system"):
        found.append((entry.sequence, parse_json(Record.decode(entry.record).content)["event_type"]))
    return found


async def test_two_partitions_leave(store: PostgresStore, dsns: tuple[str, str], tmp_path: Path) -> None:
    """What is pruned is in archives that verify; the rest of the log goes on, and proofs of all of it stay."""
    async with keeping(dsns[1], tmp_path) as pruner:
        for number in range(2):
            pruned = await pruner.prune(CHAIN, number, RULES)
    assert pruned.point.size == 2 * WIDTH
    assert await stored_prunes(store.database) == {CHAIN: pruned}
    archives = [Archive(tmp_path / CHAIN / f"{n * WIDTH}-{(n + 1) * WIDTH}") for n in range(2)]
    for archive in archives:
        archive.verify(RULES.keys)
    assert archives[1].manifest.digest == pruned.manifest
    assert archives[1].manifest.before == archives[0].manifest.after
    assert [entry.sequence async for entry in store.log.entries(CHAIN)] == list(range(512, 700))
    assert await _system_events(store) == ["system.partition.pruning", "system.partition.pruned"] * 2
    record = dict(archives[0].records())[3]
    checkpoint, path = await store.log.inclusion_proof(CHAIN, 3, 700)
    verify_inclusion(leaf=leaf_hash(record), index=3, size=700, proof=path, root=checkpoint.root)
    await fill(store, 700, 800)
    note = (await store.log.checkpoints(CHAIN))[-1]
    assert open_checkpoint(note, [SIGNER.verifier], origin=CHAIN).size == 800
