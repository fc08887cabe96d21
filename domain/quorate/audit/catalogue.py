"""The catalogue of the log's database as one canonical document, and what differs between two of them (audit.md, 6).

The document says what the database's catalogue holds about the log: owners, columns, constraints, triggers and whether
they fire, policies, functions by the digest of their body, rights, roles and their members, event triggers, partitions.
Besides its definition each object has a *version* (row id and row version in the catalogue), so that a guard which was
switched off and on again between two looks is found as well.

Partitions come and go by our own functions. They are held to a shape that all have in common, and to a rule instead of
a list: name and range follow from chain and number, and together they cover every entry that is not pruned.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import md5
from typing import Any, NamedTuple

from quorate.canonical import digest_of

FORMAT = "quorate.dev/catalogue/v1"
SUBJECT = "system/catalogue"
"""Subject key of the entries about it, in chain `system`."""
RECORDED, CHANGED = "system.catalogue.recorded", "system.catalogue.changed"
VERSION = "version"
"""The property whose change alone says that something was changed and put back."""
_PLACEHOLDER = "{partition}"
_MAX_VALUE = 100
_BOUNDS = re.compile(r"FOR VALUES FROM \((E?'.*'), '(\d+)'\) TO \((E?'.*'), '(\d+)'\)", re.DOTALL)
Properties = Mapping[str, Any]
Document = Mapping[str, Any]


class Fact(NamedTuple):
    """One object as the catalogue has it. `relation` is the partition that it belongs to, or empty."""

    kind: str
    name: str
    relation: str
    properties: Properties


@dataclass(frozen=True)
class Surroundings:
    """What the rule for partitions needs to know beside the catalogue.

    Args:
        sizes: entries of each chain, from its head row.
        pruned: for a pruned chain the sequence of its first entry that is still there.
    """

    sizes: Mapping[str, int] = field(default_factory=dict)
    pruned: Mapping[str, int] = field(default_factory=dict)


def document(facts: Iterable[Fact], *, schema: Mapping[str, Any], server: str, ddl: int | None) -> dict[str, Any]:
    """The document of these facts.

    Args:
        facts: every object; the bounds of a partition are property `bounds` of a fact of kind `partition`.
        schema: {version, digest} of the applied migrations.
        server: version of Postgres; told, never compared.
        ddl: number of the newest row in the guard's list of what superusers did; None without a guard.
    """
    objects: dict[str, Properties] = {}
    parts: dict[str, dict[str, Properties]] = {}
    bounds: dict[str, str] = {}
    for fact in facts:
        if fact.kind == "partition":
            bounds[fact.name] = fact.properties["bounds"]
        elif fact.relation:
            parts.setdefault(fact.relation, {})[f"{fact.kind} {_shape_name(fact)}"] = _generic(fact)
        else:
            objects[f"{fact.kind} {fact.name}"] = dict(fact.properties)
    shape = _commonest(parts)
    return {
        "format": FORMAT,
        "server": server,
        "schema": dict(schema),
        "ddl": ddl,
        "objects": objects,
        "shape": shape,
        "partitions": {name: _partition(bounds.get(name, ""), parts.get(name, {}), shape) for name in bounds},
    }


def _shape_name(fact: Fact) -> str:
    return fact.name.replace(fact.relation, _PLACEHOLDER)


def _generic(fact: Fact) -> dict[str, Any]:
    """The properties with the partition's own name taken out of every text."""

    def generic(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace(fact.relation, _PLACEHOLDER)
        return [generic(item) for item in value] if isinstance(value, list) else value

    return {name: generic(value) for name, value in fact.properties.items()}


def _without_version(objects: Mapping[str, Properties]) -> dict[str, dict[str, Any]]:
    return {
        key: {name: value for name, value in properties.items() if name != VERSION}
        for key, properties in objects.items()
    }


def _commonest(parts: Mapping[str, Mapping[str, Properties]]) -> dict[str, dict[str, Any]]:
    """The shape that most partitions have; of equally common ones the one with the smallest digest."""
    shapes = {digest_of(bare): bare for bare in map(_without_version, parts.values())}
    counts = Counter(digest_of(_without_version(objects)) for objects in parts.values())
    if not counts:
        return {}
    return shapes[min(counts, key=lambda digest: (-counts[digest], digest))]


def _partition(
    bounds: str, objects: Mapping[str, Properties], shape: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """One partition: its range, one version for all that belongs to it, and where it deviates from the shape."""
    bare = _without_version(objects)
    odd = {key: bare.get(key) for key in sorted({*bare, *shape}) if bare.get(key) != shape.get(key)}
    versions = {key: properties.get(VERSION) for key, properties in objects.items()}
    made: dict[str, Any] = {"bounds": bounds, VERSION: digest_of(versions)[7:23]}
    if odd:
        made["odd"] = odd
    return made


class Range(NamedTuple):
    """The entries of a partition: start ≤ sequence < end."""

    chain: str
    start: int
    end: int


def range_of(bounds: str) -> Range | None:
    """The range in Postgres's words for it; None if it is not one range of one chain."""
    match = _BOUNDS.fullmatch(bounds)
    if match is None or match[1] != match[3]:
        return None
    chain = match[1].removeprefix("E")[1:-1].replace("''", "'")
    if match[1].startswith("E"):
        chain = chain.replace("\\\\", "\\")
    return Range(chain, int(match[2]), int(match[4]))


def partition_faults(found: Document, around: Surroundings) -> list[str]:
    """Sentences on partitions that no function of ours makes, and on entries that have none; empty if all is well."""
    odd = [
        f"partition {name}: {sentence}"
        for name, partition in sorted(found["partitions"].items())
        for key, properties in sorted(partition.get("odd", {}).items())
        for sentence in _compared(key.replace(_PLACEHOLDER, "it"), found["shape"].get(key), properties)
    ]
    return [*_misplaced(found), *odd, *_uncovered_entries(found, around)]


def _ranges(found: Document) -> dict[str, Range | None]:
    """The range of each partition by name; None where no function of ours would have made it so."""
    ranges: dict[str, Range | None] = {}
    for name, partition in sorted(found["partitions"].items()):
        own = range_of(partition["bounds"])
        good = own and own.end > own.start and own.start % (own.end - own.start) == 0 and name == _expected_name(own)
        ranges[name] = own if good else None
    return ranges


def _widths(found: Document) -> set[int]:
    return {own.end - own.start for own in _ranges(found).values() if own}


def _misplaced(found: Document) -> list[str]:
    faults = [
        f"partition {name} was made by hand: its range is {_short(found['partitions'][name]['bounds'])}"
        for name, own in _ranges(found).items()
        if own is None
    ]
    widths = sorted(_widths(found))
    return faults + ([f"partitions have different widths: {', '.join(map(str, widths))}"] if len(widths) > 1 else [])


def _uncovered_entries(found: Document, around: Surroundings) -> list[str]:
    starts: dict[str, set[int]] = {}
    for own in filter(None, _ranges(found).values()):
        starts.setdefault(own.chain, set()).add(own.start)
    if not starts:
        return [f"no partition holds the entries of chain {chain}" for chain, size in around.sizes.items() if size]
    width, faults = min(_widths(found)), []
    for chain, size in sorted(around.sizes.items()):
        first = around.pruned.get(chain, 0) // width * width
        missing = [start for start in range(first, size, width) if start not in starts.get(chain, set())]
        faults += [f"no partition holds entries {start} to {start + width - 1} of chain {chain}" for start in missing]
    return faults


def _expected_name(own: Range) -> str:
    number = own.start // (own.end - own.start)
    return f"audit_entry_{md5(own.chain.encode(), usedforsecurity=False).hexdigest()}_{number}"


def differences(
    old: Document, new: Document, around: Surroundings | None = None, *, versions: bool = True
) -> list[str]:
    """What changed from `old` to `new`, a sentence each; empty if nothing did that our own functions do not do.

    A partition that is new and follows the rule, or is gone and lay below its chain's prune point, is no difference.
    With `versions` false only definitions count: what was changed and put back is none.
    """
    around = around or Surroundings()
    faults = [*_misplaced(new), *_uncovered_entries(new, around)]
    known = {*_misplaced(old), *_uncovered_entries(old, around)}
    return [
        *_compared_objects(old["objects"], new["objects"], versions=versions),
        *_compared_partitions(old["partitions"], new["partitions"], around, versions=versions),
        *_compared_shapes(old, new),
        *_shortened(old["ddl"], new["ddl"]),
        *(fault for fault in faults if fault not in known),
    ]


def _shortened(old: int | None, new: int | None) -> list[str]:
    if old is None or (new is not None and new >= old):
        return []
    return [f"the list of what superusers did ended at row {old}, now at {new or 'none'}"]


def _compared_shapes(old: Document, new: Document) -> list[str]:
    """How partitions deviate now from the shape that they had in common, if they did not before."""
    if not old["shape"]:
        return []
    said: dict[str, list[str]] = {}
    for name, partition in sorted(new["partitions"].items()):
        own = new["shape"] | partition.get("odd", {})
        before = old["partitions"].get(name, {}).get("odd", {})
        for key in sorted({*own, *old["shape"]}):
            expected = before.get(key, old["shape"].get(key))
            for sentence in _compared(key.replace(_PLACEHOLDER, "it"), expected, own.get(key)):
                said.setdefault(sentence, []).append(name)
    every = len(new["partitions"])
    found = []
    for sentence, names in said.items():
        found += (
            [f"every partition: {sentence}"]
            if len(names) == every
            else [f"partition {name}: {sentence}" for name in names]
        )
    return found


def _compared_objects(old: Mapping[str, Properties], new: Mapping[str, Properties], *, versions: bool) -> list[str]:
    found: list[str] = []
    touched: list[str] = []
    for key in sorted({*old, *new}):
        sentences = list(_compared(key, old.get(key), new.get(key)))
        found += sentences
        if versions and not sentences and old[key].get(VERSION) != new[key].get(VERSION):
            touched.append(key)
    versioned = sum(VERSION in properties for properties in new.values())
    if touched and len(touched) == versioned and not found:
        return [f"all {versioned} objects were made anew with the same definitions: a restore or an upgrade"]
    return found + [f"{key} was changed and put back, or made anew with the same definition" for key in touched]


def _compared_partitions(
    old: Mapping[str, Properties], new: Mapping[str, Properties], around: Surroundings, *, versions: bool
) -> list[str]:
    found = []
    for name, before in sorted(old.items()):
        after, own = new.get(name), range_of(before["bounds"])
        if after is None:
            if own is None or own.end > around.pruned.get(own.chain, 0):
                found.append(f"partition {name} is gone: {_short(before['bounds'])}")
        elif after["bounds"] != before["bounds"]:
            found.append(f"partition {name}: its range was {_short(before['bounds'])}, is {_short(after['bounds'])}")
        elif versions and after[VERSION] != before[VERSION] and after.get("odd") == before.get("odd"):
            found.append(f"partition {name} was changed and put back, rewritten, or made anew")
    return found


def _compared(key: str, old: Properties | None, new: Properties | None) -> Iterable[str]:
    """Sentences for one object; none if only its version differs."""
    if old is None:
        yield f"{key} is new"
    elif new is None:
        yield f"{key} is gone"
    else:
        for name in sorted({*old, *new} - {VERSION}):
            before, after = old.get(name), new.get(name)
            if before != after:
                yield f"{key}: {_change(name, before, after)}"


def _change(name: str, before: Any, after: Any) -> str:
    if isinstance(before, list) and isinstance(after, list):
        gone, added = _listed(before, after), _listed(after, before)
        parts = [f"{name} lost {gone}"] if gone else []
        parts += [f"{name} got {added}"] if added else []
        return ", ".join(parts) or f"{name} is in another order"
    return f"{name} was {_short(before)}, is {_short(after)}"


def _listed(items: Sequence[Any], without: Sequence[Any]) -> str:
    return ", ".join(_short(item) for item in items if item not in without)


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= _MAX_VALUE else text[: _MAX_VALUE - 1] + "…"
