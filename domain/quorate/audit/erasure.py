"""Erasable payload: the entry names a salted digest, the bytes lie beside the log and may be erased (audit.md, 10).

The digest is SHA-256(tag ‖ salt ‖ bytes). Once salt and bytes are gone the entry still verifies, and without the salt
nobody can test a guess at what the bytes were.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID

from quorate.audit.entry import Draft, Tether

SALT_BYTES = 32
ERASED = "system.content.erased"
_TAG = b"quorate.dev/erasable/v1\x00"


@dataclass(frozen=True)
class Erasable:
    """Bytes that may be erased, with the salt (32 random bytes, used once) that their digest is made with."""

    data: bytes
    salt: bytes

    def __post_init__(self) -> None:
        """Refuse a salt of another length."""
        if len(self.salt) != SALT_BYTES:
            raise ValueError(f"a salt has {SALT_BYTES} bytes, not {len(self.salt)}")

    @property
    def digest(self) -> str:
        """What the entry names in `payload.erasable`."""
        return "sha256:" + sha256(_TAG + self.salt + self.data).hexdigest()


def erasing(entry_id: UUID, digests: Iterable[str], *, reason: str, actor: str, now: int) -> Draft:
    """The entry of chain `system` that tells of an erasure, recorded before it takes effect.

    Args:
        entry_id: whose erasable payload goes.
        digests: of the bytes that go.
        reason: why, at least one character.
        actor: who wants it.
        now: Unix microseconds.
    """
    if not reason.strip():
        raise ValueError("an erasure needs a reason")
    return Draft(
        subject_key=f"erasure/{entry_id}",
        previous=None,
        event_type=ERASED,
        subject={"kind": "Entry", "name": str(entry_id)},
        tether=Tether("0"),
        timestamp=now,
        actor_id=actor,
        question="content.erase",
        detail={"entryId": str(entry_id), "digests": sorted(digests), "reason": reason},
    )
