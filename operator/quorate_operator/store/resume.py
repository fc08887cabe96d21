"""The end of a quarantine: its entry is sealed as any other is, in the next epoch."""

from quorate.audit.entry import Draft
from quorate.audit.merkle import Frontier
from quorate.audit.quarantine import Quarantine
from quorate_operator.errors import Stalled
from quorate_operator.store import statements as sql
from quorate_operator.store.batch import Batch, Head, items_of
from quorate_operator.store.lookup import recorded
from quorate_operator.store.postgres import Database
from quorate_operator.store.recorded import Recorded
from quorate_operator.store.sealing import write
from quorate_operator.store.tiles import read_edge


def not_quarantined(quarantine: Quarantine) -> Stalled:
    """The error of a resumption that comes too late, or stands on another head."""
    message = f"quarantine {quarantine.number} of chain {quarantine.chain_id} is not open, or its head is another"
    return Stalled("NotQuarantined", message)


async def resume_chain(database: Database, quarantine: Quarantine, draft: Draft, now: int) -> Recorded:
    """`Log.resume`; `now` is Unix microseconds."""
    chain = quarantine.chain_id
    if found := (await recorded(database, [draft.entry_id])).get(draft.entry_id):
        return found
    rows = await database.read(sql.TIP, chain)
    epoch, size, chain_hash, frontier, sealed_at, number = rows[0] if rows else (0, 0, b"", b"", 0, None)
    if number != quarantine.number or (size, bytes(chain_hash)) != (quarantine.size, quarantine.head):
        raise not_quarantined(quarantine)
    head = Head(epoch + 1, size, bytes(chain_hash), Frontier.decode(size, frontier), sealed_at)
    work = Batch(chain, head, recorded={}, subjects={}, now=now)
    (placed,), _ = work.add(items_of([draft]))
    edge = await read_edge(database, chain, size)
    await write(database, chain, work, edge.extend([row.leaf for row in work.rows]), resumes=number)
    return placed
