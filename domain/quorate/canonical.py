"""Canonical JSON, digests, times and base64 as every statement and log entry uses them.

Canonical form: RFC 8785 (JCS) restricted to null, booleans, strings, integers within ±(2^53−1), lists and objects
with string names. Floats, larger integers and lone surrogates are refused, never rounded or replaced; no Unicode
normalisation takes place (docs/formats.md).
"""

import base64
import binascii
import hashlib
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import orjson

MAX_INTEGER = 2**53 - 1
MAX_DEPTH = 64
_ASTRAL_OR_LATER = "\ud800"
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


class NotCanonicalError(ValueError):
    """A value that has no canonical form; the message names the path, the value and the rule."""


def _refuse(path: str, rule: str) -> NoReturn:
    raise NotCanonicalError(f"{path or '/'}: {rule}")


def _check(value: Any, path: str, depth: int) -> bool:
    """Refuse what has no canonical form; True if a name needs UTF-16 ordering (orjson orders by code point)."""
    kind = type(value)
    if kind is str:
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                _refuse(path, "the string holds a lone surrogate")
        return False
    if value is None or kind is bool:
        return False
    if kind is int:
        if abs(value) > MAX_INTEGER:
            _refuse(path, f"integer {value} is outside ±(2^53-1); write it as a string")
        return False
    if depth >= MAX_DEPTH:
        _refuse(path, f"nested deeper than {MAX_DEPTH} levels")
    if kind is dict:
        return _check_object(value, path, depth)
    if kind is list or kind is tuple:
        slow = [_check(item, f"{path}/{index}", depth + 1) for index, item in enumerate(value)]
        return any(slow)  # the list first: any() over a generator would stop checking at the first True
    if kind is float:
        _refuse(path, f"{value!r} is a floating-point number; use an integer or a string")
    _refuse(path, f"{kind.__name__} has no canonical form")


def _utf16_sorted(value: Any) -> Any:
    if isinstance(value, dict):
        ordered = sorted(value.items(), key=lambda item: item[0].encode("utf-16-be"))
        return {name: _utf16_sorted(item) for name, item in ordered}
    if isinstance(value, list | tuple):
        return [_utf16_sorted(item) for item in value]
    return value


def _check_object(value: dict[Any, Any], path: str, depth: int) -> bool:
    slow = False
    for name, item in value.items():
        if type(name) is not str:
            _refuse(path, f"object name {name!r} is not a string")
        if not name.isascii():
            _check(name, f"{path}/{name!r}", depth)
            slow |= max(name) >= _ASTRAL_OR_LATER
        # Most values are plain text: no call and no path for them, the log canonicalises every entry.
        if type(item) is not str or not item.isascii():
            slow |= _check(item, f"{path}/{name}", depth + 1)
    return slow


def canonical_bytes(value: Any, path: str = "", depth: int = 0) -> bytes:
    """The RFC 8785 bytes of `value`; raises NotCanonicalError naming the path of what has no canonical form.

    A part of a larger document gives its own `path` and `depth` in that.
    """
    if _check(value, path, depth):
        return orjson.dumps(_utf16_sorted(value))
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def digest_of_bytes(data: bytes) -> str:
    """`sha256:` and 64 lower-case hexadecimal digits."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def digest_of(value: Any) -> str:
    """The digest of the canonical bytes of `value`."""
    return digest_of_bytes(canonical_bytes(value))


def is_digest(text: Any) -> bool:
    """Whether `text` has the form of a digest."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def hex_of_digest(digest: str) -> str:
    """The 64 hexadecimal digits of a digest; raises ValueError for any other form."""
    if not is_digest(digest):
        raise ValueError(f"{digest!r} is not a digest: expected sha256: and 64 lower-case hexadecimal digits")
    return digest.removeprefix("sha256:")


def unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object from its members, as `object_pairs_hook`; NotCanonicalError where a name occurs twice."""
    result: dict[str, Any] = {}
    for name, value in pairs:
        if name in result:
            raise NotCanonicalError(f"object name {name!r} occurs twice")
        result[name] = value
    return result


def _no_float(text: str) -> NoReturn:
    raise NotCanonicalError(f"{text} is a floating-point number; use an integer or a string")


def parse_json(data: bytes | str) -> Any:
    """Parse JSON strictly: duplicate names, floats, big integers and lone surrogates raise NotCanonicalError.

    Bytes must be UTF-8 without a byte order mark. Any other malformed text raises NotCanonicalError too.
    """
    try:
        text = data.decode() if isinstance(data, bytes) else data  # json.loads would guess UTF-16 and pass surrogates
        value = json.loads(text, object_pairs_hook=unique_names, parse_float=_no_float, parse_constant=_no_float)
    except NotCanonicalError:
        raise
    except RecursionError as error:
        raise NotCanonicalError(f"nested deeper than {MAX_DEPTH} levels") from error
    except ValueError as error:
        raise NotCanonicalError(f"not JSON: {error}") from error
    _check(value, "", 0)
    return value


def parse_time(text: Any) -> int:
    """Unix seconds of `YYYY-MM-DDTHH:MM:SSZ`; raises ValueError for any other form, an impossible date too."""
    if not isinstance(text, str) or _TIME.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not a time of the form YYYY-MM-DDTHH:MM:SSZ")
    try:
        if text[11:13] > "23":
            raise ValueError("hour must be in 0..23")  # from Python 3.13 on fromisoformat takes 24:00:00
        return (datetime.fromisoformat(text) - _EPOCH) // _SECOND  # strptime takes ten times as long
    except ValueError as error:
        raise ValueError(f"{text!r} is not a time: {error}") from error


def format_time(seconds: int) -> str:
    """`YYYY-MM-DDTHH:MM:SSZ` of Unix seconds."""
    # isoformat, as strftime writes years before 1000 without their zeros
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat() + "Z"


def encode_base64(data: bytes) -> str:
    """Standard alphabet, no padding: 32 bytes give 43 characters, 64 bytes 86."""
    return base64.b64encode(data).decode().rstrip("=")


def decode_base64(text: Any, *, length: int) -> bytes:
    """Exactly `length` bytes of unpadded standard base64; padding, other alphabets, trailing bits raise ValueError."""
    expected = (length * 4 + 2) // 3
    if not isinstance(text, str) or len(text) != expected or not text.isascii():
        raise ValueError(f"expected {expected} characters of base64 without padding")
    padded = text.encode() + b"=" * (-len(text) % 4)
    try:
        data = binascii.a2b_base64(padded)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from error
    # What is no letter of the alphabet was passed over, so that the comparison finds it too.
    if len(data) != length or binascii.b2a_base64(data, newline=False) != padded:
        raise ValueError("not canonical base64: a character outside the alphabet, or trailing bits that are not zero")
    return data
