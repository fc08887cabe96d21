"""`quorate proposal list|show`: where proposals are in their lives, once or as it changes."""

import json
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer

from quorate_cli.options import Kubeconfig, Namespace, Output, Sandbox
from quorate_cli.output import Column, Format, emit_objects, show_fields, show_table, tell
from quorate_cli.sources import Sources
from quorate_cli.watching import Watch, each, readings

Obj = dict[str, Any]
Follow = Annotated[bool, typer.Option("--watch", "-w", help="Go on: a line for each change, until it is over.")]
_OPEN = ("Draft", "Voting", "Adopted", "Conflict", "EmergencyExecuted")
"""Phases after which something follows."""


def list_(
    namespace: Namespace = None,
    everywhere: Annotated[bool, typer.Option("--all-namespaces", "-A", help="Of every namespace.")] = False,
    only_open: Annotated[bool, typer.Option("--open", help="Only those after which something follows.")] = False,
    watch: Watch = False,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """List proposals, those that end first above."""
    sources = Sources((), kubeconfig, sandbox)
    where = "" if everywhere else sources.namespace(namespace)

    def read() -> list[Obj]:
        found = sources.cluster.list("GovernanceProposal", where)
        found = [item for item in found if not only_open or _status(item).get("phase", "Draft") in _OPEN]
        return sorted(found, key=lambda item: (str(_status(item).get("votingEnds") or "-"), item["metadata"]["name"]))

    each(lambda: readings(read), lambda found: _list(found, everywhere, output), watch=watch, output=output)


def _list(found: list[Obj], everywhere: bool, output: Format) -> None:
    if output in (Format.JSON, Format.YAML, Format.NAME):
        emit_objects(found, output)
        return
    columns = [*([_NAMESPACE] if everywhere else ()), *(_LIST if output is Format.WIDE else _LIST[:7])]
    show_table(columns, found)


def _status(proposal: Obj) -> Obj:
    return dict(proposal.get("status") or {})


_NAMESPACE: Column = ("namespace", lambda item: item["metadata"]["namespace"])
_LIST: list[Column] = [
    ("name", lambda item: item["metadata"]["name"]),
    ("type", lambda item: item["spec"]["type"]),
    ("phase", lambda item: _status(item).get("phase")),
    ("reason", lambda item: _status(item).get("reason")),
    ("ends", lambda item: _status(item).get("votingEnds")),
    ("approve", lambda item: (_status(item).get("tally") or {}).get("approve")),
    ("outstanding", lambda item: (_status(item).get("tally") or {}).get("outstanding")),
    ("domain", lambda item: item["spec"]["trustDomain"]),
    ("target", lambda item: item["spec"]["target"]["name"]),
    ("part", lambda item: item["spec"]["target"].get("clause") or item["spec"]["target"].get("section")),
]


def show(
    name: Annotated[str, typer.Argument(help="Name of the GovernanceProposal.")],
    namespace: Namespace = None,
    watch: Follow = False,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Show where a proposal is in its life, every number of its tally, and its votes."""
    sources = Sources((), kubeconfig, sandbox)
    where = sources.namespace(namespace)
    if watch:
        _follow(sources, name, where, output)
        return
    proposal = sources.cluster.get("GovernanceProposal", name, where)
    if output in (Format.JSON, Format.YAML, Format.NAME):
        proposal["metadata"].pop("managedFields", None)
        emit_objects([proposal], output)
        return
    _show(proposal)
    digest = (proposal.get("status") or {}).get("digest")
    if digest:
        votes = sources.cluster.list("Vote", fieldSelector=f"spec.proposal.digest={digest}")
        votes.sort(key=lambda vote: str(vote["metadata"].get("creationTimestamp")))
        print()
        show_table(_VOTES if output is Format.WIDE else _VOTES[:5], votes)


def _follow(sources: Sources, name: str, namespace: str, output: Format) -> None:
    """A line for each change that a line shows, or with -o json each state as a line of JSON."""
    plain = output not in (Format.JSON, Format.YAML)
    heading = iter(["   ".join(f"{title.upper():<{width}}" for title, width, _ in _LINE).rstrip()] if plain else [])

    def lines() -> Iterator[str]:
        for proposal in sources.cluster.changes("GovernanceProposal", name, namespace):
            proposal["metadata"].pop("managedFields", None)
            yield _line(proposal) if plain else json.dumps(proposal, separators=(",", ":"))
            status = _status(proposal)
            if status.get("phase", "Draft") not in _OPEN and status.get("reason") != "AwaitingRevision":
                return

    def shown(line: str) -> None:
        for title in heading:
            print(title)
        print(line)

    each(lines, shown, watch=True, output=None)


def _line(proposal: Obj) -> str:
    return "   ".join(f"{value(proposal) or '-'!s:<{width}}" for _, width, value in _LINE).rstrip()


_LINE: list[tuple[str, int, Callable[[Obj], Any]]] = [
    ("phase", 17, lambda item: _status(item).get("phase")),
    ("reason", 20, lambda item: _status(item).get("reason")),
    ("ends", 20, lambda item: _status(item).get("votingEnds")),
    *(
        (name, max(7, len(name)), lambda item, name=name: str((_status(item).get("tally") or {}).get(name, "")))
        for name in ("approve", "reject", "abstain", "veto", "outstanding")
    ),
]


def _show(proposal: Obj) -> None:
    spec, status = proposal["spec"], proposal.get("status") or {}
    target = spec["target"]
    part = f"clause {target['clause']}" if "clause" in target else str(target.get("section") or "")
    show_fields(
        {
            "Proposal": f"{proposal['metadata']['namespace']}/{proposal['metadata']['name']}",
            "Type": spec["type"],
            "Target": f"{target['kind']} {target['name']} {part}".strip(),
            "Rationale": spec.get("rationale"),
            "Digest": status.get("digest"),
            "Revision": status.get("revision") or spec["revision"],
            "Phase": status.get("phase"),
            "Outcome": status.get("outcome"),
            "Reason": status.get("reason"),
            "Opened": status.get("openedAt"),
            "Voting ends": status.get("votingEnds"),
            "Decided": status.get("decidedAt"),
            "Executed": status.get("executedAt"),
            "Evidence": status.get("evidenceDigest"),
            "Next": next_step(proposal),
        }
    )
    tally, electorate = status.get("tally") or {}, status.get("electorate") or {}
    if tally:
        sums = [f"{item} {tally.get(item)}" for item in ("approve", "reject", "abstain", "veto", "cast", "outstanding")]
        print(f"Tally:       {', '.join(sums)} of {electorate.get('totalWeight')}")
        tests = {name: value for name, value in tally.items() if isinstance(value, dict)}
        print()
        show_table(_TESTS, [{"name": name, **value} for name, value in tests.items()])
    for condition in status.get("conditions") or ():
        if condition["status"] == "False" and condition["type"] in ("Ready", "Accepted", "SpecAccepted"):
            tell(f"{condition['type']}: {condition['reason']}: {condition['message']}")


def next_step(proposal: Obj) -> str | None:
    """What has to be done, as the operator says it in condition Ready; None where it says nothing."""
    conditions = _status(proposal).get("conditions") or ()
    ready = next((item for item in conditions if item["type"] == "Ready"), {"message": ""})
    return str(ready["message"]).partition(" Next: ")[2] or None


_TESTS: list[Column] = [
    ("test", lambda row: row["name"]),
    ("left", lambda row: row.get("left")),
    ("right", lambda row: row.get("right")),
    ("holds", lambda row: row.get("holds")),
]


def _counted(vote: Obj) -> Obj:
    conditions = (vote.get("status") or {}).get("conditions") or ()
    return next((dict(item) for item in conditions if item["type"] == "Counted"), {})


_VOTES: list[Column] = [
    ("key", lambda vote: vote["spec"]["keyName"]),
    ("choice", lambda vote: vote["spec"]["choice"]),
    ("weight", lambda vote: (vote.get("status") or {}).get("weight")),
    ("counted", lambda vote: _counted(vote).get("status")),
    ("reason", lambda vote: _counted(vote).get("reason")),
    ("voter", lambda vote: vote["spec"]["voter"]),
    ("sequence", lambda vote: vote["spec"]["sequence"]),
    ("cast", lambda vote: vote["spec"]["castAt"]),
    ("name", lambda vote: f"{vote['metadata']['namespace']}/{vote['metadata']['name']}"),
]
