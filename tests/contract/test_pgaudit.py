"""pgaudit, where a server loads it: that it writes is said, and that somebody switches it off is found."""

from collections.abc import Iterator

import psycopg
import pytest

from quorate.audit.catalogue import differences
from quorate_operator.store.guards import Snapshot, look
from quorate_operator.store.migrate import create_login, migrate
from tests.contract.server import Installation, Server, installations

WITH_LIBRARY: Installation | None = next(
    (found for found in installations() if (found.directory.parent / "lib" / "pgaudit.so").exists()), None
)
pytestmark = pytest.mark.skipif(
    WITH_LIBRARY is None, reason="no Postgres here has pgaudit (Debian's postgresql-15-pgaudit)"
)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server of its own: only a restart loads a library."""
    made = Server(WITH_LIBRARY)
    made.start()
    try:
        made.run("CREATE DATABASE log")
        migrate(made.dsn("log"))
        create_login(made.dsn("log"), "operator", ["quorate_app", "quorate_sealer"])
        yield made
    finally:
        made.remove()


def snapshot(server: Server) -> Snapshot:
    """The catalogue as the operator sees it."""
    with psycopg.connect(server.dsn("log", "operator"), autocommit=True) as connection:
        return look(connection)


def test_what_pgaudit_does(server: Server) -> None:
    """A setting alone is no audit, nor the library that writes nothing; both are, and DDL leaves a line of the log."""
    server.run("ALTER DATABASE log SET pgaudit.log = 'all'")
    assert str(snapshot(server).guards) == "ddlGuard=true, pgaudit=false", "the library is not loaded"
    server.run("ALTER DATABASE log RESET pgaudit.log")
    server.run("ALTER SYSTEM SET shared_preload_libraries = 'pgaudit'")
    server.stop()
    server.start()
    assert str(snapshot(server).guards) == "ddlGuard=true, pgaudit=false", "it writes nothing"
    server.run("ALTER DATABASE log SET pgaudit.log = 'ddl, role'")
    writing = snapshot(server)
    assert str(writing.guards) == "ddlGuard=true, pgaudit=true"
    with psycopg.connect(server.dsn("log"), autocommit=True) as connection:
        connection.execute("ALTER TABLE quorate.content DISABLE TRIGGER append_only")
        connection.execute("ALTER TABLE quorate.content ENABLE ALWAYS TRIGGER append_only")
    lines = (server.root / "log").read_text(errors="replace")
    assert "AUDIT: SESSION" in lines and "DISABLE TRIGGER append_only" in lines
    server.run("ALTER DATABASE log RESET pgaudit.log")
    after = snapshot(server)
    assert not after.guards.pgaudit
    found = differences(writing.document, after.document, after.around)
    assert any("pgaudit" in sentence for sentence in found), found
