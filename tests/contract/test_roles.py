"""What the database itself refuses, whatever the client (audit.md, 4 and 6)."""

import psycopg
import pytest

from quorate_operator.store.log import PostgresStore
from tests.contract.server import Server
from tests.contract.test_log import CHAIN, draft

TABLES = ["audit_entry", "audit_event_id", "audit_about", "content", "checkpoint", "merkle_tile"]


@pytest.fixture
async def filled(postgres_dsn: str) -> None:
    """One entry in the log."""
    store = PostgresStore(postgres_dsn)
    await store.open()
    await store.take("test")
    await store.log.append(CHAIN, [draft("a")])
    await store.close()


def _refused(dsn: str, statement: str, *, before: str = "") -> str:
    with psycopg.connect(dsn) as connection:
        if before:
            connection.execute(before)
        with pytest.raises(psycopg.Error) as caught:
            connection.execute(statement)
        connection.rollback()
    return str(caught.value)


def _partition(dsn: str) -> str:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent ="
                                 " 'quorate.audit_entry'::regclass ORDER BY 1::text LIMIT 1").fetchone()  # fmt: skip
    assert row is not None
    return str(row[0])


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("role", ["app", "sealer", "maint", "read"])
@pytest.mark.parametrize("table", TABLES)
def test_no_role_may_change_what_was_written(postgres: Server, database: str, role: str, table: str) -> None:
    """UPDATE, DELETE and TRUNCATE are refused for every role on every append-only table."""
    dsn = postgres.dsn(database, f"only_{role}")
    column = {"audit_event_id": "event_id", "audit_about": "key", "content": "digest"}.get(table, "chain_id")
    for statement in (f"UPDATE quorate.{table} SET {column} = {column}", f"DELETE FROM quorate.{table}",
                      f"TRUNCATE quorate.{table}"):  # fmt: skip
        assert "permission denied" in _refused(dsn, statement)


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("before", ["", "SET session_replication_role = replica"])
def test_even_the_superuser_meets_the_triggers(postgres: Server, database: str, before: str) -> None:
    """Row and TRUNCATE triggers fire for everyone, on parent and partition, also with replication role `replica`."""
    dsn = postgres.dsn(database)
    for table in ("quorate.audit_entry", _partition(dsn)):
        for statement in (f"UPDATE {table} SET seq = seq", f"DELETE FROM {table}", f"TRUNCATE {table}"):
            assert "append-only" in _refused(dsn, statement, before=before)
    for statement in ("DELETE FROM quorate.chain_head", "UPDATE quorate.chain_head SET size = 0, frontier = ''"):
        assert "chain" in _refused(dsn, statement, before=before)


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("role", ["app", "sealer", "read"])
def test_partitions_are_not_reached_directly(postgres: Server, database: str, role: str) -> None:
    """No role reads or writes a partition by its own name."""
    dsn = postgres.dsn(database, f"only_{role}")
    table = _partition(postgres.dsn(database))
    for statement in (f"SELECT FROM {table}", f"INSERT INTO {table} DEFAULT VALUES"):
        assert "permission denied" in _refused(dsn, statement)


@pytest.mark.parametrize("role", ["app", "read", "maint"])
def test_only_the_sealer_seals(postgres: Server, database: str, role: str) -> None:
    """Other roles may neither insert entries, nor move a head, take a term or make a chain."""
    dsn = postgres.dsn(database, f"only_{role}")
    for statement in ("INSERT INTO quorate.audit_entry DEFAULT VALUES", "UPDATE quorate.chain_head SET size = 1",
                      "UPDATE quorate.leader_term SET term = 9", "SELECT quorate.make_chain('x')"):  # fmt: skip
        assert "permission denied" in _refused(dsn, statement)


def test_nobody_becomes_the_owner(postgres: Server, database: str) -> None:
    """The operator's login can neither take the owner's role nor switch triggers off."""
    dsn = postgres.dsn(database, "operator")
    for statement in ("SET ROLE quorate_owner", "SET session_replication_role = replica",
                      "ALTER TABLE quorate.audit_entry DISABLE TRIGGER ALL"):  # fmt: skip
        assert any(words in _refused(dsn, statement) for words in ("permission denied", "must be owner"))


def test_content_has_its_digest(postgres: Server, database: str) -> None:
    """The database itself refuses bytes under another digest."""
    statement = "INSERT INTO quorate.content VALUES ('sha256:' || repeat('0', 64), 'x')"
    assert "check constraint" in _refused(postgres.dsn(database, "operator"), statement)


def test_nobody_stands_before_the_queue(postgres: Server, database: str) -> None:
    """Who takes entries in does not choose their place: before the first one nobody would ever look."""
    statement = "INSERT INTO quorate.audit_intake (chain_id, entry_id, content, intake_at, hmac) VALUES"
    statement += " ('mesh/x', gen_random_uuid(), '', 0, decode(repeat('00', 32), 'hex'))"
    assert "permission denied" in _refused(postgres.dsn(database, "only_app"), statement)


@pytest.mark.parametrize(
    ("chain", "size", "mac"), [("", 1, 32), ("x" * 513, 1, 32), ("mesh/x", 65536, 32), ("mesh/x", 1, 31)]
)
def test_the_queue_takes_no_more_than_a_record_holds(
    postgres: Server, database: str, chain: str, size: int, mac: int
) -> None:
    """What could never be sealed is refused at the only way in, which is for `quorate_app`."""
    statement = (
        f"CALL quorate.take_in('{chain}'::bytea, gen_random_uuid(), convert_to(repeat('x', {size}), 'UTF8'), 0,"
        f" convert_to(repeat('x', {mac}), 'UTF8'))"
    )
    assert "at most 65535" in _refused(postgres.dsn(database, "only_app"), statement)
    assert "permission denied" in _refused(postgres.dsn(database, "only_sealer"), statement)


def test_functions_with_the_owners_rights(postgres: Server, database: str) -> None:
    """Each is for named roles only, finds nothing but what it names, and lets no caller choose where names lead."""
    with psycopg.connect(postgres.dsn(database)) as connection:
        rows = connection.execute(
            "SELECT p.oid::regprocedure::text, p.proconfig, p.prorettype = 'trigger'::regtype,"
            " EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee = 0)"
            " FROM pg_proc p WHERE p.prosecdef AND p.pronamespace = 'quorate'::regnamespace"
        ).fetchall()
    assert len(rows) >= 12
    for name, settings, fires, public in rows:
        assert "search_path=pg_catalog, pg_temp" in (settings or []), name
        assert fires or not public, name
