"""One real control plane and Postgres for the whole session; a namespace of its own for each test."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from quorate_cli.sandbox.instance import Sandbox


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
