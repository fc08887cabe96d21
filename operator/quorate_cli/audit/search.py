"""Search over sources: by index where there is one, by time through bisection, else by reading; constant memory."""

import heapq
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from quorate.audit.record import Record
from quorate.canonical import is_digest
from quorate_cli.audit.shown import Shown
from quorate_cli.audit.source import BLOCK, Source, backward, forward
from quorate_cli.output import CliError, ExitCode

Raw = tuple[int, bytes]
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_KIND = re.compile(r"[A-Z][A-Za-z]*/", re.ASCII)
# What canonical JSON escapes; every other text stands in a content as its UTF-8 bytes.
_ESCAPED = re.compile(r'["\\\x00-\x1f]')


class DivergentError(CliError):
    """Two sources hold different records in one place of a chain."""

    code = ExitCode.TAMPERED


@dataclass(frozen=True)
class Filter:
    """What is looked for; all conditions that are given must hold. Times are Unix microseconds, of sealing."""

    actor: str | None = None
    target: str | None = None
    kind: str | None = None
    since: int | None = None
    until: int | None = None
    any_of: tuple[bytes, ...] = ()
    """Bytes of which the record holds at least one."""

    def may_match(self, record: bytes) -> bool:
        """False only for a record that cannot match: most are passed over without being parsed."""
        needles = (self.actor, self.kind, self.target and self.target.rpartition("/")[2])
        return all(not text or _ESCAPED.search(text) or text.encode() in record for text in needles) and (
            not self.any_of or any(beginning in record for beginning in self.any_of)
        )

    def matches(self, shown: Shown) -> bool:
        """Whether every condition holds."""
        return (
            (self.actor is None or self.actor in str(shown.content.get("actor_id", "")))
            and (self.kind is None or shown.event.startswith(self.kind))
            and (self.since is None or shown.sealed_at >= self.since)
            and (self.until is None or shown.sealed_at < self.until)
            and (self.target is None or self.target in _names(shown))
        )

    @property
    def indexed(self) -> str | None:
        """The target where it can only be a subject key or a digest: the index then holds every entry that matches."""
        text = self.target or ""
        key = is_digest(text) or text.startswith("uid:") or _UUID.fullmatch(text) or "/" in text
        return text if key and not _KIND.match(text) else None


def _names(shown: Shown) -> set[object]:
    subject, about = shown.subject, shown.payload.get("about")
    names = {subject.get("key"), subject.get("name"), f"{subject.get('kind')}/{subject.get('name')}"}
    return names | {item for item in (about if isinstance(about, list) else ()) if isinstance(item, str)}


class Search:
    """One filter over chains of several sources.

    Entries come in the order of their sealed time; within a chain that is the order of the chain. What two sources
    both hold comes once. `unreadable(chain, sequence, error)` is told of a record that cannot be read.

    Attributes:
        chains: the ids of the chains that are searched.

    Raises (while iterated):
        DivergentError: two sources hold different records in one place of a chain.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        chains: Sequence[str],
        wanted: Filter,
        unreadable: Callable[[str, int, ValueError], None],
    ) -> None:
        self._sources = sources
        self.chains = chains or sorted({chain for source in sources for chain in source.chains()})
        self._wanted = wanted
        self._unreadable = unreadable

    def ascending(self) -> Iterator[Shown]:
        """Every match, oldest first."""
        yield from heapq.merge(*(self._chain(chain, reverse=False) for chain in self.chains), key=_order)

    def last(self, count: int) -> list[Shown]:
        """The last `count` matches, oldest first; reads from the end."""
        streams = (self._chain(chain, reverse=True) for chain in self.chains)
        return list(islice(heapq.merge(*streams, key=_order, reverse=True), count))[::-1]

    def _chain(self, chain: str, *, reverse: bool) -> Iterator[Shown]:
        streams = [self._records(source, chain, reverse=reverse) for source in self._sources]
        for sequence, record in _joined(chain, self._sources, streams, reverse=reverse):
            if not self._wanted.may_match(record):
                continue
            try:
                shown = Shown.of(record)
            except ValueError as error:
                self._unreadable(chain, sequence, error)
                continue
            if self._wanted.matches(shown):
                yield shown

    def _records(self, source: Source, chain: str, *, reverse: bool) -> Iterator[Raw]:
        start, end = self._range(source, chain)
        name = self._wanted.indexed
        places = None if name is None else source.about(name)
        if places is None:
            yield from (backward if reverse else forward)(source, chain, start, end)
            return
        found = sorted((n for owner, n in places if owner == chain and start <= n < end), reverse=reverse)
        for low in range(0, len(found), BLOCK):
            rows = source.at(chain, found[low : low + BLOCK])
            yield from sorted(rows, reverse=reverse)

    def _range(self, source: Source, chain: str) -> tuple[int, int]:
        """The sequences whose sealed time is wanted: it never decreases along a chain."""
        start, end = source.bounds(chain)

        def sealed(sequence: int) -> int:
            ((_, record),) = source.block(chain, sequence, sequence + 1)
            return Record.decode(record).sealed_at

        places, since, until = range(start, end), self._wanted.since, self._wanted.until
        try:
            low = start if since is None else start + bisect_left(places, since, key=sealed)
            high = end if until is None else start + bisect_left(places, until, key=sealed)
        except ValueError:  # a record is missing or cannot be read: then all are looked at
            return start, end
        return low, high


def _order(shown: Shown) -> tuple[int, str, int]:
    return (shown.sealed_at, shown.chain, shown.sequence)


def _joined(chain: str, sources: Sequence[Source], streams: Sequence[Iterator[Raw]], *, reverse: bool) -> Iterator[Raw]:
    """The records of one chain from all sources, each place once."""
    named = [_named(source.name, stream) for source, stream in zip(sources, streams, strict=True)]
    last: tuple[int, bytes, str] | None = None
    for item in heapq.merge(*named, key=lambda item: item[0], reverse=reverse):
        if last is None or item[0] != last[0]:
            yield item[0], item[1]
        elif item[1] != last[1]:
            raise DivergentError(
                f"{chain}, entry {item[0]}: {last[2]} and {item[2]} hold different records; run `quorate audit verify`"
            )
        last = item


def _named(name: str, stream: Iterator[Raw]) -> Iterator[tuple[int, bytes, str]]:
    for sequence, record in stream:
        yield sequence, record, name
