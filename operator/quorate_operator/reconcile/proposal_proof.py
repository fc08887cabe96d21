"""The proof of a decision, once signed checkpoints cover its entries (trust.md, "Evidence and proof")."""

from collections.abc import Sequence
from dataclasses import replace

from quorate.audit.checkpoint import CheckpointError, open_checkpoint
from quorate.audit.note import NoteError
from quorate.canonical import canonical_bytes, digest_of_bytes
from quorate.identity.vkey import VerifierKey, parse_verifier_key
from quorate.proposals.bundle import Bundle, parse_bundle
from quorate.proposals.proof import ChainProof, ProvenEntry, build_proof
from quorate_operator.reconcile.cosignatures import cosigned_by, required_witnesses, witness_keys
from quorate_operator.reconcile.docket import Docket
from quorate_operator.reconcile.domains import Constitution
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
    bundle = parse_bundle(evidence)
    for chain, entry in bundle.entries():
        wanted.setdefault(chain, set()).add(entry["entry_id"])
    recorded = [*docket.entries, *docket.delegations]
    recorded += [entry for item in docket.constitutions.values() for entry in (*item.accepting, *item.recoveries)]
    chains = []
    for chain, ids in wanted.items():
        entries = {item.entry_id: item for item in recorded if item.chain_id == chain and str(item.entry_id) in ids}
        if {str(entry_id) for entry_id in entries} != ids:
            return None
        ordered = sorted(entries.values(), key=lambda item: item.sequence)
        constitution = next(item for item in docket.constitutions.values() if item.chain == chain)
        proof = await _chain(ordered, _log_keys(bundle, chain), constitution, context)
        if proof is None:
            return None
        chains.append(proof)
    return canonical_bytes(build_proof(digest_of_bytes(evidence), chains))


def _log_keys(bundle: Bundle, chain: str) -> list[VerifierKey]:
    """The log keys by which a verifier of the evidence will judge a checkpoint: those of the revisions in it."""
    record = bundle.domains[chain.partition("/")[2]]
    logs = (item.spec.get("log") or {} for item in record.revisions)
    return [parse_verifier_key(text) for text in dict.fromkeys(key for log in logs for key in log.get("keys") or ())]


async def _chain(
    entries: Sequence[Recorded], keys: Sequence[VerifierKey], constitution: Constitution, context: Context
) -> ChainProof | None:
    """By the first checkpoint that covers all entries and has the witnesses that are asked for, and no others.

    So the proof is the same whenever it is made.
    """
    chain, members = constitution.chain, witness_keys(constitution.latest)
    needed = required_witnesses(context.view, chain)
    for kept in await context.log.checkpoints(chain, entries[-1].sequence + 1):
        try:
            note = cosigned_by(kept, keys, members, needed)
            size = open_checkpoint(note, keys, origin=chain).size
        except (CheckpointError, NoteError):
            continue  # signed by a key that the domain does not know, or too few witnesses
        proven = []
        for entry in entries:
            _, path = await context.log.inclusion_proof(chain, entry.sequence, size)
            proven.append(ProvenEntry(entry.sequence, entry.record, tuple(path)))
        return ChainProof(chain, note, tuple(proven))
    return None
