"""Ids of log entries (trust.md, Entries).

An entry's id is derived from its subject and the subject's previous entry, so an entry has one successor whichever
question came first, and a retry after a crash names the entry that is already there.
"""

from uuid import NAMESPACE_DNS, UUID, uuid5

NAMESPACE = uuid5(NAMESPACE_DNS, "quorate.dev")


def entry_id(subject_key: str, previous: UUID | str | None) -> UUID:
    """UUIDv5(N, subject key ‖ `/` ‖ id of the subject's previous entry, or nothing for the first)."""
    return uuid5(NAMESPACE, f"{subject_key}/{previous or ''}")


def spool_id(source: str, source_seq: int) -> UUID:
    """The id of an entry captured away from the log: UUIDv5(N, source ‖ `/` ‖ sequence at the source)."""
    return uuid5(NAMESPACE, f"{source}/{source_seq}")


def unsigned_subject(uid: str) -> str:
    """The subject key of an object whose signature is not valid: its uid, as nothing else in it can be trusted."""
    return f"uid:{uid}"
