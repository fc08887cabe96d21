"""Coupled append: an entry that is taken in by the transaction of the change that it tells of (audit.md, 1).

The row waits in `audit_intake` until the sealer moves it into the log. Until then a MAC, whose key the database never
sees, keeps it from being forged or changed; what the database's owner can still do is delete it before it is sealed.
A subject's entries come all by intake or all directly: a direct append does not see what still waits.
"""

import hashlib
import hmac
import os
import secrets
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import psycopg

from quorate.audit.entry import Draft, parse_timestamp
from quorate.audit.erasure import Erasable
from quorate_operator.errors import Conflict, Stalled, Transient
from quorate_operator.store import statements as sql
from quorate_operator.store.batch import Item, check_time, item_of, now_micros, quarantined
from quorate_operator.store.payload import placed

KEY_FILE = "intake.key"
MAX_AGE_SECONDS = 30
"""How old the oldest waiting entry of a chain may be before further ones are refused (back-pressure)."""
_LOOK_MICROS = 100_000
"""For how long a look at the oldest waiting entry holds."""
_TAG = b"quorate.dev/intake/v1\x00"
Connection = psycopg.AsyncConnection[tuple[Any, ...]]


def make_key(directory: Path) -> Path:
    """Make the intake key beside the log keys, unless it is there: 64 hexadecimal digits, mode 0600."""
    path = directory / KEY_FILE
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_hex(32) + "\n")
    return path


def read_key(directory: Path | None) -> bytes:
    """The 32 bytes of the intake key.

    Raises:
        Stalled: `IntakeKeyMissing` or `IntakeKeyUnusable`; coupled appends are then unavailable, direct ones are not.
    """
    if directory is None:
        raise Stalled("IntakeKeyMissing", "coupled appends are unavailable: no directory of log keys is configured")
    path = directory / KEY_FILE
    try:
        mode, text = path.stat().st_mode, path.read_text(encoding="ascii").strip()
        key = bytes.fromhex(text)
    except FileNotFoundError as error:
        raise Stalled("IntakeKeyMissing", f"coupled appends are unavailable: {path} does not exist") from error
    except (OSError, ValueError) as error:
        raise Stalled("IntakeKeyUnusable", f"coupled appends are unavailable: {path} cannot be read") from error
    if len(key) != 32 or mode & 0o077:
        rule = "must hold 64 hexadecimal digits and be readable by its owner only (0600)"
        raise Stalled("IntakeKeyUnusable", f"coupled appends are unavailable: {path} {rule}")
    return key


def intake_mac(key: bytes, chain: str, intake_at: int, content: bytes) -> bytes:
    """HMAC-SHA-256(key, tag ‖ u16 length ‖ chain id ‖ i64 intake time (Unix µs) ‖ content), big-endian."""
    name = chain.encode()
    head = _TAG + struct.pack(">H", len(name)) + name + struct.pack(">q", intake_at)
    return hmac.digest(key, head + content, hashlib.sha256)


def _call(chain: str, item: Item, now: int, mac: bytes) -> str:
    """The call with its arguments in the text: a message with COMMIT behind it has no parameters.

    In hexadecimal digits, so that nothing is quoted; E'' whatever `standard_conforming_strings` says.
    """
    name, content = chain.encode().hex(), item.content.hex()
    values = f"E'\\\\x{name}', '{item.entry_id.hex}', E'\\\\x{content}', {now}, E'\\\\x{mac.hex()}'"
    return f"CALL quorate.take_in({values})"


class Intake:
    """Takes entries in; needs neither leadership nor a term.

    Args:
        key: 32 bytes, from `read_key`.
        clock: Unix microseconds.
        max_age: seconds that the chain's oldest waiting entry may be old.
    """

    def __init__(self, key: bytes, *, clock: Callable[[], int] = now_micros, max_age: float = MAX_AGE_SECONDS) -> None:
        self._key = key
        self._clock = clock
        self._max_age = int(max_age * 1_000_000)
        self._looked: dict[str, int] = {}

    async def put(
        self, connection: Connection, chain: str, draft: Draft, content: Mapping[str, bytes | Erasable] | None = None
    ) -> UUID:
        """Take `draft` in, with the content that it names, in the transaction that `connection` is in; the entry's id.

        Nothing is recorded unless the caller commits; once it has, the entry is durable and the sealer records it.
        After any error the caller must roll its transaction back.

        Raises:
            Stalled: `EntryRefused` (content, size or time rule), `ContentCorrupt`.
            Conflict: the entry was taken in or recorded already, so the change was made before: gather again.
            Transient: `LogBusy`, the sealer is too far behind; `ChainQuarantined`, as an append.
        """
        return await self._take_in(connection, chain, draft, content or {})

    async def commit(
        self, connection: Connection, chain: str, draft: Draft, content: Mapping[str, bytes | Erasable] | None = None
    ) -> UUID:
        """As `put`, and commit: both in one round trip, which the coupled entry then does not add to the change.

        Not within `connection.transaction()` or `connection.pipeline()`. If the connection is lost the outcome is
        unknown, as of any commit; the same again is then a Conflict if it was committed.

        Raises:
            Stalled, Conflict, Transient: as `put`; nothing was committed.
        """
        return await self._take_in(connection, chain, draft, content or {}, "; COMMIT")

    async def _take_in(
        self,
        connection: Connection,
        chain: str,
        draft: Draft,
        content: Mapping[str, bytes | Erasable],
        then: str = "",
    ) -> UUID:
        now = self._clock()
        item = item_of(draft)
        check_time(item, now)
        call = _call(chain, item, now, intake_mac(self._key, chain, now, item.content))
        try:
            if given := placed([draft], content):
                await connection.execute(sql.PUT_CONTENT, (list(given), list(given.values())))
            await self._check_age(connection, chain, now)
            await connection.execute(f"{call}{then}".encode(), prepare=False)
        except psycopg.errors.UniqueViolation as error:
            if error.diag.table_name != "audit_intake":  # a deferred constraint of the caller's own, at the commit
                raise
            raise Conflict(f"entry {item.entry_id} of {item.subject_key} was taken in or recorded already") from error
        return item.entry_id

    async def _check_age(self, connection: Connection, chain: str, now: int) -> None:
        """Back-pressure, and whether the chain is stopped; looked at now and then: it costs as much as the entry."""
        if 0 <= now - self._looked.get(chain, -_LOOK_MICROS) < _LOOK_MICROS:
            return
        found = await (await connection.execute(sql.OLDEST, (chain, chain), binary=True)).fetchone()
        oldest, stopped = found or (None, None)
        if stopped is not None:
            raise quarantined(f"chain {chain} is in quarantine {stopped}")
        if oldest is not None and oldest < now - self._max_age:
            age = f"more than {self._max_age / 1e6:g} s"
            raise Transient("LogBusy", f"the oldest entry that waits for chain {chain} is {age} old", retry_after=1.0)
        self._looked[chain] = now


@dataclass(frozen=True)
class Waiting:
    """One row of the intake that left the queue, with its item, or with why it may not be sealed."""

    pos: int
    entry_id: UUID
    intake_at: int
    content: bytes
    mac: bytes
    item: Item | None = None
    reason: str = ""


def judged(key: bytes, chain: str, rows: Iterable[Sequence[Any]]) -> list[Waiting]:
    """Rows of the queue (pos, entry_id, intake_at, content, hmac); each authentic one has an item."""
    return [_judged(key, chain, *row) for row in rows]


def _judged(key: bytes, chain: str, pos: int, entry_id: UUID, intake_at: int, content: bytes, mac: bytes) -> Waiting:
    if not hmac.compare_digest(intake_mac(key, chain, intake_at, content), mac):
        return Waiting(pos, entry_id, intake_at, content, mac, reason="its HMAC is not by this installation's key")
    item = _item(content, intake_at)
    if item.entry_id != entry_id:
        return Waiting(pos, entry_id, intake_at, content, mac, reason=f"its content is of entry {item.entry_id}")
    return Waiting(pos, entry_id, intake_at, content, mac, item)


def _item(content: bytes, intake_at: int) -> Item:
    """The item of content that `Intake.put` made: its MAC says so, so it is not parsed as strictly as a stranger's."""
    document = orjson.loads(content)
    payload = document["payload"]
    previous, captured = payload["previous"], payload.get("captured")
    return Item(
        entry_id=UUID(document["entry_id"]),
        subject_key=payload["subject"]["key"],
        previous=None if previous is None else UUID(previous),
        timestamp=parse_timestamp(document["timestamp"]),
        about=tuple(payload["about"]),
        content=content,
        intake=intake_at,
        captured=None if captured is None else (captured["source"], captured["sourceSeq"]),
    )
