"""Pruning on a real Postgres: what leaves, what stays, what refuses, and every place where a run may end."""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from quorate.audit.checkpoint import open_checkpoint, parse_checkpoint
from quorate.audit.merkle import verify_inclusion
from quorate.audit.note import cosign, parse_note, verify_note
from quorate.audit.record import Record, leaf_hash
from quorate.audit.verify import Verdict
from quorate.audit.witness import Cosign, WitnessState, judge, witnesses_of
from quorate.canonical import digest_of, digest_of_bytes, parse_json
from quorate.identity.vkey import COSIGNATURE, SignerKey
from quorate_operator.custody.archiving import Request
from quorate_operator.custody.retention import Subprocess
from quorate_operator.errors import Stalled, Transient
from quorate_operator.store.archive import Archive, find_archives
from quorate_operator.store.log import PostgresStore
from quorate_operator.store.prune import STEPS, Rules, plan, stored_prunes
from quorate_operator.verification import ChainRequest, verify_database
from quorate_operator.verification.database import reading
from tests.contract.archiving import CHAIN, KEY, RULES, SIGNER, WIDTH, fill, keeping, leading, narrow, observed
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
    records = [Record.decode(entry.record) async for entry in store.log.entries("system")]
    return [parse_json(record.content)["event_type"] for record in records]


async def _pruned_as_a_whole(store: PostgresStore, place: Path, partitions: int) -> None:
    """One consistent end: nothing lost, nothing doubled, nothing left lying about."""
    assert await _system_events(store) == ["system.partition.pruning", "system.partition.pruned"] * partitions
    records: dict[int, bytes] = {}
    for number in range(partitions):
        archive = Archive(place / CHAIN / f"{number * WIDTH}-{(number + 1) * WIDTH}")
        archive.verify(RULES.keys)
        records |= dict(archive.records())
    end = partitions * WIDTH
    assert list(records) == list(range(end))
    assert sorted(path.name for path in (place / CHAIN).iterdir()) == sorted(
        f"{number * WIDTH}-{(number + 1) * WIDTH}" for number in range(partitions)
    )
    assert (await stored_prunes(store.database))[CHAIN].point.size == end
    async for entry in store.log.entries(CHAIN):
        assert entry.sequence == end
        assert Record.decode(entry.record).previous == (await stored_prunes(store.database))[CHAIN].point.chain_hash
        break
    kept = await store.database.read("SELECT seq, record FROM quorate.audit_kept WHERE chain_id = %s ORDER BY 1", CHAIN)
    assert kept == [(n, records[n]) for n in range(0, end, 10)]
    left = await store.database.read(
        "SELECT count(*) FROM quorate.audit_about WHERE seq < %s AND chain_id = %s", end, CHAIN
    )
    assert left == [(len(kept),)]
    ids = await store.database.read("SELECT count(*) FROM quorate.audit_event_id WHERE chain_id = %s", CHAIN)
    assert ids == [((await store.log.chains())[0].size,)]


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


class _InterruptedError(Exception):
    pass


def _at(step: str) -> Callable[[str], None]:
    def reached(now: str) -> None:
        if now == step:
            raise _InterruptedError(step)

    return reached


async def test_a_run_may_fail_after_each_step(dsns: tuple[str, str], tmp_path: Path) -> None:
    """Whatever step was the last one of a run, the next run brings the prune to the same end."""
    async with leading(dsns[0]) as store:
        await fill(store, 0, len(STEPS) * WIDTH + 10)
        for number, step in enumerate(STEPS):
            async with keeping(dsns[1], tmp_path, reached=_at(step)) as pruner:
                with pytest.raises(_InterruptedError):
                    await pruner.prune(CHAIN, number, RULES)
            async with keeping(dsns[1], tmp_path) as pruner:
                await pruner.prune(CHAIN, number, RULES)
                await pruner.prune(CHAIN, number, RULES)
        await _pruned_as_a_whole(store, tmp_path, len(STEPS))


async def test_a_run_may_be_killed_after_each_step(dsns: tuple[str, str], tmp_path: Path) -> None:
    """The same with kill -9 of the process; a half-written export of an earlier run is no obstacle."""
    async with leading(dsns[0]) as store:
        await fill(store, 0, len(STEPS) * WIDTH + 10)
        leftover = tmp_path / CHAIN / f".0-{WIDTH}.partial" / "tile"
        leftover.mkdir(parents=True)
        (leftover / "half").write_bytes(b"written")
        for number, step in enumerate(STEPS):
            command = [sys.executable, "-m", "tests.contract.pruner", dsns[1], str(tmp_path), str(number), step]
            done = await asyncio.create_subprocess_exec(*command)
            assert await asyncio.wait_for(done.wait(), 60) == -signal.SIGKILL
            async with keeping(dsns[1], tmp_path) as pruner:
                await pruner.prune(CHAIN, number, RULES)
        await _pruned_as_a_whole(store, tmp_path, len(STEPS))


async def test_what_may_not_be_pruned(store: PostgresStore, dsns: tuple[str, str], tmp_path: Path) -> None:
    """Only the oldest partition, full, below a checkpoint signed as asked, of a chain that is not `system`."""
    asked = [
        (CHAIN, 1, RULES),
        (CHAIN, 2, RULES),
        (CHAIN, 0, Rules((SignerKey(CHAIN, bytes(32)).verifier,))),
        (CHAIN, 0, Rules(RULES.keys, {}, 1)),
        ("mesh/unknown", 0, RULES),
        ("system", 0, RULES),
    ]
    async with keeping(dsns[1], tmp_path) as pruner:
        for chain, number, rules in asked:
            with pytest.raises(Stalled) as refused:
                await pruner.prune(chain, number, rules)
            assert refused.value.reason == "PruneRefused", (chain, number)
    assert await store.database.read("SELECT FROM quorate.prune") == []
    assert [head.chain_id for head in await store.log.chains()] == [CHAIN]
    assert [item.number for item in await plan(store.database, CHAIN)] == [0, 1]
    assert [item.end for item in await plan(store.database, CHAIN, below=300)] == [WIDTH]
    assert await plan(store.database, CHAIN, before=1) == []


async def test_content_leaves_with_its_entries(store: PostgresStore, dsns: tuple[str, str], tmp_path: Path) -> None:
    """Bytes that entries name by digest, and those that these name in turn, are copied; what nobody names is not."""
    inner = b"the rules"
    outer = b'{"rules":"%s"}' % digest_of_bytes(inner).encode()
    content = {digest_of_bytes(data): data for data in (inner, outer)}
    named = replace(observed(700, time.time_ns() // 1000), about=[digest_of_bytes(outer)])
    await store.log.append(CHAIN, [named], content)
    await fill(store, 701, 800)
    async with keeping(dsns[1], tmp_path) as pruner:
        for number in range(3):
            await pruner.prune(CHAIN, number, RULES)
    assert [dict(archive.content()) for archive in find_archives(tmp_path)] == [{}, {}, content]


async def test_enough_witnesses(store: PostgresStore, dsns: tuple[str, str], tmp_path: Path) -> None:
    """Where cosignatures are asked for, only members count, each once; a later checkpoint that lacks them is passed."""
    witnesses = [SignerKey(f"mesh/{n}", bytes([n]) * 32, COSIGNATURE) for n in range(1, 5)]
    rules = Rules(RULES.keys, dict(zip((key.verifier for key in witnesses), ["a", "a", "b"], strict=False)), 2)
    (note,) = await store.log.checkpoints(CHAIN)

    async def look(witness: SignerKey) -> None:
        """What a witness does that sees the log for the first time."""
        verdict = judge(WitnessState(CHAIN), note, RULES.keys, [])
        assert isinstance(verdict, Cosign) and verdict.state.last is not None
        line = cosign(parse_note(verdict.state.last.note).text, witness, at=7)
        await store.log.keep_cosignatures(CHAIN, verdict.state.last.size, [line])

    async with keeping(dsns[1], tmp_path) as pruner:
        for witness in (witnesses[0], witnesses[1], witnesses[3]):
            await look(witness)
            with pytest.raises(Stalled, match="and 2 witnesses covers 256 entries"):
                await pruner.prune(CHAIN, 0, rules)
        await look(witnesses[2])
        await fill(store, 700, 800)
        assert (await pruner.prune(CHAIN, 0, rules)).point.size == WIDTH
    archive = Archive(tmp_path / CHAIN / f"0-{WIDTH}")
    archive.verify(RULES.keys)
    found = verify_note(archive.manifest.checkpoint, rules.keys, rules.witnesses)
    assert (parse_checkpoint(found.text).size, witnesses_of(found.cosignatures, rules.witnesses)) == (700, 2)


async def test_a_chain_in_quarantine_is_not_pruned(
    store: PostgresStore, dsns: tuple[str, str], tmp_path: Path, postgres: Server, database: str
) -> None:
    """Neither before the intent nor after it: evidence stays where it is."""
    async with keeping(dsns[1], tmp_path, reached=_at("intent")) as pruner:
        with pytest.raises(_InterruptedError):
            await pruner.prune(CHAIN, 0, RULES)
    with psycopg.connect(postgres.dsn(database), autocommit=True) as connection:
        connection.execute("SELECT quorate.stop_chain(%s, 'Verification', 'x', '{}')", (CHAIN,))
    async with keeping(dsns[1], tmp_path) as pruner:
        with pytest.raises(Stalled, match="quarantine"):
            await pruner.prune(CHAIN, 0, RULES)
    assert len([entry async for entry in store.log.entries(CHAIN)]) == 700


async def test_a_reader_in_the_way(store: PostgresStore, dsns: tuple[str, str], tmp_path: Path) -> None:
    """Appends wait at most two seconds behind a prune that waits behind a reader; it gives up and comes again."""
    async with keeping(dsns[1], tmp_path) as pruner:
        with psycopg.connect(dsns[0]) as reader:
            reader.execute("SELECT count(*) FROM quorate.audit_entry")
            with pytest.raises(Transient) as busy:
                await pruner.prune(CHAIN, 0, RULES)
            assert busy.value.reason == "PruneBusy"
        assert (await pruner.prune(CHAIN, 0, RULES)).point.size == WIDTH


async def test_a_verification_in_the_way(store: PostgresStore, dsns: tuple[str, str], tmp_path: Path) -> None:
    """What a snapshot holds stays until its reader is done, even before it read any entry: nothing looks tampered."""
    async with keeping(dsns[1], tmp_path) as pruner:
        with reading(dsns[0]) as reader:
            with pytest.raises(Transient, match="PruneBusy"):
                await pruner.prune(CHAIN, 0, RULES)
            assert reader.pruned(CHAIN) is None and len(list(reader.entries(CHAIN))) == 700
        assert (await pruner.prune(CHAIN, 0, RULES)).point.size == WIDTH


async def test_one_process_at_a_time(store: PostgresStore, dsns: tuple[str, str], tmp_path: Path) -> None:
    """While a run is under way another one of the chain is told to come again, wherever it runs."""
    others: list[str] = []
    async with keeping(dsns[1], tmp_path) as other:

        async def try_it() -> None:
            with pytest.raises(Transient) as busy:
                await other.prune(CHAIN, 0, RULES)
            others.append(busy.value.message)

        def reached(step: str) -> None:
            if step == "intent":
                running.append(asyncio.ensure_future(try_it()))

        running: list[asyncio.Future[None]] = []
        async with keeping(dsns[1], tmp_path, reached=reached) as pruner:
            await pruner.prune(CHAIN, 0, RULES)
            await asyncio.gather(*running)
            assert others == [f"another process prunes chain {CHAIN}"]
        assert (await other.prune(CHAIN, 0, RULES)).point.size == WIDTH


async def test_an_export_that_does_not_verify(store: PostgresStore, dsns: tuple[str, str], tmp_path: Path) -> None:
    """One byte that changes on the disk before the export is read again: nothing leaves the database."""
    bundle = tmp_path / CHAIN / f"0-{WIDTH}" / "tile" / "entries" / "000"

    def spoil(step: str) -> None:
        if step == "exported":
            data = bundle.read_bytes()
            bundle.write_bytes(data[:1000] + bytes([data[1000] ^ 1]) + data[1001:])

    async with keeping(dsns[1], tmp_path, reached=spoil) as pruner:
        with pytest.raises(Stalled) as refused:
            await pruner.prune(CHAIN, 0, RULES)
    assert refused.value.reason == "ArchiveRefused" and "tile/entries/000" in refused.value.message
    assert len([entry async for entry in store.log.entries(CHAIN)]) == 700


async def test_an_entry_that_was_changed(
    store: PostgresStore, dsns: tuple[str, str], tmp_path: Path, postgres: Server, database: str
) -> None:
    """What a superuser changed in the database is not archived as if it had been sealed so."""
    with psycopg.connect(postgres.dsn(database), autocommit=True) as connection:
        connection.execute("ALTER TABLE quorate.audit_entry DISABLE TRIGGER append_only")
        connection.execute("UPDATE quorate.audit_entry SET record = set_byte(record, 200, 33) WHERE seq = 7")
    async with keeping(dsns[1], tmp_path) as pruner:
        with pytest.raises(Stalled, match="entry 7 "):
            await pruner.prune(CHAIN, 0, RULES)
    assert len([entry async for entry in store.log.entries(CHAIN)]) == 700


async def test_the_log_goes_on_after_a_prune(store: PostgresStore, dsns: tuple[str, str], tmp_path: Path) -> None:
    """Kept entries are read as before; pruned ones are neither recorded twice nor in the way of their successors."""
    async with keeping(dsns[1], tmp_path) as pruner:
        await pruner.prune(CHAIN, 0, RULES)
    now = time.time_ns() // 1000
    kept, gone = observed(20, now, kind="Vote"), observed(21, now)
    assert set(await store.log.recorded([kept.entry_id, gone.entry_id])) == {kept.entry_id}
    assert [item.sequence for item in (await store.log.heads(["Vote/20", "Reading/21"])).values()] == [20]
    assert [item.sequence for item in await store.log.about("Vote/20")] == [20]
    assert [item.sequence for item in await store.log.about(digest_of(20))] == [20]
    assert await store.log.about(digest_of(21)) == []
    again = await store.log.append(CHAIN, [kept])
    assert again[0].existing and again[0].sequence == 20
    with pytest.raises(Stalled) as refused:
        await store.log.append(CHAIN, [gone])
    assert refused.value.reason == "EntryPruned" and "entry 21 of chain mesh/domain" in refused.value.message
    follower = replace(gone, previous=gone.entry_id)
    assert (await store.log.append(CHAIN, [follower]))[0].sequence == 700
    with pytest.raises(Stalled) as refused:
        await store.log.append(CHAIN, [replace(observed(22, now), previous=kept.entry_id)])
    assert refused.value.reason == "LogBehind"


async def test_a_pruned_chain_verifies(store: PostgresStore, dsns: tuple[str, str], tmp_path: Path) -> None:
    """What is left verifies from the prune point on, and a checkpoint proves what is gone."""
    async with keeping(dsns[1], tmp_path) as pruner:
        await pruner.prune(CHAIN, 0, RULES)
        await pruner.prune(CHAIN, 1, RULES)
    await fill(store, 700, 900)
    request = ChainRequest(CHAIN, keys=(str(SIGNER.verifier),))
    report = await asyncio.to_thread(verify_database, dsns[0], [request], workers=1)
    assert (report.verdict, report.chains[0].checked) == (Verdict.UNANCHORED, 900 - 2 * WIDTH), report
    assert report.chains[0].notes == [f"entries 0…{2 * WIDTH - 1} were pruned, proven by checkpoint"]


async def test_the_operator_archives_what_is_due(store: PostgresStore, dsns: tuple[str, str], tmp_path: Path) -> None:
    """A process of its own prunes one partition a turn, oldest first, and says when nothing is due."""
    (tmp_path / "intake.key").write_text(KEY.hex())
    (tmp_path / "intake.key").chmod(0o600)
    far = (time.time_ns() + 10**12) // 1000
    place = tmp_path / "cold"
    request = Request(CHAIN, far, "cold", str(place), str(tmp_path), "hub", (str(SIGNER.verifier),), {})
    run = Subprocess(dsns[1])
    assert await run(request) == {"archived": WIDTH, "pruned": True}
    assert await run(request) == {"archived": 2 * WIDTH, "pruned": True}
    assert await run(request) == {"archived": 2 * WIDTH, "pruned": False}
    assert len(find_archives(place)) == 2
    assert await store.partitions_ahead() == 2
    with pytest.raises(Stalled) as refused:
        await run(replace(request, chain="mesh/none"))
    assert refused.value.reason == "PruneRefused"


@pytest.mark.parametrize(
    "forgery",
    [
        "UPDATE quorate.audit_kept SET record = set_byte(record, 200, 33) WHERE seq = 20",
        "UPDATE quorate.audit_kept SET seq = 21 WHERE seq = 20",
        "UPDATE quorate.audit_kept SET record = (SELECT record FROM quorate.audit_kept WHERE seq = 30) WHERE seq = 20",
        "UPDATE quorate.merkle_tile SET hashes = set_byte(hashes, 7, 33) WHERE level = 0 AND number = 1",
        "UPDATE quorate.prune SET chain_hash = set_byte(chain_hash, 0, 33) WHERE number = 1",
        "DELETE FROM quorate.prune WHERE number = 1",
    ],
)
async def test_what_a_prune_left_is_verified(
    store: PostgresStore, dsns: tuple[str, str], tmp_path: Path, postgres: Server, database: str, forgery: str
) -> None:
    """A kept entry, a tile or the prune's own row that was changed is found."""
    async with keeping(dsns[1], tmp_path) as pruner:
        await pruner.prune(CHAIN, 0, RULES)
        await pruner.prune(CHAIN, 1, RULES)
    table = forgery.replace("DELETE FROM", "UPDATE").split()[1]
    with psycopg.connect(postgres.dsn(database), autocommit=True) as connection:
        connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER append_only")
        connection.execute(forgery)
    request = ChainRequest(CHAIN, keys=(str(SIGNER.verifier),))
    report = await asyncio.to_thread(verify_database, dsns[0], [request], workers=1)
    assert report.verdict is Verdict.TAMPERED, report
