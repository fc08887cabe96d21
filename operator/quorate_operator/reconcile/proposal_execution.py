"""Execution of an adopted proposal (governance.md, "Lifecycle")."""

from collections.abc import Mapping
from typing import Any

from quorate.api.conditions import Reason
from quorate.api.tally import Phase
from quorate.audit.entry import Draft
from quorate.canonical import digest_of_bytes
from quorate.conflicts.effect import loss
from quorate.proposals.acts import threshold_reached
from quorate.proposals.decision import still_endorsed
from quorate.proposals.execution import Executed, NotExecuted, Postponed, Window, execute
from quorate.proposals.lifecycle import EventType
from quorate_operator.kube.resources import Key, key_of
from quorate_operator.reconcile.docket import Docket
from quorate_operator.reconcile.proposal_change import contract_changed
from quorate_operator.reconcile.proposal_gathered import Gathered
from quorate_operator.reconcile.proposal_opening import subject_of, tether_of
from quorate_operator.reconcile.proposal_status import shown
from quorate_operator.reconcile.protocol import Note, Plan


def is_stopped(gathered: Gathered, docket: Docket) -> bool:
    """Whether adminThreshold admins stopped what was adopted; it ends at once, whatever the timelock says."""
    if docket.life.phase is not Phase.ADOPTED:
        return False
    history = docket.constitution.history
    stops = threshold_reached(history, docket.digest, "Stop", docket.acts, opened=docket.opened, until=gathered.at)
    return stops is not None


def ends_now(gathered: Gathered, docket: Docket) -> bool:
    """Whether it ends although its timelock may run: the admins stopped it, or arbitrators decided against it."""
    if docket.life.phase is not Phase.ADOPTED:
        return False
    return is_stopped(gathered, docket) or loss(docket.conflicts, docket.digest) is not None


def _lost(docket: Docket) -> NotExecuted | None:
    """How a proposal ends that did not win one of its conflicts."""
    lost = loss(docket.conflicts, docket.digest)
    if lost is None:
        return None
    reason, held = lost
    name = f"{held.namespace}/{held.name}"
    return NotExecuted(Phase.FAILED, reason, f"conflict {name} ({held.cause}) was resolved: {held.outcome}")


def record_execution(gathered: Gathered, docket: Docket, now: int) -> Plan | None:
    """The executing or failing entry; None (and so only the status) while execution has to wait."""
    life, domain = docket.life, docket.constitution
    assert gathered.evidence is not None
    assert life.execute_after is not None
    if is_stopped(gathered, docket):
        result: Executed | NotExecuted | Postponed = NotExecuted(Phase.STOPPED, Reason.STOPPED, "stopped by the admins")
    elif (lost := _lost(docket)) is not None:
        result = lost
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
    if result.content is None:
        # Its manifest may be there already, refused until now.
        dirty.append(Key("TrustDomain", "", docket.constitution.latest.name))
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
