"""A process to be killed: `python -m tests.contract.worker direct|coupled DSN [KEY]` prints acknowledged ids."""

import asyncio
import os
import sys

import psycopg

from quorate_operator.store.intake import Intake
from quorate_operator.store.log import PostgresStore
from tests.contract.test_log import CHAIN, draft

WORKERS = 8


async def _direct(store: PostgresStore, worker: int) -> None:
    previous = None
    while True:
        recorded = (await store.log.append(CHAIN, [draft(f"w{worker}-{os.getpid()}", previous)]))[0]
        previous = recorded.entry_id
        print(recorded.entry_id, flush=True)


async def _coupled(dsn: str, intake: Intake, worker: int) -> None:
    connection = await psycopg.AsyncConnection.connect(dsn)
    previous = None
    while True:
        made = draft(f"w{worker}-{os.getpid()}", previous)
        await connection.execute("INSERT INTO public.state VALUES (%s)", (made.entry_id,))
        previous = await intake.put(connection, CHAIN, made)
        await connection.commit()
        print(previous, flush=True)


async def _main(mode: str, dsn: str, key: bytes) -> None:
    store = PostgresStore(dsn, intake_key=key or None)
    await store.open()
    await store.take("worker")
    work = (_coupled(dsn, Intake(key), n) if key else _direct(store, n) for n in range(WORKERS))
    await asyncio.gather(*work)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2], bytes.fromhex(sys.argv[3] if len(sys.argv) > 3 else "")))
