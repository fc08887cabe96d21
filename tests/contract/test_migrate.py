"""Migrations: from empty, from each earlier version, and what they refuse."""

import psycopg
import pytest

from quorate_operator.errors import OperatorError
from quorate_operator.store.migrate import migrate, migrations
from tests.contract.server import Server


def _schema(dsn: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(
            "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns"
            " WHERE table_schema = 'quorate' ORDER BY 1, 2"
        ).fetchall()


def test_files_are_numbered_without_gaps() -> None:
    """Migration n is the n-th file, so a version says exactly what was applied."""
    assert [item.version for item in migrations()] == list(range(1, len(migrations()) + 1))


@pytest.mark.parametrize("version", range(len(migrations())))
def test_every_earlier_version_reaches_the_same_schema(
    postgres: Server, empty_database: str, database: str, version: int
) -> None:
    """From empty and from each earlier version, migrating ends in the schema that a new database gets."""
    dsn = postgres.dsn(empty_database, postgres.installation.migrator)
    assert migrate(dsn, target=version) == list(range(1, version + 1))
    assert migrate(dsn) == list(range(version + 1, len(migrations()) + 1))
    assert _schema(dsn) == _schema(postgres.dsn(database))
    assert migrate(dsn) == []


def test_a_foreign_database_is_refused(postgres: Server, empty_database: str) -> None:
    """A database with somebody else's tables is left as it is, with one sentence that names one of them."""
    dsn = postgres.dsn(empty_database, postgres.installation.migrator)
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE invoices (id int)")
    with pytest.raises(OperatorError, match=r"ForeignDatabase: .*public\.invoices"):
        migrate(dsn)
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT to_regnamespace('quorate')").fetchone() == (None,)


def test_a_foreign_schema_of_our_name_is_refused(postgres: Server, empty_database: str) -> None:
    """A schema `quorate` that no migration made is not taken over."""
    dsn = postgres.dsn(empty_database, postgres.installation.migrator)
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE SCHEMA quorate")
    with pytest.raises(OperatorError, match="ForeignDatabase"):
        migrate(dsn)


def test_a_newer_schema_is_refused(postgres: Server, database: str) -> None:
    """A database that a later Quorate migrated is refused, and the sentence says which version it has."""
    dsn, newer = postgres.dsn(database), len(migrations()) + 1
    with psycopg.connect(dsn) as connection:
        connection.execute("INSERT INTO quorate.migration VALUES (%s, 'later', 'sha256:0')", (newer,))
    with pytest.raises(OperatorError, match=f"SchemaNewer: the database has schema version {newer}"):
        migrate(dsn)


def test_changed_text_is_refused(postgres: Server, database: str) -> None:
    """A migration that was applied with other text stops everything."""
    dsn = postgres.dsn(database)
    with psycopg.connect(dsn) as connection:
        connection.execute("UPDATE quorate.migration SET digest = 'sha256:1' WHERE version = 1")
    with pytest.raises(OperatorError, match="SchemaChanged: migration 1"):
        migrate(dsn)


def test_an_unprivileged_user_is_told(postgres: Server, empty_database: str) -> None:
    """A user that may not make the schema gets SchemaDenied, not a stack trace."""
    with pytest.raises(OperatorError, match="SchemaDenied"):
        migrate(postgres.dsn(empty_database, "only_read"))
