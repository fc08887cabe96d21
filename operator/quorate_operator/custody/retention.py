"""Old entries leave the database for archives, as AuditCheckpoints ask (`spec.archive`); one partition at a time.

The work is done by `quorate_operator.custody.archiving` in a process of its own. What it did, or why it did not, is
shown in `status.archived` of the objects that asked.
"""

import asyncio
import contextlib
import json
import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from quorate.identity.vkey import VerifierKey
from quorate_operator.custody.archiving import Request
from quorate_operator.custody.engine import NICENESS, end
from quorate_operator.custody.outside import Keys, LogKeys
from quorate_operator.errors import OperatorError, Stalled, Transient
from quorate_operator.http import metrics
from quorate_operator.kube.resources import Obj
from quorate_operator.reconcile.cosignatures import witness_keys
from quorate_operator.reconcile.domains import Domains
from quorate_operator.reconcile.protocol import Context

_log = logging.getLogger(__name__)
TURN_SECONDS = 300.0
_LOOK_SECONDS = 1.0
TIMEOUT_SECONDS = 2 * 3600.0
DEFAULT_DAYS = 400
"""Age at which entries are archived where `afterDays` is not written: a year, and a month to look at it."""
_DAY_MICROS = 24 * 3600 * 1_000_000
Ahead = Callable[[], Awaitable[int | None]]
Run = Callable[[Request], Awaitable[Mapping[str, Any]]]
Witnesses = Callable[[str], Awaitable[Mapping[VerifierKey, str]]]
"""The member to whom each Witness key of a chain's constitution belongs."""


@dataclass(frozen=True)
class Archived:
    """How far a chain was archived: entries from the first on, into which archive, and why it does not go on."""

    name: str
    size: int = 0
    message: str = ""

    def document(self) -> dict[str, Any]:
        """`status.archived`."""
        shown: dict[str, Any] = {"name": self.name, "size": self.size}
        return {**shown, "message": self.message[:1024]} if self.message else shown


class Subprocess:
    """Runs a request in a process of low priority; at most one at a time."""

    def __init__(self, dsn: str, *, timeout: float = TIMEOUT_SECONDS) -> None:
        self._dsn = dsn
        self._timeout = timeout

    async def __call__(self, request: Request) -> Mapping[str, Any]:
        """The result document; Stalled or Transient (`ArchivingFailed`) with what it said otherwise."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "quorate_operator.custody.archiving",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "QUORATE_DSN": self._dsn},
            start_new_session=True,
        )
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PGRP, process.pid, NICENESS)
        try:
            async with asyncio.timeout(self._timeout):
                answer, _ = await process.communicate(json.dumps(request.document()).encode())
        except TimeoutError as error:
            raise Transient("ArchivingFailed", f"archiving did not end in {self._timeout:g} s") from error
        finally:
            await end(process)
        try:
            document: dict[str, Any] = json.loads(answer)
        except ValueError as error:
            raise Transient("ArchivingFailed", f"archiving ended with {process.returncode}") from error
        if "error" in document:
            raise Stalled(document["reason"], document["error"])
        return document


def retention_of(
    context: Context, results: dict[str, Archived], told: Callable[[str], None], ahead: Ahead
) -> "Retention":
    """The schedule of an operator that leads; `results` is `context.archived`."""
    config, domains = context.config, Domains()

    async def witnesses(chain: str) -> Mapping[VerifierKey, str]:
        found = await domains.get(context, [chain.partition("/")[2]])
        return next((witness_keys(item.latest) for item in found.values() if item.chain == chain), {})

    return Retention(
        Subprocess(config.dsn),
        objects=lambda: context.view.all("AuditCheckpoint"),
        archives=config.archives,
        log_keys=config.log_keys,
        keys=LogKeys(context, domains),
        witnesses=witnesses,
        results=results,
        told=told,
        clock=context.clock,
        actor=config.node_id,
        ahead=ahead,
    )


class Retention:
    """The schedule.

    Args:
        run: prunes what is due of a chain.
        objects: the AuditCheckpoints as they are now.
        archives: directory of each archive that this operator is configured with, by name.
        log_keys: directory with the intake key; None: nothing can be told, so nothing is pruned.
        keys: who may sign the log of a chain.
        witnesses: who may cosign it.
        results: where the last result of each chain is kept.
        told: hears of a chain with another result.
        clock: Unix seconds.
        actor: what the log calls this operator.
        ahead: how many partitions are ready, of the chain with the fewest.
    """

    def __init__(
        self,
        run: Run,
        *,
        objects: Callable[[], Iterable[Obj]],
        archives: Mapping[str, Path],
        log_keys: Path | None,
        keys: Keys,
        witnesses: Witnesses,
        results: dict[str, Archived],
        told: Callable[[str], None],
        clock: Callable[[], float],
        actor: str,
        ahead: Ahead,
    ) -> None:
        self._ahead = ahead
        self._run, self._objects, self._archives, self._log_keys = run, objects, archives, log_keys
        self._keys, self._witnesses, self._told, self._clock, self._actor = keys, witnesses, told, clock, actor
        self.results = results
        self._asked: list[Obj] = []

    async def run(self, seconds: float = TURN_SECONDS) -> None:
        """Archive for ever, a partition of each chain at each turn; what fails is tried again at the next one.

        The next one comes at once where somebody asks for something else: at the start no object is known yet.
        """
        due = time.monotonic()
        while True:
            if time.monotonic() >= due or [obj["spec"] for obj in self._asking()] != self._asked:
                await self.turn()
                due = time.monotonic() + seconds
            await asyncio.sleep(_LOOK_SECONDS)

    def _asking(self) -> list[Obj]:
        return [obj for obj in self._objects() if obj["spec"].get("archive") is not None]

    async def turn(self) -> None:
        """Look at the partitions ahead, then at every object that asks for an archive."""
        objects = self._asking()
        self._asked = [obj["spec"] for obj in objects]
        await self._look_ahead()
        for obj in objects:
            await self._chain(obj, obj["spec"]["archive"])

    async def _look_ahead(self) -> None:
        try:
            ready = await self._ahead()
        except OperatorError as error:
            _log.warning("partitions were not counted: %s", error.message, extra={"reason": error.reason})
            return
        if ready is not None:
            metrics.PARTITIONS_AHEAD.set(ready)
            if ready < 1:
                _log.error("a chain has no partition ready behind its last entry", extra={"reason": "NoPartitionAhead"})

    async def _chain(self, obj: Obj, wanted: Mapping[str, Any]) -> None:
        chain, shown = obj["spec"]["chain"], (obj.get("status") or {}).get("archived") or {}
        before = self.results.get(chain) or Archived(str(wanted["name"]), int(shown.get("size", 0)))
        started = time.monotonic()
        try:
            done = await self._run(await self._request(obj, wanted))
            result = Archived(wanted["name"], int(done["archived"]))
            if done["pruned"]:
                metrics.PRUNE_SECONDS.labels(chain).set(time.monotonic() - started)
        except OperatorError as error:
            metrics.PRUNE_FAILURES.labels(chain, error.reason).inc()
            result = replace(before, name=wanted["name"], message=error.message)
            if result.message != before.message:
                _log.warning("not archived: %s", error.message, extra={"reason": error.reason, "chain": chain})
        metrics.ARCHIVED.labels(chain).set(result.size)
        self.results[chain] = result
        if result.document() != shown:
            self._told(chain)

    async def _request(self, obj: Obj, wanted: Mapping[str, Any]) -> Request:
        chain, name = obj["spec"]["chain"], wanted["name"]
        if name not in self._archives:
            raise Stalled("ArchiveUnknown", f"this operator has no archive {name!r}: give it --archives {name}=DIR")
        if self._log_keys is None:
            raise Stalled("IntakeKeyMissing", "without an intake key the log cannot be told of a prune")
        keys, witnesses = (await self._keys([chain]))[chain], await self._witnesses(chain)
        days = wanted.get("afterDays") or DEFAULT_DAYS
        return Request(
            chain,
            int(self._clock() * 1_000_000) - days * _DAY_MICROS,
            name,
            str(self._archives[name]),
            str(self._log_keys),
            self._actor,
            tuple(str(key) for key in keys),
            {str(key): member for key, member in witnesses.items()},
            obj["spec"].get("requireWitnesses") or 0,
        )
