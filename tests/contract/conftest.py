"""One Postgres for the session; a migrated database of its own, copied from a template, for each test.

Every test runs on the server of the wheel. What the store promises is run as well on the oldest Postgres that is
supported (Debian's package, where it is installed), migrated by a user that is no superuser, as on managed Postgres.
"""

import uuid
from collections.abc import Iterator

import pytest

from quorate_operator.store.migrate import create_login, migrate
from tests.contract.server import Installation, Server, installations

TEMPLATE = "migrated"
FOUND = {str(found): found for found in installations()}
OLDEST = next((name for name in FOUND if name.startswith("15-")), None)
# Modules that are run on more than the first installation.
ALSO = {
    "test_log": [OLDEST],
    "test_archive_cli": [OLDEST],
    "test_crash": [OLDEST],
    "test_intake": [OLDEST],
    "test_guards": [*[*FOUND][1:2], OLDEST],
    "test_guards_watch": [OLDEST],
    "test_guards_cli": [OLDEST],
    "test_roles": [*FOUND][1:2],
    "test_migrate": [*FOUND][1:2],
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each test its installations."""
    module = metafunc.module.__name__.rpartition(".")[2]
    names = [next(iter(FOUND)), *(name for name in ALSO.get(module, ()) if name)]
    metafunc.parametrize("installation", names, indirect=True, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The store in memory has no Postgres: its tests are run once."""

    def again(item: pytest.Item) -> bool:
        given = getattr(getattr(item, "callspec", None), "params", {})
        return "memory" in given.values() and given.get("installation") != next(iter(FOUND))

    if left := [item for item in items if again(item)]:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if not again(item)]


def pytest_report_header() -> str:
    """Which servers were found, and what is left out."""
    missing = "" if OLDEST else "; no Postgres 15 (Debian's postgresql-15): nothing runs on the oldest supported server"
    return f"postgres: {', '.join(FOUND)}{missing}"


@pytest.fixture(scope="session", autouse=True)
def installation(request: pytest.FixtureRequest) -> Installation:
    """What `postgres` is run from and migrated as."""
    return FOUND[request.param]


@pytest.fixture(scope="session")
def postgres(installation: Installation) -> Iterator[Server]:
    """A running server whose database `migrated` has the newest schema; logins `operator` and `reader`."""
    server = Server(installation)
    server.start()
    try:
        if installation.managed:
            server.run(f"CREATE ROLE {installation.migrator} LOGIN CREATEROLE")
        server.run(f"CREATE DATABASE {TEMPLATE} OWNER {installation.migrator}")
        dsn = server.dsn(TEMPLATE, installation.migrator)
        migrate(dsn)
        create_login(dsn, "operator", ["quorate_app", "quorate_sealer"])
        for name in ("app", "sealer", "maint", "read"):
            create_login(dsn, f"only_{name}", [f"quorate_{name}"])
        yield server
    finally:
        server.remove()


@pytest.fixture
def empty_database(postgres: Server) -> str:
    """Name of a new database without anything."""
    name = f"t_{uuid.uuid4().hex}"
    postgres.run(f"CREATE DATABASE {name} TEMPLATE template0 OWNER {postgres.installation.migrator}")
    return name


def copy_of_template(server: Server) -> str:
    """Make a migrated database; its name."""
    name = f"t_{uuid.uuid4().hex}"
    owner = server.installation.migrator
    server.run(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY file_copy OWNER {owner}")
    return name


@pytest.fixture
def database(postgres: Server) -> str:
    """Name of a new migrated database."""
    return copy_of_template(postgres)


@pytest.fixture
def postgres_dsn(postgres: Server, database: str) -> str:
    """Connection string of a new migrated database as the operator's login."""
    return postgres.dsn(database, "operator")
