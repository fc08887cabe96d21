"""The pods of this node: what the container runtime says of pods and containers, and the kubelet of devices.

Neither asks the API server. A pod's owner is told by the labels that controllers set; namespaces' labels come with the
policies.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from quorate.kubelet import cri, podresources
from quorate.missions.samples import Missing, Pod
from quorate_agent.grpc import FAILURES, call

SECONDS = 5.0
_OWNERS = (
    ("batch.kubernetes.io/job-name", "job"), ("job-name", "job"), ("apps.kubernetes.io/pod-index", "set"),
    ("statefulset.kubernetes.io/pod-name", "set"), ("pod-template-hash", "template"),
    ("controller-revision-hash", "set"),
)  # fmt: skip
_SHARED = re.compile(r"^(.+?)::\d+$")


class NodePods:
    """`PodSource` over the runtime's and the kubelet's sockets.

    Args:
        resources: extended resources whose device ids are UUIDs of GPUs.

    Attributes:
        up: uid → whether every container of the pod runs.
    """

    def __init__(self, runtime: Path, pod_resources: Path, resources: Sequence[str]) -> None:
        self._runtime, self._pod_resources, self._resources = runtime, pod_resources, tuple(resources)
        self._names: dict[str, str] = {}
        self.up: dict[str, bool] = {}

    async def pods(self) -> Sequence[Pod] | Missing:
        """Three questions; where one is not answered nothing is known."""
        try:
            sandboxes = await call(self._runtime, cri.LIST_SANDBOXES, cri.ListRequest(), cri.Sandboxes, SECONDS)
            containers = await call(self._runtime, cri.LIST_CONTAINERS, cri.ListRequest(), cri.Containers, SECONDS)
            held = await call(
                self._pod_resources, podresources.LIST, podresources.ListRequest(), podresources.ListResponse, SECONDS
            )
        except FAILURES:
            return Missing.TIMEOUT
        return self._merge(sandboxes, containers, held)

    def container_name(self, container: str) -> str:
        """See `PodSource.container_name`."""
        return self._names.get(container, container)

    def _merge(
        self, sandboxes: cri.Sandboxes, containers: cri.Containers, held: podresources.ListResponse
    ) -> list[Pod]:
        parts: dict[str, list[cri.Container]] = {}
        for container in containers.items:
            parts.setdefault(container.sandbox_id, []).append(container)
        self._names = {item.id: item.metadata.name for item in containers.items if item.metadata is not None}
        devices = {(pod.namespace, pod.name): gpus_of(pod, self._resources) for pod in held.pods}
        pods, self.up = [], {}
        for sandbox in sandboxes.items:
            meta = sandbox.metadata
            if meta is None or sandbox.state != cri.READY:
                continue
            latest = _latest(parts.get(sandbox.id, ()))
            running = [container for container in latest if container.state == cri.RUNNING]
            self.up[meta.uid] = bool(running) and len(running) == len(latest)
            labels = {
                key: value for key, value in sandbox.labels.items() if not key.startswith(cri.POD_LABELS_OF_KUBELET)
            }
            pods.append(
                Pod(
                    uid=meta.uid,
                    namespace=meta.namespace,
                    name=meta.name,
                    owner=owner_of(meta.namespace, meta.name, labels),
                    labels=labels,
                    gpus=devices.get((meta.namespace, meta.name), ()),
                    started=max((container.created_at // 1_000 for container in running), default=None),
                )
            )
        return pods


def _latest(containers: Iterable[cri.Container]) -> list[cri.Container]:
    """Of each name the container that was made last: earlier ones have ended."""
    found: dict[str, cri.Container] = {}
    for container in sorted(containers, key=lambda container: container.created_at):
        if container.metadata is not None:
            found[container.metadata.name] = container
    return list(found.values())


def gpus_of(pod: podresources.Pod, resources: Iterable[str]) -> tuple[str, ...]:
    """UUIDs of the devices that a pod holds; a share of a device (`GPU-…::5`) is the device."""
    wanted = set(resources)
    ids = [
        device
        for container in pod.containers
        for held in container.devices
        if held.resource_name in wanted
        for device in held.device_ids
    ]
    return tuple(dict.fromkeys(found[1] if (found := _SHARED.match(name)) else name for name in ids))


def owner_of(namespace: str, name: str, labels: Mapping[str, str]) -> str:
    """Namespace and what made the pod, by which its replacement is known; the pod itself where no label tells."""
    for label, kind in _OWNERS:
        value = labels.get(label)
        if not value:
            continue
        if kind == "job":
            return f"{namespace}/{value}"
        if kind == "template":
            return f"{namespace}/{name.partition(f'-{value}-')[0]}"
        return f"{namespace}/{name.rpartition('-')[0] or name}"
    return f"{namespace}/{name}"
