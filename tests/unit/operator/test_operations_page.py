"""docs/operations.md names every flag and every metric of the operator."""

from pathlib import Path

from quorate_operator.config import _parser
from quorate_operator.http.metrics import REGISTRY

PAGE = (Path(__file__).resolve().parents[3] / "docs/operations.md").read_text()


def test_every_flag_has_a_row() -> None:
    """Each flag stands with its environment twin."""
    flags = [text for action in _parser({})._actions for text in action.option_strings if text.startswith("--")]
    rows = {flag: f"QUORATE_{flag.removeprefix('--').upper().replace('-', '_')}" for flag in flags if flag != "--help"}
    assert [flag for flag, twin in rows.items() if f"| `{flag}` | `{twin}` |" not in PAGE] == []


def test_every_metric_has_a_row() -> None:
    """Each metric stands under the name that a query uses."""
    names = [family.name + ("_total" if family.type == "counter" else "") for family in REGISTRY.collect()]
    assert [name for name in names if f"| `{name}" not in PAGE] == []
