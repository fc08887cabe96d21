"""The proof of an evidence bundle: inclusion of its entries under a signed checkpoint (trust.md, "Evidence and proof").

The proof is a second document, made when a checkpoint covers the entries; its form is in `quorate.proposals.bundle`.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quorate.audit.checkpoint import Checkpoint, CheckpointError, open_checkpoint
from quorate.audit.entry import content_hash
from quorate.audit.merkle import ProofError, verify_inclusion
from quorate.audit.record import Record, RecordError, leaf_hash
from quorate.canonical import canonical_bytes
from quorate.identity.vkey import VerifierKey
from quorate.proposals.bundle import PROOF_FORMAT, Entry


@dataclass(frozen=True)
class ProvenEntry:
    """One sealed record (its bytes) at `index` of its chain, with its audit path (32-byte hashes, leaf upwards)."""

    index: int
    record: bytes
    path: tuple[bytes, ...]


@dataclass(frozen=True)
class ChainProof:
    """The entries of one chain under one signed checkpoint (the note's text)."""

    origin: str
    checkpoint: str
    entries: tuple[ProvenEntry, ...]


def build_proof(evidence_digest: str, chains: Iterable[ChainProof]) -> dict[str, Any]:
    """The proof document."""
    return {
        "format": PROOF_FORMAT,
        "evidenceDigest": evidence_digest,
        "chains": [
            {
                "origin": chain.origin,
                "checkpoint": chain.checkpoint,
                "entries": [
                    {"index": item.index, "record": _encode(item.record), "path": [_encode(step) for step in item.path]}
                    for item in sorted(chain.entries, key=lambda item: item.index)
                ],
            }
            for chain in sorted(chains, key=lambda chain: chain.origin)
        ],
    }


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def check_proof(
    document: Mapping[str, Any],
    *,
    evidence_digest: str,
    entries: Sequence[tuple[str, Entry]],
    keys: Mapping[str, Sequence[VerifierKey]],
) -> list[str]:
    """What is wrong with a proof; empty: every entry is in its chain under a checkpoint signed by the log's key.

    Args:
        document: The proof.
        evidence_digest: Of the bundle.
        entries: (chain, content) of each entry of the bundle.
        keys: Log keys by chain, from the domain's revisions.
    """
    try:
        if document["format"] != PROOF_FORMAT:
            return [f"format {document['format']!r} must be {PROOF_FORMAT!r}"]
        if document["evidenceDigest"] != evidence_digest:
            return [f"the proof is of evidence {document['evidenceDigest']}, not of {evidence_digest}"]
        proven: dict[str, set[bytes]] = {}
        faults: list[str] = []
        for chain in document["chains"]:
            known = keys.get(chain["origin"], ())
            faults += _check_chain(chain, known, proven.setdefault(chain["origin"], set()))
    except (KeyError, TypeError, AttributeError, ValueError, binascii.Error) as error:
        return [f"the proof is not of the form {PROOF_FORMAT}: {error!r}"]
    faults += [
        f"entry {entry['entry_id']} ({entry['event_type']}) has no inclusion proof in chain {chain}"
        for chain, entry in entries
        if canonical_bytes(dict(entry)) not in proven.get(chain, set())
    ]
    return faults


def _check_chain(chain: Mapping[str, Any], keys: Sequence[VerifierKey], proven: set[bytes]) -> list[str]:
    try:
        checkpoint = open_checkpoint(chain["checkpoint"], keys, origin=chain["origin"])
    except CheckpointError as error:
        return [f"checkpoint of chain {chain['origin']}: {error}"]
    faults = []
    for item in chain["entries"]:
        try:
            proven.add(_check_inclusion(item, checkpoint))
        except (RecordError, ProofError) as error:
            faults.append(f"chain {chain['origin']}, index {item['index']}: {error}")
    return faults


def _check_inclusion(item: Mapping[str, Any], checkpoint: Checkpoint) -> bytes:
    """The content bytes of a record that is in the tree; raises RecordError or ProofError."""
    data = base64.b64decode(item["record"], validate=True)
    record = Record.decode(data)
    if (record.chain_id, record.sequence) != (checkpoint.origin, item["index"]):
        raise RecordError(f"the record says chain {record.chain_id}, sequence {record.sequence}")
    if content_hash(record.content) != record.entry_hash:
        raise RecordError("the content does not have the entry hash of its record")
    path = [base64.b64decode(step, validate=True) for step in item["path"]]
    verify_inclusion(leaf=leaf_hash(data), index=item["index"], size=checkpoint.size, proof=path, root=checkpoint.root)
    return record.content
