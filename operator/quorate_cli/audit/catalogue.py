"""`quorate audit catalogue`: how the database guards the log, what changed, and that somebody knows of it."""

from typing import Annotated

import psycopg
import typer

from quorate.canonical import is_digest
from quorate_cli.catalogue import compare
from quorate_cli.database import place_of, reading
from quorate_cli.options import Dsn, Kubeconfig, Output, Sandbox
from quorate_cli.output import BadInputError, CliError, ExitCode, Format, UnreachableError, emit, show_fields, tell
from quorate_cli.place import find_dsn

app = typer.Typer(no_args_is_help=True, help="The database's guards: whether they are as they were recorded.")
_ACKNOWLEDGE = "SELECT quorate.acknowledge_catalogue(%s, %s)"


@app.command()
def show(
    output: Output = Format.TABLE, dsn: Dsn = None, sandbox: Sandbox = None, kubeconfig: Kubeconfig = None
) -> None:
    """Compare the catalogue with what the log says of it; exit code 1 if they differ or a change is open."""
    with reading(find_dsn(dsn, sandbox, kubeconfig)) as reader:
        found = compare(reader.connection)
    detail = {} if found.entry is None else dict(found.entry["payload"]["detail"])
    result = {
        "recorded": found.digest or None,
        "state": "not recorded" if found.entry is None else "changed" if found.changed else "recorded",
        "at": None if found.entry is None else found.entry["timestamp"],
        "guards": str(found.snapshot.guards),
        "schema": found.snapshot.document["schema"]["version"],
        "entered": detail.get("differences") if found.changed else None,
        "differences": list(found.differences),
    }
    if output in (Format.TABLE, Format.WIDE):
        show_fields({name: value for name, value in result.items() if name not in ("entered", "differences")})
        for title, sentences in (("in the log", result["entered"]), ("now", result["differences"])):
            for sentence in sentences or ():
                print(f"{title}: {sentence}")
    else:
        emit([result], output, name=lambda row: str(row["recorded"]))
    if found.differences or found.changed:
        raise typer.Exit(int(ExitCode.FAILED))


@app.command()
def acknowledge(
    digest: Annotated[str, typer.Argument(metavar="DIGEST", help="What the entry system.catalogue.changed names.")],
    reason: Annotated[str, typer.Option("--reason", help="Why it was changed; goes into the log.")],
    dsn: Annotated[
        str, typer.Option("--dsn", metavar="DSN", help="The database, as a login that holds quorate_maint.")
    ],
) -> None:
    """Take note of a changed catalogue: the operator records it, with your login and the reason, at its next look."""
    if not is_digest(digest):
        raise BadInputError(f"DIGEST {digest!r}: must be sha256:<64 hex digits>")
    if not 0 < len(reason.encode()) <= 1000:
        raise BadInputError("--reason: must be 1 to 1000 bytes")
    try:
        with psycopg.connect(dsn, connect_timeout=10) as connection:
            connection.execute(_ACKNOWLEDGE, (digest, reason))
    except psycopg.errors.InsufficientPrivilege as error:
        raise CliError(f"database {place_of(dsn)}: this login does not hold quorate_maint") from error
    except psycopg.Error as error:
        raise UnreachableError(f"database {place_of(dsn)}: {' '.join(str(error).split())}") from error
    tell(f"{digest} is acknowledged; the operator records it at its next checkpoint")
