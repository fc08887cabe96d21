"""Difference of two contents, clause by clause and field by field (governance.md, "Contracts")."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from quorate.canonical import canonical_bytes
from quorate.contracts.content import Content, clause_order
from quorate.contracts.form import SURFACES
from quorate.contracts.surfaces import STATES


class Kind(StrEnum):
    """What happened to a part."""

    ADDED = "Added"
    REMOVED = "Removed"
    CHANGED = "Changed"


@dataclass(frozen=True)
class FieldChange:
    """One member of a part; None on a side where it is absent. JSON values."""

    field: str
    before: Any
    after: Any


@dataclass(frozen=True)
class PartChange:
    """One clause (its id) or `surfaces/<state>` that differs."""

    part: str
    kind: Kind
    fields: tuple[FieldChange, ...]

    def sentence(self) -> str:
        """For people: `clause 2.1 Changed: text`."""
        name = self.part if self.part.startswith(SURFACES) else f"clause {self.part}"
        if self.kind is Kind.CHANGED:
            return f"{name} {self.kind}: {', '.join(change.field for change in self.fields)}"
        return f"{name} {self.kind}"

    def document(self) -> dict[str, Any]:
        """As JSON."""
        fields = [{"field": item.field, "before": item.before, "after": item.after} for item in self.fields]
        return {"part": self.part, "kind": str(self.kind), "fields": fields}


def compare(before: Content, after: Content) -> list[PartChange]:
    """What differs, clauses in numeric order and then the surfaces in ascending state; empty: nothing."""
    names = sorted({*before.clauses, *after.clauses}, key=clause_order)
    found = [_part(name, before.clauses.get(name), after.clauses.get(name)) for name in names]
    low, high = before.surfaces or {}, after.surfaces or {}
    found += [_part(f"{SURFACES}/{state}", low.get(state), high.get(state)) for state in STATES]
    return [change for change in found if change is not None]


def _part(name: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> PartChange | None:
    if before is None and after is None:
        return None
    low, high = before or {}, after or {}
    fields = tuple(
        FieldChange(field, low.get(field), high.get(field))
        for field in sorted({*low, *high})
        if canonical_bytes(low.get(field)) != canonical_bytes(high.get(field)) or (field in low) != (field in high)
    )
    if before is not None and after is not None:
        return PartChange(name, Kind.CHANGED, fields) if fields else None
    return PartChange(name, Kind.ADDED if before is None else Kind.REMOVED, fields)


def json_patch(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Field-by-field operations (add, replace, remove) that lead from one clause to another, in field order.

    None stands for an absent clause: creating is one add at "", removing one replace at "" with null (api.md).
    """
    if before is None or after is None:
        if before is after:
            return []
        return [
            {"op": "add" if before is None else "replace", "path": "", "value": None if after is None else dict(after)}
        ]
    operations: list[dict[str, Any]] = []
    for field in sorted({*before, *after}):
        path = "/" + field.replace("~", "~0").replace("/", "~1")
        if field not in after:
            operations.append({"op": "remove", "path": path})
        elif field not in before or canonical_bytes(before[field]) != canonical_bytes(after[field]):
            operations.append({"op": "replace" if field in before else "add", "path": path, "value": after[field]})
    return operations
