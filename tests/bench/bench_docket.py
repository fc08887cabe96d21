"""A thousand open proposals and the votes on them, against the same votes on ten."""

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from quorate_operator.kube.client import Client
from quorate_operator.kube.resources import Obj, key_of
from tests.bench.figure import Figure
from tests.bench.fleet import STANDARD, Fleet
from tests.bench.observer import Observer, is_ready, write
from tests.bench.rig import Rig, rig

FEW, MANY, VOTES = 10, 1000, 5000
_VOTING = {**STANDARD, "votingPeriodSeconds": 86_400, "maxOpenPerProposer": MANY}


@dataclass(frozen=True)
class Cost:
    """What counting `votes` votes took: seconds until the last was shown, the operator's CPU seconds, its peak MB."""

    votes: int
    seconds: float
    cpu: float
    megabytes: float

    @property
    def each(self) -> float:
        """Milliseconds of the operator's CPU for each vote."""
        return 1000 * self.cpu / self.votes


def run() -> Iterator[Figure]:
    """CPU and time of a vote, and memory."""
    few, many = measure(FEW, VOTES), measure(MANY, VOTES)
    named = f"a vote, {VOTES} arriving on {MANY} open proposals, all counted"
    yield Figure(f"{named}: operator CPU", many.each, "ms", f"the same on {FEW}", few.each, 1.2, of_ratio=True)
    yield Figure(
        f"{named}: time until the last is shown, each",
        1000 * many.seconds / VOTES,
        "ms",
        f"the same on {FEW}",
        1000 * few.seconds / VOTES,
        1.2,
        of_ratio=True,
    )
    yield Figure(f"operator RSS, peak, {MANY} open proposals, {VOTES} votes", many.megabytes, "MB",
                 f"the same with {FEW}", few.megabytes, 300.0)  # fmt: skip


def measure(proposals: int, votes: int) -> Cost:
    """Open proposals, let `votes` votes arrive that are spread evenly over them, wait until all are counted.

    Raises:
        TimeoutError: not all were counted.
    """
    fleet = Fleet("docket", members=votes // proposals, contracts=proposals, voting=_VOTING)
    with rig("docket", dict([fleet.pin])) as running:
        return asyncio.run(_measure(running, fleet, proposals, votes))


async def _measure(running: Rig, fleet: Fleet, proposals: int, votes: int) -> Cost:
    async with running.client() as client:
        await running.establish(client, fleet)
        opened = await _open(running, client, fleet)
        now = int(time.time())
        ballots = [fleet.vote(opened[n % proposals], n // proposals, now) for n in range(votes)]
        async with running.observer(client, "GovernanceProposal") as shown, running.observer(client, "Vote") as cast:
            return await _count(running, client, (shown, cast), opened, ballots)


async def _open(running: Rig, client: Client, fleet: Fleet) -> list[Obj]:
    contracts = fleet.contract_objects
    opened = [fleet.proposal(f"p{n}", contract, f"Words {n}.") for n, contract in enumerate(contracts)]
    async with running.observer(client, "DynamicContract") as seen:
        await write(client, [[obj] for obj in contracts])
        await seen.all_when([key_of(obj) for obj in contracts], is_ready)
    async with running.observer(client, "GovernanceProposal") as seen:
        await write(client, [[obj] for obj in opened])
        await seen.all_when([key_of(obj) for obj in opened], lambda obj: _cast(obj) == 0)
    return opened


async def _count(
    running: Rig, client: Client, seen: tuple[Observer, Observer], opened: Sequence[Obj], ballots: Sequence[Obj]
) -> Cost:
    shown, cast = seen
    each = len(ballots) // len(opened)
    cpu, begun = _cpu(running), time.perf_counter()
    proposals = asyncio.create_task(shown.all_when(map(key_of, opened), lambda obj: _cast(obj) == each, 900.0))
    votes = asyncio.create_task(cast.all_when(map(key_of, ballots), is_ready, 900.0))
    await write(client, [[ballot] for ballot in ballots])
    last = max(await proposals, await votes)
    return Cost(len(ballots), last - begun, _cpu(running) - cpu, running.operator_megabytes())


def _cast(obj: Obj) -> object:
    return ((obj.get("status") or {}).get("tally") or {}).get("cast")


def _cpu(running: Rig) -> float:
    """CPU seconds that the operator used so far."""
    fields = Path(f"/proc/{running.sandbox.pid('operator')}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
