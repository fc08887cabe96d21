"""The container runtime's interface (`runtime.v1`), as far as it says which pods and containers there are.

Source: k8s.io/cri-api/pkg/apis/runtime/v1. The kubelet writes every label of a pod on its sandbox, and the container's
name and the pod's uid on each container (`io.kubernetes.*`).
"""

from dataclasses import dataclass

from quorate.kubelet.wire import Message, integer, mapping, message, messages, text

LIST_SANDBOXES = "/runtime.v1.RuntimeService/ListPodSandbox"
"""`ListRequest` → `Sandboxes`."""
LIST_CONTAINERS = "/runtime.v1.RuntimeService/ListContainers"
"""`ListRequest` → `Containers`."""
READY, RUNNING = 0, 1
"""States of a sandbox and of a container."""
POD_LABELS_OF_KUBELET = "io.kubernetes."


@dataclass(frozen=True, slots=True)
class ListRequest(Message):
    """No filter."""


@dataclass(frozen=True, slots=True)
class SandboxMetadata(Message):
    """Whose sandbox it is."""

    name: str = text(1)
    uid: str = text(2)
    namespace: str = text(3)


@dataclass(frozen=True, slots=True)
class Sandbox(Message):
    """A pod's sandbox; `created_at` in nanoseconds since the epoch."""

    id: str = text(1)
    metadata: SandboxMetadata | None = message(2, SandboxMetadata)  # noqa: RUF009 - a field, as `dataclasses.field` is
    state: int = integer(3)
    created_at: int = integer(4)
    labels: dict[str, str] = mapping(5)  # noqa: RUF009 - a field


@dataclass(frozen=True, slots=True)
class Sandboxes(Message):
    """All sandboxes, ready or not."""

    items: tuple[Sandbox, ...] = messages(1, Sandbox)


@dataclass(frozen=True, slots=True)
class ContainerMetadata(Message):
    """Its name in the pod's spec."""

    name: str = text(1)


@dataclass(frozen=True, slots=True)
class Container(Message):
    """A container; `created_at` in nanoseconds since the epoch."""

    id: str = text(1)
    sandbox_id: str = text(2)
    metadata: ContainerMetadata | None = message(3, ContainerMetadata)  # noqa: RUF009 - a field
    state: int = integer(6)
    created_at: int = integer(7)


@dataclass(frozen=True, slots=True)
class Containers(Message):
    """All containers, running or not."""

    items: tuple[Container, ...] = messages(1, Container)
