"""Gives drafts their places in a chain: the rules of an append, as arithmetic that every store shares.

A batch starts from what one locked read of the store saw (head, entries already recorded, last entries of the
subjects) and takes appends one after another; each is wholly in or wholly out.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from quorate.audit.entry import Draft, content_hash, format_timestamp
from quorate.audit.merkle import Frontier
from quorate.audit.record import (
    GENESIS_HASH,
    HEADER,
    MAX_RECORD_BYTES,
    chain_hash,
    leaf_hash,
    record_prefix,
)
from quorate.canonical import digest_of_bytes
from quorate_operator.errors import Stalled, Transient
from quorate_operator.store.recorded import Recorded

TOLERANCE_MICROS = 300 * 1_000_000
"""How far an event's time may be from its intake (audit.md, 5)."""
MAX_SUBJECT_KEY_BYTES = 512
QUARANTINE_SECONDS = 60.0
"""After how long an append to a chain in quarantine may be tried again."""


def quarantined(message: str) -> Transient:
    """The stable error of audit.md, 9."""
    rule = "nothing is recorded until it is resumed: `quorate audit quarantine show`"
    return Transient("ChainQuarantined", f"{message}; {rule}", retry_after=QUARANTINE_SECONDS)


def now_micros() -> int:
    """Unix microseconds."""
    return time.time_ns() // 1000


@dataclass(slots=True)
class Item:
    """What an entry needs to be sealed, whether it came directly or by intake."""

    entry_id: UUID
    subject_key: str
    previous: UUID | None
    timestamp: int
    about: tuple[str, ...]
    content: bytes
    intake: int | None = None
    """When it was taken in (Unix µs); None: it comes directly, now."""
    captured: tuple[str, int] | None = None
    """Source and sequence there, of what was captured away from the log."""


@dataclass(slots=True)
class Row:
    """One new row of the log."""

    recorded: Recorded
    subject_key: str
    about: tuple[str, ...]
    leaf: bytes


@dataclass
class Head:
    """The end of a chain; the default is a chain without entries."""

    epoch: int = 0
    size: int = 0
    chain: bytes = GENESIS_HASH
    frontier: Frontier = field(default_factory=Frontier)
    sealed_at: int = 0

    def copy(self) -> "Head":
        """Another one, which grows by itself."""
        return Head(self.epoch, self.size, self.chain, Frontier(self.size, self.frontier.hashes), self.sealed_at)


def item_of(draft: Draft) -> Item:
    """Check a draft and compute its content.

    Raises:
        Stalled: `EntryRefused`.
    """
    try:
        content = draft.content
    except ValueError as error:
        raise Stalled("EntryRefused", str(error)) from error
    # What an index key of Postgres can hold: found out here, it would fail every append sealed with this one.
    if len(draft.subject_key.encode()) > MAX_SUBJECT_KEY_BYTES or "\0" in draft.subject_key:
        rule = f"must have at most {MAX_SUBJECT_KEY_BYTES} bytes and hold no NUL"
        raise Stalled("EntryRefused", f"subject key {draft.subject_key[:80]!r}: {rule}")
    about = tuple(sorted(set(draft.about))) if draft.about else ()
    captured = None if draft.captured is None else (draft.captured.source, draft.captured.source_seq)
    return Item(draft.entry_id, draft.subject_key, draft.previous, draft.timestamp, about, content, captured=captured)


def items_of(drafts: Sequence[Draft]) -> list[Item]:
    """The items of one append; refuses an empty one and one that names an entry twice (`EntryRefused`)."""
    items = [item_of(draft) for draft in drafts]
    if not items:
        raise Stalled("EntryRefused", "an append holds at least one entry")
    if len(items) > 1 and len({item.entry_id for item in items}) < len(items):
        raise Stalled("EntryRefused", "an append holds two entries with the same subject and previous entry")
    return items


def check_time(item: Item, intake: int) -> None:
    """Refuse an event over 5 minutes from its intake; a captured one, over 5 ahead (`EntryRefused`; audit.md, 5)."""
    age = intake - item.timestamp
    if age < -TOLERANCE_MICROS or (age > TOLERANCE_MICROS and item.captured is None):
        raise Stalled(
            "EntryRefused",
            f"timestamp {format_timestamp(item.timestamp)} is more than 5 minutes from the time of its intake, "
            f"{format_timestamp(intake)}",
        )


def check_content(pairs: Sequence[tuple[str, bytes]]) -> dict[str, bytes]:
    """Digest → bytes; Stalled (`ContentCorrupt`) when one does not have its digest."""
    for digest, data in pairs:
        if digest_of_bytes(data) != digest:
            raise Stalled("ContentCorrupt", f"the stored bytes of {digest} have digest {digest_of_bytes(data)}")
    return dict(pairs)


class Batch:
    """Appends sealed together.

    Args:
        chain_id: the chain.
        head: its locked head; advanced in place.
        now: Unix microseconds.
        recorded: entries of the batch that the log already holds.
        pruned: where entries of the batch stood that it held once, and that only an archive holds now.
        subjects: id of the last entry of each subject of the batch that has one. None: neither is known, so each entry
            is taken for new and what it follows goes to `links`, for the store to decide.
        sources: how far each source of captured entries of the batch came; None as for `subjects`.
    """

    def __init__(
        self,
        chain_id: str,
        head: Head,
        *,
        now: int,
        recorded: Mapping[UUID, Recorded] | None = None,
        pruned: Mapping[UUID, tuple[str, int]] | None = None,
        subjects: Mapping[str, UUID] | None = None,
        sources: Mapping[str, int] | None = None,
    ) -> None:
        self.head = head
        self.start, self.start_chain = head.size, head.chain
        self.rows: list[Row] = []
        self.links: list[tuple[UUID, str]] = []
        self.captured: dict[str, tuple[int, int]] = {}
        """First and last sequence of each source."""
        self._chain_id = chain_id
        self._prefix = record_prefix(chain_id)
        self._longest = MAX_RECORD_BYTES - len(self._prefix) - HEADER.size
        # By number: a UUID's own hash is a call for each look.
        self._recorded = {key.int: found for key, found in (recorded or {}).items()}
        self._pruned = pruned or {}
        self._trusting = subjects is None
        self._subjects = dict(subjects or {})
        self._sources = dict(sources or {})
        self._now = now
        self._sealed_at = max(now, head.sealed_at)

    def add(self, items: Sequence[Item]) -> tuple[list[Recorded], bool]:
        """Place the items of one append; (recorded ones, whether they are new).

        Raises:
            Stalled: `LogBehind`, `EntryRefused`, or `EntryPruned` (recorded once, now in an archive); the batch is as
                before.
        """
        recorded = self._recorded
        if existing := [recorded[item.entry_id.int] for item in items if item.entry_id.int in recorded]:
            return existing, False
        for item in items if self._pruned else ():
            if place := self._pruned.get(item.entry_id):
                where = f"entry {place[1]} of chain {place[0]}"
                raise Stalled("EntryPruned", f"entry {item.entry_id} was recorded as {where}, which is in an archive")
        self._check(items)
        rows = [self._place(item) for item in items]
        return [row.recorded for row in rows], True

    def _check(self, items: Sequence[Item]) -> None:
        last: dict[str, UUID] = {}
        come: dict[str, int] = {}
        for item in items:
            if item.captured is None:
                key = item.subject_key
                before = last.get(key) or self._subjects.get(key)
                if item.previous != before:
                    self._check_link(item, before)
                last[key] = item.entry_id
            else:
                self._check_source(*item.captured, come)
            check_time(item, self._now if item.intake is None else item.intake)
            if len(item.content) > self._longest:
                raise Stalled(
                    "EntryRefused", f"the content has {len(item.content)} bytes: the record would be too long"
                )

    def _check_link(self, item: Item, last: UUID | None) -> None:
        """Note what an entry says it follows, or refuse it."""
        if self._trusting and last is None and item.previous is not None:
            self.links.append((item.previous, item.subject_key))
            return
        raise Stalled("LogBehind", f"the last entry of {item.subject_key} is {last}, not {item.previous}")

    def _check_source(self, source: str, sequence: int, come: dict[str, int]) -> None:
        """Refuse a captured entry that does not follow what came of its source."""
        last = come.get(source, self._sources.get(source))
        if last is not None and sequence <= last:
            rule = "each source's sequence must increase"
            raise Stalled("EntryRefused", f"sourceSeq {sequence} of {source} does not follow {last}: {rule}")
        come[source] = sequence

    def _place(self, item: Item) -> Row:
        head, sequence = self.head, self.head.size
        fixed = HEADER.pack(head.epoch, sequence, self._sealed_at, head.chain, content_hash(item.content))
        record = self._prefix + fixed + item.content
        leaf = leaf_hash(record)
        head.chain = chain_hash(head.chain, leaf)
        head.frontier.append(leaf)
        head.size = sequence + 1
        head.sealed_at = self._sealed_at
        recorded = Recorded(self._chain_id, sequence, item.entry_id, record)
        self._recorded[item.entry_id.int] = recorded
        self._subjects[item.subject_key] = item.entry_id
        if item.captured is not None:
            source, number = item.captured
            self._sources[source] = number
            self.captured[source] = self.captured.get(source, (number, number))[0], number
        row = Row(recorded, item.subject_key, item.about, leaf)
        self.rows.append(row)
        return row
