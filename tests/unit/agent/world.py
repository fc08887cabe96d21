"""A node on a disk: simulated devices and pods in a state file, policies signed as the operator signs them."""

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from quorate.canonical import encode_base64
from quorate.identity import ed25519
from quorate.missions.distribution import document_of, entry_of, sign
from quorate_agent.config import Config
from quorate_agent.files import write_whole

OPERATOR = bytes(range(32, 64))
PUBLIC = ed25519.public_key_of(OPERATOR)
KEY = encode_base64(PUBLIC)
GIB = 2**30


def config_map(serial: int, policies: Mapping[str, Mapping[str, Any]], *, key: bytes = OPERATOR) -> dict[str, Any]:
    """The ConfigMap as the API server shows it."""
    entries = [entry_of(name, "", spec) for name, spec in policies.items()]
    content = document_of(serial, "hub-1", entries, {"team": {"tier": "gold"}})
    return {"data": {"content": content.decode(), "signature": sign(content, key)}}


def memory_policy(limit: str, *, mode: str = "Enforce", action: str = "Terminate") -> dict[str, Any]:
    """Act at once on whoever holds more than `limit`."""
    ladder = [{"action": "Warn", "afterSeconds": 0}]
    if action == "Terminate":
        ladder.append({"action": "Evict", "afterSeconds": 0})
    ladder.append({"action": action, "afterSeconds": 0})
    return {
        "mode": mode,
        "memory": {"limit": limit},
        "ladder": ladder,
        "budget": {"respectDisruptionBudgets": False, "offlineTerminate": True},
    }


def gpu(number: int, rows: Sequence[Mapping[str, Any]] = (), **more: Any) -> dict[str, Any]:
    """A simulated device."""
    return {"uuid": f"GPU-{number}", "utilizationBasisPoints": 7_000, "celsius": 40, "processes": list(rows), **more}


def pod(number: int, *gpus: int) -> dict[str, Any]:
    """A simulated pod."""
    name = f"train-{number}"
    return {"uid": f"u{number}", "namespace": "team", "name": name, "owner": "team/train", "labels": {"app": "train"},
            "gpus": [f"GPU-{each}" for each in gpus], "started": 1}  # fmt: skip


def port_of(process: subprocess.Popen[bytes]) -> int:
    """The probes' port of an agent that was begun, when its policies are in force."""
    assert process.stderr is not None
    port, line = 0, b""
    while b"in force" not in line:
        line = process.stderr.readline()
        assert line, "the agent ended"
        found = re.search(rb"probes on port ([0-9]+)", line)
        port = int(found[1]) if found else port
    return port


class NodeDisk:
    """The agent's directory and the state file of its devices."""

    def __init__(self, path: Path) -> None:
        self.state, self.file = path / "state", path / "gpus.json"
        self.state.mkdir(mode=0o700, exist_ok=True)

    def devices(self, gpus: Sequence[Mapping[str, Any]], pods: Sequence[Mapping[str, Any]]) -> None:
        """Write what there is."""
        write_whole(self.file, json.dumps({"gpus": gpus, "pods": pods}).encode())

    def policies(self, serial: int, policies: Mapping[str, Mapping[str, Any]]) -> None:
        """Put policies on the disk, as an earlier life of the agent did."""
        write_whole(self.state / "policies.json", json.dumps(config_map(serial, policies)["data"]).encode())

    def config(self, **more: Any) -> Config:
        """Of an agent that is offline, without socket and probes unless told otherwise."""
        return Config(
            "node-1", self.state, PUBLIC, **{"backend": "simulated", "source": self.file, "http": None, **more}
        )

    def entries(self) -> list[dict[str, Any]]:
        """What the spool holds."""
        lines = [line for path in sorted(self.state.glob("spool/*.spool")) for line in path.read_bytes().splitlines()]
        return [json.loads(line) for line in lines]
