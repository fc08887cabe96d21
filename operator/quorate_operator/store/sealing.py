"""Writes batches of entries: reads what the log holds of them, places them, seals them by one call of the database.

The call compares head and term with what the batch was built on, and refuses what is recorded already or follows
nothing (migration 0005). No lock is held between reading and writing: what changed meanwhile is found out by the call.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NoReturn

import psycopg

from quorate.audit.merkle import Frontier
from quorate.audit.quarantine import Cause, Finding
from quorate_operator.errors import LostLeadership, OperatorError, Stalled, Transient
from quorate_operator.store import statements as sql
from quorate_operator.store.arrays import bigint, bigint_array, bytea_array, integer, text_array, uuid_array
from quorate_operator.store.batch import Batch, Head, now_micros, quarantined
from quorate_operator.store.intake import Waiting, judged
from quorate_operator.store.lookup import key_bytes, last_ids, recorded_or_pruned
from quorate_operator.store.meter import Meter
from quorate_operator.store.postgres import Database, check_term
from quorate_operator.store.quarantine import stop_chain
from quorate_operator.store.recorded import Recorded
from quorate_operator.store.sealer import MAX_BATCH, Pending, Placed
from quorate_operator.store.tiles import Edge, FullTile, read_edge

_log = logging.getLogger(__name__)


@dataclass
class Outcomes:
    """What a batch comes to, told to its callers once it is durable."""

    content: dict[str, bytes] = field(default_factory=dict)
    taken: list[int] = field(default_factory=list)
    known: list[int] = field(default_factory=list)
    aside: list[Waiting] = field(default_factory=list)

    def of(self, work: Batch, pending: Pending) -> list[Recorded] | OperatorError:
        """Place one append."""
        return self._taken(work, pending) if pending.taken else self._append(work, pending)

    def _append(self, work: Batch, pending: Pending) -> list[Recorded] | OperatorError:
        try:
            found, new = work.add(pending.items)
        except OperatorError as error:
            return error
        if not new:
            return pending.found(found)
        pending.tried(found)
        self.content.update(pending.content)
        return found

    def _taken(self, work: Batch, pending: Pending) -> list[Recorded]:
        """Place what was taken in, each row for itself; the new entries."""
        moved: list[Recorded] = []
        for row in pending.taken:
            if row.item is None:
                self.aside.append(row)
                continue
            try:
                found, new = work.add([row.item])
            except OperatorError as error:
                self.aside.append(replace(row, reason=error.message))
                continue
            if new:
                moved += found
                self.taken.append(row.pos)
            elif found[0].header.content == row.content:
                self.known.append(row.pos)
            else:
                self.aside.append(replace(row, reason=f"entry {row.entry_id} is recorded with other content"))
        return moved


class Sealing:
    """Writes batches of one process; the `Seal` of the sealers of all chains.

    Args:
        database: where.
        intake_key: with it, what was taken in can be judged.
        clock: Unix microseconds.
    """

    def __init__(
        self, database: Database, *, intake_key: bytes | None = None, clock: Callable[[], int] = now_micros
    ) -> None:
        self._database = database
        self.meter = Meter()
        self._intake_key = intake_key
        self._clock = clock
        self._known: set[str] = set()
        self._tips: dict[str, tuple[Head, Edge]] = {}
        """Head and edge that the last batch of a chain led to, written or on its way."""
        self._durable: dict[str, int] = {}
        """Size of each chain when this process last wrote to it."""

    async def waiting(self, chain: str, start: int = 0) -> list[Waiting]:
        """The chain's oldest rows in the intake from position `start` on, at most a batch.

        Rows of a forger alone are set aside: they make no chain.
        """
        if self._intake_key is None:
            return []
        rows = judged(self._intake_key, chain, await self._database.read(sql.WAITING, chain, start, MAX_BATCH))
        if rows and not any(row.item for row in rows):
            await self._check_term()
            await self._set_aside(chain, rows)
            return []
        return rows

    def place(self, chain: str) -> Placed | None:
        """Port `Seal`."""
        tip = self._tips.get(chain)
        return None if tip is None else Placed(Batch(chain, tip[0].copy(), now=self._clock()))

    async def write(self, chain: str, placed: Placed) -> None:
        """Port `Seal`."""
        work, (_, edge) = placed.work, self._tips[chain]
        full = edge.extend([row.leaf for row in work.rows])
        # At once: what comes while this is on its way is placed behind it.
        self._tips[chain] = work.head, edge
        content = {digest: data for pending in placed.pendings for digest, data in pending.content.items()}
        taken = [row.pos for pending in placed.pendings for row in pending.taken]
        try:
            waited = await write(self._database, chain, work, full, content=content, taken=taken)
            self.meter.locked(waited / 1e6)
        except BaseException as error:
            self._tips.pop(chain, None)
            if isinstance(error, psycopg.Error):
                raise Transient("Conflict", "the database refused the batch") from error
            raise
        self._durable[chain] = work.start + len(work.rows)

    async def seal(self, chain: str, batch: Sequence[Pending]) -> None:
        """Port `Seal`: what is recorded is read first, so each append gets its own exact answer."""
        try:
            await self._seal(chain, batch)
        except (psycopg.errors.CheckViolation, psycopg.DataError) as error:
            await self._divided(chain, batch, error)

    async def _seal(self, chain: str, batch: Sequence[Pending]) -> None:
        await self._make(chain)
        items = [item for pending in batch for item in pending.items]
        # The head first: what is recorded after it was read makes the write fail, never go wrong.
        head, edge = await self.tip(chain)
        existing, pruned = await recorded_or_pruned(self._database, [item.entry_id for item in items])
        subjects = await last_ids(self._database, [item.subject_key for item in items])
        sources = await self._sources([item.captured[0] for item in items if item.captured])
        work = Batch(
            chain, head, recorded=existing, pruned=pruned, subjects=subjects, sources=sources, now=self._clock()
        )
        made = Outcomes()
        outcomes = [made.of(work, pending) for pending in batch]
        if work.rows:
            full = edge.extend([row.leaf for row in work.rows])
            await write(self._database, chain, work, full, content=made.content, taken=made.taken)
            self._durable[chain] = work.start + len(work.rows)
        else:
            await self._check_term()
        self._tips[chain] = work.head, edge
        await self._set_aside(chain, made.aside)
        if made.known:
            await self._execute(sql.DROP_WAITING, made.known)
        for pending, outcome in zip(batch, outcomes, strict=True):
            pending.outcome = outcome

    async def _sources(self, sources: Sequence[str]) -> dict[str, int]:
        return dict(await self._database.read(sql.SOURCES, list(sources))) if sources else {}

    async def _make(self, chain: str) -> None:
        if chain not in self._known:
            await self._check_term()
            await self._execute(sql.MAKE_CHAIN, chain)
            self._known.add(chain)

    async def tip(self, chain: str) -> tuple[Head, Edge]:
        """Head and edge of a chain as they are now, which nothing is placed on yet; ChainQuarantined as `append`."""
        known = self._tips.pop(chain, None)
        rows = await self._database.read(sql.TIP, chain)
        if not rows:
            raise Stalled("ChainUnknown", f"chain {chain} has no head row")
        epoch, size, chain_hash, frontier, sealed_at, quarantine = rows[0]
        if quarantine is not None:
            raise quarantined(f"chain {chain} is in quarantine {quarantine}")
        if size < self._durable.get(chain, 0):
            await self._went_back(chain, size)
        head = Head(epoch, size, chain_hash, Frontier.decode(size, frontier), sealed_at)
        if known is not None and (known[0].size, known[0].chain) == (size, chain_hash):
            return head, known[1]
        return head, await read_edge(self._database, chain, size)

    async def _went_back(self, chain: str, size: int) -> NoReturn:
        """What was durable is gone: another database answers, a restored one or a replica that lagged."""
        evidence = {"size": size, "sealed": self._durable.pop(chain)}
        message = f"the database has {size} entries, this process sealed {evidence['sealed']}"
        await stop_chain(self._database, chain, Finding(Cause.DATABASE_BEHIND, message, evidence))
        raise quarantined(f"chain {chain} is in quarantine: {message}")

    async def _check_term(self) -> None:
        rows = await self._database.read(sql.TERM)
        check_term(rows[0] if rows else None, self._database.term)

    async def _execute(self, query: str, *args: object) -> None:
        async with self._database.writer() as connection:
            await connection.execute(query, args)

    async def _set_aside(self, chain: str, rows: Sequence[Waiting]) -> None:
        """Keep rows that may not be sealed where people find them."""
        if not rows:
            return
        await self._execute(sql.SET_ASIDE, [row.pos for row in rows], [row.reason for row in rows])
        for row in rows:
            _log.error("taken in, not sealed: %s", row.reason, extra={"chain": chain, "entry": row.entry_id})

    async def _divided(self, chain: str, batch: Sequence[Pending], error: psycopg.Error) -> None:
        """The database refused a batch: seal its halves, so that only the append at fault is refused."""
        if len(batch) == 1:
            await self._refused(chain, batch[0], (error.diag.message_primary or str(error)).splitlines()[0])
            return
        middle = len(batch) // 2
        await self.seal(chain, batch[:middle])
        await self.seal(chain, batch[middle:])

    async def _refused(self, chain: str, pending: Pending, said: str) -> None:
        """One append is refused; of what was taken in only the row at fault is, as each is an append of its own."""
        reason, rows = f"the database refused the append: {said}", pending.taken
        if not rows:
            pending.outcome = Stalled("EntryRefused", reason)
        elif len(rows) == 1:
            await self._set_aside(chain, [replace(rows[0], reason=reason)])
            pending.outcome = []
        else:
            halves = [pending.part(rows[: len(rows) // 2]), pending.part(rows[len(rows) // 2 :])]
            for half in halves:
                await self.seal(chain, [half])
            pending.outcome = [item for half in halves if isinstance(half.outcome, list) for item in half.outcome]


async def write(
    database: Database,
    chain: str,
    work: Batch,
    full: Sequence[FullTile],
    *,
    content: dict[str, bytes] | None = None,
    taken: Sequence[int] = (),
    resumes: int | None = None,
) -> int:
    """Seal the rows of a batch in one transaction; the µs that it took to hold term and head.

    Raises:
        LostLeadership, Transient: `Conflict` when the log is not as the batch was built on, `ChainQuarantined`,
            `DatabaseUnavailable` (the outcome may then be unknown).
        psycopg.Error: the database refuses an entry for another reason.
    """
    parameters = _sealed(chain, database.term, work, resumes)
    beside = _beside(work, full, content or {}, taken)
    try:
        if beside is None:
            waited = await database.call(sql.SEAL, parameters)
        else:
            waited = await database.call(sql.SEAL_BESIDE, parameters + beside)
    except psycopg.DatabaseError as error:
        raise refusal(error) or error from error
    assert waited is not None
    return int.from_bytes(waited, "big")


def _sealed(chain: str, term: int, work: Batch, resumes: int | None) -> tuple[bytes | None, ...]:
    """The arguments of `quorate.seal`, in its order."""
    rows, head = work.rows, work.head
    return (
        chain.encode(),
        bigint(term),
        integer(head.epoch),
        bigint(work.start),
        work.start_chain,
        head.chain,
        head.frontier.encode(),
        bigint(head.sealed_at),
        bytea_array([row.recorded.record for row in rows]),
        uuid_array([row.recorded.entry_id.bytes for row in rows]),
        uuid_array([key_bytes(row.subject_key) for row in rows]),
        uuid_array([previous.bytes for previous, _ in work.links]),
        uuid_array([key_bytes(subject) for _, subject in work.links]),
        None if resumes is None else bigint(resumes),
    )


def _beside(
    work: Batch, full: Sequence[FullTile], content: dict[str, bytes], taken: Sequence[int]
) -> tuple[bytes, ...] | None:
    """The further arguments of `quorate.seal_beside`; None when there is nothing but entries."""
    about = [
        (key_bytes(name), row.recorded.sequence)
        for row in work.rows
        if row.about
        for name in row.about
        if name != row.subject_key
    ]
    if not (about or full or content or taken or work.captured):
        return None
    return (
        uuid_array([key for key, _ in about]),
        bigint_array(sequence for _, sequence in about),
        bigint_array(tile.level for tile in full),
        bigint_array(tile.number for tile in full),
        bytea_array([tile.hashes for tile in full]),
        bytea_array([tile.root for tile in full]),
        text_array(content),
        bytea_array(list(content.values())),
        bigint_array(taken),
        text_array(work.captured),
        bigint_array(first for first, _ in work.captured.values()),
        bigint_array(last for _, last in work.captured.values()),
    )


def refusal(error: psycopg.Error) -> OperatorError | None:
    """What a refusal by `quorate.seal` means; None for a fault of an entry itself."""
    said = error.diag.message_primary or str(error)
    if error.sqlstate == "QU001":
        return LostLeadership(f"this process may not write: {said}")
    if error.sqlstate == "QU003":
        return quarantined(said)
    if error.sqlstate in ("QU002", "QU004", "QU005", "QU006", "23505"):
        return Transient("Conflict", f"the log changed meanwhile: {said}")
    return None
