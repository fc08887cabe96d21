"""Attacks on the log from inside its database: each is refused, or it is found and named (audit.md, 6)."""

import asyncio
import hashlib
import re
from dataclasses import dataclass

import psycopg
import pytest

from quorate.audit.catalogue import differences
from quorate.audit.rules import StoredEntry
from quorate.audit.verify import ChainVerifier
from quorate.canonical import digest_of_bytes
from quorate_operator.store.guards import Snapshot, look
from quorate_operator.store.log import PostgresStore
from tests.contract.conftest import copy_of_template
from tests.contract.server import Server
from tests.contract.test_log import CHAIN, draft

OPEN = "CREATE OR REPLACE FUNCTION quorate.refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'"
DDL = [
    ("ALTER TABLE quorate.content DISABLE TRIGGER append_only",
     r"trigger append_only on quorate\.content: fires was always, is never"),
    ("ALTER TABLE {partition} DISABLE TRIGGER ALL", r"partition \S+: trigger append_only on \S+: fires was always"),
    ("ALTER TABLE quorate.content DISABLE TRIGGER no_truncate, ENABLE ALWAYS TRIGGER no_truncate",
     r"trigger no_truncate on quorate\.content was changed and put back"),
    ("ALTER TABLE {partition} DISABLE TRIGGER append_only, ENABLE ALWAYS TRIGGER append_only",
     r"partition \S+ was changed and put back"),
    ("ALTER TABLE quorate.audit_entry DETACH PARTITION {partition}", r"partition \S+ is gone"),
    ("ALTER TABLE quorate.audit_entry DETACH PARTITION {partition}", r"no partition holds entries 0 to 1048575"),
    ("DROP TABLE {partition}", r"partition \S+ is gone"),
    ("DROP TABLE quorate.audit_about", r"relation quorate\.audit_about is gone"),
    ("DROP TRIGGER no_truncate ON quorate.audit_event_id", r"trigger no_truncate on quorate\.audit_event_id is gone"),
    ("DROP TRIGGER head_grows ON quorate.chain_head", r"trigger head_grows on quorate\.chain_head is gone"),
    ("DROP POLICY reading ON {partition}", r"policy reading on \S+ is gone"),
    ("CREATE POLICY more ON quorate.audit_entry FOR UPDATE USING (true)", r"policy more on \S+ is new"),
    ("ALTER TABLE quorate.audit_entry NO FORCE ROW LEVEL SECURITY", r"audit_entry: forced was true, is false"),
    ("ALTER TABLE {partition} DISABLE ROW LEVEL SECURITY", r"rowSecurity was true, is false"),
    (OPEN, r"function quorate\.refuse_change\(\): body was"),
    ("ALTER FUNCTION quorate.make_chain(text) SECURITY INVOKER", r"make_chain\(chain text\): definer was true"),
    ("CREATE FUNCTION quorate.shortcut() RETURNS void LANGUAGE sql SECURITY DEFINER AS ''",
     r"function quorate\.shortcut\(\) is new"),
    ("GRANT UPDATE ON quorate.audit_entry TO quorate_app", r"quorate\.audit_entry: rights lost .* got quorate_app=rw/"),
    ("GRANT INSERT ON {partition} TO quorate_sealer", r"partition \S+: relation \S+: rights"),
    ("GRANT EXECUTE ON FUNCTION quorate.make_chain(text) TO PUBLIC", r"make_chain\(chain text\): rights got =X/"),
    ("GRANT CREATE ON SCHEMA quorate TO quorate_app", r"schema quorate: rights lost .* got quorate_app=UC/"),
    ("ALTER DEFAULT PRIVILEGES FOR ROLE quorate_owner GRANT ALL ON TABLES TO PUBLIC", r"default rights .* is new"),
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
    ("CREATE SUBSCRIPTION theirs CONNECTION 'dbname=x' PUBLICATION p WITH (connect = false)",
     r"subscription theirs is new"),
]  # fmt: skip


@dataclass(frozen=True)
class Target:
    """A database with three entries, which every attack on its schema is rolled back in."""

    server: Server
    database: str
    partition: str
    before: Snapshot

    def dsn(self, login: str = "postgres") -> str:
        return self.server.dsn(self.database, login)

    def found(self, statement: str, login: str = "postgres") -> list[str]:
        """What the fingerprint says while the attack is in force."""
        with psycopg.connect(self.dsn(login)) as connection:
            connection.execute("SET LOCAL search_path = pg_catalog")
            connection.execute(statement.format(partition=self.partition).encode())
            after = look(connection)
            connection.rollback()
        return differences(self.before.document, after.document, after.around)


async def _fill(dsn: str) -> None:
    store = PostgresStore(dsn)
    await store.open()
    await store.take("test")
    await store.log.append(CHAIN, [draft(name) for name in "abc"], {digest_of_bytes(b"bulk"): b"bulk"})
    await store.close()


@pytest.fixture(scope="module")
def target(postgres: Server) -> Target:
    """One for the module: nothing of an attack stays."""
    database = copy_of_template(postgres)
    asyncio.run(_fill(postgres.dsn(database, "operator")))
    with psycopg.connect(postgres.dsn(database)) as connection:
        name = "audit_entry_" + hashlib.md5(CHAIN.encode()).hexdigest() + "_0"
        assert connection.execute("SELECT to_regclass(%s) IS NOT NULL", (f"quorate.{name}",)).fetchone() == (True,)
    return Target(postgres, database, f"quorate.{name}", snapshot(postgres.dsn(database, "operator")))


@pytest.fixture(scope="module")
def landlord(postgres: Server) -> str:
    """A login that may act as the owner of the log's tables and is no superuser, as who migrates a managed Postgres."""
    postgres.run("CREATE ROLE landlord LOGIN IN ROLE quorate_owner")
    return "landlord"


def snapshot(dsn: str) -> Snapshot:
    """The catalogue as this login sees it."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        return look(connection)


@pytest.mark.parametrize(("statement", "sentence"), DDL)
def test_the_owner_changes_the_schema(landlord: str, target: Target, statement: str, sentence: str) -> None:
    """Who may act as the owner is refused by the guard; where no guard can be, the fingerprint finds and names it."""
    command = f"SET ROLE quorate_owner; {statement}"
    if target.server.installation.managed:
        assert not target.before.guards.ddl_guard
        found = target.found(command, landlord)
        assert any(re.search(sentence, each) for each in found), found
    else:
        assert target.before.guards.ddl_guard
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match=r"is refused: only its migrations"):
            target.found(command, landlord)


@pytest.mark.parametrize(("statement", "sentence"), [*DDL, *SUPERUSER_ONLY])
def test_a_superuser_changes_anything(target: Target, statement: str, sentence: str) -> None:
    """Nothing stops a superuser; the fingerprint finds every change and names it."""
    found = target.found(statement)
    assert any(re.search(sentence, each) for each in found), found


def test_nothing_happened_nothing_found(target: Target) -> None:
    """Reading, sealing, VACUUM, ANALYZE and new chains are no difference, whoever looks."""
    with psycopg.connect(target.dsn(), autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
    with psycopg.connect(target.dsn("operator"), autocommit=True) as connection:
        connection.execute("SELECT quorate.make_chain('another/chain')")
    for login in ("operator", "only_read", "postgres"):
        after = snapshot(target.dsn(login))
        assert differences(target.before.document, after.document, after.around) == []


def test_the_guard_is_where_the_server_allows_it(target: Target) -> None:
    """A superuser's migration installs it; a user without superuser rights migrates all the same, and that is said."""
    guarded = not target.server.installation.managed
    assert target.before.guards.ddl_guard is guarded
    assert str(target.before.guards) == f"ddlGuard={str(guarded).lower()}, pgaudit=false"
    if guarded:
        off = target.found("ALTER EVENT TRIGGER quorate_guard_ddl DISABLE")
        assert "event trigger quorate_guard_ddl: fires was always, is never" in off
        gone = target.found("DROP SCHEMA quorate_guard CASCADE")
        assert {"event trigger quorate_guard_drop is gone", "schema quorate_guard is gone"} <= set(gone)


def test_what_a_superuser_does_is_written_down(landlord: str, target: Target) -> None:
    """DDL on the log by a superuser, also as somebody else, leaves a line with the login; other DDL leaves none."""
    if target.server.installation.managed:
        return
    with psycopg.connect(target.dsn()) as connection:
        connection.execute("CREATE TABLE public.invoices (id int)")
        connection.execute("SET ROLE quorate_owner")
        connection.execute("ALTER TABLE quorate.content DISABLE TRIGGER append_only")
        connection.execute("GRANT UPDATE ON quorate.content TO quorate_app")
        connection.execute("DROP TABLE quorate.audit_about")
        connection.execute("RESET ROLE")
        query = "SELECT login, command, object FROM quorate_guard.ddl WHERE done_at >= now() ORDER BY number"
        rows = connection.execute(query).fetchall()
        connection.rollback()
    assert rows[:2] == [("postgres", "ALTER TABLE", "quorate.content"), ("postgres", "GRANT", "quorate.content")]
    assert ("postgres", "DROP TABLE", "quorate.audit_about") in rows and not any("invoices" in row[2] for row in rows)
    with psycopg.connect(target.dsn(landlord)) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("DELETE FROM quorate_guard.ddl")


def test_membership_taken_back_is_no_way_around_the_guard(landlord: str, target: Target) -> None:
    """Who acts as the owner is refused although the membership that allowed it was revoked meanwhile."""
    if target.server.installation.managed:
        return
    try:
        with psycopg.connect(target.dsn(landlord)) as connection:
            connection.execute("SET ROLE quorate_owner")
            target.server.run(f"REVOKE quorate_owner FROM {landlord}")
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="is refused"):
                connection.execute("DROP TRIGGER append_only ON quorate.content")
    finally:
        target.server.run(f"GRANT quorate_owner TO {landlord}")


DML = ["INSERT INTO {partition} VALUES ('x', 9, 'x')", "UPDATE {partition} SET seq = 9", "DELETE FROM {partition}",
       "TRUNCATE {partition}", "TRUNCATE quorate.audit_entry", "DELETE FROM quorate.chain_head",
       "UPDATE quorate.audit_event_id SET seq = 9", "DELETE FROM quorate.content"]  # fmt: skip


@pytest.mark.parametrize("login", ["only_app", "only_sealer", "only_maint", "only_read", "operator"])
def test_no_role_of_the_log_gets_near(target: Target, login: str) -> None:
    """The roles that programs use may neither change the schema nor reach a partition nor change what was written."""
    others = ["SET session_replication_role = replica", "SET ROLE quorate_owner"]
    for statement in [*(statement for statement, _ in DDL), *others, *DML]:
        found, refusal = _tried(target, statement, login)
        if refusal:
            assert re.search("must be (owner|member)|permission denied|does not exist", refusal), statement
        else:  # GRANT of what one does not hold is a warning, yet writes the function's row again
            assert statement.startswith("GRANT") and all("changed and put back" in each for each in found), statement


def _tried(target: Target, statement: str, login: str) -> tuple[list[str], str]:
    try:
        return target.found(statement, login), ""
    except psycopg.Error as error:
        return [], str(error)


@pytest.mark.parametrize("mode", ["origin", "replica"])
def test_rows_stay_whoever_comes(landlord: str, target: Target, mode: str) -> None:
    """UPDATE, DELETE and TRUNCATE change nothing for owner and superuser, on table and partition, also as a replica."""
    for login, prelude in (
        (landlord, "SET ROLE quorate_owner"),
        ("postgres", f"SET session_replication_role = {mode}"),
    ):
        for statement in DML[1:]:
            count, refusal = _changed(target.dsn(login), prelude, statement.format(partition=target.partition))
            # Row security is forced: without a policy the owner sees no row to change.
            assert "is refused" in refusal or (login, count) == (landlord, 0), statement


def _changed(dsn: str, prelude: str, statement: str) -> tuple[int, str]:
    with psycopg.connect(dsn) as connection:
        connection.execute(prelude.encode())
        try:
            return connection.execute(statement.encode()).rowcount, ""
        except psycopg.Error as error:
            return 0, str(error)
        finally:
            connection.rollback()


def test_rows_written_behind_the_sealer(landlord: str, target: Target) -> None:
    """The owner and a superuser may insert a row past the sealer: the log's own verification names it."""
    statement = f"INSERT INTO {target.partition} SELECT chain_id, seq + 3, record FROM {target.partition}"
    with psycopg.connect(target.dsn()) as connection:
        connection.execute(statement.encode())
        rows = connection.execute("SELECT seq, record FROM quorate.audit_entry ORDER BY seq").fetchall()
        connection.rollback()
    verifier = ChainVerifier(CHAIN)
    for sequence, record in rows:
        verifier.feed(StoredEntry(sequence, bytes(record), None))
    assert verifier.report.fault is not None and verifier.report.fault.sequence == 3
