"""Simulated GPUs of real nodes: which there are, which are lost, and who holds them.

A JSON file in the sandbox's state says which GPUs there are and whether they work; the device plugin (`plugin.py`)
follows it, so that writing it (`set_health`) is how a GPU is lost and comes back. Who holds a GPU only its node's
kubelet knows (pod resources).
"""

import asyncio
import dataclasses
import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from quorate.kubelet import podresources
from quorate.kubelet.deviceplugin import HEALTHY, UNHEALTHY
from quorate.kubelet.podresources import Holder
from quorate_cli.sandbox.errors import SandboxError
from quorate_cli.sandbox.layout import Layout, locked, write_atomically
from quorate_cli.sandbox.nodes.plan import RealNode

RESOURCE = "nvidia.com/gpu"
PRESENT = "nvidia.com/gpu.present"
"""Label of nodes that have any, as NVIDIA's own operator sets it."""
VISIBLE = "NVIDIA_VISIBLE_DEVICES"
"""The variable that tells a container its GPUs, separated by commas."""
_NAMESPACE = uuid.UUID("5b0a3c0e-0f4e-5d2b-8a55-0d8e8f7a9c11")
_PLUGINS = "var/lib/kubelet/device-plugins"
_POD_RESOURCES = "var/lib/kubelet/pod-resources/kubelet.sock"
_LIST_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Gpu:
    """A simulated GPU."""

    node: str
    index: int
    id: str
    """`GPU-<UUID>`: the same for the same sandbox, node and index."""
    healthy: bool = True

    @property
    def health(self) -> str:
        """As the device-plugin interface calls it."""
        return HEALTHY if self.healthy else UNHEALTHY


@dataclass(frozen=True, slots=True)
class Held:
    """A GPU and who holds it."""

    gpu: Gpu
    holder: Holder | None
    answered: bool
    """Whether the node's kubelet told; if not, the holder is not known."""


@dataclass(frozen=True, slots=True)
class PluginConfig:
    """What the device plugin is told, in its configuration file."""

    gpus: str
    """Path of the GPUs' file."""
    nodes: dict[str, str]
    """Node → directory of its device-plugin sockets."""


def file(layout: Layout) -> Path:
    """Where a sandbox keeps its GPUs."""
    return layout.state / "gpus.json"


def plan(nodes: Iterable[RealNode], count: int) -> list[Gpu]:
    """`count` GPUs for each node, all healthy."""
    return [
        Gpu(node.name, index, f"GPU-{uuid.uuid5(_NAMESPACE, f'{node.group}/{index}')}")
        for node in nodes
        for index in range(count)
    ]


def read(path: Path) -> list[Gpu]:
    """The GPUs of a file; none if there is no file."""
    try:
        return [Gpu(**each) for each in json.loads(path.read_text())]
    except FileNotFoundError:
        return []


def write(path: Path, gpus: Iterable[Gpu]) -> None:
    """Replace the file."""
    write_atomically(path, json.dumps([dataclasses.asdict(gpu) for gpu in gpus], indent=2).encode())


def set_health(layout: Layout, name: str, *, healthy: bool) -> Gpu:
    """Let a GPU fail or come back; its node's kubelet is told within a quarter of a second.

    `name`: its id, or a beginning of it that no other GPU of the sandbox has.

    Raises:
        SandboxError: there is no such GPU, or several.
    """
    with locked(layout.state / ".gpus.lock"):
        gpus = read(file(layout))
        found = [gpu for gpu in gpus if gpu.id.startswith(name)]
        if len(found) != 1:
            rule = f"is the beginning of {len(found)} GPUs" if found else "is no GPU of this sandbox"
            raise SandboxError(f"GPU {name!r}: {rule}; see `quorate sandbox gpus`")
        changed = dataclasses.replace(found[0], healthy=healthy)
        write(file(layout), [changed if gpu.id == changed.id else gpu for gpu in gpus])
    return changed


def plugins(layout: Layout, node: str) -> Path:
    """The directory, on the machine, of a node's device-plugin sockets."""
    return layout.state / "nodes" / node / _PLUGINS


def held(layout: Layout) -> list[Held]:
    """Every GPU with its holder, as the nodes' kubelets tell now; in the order of nodes and indexes."""
    gpus = read(file(layout))
    names = list(dict.fromkeys(gpu.node for gpu in gpus))
    answers = dict(zip(names, asyncio.run(_ask(layout, names)), strict=True))
    return [Held(gpu, (answers[gpu.node] or {}).get(gpu.id), answers[gpu.node] is not None) for gpu in gpus]


async def _ask(layout: Layout, nodes: list[str]) -> list[dict[str, Holder] | None]:
    return await asyncio.gather(*(holders(layout.state / "nodes" / node / _POD_RESOURCES) for node in nodes))


async def holders(socket: Path) -> dict[str, Holder] | None:
    """GPU → who holds it, by the kubelet behind a pod-resources socket; None if it does not answer."""
    from quorate_cli.sandbox.nodes.channel import FAILURES, call  # noqa: PLC0415 - gRPC only for who asks

    try:
        answer = await call(
            socket, podresources.LIST, podresources.ListRequest(), podresources.ListResponse, _LIST_SECONDS
        )
    except FAILURES:
        return None
    return podresources.holders(answer, RESOURCE)
