"""docs/reasons.md names every condition and reason that an object can show."""

import re
from pathlib import Path

from quorate.api.conditions import ConditionType, Reason

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs/reasons.md").read_text()
ROWS = re.findall(r"^\| ([A-Z][A-Za-z]+) \| .+ \| .+ \|$", PAGE, re.MULTILINE)
RAISED = re.compile(r'(?:Stalled|Waiting|Transient)\(\s*"([A-Za-z]+)"')
START_UP = {"ForeignDatabase", "SchemaChanged", "SchemaDenied", "SchemaMissing", "SchemaNewer", "SchemaOlder"}
"""Given before any object is looked at: docs/operations.md."""


def test_every_reason_has_a_row() -> None:
    """Each reason stands in a table, once unless a condition has the same name."""
    conditions = {str(item) for item in ConditionType}
    missing = [str(reason) for reason in Reason if str(reason) not in ROWS]
    doubled = {row for row in ROWS if ROWS.count(row) > 1} - conditions
    assert (missing, doubled) == ([], set())


def test_every_condition_has_a_row() -> None:
    """Each condition type stands in the table of conditions."""
    table = PAGE[PAGE.index("## Conditions") : PAGE.index("## Reasons of any kind")]
    assert [str(item) for item in ConditionType if f"| {item} |" not in table] == []


def test_every_error_of_the_operator_has_a_row() -> None:
    """Each error that reconciling can end in has a row; the ones of the start-up check are on the operator's page."""
    sources = (ROOT / "operator/quorate_operator").rglob("*.py")
    raised = {name for path in sources for name in RAISED.findall(path.read_text())}
    operations = (ROOT / "docs/operations.md").read_text()
    assert raised - START_UP - set(ROWS) == set()
    assert [name for name in sorted(START_UP) if f"`{name}`" not in operations] == []


def test_no_row_is_about_nothing() -> None:
    """Whatever the tables explain exists in the code."""
    known = {str(item) for item in (*ConditionType, *Reason)}
    text = "\n".join(path.read_text() for path in (ROOT / "operator/quorate_operator").rglob("*.py"))
    assert [row for row in ROWS if row not in known and f'"{row}"' not in text] == []
