"""The conflicts in an evidence bundle, recounted from what it holds (docs/conflicts.md; docs/evidence.md).

Nothing in a bundle is believed: who sits follows from the revisions, the outcome from the votes, and both must be what
the entries say. What the hub alone can know stays its word: pods, the node of an override, and who raised it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from quorate.api.policy_conflict import Cause, Severity
from quorate.canonical import format_time
from quorate.conflicts.arbitration import Arbitration, LevelState, Step, arbitrate
from quorate.conflicts.document import PROPOSAL, Conflict, ConflictEvent, Found
from quorate.conflicts.effect import held_conflicts, loss
from quorate.conflicts.severity import Extent, scope_of, severity_of
from quorate.identity.statements import Statement
from quorate.proposals.bundle import Bundle, DomainRecord, RevisionRecord, Signed, entry_second
from quorate.proposals.report import Check, Report
from quorate.proposals.votes import Ballot
from quorate.trust.domain import DomainHistory, DomainRevision

Histories = Mapping[str, DomainHistory]
Derive = Callable[[Bundle, str], DomainHistory | None]
"""A bundle and the name of one of its domains → the chain of that, each revision authorised anew."""


def step_detail(state: LevelState, step: Step) -> dict[str, Any]:
    """`detail` of the entry with which a level ended: numbers, reason, T, and the outcome unless it escalates."""
    detail = {**state.document, "reason": str(step.reason), "decidedAt": format_time(step.at)}
    return detail if step.outcome is None else {**detail, "outcome": str(step.outcome)}


def check_conflicts(report: Report, bundle: Bundle, derive: Derive) -> None:
    """Recount each conflict of the bundle; a proposal that did not win them all is not applicable."""
    for document in bundle.conflicts:
        conflict = Conflict.of(bundle.mesh_id, document["conflict"])
        if document["conflict"] != conflict.document or conflict.side(bundle.proposal_digest) is None:
            report.fault(Check.CONFLICT, f"conflict {conflict.digest} is none of this proposal")
            continue
        part = replace(bundle, domains={name: _domain(items) for name, items in document["domains"].items()})
        histories = {name: derive(part, name) for name in part.domains}
        known = {name: history for name, history in histories.items() if history is not None}
        if conflict.domain not in known:
            report.fault(
                Check.CONFLICT, f"conflict {conflict.digest}: no chain of revisions of {conflict.domain} holds"
            )
            continue
        _check_entries(report, conflict, document)
        _check_opening(report, conflict, document, known)
        _check_course(report, conflict, document, known)
    lost = loss(held_conflicts(_entries(bundle)), bundle.proposal_digest)
    if lost is not None:
        reason, held = lost
        report.blocked = str(reason)
        report.notes.append(f"conflict {held.namespace}/{held.name} ended with {held.outcome}: it does not execute")


def _domain(revisions: Sequence[Mapping[str, Any]]) -> DomainRecord:
    return DomainRecord(tuple(map(RevisionRecord.parse, revisions)), {})


def _entries(bundle: Bundle) -> list[Mapping[str, Any]]:
    return [item[name] for item in bundle.conflicts for name in ("opening", "resolution")]


def _check_entries(report: Report, conflict: Conflict, document: Mapping[str, Any]) -> None:
    """Each entry is about the conflict and both parties, each vote's about the conflict."""
    kinds = [(document["opening"], ConflictEvent.OPENED), (document["resolution"], ConflictEvent.RESOLVED)]
    kinds += [(item, ConflictEvent.ESCALATED) for item in document["escalations"]]
    for entry, event in kinds:
        for party in conflict.parties:
            report.subject(entry, conflict.digest, (event,), party.digest)
    for item in _votes(document):
        key = item.statement.digest
        if not item.accepted and item.entry["payload"]["subject"]["key"].startswith("uid:"):
            key = item.entry["payload"]["subject"]["key"]
        report.subject(item.entry, key, ("governance.vote.accepted", "governance.vote.refused"), conflict.digest)


def _votes(document: Mapping[str, Any]) -> list[Signed]:
    return [
        Signed(Statement("vote", item["statement"]), item["signature"], item["entry"]) for item in document["votes"]
    ]


def _check_opening(report: Report, conflict: Conflict, document: Mapping[str, Any], histories: Histories) -> None:
    """Parties are excluded, and the severity follows from what the opening says it was made from."""
    detail = document["opening"]["payload"]["detail"]
    name = f"conflict {conflict.digest}"
    if detail["conflict"] != conflict.document:
        report.fault(Check.CONFLICT, f"{name}: its opening is of other parties")
    statements = {item.digest: item.fields for item in _proposals(document)}
    revision = histories[conflict.domain].at(entry_second(document["opening"]))
    for party in conflict.parties:
        if party.kind == PROPOSAL and party.digest not in statements:
            report.fault(Check.CONFLICT, f"{name}: the statement of party {party.name} is not in the bundle")
        elif party.kind == PROPOSAL and statements[party.digest]["proposer"] not in detail["excluded"]:
            report.fault(Check.CONFLICT, f"{name}: the proposer of party {party.name} was not excluded")
    if revision is None:
        report.fault(Check.CONFLICT, f"{name}: {conflict.domain} had no revision when it opened")
        return
    severity = severity_of(_extent(conflict, detail, statements, revision))
    if detail["severity"] != severity:
        report.fault(Check.CONFLICT, f"{name}: severity {detail['severity']} was recorded, {severity} follows")


def _proposals(document: Mapping[str, Any]) -> list[Statement]:
    return [Statement("proposal", item["statement"]) for item in document["proposals"]]


def _extent(
    conflict: Conflict, detail: Mapping[str, Any], statements: Mapping[str, Mapping[str, Any]], revision: DomainRevision
) -> Extent:
    nodes, pods = len(revision.members), detail.get("pods")
    if detail["cause"] == Cause.RAISED:
        return Extent(detail["scope"], nodes, pods)
    targets = [fields["target"] for fields in statements.values()]
    clauses = revision.spec.get("sharedClauses") or {}
    shared = any(target.get("clause") in (clauses.get(target["name"]) or ()) for target in targets)
    found = Found(conflict, Cause(detail["cause"]), {}, shared)
    return Extent(scope_of(found, surfaces=any(target.get("section") for target in targets)), nodes, pods)


def _check_course(report: Report, conflict: Conflict, document: Mapping[str, Any], histories: Histories) -> None:
    """The levels, run again, end as their entries say."""
    detail = document["opening"]["payload"]["detail"]
    case = Arbitration(
        conflict,
        entry_second(document["opening"]),
        Severity(detail["severity"]),
        frozenset(detail["excluded"]),
        histories,
        [Ballot(item.statement, item.signature, item.recorded) for item in _votes(document)],
    )
    progress = arbitrate(case, entry_second(document["resolution"]))
    derived = [step_detail(state, state.step) for state in progress.levels if state.step is not None]
    recorded = [item["payload"]["detail"] for item in (*document["escalations"], document["resolution"])]
    if progress.step is None or derived != recorded:
        says, follows = recorded[-1].get("outcome"), None if progress.step is None else str(progress.step.outcome)
        message = f"conflict {conflict.digest}: the votes give {follows}, recorded is {says}"
        if says == follows:
            message = f"conflict {conflict.digest}: its levels are not those that the votes give"
        report.fault(Check.CONFLICT, message)
