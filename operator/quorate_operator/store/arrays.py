"""Array parameters in Postgres' binary form, made in one piece: psycopg's own lists cost as much as an entry's hashing.

Layout (array_send in Postgres): i32 dimensions, i32 flags, u32 element type, then for one dimension i32 length and i32
lower bound, then each element behind its i32 length.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import ClassVar

import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format

_HEADER = struct.Struct(">iiIii")
_UUID_LENGTH, _BIGINT_LENGTH = (16).to_bytes(4, "big"), (8).to_bytes(4, "big")


class Array:
    """An array of `count` elements, whose encoded elements are `body`."""

    element: ClassVar[int]
    __slots__ = ("data",)

    def __init__(self, count: int, body: bytes) -> None:
        self.data = _HEADER.pack(1, 0, self.element, count, 1) + body if count else struct.pack(">iiI", 0, 0,
                                                                                             self.element)  # fmt: skip


class ByteaArray(Array):
    """bytea[]."""

    element = 17


class UuidArray(Array):
    """uuid[]."""

    element = 2950


class BigintArray(Array):
    """bigint[]."""

    element = 20


def bytea_array(items: Sequence[bytes]) -> ByteaArray:
    """bytea[] of byte strings."""
    parts: list[bytes] = []
    for item in items:
        parts.append(len(item).to_bytes(4, "big"))
        parts.append(item)
    return ByteaArray(len(items), b"".join(parts))


def uuid_array(items: Sequence[bytes]) -> UuidArray:
    """uuid[] of 16 bytes each."""
    return UuidArray(len(items), _UUID_LENGTH.join([b"", *items]))


def bigint_array(items: Iterable[int]) -> BigintArray:
    """bigint[]."""
    encoded = [item.to_bytes(8, "big", signed=True) for item in items]
    return BigintArray(len(encoded), _BIGINT_LENGTH.join([b"", *encoded]))


class _ArrayDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: Array) -> bytes:
        return obj.data


class _ByteaArrayDumper(_ArrayDumper):
    oid = 1001


class _UuidArrayDumper(_ArrayDumper):
    oid = 2951


class _BigintArrayDumper(_ArrayDumper):
    oid = 1016


psycopg.adapters.register_dumper(ByteaArray, _ByteaArrayDumper)
psycopg.adapters.register_dumper(UuidArray, _UuidArrayDumper)
psycopg.adapters.register_dumper(BigintArray, _BigintArrayDumper)
