"""Manifests broken at random: one place of a valid example changed to something that somebody might send."""

import copy
from random import Random
from typing import Any

Document = dict[str, Any]

STRINGS = (
    "",
    " ",
    "x",
    "0",
    "-1",
    "true",
    "null",
    "x" * 64,
    "x" * 5000,
    "\x00",
    "a\nb",
    "\u202egnp.exe",
    "é",
    "é",
    "𝔽🚀",
    "\ud800",
    "../../etc/passwd",
    "{{ 7*7 }}",
    "sha256:" + "g" * 64,
    "sha256:" + "A" * 64,
    "9" * 400,
    "2026-02-30T00:00:00Z",
    "0000-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "A" * 43,
    "A" * 86,
    "/" * 43,
    "\u200bStandard",
    "standard",
)
NUMBERS = (0, -1, 1, 2, 9999, 10_000, 10_001, 2**31, 2**53 - 1, 2**53, 2**63, -(2**63), 10**30, 0.5, 1e300, -0.0)
OTHERS: tuple[Any, ...] = (None, True, False, [], {}, [[]], [{}], [None], {"": None}, {"a": {"b": []}}, ["x"] * 200)
DEEP = (10, 70, 400, 1500)


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values in a document."""
    found = [path] if path else []
    if len(path) > 30:
        return found
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    return found + [place for name, item in items for place in places(item, (*path, name))]


def inside(document: Document) -> list[tuple[Any, ...]]:
    """The paths of all values below `spec`, or of `spec` itself where there is nothing below."""
    return [place for place in places(document) if place[0] == "spec" and len(place) > 1] or [("spec",)]


def at(document: Any, path: tuple[Any, ...]) -> Any:
    """The value at a path."""
    for name in path:
        document = document[name]
    return document


def nested(random: Random) -> Any:
    """Lists or objects within each other."""
    value: Any = "x"
    name = random.choice(("a", "text", "spec"))
    for _ in range(random.choice(DEEP)):
        value = {name: value} if random.randrange(2) else [value]
    return value


def anything(random: Random, document: Document) -> Any:
    """A value that may not belong there."""
    kind = random.randrange(6)
    if kind == 0:
        return random.choice(NUMBERS)
    if kind == 1:
        return copy.deepcopy(random.choice(OTHERS))
    if kind == 2:
        return copy.deepcopy(at(document, random.choice(places(document))))
    return random.choice(STRINGS)


def broken(example: Document, random: Random) -> tuple[Document, str]:
    """A copy with one to three places changed, and the first of them in words."""
    document, said = copy.deepcopy(example), ""
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        path = random.choice(inside(document))
        said = said or "/".join(map(str, path))
        _change(document, path, random)
    if not random.randrange(20):  # last, as what is nested so deeply cannot be copied either
        path = random.choice(inside(document))
        at(document, path[:-1])[path[-1]] = nested(random)
    return document, said


def _change(document: Document, path: tuple[Any, ...], random: Random) -> None:
    parent, name = at(document, path[:-1]), path[-1]
    kind = random.randrange(7)
    if kind == 0:
        del parent[name]
    elif kind == 1 and isinstance(parent, dict):
        parent[random.choice(("surprise", "", "Spec", "𝔽", "a.b", "x" * 300))] = anything(random, document)
    elif kind == 2 and isinstance(parent, dict) and isinstance(name, str):
        parent[name.upper()] = parent.pop(name)
    elif kind == 3 and isinstance(parent, list):
        parent.extend(copy.deepcopy(parent[name]) for _ in range(random.choice((1, 2, 300))))
    elif kind == 4 and isinstance(parent[name], str):
        parent[name] = _edited(parent[name], random)
    elif kind == 5 and isinstance(parent[name], int):
        parent[name] = parent[name] + random.choice((-1, 1, 2**40, 0.5))
    else:
        parent[name] = anything(random, document)


def _edited(text: str, random: Random) -> str:
    place = random.randrange(len(text) + 1)
    return random.choice(
        (text[:place] + random.choice(STRINGS) + text[place:], text[:place], text.upper(), text + " ", text * 50)
    )
