"""Content of a log entry: canonical JSON of {entry_id, timestamp, event_type, actor_id?, payload} (audit.md, 2).

`entry_hash` is the content hash of loa-hounfour v8.2.0: SHA-256 over the raw domain tag followed by the canonical
bytes. The tag binds the hash to this kind of document, so no other signed JSON can be passed off as an entry.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from hashlib import sha256
from typing import Any
from uuid import UUID

from quorate.audit.ids import entry_id
from quorate.canonical import canonical_bytes, is_digest

DOMAIN_TAG = "loa-commons:audit:QuorateEntry:1.0.0"
MAX_CONTENT_BYTES = 16 * 1024
_EVENT_TYPE = re.compile(r"[a-z]+\.[a-z_]+\.[a-z_]+", re.ASCII)
_PHASE = re.compile(r"\d+(\.\d+)*", re.ASCII)
_TIMESTAMP = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class EntryRefusedError(ValueError):
    """An entry that may not be logged; the message names the field, the value and the rule."""


def format_timestamp(micros: int) -> str:
    """RFC 3339 UTC with exactly six digits, from Unix microseconds."""
    moment = (_EPOCH + timedelta(microseconds=micros)).replace(tzinfo=None)
    return moment.isoformat(timespec="microseconds") + "Z"


def parse_timestamp(text: str) -> int:
    """Unix microseconds of a timestamp with exactly six digits; ValueError for any other form."""
    if _TIMESTAMP.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not a time of the form YYYY-MM-DDTHH:MM:SS.ffffffZ")
    return (datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1)


def content_hash(content: bytes, domain_tag: str = DOMAIN_TAG) -> bytes:
    """The 32 bytes of SHA-256(domain tag ‖ canonical content), loa-hounfour v8.2.0 §4.2."""
    return sha256(domain_tag.encode() + content).digest()


@dataclass(frozen=True)
class Tether:
    """Which rules an entry was made under (row A13): a phase is required; "no contract" is said, not left out."""

    phase_id: str
    contract_version: str = "none"
    clauses: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """The `tether` member of a payload."""
        return {
            "contractVersion": self.contract_version,
            "phaseId": self.phase_id,
            "clauses": list(self.clauses),
        }


@dataclass(frozen=True)
class Draft:
    """An entry before it has a place in a chain.

    Args of note: `subject_key` and `previous` (the subject's last entry, None for its first) give the id; `subject` is
    {kind, name, namespace?, uid?, generation?}; `about` are digests that the entry concerns besides its subject;
    `timestamp` is the event time in Unix microseconds; `detail` is event-specific canonical JSON; `erasable` are the
    salted digests of payload that may be erased (`erasure.Erasable`).
    """

    subject_key: str
    previous: UUID | None
    event_type: str
    subject: Mapping[str, Any]
    tether: Tether
    timestamp: int
    actor_id: str | None = None
    question: str | None = None
    about: Sequence[str] = ()
    detail: Mapping[str, Any] = field(default_factory=dict)
    erasable: Sequence[str] = ()

    @cached_property
    def entry_id(self) -> UUID:
        """The derived id."""
        return entry_id(self.subject_key, self.previous)

    @cached_property
    def content(self) -> bytes:
        """The canonical bytes; EntryRefusedError or NotCanonicalError if the entry may not be logged."""
        payload: dict[str, Any] = {
            "subject": {"key": self.subject_key, **{k: v for k, v in self.subject.items() if v is not None}},
            "tether": self.tether.document(),
            "about": sorted(set(self.about)),
            "previous": None if self.previous is None else str(self.previous),
            "detail": dict(self.detail),
        }
        if self.question is not None:
            payload["question"] = self.question
        if self.erasable:
            payload["erasable"] = sorted(set(self.erasable))
        document = {
            "entry_id": str(self.entry_id),
            "timestamp": format_timestamp(self.timestamp),
            "event_type": str(self.event_type),  # an enum member is not a plain string
            "payload": payload,
        }
        if self.actor_id is not None:
            document["actor_id"] = self.actor_id
        check_content(document)
        content = canonical_bytes(document)
        if len(content) > MAX_CONTENT_BYTES:
            rule = f"the entry is over {MAX_CONTENT_BYTES} bytes: put the bulk in content and name its digest"
            raise EntryRefusedError(rule)
        return content


def _check_tether(tether: Any) -> None:
    if not isinstance(tether, Mapping) or set(tether) != {"contractVersion", "phaseId", "clauses"}:
        raise EntryRefusedError("payload.tether must hold contractVersion, phaseId and clauses, no more and no less")
    if not isinstance(tether["contractVersion"], str) or not tether["contractVersion"]:
        raise EntryRefusedError("payload.tether.contractVersion must be a version, or `none` without a contract")
    if not isinstance(tether["phaseId"], str) or _PHASE.fullmatch(tether["phaseId"]) is None:
        raise EntryRefusedError(f"payload.tether.phaseId {tether['phaseId']!r} must match ^\\d+(\\.\\d+)*$")
    clauses = tether["clauses"]
    if not isinstance(clauses, list | tuple) or not all(isinstance(clause, str) and clause for clause in clauses):
        raise EntryRefusedError("payload.tether.clauses must be a list of clause ids")


def check_content(document: Mapping[str, Any]) -> None:
    """Refuse a content document that lacks what every entry must carry; EntryRefusedError names the field and rule."""
    if set(document) - {"actor_id"} != {"entry_id", "timestamp", "event_type", "payload"}:
        raise EntryRefusedError(
            "an entry holds entry_id, timestamp, event_type, payload and optionally actor_id, nothing else"
        )
    if _EVENT_TYPE.fullmatch(document["event_type"]) is None:
        raise EntryRefusedError(f"event_type {document['event_type']!r} must be three segments of [a-z_]")
    if "actor_id" in document and not (isinstance(document["actor_id"], str) and document["actor_id"]):
        raise EntryRefusedError("actor_id must not be empty; leave it out where there is no actor")
    payload = document["payload"]
    if not isinstance(payload, Mapping):
        raise EntryRefusedError("payload must be an object")
    subject = payload.get("subject")
    if not isinstance(subject, Mapping) or not all(subject.get(name) for name in ("key", "kind", "name")):
        raise EntryRefusedError("payload.subject must name key, kind and name")
    for name in ("about", "erasable"):
        if not all(is_digest(digest) for digest in payload.get(name, ())):
            raise EntryRefusedError(f"payload.{name} must be a list of sha256 digests")
    _check_tether(payload.get("tether"))
