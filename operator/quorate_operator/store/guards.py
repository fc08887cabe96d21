"""What guards the log inside the database, read from Postgres's catalogue (audit.md, 6).

One statement reads everything, as any user: which objects there are, who owns them and may use them, whether their
triggers fire. `catalogue` (domain) makes a document of it and compares two.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import psycopg

from quorate.audit.catalogue import Fact, Surroundings, document
from quorate.canonical import digest_of

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
class Snapshot:
    """The catalogue at one moment.

    Args:
        document: see `quorate.audit.catalogue.document`.
        around: what its partitions are measured against.
        guards: what the server allows.
    """

    document: Mapping[str, Any]
    around: Surroundings
    guards: Guards
    facts: Sequence[Fact] = field(default=(), repr=False)

    @property
    def digest(self) -> str:
        """Digest under which the document is kept in `content`."""
        return digest_of(self.document)


def snapshot_of(rows: Sequence[Sequence[Any]]) -> Snapshot:
    """The snapshot in the rows of `CATALOGUE`."""
    state = {row[1]: row[3] for row in rows if row[0] == "state"}
    facts = [Fact(*row) for row in rows if row[0] != "state"]
    migrations = state["migrations"] or []
    guard = _guard_of(facts)
    schema = {"version": len(migrations), "digest": digest_of(migrations), "guard": guard}
    return Snapshot(
        document=document(facts, schema=schema, server=state["server"], ddl=None),
        around=Surroundings(sizes=state["sizes"], pruned=state["pruned"]),
        guards=Guards(guard is not None, bool(state["pgaudit"]), bool(state["superuser"])),
        facts=facts,
    )


def _guard_of(facts: Sequence[Fact]) -> str | None:
    """Digest of the guard's text as `migrate` noted it; None unless both of its triggers fire always."""
    triggers = {fact.name: fact.properties for fact in facts if fact.kind == "event trigger"}
    if any((triggers.get(name) or {}).get("fires") != "always" for name in GUARD_TRIGGERS):
        return None
    return str(triggers[GUARD_TRIGGERS[0]]["comment"])


_PLAIN = "SELECT set_config('search_path', 'pg_catalog', true), set_config('quote_all_identifiers', 'off', true)"


def look(connection: "psycopg.Connection[Any]") -> Snapshot:
    """The catalogue as it is now; any login that may use the schema may look."""
    with connection.transaction():
        connection.execute(_PLAIN)
        return snapshot_of(connection.execute(CATALOGUE, binary=True).fetchall())


async def look_async(connection: "psycopg.AsyncConnection[Any]") -> Snapshot:
    """As `look`."""
    async with connection.transaction():
        await connection.execute(_PLAIN)
        return snapshot_of(await (await connection.execute(CATALOGUE, binary=True)).fetchall())
