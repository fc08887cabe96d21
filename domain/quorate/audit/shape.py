"""Shapes of content: regular expressions that accept only what the exact rules accept, learnt from what they accepted.

Entries of one event type look alike but for their values. Matching the bytes with the names, the order and the rules of
each value takes a third of the time of parsing and writing them again, and gives the values that indexes hold. What no
shape accepts is not wrong: the exact rules then judge it.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from quorate.canonical import is_digest

MAX_SHAPES = 16
"""For one event type; whatever varies more is judged by the exact rules."""
MAX_TYPES = 64
# Characters that stand for themselves in canonical JSON, and are one byte each.
_TEXT = rb"[ !#-[\]-~]*+"
_SOME = rb"[ !#-[\]-~]++"
_PLAIN = re.compile(rb"[ !#-[\]-~]*+")
_INTEGER = rb"(?:0|-?[1-9]\d{0,14}+)"
_RULES: Mapping[tuple[str, ...], bytes] = {
    ("actor_id",): b'"' + _SOME + b'"',
    ("entry_id",): rb'"([0-9a-f-]{36})"',
    ("payload", "subject", "key"): b'"(' + _SOME + b')"',
    ("payload", "subject", "kind"): b'"' + _SOME + b'"',
    ("payload", "subject", "name"): b'"' + _SOME + b'"',
    ("payload", "tether", "contractVersion"): b'"' + _SOME + b'"',
    ("payload", "tether", "phaseId"): rb'"\d++(?:\.\d++)*+"',
    ("timestamp",): rb'"([0-9T:-]{19})\.\d{6}Z"',
}
# Members of the payload that a shape may hold; the exact rules may ask more of others.
_PAYLOAD = frozenset({"about", "detail", "erasable", "previous", "question", "subject", "tether"})
_SCALARS: Mapping[type, bytes] = {str: b'"' + _TEXT + b'"', int: _INTEGER}


class _NoShapeError(Exception):
    pass


Values = tuple[bytes, ...]
"""Entry id, the digests of about, subject key, second, and the whole content if it does not have the shape.

That the id is one, and the second a time, is left to whoever looks it up.
"""
_OTHER = (b"?",)


class Shape:
    """What contents of one form look like."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        # All contents of a block are looked at in one call, a line each; one of another form is a match as well, so
        # that they can be counted: an empty one is none.
        self._lines = re.compile(b"^(?:" + _pattern(document, ()) + rb"|([^\n]++))$", re.MULTILINE).findall

    def values(self, contents: Sequence[bytes]) -> Sequence[Values]:
        """The values of each content."""
        lines = b"\n".join(contents)
        if lines.count(b"\n") >= len(contents):  # a content with a line feed is more than a line
            return [_OTHER] * len(contents)
        found: list[Values] = self._lines(lines)
        return found if len(found) == len(contents) else [_OTHER] * len(contents)


def shape_of(document: Mapping[str, Any]) -> Shape | None:
    """The shape of a content that the exact rules accepted; None if it has none."""
    try:
        return Shape(document)
    except _NoShapeError:
        return None


def _pattern(value: Any, path: tuple[str, ...]) -> bytes:
    kind = type(value)
    if path in _RULES and kind is str:
        return _RULES[path]
    if path == ("event_type",):
        return b'"' + re.escape(str(value).encode()) + b'"'
    if path in (("payload", "about"), ("payload", "erasable")):
        return _digests(value, captured=path[1] == "about")
    if path == ("payload",) and not value.keys() <= _PAYLOAD:
        raise _NoShapeError
    if kind is dict:
        return rb"\{" + b",".join(_member(name, value[name], path) for name in sorted(value)) + rb"\}"
    if kind is list:
        return _list(value, path)
    if value is None or kind is bool:
        return b"null" if value is None else b"true" if value else b"false"
    if path in _RULES or kind not in _SCALARS:
        raise _NoShapeError
    return _SCALARS[kind]


def _member(name: str, value: Any, path: tuple[str, ...]) -> bytes:
    if not name.isascii() or _PLAIN.fullmatch(name.encode()) is None:
        raise _NoShapeError
    return b'"' + re.escape(name.encode()) + b'":' + _pattern(value, (*path, name))


def _digests(value: Any, *, captured: bool) -> bytes:
    if type(value) is not list or not all(is_digest(item) for item in value):
        raise _NoShapeError
    item = rb'"(sha256:[0-9a-f]{64})"' if captured else rb'"sha256:[0-9a-f]{64}"'
    return rb"\[" + b",".join([item] * len(value)) + rb"\]"


def _list(value: list[Any], path: tuple[str, ...]) -> bytes:
    """Lists of plain values may have any length; of other lists, each member has its shape."""
    kinds = {type(item) for item in value}
    if path == ("payload", "tether", "clauses"):
        item = b'"' + _SOME + b'"'
    elif len(kinds) == 1 and kinds <= _SCALARS.keys():
        item = _SCALARS[kinds.pop()]
    else:
        return rb"\[" + b",".join(_pattern(member, (*path, "[]")) for member in value) + rb"\]"
    return rb"\[(?:" + item + rb"(?:," + item + rb")*+)?\]"


class Shapes:
    """The shapes of one verification, by event type; those that matched last come first."""

    def __init__(self) -> None:
        self._known: dict[bytes, list[Shape]] = {}
        self._last: Shape | None = None

    def values(self, contents: Sequence[bytes]) -> Sequence[Values]:
        """The values of contents in the shape that matched last."""
        return [_OTHER] * len(contents) if self._last is None else self._last.values(contents)

    def match(self, content: bytes) -> Values | None:
        """The values in a shape that accepts the content; that shape is the one to try first on the next ones."""
        shapes = self._known.get(_event_type(content), [])
        for place, shape in enumerate(shapes):
            (found,) = shape.values([content])
            if not found[-1]:
                shapes.insert(0, shapes.pop(place))
                self._last = shape
                return found
        return None

    def learn(self, content: bytes, document: Mapping[str, Any]) -> None:
        """Remember the shape of a content that the exact rules accepted."""
        shapes = self._known.get(_event_type(content), [])
        if len(shapes) >= MAX_SHAPES or len(self._known) >= MAX_TYPES:
            return
        shape = shape_of(document)
        if shape is not None:
            self._known.setdefault(_event_type(content), shapes).append(shape)


def _event_type(content: bytes) -> bytes:
    start = content.find(b'"event_type":"') + 14
    return content[start : content.find(b'"', start)]
