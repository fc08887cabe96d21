"""Simulated GPUs and the project's images on real nodes (docs/real-nodes.md)."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from quorate_cli.sandbox.images import catalogue
from quorate_cli.sandbox.instance import Sandbox
from quorate_cli.sandbox.nodes import gpus
from tests.slice.real_nodes import Kubectl, namespace, pod, wait_for

NODE = "real-2"
Said = Callable[..., tuple[int, str, str]]


@pytest.fixture
def on(real_nodes: Sandbox) -> Iterator[Kubectl]:
    """A kubectl in a namespace of the test's own, with every GPU healthy and free."""
    wait_for(lambda: not any(row.holder for row in gpus.held(real_nodes.layout)), "no GPU is held")
    with namespace(real_nodes) as kubectl:
        yield kubectl
    for gpu in gpus.read(gpus.file(real_nodes.layout)):
        gpus.set_health(real_nodes.layout, gpu.id, healthy=True)


@pytest.fixture
def said(real_nodes: Sandbox, commands: Callable[[Sandbox], Said], monkeypatch: pytest.MonkeyPatch) -> Said:
    """`quorate sandbox …` for the sandbox with real nodes → exit code, standard output, standard error."""
    monkeypatch.setenv("QUORATE_STATE", str(real_nodes.layout.root))
    call = commands(real_nodes)
    return lambda *arguments: call("sandbox", *arguments, "--name", real_nodes.name)


def with_gpu(name: str) -> dict[str, Any]:
    """A pod that holds one GPU of NODE and tells which."""
    manifest = pod(name, "sh", "-c", "echo $NVIDIA_VISIBLE_DEVICES; exec sleep 1000")
    manifest["spec"]["nodeSelector"] = {"kubernetes.io/hostname": NODE}
    manifest["spec"]["containers"][0]["resources"] = {"limits": {gpus.RESOURCE: "1"}}
    return manifest


def allocatable(on: Kubectl) -> tuple[int, int]:
    """The GPUs that NODE offers and that it has."""
    status = on.get("node", NODE)["status"]
    return int(status["allocatable"][gpus.RESOURCE]), int(status["capacity"][gpus.RESOURCE])


def test_pods_hold_gpus_and_the_third_waits(real_nodes: Sandbox, on: Kubectl, said: Said) -> None:
    """Two pods hold a GPU each; a third is Pending until one is free; the node's kubelet names the holders."""
    on.apply(with_gpu("one"), with_gpu("two"))
    for name in ("one", "two"):
        wait_for(lambda name=name: on.phase(name) == "Running", f"pod {name} runs")
    on.apply(with_gpu("three"))
    wait_for(lambda: "Unschedulable" in json.dumps(on.get("pod", "three")["status"]), "the third pod waits")
    wait_for(lambda: on("logs", "one") and on("logs", "two"), "both tell their GPU")
    told = {on("logs", name).strip(): name for name in ("one", "two")}
    assert set(told) == {gpu.id for gpu in gpus.read(gpus.file(real_nodes.layout)) if gpu.node == NODE}

    code, out, _ = said("gpus", "-o", "json")
    rows = {row["id"]: row for row in json.loads(out) if row["node"] == NODE}
    assert code == 0
    assert {each: row["holder"] for each, row in rows.items()} == {
        each: {"namespace": on.namespace, "pod": name, "container": "main"} for each, name in told.items()
    }
    _, table, _ = said("gpus")
    lines = [line.split() for line in table.splitlines()]
    assert all([NODE, each, "Healthy", on.namespace, name, "main"] in lines for each, name in told.items())

    on("delete", "pod", "one")
    wait_for(lambda: on.phase("three") == "Running", "the third pod gets the free GPU")


def test_a_lost_gpu_is_no_longer_allocatable(real_nodes: Sandbox, on: Kubectl, said: Said) -> None:
    """A GPU that is lost leaves the node's allocatable within seconds, and comes back; its capacity stays."""
    assert allocatable(on) == (2, 2)
    lost = next(gpu for gpu in gpus.read(gpus.file(real_nodes.layout)) if gpu.node == NODE)
    assert said("gpus", "--lose", lost.id)[0] == 0
    wait_for(lambda: allocatable(on) == (1, 2), "one GPU less")
    on.apply(with_gpu("left"))
    wait_for(lambda: on.phase("left") == "Running", "the other GPU is used")
    assert on("logs", "left").strip() not in ("", lost.id)
    assert said("gpus", "--restore", lost.id[:16])[0] == 0
    wait_for(lambda: allocatable(on) == (2, 2), "the GPU is back")


def test_gpus_survive_a_killed_kubelet(real_nodes: Sandbox, on: Kubectl) -> None:
    """A new kubelet is registered with: the holder of a GPU keeps it, and the other can be had."""
    on.apply(with_gpu("before"))
    wait_for(lambda: on.phase("before") == "Running", "the pod runs")
    node = next(each for each in real_nodes.real_nodes() if each.name == NODE)
    kubelet = node.process("kubelet")
    node.run(["/bin/sh", "-c", "kill -9 $(cat /proc/[0-9]*/stat | sed -n 's/^\\([0-9]*\\) (kubelet).*/\\1/p')"])
    wait_for(lambda: node.process("kubelet") not in (0, kubelet), "a new kubelet")
    on.apply(with_gpu("after"))
    wait_for(lambda: on.phase("after") == "Running", "a GPU of the new kubelet", 60)
    holders = {row.gpu.id: row.holder.pod for row in gpus.held(real_nodes.layout) if row.holder}
    assert sorted(holders.values()) == ["after", "before"]
    assert holders[on("logs", "before").strip()] == "before"


def test_the_projects_images_run(real_nodes: Sandbox, on: Kubectl, said: Said) -> None:
    """The workload's image runs Python and the operator's its commands, as nobody, on a read-only root."""
    assert said("image", "load", "operator", "workload")[0] == 0
    script = "import os, ssl, sqlite3; print(os.getuid(), os.environ['HOSTNAME'])"
    commands = {"workload": ["python3", "-c", script], "operator": ["quorate-operator", "--help"]}
    commands["version"] = ["quorate", "--version"]
    for name, command in commands.items():
        manifest = pod(name, *command, restartPolicy="Never")
        confined = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        confined |= {"runAsNonRoot": True, "readOnlyRootFilesystem": True, "seccompProfile": {"type": "RuntimeDefault"}}
        image = catalogue.reference("workload" if name == "workload" else "operator")
        manifest["spec"]["containers"][0] |= {"image": image, "securityContext": confined}
        on.apply(manifest)
    for name in commands:
        wait_for(lambda name=name: on.phase(name) in ("Succeeded", "Failed"), f"pod {name} ends", 60)
    assert on("logs", "workload") == "65532 workload\n"
    assert on("logs", "operator").startswith("usage: quorate-operator")
    assert on("logs", "version") == "0.1.0\n"
    assert {on.phase(name) for name in commands} == {"Succeeded"}
