"""Leader election by a Lease, released on a graceful exit.

One instance leads while it renews `quorate-system/quorate-operator`. The Lease has no usable epoch, so the leader also
takes a term from Postgres before it writes anything there (architecture.md, Running it); the Lease only says who tries.
Expiry is judged by this process's own monotonic clock since it first saw a record, never by comparing wall clocks.
"""

import asyncio
import logging
import random
import time
from datetime import UTC, datetime
from typing import Any

from quorate_operator.errors import Conflict, LostLeadership, OperatorError
from quorate_operator.kube.client import Client
from quorate_operator.kube.resources import HEARTBEAT_LABEL, SYSTEM_NAMESPACE, Key, Obj

_log = logging.getLogger(__name__)
LEASE_NAME = "quorate-operator"
LEASE_KEY = Key("Lease", SYSTEM_NAMESPACE, LEASE_NAME)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Election:
    """One candidate.

    Args:
        client: one of its own, with a request timeout below `renew_deadline`.
        identity: unique per process.
        lease_seconds: how long others wait after the last renewal that they saw.
        renew_deadline: how long the leader goes on without a successful renewal; below `lease_seconds`.
        retry: seconds between tries.
    """

    def __init__(
        self, client: Client, identity: str, *, lease_seconds: float, renew_deadline: float, retry: float
    ) -> None:
        self.identity = identity
        self.last_answer = time.monotonic()
        """Monotonic time of the API server's last answer; a standby is ready while it is fresh."""
        self._client = client
        self._duration = lease_seconds
        self._deadline = renew_deadline
        self._retry = retry
        self._lease: Obj | None = None
        self._seen: tuple[Any, float] = (None, 0.0)

    async def acquire(self) -> None:
        """Wait until this candidate leads."""
        while not await self._try():  # noqa: ASYNC110 - another process decides when this ends
            await asyncio.sleep(self._retry * random.uniform(0.5, 1.0))  # noqa: S311
        _log.info("leading as %s", self.identity, extra={"object": str(LEASE_KEY), "reason": "Leading"})

    async def hold(self) -> None:
        """Renew for ever.

        Raises:
            LostLeadership: another holder, or no renewal within the deadline.
        """
        renewed = time.monotonic()
        while True:
            await asyncio.sleep(self._retry)
            # The server counts from the renewal that it saw, so we count from before it was sent.
            tried = time.monotonic()
            try:
                async with asyncio.timeout(max(0.0, renewed + self._deadline - tried)):
                    held = await self._try()
            except TimeoutError:
                held = False
            if held:
                renewed = tried
            elif self._holder() != self.identity:
                raise LostLeadership(f"{LEASE_KEY} is held by {self._holder() or 'nobody'}")
            elif time.monotonic() - renewed >= self._deadline:
                raise LostLeadership(f"{LEASE_KEY} could not be renewed for {self._deadline:g} s")

    async def release(self) -> None:
        """Give the Lease up, so that the next candidate need not wait for its expiry."""
        # A renewal that was under way may have changed the resource version, hence the fresh read.
        try:
            self._lease = await self._client.get(LEASE_KEY)
            if self._lease is None or self._holder() != self.identity:
                return
            spec = {"holderIdentity": "", "leaseDurationSeconds": 1, "acquireTime": _now(), "renewTime": _now()}
            await self._client.replace({**self._lease, "spec": {**self._lease["spec"], **spec}})
        except OperatorError as error:
            _log.warning(
                "Lease not released: %s", error.message, extra={"object": str(LEASE_KEY), "reason": error.reason}
            )

    def _holder(self) -> str:
        return ((self._lease or {}).get("spec") or {}).get("holderIdentity") or ""

    async def _try(self) -> bool:
        """One attempt to create, take over or renew; False while another holds it or the API server is away."""
        try:
            # A leader renews from its own last answer: one request, and a 409 tells that somebody else wrote.
            if self._lease is None or self._holder() != self.identity:
                self._lease = await self._client.get(LEASE_KEY)
                self.last_answer = time.monotonic()
            if self._lease is None:
                self._lease = await self._client.create(self._record(None))
            elif self._available(self._lease):
                self._lease = await self._client.replace(self._record(self._lease))
            else:
                return False
            self.last_answer = time.monotonic()
            return True
        except Conflict:
            self._lease = await self._reread()
        except OperatorError as error:
            _log.warning("election: %s", error.message, extra={"object": str(LEASE_KEY), "reason": error.reason})
        return False

    async def _reread(self) -> Obj | None:
        try:
            return await self._client.get(LEASE_KEY)
        except OperatorError:
            return self._lease

    def _available(self, lease: Obj) -> bool:
        spec = lease.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        if holder in ("", self.identity):
            return True
        record = (holder, spec.get("renewTime"), spec.get("acquireTime"))
        if self._seen[0] != record:
            self._seen = (record, time.monotonic())
        return time.monotonic() - self._seen[1] > float(spec.get("leaseDurationSeconds") or self._duration)

    def _record(self, old: Obj | None) -> Obj:
        spec = dict((old or {}).get("spec") or {})
        if spec.get("holderIdentity") != self.identity:
            spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + 1 if old else 0
            spec["acquireTime"] = _now()
        spec |= {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": max(1, round(self._duration)),
            "renewTime": _now(),
        }
        metadata = dict((old or {}).get("metadata") or {"name": LEASE_NAME, "namespace": SYSTEM_NAMESPACE})
        metadata.pop("managedFields", None)
        # Watched like any heartbeat: its renewals prove end to end that the watch delivers, and it is
        # always there, so the barrier opens in an empty cluster too.
        metadata["labels"] = {**(metadata.get("labels") or {}), HEARTBEAT_LABEL: "operator"}
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
