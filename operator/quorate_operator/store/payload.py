"""What an append stores beside its entries: content by digest, and payload that may be erased."""

import secrets
from collections.abc import Mapping, Sequence
from uuid import UUID

from quorate.audit.entry import Draft
from quorate.audit.erasure import SALT_BYTES, Erasable
from quorate_operator.errors import Stalled
from quorate_operator.store.batch import check_content

_PREFIX = "erasable:"


def erasable(data: bytes) -> Erasable:
    """`data` with a fresh salt."""
    return Erasable(data, secrets.token_bytes(SALT_BYTES))


def placed(drafts: Sequence[Draft], content: Mapping[str, bytes | Erasable]) -> dict[str, bytes]:
    """What an append stores beside its entries, as `quorate.put_content` takes it: bytes by where they belong.

    Raises:
        Stalled: `ContentCorrupt` (a digest is not that of its bytes), `EntryRefused` (a draft names erasable payload
            that is not given, or one is given that not exactly one draft names).
    """
    if not content and not any(draft.erasable for draft in drafts):
        return {}
    plain = [(digest, data) for digest, data in content.items() if not isinstance(data, Erasable)]
    found = check_content(plain)
    given = {digest: data for digest, data in content.items() if isinstance(data, Erasable)}
    for draft in drafts:
        for digest in draft.erasable:
            item = given.pop(digest, None)
            if item is None:
                raise Stalled("EntryRefused", f"erasable payload {digest} is not given, or another entry names it too")
            if item.digest != digest:
                raise Stalled("ContentCorrupt", f"the erasable payload given as {digest} has digest {item.digest}")
            found[f"{_PREFIX}{draft.entry_id}:{digest}"] = item.salt + item.data
    if given:
        raise Stalled("EntryRefused", f"erasable payload {min(given)} is named by no entry of the append")
    return found


def place_of(key: str) -> tuple[UUID, str] | None:
    """The entry and digest of erasable payload that `placed` keyed so; None for plain content."""
    if not key.startswith(_PREFIX):
        return None
    entry, _, digest = key.removeprefix(_PREFIX).partition(":")
    return UUID(entry), digest
