"""PolicyConflict: opened, escalated, resolved, each recorded before it takes effect (docs/conflicts.md)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from quorate.api.conditions import ConditionType, Observation, Reason, observe, some_of
from quorate.api.policy_conflict import MAX_ARBITRATORS, ConflictOutcome, Level
from quorate.audit.entry import Draft, Tether
from quorate.canonical import NotCanonicalError, format_time
from quorate.conflicts.arbitration import LevelState, Progress, Step
from quorate.conflicts.document import Conflict, ConflictEvent
from quorate.conflicts.record import step_detail
from quorate.notifications.notice import Cause as NoticeCause
from quorate.notifications.notice import Notice
from quorate.proposals.lifecycle import SETTLE_SECONDS
from quorate_operator.kube.conditions import status_with
from quorate_operator.kube.resources import Key, Obj, key_of
from quorate_operator.reconcile.conflict_docket import ConflictDocket, Conflicts
from quorate_operator.reconcile.conflict_raised import Raised, gather_raised, open_raised, refused, waits
from quorate_operator.reconcile.domains import Constitution, Domains
from quorate_operator.reconcile.proposal_decision import unrecorded_votes
from quorate_operator.reconcile.protocol import Context, Note, Plan, Relation
from quorate_operator.view import View


@dataclass(frozen=True)
class Gathered:
    """Everything about one conflict at second `at`.

    `raised` is there while it is not open, `unseen` are votes that must be recorded first.
    """

    obj: Obj
    at: int
    node_id: str
    constitution: Constitution | None
    conflict: Conflict | None
    docket: ConflictDocket | None
    raised: Raised | None = None
    unseen: tuple[Key, ...] = ()
    outdated: tuple[Key, ...] = ()


class PolicyConflicts:
    """Reconciles PolicyConflicts."""

    kind = "PolicyConflict"

    def __init__(self, domains: Domains, conflicts: Conflicts) -> None:
        self._domains = domains
        self._conflicts = conflicts
        self.relations: Mapping[str, Relation] = {
            "Vote": _of_vote,
            "Attestation": _of_attestation,
            "TrustDomain": _of_domain,
            "GovernanceProposal": _of_party,
            "PolicyConflict": _of_resolved,
        }

    async def gather(self, keys: Sequence[Key], context: Context) -> dict[Key, Gathered]:
        """A few queries a conflict: conflicts are rare, and each is decided on its own."""
        objects = {key: obj for key in keys if (obj := context.view.get(key)) is not None}
        return {key: await self._one(obj, context) for key, obj in objects.items()}

    async def _one(self, obj: Obj, context: Context) -> Gathered:
        name, at = obj["spec"]["domain"], int(context.clock())
        constitution = (await self._domains.get(context, [name])).get(name)
        if constitution is None:
            return Gathered(obj, at, context.config.node_id, None, None, None)
        conflict = Conflict.of(constitution.latest.mesh_id, obj["spec"])
        if _fault(conflict) is not None:
            return Gathered(obj, at, context.config.node_id, constitution, conflict, None)
        docket = await self._conflicts.get(context, conflict.digest)
        gathered = Gathered(obj, at, context.config.node_id, constitution, conflict, docket)
        if docket is None:
            return replace(gathered, raised=await gather_raised(obj, conflict, constitution, context, at))
        return replace(
            gathered,
            unseen=await _unseen(docket, at, context),
            outdated=tuple(context.view.by("Vote", "proposal", docket.digest)),
        )

    def decide(self, gathered: Gathered, now: int) -> Plan:
        """The next step of the arbitration, or its status."""
        obj, docket = gathered.obj, gathered.docket
        if gathered.constitution is None or gathered.conflict is None:
            # Without the domain there is no meshId, and so no digest.
            message = f"spec.domain {obj['spec']['domain']!r} has no accepted revision yet"
            return waits(obj, Reason.NO_ACCEPTED_REVISION, message, now)
        if gathered.constitution.latest.home_hub != gathered.node_id:
            message = f"{gathered.constitution.latest.home_hub} decides for this domain"
            return waits(obj, Reason.NOT_HOME_HUB, message, now)
        if docket is None and gathered.raised is None:
            return refused(obj, Reason.INVALID, str(_fault(gathered.conflict)), now)
        if docket is None:
            assert gathered.raised is not None
            return open_raised(obj, gathered.raised, gathered.conflict, gathered.constitution, now)
        if gathered.unseen:
            return Plan(dirty=gathered.unseen, wake_at=now + 1)
        return _record(gathered, docket) or _shown(gathered, docket, now)


def _fault(conflict: Conflict) -> str | None:
    """Why the spec is no conflict that anybody could vote on; None: it is one."""
    try:
        digest = conflict.digest
    except NotCanonicalError as error:
        return f"spec{error}"
    return None if digest and len(conflict.pair) == len(conflict.parties) else "spec.parties: both have one digest"


async def _unseen(docket: ConflictDocket, at: int, context: Context) -> tuple[Key, ...]:
    """Votes that the API server has and the log has not, asked for when a level is about to be decided."""
    due = _due(docket, docket.progress(at))
    if not due:
        return ()
    listed = await context.client.list_all("Vote", fields=f"spec.proposal.digest={docket.digest}")
    for vote in listed:
        context.view.fold(vote)
    last = max(state.step.at for state in due if state.step is not None)
    return unrecorded_votes(docket.conflict.mesh_id, docket.recorded_subjects(), listed, last)


def _due(docket: ConflictDocket, progress: Progress) -> list[LevelState]:
    """Levels that were decided and not recorded yet, in order."""
    if docket.resolution is not None:
        return []
    return [state for state in progress.levels if state.step is not None and state.level.revision not in docket.closed]


def _record(gathered: Gathered, docket: ConflictDocket) -> Plan | None:
    """The entries of the levels that are decided; None where nothing is due."""
    due = _due(docket, docket.progress(gathered.at))
    if not due:
        return None
    drafts: list[Draft] = []
    events = []
    for state in due:
        assert state.step is not None
        previous = docket.head.entry_id if not drafts else drafts[-1].entry_id
        drafts.append(_step(gathered, docket, state, state.step, previous))
        events.append(_event(state, state.step))
    return Plan(
        chain=docket.constitution.chain,
        entries=tuple(drafts),
        events=tuple(events),
        dirty=(key_of(gathered.obj), *_parties(docket.conflict)),
    )


def _parties(conflict: Conflict) -> list[Key]:
    return [Key(party.kind, party.namespace, party.name) for party in conflict.parties if party.namespace is not None]


def _step(gathered: Gathered, docket: ConflictDocket, state: LevelState, step: Step, previous: Any) -> Draft:
    tether = docket.opening.payload["tether"]
    subject = {name: docket.opening.payload["subject"].get(name) for name in ("kind", "namespace", "name")}
    return Draft(
        docket.digest,
        previous,
        ConflictEvent.ESCALATED if step.outcome is None else ConflictEvent.RESOLVED,
        subject,
        Tether(docket.constitution.latest.phase_id, tether["contractVersion"], tuple(tether["clauses"])),
        gathered.at * 1_000_000,
        question="conflict.decide",
        about=sorted(docket.conflict.pair),
        detail=step_detail(state, step),
    )


def _event(state: LevelState, step: Step) -> Note:
    if step.outcome is None:
        return Note("Warning", Reason.ESCALATED, f"level {state.level} could not decide: {step.reason}")
    blocked = step.outcome is ConflictOutcome.BLOCKED
    message = f"{step.outcome} at level {state.level}: {step.reason}"
    return Note("Warning" if blocked else "Normal", str(step.reason if blocked else Reason.RESOLVED), message)


def _shown(gathered: Gathered, docket: ConflictDocket, now: int) -> Plan:
    """Level, arbitrators and counts, or how it ended."""
    obj, detail, resolution = gathered.obj, docket.opening.detail, docket.resolution
    progress = docket.progress(gathered.at)
    state = progress.current
    fields: dict[str, Any] = {
        "digest": docket.digest,
        "cause": detail["cause"],
        "severity": detail["severity"],
        "openedAt": format_time(docket.opened),
        "raisedBy": detail.get("raisedBy"),
        "level": str(state.level),
        "voteRevision": state.level.revision,
        "arbitrators": state.document["arbitrators"][:MAX_ARBITRATORS],
        "votes": state.counts.document,
        "endsAt": format_time(state.ends),
        "lastEntry": str(docket.head.entry_id),
    }
    wake = None if resolution is not None else progress.next_check
    if resolution is not None:
        fields |= {name: resolution.detail[name] for name in ("outcome", "reason", "decidedAt")}
    elif docket.escalations:
        fields["reason"] = docket.escalations[-1].detail["reason"]
    return Plan(
        status=status_with(obj, fields, _observations(docket, state), now=now),
        wake_at=None if wake is None else float(max(wake, now)),
        notices=() if resolution is not None else _notices(obj, docket, state),
        dirty=tuple(key for key in gathered.outdated if _is_new(obj, fields)),
    )


def _is_new(obj: Obj, fields: Mapping[str, Any]) -> bool:
    """Whether what is shown of the count differs from before: then votes may count differently too."""
    status = obj.get("status") or {}
    return any(status.get(name) != fields.get(name) for name in ("votes", "level", "outcome"))


def _observations(docket: ConflictDocket, state: LevelState) -> list[Observation]:
    resolution = docket.resolution
    counts = state.counts.document
    numbers = ", ".join(f"{name} {value}" for name, value in counts.items())
    if resolution is None:
        who = some_of([seat.node_id for seat in state.seats if seat.node_id not in state.choices]) or "nobody"
        message = (
            f"level {state.level} decides until {format_time(state.ends)}: {numbers}. Next: {who} vote with "
            f"`quorate conflict arbitrate`"
        )
        reason = Reason.ESCALATED if docket.escalations else Reason.ARBITRATION
        return [
            observe(ConditionType.READY, True, reason, message),
            observe(ConditionType.RESOLVED, None, reason, message),
        ]
    outcome, reason = resolution.detail["outcome"], resolution.detail["reason"]
    blocked = outcome == ConflictOutcome.BLOCKED
    message = f"{outcome} at level {resolution.detail['level']}, {reason}: {numbers}"
    said = Reason.UNRESOLVED if blocked else Reason.RESOLVED
    return [
        observe(ConditionType.READY, True, said, message),
        observe(ConditionType.RESOLVED, not blocked, said, message),
    ]


def _notices(obj: Obj, docket: ConflictDocket, state: LevelState) -> tuple[Notice, ...]:
    """One for each domain whose members sit at this level and have not voted."""
    meta = obj["metadata"]
    step = f"quorate conflict arbitrate {meta['name']} -n {meta['namespace']} party-a|party-b|compromise --key KEY"
    found = []
    for domain in sorted({seat.domain for seat in state.seats}):
        waiting = sorted(
            seat.node_id for seat in state.seats if seat.domain == domain and seat.node_id not in state.choices
        )
        found.append(
            Notice(
                NoticeCause.ARBITRATION,
                "PolicyConflict",
                meta["namespace"],
                meta["name"],
                docket.digest,
                domain,
                state.starts + (0 if state.level is Level.DOMAIN else SETTLE_SECONDS),
                state.ends,
                tuple(waiting),
                step,
            )
        )
    return tuple(found)


def _of_vote(obj: Obj, view: View) -> Sequence[Key]:
    return view.by("PolicyConflict", "digest", (obj["spec"].get("proposal") or {}).get("digest", ""))


def _of_attestation(obj: Obj, view: View) -> Sequence[Key]:
    subject = obj["spec"].get("subject") or {}
    return view.by("PolicyConflict", "digest", subject.get("digest", "")) if subject.get("digest") else ()


def _of_domain(obj: Obj, view: View) -> Sequence[Key]:
    """Those that wait for the domain; whoever is open follows the log."""
    keys = view.by("PolicyConflict", "domain", obj["metadata"]["name"])
    return [key for key in keys if "outcome" not in ((view.get(key) or {}).get("status") or {})]


def _of_resolved(obj: Obj, view: View) -> Sequence[Key]:
    """Those that wait until their member has fewer open; one that is resolved makes room."""
    status = obj.get("status") or {}
    if "outcome" not in status or "raisedBy" not in status:
        return ()
    return view.by("PolicyConflict", "waits", Reason.TOO_MANY_CONFLICTS)


def _of_party(obj: Obj, view: View) -> Sequence[Key]:
    """Raised conflicts that wait for a party to open."""
    digest = (obj.get("status") or {}).get("digest")
    return view.by("PolicyConflict", "awaits", digest) if digest else ()
