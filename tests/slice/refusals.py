"""What a bad manifest is, and the forms of the sentences that the API server must answer.

An edit maps a path in the kind's example to a new value; `REMOVED` removes the field.
"""

from dataclasses import dataclass
from typing import Any

REMOVED = object()
UPPER_CASE = "3F0A1C5E-7B2D-4C89-9E31-5A6B7C8D9E01"
DIGEST = "sha256:" + "0" * 64
SIGNATURE = "A" * 86
TIME = "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z"
ACT = {
    "act": "Stop",
    "proposalDigest": DIGEST,
    "by": "ada",
    "keyName": "ada",
    "at": "2026-11-21T12:00:00Z",
    "signature": SIGNATURE,
}


@dataclass(frozen=True)
class Bad:
    """An edit of a kind's example, and the sentence that it gets."""

    kind: str
    edit: dict[str, Any]
    sentence: str

    @property
    def id(self) -> str:
        """Name of the case."""
        return f"{self.kind}-{'+'.join(self.edit)}"


def rule(field: str, text: str) -> str:
    """A CEL rule on an object."""
    return f"{field}: Invalid value: {text}"


def matches(field: str, value: str, pattern: str) -> str:
    """A pattern."""
    return f"{field}: Invalid value: \"{value}\": {field} in body should match '^{pattern}$'"


def at_least(field: str, value: int, bound: int) -> str:
    """A lower bound."""
    return f"{field}: Invalid value: {value}: {field} in body should be greater than or equal to {bound}"


def at_most(field: str, value: int, bound: int) -> str:
    """An upper bound."""
    return f"{field}: Invalid value: {value}: {field} in body should be less than or equal to {bound}"


def required(field: str) -> str:
    """A missing field."""
    return f"{field}: Required value"


def too_long(field: str, bound: int) -> str:
    """A long string; the API server says bytes and counts characters."""
    return f"{field}: Too long: may not be more than {bound} bytes"


def unsupported(field: str, value: str, *supported: str) -> str:
    """An enum."""
    values = ", ".join(f'"{name}"' for name in supported)
    return f'{field}: Unsupported value: "{value}": supported values: {values}'
