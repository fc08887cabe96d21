"""The governance_contract_sync JSON document: one version of a contract on its way to nodes (api.md, row A9)."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quorate.api.conditions import Reason
from quorate.api.contract_sync import SyncMode
from quorate.canonical import canonical_bytes, format_time, hex_of_digest
from quorate.contracts.content import Content, clause_order
from quorate.contracts.diff import json_patch
from quorate.contracts.version import Version
from quorate.documents.schema import (
    CODEX_CLAUSES,
    PHASE_ID,
    DocumentKind,
    DocumentRefusedError,
    document_id,
    validate,
    with_present,
)

CLAUSES = "clauses"


@dataclass(frozen=True)
class Acknowledgement:
    """A node's signed word that it holds the content: a ContractHeld attestation."""

    node_id: str
    at: str
    signature: str


@dataclass(frozen=True)
class Rollout:
    """How far a sync is. `failed` are (nodeId, why); `consensus_digest` covers the acknowledgements once complete."""

    holding: frozenset[str] = frozenset()
    failed: tuple[tuple[str, str], ...] = ()
    acknowledgements: tuple[Acknowledgement, ...] = ()
    consensus_digest: str | None = None


def export_sync(
    content: Content,
    *,
    digest: str,
    source: str,
    targets: Collection[str],
    at: int,
    base: Content | None = None,
    mode: SyncMode = SyncMode.AUTO,
    rollout: Rollout | None = None,
) -> dict[str, Any]:
    """The document of a sync, checked against its schema.

    Args:
        content: What is brought to the nodes.
        digest: What names the sync; the document's id follows from it.
        source: nodeId of the hub that it comes from.
        targets: nodeIds.
        at: Unix seconds.
        base: What a diff is made against; None where there is none.
        mode: Auto takes the diff where it is smaller than the content.
        rollout: How far it is.

    Raises:
        DocumentRefusedError: Invalid for no targets, a diff without a base, or one that does not lead to the content.
    """
    so_far = rollout or Rollout()
    changes = None if base is None or mode is SyncMode.FULL else changes_between(base, content)
    if mode in (SyncMode.DIFF, SyncMode.INCREMENTAL) and (base is None or changes is None):
        raise DocumentRefusedError(
            Reason.INVALID, f"mode {mode} needs the version before, and {content.version} is first"
        )
    if mode is SyncMode.AUTO and changes is not None and len(canonical_bytes(changes)) >= len(content.data):
        changes = None
    kind = "full" if changes is None else "incremental" if mode is SyncMode.INCREMENTAL else "diff"
    own = next((item for item in so_far.acknowledgements if item.node_id == source), None)
    document = {
        "sync_id": document_id(digest),
        "source_node_id": source,
        "target_node_ids": sorted(set(targets)),
        "contract_version": Version.parse(content.version).without_number(),
        "contract_hash": hex_of_digest(content.digest),
        "timestamp": format_time(at),
        "phase_id": PHASE_ID,
        "sync_type": kind,
        "diff": None if changes is None or base is None else _diff(base, changes),
        "successful_nodes": sorted(set(targets) & so_far.holding),
        "failed_nodes": [{"node_id": node, "error": error} for node, error in sorted(so_far.failed)],
        "attestation": None if own is None else _attestation(own),
        "last_attested_by": _attested(so_far.acknowledgements),
        "consensus_hash": None if so_far.consensus_digest is None else hex_of_digest(so_far.consensus_digest),
        "codex_clauses": list(CODEX_CLAUSES),
    }
    return validate(DocumentKind.CONTRACT_SYNC, with_present(document))


def changes_between(base: Content, content: Content) -> list[dict[str, Any]]:
    """add, replace and remove operations that lead from one content document to the other; remove has value null."""
    before, after = base.document, content.document
    changes: list[dict[str, Any]] = []
    for name in sorted({*before[CLAUSES], *after[CLAUSES]}, key=clause_order):
        path = f"/{CLAUSES}/{name}"
        old, new = before[CLAUSES].get(name), after[CLAUSES].get(name)
        changes += [_change(path, item, removed=new is None) for item in json_patch(old, new)]
    rest_before = {name: value for name, value in before.items() if name != CLAUSES}
    rest_after = {name: value for name, value in after.items() if name != CLAUSES}
    return changes + [_change("", item, removed=False) for item in json_patch(rest_before, rest_after)]


def _change(prefix: str, operation: Mapping[str, Any], *, removed: bool) -> dict[str, Any]:
    name = "remove" if removed else operation["op"]
    return {"path": prefix + operation["path"], "operation": name, "value": operation.get("value")}


def _diff(base: Content, changes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "base_version": Version.parse(base.version).without_number(),
        "base_hash": hex_of_digest(base.digest),
        "changes": [*changes],
    }


def _attestation(acknowledgement: Acknowledgement) -> dict[str, str]:
    return {
        "attester_node_id": acknowledgement.node_id,
        "signature": acknowledgement.signature,
        "timestamp": acknowledgement.at,
    }


def _attested(acknowledgements: Iterable[Acknowledgement]) -> list[dict[str, str]]:
    """The latest of each node."""
    latest: dict[str, str] = {}
    for item in acknowledgements:
        latest[item.node_id] = max(item.at, latest.get(item.node_id, ""))
    return [{"node_id": node, "timestamp": at} for node, at in sorted(latest.items())]
