"""Lets a stopped chain go on once enough people signed for it and a full verification finds no fault.

People sign Attestations of type Resume (chain `system`: the installation's key signs an annotation). Nothing of that is
recorded while the chain is stopped; the entry with which its next epoch begins carries it all.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quorate.api.attestation import AttestationType
from quorate.api.conditions import Reason
from quorate.audit.checkpoint import Checkpoint
from quorate.audit.entry import Draft
from quorate.audit.quarantine import SYSTEM, Quarantine, needs_finding, resumed_draft
from quorate.audit.verify import StoredHead, Verdict
from quorate.canonical import parse_time
from quorate.trust.attestations import Judged
from quorate.trust.resumption import agreed, judge_resume, judge_system_resume
from quorate_operator.custody.engine import Engine
from quorate_operator.custody.outside import Keys, Outside
from quorate_operator.custody.quarantines import Quarantines
from quorate_operator.errors import Fatal, OperatorError, Stalled
from quorate_operator.kube.resources import Obj
from quorate_operator.reconcile.domains import Domains
from quorate_operator.reconcile.protocol import Context
from quorate_operator.verification.request import ChainRequest

_log = logging.getLogger(__name__)
ANNOTATION = "quorate.dev/resume"
AGAIN_SECONDS = 600.0
"""After so long a verification that refused a resumption is made again, without anything having changed."""
_LONGEST_WAIT = 1.0
_MAX_ANNOTATION = 16 * 1024


@dataclass(frozen=True)
class Signed:
    """What people agreed on; `signatures` are {statement, signature} each, of all that were made so far `made`."""

    phase_id: str
    finding: str | None
    signatures: tuple[Mapping[str, Any], ...]
    made: tuple[str, ...]


class Resumptions:
    """Watches open quarantines.

    Args:
        context: view, log and configuration.
        domains: constitutions.
        quarantines: the open ones.
        engine: verifies.
        outside: checkpoints that the database is compared with.
        keys: who may sign the logs.
        told: hears of a chain that goes on, and of one that does not.
        refused: where it is kept why a chain does not go on although enough people signed.
    """

    def __init__(
        self,
        context: Context,
        domains: Domains,
        quarantines: Quarantines,
        engine: Engine,
        outside: Outside,
        keys: Keys,
        told: Callable[[str], None],
        refused: dict[str, str],
    ) -> None:
        self.resumed = asyncio.Event()
        """Set when a chain goes on: until a checkpoint covers that, the outside still speaks against it."""
        self.refused = refused
        self._context, self._domains, self._quarantines = context, domains, quarantines
        self._engine, self._outside, self._keys, self._told = engine, outside, keys, told
        self._tried: dict[str, tuple[object, float]] = {}

    async def run(self) -> None:
        """Look for ever.

        Raises:
            Fatal: leadership was lost.
        """
        while True:
            await asyncio.sleep(_LONGEST_WAIT)
            try:
                await self.turn()
            except Fatal:
                raise
            except OperatorError as error:
                _log.warning("no resumption: %s", error.message, extra={"reason": error.reason})

    async def turn(self) -> None:
        """Resume every chain for which that is signed and verified."""
        for chain, quarantine in list(self._quarantines.open.items()):
            everything = [item for item in await self._context.log.quarantines() if item.chain_id == chain]
            signed = await self.signed(quarantine, finding_needed=needs_finding(quarantine, everything))
            if signed is None or not self._is_due(chain, signed):
                continue
            await self._resume(quarantine, signed)

    def _is_due(self, chain: str, signed: Signed) -> bool:
        """Whether anything changed since the last attempt: a signature, or that a verification found no fault."""
        result = self._context.results.get(chain)
        state = (signed.made, None if result is None else result.full_at)
        before, at = self._tried.get(chain, (None, 0.0))
        if before == state and time.monotonic() < at + AGAIN_SECONDS:
            return False
        self._tried[chain] = (state, time.monotonic())
        return True

    async def signed(self, quarantine: Quarantine, *, finding_needed: bool) -> Signed | None:
        """What enough people signed about an open quarantine; None until then."""
        if quarantine.chain_id == SYSTEM:
            return await self._signed_by_installation(quarantine, finding_needed=finding_needed)
        name = quarantine.chain_id.partition("/")[2]
        constitution = (await self._domains.get(self._context, [name])).get(name)
        if constitution is None or constitution.chain != quarantine.chain_id:
            return None
        revision, accepted = constitution.latest, []
        for obj in self._attestations(name):
            recorded = parse_time(obj["metadata"]["creationTimestamp"])
            judged = judge_resume(revision, obj["spec"], quarantine, recorded=recorded, finding_needed=finding_needed)
            if judged.accepted:
                accepted.append((judged, obj["spec"]["signature"]))
        together = agreed(revision, [judged for judged, _ in accepted])
        if not together:
            return None
        signatures = {id(judged): signature for judged, signature in accepted}
        return Signed(
            revision.phase_id,
            _fields(together[0])["statement"].get("finding"),
            tuple({"statement": dict(_fields(item)), "signature": signatures[id(item)]} for item in together),
            tuple(sorted(signatures.values())),
        )

    def _attestations(self, domain: str) -> Iterable[Obj]:
        view = self._context.view
        keys = set(view.by("Attestation", "type", AttestationType.RESUME)) & set(
            view.by("Attestation", "domain", domain)
        )
        return [obj for key in sorted(keys) if (obj := view.get(key)) is not None]

    async def _signed_by_installation(self, quarantine: Quarantine, *, finding_needed: bool) -> Signed | None:
        keys = (await self._keys([SYSTEM]))[SYSTEM]
        for obj in self._context.view.all("AuditCheckpoint"):
            text = (obj["metadata"].get("annotations") or {}).get(ANNOTATION)
            if obj["spec"]["chain"] != SYSTEM or not text or len(text) > _MAX_ANNOTATION:
                continue
            try:
                document = json.loads(text)
            except ValueError:
                continue
            judged = judge_system_resume(document, quarantine, keys, finding_needed=finding_needed)
            if judged.accepted:
                signature = {"statement": dict(_fields(judged)), "signature": document["signature"]}
                return Signed("0", document.get("finding"), (signature,), (document["signature"],))
            if judged.reason != Reason.NOT_QUARANTINED:
                self._refuse(SYSTEM, judged.message)
        return None

    async def _resume(self, quarantine: Quarantine, signed: Signed) -> None:
        chain = quarantine.chain_id
        heads = {head.chain_id: head for head in await self._context.log.chains()}
        head = heads.get(chain)
        if head is None:
            self._refuse(chain, "the database holds nothing of the chain: restore one that does")
            return
        if (head.size, head.chain) != (quarantine.size, quarantine.head):
            self._refuse(chain, "the head of the chain is not the one that was stopped: nothing can go on from it")
            return
        agreeing, lost = await self._compared(chain, head)
        keys = (await self._keys([chain]))[chain]
        request = ChainRequest(chain, tuple(str(key) for key in keys), tuple(agreeing))
        document = (await self._engine.verify([request]))["chains"][0]
        if document["verdict"] not in (Verdict.INTACT, Verdict.UNANCHORED) or document["checked"] == 0:
            fault = (document.get("fault") or {}).get("message", "nothing could be checked")
            self._refuse(chain, f"signed, but a full verification says {document['verdict']}: {fault}")
            return
        try:
            await self._context.log.resume(quarantine, self._draft(quarantine, signed, lost, document))
        except Stalled as error:
            self._refuse(chain, error.message)
            return
        self._outside.resumed.add((chain, quarantine.number))
        self.refused.pop(chain, None)
        _log.warning("chain %s goes on in epoch %d", chain, quarantine.epoch + 1, extra={"reason": "Resumed"})
        await self._quarantines.look()
        self.resumed.set()
        self._told(chain)

    def _draft(
        self, quarantine: Quarantine, signed: Signed, lost: Sequence[Checkpoint], document: Mapping[str, Any]
    ) -> Draft:
        return resumed_draft(
            quarantine,
            phase_id=signed.phase_id,
            now=int(self._context.clock() * 1_000_000),
            lost=lost,
            finding=signed.finding,
            signatures=signed.signatures,
            verification={name: document[name] for name in ("verdict", "checked", "root")},
        )

    async def _compared(self, chain: str, head: StoredHead) -> tuple[list[str], list[Checkpoint]]:
        """Notes from outside that agree with the database, and checkpoints that do not: history that is given up."""
        agreeing: list[str] = []
        lost: dict[Checkpoint, None] = {}
        for checkpoint, told in (await self._outside.checkpoints()).get(chain, ()):
            if await self._outside.judge(checkpoint, told, head) is None:
                agreeing.append(told.note)
            else:
                lost[checkpoint] = None
        return agreeing, sorted(lost, key=lambda item: item.size)

    def _refuse(self, chain: str, message: str) -> None:
        if self.refused.get(chain) != message:
            self.refused[chain] = message
            _log.warning("chain %s stays stopped: %s", chain, message, extra={"reason": "ChainQuarantined"})
            self._told(chain)


def _fields(judged: Judged) -> Mapping[str, Any]:
    assert judged.statement is not None
    return judged.statement.fields
