"""One sandbox as a Python object: what the commands and the tests use."""

import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from quorate_cli.cluster import Cluster
from quorate_cli.sandbox import components, layout, postgres, ready
from quorate_cli.sandbox.bringup import Bringup, Options
from quorate_cli.sandbox.control import Control
from quorate_cli.sandbox.errors import SandboxError
from quorate_cli.sandbox.faults import DEFAULT_SECONDS, Kind
from quorate_cli.sandbox.layout import Layout
from quorate_cli.sandbox.nodes import node
from quorate_cli.sandbox.nodes.plan import DEFAULT_NETWORK
from quorate_cli.sandbox.nodes.running import RunningNode, running
from quorate_cli.sandbox.pki import Authority, kubeconfig
from quorate_cli.sandbox.processes import alive, kill_group, sweep
from quorate_operator.kube.connection import from_file

_DOWN_SECONDS = 60.0


class Sandbox:
    """A running sandbox. Made by `up` or `find`; usable as a context manager that takes it down."""

    def __init__(self, name: str, state_root: Path | None = None) -> None:
        self.name = layout.check_name(name)
        self.layout = Layout((state_root or layout.state_root()).resolve(), name)

    @classmethod
    def up(
        cls,
        name: str = "default",
        *,
        nodes: int = 0,
        gpus_per_node: int = 8,
        operator: bool = True,
        bare: bool = False,
        fast: bool = False,
        node_id: str = "",
        pins: Mapping[str, str] | None = None,
        port: int = 0,
        real_nodes: int = 0,
        node_network: str = DEFAULT_NETWORK,
        state_root: Path | None = None,
        timeout: float = 60.0,
        say: Callable[[str], None] = lambda line: None,
    ) -> Self:
        """Bring a sandbox up and wait until it is ready; one that runs already is returned as it is.

        `bare`: etcd, API server and Postgres only, with CRDs, manifests and migrations; `operator=False`: all but the
        operator; `fast`: nothing is synced to disk (tests). `node_id`: UUID of the hub that the operator is (a new one
        if empty); `pins`: `<meshId>/<domain>` → digest of revision 1; `port` of the API server (0: a free one);
        `real_nodes` that run pods, with addresses of `node_network` (docs/real-nodes.md; none where they cannot run);
        `timeout` in seconds, finding or building the binaries not counted; `say` gets a line per step.

        Raises:
            SandboxError: one sentence; nothing is left running.
        """
        sandbox = cls(name, state_root)
        options = Options(
            nodes=nodes,
            gpus_per_node=gpus_per_node,
            operator=operator and not bare,
            bare=bare,
            fast=fast,
            node_id=node_id,
            pins=dict(pins or {}),
            port=port,
            real_nodes=0 if bare else real_nodes,
            node_network=node_network,
            timeout=timeout,
        )
        with layout.locked(sandbox.layout.lock):
            if not sandbox._is_up():
                Bringup(sandbox.layout, options, say).run()
        return sandbox

    @classmethod
    def find(cls, name: str = "default", *, state_root: Path | None = None) -> Self:
        """The running sandbox of that name.

        Raises:
            SandboxError: there is none.
        """
        sandbox = cls(name, state_root)
        if Control.connect(sandbox.layout.control) is None:
            raise SandboxError(f"no sandbox named {name!r} runs here; start it with: quorate sandbox up --name {name}")
        return sandbox

    def _is_up(self) -> bool:
        """Whether it runs; one that is just going down is waited for, and what a crash left is cleared."""
        control = Control.connect(self.layout.control)
        if control is not None:
            if not control.ask("status")["supervisor"]["stopping"]:
                control.close()
                return True
            control.wait_end(_DOWN_SECONDS)
            control.close()
        self._clear_leftovers()
        return False

    def _clear_leftovers(self) -> None:
        """Kill what a killed supervisor may have left (its guard and the kernel do the same) and wait for its end."""
        state = self.layout.read()
        left = [state.get("supervisor") or {}, *(state.get("components") or {}).values()]
        deadline = time.monotonic() + 10
        for entry in left:
            while alive(entry.get("pid", 0), entry.get("startTime", "")):
                kill_group(entry["pid"])
                if time.monotonic() > deadline:
                    raise SandboxError(f"process {entry['pid']} of an earlier sandbox cannot be killed; end it by hand")
                time.sleep(0.02)
        sweep(postgres.data_directory(self.layout))
        node.clear(self.layout)

    def down(self, *, keep: bool = False) -> None:
        """Stop everything in reverse order and remove the state (`keep`: leave it for the next `up`); idempotent.

        Raises:
            SandboxError: something could not be stopped.
        """
        with layout.locked(self.layout.lock):
            control = Control.connect(self.layout.control)
            if control is not None:
                control.ask("down")
                ended = control.wait_end(_DOWN_SECONDS)
                control.close()
                if not ended:
                    raise SandboxError(f"sandbox {self.name} did not stop within {_DOWN_SECONDS:g} s; run it again")
            self._clear_leftovers()
            if not keep:
                self.layout.remove()

    def status(self) -> dict[str, Any]:
        """What the supervisor knows: ports, DSNs, components with state, pid, restarts."""
        return self._ask("status")

    @property
    def kubeconfig(self) -> Path:
        """Kubeconfig of the cluster's administrator."""
        return self.layout.state / "kubeconfig"

    @property
    def operator_kubeconfig(self) -> Path:
        """Kubeconfig of the user `quorate-operator`, with only the rights of the manifests."""
        return self.layout.state / "operator.kubeconfig"

    @property
    def node_id(self) -> str:
        """UUID of the hub that the operator is."""
        return str(self.layout.read()["nodeId"])

    @property
    def log_keys(self) -> Path:
        """Directory of the C2SP signer keys that the operator reads."""
        return self.layout.state / "log-keys"

    @property
    def heartbeats(self) -> Path:
        """Directory whose `*.json` files name the example nodes that heartbeat (`heartbeats.py`)."""
        return self.layout.state / "heartbeats"

    def dsn(self, role: str = postgres.SUPERUSER) -> str:
        """Connection string of database `quorate` as this Postgres role (`postgres`: the superuser)."""
        return postgres.dsn(self.layout, role)

    def admin(self) -> Cluster:
        """A new client with the administrator's rights."""
        return Cluster(from_file(self.kubeconfig), source=str(self.kubeconfig))

    def client_kubeconfig(self, user: str, groups: tuple[str, ...] = ()) -> Path:
        """A kubeconfig with a new client certificate for any user and groups."""
        authority = Authority.open(self.layout.pki, "ca")
        path = self.layout.state / f"client-{os.urandom(6).hex()}.kubeconfig"
        server = f"https://127.0.0.1:{self.layout.read()['ports']['apiserver']}"
        content = kubeconfig(server, authority, user, authority.issue(user, groups), f"quorate-{self.name}")
        layout.write_atomically(path, content)
        return path

    def real_nodes(self) -> list[RunningNode]:
        """The nodes that run pods; empty where none were asked for, or the machine cannot have them."""
        return running(self.status())

    def fault(self, kind: Kind, name: str = "", *, gpu: str = "", seconds: float = DEFAULT_SECONDS) -> None:
        """Let something fail; it heals by itself after `seconds` (docs/faults.md).

        `name`: the real node, empty for `Kind.API_STOP`; `gpu`: for `Kind.GPU_LOST`, the beginning of its id.

        Raises:
            SandboxError: there is no such thing, it does not run, or it fails already.
        """
        self._ask("fault", kind=kind, name=name, gpu=gpu, seconds=seconds)

    def heal(self, name: str = "") -> None:
        """End the faults of a node, GPU or `apiserver` before their time; all if empty.

        Raises:
            SandboxError: it has none.
        """
        self._ask("heal", name=name)

    def faults(self) -> list[dict[str, Any]]:
        """What fails now: `kind`, `name`, `gpu` and `until` in Unix seconds (`faults.remaining`)."""
        return list(self.status()["faults"])

    def pid(self, component: str) -> int:
        """Process id of a running component; 0 while it is not running."""
        return int(self._component(component)["pid"])

    def kill(self, component: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal; what dies of it is started again by the supervisor, with back-off."""
        self._ask("kill", name=component, signal=int(number))

    def stop(self, component: str, number: signal.Signals | None = None, timeout: float = 20.0) -> None:
        """Stop a component and keep it stopped until `start`; returns when its process is gone.

        `number`: the signal; its own way of stopping by default.
        """
        self._ask("stop", name=component, signal=None if number is None else int(number))
        ready.until(lambda: self._component(component)["pid"] == 0, timeout, f"{component} does not stop")

    def start(self, component: str) -> None:
        """Start a stopped component; returns when its process runs (see `wait`)."""
        self._ask("start", name=component)

    def wait(self, component: str, timeout: float = 30.0) -> None:
        """Wait until a component answers as ready.

        Raises:
            SandboxError: it does not within `timeout` seconds.
        """
        check = ready.check(component, self.layout, self.layout.read()["ports"])
        ready.until(check, timeout, f"{component} is not ready after {timeout:g} s")

    def pin(self, pins: Mapping[str, str]) -> None:
        """Add pins and restart the operator with them, gracefully."""
        state = self.status()
        merged = {**state["pins"], **pins}
        self.stop("operator")
        self._ask("set", values={"pins": merged})
        plan = components.Plan(self.layout, {}, state["ports"], fast=False)
        spec = components.operator(plan, node_id=state["nodeId"], dsn=state["operatorDsn"], pins=merged)
        control = self._connected()
        control.start(spec)
        control.close()

    def _component(self, name: str) -> dict[str, Any]:
        found = self.status()["components"].get(name)
        if found is None:
            raise SandboxError(f"sandbox {self.name} runs no {name!r}")
        return dict(found)

    def _connected(self) -> Control:
        control = Control.connect(self.layout.control)
        if control is None:
            raise SandboxError(
                f"sandbox {self.name} is not running; start it with: quorate sandbox up --name {self.name}"
            )
        return control

    def _ask(self, do: str, **more: Any) -> dict[str, Any]:
        control = self._connected()
        try:
            return control.ask(do, **more)
        finally:
            control.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.down()
