"""Entries about names, read on from where the last look ended: one more vote costs one more entry, not all of them.

Nothing is assumed of what came meanwhile or who wrote it: each look asks the log, and the entry at which the last look
ended must still be there. Where it is not (pruned, another database), everything about the name is read again.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from quorate_operator.store.ports import Log, Recorded

MAX_HELD = 50_000
"""Entries that are held at most, about 10 KB each with what is made from them; a single name may have more."""


@dataclass(frozen=True)
class _Held:
    entries: tuple[Recorded, ...]
    last: Recorded
    """The last entry of the chain that most of them stand in."""


class Followed:
    """Entries by name, in order of (chain, sequence). A tuple that comes back as the same object has not changed.

    Args:
        dropped: Told of each name that is forgotten: the ones that were asked for longest ago, beyond `limit` entries.
    """

    def __init__(self, *, limit: int = MAX_HELD, dropped: Callable[[str], object] = lambda name: None) -> None:
        self._held: dict[str, _Held] = {}
        self._limit, self._dropped = limit, dropped
        self._count = 0

    async def get(self, log: Log, names: Iterable[str]) -> dict[str, tuple[Recorded, ...]]:
        """Everything that the log holds about each name; one query, and one more where what was known is gone."""
        wanted = dict.fromkeys(names)
        known = {name: held.last if (held := self._held.get(name)) else None for name in wanted}
        found = await log.since(known) if known else {}
        gone = {
            name: None for name, items in found.items() if known[name] is not None and not self._goes_on(name, items)
        }
        for name in gone:
            self._put(name, None)
        if gone:
            found |= await log.since(gone)
        for name, items in found.items():
            self._take(name, items)
        answer = {name: held.entries if (held := self._held.get(name)) else () for name in wanted}
        self._forget(wanted.keys())
        return answer

    def _goes_on(self, name: str, items: Iterable[Recorded]) -> bool:
        last = self._held[name].last
        first = next((item for item in items if item.chain_id == last.chain_id), None)
        return first is not None and (first.sequence, first.record) == (last.sequence, last.record)

    def _take(self, name: str, items: list[Recorded]) -> None:
        held = self._held.pop(name, None)  # asked for last: it goes to the end
        if held is None:
            if items:
                (chain, _), *_ = Counter(item.chain_id for item in items).most_common(1)
                last = next(item for item in reversed(items) if item.chain_id == chain)
                self._put(name, _Held(tuple(items), last))
            return
        chain = held.last.chain_id
        known = {(item.chain_id, item.sequence) for item in held.entries if item.chain_id != chain}
        more = [item for item in items if item.chain_id == chain][1:]
        beside = [item for item in items if item.chain_id != chain]
        if not more and {(item.chain_id, item.sequence) for item in beside} == known:
            self._held[name] = held
            return
        own = (*(item for item in held.entries if item.chain_id == chain), *more)
        entries = sorted((*beside, *own), key=lambda item: item.chain_id) if beside else own
        self._count -= len(held.entries)
        self._put(name, _Held(tuple(entries), own[-1]))

    def _put(self, name: str, held: _Held | None) -> None:
        before = self._held.pop(name, None)
        self._count -= 0 if before is None else len(before.entries)
        if held is not None:
            self._held[name] = held
            self._count += len(held.entries)

    def _forget(self, wanted: Iterable[str]) -> None:
        keep = set(wanted)
        while self._count > self._limit:
            name = next(iter(self._held))
            if name in keep:
                return  # the rest was asked for just now
            self._put(name, None)
            self._dropped(name)
