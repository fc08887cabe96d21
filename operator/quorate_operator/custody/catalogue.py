"""Watch over the catalogue of the database: recorded once, compared before each checkpoint (audit.md, 6; row D14).

What it is held to is in the log: an entry `system.catalogue.recorded` names the digest of the document, the document is
in `content`. Another catalogue is recorded as `system.catalogue.changed` with the differences in words, tells people,
and has everything verified again. It stays open until somebody acknowledges it, or a migration is recorded.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from quorate.api.conditions import ConditionType, Observation, Reason, Truth, observe
from quorate.audit.catalogue import CHANGED, RECORDED, SUBJECT, differences, partition_faults
from quorate.audit.entry import Draft, Tether
from quorate.canonical import canonical_bytes, digest_of_bytes, parse_json
from quorate_operator.errors import Stalled
from quorate_operator.http import metrics
from quorate_operator.store.guards import Catalogue, Guards, Snapshot
from quorate_operator.store.migrate import guard_text
from quorate_operator.store.ports import Content, Log

_log = logging.getLogger(__name__)
SYSTEM = "system"
MAX_NAMED = 20
_MAX_SENTENCE = 300
PARTITIONS_SECONDS = 3600
"""How long new partitions may wait until they are recorded; in between this process remembers them."""


@dataclass(frozen=True)
class _Reference:
    """What the catalogue is held to.

    Args:
        entry: the subject's last entry.
        document: the catalogue as it was last seen; None if the database lost what the last entry names.
        partitions: those that the last entry knows.
        digest: the one that the last entry names.
        open: it was found changed, and nobody acknowledged that.
        acknowledged: number of the newest acknowledgement at the time.
        since: event time of the last entry, Unix seconds.
    """

    entry: UUID
    document: Mapping[str, Any] | None
    partitions: frozenset[str]
    digest: str
    open: bool
    acknowledged: int
    since: float


class CatalogueWatch:
    """Compares the catalogue with what the log says of it.

    Args:
        catalogue: reads it.
        log: where entries go.
        content: where documents are.
        clock: Unix seconds.
        alarm: hears in one sentence of a catalogue that was changed; false if nobody could be told yet.
        force: has everything verified again.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        log: Log,
        content: Content,
        *,
        clock: Callable[[], float],
        alarm: Callable[[str], bool],
        force: Callable[[], None],
    ) -> None:
        self._catalogue, self._log, self._content = catalogue, log, content
        self._clock, self._alarm, self._force = clock, alarm, force
        self._reference: _Reference | None = None
        self._untold = ""
        self.standing: Observation | None = None
        """Condition `Guarded` as of the last look."""

    async def turn(self) -> None:
        """Look once. Nothing is appended unless something is to be said.

        Raises:
            OperatorError: the database does not answer, or `system` is stopped.
        """
        if self._reference is None:
            self._reference = await self._load()
        reference = self._reference
        held = None if reference is None else reference.document
        snapshot = await self._catalogue.look(None if held is None else held["ddl"])
        metrics.DDL_GUARD.set(snapshot.guards.ddl_guard)
        metrics.PGAUDIT.set(snapshot.guards.pgaudit)
        try:
            await self._compare(reference, snapshot)
        except Stalled:
            self._reference = None  # another process wrote of it: read that first
            raise
        self.standing = _standing(self._reference, snapshot.guards)
        metrics.CATALOGUE_OPEN.set(self.standing.status is Truth.FALSE)
        if self._untold and self._alarm(self._untold):
            self._untold = ""

    async def _compare(self, reference: _Reference | None, snapshot: Snapshot) -> None:
        if reference is None:
            await self._record(None, snapshot, "first", partition_faults(snapshot.document, snapshot.around))
            return
        if reference.document is None:
            gone = f"the catalogue that was recorded, {reference.digest}, is gone from the database's content"
            await self._change(reference, snapshot, [gone])
            return
        found = differences(reference.document, snapshot.document, snapshot.around)
        found += [str(done) for done in snapshot.done]
        if cause := _made_by_us(reference.document["schema"], snapshot.document["schema"]):
            await self._record(reference, snapshot, cause, found)
        elif found:
            await self._change(reference, snapshot, found)
        elif reference.open:
            await self._settle(reference, snapshot)
        else:
            await self._remember(reference, snapshot)

    async def _settle(self, reference: _Reference, snapshot: Snapshot) -> None:
        """Close an open finding if somebody acknowledged exactly that; putting it right is a change of its own."""
        acknowledged = await self._catalogue.acknowledgement(reference.digest, reference.acknowledged)
        if acknowledged is not None:
            by = {"login": acknowledged.login, "reason": acknowledged.reason}
            await self._record(reference, snapshot, "acknowledged", [], by=by)

    async def _remember(self, reference: _Reference, snapshot: Snapshot) -> None:
        """All is well: hold on to what was seen, and now and then to new partitions in the log too."""
        new = snapshot.document["partitions"].keys() - reference.partitions
        self._reference = replace(reference, document=snapshot.document)
        if new and self._clock() - reference.since >= PARTITIONS_SECONDS:
            await self._record(reference, snapshot, "partitions", [])

    async def _change(self, reference: _Reference, snapshot: Snapshot, found: Sequence[str]) -> None:
        metrics.CATALOGUE_CHANGES.inc()
        sentence = f"the database's catalogue was changed behind the log: {'; '.join(found[:3])}"
        sentence += f" and {len(found) - 3} more" if len(found) > 3 else ""
        _log.error(sentence, extra={"reason": Reason.CATALOGUE_CHANGED, "chain": SYSTEM})
        self._untold = sentence
        self._force()
        await self._append(reference, snapshot, CHANGED, {}, found)

    async def _record(
        self,
        reference: _Reference | None,
        snapshot: Snapshot,
        cause: str,
        found: Sequence[str],
        *,
        by: Mapping[str, str] | None = None,
    ) -> None:
        if found:
            self._force()
        detail = {"cause": cause} | ({"acknowledged": dict(by)} if by else {})
        await self._append(reference, snapshot, RECORDED, detail, found)

    async def _append(
        self,
        reference: _Reference | None,
        snapshot: Snapshot,
        event: str,
        detail: Mapping[str, Any],
        found: Sequence[str],
    ) -> None:
        document = canonical_bytes(snapshot.document)
        digest, now = digest_of_bytes(document), self._clock()
        named = [sentence[:_MAX_SENTENCE] for sentence in found[:MAX_NAMED]]
        guards = {"ddlGuard": snapshot.guards.ddl_guard, "pgaudit": snapshot.guards.pgaudit}
        full = {
            **detail,
            "digest": digest,
            "schema": dict(snapshot.document["schema"]),
            "guards": guards,
            "differences": named,
            "unnamed": len(found) - len(named),
            "acknowledgements": snapshot.acknowledged,
        }
        draft = Draft(
            SUBJECT,
            None if reference is None else reference.entry,
            event,
            {"kind": "Catalogue", "name": "quorate"},
            Tether("0"),
            int(now * 1_000_000),
            about=(digest,),
            detail=full,
        )
        await self._log.append(SYSTEM, [draft], {digest: document})
        self._reference = _Reference(
            draft.entry_id,
            snapshot.document,
            frozenset(snapshot.document["partitions"]),
            digest,
            event == CHANGED,
            snapshot.acknowledged,
            now,
        )

    async def _load(self) -> _Reference | None:
        last = (await self._log.heads([SUBJECT])).get(SUBJECT)
        if last is None:
            return None
        digest = str(last.detail["digest"])
        document = await self._document(digest)
        return _Reference(
            last.entry_id,
            document,
            frozenset(document["partitions"] if document else ()),
            digest,
            last.event_type == CHANGED,
            int(last.detail["acknowledgements"]),
            last.timestamp / 1_000_000,
        )

    async def _document(self, digest: str) -> Mapping[str, Any] | None:
        try:
            found = (await self._content.get([digest])).get(digest)
        except Stalled as error:
            _log.error(error.message, extra={"reason": error.reason})
            return None
        if found is None:
            return None
        document: dict[str, Any] = parse_json(found)
        return document


def _standing(reference: _Reference | None, guards: Guards) -> Observation:
    if reference is not None and reference.open:
        message = f"the database's catalogue was changed and nobody acknowledged {reference.digest} ({guards})"
        advice = "see `quorate audit catalogue show` and docs/database.md"
        return observe(ConditionType.GUARDED, False, Reason.CATALOGUE_CHANGED, f"{message}: {advice}")
    reason = Reason.DDL_GUARD if guards.ddl_guard else Reason.NO_DDL_GUARD
    return observe(ConditionType.GUARDED, True, reason, f"the database's catalogue is as the log has it ({guards})")


def _made_by_us(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Why the schema is another: a migration, or this version's guard was installed; empty if it is the same."""
    if new["version"] > old["version"]:
        return "migration"
    ours = digest_of_bytes(guard_text().encode())
    return "guard" if new["guard"] == ours != old["guard"] else ""
