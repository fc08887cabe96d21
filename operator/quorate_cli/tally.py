"""`quorate tally`: recompute an outcome from documents alone, with the code that the operator decides with."""

from typing import Annotated, Any

import typer

from quorate.canonical import parse_time
from quorate_cli.options import Output
from quorate_cli.output import BadInputError, Column, Format, emit, paint, show_fields, show_table
from quorate_cli.pins import Pins, parse_pins
from quorate_cli.verifying import verify_ahead
from quorate_cli.yamlfiles import read_documents

Obj = dict[str, Any]
app = typer.Typer()


@app.command()
def tally(
    first: Annotated[
        list[str], typer.Option("--file", "-f", metavar="FILES...", help="Domain, proposal, votes; files or folders.")
    ],
    at: Annotated[str, typer.Option("--at", metavar="TIME", help="As of this time, YYYY-MM-DDTHH:MM:SSZ.")],
    more: Annotated[list[str] | None, typer.Argument(metavar="[FILES]...", help="More files or folders.")] = None,
    opened: Annotated[
        str | None, typer.Option("--opened", metavar="TIME", help="When the proposal opened; else from its status.")
    ] = None,
    explained: Annotated[bool, typer.Option("--explain", help="Each rule with its formula, numbers, meaning.")] = False,
    pins: Pins = None,
    output: Output = Format.TABLE,
) -> None:
    """Recompute the outcome and print every number, and every vote that does not count with its reason."""
    from quorate.proposals.documents import tally_documents  # noqa: PLC0415 - the whole decision code

    moment = _time("--at", at)
    opening = None if opened is None else _time("--opened", opened)
    documents = read_documents([*first, *(more or ())])
    try:
        results = tally_documents(documents, at=moment, opened=opening, pins=parse_pins(pins or ()), ahead=verify_ahead)
    except ValueError as error:
        raise BadInputError(str(error)) from error
    if output in (Format.JSON, Format.YAML):
        emit(results[0] if len(results) == 1 else results, output)
        return
    for place, result in enumerate(results):
        if place:
            print()
        if explained:
            _explain(result, wide=output is Format.WIDE)
        else:
            show_outcome(result, wide=output is Format.WIDE)


def _explain(result: Obj, *, wide: bool) -> None:
    from quorate_cli.proposal.explain import show  # noqa: PLC0415 - pulls in all of `proposal`

    digest = (result.get("proposal") or {}).get("digest")
    show({"source": "documents", "proposalDigest": digest, "outcome": result, "acts": [], "delegations": []}, wide=wide)


def _time(flag: str, text: str) -> int:
    try:
        return parse_time(text)
    except ValueError as error:
        raise BadInputError(f"{flag}: {error}") from error


def show_outcome(result: Obj, *, wide: bool) -> None:
    """An outcome document (governance.md, "Tally") for people."""
    electorate, sums = result.get("electorate") or {}, result.get("sums") or {}
    outcome, proposal = str(result.get("outcome") or "open"), result.get("proposal")
    named = (
        {
            "Proposal": f"{proposal['namespace']}/{proposal['name']} revision {proposal['revision']}",
            "Digest": proposal["digest"],
            "Opened": result.get("opened"),
        }
        if proposal
        else {}
    )
    show_fields(
        {
            **named,
            "Outcome": paint(outcome, {"Adopted": "good", "open": "warn"}.get(outcome, "bad")),
            "Reason": result.get("reason"),
            **({"Because": result["message"]} if result.get("message") else {}),
            "Decided at": result.get("decidedAt"),
            "Electorate": f"{electorate['members']} members, weight {electorate['totalWeight']}"
            if electorate
            else None,
            "Sums": ", ".join(f"{name} {value}" for name, value in sums.items()),
            "Quorum made by": result.get("quorumMadeBy"),
            "Execution": _execution(result),
        }
    )
    print()
    show_table(_TESTS, result.get("tests") or [])
    print()
    votes = result.get("votes") or []
    show_table(_VOTES if wide else _VOTES[:6], votes)
    for conflict in result.get("conflicts") or ():
        _show_conflict(conflict)
    if result.get("refusedConflicts"):
        print()
        show_table(_REFUSED, result["refusedConflicts"])
    if result.get("refusedRevisions"):
        print()
        show_table(_REVISIONS, result["refusedRevisions"])
    for name, part in (result.get("domains") or {}).items():
        print(f"\n{name}:")
        show_outcome(part, wide=wide)


def _execution(result: Obj) -> str | None:
    """What the conflicts of an adopted proposal mean for it; None where it is party of none."""
    found = result.get("execution")
    return None if found is None else ": ".join(filter(None, (found["state"], found["reason"])))


def _show_conflict(conflict: Obj) -> None:
    parties = " against ".join(party["name"] for party in conflict["parties"])
    ended = f"{conflict['outcome']} ({conflict['reason']})" if conflict["outcome"] else "open"
    print(f"\nconflict {conflict['name']}, {conflict['cause']}, {conflict['severity']}: {parties}: {ended}")
    show_table(_SEATS, [{**seat, **level} for level in conflict["levels"] for seat in level["arbitrators"]])


_SEATS: list[Column] = [
    ("level", lambda row: row["level"]),
    ("arbitrator", lambda row: row["nodeId"]),
    ("domain", lambda row: row["domain"]),
    ("choice", lambda row: row.get("choice")),
    ("ended with", lambda row: row["result"]),
]
_TESTS: list[Column] = [
    ("test", lambda row: row["name"]),
    ("left", lambda row: row["left"]),
    ("right", lambda row: row["right"]),
    ("holds", lambda row: row["holds"]),
]
_REFUSED: list[Column] = [
    ("conflict not opened", lambda row: row["name"]),
    ("reason", lambda row: row["reason"]),
    ("because", lambda row: row["message"]),
]
_REVISIONS: list[Column] = [
    ("not accepted", lambda row: f"{row['domain']} revision {row['revision']}"),
    ("reason", lambda row: row["reason"]),
    ("because", lambda row: row["message"]),
]
_VOTES: list[Column] = [
    ("voter", lambda row: row.get("voter")),
    ("key", lambda row: row.get("keyName")),
    ("choice", lambda row: row.get("choice")),
    ("weight", lambda row: row.get("weight")),
    ("counted", lambda row: bool(row.get("counted"))),
    ("reason", lambda row: row.get("reason")),
    ("sequence", lambda row: row.get("sequence")),
    ("time", lambda row: row.get("time")),
    ("claimed", lambda row: bool(row.get("claimed"))),
]
