"""One real control plane and Postgres for the whole session; a namespace of its own for each test."""

import json
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from quorate_cli.main import run
from quorate_cli.sandbox.instance import Sandbox
from quorate_cli.sandbox.nodes import host
from tests.slice.real_nodes import build_image


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """etcd, API server and Postgres, CRDs, manifests and migrations applied; no controllers, no operator."""
    root: Path = tmp_path_factory.mktemp("sandboxes")
    with Sandbox.up(f"test-{os.getpid()}", bare=True, fast=True, state_root=root) as running:
        yield running


@pytest.fixture
def namespace(sandbox: Sandbox) -> str:
    """A new namespace; left to the sandbox's end, since no controller would remove it."""
    name = f"t-{uuid.uuid4().hex[:12]}"
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    sandbox.admin().request("POST", "/api/v1/namespaces", body=manifest)
    return name


@pytest.fixture(scope="session")
def real_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Controllers, one simulated node and two that run pods, with `tests.slice.real_nodes.IMAGE`; no operator."""
    if reason := host.unavailable():
        pytest.skip(f"no real nodes: {reason}")
    root: Path = tmp_path_factory.mktemp("real")
    archive = build_image(root)
    with Sandbox.up(
        f"real-{os.getpid()}", nodes=1, real_nodes=2, gpus_per_node=2, operator=False, fast=True,
        state_root=root / "state", timeout=120,
    ) as running:  # fmt: skip
        for node in running.real_nodes():
            node.load(archive)
        yield running


Said = Callable[..., tuple[int, str, str]]


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[Sandbox], Said]:
    """For a sandbox: `quorate(…)` → exit code, standard output, standard error; the cluster is the sandbox."""

    def on(running: Sandbox) -> Said:
        monkeypatch.setenv("KUBECONFIG", str(running.kubeconfig))
        for name in ("QUORATE_SANDBOX", "QUORATE_DSN", "SSH_AUTH_SOCK"):
            monkeypatch.delenv(name, raising=False)

        def call(*arguments: object) -> tuple[int, str, str]:
            capsys.readouterr()
            code = run([str(argument) for argument in arguments])
            captured = capsys.readouterr()
            return code, captured.out, captured.err

        return call

    return on


@pytest.fixture
def answers(commands: Callable[[Sandbox], Said]) -> Callable[[Sandbox], Callable[..., object]]:
    """For a sandbox: `quorate(…)` → standard output, parsed where it is JSON; the command must succeed."""

    def on(running: Sandbox) -> Callable[..., object]:
        say = commands(running)

        def call(*arguments: object) -> object:
            code, out, err = say(*arguments)
            assert code == 0, err
            return json.loads(out) if "json" in arguments else out

        return call

    return on
