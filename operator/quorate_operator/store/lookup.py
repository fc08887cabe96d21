"""Finding recorded entries by id, by subject, and by what they are about."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any
from uuid import UUID

from quorate_operator.store import statements as sql
from quorate_operator.store.recorded import Recorded
from quorate_operator.store.tiles import Reader


def key_bytes(name: str) -> bytes:
    """What a name is looked up by: the first 16 bytes of its SHA-256 (`quorate.name_key`)."""
    return sha256(name.encode()).digest()[:16]


def key_of(name: str) -> UUID:
    """`key_bytes` as a UUID, the type of the column."""
    return UUID(bytes=key_bytes(name))


def found_row(row: Sequence[Any]) -> Recorded:
    """The recorded entry of a row that begins with chain_id, seq, event_id (NULL: ask the record), record."""
    chain, sequence, entry_id, record = row[:4]
    if entry_id is None:
        entry_id = UUID(Recorded(chain, sequence, UUID(int=0), record).content["entry_id"])
    return Recorded(chain, sequence, entry_id, record, existing=True)


async def recorded(database: Reader, entry_ids: Sequence[UUID]) -> dict[UUID, Recorded]:
    """The entries with these ids that the log holds; one query."""
    return {row[2]: found_row(row) for row in await database.read(sql.RECORDED, list(entry_ids))}


async def last_entries(database: Reader, subject_keys: Sequence[str]) -> dict[str, Recorded]:
    """The last entry of each subject that has one; one query.

    A subject may have entries in several chains; of the last one in each, the one that was sealed last counts.
    """
    wanted = set(subject_keys)
    rows = await database.read(sql.HEADS, [key_of(name) for name in wanted])
    found = sorted((found_row(row) for row in rows), key=lambda item: item.sealed_at)
    return {item.subject_key: item for item in found if item.subject_key in wanted}
