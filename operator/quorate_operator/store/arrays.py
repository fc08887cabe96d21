"""Parameters in Postgres' binary form, made in one piece: psycopg's own lists cost as much as an entry's hashing.

Layout of an array (array_send in Postgres): i32 dimensions, i32 flags, u32 element type, then for one dimension i32
length and i32 lower bound, then each element behind its i32 length.
"""

import struct
from collections.abc import Iterable, Sequence

_HEADER = struct.Struct(">iiIii")
_BYTEA, _BIGINT, _TEXT, _UUID = 17, 20, 25, 2950
_EMPTY = {element: struct.pack(">iiI", 0, 0, element) for element in (_BYTEA, _BIGINT, _TEXT, _UUID)}
_UUID_LENGTH, _BIGINT_LENGTH = (16).to_bytes(4, "big"), (8).to_bytes(4, "big")


def bigint(number: int) -> bytes:
    """A bigint."""
    return number.to_bytes(8, "big", signed=True)


def integer(number: int) -> bytes:
    """An integer."""
    return number.to_bytes(4, "big", signed=True)


def bytea_array(items: Sequence[bytes]) -> bytes:
    """bytea[] of byte strings."""
    return _array(_BYTEA, items)


def text_array(items: Iterable[str]) -> bytes:
    """text[]."""
    return _array(_TEXT, [item.encode() for item in items])


def uuid_array(items: Sequence[bytes]) -> bytes:
    """uuid[] of 16 bytes each."""
    if not items:
        return _EMPTY[_UUID]
    return _HEADER.pack(1, 0, _UUID, len(items), 1) + _UUID_LENGTH + _UUID_LENGTH.join(items)


def bigint_array(items: Iterable[int]) -> bytes:
    """bigint[]."""
    encoded = [bigint(item) for item in items]
    if not encoded:
        return _EMPTY[_BIGINT]
    return _HEADER.pack(1, 0, _BIGINT, len(encoded), 1) + _BIGINT_LENGTH + _BIGINT_LENGTH.join(encoded)


def _array(element: int, items: Sequence[bytes]) -> bytes:
    if not items:
        return _EMPTY[element]
    parts = [_HEADER.pack(1, 0, element, len(items), 1)]
    for item in items:
        parts.append(len(item).to_bytes(4, "big"))
        parts.append(item)
    return b"".join(parts)
