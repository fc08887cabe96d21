"""Content of a log entry: canonical JSON of {entry_id, timestamp, event_type, actor_id?, payload} (audit.md, 2).

`entry_hash` is the content hash of loa-hounfour v8.2.0: SHA-256 over the raw domain tag followed by the canonical
bytes. The tag binds the hash to this kind of document, so no other signed JSON can be passed off as an entry.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from typing import Any
from uuid import UUID

from quorate.audit.ids import entry_id, spool_id
from quorate.canonical import MAX_INTEGER, canonical_bytes, decode_base64, is_digest

DOMAIN_TAG = "loa-commons:audit:QuorateEntry:1.0.0"
_TAG = DOMAIN_TAG.encode()
MAX_CONTENT_BYTES = 16 * 1024
MAX_SOURCE_BYTES = 512
_EVENT_TYPE = re.compile(r"[a-z]+\.[a-z_]+\.[a-z_]+", re.ASCII)
_PHASE = re.compile(r"\d+(\.\d+)*", re.ASCII)
_TIMESTAMP = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class EntryRefusedError(ValueError):
    """An entry that may not be logged; the message names the field, the value and the rule."""


def format_timestamp(micros: int) -> str:
    """RFC 3339 UTC with exactly six digits, from Unix microseconds."""
    seconds, rest = divmod(micros, 1_000_000)
    return f"{_format_second(seconds)}.{rest:06}Z"


@lru_cache(maxsize=64)
def _format_second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None).isoformat()


def parse_timestamp(text: str) -> int:
    """Unix microseconds of a timestamp with exactly six digits; ValueError for any other form."""
    if _TIMESTAMP.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not a time of the form YYYY-MM-DDTHH:MM:SS.ffffffZ")
    return (datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1)


def content_hash(content: bytes, domain_tag: str = DOMAIN_TAG) -> bytes:
    """The 32 bytes of SHA-256(domain tag ‖ canonical content), loa-hounfour v8.2.0 §4.2."""
    return sha256((_TAG if domain_tag is DOMAIN_TAG else domain_tag.encode()) + content).digest()


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
class Captured:
    """Where an entry comes from that was captured away from the log, which may be weeks ago (audit.md, 5).

    `source` names the capturing party, `source_seq` counts up at it, `signature` is unpadded base64 of its Ed25519
    signature (`captured.statement`).
    """

    source: str
    source_seq: int
    signature: str

    def document(self) -> dict[str, Any]:
        """The `captured` member of a payload."""
        return {"source": self.source, "sourceSeq": self.source_seq, "signature": self.signature}


@dataclass(slots=True)
class Draft:
    """An entry before it has a place in a chain; not changed once made (`frozen` would double what making it costs).

    Args of note: `subject_key` and `previous` (the subject's last entry, None for its first) give the id; `subject` is
    {kind, name, namespace?, uid?, generation?}; `about` are digests that the entry concerns besides its subject;
    `timestamp` is the event time in Unix microseconds; `detail` is event-specific canonical JSON; `erasable` are the
    salted digests of payload that may be erased (`erasure.Erasable`). With `captured` the id follows from source and
    sequence instead, and `previous` is None: the source gives its entries their order.
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
    captured: Captured | None = None
    _entry_id: UUID | None = field(default=None, init=False, repr=False, compare=False)
    _content: bytes | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def entry_id(self) -> UUID:
        """The derived id."""
        if self._entry_id is None:
            captured = self.captured
            if captured is None:
                self._entry_id = entry_id(self.subject_key, self.previous)
            else:
                self._entry_id = spool_id(captured.source, captured.source_seq)
        return self._entry_id

    @property
    def content(self) -> bytes:
        """The canonical bytes; EntryRefusedError or NotCanonicalError if the entry may not be logged."""
        if self._content is None:
            self._content = self._canonical()
        return self._content

    def _canonical(self) -> bytes:
        """The content.

        Put together from parts in the order of their names, because each entry passes here: of a document built first
        and canonicalised then, half of the time went into the parts that never change.
        """
        event_type = str(self.event_type)  # an enum member is not a plain string
        _check_event_type(event_type)
        _check_actor(self.actor_id)
        actor = b"" if self.actor_id is None else _actor(self.actor_id)
        about = b"[]" if not self.about else _digests("about", self.about)
        content = b'{%b"entry_id":"%b","event_type":"%b","payload":{"about":%b,%b,"tether":%b},"timestamp":"%b"}' % (
            actor,
            str(self.entry_id).encode(),
            event_type.encode(),
            about,
            canonical_bytes(self._middle(), "/payload", 1)[1:-1],
            _tether(self.tether),
            format_timestamp(self.timestamp).encode(),
        )
        if len(content) > MAX_CONTENT_BYTES:
            rule = f"the entry is over {MAX_CONTENT_BYTES} bytes: put the bulk in content and name its digest"
            raise EntryRefusedError(rule)
        return content

    def _middle(self) -> dict[str, Any]:
        """The members of the payload between `about` and `tether`."""
        subject = {"key": self.subject_key, **{k: v for k, v in self.subject.items() if v is not None}}
        _check_subject(subject)
        previous = None if self.previous is None else str(self.previous)
        middle: dict[str, Any] = {"detail": dict(self.detail), "previous": previous, "subject": subject}
        if self.captured is not None:
            middle["captured"] = self.captured.document()
            _check_captured(middle["captured"], previous)
        if self.erasable:
            _check_digests("erasable", self.erasable)
            middle["erasable"] = sorted(set(self.erasable))
        if self.question is not None:
            middle["question"] = self.question
        return middle


@lru_cache(maxsize=1024)
def _actor(actor: str) -> bytes:
    return b'"actor_id":%b,' % canonical_bytes(actor, "/actor_id", 1)


@lru_cache(maxsize=256)
def _tether(tether: Tether) -> bytes:
    _check_tether(document := tether.document())
    return canonical_bytes(document, "/payload/tether", 2)


def _digests(name: str, digests: Sequence[str]) -> bytes:
    _check_digests(name, digests)
    return ('["' + '","'.join(sorted(set(digests))) + '"]').encode()


@lru_cache(maxsize=256)
def _check_event_type(event_type: str) -> None:
    if _EVENT_TYPE.fullmatch(event_type) is None:
        raise EntryRefusedError(f"event_type {event_type!r} must be three segments of [a-z_]")


def _check_actor(actor: Any) -> None:
    if actor is not None and not (isinstance(actor, str) and actor):
        raise EntryRefusedError("actor_id must not be empty; leave it out where there is no actor")


def _check_subject(subject: Any) -> None:
    if not isinstance(subject, Mapping) or not (subject.get("key") and subject.get("kind") and subject.get("name")):
        raise EntryRefusedError("payload.subject must name key, kind and name")


def _check_digests(name: str, digests: Any) -> None:
    if not all(is_digest(digest) for digest in digests):
        raise EntryRefusedError(f"payload.{name} must be a list of sha256 digests")


def _check_captured(captured: Any, previous: Any) -> None:
    if not isinstance(captured, Mapping) or set(captured) != {"source", "sourceSeq", "signature"}:
        raise EntryRefusedError("payload.captured must hold source, sourceSeq and signature, no more and no less")
    source, sequence = captured["source"], captured["sourceSeq"]
    if not isinstance(source, str) or not source or len(source.encode()) > MAX_SOURCE_BYTES or "\0" in source:
        raise EntryRefusedError(f"payload.captured.source must have 1 to {MAX_SOURCE_BYTES} bytes and hold no NUL")
    if type(sequence) is not int or not 0 <= sequence <= MAX_INTEGER:
        raise EntryRefusedError(f"payload.captured.sourceSeq {sequence!r} must be a whole number from 0 on")
    try:
        decode_base64(captured["signature"], length=64)
    except ValueError as error:
        raise EntryRefusedError(f"payload.captured.signature: {error}") from error
    if previous is not None:
        raise EntryRefusedError("payload.previous must be null in a captured entry: its source gives it its order")


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
    if not isinstance(document["event_type"], str):
        raise EntryRefusedError("event_type must be a string")
    _check_event_type(document["event_type"])
    if "actor_id" in document and document["actor_id"] is None:
        raise EntryRefusedError("actor_id must not be null; leave it out where there is no actor")
    _check_actor(document.get("actor_id"))
    payload = document["payload"]
    if not isinstance(payload, Mapping):
        raise EntryRefusedError("payload must be an object")
    _check_subject(payload.get("subject"))
    for name in ("about", "erasable"):
        _check_digests(name, payload.get(name, ()))
    if "captured" in payload:
        _check_captured(payload["captured"], payload.get("previous"))
    _check_tether(payload.get("tether"))
