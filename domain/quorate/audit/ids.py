"""Ids of log entries (trust.md, Entries).

An entry's id is derived from its subject and the subject's previous entry, so an entry has one successor whichever
question came first, and a retry after a crash names the entry that is already there.
"""

from hashlib import sha1
from uuid import NAMESPACE_DNS, UUID, uuid5

NAMESPACE = uuid5(NAMESPACE_DNS, "quorate.dev")
_NAMESPACE = sha1(NAMESPACE.bytes, usedforsecurity=False)
_FIELDS = ((1 << 128) - 1) ^ (0xF << 76) ^ (0x3 << 62)
_VERSION = 0x5 << 76 | 0x2 << 62


def _named(name: str) -> UUID:
    """uuid5(NAMESPACE, name), in half the time: every entry that is logged has one."""
    state = _NAMESPACE.copy()
    state.update(name.encode())
    return UUID(int=int.from_bytes(state.digest()[:16], "big") & _FIELDS | _VERSION)


def entry_id(subject_key: str, previous: UUID | str | None) -> UUID:
    """UUIDv5(N, subject key ‖ `/` ‖ id of the subject's previous entry, or nothing for the first)."""
    return _named(f"{subject_key}/{previous or ''}")


def spool_id(source: str, source_seq: int) -> UUID:
    """The id of an entry captured away from the log: UUIDv5(N, source ‖ `/` ‖ sequence at the source)."""
    return _named(f"{source}/{source_seq}")


def unsigned_subject(uid: str) -> str:
    """The subject key of an object whose signature is not valid: its uid, as nothing else in it can be trusted."""
    return f"uid:{uid}"
