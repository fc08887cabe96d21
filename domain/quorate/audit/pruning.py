"""What chain `system` says of a prune: the intent before anything happens, the completion when it is over."""

from uuid import UUID

from quorate.audit.archive import Point
from quorate.audit.entry import Draft, Tether

PRUNING = "system.partition.pruning"
PRUNED = "system.partition.pruned"


def pruning(chain: str, first: int, end: int, *, archive: str, actor: str, now: int) -> Draft:
    """The intent to archive and drop entries first ≤ n < end; `now` in Unix microseconds."""
    detail = {"chain": chain, "first": first, "end": end, "archive": archive}
    return _draft(PRUNING, chain, first, end, None, detail, actor, now)


def pruned(
    chain: str, first: int, after: Point, *, manifest: str, archive: str, actor: str, intent: UUID, now: int
) -> Draft:
    """The completion: `after` is the chain's state after the last dropped entry, `manifest` the archive's digest."""
    detail = {
        "chain": chain,
        "first": first,
        "end": after.size,
        "archive": archive,
        "manifest": manifest,
        "epoch": after.epoch,
        "head": f"sha256:{after.chain_hash.hex()}",
    }
    return _draft(PRUNED, chain, first, after.size, intent, detail, actor, now)


def _draft(
    event: str, chain: str, first: int, end: int, previous: UUID | None, detail: dict[str, object], actor: str, now: int
) -> Draft:
    name = f"{chain}/{first}-{end}"
    return Draft(
        subject_key=f"partition/{name}",
        previous=previous,
        event_type=event,
        subject={"kind": "Partition", "name": name},
        tether=Tether("0"),
        timestamp=now,
        actor_id=actor,
        question="partition.prune",
        detail=detail,
    )
