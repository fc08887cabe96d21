"""Where a verification begins: at entry 0, behind a signed checkpoint, or where the chain was pruned."""

from collections.abc import Sequence

from quorate.audit import tiles
from quorate.audit.archive import Point, StoredPrune
from quorate.audit.checkpoint import Checkpoint, CheckpointError, open_checkpoint
from quorate.audit.merkle import Frontier, ProofError, verify_inclusion
from quorate.audit.record import Record, RecordError, chain_hash, leaf_hash
from quorate.audit.verify import Start
from quorate.identity.vkey import VerifierKey
from quorate_operator.verification.database import Reader


def behind_checkpoint(
    reader: Reader, chain: str, since: str | int, keys: Sequence[VerifierKey]
) -> tuple[Start | None, str]:
    """The start behind a checkpoint (`ChainRequest.since`), or None and why everything is to be verified.

    The tree there comes from the stored tiles and must have the checkpoint's root. The chain hash comes from the entry
    before, which must be the last leaf of that tree: what it names as its predecessor's hash is then as it was signed.
    """
    checkpoint = _checkpoint(reader, chain, since, keys)
    if checkpoint is None:
        return None, "no checkpoint that a known key signed lies there: everything was verified"
    size = checkpoint.size
    if not 0 < size <= reader.end(chain):
        return None, f"the checkpoint of size {size} is not within the chain: everything was verified"
    try:
        record = next(reader.entries(chain, size - 1, size)).record
        frontier = _frontier(reader, chain, size)
        path = tiles.inclusion(size - 1, size)
        proof = path.hashes(reader.tiles(chain, path.tiles))
        verify_inclusion(leaf=leaf_hash(record), index=size - 1, size=size, proof=proof, root=checkpoint.root)
        header = Record.decode(record)
    except (StopIteration, tiles.TileError, ProofError, RecordError):
        return None, f"the stored tiles do not lead to the checkpoint of size {size}: everything was verified"
    if frontier.root() != checkpoint.root or (header.chain_id, header.sequence) != (chain, size - 1):
        return None, f"the stored tiles do not lead to the checkpoint of size {size}: everything was verified"
    point = Point(size, header.epoch, header.sealed_at, chain_hash(header.previous, leaf_hash(record)))
    return Start(point, frontier, f"entries 0…{size - 1} are covered by the signed checkpoint of size {size}", True), ""


def _checkpoint(reader: Reader, chain: str, since: str | int, keys: Sequence[VerifierKey]) -> Checkpoint | None:
    """The given checkpoint, or of those stored the largest one that is not beyond `since`."""
    notes = [since] if isinstance(since, str) else reversed(reader.checkpoints(chain, 1, since))
    for note in notes:
        try:
            return open_checkpoint(note, keys, origin=chain)
        except CheckpointError:
            continue
    return None


def behind_prune(reader: Reader, prune: StoredPrune) -> Start:
    """The start at a prune point; whether the tiles tell the truth is for a checkpoint behind it to say."""
    try:
        frontier = _frontier(reader, prune.chain_id, prune.point.size)
    except tiles.TileError:
        frontier = Frontier(prune.point.size, [bytes(32)] * prune.point.size.bit_count())
    return Start(prune.point, frontier, f"entries 0…{prune.point.size - 1} were pruned")


def _frontier(reader: Reader, chain: str, size: int) -> Frontier:
    plan = tiles.frontier(size)
    return Frontier(size, plan.hashes(reader.tiles(chain, plan.tiles)))
