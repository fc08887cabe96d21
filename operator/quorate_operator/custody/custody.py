"""Custody of the log: what keeps watch over it while the operator leads, wired together.

Checkpoints from outside are compared before anything is sealed and before each checkpoint; what was sealed is verified;
a chain that cannot be trusted is stopped, and goes on when people signed for it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any

from quorate.api.conditions import Observation, Reason
from quorate.audit.entry import Draft, Tether
from quorate.audit.quarantine import SYSTEM, Finding
from quorate_operator.config import Config
from quorate_operator.custody.catalogue import CatalogueWatch
from quorate_operator.custody.engine import Engine
from quorate_operator.custody.outside import LogKeys, Outside, Told, told_by_files, told_by_leases, told_by_objects
from quorate_operator.custody.quarantines import Quarantines
from quorate_operator.custody.resumptions import Resumptions
from quorate_operator.custody.verifications import Verifications
from quorate_operator.custody.verified import Verified
from quorate_operator.errors import Conflict, Fatal, OperatorError, Stalled
from quorate_operator.kube.client import Client
from quorate_operator.kube.events import Recorder
from quorate_operator.kube.resources import HEARTBEAT_LABEL, Key
from quorate_operator.planner import Planner
from quorate_operator.reconcile.checkpoint import keys_of, manifest
from quorate_operator.reconcile.domains import Domains
from quorate_operator.reconcile.protocol import Context
from quorate_operator.store.files import Files, open_files
from quorate_operator.store.guards import Catalogue

_log = logging.getLogger(__name__)
DATABASE = "system/database"
SEEN = "system.database.seen"
Identity = Callable[[], Awaitable[Mapping[str, str]]]
"""What tells one database from another: {systemIdentifier, timeline}; empty where it may not be read."""


class Custody:
    """Quarantines, comparison with the outside, verification and resumption of one leader.

    Args:
        context: what decisions read from; `results` and `refused` are filled here.
        client: reads the notes in the cluster.
        engine: verifies.
        identity: of the database.
        catalogue: of the database; None where there is none, as in memory.
        results: `context.results`.
        refused: `context.refused`.
        guarded: `context.guarded`.
    """

    def __init__(
        self,
        context: Context,
        client: Client,
        engine: Engine,
        identity: Identity,
        catalogue: Catalogue | None,
        results: dict[str, Verified],
        refused: dict[str, str],
        guarded: dict[str, Observation],
    ) -> None:
        self._context, self._client, self._identity = context, client, identity
        self._planner: Planner | None = None
        self._recorder: Recorder | None = None
        log, domains = context.log, Domains()
        keys = LogKeys(context, domains)
        self.quarantines = Quarantines(log, self._changed, context.clock)
        self.outside = Outside(log, keys, _sources(context.config, client))
        self.verifications = Verifications(
            log,
            engine,
            self.outside,
            keys,
            self.quarantines,
            objects=lambda: context.view.all("AuditCheckpoint"),
            told=self._told,
            results=results,
            clock=context.clock,
            at=context.config.verify_at,
        )
        self._guarded = guarded
        self._catalogue = None
        if catalogue is not None:
            told, force = self._catalogue_event, self.verifications.force
            self._catalogue = CatalogueWatch(
                catalogue, log, context.content, clock=context.clock, alarm=told, force=force
            )
        self.resumptions = Resumptions(
            context, domains, self.quarantines, engine, self.outside, keys, self._mark, refused
        )

    def attend(self, planner: Planner, recorder: Recorder) -> None:
        """From now on objects are looked at again and Events are recorded."""
        self._planner, self._recorder = planner, recorder

    async def compare(self) -> None:
        """Stop every chain that a checkpoint from outside speaks against; before the term is taken it needs none.

        Raises:
            OperatorError: cluster, publication or database do not answer, so nothing may be sealed either.
        """
        self.quarantines.leads = False
        for chain, finding in (await self.outside.findings()).items():
            await self.quarantines.raise_quarantine(chain, finding)

    async def before_checkpoint(self) -> Mapping[str, object]:
        """`compare`, the catalogue's look, and what is stopped."""
        for chain, finding in (await self.outside.findings()).items():
            if chain not in self.quarantines.open:
                await self.quarantines.raise_quarantine(chain, finding)
                self._event(chain, finding)
        await self.quarantines.look()
        await self._show()
        await self._look_at_catalogue()
        return self.quarantines.open

    async def _show(self) -> None:
        """A stopped chain has an AuditCheckpoint in which people find that, also if nothing of it was ever signed."""
        view = self._context.view
        for chain in self.quarantines.open:
            if not keys_of(view, chain):
                with contextlib.suppress(Conflict):
                    view.fold(await self._client.create(manifest(chain)))
                self._mark(chain)

    async def begin(self) -> None:
        """With the term: what is stopped, and the entries of quarantines that `system` does not know yet."""
        self.quarantines.leads = True
        await self.quarantines.look()

    async def _keep(self) -> None:
        """First another database and catalogue are recorded, beside the first decisions; then verify for ever."""
        try:
            await self._note_database()
        except Fatal:
            raise
        except OperatorError as error:
            _log.warning("the database is not recorded: %s", error.message, extra={"reason": error.reason})
        await self._look_at_catalogue()
        await self.verifications.run()

    async def doubt(self, chain: str, error: Stalled) -> None:
        """What is published of a chain is not continued: either may be wrong, so the chain is verified."""
        del error
        self.verifications.force(chain)

    def parts(self) -> dict[str, Coroutine[Any, Any, None]]:
        """What runs while the operator leads."""
        return {"verifications": self._keep(), "resumptions": self.resumptions.run()}

    async def _note_database(self) -> None:
        identity = dict(await self._identity())
        if not identity or SYSTEM in self.quarantines.open:
            return
        last = (await self._context.log.heads([DATABASE])).get(DATABASE)
        if last is not None and last.detail == identity:
            return
        if last is not None:
            _log.warning(
                "the database is another than before: %s, not %s", identity, dict(last.detail),
                extra={"reason": "DatabaseChanged"},
            )  # fmt: skip
        draft = Draft(
            DATABASE,
            None if last is None else last.entry_id,
            SEEN,
            {"kind": "Database", "name": identity["systemIdentifier"]},
            Tether("0"),
            int(self._context.clock() * 1_000_000),
            detail=identity,
        )
        await self._context.log.append(SYSTEM, [draft])

    async def _look_at_catalogue(self) -> None:
        """Compare the database's catalogue with the recorded one; a stopped `system` could not record anything."""
        if self._catalogue is None or SYSTEM in self.quarantines.open:
            return
        try:
            await self._catalogue.turn()
        except Fatal:
            raise
        except OperatorError as error:
            _log.warning("the catalogue was not compared: %s", error.message, extra={"reason": error.reason})
        standing = self._catalogue.standing
        if standing is not None and self._guarded.get(SYSTEM) != standing:
            self._guarded[SYSTEM] = standing
            self._mark(SYSTEM)

    def _catalogue_event(self, message: str) -> bool:
        """Tell of a changed catalogue on the AuditCheckpoint of `system`; false while there is none."""
        view = self._context.view
        objects = [view.get(key) for key in keys_of(view, SYSTEM)] if self._recorder is not None else []
        for obj in objects:
            if obj is not None and self._recorder is not None:
                self._recorder.record(obj, "Warning", Reason.CATALOGUE_CHANGED, message[:1024])
        return bool(objects)

    def _changed(self, chain: str) -> None:
        """A chain was stopped or goes on: whatever waits for it is looked at again."""
        self._mark(chain)
        if chain not in self.quarantines.open:
            self.verifications.force(chain)
            if self._planner is not None:
                for kind in self._context.view.kinds():
                    self._planner.mark(self._context.view.keys(kind))

    def _told(self, chain: str, finding: Finding | None) -> None:
        self._mark(chain)
        if finding is not None:
            self._event(chain, finding)

    def _mark(self, chain: str) -> None:
        if self._planner is not None:
            view = self._context.view
            self._planner.mark(keys_of(view, chain))
            self._planner.mark(view.by("Attestation", "type", "Resume"))

    def _event(self, chain: str, finding: Finding) -> None:
        view = self._context.view
        keys = keys_of(view, chain) or [Key("TrustDomain", "", chain.partition("/")[2])]
        for key in keys:
            obj = view.get(key)
            if obj is not None and self._recorder is not None:
                self._recorder.record(obj, "Warning", str(finding.cause), finding.message)


def _sources(config: Config, client: Client) -> list[Callable[[], Awaitable[Sequence[Told]]]]:
    async def objects() -> list[Told]:
        return told_by_objects(await client.list_all("AuditCheckpoint"))

    async def leases() -> list[Told]:
        return told_by_leases(await client.list_all("Lease", labels=f"{HEARTBEAT_LABEL}=cosignature"))

    sources: list[Callable[[], Awaitable[Sequence[Told]]]] = [objects, leases]
    if config.publish:
        files: Files = open_files(config.publish)

        async def published() -> list[Told]:
            return await asyncio.to_thread(told_by_files, files, config.publish)

        sources.append(published)
    return sources
