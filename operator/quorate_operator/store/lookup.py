"""Finding recorded entries by id, by subject, and by what they are about."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any
from uuid import UUID

from quorate_operator.store import statements as sql
from quorate_operator.store.recorded import Recorded
from quorate_operator.store.tiles import Reader

Place = tuple[str, int]
"""Chain and sequence."""


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


async def entries_since(database: Reader, known: Mapping[str, Recorded | None]) -> dict[str, list[Recorded]]:
    """Port `Log`, `since`."""
    names = {key_of(name): name for name in known}
    places = [("", 0) if entry is None else (entry.chain_id, entry.sequence) for entry in known.values()]
    rows = await database.read(sql.SINCE, list(names), [chain for chain, _ in places], [seq for _, seq in places])
    found: dict[str, list[Recorded]] = {name: [] for name in known}
    for row in rows:
        name = names[row[4]]
        entry, same = found_row(row), known[name]
        if same is not None and (same.chain_id, same.sequence, same.record) == (row[0], row[1], row[3]):
            entry = same  # found under this name before, and what sorts it is known
        if entry is same or entry.subject_key == name or name in entry.about:
            found[name].append(entry)
    return found


async def recorded(database: Reader, entry_ids: Sequence[UUID]) -> dict[UUID, Recorded]:
    """The entries with these ids that the log holds; one query."""
    return (await recorded_or_pruned(database, entry_ids))[0]


async def recorded_or_pruned(
    database: Reader, entry_ids: Sequence[UUID]
) -> tuple[dict[UUID, Recorded], dict[UUID, Place]]:
    """The entries with these ids that the log holds, and where those stood that only an archive holds; one query."""
    rows = await database.read(sql.RECORDED, list(entry_ids))
    held = {row[2]: found_row(row) for row in rows if row[3] is not None}
    return held, {row[2]: (row[0], row[1]) for row in rows if row[3] is None}


async def last_entries(database: Reader, subject_keys: Sequence[str]) -> dict[str, Recorded]:
    """The last entry of each subject that has one; one query.

    A subject may have entries in several chains; of the last one in each, the one that was sealed last counts.
    """
    wanted = set(subject_keys)
    rows = await database.read(sql.HEADS, [key_of(name) for name in wanted])
    found = sorted((found_row(row) for row in rows if row[3] is not None), key=lambda item: item.sealed_at)
    return {item.subject_key: item for item in found if item.subject_key in wanted}


async def last_ids(database: Reader, subject_keys: Sequence[str]) -> dict[str, UUID]:
    """The id of the last entry of each subject that has one, be it pruned, which is the oldest then; one query."""
    names = {key_of(name): name for name in subject_keys}
    rows = await database.read(sql.HEADS, list(names))
    pruned = {names[row[4]]: row[2] for row in rows if row[3] is None}
    found = sorted((found_row(row) for row in rows if row[3] is not None), key=lambda item: item.sealed_at)
    return pruned | {item.subject_key: item.entry_id for item in found if item.subject_key in names.values()}
