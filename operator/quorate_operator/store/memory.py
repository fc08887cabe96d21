"""The store in memory: for tests of the rooms above; nothing of it outlives the process."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from quorate.audit.checkpoint import Checkpoint
from quorate.audit.entry import Draft
from quorate.audit.erasure import SALT_BYTES, Erasable
from quorate.audit.merkle import TILE_WIDTH, root_of
from quorate.audit.note import SignatureLine
from quorate.audit.quarantine import Finding, Quarantine, lost_checkpoints
from quorate.audit.record import leaf_hash
from quorate.audit.rules import StoredEntry
from quorate.audit.tiles import Tile
from quorate.audit.verify import StoredHead
from quorate.identity.vkey import SignerKey
from quorate_operator.errors import Stalled
from quorate_operator.store.batch import Batch, Head, Row, check_content, items_of, now_micros, quarantined
from quorate_operator.store.cosignatures import no_checkpoint
from quorate_operator.store.payload import place_of, placed
from quorate_operator.store.ports import Bytes
from quorate_operator.store.postgres import check_term
from quorate_operator.store.proofs import TileProofs
from quorate_operator.store.recorded import Recorded
from quorate_operator.store.resume import not_quarantined


class Shared:
    """What several stores see in common, as processes share a database."""

    def __init__(self) -> None:
        self.term, self.holder = 0, ""
        self.heads: dict[str, Head] = {}
        self.rows: dict[str, list[Row]] = {}
        self.content: dict[str, bytes] = {}
        self.sources: dict[str, int] = {}
        self.erasable: dict[UUID, dict[str, Erasable | None]] = {}
        self.notes: dict[str, dict[tuple[int, str], str]] = {}
        self.quarantines: list[Quarantine] = []
        self.cosignatures: dict[tuple[str, int], dict[tuple[str, bytes], SignatureLine]] = {}

    def open(self, chain: str) -> Quarantine | None:
        """The chain's open quarantine."""
        return next((q for q in self.quarantines if q.chain_id == chain and q.resumed_at is None), None)

    def put(self, given: Mapping[str, bytes]) -> None:
        """Store what `payload.placed` gave; nothing is put back under a digest that was erased."""
        for key, data in given.items():
            place = place_of(key)
            if place is None:
                self.content[key] = data
            else:
                item = Erasable(data[SALT_BYTES:], data[:SALT_BYTES])
                self.erasable.setdefault(place[0], {}).setdefault(place[1], item)

    def all_rows(self) -> list[Row]:
        """Every row by chain and sequence."""
        return [row for chain in sorted(self.rows) for row in self.rows[chain]]


def _as_existing(row: Row) -> Recorded:
    found = row.recorded
    return Recorded(found.chain_id, found.sequence, found.entry_id, found.record, existing=True)


class MemoryLog(TileProofs):
    """Port `Log`."""

    def __init__(self, store: "MemoryStore", clock: Callable[[], int]) -> None:
        self._store = store
        self._clock = clock

    async def append(self, chain: str, drafts: Sequence[Draft], content: Bytes | None = None) -> list[Recorded]:
        """Port `Log`."""
        items, shared = items_of(drafts), self._store.shared
        given = placed(drafts, content or {})
        check_term((shared.term, shared.holder), self._store.term)
        if stopped := shared.open(chain):
            raise quarantined(f"chain {chain} is in quarantine {stopped.number}")
        rows = shared.all_rows()
        batch = Batch(
            chain,
            shared.heads.setdefault(chain, Head()),
            recorded={row.recorded.entry_id: _as_existing(row) for row in rows},
            subjects={row.subject_key: row.recorded.entry_id for row in self._by_age(rows)},
            sources=shared.sources,
            now=self._clock(),
        )
        found, new = batch.add(items)
        if new:
            shared.rows.setdefault(chain, []).extend(batch.rows)
            shared.sources.update({source: last for source, (_, last) in batch.captured.items()})
            shared.put(given)
        return found

    async def quarantines(self) -> list[Quarantine]:
        """Port `Log`."""
        return sorted(self._store.shared.quarantines, key=lambda item: (item.chain_id, item.number))

    async def stop(self, chain: str, finding: Finding) -> Quarantine | None:
        """Port `Log`."""
        shared = self._store.shared
        if shared.open(chain):
            return None
        head = shared.heads.setdefault(chain, Head())
        number = 1 + sum(item.chain_id == chain for item in shared.quarantines)
        about = (finding.cause, finding.message, self._clock(), head.epoch, head.size, head.chain, finding.evidence)
        raised = Quarantine(chain, number, *about)
        shared.quarantines.append(raised)
        return raised

    async def resume(self, quarantine: Quarantine, draft: Draft) -> Recorded:
        """Port `Log`."""
        shared, chain = self._store.shared, quarantine.chain_id
        if recorded := (await self.recorded([draft.entry_id])).get(draft.entry_id):
            return recorded
        head = shared.heads.get(chain, Head())
        if shared.open(chain) != quarantine or (head.size, head.chain) != (quarantine.size, quarantine.head):
            raise not_quarantined(quarantine)
        check_term((shared.term, shared.holder), self._store.term)
        ended = replace(quarantine, resumed_at=self._clock(), lost=tuple(lost_checkpoints(chain, draft.detail)))
        shared.quarantines[at := shared.quarantines.index(quarantine)] = ended
        head.epoch += 1
        recorded = (await self.append(chain, [draft]))[0]
        shared.quarantines[at] = replace(ended, ending=recorded.record)
        return recorded

    @staticmethod
    def _by_age(rows: Sequence[Row]) -> list[Row]:
        return sorted(rows, key=lambda row: row.recorded.sealed_at)

    async def heads(self, subject_keys: Sequence[str]) -> dict[str, Recorded]:
        """Port `Log`."""
        wanted = set(subject_keys)
        rows = self._by_age(self._store.shared.all_rows())
        return {row.subject_key: _as_existing(row) for row in rows if row.subject_key in wanted}

    async def recorded(self, entry_ids: Sequence[UUID]) -> dict[UUID, Recorded]:
        """Port `Log`."""
        wanted, rows = set(entry_ids), self._store.shared.all_rows()
        return {row.recorded.entry_id: _as_existing(row) for row in rows if row.recorded.entry_id in wanted}

    async def about(self, name: str) -> list[Recorded]:
        """Port `Log`."""
        rows = self._store.shared.all_rows()
        return [_as_existing(row) for row in rows if name == row.subject_key or name in row.about]

    async def since(self, known: Mapping[str, Recorded | None]) -> dict[str, list[Recorded]]:
        """Port `Log`."""
        return {
            name: [
                item
                for item in await self.about(name)
                if last is None or item.chain_id != last.chain_id or item.sequence >= last.sequence
            ]
            for name, last in known.items()
        }

    async def chains(self) -> list[StoredHead]:
        """Port `Log`."""
        heads = sorted(self._store.shared.heads.items())
        return [StoredHead(c, h.epoch, h.size, h.chain, h.frontier.encode()) for c, h in heads if h.size]

    async def entries(self, chain: str, start: int = 0, end: int | None = None) -> AsyncIterator[StoredEntry]:
        """Port `Log`."""
        for row in self._store.shared.rows.get(chain, [])[start:end]:
            item = row.recorded
            yield StoredEntry(item.sequence, item.record)

    async def checkpoint(self, chain: str, signer: SignerKey) -> str:
        """Port `Log`."""
        shared = self._store.shared
        check_term((shared.term, shared.holder), self._store.term)
        head = shared.heads.get(chain)
        if head is None or not head.size:
            raise Stalled("ChainUnknown", f"chain {chain} has no entry")
        note = Checkpoint(chain, head.size, head.frontier.root()).sign(signer)
        return shared.notes.setdefault(chain, {}).setdefault((head.size, signer.name), note)

    async def checkpoints(self, chain: str, start: int = 0) -> list[str]:
        """Port `Log`."""
        shared = self._store.shared
        return [
            note + "".join(str(line) for line in shared.cosignatures.get((chain, size), {}).values())
            for (size, _), note in sorted(shared.notes.get(chain, {}).items())
            if size >= start
        ]

    async def newest_checkpoint(self, chain: str) -> str | None:
        """Port `Log`."""
        notes = await self.checkpoints(chain)
        return notes[-1] if notes else None

    async def keep_cosignatures(self, chain: str, size: int, lines: Sequence[SignatureLine]) -> None:
        """Port `Log`."""
        shared = self._store.shared
        check_term((shared.term, shared.holder), self._store.term)
        if all(known != size for known, _ in shared.notes.get(chain, {})):
            raise no_checkpoint(chain, size)
        kept = shared.cosignatures.setdefault((chain, size), {})
        for line in lines:
            kept.setdefault((line.name, line.key_id), line)

    async def tiles(self, chain: str, wanted: Sequence[Tile]) -> dict[Tile, bytes]:
        """Port `Log`."""
        leaves = [leaf_hash(row.recorded.record) for row in self._store.shared.rows.get(chain, [])]
        found = {}
        for tile in wanted:
            span, first = TILE_WIDTH**tile.level, tile.number * TILE_WIDTH
            numbers = range(first, first + tile.width)
            if numbers.stop * span <= len(leaves):
                found[tile] = b"".join(root_of(leaves[n * span : (n + 1) * span]) for n in numbers)
        return found


class MemoryContent:
    """Port `Content`."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    async def get(self, digests: Sequence[str]) -> dict[str, bytes]:
        """Port `Content`."""
        held = self._shared.content
        return check_content([(digest, held[digest]) for digest in dict.fromkeys(digests) if digest in held])

    async def erasable(self, entry_id: UUID) -> dict[str, Erasable | None]:
        """Port `Content`."""
        return dict(sorted(self._shared.erasable.get(entry_id, {}).items()))


class MemoryStore:
    """The store of one process; give two of them the same `shared` to play two processes."""

    def __init__(self, shared: Shared | None = None, *, clock: Callable[[], int] = now_micros) -> None:
        self.shared = shared or Shared()
        self.term = 0
        self.log = MemoryLog(self, clock)
        self.content = MemoryContent(self.shared)
        self.catalogue = None

    async def take(self, holder: str) -> int:
        """Port `Term`."""
        self.shared.term, self.shared.holder = self.shared.term + 1, holder
        self.term = self.shared.term
        return self.term

    async def partitions_ahead(self) -> int | None:
        """There are none."""
        return None

    async def identity(self) -> dict[str, str]:
        """There is but one."""
        return {}

    async def ping(self) -> bool:
        """Always there."""
        return True

    async def close(self) -> None:
        """Nothing to give up."""
