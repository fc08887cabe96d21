"""Protocol buffers (proto3) for small messages: a dataclass declares its fields by number; others are passed over.

    @dataclass(frozen=True, slots=True)
    class Device(Message):
        id: str = text(1)

Source of the encoding: protobuf.dev/programming-guides/encoding.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_VARINT_BYTES = 10
_LARGEST_FIELD = (1 << 29) - 1


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a field is written and read."""

    number: int
    write: Callable[[int, Any], bytes]
    merge: Callable[[Any, int | bytes], Any]
    """The value so far and what stood in the message → the value."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message. Its fields are made by the functions below."""

    def encode(self) -> bytes:
        """The message's bytes; fields with their default value are left out."""
        return b"".join(kind.write(kind.number, value) for name, kind in _kinds(self) if (value := getattr(self, name)))

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """A message from its bytes.

        Raises:
            ValueError: these are none.
        """
        kinds = {kind.number: (name, kind) for name, kind in _kinds(cls)}
        values: dict[str, Any] = {}
        for number, value in _fields(data):
            if number in kinds:
                name, kind = kinds[number]
                values[name] = kind.merge(values.get(name), value)
        return cls(**values)


def text(number: int) -> Any:
    """A `string`."""
    return _field(number, "", _write_text, lambda _, value: _text(value))


def texts(number: int) -> Any:
    """A `repeated string`, as a tuple."""
    return _field(number, (), _each(_write_text), lambda before, value: (*(before or ()), _text(value)))


def boolean(number: int) -> Any:
    """A `bool`."""
    return _field(number, False, lambda number, _: _key(number, _VARINT) + b"\x01", lambda _, value: _flag(value))


def integer(number: int) -> Any:
    """An `int64`, `uint32` or enum, not negative."""
    return _field(number, 0, _write_number, lambda _, value: _number(value))


def message(number: int, kind: type[Message]) -> Any:
    """A message; None where it is left out."""
    return _field(number, None, _write_message, lambda _, value: kind.decode(_bytes(value)))


def messages(number: int, kind: type[Message]) -> Any:
    """A `repeated` message, as a tuple."""
    return _field(
        number, (), _each(_write_message), lambda before, value: (*(before or ()), kind.decode(_bytes(value)))
    )


def mapping(number: int) -> Any:
    """A `map<string, string>`."""

    def write(number: int, value: Mapping[str, str]) -> bytes:
        return b"".join(_write_message(number, _Entry(key, each)) for key, each in sorted(value.items()))

    def merge(before: Mapping[str, str] | None, value: int | bytes) -> dict[str, str]:
        entry = _Entry.decode(_bytes(value))
        return {**(before or {}), entry.key: entry.value}

    return dataclasses.field(default_factory=dict, metadata={"kind": _Kind(number, write, merge)})


def _field(
    number: int, default: Any, write: Callable[[int, Any], bytes], merge: Callable[[Any, int | bytes], Any]
) -> Any:
    return dataclasses.field(default=default, metadata={"kind": _Kind(number, write, merge)})


def _kinds(message: Message | type[Message]) -> Iterator[tuple[str, _Kind]]:
    for field in dataclasses.fields(message):
        yield field.name, field.metadata["kind"]


def _each(write: Callable[[int, Any], bytes]) -> Callable[[int, Any], bytes]:
    return lambda number, values: b"".join(write(number, value) for value in values)


def _write_text(number: int, value: str) -> bytes:
    return _sized(number, value.encode())


def _write_number(number: int, value: int) -> bytes:
    return _key(number, _VARINT) + _varint(value)


def _write_message(number: int, value: Message) -> bytes:
    return _sized(number, value.encode())


def _sized(number: int, content: bytes) -> bytes:
    return _key(number, _BYTES) + _varint(len(content)) + content


def _key(number: int, kind: int) -> bytes:
    return _varint(number << 3 | kind)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field: an integer for a varint, bytes for anything else."""
    position = 0
    while position < len(data):
        key, position = _read_varint(data, position)
        number, kind = key >> 3, key & 7
        if not 0 < number <= _LARGEST_FIELD:
            raise ValueError(f"field {number}: there is no such number")
        if kind == _VARINT:
            value, position = _read_varint(data, position)
            yield number, value
            continue
        size = {_FIXED64: 8, _FIXED32: 4}.get(kind)
        if kind == _BYTES:
            size, position = _read_varint(data, position)
        if size is None:
            raise ValueError(f"field {number}: wire type {kind} is not of proto3")
        if position + size > len(data):
            raise ValueError(f"field {number}: {size} bytes are announced, {len(data) - position} are left")
        yield number, data[position : position + size]
        position += size


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for index in range(_VARINT_BYTES):
        if position + index >= len(data):
            break
        byte = data[position + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    raise ValueError(f"byte {position}: a number has no end")


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError(f"a number ({value}) stands where bytes must")
    return value


def _number(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise ValueError("bytes stand where a number must")
    return value


def _text(value: int | bytes) -> str:
    return _bytes(value).decode()


def _flag(value: int | bytes) -> bool:
    if isinstance(value, bytes):
        raise ValueError("bytes stand where a boolean must")
    return bool(value)


@dataclass(frozen=True, slots=True)
class _Entry(Message):
    """An entry of a map, as the encoding defines it."""

    key: str = text(1)
    value: str = text(2)
