"""The clients of the benchmarks: eight writers, and an observer that sees by watch when objects are as wanted."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from types import TracebackType
from typing import Self

import aiohttp
import orjson

from quorate_operator.kube.client import Client
from quorate_operator.kube.connection import Connection
from quorate_operator.kube.resources import BY_KIND, Key, Obj, key_of

CALLERS = 8


def is_ready(obj: Obj) -> bool:
    """Condition Ready is True for the object's generation."""
    status = obj.get("status") or {}
    conditions = status.get("conditions") or ()
    current = status.get("observedGeneration") == obj["metadata"].get("generation")
    return current and any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


async def write(client: Client, groups: Iterable[Sequence[Obj]]) -> None:
    """Create objects from eight callers; a group's objects one after the other, by one caller."""
    waiting = iter(groups)

    async def caller() -> None:
        for group in waiting:
            for obj in group:
                await client.create(obj)

    await asyncio.gather(*(caller() for _ in range(CALLERS)))


class Observer:
    """Watches one kind and remembers the last state of each object; `async with` starts and ends it."""

    def __init__(self, connection: Connection, client: Client, kind: str) -> None:
        self._connection = connection
        self._client = client
        self._resource = BY_KIND[kind]
        self._objects: dict[Key, Obj] = {}
        self._waiting: dict[Key, tuple[Callable[[Obj], bool], asyncio.Future[float]]] = {}
        self._deleted: dict[Key, asyncio.Future[float]] = {}
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        connected = asyncio.Event()
        self._task = asyncio.create_task(self._follow(connected))
        ready = asyncio.create_task(connected.wait())
        await asyncio.wait((self._task, ready), return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            ready.cancel()
            self._task.result()  # why it does not watch
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def get(self, key: Key) -> Obj | None:
        """The last state seen."""
        return self._objects.get(key)

    def when(self, key: Key, wanted: Callable[[Obj], bool]) -> "asyncio.Future[float]":
        """The time (`perf_counter`) at which the object is first seen as wanted; one wish per object at a time."""
        future: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        current = self._objects.get(key)
        if current is not None and wanted(current):
            future.set_result(time.perf_counter())
        else:
            self._waiting[key] = (wanted, future)
        return future

    async def all_when(self, keys: Iterable[Key], wanted: Callable[[Obj], bool], seconds: float = 300.0) -> float:
        """The time at which the last of the objects was seen as wanted; TimeoutError after `seconds`."""
        async with asyncio.timeout(seconds):
            return max(await asyncio.gather(*(self.when(key, wanted) for key in keys)))

    async def clear(self, seconds: float = 120.0) -> None:
        """Delete every object of the kind and wait until they are gone."""
        loop = asyncio.get_running_loop()
        self._deleted = {key: loop.create_future() for key in self._objects}
        await self._client.request("DELETE", self._resource.path())
        async with asyncio.timeout(seconds):
            await asyncio.gather(*self._deleted.values())

    async def _follow(self, connected: asyncio.Event) -> None:
        """List and watch, again and again: the API server may end a watch at any time."""
        connector = aiohttp.TCPConnector(ssl=self._connection.ssl_context())
        forever = aiohttp.ClientTimeout(total=None, connect=5.0)
        async with aiohttp.ClientSession(
            base_url=self._connection.server, connector=connector, timeout=forever
        ) as session:
            while True:
                objects, version = await self._client.list_at(self._resource.kind)
                listed = {key_of(obj) for obj in objects}
                for obj in objects:
                    self._see("MODIFIED", obj)
                for key in [key for key in self._objects if key not in listed]:
                    self._see("DELETED", self._objects[key])
                await self._watch(session, version, connected)

    async def _watch(self, session: aiohttp.ClientSession, version: int, connected: asyncio.Event) -> None:
        params = {"watch": "1", "resourceVersion": str(version)}
        async with session.get(self._resource.path(), params=params, headers=self._connection.headers()) as response:
            if response.status == HTTPStatus.TOO_MANY_REQUESTS:  # it fills its watch cache yet
                await asyncio.sleep(float(response.headers.get("Retry-After", "1")))
                return
            response.raise_for_status()
            connected.set()
            rest = b""
            async for chunk in response.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    event = orjson.loads(line)
                    if event["type"] == "ERROR":
                        return
                    self._see(event["type"], event["object"])

    def _see(self, kind: str, obj: Obj) -> None:
        key, now = key_of(obj), time.perf_counter()
        if kind == "DELETED":
            self._objects.pop(key, None)
            if (gone := self._deleted.pop(key, None)) is not None:
                gone.set_result(now)
            return
        self._objects[key] = obj
        wish = self._waiting.get(key)
        if wish is not None and wish[0](obj):
            del self._waiting[key]
            if not wish[1].done():
                wish[1].set_result(now)
