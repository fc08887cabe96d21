"""A Vote on a PolicyConflict: recorded once, counted as the arbitration says (docs/conflicts.md, "The vote")."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quorate.api.conditions import ConditionType, Observation, Reason, find_condition, observe
from quorate.audit.entry import Draft, Tether
from quorate.audit.ids import unsigned_subject
from quorate.canonical import format_time, parse_time
from quorate.conflicts.arbitration import CHOICES, SIDES, LevelState, SeatQuestion
from quorate.conflicts.arbitrators import by_domain
from quorate.identity.ed25519 import KeyRefusedError, parse_public_key
from quorate.proposals.votes import Ballot, judge_vote, vote_key
from quorate_operator.kube.conditions import status_with
from quorate_operator.kube.resources import Key, Obj, key_of
from quorate_operator.reconcile.conflict_docket import ConflictDocket, Conflicts
from quorate_operator.reconcile.docket import VOTE_ACCEPTED, VOTE_REFUSED
from quorate_operator.reconcile.protocol import Context, Note, Plan, Relation
from quorate_operator.reconcile.vote import EXPLAIN, Votes
from quorate_operator.store.ports import Recorded
from quorate_operator.view import View

_KEPT = frozenset({Reason.DUPLICATE, Reason.OVERTAKEN, Reason.RETRACTED, Reason.OUTVOTED, Reason.THRESHOLD_NOT_REACHED})
"""In order, but they do not stand: Ready, though not counted."""
_EXPLAIN = {
    **EXPLAIN,
    Reason.UNKNOWN_CHOICE: "spec.choice {choice!r} is none of PartyA, PartyB, Compromise, Retract",
    Reason.NOT_IN_ELECTORATE: "spec.voter {voter} is no arbitrator of level {level} for domain {domain}",
    Reason.OTHER_PROPOSAL: "spec.revision {revision}: level {level} decides now, votes carry revision {wanted}",
    Reason.TOO_LATE: "recorded at {recorded}, after its level was over",
}


@dataclass(frozen=True)
class Gathered:
    """A vote on an opened conflict; `recorded` is the last entry of its statement, `refused` that of the object."""

    obj: Obj
    docket: ConflictDocket
    recorded: Recorded | None
    refused: Recorded | None
    at: int
    node_id: str


class AllVotes:
    """Votes on proposals as `inner` has them, and those on conflicts."""

    kind = "Vote"

    def __init__(self, inner: Votes, conflicts: Conflicts) -> None:
        self._inner, self._conflicts = inner, conflicts
        self.relations: Mapping[str, Relation] = {**inner.relations, "PolicyConflict": _waiting}

    async def gather(self, keys: Sequence[Key], context: Context) -> dict[Key, Any]:
        """What a vote is on is in its digest; a conflict is looked for only where one may be meant."""
        dockets: dict[str, ConflictDocket | None] = {}
        found: dict[Key, Any] = {}
        for key in keys:
            obj = context.view.get(key)
            if obj is None or not _may_arbitrate(obj, context.view):
                continue
            digest = obj["spec"]["proposal"]["digest"]
            if digest not in dockets:
                dockets[digest] = await self._conflicts.get(context, digest)
            docket = dockets[digest]
            if docket is not None:
                subject, unsigned = conflict_ballot(obj, docket).digest, unsigned_subject(obj["metadata"]["uid"])
                heads = await context.log.heads([subject, unsigned])
                at = int(context.clock())
                found[key] = Gathered(obj, docket, heads.get(subject), heads.get(unsigned), at, context.config.node_id)
        return {**await self._inner.gather([key for key in keys if key not in found], context), **found}

    def decide(self, gathered: Any, now: int) -> Plan:
        """Record a vote on a conflict or say how it counts; any other is the inner one's."""
        if not isinstance(gathered, Gathered):
            return self._inner.decide(gathered, now)
        home = gathered.docket.constitution.latest.home_hub
        if home != gathered.node_id:
            message = f"{home} decides for this domain"
            return Plan(status=status_with(gathered.obj, {}, _waits(Reason.NOT_HOME_HUB, message), now=now))
        return decide_vote(gathered, now)


def _waits(reason: str, message: str) -> list[Observation]:
    return [
        observe(ConditionType.READY, False, reason, message),
        observe(ConditionType.RECONCILING, True, reason, message),
    ]


def _may_arbitrate(obj: Obj, view: View) -> bool:
    spec = obj["spec"]
    return spec["choice"] in SIDES or bool(view.by("PolicyConflict", "digest", spec["proposal"]["digest"]))


def _waiting(obj: Obj, view: View) -> Sequence[Key]:
    """Votes on a conflict that has just opened, or gone up a level."""
    digest = (obj.get("status") or {}).get("digest")
    keys = view.by("Vote", "proposal", digest) if digest else []
    return [key for key in keys if find_condition((view.get(key) or {}).get("status"), ConditionType.COUNTED) is None]


def conflict_ballot(obj: Obj, docket: ConflictDocket) -> Ballot:
    """The vote as the arbitration reads it."""
    return Ballot.of(docket.conflict.mesh_id, obj["spec"], parse_time(obj["metadata"]["creationTimestamp"]))


def decide_vote(gathered: Gathered, now: int) -> Plan:
    """Record the vote, or say how it counts."""
    obj, docket, entry = gathered.obj, gathered.docket, gathered.recorded
    ballot = conflict_ballot(obj, docket)
    if entry is not None and (entry.detail["signature"] == ballot.signature or _signature_holds(docket, ballot)):
        return _shown(obj, docket, ballot, entry, gathered.at, now)
    if gathered.refused is not None:
        return _refused(obj, gathered.refused, now)
    return _record(obj, docket, ballot, gathered.at, now)


def _refused(obj: Obj, entry: Recorded, now: int) -> Plan:
    seen = _observations(entry.detail["reason"], entry.detail["message"])
    return Plan(status=status_with(obj, {"weight": 0, "lastEntry": str(entry.entry_id)}, seen, now=now))


def _observations(reason: str, message: str) -> list[Observation]:
    counted = observe(ConditionType.COUNTED, reason == Reason.COUNTED, reason, message)
    if reason == Reason.COUNTED or reason in _KEPT:
        ready = Reason.COUNTED if reason == Reason.COUNTED else Reason.ACCEPTED
        return [counted, observe(ConditionType.READY, True, ready, message)]
    stalled = observe(ConditionType.STALLED, True, reason, message)
    return [counted, observe(ConditionType.READY, False, reason, message), stalled]


def _state(docket: ConflictDocket, ballot: Ballot, at: int) -> LevelState:
    """The level that the vote is on, if it was reached; else the current one."""
    progress = docket.progress(at)
    revision = ballot.statement.fields.get("revision")
    return next((state for state in progress.levels if state.level.revision == revision), progress.current)


def _judge(docket: ConflictDocket, ballot: Ballot, at: int) -> Reason | None:
    """Why the log refuses it; whether it counts is for the arbitration."""
    try:
        _ = ballot.made_at
    except ValueError:
        return Reason.INVALID
    state = _state(docket, ballot, at)
    closed = state.level.revision in docket.closed or docket.resolution is not None
    sitting = by_domain(state.seats)
    domain = str(ballot.statement.fields.get("domain"))
    name = domain if domain in sitting else docket.conflict.domain
    question = SeatQuestion(
        digest=docket.digest,
        revision=state.level.revision,
        type="Arbitration",
        domain=name,
        history=docket.constitutions[name].history,
        opened=docket.opened,
        choices=CHOICES,
        sitting=sitting.get(name, frozenset()),
    )
    return judge_vote(question, ballot, closes=-1 if closed else 2**53, at=None)


def _record(obj: Obj, docket: ConflictDocket, ballot: Ballot, at: int, now: int) -> Plan:
    reason = _judge(docket, ballot, at)
    subject = docket.opening.payload["subject"]
    conflict = Key("PolicyConflict", str(subject["namespace"]), str(subject["name"]))
    if reason is None:
        entry = _draft(obj, docket, ballot, ballot.digest, None, "", now)
        return Plan(chain=docket.constitution.chain, entries=(entry,), dirty=(conflict, key_of(obj)))
    message = _explain(reason, obj, docket, ballot, at)
    held = _signature_holds(docket, ballot)
    key = ballot.digest if held else unsigned_subject(obj["metadata"]["uid"])
    entry = _draft(obj, docket, ballot, key, reason, message, now)
    fields = {"digest": ballot.digest, "lastEntry": str(entry.entry_id), "weight": 0}
    return Plan(
        chain=docket.constitution.chain,
        entries=(entry,),
        status=status_with(obj, fields, _observations(reason, message), now=now),
        events=(Note("Warning", reason, message),),
    )


def _shown(obj: Obj, docket: ConflictDocket, ballot: Ballot, entry: Recorded, at: int, now: int) -> Plan:
    if entry.event_type == VOTE_REFUSED:
        return _refused(obj, entry, now)
    subject = entry.payload["subject"]
    reason: str
    if (subject.get("namespace"), subject.get("name")) != (obj["metadata"]["namespace"], obj["metadata"]["name"]):
        reason = Reason.DUPLICATE
    else:
        votes = {vote.ballot.digest: vote.reason for vote in _state(docket, ballot, at).votes}
        reason = votes.get(ballot.digest, Reason.TOO_LATE)
    message = _explain(reason, obj, docket, ballot, at)
    current = find_condition(obj.get("status"), ConditionType.COUNTED)
    flipped = reason not in (Reason.COUNTED, *_KEPT) and (current is None or current.get("reason") != reason)
    fields = {
        "digest": ballot.digest,
        "recordedAt": entry.detail["recordedAt"],
        "lastEntry": str(entry.entry_id),
        "weight": int(reason == Reason.COUNTED),
    }
    return Plan(
        status=status_with(obj, fields, _observations(reason, message), now=now),
        events=(Note("Warning", reason, message),) if flipped else (),
    )


def _explain(reason: str, obj: Obj, docket: ConflictDocket, ballot: Ballot, at: int) -> str:
    spec, level = obj["spec"], _state(docket, ballot, at).level
    if reason == Reason.INVALID:
        return f"spec.castAt {spec['castAt']!r} is no time"
    return _EXPLAIN.get(reason, reason).format(
        **{name: spec.get(name) for name in ("voter", "keyName", "choice", "sequence", "castAt", "revision", "domain")},
        level=level,
        wanted=level.revision,
        recorded=obj["metadata"]["creationTimestamp"],
        digest=docket.digest,
        name=docket.conflict.name,
    )


def _signature_holds(docket: ConflictDocket, ballot: Ballot) -> bool:
    for constitution in docket.constitutions.values():
        key = vote_key(constitution.history.at(ballot.recorded), ballot.holder, ballot.key_name)
        try:
            if key is not None and ballot.statement.verify(parse_public_key(key.public_key), ballot.signature):
                return True
        except KeyRefusedError:
            continue
    return False


def _draft(
    obj: Obj, docket: ConflictDocket, ballot: Ballot, subject: str, reason: str | None, message: str, now: int
) -> Draft:
    meta = obj["metadata"]
    detail = {
        "statement": dict(ballot.statement.fields),
        "signature": ballot.signature,
        "recordedAt": format_time(ballot.recorded),
    }
    if reason is not None:
        detail |= {"reason": str(reason), "message": message[:1024]}
    return Draft(
        subject,
        None,
        VOTE_ACCEPTED if reason is None else VOTE_REFUSED,
        {"kind": "Vote", "namespace": meta["namespace"], "name": meta["name"], "uid": meta["uid"]},
        Tether(docket.constitution.latest.phase_id),
        now * 1_000_000,
        actor_id=ballot.holder,
        question="vote.record",
        about=[docket.digest],
        detail=detail,
    )
