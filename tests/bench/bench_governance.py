"""Votes and decisions: a vote until the shown tally counts it, a decision from its due second until it is in force."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

from quorate.canonical import parse_time
from quorate_operator.kube.client import Client
from quorate_operator.kube.resources import Obj, key_of
from tests.bench.figure import Figure, percentile
from tests.bench.fleet import STANDARD, Fleet
from tests.bench.observer import Observer, is_ready, write
from tests.bench.rig import Rig, rig

VOTES, DECISIONS = 60, 50
GRACE_SECONDS = 2
"""A deadline decides two seconds after it (governance.md)."""
_PERIOD = 5
_VOTERS = Fleet("voters", members=VOTES + 5, contracts=1)
_DECIDING = Fleet("deciding", contracts=DECISIONS, voting={**STANDARD, "votingPeriodSeconds": _PERIOD})


def run() -> Iterator[Figure]:
    """Vote → counted p95, due → executed p95."""
    with rig("governance", dict([_VOTERS.pin, _DECIDING.pin])) as running:
        yield from asyncio.run(_measure(running))


async def _measure(running: Rig) -> list[Figure]:
    async with running.client() as client:
        for fleet in (_VOTERS, _DECIDING):
            await running.establish(client, fleet)
        async with _open_contracts(running, client) as contracts:
            bare, counted = await _votes(running, client)
            late = await _decisions(running, client, contracts)
    return [
        Figure("vote applied to counted in the shown tally, p95", percentile(counted, 95), "ms",
               "create to watch event of a vote, p95", percentile(bare, 95), 150.0),
        Figure("vote applied to counted in the shown tally, p50", percentile(counted, 50), "ms",
               "create to watch event of a vote, p50", percentile(bare, 50), 150.0),
        Figure("decision due to recorded, executed, contract changed, p95", percentile(late, 95), "ms",
               "create to watch event of a vote, p95", percentile(bare, 95), 300.0),
        Figure("decision due to recorded, executed, contract changed, p50", percentile(late, 50), "ms",
               "create to watch event of a vote, p50", percentile(bare, 50), 300.0),
    ]  # fmt: skip


@asynccontextmanager
async def _open_contracts(running: Rig, client: Client) -> AsyncIterator[Observer]:
    objects = [*_VOTERS.contract_objects, *_DECIDING.contract_objects]
    async with running.observer(client, "DynamicContract") as contracts:
        await write(client, [[obj] for obj in objects])
        await contracts.all_when([key_of(obj) for obj in objects], is_ready)
        yield contracts


def _field(*path: str) -> Callable[[Obj], Any]:
    def value(obj: Obj) -> Any:
        for name in path:
            obj = (obj or {}).get(name)  # type: ignore[assignment]
        return obj

    return value


async def _votes(running: Rig, client: Client) -> tuple[list[float], list[float]]:
    """Milliseconds from a vote's create request to its own watch event, and to the proposal's status with its count."""
    proposal = _VOTERS.proposal("counted", _VOTERS.contract_objects[0], "Other words.")
    cast = _field("status", "tally", "cast")
    bare, counted = [], []
    async with (
        running.observer(client, "GovernanceProposal") as proposals,
        running.observer(client, "Vote") as votes,
    ):
        await client.create(proposal)
        await proposals.all_when([key_of(proposal)], lambda obj: cast(obj) == 0, 30.0)
        for index in range(VOTES):
            vote = _VOTERS.vote(proposal, index, int(time.time()), "Abstain")
            seen = votes.when(key_of(vote), lambda _: True)
            shown = proposals.when(key_of(proposal), lambda obj, count=index + 1: cast(obj) == count)  # type: ignore[misc]
            begun = time.perf_counter()
            await client.create(vote)
            async with asyncio.timeout(30.0):
                bare.append(1000 * (await seen - begun))
                counted.append(1000 * (await shown - begun))
    return bare, counted


async def _decisions(running: Rig, client: Client, contracts: Observer) -> list[float]:
    """Milliseconds from the second in which a decision is due to the contract's new version in force.

    One proposal is opened a second, so that one decision a second falls due.
    """
    async with running.observer(client, "GovernanceProposal") as proposals:
        begun: list[asyncio.Task[float]] = []
        for index in range(DECISIONS):
            begun.append(asyncio.create_task(_decision(client, proposals, contracts, index)))
            await asyncio.sleep(1.0)
        return await asyncio.gather(*begun)


async def _decision(client: Client, proposals: Observer, contracts: Observer, index: int) -> float:
    contract = _DECIDING.contract_objects[index]
    proposal = _DECIDING.proposal(f"decision-{index}", contract, f"Words {index}.")
    ends = _field("status", "votingEnds")
    await client.create(proposal)
    await proposals.all_when([key_of(proposal)], lambda obj: ends(obj) is not None, 30.0)
    for voter in range(2):
        await client.create(_DECIDING.vote(proposal, voter, int(time.time())))
    opened = proposals.get(key_of(proposal))
    assert opened is not None
    # Two clocks: what the status says is wall time, what the observer notes is monotonic.
    due = parse_time(ends(opened)) + GRACE_SECONDS - time.time() + time.perf_counter()
    changed = await contracts.all_when(
        [key_of(contract)], lambda obj: _field("status", "inForce", "proposalDigest")(obj) is not None, 60.0
    )
    return 1000 * (changed - due)
