"""Evidence and execution of an adopted proposal (governance.md, "Lifecycle"; trust.md, "Evidence and proof")."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from quorate.api.conditions import Reason
from quorate.api.tally import Phase
from quorate.audit.entry import Draft
from quorate.canonical import canonical_bytes, digest_of_bytes, parse_json
from quorate.proposals.acts import threshold_reached
from quorate.proposals.bundle import RevisionRecord
from quorate.proposals.decision import still_endorsed
from quorate.proposals.evidence import build
from quorate.proposals.execution import Executed, NotExecuted, Postponed, Window, execute
from quorate.proposals.lifecycle import EventType
from quorate_operator.errors import Stalled
from quorate_operator.kube.resources import key_of
from quorate_operator.reconcile.docket import (
    ACT_ACCEPTED,
    ACT_REFUSED,
    VOTE_ACCEPTED,
    VOTE_REFUSED,
    Docket,
    signed,
)
from quorate_operator.reconcile.domains import Constitution
from quorate_operator.reconcile.projection import project
from quorate_operator.reconcile.proposal_change import contract_changed
from quorate_operator.reconcile.proposal_gathered import Gathered
from quorate_operator.reconcile.proposal_opening import subject_of, tether_of
from quorate_operator.reconcile.proposal_status import shown
from quorate_operator.reconcile.protocol import Context, Note, Plan
from quorate_operator.store.ports import Recorded


async def gather_evidence(gathered: Gathered, docket: Docket, context: Context) -> Gathered:
    """The bundle of the newest decision, its projection, and what an emergency's reversal needs."""
    decided = docket.step(EventType.DECIDED)
    executed = docket.step(EventType.EXECUTED)
    if executed is not None and "reverseDigest" in executed.detail:
        content = await context.content.get([executed.detail["reverseDigest"]])
        gathered = replace(gathered, reverse=content.get(executed.detail["reverseDigest"]))
    if decided is None:
        return gathered
    evidence = await _evidence(docket, decided, executed, context)
    projections = project(context.view, digest_of_bytes(evidence), evidence)
    return replace(gathered, evidence=evidence, projections=projections)


async def _evidence(docket: Docket, decided: Recorded, executed: Recorded | None, context: Context) -> bytes:
    """The canonical bytes of the bundle: a function of the log alone, so that it is always the same."""
    held = docket.__dict__.get("_evidence")
    if held is not None and held[0] == decided.entry_id:
        return bytes(held[1])
    outcome = (await context.content.get([decided.detail["outcomeDigest"]])).get(decided.detail["outcomeDigest"])
    if outcome is None:
        raise Stalled(Reason.LOG_BEHIND, f"the outcome {decided.detail['outcomeDigest']} is not in the database")
    before = [item for item in docket.entries if item.sequence < decided.sequence]
    revisions = {
        name: [await _revision(name, constitution, index, context) for index in _used(constitution, decided)]
        for name, constitution in docket.constitutions.items()
    }
    ratified = decided.detail["outcome"] in (Reason.RATIFIED, Reason.REVERSED)
    second = executed.timestamp // 1_000_000 if ratified and executed is not None else docket.opened
    bundle = build(
        mesh_id=str(docket.fields["meshId"]),
        domain=str(docket.fields["domain"]),
        revisions=revisions,
        electorates={name: _electorate(item, second) for name, item in docket.constitutions.items()},
        proposal=docket.statement,
        signature=docket.opening.detail["signature"],
        opening=docket.opening.content,
        acts=[signed(item, "act") for item in before if item.event_type in (ACT_ACCEPTED, ACT_REFUSED)],
        votes=[signed(item, "vote") for item in before if item.event_type in (VOTE_ACCEPTED, VOTE_REFUSED)],
        delegations=[],
        outcome=parse_json(outcome),
        outcome_entry=decided.content,
        executing=executed.content if ratified and executed is not None else None,
    )
    data = canonical_bytes(bundle)
    docket.__dict__["_evidence"] = (decided.entry_id, data)
    return data


def _used(constitution: Constitution, decided: Recorded) -> range:
    """Indexes of the revisions from 1 to the last one that was accepted before the decision."""
    second = decided.timestamp // 1_000_000
    return range(sum(item.recorded <= second for item in constitution.history.accepted))


def _electorate(constitution: Constitution, second: int) -> Mapping[str, Any]:
    revision = constitution.history.at(second)
    assert revision is not None
    return revision.electorate.document


async def _revision(name: str, constitution: Constitution, index: int, context: Context) -> RevisionRecord:
    entry, revision = constitution.accepting[index], constitution.history.accepted[index].revision
    authority: dict[str, Any] = {"kind": entry.detail["authority"]}
    if authority["kind"] == "Proposal":
        entries = await context.log.about(revision.digest)
        executing = next(item for item in entries if item.event_type == EventType.EXECUTED)
        authority |= {"evidenceDigest": executing.detail["evidenceDigest"], "entry": executing.content}
    return RevisionRecord(name, revision.spec, entry.content, authority)


def record_execution(gathered: Gathered, docket: Docket, now: int) -> Plan | None:
    """The executing or failing entry; None (and so only the status) while execution has to wait."""
    life, domain = docket.life, docket.constitution
    assert gathered.evidence is not None
    assert life.execute_after is not None
    stopped = threshold_reached(
        domain.history, docket.digest, "Stop", docket.acts, opened=docket.opened, until=gathered.at
    )
    if stopped is not None:
        result: Executed | NotExecuted | Postponed = NotExecuted(Phase.STOPPED, Reason.STOPPED, "stopped by the admins")
    elif docket.fields["type"] == "Emergency" and not still_endorsed(docket.case, gathered.at):
        message = "the endorsing admin keys in force no longer reach adminThreshold"
        result = Postponed(Reason.NOT_ENDORSED, message)
    else:
        window = Window(life.execute_after, life.execute_before)
        situation = gathered.situation(domain, docket.fields)
        result = execute(docket.fields, docket.digest, situation, window=window, now=gathered.at)
    if isinstance(result, Postponed):
        return shown(gathered, docket, now, postponed=result)
    if isinstance(result, NotExecuted):
        note = Note("Warning", str(result.reason), result.message)
        entry = _step(gathered, docket, EventType.FAILED, result.detail())
        return Plan(chain=domain.chain, entries=(entry,), events=(note,), dirty=(key_of(gathered.obj),))
    return _executed(gathered, docket, result)


def _step(
    gathered: Gathered, docket: Docket, event: EventType, detail: Mapping[str, Any], about: tuple[str, ...] = ()
) -> Draft:
    return Draft(
        docket.digest,
        docket.head.entry_id,
        event,
        subject_of(gathered.obj),
        tether_of(gathered, docket.constitution, docket.fields["target"]),
        gathered.at * 1_000_000,
        question="proposal.execute",
        about=about,
        detail=detail,
    )


def _executed(gathered: Gathered, docket: Docket, result: Executed) -> Plan:
    """Execution and the contract's change in one transaction: both entries, the content, the evidence."""
    assert gathered.evidence is not None
    evidence_digest = digest_of_bytes(gathered.evidence)
    about = (evidence_digest, result.result_digest)
    entries = [_step(gathered, docket, EventType.EXECUTED, result.detail(evidence_digest), about)]
    content = {evidence_digest: gathered.evidence}
    dirty = [key_of(gathered.obj)]
    message = "executed: the revision may be applied now"
    if result.content is not None and gathered.contract is not None:
        entries.append(contract_changed(gathered, docket, gathered.contract, result.content, evidence_digest))
        content[result.content.digest] = result.content.data
        dirty.append(key_of(gathered.contract.obj))
        message = f"executed: version {result.content.version} is in force"
    if result.reverse is not None:
        content[result.reverse.digest] = result.reverse.data
    return Plan(
        chain=docket.constitution.chain,
        entries=tuple(entries),
        content=content,
        events=(Note("Normal", Reason.EXECUTED, message),),
        dirty=tuple(dirty),
    )
