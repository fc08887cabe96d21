"""Failures under load: nothing acknowledged is lost, nothing is recorded twice, the client recovers by itself."""

import asyncio
import signal

import pytest

from quorate.audit.verify import Verdict
from quorate_operator.errors import LostLeadership, OperatorError
from quorate_operator.store.log import PostgresStore
from quorate_operator.store.recorded import Recorded
from tests.contract.server import Server
from tests.contract.test_log import CHAIN, draft, verdict


async def _load(store: PostgresStore, worker: int, count: int) -> list[Recorded]:
    done, previous = [], None
    for _ in range(count):
        recorded = (await store.log.append(CHAIN, [draft(f"w{worker}", previous)]))[0]
        previous = recorded.entry_id
        done.append(recorded)
    return done


async def _opened(dsn: str) -> PostgresStore:
    store = PostgresStore(dsn, patience=30)
    await store.open()
    await store.take("test")
    return store


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
async def test_postgres_stopped_under_load(postgres: Server, postgres_dsn: str, how: signal.Signals) -> None:
    """Postgres stopped or crashed, then started: every append succeeds once, none comes back as somebody else's."""
    store = await _opened(postgres_dsn)
    load = asyncio.gather(*(_load(store, worker, 60) for worker in range(8)))
    for _ in range(3):
        await store.log.append(CHAIN, [draft(f"before-{_}")])
    await asyncio.to_thread(postgres.stop, how)
    postgres.start()
    results = await load
    assert not any(item.existing for done in results for item in done)
    assert sum(head.size for head in await store.log.chains()) == 8 * 60 + 3
    assert await verdict(store) is Verdict.UNANCHORED
    await store.close()


async def test_a_second_leader_fences_the_first_under_load(postgres_dsn: str) -> None:
    """Two sealers of one chain: the earlier term stops, the chain does not fork, what was acknowledged is there."""
    old, new = await _opened(postgres_dsn), PostgresStore(postgres_dsn)
    await new.open()
    load = [asyncio.create_task(_load(old, worker, 500)) for worker in range(4)]
    await old.log.append(CHAIN, [draft("x")])
    await new.take("new")
    await asyncio.gather(*(_load(new, 10 + worker, 20) for worker in range(4)))
    results = await asyncio.gather(*load, return_exceptions=True)
    assert all(isinstance(result, LostLeadership) for result in results)
    assert await verdict(new) is Verdict.UNANCHORED
    await old.close()
    await new.close()


async def test_back_pressure(postgres_dsn: str) -> None:
    """More waiting entries than the limit are refused with LogBusy and a time to come back."""
    store = await _opened(postgres_dsn)
    appends = [store.log.append(CHAIN, [draft(f"{n}-{m}") for m in range(500)]) for n in range(30)]
    results = await asyncio.gather(*appends, return_exceptions=True)
    refused = [result for result in results if isinstance(result, OperatorError)]
    assert refused and {result.reason for result in refused} == {"LogBusy"}
    assert [head.size for head in await store.log.chains()] == [500 * (30 - len(refused))]
    await store.close()
