"""The device-plugin interface (`v1beta1`): how a program tells a kubelet of devices and hands them out.

The plugin listens on a socket of its own beside the kubelet's, calls `Register`, and is then asked. A kubelet that
starts removes every socket there: the plugin makes its own again and registers again. Fields that Quorate has no use
for (mounts, device files, topology, preferred allocation) are left out.

Source: k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from quorate.kubelet.wire import Message, boolean, mapping, message, messages, text, texts

VERSION = "v1beta1"
KUBELET_SOCKET = "kubelet.sock"
"""Name of the kubelet's socket, in the directory of the plugins' own."""
HEALTHY = "Healthy"
UNHEALTHY = "Unhealthy"
REGISTER = "/v1beta1.Registration/Register"
"""Asked of the kubelet: `RegisterRequest` → `Empty`."""
GET_OPTIONS = "/v1beta1.DevicePlugin/GetDevicePluginOptions"
"""Asked of the plugin: `Empty` → `Options`."""
LIST_AND_WATCH = "/v1beta1.DevicePlugin/ListAndWatch"
"""Asked of the plugin: `Empty` → a stream of `Devices`, each the whole list."""
ALLOCATE = "/v1beta1.DevicePlugin/Allocate"
"""Asked of the plugin: `AllocateRequest` → `AllocateResponse`, an answer for each container in order."""


@dataclass(frozen=True, slots=True)
class Empty(Message):
    """No fields."""


@dataclass(frozen=True, slots=True)
class Options(Message):
    """What of the interface a plugin takes part in."""

    pre_start_required: bool = boolean(1)
    preferred_allocation: bool = boolean(2)


@dataclass(frozen=True, slots=True)
class RegisterRequest(Message):
    """A plugin and its resource."""

    version: str = text(1)
    endpoint: str = text(2)
    """Name of the plugin's socket in the kubelet's directory."""
    resource_name: str = text(3)
    options: Options | None = message(4, Options)  # noqa: RUF009 - a field, as `dataclasses.field` is


@dataclass(frozen=True, slots=True)
class Device(Message):
    """A device and whether it can be used."""

    id: str = text(1)
    """At most 63 characters."""
    health: str = text(2)


@dataclass(frozen=True, slots=True)
class Devices(Message):
    """`ListAndWatchResponse`: every device there is now."""

    devices: tuple[Device, ...] = messages(1, Device)


@dataclass(frozen=True, slots=True)
class ContainerRequest(Message):
    """The devices that the kubelet chose for a container."""

    device_ids: tuple[str, ...] = texts(1)


@dataclass(frozen=True, slots=True)
class AllocateRequest(Message):
    """Containers that are about to start."""

    containers: tuple[ContainerRequest, ...] = messages(1, ContainerRequest)


@dataclass(frozen=True, slots=True)
class ContainerResponse(Message):
    """What a container gets with its devices."""

    environment: Mapping[str, str] = mapping(1)


@dataclass(frozen=True, slots=True)
class AllocateResponse(Message):
    """An answer for each container of the request, in its order."""

    containers: tuple[ContainerResponse, ...] = messages(1, ContainerResponse)
