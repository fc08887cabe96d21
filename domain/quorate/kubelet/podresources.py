"""The pod-resources interface (`v1`): which container holds which devices, as the kubelet itself knows it.

Source: k8s.io/kubelet/pkg/apis/podresources/v1.
"""

from dataclasses import dataclass

from quorate.kubelet.wire import Message, messages, text, texts

LIST = "/v1.PodResourcesLister/List"
"""`ListRequest` → `ListResponse`."""


@dataclass(frozen=True, slots=True)
class ListRequest(Message):
    """No fields."""


@dataclass(frozen=True, slots=True)
class ContainerDevices(Message):
    """Devices of one resource."""

    resource_name: str = text(1)
    device_ids: tuple[str, ...] = texts(2)


@dataclass(frozen=True, slots=True)
class Container(Message):
    """A container and what it holds."""

    name: str = text(1)
    devices: tuple[ContainerDevices, ...] = messages(2, ContainerDevices)


@dataclass(frozen=True, slots=True)
class Pod(Message):
    """A pod and its containers."""

    name: str = text(1)
    namespace: str = text(2)
    containers: tuple[Container, ...] = messages(3, Container)


@dataclass(frozen=True, slots=True)
class ListResponse(Message):
    """Every pod of the node that is not finished."""

    pods: tuple[Pod, ...] = messages(1, Pod)


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a device."""

    namespace: str
    pod: str
    container: str


def holders(response: ListResponse, resource: str) -> dict[str, Holder]:
    """Device → who holds it, for the devices of one resource."""
    return {
        device: Holder(pod.namespace, pod.name, container.name)
        for pod in response.pods
        for container in pod.containers
        for held in container.devices
        if held.resource_name == resource
        for device in held.device_ids
    }
