"""A log with narrow partitions, an operator that seals, and a keeper who prunes and erases."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg

from quorate.audit.entry import Draft, Tether
from quorate.canonical import digest_of
from quorate.identity.vkey import SignerKey
from quorate_operator.store.log import PostgresStore
from quorate_operator.store.migrate import create_login
from quorate_operator.store.operations import Operations
from quorate_operator.store.postgres import Database
from quorate_operator.store.prune import Pruner, Rules

CHAIN = "mesh/domain"
WIDTH = 256
KEY = bytes(range(32))
SIGNER = SignerKey(CHAIN, bytes(range(32)))
RULES = Rules((SIGNER.verifier,))


def narrow(dsn: str) -> None:
    """Partitions of 256 entries, before any chain is made; a login `keeper` for pruning and erasure."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "CREATE OR REPLACE FUNCTION quorate.partition_width() RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE "
            f"AS 'SELECT {WIDTH}::bigint'"
        )
    create_login(dsn, "keeper", ["quorate_app", "quorate_maint"])


def observed(number: int, now: int, *, kind: str = "Reading") -> Draft:
    """An entry that nobody reads again (or, of another kind, that the operator does)."""
    return Draft(
        subject_key=f"{kind}/{number}",
        previous=None,
        event_type="plant.reading.taken",
        subject={"kind": kind, "name": f"r{number}"},
        tether=Tether("0"),
        timestamp=now,
        about=[digest_of(number)],
    )


@asynccontextmanager
async def leading(dsn: str) -> AsyncIterator[PostgresStore]:
    """A store that leads and moves what is taken in."""
    store = PostgresStore(dsn, intake_key=KEY)
    await store.open()
    await store.take("test")
    try:
        yield store
    finally:
        await store.close()


async def fill(store: PostgresStore, start: int, end: int) -> None:
    """Record entries start ≤ n < end of CHAIN, one in ten of a kind that stays, and sign a checkpoint."""
    now = time.time_ns() // 1000
    drafts = [observed(n, now, kind="Vote" if n % 10 == 0 else "Reading") for n in range(start, end)]
    for at in range(0, len(drafts), WIDTH):
        await store.log.append(CHAIN, drafts[at : at + WIDTH])
    await store.log.checkpoint(CHAIN, SIGNER)


@asynccontextmanager
async def keeping(
    dsn: str, place: Path, *, reached: Callable[[str], None] = lambda _: None, patience: float = 20.0
) -> AsyncIterator[Pruner]:
    """A pruner with a connection of its own."""
    database = Database(dsn, connections=2)
    await database.open()
    try:
        operations = Operations(database, KEY, patience=patience)
        yield Pruner(database, place, "cold", operations, "keeper", reached=reached)
    finally:
        await database.close()
