"""Bringing a sandbox up, step by step; if a step fails or this process ends, everything goes down again."""

import datetime as dt
import errno
import functools
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from quorate_cli.cluster import Cluster
from quorate_cli.output import CliError
from quorate_cli.sandbox import binaries, components, install, pki, postgres, ready
from quorate_cli.sandbox.components import Plan
from quorate_cli.sandbox.control import Control
from quorate_cli.sandbox.errors import SandboxError
from quorate_cli.sandbox.layout import Layout, check_free, free_ports, write_atomically
from quorate_cli.sandbox.nodes import host, node
from quorate_cli.sandbox.nodes.plan import DEFAULT_NETWORK, network
from quorate_cli.sandbox.supervisor import Spec
from quorate_operator.kube.connection import from_file
from quorate_operator.store import migrate

_USERS = {
    "admin": ("system:masters",),
    "system:kube-controller-manager": (),
    "system:kube-scheduler": (),
    "kwok": (),
    "quorate-operator": (),
}
"""Client certificates: user → groups. Only the administrator is above RBAC."""


@dataclass(frozen=True, slots=True)
class Options:
    """What `up` was asked for; see `Sandbox.up`."""

    nodes: int = 0
    gpus_per_node: int = 8
    operator: bool = True
    bare: bool = False
    fast: bool = False
    node_id: str = ""
    pins: dict[str, str] = field(default_factory=dict)
    port: int = 0
    real_nodes: int = 0
    node_network: str = DEFAULT_NETWORK
    timeout: float = 60.0


class Bringup:
    """One attempt."""

    def __init__(self, layout: Layout, options: Options, say: Callable[[str], None]) -> None:
        self._layout = layout
        self._options = options
        self._say = say
        self._deadline = 0.0
        self._control: Control | None = None

    def run(self) -> None:
        """Bring it up.

        Raises:
            SandboxError: one sentence; everything that was started is down again.
        """
        options = self._options
        if options.port:
            check_free(options.port)
        names = (*binaries.CONTROL_PLANE, *(() if options.bare else binaries.CONTROLLERS))
        found = binaries.find(names, say=self._say)
        real = self._real_nodes()
        self._deadline = time.monotonic() + options.timeout
        kept = self._prepare_state(real)
        ports = free_ports() | ({"apiserver": options.port} if options.port else {})
        plan = Plan(self._layout, found, ports, options.fast, real, options.nodes)
        self._control = Control.launch(self._layout)
        try:
            self._values(plan, kept)
            self._start_all(plan)
            self._control.ask("set", values={"ready": True})
            self._control.ask("detach")
        except BaseException:
            self._abandon()
            raise
        self._control.close()

    def _abandon(self) -> None:
        assert self._control is not None
        self._say("taking everything down again")
        try:
            self._control.ask("down")
            self._control.wait_end(60)
        except CliError:
            pass
        finally:
            self._control.close()

    def _real_nodes(self) -> node.RealNodes | None:
        """The real nodes that were asked for; none, and a sentence, where the machine cannot have them."""
        options = self._options
        if not options.real_nodes:
            return None
        if reason := host.unavailable():
            self._say(f"no real nodes: {reason}; everything else goes on with simulated ones")
            return None
        addresses = network(options.node_network, taken=(*host.ranges(), components.SERVICE_RANGE))
        return node.prepare(self._layout, options.real_nodes, options.gpus_per_node, addresses, self._say)

    def _prepare_state(self, real: node.RealNodes | None) -> dict[str, object]:
        """Directories and certificates; what an attempt that never became ready left is removed first."""
        kept = self._layout.read()
        try:
            if not kept.get("ready"):
                self._layout.remove()
                kept = {}
            self._layout.make()
            self._certificates((real.network.gateway,) if real else ())
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise SandboxError(f"the disk of {self._layout.root} is full; free some and run it again") from None
            raise SandboxError(f"{error.filename or self._layout.root}: {error.strerror}") from None
        return kept

    def _certificates(self, hosts: tuple[str, ...]) -> None:
        directory = self._layout.pki
        authority, store = pki.Authority.open(directory, "ca"), pki.Authority.open(directory, "etcd-ca")
        pki.write_pair(
            directory, "apiserver", authority.issue("kube-apiserver", hosts=(*components.SERVICE_HOSTS, *hosts))
        )
        pki.write_pair(directory, "etcd", store.issue("etcd", hosts=("127.0.0.1", "localhost")))
        pki.write_pair(directory, "etcd-client", store.issue("kube-apiserver"))
        pki.service_account_key(directory)

    def _kubeconfigs(self, plan: Plan) -> None:
        authority = pki.Authority.open(self._layout.pki, "ca")
        places = {
            "admin": self._layout.state / "kubeconfig",
            "quorate-operator": self._layout.state / "operator.kubeconfig",
        }
        for user, groups in _USERS.items():
            pair = authority.issue(user, groups)
            short = user.removeprefix("system:kube-")
            pki.write_pair(self._layout.pki, short, pair)
            content = pki.kubeconfig(plan.url("apiserver"), authority, user, pair, f"quorate-{self._layout.name}")
            write_atomically(places.get(user, self._layout.pki / f"{short}.kubeconfig"), content)

    def _values(self, plan: Plan, kept: dict[str, object]) -> None:
        assert self._control is not None
        self._kubeconfigs(plan)
        if plan.real:
            authority = pki.Authority.open(self._layout.pki, "ca")
            plan.real.write(authority, plan.ports["apiserver"], components.SERVICE_ADDRESS)
        pins = kept.get("pins")
        roles = (postgres.SUPERUSER, install.OPERATOR_ROLE, *migrate.ROLES)
        self._control.ask(
            "set",
            values={
                "name": self._layout.name,
                "ready": bool(kept.get("ready")),
                "ports": dict(plan.ports),
                "kubeconfig": str(self._layout.state / "kubeconfig"),
                "nodeId": self._options.node_id or kept.get("nodeId") or str(uuid.uuid4()),
                "pins": {**(pins if isinstance(pins, dict) else {}), **self._options.pins},
                "dsns": {role: postgres.dsn(self._layout, role) for role in roles},
                "operatorDsn": postgres.dsn(self._layout, install.OPERATOR_ROLE),
                "realNodes": plan.real.shown() if plan.real else [],
                "binaries": {name: str(path) for name, path in plan.binaries.items()},
            },
        )

    def _start_all(self, plan: Plan) -> None:
        # Each step starts what the next ones need, and waits only for what it needs itself.
        began = dt.datetime.now(dt.UTC)
        self._start(components.etcd(plan))
        self._start(components.apiserver(plan))
        if plan.real:
            self._start(plan.real.fabric_spec())
        postgres.initialise(self._layout)
        self._start(postgres.spec(self._layout, fast=plan.fast))
        self._ready("postgres", plan)
        install.install_database(self._layout)
        self._ready("apiserver", plan)
        controllers = (
            () if self._options.bare else (components.controller_manager, components.scheduler, components.kwok)
        )
        cluster = Cluster(from_file(self._layout.state / "kubeconfig"))
        if controllers:
            install.install_kwok_rights(cluster)
        for each in controllers:
            self._start(each(plan))
        for spec in plan.real.specs() if plan.real else ():
            self._start(spec)
        self._say("installing the resources")
        install.install_resources(cluster, self._deadline)
        if controllers:
            install.create_nodes(cluster, self._options.nodes, self._options.gpus_per_node)
        if self._options.operator:
            self._start_operator(plan)
        for name in ("controller-manager", "scheduler", "kwok") if controllers else ():
            self._ready(name, plan)
        if self._options.operator:
            self._ready("operator", plan)
        for real in plan.real.nodes if plan.real else ():
            self._until(
                real.component, functools.partial(node.ready, cluster, real.name, self._options.gpus_per_node, began)
            )
        cluster.close()

    def _start_operator(self, plan: Plan) -> None:
        assert self._control is not None
        state = self._control.ask("status")
        spec = components.operator(plan, node_id=state["nodeId"], dsn=state["operatorDsn"], pins=state["pins"])
        self._start(spec)
        self._start(components.heartbeats(plan))

    def _start(self, spec: Spec) -> None:
        assert self._control is not None
        self._say(f"starting {spec.name}")
        self._control.start(spec)

    def _ready(self, name: str, plan: Plan) -> None:
        """Wait for a component; any component that gives up meanwhile ends the wait with its own words."""
        self._until(name, ready.check(name, self._layout, plan.ports))

    def _until(self, name: str, check: ready.Check) -> None:
        def ready_or_dead() -> bool:
            self._raise_if_crashed()
            return check()

        left = max(0.0, self._deadline - time.monotonic())
        log = self._layout.logs / f"{name}.log"
        ready.until(ready_or_dead, left, f"{name} is not ready after {self._options.timeout:g} s; see {log}")

    def _raise_if_crashed(self) -> None:
        assert self._control is not None
        for name, component in self._control.ask("status")["components"].items():
            # Whatever restarts while its dependencies come up is given its second chance, but not a third.
            if component["restarts"] >= (1 if name in ("etcd", "postgres", "apiserver") else 3):
                raise SandboxError(crash_sentence(self._layout, name, component["exitCode"]))


def crash_sentence(layout: Layout, name: str, code: int | None) -> str:
    """Why a component does not stay up, in its own last words."""
    path = layout.logs / f"{name}.log"
    text = path.read_text(errors="replace") if path.exists() else ""
    if "no space left on device" in text.lower():
        return f"the disk of {layout.state} is full ({name} stopped); free some and run it again"
    if "address already in use" in text.lower():
        return f"{name} found its port taken by another process; run it again and other ports are taken (log: {path})"
    ended = f"ended with {code}" if code is not None else "crashed"
    return f"{name} {ended} while starting: {postgres.last_line(text)[:300]} (log: {path})"
