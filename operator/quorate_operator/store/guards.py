"""What guards the log inside the database, read from Postgres's catalogue (audit.md, 6).

One statement reads everything, as any user: which objects there are, who owns them and may use them, whether their
triggers fire. `catalogue` (domain) makes a document of it and compares two.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from typing import Any, Protocol

import psycopg

from quorate.audit.catalogue import Fact, Surroundings, document
from quorate.canonical import digest_of
from quorate_operator.store.postgres import Connection, Database

CATALOGUE = files("quorate_operator.store").joinpath("catalogue.sql").read_text(encoding="utf-8")
GUARD_TRIGGERS = ("quorate_guard_ddl", "quorate_guard_drop")


@dataclass(frozen=True)
class Guards:
    """What this server allows.

    Args:
        ddl_guard: the event triggers that refuse DDL on the log are there and fire always.
        pgaudit: the extension pgaudit is loaded and writes something.
        superuser: the asking login itself is a superuser, against whom no guard holds.
    """

    ddl_guard: bool
    pgaudit: bool
    superuser: bool

    def __str__(self) -> str:
        """As `quorate doctor` and the status say it."""
        return f"ddlGuard={str(self.ddl_guard).lower()}, pgaudit={str(self.pgaudit).lower()}"


@dataclass(frozen=True)
class Done:
    """DDL on the log by a superuser, as the guard wrote it down."""

    number: int
    done_at: datetime
    login: str
    command: str
    object: str

    def __str__(self) -> str:
        """A sentence."""
        return f"superuser {self.login} ran {self.command} on {self.object} at {self.done_at:%Y-%m-%dT%H:%M:%SZ}"


@dataclass(frozen=True)
class Snapshot:
    """The catalogue at one moment.

    Args:
        document: see `quorate.audit.catalogue.document`.
        around: what its partitions are measured against.
        guards: what the server allows.
        done: the DDL of superusers after the number that was asked for, at most `MAX_DONE`.
        acknowledged: number of the newest acknowledgement.
    """

    document: Mapping[str, Any]
    around: Surroundings
    guards: Guards
    done: Sequence[Done] = ()
    acknowledged: int = 0

    @property
    def digest(self) -> str:
        """Digest under which the document is kept in `content`."""
        return digest_of(self.document)


def snapshot_of(rows: Sequence[Sequence[Any]], ddl: int | None, done: Sequence[Done]) -> Snapshot:
    """The snapshot in the rows of `CATALOGUE`; `ddl` is the number of the newest row that the guard wrote."""
    state = {row[1]: row[3] for row in rows if row[0] == "state"}
    facts = [Fact(*row) for row in rows if row[0] != "state"]
    facts.append(Fact("auditing by", "pgaudit", "", {"active": bool(state["pgaudit"])}))
    migrations = state["migrations"] or []
    guard = _guard_of(rows)
    schema = {"version": len(migrations), "digest": digest_of(migrations), "guard": guard}
    return Snapshot(
        document=document(facts, schema=schema, server=state["server"], ddl=ddl),
        around=Surroundings(sizes=state["sizes"], pruned=state["pruned"]),
        guards=Guards(guard is not None, bool(state["pgaudit"]), bool(state["superuser"])),
        done=done,
        acknowledged=state["acknowledged"],
    )


def _guard_of(rows: Sequence[Sequence[Any]]) -> str | None:
    """Digest of the guard's text as `migrate` noted it; None unless both of its triggers fire always."""
    triggers = {row[1]: row[3] for row in rows if row[0] == "event trigger"}
    if any((triggers.get(name) or {}).get("fires") != "always" for name in GUARD_TRIGGERS):
        return None
    return str(triggers[GUARD_TRIGGERS[0]]["comment"])


# What the catalogue's own functions print depends on these.
_PLAIN = "SELECT set_config('search_path', 'pg_catalog', true), set_config('quote_all_identifiers', 'off', true)"
_NEWEST = "SELECT max(number) FROM quorate_guard.ddl"
_DONE = """
SELECT number, done_at AT TIME ZONE 'UTC', login, command, object FROM quorate_guard.ddl WHERE number > %s
ORDER BY number LIMIT %s
"""
MAX_DONE = 100


def look(connection: "psycopg.Connection[Any]") -> Snapshot:
    """The catalogue as it is now; any login that may use the schema may look."""
    with connection.transaction():
        connection.execute(_PLAIN)
        rows = connection.execute(CATALOGUE, binary=True).fetchall()
        newest = connection.execute(_NEWEST).fetchone() if _guard_of(rows) else None
        return snapshot_of(rows, (newest[0] or 0) if newest else None, ())


@dataclass(frozen=True)
class Acknowledgement:
    """Who took note of a catalogue that was found to differ, and why it does."""

    login: str
    reason: str


class Catalogue(Protocol):
    """How the operator looks at the catalogue of its database."""

    async def look(self, since: int | None) -> Snapshot:
        """The catalogue as it is now, with the DDL of superusers since that row of the guard."""
        ...

    async def acknowledgement(self, digest: str, since: int) -> Acknowledgement | None:
        """Who acknowledged the document with this digest, after the acknowledgement of that number."""
        ...


_ACKNOWLEDGED = "SELECT login, reason FROM quorate.catalogue_acknowledgement WHERE digest = %s AND number > %s"


class PostgresCatalogue:
    """Port `Catalogue`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def look(self, since: int | None) -> Snapshot:
        """Port `Catalogue`."""

        async def work(connection: Connection) -> Snapshot:
            await connection.execute(_PLAIN)
            rows = await (await connection.execute(CATALOGUE, binary=True)).fetchall()
            if _guard_of(rows) is None:
                return snapshot_of(rows, None, ())
            newest = await (await connection.execute(_NEWEST)).fetchone()
            done: list[Done] = []
            if since is not None:
                done = [Done(*row) for row in await (await connection.execute(_DONE, (since, MAX_DONE))).fetchall()]
            return snapshot_of(rows, (newest[0] or 0) if newest else 0, done)

        return await self._database.again(work)

    async def acknowledgement(self, digest: str, since: int) -> Acknowledgement | None:
        """Port `Catalogue`."""
        rows = await self._database.read(_ACKNOWLEDGED, digest, since)
        return Acknowledgement(*rows[0]) if rows else None
