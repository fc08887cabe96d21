"""A stopped chain: what is refused, what goes on, how it goes on, and how an older database is found out."""

import asyncio
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from quorate.audit.checkpoint import Checkpoint
from quorate.audit.entry import Draft
from quorate.audit.quarantine import (
    RAISED,
    RESUMED,
    SYSTEM,
    Cause,
    Finding,
    Quarantine,
    check_resumption,
    resumed_draft,
)
from quorate.audit.verify import Verdict
from quorate.canonical import encode_base64
from quorate.identity.vkey import SignerKey, VerifierKey
from quorate_operator.custody.outside import Outside, Told
from quorate_operator.custody.quarantines import Quarantines
from quorate_operator.errors import OperatorError, Stalled, Transient
from quorate_operator.store.log import PostgresStore
from quorate_operator.store.migrate import create_login, migrate
from tests.contract.server import Installation, Server
from tests.contract.test_log import CHAIN, OpenStore, Store, draft, open_store, store, verdict

__all__ = ["open_store", "store"]
OTHER = "mesh/other"
SIGNER = SignerKey(CHAIN, bytes(range(32)))
FINDING = Finding(Cause.VERIFICATION_FAILED, "entry 1: content: changed", {"sequence": 1, "phase": "content"})


def resumption(quarantine: Quarantine, *lost: Checkpoint) -> Draft:
    """The entry that ends it, with two signatures whose keys are checked elsewhere."""
    terms = quarantine.terms
    signatures = [{"statement": {"keyName": name, "statement": terms}, "signature": "x"} for name in ("alice", "bob")]
    now = time.time_ns() // 1000
    told = {"verdict": "Intact", "checked": quarantine.size, "root": "00"}
    return resumed_draft(
        quarantine, phase_id="0", now=now, lost=lost, finding=None, signatures=signatures, verification=told
    )


async def stopped(store: Store, entries: int = 3) -> Quarantine:
    """A chain with entries, stopped."""
    previous = None
    for _ in range(entries):
        item = draft("s", previous)
        await store.log.append(CHAIN, [item])
        previous = item.entry_id
    raised = await store.log.stop(CHAIN, FINDING)
    assert raised is not None
    return raised


async def test_a_stopped_chain_refuses_appends_alone(store: Store) -> None:
    """Appends are refused with a stable reason and a time; reads and the other chains go on."""
    raised = await stopped(store)
    with pytest.raises(Transient) as caught:
        await store.log.append(CHAIN, [draft("t")])
    assert (caught.value.reason, caught.value.retry_after) == ("ChainQuarantined", 60)
    await store.log.append(OTHER, [draft("u")])
    assert (await store.log.heads(["s"]))["s"].sequence == 2
    assert await verdict(store) is Verdict.UNANCHORED
    (found,) = await store.log.quarantines()
    assert found == raised
    assert (found.number, found.cause, found.size, found.epoch) == (1, Cause.VERIFICATION_FAILED, 3, 0)
    assert found.evidence == FINDING.evidence


async def test_a_chain_is_stopped_once(store: Store) -> None:
    """A second finding about a stopped chain changes nothing; a chain that nobody knows can be stopped."""
    await stopped(store)
    assert await store.log.stop(CHAIN, replace(FINDING, message="another")) is None
    lost = await store.log.stop(OTHER, FINDING)
    assert lost is not None
    assert (lost.size, lost.number) == (0, 1)
    assert [item.chain_id for item in await store.log.quarantines()] == [CHAIN, OTHER]


async def test_the_resumption_begins_the_next_epoch(store: Store) -> None:
    """It is the first entry of epoch 1, cites the head on which it stands, and appends go on behind it."""
    raised = await stopped(store)
    lost = Checkpoint(CHAIN, 9, bytes(32))
    entry = await store.log.resume(raised, resumption(raised, lost))
    assert (entry.sequence, entry.header.epoch, entry.event_type) == (3, 1, RESUMED)
    assert entry.detail["lost"] == [{"size": 9, "root": encode_base64(bytes(32))}]
    assert check_resumption(entry.header, entry.content) == [lost]
    (later,) = await store.log.append(CHAIN, [draft("t")])
    assert (later.sequence, later.header.epoch) == (4, 1)
    (found,) = await store.log.quarantines()
    assert found.resumed_at is not None
    assert found.lost == (lost,)
    assert await verdict(store) is Verdict.UNANCHORED


async def test_a_resumption_is_made_once(store: Store) -> None:
    """The same one again gives the recorded entry; another one, or one on another head, is refused."""
    raised = await stopped(store)
    with pytest.raises(Stalled) as caught:
        await store.log.resume(replace(raised, size=2), resumption(raised))
    assert caught.value.reason == "NotQuarantined"
    first = await store.log.resume(raised, resumption(raised))
    again = await store.log.resume(raised, resumption(raised))
    assert again.record == first.record
    second = replace(raised, number=2)
    with pytest.raises(Stalled):
        await store.log.resume(second, resumption(second))


async def test_the_next_quarantine_has_the_next_number(store: Store) -> None:
    """Numbers count in the chain, over its resumptions."""
    raised = await stopped(store)
    await store.log.resume(raised, resumption(raised))
    again = await store.log.stop(CHAIN, FINDING)
    assert again is not None
    assert (again.number, again.epoch, again.size) == (2, 1, 4)


async def test_only_the_leader_resumes(open_store: OpenStore) -> None:
    """Who lost the term resumes nothing, but may still stop a chain."""
    old, new = await open_store(), await open_store()
    await old.take("old")
    await old.log.append(CHAIN, [draft("s")])
    await new.take("new")
    raised = await old.log.stop(CHAIN, FINDING)
    assert raised is not None
    with pytest.raises(OperatorError) as caught:
        await old.log.resume(raised, resumption(raised))
    assert caught.value.reason == "LostLeadership"
    assert (await new.log.resume(raised, resumption(raised))).header.epoch == 1


async def test_the_raising_is_told_in_system(store: Store) -> None:
    """An entry in `system` names chain, cause and head; its evidence is in the content, once, whoever looks."""
    await store.log.append(CHAIN, [draft("s")])
    changed: list[str] = []
    quarantines = Quarantines(store.log, changed.append)
    raised = await quarantines.raise_quarantine(CHAIN, FINDING)
    assert raised is not None
    await Quarantines(store.log).look()
    entries = [entry async for entry in store.log.entries(SYSTEM)]
    assert len(entries) == 1
    (found,) = (await store.log.heads([f"quarantine/{CHAIN}/1"])).values()
    assert found.event_type == RAISED
    assert found.detail["head"] == raised.terms["head"]
    assert await store.content.get([found.detail["evidence"]])
    assert changed == [CHAIN]
    assert set(quarantines.open) == {CHAIN}


async def test_a_stopped_system_stops_only_itself(store: Store) -> None:
    """With `system` stopped other chains go on, and their quarantines are told once it goes on."""
    await store.log.append(CHAIN, [draft("s")])
    await store.log.append(SYSTEM, [draft("n")])
    quarantines = Quarantines(store.log)
    first = await quarantines.raise_quarantine(SYSTEM, FINDING)
    await store.log.append(CHAIN, [draft("t")])
    await quarantines.raise_quarantine(CHAIN, FINDING)
    assert await store.log.heads([f"quarantine/{CHAIN}/1"]) == {}
    assert first is not None
    await store.log.resume(first, resumption(first))
    await quarantines.look()
    assert len(await store.log.heads([f"quarantine/{CHAIN}/1", f"quarantine/{SYSTEM}/1"])) == 2


@pytest.fixture
def database_connection(postgres: Server, database: str) -> Iterator["psycopg.Connection[Any]"]:
    with psycopg.connect(postgres.dsn(database), autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM quorate.quarantine",
        "UPDATE quorate.quarantine SET cause = 'None'",
        "TRUNCATE quorate.resumption, quorate.quarantine",
        "DELETE FROM quorate.resumption",
    ],
)
async def test_quarantines_are_append_only(
    postgres: Server, database: str, database_connection: "psycopg.Connection[Any]", statement: str
) -> None:
    """Nobody, superuser included, deletes or changes a quarantine while the triggers stand."""
    store = PostgresStore(postgres.dsn(database, "operator"))
    await store.open()
    await store.take("test")
    raised = await stopped(store)
    await store.log.resume(raised, resumption(raised))
    await store.close()
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        database_connection.execute(statement)


async def test_a_head_unlocked_by_hand_leaves_a_row(
    postgres: Server, database: str, database_connection: "psycopg.Connection[Any]"
) -> None:
    """Whoever clears the quarantine in the head row past `seal` is found: a resumption without its entry."""
    store = PostgresStore(postgres.dsn(database, "operator"))
    await store.open()
    await store.take("test")
    await stopped(store)
    database_connection.execute("UPDATE quorate.chain_head SET quarantine = NULL WHERE chain_id = %s", (CHAIN,))
    (found,) = await store.log.quarantines()
    assert found.resumed_at is not None
    assert found.lost == ()
    await store.close()


async def test_a_database_that_goes_back_under_a_running_process(postgres: Server, database: str) -> None:
    """Who sealed more than the database now holds stops the chain at its next append, and seals nothing on top."""
    store = PostgresStore(postgres.dsn(database, "operator"))
    await store.open()
    await store.take("test")
    await store.log.append(CHAIN, [draft("a")])
    await store.log.append(CHAIN, [draft("b")])
    older = "size = 1, frontier = substring(frontier FOR 32)"
    with psycopg.connect(postgres.dsn(database)) as connection:
        connection.execute("ALTER TABLE quorate.chain_head DISABLE TRIGGER USER")
        connection.execute(f"UPDATE quorate.chain_head SET {older}")
        connection.execute("ALTER TABLE quorate.chain_head ENABLE ALWAYS TRIGGER head_grows")
    with pytest.raises(Transient) as caught:
        await store.log.append(CHAIN, [draft("c")])
    assert caught.value.reason == "ChainQuarantined"
    (found,) = await store.log.quarantines()
    assert (found.cause, found.evidence) == (Cause.DATABASE_BEHIND, {"size": 1, "sealed": 2})
    await store.close()


def _keys(chain: str) -> list[VerifierKey]:
    return [SIGNER.verifier] if chain == CHAIN else []


def outside(store: Store, *notes: str) -> Outside:
    """What is known outside: these notes of CHAIN."""

    async def told() -> list[Told]:
        return [Told(CHAIN, note, "a safe place") for note in notes]

    async def keys(chains: Any) -> dict[str, list[VerifierKey]]:
        return {chain: _keys(chain) for chain in chains}

    return Outside(store.log, keys, [told])


async def test_what_a_checkpoint_from_outside_says(store: Store) -> None:
    """Same history: nothing; more entries, another root, or a chain that is gone: a finding; a forged note: nothing."""
    await store.log.append(CHAIN, [draft("s")])
    early = await store.log.checkpoint(CHAIN, SIGNER)
    await store.log.append(CHAIN, [draft("t"), draft("u")])
    note = await store.log.checkpoint(CHAIN, SIGNER)
    assert await outside(store, early, note).findings() == {}
    ahead = Checkpoint(CHAIN, 7, bytes(32)).sign(SIGNER)
    other = Checkpoint(CHAIN, 2, bytes(32)).sign(SIGNER)
    forged = Checkpoint(CHAIN, 7, bytes(32)).sign(SignerKey(CHAIN, bytes(32)))
    assert (await outside(store, early, ahead).findings())[CHAIN].cause is Cause.DATABASE_BEHIND
    assert (await outside(store, note, other).findings())[CHAIN].cause is Cause.OTHER_HISTORY
    assert await outside(store, forged).findings() == {}


async def test_a_chain_that_only_a_checkpoint_knows(store: Store) -> None:
    """A signed note of a chain of which the database holds nothing is a finding."""
    ahead = Checkpoint(CHAIN, 7, bytes(32)).sign(SIGNER)
    assert (await outside(store, ahead).findings())[CHAIN].cause is Cause.CHAIN_LOST


async def test_what_a_resumption_gave_up_is_no_finding(store: Store) -> None:
    """Once a note outside covers the resumption, the checkpoint that it cites stops the chain no more; others do."""
    raised = await stopped(store)
    lost = Checkpoint(CHAIN, 7, bytes(32))
    await store.log.resume(raised, resumption(raised, lost))
    newest = await store.log.checkpoint(CHAIN, SIGNER)
    assert await outside(store, lost.sign(SIGNER), newest).findings() == {}
    other = Checkpoint(CHAIN, 8, bytes(32)).sign(SIGNER)
    assert set(await outside(store, other, newest).findings()) == {CHAIN}


async def test_a_padded_note_says_nothing(store: Store) -> None:
    """Whoever may write to the publication pads a signed note: it is too large to be evidence, and breaks nothing."""
    ahead = Checkpoint(CHAIN, 7, bytes(32)).sign(SIGNER)
    assert set(await outside(store, ahead).findings()) == {CHAIN}
    padded = f"{ahead}— {chr(34) * 600_000} {encode_base64(bytes(5))}=\n"
    assert await outside(store, padded).findings() == {}


async def test_a_resumption_that_the_log_never_signed_gives_up_nothing(store: Store) -> None:
    """Whoever owns the database may write one, with invented signatures; only who resumed it himself believes it."""
    raised = await stopped(store)
    early = await store.log.checkpoint(CHAIN, SIGNER)
    lost = Checkpoint(CHAIN, 7, bytes(32))
    await store.log.resume(raised, resumption(raised, lost))
    compared = outside(store, lost.sign(SIGNER), early)
    assert set(await compared.findings()) == {CHAIN}
    compared.resumed.add((CHAIN, raised.number))
    assert await compared.findings() == {}


def test_a_restored_data_directory_is_found_out(tmp_path: Path, installation: Installation) -> None:
    """An old copy of the data directory, put back: quarantined by the note from outside, and nothing sealed on top."""
    server = Server(installation)
    try:
        server.start()
        migrate(server.dsn("postgres"))
        create_login(server.dsn("postgres"), "operator", ["quorate_app", "quorate_sealer"])
        dsn = server.dsn("postgres", "operator")

        async def append(*keys: str) -> str:
            store = PostgresStore(dsn)
            await store.open()
            await store.take("test")
            for key in keys:
                await store.log.append(CHAIN, [draft(key)])
            note: str = await store.log.checkpoint(CHAIN, SIGNER)
            await store.close()
            return note

        async def restart(note: str) -> tuple[set[str], int]:
            store = PostgresStore(dsn)
            await store.open()
            quarantines = Quarantines(store.log)
            quarantines.leads = False
            for chain, finding in (await outside(store, note).findings()).items():
                await quarantines.raise_quarantine(chain, finding)
            await store.take("test")
            quarantines.leads = True
            await quarantines.look()
            with pytest.raises(Transient) as caught:
                await store.log.append(CHAIN, [draft("on top")])
            assert caught.value.reason == "ChainQuarantined"
            size = {head.chain_id: head.size for head in await store.log.chains()}[CHAIN]
            await store.close()
            return set(quarantines.open), size

        asyncio.run(append("a", "b"))
        server.stop()
        shutil.copytree(server.data, tmp_path / "old", symlinks=True)
        server.start()
        note = asyncio.run(append("c", "d"))
        server.stop()
        shutil.rmtree(server.data)
        shutil.move(tmp_path / "old", server.data)
        for path in (server.data, *server.data.rglob("*")):
            shutil.chown(path, server.root.owner(), server.root.group())
        server.start()
        assert asyncio.run(restart(note)) == ({CHAIN}, 2)
    finally:
        server.remove()
