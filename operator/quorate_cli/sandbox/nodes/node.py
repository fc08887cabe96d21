"""A sandbox's real nodes: their files, their components, and how they are asked."""

import datetime as dt
import json
import sys
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from quorate_cli.cluster import Cluster, NotFoundError, RefusedError
from quorate_cli.sandbox import pki
from quorate_cli.sandbox.control import python_path
from quorate_cli.sandbox.errors import SandboxError
from quorate_cli.sandbox.layout import Layout, write_atomically
from quorate_cli.sandbox.nodes import cgroup, config, fabric, gpus, image, launcher, parts, plan
from quorate_cli.sandbox.nodes.plan import Network, RealNode
from quorate_cli.sandbox.supervisor import Spec

_NAMESPACE = uuid.UUID("c1d2f7d0-6a7b-5a53-9d0c-2f0d6a6f1a51")
FABRIC = "fabric"


@dataclass(frozen=True, slots=True)
class RealNodes:
    """The real nodes of one sandbox."""

    layout: Layout
    network: Network
    nodes: list[RealNode]
    programs: Path
    """Directory of the parts (`parts.find`)."""
    gpus_per_node: int = 0
    """Simulated GPUs of each (`gpus.py`)."""

    @property
    def socket(self) -> Path:
        """The fabric's Unix socket."""
        return self.layout.run / "fabric"

    @property
    def images(self) -> Path:
        """Archives that every node imports when it starts."""
        return self.layout.state / "images"

    def write(self, authority: pki.Authority, port: int, service: str) -> None:
        """Write the configuration and certificates of the nodes, and of the API server as their client.

        `port` of the API server; `service`: address of the Service `kubernetes`.
        """
        self.images.mkdir(mode=0o700, exist_ok=True)
        pause = self.images / "pause.tar"
        image.write(image.Image(config.PAUSE_IMAGE, {"pause": self.programs / "pause"}, entrypoint=["/pause"]), pause)
        pki.write_pair(self.layout.pki, "kubelet-client", authority.issue("kube-apiserver", ("system:masters",)))
        write_atomically(self.layout.pki / "egress.json", _egress(self.socket))
        told = fabric.Config(str(self.socket), str(self.network.range), self.network.gateway, service, port)
        write_atomically(self.layout.state / "fabric.json", json.dumps(asdict(told), indent=2).encode())
        for node in self.nodes:
            self._write_node(node, authority, port)
        gpus.write(gpus.file(self.layout), gpus.plan(self.nodes, self.gpus_per_node))
        sockets = {node.name: str(gpus.plugins(self.layout, node.name)) for node in self.nodes}
        plugged = gpus.PluginConfig(str(gpus.file(self.layout)), sockets)
        write_atomically(self._plugin_file, json.dumps(asdict(plugged), indent=2).encode())

    @property
    def _plugin_file(self) -> Path:
        return self.layout.state / "gpu-plugin.json"

    def _write_node(self, node: RealNode, authority: pki.Authority, port: int) -> None:
        for name in ("root", "etc/kubernetes", "etc/cni/net.d", "var/lib", "var/log"):
            (node.directory / name).mkdir(parents=True, exist_ok=True)
        node.directory.parent.chmod(0o700)
        machine = uuid.uuid5(_NAMESPACE, f"{self.layout.state}/{node.name}").hex
        for name, content in config.etc(node, machine).items():
            write_atomically(node.directory / "etc" / name, content.encode(), 0o644)
        kubernetes = node.directory / "etc/kubernetes"
        user = f"system:node:{node.name}"
        pair = authority.issue(user, ("system:nodes",))
        server = f"https://{self.network.gateway}:{port}"
        whole = pki.kubeconfig(server, authority, user, pair, f"quorate-{self.layout.name}")
        write_atomically(kubernetes / "kubeconfig", whole)
        write_atomically(kubernetes / "ca.crt", authority.pem, 0o644)
        pki.write_pair(kubernetes, "kubelet", authority.issue(user, hosts=(node.address, node.name)))
        told = launcher.Config(
            name=node.name,
            address=node.address,
            pods=node.pods,
            directory=str(node.directory),
            group=node.group,
            programs=str(self.programs),
            images=str(self.images),
            fabric=str(self.socket),
            services=config.services(node, gpus=self.gpus_per_node > 0),
        )
        write_atomically(node.directory / "node.json", json.dumps(asdict(told), indent=2).encode())

    def fabric_spec(self) -> Spec:
        """The component of the nodes' network."""
        return _spec(FABRIC, "fabric", self.layout.state / "fabric.json", stage=2, groups=[])

    def specs(self) -> list[Spec]:
        """A component for each node, and one for the GPUs of all."""
        nodes = [
            _spec(node.component, "launcher", node.directory / "node.json", 3, _paths(node.group))
            for node in self.nodes
        ]
        return [*nodes, *([_spec("gpus", "plugin", self._plugin_file, 3, [])] if self.gpus_per_node else ())]

    def shown(self) -> list[dict[str, str]]:
        """What the sandbox's state keeps of the nodes (`running.running`)."""
        return [{name: getattr(node, name) for name in ("name", "address", "pods", "group")} for node in self.nodes]

    def apiserver_arguments(self) -> list[str]:
        """What kube-apiserver needs to reach the kubelets."""
        return [
            "--allow-privileged=true",
            # Webhooks and aggregated servers that are Services: by their pods' addresses, since no ClusterIP answers.
            "--enable-aggregator-routing=true",
            "--kubelet-preferred-address-types=InternalIP",
            f"--kubelet-client-certificate={self.layout.pki / 'kubelet-client.crt'}",
            f"--kubelet-client-key={self.layout.pki / 'kubelet-client.key'}",
            f"--kubelet-certificate-authority={self.layout.pki / 'ca.crt'}",
            f"--egress-selector-config-file={self.layout.pki / 'egress.json'}",
        ]


def prepare(layout: Layout, count: int, gpus_per_node: int, network: Network, say: Callable[[str], None]) -> RealNodes:
    """The nodes of a sandbox, with their parts built.

    Raises:
        SandboxError: a part cannot be built.
    """
    return RealNodes(layout, network, plan.nodes(layout, network, count), parts.find(say), gpus_per_node)


def ready(cluster: Cluster, name: str, gpus_per_node: int, since: dt.datetime) -> bool:
    """Whether a node is Ready, with its GPUs, and has said so after `since`, not only in an earlier run."""
    try:
        status = cluster.request("GET", f"/api/v1/nodes/{name}")["status"]
    except (NotFoundError, RefusedError):
        return False
    # Its times are whole seconds. Its Lease would not do: kubelet makes that up to ten seconds after the Node.
    moment = since.replace(microsecond=0)
    well = any(
        each["type"] == "Ready"
        and each["status"] == "True"
        and dt.datetime.fromisoformat(each["lastHeartbeatTime"]) >= moment
        for each in status.get("conditions", ())
    )
    return well and int(status.get("allocatable", {}).get(gpus.RESOURCE, 0)) == gpus_per_node


def clear(layout: Layout) -> None:
    """Remove the cgroups that a killed sandbox left.

    Raises:
        SandboxError: a process in one cannot be killed.
    """
    for node in plan.nodes(layout, plan.network(plan.DEFAULT_NETWORK), plan.MOST_NODES):
        try:
            cgroup.remove(node.group)
        except TimeoutError as error:
            raise SandboxError(f"{error}; end the processes in them by hand") from None


def _paths(group: str) -> list[str]:
    return [str(directory) for directory in cgroup.directories(group)]


def _spec(name: str, module: str, file: Path, stage: int, groups: list[str]) -> Spec:
    args = [sys.executable, "-m", f"quorate_cli.sandbox.nodes.{module}", str(file)]
    return Spec(name, args, stage=stage, env=python_path(), groups=groups, grace=10.0)


def _egress(socket: Path) -> bytes:
    """The API server's ways out: to nodes, webhooks and aggregated servers through the fabric, all else directly."""
    connection = {"proxyProtocol": "HTTPConnect", "transport": {"uds": {"udsName": str(socket)}}}
    content = {
        "apiVersion": "apiserver.k8s.io/v1beta1",
        "kind": "EgressSelectorConfiguration",
        "egressSelections": [{"name": "cluster", "connection": connection}],
    }
    return json.dumps(content, indent=2).encode()
