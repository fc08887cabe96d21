"""A recorded entry, as the log gives it back."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from quorate.audit.entry import parse_timestamp
from quorate.audit.record import Record
from quorate.canonical import parse_json
from quorate.lazy import lazy


@dataclass
class Recorded:
    """One sealed entry, never changed. `record` is the bytes as stored; all else but `existing` is read from them.

    `existing`: it was in the log before this append, so nothing of the append was written.
    """

    chain_id: str
    sequence: int
    entry_id: UUID
    record: bytes
    existing: bool = False

    @property
    def header(self) -> Record:
        """The decoded record; not kept, as its content is a copy."""
        return Record.decode(self.record)

    @property
    def sealed_at(self) -> int:
        """Unix microseconds."""
        return self.header.sealed_at

    @lazy
    def content(self) -> Mapping[str, Any]:
        """The content document {entry_id, timestamp, event_type, actor_id?, payload}."""
        document: dict[str, Any] = parse_json(self.header.content)
        return document

    def forget(self) -> None:
        """Let go of the parsed content, several times the bytes; whoever asks for it again parses it again.

        What sorts the entry among others stays: time, type and subject.
        """
        _ = self.timestamp, self.event_type, self.subject_key
        self.__dict__.pop("content", None)

    @lazy
    def timestamp(self) -> int:
        """Event time in Unix microseconds."""
        return parse_timestamp(self.content["timestamp"])

    @lazy
    def event_type(self) -> str:
        """Three segments, for example `governance.vote.accepted`."""
        return sys.intern(str(self.content["event_type"]))

    @property
    def actor_id(self) -> str | None:
        """Who did it, where somebody did."""
        return self.content.get("actor_id")

    @property
    def payload(self) -> Mapping[str, Any]:
        """subject, tether, about, previous, question?, detail."""
        payload: Mapping[str, Any] = self.content["payload"]
        return payload

    @property
    def detail(self) -> Mapping[str, Any]:
        """The event-specific part of the payload."""
        detail: Mapping[str, Any] = self.payload["detail"]
        return detail

    @lazy
    def subject_key(self) -> str:
        """Whose entry it is."""
        return sys.intern(str(self.payload["subject"]["key"]))

    @property
    def about(self) -> Sequence[str]:
        """Digests that the entry concerns besides its subject."""
        about: Sequence[str] = self.payload["about"]
        return about

    @property
    def question(self) -> str | None:
        """The decision that was asked, for example `proposal.decide`."""
        return self.payload.get("question")
