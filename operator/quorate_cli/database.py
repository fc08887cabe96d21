"""The log's database as the command line reads it: a snapshot of the verification's reader, with errors for people."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from quorate_cli.catalogue import findings
from quorate_cli.output import CliError, UnreachableError
from quorate_operator.errors import Stalled, Transient
from quorate_operator.store.migrate import migrations
from quorate_operator.verification.database import Reader
from quorate_operator.verification.database import reading as snapshot


@contextmanager
def reading(dsn: str) -> Iterator[Reader]:
    """A snapshot of the log.

    Raises:
        UnreachableError: the database does not answer.
        CliError: it is not ours, or has the schema of another version, or the user may not read it.
    """
    try:
        with snapshot(dsn) as reader:
            yield reader
    except Stalled as error:
        hint = "; check --dsn" if error.reason == "ForeignDatabase" else ""
        raise CliError(f"database {place_of(dsn)}: {error.message}{hint}") from error
    except Transient as error:
        raise UnreachableError(f"database {place_of(dsn)}: {error.message}") from error


def place_of(dsn: str) -> str:
    """Host, port and name of a database, without user and password."""
    try:
        parts = psycopg.conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        return "(--dsn is not a connection string)"
    host = parts.get("host") or parts.get("hostaddr") or "localhost"
    return f"{parts.get('dbname') or '(default)'} at {host}" + (f":{parts['port']}" if parts.get("port") else "")


def describe(dsn: str) -> Iterator[tuple[str, str, str, str]]:
    """(check, state, message, advice) of a database, for `quorate doctor`."""
    with reading(dsn) as reader:
        server = str(reader.connection.execute("SHOW server_version").fetchone()[0])  # type: ignore[index]
        message = f"{place_of(dsn)}, Postgres {server}, schema version {len(migrations())}"
        yield "database", "ok", message, ""
        heads = [reader.head(chain) for chain in reader.chains()]
        entries = sum(head.size for head in heads if head is not None)
        lost = sum(head is None for head in heads)
        advice = "run `quorate audit verify`" if lost else ""
        yield "log", "failed" if lost else "ok", f"{len(heads)} chains, {entries} entries", advice
        yield from findings(reader.connection)
