"""The slim in-memory view of what is watched, with relations as plain indexes.

It holds raw dicts as the API server sent them, less what no decision reads (`managedFields`, the last-applied
annotation, the text of content ConfigMaps: only its digest is kept, as `contentDigest`). Objects in it are never
mutated; a fold replaces them. One asyncio loop owns it: no locks.
"""

import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from quorate.canonical import digest_of_bytes
from quorate.conflicts.detect import target_key
from quorate_operator.kube.resources import Key, Obj, key_of

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
Index = Callable[[Obj], Iterable[str]]
OPEN_PHASES = ("Voting", "EmergencyExecuted")
"""Phases in which votes may still change the outcome."""
MAX_RIVALS = 32
"""Rivals that a proposal's status names."""


def _at(*path: str) -> Index:
    """An index by the string at a path; absent or empty values are not indexed."""

    def values(obj: Obj) -> Iterable[str]:
        value: Any = obj
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        if isinstance(value, str):
            return (value,) if value else ()
        return [item for item in value if isinstance(item, str)] if isinstance(value, list) else ()

    return values


_PROPOSAL = _at("spec", "proposal", "digest")


def _open_on(obj: Obj) -> Iterable[str]:
    """What an open proposal changes."""
    shown = (obj.get("status") or {}).get("phase") in OPEN_PHASES
    return (target_key(obj["spec"]["target"]),) if shown else ()


def _rivals(obj: Obj) -> list[str]:
    """Digests of the rivals that a proposal's warning names."""
    return [item["digest"] for item in (obj.get("status") or {}).get("conflicts") or () if item.get("digest")]


def _unwarned(obj: Obj) -> Iterable[str]:
    """What an open proposal changes whose warning has room for another rival."""
    return _open_on(obj) if len(_rivals(obj)) < MAX_RIVALS else ()


def _uncounted(obj: Obj) -> Iterable[str]:
    """The proposal of a vote of which it was not said yet whether it counts."""
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return () if any(item["type"] == "Counted" for item in conditions) else _PROPOSAL(obj)


def _proposed(obj: Obj) -> Iterable[str]:
    """Who proposed an open proposal, where, of which type."""
    spec = obj["spec"]
    shown = (obj.get("status") or {}).get("phase") in OPEN_PHASES
    return (proposed_by(spec),) if shown else ()


def proposed_by(spec: Mapping[str, Any]) -> str:
    """The value of index `proposed`."""
    return f"{spec['trustDomain']}/{spec['proposer']}/{spec['type']}"


def _awaits(obj: Obj) -> Iterable[str]:
    """Digests of the parties of a conflict that is not open."""
    is_open = "openedAt" in (obj.get("status") or {})
    return () if is_open else [party["digest"] for party in obj["spec"]["parties"]]


def _waits(obj: Obj) -> Iterable[str]:
    """Why a conflict does not go on yet."""
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return [item["reason"] for item in conditions if item["type"] == "Reconciling" and item["status"] == "True"]


INDEXES: Mapping[str, Mapping[str, Index]] = {
    "MeshNode": {"nodeId": _at("spec", "nodeId"), "domain": _at("spec", "trustDomains")},
    "DynamicContract": {"domain": _at("spec", "trustDomain"), "contractId": _at("spec", "genesis", "contractId")},
    "GovernanceProposal": {
        "domain": _at("spec", "trustDomain"),
        "domains": _at("spec", "domains"),
        "digest": _at("status", "digest"),
        "target": _at("spec", "target", "name"),
        "open": _open_on,
        "unwarned": _unwarned,
        "proposed": _proposed,
        "rival": _rivals,
    },
    "PolicyConflict": {
        "digest": _at("status", "digest"),
        "domain": _at("spec", "domain"),
        "awaits": _awaits,
        "waits": _waits,
    },
    "Vote": {
        "proposal": _PROPOSAL,
        "uncounted": _uncounted,
        "signature": _at("spec", "signature"),
        "voter": _at("spec", "voter"),
    },
    "Attestation": {
        "domain": _at("spec", "domain"),
        "attester": _at("spec", "attester"),
        "subject": _at("spec", "subject", "digest"),
        "about": _at("spec", "subject", "name"),
        "type": _at("spec", "type"),
    },
    "ContractSync": {"contract": _at("spec", "contract")},
    "Lease": {"namespace": _at("metadata", "namespace"), "name": _at("metadata", "name")},
    "ConfigMap": {"digest": _at("contentDigest")},
}
"""kind → index name → values of an object under it."""


def slim(obj: Obj) -> Obj:
    """A copy without what no decision reads; nothing below the copied levels is changed."""
    meta = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    annotations = meta.get("annotations")
    if annotations and _LAST_APPLIED in annotations:
        meta["annotations"] = {name: value for name, value in annotations.items() if name != _LAST_APPLIED}
    result = {**obj, "metadata": meta}
    if obj.get("kind") == "Vote":  # of which there are many, nearly alike
        result = once(result)
    if obj.get("kind") == "ConfigMap":
        content = (result.pop("data", None) or {}).get("content")
        result.pop("binaryData", None)
        result["contentDigest"] = digest_of_bytes(content.encode()) if isinstance(content, str) else ""
    return result


def once(value: Any) -> Any:
    """A copy in which equal strings are one object, wherever in the process they came from."""
    if isinstance(value, str):
        return sys.intern(value)
    if isinstance(value, Mapping):
        return {sys.intern(name): once(item) for name, item in value.items()}
    return [once(item) for item in value] if isinstance(value, list) else value


def _version(obj: Obj) -> int:
    text = obj["metadata"].get("resourceVersion", "")
    return int(text) if text.isdecimal() else 0


class View:
    """Objects by key, and keys by index value."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[Key, Obj]] = defaultdict(dict)
        self._indexes: dict[tuple[str, str], dict[str, set[Key]]] = defaultdict(lambda: defaultdict(set))

    def fold(self, raw: Obj) -> bool:
        """Take in a watched or written object; False if the view already has this or a later version of it.

        Versions of one object are compared as integers, so that the answer to our own write and the late watch
        event before it cannot overtake each other.
        """
        key = key_of(raw)
        old = self._objects[key.kind].get(key)
        if (
            old is not None
            and old["metadata"].get("uid") == raw["metadata"].get("uid")
            and _version(raw) <= _version(old)
        ):
            return False
        new = slim(raw)
        self._unindex(key, old)
        self._objects[key.kind][key] = new
        for name, values in INDEXES.get(key.kind, {}).items():
            for value in values(new):
                self._indexes[key.kind, name][value].add(key)
        return True

    def remove(self, key: Key, uid: str | None = None) -> Obj | None:
        """Forget a deleted object (only if it still is the one with this uid); its last known state, if any."""
        old = self._objects[key.kind].get(key)
        if old is None or (uid is not None and old["metadata"].get("uid") != uid):
            return None
        self._unindex(key, old)
        return self._objects[key.kind].pop(key)

    def retain(self, kind: str, listed: set[Key], version: int) -> None:
        """Forget objects that a listing made at this resource version does not have; later ones stay."""
        for key in [key for key in self._objects[kind] if key not in listed]:
            if _version(self._objects[kind][key]) <= version:
                self.remove(key)

    def get(self, key: Key) -> Obj | None:
        """The object, or None. Treat it as frozen."""
        return self._objects[key.kind].get(key)

    def keys(self, kind: str) -> list[Key]:
        """All keys of a kind, sorted."""
        return sorted(self._objects[kind])

    def all(self, kind: str) -> Iterator[Obj]:
        """All objects of a kind, in no particular order."""
        return iter(self._objects[kind].values())

    def kinds(self) -> list[str]:
        """Kinds of which objects were seen."""
        return list(self._objects)

    def count(self, kind: str) -> int:
        """How many objects of a kind there are."""
        return len(self._objects[kind])

    def by(self, kind: str, index: str, value: str) -> list[Key]:
        """Keys of a kind under an index value (`INDEXES`), sorted."""
        if index not in INDEXES.get(kind, {}):
            raise KeyError(f"no index {index!r} on {kind}")
        return sorted(self._indexes[kind, index].get(value, ()))

    def each(self, kind: str, index: str, value: str) -> Iterator[Key]:
        """The keys of `by` in no order: what is enough where the first few do."""
        return iter(self._indexes[kind, index].get(value, ()))

    def together(self, key: Key) -> Iterator[Key]:
        """Keys that are better looked at with this one: of a vote those on its proposal that nobody counted yet."""
        obj = self.get(key) if key.kind == "Vote" else None
        for digest in () if obj is None else _PROPOSAL(obj):
            yield from self.each("Vote", "uncounted", digest)

    def _unindex(self, key: Key, old: Obj | None) -> None:
        if old is None:
            return
        for name, values in INDEXES.get(key.kind, {}).items():
            entries = self._indexes[key.kind, name]
            for value in values(old):
                entries[value].discard(key)
                if not entries[value]:
                    del entries[value]
