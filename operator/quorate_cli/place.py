"""Where cluster and database are: flags, environment, or a sandbox on this machine.

Order for the kubeconfig: `--kubeconfig`, `--sandbox`, `KUBECONFIG`, `QUORATE_SANDBOX`, `~/.kube/config`, in a Pod its
ServiceAccount. The database: `--dsn`, `--sandbox`, `QUORATE_DSN`, `QUORATE_SANDBOX`, then the sandbox to which the
kubeconfig belongs.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quorate_cli.cluster import Cluster
from quorate_cli.output import BadInputError
from quorate_operator.kube.connection import KubeconfigError, from_file, in_cluster

STATE_FILE = "sandbox.json"
READER = "quorate_read"
"""The role that `audit` reads as in a sandbox."""
KEEPER = "quorate_operator"
"""The role that prunes and erases in a sandbox."""


def sandbox_directory(name: str) -> Path:
    """The state directory of a sandbox."""
    from quorate_cli.sandbox.layout import state_root  # noqa: PLC0415 - only where a sandbox is meant

    return state_root() / name


def _sandbox_file(name: str, file: str) -> Path:
    path = sandbox_directory(name) / file
    if not path.exists():
        raise BadInputError(f"sandbox {name!r} does not exist: {path} is missing; `quorate sandbox up --name {name}`")
    return path


def find_kubeconfig(kubeconfig: str | None, sandbox: str | None, env: Mapping[str, str] = os.environ) -> Path:
    """The kubeconfig to use; BadInputError if none is given and none is found."""
    if kubeconfig:
        return Path(kubeconfig)
    if sandbox:
        return _sandbox_file(sandbox, "kubeconfig")
    if listed := [part for part in env.get("KUBECONFIG", "").split(os.pathsep) if part]:
        return Path(listed[0])
    if env.get("QUORATE_SANDBOX"):
        return _sandbox_file(env["QUORATE_SANDBOX"], "kubeconfig")
    default = Path.home() / ".kube" / "config"
    if default.exists():
        return default
    raise BadInputError("no cluster: give --kubeconfig FILE or --sandbox NAME, or set KUBECONFIG")


def connect(kubeconfig: str | None = None, sandbox: str | None = None) -> Cluster:
    """The cluster of the current context.

    Raises:
        BadInputError: the kubeconfig does not exist or cannot be used.
    """
    try:
        path = find_kubeconfig(kubeconfig, sandbox)
    except BadInputError:
        if sandbox or "KUBERNETES_SERVICE_HOST" not in os.environ:
            raise
        return _in_pod()
    try:
        return Cluster(from_file(path), namespace=_namespace(path), source=str(path))
    except (KubeconfigError, OSError, ValueError, KeyError) as error:
        raise BadInputError(str(error)) from error


def _in_pod() -> Cluster:
    """With the ServiceAccount of the Pod that this runs in."""
    try:
        return Cluster(in_cluster(os.environ), source="the Pod's ServiceAccount")
    except (KubeconfigError, OSError) as error:
        raise BadInputError(str(error)) from error


def _namespace(path: Path) -> str:
    from ruamel.yaml import YAML  # noqa: PLC0415 - slow to import

    config: dict[str, Any] = YAML(typ="safe", pure=True).load(path.read_text())
    for context in config.get("contexts") or ():
        if context.get("name") == config.get("current-context"):
            return str((context.get("context") or {}).get("namespace") or "default")
    return "default"


def find_dsn(
    dsn: str | None,
    sandbox: str | None,
    kubeconfig: str | None = None,
    env: Mapping[str, str] = os.environ,
    *,
    role: str = READER,
) -> str:
    """The connection string of the log's database, in a sandbox for this role; BadInputError if there is none."""
    if dsn:
        return dsn
    if not sandbox and env.get("QUORATE_DSN"):
        return env["QUORATE_DSN"]
    name = sandbox or env.get("QUORATE_SANDBOX")
    if name:
        return _sandbox_dsn(_sandbox_file(name, STATE_FILE), role)
    state = _beside_kubeconfig(kubeconfig, env)
    if state is not None:
        return _sandbox_dsn(state, role)
    raise BadInputError("no database: give --dsn or --sandbox NAME, or set QUORATE_DSN")


def _beside_kubeconfig(kubeconfig: str | None, env: Mapping[str, str]) -> Path | None:
    try:
        state = find_kubeconfig(kubeconfig, None, env).parent / STATE_FILE
    except BadInputError:
        return None
    return state if state.exists() else None


def find_log_keys(
    folder: str | None, sandbox: str | None, kubeconfig: str | None = None, env: Mapping[str, str] = os.environ
) -> Path:
    """The directory of the log's private keys and the intake key; BadInputError if there is none."""
    if folder:
        return Path(folder)
    if not sandbox and env.get("QUORATE_LOG_KEYS"):
        return Path(env["QUORATE_LOG_KEYS"])
    name = sandbox or env.get("QUORATE_SANDBOX")
    state = _sandbox_file(name, STATE_FILE) if name else _beside_kubeconfig(kubeconfig, env)
    if state is None:
        raise BadInputError("no intake key: give --log-keys DIR or --sandbox NAME, or set QUORATE_LOG_KEYS")
    return state.parent / "log-keys"


def _sandbox_dsn(state: Path, role: str) -> str:
    from quorate_cli.sandbox.layout import Layout  # noqa: PLC0415
    from quorate_cli.sandbox.postgres import dsn  # noqa: PLC0415

    return dsn(Layout(state.parent.parent, state.parent.name), role)
