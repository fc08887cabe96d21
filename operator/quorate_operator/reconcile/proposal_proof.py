"""The proof of a decision, once signed checkpoints cover its entries (trust.md, "Evidence and proof")."""

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from quorate.audit.checkpoint import CheckpointError, open_checkpoint
from quorate.audit.note import NoteError
from quorate.canonical import canonical_bytes, digest_of_bytes
from quorate.identity.vkey import VerifierKey, parse_verifier_key
from quorate.proposals.bundle import Bundle, parse_bundle
from quorate.proposals.proof import ChainProof, ProvenEntry, build_proof
from quorate_operator.reconcile.cosignatures import cosigned_by, required_witnesses, witness_keys
from quorate_operator.reconcile.docket import Docket
from quorate_operator.reconcile.domains import Constitution, Domains
from quorate_operator.reconcile.projection import project
from quorate_operator.reconcile.proposal_gathered import Gathered
from quorate_operator.reconcile.protocol import Context
from quorate_operator.store.ports import Recorded


async def gather_proof(gathered: Gathered, docket: Docket, context: Context, domains: Domains) -> Gathered:
    """Make the proof when a checkpoint of each chain covers every entry of the evidence; else as it was."""
    if gathered.evidence is None or not docket.life.final:
        return gathered
    held = docket.made.get("proof")
    evidence_digest = digest_of_bytes(gathered.evidence)
    if held is None or held[0] != evidence_digest:
        proof = await _prove(gathered.evidence, docket, context, domains)
        if proof is None:
            return gathered
        held = docket.made["proof"] = (evidence_digest, proof)
    data = held[1]
    commands = (*gathered.projections, *project(context.view, digest_of_bytes(data), data))
    return replace(gathered, proof_digest=digest_of_bytes(data), projections=commands)


async def _prove(evidence: bytes, docket: Docket, context: Context, domains: Domains) -> bytes | None:
    wanted: dict[str, set[UUID]] = {}
    bundle = parse_bundle(evidence)
    for chain, entry in bundle.entries():
        wanted.setdefault(chain, set()).add(UUID(entry["entry_id"]))
    known = [*docket.entries, *docket.delegations, *docket.attestations]
    known += [entry for item in docket.constitutions.values() for entry in (*item.accepting, *item.recoveries)]
    recorded = {item.entry_id: item for item in known}
    others = {item for ids in wanted.values() for item in ids} - recorded.keys()
    recorded |= (
        await context.log.recorded(sorted(others)) if others else {}
    )  # of a conflict, of what authorised a revision
    names = {chain: chain.partition("/")[2] for chain in wanted}
    constitutions = await domains.get(context, names.values())
    chains = []
    for chain, ids in wanted.items():
        entries = [recorded[item] for item in ids if item in recorded and recorded[item].chain_id == chain]
        if len(entries) != len(ids) or names[chain] not in constitutions:
            return None
        ordered = sorted(entries, key=lambda item: item.sequence)
        proof = await _chain(ordered, _log_keys(bundle, names[chain]), constitutions[names[chain]], context)
        if proof is None:
            return None
        chains.append(proof)
    return canonical_bytes(build_proof(digest_of_bytes(evidence), chains))


def _log_keys(bundle: Bundle, name: str) -> list[VerifierKey]:
    """The log keys by which a verifier of the evidence will judge a checkpoint: those of the revisions in it."""
    logs = (item.spec.get("log") or {} for item in bundle.revisions_of(name))
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
