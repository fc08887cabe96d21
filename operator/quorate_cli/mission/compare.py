"""Expected against actual decisions: aligned in order, every field that the file names compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quorate.missions.decisions import Decision
from quorate.missions.refusal import PolicyRefusedError
from quorate.missions.selection import Finding
from quorate_cli.mission.values import duration, known, shown

Obj = dict[str, Any]
FIELDS = frozenset({
    "at", "step", "effect", "policy", "rule", "mode", "action", "pod", "gpu", "rung", "severity", "hold", "attempt",
    "strategy", "evidence", "statistic", "within", "clause", "version",
})  # fmt: skip
FINDING_FIELDS = frozenset({"rule", "winner", "loser", "contradiction"})


@dataclass(frozen=True)
class Difference:
    """One line: `-` expected and missing, `+` happened and not expected, ` ` both."""

    kind: str
    text: str


def shape(made: Decision) -> Obj:
    """A decision as files and JSON write it; fields that do not apply are left out."""
    subject = "pod" if made.uid else "gpu"
    fields = {
        "at": shown(made.at),
        "step": str(made.step),
        "action": made.action,
        "effect": str(made.effect),
        "policy": made.policy,
        "rule": None if made.rule is None else str(made.rule),
        "mode": str(made.mode),
        subject: made.subject,
        "rung": None if made.rung < 0 else made.rung,
        "severity": None if made.severity is None else made.severity.name.capitalize(),
        "hold": None if made.hold is None else str(made.hold),
        "attempt": None if made.attempt == 1 else made.attempt,
        "strategy": made.strategy,
        "statistic": made.statistic,
        "evidence": dict(made.evidence),
        "reaction": shown(made.reaction),
        "clause": made.clause,
        "version": made.version,
        "id": made.id,
    }
    return {name: value for name, value in fields.items() if value not in (None, "", {})}


def matches(expected: Obj, made: Decision) -> bool:
    """Whether every field that is named is as it says."""
    actual = shape(made)
    for name, value in expected.items():
        if name == "at":
            if duration("expect.at", value) != made.at:
                return False
        elif name == "within":
            if made.reaction > duration("expect.within", value):
                return False
        elif name == "evidence":
            evidence = dict(made.evidence)
            if any(evidence.get(key) != item for key, item in value.items()):
                return False
        elif actual.get(name) != value:
            return False
    return True


def compare(expected: Sequence[Obj], decisions: Sequence[Decision]) -> list[Difference]:
    """The longest alignment in order; what does not fit is told on both sides."""
    for item in expected:
        known("expect", item, FIELDS)
    rows, columns = len(expected), len(decisions)
    fits = [[matches(item, made) for made in decisions] for item in expected]
    best = [[0] * (columns + 1) for _ in range(rows + 1)]
    for row in range(rows - 1, -1, -1):
        for column in range(columns - 1, -1, -1):
            here = best[row + 1][column + 1] + 1 if fits[row][column] else 0
            best[row][column] = max(here, best[row + 1][column], best[row][column + 1])
    found: list[Difference] = []
    row = column = 0
    while row < rows or column < columns:
        if row < rows and column < columns and fits[row][column]:
            found.append(Difference(" ", line(shape(decisions[column]))))
            row, column = row + 1, column + 1
        elif column == columns or (row < rows and best[row + 1][column] >= best[row][column + 1]):
            found.append(Difference("-", line(expected[row])))
            row += 1
        else:
            found.append(Difference("+", line(shape(decisions[column]))))
            column += 1
    return found


def line(fields: Mapping[str, Any]) -> str:
    """A decision on one line: time, step, action, subject, rule, then the rest by name."""
    first = [str(fields[name]) for name in ("at", "step", "action", "pod", "gpu", "rule") if name in fields]
    shown_already = {"at", "step", "action", "pod", "gpu", "rule", "id", "statistic"}
    rest = [f"{name}={_short(value)}" for name, value in fields.items() if name not in shown_already]
    return " ".join([*first, *rest])


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {item}" for name, item in value.items()) + "}"
    return str(value)


def compare_refused(expected: Mapping[str, str], refused: Mapping[str, PolicyRefusedError]) -> list[Difference]:
    """Policies that must be refused, by a sentence that holds the given words."""
    found = []
    for name, words in expected.items():
        error = refused.get(name)
        if error is not None and words in str(error):
            found.append(Difference(" ", f"policy {name} refused: {error}"))
        else:
            found.append(Difference("-", f"policy {name} refused: {words}"))
            if error is not None:
                found.append(Difference("+", f"policy {name} refused: {error}"))
    return found


def compare_findings(expected: Sequence[Obj] | None, findings: Sequence[Finding]) -> list[Difference]:
    """Overlaps and contradictions, where the file says anything about them."""
    if expected is None:
        return []
    left = list(findings)
    found = []
    for item in expected:
        known("expectFindings", item, FINDING_FIELDS)
        match = next((finding for finding in left if _is(item, finding)), None)
        if match is None:
            found.append(Difference("-", f"finding {line(item)} {_short(item)}"))
        else:
            left.remove(match)
            found.append(Difference(" ", f"finding: {match.message}"))
    return found + [Difference("+", f"finding: {finding.message}") for finding in left]


def _is(expected: Obj, finding: Finding) -> bool:
    return all(getattr(finding, name) == value for name, value in expected.items())
