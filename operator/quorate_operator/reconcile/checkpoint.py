"""AuditCheckpoint: the newest signed head of a chain, where people and witnesses can fetch it (audit.md, 7).

The operator makes one object per chain and updates it in place: what was signed, what the last verification found, who
cosigned, and the quarantine if the chain is stopped.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from quorate.api.audit_checkpoint import Verify
from quorate.api.conditions import ConditionType, Observation, Reason, observe
from quorate.api.manifests import COSIGNATURE_PREFIX
from quorate.api.resource import API_VERSION
from quorate.audit.checkpoint import Checkpoint, CheckpointError, open_checkpoint, parse_checkpoint
from quorate.audit.note import NoteError, parse_note
from quorate.audit.quarantine import MAX_MESSAGE, SYSTEM, Quarantine, needs_finding
from quorate.audit.verify import StoredHead, Verdict
from quorate.canonical import encode_base64, format_time
from quorate.identity.vkey import VerifierKey
from quorate_operator.custody.outside import LogKeys, vouches
from quorate_operator.custody.verified import Verified, condition_of, fields_of, read_result
from quorate_operator.kube.conditions import status_with
from quorate_operator.kube.resources import Key, Obj
from quorate_operator.reconcile.cosignatures import Cosignatures, Witnessed
from quorate_operator.reconcile.domains import Domains
from quorate_operator.reconcile.protocol import Context, Plan, Relation
from quorate_operator.view import View


def manifest(chain: str) -> Obj:
    """The object that the operator makes for a chain that has none; no domain takes the name of `system`'s."""
    name = chain.rpartition("/")[2]
    return {
        "apiVersion": API_VERSION,
        "kind": "AuditCheckpoint",
        "metadata": {"name": f"domain-{name}" if name == SYSTEM and chain != SYSTEM else name},
        "spec": {"chain": chain},
    }


def keys_of(view: View, chain: str) -> list[Key]:
    """The AuditCheckpoints of a chain."""
    return [key for key in view.keys("AuditCheckpoint") if (view.get(key) or {})["spec"]["chain"] == chain]


@dataclass(frozen=True)
class Gathered:
    """An AuditCheckpoint with the newest note of its chain, and the chain's head; None: there is none.

    `quarantines` are all of the chain, `result` is its last verification, `refused` why it does not go on although that
    is signed, `witnessed` what witnesses say of the note. `kept`: the status shows a signed checkpoint that
    the database does not continue; it may be all that proves it, so it stays. `guarded` is of chain `system`.
    """

    obj: Obj
    head: StoredHead | None
    quarantines: tuple[Quarantine, ...] = ()
    result: Verified | None = None
    refused: str | None = None
    witnessed: Witnessed = field(default_factory=Witnessed)
    kept: bool = False
    archived: Mapping[str, Any] | None = None
    guarded: Observation | None = None

    @property
    def note(self) -> str | None:
        """The newest note with its cosignatures."""
        return self.witnessed.note

    @property
    def quarantine(self) -> Quarantine | None:
        """The open quarantine."""
        return next((item for item in self.quarantines if item.resumed_at is None), None)


class AuditCheckpoints:
    """Reconciles AuditCheckpoints; the schedules mark them when a checkpoint was signed or verified."""

    kind = "AuditCheckpoint"

    def __init__(self, domains: Domains) -> None:
        self._cosignatures = Cosignatures(domains)
        self._accepted: dict[str, Any] = {}
        self.relations: Mapping[str, Relation] = {"Lease": _of_lease, "TrustDomain": self._of_domain}

    def _of_domain(self, obj: Obj, view: View) -> Sequence[Key]:
        """Another accepted revision may have other witnesses."""
        name, accepted = obj["metadata"]["name"], ((obj.get("status") or {}).get("accepted") or {}).get("digest")
        if self._accepted.get(name) == accepted:
            return ()
        self._accepted[name] = accepted
        return keys_of(view, f"{obj['spec'].get('meshId')}/{name}")

    async def gather(self, keys: Sequence[Key], context: Context) -> dict[Key, Gathered]:
        """One query for the heads, one for the quarantines, one for each chain's notes."""
        heads = {head.chain_id: head for head in await context.log.chains()}
        quarantines = await context.log.quarantines()
        found = {}
        for key in keys:
            obj = context.view.get(key)
            if obj is None:
                continue
            chain = obj["spec"]["chain"]
            status = obj.get("status") or {}
            shown = read_result(obj) if status.get("result") else None
            gathered = Gathered(
                obj,
                heads.get(chain),
                tuple(item for item in quarantines if item.chain_id == chain),
                context.results.get(chain, shown),
                context.refused.get(chain),
                await self._cosignatures.gather(chain, context, status),
                archived=status.get("archived") if obj["spec"].get("archive") else None,
                guarded=context.guarded.get(chain),
            )
            if chain in context.archived:
                gathered = replace(gathered, archived=context.archived[chain].document())
            kept = _contradicts(gathered) and await self._stays(gathered, context)
            found[key] = replace(gathered, kept=kept)
        return found

    async def _stays(self, gathered: Gathered, context: Context) -> bool:
        """Whether a key of the log signed what the status shows, and no newer one that people gave it up."""
        chain = gathered.obj["spec"]["chain"]
        keys = (await LogKeys(context, self._cosignatures.domains)([chain]))[chain]
        shown, newest = (_signed_by(note, keys, chain) for note in (gathered.obj["status"]["note"], gathered.note))
        if shown is None or newest is None:
            return shown is not None
        ended = [item for item in gathered.quarantines if shown in item.lost]
        return not any([await vouches(context.log, newest, item) for item in ended])

    def decide(self, gathered: Gathered, now: int) -> Plan:
        """Show the newest note, the last verification, the cosignatures and the quarantine."""
        checkpoint = None if gathered.note is None else _open(gathered.note)
        fields = {**fields_of(gathered.result), "quarantine": _quarantine(gathered), "archived": gathered.archived}
        if checkpoint is not None and not gathered.kept:
            fields |= _signed(gathered, checkpoint)
        observations = [*_ready(gathered, checkpoint), condition_of(gathered.result)]
        if gathered.guarded is not None:
            observations.append(gathered.guarded)
        status = status_with(gathered.obj, fields, observations, now=now)
        return Plan(status=status, commands=gathered.witnessed.commands, dirty=gathered.witnessed.dirty)


def _of_lease(obj: Obj, view: View) -> Sequence[Key]:
    name = obj["metadata"]["name"]
    if not name.startswith(COSIGNATURE_PREFIX):
        return ()
    domain = name.removeprefix(COSIGNATURE_PREFIX)
    chains = [(key, (view.get(key) or {})["spec"]["chain"]) for key in view.keys("AuditCheckpoint")]
    return [key for key, chain in chains if chain.partition("/")[2] == domain]


def _contradicts(gathered: Gathered) -> bool:
    """Whether the status shows a checkpoint that the newest one may not replace, unless a stranger wrote it there."""
    note = (gathered.obj.get("status") or {}).get("note")
    shown, newest = note and _open(note), gathered.note and _open(gathered.note)
    if not shown or not newest or shown == newest:
        return False
    return gathered.quarantine is not None or shown.size >= newest.size


def _signed_by(note: str | None, keys: Sequence[VerifierKey], chain: str) -> Checkpoint | None:
    try:
        return open_checkpoint(note or "", keys, origin=chain)
    except CheckpointError:
        return None


def _signed(gathered: Gathered, checkpoint: Checkpoint) -> dict[str, Any]:
    head = gathered.head
    return {
        "size": checkpoint.size,
        "root": encode_base64(checkpoint.root),
        "note": gathered.note,
        "head": head.chain.hex() if head is not None and head.size == checkpoint.size else None,
        "cosignatures": [dict(item) for item in gathered.witnessed.cosignatures] or None,
        "consistency": [dict(item) for item in gathered.witnessed.consistency] or None,
    }


def _quarantine(gathered: Gathered) -> dict[str, Any] | None:
    item = gathered.quarantine
    if item is None:
        return None
    shown = {
        "number": item.number,
        "cause": item.cause,
        "message": item.message[:MAX_MESSAGE],
        "raisedAt": format_time(item.raised_at // 1_000_000),
        "epoch": item.epoch,
        "size": item.size,
        "head": item.terms["head"],
    }
    if needs_finding(item, gathered.quarantines):
        shown["needsFinding"] = True
    return shown


def _ready(gathered: Gathered, checkpoint: Checkpoint | None) -> list[Observation]:
    chain, spec = gathered.obj["spec"]["chain"], gathered.obj["spec"]
    if gathered.quarantine is not None:
        item = gathered.quarantine
        message = f"chain {chain} is stopped (quarantine {item.number}, {item.cause}): {item.message}"
        message += f"; {gathered.refused or 'see `quorate audit quarantine show` and docs/quarantine.md'}"
        return _not_ready(ConditionType.STALLED, Reason.CHAIN_QUARANTINED, message)
    if checkpoint is None:
        message = f"chain {chain} has no signed checkpoint yet: it needs an entry and a log key on this hub"
        return _not_ready(ConditionType.RECONCILING, Reason.WAITING, message)
    result = gathered.result
    if result is not None and result.verdict == Verdict.TAMPERED:
        return _not_ready(ConditionType.STALLED, Reason.VERIFICATION_FAILED, result.message)
    missing = (spec.get("requireWitnesses") or 0) - gathered.witnessed.witnesses
    if missing > 0:
        message = f"the checkpoint of {checkpoint.size} entries lacks {missing} of {spec['requireWitnesses']} witnesses"
        return _not_ready(ConditionType.RECONCILING, Reason.WITNESSES_MISSING, message)
    if spec.get("verify") != Verify.NONE and (result is None or result.at is None):
        message = "signed, and not verified yet" if result is None else result.message
        return _not_ready(ConditionType.RECONCILING, Reason.NOT_VERIFIED, message)
    message = f"the newest checkpoint covers {checkpoint.size} entries"
    return [observe(ConditionType.READY, True, Reason.READY, message)]


def _not_ready(progress: ConditionType, reason: Reason, message: str) -> list[Observation]:
    return [observe(ConditionType.READY, False, reason, message), observe(progress, True, reason, message)]


def _open(note: str) -> Checkpoint | None:
    try:
        return parse_checkpoint(parse_note(note).text)
    except (CheckpointError, NoteError):
        return None
