"""Who wrote around the vote (docs/contracts.md, "Drift")."""

from typing import Any

import pytest

from quorate.contracts.author import author_of
from quorate.contracts.content import Content
from quorate.contracts.drift import Remedy, detect

GENESIS = {
    "contractId": "6b1b36cb-1111-4222-8333-444455556666",
    "version": "v2026.01.05",
    "clauses": {"1": {"text": "One."}, "2": {"text": "Two."}},
}
CONTENT = Content.genesis(GENESIS)


def entry(manager: str, time: str | None, *fields: str, **more: Any) -> dict[str, Any]:
    named = {f"f:{name}": {} for name in fields}
    return {"manager": manager, "operation": "Update", "time": time, "fieldsV1": named, **more}


@pytest.mark.parametrize(
    ("managed", "fields", "manager"),
    [
        ([], ("data",), None),
        (None, ("data",), None),
        ([entry("a", "2026-01-01T00:00:00Z", "data")], ("data",), "a"),
        ([entry("a", "2026-01-01T00:00:00Z", "data"), entry("b", "2026-01-02T00:00:00Z", "data")], ("data",), "b"),
        ([entry("b", "2026-01-02T00:00:00Z", "data"), entry("a", "2026-01-01T00:00:00Z", "data")], ("data",), "b"),
        ([entry("a", None, "data"), entry("b", "2026-01-02T00:00:00Z", "metadata")], ("data",), "a"),
        ([entry("a", None, "data"), entry("b", "2026-01-02T00:00:00Z", "metadata")], (), "b"),
        ([entry("a", "2026-01-01T00:00:00Z", "data", subresource="status")], ("data",), None),
        ([entry("ours", "2026-01-02T00:00:00Z", "data")], ("data",), None),
        ([{}], (), "unknown"),
    ],
)
def test_author(managed: Any, fields: tuple[str, ...], manager: str | None) -> None:
    """The last owner of the fields, other than the operator itself; whatever is missing is unknown, not an error."""
    found = author_of(managed, *fields, except_for="ours")
    assert (found.manager if found else None) == manager


def test_a_report_names_clause_author_and_consequence() -> None:
    """The sentence says what differs, who wrote it, and what follows by the domain's rule."""
    altered = Content.genesis({**GENESIS, "clauses": {"1": {"text": "Won."}}})
    author = author_of([entry("kubectl-edit", "2026-01-02T00:00:00Z", "data")], "data")
    drift = detect(CONTENT, altered.data, author=author)
    assert drift is not None
    assert drift.names == ["1", "2"]
    for remedy, follows in ((Remedy.RESTORE, "is restored"), (Remedy.REPORT, "report only")):
        sentence = drift.report(remedy)
        for part in (
            "clause 1 Changed: text",
            "clause 2 Removed",
            "kubectl-edit (Update, 2026-01-02T00:00:00Z)",
            follows,
        ):
            assert part in sentence


def test_what_keeps_its_bytes_may_be_loose() -> None:
    """The same bytes without label or immutability are drift too; nothing at all has no author but the audit log."""
    assert detect(CONTENT, CONTENT.data) is None
    loose = detect(CONTENT, CONTENT.data, loosened=("it is not immutable",))
    assert loose is not None
    assert "not immutable" in loose.report()
    gone = detect(CONTENT, None)
    assert gone is not None
    assert "audit log" in gone.report()
