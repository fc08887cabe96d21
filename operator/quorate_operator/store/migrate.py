"""Brings a database to this version's schema, forward only: numbered SQL files, each in one transaction.

Every step takes the same advisory lock and looks again, so any number of processes may migrate at once. A file that was
applied never changes: its digest is kept beside it.
"""

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import cast

import psycopg
from psycopg import sql

from quorate.canonical import digest_of_bytes
from quorate_operator.errors import Stalled, Transient

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('quorate.dev/migrate', 0))"
_FILE = re.compile(r"(\d{4})_([a-z_]+)\.sql", re.ASCII)
ROLES = ("quorate_app", "quorate_sealer", "quorate_maint", "quorate_read")
_FOREIGN = """
SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm') AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e') ORDER BY 1 LIMIT 1
"""
_GUARD = """
SELECT obj_description(oid, 'pg_event_trigger') FROM pg_event_trigger
WHERE evtname = 'quorate_guard_ddl' AND evtenabled = 'A'
"""
_TABLE = """
CREATE SCHEMA quorate;
CREATE TABLE quorate.migration (
    version integer PRIMARY KEY, name text NOT NULL, digest text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""


@dataclass(frozen=True)
class Migration:
    """One numbered SQL file."""

    version: int
    name: str
    text: str

    @property
    def digest(self) -> str:
        """SHA-256 of the file."""
        return digest_of_bytes(self.text.encode())


def migrations() -> list[Migration]:
    """The files of this version, in order and numbered from 1."""
    found = []
    for item in files("quorate_operator.store").joinpath("migrations").iterdir():
        match = _FILE.fullmatch(item.name)
        if match is not None:
            found.append(Migration(int(match[1]), match[2], item.read_text(encoding="utf-8")))
    return sorted(found, key=lambda migration: migration.version)


def migrate(dsn: str, *, target: int | None = None) -> list[int]:
    """Apply what is missing up to `target` (default: all); the versions that were applied.

    With all of them comes the guard against DDL, where the server lets this user make event triggers.

    Raises:
        Stalled: `ForeignDatabase`, `SchemaNewer`, `SchemaChanged`, or `SchemaDenied` when the user may not do it.
        Transient: `DatabaseUnavailable`.
    """
    applied = []
    try:
        with psycopg.connect(dsn, autocommit=True, connect_timeout=10) as connection:
            while (version := _step(connection, target)) is not None:
                applied.append(version)
            if target is None:
                _install_guard(connection)
    except psycopg.errors.InsufficientPrivilege as error:
        raise Stalled("SchemaDenied", f"this database user may not migrate: {_first_line(error)}") from error
    except psycopg.OperationalError as error:
        raise Transient("DatabaseUnavailable", _first_line(error)) from error
    return applied


def check_schema(versions: Sequence[tuple[int, str]]) -> int:
    """How many of this version's migrations are applied, given (version, digest) of each that was.

    Raises:
        Stalled: `SchemaNewer` or `SchemaChanged`.
    """
    known = migrations()
    if len(versions) > len(known):
        raise Stalled(
            "SchemaNewer",
            f"the database has schema version {versions[-1][0]}, this Quorate knows {len(known)}: run a newer one",
        )
    for migration, (version, digest) in zip(known, versions, strict=False):
        if (migration.version, migration.digest) != (version, digest):
            raise Stalled("SchemaChanged", f"migration {version} was applied with other text than this Quorate has")
    return len(versions)


def create_login(dsn: str, name: str, roles: Sequence[str] = ROLES) -> None:
    """Make a login user that holds `roles`, unless it is there; how it authenticates is the server's business."""
    with psycopg.connect(dsn, connect_timeout=10) as connection:
        connection.execute(_LOCK)
        if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (name,)).fetchone() is None:
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
        granted = sql.SQL(", ").join(map(sql.Identifier, roles))
        connection.execute(sql.SQL("GRANT {} TO {}").format(granted, sql.Identifier(name)))


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _step(connection: psycopg.Connection, target: int | None) -> int | None:
    """Apply the next migration; None when there is none."""
    with connection.transaction():
        connection.execute(_LOCK)
        _adopt(connection)
        rows = connection.execute("SELECT version, digest FROM quorate.migration ORDER BY version").fetchall()
        done = check_schema(cast("list[tuple[int, str]]", rows))
        following = migrations()[done : len(migrations()) if target is None else target]
        if not following:
            return None
        migration = following[0]
        connection.execute(migration.text.encode())
        connection.execute(
            "INSERT INTO quorate.migration (version, name, digest) VALUES (%s, %s, %s)",
            (migration.version, migration.name, migration.digest),
        )
        return migration.version


def has_guard(dsn: str) -> bool:
    """Whether this version's guard against DDL is installed and fires always."""
    with psycopg.connect(dsn, connect_timeout=10) as connection:
        return connection.execute(_GUARD).fetchone() == (digest_of_bytes(guard_text().encode()),)


def guard_text() -> str:
    """The SQL of the guard against DDL."""
    return files("quorate_operator.store").joinpath("guard.sql").read_text(encoding="utf-8")


def _install_guard(connection: psycopg.Connection) -> None:
    """Install the guard unless this very text is installed; a user who may not goes without it, as `doctor` says."""
    text = guard_text()
    digest = digest_of_bytes(text.encode())
    with connection.transaction():
        connection.execute(_LOCK)
        if connection.execute(_GUARD).fetchone() == (digest,):
            return
        with contextlib.suppress(psycopg.errors.InsufficientPrivilege), connection.transaction():
            connection.execute(text.encode())
            comment = sql.SQL("COMMENT ON EVENT TRIGGER quorate_guard_ddl IS {}").format(sql.Literal(digest))
            connection.execute(comment)


def _adopt(connection: psycopg.Connection) -> None:
    """Make the schema in an empty database; refuse one that holds somebody else's tables."""
    row = connection.execute("SELECT to_regnamespace('quorate'), to_regclass('quorate.migration')").fetchone()
    assert row is not None
    if row[1] is not None:
        return
    foreign = connection.execute(_FOREIGN).fetchone()
    if row[0] is not None or foreign is not None:
        what = f"it holds {foreign[0]}" if foreign else "its schema quorate was not made by a migration"
        raise Stalled("ForeignDatabase", f"this database is not Quorate's: {what}; give an empty database")
    connection.execute(_TABLE)
