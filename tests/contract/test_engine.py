"""The verification engine as the operator runs it: a process of its own, that ends with whoever waits for it."""

import asyncio
import os
from pathlib import Path

import pytest

from quorate_operator.custody.engine import NICENESS, Subprocess
from quorate_operator.errors import Transient
from quorate_operator.store.log import PostgresStore
from quorate_operator.verification.request import ChainRequest
from tests.contract.server import until
from tests.contract.test_log import CHAIN, draft


async def filled(dsn: str) -> None:
    """A chain with two entries."""
    store = PostgresStore(dsn)
    await store.open()
    await store.take("test")
    await store.log.append(CHAIN, [draft("a"), draft("b")])
    await store.close()


async def test_a_result(postgres_dsn: str) -> None:
    """The document of the engine, with what it checked."""
    await filled(postgres_dsn)
    document = await Subprocess(postgres_dsn).verify([ChainRequest(CHAIN)])
    (chain,) = document["chains"]
    assert (chain["verdict"], chain["checked"]) == ("Unanchored", 2)


@pytest.mark.parametrize("dsn", ["host=/nowhere dbname=x", "not a dsn"])
async def test_no_result(dsn: str) -> None:
    """A database that does not answer is no verdict about it; the sentence says what it was."""
    with pytest.raises(Transient) as caught:
        await Subprocess(dsn).verify([ChainRequest(CHAIN)])
    assert caught.value.reason == "VerificationUnavailable"


def children() -> set[int]:
    """Processes that this one started and that still run."""
    text = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text()
    return {int(pid) for pid in text.split()}


async def test_it_ends_with_the_operator(postgres_dsn: str) -> None:
    """Cancelled, its process is killed; it had a low priority."""
    before = children()
    task = asyncio.create_task(Subprocess(postgres_dsn).verify([ChainRequest(CHAIN)]))
    while not (started := children() - before):  # noqa: ASYNC110 - of another process, there is no event
        await asyncio.sleep(0)
    (pid,) = started
    while os.getpriority(os.PRIO_PROCESS, pid) != NICENESS:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    until(lambda: pid not in children(), 10)


async def test_it_ends_in_time(postgres_dsn: str) -> None:
    """One that takes too long is ended, and the time is part of the sentence."""
    with pytest.raises(Transient, match=r"did not end in 0.01 s"):
        await Subprocess(postgres_dsn, timeout=0.01).verify([ChainRequest(CHAIN)])
