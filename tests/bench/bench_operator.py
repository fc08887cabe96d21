"""One object, applied → Ready and audited; and how soon the operator decides again after a stop or a kill."""

import asyncio
import signal
import time
from collections.abc import Iterator
from itertools import islice

from quorate_operator.kube.client import Client
from quorate_operator.kube.resources import Key, Obj, key_of
from tests.bench.figure import Figure, percentile
from tests.bench.fleet import Fleet
from tests.bench.observer import Observer, is_ready, write
from tests.bench.rig import Rig, rig

WARM, SAMPLES, PRESENT = 5, 60, 1000
LEASE_SECONDS = 3.0
_FLEET = Fleet("bench", contracts=PRESENT + 2)


def run() -> Iterator[Figure]:
    """Apply → Ready p95, restarts with 1000 objects."""
    with rig("operator", dict([_FLEET.pin])) as running:
        yield from asyncio.run(_measure(running))


async def _measure(running: Rig) -> list[Figure]:
    objects = iter(_FLEET.contract_objects)
    async with running.client() as client:
        await running.establish(client, _FLEET)
        async with running.observer(client, "DynamicContract") as seen:
            for _ in range(WARM):
                await _latency(client, seen, next(objects), ready=True)
            ready = [await _latency(client, seen, next(objects), ready=True) for _ in range(SAMPLES)]
            running.stop_operator()
            bare = [await _latency(client, seen, next(objects), ready=False) for _ in range(SAMPLES)]
            running.start_operator()
            many = list(islice(objects, PRESENT - 2 * SAMPLES - WARM))
            await write(client, [[obj] for obj in many])
            await seen.all_when([key_of(obj) for obj in many], is_ready)
            graceful = await _restart(running, client, seen, next(objects), kill=False)
            killed = await _restart(running, client, seen, next(objects), kill=True)
    return [
        Figure("apply to Ready, one object, audited, p95", percentile(ready, 95), "ms",
               "create to watch event without an operator, p95", percentile(bare, 95), 100.0),
        Figure("apply to Ready, one object, audited, p50", percentile(ready, 50), "ms",
               "create to watch event without an operator, p50", percentile(bare, 50), 100.0),
        Figure(f"graceful restart with {PRESENT} objects until it decides", graceful, "s",
               "apply to Ready, p50", percentile(ready, 50) / 1000, 5.0),
        Figure(f"kill -9 with {PRESENT} objects until the next decides", killed, "s",
               "lease", LEASE_SECONDS, LEASE_SECONDS + 5.0),
    ]  # fmt: skip


async def _latency(client: Client, seen: Observer, obj: Obj, *, ready: bool) -> float:
    """Milliseconds from the create request to the watch event that shows the object (Ready)."""
    done = seen.when(key_of(obj), is_ready if ready else lambda _: True)
    begun = time.perf_counter()
    await client.create(obj)
    async with asyncio.timeout(30.0):
        return 1000 * (await done - begun)


async def _restart(running: Rig, client: Client, seen: Observer, probe: Obj, *, kill: bool) -> float:
    """Seconds from the signal to the operator until an object applied right after it is Ready."""
    key: Key = key_of(probe)
    begun = time.perf_counter()
    if kill:
        running.sandbox.kill("operator", signal.SIGKILL)
    else:
        await asyncio.to_thread(running.stop_operator)
        running.sandbox.start("operator")
    await client.create(probe)
    return await seen.all_when([key], is_ready, 60.0) - begun
