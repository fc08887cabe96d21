"""Pods that run: real kubelets, containerd and runc beside the simulated nodes (docs/real-nodes.md)."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from quorate_cli.sandbox.instance import Sandbox
from quorate_cli.sandbox.nodes import host
from tests.slice.real_nodes import IMAGE, Kubectl, namespace, pod, pod_spec, wait_for


@pytest.fixture
def on(real_nodes: Sandbox) -> Iterator[Kubectl]:
    """A kubectl in a namespace of the test's own."""
    with namespace(real_nodes) as kubectl:
        yield kubectl


def test_both_nodes_are_ready_beside_simulated_ones(real_nodes: Sandbox, on: Kubectl) -> None:
    """Two kubelets register themselves and become Ready; kwok's nodes are there too, and kwok leaves ours alone."""
    nodes = {each["metadata"]["name"]: each for each in on.get("nodes")["items"]}
    assert set(nodes) == {"gpu-node-0", "real-1", "real-2"}
    for name in ("real-1", "real-2"):
        status = nodes[name]["status"]
        assert {each["type"]: each["status"] for each in status["conditions"]}["Ready"] == "True"
        assert status["nodeInfo"]["containerRuntimeVersion"].startswith("containerd://")
        assert "kwok" not in status["nodeInfo"]["kubeletVersion"]
    assert [each.name for each in real_nodes.real_nodes()] == ["real-1", "real-2"]


def test_logs_and_exec(on: Kubectl) -> None:
    """A pod runs a process; what it writes is its log, and a command can be run in it."""
    on.apply(pod("talker", "sh", "-c", "echo hello; exec sleep 1000"))
    wait_for(lambda: on.phase("talker") == "Running", "the pod runs")
    wait_for(lambda: on("logs", "talker") == "hello\n", "the pod's log")
    assert on("exec", "talker", "--", "hostname").strip() == "talker"


def test_a_pod_reaches_the_api_with_its_service_account(on: Kubectl) -> None:
    """A client in a pod finds the API server by itself, and is who its ServiceAccount is."""
    on.apply(pod("caller", "sleep", "1000"))
    wait_for(lambda: on.phase("caller") == "Running", "the pod runs")
    said = json.loads(on("exec", "caller", "--", "kubectl", "auth", "whoami", "-o", "json"))
    assert said["status"]["userInfo"]["username"] == f"system:serviceaccount:{on.namespace}:default"


def test_a_daemon_set_is_on_both_nodes_and_its_pods_reach_each_other(on: Kubectl) -> None:
    """One pod on each node, and each answers the other's request across nodes."""
    labels = {"app": "web"}
    spec = pod_spec("sh", "-c", "hostname > /tmp/index.html; exec httpd -f -p 8080 -h /tmp")
    on.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": {"name": "web"},
            "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec}},
        }
    )

    def placed() -> dict[str, tuple[str, str]]:
        pods = on.get("pods", "-l", "app=web")["items"]
        return {
            each["spec"].get("nodeName", ""): (each["metadata"]["name"], each["status"].get("podIP", ""))
            for each in pods
            if each["status"].get("phase") == "Running"
        }

    wait_for(lambda: set(placed()) == {"real-1", "real-2"}, "a pod on each node")
    first, second = placed()["real-1"], placed()["real-2"]
    for here, there in ((first, second), (second, first)):
        assert on("exec", here[0], "--", "wget", "-q", "-O", "-", f"http://{there[1]}:8080/").strip() == there[0]


def test_memory_limit_is_enforced(on: Kubectl) -> None:
    """A container that takes more memory than its limit is killed, and says so: OOMKilled."""
    hungry = pod("hungry", "sh", "-c", "tail -c 200m /dev/zero", restartPolicy="Never")
    hungry["spec"]["containers"][0]["resources"] = {"limits": {"memory": "32Mi"}}
    on.apply(hungry)
    wait_for(lambda: on.phase("hungry") == "Failed", "the pod is killed")
    ended = on.get("pod", "hungry")["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)


def test_a_pod_without_privileges_runs_under_seccomp(on: Kubectl) -> None:
    """RuntimeDefault seccomp, no capabilities, not root: the restricted profile runs."""
    spec = {"securityContext": {"runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}}
    quiet = pod("quiet", "grep", "-E", "^(Seccomp|CapEff|Uid)", "/proc/self/status", restartPolicy="Never", **spec)
    confined = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    quiet["spec"]["containers"][0]["securityContext"] = confined
    on.apply(quiet)
    wait_for(lambda: on.phase("quiet") == "Succeeded", "the pod ends")
    shown = dict(line.split(":\t", 1) for line in on("logs", "quiet").splitlines())
    assert (shown["Seccomp"], int(shown["CapEff"], 16), shown["Uid"].split()[0]) == ("2", 0, "1000")


def test_a_privileged_pod_sees_the_node_and_not_the_machine(on: Kubectl, tmp_path: Path) -> None:
    """The node's root is its own: a file of the machine is not there, and kernel settings cannot be written."""
    (tmp_path / "secret").write_text("of the machine")
    volumes = {"volumes": [{"name": "root", "hostPath": {"path": "/"}}], "hostPID": True}
    reader = pod("reader", "sleep", "1000", **volumes)
    container = reader["spec"]["containers"][0]
    container |= {"securityContext": {"privileged": True}, "volumeMounts": [{"name": "root", "mountPath": "/host"}]}
    on.apply(reader)
    wait_for(lambda: on.phase("reader") == "Running", "the pod runs")
    script = f"ls /host{tmp_path}/secret /host/home; cat /host/etc/hostname; ls /host/dev; ls -d /proc/[0-9]*"
    seen = on("exec", "reader", "--", "sh", "-c", f"{script}; true")
    assert "real-" in seen and "secret" not in seen and "vda" not in seen
    refused = on("exec", "reader", "--", "sh", "-c", "echo 7 > /host/proc/sys/vm/overcommit_memory || echo refused")
    assert "refused" in refused


def test_a_killed_kubelet_comes_back_and_pods_go_on(real_nodes: Sandbox, on: Kubectl) -> None:
    """The node's first process starts kubelet again; the container of a pod has not noticed."""
    node = real_nodes.real_nodes()[0]
    on.apply(pod("steady", "sleep", "1000", nodeName=node.name))
    wait_for(lambda: on.phase("steady") == "Running", "the pod runs")
    before = on.get("pod", "steady")["status"]["containerStatuses"][0]["containerID"]
    kubelet = node.process("kubelet")
    node.run(["/bin/sh", "-c", "kill -9 $(cat /proc/[0-9]*/stat | sed -n 's/^\\([0-9]*\\) (kubelet).*/\\1/p')"])
    wait_for(lambda: node.process("kubelet") not in (0, kubelet), "a new kubelet")
    on.apply(pod("after", "sleep", "1000", nodeName=node.name))
    wait_for(lambda: on.phase("after") == "Running", "a pod of the new kubelet")
    status = on.get("pod", "steady")["status"]["containerStatuses"][0]
    assert (status["containerID"], status["restartCount"]) == (before, 0)


def test_a_pod_runs_within_seconds(on: Kubectl) -> None:
    """From creation to Running takes less than three seconds, on a machine that does other things too."""
    on.apply(pod("warm", "sleep", "1000"))
    wait_for(lambda: on.phase("warm") == "Running", "the pod runs")
    began = time.monotonic()
    on.apply(pod("quick", "sleep", "1000"))
    wait_for(lambda: on.phase("quick") == "Running", "the pod runs", 3)
    assert time.monotonic() - began < 3
    assert on.get("pod", "quick")["spec"]["containers"][0]["image"] == IMAGE


def test_where_they_cannot_run_everything_else_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without root one sentence says so, and the sandbox comes up with simulated nodes."""
    monkeypatch.setattr(host, "unavailable", lambda: "they need root")
    said: list[str] = []
    with Sandbox.up(
        "none", nodes=1, real_nodes=2, operator=False, fast=True, state_root=tmp_path, say=said.append
    ) as running:
        assert running.real_nodes() == []
        assert "fabric" not in running.status()["components"]
        (node,) = running.admin().request("GET", "/api/v1/nodes")["items"]
        assert node["metadata"]["name"] == "gpu-node-0"
    assert "no real nodes: they need root; everything else goes on with simulated ones" in said
