"""Pods of a node: real gRPC over Unix sockets, with the messages of runtime and kubelet."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from grpclib.const import Cardinality, Handler
from grpclib.server import Server

from quorate.kubelet import cri, podresources
from quorate.missions.samples import Missing
from quorate_agent.grpc import Codec
from quorate_agent.pods import NodePods, owner_of

SECOND = 1_000_000_000


class Answers:
    """One method that always answers the same."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers

    def __mapping__(self) -> dict[str, Handler]:
        kinds = {
            cri.LIST_SANDBOXES: (cri.ListRequest, cri.Sandboxes),
            cri.LIST_CONTAINERS: (cri.ListRequest, cri.Containers),
            podresources.LIST: (podresources.ListRequest, podresources.ListResponse),
        }

        def handler(name: str) -> Handler:
            async def serve(stream: Any) -> None:
                await stream.recv_message()
                await stream.send_message(self.answers[name])

            return Handler(serve, Cardinality.UNARY_UNARY, *kinds[name])

        return {name: handler(name) for name in self.answers}


def sandbox(number: int, *, state: int = cri.READY) -> cri.Sandbox:
    labels = {"app": "train", "io.kubernetes.pod.uid": f"u{number}", "pod-template-hash": "7f9"}
    return cri.Sandbox(f"s{number}", cri.SandboxMetadata(f"train-7f9-{number}", f"u{number}", "team"), state, 1, labels)


def container(name: str, number: int, at: int, state: int = cri.RUNNING) -> cri.Container:
    return cri.Container(f"{name}{at}", f"s{number}", cri.ContainerMetadata(name), state, at * SECOND)


async def test_pods_by_runtime_and_kubelet(tmp_path: Path) -> None:
    """Who is there, with its own labels and devices, since when, and whether all of it runs."""
    sandboxes = cri.Sandboxes((sandbox(1), sandbox(2), sandbox(3, state=1)))
    ended = (container("main", 1, 5, state=2), container("main", 2, 4, state=2))
    containers = cri.Containers((*ended, container("main", 1, 9), container("side", 1, 3)))
    devices = (podresources.ContainerDevices("nvidia.com/gpu", ("GPU-a", "GPU-b::3", "GPU-b::4")),)
    held = podresources.ListResponse((
        podresources.Pod("train-7f9-1", "team", (podresources.Container("main", devices),)),
    ))  # fmt: skip
    answers = {cri.LIST_SANDBOXES: sandboxes, cri.LIST_CONTAINERS: containers, podresources.LIST: held}
    server = Server([Answers(**answers)], codec=Codec())
    path = tmp_path / "all.sock"
    node = NodePods(path, path, ("nvidia.com/gpu",))
    assert await node.pods() is Missing.TIMEOUT
    await server.start(path=str(path))
    try:
        async with asyncio.timeout(20):
            found = await node.pods()
    finally:
        server.close()
        await server.wait_closed()
    assert not isinstance(found, Missing)
    first, second = found
    assert (first.uid, first.owner, first.gpus, first.started) == ("u1", "team/train", ("GPU-a", "GPU-b"), 9_000_000)
    assert first.labels == {"app": "train", "pod-template-hash": "7f9"}
    assert (second.uid, second.gpus, second.started) == ("u2", (), None)
    assert node.up == {"u1": True, "u2": False}
    assert node.container_name("main9") == "main"
    assert node.container_name("elsewhere") == "elsewhere"


@pytest.mark.parametrize(
    ("name", "labels", "owner"),
    [
        ("train-7f9-x2", {"pod-template-hash": "7f9"}, "ns/train"),
        ("job-abc", {"batch.kubernetes.io/job-name": "job"}, "ns/job"),
        ("db-0", {"apps.kubernetes.io/pod-index": "0"}, "ns/db"),
        ("ds-x1", {"controller-revision-hash": "5"}, "ns/ds"),
        ("alone", {}, "ns/alone"),
    ],
)
def test_owners(name: str, labels: dict[str, str], owner: str) -> None:
    """A replacement has the same owner."""
    assert owner_of("ns", name, labels) == owner


def test_recorded_by_command(tmp_path: Path) -> None:
    """`quorate agent record` writes a recording that the replay backend plays."""
    from typer.testing import CliRunner  # noqa: PLC0415

    from quorate_agent.clock import BootClock  # noqa: PLC0415
    from quorate_agent.replay import ReplayBackend  # noqa: PLC0415
    from quorate_cli.agent import app  # noqa: PLC0415
    from tests.unit.agent.world import NodeDisk, gpu  # noqa: PLC0415

    disk = NodeDisk(tmp_path)
    disk.devices([gpu(0, [{"pid": 1, "used": 77}])], [])
    flags = ["record", str(tmp_path / "r.json"), "--seconds", "1", "--every", "200", "--simulated", str(disk.file)]
    ran = CliRunner().invoke(app, flags)
    assert ran.exit_code == 0, ran.output
    assert ReplayBackend(tmp_path / "r.json", BootClock()).memory("GPU-0") == 77
