"""`quorate contract history`: each version, who voted for it, and the evidence; from the cluster or from the log."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quorate_cli.cluster import Cluster
from quorate_cli.contract.reading import Obj, genesis_of
from quorate_cli.options import Kubeconfig, Output, Sandbox
from quorate_cli.output import BadInputError, Column, Format, emit, show_table, tell
from quorate_cli.place import find_dsn
from quorate_cli.sources import Sources
from quorate_cli.watching import Watch, each

if TYPE_CHECKING:
    from quorate_cli.audit.shown import Shown
    from quorate_cli.audit.source import Source

_EVENTS = "governance.contract."
_VOTE = "governance.vote.accepted"
_CHANGED = (f"{_EVENTS}genesis", f"{_EVENTS}changed")


@dataclass
class Ballot:
    """One key's vote; `counted` is None where the log was asked: it holds what was cast, a tally says what counts."""

    voter: str
    key: str
    choice: str
    sequence: int
    counted: bool | None = None
    reason: str | None = None

    def document(self) -> Obj:
        """As JSON."""
        fields = {"voter": self.voter, "keyName": self.key, "choice": self.choice, "sequence": self.sequence}
        told = {"counted": self.counted, "reason": self.reason}
        return fields | {name: value for name, value in told.items() if value is not None}


@dataclass
class Change:
    """One thing that happened to the contract; a version where `event` is genesis or changed."""

    event: str
    at: str | None
    version: str
    digest: str
    proposal_digest: str | None = None
    proposal: str | None = None
    kind: str | None = None
    outcome: str | None = None
    evidence: str | None = None
    message: str | None = None
    votes: list[Ballot] = field(default_factory=list)

    def document(self) -> Obj:
        """As JSON."""
        proposal = {"digest": self.proposal_digest, "name": self.proposal, "type": self.kind, "outcome": self.outcome}
        fields = {
            "event": self.event,
            "at": self.at,
            "version": self.version,
            "digest": self.digest,
            "proposal": {name: value for name, value in proposal.items() if value is not None} or None,
            "evidenceDigest": self.evidence,
            "message": self.message,
            "votes": [vote.document() for vote in self.votes] if self.proposal_digest else None,
        }
        return {name: value for name, value in fields.items() if value is not None}


def history(
    name: Annotated[str, typer.Argument(help="Name of the DynamicContract.")],
    log: Annotated[
        bool, typer.Option("--log", help="From the log's database: everything, also overrides, drift and cut-overs.")
    ] = False,
    dsns: Annotated[
        list[str] | None, typer.Option("--dsn", metavar="DSN", help="A log's database; implies --log.")
    ] = None,
    folders: Annotated[
        list[Path] | None, typer.Option("--from", metavar="DIR", help="An archive or publication; implies --log.")
    ] = None,
    contract_id: Annotated[
        str | None, typer.Option("--id", metavar="UUID", help="The contractId, where no cluster is asked for it.")
    ] = None,
    watch: Watch = False,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Show how a contract came to be what it is: versions, proposals, votes, evidence."""
    if log or dsns or folders:
        if watch:
            raise BadInputError("--watch: follows the cluster; for the log use `quorate audit log --follow`")
        key = contract_id or genesis_of(_contract(name, kubeconfig, sandbox)).contract_id
        places = list(dsns or ()) or ([] if folders else [find_dsn(None, sandbox, kubeconfig)])
        _print(_from_log(places, folders or (), key), output)
        return
    cluster = Sources((), kubeconfig, sandbox).cluster
    each(
        lambda: cluster.changes("DynamicContract", name),
        lambda contract: _print(_from_cluster(cluster, contract), output),
        watch=watch,
        output=output,
    )


def _contract(name: str, kubeconfig: str | None, sandbox: str | None) -> Obj:
    return Sources((), kubeconfig, sandbox).cluster.get("DynamicContract", name)


def _from_cluster(cluster: Cluster, contract: Obj) -> list[Change]:
    status = contract.get("status") or {}
    proposals = {(item.get("status") or {}).get("digest"): item for item in cluster.list("GovernanceProposal")}
    return [_version(cluster, item, proposals) for item in reversed(status.get("history") or ())]


def _version(cluster: Cluster, item: Obj, proposals: dict[Any, Obj]) -> Change:
    digest = item.get("proposalDigest")
    event = "changed" if digest else "genesis"
    change = Change(event, item.get("at"), item["version"], item["digest"], digest)
    proposal = proposals.get(digest) if digest else None
    if proposal is None:
        change.message = "the proposal is no longer on the cluster; --log has it" if digest else None
        return change
    shown = proposal.get("status") or {}
    change.proposal = f"{proposal['metadata']['namespace']}/{proposal['metadata']['name']}"
    change.kind, change.outcome = proposal["spec"]["type"], shown.get("outcome")
    change.evidence = shown.get("evidenceDigest")
    votes = cluster.list("Vote", fieldSelector=f"spec.proposal.digest={digest}")
    change.votes = sorted((_ballot(vote) for vote in votes), key=lambda vote: (vote.key, vote.sequence))
    return change


def _ballot(vote: Obj) -> Ballot:
    spec = vote["spec"]
    conditions = (vote.get("status") or {}).get("conditions") or ()
    counted = next((item for item in conditions if item["type"] == "Counted"), None)
    return Ballot(
        spec["voter"],
        spec["keyName"],
        spec["choice"],
        spec["sequence"],
        None if counted is None else counted["status"] == "True",
        None if counted is None else counted["reason"],
    )


def _from_log(dsns: Sequence[str], folders: Sequence[Path], contract_id: str) -> list[Change]:
    from quorate_cli.audit.log import open_sources  # noqa: PLC0415 - psycopg is slow to import

    with open_sources(dsns, folders) as sources:
        found = [
            _entry(shown)
            for shown in _entries(sources, contract_id, _EVENTS)
            if shown.subject.get("key") == contract_id
        ]
        for change in found:
            if change.proposal_digest and change.event == "changed":
                _tell(change, list(_entries(sources, change.proposal_digest, "governance.")))
        return found


def _entries(sources: "Sequence[Source]", target: str, kind: str) -> "Iterator[Shown]":
    from quorate_cli.audit.search import Filter, Search  # noqa: PLC0415

    def unreadable(chain: str, sequence: int, error: ValueError) -> None:
        tell(f"{chain}, entry {sequence}: cannot be read ({error}); run `quorate audit verify`")

    return Search(sources, (), Filter(target=target, kind=kind), unreadable).ascending()


def _entry(shown: "Shown") -> Change:
    detail = shown.detail
    return Change(
        shown.event.removeprefix(_EVENTS),
        shown.sealed,
        str(detail.get("version", "")),
        str(detail.get("digest", "")),
        detail.get("proposalDigest"),
        evidence=detail.get("evidenceDigest"),
        message=detail.get("message") or detail.get("cause"),
    )


def _tell(change: Change, entries: "Sequence[Shown]") -> None:
    """What the entries about the proposal say: its name, its outcome, and every vote that was accepted."""
    for shown in entries:
        statement = shown.detail.get("statement")
        if shown.event == _VOTE and isinstance(statement, dict):
            change.votes.append(
                Ballot(statement["voter"], statement["keyName"], statement["choice"], int(statement["sequence"]))
            )
        elif shown.subject.get("key") == change.proposal_digest:
            subject = shown.subject
            change.proposal = f"{subject.get('namespace')}/{subject.get('name')}"
            change.outcome = shown.detail.get("outcome") or change.outcome


def _print(found: list[Change], output: Format) -> None:
    if output in (Format.JSON, Format.YAML):
        emit([change.document() for change in found], output)
    elif output is Format.NAME:
        for change in found:
            print(change.digest)
    else:
        show_table([*_COLUMNS, *(_WIDE if output is Format.WIDE else ())], found)


def _votes(change: Change) -> str:
    """`Approve: alice, bob; Reject: carol`, of the votes that count, or of all where the log was asked."""
    told: dict[str, list[str]] = {}
    for vote in change.votes:
        if vote.counted is not False:
            told.setdefault(vote.choice, []).append(vote.key)
    return "; ".join(f"{choice}: {', '.join(dict.fromkeys(keys))}" for choice, keys in sorted(told.items()))


_COLUMNS: list[Column] = [
    ("at", lambda change: change.at),
    ("event", lambda change: change.event),
    ("version", lambda change: change.version),
    ("proposal", lambda change: change.proposal),
    ("outcome", lambda change: change.outcome),
    ("votes", _votes),
    ("message", lambda change: change.message),
]
_WIDE: list[Column] = [
    ("digest", lambda change: change.digest),
    ("proposal digest", lambda change: change.proposal_digest),
    ("evidence", lambda change: change.evidence),
]
