"""kill -9 of the sealing process under load: nothing acknowledged is lost, nothing is recorded twice."""

import asyncio
import subprocess
import sys

import psycopg
import pytest

from quorate.audit.record import Record
from quorate.audit.verify import Verdict
from quorate.canonical import parse_json
from quorate_operator.store.log import PostgresStore
from tests.contract.server import Server
from tests.contract.test_log import CHAIN, verdict
from tests.contract.worker import WORKERS

KEY = bytes(range(32))


def _killed_after(count: int, *args: str) -> set[str]:
    """Run the worker until it acknowledged `count` entries, kill it, and say which it acknowledged."""
    command = [sys.executable, "-m", "tests.contract.worker", *args]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(count)]
        process.kill()
        lines += process.stdout.readlines()
    acknowledged = [line.strip() for line in lines if line.endswith("\n")]
    assert len(acknowledged) >= count
    return set(acknowledged)


async def _drained(store: PostgresStore) -> None:
    async with asyncio.timeout(20):
        while await store.log.backlog():
            pass


async def _ids(store: PostgresStore) -> list[str]:
    contents = [Record.decode(entry.record).content async for entry in store.log.entries(CHAIN)]
    return [parse_json(content)["entry_id"] for content in contents]


@pytest.mark.parametrize("count", [1, 150])
async def test_the_sealing_process_is_killed(postgres_dsn: str, count: int) -> None:
    """Every acknowledged entry is in the log once; beyond them only what was in flight; the chain verifies."""
    acknowledged = await asyncio.to_thread(_killed_after, count, "direct", postgres_dsn)
    store = PostgresStore(postgres_dsn)
    await store.open()
    recorded = await _ids(store)
    assert len(recorded) == len(set(recorded)) and acknowledged <= set(recorded)
    assert len(recorded) - len(acknowledged) <= WORKERS
    assert await verdict(store) is Verdict.UNANCHORED
    await store.close()


@pytest.mark.parametrize("count", [1, 150])
async def test_a_coupled_process_is_killed(postgres: Server, database: str, postgres_dsn: str, count: int) -> None:
    """After the next leader drained, exactly the committed changes have their entry, once each; the chain verifies."""
    with psycopg.connect(postgres.dsn(database)) as connection:
        connection.execute("CREATE TABLE public.state (entry uuid PRIMARY KEY)")
        connection.execute("GRANT ALL ON public.state TO operator")
    acknowledged = await asyncio.to_thread(_killed_after, count, "coupled", postgres_dsn, KEY.hex())
    store = PostgresStore(postgres_dsn, intake_key=KEY)
    await store.open()
    await store.take("next")
    await _drained(store)
    recorded = await _ids(store)
    changes = {str(row[0]) for row in await store.database.read("SELECT entry FROM public.state")}
    assert len(recorded) == len(set(recorded)) and set(recorded) == changes and acknowledged <= changes
    assert await store.log.refused() == 0 and await verdict(store) is Verdict.UNANCHORED
    await store.close()
