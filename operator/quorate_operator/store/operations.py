"""Entries of chain `system` by whoever does not lead: taken in with the change they tell of, sealed by the leader."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import psycopg

from quorate.audit.entry import Draft
from quorate_operator.errors import Conflict, Stalled, Transient
from quorate_operator.store.intake import Intake
from quorate_operator.store.postgres import Connection, Database

SYSTEM = "system"
_IS_SEALED = "SELECT quorate.is_recorded(%s)"
_IS_KNOWN = """
SELECT quorate.is_recorded(%(id)s)
OR EXISTS (SELECT FROM quorate.audit_intake WHERE chain_id = 'system' AND entry_id = %(id)s)
"""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5


class Operations:
    """Tells the log of operations.

    Args:
        database: of a user with the role `quorate_app`.
        key: the intake key (`intake.read_key`).
        patience: seconds in which a leader must seal what was taken in.
    """

    def __init__(self, database: Database, key: bytes, *, patience: float = 60.0) -> None:
        self._database = database
        self._intake = Intake(key, max_age=patience)
        self._patience = patience

    async def tell(self, connection: Connection, draft: Draft) -> UUID:
        """Take an entry in, in the connection's transaction, unless an earlier try did; its id.

        Raises:
            Stalled, Transient: as of `Intake.put`.
        """
        cursor = await connection.execute(_IS_KNOWN, {"id": draft.entry_id})
        known = await cursor.fetchone()
        if known is None or not known[0]:
            try:
                await self._intake.put(connection, SYSTEM, draft)
            except Conflict as error:  # between the two statements; the transaction is lost
                raise Transient("Conflict", error.message) from error
        return draft.entry_id

    async def sealed(self, entry_id: UUID) -> None:
        """Return when the entry is in the log.

        Raises:
            Transient: `NotSealed`, no leader sealed it in time; it stays taken in, so the same call may come again.
        """
        loop, pause = asyncio.get_running_loop(), _FIRST_PAUSE
        deadline = loop.time() + self._patience
        while not (await self._database.read(_IS_SEALED, entry_id))[0][0]:
            if loop.time() >= deadline:
                message = f"entry {entry_id} was taken in, but no operator sealed it within {self._patience:g} s"
                raise Transient("NotSealed", message, retry_after=10.0)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


@contextmanager
def refusals(reason: str) -> Iterator[None]:
    """What the database's own functions refuse (SQLSTATE QP001), as Stalled with this reason."""
    try:
        yield
    except psycopg.DatabaseError as error:
        if error.sqlstate != "QP001":
            raise
        raise Stalled(reason, error.diag.message_primary or str(error)) from error
