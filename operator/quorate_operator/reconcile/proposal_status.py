"""What a proposal's status says: every number, the outcome and why (api.md; governance.md, "Tally")."""

from collections.abc import Mapping
from typing import Any

from quorate.api.conditions import ConditionType, Observation, Reason, find_condition, observe, some_of
from quorate.api.tally import MAX_REFUSED, Phase
from quorate.canonical import digest_of_bytes, format_time
from quorate.conflicts.effect import Held, is_held
from quorate.notifications.proposals import proposal_notices
from quorate.proposals.amendment import Standing
from quorate.proposals.decision import JudgedVote, Progress, TallyState
from quorate.proposals.execution import Postponed
from quorate.proposals.lifecycle import EventType, due, shown_phase
from quorate.proposals.next_step import next_step
from quorate_operator.kube.conditions import status_with
from quorate_operator.kube.resources import Key
from quorate_operator.reconcile.docket import Docket
from quorate_operator.reconcile.projection import content_name
from quorate_operator.reconcile.proposal_gathered import Gathered
from quorate_operator.reconcile.protocol import Note, Plan
from quorate_operator.view import View

_TESTS = {
    "quorum": "quorum",
    "minimumVoters": "minimumVoters",
    "threshold": "threshold",
    "veto": "vetoTest",
    "objection": "objection",
}


def unopened(
    gathered: Gathered, reason: str, message: str, now: int, *, stalled: bool, outcome: str | None = None
) -> Plan:
    """The status of a proposal that is not open: a draft, one that waits, or one that is refused.

    `outcome` is the digest of the outcome document of a refusal.
    """
    progress = ConditionType.STALLED if stalled else ConditionType.RECONCILING
    observations = [
        observe(ConditionType.READY, False, reason, message),
        observe(ConditionType.ACCEPTED, False, reason, message),
        observe(ConditionType.SUCCEEDED, None, reason, message),
    ]
    if reason != Reason.DRAFT:
        observations.append(observe(progress, True, reason, message))
    fields: dict[str, Any] = {"phase": str(Phase.DRAFT), "outcomeDigest": outcome}
    if gathered.live is not None:
        fields["digest"] = gathered.live.digest
    remove = (ConditionType.SPEC_ACCEPTED,)
    return Plan(status=status_with(gathered.obj, fields, observations, now=now, remove=remove))


def tally_fields(state: TallyState) -> dict[str, Any]:
    """`status.tally`: sums as integers, products as decimal strings."""
    sums = state.sums
    tally: dict[str, Any] = {
        "approve": sums.approve,
        "reject": sums.reject,
        "abstain": sums.abstain,
        "veto": sums.veto,
        "cast": sums.cast,
        "outstanding": sums.outstanding,
        "voters": sums.voters,
    }
    for test in state.tests:
        if test.name in _TESTS:
            tally[_TESTS[test.name]] = {"left": str(test.left), "right": str(test.right), "holds": test.holds}
    if state.quorum_made_by is not None:
        tally["quorumMadeBy"] = state.quorum_made_by
    refused = [vote for vote in state.votes if not vote.counted and vote.reason not in _REPLACED]
    if refused:
        tally |= {"refused": len(refused), "refusedVotes": [_refused(vote) for vote in refused[:MAX_REFUSED]]}
    return tally


_REPLACED = (Reason.OVERTAKEN, Reason.DUPLICATE, Reason.RETRACTED)


def _refused(vote: JudgedVote) -> dict[str, Any]:
    """Bounded, whatever was written: a refused vote may name anybody."""
    ballot = vote.ballot
    return {
        "voter": str(ballot.holder)[:63],
        "keyName": str(ballot.key_name)[:63],
        "sequence": ballot.sequence,
        "choice": str(ballot.choice)[:63],
        "reason": str(vote.reason),
    }


def _electorate(state: TallyState) -> dict[str, Any]:
    electorate = state.revision.electorate
    return {
        "digest": electorate.digest,
        "members": len(electorate.members),
        "totalWeight": electorate.total_weight,
    }


def _time(second: int | None) -> str | None:
    return None if second is None else format_time(second)


def _fields(gathered: Gathered, docket: Docket, progress: Progress, phase: Phase) -> dict[str, Any]:
    life, state = docket.life, progress.tally
    fields: dict[str, Any] = {
        "phase": str(phase),
        "digest": docket.digest,
        "revision": docket.fields["revision"],
        "domainRevision": state.revision.revision,
        "electorate": _electorate(state),
        "openedAt": _time(docket.opened),
        "votingStarts": _time(docket.opened),
        "votingEnds": format_time(progress.deadline),
        "tally": tally_fields(state),
        "outcome": life.outcome,
        "reason": _reason(gathered, docket),
        "decidedAt": _time(life.decided_at),
        "executeAfter": _time(life.execute_after),
        "executeBefore": _time(life.execute_before),
        "executedAt": _time(life.executed_at),
        "ratificationEnds": _time(life.ratification_ends),
        "conflicts": [dict(item) for item in gathered.rivals] if life.open and gathered.rivals else None,
        "policyConflicts": [_reference(item) for item in docket.conflicts[:32]] or None,
        "lastEntry": str(docket.head.entry_id),
    }
    if len(progress.tallies) > 1:
        fields["domains"] = [_domain(name, item) for name, item in sorted(progress.tallies.items())]
    decided = docket.step(EventType.DECIDED)
    if decided is not None:
        fields["outcomeDigest"] = decided.detail["outcomeDigest"]
    if gathered.evidence is not None:
        digest = digest_of_bytes(gathered.evidence)
        fields |= {"evidenceDigest": digest, "evidenceRef": content_name(digest)}
    if gathered.proof_digest is not None:
        fields["proofRef"] = content_name(gathered.proof_digest)
    return fields


def _reference(held: Held) -> dict[str, str]:
    conflict = held.conflict
    found = {"namespace": held.namespace, "name": held.name, "digest": conflict.digest}
    return found if held.outcome is None else {**found, "outcome": held.outcome}


def _reason(gathered: Gathered, docket: Docket) -> str | None:
    """Why the outcome is what it is: of an execution that needs no reason of its own, why it was adopted."""
    if awaits_revision(docket, gathered.at):
        return Reason.AWAITING_REVISION
    if docket.life.reason == Reason.AWAITING_REVISION:
        accepted = _revision_accepted(docket)
        return str(Reason.EXECUTED if accepted else Reason.WINDOW_CLOSED)
    decided = docket.step(EventType.DECIDED)
    reason = docket.life.reason or (None if decided is None else decided.detail.get("reason"))
    return None if reason is None else str(reason)


def _revision_accepted(docket: Docket) -> bool:
    digest = docket.fields["change"]["resultDigest"]
    return any(item.revision.digest == digest for item in docket.constitution.history.accepted)


def awaits_revision(docket: Docket, at: int) -> bool:
    """Whether a revision that was authorised may still be applied, and was not (governance.md, "Lifecycle")."""
    life = docket.life
    if life.reason != Reason.AWAITING_REVISION or _revision_accepted(docket):
        return False
    return life.execute_before is None or at <= life.execute_before


def _domain(name: str, state: TallyState) -> dict[str, Any]:
    decided = state.decision
    found: dict[str, Any] = {
        "name": name,
        "revision": state.revision.revision,
        "electorate": _electorate(state),
        "tally": tally_fields(state),
        "votingEnds": format_time(state.deadline),
    }
    if decided is not None:
        found |= {"outcome": str(decided.outcome), "reason": str(decided.reason)}
    return found


def _observations(
    gathered: Gathered, docket: Docket, progress: Progress, postponed: Postponed | None
) -> list[Observation]:
    from quorate_operator.reconcile.proposal_opening import spec_verdict  # noqa: PLC0415 - it builds on this module

    life = docket.life
    verdict = spec_verdict(gathered, docket)
    accepted = verdict.standing is not Standing.REFUSED
    spec = observe(ConditionType.SPEC_ACCEPTED, accepted, str(verdict.reason), verdict.message)
    if life.open:
        message = f"open until {format_time(progress.deadline)}: {summary(progress.tally)}"
        ready, reason = message, str(Reason.OPEN)
    else:
        reason = _reason(gathered, docket) or str(life.phase)
        ready = f"{life.phase}: {reason}; {summary(progress.tally)}"
    if postponed is not None:
        ready = f"{life.phase}: {postponed.message}"
        reason = str(postponed.reason)
    following = f"{ready}. Next: {_next(gathered, docket, progress)}."
    return [
        observe(ConditionType.READY, True, reason, following),
        observe(ConditionType.ACCEPTED, True, Reason.ACCEPTED, f"revision {docket.fields['revision']} is the open one"),
        observe(ConditionType.SUCCEEDED, life.succeeded, str(life.phase), ready),
        spec,
    ]


def _next(gathered: Gathered, docket: Docket, progress: Progress) -> str:
    """What has to be done, by whom, until when."""
    held = [f"{item.namespace}/{item.name}" for item in docket.conflicts if item.open]
    if held:
        return f"the arbitrators of PolicyConflict {some_of(held)} vote: see `quorate conflict show`"
    if awaits_revision(docket, gathered.at):
        digest, before = docket.fields["change"]["resultDigest"], docket.life.execute_before
        until = "" if before is None else f" until {format_time(before)}"
        return f"apply the revision of TrustDomain {docket.fields['target']['name']} with digest {digest}{until}"
    return next_step(docket.life, progress.tallies, name=gathered.obj["metadata"]["name"])


def summary(state: TallyState) -> str:
    """The arithmetic in one sentence."""
    parts = [f"approve {state.sums.approve}", f"reject {state.sums.reject}", f"abstain {state.sums.abstain}"]
    parts += [f"veto {state.sums.veto}", f"outstanding {state.sums.outstanding}"]
    for test in state.tests:
        sign = ">=" if test.name in ("quorum", "minimumVoters", "endorsements") else ">"
        parts.append(f"{test.name} {test.left} {sign} {test.right} {'holds' if test.holds else 'fails'}")
    return ", ".join(parts)


def shown(gathered: Gathered, docket: Docket, now: int, *, postponed: Postponed | None = None) -> Plan:
    """The status of an opened proposal, what to project, and when to look again."""
    second = gathered.at if docket.life.open else _as_of(docket, gathered.at)
    progress = docket.progress(second)
    phase = shown_phase(docket.life, conflict=is_held(docket.conflicts))
    fields = _fields(gathered, docket, progress, phase)
    observations = _observations(gathered, docket, progress, postponed)
    current = find_condition(gathered.obj.get("status"), ConditionType.SPEC_ACCEPTED)
    spec = observations[-1]
    events: tuple[Note, ...] = ()
    if spec.status == "False" and (current is None or current.get("reason") != spec.reason):
        events = (Note("Warning", spec.reason, spec.message),)
    events += _conflict(gathered, fields)
    todo = due(docket.life, gathered.at)
    wake = progress.next_check if docket.life.open else todo.at
    if postponed is not None and postponed.until is not None:
        wake = postponed.until
    if awaits_revision(docket, gathered.at) and docket.life.execute_before is not None:
        wake = docket.life.execute_before + 1
    return Plan(
        status=status_with(gathered.obj, fields, observations, now=now),
        commands=gathered.projections,
        events=events,
        wake_at=None if wake is None else float(max(wake, now)),
        notices=proposal_notices(
            docket.life,
            progress,
            digest=docket.digest,
            namespace=gathered.obj["metadata"]["namespace"],
            name=gathered.obj["metadata"]["name"],
            lead=gathered.lead,
        ),
        dirty=gathered.outdated,
    )


def _conflict(gathered: Gathered, fields: Mapping[str, Any]) -> tuple[Note, ...]:
    """A warning when another proposal on the same target is open too; voting goes on (governance.md, "Conflicts")."""
    told = {item["digest"] for item in (gathered.obj.get("status") or {}).get("conflicts") or ()}
    new = [item for item in fields["conflicts"] or () if item["digest"] not in told]
    if not new:
        return ()
    names = some_of([f"{item['namespace']}/{item['name']}" for item in new])
    return (Note("Warning", Reason.CONFLICT, f"open on the same target: {names}; the first that is executed wins"),)


def _as_of(docket: Docket, at: int) -> int:
    """The second of the deciding entry: what was shown then stays shown."""
    return max(
        (step.timestamp // 1_000_000 for step in docket.steps if step.event_type.endswith("decided")), default=at
    )


def outdated_votes(docket: Docket, view: View, at: int) -> tuple[Key, ...]:
    """Votes whose `Counted` says something else than the tally does now."""
    reasons = docket.judged(at)
    found = []
    for key in view.by("Vote", "proposal", docket.digest):
        status = (view.get(key) or {}).get("status") or {}
        counted = find_condition(status, ConditionType.COUNTED)
        wanted = reasons.get(status.get("digest") or "")
        if counted is not None and wanted is not None and counted["reason"] not in (wanted, Reason.DUPLICATE):
            found.append(key)
    return tuple(found)
