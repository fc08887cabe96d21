"""Applies plans: audit, then effect.

Order: the log (one transaction with the content), children, status, Events. A crash between any two steps is healed by
doing it again: the gathered log head is then ahead of `status.lastEntry`.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from quorate.notifications.notice import Notice
from quorate_operator.custody.quarantines import Quarantines
from quorate_operator.errors import Conflict, OperatorError, Stalled
from quorate_operator.kube.client import Client
from quorate_operator.kube.conditions import failure_status
from quorate_operator.kube.events import Recorder
from quorate_operator.kube.resources import OWN_KINDS, Key, Obj
from quorate_operator.kube.status import status_patch
from quorate_operator.reconcile.protocol import (
    ApplyChild,
    Command,
    CreateChild,
    KeepCosignatures,
    Note,
    Plan,
    Remove,
    StopChain,
)
from quorate_operator.reconcile.routes import Routes
from quorate_operator.view import View

if TYPE_CHECKING:
    from quorate_operator.store.ports import Log

_log = logging.getLogger(__name__)
_REPORTING = {resource.kind for resource in OWN_KINDS}
"""Kinds with conditions; of others the log alone tells what is wrong."""


class Applier:
    """Performs what plans say; every method is idempotent.

    `cosigned` hears of a chain with new cosignatures, `notices` of what an object asks to be told.
    """

    def __init__(
        self,
        *,
        client: Client,
        log: "Log",
        view: View,
        routes: Routes,
        recorder: Recorder,
        quarantines: Quarantines | None = None,
        cosigned: Callable[[str], None] = lambda chain: None,
        notices: Callable[[Key, Iterable[Notice]], None] = lambda key, notices: None,
    ) -> None:
        self._client = client
        self._log = log
        self._view = view
        self._routes = routes
        self._recorder = recorder
        self._quarantines = quarantines or Quarantines(log)
        self._cosigned = cosigned
        self._notices = notices
        self._written: dict[Key, Obj] = {}

    async def apply(self, key: Key, plan: Plan) -> bool:
        """Perform a plan. False: the log already holds one of its entries, so it must be gathered again.

        Raises:
            Conflict: the object changed since it was gathered.
            OperatorError: the transition did not happen (append failed) or an effect must be repeated.
        """
        if plan.entries:
            if plan.chain is None:
                raise Stalled("InternalError", f"{key}: entries without a chain")
            recorded = await self._log.append(plan.chain, plan.entries, content=plan.content)
            if any(item.existing for item in recorded):
                return False
        for command in plan.commands:
            await self._perform(command)
        if plan.status is not None:
            await self._write_status(key, plan.status)
        for note in plan.events:
            self._note(key, note)
        if plan.notices is not None:
            self._notices(key, plan.notices)
        return True

    def touched(self, key: Key) -> Iterable[Key]:
        """Keys of other objects that the last status write of this one concerns; asked once per write."""
        written = self._written.pop(key, None)
        return [] if written is None else [other for other in self._routes.touched(written) if other != key]

    async def refresh(self, key: Key) -> None:
        """After a conflict: read the object itself, because the watch may lag behind whoever changed it."""
        try:
            current = await self._client.get(key)
        except OperatorError:
            return  # the retry finds out
        if current is None:
            self._view.remove(key)
        else:
            self._view.fold(current)

    async def report(self, key: Key, error: OperatorError, now: int) -> None:
        """Put an error into the object's conditions and, when it stalls, an Event; best effort, it is retried."""
        current = self._view.get(key)
        if current is None or key.kind not in _REPORTING:
            return
        if isinstance(error, Stalled):
            self._note(key, Note("Warning", error.reason, error.message))
        try:
            await self._write_status(key, failure_status(current, error, now))
        except OperatorError as second:
            _log.info("condition not written: %s", second.message, extra={"object": str(key), "reason": second.reason})

    async def _perform(self, command: Command) -> None:
        if isinstance(command, ApplyChild):
            self._view.fold(await self._client.apply(command.body))
        elif isinstance(command, CreateChild):
            try:
                self._view.fold(await self._client.create(command.body))
            except Conflict:
                return  # it exists: named by digest, so it is the same or drift finds out
        elif isinstance(command, Remove):
            try:
                await self._client.delete(command.key, uid=command.uid)
            except Conflict:
                return  # another object has the name by now; not ours to delete
        elif isinstance(command, KeepCosignatures):
            await self._log.keep_cosignatures(command.chain, command.size, command.lines)
            self._cosigned(command.chain)
        elif isinstance(command, StopChain):
            await self._quarantines.raise_quarantine(command.chain, command.finding)

    async def _write_status(self, key: Key, wanted: Mapping[str, Any]) -> None:
        current = self._view.get(key)
        if current is None:
            return
        patch = status_patch(current, wanted)
        if patch is None:
            return
        answer = await self._client.patch_status(key, patch)
        if self._view.fold(answer):
            self._written[key] = answer

    def _note(self, key: Key, note: Note) -> None:
        current = self._view.get(key)
        if current is not None:
            self._recorder.record(current, note.type, note.reason, note.message)
