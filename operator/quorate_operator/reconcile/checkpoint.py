"""AuditCheckpoint: the newest signed head of a chain, where people and witnesses can fetch it (audit.md, 7).

The operator makes one object per chain and updates it in place; what it asks for beyond the signature (verification by
the operator, witnesses, archive) is not built yet, and the object says so instead of looking verified.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quorate.api.conditions import ConditionType, Reason, observe
from quorate.api.resource import API_VERSION
from quorate.audit.checkpoint import Checkpoint, CheckpointError, parse_checkpoint
from quorate.audit.note import NoteError, parse_note
from quorate.audit.verify import StoredHead
from quorate.canonical import encode_base64
from quorate_operator.kube.conditions import status_with
from quorate_operator.kube.resources import Key, Obj
from quorate_operator.reconcile.protocol import Context, Plan, Relation
from quorate_operator.view import View


def manifest(chain: str) -> Obj:
    """The object that the operator makes for a chain that has none."""
    return {
        "apiVersion": API_VERSION,
        "kind": "AuditCheckpoint",
        "metadata": {"name": chain.rpartition("/")[2]},
        "spec": {"chain": chain, "verify": "None"},
    }


def keys_of(view: View, chain: str) -> list[Key]:
    """The AuditCheckpoints of a chain."""
    return [key for key in view.keys("AuditCheckpoint") if (view.get(key) or {})["spec"]["chain"] == chain]


@dataclass(frozen=True)
class Gathered:
    """An AuditCheckpoint with the newest note of its chain, and the chain's head; None: there is none."""

    obj: Obj
    note: str | None
    head: StoredHead | None


class AuditCheckpoints:
    """Reconciles AuditCheckpoints; the schedule marks them when a checkpoint was signed."""

    kind = "AuditCheckpoint"

    def __init__(self) -> None:
        self.relations: Mapping[str, Relation] = {}

    async def gather(self, keys: Sequence[Key], context: Context) -> dict[Key, Gathered]:
        """One query for the heads, one for each chain's notes."""
        heads = {head.chain_id: head for head in await context.log.chains()}
        found = {}
        for key in keys:
            obj = context.view.get(key)
            if obj is None:
                continue
            notes = await context.log.checkpoints(obj["spec"]["chain"])
            found[key] = Gathered(obj, notes[-1] if notes else None, heads.get(obj["spec"]["chain"]))
        return found

    def decide(self, gathered: Gathered, now: int) -> Plan:
        """Show the newest note, and what is asked for but not built."""
        obj, chain = gathered.obj, gathered.obj["spec"]["chain"]
        checkpoint = None if gathered.note is None else _open(gathered.note)
        if checkpoint is None:
            message = f"chain {chain} has no signed checkpoint yet: it needs an entry and a log key on this hub"
            observations = [
                observe(ConditionType.READY, False, Reason.WAITING, message),
                observe(ConditionType.RECONCILING, True, Reason.WAITING, message),
            ]
            return Plan(status=status_with(obj, {}, observations, now=now))
        fields: dict[str, Any] = {
            "size": checkpoint.size,
            "root": encode_base64(checkpoint.root),
            "note": gathered.note,
            "head": None,
        }
        if gathered.head is not None and gathered.head.size == checkpoint.size:
            fields["head"] = gathered.head.chain.hex()
        missing = _not_built(obj["spec"])
        if missing:
            message = f"signed, but this version does not do what is asked: {', '.join(missing)}"
            observations = [
                observe(ConditionType.READY, False, Reason.NOT_IMPLEMENTED, message),
                observe(ConditionType.STALLED, True, Reason.NOT_IMPLEMENTED, message),
            ]
        else:
            message = f"the newest checkpoint covers {checkpoint.size} entries"
            observations = [observe(ConditionType.READY, True, Reason.READY, message)]
        return Plan(status=status_with(obj, fields, observations, now=now))


def _open(note: str) -> Checkpoint | None:
    try:
        return parse_checkpoint(parse_note(note).text)
    except (CheckpointError, NoteError):
        return None


def _not_built(spec: Mapping[str, Any]) -> list[str]:
    missing = []
    if spec.get("verify") != "None":
        missing.append(f"spec.verify {spec.get('verify') or 'SinceLast'}")
    if spec.get("requireWitnesses"):
        missing.append(f"spec.requireWitnesses {spec['requireWitnesses']}")
    if spec.get("archive"):
        missing.append("spec.archive")
    return missing
