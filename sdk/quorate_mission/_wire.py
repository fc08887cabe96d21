"""Frames and JSON of the mission protocol, the workload's end (docs/mission-protocol.md)."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

PROTOCOL = 1
CLIENT = "quorate-mission/0.1.0"
MOST_BYTES = 65_536
MOST_INTEGER = 2**53 - 1
MOST_SPAN = 10_000_000
MOST_COUNT = 1_000_000_000
MOST_SOURCES = 4
MOST_OBJECTIVES = 16
MOST_FACTS = 32
MOST_TEXT = 256
NAME = re.compile(r"[ !#-\[\]-~]{1,64}", re.ASCII)


class WireError(Exception):
    """The agent sent what is no message; the connection ends."""


def framed(message: dict[str, Any]) -> bytes:
    """The frame of a message."""
    data = json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    return len(data).to_bytes(4, "big") + data


def clean(text: object) -> str:
    """Text that fits in a message: shortened, and without what is no character."""
    return str(text)[:MOST_TEXT].encode("utf-8", "replace").decode()


def _no_float(text: str) -> NoReturn:
    raise WireError(f"{text} is no integer")


class Frames:
    """Bytes of one connection to messages; holds one frame at most that is not complete."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """The messages that are complete with `data`.

        Raises:
            WireError: a length or JSON that is none.
        """
        buffer, found = self._buffer, []
        buffer += data
        while len(buffer) >= 4:
            size = int.from_bytes(buffer[:4], "big")
            if not 1 <= size <= MOST_BYTES:
                raise WireError(f"a frame of {size} bytes")
            if len(buffer) < 4 + size:
                break
            found.append(_parsed(bytes(buffer[4 : 4 + size])))
            del buffer[: 4 + size]
        return found


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        message = json.loads(data.decode(), parse_float=_no_float, parse_constant=_no_float)
    except (ValueError, RecursionError) as error:
        raise WireError(f"not JSON: {error}") from error
    if not isinstance(message, dict):
        raise WireError("a message is an object")
    return message
