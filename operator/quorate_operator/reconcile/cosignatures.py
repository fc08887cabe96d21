"""What witnesses say of a chain: Leases in which they show the checkpoint that they cosigned last (docs/witnesses.md).

A cosignature counts by its signature alone: it must be by a Witness key of a ComplianceWitness that the accepted
revision has and does not suspend. What a witness showed last is also what it can go on from, so the hub offers a
consistency proof from there.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from quorate.api.manifests import COSIGNATURE_PREFIX
from quorate.api.schema import Role
from quorate.audit.checkpoint import Checkpoint, CheckpointError, parse_checkpoint
from quorate.audit.note import Cosignature, Note, NoteError, SignatureLine, parse_note, verify_note
from quorate.audit.quarantine import Cause, Finding
from quorate.audit.witness import Conflict, ConflictError, Consistency, check_conflict, witnesses_of
from quorate.audit.witness_form import FormError, consistency_document, encode_conflict, parse_conflict
from quorate.canonical import format_time, parse_json
from quorate.identity.vkey import VerifierKey, parse_verifier_key
from quorate.trust.domain import DomainRevision
from quorate_operator.kube.resources import CONFLICT_ANNOTATION, COSIGNED_ANNOTATION, Key, Obj, key_of
from quorate_operator.reconcile.domains import Domains
from quorate_operator.reconcile.protocol import Command, Context, KeepCosignatures, StopChain
from quorate_operator.view import View

_log = logging.getLogger(__name__)
MAX_AHEAD_SECONDS = 300
MAX_OFFERS = 64
MAX_LINES = 80
"""Signatures of a note, the log's included; a reader takes 100."""


@dataclass(frozen=True)
class Witnessed:
    """A chain's newest note with what witnesses added, and what follows from what they show.

    Args of note: `cosignatures` {name, at} and `witnesses` (distinct members) are of the newest note, by the accepted
    revision; `consistency` are the elements of the status field; `commands` keep new lines and stop a chain of which
    two histories were proven; `dirty` are the proposals whose proofs may become better by new lines.
    """

    note: str | None = None
    cosignatures: tuple[Mapping[str, Any], ...] = ()
    witnesses: int = 0
    consistency: tuple[Mapping[str, Any], ...] = ()
    commands: tuple[Command, ...] = ()
    dirty: tuple[Key, ...] = ()


@dataclass(frozen=True)
class Shown:
    """A Lease whose cosigned note verifies: the log signed it, and so did witnesses of the domain."""

    lease: Key
    checkpoint: Checkpoint
    note: Note


@dataclass
class Cosignatures:
    """Reads the Leases of witnesses for the reconciler of AuditCheckpoints."""

    domains: Domains
    _proofs: dict[str, tuple[int, dict[int, Consistency]]] = field(default_factory=dict)
    _settled: dict[str, list[Shown]] = field(default_factory=dict)
    """What is shown now and needs no look at the stored notes any more: old notes are many."""
    _said: dict[Key, str] = field(default_factory=dict)

    async def gather(self, chain: str, context: Context, status: Mapping[str, Any]) -> Witnessed:
        """What is to be shown of a chain. `status` is the object's: it says from where on notes are of interest."""
        found = await self.domains.get(context, [chain.partition("/")[2]])
        constitution = next((item for item in found.values() if item.chain == chain), None)
        if constitution is None:
            notes = await self._notes(chain, context, status, ())
            return Witnessed(notes[-1] if notes else None)
        members, keys = witness_keys(constitution.latest), log_keys(constitution.latest)
        leases = leases_of(context.view, chain)
        shown = [item for lease in leases if (item := self._shown(lease, chain, keys, members, context.clock()))]
        new = [item for item in shown if item not in self._settled.get(chain, ())]
        notes = await self._notes(chain, context, status, [item.checkpoint.size for item in new])
        kept = _kept(chain, notes, new, members)
        self._settled[chain] = [item for item in shown if item not in new or item.checkpoint.size not in kept]
        commands = (*_stops(leases, chain, keys, await _given_up(leases, chain, context)), *kept.values())
        if not notes:
            return Witnessed(commands=commands)
        newest = parse_note(notes[-1])
        newest = newest.extended(_new_lines(newest, shown, members))
        cosigned = _cosignatures(newest, keys, members)
        return Witnessed(
            str(newest),
            tuple({"name": item.key.name, "at": format_time(item.at)} for item in cosigned),
            witnesses_of(cosigned, members),
            tuple([consistency_document(item) for item in await self._offers(chain, newest, shown, context)]),
            commands,
            tuple(context.view.by("GovernanceProposal", "domain", chain.partition("/")[2])) if kept else (),
        )

    async def _notes(
        self, chain: str, context: Context, status: Mapping[str, Any], sizes: Iterable[int]
    ) -> Sequence[str]:
        """Stored notes from the oldest that matters on: all that there ever were would be too many."""
        start = min([status.get("size") or 0, *sizes])
        notes = await context.log.checkpoints(chain, start)
        return notes if notes or not start else await context.log.checkpoints(chain)

    def _shown(
        self, lease: Obj, chain: str, keys: Sequence[VerifierKey], members: Mapping[VerifierKey, str], now: float
    ) -> Shown | None:
        text = _annotations(lease).get(COSIGNED_ANNOTATION)
        if text is None:
            return None
        try:
            note = verify_note(text, keys, members)
            checkpoint = parse_checkpoint(note.text)
            _check(note, checkpoint, chain, now)
        except (NoteError, CheckpointError) as error:
            if self._said.get(key_of(lease)) != str(error):
                self._said[key_of(lease)] = str(error)
                _log.warning("%s: %s", key_of(lease), error, extra={"reason": "CosignatureRefused", "chain": chain})
            return None
        return Shown(key_of(lease), checkpoint, note)

    async def _offers(self, chain: str, newest: Note, shown: Sequence[Shown], context: Context) -> list[Consistency]:
        """The proof from each size that a witness showed, with the root that our own tree has there."""
        size = parse_checkpoint(newest.text).size
        held, proofs = self._proofs.get(chain, (0, {}))
        if held != size:
            proofs = {}
        wanted = sorted({item.checkpoint.size for item in shown if item.checkpoint.size < size})[-MAX_OFFERS:]
        for old in wanted:
            if old not in proofs:
                root = (await context.log.inclusion_proof(chain, 0, old))[0].root
                proofs[old] = Consistency(old, root, tuple(await context.log.consistency_proof(chain, old, size)))
        self._proofs[chain] = (size, proofs)
        return [proofs[old] for old in wanted]


def witness_keys(revision: DomainRevision) -> dict[VerifierKey, str]:
    """The nodeId of each Witness key whose cosignatures count under a revision."""
    return {
        parse_verifier_key(key.public_key): member.node_id
        for member in revision.members.values()
        if member.role == Role.COMPLIANCE_WITNESS and not member.suspended
        for key in member.keys
        if key.purpose == "Witness"
    }


def log_keys(revision: DomainRevision) -> list[VerifierKey]:
    """The keys that may sign the domain's log."""
    return [parse_verifier_key(text) for text in revision.log_keys]


def required_witnesses(view: View, chain: str) -> int:
    """How many witnesses the AuditCheckpoints of a chain ask for."""
    wanted = [obj["spec"] for obj in view.all("AuditCheckpoint") if obj["spec"]["chain"] == chain]
    return max((spec.get("requireWitnesses") or 0 for spec in wanted), default=0)


def cosigned_by(note: str, keys: Sequence[VerifierKey], members: Mapping[VerifierKey, str], needed: int) -> str:
    """The note with the log's signature and the first cosignatures of `needed` members; NoteError if it has fewer."""
    verified = verify_note(note, keys, members)
    first: dict[str, SignatureLine] = {}
    for item in verified.cosignatures:
        if len(first) < needed:
            first.setdefault(members[item.key], item.line)
    if len(first) < needed:
        raise NoteError(f"{len(first)} of {needed} witnesses cosigned it")
    return str(verified.signed_by(keys).extended(first.values()))


def leases_of(view: View, chain: str) -> list[Obj]:
    """The Leases in which witnesses show what they cosigned of a chain."""
    name = f"{COSIGNATURE_PREFIX}{chain.partition('/')[2]}"
    return [lease for key in view.by("Lease", "name", name) if (lease := view.get(key)) is not None]


def notes_of(leases: Iterable[Obj]) -> list[tuple[str, str]]:
    """(note, where it is) of everything that witnesses show, also as evidence; nothing of it is verified."""
    found = []
    for lease in leases:
        annotations, where = _annotations(lease), f"Lease {lease['metadata'].get('namespace')}"
        if text := annotations.get(COSIGNED_ANNOTATION):
            found.append((text, where))
        try:
            conflict = parse_conflict(annotations.get(CONFLICT_ANNOTATION) or "")
        except FormError:
            continue
        found += [(conflict.older, where), (conflict.newer, where)]
    return found


def _annotations(lease: Obj) -> Mapping[str, str]:
    return lease["metadata"].get("annotations") or {}


def _check(note: Note, checkpoint: Checkpoint, chain: str, now: float) -> None:
    if checkpoint.origin != chain:
        raise CheckpointError(f"the checkpoint is of log {checkpoint.origin!r}, not {chain!r}")
    if not note.cosignatures:
        raise NoteError("no Witness key of the accepted revision cosigned it")
    for item in note.cosignatures:
        if item.at > now + MAX_AHEAD_SECONDS:
            message = f"{item.key.name} cosigned at {format_time(item.at)}, more than {MAX_AHEAD_SECONDS} s ahead"
            raise NoteError(message)


def _kept(
    chain: str, notes: Sequence[str], shown: Sequence[Shown], members: Mapping[VerifierKey, str]
) -> dict[int, KeepCosignatures]:
    """New lines for notes of ours, by size; a note that is not ours is compared by `Outside`."""
    found: dict[int, KeepCosignatures] = {}
    for note in map(parse_note, notes):
        lines = _new_lines(note, shown, members)
        if lines:
            size = parse_checkpoint(note.text).size
            found[size] = KeepCosignatures(chain, size, lines)
    return found


def _new_lines(note: Note, shown: Sequence[Shown], members: Mapping[VerifierKey, str]) -> tuple[SignatureLine, ...]:
    """Lines for this note, one of each member, as long as there is room: a note with too many could not be read."""
    holders = {(key.name, key.key_id): member for key, member in members.items()}
    present = {holders.get((line.name, line.key_id)) for line in note.signatures}
    found: list[SignatureLine] = []
    for cosignature in (item for one in shown if one.note.text == note.text for item in one.note.cosignatures):
        member = members[cosignature.key]
        if member not in present and len(note.signatures) + len(found) < MAX_LINES:
            present.add(member)
            found.append(cosignature.line)
    return tuple(found)


def _cosignatures(note: Note, keys: Sequence[VerifierKey], members: Iterable[VerifierKey]) -> tuple[Cosignature, ...]:
    try:
        return verify_note(str(note), keys, list(members)).cosignatures
    except NoteError:
        return ()  # signed by a key that the constitution does not know: nobody could have cosigned it


async def _given_up(leases: Sequence[Obj], chain: str, context: Context) -> set[Checkpoint]:
    """Checkpoints that a resumption cites as lost; only asked where somebody shows a conflict."""
    if not any(CONFLICT_ANNOTATION in _annotations(lease) for lease in leases):
        return set()
    return {lost for item in await context.log.quarantines() if item.chain_id == chain for lost in item.lost}


def _stops(leases: Sequence[Obj], chain: str, keys: Sequence[VerifierKey], given_up: set[Checkpoint]) -> list[Command]:
    """Stop the chain for evidence that verifies, whoever shows it, unless people resumed in its knowledge."""
    for lease in leases:
        text = _annotations(lease).get(CONFLICT_ANNOTATION)
        if text is None:
            continue
        try:
            conflict = parse_conflict(text)
            found = check_conflict(conflict, keys, origin=chain)
        except (FormError, ConflictError) as error:
            _log.warning("%s: proves nothing: %s", key_of(lease), error, extra={"reason": "ConflictRefused"})
            continue
        if not given_up.intersection(found):
            return [StopChain(chain, _finding(conflict, found, key_of(lease)))]
    return []


def _finding(conflict: Conflict, found: tuple[Checkpoint, Checkpoint], lease: Key) -> Finding:
    older, newer = found
    what = f"two roots at size {older.size}" if older.size == newer.size else f"sizes {older.size} and {newer.size}"
    message = f"a witness ({lease}) shows two checkpoints that this log's key signed and no history has: {what}"
    return Finding(Cause.SPLIT_VIEW, message, {"conflict": parse_json(encode_conflict(conflict)), "source": str(lease)})
