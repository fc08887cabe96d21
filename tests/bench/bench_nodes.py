"""Real nodes (Linux, root): until they are Ready, until a pod runs, what a node keeps in memory, until all is gone."""

import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from quorate_cli.cluster import Cluster
from quorate_cli.sandbox.instance import Sandbox
from quorate_cli.sandbox.nodes import host
from quorate_cli.sandbox.nodes.config import PAUSE_IMAGE
from quorate_cli.sandbox.nodes.plan import LABEL
from quorate_cli.sandbox.nodes.running import RunningNode
from tests.bench.figure import Figure, percentile

PODS = 30
PODS_PATH = "/api/v1/namespaces/default/pods"
_POLL_SECONDS = 0.04
_LONGEST_SECONDS = 60


def run() -> Iterator[Figure]:
    """Two nodes; pods one after the other, spread over both by the scheduler, which stay."""
    if reason := host.unavailable():
        sys.stderr.write(f"no real nodes: {reason}\n")
        return
    marks: dict[str, float] = {}

    def note(line: str) -> None:
        marks[line] = time.perf_counter()

    sandbox = Sandbox.up(f"bench-nodes-{os.getpid()}", real_nodes=2, gpus_per_node=0, operator=False, say=note)
    try:
        began = marks["starting node-real-1"]
        yield Figure(
            "two real nodes Ready, after the control plane", time.perf_counter() - began, "s",
            "the control plane", began - marks["starting etcd"], 8.0,
        )  # fmt: skip
        client = sandbox.admin()
        _account(client)
        seconds = [_until_running(client, f"p{number}") for number in range(PODS)]
        yield Figure(
            f"a pod from creation to Running, p95 of {PODS}", percentile(seconds, 95), "s",
            "median", percentile(seconds, 50), 1.0,
        )  # fmt: skip
        total, own = max(_memory(node) for node in sandbox.real_nodes())
        yield Figure(
            f"RSS of kubelet, containerd and init of the node that has more, {PODS} pods on two", total, "MB",
            "of it their own, not pages of the programs' files", own, 160,
        )  # fmt: skip
        client.close()
        begun = time.perf_counter()
    finally:
        sandbox.down()
    yield Figure("two real nodes and the control plane down", time.perf_counter() - begun, "s", "none", 0, 10)


def _account(client: Cluster) -> None:
    """Wait for the ServiceAccount without which no pod is taken."""
    deadline = time.perf_counter() + _LONGEST_SECONDS
    while not client.request("GET", "/api/v1/namespaces/default/serviceaccounts")["items"]:
        if time.perf_counter() > deadline:
            raise TimeoutError("no ServiceAccount")
        time.sleep(_POLL_SECONDS)


def _until_running(client: Cluster, name: str) -> float:
    container = {"name": "main", "image": PAUSE_IMAGE}
    spec: dict[str, Any] = {"containers": [container], "nodeSelector": {LABEL: "true"}}
    begun = time.perf_counter()
    client.request(
        "POST", PODS_PATH, body={"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    )
    while client.request("GET", f"{PODS_PATH}/{name}")["status"].get("phase") != "Running":
        if time.perf_counter() - begun > _LONGEST_SECONDS:
            raise TimeoutError(f"pod {name} does not run")
        time.sleep(_POLL_SECONDS)
    return time.perf_counter() - begun


def _memory(node: RunningNode) -> tuple[float, float]:
    """Megabytes resident, and of them anonymous: of the first process and its programs, not of the pods' shims."""
    total = own = 0.0
    for pid in (node.first_process(), node.process("containerd"), node.process("kubelet")):
        found = dict(
            re.findall(r"^(VmRSS|RssAnon):\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
        )
        total, own = total + int(found["VmRSS"]) * 1024 / 1e6, own + int(found["RssAnon"]) * 1024 / 1e6
    return total, own
