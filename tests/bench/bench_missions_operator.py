"""A MissionPolicy changes: how soon the signed ConfigMap that node agents watch holds the change."""

import asyncio
import time
from collections.abc import Callable, Iterator

from quorate_operator.kube.client import Client
from quorate_operator.kube.resources import BY_KIND, Key, Obj
from quorate_operator.reconcile.mission_log import DOCUMENT
from tests.bench.figure import Figure, percentile
from tests.bench.observer import Observer, write
from tests.bench.rig import Rig, rig

WARM, SAMPLES, PRESENT = 3, 100, 100
PLAIN = Key("ConfigMap", DOCUMENT.namespace, "bench-plain")


def run() -> Iterator[Figure]:
    """Change → ConfigMap written p50 and p99, among 100 policies."""
    with rig("missions", {}) as running:
        yield from asyncio.run(_measure(running))


async def _measure(running: Rig) -> list[Figure]:
    async with running.client() as client, running.observer(client, "ConfigMap") as seen:
        policies = [_policy(f"bench-{number:03}", 100) for number in range(PRESENT)]
        written = seen.when(DOCUMENT, lambda obj: _content(obj).count('"name":"bench-') == PRESENT)
        await write(client, [[policy] for policy in policies])
        async with asyncio.timeout(60.0):
            await written
        await client.create({"apiVersion": "v1", "kind": "ConfigMap",
                             "metadata": {"name": PLAIN.name, "namespace": PLAIN.namespace}, "data": {}})  # fmt: skip
        samples, plain = [], []
        for number in range(WARM + SAMPLES):
            limit = 1000 + number
            samples.append(await _change(client, seen, policies[number % PRESENT], limit))
            plain.append(await _plain(client, seen, number))
    samples, plain = samples[WARM:], plain[WARM:]
    return [
        Figure("MissionPolicy change to signed ConfigMap, p99", percentile(samples, 99), "ms",
               "ConfigMap change to watch event, p99", percentile(plain, 99), 500.0),
        Figure("MissionPolicy change to signed ConfigMap, p50", percentile(samples, 50), "ms",
               "ConfigMap change to watch event, p50", percentile(plain, 50), 300.0),
    ]  # fmt: skip


def _policy(name: str, seconds: int) -> Obj:
    spec = {"mode": "Audit", "podSelector": {"matchLabels": {"app": name}}, "runtimeLimitSeconds": seconds}
    return {"apiVersion": "quorate.dev/v1alpha1", "kind": "MissionPolicy", "metadata": {"name": name}, "spec": spec}


def _content(obj: Obj) -> str:
    return str((obj.get("data") or {}).get("content", ""))


async def _change(client: Client, seen: Observer, policy: Obj, seconds: int) -> float:
    """Milliseconds from the patch request to the watch event of the document that holds it."""
    path = BY_KIND["MissionPolicy"].path("", policy["metadata"]["name"])
    wanted = f'"runtimeLimitSeconds":{seconds}'
    return await _timed(
        client, seen, DOCUMENT, lambda obj: wanted in _content(obj), path, {"spec": {"runtimeLimitSeconds": seconds}}
    )


async def _plain(client: Client, seen: Observer, number: int) -> float:
    path = BY_KIND["ConfigMap"].path(PLAIN.namespace, PLAIN.name)
    wanted = str(number)
    return await _timed(client, seen, PLAIN, lambda obj: _content(obj) == wanted, path, {"data": {"content": wanted}})


async def _timed(
    client: Client, seen: Observer, key: Key, shows: Callable[[Obj], bool], path: str, patch: Obj
) -> float:
    done = seen.when(key, shows)
    begun = time.perf_counter()
    await client.request("PATCH", path, body=patch, media="merge-patch")
    async with asyncio.timeout(30.0):
        return (await done - begun) * 1000
