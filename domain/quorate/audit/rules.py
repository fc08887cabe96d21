"""What one entry must be, whatever stands around it: the one place where a fault of an entry gets its name."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from uuid import UUID

import orjson

from quorate.audit.entry import check_content, content_hash, parse_timestamp
from quorate.audit.record import Record
from quorate.canonical import canonical_bytes

NO_ROW = UUID(int=0)
"""Stands for the id of an entry that an index should have and has not."""


@dataclass(frozen=True)
class StoredEntry:
    """One row as the database holds it, and what was read of the indexes by which entries are found.

    `indexed_id` is the id that the index has for this place, None if it was not read, NO_ROW if it has none;
    `subject` the key of the subject's name there; `about` the keys of the further names, None if they were not read.
    """

    sequence: int
    record: bytes
    indexed_id: UUID | None = None
    subject: UUID | None = None
    about: frozenset[UUID] | None = None


class FaultError(Exception):
    """What is wrong, and in which phase: content, record, chain, index, merkle or checkpoint."""

    def __init__(self, phase: str, message: str) -> None:
        super().__init__(message)
        self.phase = phase


def name_key(name: str) -> bytes:
    """What a name is found by in the indexes: the first 16 bytes of its SHA-256."""
    return sha256(name.encode()).digest()[:16]


def check_entry(entry: StoredEntry, record: Record) -> Mapping[str, Any]:
    """The content of an entry that is well formed and found where the indexes say.

    Raises:
        FaultError: phase content or index.
    """
    if content_hash(record.content) != record.entry_hash:
        raise FaultError("content", "the content does not have the entry hash of its record")
    document = check_bytes(record.content)
    _check_indexes(entry, document)
    return document


def check_bytes(content: bytes) -> Mapping[str, Any]:
    """The document of a content that is canonical and holds what every entry must; FaultError of phase content."""
    try:
        # Fast and still strict: what a lenient parse would repair (a name given twice, a number rounded) comes out
        # as other bytes than went in.
        document = orjson.loads(content)
        if canonical_bytes(document) != content:
            raise FaultError("content", "the content is not in canonical form")
        check_content(document)
        parse_timestamp(document["timestamp"])
        _check_texts(document)
    except (ValueError, TypeError, AttributeError) as error:
        raise FaultError("content", str(error)) from error
    return dict(document)


def _check_texts(document: Mapping[str, Any]) -> None:
    """What indexes are made of is text."""
    texts = {"entry_id": document["entry_id"], "payload.subject.key": document["payload"]["subject"]["key"]}
    for name, value in texts.items():
        if not isinstance(value, str):
            raise FaultError("content", f"{name} must be text")


def _check_indexes(entry: StoredEntry, document: Mapping[str, Any]) -> None:
    payload = document["payload"]
    if entry.indexed_id == NO_ROW:
        raise FaultError("index", f"the index of ids lacks the entry's id {document['entry_id']}")
    if entry.indexed_id is not None and document["entry_id"] != str(entry.indexed_id):
        raise FaultError("index", f"the index of ids has {entry.indexed_id}, the content {document['entry_id']}")
    key = payload["subject"]["key"]
    if entry.subject is not None and entry.subject.bytes != name_key(key):
        raise FaultError("index", f"the index of subjects has another subject than the content's {key!r}")
    if entry.about is None:
        return
    expected = {UUID(bytes=name_key(name)): name for name in payload["about"] if name != key}
    lacking = sorted(name for found, name in expected.items() if found not in entry.about)
    if lacking:
        raise FaultError("index", f"the index of names lacks {lacking[0]!r}, so the entry is not found by it")
    if len(entry.about) > len(expected):
        raise FaultError("index", "the index of names has a name for the entry that it is not about")


def id_of(entry: StoredEntry) -> str | None:
    """The id that the record says, where it can be read."""
    try:
        return str(orjson.loads(Record.decode(entry.record).content)["entry_id"])
    except (ValueError, LookupError, TypeError):
        return None
