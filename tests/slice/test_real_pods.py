"""What Quorate builds on, with pods that run: evictions, lost nodes, roll-outs, Jobs that go on from a checkpoint."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from quorate_cli.cluster import Cluster, RefusedError
from quorate_cli.sandbox.faults import Kind
from quorate_cli.sandbox.instance import Sandbox
from quorate_cli.sandbox.nodes.plan import LABEL
from quorate_operator.kube.connection import from_file
from tests.slice.real_nodes import Kubectl, namespace, pod, pod_spec, ready, wait_for

LABELS = {"app": "it"}
META = {"name": "it"}


@pytest.fixture
def on(real_nodes: Sandbox) -> Iterator[Kubectl]:
    """A kubectl in a namespace of the test's own."""
    with namespace(real_nodes) as kubectl:
        yield kubectl


@pytest.fixture
def operator(real_nodes: Sandbox) -> Iterator[Cluster]:
    """A client with the operator's rights and no others."""
    client = Cluster(from_file(real_nodes.operator_kubeconfig))
    yield client
    client.close()


def workload(kind: str, spec: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A Deployment or DaemonSet of pods with LABELS."""
    template = {"metadata": {"labels": LABELS}, "spec": spec}
    whole = {"selector": {"matchLabels": LABELS}, "template": template, **more}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": META, "spec": whole}


def running(on: Kubectl) -> dict[str, str]:
    """Pods with LABELS that run and are not being ended → their nodes."""
    return {
        each["metadata"]["name"]: each["spec"]["nodeName"]
        for each in on.get("pods", "-l", "app=it")["items"]
        if each["status"].get("phase") == "Running" and "deletionTimestamp" not in each["metadata"]
    }


def evict(client: Cluster, on: Kubectl, name: str) -> int:
    """Ask for the Eviction of a pod; the answer's status."""
    path = f"/api/v1/namespaces/{on.namespace}/pods/{name}/eviction"
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": on.namespace}}
    try:
        client.request("POST", path, body=eviction)
    except RefusedError as error:
        return error.status
    return 201


def exists(on: Kubectl, name: str) -> bool:
    """Whether there is such a pod still."""
    return bool(on("get", "pod", name, "--ignore-not-found").strip())


def test_eviction_by_the_operator_under_a_budget(on: Kubectl, operator: Cluster) -> None:
    """With its own rights the operator evicts: 429 while the budget needs the pod, then 201; it cannot delete one."""
    budget = {"minAvailable": 1, "selector": {"matchLabels": LABELS}}
    on.apply(
        workload("Deployment", pod_spec("sleep", "1000"), replicas=1),
        {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": META, "spec": budget},
    )
    wait_for(lambda: len(running(on)) == 1, "the pod runs")
    wait_for(lambda: on.get("pdb", "it")["status"].get("currentHealthy") == 1, "the budget counts it")
    (only,) = running(on)
    assert evict(operator, on, only) == 429
    on("scale", "deployment", "it", "--replicas=2")
    wait_for(lambda: on.get("pdb", "it")["status"].get("disruptionsAllowed") == 1, "the budget can spare one")
    assert evict(operator, on, only) == 201
    wait_for(lambda: not exists(on, only), "the evicted pod is gone")
    wait_for(lambda: len(running(on)) == 2, "another takes its place")
    with pytest.raises(RefusedError, match="cannot delete resource"):
        operator.request("DELETE", f"/api/v1/namespaces/{on.namespace}/pods/{next(iter(running(on)))}")


def test_a_pod_that_ignores_term_is_killed_after_its_grace(on: Kubectl, operator: Cluster) -> None:
    """An evicted pod that does not heed TERM has its grace of five seconds, and no more than a little longer."""
    script = "trap 'echo no' TERM; echo ready; while :; do sleep 0.2; done"
    on.apply(pod("stubborn", "sh", "-c", script, terminationGracePeriodSeconds=5))
    wait_for(lambda: on.phase("stubborn") == "Running" and "ready" in on("logs", "stubborn"), "the pod runs")
    began = time.monotonic()
    assert evict(operator, on, "stubborn") == 201
    wait_for(lambda: on("logs", "stubborn").endswith("no\n"), "TERM has come", 4)
    wait_for(lambda: not exists(on, "stubborn"), "the pod is gone")
    assert 5 <= time.monotonic() - began < 15


def test_a_lost_nodes_pod_is_replaced_and_ended_when_it_is_back(real_nodes: Sandbox, on: Kubectl) -> None:
    """A pod that tolerates a lost node for a second is replaced on the other; its own ends when the node is back."""
    lost = [
        {"key": f"node.kubernetes.io/{each}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}
        for each in ("unreachable", "not-ready")
    ]
    on.apply(workload("Deployment", pod_spec("sleep", "1000", tolerations=lost), replicas=1))
    wait_for(lambda: len(running(on)) == 1, "the pod runs")
    ((first, node),) = running(on).items()
    real_nodes.fault(Kind.PARTITION, node, seconds=60)
    try:
        wait_for(lambda: node not in running(on).values() and running(on), "another pod runs on the other node")
        assert exists(on, first), "nobody can say that the first one has ended"
    finally:
        real_nodes.heal(node)
    wait_for(lambda: not exists(on, first), "the first pod is ended")
    wait_for(lambda: ready(on, node) == "True", "the node is back")
    assert len(running(on)) == 1


def test_daemon_set_roll_out(on: Kubectl) -> None:
    """A changed template comes to every node, one after the other; a pod of the new one runs on each."""
    before = workload("DaemonSet", pod_spec("sleep", "1000"))
    on.apply(before)
    on("rollout", "status", "daemonset/it", "--timeout=30s")
    old = running(on)
    assert sorted(old.values()) == ["real-1", "real-2"]
    on.apply(workload("DaemonSet", pod_spec("sleep", "2000")))
    on("rollout", "status", "daemonset/it", "--timeout=50s")
    wait_for(lambda: not any(exists(on, name) for name in old), "the old pods are gone")
    assert sorted(running(on).values()) == ["real-1", "real-2"]
    commands = {tuple(each["spec"]["containers"][0]["command"]) for each in on.get("pods", "-l", "app=it")["items"]}
    assert commands == {("sleep", "2000")}


def test_a_job_goes_on_from_its_checkpoint(on: Kubectl, operator: Cluster) -> None:
    """A Job whose pod is evicted starts another, which goes on from the file that the first one wrote at TERM."""
    script = """
        at=$(cat /checkpoint/step 2>/dev/null || echo 0); echo "from $at"
        trap 'echo $at > /checkpoint/step; exit 143' TERM
        while [ $at -lt 30 ]; do at=$((at + 1)); echo "step $at"; sleep 0.1; done
    """
    place = {"hostPath": {"path": f"/var/lib/checkpoints/{on.namespace}", "type": "DirectoryOrCreate"}}
    spec = pod_spec("sh", "-c", script, restartPolicy="Never", volumes=[{"name": "checkpoint", **place}])
    spec |= {"nodeSelector": {LABEL: "true", "kubernetes.io/hostname": "real-1"}, "terminationGracePeriodSeconds": 10}
    spec["containers"][0]["volumeMounts"] = [{"name": "checkpoint", "mountPath": "/checkpoint"}]
    # An evicted pod is no failure of the Job: another is started at once, and as often as it needs.
    evicted = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}
    job = {
        "template": {"metadata": {"labels": LABELS}, "spec": spec},
        "backoffLimit": 0,
        "podFailurePolicy": {"rules": [evicted]},
    }
    on.apply({"apiVersion": "batch/v1", "kind": "Job", "metadata": META, "spec": job})
    wait_for(lambda: len(running(on)) == 1, "the Job's pod runs")
    (first,) = running(on)
    wait_for(lambda: "step 5\n" in on("logs", first), "it has done something")
    assert evict(operator, on, first) == 201
    wait_for(lambda: on.get("job", "it")["status"].get("succeeded") == 1, "the Job is done", 60)
    (second,) = (each["metadata"]["name"] for each in on.get("pods", "-l", "app=it")["items"]
                 if each["status"]["phase"] == "Succeeded")  # fmt: skip
    said = on("logs", second).splitlines()
    start = int(said[0].removeprefix("from "))
    assert second != first and start >= 5
    assert said[1:] == [f"step {number}" for number in range(start + 1, 31)]
