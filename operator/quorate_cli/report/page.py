"""The compliance report as one HTML page: for people, on a screen and on paper."""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from quorate_cli.report.decisions import proposal_section
from quorate_cli.report.html import Html, badge, code, facts, page, table, tag, text, when

Obj = Mapping[str, Any]
_VERDICTS = {
    "Intact": ("good", "Every entry was re-derived from its stored bytes, and a checkpoint from outside confirms all."),
    "Unanchored": ("warn", "Every entry was re-derived and fits, but nothing from outside confirms that this is all."),
    "Tampered": ("bad", "What is stored is not what was sealed. What this report says may be false."),
    "CannotTell": ("bad", "Nothing could be checked."),
}  # fmt: skip
_NOT_VERIFIED = ("warn", "The log was not verified for this report. Read it as what the database says.")


def render(report: Obj) -> str:
    """The page of a report document (schemas/compliance-report.json)."""
    style = files("quorate_cli.report").joinpath("style.css").read_text(encoding="utf-8")
    name = _Names(report["members"])
    return page(
        "Compliance report",
        style,
        *_top(report),
        *_verification(report),
        *_rules(report, name),
        *_decisions(report, name),
        *_votes(report, name),
        *_contracts(report),
        *_refusals(report, name),
        *_people(report, name),
        *_operations(report, name),
        _foot(report),
    )


class _Names:
    """A node by its name and the beginning of its id; other actors as they are."""

    def __init__(self, members: Mapping[str, str]) -> None:
        self._members = members

    def __call__(self, node: Any) -> Html:
        known = self._members.get(str(node))
        return text(node) if known is None else Html(f"{text(known)} {code(str(node)[:8])}")


def where(item: Obj) -> Html:
    """The entry that proves a line: chain and sequence."""
    return Html(f"{code(item['chain'])} #{text(item['sequence'])}")


def _top(report: Obj) -> list[Any]:
    period, refused = report["period"], report["refusals"]["total"]
    end = Html(f" to {when(period['until'] or report['generatedAt'])}, by the time of sealing; all times are UTC")
    changed = [e for c in report["contracts"] for e in c["events"] if e["event"].endswith(".changed")]
    raised = [item for item in report["operations"] if item["event"] == "system.quarantine.raised"]
    accepted = [r for d in report["domains"] for r in d["revisions"] if "revision" in r and not r["before"]]
    cards = [
        (len(report["proposals"]), "proposals"),
        (sum(item["recorded"] for item in report["votes"]), "votes recorded"),
        (refused, "acts refused"),
        (sum(not event["before"] for event in changed), "contract changes"),
        (len(accepted), "constitutions accepted"),
        (len(raised), "quarantines"),
    ]
    return [
        tag("h1", "Compliance report"),
        tag("p", when(period["since"]) if period["since"] else "The whole log", end, css="lead"),
        facts([("Generated", when(report["generatedAt"])), ("Read from", ", ".join(report["sources"]))]),
        _verdict(report["verification"]),
        tag("ul", *(tag("li", tag("b", number), name) for number, name in cards), css="cards"),
    ]


def _verdict(verification: Obj | None) -> Html:
    word = "Not verified" if verification is None else str(verification["verdict"])
    style, sentence = _VERDICTS.get(word, _NOT_VERIFIED)
    return tag("div", tag("strong", f"Log: {word}"), tag("p", sentence), css=f"verdict {style}")


def _verification(report: Obj) -> list[Any]:
    chains = [
        (code(chain["chain"]), chain["entries"], f"{chain['first']} – {chain['last']}", chain["epoch"],
         Html(f"{when(chain['firstSealedAt'])} – {when(chain['lastSealedAt'])}"))
        for chain in report["chains"]
    ]  # fmt: skip
    parts: list[Any] = [
        tag("h2", "The log"),
        tag("h3", "Entries in the period"),
        table(("chain", "entries", "sequence", "epoch", "sealed"), chains),
    ]
    verification = report["verification"]
    if verification is not None:
        parts += [tag("h3", "Verification"), table(_CHECKED, map(_checked, verification["chains"]))]
        faults = [item["fault"] for item in verification["chains"] if item.get("fault")]
        parts += [tag("p", badge("fault", "bad"), " ", _fault(fault)) for fault in faults]
    if report["guards"]:
        rows = [(item["source"], _guard(item["ddlGuard"]), _guard(item["pgaudit"])) for item in report["guards"]]
        parts += [tag("h3", "Guards of the database"), table(("database", "ddlGuard", "pgaudit"), rows)]
    return parts


def _guard(there: bool) -> Html:
    return badge("yes", "good") if there else badge("no", "warn")


_CHECKED = ("chain", "verdict", "checked", "anchored", "witnesses", "root")


def _checked(chain: Obj) -> tuple[Any, ...]:
    style = _VERDICTS.get(str(chain["verdict"]), _NOT_VERIFIED)[0]
    return (code(chain["chain"]), badge(chain["verdict"], style), chain["checked"], chain.get("anchoredSize"),
            chain.get("witnesses"), code(chain.get("root")))  # fmt: skip


def _fault(fault: Obj) -> str:
    place = "" if fault.get("sequence") is None else f", entry {fault['sequence']}"
    return f"{fault.get('chainId')}{place}: {fault.get('phase')}: {fault.get('message')}"


def _rules(report: Obj, name: _Names) -> list[Any]:
    parts: list[Any] = [tag("h2", "Rules in force")]
    for domain in report["domains"]:
        parts.append(tag("h3", code(domain["chain"])))
        parts += [_revision(item, name) if "revision" in item else _announced(item) for item in domain["revisions"]]
    return parts if report["domains"] else [*parts, tag("p", "No constitution was accepted.", css="none")]


def _announced(item: Obj) -> Html:
    return tag("p", badge(item["event"], "warn"), " ", when(item["at"]), " ", where(item))


def _revision(item: Obj, name: _Names) -> Html:
    said = "in force when the period began, accepted" if item["before"] else "accepted"
    return tag(
        "div",
        tag("h4", f"Revision {item['revision']}, {said} ", when(item["at"])),
        facts([
            ("Entry", where(item)),
            ("Digest", code(item["digest"])),
            ("Authorised by", f"{item['authority']}{' (first use, not pinned)' if item['firstUse'] else ''}"),
            ("Proposal", code(item["proposalDigest"]) if item["proposalDigest"] else None),
            ("Admins", f"{', '.join(item['admins'])} (threshold {item['adminThreshold']})" if item["admins"] else None),
        ]),
        table(
            ("member", "role", "weight", Html("")),
            ((name(m.get("nodeId")), m.get("role"), m.get("weight"), _standing(m)) for m in item["members"]),
        ) if item["members"] else tag("p", "The statement itself is not in the sources.", css="none"),
    )  # fmt: skip


def _standing(member: Obj) -> Any:
    words = [word for word in ("learner", "suspended") if member.get(word)]
    return badge(", ".join(words), "warn") if words else Html("")


def _decisions(report: Obj, name: _Names) -> list[Any]:
    outcomes = ", ".join(f"{count} {word}" for word, count in report["outcomes"].items())
    proposals = [proposal_section(item, name) for item in report["proposals"]]
    return [tag("h2", "Decisions"), tag("p", outcomes or "No proposal in this period.", css="lead"), *proposals]


def _votes(report: Obj, name: _Names) -> list[Any]:
    columns = ("approve", "reject", "abstain", "veto", "retract")
    rows = [
        (name(item["member"]), code(item["chain"]), item["recorded"], *(item[c] for c in columns), item["refused"])
        for item in report["votes"]
    ]
    return [tag("h2", "Votes by member"), table(("member", "chain", "recorded", *columns, "refused"), rows)]


def _contracts(report: Obj) -> list[Any]:
    parts: list[Any] = [tag("h2", "Contracts")]
    for contract in report["contracts"]:
        parts.append(tag("h3", contract["name"], " ", code(contract["contractId"])))
        parts += [_contract_event(event) for event in contract["events"]]
    return parts if report["contracts"] else [*parts, tag("p", "Nothing in this period.", css="none")]


def _contract_event(event: Obj) -> Html:
    verb = str(event["event"]).rpartition(".")[2]
    style = {"drifted": "bad", "restored": "warn", "changed": "good"}.get(verb, "dim")
    before = " (before the period)" if event["before"] else Html("")
    shown = [("Old digest", "oldDigest"), ("New digest", "newDigest"), ("Held instead", "heldDigest"),
             ("Proposal", "proposalDigest"), ("Evidence", "evidenceDigest")]  # fmt: skip
    return tag(
        "div",
        tag("h4", badge(verb, style), " ", when(event["at"]), before),
        facts([
            ("Version", event["version"]),
            ("Clauses", ", ".join(event["clauses"]) or None),
            *((label, code(event[key]) if event[key] else None) for label, key in shown),
            ("Message", event["message"]),
            ("Entry", where(event)),
        ]),
    )  # fmt: skip


def _refusals(report: Obj, name: _Names) -> list[Any]:
    refusals = report["refusals"]
    by_reason = [(item["event"], item["reason"], item["count"]) for item in refusals["byReason"]]
    rows = [
        (when(item["at"]), where(item), f"{item.get('kind')}/{item.get('name')}", name(item.get("actor")),
         Html(f"{code(item.get('reason'))} {text(item.get('message') or ' ')}"))
        for item in refusals["last"]
    ]  # fmt: skip
    rest = refusals["total"] - len(rows)
    return [
        tag("h2", "Refused acts"),
        table(("event", "reason", "count"), by_reason),
        *(
            [table(("sealed", "entry", "object", "actor", "reason"), ([*r[:4], Html(r[4])] for r in rows))]
            if rows
            else []
        ),
        *([tag("p", f"{rest} earlier ones are counted above and not listed.", css="none")] if rest else []),
    ]


def _people(report: Obj, name: _Names) -> list[Any]:
    def rows(items: list[Obj]) -> list[tuple[Any, ...]]:
        return [
            (when(item["at"]), where(item), item["event"], name(item.get("actor")),
             item.get("type") or item.get("name"),
             " ".join(str(item[key]) for key in ("reason", "message") if item.get(key)))
            for item in items
        ]  # fmt: skip

    heading = ("sealed", "entry", "event", "actor", "what", "said")
    return [
        tag("h2", "Attestations"), table(heading, rows(report["attestations"])),
        tag("h2", "Nodes"), table(heading, rows(report["nodes"])),
    ]  # fmt: skip


def _operations(report: Obj, name: _Names) -> list[Any]:
    rows = [
        (when(item["at"]), where(item), item["event"], name(item.get("actor")), _detail(item["detail"]))
        for item in report["operations"]
    ]
    return [
        tag("h2", "Operations"),
        tag("p", "Quarantines, failed verifications, changes of the catalogue, pruning, erasures.", css="lead"),
        table(("sealed", "entry", "event", "actor", "detail"), rows),
    ]  # fmt: skip


def _detail(detail: Obj) -> Html:
    lines = [f"{key}: {value}" for key, value in detail.items() if value not in (None, "", [], {})]
    return Html("<br>".join(text(line[:400]) for line in lines)) if lines else text(None)


def _foot(report: Obj) -> Html:
    return tag(
        "footer",
        tag("p", "Each line names the entry that says it: chain and sequence. To check one on a machine with neither "
            "cluster nor database: ", code("quorate audit prove CHAIN/SEQUENCE -o bundle.json"), " and ",
            code("quorate audit verify bundle.json"), ". To check a decision with every vote: ",
            code("quorate proposal verify"), " on the evidence that its digest names."),
        tag("p", f"Format {report['format']}."),
    )  # fmt: skip
