"""When the log is verified: what came since after each checkpoint, everything by night, on demand and on suspicion.

The work itself is done by the engine, in a process of its own. A fault stops the chain (quarantine) and is told by
Event, metric and an entry in `system`; a verification that gives no result stops nothing and is told by metric.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

from quorate.api.audit_checkpoint import Verify
from quorate.audit.entry import Draft, Tether
from quorate.audit.quarantine import FAILED, MAX_MESSAGE, Cause, Finding
from quorate.audit.verify import Verdict
from quorate_operator.custody.engine import Engine
from quorate_operator.custody.outside import Keys, Outside
from quorate_operator.custody.quarantines import Quarantines
from quorate_operator.custody.verified import Verified, read_result
from quorate_operator.errors import Fatal, OperatorError
from quorate_operator.http import metrics
from quorate_operator.kube.resources import Obj
from quorate_operator.store.ports import Log
from quorate_operator.verification.request import ChainRequest

_log = logging.getLogger(__name__)
DAY = 24 * 3600
SPREAD_SECONDS = 3600
_LONGEST_WAIT = 2.0
FULL, SINCE = "Full", "SinceLast"


class Verifications:
    """The schedule.

    Args:
        log: whose chains are verified.
        engine: verifies.
        outside: checkpoints that the database must agree with.
        keys: who may sign.
        quarantines: stops a chain.
        objects: the AuditCheckpoints as they are now.
        told: hears of a chain with a new result, and of the fault if there is one.
        results: where the last result of each chain is kept.
        clock: Unix seconds.
        at: seconds after midnight UTC from which everything is verified by night.
    """

    def __init__(
        self,
        log: Log,
        engine: Engine,
        outside: Outside,
        keys: Keys,
        quarantines: Quarantines,
        *,
        objects: Callable[[], Iterable[Obj]],
        told: Callable[[str, Finding | None], None],
        results: dict[str, Verified],
        clock: Callable[[], float],
        at: int,
    ) -> None:
        self.results = results
        self._log, self._engine, self._outside, self._keys = log, engine, outside, keys
        self._quarantines, self._objects, self._told, self._clock = quarantines, objects, told, clock
        self._at = at
        self._grown: dict[str, None] = {}
        self._full: dict[str, None] = {}
        self._nights: dict[str, int] = {}
        self._everything = False
        self._wake = asyncio.Event()

    def grown(self, chain: str) -> None:
        """A checkpoint of the chain was signed: verify what came since, unless its object says None."""
        self._grown[chain] = None
        self._wake.set()

    def force(self, chain: str | None = None) -> None:
        """Verify all of a chain, or of every chain, as soon as possible: something does not look right."""
        if chain is None:
            self._everything = True
        else:
            self._full[chain] = None
        self._wake.set()

    def restore(self, objects: Iterable[Obj]) -> None:
        """Take over the results of the process before from the statuses that it wrote."""
        for obj in objects:
            if (obj.get("status") or {}).get("result"):
                self.results.setdefault(obj["spec"]["chain"], read_result(obj))

    async def run(self) -> None:
        """Verify for ever; what cannot be verified now is tried again at the next turn.

        Raises:
            Fatal: leadership was lost.
        """
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LONGEST_WAIT):
                    await self._wake.wait()
            self._wake.clear()
            try:
                await self.turn()
            except Fatal:
                raise
            except OperatorError as error:
                _log.warning("not verified: %s", error.message, extra={"reason": error.reason})

    async def turn(self) -> None:
        """Do what is due: at most one full verification, so that what came since waits for one at the most."""
        self.restore(self._objects())
        await self._plan()
        demands = {obj["spec"]["chain"]: obj["spec"].get("verify") for obj in self._objects()}
        grown = [chain for chain in self._grown if demands.get(chain) != Verify.NONE]
        self._grown.clear()
        if grown:
            await self._verify(grown, SINCE)
        if self._full:
            chain = next(iter(self._full))
            del self._full[chain]
            await self._verify([chain], FULL)
            if self._full:
                self._wake.set()

    async def _plan(self) -> None:
        """Note which chains are due for a full verification: by night, by demand, or all of them."""
        now = self._clock()
        for obj in self._objects():
            chain, done = obj["spec"]["chain"], self.results.get(obj["spec"]["chain"])
            wanted = obj["spec"].get("verify") == Verify.FULL
            if wanted and (done is None or done.generation != obj["metadata"].get("generation", 0)):
                self._full[chain] = None
        everything, self._everything = self._everything, False
        due = everything or any(self._night(chain, now) != night for chain, night in self._nights.items())
        if not due and self._nights:
            return
        try:
            heads = await self._log.chains()
        except OperatorError:
            self._everything = everything
            raise
        for head in heads:
            night = self._night(head.chain_id, now)
            done = self.results.get(head.chain_id)
            # A new leader does what was missed while nobody led.
            last = night if done is None or done.full_at is None else self._night(head.chain_id, done.full_at)
            if everything or self._nights.get(head.chain_id, last) != night:
                self._full[head.chain_id] = None
            self._nights[head.chain_id] = night

    def _night(self, chain: str, now: float) -> int:
        """Number of the chain's verification day: it changes at `at`, later by up to an hour, fixed for each chain."""
        spread = int.from_bytes(sha256(chain.encode()).digest()[:4]) % SPREAD_SECONDS
        return int(now - self._at - spread) // DAY

    async def _verify(self, chains: Sequence[str], extent: str) -> None:
        # Read before the engine's snapshot, so what it finds intact reaches at least to here.
        sizes = {head.chain_id: head.size for head in await self._log.chains()}
        requests = await self.requests(chains, extent)
        generations = {obj["spec"]["chain"]: obj["metadata"].get("generation", 0) for obj in self._objects()}
        try:
            document = await self._engine.verify(requests)
        except OperatorError as error:
            for chain in chains:
                metrics.VERIFY_ERRORS.labels(chain).inc()
                before = self.results.get(chain, Verified("", ""))
                # Not again at once: the next checkpoint, night or change of the object asks again.
                self.results[chain] = replace(
                    before,
                    verdict=Verdict.CANNOT_TELL,
                    message=error.message,
                    generation=generations.get(chain, 0) if extent == FULL else before.generation,
                )
                self._told(chain, None)
            raise
        for item in document["chains"]:
            chain = item["chain"]
            await self._settle(item, document, extent, generations.get(chain, 0), sizes.get(chain, 0))

    async def requests(self, chains: Sequence[str], extent: str) -> list[ChainRequest]:
        """What the engine is asked about these chains."""
        keys = await self._keys(chains)
        anchors = await self._outside.checkpoints()
        return [
            ChainRequest(
                chain,
                tuple(str(key) for key in keys[chain]),
                tuple(told.note for _, told in anchors.get(chain, ())),
                since=self._since(chain) if extent == SINCE else None,
            )
            for chain in chains
        ]

    def _since(self, chain: str) -> int | None:
        done = self.results.get(chain)
        return done.size if done is not None and done.size else None

    async def _settle(
        self, item: Mapping[str, Any], document: Mapping[str, Any], extent: str, generation: int, size: int
    ) -> None:
        chain, verdict, now = item["chain"], item["verdict"], int(self._clock())
        before = self.results.get(chain, Verified("", ""))
        good = verdict in (Verdict.INTACT, Verdict.UNANCHORED)
        checked = int(item["checked"])
        result = replace(
            before,
            verdict=verdict,
            message=_sentence(item, extent),
            milliseconds=round(float(document["seconds"]) * 1000),
            generation=generation if extent == FULL else before.generation,
        )
        if good:
            result = replace(result, size=size, at=now, full_at=now if extent == FULL else before.full_at)
            metrics.VERIFIED_AT.labels(chain, extent).set(now)
        self.results[chain] = result
        metrics.VERIFY_SECONDS.labels(chain, extent).set(document["seconds"])
        metrics.VERIFY_RATE.labels(chain, extent).set(document["entriesPerSecond"])
        if verdict == Verdict.CANNOT_TELL:
            metrics.VERIFY_ERRORS.labels(chain).inc()
            self._told(chain, None)
            return
        metrics.LOG_INTACT.labels(chain).set(good)
        fault = item.get("fault")
        if good or fault is None:
            self._told(chain, None)
            return
        finding = _finding(fault, checked)
        self._told(chain, finding)
        if chain not in self._quarantines.open:
            await self._quarantines.raise_quarantine(chain, finding, _failed(chain, extent, fault, now))


def _sentence(item: Mapping[str, Any], extent: str) -> str:
    fault = item.get("fault")
    if fault is not None:
        return _fault(fault)
    what = "every entry" if extent == FULL else "what came since the last one"
    return f"{what} was verified: {item['checked']} entries, {item['verdict']}"


def _fault(fault: Mapping[str, Any]) -> str:
    where = "" if fault.get("sequence") is None else f"entry {fault['sequence']}: "
    return f"{where}{fault['phase']}: {fault['message']}"[:MAX_MESSAGE]


def _finding(fault: Mapping[str, Any], checked: int) -> Finding:
    evidence = {name: value for name, value in fault.items() if isinstance(value, str | int)}
    return Finding(Cause.VERIFICATION_FAILED, _fault(fault), {**evidence, "checked": checked})


def _failed(chain: str, extent: str, fault: Mapping[str, Any], now: int) -> Draft:
    return Draft(
        f"verification/{chain}/{now}",
        None,
        FAILED,
        {"kind": "AuditCheckpoint", "name": chain},
        Tether("0"),
        now * 1_000_000,
        detail={"chain": chain, "extent": extent, "fault": _fault(fault)},
    )
