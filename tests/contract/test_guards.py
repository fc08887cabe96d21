"""Attacks on the log from inside its database: each is refused, or it is found and named (audit.md, 6)."""

import re
import uuid
from collections.abc import Iterator

import psycopg
import pytest

from quorate.audit.catalogue import differences
from quorate_operator.store.guards import Snapshot, look
from quorate_operator.store.log import PostgresStore
from quorate_operator.store.migrate import create_login, migrate
from tests.contract.server import Server
from tests.contract.test_log import CHAIN, draft

OPEN = "CREATE OR REPLACE FUNCTION quorate.refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'"
DDL = [
    ("ALTER TABLE quorate.content DISABLE TRIGGER append_only",
     r"trigger append_only on quorate\.content: fires was always, is never"),
    ("ALTER TABLE {partition} DISABLE TRIGGER ALL", r"partition \S+: trigger append_only on \S+: fires was always"),
    ("ALTER TABLE quorate.content DISABLE TRIGGER ALL; ALTER TABLE quorate.content ENABLE ALWAYS TRIGGER append_only;"
     "ALTER TABLE quorate.content ENABLE ALWAYS TRIGGER no_truncate",
     r"trigger append_only on quorate\.content was changed and put back"),
    ("ALTER TABLE {partition} DISABLE TRIGGER append_only; ALTER TABLE {partition} ENABLE ALWAYS TRIGGER append_only",
     r"partition \S+ was changed and put back"),
    ("ALTER TABLE quorate.audit_entry DETACH PARTITION {partition}", r"partition \S+ is gone"),
    ("ALTER TABLE quorate.audit_entry DETACH PARTITION {partition}", r"no partition holds entries 0 to 1048575 of chain"),
    ("DROP TABLE {partition}", r"partition \S+ is gone"),
    ("DROP TABLE quorate.audit_about", r"relation quorate\.audit_about is gone"),
    ("DROP TRIGGER no_truncate ON quorate.audit_event_id", r"trigger no_truncate on quorate\.audit_event_id is gone"),
    ("DROP TRIGGER head_grows ON quorate.chain_head", r"trigger head_grows on quorate\.chain_head is gone"),
    ("DROP POLICY reading ON {partition}", r"policy reading on \S+ is gone"),
    ("CREATE POLICY more ON quorate.audit_entry FOR UPDATE USING (true)", r"policy more on quorate\.audit_entry is new"),
    ("ALTER TABLE quorate.audit_entry NO FORCE ROW LEVEL SECURITY", r"audit_entry: forced was true, is false"),
    ("ALTER TABLE {partition} DISABLE ROW LEVEL SECURITY", r"rowSecurity was true, is false"),
    (OPEN, r"function quorate\.refuse_change\(\): body was"),
    ("ALTER FUNCTION quorate.make_chain(text) SECURITY INVOKER", r"make_chain\(chain text\): definer was true, is false"),
    ("CREATE FUNCTION quorate.shortcut() RETURNS void LANGUAGE sql SECURITY DEFINER AS ''",
     r"function quorate\.shortcut\(\) is new"),
    ("GRANT UPDATE ON quorate.audit_entry TO quorate_app", r"quorate\.audit_entry: rights lost .* got quorate_app=rw/"),
    ("GRANT INSERT ON {partition} TO quorate_sealer", r"partition \S+: relation \S+: rights"),
    ("GRANT EXECUTE ON FUNCTION quorate.make_chain(text) TO PUBLIC", r"make_chain\(chain text\): rights got =X/"),
    ("GRANT CREATE ON SCHEMA quorate TO quorate_app", r"schema quorate: rights lost .* got quorate_app=UC/"),
    ("ALTER DEFAULT PRIVILEGES IN SCHEMA quorate GRANT ALL ON TABLES TO PUBLIC", r"default rights \S+ quorate r is new"),
    ("ALTER TABLE quorate.content DROP CONSTRAINT content_check", r"constraint content_check on \S+ is gone"),
    ("ALTER TABLE quorate.checkpoint ADD COLUMN remark text", r"relation quorate\.checkpoint: columns got remark text"),
    ("ALTER TABLE quorate.content RENAME TO contents", r"relation quorate\.content is gone"),
    ("CREATE RULE nothing AS ON INSERT TO quorate.checkpoint DO INSTEAD NOTHING", r"rule nothing on \S+ is new"),
    ("CREATE TABLE quorate.audit_entry_x PARTITION OF quorate.audit_entry FOR VALUES FROM ('x', 0) TO ('x', 9)",
     r"partition audit_entry_x was made by hand"),
    ("CREATE TRIGGER mine BEFORE INSERT ON quorate.audit_intake FOR EACH ROW EXECUTE FUNCTION quorate.refuse_change()",
     r"trigger mine on quorate\.audit_intake is new"),
]  # fmt: skip
"""What the owner could do without a guard, and the sentence that the fingerprint has for it."""
SUPERUSER_ONLY = [
    ("GRANT quorate_owner TO operator", r"membership of operator in quorate_owner is new"),
    ("GRANT quorate_sealer TO only_app", r"membership of only_app in quorate_sealer is new"),
    ("ALTER ROLE quorate_app BYPASSRLS", r"role quorate_app: bypassesRowSecurity was false, is true"),
    ("ALTER ROLE operator SUPERUSER", r"role operator is new"),
    ("ALTER ROLE operator SET session_replication_role = replica", r"setting operator is new"),
    ("CREATE FUNCTION public.nothing() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
     "CREATE EVENT TRIGGER other ON ddl_command_start EXECUTE FUNCTION public.nothing()", r"event trigger other is new"),
    ("CREATE SUBSCRIPTION theirs CONNECTION 'dbname=x' PUBLICATION p WITH (connect = false)",
     r"subscription theirs is new"),
]  # fmt: skip


@pytest.fixture
async def attacked(postgres: Server, database: str, postgres_dsn: str) -> str:
    """A database with three entries in the log, and the name of their partition."""
    store = PostgresStore(postgres_dsn)
    await store.open()
    await store.take("test")
    await store.log.append(CHAIN, [draft(name) for name in "abc"])
    await store.close()
    with psycopg.connect(postgres.dsn(database)) as connection:
        query = (
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'quorate.audit_entry'::regclass"
            " AND pg_get_expr((SELECT relpartbound FROM pg_class WHERE oid = inhrelid), inhrelid) LIKE '%''0'') TO%'"
        )
        row = connection.execute(query).fetchone()
    assert row is not None
    return str(row[0])


@pytest.fixture
def owner(postgres: Server, database: str) -> Iterator[str]:
    """A login that may act as the owner of the log's tables and is no superuser, as who migrates a managed Postgres."""
    name = f"keeper_{uuid.uuid4().hex[:8]}"
    postgres.run(f"CREATE ROLE {name} LOGIN IN ROLE quorate_owner")
    yield postgres.dsn(database, name)
    postgres.run(f"DROP ROLE {name}")


def _snapshot(dsn: str) -> Snapshot:
    with psycopg.connect(dsn, autocommit=True) as connection:
        return look(connection)


def _found(dsn: str, statement: str, before: Snapshot) -> list[str]:
    """What the fingerprint says while the attack is in force; it is rolled back then."""
    with psycopg.connect(dsn) as connection:
        connection.execute("SET LOCAL search_path = pg_catalog")
        connection.execute(statement.encode())
        after = look(connection)
        connection.rollback()
    return differences(before.document, after.document, after.around)


@pytest.mark.parametrize(("statement", "sentence"), DDL)
def test_the_owner_changes_the_schema(
    postgres: Server, database: str, postgres_dsn: str, attacked: str, owner: str, statement: str, sentence: str
) -> None:
    """Who may act as the owner is refused by the guard; where no guard can be, the fingerprint finds and names it."""
    before, command = _snapshot(postgres_dsn), f"SET ROLE quorate_owner; {statement.format(partition=attacked)}"
    if postgres.installation.managed:
        assert not before.guards.ddl_guard
        found = _found(owner, command, before)
        assert any(re.search(sentence, each) for each in found), found
    else:
        assert before.guards.ddl_guard
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match=r"is refused: only its migrations"):
            _found(owner, command, before)
        assert _snapshot(postgres_dsn).digest == before.digest


@pytest.mark.parametrize(("statement", "sentence"), [*DDL, *SUPERUSER_ONLY])
def test_a_superuser_changes_anything(
    postgres: Server, database: str, postgres_dsn: str, attacked: str, statement: str, sentence: str
) -> None:
    """Nothing stops a superuser; the fingerprint finds every change and names it."""
    found = _found(postgres.dsn(database), statement.format(partition=attacked), _snapshot(postgres_dsn))
    assert any(re.search(sentence, each) for each in found), found


@pytest.mark.usefixtures("attacked")
def test_nothing_happened_nothing_found(postgres: Server, database: str, postgres_dsn: str) -> None:
    """Reading, sealing, VACUUM, ANALYZE and new chains are no difference, whoever looks."""
    before = _snapshot(postgres_dsn)
    with psycopg.connect(postgres.dsn(database), autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute("SELECT quorate.make_chain('another/chain')")
    for login in ("operator", "only_read", "postgres"):
        after = _snapshot(postgres.dsn(database, login))
        assert differences(before.document, after.document, after.around) == []
