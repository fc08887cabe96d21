"""One proposal on the page of the compliance report."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from quorate_cli.report.html import Html, badge, code, facts, table, tag, text, when

Obj = Mapping[str, Any]
Name = Callable[[Any], Html]
_STYLES = {"Adopted": "good", "EmergencyExecuted": "warn", "Rejected": "bad", "Reversed": "warn", "Vetoed": "bad"}
_PARTS = ("approve", "reject", "veto", "abstain", "outstanding")
_LONGEST_CHANGE = 4000


def proposal_section(item: Obj, name: Name) -> Html:
    """Everything the report knows of a proposal."""
    outcome = item["outcome"]
    word = outcome or ("Superseded" if "superseded" in item else "Undecided")
    target = item["target"]
    aim = [target.get("kind"), target.get("name"), target.get("clause") or target.get("section")]
    executed = item.get("executed") or {}
    return tag(
        "div",
        tag("h3", f"{item['namespace']}/{item['name']} ", badge(word, _STYLES.get(str(outcome), "dim")),
            f" {item['reason'] or ''}"),
        facts([
            ("Type", item["type"]),
            ("Target", " ".join(str(part) for part in aim if part) or None),
            ("Proposer", name(item["proposer"])),
            ("Opened", _at(item.get("openedAt"))),
            ("Decided", _at(item.get("decidedAt"))),
            ("Executed", _at(executed.get("at"))),
            ("Not executed", _failure(item.get("notExecuted"))),
            ("Superseded by", code(item["superseded"].get("by")) if "superseded" in item else None),
            ("Digest", code(item["digest"])),
            ("Evidence", code(executed["evidenceDigest"]) if executed.get("evidenceDigest") else None),
            ("Entries", Html(", ".join(f"{code(step['event'])} #{step['sequence']}" for step in item["steps"]))),
            ("Votes recorded", f"{item['recordedVotes']}, {item['refusedVotes']} refused"),
        ]),
        *_change(item["change"]),
        *_numbers(item.get("numbers"), name, decided=outcome is not None),
        *_acts(item["acts"], name),
        css="proposal",
    )  # fmt: skip


def _at(moment: Any) -> Html | None:
    return when(moment) if moment else None


def _failure(detail: Obj | None) -> str | None:
    if detail is None:
        return None
    return " ".join(str(detail[key]) for key in ("at", "reason", "message") if detail.get(key))


def _change(change: Any) -> list[Html]:
    if not change:
        return []
    shown = json.dumps(change, indent=1, ensure_ascii=False)
    more = " …" if len(shown) > _LONGEST_CHANGE else Html("")
    lines = Html("\n".join(text(line) for line in shown[:_LONGEST_CHANGE].split("\n") if line))
    return [tag("h4", "Change"), tag("pre", lines, more)]


def _numbers(numbers: Obj | None, name: Name, *, decided: bool) -> list[Html]:
    if numbers is None:
        return [tag("p", "The outcome document is not in the sources.", css="none")] if decided else []
    parts = []
    if numbers.get("sums"):
        parts += [tag("h4", "Numbers"), _bar(numbers["sums"], (numbers.get("electorate") or {}).get("totalWeight"))]
    tests = [(t.get("name"), t.get("left"), t.get("right"), t.get("holds")) for t in numbers.get("tests") or ()]
    parts.append(table(("test", "left", "right", "holds"), tests))
    parts += [tag("h4", "Votes as they counted"), _ballots(numbers.get("votes") or (), name)]
    for domain, part in (numbers.get("domains") or {}).items():
        parts += [tag("h4", f"In {domain}"), *_numbers(part, name, decided=True)]
    return parts


def _bar(sums: Obj, total: Any) -> Html:
    whole = int(total or 0) or 1
    widths = [(part, max(0, min(100, 100 * int(sums.get(part) or 0) / whole))) for part in _PARTS]
    segments = Html("".join(f'<i class="{part}" style="width:{width:.3f}%"></i>' for part, width in widths))
    said = ", ".join(f"{part} {sums.get(part)}" for part in _PARTS)
    return tag("div", tag("div", segments, css="bar"), tag("p", f"{said}; total weight {total}"))


def _ballots(votes: Sequence[Obj], name: Name) -> Html:
    rows = [
        (when(vote.get("time")), name(vote.get("voter")), vote.get("keyName"), vote.get("choice"), vote.get("weight"),
         "counted" if vote.get("counted") else Html(f"not counted: {text(vote.get('reason'))}"))
        for vote in votes
    ]  # fmt: skip
    return table(("recorded", "member", "key", "choice", "weight", Html("")), rows)


def _acts(acts: Sequence[Obj], name: Name) -> list[Html]:
    if not acts:
        return []
    rows = [
        (when(act["at"]), act["act"], name(act["by"]), "accepted" if act["accepted"] else "refused") for act in acts
    ]
    return [tag("h4", "Acts"), table(("sealed", "act", "by", Html("")), rows)]
