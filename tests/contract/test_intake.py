"""Coupled append: an entry is recorded if and only if its change was committed, and no forged one ever is."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from quorate.audit.quarantine import Cause, Finding
from quorate.audit.verify import Verdict
from quorate.canonical import digest_of_bytes
from quorate_operator.errors import Conflict, LostLeadership, OperatorError, Transient
from quorate_operator.store.drain import Backlog, Drainer
from quorate_operator.store.intake import Connection, Intake, intake_mac, make_key, read_key
from quorate_operator.store.log import PostgresStore
from quorate_operator.store.recorded import Recorded
from tests.contract.server import Server
from tests.contract.test_log import CHAIN, draft, verdict

KEY = bytes(range(32))


@pytest.fixture
async def store(postgres_dsn: str) -> AsyncIterator[PostgresStore]:
    """A leading store that drains only when told."""
    store = PostgresStore(postgres_dsn, intake_key=KEY)
    store.drainer = None
    await store.open()
    await store.take("test")
    yield store
    await store.close()


@pytest.fixture
async def connection(postgres_dsn: str) -> AsyncIterator[Connection]:
    """A connection of the change, in a transaction from its first statement on."""
    connection = await psycopg.AsyncConnection.connect(postgres_dsn)
    yield connection
    await connection.close()


async def put(connection: Connection, made: Any, *, chain: str = CHAIN, **more: Any) -> UUID:
    entry_id = await Intake(KEY, **more).put(connection, chain, made)
    await connection.commit()
    return entry_id


async def test_a_committed_entry_is_recorded(store: PostgresStore, connection: Connection) -> None:
    """After commit and drain the entries are in the log in their order, found as direct ones are, with content."""
    digest = digest_of_bytes(b"bulk")
    intake, first = Intake(KEY), draft("a", about=[digest])
    await intake.put(connection, CHAIN, first, {digest: b"bulk"})
    second = await intake.put(connection, CHAIN, draft("a", first.entry_id))
    assert await store.log.backlog() == {} and await store.log.drain(CHAIN) == []
    await connection.commit()
    assert (await store.log.backlog())[CHAIN].count == 2
    moved = await store.log.drain(CHAIN)
    assert [(item.entry_id, item.existing) for item in moved] == [(first.entry_id, False), (second, False)]
    assert moved[0].header.content == first.content and await store.log.backlog() == {}
    assert (await store.log.heads(["a"]))["a"].entry_id == second
    assert [item.sequence for item in await store.log.about(digest)] == [0]
    assert await store.content.get([digest]) == {digest: b"bulk"} and await verdict(store) is Verdict.UNANCHORED


async def test_a_rolled_back_entry_is_not(store: PostgresStore, connection: Connection) -> None:
    """Without the change there is no entry."""
    await Intake(KEY).put(connection, CHAIN, draft("a"))
    await connection.rollback()
    assert await store.log.drain(CHAIN) == [] and await store.log.chains() == []


async def test_an_entry_is_taken_in_once(store: PostgresStore, connection: Connection) -> None:
    """The same entry again is a Conflict while it waits and after it was sealed, so the change is undone with it."""
    await put(connection, draft("a"))
    for _ in range(2):
        with pytest.raises(Conflict, match="taken in or recorded already"):
            await put(connection, draft("a"))
        await connection.rollback()
        await store.log.drain(CHAIN)
    assert [head.size for head in await store.log.chains()] == [1] and await store.log.refused() == 0


async def test_taken_in_and_committed_at_once(store: PostgresStore, connection: Connection) -> None:
    """`commit` is `put` and the commit: the entry is durable with the change, the same again is a Conflict."""
    intake, made = Intake(KEY), draft("a", about=[digest := digest_of_bytes(b"bulk")])
    await connection.execute("CREATE TEMPORARY TABLE change (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    await connection.execute("INSERT INTO change VALUES (1)")
    await intake.commit(connection, CHAIN, made, {digest: b"bulk"})
    assert connection.info.transaction_status is TransactionStatus.IDLE
    with pytest.raises(Conflict, match="taken in or recorded already"):
        await intake.commit(connection, CHAIN, made)
    await connection.rollback()
    assert [item.header.content for item in await store.log.drain(CHAIN)] == [made.content]
    assert await store.content.get([digest]) == {digest: b"bulk"}


async def test_a_commit_that_fails_takes_nothing_in(store: PostgresStore, connection: Connection) -> None:
    """What the change itself violates at the commit is told as such, and neither change nor entry are there."""
    await connection.execute("CREATE TEMPORARY TABLE change (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    await connection.commit()
    await connection.execute("INSERT INTO change VALUES (1), (1)")
    with pytest.raises(psycopg.errors.UniqueViolation, match="change_id_key"):
        await Intake(KEY).commit(connection, CHAIN, draft("a"))
    assert connection.info.transaction_status is TransactionStatus.IDLE and await store.log.backlog() == {}
    with contextlib.suppress(psycopg.Error):
        await connection.execute("SELECT 1/0")
    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        await Intake(KEY).commit(connection, CHAIN, draft("a"))
    await connection.rollback()
    assert await store.log.drain(CHAIN) == []


@pytest.mark.parametrize("chain", ["mesh/o'brien", "mesh/\\' OR '1", "mesh/ä"])
async def test_a_chain_of_any_name(store: PostgresStore, connection: Connection, chain: str) -> None:
    """A chain's name is data, whatever it holds; one that Postgres cannot hold is refused."""
    await connection.execute("SET standard_conforming_strings = off")
    await put(connection, draft("a"), chain=chain)
    assert [item.chain_id for item in await store.log.drain(chain)] == [chain]
    with pytest.raises(psycopg.DataError, match="0x00"):
        await put(connection, draft("a"), chain=f"{chain}\0")


async def test_a_transaction_that_commits_late_is_not_skipped(store: PostgresStore, postgres_dsn: str) -> None:
    """Rows are found by their presence, never by a watermark: a lower position may commit after a higher one."""
    early, late = [await psycopg.AsyncConnection.connect(postgres_dsn) for _ in range(2)]
    await Intake(KEY).put(late, CHAIN, draft("late"))
    await put(early, draft("early"))
    assert [item.subject_key for item in await store.log.drain(CHAIN)] == ["early"]
    await late.commit()
    assert [item.subject_key for item in await store.log.drain(CHAIN)] == ["late"]
    await early.close()
    await late.close()


@pytest.mark.parametrize("forged", ["mac", "chain", "time", "content", "id"])
async def test_a_forged_row_is_set_aside(store: PostgresStore, connection: Connection, forged: str) -> None:
    """A row whose MAC does not cover its chain, time and content is not sealed but kept with the reason."""
    now, good, other = time.time_ns() // 1000, draft("good"), draft("other")
    mac = intake_mac(KEY, CHAIN, now, other.content)
    row = {
        "chain": (chain := "mesh/forged" if forged == "chain" else CHAIN).encode(),
        "id": draft("x").entry_id if forged == "id" else other.entry_id,
        "content": other.content.replace(b"Vote", b"Veto") if forged == "content" else other.content,
        "at": now + 1 if forged == "time" else now,
        "mac": bytes(32) if forged == "mac" else mac,
    }
    await connection.execute("CALL quorate.take_in(%(chain)s, %(id)s, %(content)s, %(at)s, %(mac)s)", row)
    await put(connection, good)
    moved = [item for chain in await store.log.backlog() for item in await store.log.drain(chain)]
    assert [item.subject_key for item in moved] == ["good"] and await store.log.backlog() == {}
    rows = await store.database.read("SELECT chain_id, reason FROM quorate.audit_intake_refused")
    assert [found[0] for found in rows] == [chain] and await store.log.refused() == 1
    assert ("is of entry" if forged == "id" else "HMAC") in rows[0][1]
    assert [head.chain_id for head in await store.log.chains()] == [CHAIN]
    assert await store.database.read("SELECT chain_id FROM quorate.chain_head") == [(CHAIN,)]


async def test_an_entry_that_follows_nothing_is_set_aside(store: PostgresStore, connection: Connection) -> None:
    """A taken-in entry whose previous one is not its subject's last cannot be sealed; the others are."""
    await put(connection, draft("a", UUID(int=1)))
    await put(connection, draft("b"))
    assert [item.subject_key for item in await store.log.drain(CHAIN)] == ["b"]
    rows = await store.database.read("SELECT reason FROM quorate.audit_intake_refused")
    assert "the last entry of a is None" in rows[0][0]


async def test_the_time_of_intake_counts(store: PostgresStore, connection: Connection) -> None:
    """An entry that waited for an hour is sealed; one that is an hour old when taken in is refused at once."""
    hour_ago = time.time_ns() // 1000 - 3_600_000_000
    await put(connection, draft("a", timestamp=hour_ago), clock=lambda: hour_ago)
    assert len(await store.log.drain(CHAIN)) == 1
    with pytest.raises(OperatorError, match="EntryRefused: timestamp"):
        await put(connection, draft("b", timestamp=hour_ago))


async def test_back_pressure(store: PostgresStore, connection: Connection) -> None:
    """While the chain's oldest entry waits too long further ones are refused with LogBusy; other chains go on."""
    hour_ago = time.time_ns() // 1000 - 3_600_000_000
    await put(connection, draft("a", timestamp=hour_ago), clock=lambda: hour_ago)
    assert (await store.log.backlog())[CHAIN].age(time.time_ns() // 1000) > 3599
    with pytest.raises(OperatorError, match="LogBusy"):
        await put(connection, draft("b"))
    await connection.rollback()
    await put(connection, draft("c"), chain="mesh/other")
    await store.log.drain(CHAIN)
    await put(connection, draft("b"))


async def test_a_stopped_chain(store: PostgresStore, connection: Connection) -> None:
    """Nothing is taken in for a chain in quarantine, not even beside what waits too long; other chains go on."""
    hour_ago = time.time_ns() // 1000 - 3_600_000_000
    await put(connection, draft("a", timestamp=hour_ago), clock=lambda: hour_ago)
    await store.log.stop(CHAIN, Finding(Cause.SPLIT_VIEW, "told by hand", {}))
    with pytest.raises(Transient, match="ChainQuarantined") as refused:
        await put(connection, draft("b"))
    assert refused.value.retry_after == 60
    await connection.rollback()
    await put(connection, draft("c"), chain="mesh/other")


async def test_only_the_leader_drains(store: PostgresStore, connection: Connection, postgres_dsn: str) -> None:
    """A fenced leader moves nothing; the row waits for the one of the later term."""
    await put(connection, draft("a"))
    later = PostgresStore(postgres_dsn, intake_key=KEY)
    later.drainer = None
    await later.open()
    await later.take("later")
    with pytest.raises(LostLeadership):
        await store.log.drain(CHAIN)
    assert len(await later.log.drain(CHAIN)) == 1
    await later.close()


async def test_the_drainer_beside_direct_appends(store: PostgresStore, connection: Connection) -> None:
    """The task moves everything by itself while direct appends go on, reports the backlog, and the chain verifies."""
    seen: list[int] = []
    drainer = Drainer(store.log)
    drainer.report = lambda backlog: seen.extend(waiting.count for waiting in backlog.values())
    drainer.start()
    for number in range(40):
        await asyncio.gather(
            put(connection, draft(f"coupled-{number}")), store.log.append(CHAIN, [draft(f"direct-{number}")])
        )
        drainer.wake()
    async with asyncio.timeout(10):
        while sum(head.size for head in await store.log.chains()) < 80:
            pass
    await drainer.stop()
    assert seen and await verdict(store) is Verdict.UNANCHORED and await store.log.refused() == 0


class _Deaf:
    """A source that loses one cancellation, as the pool does to one that comes while it hands out a connection."""

    def __init__(self) -> None:
        self.looking = asyncio.Event()

    async def look(self) -> dict[str, Backlog]:
        """Looks until it is cancelled; the first time it answers all the same."""
        with contextlib.suppress(asyncio.CancelledError) if not self.looking.is_set() else contextlib.nullcontext():
            self.looking.set()
            await asyncio.Event().wait()
        return {}

    async def drain(self, chain: str) -> list[Recorded]:
        """Never asked to."""
        raise AssertionError(chain)


async def test_the_drainer_stops_although_a_cancellation_was_lost() -> None:
    """Whoever closes a store does not wait for ever."""
    source = _Deaf()
    drainer = Drainer(source)
    drainer.start()
    await source.looking.wait()
    async with asyncio.timeout(10):
        await drainer.stop()


def test_the_queue_is_only_filled_and_drained(postgres: Server, database: str) -> None:
    """Nobody changes a waiting row, truncates the queue, or touches what was set aside; the reader cannot fill it."""
    for role, statement in (
        ("operator", "UPDATE quorate.audit_intake SET hmac = hmac"),
        ("operator", "TRUNCATE quorate.audit_intake"),
        ("operator", "DELETE FROM quorate.audit_intake_refused"),
        ("only_app", "DELETE FROM quorate.audit_intake"),
        ("only_app", "INSERT INTO quorate.audit_intake_refused DEFAULT VALUES"),
        ("only_read", "INSERT INTO quorate.audit_intake DEFAULT VALUES"),
        ("postgres", "TRUNCATE quorate.audit_intake"),
        ("postgres", "TRUNCATE quorate.audit_intake_refused"),
    ):
        with psycopg.connect(postgres.dsn(database, role)) as session:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute(statement)
            session.rollback()


def test_the_key(tmp_path: Path) -> None:
    """The key is made once with mode 0600; a missing, short or readable one is one clear sentence."""
    with pytest.raises(OperatorError, match=r"IntakeKeyMissing: coupled appends are unavailable: .*intake\.key does"):
        read_key(tmp_path)
    with pytest.raises(OperatorError, match="IntakeKeyMissing"):
        read_key(None)
    path = make_key(tmp_path)
    key = read_key(tmp_path)
    assert make_key(tmp_path) == path and read_key(tmp_path) == key and len(key) == 32
    path.chmod(0o640)
    with pytest.raises(OperatorError, match=r"IntakeKeyUnusable: .*0600"):
        read_key(tmp_path)
    path.chmod(0o600)
    for text in ("00", "no hex"):
        path.write_text(text)
        with pytest.raises(OperatorError, match="IntakeKeyUnusable"):
            read_key(tmp_path)
