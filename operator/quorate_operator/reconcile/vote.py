"""Vote: recorded once, counted as the tally says (governance.md, "Which votes count").

The log takes a vote whose signature holds and whose key was in force when it was recorded; whether it counts may change
until the decision (a later vote, a revoked key), so `Counted` follows the tally, not the entry.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quorate.api.conditions import ConditionType, Observation, Reason, find_condition, observe
from quorate.api.tally import Phase
from quorate.audit.entry import Draft, Tether
from quorate.audit.ids import unsigned_subject
from quorate.canonical import format_time, parse_time
from quorate.identity.ed25519 import KeyRefusedError, parse_public_key
from quorate.identity.statements import Statement
from quorate.proposals.votes import Ballot, judge_vote, vote_key
from quorate_operator.kube.conditions import status_with
from quorate_operator.kube.resources import Key, Obj
from quorate_operator.reconcile.crossing import crossing_condition, crossing_subject
from quorate_operator.reconcile.docket import VOTE_ACCEPTED, VOTE_REFUSED, Docket
from quorate_operator.reconcile.dockets import Dockets
from quorate_operator.reconcile.protocol import Context, Note, Plan, Relation
from quorate_operator.reconcile.vote_crossing import question_of, record_crossing, standing_verdict
from quorate_operator.store.ports import Recorded
from quorate_operator.view import View

_FAR, _CLOSED = 2**53, -1
_KEPT = frozenset({Reason.DUPLICATE, Reason.OVERTAKEN, Reason.RETRACTED, Reason.OUTVOTED, Reason.THRESHOLD_NOT_REACHED})
"""Votes that were in order but do not stand: Ready, though not counted."""
_SILENT = frozenset({Reason.COUNTED, Reason.RETRACTED, Reason.OUTVOTED, Reason.THRESHOLD_NOT_REACHED})
"""What a voter meant, or what other keys of the member may still complete: no Event warns of it."""

EXPLAIN: Mapping[str, str] = {
    Reason.OTHER_PROPOSAL: "spec.proposal.digest {digest} is not the digest of {name}, {wanted}",
    Reason.UNKNOWN_CHOICE: "spec.choice {choice!r} is none of Approve, Reject, Abstain, Veto, Retract",
    Reason.NOT_IN_ELECTORATE: "spec.voter {voter} is not in the electorate: its role, learner or suspended excludes it",
    Reason.TOO_LATE: "recorded at {recorded}, after the vote closed",
    Reason.FROM_THE_FUTURE: "spec.castAt {castAt} is more than 300 s after the vote was recorded, {recorded}",
    Reason.VETO_NOT_ALLOWED: "spec.choice Veto: allowVeto names neither the role nor the nodeId of {voter}",
    Reason.UNKNOWN_KEY: "spec.keyName {keyName!r} is no Vote key of {voter} in the revision in force at {recorded}",
    Reason.KEY_EXPIRED: "spec.keyName {keyName!r} of {voter} had expired",
    Reason.BAD_SIGNATURE: "spec.signature is not the signature of key {keyName!r} of {voter} over this vote",
    Reason.KEY_REVOKED: "spec.keyName {keyName!r} of {voter} was removed from the domain before the decision",
    Reason.EQUIVOCATION: "spec.sequence {sequence} was used by {keyName!r} for another vote: both are void",
    Reason.DUPLICATE: "the same signed vote is already recorded; it counts once",
    Reason.OVERTAKEN: "a vote of {keyName!r} with a higher sequence than {sequence} stands",
    Reason.RETRACTED: "the key's vote is taken back",
    Reason.THRESHOLD_NOT_REACHED: "more keys of {voter} must agree: its voteThreshold is not reached",
    Reason.KEYS_DISAGREE: "two choices of {voter} both reach its voteThreshold: none counts",
    Reason.OUTVOTED: "other keys of {voter} reached its voteThreshold with another choice",
    Reason.COUNTED: "counted as {choice}",
}


@dataclass(frozen=True)
class Gathered:
    """What one decision about a Vote is made from. `docket` is of the vote's digest, `named` of the named proposal.

    `earlier` is an older object with the same signed statement that was not looked at yet, `crossed` the last entry
    about the vote's crossing into trustDomain.
    """

    obj: Obj
    docket: Docket | None
    named: Docket | None
    node_id: str
    recorded: Recorded | None
    refused: Recorded | None
    at: int
    earlier: Key | None = None
    crossed: Recorded | None = None
    ballot: Ballot | None = None
    """What is signed, where `docket` is there."""


class Votes:
    """Reconciles Votes."""

    kind = "Vote"

    def __init__(self, dockets: Dockets) -> None:
        self._dockets = dockets
        self.relations: Mapping[str, Relation] = {"GovernanceProposal": _waiting_votes}

    async def gather(self, keys: Sequence[Key], context: Context) -> dict[Key, Gathered]:
        """A few queries, whatever the number of proposals and of their votes."""
        objects = {key: obj for key in keys if (obj := context.view.get(key)) is not None}
        dockets = await self._dockets.of(context, {obj["spec"]["proposal"]["digest"] for obj in objects.values()})
        unknown = {_named(obj) for obj in objects.values() if obj["spec"]["proposal"]["digest"] not in dockets}
        named = await self._dockets.current(context, unknown) if unknown else {}
        ballots = {
            key: _ballot(obj, docket)
            for key, obj in objects.items()
            if (docket := dockets.get(obj["spec"]["proposal"]["digest"])) is not None
        }
        at = int(context.clock())
        subjects = {
            key: _subjects(obj, dockets.get(obj["spec"]["proposal"]["digest"]), ballots.get(key))
            for key, obj in objects.items()
        }
        heads = await context.log.heads(sorted({name for names in subjects.values() for name in names if name}))
        return {
            key: Gathered(
                obj,
                dockets.get(obj["spec"]["proposal"]["digest"]),
                named.get(_named(obj)),
                context.config.node_id,
                heads.get(subjects[key][0]),
                heads.get(subjects[key][1]),
                at,
                None if subjects[key][0] in heads else _earlier(key, obj, context.view),
                heads.get(subjects[key][2]),
                ballots.get(key),
            )
            for key, obj in objects.items()
        }

    def decide(self, gathered: Gathered, now: int) -> Plan:
        """Record the vote, or say how it counts."""
        docket, ballot = gathered.docket, gathered.ballot
        if docket is None or ballot is None:
            return _unknown(gathered, now)
        if docket.constitution.latest.home_hub != gathered.node_id:
            message = f"{docket.constitution.latest.home_hub} decides for this domain"
            return _plain(gathered.obj, Reason.NOT_HOME_HUB, message, now)
        if gathered.recorded is not None and _is_same(gathered.recorded, docket, ballot):
            return _shown(gathered, docket, ballot, gathered.recorded, now)
        if gathered.refused is not None:
            return _refused(gathered.obj, gathered.refused, now)
        if gathered.earlier is not None:
            meta = gathered.obj["metadata"]
            return Plan(dirty=(gathered.earlier, Key("Vote", meta["namespace"], meta["name"])))
        return _record(gathered, docket, ballot, now)


def _named(obj: Obj) -> tuple[str, str]:
    proposal = obj["spec"]["proposal"]
    return proposal["namespace"], proposal["name"]


def _subjects(obj: Obj, docket: Docket | None, ballot: Ballot | None) -> tuple[str, str, str]:
    """Of the vote, of this object if it is refused, and of the vote's crossing."""
    refused = unsigned_subject(obj["metadata"]["uid"])
    if docket is None or ballot is None:
        return "", refused, ""
    crosses = question_of(docket, ballot).border is not None
    return ballot.digest, refused, crossing_subject(docket.constitution.chain, ballot.digest) if crosses else ""


def _earlier(key: Key, obj: Obj, view: View) -> Key | None:
    """The oldest object with this signature, if it is another one of the same content that nobody looked at yet.

    The same statement twice is one vote with the earlier time. After an outage both may be new; recorded in order of
    name, a copy made after the deadline would take the place of the vote that was cast in time.
    """
    alike = ((other, view.get(other)) for other in view.each("Vote", "signature", str(obj["spec"].get("signature"))))
    same = [(str(item["metadata"]["creationTimestamp"]), other, item)
            for other, item in alike if item is not None and item["spec"] == obj["spec"]]  # fmt: skip
    _, oldest, first = min(same, key=lambda item: item[:2], default=("", key, obj))
    looked_at = find_condition(first.get("status"), ConditionType.COUNTED) is not None
    return None if oldest == key or looked_at else oldest


def _is_same(entry: Recorded, docket: Docket, ballot: Ballot) -> bool:
    """Whether an object is the recorded vote, or it again: a copy with another signature is none unless that holds."""
    return bool(entry.detail["signature"] == ballot.signature) or _signature_holds(docket, ballot)


def _ballot(obj: Obj, docket: Docket) -> Ballot:
    return Ballot.of(str(docket.fields["meshId"]), obj["spec"], parse_time(obj["metadata"]["creationTimestamp"]))


def _waiting_votes(obj: Obj, view: View) -> Sequence[Key]:
    """Votes on a digest that has just become an open one (its status names it)."""
    digest = (obj.get("status") or {}).get("digest")
    return view.by("Vote", "uncounted", digest) if digest else ()


def _plain(obj: Obj, reason: str, message: str, now: int, *, stalled: bool = False) -> Plan:
    progress = ConditionType.STALLED if stalled else ConditionType.RECONCILING
    observations = [observe(ConditionType.READY, False, reason, message), observe(progress, True, reason, message)]
    if stalled:
        observations.append(observe(ConditionType.COUNTED, False, reason, message))
    return Plan(status=status_with(obj, {}, observations, now=now))


def _unknown(gathered: Gathered, now: int) -> Plan:
    """No opened proposal has this digest: wait, unless the named one is open with another digest."""
    obj, named = gathered.obj, gathered.named
    proposal = obj["spec"]["proposal"]
    name = f"{proposal['namespace']}/{proposal['name']}"
    if named is None or obj["spec"]["revision"] > named.fields["revision"]:
        message = f"no opened proposal has the digest {proposal['digest']}; the vote waits for {name} to open with it"
        return _plain(obj, Reason.UNKNOWN_PROPOSAL, message, now)
    message = EXPLAIN[Reason.OTHER_PROPOSAL].format(digest=proposal["digest"], name=name, wanted=named.digest)
    if gathered.refused is not None:
        return _refused(obj, gathered.refused, now)
    draft = _draft(gathered, named, unsigned_subject(obj["metadata"]["uid"]), Reason.OTHER_PROPOSAL, message, now)
    plan = _plain(obj, Reason.OTHER_PROPOSAL, message, now, stalled=True)
    return Plan(
        chain=named.constitution.chain,
        entries=(draft,),
        status={**(plan.status or {}), "lastEntry": str(draft.entry_id)},
        events=(Note("Warning", Reason.OTHER_PROPOSAL, message),),
        dirty=(_proposal(named),),
    )


def _explain(reason: str, obj: Obj, docket: Docket) -> str:
    spec = obj["spec"]
    if reason == Reason.OTHER_PROPOSAL and spec["domain"] not in docket.histories:
        return f"spec.domain {spec['domain']!r} does not vote on this proposal"
    if reason == Reason.OTHER_PROPOSAL and spec["revision"] != docket.fields["revision"]:
        return f"spec.revision {spec['revision']} is not that of the digest, {docket.fields['revision']}"
    template = EXPLAIN.get(reason, reason)
    return template.format(
        **{name: spec.get(name) for name in ("voter", "keyName", "choice", "sequence", "castAt")},
        digest=spec["proposal"]["digest"],
        name=f"{spec['proposal']['namespace']}/{spec['proposal']['name']}",
        wanted=docket.digest,
        recorded=obj["metadata"]["creationTimestamp"],
    )


def _record(gathered: Gathered, docket: Docket, ballot: Ballot, now: int) -> Plan:
    """The entry that accepts or refuses the vote; what else follows waits until it is recorded."""
    reason, message = _judge(gathered, docket, ballot)
    key = Key("Vote", gathered.obj["metadata"]["namespace"], gathered.obj["metadata"]["name"])
    proposal = _proposal(docket)
    if reason is None:
        entry = _draft(gathered, docket, ballot.digest, None, "", now)
        verdict = question_of(docket, ballot).crossing(ballot, ballot.holder, gathered.at)
        crossing, notes = record_crossing(gathered.obj, docket, ballot, verdict, gathered.crossed, now)
        return Plan(chain=docket.constitution.chain, entries=(entry, *crossing), events=notes, dirty=(proposal, key))
    subject = ballot.digest if _signature_holds(docket, ballot) else unsigned_subject(gathered.obj["metadata"]["uid"])
    entry = _draft(gathered, docket, subject, reason, message, now)
    plan = _plain(gathered.obj, reason, message, now, stalled=True)
    return Plan(
        chain=docket.constitution.chain,
        entries=(entry,),
        status={**(plan.status or {}), "digest": ballot.digest, "lastEntry": str(entry.entry_id)},
        events=(Note("Warning", reason, message),),
        dirty=(proposal,),
    )


def _proposal(docket: Docket) -> Key:
    """Whose tally a recorded vote is part of, counted or not."""
    return Key("GovernanceProposal", str(docket.fields["namespace"]), str(docket.fields["name"]))


def _judge(gathered: Gathered, docket: Docket, ballot: Ballot) -> tuple[str | None, str]:
    """Why the log refuses a vote, None if it takes it; whether it counts is for the tally."""
    try:
        _ = ballot.made_at
    except ValueError as error:
        return Reason.INVALID, f"spec.castAt: {error}"
    # After the decision was recorded nothing counts, whatever the object's time: an accepted vote is in the evidence.
    closes = _FAR if docket.takes_votes else _CLOSED
    reason = judge_vote(question_of(docket, ballot), ballot, closes=closes, at=None)
    if reason is None or reason == Reason.VETO_NOT_ALLOWED:
        return None, ""  # another phase of the same vote may allow a veto
    if reason == Reason.TOO_LATE and docket.life.phase == Phase.SUPERSEDED:
        message = f"spec.revision {docket.fields['revision']} was superseded by an amendment: vote on its digest"
        return Reason.OTHER_PROPOSAL, message
    return reason, _explain(reason, gathered.obj, docket)


def _signature_holds(docket: Docket, ballot: Ballot) -> bool:
    for history in docket.histories.values():
        key = vote_key(history.signing(ballot.recorded), ballot.holder, ballot.key_name)
        try:
            if key is not None and ballot.statement.verify(parse_public_key(key.public_key), ballot.signature):
                return True
        except KeyRefusedError:
            continue
    return False


def _draft(gathered: Gathered, docket: Docket, subject: str, reason: str | None, message: str, now: int) -> Draft:
    obj = gathered.obj
    meta = obj["metadata"]
    ballot = gathered.ballot or _ballot(obj, docket)
    detail: dict[str, Any] = {
        "statement": dict(ballot.statement.fields),
        "signature": ballot.signature,
        "recordedAt": format_time(ballot.recorded),
    }
    if reason is not None:
        detail |= {"reason": str(reason), "message": message[:1024]}
    latest = docket.constitution.latest
    return Draft(
        subject,
        None,
        VOTE_ACCEPTED if reason is None else VOTE_REFUSED,
        {"kind": "Vote", "namespace": meta["namespace"], "name": meta["name"], "uid": meta["uid"]},
        Tether(latest.phase_id),
        now * 1_000_000,
        actor_id=ballot.holder,
        question="vote.record",
        about=[docket.digest],
        detail=detail,
    )


def _refused(obj: Obj, entry: Recorded, now: int) -> Plan:
    plan = _plain(obj, entry.detail["reason"], entry.detail["message"], now, stalled=True)
    statement = entry.detail.get("statement")
    digest = {} if statement is None else {"digest": Statement("vote", statement).digest}
    return Plan(status={**(plan.status or {}), **digest, "lastEntry": str(entry.entry_id)})


def _shown(gathered: Gathered, docket: Docket, ballot: Ballot, entry: Recorded, now: int) -> Plan:
    """How a recorded vote counts, by the tally as it stands (or as it was decided)."""
    obj = gathered.obj
    if entry.event_type == VOTE_REFUSED:
        return _refused(obj, entry, now)
    reason: str
    if entry.payload["subject"].get("uid") != obj["metadata"]["uid"] and _is_other(entry, obj):
        reason = Reason.DUPLICATE
    else:
        reason = docket.judged(gathered.at).get(ballot.digest, Reason.TOO_LATE)
    verdict = standing_verdict(docket, ballot, gathered.at)
    stopped = verdict is not None and reason == verdict.reason
    message = verdict.message if verdict is not None and stopped else _explain(reason, obj, docket)
    current = find_condition(obj.get("status"), ConditionType.COUNTED)
    observations = [*_observations(reason, message), *crossing_condition(verdict)]
    crossing, notes = record_crossing(obj, docket, ballot, verdict, gathered.crossed, now)
    fields = {
        "digest": ballot.digest,
        "recordedAt": entry.detail["recordedAt"],
        "lastEntry": str(entry.entry_id),
        "weight": question_of(docket, ballot).members[ballot.holder].weight if reason == Reason.COUNTED else 0,
    }
    flipped = reason not in _SILENT and (current is None or current.get("reason") != reason)
    return Plan(
        chain=docket.constitution.chain if crossing else None,
        entries=crossing,
        status=status_with(obj, fields, observations, now=now),
        events=notes + ((Note("Warning", reason, message),) if flipped and not stopped else ()),
    )


def _is_other(entry: Recorded, obj: Obj) -> bool:
    """Whether the recorded vote was another object: a re-created object of the same name is the same vote."""
    subject = entry.payload["subject"]
    return (subject.get("namespace"), subject.get("name")) != (obj["metadata"]["namespace"], obj["metadata"]["name"])


def _observations(reason: str, message: str) -> list[Observation]:
    counted = observe(ConditionType.COUNTED, reason == Reason.COUNTED, reason, message)
    if reason == Reason.COUNTED or reason in _KEPT:
        ready = Reason.COUNTED if reason == Reason.COUNTED else Reason.ACCEPTED
        return [counted, observe(ConditionType.READY, True, ready, message)]
    progress = ConditionType.RECONCILING if reason == Reason.BOUNDARY_QUARANTINED else ConditionType.STALLED
    return [counted, observe(ConditionType.READY, False, reason, message), observe(progress, True, reason, message)]
