"""The watch over the catalogue: recorded once, compared each time, changed ones named, alarmed and acknowledged."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import psycopg
import pytest

from quorate.audit.catalogue import CHANGED, RECORDED, SUBJECT
from quorate_operator.custody.catalogue import CatalogueWatch
from quorate_operator.store.log import PostgresStore
from quorate_operator.store.recorded import Recorded
from tests.contract.server import Server
from tests.contract.test_log import draft

TAMPER = "ALTER TABLE quorate.content DISABLE TRIGGER append_only"
MEND = "ALTER TABLE quorate.content ENABLE ALWAYS TRIGGER append_only"


@dataclass
class Scene:
    """A store that leads, and what its watch said."""

    store: PostgresStore
    admin: str
    alarms: list[str] = field(default_factory=list)
    forced: int = 0
    heard: bool = True

    def watch(self) -> CatalogueWatch:
        """A watch that remembers nothing, as after a restart."""
        assert self.store.catalogue is not None
        return CatalogueWatch(
            self.store.catalogue,
            self.store.log,
            self.store.content,
            clock=time.time,
            alarm=self._alarm,
            force=self._force,
        )

    def _alarm(self, message: str) -> bool:
        if self.heard:
            self.alarms.append(message)
        return self.heard

    def _force(self) -> None:
        self.forced += 1

    def do(self, *statements: str) -> None:
        """Statements of the database's administrator."""
        with psycopg.connect(self.admin, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    async def entries(self) -> list[Recorded]:
        """What the log says of the catalogue."""
        return await self.store.log.about(SUBJECT)

    async def last(self) -> Recorded:
        """The newest of it."""
        return (await self.store.log.heads([SUBJECT]))[SUBJECT]


@pytest.fixture
async def scene(postgres: Server, database: str, postgres_dsn: str) -> AsyncIterator[Scene]:
    """A store with one entry."""
    store = PostgresStore(postgres_dsn)
    await store.open()
    await store.take("test")
    await store.log.append("mesh/one", [draft("a")])
    yield Scene(store, postgres.dsn(database))
    await store.close()


async def test_recorded_once_and_quiet_then(scene: Scene) -> None:
    """The first look records digest, schema version and guards; the next ones, of this process or another, nothing."""
    watch = scene.watch()
    for each in (watch, watch, scene.watch()):
        await each.turn()
    (entry,) = await scene.entries()
    assert entry.event_type == "system.catalogue.recorded" and entry.detail["cause"] == "first"
    assert entry.detail["differences"] == [] and entry.detail["schema"]["version"] == 10
    assert set(entry.detail["guards"]) == {"ddlGuard", "pgaudit"}
    assert entry.detail["digest"] in await scene.store.content.get([entry.detail["digest"]])
    assert (scene.alarms, scene.forced) == ([], 0)


async def test_break_glass_between_two_looks(scene: Scene) -> None:
    """A trigger that was off and on again between two looks, also over a restart, is entered, alarmed and verified."""
    await scene.watch().turn()
    scene.do(TAMPER, MEND)
    scene.heard = False
    watch = scene.watch()
    await watch.turn()
    entry = await scene.last()
    assert entry.event_type == CHANGED and scene.forced == 1
    assert any("was changed and put back" in sentence for sentence in entry.detail["differences"])
    assert scene.alarms == []
    scene.heard = True
    await watch.turn()
    assert len(scene.alarms) == 1 and "append_only on quorate.content" in scene.alarms[0]


async def test_a_finding_is_entered_once_and_stays_open(scene: Scene) -> None:
    """The same difference is one entry; what comes on top is another, and so is putting it right: nothing is hushed."""
    watch = scene.watch()
    await watch.turn()
    scene.do(TAMPER)
    for each in (watch, watch, scene.watch()):
        await each.turn()
    assert [each.event_type for each in await scene.entries()] == [RECORDED, CHANGED]
    scene.do("GRANT UPDATE ON quorate.content TO quorate_app")
    await watch.turn()
    scene.do(MEND, "REVOKE UPDATE ON quorate.content FROM quorate_app")
    for each in (watch, scene.watch()):
        await each.turn()
    assert [each.event_type for each in await scene.entries()] == [RECORDED, CHANGED, CHANGED, CHANGED]
    assert scene.forced == 3


async def test_acknowledged_by_name(scene: Scene, postgres: Server, database: str) -> None:
    """Who holds quorate_maint acknowledges exactly the catalogue that was found; the entry names login and reason."""
    await scene.watch().turn()
    scene.do(TAMPER)
    await scene.watch().turn()
    found = (await scene.last()).detail["digest"]
    acknowledge = "SELECT quorate.acknowledge_catalogue(%s, 'load test of Tuesday')"
    with psycopg.connect(postgres.dsn(database, "operator")) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(acknowledge, (found,))
        connection.rollback()
    with psycopg.connect(postgres.dsn(database, "only_maint"), autocommit=True) as connection:
        connection.execute(acknowledge, ("sha256:" + "0" * 64,))
        await scene.watch().turn()
        assert (await scene.last()).event_type == "system.catalogue.changed"
        connection.execute(acknowledge, (found,))
    await scene.watch().turn()
    last = await scene.last()
    assert last.detail["cause"] == "acknowledged"
    assert last.detail["acknowledged"] == {"login": "only_maint", "reason": "load test of Tuesday"}
    scene.do(MEND, TAMPER)
    await scene.watch().turn()
    assert (await scene.last()).event_type == CHANGED


async def test_our_own_partitions_are_no_change(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """New chains and partitions are no change; after a while they are recorded, so that a restart knows them."""
    watch = scene.watch()
    await watch.turn()
    await scene.store.log.append("mesh/two", [draft("b")])
    await watch.turn()
    await scene.watch().turn()
    assert len(await scene.entries()) == 1
    monkeypatch.setattr("quorate_operator.custody.catalogue.PARTITIONS_SECONDS", 0)
    for each in (watch, watch, scene.watch()):
        await each.turn()
    assert [each.detail["cause"] for each in await scene.entries()] == ["first", "partitions"]
    scene.do("ALTER TABLE quorate.audit_entry DETACH PARTITION " + await _partition(scene, "mesh/two"))
    await watch.turn()
    assert any("is gone" in sentence for sentence in (await scene.last()).detail["differences"])
    assert scene.forced == 1


async def _partition(scene: Scene, chain: str) -> str:
    rows = await scene.store.database.read("SELECT 'quorate.audit_entry_' || md5(%s) || '_0'", chain)
    return str(rows[0][0])


async def test_what_was_recorded_is_destroyed(scene: Scene) -> None:
    """Without the document that the log names the watch is not blind: it says so, and holds on to what it sees."""
    await scene.watch().turn()
    scene.do(TAMPER, "DELETE FROM quorate.content", MEND)
    await scene.watch().turn()
    last = await scene.last()
    assert last.event_type == "system.catalogue.changed"
    assert "is gone from the database's content" in last.detail["differences"][0]
    assert scene.forced == 1 and len(scene.alarms) == 1


async def test_a_superusers_ddl_is_entered(scene: Scene, postgres: Server) -> None:
    """Where the guard is, DDL of a superuser that left no other trace is in the entry, with login and time."""
    await scene.watch().turn()
    scene.do("CREATE TABLE quorate.scratch (id int)", "DROP TABLE quorate.scratch")
    await scene.watch().turn()
    last = await scene.last()
    if postgres.installation.managed:
        assert last.detail["cause"] == "first"
    else:
        assert any(
            sentence.startswith("superuser postgres ran CREATE TABLE on quorate.scratch")
            for sentence in last.detail["differences"]
        )


async def test_a_migration_is_recorded(scene: Scene) -> None:
    """A newer schema is recorded with what it changed, as a migration and not as an alarm."""
    await scene.watch().turn()
    scene.do(
        "INSERT INTO quorate.migration (version, name, digest) SELECT max(version) + 1, 'later', 'sha256:0'"
        " FROM quorate.migration",
        "CREATE TABLE quorate.later (id int)",
    )
    await scene.watch().turn()
    last = await scene.last()
    assert (last.event_type, last.detail["cause"]) == ("system.catalogue.recorded", "migration")
    assert "relation quorate.later is new" in last.detail["differences"]
    assert scene.alarms == [] and scene.forced == 1
