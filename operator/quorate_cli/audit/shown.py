"""An entry as people and programs see it: decoded once, what it says in a few words, safe to print."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from quorate.audit.entry import format_timestamp
from quorate.audit.record import Record
from quorate.canonical import parse_json

Obj = dict[str, Any]
# What a person looks for first in a detail, in this order; the last two are prose.
_TELLING = ("outcome", "choice", "act", "type", "revision", "version", "cause", "epoch", "reason", "message")
_GOOD = frozenset({"accepted", "executed", "genesis", "restored", "verified", "resumed", "recorded", "pruned"})
_BAD = frozenset({"refused", "failed", "forked", "drifted", "raised", "silent"})


@dataclass(frozen=True)
class Shown:
    """One sealed entry. `sealed_at` is Unix microseconds; `content` is the parsed canonical JSON."""

    chain: str
    sequence: int
    epoch: int
    sealed_at: int
    content: Obj

    @classmethod
    def of(cls, record: bytes) -> "Shown":
        """Decode a stored record; ValueError when it cannot be read."""
        parts = Record.decode(record)
        content = parse_json(parts.content)
        if not isinstance(content, dict) or not isinstance(content.get("payload"), dict):
            raise ValueError("the content is not that of an entry")
        return cls(parts.chain_id, parts.sequence, parts.epoch, parts.sealed_at, content)

    @property
    def event(self) -> str:
        """The event type."""
        return str(self.content.get("event_type", ""))

    @property
    def payload(self) -> Obj:
        """The payload."""
        return dict(self.content["payload"])

    @property
    def detail(self) -> Obj:
        """The event-specific part of the payload."""
        detail = self.content["payload"].get("detail")
        return dict(detail) if isinstance(detail, Mapping) else {}

    @property
    def subject(self) -> Obj:
        """The subject of the payload."""
        subject = self.content["payload"].get("subject")
        return dict(subject) if isinstance(subject, Mapping) else {}

    @property
    def name(self) -> str:
        """`Kind/name` of the subject."""
        return f"{self.subject.get('kind')}/{self.subject.get('name') or self.subject.get('key')}"

    @property
    def sealed(self) -> str:
        """The sealed time to the second."""
        return clock(self.sealed_at)

    @property
    def style(self) -> str | None:
        """In which style the event is shown: good, bad, or none."""
        verb = self.event.rpartition(".")[2]
        return "good" if verb in _GOOD else "bad" if verb in _BAD else None

    def document(self) -> Obj:
        """The entry for programs; `sealedAt` is Unix microseconds."""
        return {
            "chain": self.chain,
            "sequence": self.sequence,
            "epoch": self.epoch,
            "sealedAt": self.sealed_at,
            "entry": self.content,
        }


def summary(shown: Shown) -> str:
    """What an entry says, in a few words."""
    detail = shown.detail
    statement = detail.get("statement")
    known = {**(statement if isinstance(statement, Mapping) else {}), **detail}
    return " ".join(str(known[name]) for name in _TELLING if isinstance(known.get(name), str | int) and known[name])


def clock(micros: int) -> str:
    """`YYYY-MM-DDTHH:MM:SSZ` of Unix microseconds; the bare number outside the calendar's range."""
    try:
        return format_timestamp(micros)[:19] + "Z"
    except OverflowError:
        return str(micros)


def printable(text: str) -> str:
    """`text` on one line, with whatever could steer a terminal shown as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def day(text: str) -> int:
    """Unix seconds of midnight UTC of `YYYY-MM-DD`; ValueError for any other form."""
    return int(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp())
