"""Ports `Log` and `Content` on Postgres."""

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from quorate.audit.checkpoint import Checkpoint
from quorate.audit.entry import Draft
from quorate.audit.erasure import Erasable
from quorate.audit.merkle import Frontier
from quorate.audit.note import SignatureLine
from quorate.audit.quarantine import Finding, Quarantine
from quorate.audit.rules import StoredEntry
from quorate.audit.tiles import Tile
from quorate.audit.verify import StoredHead
from quorate.identity.vkey import SignerKey
from quorate_operator.errors import Stalled
from quorate_operator.store import statements as sql
from quorate_operator.store.batch import check_content, items_of, now_micros
from quorate_operator.store.cosignatures import keep
from quorate_operator.store.drain import Backlog, Drainer
from quorate_operator.store.guards import Catalogue, PostgresCatalogue
from quorate_operator.store.lookup import entries_since, found_row, key_of, last_entries, recorded
from quorate_operator.store.meter import Meter
from quorate_operator.store.payload import placed
from quorate_operator.store.ports import Bytes
from quorate_operator.store.postgres import Connection, Database, check_term
from quorate_operator.store.proofs import TileProofs
from quorate_operator.store.quarantine import read_identity, read_quarantines, stop_chain
from quorate_operator.store.recorded import Recorded
from quorate_operator.store.resume import resume_chain
from quorate_operator.store.sealer import MAX_WAITING, Sealer
from quorate_operator.store.sealing import Sealing
from quorate_operator.store.tiles import read_tiles

_END = 2**63 - 1
_FULL_LOOK_SECONDS = 0.5


class PostgresLog(TileProofs):
    """Port `Log`, and the moving of what was taken in (`intake_key`).

    `patience` seconds are spent on an unreachable database before an append fails.
    """

    def __init__(
        self,
        database: Database,
        *,
        patience: float = 5.0,
        max_waiting: int = MAX_WAITING,
        intake_key: bytes | None = None,
        clock: Callable[[], int] = now_micros,
    ) -> None:
        self._database = database
        self._clock = clock
        self._sealing = Sealing(database, intake_key=intake_key, clock=clock)
        self._patience = patience
        self._max_waiting = max_waiting
        self._sealers: dict[str, Sealer] = {}
        self._start = self._seen = 0
        self._full_look = -_FULL_LOOK_SECONDS

    @property
    def meter(self) -> Meter:
        """Set its members to be told of appends."""
        return self._sealing.meter

    async def append(self, chain: str, drafts: Sequence[Draft], content: Bytes | None = None) -> list[Recorded]:
        """Port `Log`."""
        items = items_of(drafts)
        return await self._sealer(chain).append(items, placed(drafts, content or {}))

    def _sealer(self, chain: str) -> Sealer:
        sealer = self._sealers.get(chain)
        if sealer is None:
            sealer = Sealer(chain, self._sealing, patience=self._patience, max_waiting=self._max_waiting)
            self._sealers[chain] = sealer
        return sealer

    async def drain(self, chain: str) -> list[Recorded]:
        """Move a batch of what was taken in for the chain; those entries that are new in the log.

        Rows that may not be sealed (no authentic HMAC, a rule of `append` broken) move to `audit_intake_refused` with
        their reason instead. Errors as of `append`.
        """
        taken = await self._sealing.waiting(chain, self._start)
        return await self._sealer(chain).append([row.item for row in taken if row.item], {}, taken) if taken else []

    async def backlog(self) -> dict[str, Backlog]:
        """What was taken in and waits, by chain."""
        return self._noted(await self._database.read(sql.BACKLOG, 0))

    async def look(self) -> dict[str, Backlog]:
        """As `backlog`, without what committed late: that is seen once in `_FULL_LOOK_SECONDS`, when all is looked at.

        In between the look begins where the last full one found the first row: not at the beginning of the queue, where
        the dead rows are, thousands of them until they are vacuumed.
        """
        now = time.monotonic()
        if now < self._full_look + _FULL_LOOK_SECONDS:
            return self._noted(await self._database.read(sql.BACKLOG, self._start))
        self._full_look = now
        rows = await self._database.read(sql.BACKLOG, 0)
        self._start = min((row[3] for row in rows), default=self._seen)
        return self._noted(rows)

    def _noted(self, rows: Sequence[Any]) -> dict[str, Backlog]:
        self._seen = max((row[4] for row in rows), default=self._seen)
        return {row[0]: Backlog(*row[1:3]) for row in rows}

    async def refused(self) -> int:
        """How many entries that were taken in could not be sealed, ever."""
        return int((await self._database.read(sql.REFUSED))[0][0])

    async def heads(self, subject_keys: Sequence[str]) -> dict[str, Recorded]:
        """Port `Log`."""
        return await last_entries(self._database, subject_keys)

    async def recorded(self, entry_ids: Sequence[UUID]) -> dict[UUID, Recorded]:
        """Port `Log`."""
        return await recorded(self._database, entry_ids)

    async def about(self, name: str) -> list[Recorded]:
        """Port `Log`."""
        found = [found_row(row) for row in await self._database.read(sql.ABOUT, key_of(name), key_of(name))]
        return [item for item in found if item.subject_key == name or name in item.about]

    async def since(self, known: Mapping[str, Recorded | None]) -> dict[str, list[Recorded]]:
        """Port `Log`."""
        return await entries_since(self._database, known)

    async def chains(self) -> list[StoredHead]:
        """Port `Log`."""
        return [StoredHead(*row) for row in await self._database.read(sql.CHAINS)]

    async def entries(self, chain: str, start: int = 0, end: int | None = None) -> AsyncIterator[StoredEntry]:
        """Port `Log`; pages by sequence, so it holds no transaction open while the reader works."""
        last = _END if end is None else end
        while rows := await self._database.read(sql.ENTRIES, chain, start, last):
            for row in rows:
                yield StoredEntry(*row)
            start = rows[-1][0] + 1

    async def checkpoint(self, chain: str, signer: SignerKey) -> str:
        """Port `Log`."""

        async def work(connection: Connection) -> str:
            held = await (await connection.execute(sql.LOCK_TERM, binary=True)).fetchone()
            check_term(held, self._database.term)
            head = await (await connection.execute(sql.HEAD, (chain,), binary=True)).fetchone()
            if head is None:
                raise Stalled("ChainUnknown", f"chain {chain} has no entry")
            _, size, _, frontier = head
            row: Any = (chain, size, signer.name)
            kept = await (await connection.execute(sql.CHECKPOINT_AT, row)).fetchone()
            if kept is not None:
                return str(kept[0])
            note = Checkpoint(chain, size, Frontier.decode(size, frontier).root()).sign(signer)
            await connection.execute(sql.INSERT_CHECKPOINT, (*row, note))
            return note

        return await self._database.again(work)

    async def checkpoints(self, chain: str, start: int = 0) -> list[str]:
        """Port `Log`."""
        return [row[0] for row in await self._database.read(sql.CHECKPOINTS, chain, start)]

    async def newest_checkpoint(self, chain: str) -> str | None:
        """Port `Log`."""
        rows = await self._database.read(sql.NEWEST_CHECKPOINT, chain)
        return rows[0][0] if rows else None

    async def keep_cosignatures(self, chain: str, size: int, lines: Sequence[SignatureLine]) -> None:
        """Port `Log`."""
        database = self._database
        await database.again(lambda connection: keep(connection, chain, size, lines, term=database.term))

    async def tiles(self, chain: str, wanted: Sequence[Tile]) -> dict[Tile, bytes]:
        """Port `Log`."""
        return await read_tiles(self._database, chain, wanted)

    async def quarantines(self) -> list[Quarantine]:
        """Port `Log`."""
        return await read_quarantines(self._database)

    async def stop(self, chain: str, finding: Finding) -> Quarantine | None:
        """Port `Log`."""
        return await stop_chain(self._database, chain, finding)

    async def resume(self, quarantine: Quarantine, draft: Draft) -> Recorded:
        """Port `Log`."""
        return await resume_chain(self._database, quarantine, draft, self._clock())

    async def close(self) -> None:
        """Wait for appends that are under way."""
        for sealer in self._sealers.values():
            await sealer.close()


class PostgresContent:
    """Port `Content`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, digests: Sequence[str]) -> dict[str, bytes]:
        """Port `Content`."""
        return check_content(await self._database.read(sql.CONTENT, list(digests)))

    async def erasable(self, entry_id: UUID) -> dict[str, Erasable | None]:
        """Port `Content`."""
        rows = await self._database.read(sql.ERASABLE, entry_id)
        return {digest: None if salt is None else Erasable(data, salt) for digest, salt, data in rows}


class PostgresStore:
    """The store of one process: `log`, `content`, and the term under which it writes.

    With `intake_key` (see `intake.read_key`) the leader also moves what was taken in.
    """

    def __init__(
        self, dsn: str, *, patience: float = 5.0, connections: int = 6, intake_key: bytes | None = None
    ) -> None:
        self.database = Database(dsn, connections=connections)
        self.log = PostgresLog(self.database, patience=patience, intake_key=intake_key)
        self.content = PostgresContent(self.database)
        self.catalogue: Catalogue | None = PostgresCatalogue(self.database)
        self.ping = self.database.ping
        self.drainer = None if intake_key is None else Drainer(self.log)

    async def open(self) -> None:
        """Connect and check the schema; errors of `Database.open`."""
        await self.database.open()

    async def take(self, holder: str) -> int:
        """Port `Term`; from then on this process moves what was taken in."""
        term = await self.database.take(holder)
        if self.drainer is not None:
            self.drainer.start()
        return term

    async def partitions_ahead(self) -> int | None:
        """How many partitions are ready behind the last entry, of the chain with the fewest; None without a chain."""
        return (await self.database.read(sql.PARTITIONS_AHEAD))[0][0]  # type: ignore[no-any-return]

    async def identity(self) -> dict[str, str]:
        """What tells this database from another, a restored or a promoted one; empty where it may not be read."""
        return await read_identity(self.database)

    async def close(self) -> None:
        """Finish what is under way, then disconnect."""
        if self.drainer is not None:
            await self.drainer.stop()
        await self.log.close()
        await self.database.close()
