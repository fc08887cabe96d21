"""The conflicts in an evidence bundle, recounted from what it holds (docs/conflicts.md; docs/evidence.md).

Nothing in a bundle is believed: who sits follows from the revisions, the outcome from the votes, who raised it from the
attestation, and all must be what the entries say. What the hub alone can know stays its word: pods, and the node of an
override.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from quorate.api.conditions import Reason
from quorate.api.policy_conflict import Cause, Severity
from quorate.canonical import digest_of, format_time
from quorate.conflicts.arbitration import Arbitration, LevelState, Step, arbitrate
from quorate.conflicts.document import PROPOSAL, Conflict, ConflictEvent, Found
from quorate.conflicts.effect import held_conflicts, loss
from quorate.conflicts.raised import MAX_RAISED, may_raise, raised, raises
from quorate.conflicts.severity import Extent, scope_of, severity_of
from quorate.identity.statements import Statement
from quorate.proposals.bundle import (
    CONFLICT_FORMAT,
    Bundle,
    DomainRecord,
    Entry,
    RevisionRecord,
    Signed,
    entry_second,
)
from quorate.proposals.lifecycle import EventType
from quorate.proposals.opening import judge_proposer
from quorate.proposals.report import Check, Finding, Report
from quorate.proposals.votes import Ballot, vote_key
from quorate.trust.domain import DomainHistory, DomainRevision
from quorate.trust.record import AttestationRecord, Record

Histories = Mapping[str, DomainHistory]
Derive = Callable[[Bundle, str], DomainHistory | None]
"""A bundle and the name of one of its domains → the chain of that, each revision authorised anew."""


MAX_LISTED = 64
"""Arbitrators that an entry lists: level Hubs may have more than its 16 KiB hold, and who sits can be derived."""


def step_detail(state: LevelState, step: Step) -> dict[str, Any]:
    """`detail` of the entry with which a level ended: numbers, reason, T, and the outcome unless it escalates.

    Of more than MAX_LISTED arbitrators it gives their number, and the digest of the list in `arbitratorsDigest`.
    """
    detail = {**state.document, "reason": str(step.reason), "decidedAt": format_time(step.at)}
    if len(state.seats) > MAX_LISTED:
        listed = detail.pop("arbitrators")
        detail |= {"seats": len(listed), "arbitratorsDigest": digest_of(listed)}
    return detail if step.outcome is None else {**detail, "outcome": str(step.outcome)}


def check_conflicts(report: Report, bundle: Bundle, derive: Derive) -> list[DomainHistory]:
    """Recount each conflict of the bundle; a proposal that did not win them all is not applicable.

    Returns the chains of revisions that hold, of the conflicts' domains and of those above them.
    """
    derived: list[DomainHistory] = []
    chains: dict[tuple[str, str], DomainHistory | None] = {}
    for document in bundle.conflicts:
        conflict = Conflict.of(bundle.mesh_id, document["conflict"])
        if document["conflict"] != conflict.document or conflict.side(bundle.proposal_digest) is None:
            report.fault(Check.CONFLICT, f"conflict {conflict.digest} is none of this proposal")
            continue
        part = replace(bundle, domains={name: _domain(items) for name, items in document["domains"].items()})
        known: dict[str, DomainHistory] = {}
        for name, items in document["domains"].items():
            key = (name, digest_of(items))
            if key not in chains:  # most conflicts of a proposal repeat the same chain
                chains[key] = derive(part, name)
            if (history := chains[key]) is not None:
                known[name] = history
        derived += known.values()
        if conflict.domain not in known:
            report.fault(
                Check.CONFLICT, f"conflict {conflict.digest}: no chain of revisions of {conflict.domain} holds"
            )
            continue
        _check_entries(report, conflict, document)
        _check_raising(report, conflict, document, known[conflict.domain], bundle.format)
        _check_opening(report, conflict, document, known)
        _check_course(report, conflict, document, known)
    _check_limits(report, bundle)
    lost = loss(held_conflicts(_entries(bundle)), bundle.proposal_digest)
    if lost is not None:
        reason, held = lost
        report.blocked = str(reason)
        report.notes.append(f"conflict {held.namespace}/{held.name} ended with {held.outcome}: it does not execute")
    return derived


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


def _check_raising(
    report: Report, conflict: Conflict, document: Mapping[str, Any], history: DomainHistory, version: str
) -> None:
    """The attestation by which the conflict opened: of whom the opening names, by a key that was good at both times."""
    name, detail = f"conflict {conflict.digest}", document["opening"]["payload"]["detail"]
    found, is_raised = document.get("attestation"), detail["cause"] == Cause.RAISED
    if found is None and is_raised:
        message = f"{name}: the attestation of {detail['raisedBy']}, who raised it, is not in the bundle"
        if version == CONFLICT_FORMAT:
            report.fault(Check.CONFLICT, message)
        else:  # made before there was a v2
            report.missing.append(Finding(Check.CONFLICT, message))
    if found is None:
        return
    statement = Statement("attestation", found["statement"])
    item = Signed(statement, found["signature"], found["entry"])
    report.subject(item.entry, statement.digest, ("trust.attestation.accepted",), conflict.digest)
    opened, fields = entry_second(document["opening"]), statement.fields
    named = (detail.get("raisedBy"), detail.get("attestation"))
    if not is_raised or not raises(fields, conflict.digest) or (fields["attester"], statement.digest) != named:
        report.fault(Check.CONFLICT, f"{name}: attestation {statement.digest} is not the one that its opening names")
    if fields.get("meshId") != conflict.mesh_id or document["opening"]["timestamp"] < item.entry["timestamp"]:
        report.fault(Check.CONFLICT, f"{name}: it opened before its attestation was recorded, or on another mesh's")
    if not may_raise(AttestationRecord(statement, item.signature, item.recorded), history, opened):
        message = f"{fields['attester']} could not raise it with this attestation when it opened"
        report.fault(Check.SIGNATURE, f"{name}: {message}")


def _check_limits(report: Report, bundle: Bundle) -> None:
    """One member raises at most three of a proposal's conflicts, so three at a time too; a pair is arbitrated once."""
    pairs: Counter[frozenset[str]] = Counter()
    raised_by: Counter[str] = Counter()
    for document in bundle.conflicts:
        conflict, detail = Conflict.of(bundle.mesh_id, document["conflict"]), document["opening"]["payload"]["detail"]
        pairs[conflict.pair] += 1
        if detail["cause"] == Cause.RAISED:
            raised_by[detail["raisedBy"]] += 1
    for pair in (pair for pair, count in pairs.items() if count > 1):
        report.fault(Check.CONFLICT, f"the pair {' and '.join(sorted(pair))} was arbitrated twice")
    for node_id in (node_id for node_id, count in raised_by.items() if count > MAX_RAISED):
        message = f"{node_id} raised {raised_by[node_id]} conflicts against this proposal: at most {MAX_RAISED}"
        report.fault(Check.CONFLICT, message, Reason.TOO_MANY_CONFLICTS)


def _votes(document: Mapping[str, Any]) -> list[Signed]:
    return [
        Signed(Statement("vote", item["statement"]), item["signature"], item["entry"]) for item in document["votes"]
    ]


def _check_opening(report: Report, conflict: Conflict, document: Mapping[str, Any], histories: Histories) -> None:
    """Exactly the parties are excluded, and the severity follows from what the opening says it was made from."""
    detail = document["opening"]["payload"]["detail"]
    name = f"conflict {conflict.digest}"
    if detail["conflict"] != conflict.document:
        report.fault(Check.CONFLICT, f"{name}: its opening is of other parties")
    if (detail["cause"] == Cause.RAISED) != bool(conflict.evidence):
        report.fault(Check.CONFLICT, f"{name}: a member raises a conflict with evidence, and only a member does")
    statements = _check_parties(report, conflict, document, histories[conflict.domain])
    revision = histories[conflict.domain].at(entry_second(document["opening"]))
    if revision is None:
        report.fault(Check.CONFLICT, f"{name}: {conflict.domain} had no revision when it opened")
        return
    found = _found(conflict, detail, statements, revision, histories)
    if set(detail["excluded"]) != set(found.excluded):
        # Whoever else were left out would be the hub's choice of who sits.
        recorded, follows = ", ".join(sorted(detail["excluded"])), ", ".join(sorted(found.excluded))
        report.fault(Check.CONFLICT, f"{name}: excluded were {recorded or 'none'}, the parties are {follows}")
    severity = severity_of(Extent(scope_of(found), len(revision.members), detail.get("pods")))
    if detail["severity"] != severity:
        report.fault(Check.CONFLICT, f"{name}: severity {detail['severity']} was recorded, {severity} follows")


def _check_parties(
    report: Report, conflict: Conflict, document: Mapping[str, Any], history: DomainHistory
) -> dict[str, Mapping[str, Any]]:
    """The statements of the parties that are proposals, by digest: each is there, and its proposer signed it.

    Each must have been allowed to open by the revision in force at its opening entry, which is no later than the
    conflict's.
    """
    signed = {Statement("proposal", item["statement"]).digest: item for item in document["proposals"]}
    found: dict[str, Mapping[str, Any]] = {}
    for party in conflict.parties:
        if party.kind != PROPOSAL:
            continue
        if party.digest not in signed:
            message = f"the statement of party {party.name} is not in the bundle"
            report.fault(Check.CONFLICT, f"conflict {conflict.digest}: {message}")
            continue
        found[party.digest] = signed[party.digest]["statement"]
        wrong = _party_fault(report, signed[party.digest], document["opening"], history)
        if wrong is not None:
            report.fault(Check.CONFLICT, f"conflict {conflict.digest}: party {party.name} {wrong}")
    return found


def _party_fault(report: Report, item: Mapping[str, Any], opening: Entry, history: DomainHistory) -> str | None:
    """Why a party could not open; of a v1 bundle only whether any key that the proposer ever had signed it."""
    statement, entry = Statement("proposal", item["statement"]), item.get("opening")
    fields = statement.fields
    if entry is None:
        message = f"when the proposal {statement.digest}, party of a conflict, opened is not in the bundle"
        report.missing.append(Finding(Check.CONFLICT, message))
        keys = {vote_key(known.revision, fields["proposer"], fields["keyName"]) for known in history.accepted}
        record = Record(statement, item["signature"], 0)
        good = any(record.signed_by(key.public_key) for key in keys if key is not None)
        return None if good else f"is not signed by its proposer {fields['proposer']}"
    report.subject(entry, statement.digest, (EventType.OPENED,))
    second = entry_second(entry)
    revision = history.at(second)
    if revision is None or opening["timestamp"] < entry["timestamp"]:
        return "opened before the domain's first revision, or after the conflict"
    refusal = judge_proposer(statement, item["signature"], revision, second)
    return None if refusal is None else f"could not open: {refusal.reason}: {refusal.message}"


def _found(
    conflict: Conflict,
    detail: Mapping[str, Any],
    statements: Mapping[str, Mapping[str, Any]],
    revision: DomainRevision,
    histories: Histories,
) -> Found:
    """The conflict as the rules find it: who is excluded, and whether the clause is shared."""
    cause = Cause(detail["cause"])
    if cause == Cause.RAISED:
        return raised(conflict, revision, detail["raisedBy"], statements)
    excluded = {str(fields["proposer"]): "proposer" for fields in statements.values()}
    if cause == Cause.OVERRIDE_CONTRADICTS:
        excluded[revision.home_hub] = "overrides"  # the hub that decides for the domain found its own override
    accepted = [item.revision for history in histories.values() for item in history.accepted]
    parties = {party.digest for party in conflict.parties if party.kind == "TrustDomain"}
    excluded |= {item.home_hub: "homeHub" for item in accepted if item.digest in parties}
    targets = tuple(fields["target"] for fields in statements.values())
    clauses = revision.spec.get("sharedClauses") or {}
    shared = any(target.get("clause") in (clauses.get(target["name"]) or ()) for target in targets)
    return Found(conflict, cause, excluded, targets, shared)


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
