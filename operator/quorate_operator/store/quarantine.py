"""Quarantines in the database: raised and read."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from quorate.audit.checkpoint import Checkpoint
from quorate.audit.quarantine import Finding, Quarantine, lost_checkpoints
from quorate.audit.record import Record
from quorate.canonical import canonical_bytes, parse_json
from quorate_operator.errors import Stalled
from quorate_operator.store.postgres import Connection, Database

_STOP = "SELECT quorate.stop_chain(%s, %s, %s, %s)"
_IDENTITY = """
SELECT s.system_identifier, c.timeline_id FROM pg_control_system() s, pg_control_checkpoint() c
"""
_ALL = """
SELECT q.chain_id, q.number, q.cause, q.message, q.raised_at, q.epoch, q.size, q.chain_hash, q.evidence, r.resumed_at,
       (SELECT e.record FROM quorate.audit_entry e WHERE e.chain_id = r.chain_id AND e.seq = r.seq
        UNION ALL SELECT k.record FROM quorate.audit_kept k WHERE k.chain_id = r.chain_id AND k.seq = r.seq LIMIT 1)
FROM quorate.quarantine q LEFT JOIN quorate.resumption r USING (chain_id, number) ORDER BY 1, 2
"""


async def stop_chain(database: Database, chain: str, finding: Finding) -> Quarantine | None:
    """`Log.stop`."""
    evidence = canonical_bytes(dict(finding.evidence)).decode()

    async def work(connection: Connection) -> int | None:
        row = await (await connection.execute(_STOP, (chain, str(finding.cause), finding.message, evidence))).fetchone()
        return None if row is None else row[0]

    number = await database.again(work)
    if number is None:
        return None
    return next(item for item in await read_quarantines(database) if (item.chain_id, item.number) == (chain, number))


async def read_quarantines(database: Database) -> list[Quarantine]:
    """`Log.quarantines`."""
    return [_quarantine(row) for row in await database.read(_ALL)]


def _quarantine(row: Sequence[Any]) -> Quarantine:
    chain, number, cause, message, raised, epoch, size, head, evidence, resumed, record = row
    return Quarantine(
        chain,
        number,
        cause,
        message,
        _micros(raised),
        epoch,
        size,
        bytes(head),
        _evidence(evidence),
        None if resumed is None else _micros(resumed),
        () if record is None else lost_of(bytes(record)),
        b"" if record is None else bytes(record),
    )


async def read_identity(database: Database) -> dict[str, str]:
    """{systemIdentifier, timeline} of the server; empty where it denies them, as managed ones may."""
    try:
        ((system, timeline),) = await database.read(_IDENTITY)
    except Stalled:
        return {}
    return {"systemIdentifier": str(system), "timeline": str(timeline)}


def _evidence(text: str) -> dict[str, Any]:
    """As it was written; what somebody changed into no JSON is shown as it is."""
    try:
        return dict(parse_json(text.encode()))
    except (ValueError, TypeError):
        return {"unreadable": text[:1000]}


def lost_of(record: bytes) -> tuple[Checkpoint, ...]:
    """The checkpoints that a resumption's record cites as lost; none if it cannot be read, which verification finds."""
    try:
        decoded = Record.decode(record)
        return tuple(lost_checkpoints(decoded.chain_id, parse_json(decoded.content)["payload"]["detail"]))
    except (ValueError, KeyError, TypeError):
        return ()


def _micros(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)
