"""The command line of every component of the control plane. Everything listens on 127.0.0.1 alone."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from quorate_cli.sandbox.control import python_path
from quorate_cli.sandbox.layout import MACHINE_KEY, Layout
from quorate_cli.sandbox.nodes.node import RealNodes
from quorate_cli.sandbox.nodes.plan import LABEL
from quorate_cli.sandbox.supervisor import Spec

SERVICE_RANGE = "10.0.0.0/24"
SERVICE_ADDRESS = "10.0.0.1"
SERVICE_HOSTS = ("127.0.0.1", "localhost", SERVICE_ADDRESS, "kubernetes", "kubernetes.default.svc")
OPERATOR_LEASE_SECONDS = 3
"""Short, so that a killed operator is replaced soon (issue: lease + 5 s)."""
_MOST_QUICK = 300
"""Simulated nodes that can renew their Leases often beside all else: a hundred requests a second."""
STAGES = Path(__file__).with_name("kwok-stages.yaml")


@dataclass(frozen=True, slots=True)
class Plan:
    """What the command lines are made from."""

    layout: Layout
    binaries: Mapping[str, Path]
    ports: Mapping[str, int]
    fast: bool
    real: RealNodes | None = None
    simulated: int = 0
    """How many nodes kwok plays."""

    def pki(self, name: str) -> str:
        """Path of a file of the control plane's certificates."""
        return str(self.layout.pki / name)

    def kubeconfig(self, user: str) -> str:
        """Path of a component's kubeconfig."""
        return str(self.layout.pki / f"{user}.kubeconfig")

    @property
    def quick(self) -> bool:
        """Whether a node that is silent is soon seen: beside real nodes, but not if too many say that they live."""
        return self.real is not None and self.simulated <= _MOST_QUICK

    def url(self, name: str) -> str:
        """Https address of a component."""
        return f"https://127.0.0.1:{self.ports[name]}"


def etcd(plan: Plan) -> Spec:
    """Etcd with client certificates of its own authority."""
    client, peer = plan.url("etcd"), plan.url("etcd-peer")
    args = [
        str(plan.binaries["etcd"]),
        "--name=sandbox",
        f"--data-dir={plan.layout.state / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=sandbox={peer}",
        f"--cert-file={plan.pki('etcd.crt')}",
        f"--key-file={plan.pki('etcd.key')}",
        f"--trusted-ca-file={plan.pki('etcd-ca.crt')}",
        "--client-cert-auth",
        f"--peer-cert-file={plan.pki('etcd.crt')}",
        f"--peer-key-file={plan.pki('etcd.key')}",
        f"--peer-trusted-ca-file={plan.pki('etcd-ca.crt')}",
        "--peer-client-cert-auth",
        "--log-level=warn",
    ]
    return Spec("etcd", args + (["--unsafe-no-fsync"] if plan.fast else []), stage=0)


def apiserver(plan: Plan) -> Spec:
    """The API server: TLS, client certificates and ServiceAccount tokens, RBAC, no anonymous requests."""
    key = plan.pki("service-account.key")
    args = [
        str(plan.binaries["kube-apiserver"]),
        "--bind-address=127.0.0.1",
        f"--secure-port={plan.ports['apiserver']}",
        f"--cert-dir={plan.layout.pki}",
        f"--tls-cert-file={plan.pki('apiserver.crt')}",
        f"--tls-private-key-file={plan.pki('apiserver.key')}",
        f"--client-ca-file={plan.pki('ca.crt')}",
        f"--etcd-servers={plan.url('etcd')}",
        f"--etcd-cafile={plan.pki('etcd-ca.crt')}",
        f"--etcd-certfile={plan.pki('etcd-client.crt')}",
        f"--etcd-keyfile={plan.pki('etcd-client.key')}",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--anonymous-auth=false",
        # Our address is a loopback, which no Endpoints object may hold.
        "--endpoint-reconciler-type=none",
        "--profiling=false",
        *(plan.real.apiserver_arguments() if plan.real else ()),
    ]
    return Spec("apiserver", args, stage=1, grace=8.0)


def controller_manager(plan: Plan) -> Spec:
    """kube-controller-manager, each controller with its own ServiceAccount."""
    config = plan.kubeconfig("controller-manager")
    args = [
        str(plan.binaries["kube-controller-manager"]),
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        "--bind-address=127.0.0.1",
        f"--secure-port={plan.ports['controller-manager']}",
        f"--cert-dir={plan.layout.pki / 'controller-manager'}",
        f"--service-account-private-key-file={plan.pki('service-account.key')}",
        f"--root-ca-file={plan.pki('ca.crt')}",
        "--use-service-account-credentials",
        "--leader-elect=false",
        # Of a silent node; five missed renewals of kubelet's Lease (`nodes/config.py`), three of kwok's.
        *(("--node-monitor-period=1s", "--node-monitor-grace-period=10s") if plan.quick else ()),
    ]
    return Spec("controller-manager", args, stage=2)


def scheduler(plan: Plan) -> Spec:
    """kube-scheduler."""
    config = plan.kubeconfig("scheduler")
    args = [
        str(plan.binaries["kube-scheduler"]),
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        "--bind-address=127.0.0.1",
        f"--secure-port={plan.ports['scheduler']}",
        f"--cert-dir={plan.layout.pki / 'scheduler'}",
        "--leader-elect=false",
    ]
    return Spec("scheduler", args, stage=2)


def kwok(plan: Plan) -> Spec:
    """kwok, which plays the kubelet of every node by the stages in `kwok-stages.yaml`."""
    args = [
        str(plan.binaries["kwok"]),
        f"--kubeconfig={plan.kubeconfig('kwok')}",
        f"--config={STAGES}",
        f"--manage-nodes-with-label-selector=!{LABEL}" if plan.real else "--manage-all-nodes=true",
        "--node-ip=127.0.0.1",
        f"--node-lease-duration-seconds={12 if plan.quick else 40}",
        f"--server-address=127.0.0.1:{plan.ports['kwok']}",
    ]
    return Spec("kwok", args, stage=2)


def operator(plan: Plan, *, node_id: str, dsn: str, pins: Mapping[str, str]) -> Spec:
    """The operator of this checkout, with the rights of the manifests and no others."""
    args = [
        sys.executable,
        "-m",
        "quorate_operator",
        f"--node-id={node_id}",
        f"--kubeconfig={plan.layout.state / 'operator.kubeconfig'}",
        f"--log-keys={plan.layout.state / 'log-keys'}",
        f"--machine-key={plan.layout.state / MACHINE_KEY}",
        "--checkpoint-seconds=5",
        f"--lease-seconds={OPERATOR_LEASE_SECONDS}",
        f"--http=127.0.0.1:{plan.ports['operator']}",
        *(f"--pin={domain}={digest}" for domain, digest in sorted(pins.items())),
    ]
    return Spec("operator", args, stage=3, env={**python_path(), "QUORATE_DSN": dsn}, grace=10.0)


def heartbeats(plan: Plan) -> Spec:
    """The signed heartbeats of the example nodes (`heartbeats.py`)."""
    args = [
        sys.executable,
        "-m",
        "quorate_cli.sandbox.heartbeats",
        str(plan.layout.state / "heartbeats"),
        str(plan.layout.state / "kubeconfig"),
    ]
    return Spec("heartbeats", args, stage=3, env=python_path())
