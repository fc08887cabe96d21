"""A status that names an entry which the log does not hold: the database is older than the cluster (trust.md, Entries).

Nothing may be appended for such an object until a person compared the two (`LogBehind`): what votes decided would
otherwise be undone by a restored backup.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from quorate.api.conditions import Reason
from quorate_operator.errors import Stalled
from quorate_operator.kube.resources import Key, Obj
from quorate_operator.reconcile.protocol import Context, Plan, Reconciler, Relation
from quorate_operator.store.ports import Log


class LastEntries:
    """Compares `status.lastEntry` with the log, once per object: later ones are this process's own."""

    def __init__(self) -> None:
        self._held: set[str] = set()

    async def missing(self, log: Log, objects: Iterable[Obj]) -> dict[str, str]:
        """Uid → last entry, of the objects whose last entry is not in the log; one query, none for known objects."""
        asked: dict[str, UUID] = {}
        for obj in objects:
            uid, last = obj["metadata"]["uid"], (obj.get("status") or {}).get("lastEntry")
            if uid in self._held:
                continue
            if last is None:
                self._held.add(uid)
            else:
                asked[uid] = UUID(last)
        if not asked:
            return {}
        found = await log.recorded(list(asked.values()))
        self._held |= {uid for uid, entry_id in asked.items() if entry_id in found}
        return {uid: str(entry_id) for uid, entry_id in asked.items() if entry_id not in found}

    async def check(self, log: Log, obj: Obj) -> None:
        """Stalled (LogBehind) for an object whose last entry is not in the log."""
        for last in (await self.missing(log, [obj])).values():
            raise _behind(obj, last)


def _behind(obj: Obj, last: str) -> Stalled:
    message = (
        f"status.lastEntry {last} of {obj['kind']} {obj['metadata']['name']} is not in the log: the database is behind "
        "the cluster; nothing is recorded for it until `quorate restore check`"
    )
    return Stalled(Reason.LOG_BEHIND, message)


@dataclass(frozen=True)
class _Lost:
    obj: Obj
    last: str


class Checked:
    """A reconciler that decides nothing about objects which are ahead of the log."""

    def __init__(self, inner: Reconciler[Any], entries: LastEntries) -> None:
        self.kind = inner.kind
        self.relations: Mapping[str, Relation] = inner.relations
        self._inner, self._entries = inner, entries

    async def gather(self, keys: Sequence[Key], context: Context) -> dict[Key, Any]:
        """What the inner one gathers, for the objects that the log is not behind."""
        objects = {key: obj for key in keys if (obj := context.view.get(key)) is not None}
        missing = await self._entries.missing(context.log, objects.values())
        lost = {
            key: _Lost(obj, missing[obj["metadata"]["uid"]])
            for key, obj in objects.items()
            if obj["metadata"]["uid"] in missing
        }
        return {**await self._inner.gather([key for key in keys if key not in lost], context), **lost}

    def decide(self, gathered: Any, now: int) -> Plan:
        """The inner decision.

        Raises:
            Stalled: `LogBehind`.
        """
        if isinstance(gathered, _Lost):
            raise _behind(gathered.obj, gathered.last)
        return self._inner.decide(gathered, now)
