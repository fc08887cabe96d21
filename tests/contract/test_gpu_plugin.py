"""The device plugin of simulated GPUs beside a kubelet that is played: real sockets, the real interface."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from grpclib.client import Channel, UnaryStreamMethod
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.server import Server, Stream

from quorate.kubelet import deviceplugin as api
from quorate.kubelet import podresources
from quorate.kubelet.podresources import Holder
from quorate_cli.sandbox.errors import SandboxError
from quorate_cli.sandbox.layout import Layout
from quorate_cli.sandbox.nodes import gpus, plan, plugin
from quorate_cli.sandbox.nodes.channel import Codec, call, listen, reachable

NODE = "real-1"


class Kubelet:
    """The kubelet's side: it takes registrations, watches who registered, and forgets all sockets when it starts."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.registered: list[api.RegisterRequest] = []
        self.seen: list[dict[str, str]] = []
        self._server: Server | None = None
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        for left in self.directory.iterdir():
            left.unlink()
        self._server = Server([self], codec=Codec())
        await self._server.start(sock=listen(self.directory / api.KUBELET_SOCKET))

    async def stop(self) -> None:
        assert self._server is not None
        if self._watch:
            self._watch.cancel()
        self._server.close()
        await self._server.wait_closed()

    def __mapping__(self) -> dict[str, Handler]:
        return {api.REGISTER: Handler(self._register, Cardinality.UNARY_UNARY, api.RegisterRequest, api.Empty)}

    async def _register(self, stream: Stream[api.RegisterRequest, api.Empty]) -> None:
        request = await stream.recv_message()
        assert request is not None
        self.registered.append(request)
        await stream.send_message(api.Empty())
        if self._watch:
            self._watch.cancel()
        self._watch = asyncio.create_task(self._list_and_watch(request.endpoint))

    async def _list_and_watch(self, endpoint: str) -> None:
        with reachable(self.directory / endpoint) as name:
            channel = Channel(path=name, codec=Codec())
            try:
                method = UnaryStreamMethod(channel, api.LIST_AND_WATCH, api.Empty, api.Devices)
                async with method.open() as stream:
                    await stream.send_message(api.Empty(), end=True)
                    async for listed in stream:
                        self.seen.append({device.id: device.health for device in listed.devices})
            finally:
                channel.close()

    async def allocate(self, *containers: tuple[str, ...]) -> list[dict[str, str]]:
        request = api.AllocateRequest(tuple(map(api.ContainerRequest, containers)))
        path = self.directory / self.registered[-1].endpoint
        answer = await call(path, api.ALLOCATE, request, api.AllocateResponse, 5)
        return [dict(each.environment) for each in answer.containers]


async def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.01)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """The state of a sandbox with one node and two GPUs; its sockets' paths are longer than the kernel takes."""
    layout = Layout(tmp_path / ("long" * 30), "gpus")
    gpus.plugins(layout, NODE).mkdir(parents=True)
    nodes = plan.nodes(layout, plan.network(plan.DEFAULT_NETWORK), 1)
    gpus.write(gpus.file(layout), gpus.plan(nodes, 2))
    return layout


@pytest.fixture
async def kubelet(layout: Layout) -> AsyncIterator[Kubelet]:
    """A kubelet that runs, with the plugin beside it."""
    config = gpus.PluginConfig(str(gpus.file(layout)), {NODE: str(gpus.plugins(layout, NODE))})
    serving = asyncio.create_task(plugin.serve(config))
    played = Kubelet(gpus.plugins(layout, NODE))
    await played.start()
    yield played
    await played.stop()
    serving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await serving


async def test_it_registers_and_lists(layout: Layout, kubelet: Kubelet):
    """The plugin names its resource and socket once, and lists every GPU of the node as healthy."""
    await until(lambda: kubelet.seen, "a list")
    assert kubelet.registered == [api.RegisterRequest("v1beta1", plugin.SOCKET, "nvidia.com/gpu", api.Options())]
    ids = [gpu.id for gpu in gpus.read(gpus.file(layout))]
    assert kubelet.seen == [dict.fromkeys(ids, "Healthy")]


async def test_allocation_tells_the_container(layout: Layout, kubelet: Kubelet):
    """Each container gets the GPUs that the kubelet chose for it, in one variable, and nothing else."""
    await until(lambda: kubelet.seen, "a list")
    one, two = (gpu.id for gpu in gpus.read(gpus.file(layout)))
    assert await kubelet.allocate((one,), (two,)) == [
        {"NVIDIA_VISIBLE_DEVICES": one},
        {"NVIDIA_VISIBLE_DEVICES": two},
    ]
    assert await kubelet.allocate((one, two)) == [{"NVIDIA_VISIBLE_DEVICES": f"{one},{two}"}]


async def test_a_lost_gpu_is_told_and_comes_back(layout: Layout, kubelet: Kubelet):
    """A GPU that is lost is listed as Unhealthy and not handed out, until it is restored."""
    await until(lambda: kubelet.seen, "a list")
    one, two = (gpu.id for gpu in gpus.read(gpus.file(layout)))
    assert gpus.set_health(layout, two[:12], healthy=False).id == two
    await until(lambda: kubelet.seen[-1] == {one: "Healthy", two: "Unhealthy"}, "the loss")
    with pytest.raises(GRPCError, match=two) as refused:
        await kubelet.allocate((two,))
    assert refused.value.status is Status.FAILED_PRECONDITION
    gpus.set_health(layout, two, healthy=True)
    await until(lambda: kubelet.seen[-1] == {one: "Healthy", two: "Healthy"}, "its return")
    assert len(kubelet.seen) == 3


async def test_it_registers_with_a_new_kubelet(kubelet: Kubelet):
    """A kubelet that starts again, and removes all sockets, is registered with on a socket made anew."""
    await until(lambda: kubelet.seen, "a list")
    await kubelet.stop()
    kubelet.seen.clear()
    await kubelet.start()
    await until(lambda: kubelet.seen, "a list for the new kubelet")
    assert len(kubelet.registered) == 2
    assert (kubelet.directory / plugin.SOCKET).is_socket()


async def test_it_makes_its_socket_anew(kubelet: Kubelet):
    """Whoever removes the plugin's socket is given another."""
    await until(lambda: kubelet.seen, "a list")
    (kubelet.directory / plugin.SOCKET).unlink()
    await until(lambda: len(kubelet.seen) == 2, "a list on the new socket")


async def test_a_kubelet_that_forgot_the_plugin_is_asked_again(monkeypatch: pytest.MonkeyPatch, kubelet: Kubelet):
    """A kubelet that does not watch, although it took the registration, gets another one."""
    monkeypatch.setattr(plugin, "_ALONE_SECONDS", 0.2)
    await until(lambda: kubelet.seen, "a list")
    assert kubelet._watch is not None
    kubelet._watch.cancel()
    await until(lambda: len(kubelet.registered) >= 2 and len(kubelet.seen) >= 2, "a second registration")


def test_ids_are_stable_and_distinct(tmp_path: Path):
    """A GPU's id depends on sandbox, node and index alone, and no two are the same."""
    network = plan.network(plan.DEFAULT_NETWORK)
    nodes = plan.nodes(Layout(tmp_path, "a"), network, 3)
    planned = gpus.plan(nodes, 8)
    assert gpus.plan(nodes, 8) == planned
    others = gpus.plan(plan.nodes(Layout(tmp_path, "b"), network, 3), 8)
    ids = [gpu.id for gpu in planned + others]
    assert len(set(ids)) == len(ids) == 48
    assert all(len(each) == 40 and each.startswith("GPU-") for each in ids)


def test_a_name_must_mean_one_gpu(layout: Layout):
    """An unknown name, or the beginning of several, is refused with the rule."""
    with pytest.raises(SandboxError, match="'GPU-': is the beginning of 2 GPUs"):
        gpus.set_health(layout, "GPU-", healthy=False)
    with pytest.raises(SandboxError, match="'GPU-none': is no GPU of this sandbox"):
        gpus.set_health(layout, "GPU-none", healthy=False)


async def test_holders_are_asked_of_the_kubelet(tmp_path: Path):
    """Pod resources say who holds a GPU; where nobody answers, nothing is claimed."""
    devices = (podresources.ContainerDevices("nvidia.com/gpu", ("GPU-1",)),)
    pods = (podresources.Pod("p", "ns", (podresources.Container("main", devices),)),)

    class Lister:
        def __mapping__(self) -> dict[str, Handler]:
            kinds = (podresources.ListRequest, podresources.ListResponse)
            return {podresources.LIST: Handler(self._list, Cardinality.UNARY_UNARY, *kinds)}

        async def _list(self, stream: Stream[podresources.ListRequest, podresources.ListResponse]) -> None:
            await stream.recv_message()
            await stream.send_message(podresources.ListResponse(pods))

    path = tmp_path / "kubelet.sock"
    assert await gpus.holders(path) is None
    server = Server([Lister()], codec=Codec())
    await server.start(sock=listen(path))
    assert await gpus.holders(path) == {"GPU-1": Holder("ns", "p", "main")}
    server.close()
    await server.wait_closed()
