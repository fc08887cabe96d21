"""Erasing payload: told in the log first, then gone.

Salt and bytes lie in `audit_content`, never in an archive, so they may be erased also after their entry was pruned.
Erased rows stay as tombstones: nothing can be put back under a digest that was erased (audit.md, 10).
"""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from quorate.audit.erasure import erasing
from quorate_operator.errors import Stalled
from quorate_operator.store.batch import now_micros
from quorate_operator.store.operations import Operations, refusals
from quorate_operator.store.postgres import Connection, Database

_ROWS = """
SELECT c.digest, c.erased_by, EXISTS (SELECT FROM quorate.audit_event_id i WHERE i.event_id = c.entry_id)
FROM quorate.audit_content c WHERE c.entry_id = %s ORDER BY 1
"""
_ERASE = "SELECT quorate.erase(%s, %s)"


@dataclass(frozen=True)
class Erased:
    """An erasure that took effect: `told` is the entry of chain `system` that tells of it."""

    entry_id: UUID
    digests: tuple[str, ...]
    told: UUID


async def erase(
    database: Database,
    operations: Operations,
    entry_id: UUID,
    *,
    reason: str,
    actor: str,
    clock: Callable[[], int] = now_micros,
) -> Erased:
    """Erase the erasable payload of an entry: told and sealed first, then gone. Again is safe, and changes nothing.

    Args:
        database: of a user with the roles `quorate_app` and `quorate_maint`.
        operations: tells the log.
        entry_id: whose payload.
        reason: why; goes into the log for ever, so it must not repeat what is erased.
        actor: who wants it.
        clock: Unix microseconds.

    Raises:
        Stalled: `NothingErasable`, the log has no such entry, or it has no erasable payload.
        Transient: `NotSealed`, `DatabaseUnavailable`; the same call later goes on.
    """
    rows = await database.read(_ROWS, entry_id)
    if not rows or not rows[0][2]:
        raise Stalled("NothingErasable", f"the log has no entry {entry_id} with erasable payload")
    digests = tuple(digest for digest, _, _ in rows)
    if all(erased_by is not None for _, erased_by, _ in rows):
        return Erased(entry_id, digests, rows[0][1])
    draft = erasing(entry_id, digests, reason=reason, actor=actor, now=clock())

    async def tell(connection: Connection) -> UUID:
        return await operations.tell(connection, draft)

    told = await database.again(tell)
    await operations.sealed(told)

    async def go(connection: Connection) -> None:
        await connection.execute(_ERASE, (entry_id, told))

    with refusals("ErasureRefused"):
        await database.again(go)
    return Erased(entry_id, digests, told)
