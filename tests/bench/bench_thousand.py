"""A thousand objects at once, against the same client writes while the operator is stopped."""

import asyncio
import time
from collections.abc import Iterator, Sequence

from quorate_operator.kube.client import Client
from quorate_operator.kube.resources import Obj, key_of
from tests.bench.figure import Figure
from tests.bench.fleet import Fleet
from tests.bench.observer import CALLERS, Observer, is_ready, write
from tests.bench.rig import Rig, rig

COUNT = 1000
_ONLY = "a bare Kopf operator that only writes one condition"
_CONTRACTS = Fleet("contracts", contracts=COUNT)
_MEMBERS = Fleet("members", members=COUNT)


def run() -> Iterator[Figure]:
    """1000 DynamicContracts, 1000 members, and the operator's memory."""
    with rig("contracts", dict([_CONTRACTS.pin])) as running:
        yield from asyncio.run(_contracts(running))
    with rig("members", dict([_MEMBERS.pin])) as running:
        yield from asyncio.run(_members(running))


async def _contracts(running: Rig) -> list[Figure]:
    groups = [[obj] for obj in _CONTRACTS.contract_objects]
    async with running.client() as client:
        await running.establish(client, _CONTRACTS)
        bare, ready = await _both(running, client, "DynamicContract", groups)
        megabytes = running.operator_megabytes()
        floor = await _floor(running, client, "DynamicContract", groups)
    writes = f"the same writes by {CALLERS} callers without an operator"
    return [
        Figure(f"{COUNT} DynamicContracts, all Ready", ready, "s", writes, bare, 1.5, of_ratio=True),
        Figure(f"{COUNT} DynamicContracts, all Ready, beside the floor", ready, "s", _ONLY, floor, 1.5, of_ratio=True),
        Figure(f"operator RSS, peak, {COUNT} DynamicContracts", megabytes, "MB", "budget", 200.0, 200.0),
    ]


async def _floor(running: Rig, client: Client, kind: str, groups: Sequence[Sequence[Obj]]) -> float:
    """Seconds until all are Ready by `bare_operator.py` in place of ours."""
    await asyncio.to_thread(running.stop_operator)
    async with running.observer(client, kind) as seen:
        await _clear(client, seen, groups)
        with running.bare_operator() as warm_up:
            await write(client, groups[:1])
            await warm_up(seen, key_of(groups[0][0]))
            await _clear(client, seen, groups[:1])
            return await _time(client, seen, groups, ready=True)


async def _members(running: Rig) -> list[Figure]:
    async with running.client() as client:
        challenge = await running.establish(client, _MEMBERS)
        # Namespaces make their own work for the controllers; they are there before anything is measured.
        await write(client, [[_MEMBERS.node_namespace(index)] for index in range(COUNT)])
        groups = _registrations(challenge)
        bare, ready = await _both(running, client, "MeshNode", groups)
        megabytes = running.operator_megabytes()
        floor = await _floor(running, client, "MeshNode", groups)
    writes = f"the same writes (MeshNode and Lease each) by {CALLERS} callers without an operator"
    name = f"{COUNT} members registered and heartbeating, all Ready"
    return [
        Figure(name, ready, "s", writes, bare, 2.0, of_ratio=True),
        Figure(f"{name}, beside the floor", ready, "s", _ONLY, floor, 2.0, of_ratio=True),
        Figure(f"operator RSS, peak, {COUNT} members", megabytes, "MB", "budget", 200.0, 200.0),
    ]


def _registrations(challenge: str) -> list[list[Obj]]:
    now = int(time.time())
    return [[_MEMBERS.mesh_node(index), _MEMBERS.heartbeat(index, challenge, now)] for index in range(COUNT)]


async def _both(running: Rig, client: Client, kind: str, groups: Sequence[Sequence[Obj]]) -> tuple[float, float]:
    """Seconds until all objects are seen without an operator, and until all are Ready with it."""
    await asyncio.to_thread(running.stop_operator)
    async with running.observer(client, kind) as seen:
        # The first writes of a kind warm the API server up for both.
        await _time(client, seen, groups[:100], ready=False)
        await _clear(client, seen, groups[:100])
        bare = await _time(client, seen, groups, ready=False)
        await _clear(client, seen, groups)
        await asyncio.to_thread(running.start_operator)
        ready = await _time(client, seen, groups, ready=True)
    return bare, ready


async def _time(client: Client, seen: Observer, groups: Sequence[Sequence[Obj]], *, ready: bool) -> float:
    keys = [key_of(group[0]) for group in groups]
    begun = time.perf_counter()
    last = asyncio.create_task(seen.all_when(keys, is_ready if ready else lambda _: True))
    await write(client, groups)
    written = time.perf_counter()
    return max(written, await last) - begun


async def _clear(client: Client, seen: Observer, groups: Sequence[Sequence[Obj]]) -> None:
    await seen.clear()
    others = [key_of(obj) for group in groups for obj in group[1:]]
    for start in range(0, len(others), CALLERS):
        await asyncio.gather(*(client.delete(key) for key in others[start : start + CALLERS]))
