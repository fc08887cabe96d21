"""`quorate migrate`: brings the log's database to this version's schema and makes logins (docs/database.md)."""

from typing import Annotated

import psycopg
import typer

from quorate_cli.database import place_of
from quorate_cli.options import Output
from quorate_cli.output import BadInputError, CliError, Column, Format, UnreachableError, emit, tell
from quorate_operator.errors import OperatorError, Transient
from quorate_operator.store.migrate import ROLES, create_login, has_guard, migrate, migrations

app = typer.Typer()
_COLUMNS: list[Column] = [
    ("version", lambda row: row["version"]),
    ("name", lambda row: row["name"]),
    ("state", lambda row: row["state"]),
]


@app.command("migrate")
def run(
    dsn: Annotated[
        str, typer.Option("--dsn", envvar="QUORATE_ADMIN_DSN", help="The database, as a user who may make roles.")
    ],
    login: Annotated[str | None, typer.Option("--login", metavar="NAME", help="Make this login too.")] = None,
    role: Annotated[
        list[str] | None, typer.Option("--role", metavar="ROLE", help="Role of --login, repeatable; else all four.")
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Apply the migrations that are missing, and the guard against DDL where the server allows it."""
    if role and not login:
        raise BadInputError("--role: it is a role of --login NAME, which is missing")
    if unknown := [name for name in role or () if name not in ROLES]:
        raise BadInputError(f"--role {unknown[0]}: must be one of {', '.join(ROLES)}")
    try:
        applied = migrate(dsn)
        if login:
            create_login(dsn, login, role or ROLES)
        guarded = has_guard(dsn)
    except Transient as error:
        raise UnreachableError(f"database {place_of(dsn)}: {error.message}") from error
    except OperatorError as error:
        raise CliError(f"database {place_of(dsn)}: {error}") from error
    except psycopg.Error as error:
        raise CliError(f"database {place_of(dsn)}: {' '.join(str(error).split())}") from error
    rows = [
        {"version": item.version, "name": item.name, "state": "applied" if item.version in applied else "present"}
        for item in migrations()
    ]
    emit(rows, output, columns=_COLUMNS, name=lambda row: f"{row['version']:04}_{row['name']}")
    if login:
        tell(f"login {login} holds {', '.join(role or ROLES)}; how it authenticates is the server's business")
    if guarded:
        tell("ddlGuard=true: DDL on the log is refused to everybody but superusers")
    else:
        tell("ddlGuard=false: this user may make no event trigger; changes of the schema are found, not refused")
