"""Faults of real nodes, as Kubernetes shows them; each heals by itself (docs/faults.md)."""

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from quorate_cli.sandbox.control import python_path
from quorate_cli.sandbox.errors import SandboxError
from quorate_cli.sandbox.faults import Kind
from quorate_cli.sandbox.instance import Sandbox
from quorate_cli.sandbox.nodes import gpus
from tests.slice.real_nodes import Kubectl, namespace, pod, ready, wait_for

NODE, OTHER = "real-1", "real-2"
SECONDS = 16
"""Long enough for Ready to become Unknown, which takes ten seconds."""
# A whole number each second: what the pod lived through.
CLOCK = "while :; do cut -d. -f1 /proc/uptime; sleep 0.5; done"


@pytest.fixture
def on(real_nodes: Sandbox) -> Iterator[Kubectl]:
    """A kubectl in a namespace of the test's own; nothing fails any more afterwards."""
    with namespace(real_nodes) as kubectl:
        yield kubectl
        real_nodes.heal()
        real_nodes.wait("apiserver", 60)
        for node in (NODE, OTHER):
            back(real_nodes, kubectl, node)


def runs(on: Kubectl, name: str, node: str, *command: str) -> str:
    """Start a pod on a node; the id of its container once it runs."""
    on.apply(pod(name, *command, nodeName=node))
    wait_for(lambda: on.phase(name) == "Running", f"pod {name} runs")
    return str(container(on, name)["containerID"])


def container(on: Kubectl, name: str) -> Any:
    """What the status of a pod says of its container."""
    return on.get("pod", name)["status"]["containerStatuses"][0]


def lost(on: Kubectl, node: str) -> None:
    """Wait until a node is Ready Unknown."""
    wait_for(lambda: ready(on, node) == "Unknown", f"{node} is Ready Unknown")


def back(real_nodes: Sandbox, on: Kubectl, node: str) -> None:
    """Wait until the fault of a node is over, and it is Ready."""
    wait_for(lambda: node not in {each["name"] for each in real_nodes.faults()}, f"the fault of {node} ends")
    wait_for(lambda: ready(on, node) == "True", f"{node} is Ready again", 60)


def longest_gap(on: Kubectl, name: str) -> int:
    """The most seconds that a pod which runs CLOCK did not live through."""
    seen = [int(line) for line in on("logs", name).split()]
    return max(later - earlier for earlier, later in itertools.pairwise(seen))


def test_node_stop(real_nodes: Sandbox, on: Kubectl) -> None:
    """A node without power is Ready Unknown; it starts again, though the command was killed, and so do its pods."""
    before = runs(on, "steady", NODE, "sleep", "1000")
    arguments = ["sandbox", "fault", "node-stop", NODE, "--for", f"{SECONDS}s", "--name", real_nodes.name]
    environment = os.environ | python_path() | {"QUORATE_STATE": str(real_nodes.layout.root)}
    command = subprocess.Popen([sys.executable, "-m", "quorate_cli", *arguments], env=environment)
    wait_for(real_nodes.faults, "the fault is on")
    command.kill()
    command.wait()
    wait_for(lambda: real_nodes.pid(f"node-{NODE}") == 0, "the node is gone")
    lost(on, NODE)
    assert ready(on, OTHER) == "True"
    back(real_nodes, on, NODE)
    wait_for(lambda: container(on, "steady").get("restartCount") == 1, "the container is started again")
    assert container(on, "steady")["containerID"] != before


def test_node_pause_and_kubelet_kill(real_nodes: Sandbox, on: Kubectl) -> None:
    """Both are Ready Unknown: a pod that was frozen goes on with a gap in its time, one without kubelet without."""
    node = next(each for each in real_nodes.real_nodes() if each.name == OTHER)
    kubelet = node.process("kubelet")
    pods = {"frozen": NODE, "alone": OTHER}
    before = {name: runs(on, name, where, "sh", "-c", CLOCK) for name, where in pods.items()}
    real_nodes.fault(Kind.NODE_PAUSE, NODE, seconds=60)
    began = time.monotonic()
    real_nodes.fault(Kind.KUBELET_KILL, OTHER, seconds=60)
    wait_for(lambda: node.process("kubelet") == 0, "kubelet is gone")
    lost(on, NODE)
    lost(on, OTHER)
    assert node.process("kubelet") == 0
    frozen = int(time.monotonic() - began)
    real_nodes.heal()
    back(real_nodes, on, NODE)
    back(real_nodes, on, OTHER)
    assert node.process("kubelet") not in (0, kubelet)
    for name, identity in before.items():
        assert (container(on, name)["containerID"], container(on, name)["restartCount"]) == (identity, 0)
    assert frozen > 5
    wait_for(lambda: longest_gap(on, "frozen") >= frozen, "the frozen pod stood still")
    assert longest_gap(on, "alone") < 5


def test_partition(real_nodes: Sandbox, on: Kubectl) -> None:
    """Behind a cut link neither the API server nor other nodes' pods are reached, nor it; its pods run on.

    That the node becomes Ready Unknown, and its pods are replaced: `test_real_pods.py`.
    """
    web = "hostname > /tmp/index.html; httpd -p 8080 -h /tmp; " + CLOCK
    before = runs(on, "web", NODE, "sh", "-c", web)
    runs(on, "asker", OTHER, "sleep", "1000")
    address = on.get("pod", "web")["status"]["podIP"]
    ask = f"timeout 2 wget -q -O - http://{address}:8080/ || echo nobody"
    node = next(each for each in real_nodes.real_nodes() if each.name == NODE)

    port = real_nodes.layout.read()["ports"]["apiserver"]
    dial = ["timeout", "2", "bash", "-c", f"exec 3<>/dev/tcp/10.99.0.1/{port}"]

    def answer() -> str:
        return on("exec", "asker", "--", "sh", "-c", ask).strip()

    wait_for(lambda: answer() == "web", "the pods reach each other")
    node.run(dial)
    real_nodes.fault(Kind.PARTITION, NODE, seconds=7)
    assert answer() == "nobody"
    with pytest.raises(SandboxError):
        node.run(dial)
    back(real_nodes, on, NODE)
    wait_for(lambda: answer() == "web", "the pods reach each other again")
    assert (container(on, "web")["containerID"], container(on, "web")["restartCount"]) == (before, 0)
    assert longest_gap(on, "web") < 5


def test_gpu_lost(real_nodes: Sandbox, on: Kubectl) -> None:
    """A lost GPU is not allocatable, and is again by itself; what fails already cannot fail twice."""
    gpu = next(each for each in gpus.read(gpus.file(real_nodes.layout)) if each.node == OTHER)

    def allocatable() -> int:
        return int(on.get("node", OTHER)["status"]["allocatable"][gpus.RESOURCE])

    wait_for(lambda: allocatable() == 2, "both GPUs work")
    real_nodes.fault(Kind.GPU_LOST, OTHER, gpu=gpu.id[:20], seconds=6)
    wait_for(lambda: allocatable() == 1, "one GPU less")
    wait_for(lambda: allocatable() == 2, "the GPU is back")
    assert real_nodes.faults() == []


def test_api_stop(real_nodes: Sandbox, on: Kubectl, commands: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the API server pods run on; the command shows what is on with the seconds left, and ends it."""
    monkeypatch.setenv("QUORATE_STATE", str(real_nodes.layout.root))
    quorate = commands(real_nodes)
    before = runs(on, "steady", NODE, "sleep", "1000")
    assert quorate("sandbox", "fault", "api-stop", "--for", "1m", "--name", real_nodes.name)[0] == 0
    wait_for(lambda: real_nodes.pid("apiserver") == 0, "the API server is gone")
    _, shown, _ = quorate("sandbox", "fault", "--list", "-o", "json", "--name", real_nodes.name)
    (fault,) = json.loads(shown)
    assert fault["kind"] == "api-stop" and 0 < fault["remainingSeconds"] <= 60
    assert "fault api-stop apiserver: " in quorate("sandbox", "status", "--name", real_nodes.name)[1]
    code, _, said = quorate("sandbox", "fault", "api-stop", "--name", real_nodes.name)
    assert code == 1 and "apiserver fails already (api-stop, " in said
    assert quorate("sandbox", "fault", "heal", "apiserver", "--name", real_nodes.name)[0] == 0
    real_nodes.wait("apiserver", 60)
    assert container(on, "steady")["containerID"] == before
