"""One sandbox as a Python object: what the commands and the tests use."""

import signal
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from quorate_cli.cluster import Cluster


class Sandbox:
    """A running sandbox. Made by `up` or `find`; usable as a context manager that takes it down."""

    def __init__(self, name: str, state: Path) -> None:
        self.name = name
        self.state = state
        """Directory of everything that this sandbox keeps."""

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
        state_root: Path | None = None,
        timeout: float = 60.0,
    ) -> Self:
        """Bring a sandbox up and wait until it is ready; one that runs already is returned as it is.

        `bare`: etcd, API server and Postgres only, with CRDs, manifests and migrations; `operator=False`: all but the
        operator; `fast`: etcd does not fsync (tests). `node_id`: UUID of the hub that the operator is (a new one if
        empty); `pins`: `<meshId>/<domain>` → digest of revision 1; `port` of the API server (0: a free one);
        `timeout` in seconds, building the binaries not counted.

        Raises:
            SandboxError: one sentence; nothing is left running.
        """
        raise NotImplementedError

    @classmethod
    def find(cls, name: str = "default", *, state_root: Path | None = None) -> Self:
        """The running sandbox of that name.

        Raises:
            SandboxError: there is none.
        """
        raise NotImplementedError

    def down(self, *, keep: bool = False) -> None:
        """Stop everything in reverse order and remove the state (`keep`: leave it for the next `up`); idempotent."""
        raise NotImplementedError

    @property
    def kubeconfig(self) -> Path:
        """Kubeconfig of the cluster's administrator."""
        raise NotImplementedError

    @property
    def operator_kubeconfig(self) -> Path:
        """Kubeconfig of the user `quorate-operator`, with only the rights of the manifests."""
        raise NotImplementedError

    @property
    def node_id(self) -> str:
        """UUID of the hub that the operator is."""
        raise NotImplementedError

    def dsn(self, role: str = "postgres") -> str:
        """Connection string of database `quorate` as this Postgres role (`postgres`: the superuser)."""
        raise NotImplementedError

    def admin(self) -> Cluster:
        """A client with the administrator's rights."""
        raise NotImplementedError

    def client_kubeconfig(self, user: str, groups: tuple[str, ...] = ()) -> Path:
        """A kubeconfig with a new client certificate for any user and groups."""
        raise NotImplementedError

    def pid(self, component: str) -> int:
        """Process id of a running component; 0 while it is not running."""
        raise NotImplementedError

    def kill(self, component: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal; what dies of it is started again by the supervisor, with back-off."""
        raise NotImplementedError

    def stop(self, component: str, number: signal.Signals = signal.SIGTERM) -> None:
        """Stop a component and keep it stopped until `start`; returns when its process is gone."""
        raise NotImplementedError

    def start(self, component: str) -> None:
        """Start a stopped component; returns when its process runs (see `wait`)."""
        raise NotImplementedError

    def wait(self, component: str, timeout: float = 30.0) -> None:
        """Wait until a component answers as ready."""
        raise NotImplementedError

    def pin(self, pins: Mapping[str, str]) -> None:
        """Add pins and restart the operator with them, gracefully."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.down()
