"""What the log says of its database's catalogue, beside what is there now: for `doctor` and `audit catalogue`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg

from quorate.audit.catalogue import CHANGED, SUBJECT, differences, partition_faults
from quorate.audit.record import Record
from quorate.canonical import parse_json
from quorate_operator.store.guards import Snapshot, look

_LAST = """
SELECT e.record FROM quorate.audit_event_id i JOIN quorate.audit_entry e USING (chain_id, seq)
WHERE i.subject = quorate.name_key(%s) AND i.chain_id = 'system' ORDER BY i.seq DESC LIMIT 1
"""
_CONTENT = "SELECT bytes FROM quorate.content WHERE digest = %s"
_MANY = 3


@dataclass(frozen=True)
class Compared:
    """The catalogue against its last entry.

    Args:
        snapshot: what is there now.
        entry: content of the last entry of `system.catalogue.*`; None before the first.
        differences: sentences; against the rules alone before the first entry.
    """

    snapshot: Snapshot
    entry: Mapping[str, Any] | None
    differences: tuple[str, ...]

    @property
    def changed(self) -> bool:
        """Whether the log has a change that nobody acknowledged."""
        return self.entry is not None and self.entry["event_type"] == CHANGED

    @property
    def digest(self) -> str:
        """The document that the last entry names, or empty."""
        return "" if self.entry is None else str(self.entry["payload"]["detail"]["digest"])


def compare(connection: "psycopg.Connection[Any]") -> Compared:
    """Look, and compare with what the newest entry of the subject names."""
    snapshot = look(connection)
    row = connection.execute(_LAST, (SUBJECT,), binary=True).fetchone()
    if row is None:
        return Compared(snapshot, None, tuple(partition_faults(snapshot.document, snapshot.around)))
    entry = parse_json(Record.decode(bytes(row[0])).content)
    digest = entry["payload"]["detail"]["digest"]
    kept = connection.execute(_CONTENT, (digest,), binary=True).fetchone()
    if kept is None:
        return Compared(snapshot, entry, (f"the recorded catalogue {digest} is gone from the database's content",))
    found = differences(parse_json(bytes(kept[0])), snapshot.document, snapshot.around)
    return Compared(snapshot, entry, tuple(found))


def findings(connection: "psycopg.Connection[Any]") -> Iterator[tuple[str, str, str, str]]:
    """(check, state, message, advice) for `quorate doctor`."""
    compared = compare(connection)
    guards = compared.snapshot.guards
    advice = "" if guards.ddl_guard else "`quorate migrate` as a superuser, if the server has one (docs/database.md)"
    yield "guards", "ok" if guards.ddl_guard else "warning", str(guards), advice
    yield "catalogue", *_catalogue(compared)
    if powerful := _superusers(compared.snapshot.document["objects"]):
        message = f"superusers write the log: {', '.join(powerful)}; no guard holds against them"
        yield "logins", "warning", message, "give the operator a login that only holds the roles of the log"


def _catalogue(compared: Compared) -> tuple[str, str, str]:
    shown = "; ".join(compared.differences[:_MANY])
    more = len(compared.differences) - _MANY
    shown += f" and {more} more" if more > 0 else ""
    if compared.entry is None:
        return ("failed" if shown else "warning"), shown or "not recorded yet", "start the operator: it records it"
    if shown:
        return "failed", shown, "`quorate audit catalogue show`"
    if compared.changed:
        advice = "look into it, then `quorate audit catalogue acknowledge`"
        return "failed", f"a change is not acknowledged: {compared.digest}", advice
    return "ok", f"as the log has it: {compared.digest}", ""


def _superusers(objects: Mapping[str, Mapping[str, Any]]) -> list[str]:
    members = [key.split()[2] for key in objects if key.startswith("membership ") and key.endswith(" quorate_sealer")]
    return sorted(name for name in members if objects.get(f"role {name}", {}).get("superuser"))
