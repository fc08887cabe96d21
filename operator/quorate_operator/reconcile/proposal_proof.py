"""The proof of a decision, once signed checkpoints cover its entries (trust.md, "Evidence and proof")."""

from collections.abc import Sequence
from dataclasses import replace

from quorate.audit.checkpoint import CheckpointError, parse_checkpoint
from quorate.audit.note import NoteError, parse_note
from quorate.canonical import canonical_bytes, digest_of_bytes
from quorate.proposals.bundle import parse_bundle
from quorate.proposals.proof import ChainProof, ProvenEntry, build_proof
from quorate_operator.reconcile.docket import Docket
from quorate_operator.reconcile.projection import project
from quorate_operator.reconcile.proposal_gathered import Gathered
from quorate_operator.reconcile.protocol import Context
from quorate_operator.store.ports import Recorded


async def gather_proof(gathered: Gathered, docket: Docket, context: Context) -> Gathered:
    """Make the proof when a checkpoint of each chain covers every entry of the evidence; else as it was."""
    if gathered.evidence is None or not docket.life.final:
        return gathered
    held = docket.made.get("proof")
    evidence_digest = digest_of_bytes(gathered.evidence)
    if held is None or held[0] != evidence_digest:
        proof = await _prove(gathered.evidence, docket, context)
        if proof is None:
            return gathered
        held = docket.made["proof"] = (evidence_digest, proof)
    data = held[1]
    commands = (*gathered.projections, *project(context.view, digest_of_bytes(data), data))
    return replace(gathered, proof_digest=digest_of_bytes(data), projections=commands)


async def _prove(evidence: bytes, docket: Docket, context: Context) -> bytes | None:
    wanted: dict[str, set[str]] = {}
    for chain, entry in parse_bundle(evidence).entries():
        wanted.setdefault(chain, set()).add(entry["entry_id"])
    recorded = [*docket.entries, *docket.delegations]
    recorded += [entry for item in docket.constitutions.values() for entry in (*item.accepting, *item.recoveries)]
    chains = []
    for chain, ids in wanted.items():
        entries = {item.entry_id: item for item in recorded if item.chain_id == chain and str(item.entry_id) in ids}
        if {str(entry_id) for entry_id in entries} != ids:
            return None
        proof = await _chain(chain, sorted(entries.values(), key=lambda item: item.sequence), context)
        if proof is None:
            return None
        chains.append(proof)
    return canonical_bytes(build_proof(digest_of_bytes(evidence), chains))


async def _chain(chain: str, entries: Sequence[Recorded], context: Context) -> ChainProof | None:
    """By the first checkpoint that covers all entries, so that the proof is the same whenever it is made."""
    for note in await context.log.checkpoints(chain):
        size = _size(note)
        if entries[-1].sequence >= size:
            continue
        proven = []
        for entry in entries:
            _, path = await context.log.inclusion_proof(chain, entry.sequence, size)
            proven.append(ProvenEntry(entry.sequence, entry.record, tuple(path)))
        return ChainProof(chain, note, tuple(proven))
    return None


def _size(note: str) -> int:
    try:
        return parse_checkpoint(parse_note(note).text).size
    except (CheckpointError, NoteError):
        return 0
