"""One Postgres for the session; a migrated database of its own, copied from a template, for each test."""

import uuid
from collections.abc import Iterator

import psycopg
import pytest

from quorate_operator.store.migrate import create_login, migrate
from tests.contract.server import Server

TEMPLATE = "migrated"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A running server whose database `migrated` has the newest schema; logins `operator` and `reader`."""
    server = Server()
    server.start()
    try:
        _run(server, f"CREATE DATABASE {TEMPLATE}")
        migrate(server.dsn(TEMPLATE))
        create_login(server.dsn(TEMPLATE), "operator", ["quorate_app", "quorate_sealer"])
        for name in ("app", "sealer", "maint", "read"):
            create_login(server.dsn(TEMPLATE), f"only_{name}", [f"quorate_{name}"])
        yield server
    finally:
        server.remove()


def _run(server: Server, statement: str) -> None:
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        connection.execute(statement)


@pytest.fixture
def empty_database(postgres: Server) -> str:
    """Name of a new database without anything."""
    name = f"t_{uuid.uuid4().hex}"
    _run(postgres, f"CREATE DATABASE {name} TEMPLATE template0")
    return name


@pytest.fixture
def database(postgres: Server) -> str:
    """Name of a new migrated database."""
    name = f"t_{uuid.uuid4().hex}"
    _run(postgres, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY file_copy")
    return name


@pytest.fixture
def postgres_dsn(postgres: Server, database: str) -> str:
    """Connection string of a new migrated database as the operator's login."""
    return postgres.dsn(database, "operator")
