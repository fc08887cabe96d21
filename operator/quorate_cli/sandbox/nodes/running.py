"""The real nodes of a sandbox that runs: who they are, their processes, and commands inside them."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from quorate_cli.sandbox.errors import SandboxError
from quorate_cli.sandbox.nodes import cgroup
from quorate_cli.sandbox.nodes.init import BIN, CONTAINERD_SOCKET

_COMMAND_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class RunningNode:
    """A real node and its launcher."""

    name: str
    address: str
    pods: str
    group: str
    launcher: int
    """Process id of its component; 0 while it does not run."""

    def first_process(self) -> int:
        """Process id, on the machine, of the node's own first process.

        Raises:
            SandboxError: the node does not run.
        """
        try:
            children = Path(f"/proc/{self.launcher}/task/{self.launcher}/children").read_text().split()
        except OSError:
            children = []
        if len(children) != 1:
            raise SandboxError(f"node {self.name} does not run")
        return int(children[0])

    def process(self, name: str) -> int:
        """Process id, on the machine, of one of the node's programs (`kubelet`, `containerd`); 0 if there is none."""
        first = self.first_process()
        for child in Path(f"/proc/{first}/task/{first}/children").read_text().split():
            try:
                if Path(f"/proc/{child}/comm").read_text().strip() == name:
                    return int(child)
            except OSError:
                continue
        return 0

    def groups(self) -> list[Path]:
        """Its cgroups, one in each hierarchy."""
        return cgroup.directories(self.group)

    def run(self, args: list[str], *, stdin: IO[bytes] | int = subprocess.DEVNULL) -> str:
        """Run a command inside the node, in its mount, network and pid namespaces; what it wrote.

        Raises:
            SandboxError: the node does not run, the command fails, or it takes longer than a minute.
        """
        enter = ["nsenter", f"--target={self.first_process()}", "--mount", "--net", "--pid", "--uts", "--ipc", "--"]
        try:
            done = subprocess.run(
                [*enter, *args], stdin=stdin, capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise SandboxError(f"{args[0]} on node {self.name} did not end in {_COMMAND_SECONDS:g} s") from None
        if done.returncode != 0:
            raise SandboxError(f"{args[0]} on node {self.name} failed: {done.stderr.strip()[-300:]}")
        return done.stdout

    def load(self, archive: Path) -> None:
        """Give the node the images of an OCI archive (`image.write`).

        Raises:
            SandboxError: see `run`.
        """
        with archive.open("rb") as file:
            args = [f"{BIN}/ctr", f"--address={CONTAINERD_SOCKET}", "--namespace=k8s.io", "images", "import", "-"]
            self.run(args, stdin=file)


def running(state: Mapping[str, Any]) -> list[RunningNode]:
    """The real nodes in what a sandbox's supervisor knows (`Sandbox.status`); empty if it has none."""
    components = state.get("components", {})
    return [
        RunningNode(**each, launcher=int(components.get(f"node-{each['name']}", {}).get("pid", 0)))
        for each in state.get("realNodes", ())
    ]
