"""`quorate proposal explain`: an outcome in full, each rule with its numbers, each refused vote with its reason."""

from pathlib import Path
from typing import Annotated, Any

import typer

from quorate.canonical import NotCanonicalError, parse_json
from quorate_cli.cluster import Cluster
from quorate_cli.options import Kubeconfig, Namespace, Output, Sandbox
from quorate_cli.output import BadInputError, CliError, Column, Format, emit, show_fields, show_table, tell
from quorate_cli.proposal.evidence import fetch_content
from quorate_cli.proposal.show import next_step
from quorate_cli.receiver import bundle_bytes
from quorate_cli.sources import Sources, accepted, why_not

Obj = dict[str, Any]
_STATUS_TESTS = {"vetoTest": "veto"}
"""Test in a status → its name in an outcome document, where they differ."""


def explain(
    name: Annotated[str, typer.Argument(help="Name of the GovernanceProposal, or a file: bundle, outcome.")],
    namespace: Namespace = None,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Explain an outcome: from its evidence once it is decided, before that from what the operator counted so far."""
    step = None
    if name == "-" or Path(name).is_file():
        found = from_bundle(bundle_bytes(name), name)
    else:
        sources = Sources((), kubeconfig, sandbox)
        proposal = sources.cluster.get("GovernanceProposal", name, sources.namespace(namespace))
        found = _on_cluster(sources.cluster, proposal)
        step = next_step(proposal)
    if output in (Format.JSON, Format.YAML):
        emit({**found, "next": step}, output)
        return
    show(found, wide=output is Format.WIDE)
    if step:
        print(f"\nNext: {step}")


def from_bundle(data: bytes, where: str) -> Obj:
    """{source, proposalDigest, outcome, acts, delegations} of a bundle or an outcome document; read, not verified."""
    try:
        bundle = parse_json(data.strip())
    except NotCanonicalError as error:
        raise BadInputError(f"{where}: {error}") from error
    if isinstance(bundle, dict) and {"outcome", "reason", "tests", "votes"} <= bundle.keys():
        return {"source": "outcome", "proposalDigest": None, "outcome": bundle, "acts": [], "delegations": []}
    if not isinstance(bundle, dict) or not isinstance(bundle.get("outcome"), dict):
        raise BadInputError(f"{where}: is no evidence bundle and no outcome document: it has no outcome")
    return {
        "source": "evidence",
        "proposalDigest": bundle.get("proposalDigest"),
        "outcome": bundle["outcome"],
        "acts": [_recorded(item, "act", "by") for item in bundle.get("acts") or ()],
        "delegations": [_recorded(item, "statement", "attester") for item in bundle.get("delegations") or ()],
    }


def _recorded(item: Obj, what: str, who: str) -> Obj:
    entry, statement = item["entry"], item["statement"]
    detail = entry["payload"].get("detail") or {}
    accepted_ = entry["event_type"].endswith(".accepted")
    return {
        "what": statement[what] if what == "act" else f"to {statement['statement'].get('to') or 'nobody'}",
        "who": statement[who],
        "keyName": statement["keyName"],
        "recorded": detail.get("recordedAt") or entry["timestamp"],
        "accepted": accepted_,
        "reason": None if accepted_ else detail.get("reason"),
    }


def _on_cluster(cluster: Cluster, proposal: Obj) -> Obj:
    status, name = proposal.get("status") or {}, proposal["metadata"]["name"]
    if status.get("evidenceRef"):
        data = fetch_content(cluster, status["evidenceRef"], status.get("evidenceDigest"), f"evidence of {name!r}")
        return from_bundle(data, f"evidence of {name!r}")
    if not status.get("tally"):
        return _unopened(proposal, name)
    votes = cluster.list("Vote", fieldSelector=f"spec.proposal.digest={status['digest']}")
    own, kind = str(proposal["spec"]["trustDomain"]), str(proposal["spec"]["type"])
    parts = {str(item["name"]): item for item in status.get("domains") or ()}
    whole = {**status, "revision": status.get("domainRevision")}
    return {
        "source": "status",
        "proposalDigest": status["digest"],
        "outcome": {
            **_part(cluster, own, kind, whole, [vote for vote in votes if _judged_in(vote, own, parts) == own]),
            "domains": {
                name: _part(cluster, name, kind, part, [vote for vote in votes if _judged_in(vote, own, parts) == name])
                for name, part in parts.items()
            },
        },
        "acts": [],
        "delegations": [],
    }


def _unopened(proposal: Obj, name: str) -> Obj:
    """A refused opening has the reason and nothing else; of what only waits there is nothing to explain."""
    from quorate.proposals.outcome import refusal  # noqa: PLC0415 - the decision code

    status = proposal.get("status") or {}
    conditions = {item["type"]: item for item in status.get("conditions") or ()}
    stalled, accepted_ = conditions.get("Stalled", {}), conditions.get("Accepted", {})
    refused = (stalled.get("status"), accepted_.get("status")) == ("True", "False")
    if not refused or stalled["reason"] != accepted_["reason"]:
        raise CliError(f"GovernanceProposal {name!r}: nothing is counted yet{why_not(proposal, 'Accepted', 'Ready')}")
    return {
        "source": "status",
        "proposalDigest": status.get("digest"),
        "outcome": refusal(str(stalled["reason"]), str(stalled["message"])),
        "acts": [],
        "delegations": [],
    }


def _judged_in(vote: Obj, own: str, parts: Obj) -> str:
    """The domain in which a vote is judged: its own where that votes, else trustDomain."""
    domain = str(vote["spec"].get("domain"))
    return domain if domain in parts else own


def _part(cluster: Cluster, domain: str, kind: str, part: Obj, votes: list[Obj]) -> Obj:
    """One electorate's numbers as a status gives them, in the form of an outcome document."""
    tally, spec = part["tally"], accepted(cluster, domain).spec
    rules = (spec.get("voting") or {}).get(kind) or {}
    return {
        "outcome": part.get("outcome"),
        "reason": part.get("reason") if part.get("outcome") else None,
        "decidedAt": part.get("decidedAt"),
        "electorate": part.get("electorate"),
        "rules": rules if spec.get("revision") == part.get("revision") else {},
        "sums": {key: value for key, value in tally.items() if isinstance(value, int)},
        "tests": [
            {"name": _STATUS_TESTS.get(key, key), **value} for key, value in tally.items() if isinstance(value, dict)
        ],
        "quorumMadeBy": tally.get("quorumMadeBy"),
        "votes": [_vote(vote) for vote in votes],
    }


def _vote(vote: Obj) -> Obj:
    spec, status = vote["spec"], vote.get("status") or {}
    counted = next((item for item in status.get("conditions") or () if item["type"] == "Counted"), None)
    return {
        **{field: spec[field] for field in ("voter", "keyName", "sequence", "choice")},
        "weight": status.get("weight"),
        "counted": counted is not None and counted["status"] == "True",
        "reason": "Waiting" if counted is None else counted["reason"],
        "time": status.get("recordedAt") or vote["metadata"]["creationTimestamp"],
    }


def show(found: Obj, *, wide: bool) -> None:
    """The explanation for people."""
    from quorate.proposals.explain import explain as explained  # noqa: PLC0415 - only to print

    document = found["outcome"]
    show_fields({"Proposal": found.get("proposalDigest"), "From": found["source"]})
    parts = dict(document.get("domains") or {})
    if parts:  # the numbers of trustDomain are those of its part
        print(f"\n{explained(document).headline}; each of {', '.join(parts)} has to adopt it")
    for name, part in (parts or {"": document}).items():
        explanation = explained(part)
        print(f"\n{f'{name}: ' if name else ''}{explanation.headline}")
        for line in explanation.inputs:
            print(f"  {line}")
        print()
        show_table(_STEPS, explanation.steps)
        for step in explanation.steps:
            print(f"  {step.rule}: {step.formula}")
        if explanation.refused:
            print()
            show_table(_REFUSED if wide else _REFUSED[:4], explanation.refused)
    for title in ("acts", "delegations"):
        if found[title]:
            print()
            show_table(_RECORDED, found[title])
    if found["source"] == "status":
        tell("note: as the operator counted so far; decided it is explained from its evidence")


_STEPS: list[Column] = [
    ("rule", lambda step: step.rule),
    ("numbers", lambda step: step.numbers),
    ("therefore", lambda step: step.verdict),
]
_REFUSED: list[Column] = [
    ("refused vote of", lambda row: row[0].get("voter")),
    ("key", lambda row: row[0].get("keyName")),
    ("reason", lambda row: row[0].get("reason")),
    ("because", lambda row: row[1]),
    ("choice", lambda row: row[0].get("choice")),
    ("sequence", lambda row: row[0].get("sequence")),
    ("time", lambda row: row[0].get("time")),
]
_RECORDED: list[Column] = [
    ("recorded", lambda row: row["recorded"]),
    ("what", lambda row: row["what"]),
    ("by", lambda row: row["who"]),
    ("key", lambda row: row["keyName"]),
    ("accepted", lambda row: row["accepted"]),
    ("reason", lambda row: row["reason"]),
]
