"""The device plugin of simulated GPUs: one process for all real nodes of a sandbox (docs/real-nodes.md).

A component of the sandbox. For each node it listens beside the kubelet's socket and registers there, again whenever the
kubelet is a new one; it follows the GPUs' file and tells each kubelet which of its GPUs work.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.server import Server, Stream

from quorate.kubelet import deviceplugin as api
from quorate_cli.sandbox.nodes import gpus
from quorate_cli.sandbox.nodes.channel import FAILURES, Codec, call, listen

SOCKET = "quorate-gpu.sock"
_INTERVAL_SECONDS = 0.1
_REGISTER_SECONDS = 5.0
_ALONE_SECONDS = 3.0
"""A kubelet that registered the plugin watches it at once; one that does not is asked again after this."""


class Plugin:
    """The plugin of one node."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._devices: tuple[api.Device, ...] = ()
        self._changed = asyncio.Condition()
        self._watchers = 0

    async def tell(self, devices: tuple[api.Device, ...]) -> None:
        """Whoever watches gets this list, if it is another."""
        async with self._changed:
            self._devices = devices
            self._changed.notify_all()

    async def run(self) -> None:
        """Serve and register, again for each kubelet, until cancelled."""
        while True:
            with suppress(*FAILURES):
                await self._serve_one_kubelet()
            await asyncio.sleep(_INTERVAL_SECONDS)

    async def _serve_one_kubelet(self) -> None:
        kubelet = _mark(self._directory / api.KUBELET_SOCKET)
        if kubelet is None:
            return
        server = Server([self], codec=Codec())
        await server.start(sock=listen(self._directory / SOCKET))
        try:
            own = _mark(self._directory / SOCKET)
            options = api.Options()
            request = api.RegisterRequest(api.VERSION, SOCKET, gpus.RESOURCE, options)
            await call(self._directory / api.KUBELET_SOCKET, api.REGISTER, request, api.Empty, _REGISTER_SECONDS)
            await self._until_changed(kubelet, own)
        finally:
            server.close()

    async def _until_changed(self, *marks: tuple[int, int] | None) -> None:
        """Wait until another kubelet is there, our socket is gone, or nobody has watched for a while."""
        paths = (self._directory / api.KUBELET_SOCKET, self._directory / SOCKET)
        alone = time.monotonic()
        while tuple(map(_mark, paths)) == marks:
            if self._watchers:
                alone = time.monotonic()
            elif time.monotonic() - alone > _ALONE_SECONDS:
                return
            await asyncio.sleep(_INTERVAL_SECONDS)

    def __mapping__(self) -> Mapping[str, Handler]:
        """The methods, for grpclib."""
        unary, stream = Cardinality.UNARY_UNARY, Cardinality.UNARY_STREAM
        return {
            api.GET_OPTIONS: Handler(self._options, unary, api.Empty, api.Options),
            api.LIST_AND_WATCH: Handler(self._list_and_watch, stream, api.Empty, api.Devices),
            api.ALLOCATE: Handler(self._allocate, unary, api.AllocateRequest, api.AllocateResponse),
        }

    async def _options(self, stream: Stream[api.Empty, api.Options]) -> None:
        await stream.recv_message()
        await stream.send_message(api.Options())

    async def _list_and_watch(self, stream: Stream[api.Empty, api.Devices]) -> None:
        await stream.recv_message()
        self._watchers += 1
        try:
            await stream.send_message(api.Devices(sent := self._devices))
            while True:
                async with self._changed:
                    while self._devices == sent:
                        await self._changed.wait()
                    sent = self._devices
                await stream.send_message(api.Devices(sent))
        finally:
            self._watchers -= 1

    async def _allocate(self, stream: Stream[api.AllocateRequest, api.AllocateResponse]) -> None:
        request = await stream.recv_message()
        assert request is not None
        healthy = {device.id for device in self._devices if device.health == api.HEALTHY}
        for asked in request.containers:
            if missing := [each for each in asked.device_ids if each not in healthy]:
                raise GRPCError(Status.FAILED_PRECONDITION, f"{missing[0]} is no healthy GPU of this node")
        answers = (api.ContainerResponse({gpus.VISIBLE: ",".join(asked.device_ids)}) for asked in request.containers)
        await stream.send_message(api.AllocateResponse(tuple(answers)))


def _mark(path: Path) -> tuple[int, int] | None:
    """What tells a socket from a later one of the same name; None if there is none."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_ino, found.st_ctime_ns


async def serve(config: gpus.PluginConfig) -> None:
    """Run every node's plugin, and follow the file, until cancelled."""
    plugins = {name: Plugin(Path(directory)) for name, directory in config.nodes.items()}
    async with asyncio.TaskGroup() as group:
        for plugin in plugins.values():
            group.create_task(plugin.run())
        group.create_task(_follow(Path(config.gpus), plugins))


async def _follow(path: Path, plugins: Mapping[str, Plugin]) -> None:
    seen: Any = ()
    while True:
        if (mark := _mark(path)) != seen:
            seen, listed = mark, gpus.read(path)
            for name, plugin in plugins.items():
                await plugin.tell(tuple(api.Device(gpu.id, gpu.health) for gpu in listed if gpu.node == name))
        await asyncio.sleep(_INTERVAL_SECONDS)


if __name__ == "__main__":
    asyncio.run(serve(gpus.PluginConfig(**json.loads(Path(sys.argv[1]).read_text()))))
