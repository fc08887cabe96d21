"""Pruning: the oldest partition of a chain goes into an archive and leaves the database (audit.md, 10).

Steps: intent (entry and row together) → export → verify the export from the disk → detach → drop → done (entry
and row together). The row says how far a run came; whoever runs next goes on from there, with any process
and after any crash. Until `detach` commits, nothing has changed but the row and a directory beside the archive.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from quorate.audit.archive import GENESIS, ArchiveError, Point, StoredPrune
from quorate.audit.checkpoint import CheckpointError, parse_checkpoint
from quorate.audit.note import NoteError, verify_note
from quorate.audit.pruning import pruned, pruning
from quorate.audit.record import Record
from quorate.audit.witness import witnesses_of
from quorate.identity.vkey import VerifierKey
from quorate_operator.errors import Stalled, Transient
from quorate_operator.store.archive import Archive, Exported, write_archive
from quorate_operator.store.batch import now_micros
from quorate_operator.store.directory_writer import Progress
from quorate_operator.store.log import PostgresContent, PostgresLog
from quorate_operator.store.operations import Operations, refusals
from quorate_operator.store.postgres import Connection, Database

STEPS = ("intent", "exported", "verified", "detached", "dropped", "done")
_ROW = """
SELECT state, archive, actor, intent, first_seq, end_seq, epoch, sealed_at, chain_hash, manifest
FROM quorate.prune WHERE chain_id = %s AND number = %s
"""
_POINTS = """
SELECT DISTINCT ON (chain_id) chain_id, end_seq, epoch, sealed_at, chain_hash, manifest FROM quorate.prune
WHERE state <> 'exporting' ORDER BY chain_id, number DESC
"""
_STARTED = "SELECT number, state FROM quorate.prune WHERE chain_id = %s ORDER BY number DESC LIMIT 1"
_LOCK = "SELECT pg_try_advisory_lock(hashtextextended('quorate.dev/pruner/' || %s, 0))"
_UNLOCK = "SELECT pg_advisory_unlock(hashtextextended('quorate.dev/pruner/' || %s, 0))"
_BEGIN = "SELECT quorate.prune_begin(%s, %s, %s, %s, %s)"
_DETACH = "SELECT quorate.prune_detach(%s, %s, %s, %s, %s, %s, %s, %s)"
_DROP = "SELECT quorate.prune_drop(%s, %s)"
_FINISH = "SELECT quorate.prune_finish(%s, %s, %s)"
_PLACE = "SELECT quorate.partition_width(), h.size, h.quarantine FROM quorate.chain_head h WHERE h.chain_id = %s"
_PARTITION = """
SELECT (SELECT record FROM quorate.audit_entry WHERE chain_id = %s AND seq = %s),
       coalesce(pg_total_relation_size(to_regclass('quorate.audit_entry_' || md5(%s) || '_' || %s::bigint)), 0)
"""


async def stored_prunes(database: Database) -> dict[str, StoredPrune]:
    """How far each chain that was ever pruned is."""
    rows = await database.read(_POINTS)
    return {chain: StoredPrune(chain, Point(*point), manifest) for chain, *point, manifest in rows}


@dataclass(frozen=True)
class Rules:
    """Whose signatures an archive's checkpoint needs; `witnesses` are the member that each Witness key belongs to."""

    keys: tuple[VerifierKey, ...]
    witnesses: Mapping[VerifierKey, str] = field(default_factory=dict)
    require_witnesses: int = 0


@dataclass(frozen=True)
class Planned:
    """A partition that may be pruned, or whose prune did not come to its end (`state` is then where it stands).

    `sealed_at` is the time (Unix µs) of its last entry; `size` its bytes on disk.
    """

    chain: str
    number: int
    first: int
    end: int
    sealed_at: int | None
    size: int
    state: str | None = None


async def plan(database: Database, chain: str, *, before: int | None = None, below: int | None = None) -> list[Planned]:
    """The partitions of a chain to prune, oldest first.

    Args:
        database: where.
        chain: the chain.
        before: only partitions whose last entry was sealed before this time (Unix µs).
        below: only partitions whose entries all have a sequence below this one.

    Raises:
        Stalled: `PruneRefused`, the log has no such chain.
    """
    place = await database.read(_PLACE, chain)
    if not place:
        raise Stalled("PruneRefused", f"the log has no chain {chain}")
    width, size, _ = place[0]
    started = await database.read(_STARTED, chain)
    number = 0 if not started else started[0][0] + (started[0][1] == "done")
    found: list[Planned] = []
    while (number + 1) * width <= min(size, size if below is None else below) or (not found and _is_open(started)):
        item = await _planned(database, chain, number, width, started)
        if item.state is None and before is not None and (item.sealed_at is None or item.sealed_at >= before):
            break
        found.append(item)
        number += 1
    return found


def _is_open(started: Sequence[Any]) -> bool:
    return bool(started) and started[0][1] != "done"


async def _planned(database: Database, chain: str, number: int, width: int, started: Sequence[Any]) -> Planned:
    last = (number + 1) * width - 1
    record, size = (await database.read(_PARTITION, chain, last, chain, number))[0]
    sealed_at = None if record is None else Record.decode(record).sealed_at
    state = started[0][1] if _is_open(started) and started[0][0] == number else None
    return Planned(chain, number, number * width, last + 1, sealed_at, size, state)


@dataclass(frozen=True)
class _Row:
    state: str
    archive: str
    actor: str
    intent: UUID
    first: int
    end: int
    epoch: int | None = None
    sealed_at: int | None = None
    chain_hash: bytes | None = None
    manifest: str | None = None

    @property
    def after(self) -> Point:
        assert self.epoch is not None
        assert self.sealed_at is not None
        assert self.chain_hash is not None
        return Point(self.end, self.epoch, self.sealed_at, self.chain_hash)


class Pruner:
    """Prunes partitions into archives below one place.

    Args:
        database: of a user with the roles `quorate_app` (to tell) and `quorate_maint` (to prune).
        place: the archives' directory; `name` is what the log calls it.
        operations: tells the log.
        actor: who prunes.
        reached: hears of each of STEPS once it is done.
        progress: hears how many entries were exported or verified since it last heard.
    """

    def __init__(
        self,
        database: Database,
        place: Path,
        name: str,
        operations: Operations,
        actor: str,
        *,
        clock: Callable[[], int] = now_micros,
        reached: Callable[[str], None] = lambda _: None,
        progress: Progress | None = None,
    ) -> None:
        self._database = database
        self._place, self._name = place, name
        self._operations = operations
        self._actor = actor
        self._clock = clock
        self._reached = reached
        self._progress = progress
        self._log = PostgresLog(database)
        self._content = PostgresContent(database)

    async def prune(self, chain: str, number: int, rules: Rules) -> StoredPrune:
        """Bring the prune of one partition to its end, wherever it stands.

        Raises:
            Stalled: `PruneRefused` (not the oldest partition, not full, no checkpoint that `rules` accept, chain in
                quarantine, …), `ArchiveRefused`, or as of `write_view`.
            Transient: `PruneBusy` (a reader holds the log for longer than 2 s, or another process prunes this chain),
                `NotSealed`, `FilesUnavailable`, `DatabaseUnavailable`. The same call later goes on.
        """
        async with self._alone(chain):
            return await self._prune(chain, number, rules)

    @asynccontextmanager
    async def _alone(self, chain: str) -> AsyncIterator[None]:
        """One process at a time: two would write the same directory. The lock ends with its connection."""
        async with self._database.writer() as connection:
            held = await (await connection.execute(_LOCK, (chain,))).fetchone()
            if held != (True,):
                raise Transient("PruneBusy", f"another process prunes chain {chain}", retry_after=60.0)
            try:
                yield
            finally:
                with suppress(psycopg.Error):  # the connection is gone, and its lock with it
                    await connection.execute(_UNLOCK, (chain,))

    async def _prune(self, chain: str, number: int, rules: Rules) -> StoredPrune:
        row = await self._row(chain, number)
        if row is None:
            row = await self._begin(chain, number, rules)
            self._reached("intent")
        if row.state == "exporting":
            await self._operations.sealed(row.intent)
            row = await self._archive(chain, number, row, rules)
            self._reached("detached")
        if row.state == "detached":
            await self._call(_DROP, chain, number)
            self._reached("dropped")
        return await self._finish(chain, number, row)

    async def _row(self, chain: str, number: int) -> _Row | None:
        rows = await self._database.read(_ROW, chain, number)
        return _Row(*rows[0]) if rows else None

    async def _call(self, query: str, *args: Any) -> None:
        """Once only: while it waits for its lock, every append waits behind it."""
        try:
            with refusals("PruneRefused"):
                async with self._database.connection() as connection:
                    await connection.execute(query, args)
        except Transient as error:
            if isinstance(error.__cause__, psycopg.errors.LockNotAvailable):
                message = "somebody reads the log for longer than 2 s, a verification for example; try again later"
                raise Transient("PruneBusy", message, retry_after=60.0) from error
            raise

    async def _begin(self, chain: str, number: int, rules: Rules) -> _Row:
        place = await self._database.read(_PLACE, chain)
        if not place:
            raise Stalled("PruneRefused", f"the log has no chain {chain}")
        width = place[0][0]
        first, end = number * width, (number + 1) * width
        await self._note(chain, end, rules)
        draft = pruning(chain, first, end, archive=self._name, actor=self._actor, now=self._clock())

        async def work(connection: Connection) -> None:
            told = await self._operations.tell(connection, draft)
            await connection.execute(_BEGIN, (chain, number, self._name, self._actor, told))

        with refusals("PruneRefused"):
            await self._database.again(work)
        return _Row("exporting", self._name, self._actor, draft.entry_id, first, end)

    async def _note(self, chain: str, end: int, rules: Rules) -> str:
        """The newest checkpoint, which must cover the range and be signed as the rules say."""
        for note in reversed(await self._log.checkpoints(chain)):
            try:
                verified = verify_note(note, rules.keys, rules.witnesses)
                if parse_checkpoint(verified.text).size < end:
                    break
            except (NoteError, CheckpointError):
                continue
            if witnesses_of(verified.cosignatures, rules.witnesses) >= rules.require_witnesses:
                return note
        needed = f" and {rules.require_witnesses} witnesses" if rules.require_witnesses else ""
        raise Stalled("PruneRefused", f"no checkpoint of chain {chain} by a known key{needed} covers {end} entries")

    async def _archive(self, chain: str, number: int, row: _Row, rules: Rules) -> _Row:
        """Export, verify, detach; the row after that."""
        before = GENESIS
        if row.first:
            before = (await stored_prunes(self._database))[chain].point
        note = await self._note(chain, row.end, rules)
        exported = await write_archive(self._place, self._log, self._content.get, note, before, row.end, self._progress)
        self._reached("exported")
        await asyncio.to_thread(_verified, exported, rules, self._progress)
        self._reached("verified")
        after, digest = exported.manifest.after, exported.manifest.digest
        state = (after.epoch, after.sealed_at, after.chain_hash)
        await self._call(_DETACH, chain, number, *state, digest, exported.kept, self._name)
        return _Row("detached", self._name, row.actor, row.intent, row.first, row.end, *state, digest)

    async def _finish(self, chain: str, number: int, row: _Row) -> StoredPrune:
        assert row.manifest is not None
        draft = pruned(
            chain,
            row.first,
            row.after,
            manifest=row.manifest,
            archive=row.archive,
            actor=row.actor,
            intent=row.intent,
            now=self._clock(),
        )

        async def work(connection: Connection) -> None:
            told = await self._operations.tell(connection, draft)
            await connection.execute(_FINISH, (chain, number, told))

        if row.state != "done":
            with refusals("PruneRefused"):
                await self._database.again(work)
        await self._operations.sealed(draft.entry_id)
        self._reached("done")
        return StoredPrune(chain, row.after, row.manifest)


def _verified(exported: Exported, rules: Rules, progress: Progress | None) -> None:
    """Read the archive again, as whoever finds it one day will."""
    try:
        archive = Archive(exported.path)
        if archive.manifest.digest != exported.manifest.digest:
            raise ArchiveError("its manifest is not the one that was written")
        archive.verify(rules.keys, progress)
    except ArchiveError as error:
        raise Stalled("ArchiveRefused", f"{exported.path} does not verify, so nothing is pruned: {error}") from error
