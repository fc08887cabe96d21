"""Values of a test file: durations, shares, quantities and reasons, read exactly; refusals name field, value, rule."""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from quorate.missions.quantity import bytes_of
from quorate.missions.samples import Missing, Reading
from quorate_cli.output import BadInputError

E = TypeVar("E")
_UNITS = {"us": 1, "ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
_DURATION = re.compile(r"([0-9]+)(us|ms|s|m|h|d)")
_SHARE = re.compile(r"([0-9]+)(?:[.]([0-9]{1,2}))?%")


def refuse(field: str, value: Any, rule: str) -> BadInputError:
    """The error for a value."""
    return BadInputError(f"{field} {value!r}: {rule}")


def duration(field: str, value: Any) -> int:
    """Microseconds of `90s`, `1m30s`, `250ms`; a plain integer is seconds."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value * _UNITS["s"]
    text = value if isinstance(value, str) else ""
    if not text or _DURATION.sub("", text):
        raise refuse(field, value, "must be a duration such as 250ms, 90s or 1h30m")
    return sum(int(number) * _UNITS[unit] for number, unit in _DURATION.findall(text))


def shown(microseconds: int) -> str:
    """A duration as the file writes it."""
    parts, rest = [], microseconds
    for unit in ("d", "h", "m", "s", "ms", "us"):
        count, rest = divmod(rest, _UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def integer(field: str, value: Any) -> int:
    """An integer."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise refuse(field, value, "must be an integer")
    return value


def _missing(value: Any) -> Missing | None:
    return Missing(value) if isinstance(value, str) and value in set(Missing) else None


def reading(field: str, value: Any) -> Reading:
    """An integer, or why there is none."""
    missing = _missing(value)
    return missing if missing is not None else integer(field, value)


def share(field: str, value: Any) -> Reading:
    """Basis points of `99.9%` or of an integer, or why there is none."""
    if isinstance(value, str) and (found := _SHARE.fullmatch(value)):
        return int(found[1]) * 100 + int((found[2] or "").ljust(2, "0"))
    return reading(field, value)


def amount(field: str, value: Any) -> Reading:
    """Bytes of `20Gi` or of an integer, or why there is none."""
    missing = _missing(value)
    if missing is not None:
        return missing
    if isinstance(value, int | str) and not isinstance(value, bool):
        try:
            return bytes_of(value)
        except ValueError:
            pass
    raise refuse(field, value, f"must be bytes such as 20Gi, or one of {', '.join(Missing)}")


def mapping(field: str, value: Any) -> Mapping[str, Any]:
    """An object with string names."""
    if not isinstance(value, dict):
        raise refuse(field, value, "must be an object")
    return {str(name): item for name, item in value.items()}


def listing(field: str, value: Any) -> list[Any]:
    """A list; a single value stands for a list of it."""
    return value if isinstance(value, list) else [value]


def text(field: str, value: Any) -> str:
    """A string."""
    if not isinstance(value, str) or not value:
        raise refuse(field, value, "must be a string")
    return value


def known(field: str, value: Mapping[str, Any], names: frozenset[str]) -> None:
    """Refuse names that mean nothing here."""
    for name in value:
        if name not in names:
            raise refuse(field, name, f"is not one of {', '.join(sorted(names))}")


def one_of(field: str, value: Any, kind: type[E]) -> E:
    """A member of an enumeration, by its value."""
    try:
        return kind(value)  # type: ignore[call-arg]
    except ValueError as error:
        raise refuse(field, value, f"is not one of {', '.join(str(item) for item in kind)}") from error  # type: ignore[attr-defined]
