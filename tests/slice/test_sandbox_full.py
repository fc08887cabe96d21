"""The whole sandbox: controllers, simulated GPUs, operator."""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from quorate_cli.sandbox.instance import Sandbox
from quorate_operator.store.migrate import ROLES


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox with everything in it."""
    with Sandbox.up("full", nodes=2, gpus_per_node=4, fast=True, state_root=tmp_path_factory.mktemp("full")) as running:
        yield running


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.05)


def test_a_pod_gets_a_simulated_gpu(full: Sandbox) -> None:
    """Scheduler, controllers and kwok work together: a pod that asks for a GPU runs on a node that has one."""
    admin = full.admin()

    def ready() -> bool:
        nodes = admin.request("GET", "/api/v1/nodes")["items"]
        return len(nodes) == 2 and all(
            any(each["type"] == "Ready" and each["status"] == "True" for each in node["status"].get("conditions", ()))
            for node in nodes
        )

    wait_for(ready)
    account = "/api/v1/namespaces/default/serviceaccounts"
    wait_for(lambda: any(each["metadata"]["name"] == "default" for each in admin.request("GET", account)["items"]))
    resources = {"limits": {"nvidia.com/gpu": "1"}}
    spec = {"containers": [{"name": "job", "image": "example.org/job:1", "resources": resources}]}
    pods = "/api/v1/namespaces/default/pods"
    admin.request("POST", pods, body={"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "job"}, "spec": spec})
    wait_for(lambda: admin.request("GET", f"{pods}/job")["status"]["phase"] == "Running")
    assert admin.request("GET", f"{pods}/job")["spec"]["nodeName"].startswith("gpu-node-")


def test_a_killed_operator_comes_back(full: Sandbox) -> None:
    """The supervisor starts a killed operator again, and it gets ready."""
    before = full.pid("operator")
    full.kill("operator", signal.SIGKILL)
    wait_for(lambda: full.pid("operator") not in (0, before))
    full.wait("operator")
    assert full.status()["components"]["operator"]["restarts"] >= 1


def test_new_pins_reach_the_operator(full: Sandbox) -> None:
    """`pin` restarts the operator with the pin on its command line, and keeps it for the next `up`."""
    digest = "sha256:" + "ab" * 32
    full.pin({"mesh/domain": digest})
    full.wait("operator")
    command = Path(f"/proc/{full.pid('operator')}/cmdline").read_bytes().decode()
    assert f"--pin=mesh/domain={digest}" in command
    assert full.status()["pins"] == {"mesh/domain": digest}


@pytest.mark.parametrize("role", [*ROLES, "quorate_operator", "postgres"])
def test_every_role_can_log_in(full: Sandbox, role: str) -> None:
    """There is a connection string for each role of the schema."""
    with psycopg.connect(full.dsn(role)) as connection:
        assert connection.execute("SELECT current_user").fetchone() == (role,)
