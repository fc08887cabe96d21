"""A recorded entry, as the log gives it back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import UUID

from quorate.audit.entry import parse_timestamp
from quorate.audit.record import Record
from quorate.canonical import parse_json


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

    @cached_property
    def header(self) -> Record:
        """The decoded record."""
        return Record.decode(self.record)

    @property
    def sealed_at(self) -> int:
        """Unix microseconds."""
        return self.header.sealed_at

    @cached_property
    def content(self) -> Mapping[str, Any]:
        """The content document {entry_id, timestamp, event_type, actor_id?, payload}."""
        document: dict[str, Any] = parse_json(self.header.content)
        return document

    @property
    def timestamp(self) -> int:
        """Event time in Unix microseconds."""
        return parse_timestamp(self.content["timestamp"])

    @property
    def event_type(self) -> str:
        """Three segments, for example `governance.vote.accepted`."""
        return str(self.content["event_type"])

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

    @property
    def subject_key(self) -> str:
        """Whose entry it is."""
        return str(self.payload["subject"]["key"])

    @property
    def about(self) -> Sequence[str]:
        """Digests that the entry concerns besides its subject."""
        about: Sequence[str] = self.payload["about"]
        return about

    @property
    def question(self) -> str | None:
        """The decision that was asked, for example `proposal.decide`."""
        return self.payload.get("question")
