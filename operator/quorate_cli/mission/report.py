"""What a test prints: a line for one that passed, a diff for one that did not."""

from typing import Any

from quorate_cli.mission.compare import shape
from quorate_cli.mission.run import Result
from quorate_cli.output import paint

_STYLES = {"-": "bad", "+": "warn"}


def title(result: Result) -> str:
    """File and name."""
    return f"{result.file}: {result.name}" if result.name else result.file


def as_text(result: Result, *, verbose: bool) -> str:
    """One line, or the whole diff."""
    head = f"{paint('PASS', 'good') if result.passed else paint('FAIL', 'bad')} {title(result)}"
    if result.passed and not verbose:
        return head
    lines = [f"{item.kind} {item.text}" for item in result.differences]
    painted = [paint(text, _STYLES[text[0]]) if text[0] in _STYLES else text for text in lines]
    missing = sum(item.kind == "-" for item in result.differences)
    extra = sum(item.kind == "+" for item in result.differences)
    foot = [] if result.passed else [f"  {missing} expected and missing (-), {extra} not expected (+)"]
    return "\n".join([head, *(f"  {text}" for text in painted), *foot])


def as_json(result: Result) -> dict[str, Any]:
    """The result for machines."""
    return {
        "file": result.file,
        "name": result.name,
        "passed": result.passed,
        "missing": [item.text for item in result.differences if item.kind == "-"],
        "unexpected": [item.text for item in result.differences if item.kind == "+"],
        "decisions": [shape(made) for made in result.decisions],
        "findings": [finding.message for finding in result.findings],
        "freedDeviceSeconds": {policy: freed // 1_000_000 for policy, freed in result.freed.items()},
    }
