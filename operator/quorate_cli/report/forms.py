"""Values of entries in the form that the report documents: what has another form is left out, never believed.

Entries of a log that nobody tampered with have these forms; a report must be written of any other, too.
"""

from collections.abc import Mapping
from typing import Any

from quorate.canonical import MAX_INTEGER

Obj = dict[str, Any]


def mapping(value: Any) -> Obj:
    """An object; empty for anything else."""
    return dict(value) if isinstance(value, Mapping) else {}


def mappings(value: Any) -> list[Obj]:
    """The objects of a list."""
    return [dict(item) for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def word(value: Any) -> str | None:
    """A text that is not empty."""
    return value if isinstance(value, str) and value else None


def words(value: Any) -> list[str]:
    """The texts of a list."""
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def integer(value: Any) -> int | None:
    """A number as JSON carries it."""
    known = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_INTEGER
    return int(value) if known else None
