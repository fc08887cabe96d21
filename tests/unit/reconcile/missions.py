"""A town with MissionPolicies, a Machine key and an agent image."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from quorate.identity.ed25519 import public_key_of
from quorate.missions.distribution import NodePolicies, parse
from quorate_operator.kube.resources import Key, Obj
from quorate_operator.reconcile.mission_log import AGENTS, DOCUMENT
from tests.unit.proposals.fleet import seed
from tests.unit.reconcile.town import Town

POLICY: dict[str, Any] = {
    "mode": "Enforce",
    "podSelector": {"matchLabels": {"app": "training"}},
    "nodeSelector": {"matchLabels": {"pool": "a"}},
    "memory": {"limit": "20Gi", "warnBasisPoints": 9000},
    "ladder": [
        {"action": "Warn", "afterSeconds": 0},
        {"action": "Checkpoint", "afterSeconds": 10, "acknowledgeSeconds": 60},
        {"action": "Evict", "afterSeconds": 100},
    ],
}


def key_file(folder: Path, name: str = "hub.machine") -> Path:
    """A Machine key as `quorate keygen` writes it."""
    path = folder / f"{name}.key"
    key = Ed25519PrivateKey.from_private_bytes(seed(name))
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    return path


PUBLIC = public_key_of(seed("hub.machine"))


class Missions(Town):
    """`town.policy(name, **fields)` applies a MissionPolicy; `config` are fields of the operator's configuration."""

    def __init__(self, **config: Any) -> None:
        super().__init__()
        self.config = config

    async def restart(self) -> "Missions":
        """With the flags of node agents."""
        await super().restart()
        self.context = replace(self.context, config=replace(self.context.config, **self.config))
        for key in (DOCUMENT, AGENTS):
            self.agenda.mark(key)
        return self

    def policy(self, name: str, **fields: Any) -> Key:
        """`POLICY` with other fields; None leaves one out."""
        spec = {field: value for field, value in {**POLICY, **fields}.items() if value is not None}
        return self.apply("MissionPolicy", name, spec)

    def drop(self, key: Key) -> None:
        """Delete an object, and mark what it concerned."""
        old = self.server.objects.pop(key)
        self.view.remove(key)
        for touched in self.routes.touched(old):
            self.agenda.mark(touched)

    def alter(self, key: Key, **data: str) -> None:
        """Somebody writes the data of a ConfigMap."""
        obj = self.server.objects[key]
        obj["data"] = {**obj["data"], **data}
        version = int(obj["metadata"]["resourceVersion"]) + 1
        obj["metadata"] = {**obj["metadata"], "resourceVersion": str(version)}
        obj["metadata"]["managedFields"] = [
            {
                "manager": "kubectl-edit",
                "operation": "Update",
                "time": "2026-11-21T18:00:00Z",
                "fieldsV1": {"f:data": {}},
            }
        ]
        self.view.fold(obj)
        self.agenda.mark(key)

    @property
    def document(self) -> NodePolicies:
        """What an agent reads."""
        return self.parsed(self.server.objects[DOCUMENT])

    @staticmethod
    def parsed(obj: Obj) -> NodePolicies:
        """The document of a ConfigMap, verified."""
        return parse(obj["data"]["content"].encode(), obj["data"]["signature"], PUBLIC)

    @property
    def writes(self) -> int:
        """How often the ConfigMap was written."""
        return self.server.calls.count(("apply", DOCUMENT))

    @property
    def told(self) -> list[str]:
        """Event types of chain `system`, in order."""
        return [row.recorded.event_type for row in self.shared.rows.get("system", ())]

    def last(self, event: str) -> dict[str, Any]:
        """Detail of the last entry of this type."""
        rows = self.shared.rows["system"]
        return dict(next(row.recorded.detail for row in reversed(rows) if row.recorded.event_type == event))
