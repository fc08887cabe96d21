"""Who wrote an object, by its managedFields (docs/contracts.md, "Drift").

A field manager is the name that a writer gives itself, so it is a lead and no proof: the API server's audit log has the
user.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Author:
    """The last one who wrote some fields; `time` as the API server wrote it, None where it did not."""

    manager: str
    operation: str
    time: str | None

    def sentence(self) -> str:
        """For people: `kubectl-edit (Update, 2026-11-21T18:00:00Z)`."""
        return f"{self.manager} ({', '.join(item for item in (self.operation, self.time) if item)})"

    def document(self) -> dict[str, str]:
        """As a status shows it."""
        fields = {"manager": self.manager, "operation": self.operation, "time": self.time}
        return {name: value for name, value in fields.items() if value is not None}


def author_of(managed_fields: Sequence[Mapping[str, Any]] | None, *fields: str, except_for: str = "") -> Author | None:
    """The last manager, other than `except_for`, that owns one of the top-level `fields`; None if nobody does.

    Without `fields` it is whoever wrote last. Entries without a time are older than any with one; of several at one
    second the last listed stands.
    """
    owning = [
        entry
        for entry in managed_fields or ()
        if entry.get("manager") != except_for
        and not entry.get("subresource")
        and (not fields or any(f"f:{name}" in (entry.get("fieldsV1") or {}) for name in fields))
    ]
    if not owning:
        return None
    last = max(enumerate(owning), key=lambda item: (str(item[1].get("time") or ""), item[0]))[1]
    manager, operation = str(last.get("manager") or "unknown")[:128], str(last.get("operation") or "Update")
    return Author(manager, operation, last.get("time") or None)
