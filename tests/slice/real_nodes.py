"""Helpers for tests with pods that run: a small image, manifests, kubectl, and waiting."""

import json
import os
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from quorate_cli.sandbox import binaries, debian
from quorate_cli.sandbox.instance import Sandbox
from quorate_cli.sandbox.nodes import image
from quorate_cli.sandbox.nodes.plan import LABEL

IMAGE = "quorate.local/test:1"
"""busybox and kubectl: a shell, and a client that finds the cluster by itself."""


def build_image(directory: Path) -> Path:
    """The archive of `IMAGE`."""
    busybox = debian.package("busybox-static", purpose="the test image") / "bin/busybox"
    listed = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True, timeout=10).stdout.split()
    links = {f"bin/{name}": "busybox" for name in listed if name != "busybox"}
    kubectl = binaries.find(["kubectl"], say=print)["kubectl"]
    archive = directory / "test.tar"
    image.write(image.Image(IMAGE, {"bin/busybox": busybox, "bin/kubectl": kubectl}, links), archive)
    return archive


class Kubectl:
    """kubectl as administrator, in one namespace."""

    def __init__(self, sandbox: Sandbox, namespace: str) -> None:
        self.namespace = namespace
        self._path = binaries.find(["kubectl"], say=print)["kubectl"]
        self._environment = {**os.environ, "KUBECONFIG": str(sandbox.kubeconfig)}

    def __call__(self, *arguments: str, stdin: str = "") -> str:
        """Standard output; the command must succeed within a minute."""
        done = subprocess.run(
            [self._path, "--namespace", self.namespace, *arguments],
            input=stdin, capture_output=True, text=True, env=self._environment, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def apply(self, *manifests: dict[str, Any]) -> None:
        """Create or change objects."""
        for manifest in manifests:
            self("apply", "-f", "-", stdin=json.dumps(manifest))

    def get(self, *arguments: str) -> Any:
        """`get … -o json`, parsed."""
        return json.loads(self("get", *arguments, "-o", "json"))

    def phase(self, pod: str) -> str:
        """The phase of a pod."""
        return str(self.get("pod", pod)["status"].get("phase", ""))


def ready(on: Kubectl, node: str) -> str:
    """The Ready condition of a node: True, False or Unknown."""
    conditions = on.get("node", node)["status"]["conditions"]
    return str(next(each["status"] for each in conditions if each["type"] == "Ready"))


@contextmanager
def namespace(sandbox: Sandbox) -> Iterator[Kubectl]:
    """A new namespace with its default ServiceAccount; its pods are gone at the end."""
    on = Kubectl(sandbox, f"t-{uuid.uuid4().hex[:12]}")
    on("create", "namespace", on.namespace)
    wait_for(lambda: on.get("serviceaccounts")["items"], "the default ServiceAccount")
    yield on
    on("delete", "namespace", on.namespace, "--wait=false")
    on("delete", "pods", "--all", "--grace-period=1", "--wait=false")


def pod(name: str, *command: str, **spec: Any) -> dict[str, Any]:
    """A pod of `IMAGE` on a real node."""
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": pod_spec(*command, **spec)}


def pod_spec(*command: str, **spec: Any) -> dict[str, Any]:
    """The specification of such a pod."""
    container = {"name": "main", "image": IMAGE, "command": list(command)}
    return {
        "containers": [container],
        "nodeSelector": {LABEL: "true"},
        "terminationGracePeriodSeconds": 1,
        **spec,
    }


def wait_for(condition: Callable[[], object], what: str, seconds: float = 30) -> None:
    """Wait until a condition is true; it fails with what was waited for."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.05)
