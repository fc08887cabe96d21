"""The contract of kept cosignatures, against every implementation of the port Log."""

import asyncio

import psycopg
import pytest

from quorate.audit.note import cosign, parse_note, verify_note
from quorate.identity.vkey import COSIGNATURE, SignerKey
from quorate_operator.errors import LostLeadership, Stalled
from tests.contract.server import Server
from tests.contract.test_log import CHAIN, OpenStore, Store, draft, open_store, store

__all__ = ["open_store", "store"]

LOG = SignerKey(CHAIN, bytes(32))
FIRST, SECOND = (SignerKey(f"mesh/{name}", bytes([1]) * 31 + name.encode(), COSIGNATURE) for name in "ab")


async def test_notes_come_with_their_cosignatures(store: Store) -> None:
    """What was kept for a size is at the end of every note of that size, in the order in which it came, once."""
    await store.log.append(CHAIN, [draft("a")])
    small = await store.log.checkpoint(CHAIN, LOG)
    await store.log.append(CHAIN, [draft("b")])
    large = await store.log.checkpoint(CHAIN, LOG)
    text = parse_note(large).text
    lines = [cosign(text, witness, at=7) for witness in (SECOND, FIRST)]
    await store.log.keep_cosignatures(CHAIN, 2, lines[:1])
    await store.log.keep_cosignatures(CHAIN, 2, [cosign(text, SECOND, at=8), lines[1]])
    notes = await store.log.checkpoints(CHAIN)
    assert notes == [small, large + str(lines[0]) + str(lines[1])]
    found = verify_note(notes[1], [LOG.verifier], [FIRST.verifier, SECOND.verifier])
    assert [(item.key.name, item.at) for item in found.cosignatures] == [(SECOND.name, 7), (FIRST.name, 7)]


async def test_only_our_own_checkpoints_are_cosigned(store: Store) -> None:
    """There is nothing to keep for a size that has no checkpoint."""
    await store.log.append(CHAIN, [draft("a")])
    note = await store.log.checkpoint(CHAIN, LOG)
    for chain, size in ((CHAIN, 2), ("mesh/other", 1)):
        with pytest.raises(Stalled, match="has no checkpoint of size"):
            await store.log.keep_cosignatures(chain, size, [cosign(parse_note(note).text, FIRST, at=1)])


async def test_only_the_leader_keeps_cosignatures(open_store: OpenStore) -> None:
    """Whoever lost the term keeps nothing."""
    old, new = await open_store(), await open_store()
    await old.take("old")
    await old.log.append(CHAIN, [draft("a")])
    note = await old.log.checkpoint(CHAIN, LOG)
    await new.take("new")
    with pytest.raises(LostLeadership):
        await old.log.keep_cosignatures(CHAIN, 1, [cosign(parse_note(note).text, FIRST, at=1)])
    assert await new.log.checkpoints(CHAIN) == [note]


def test_cosignatures_are_append_only(postgres: Server, database: str) -> None:
    """Nobody changes, removes or empties what was kept, not even the superuser by accident."""
    line = str(cosign("text\n", FIRST, at=1))
    with psycopg.connect(postgres.dsn(database), autocommit=True) as connection:
        insert = "INSERT INTO quorate.cosignature (chain_id, size, name, key_id, line) VALUES ('c', 1, 'n', %s, %s)"
        connection.execute(insert, (bytes(4), line))
        for statement in (
            "UPDATE quorate.cosignature SET size = 2",
            "DELETE FROM quorate.cosignature",
            "TRUNCATE quorate.cosignature",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
                connection.execute(statement)
        for wrong in (line + line, line.rstrip("\n"), "— n\n"):
            with pytest.raises(psycopg.errors.CheckViolation):
                connection.execute(insert, (b"\1\1\1\1", wrong))


async def test_a_note_is_read_whole_while_cosignatures_come(store: Store) -> None:
    """Two keepings at once lose nothing."""
    await store.log.append(CHAIN, [draft("a")])
    text = parse_note(await store.log.checkpoint(CHAIN, LOG)).text
    await asyncio.gather(
        *(store.log.keep_cosignatures(CHAIN, 1, [cosign(text, witness, at=1)]) for witness in (FIRST, SECOND))
    )
    (note,) = await store.log.checkpoints(CHAIN)
    assert len(parse_note(note).signatures) == 3
