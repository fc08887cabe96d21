"""Erasable payload on every store, and its erasure on a real Postgres."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from quorate.audit.entry import Draft
from quorate.audit.erasure import Erasable
from quorate.canonical import digest_of_bytes
from quorate_operator.errors import OperatorError, Stalled, Transient
from quorate_operator.store.erasure import erase
from quorate_operator.store.intake import Intake
from quorate_operator.store.log import PostgresStore
from quorate_operator.store.operations import Operations
from quorate_operator.store.payload import erasable
from quorate_operator.store.postgres import Database
from tests.contract.archiving import CHAIN, KEY, leading, narrow
from tests.contract.server import Server
from tests.contract.test_log import draft, open_store, store, verdict

__all__ = ["open_store", "store"]
SECRET = erasable(b"her name")


def _named(*items: Erasable) -> Draft:
    return replace(draft("person"), erasable=[item.digest for item in items])


async def test_payload_lies_beside_the_entry(store: Any) -> None:
    """The entry names the salted digest; salt and bytes are read by the entry, and plain content as before."""
    made = _named(SECRET)
    plain = {digest_of_bytes(b"plain"): b"plain"}
    recorded = (await store.log.append(CHAIN, [made], {SECRET.digest: SECRET, **plain}))[0]
    assert recorded.payload["erasable"] == [SECRET.digest]
    assert b"her name" not in recorded.record and SECRET.salt not in recorded.record
    assert await store.content.erasable(recorded.entry_id) == {SECRET.digest: SECRET}
    assert await store.content.get([*plain, SECRET.digest]) == plain
    assert (await store.log.append(CHAIN, [made], {SECRET.digest: SECRET}))[0].existing


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({}, "EntryRefused"),
        ({SECRET.digest: SECRET, erasable(b"x").digest: erasable(b"x")}, "EntryRefused"),
        ({SECRET.digest: Erasable(b"other", SECRET.salt)}, "ContentCorrupt"),
        ({SECRET.digest: SECRET.data}, "ContentCorrupt"),
    ],
)
async def test_payload_that_is_refused(store: Any, given: dict[str, Any], reason: str) -> None:
    """What is named must be given, once, and have its digest; nothing is recorded otherwise."""
    with pytest.raises(OperatorError) as refused:
        await store.log.append(CHAIN, [_named(SECRET)], given)
    assert refused.value.reason == reason
    assert await store.log.chains() == []


@pytest.fixture
def dsns(postgres: Server, database: str) -> tuple[str, str]:
    """Connection strings of the operator and of the keeper."""
    narrow(postgres.dsn(database))
    return postgres.dsn(database, "operator"), postgres.dsn(database, "keeper")


async def _taken_in(store: PostgresStore, dsn: str) -> Draft:
    made = _named(SECRET)
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        await Intake(KEY).put(connection, CHAIN, made, {SECRET.digest: SECRET})
    while not await store.log.recorded([made.entry_id]):
        await store.log.drain(CHAIN)
    return made


async def test_erasure(dsns: tuple[str, str]) -> None:
    """Told in the log first, then gone for good; the entry verifies as before, a second erasure changes nothing."""
    async with leading(dsns[0]) as store:
        made = await _taken_in(store, dsns[0])
        keeper = Database(dsns[1], connections=2)
        await keeper.open()
        operations = Operations(keeper, KEY, patience=20)
        erased = await erase(keeper, operations, made.entry_id, reason="asked for", actor="dpo")
        assert await erase(keeper, operations, made.entry_id, reason="again", actor="dpo") == erased
        assert erased.digests == (SECRET.digest,)
        told = (await store.log.recorded([erased.told]))[erased.told]
        assert (told.chain_id, told.event_type, told.actor_id) == ("system", "system.content.erased", "dpo")
        assert told.detail == {"entryId": str(made.entry_id), "digests": [SECRET.digest], "reason": "asked for"}
        assert await store.content.erasable(made.entry_id) == {SECRET.digest: None}
        # A retry of the append puts nothing back.
        assert (await store.log.append(CHAIN, [made], {SECRET.digest: SECRET}))[0].existing
        with psycopg.connect(dsns[0], autocommit=True) as app:
            key = f"erasable:{made.entry_id}:{SECRET.digest}"
            app.execute("SELECT quorate.put_content(%s, %s)", ([key], [SECRET.salt + SECRET.data]))
        assert await store.content.erasable(made.entry_id) == {SECRET.digest: None}
        assert (await verdict(store, CHAIN)).value == "Unanchored"
        with pytest.raises(Stalled, match="no entry"):
            await erase(keeper, operations, erased.told, reason="r", actor="a")
        await keeper.close()


async def test_no_erasure_by_another_entry(dsns: tuple[str, str], postgres: Server, database: str) -> None:
    """An entry that only happens to name payload and digest, as the payload's own does, tells of no erasure."""
    app, maint = dsns
    made = _named(SECRET)
    async with leading(app) as store:
        await store.log.append("system", [made], content={SECRET.digest: SECRET})
    with psycopg.connect(maint) as connection, pytest.raises(psycopg.Error, match="is not in the log"):
        connection.execute("SELECT quorate.erase(%s, %s)", (made.entry_id, made.entry_id))
    with (
        psycopg.connect(postgres.dsn(database, "only_app")) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(
            "INSERT INTO quorate.audit_content (digest, entry_id, erased_by) VALUES (%s, %s, %s)",
            ("sha256:" + "0" * 64, made.entry_id, made.entry_id),
        )


async def test_no_erasure_before_it_is_told(dsns: tuple[str, str]) -> None:
    """Without a leader the erasure waits in the intake; the function refuses it without a sealed entry."""
    async with leading(dsns[0]) as store:
        made = await _taken_in(store, dsns[0])
    keeper = Database(dsns[1], connections=2)
    await keeper.open()
    with pytest.raises(Transient) as waits:
        await erase(keeper, Operations(keeper, KEY, patience=0.1), made.entry_id, reason="r", actor="a")
    assert waits.value.reason == "NotSealed"
    for told in (made.entry_id, (await keeper.read("SELECT entry_id FROM quorate.audit_intake"))[0][0]):
        with psycopg.connect(dsns[1]) as connection, pytest.raises(psycopg.DatabaseError, match="not in the log"):
            connection.execute("SELECT quorate.erase(%s, %s)", (made.entry_id, told))
    assert await keeper.read("SELECT erased_by FROM quorate.audit_content") == [(None,)]
    async with leading(dsns[0]) as store:
        await erase(keeper, Operations(keeper, KEY, patience=20), made.entry_id, reason="r", actor="a")
        assert await store.content.erasable(made.entry_id) == {SECRET.digest: None}
    await keeper.close()


@pytest.mark.parametrize(
    "attack",
    [
        "DELETE FROM quorate.audit_content",
        "UPDATE quorate.audit_content SET salt = NULL, bytes = NULL, erased_by = gen_random_uuid()",
        "UPDATE quorate.audit_content SET bytes = 'x'",
        "TRUNCATE quorate.audit_content",
    ],
)
async def test_no_other_way(dsns: tuple[str, str], postgres: Server, database: str, attack: str) -> None:
    """Not even a superuser erases by hand while the triggers stand."""
    async with leading(dsns[0]) as store:
        await _taken_in(store, dsns[0])
    with psycopg.connect(postgres.dsn(database)) as connection:
        connection.execute("SET session_replication_role = replica")
        with pytest.raises(psycopg.DatabaseError, match="refused"):
            connection.execute(attack)


async def test_a_reader_sees_that_not_what(
    dsns: tuple[str, str], postgres: Server, database: str, tmp_path: Path
) -> None:
    """The role of auditors reads which payload there is or was, and never its bytes."""
    async with leading(dsns[0]) as store:
        await _taken_in(store, dsns[0])
    with psycopg.connect(postgres.dsn(database, "only_read"), autocommit=True) as reader:
        assert reader.execute("SELECT digest, erased_by FROM quorate.audit_content").fetchall() == [
            (SECRET.digest, None)
        ]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute("SELECT bytes FROM quorate.audit_content")
