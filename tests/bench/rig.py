"""A full sandbox with the operator, for one benchmark: everything syncs to disk, own name, always removed."""

import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from quorate_cli.sandbox.instance import Sandbox
from quorate_operator.kube.client import Client
from quorate_operator.kube.connection import Connection, from_file
from quorate_operator.kube.resources import Key
from tests.bench.fleet import HOME, Fleet
from tests.bench.observer import CALLERS, Observer, is_ready


@dataclass(frozen=True)
class Rig:
    """The sandbox and the administrator's connection to it."""

    sandbox: Sandbox
    connection: Connection

    def client(self) -> Client:
        """A client for the eight writers; use it inside the loop."""
        return Client(self.connection, timeout=60.0, limit=CALLERS)

    def observer(self, client: Client, kind: str) -> Observer:
        """A watch on one kind."""
        return Observer(self.connection, client, kind)

    def stop_operator(self) -> None:
        """Stop the operator gracefully and keep it stopped."""
        self.sandbox.stop("operator")

    def start_operator(self) -> None:
        """Start it and wait until it decides."""
        self.sandbox.start("operator")
        self.sandbox.wait("operator")

    @contextmanager
    def bare_operator(self) -> Iterator[Callable[[Observer, Key], Awaitable[object]]]:
        """`bare_operator.py` as a process; call what it gives with a first object, to wait until it answers."""
        command = [
            sys.executable,
            "-m",
            "kopf",
            "run",
            "--standalone",
            "-A",
            str(Path(__file__).with_name("bare_operator.py")),
        ]
        env = {**os.environ, "KUBECONFIG": str(self.sandbox.kubeconfig)}
        process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield lambda seen, key: seen.all_when([key], is_ready, 60.0)
        finally:
            process.terminate()
            process.wait(30)

    def operator_megabytes(self) -> float:
        """The operator's peak resident memory, in MB (10^6 bytes)."""
        lines = Path(f"/proc/{self.sandbox.pid('operator')}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024 / 1e6

    async def establish(self, client: Client, fleet: Fleet) -> str:
        """Apply a fleet's domain, wait until it is in force; the challenge of its heartbeats."""
        key = Key("TrustDomain", "", fleet.name)
        async with self.observer(client, "TrustDomain") as domains:
            await client.create(fleet.domain)
            await domains.all_when([key], is_ready, 60.0)
            domain = domains.get(key)
            assert domain is not None
            return str(domain["status"]["challenge"]["current"])


@contextmanager
def rig(name: str, pins: Mapping[str, str]) -> Iterator[Rig]:
    """Bring `bench-<name>-<pid>` up with the operator as the fleets' home hub."""
    with Sandbox.up(f"bench-{name}-{os.getpid()}", node_id=HOME, pins=pins) as sandbox:
        yield Rig(sandbox, from_file(sandbox.kubeconfig))
