"""What was sent, as one second, in a Lease: a number that moves, and neither a decision nor a status (api.md)."""

from datetime import UTC, datetime
from typing import Protocol

from quorate.api.manifests import NOTIFICATIONS
from quorate_operator.errors import Conflict
from quorate_operator.kube.client import Client
from quorate_operator.kube.resources import SYSTEM_NAMESPACE, Key, Obj

LEASE_KEY = Key("Lease", SYSTEM_NAMESPACE, NOTIFICATIONS)


class Memory(Protocol):
    """Remembers the second up to which everything that was due was sent or given up."""

    async def load(self) -> int | None:
        """The second, None if nothing was ever sent; raises OperatorError if it cannot be asked."""
        ...

    async def save(self, second: int) -> None:
        """Remember a later one; raises OperatorError if it cannot be kept."""
        ...


class LeaseMemory:
    """Lease `quorate-notifications`: `renewTime` is the second."""

    def __init__(self, client: Client, identity: str) -> None:
        self._client, self._identity = client, identity

    async def load(self) -> int | None:
        """As the port says."""
        lease = await self._client.get(LEASE_KEY)
        text = ((lease or {}).get("spec") or {}).get("renewTime")
        return None if not text else int(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp())

    async def save(self, second: int) -> None:
        """As the port says."""
        lease = await self._client.get(LEASE_KEY)
        if lease is None:
            await self._client.create(self._record({"name": NOTIFICATIONS, "namespace": SYSTEM_NAMESPACE}, second))
            return
        meta = {name: value for name, value in lease["metadata"].items() if name != "managedFields"}
        try:
            await self._client.replace(self._record(meta, second))
        except Conflict:
            return  # somebody wrote a moment ago; the next delivery writes again

    def _record(self, metadata: Obj, second: int) -> Obj:
        time = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
        spec = {"holderIdentity": self._identity, "renewTime": time}
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
