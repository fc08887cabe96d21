"""Attestation: checked and recorded, shown as void once it expired; those of type Resume are judged (`resume`).

A recovery is announced, or cancelled, in the transaction that accepts the Attestation in which it travels (trust.md,
"Revisions"). What a delegation is worth follows from the tally alone (governance.md, "Delegation"), what any other one
is worth from the graph of trust (docs/trust.md).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from quorate.api.attestation import AttestationType
from quorate.api.conditions import ConditionType, Observation, Reason, find_condition, observe
from quorate.audit.entry import Draft, Tether
from quorate.audit.ids import unsigned_subject
from quorate.audit.quarantine import Quarantine
from quorate.canonical import NotCanonicalError, parse_time
from quorate.identity.statements import Statement, attestation_statement
from quorate.trust.attestations import Judged, announced_recovery, cancelling_acts, is_expired, judge_attestation
from quorate.trust.revisions import announcement_verdict, cancellation_verdict
from quorate_operator.kube.conditions import status_with
from quorate_operator.kube.resources import Key, Obj
from quorate_operator.reconcile.attestation_crossing import Into, affected, gather_crossings, told_of
from quorate_operator.reconcile.crossing import (
    AskedRecords,
    attestation_topic,
    crossing_condition,
    crossing_entry,
    crossing_note,
)
from quorate_operator.reconcile.docket import ATTESTED, NOT_ATTESTED
from quorate_operator.reconcile.domains import ANNOUNCED, CANCELLED, Constitution, Domains
from quorate_operator.reconcile.protocol import Context, Note, Plan, Relation
from quorate_operator.reconcile.resume import decide_resume
from quorate_operator.store.ports import Recorded
from quorate_operator.view import View

_CARRIES = {AttestationType.RECOVERY: ANNOUNCED, AttestationType.CANCEL_RECOVERY: CANCELLED}


@dataclass(frozen=True)
class Gathered:
    """What one decision about an Attestation is made from; `affected` is what it may change.

    `into` is there where it crosses into another domain that asks for something.
    """

    obj: Obj
    constitution: Constitution | None
    node_id: str
    recorded: Recorded | None
    refused: Recorded | None
    affected: tuple[Key, ...]
    quarantines: tuple[Quarantine, ...] = ()
    """Of the domain's chain, for a Resume."""
    into: Into | None = None


class Attestations:
    """Reconciles Attestations."""

    kind = "Attestation"

    def __init__(self, domains: Domains) -> None:
        self._domains, self._kept = domains, AskedRecords()
        self.relations: Mapping[str, Relation] = {"TrustDomain": _waiting, "DynamicContract": told_of}

    async def gather(self, keys: Sequence[Key], context: Context) -> dict[Key, Gathered]:
        """One query for constitutions, one for the entries of statements and of refused objects."""
        objects = {key: obj for key in keys if (obj := context.view.get(key)) is not None}
        constitutions = await self._domains.get(context, {obj["spec"]["domain"] for obj in objects.values()})
        subjects = {key: _subjects(obj, constitutions.get(obj["spec"]["domain"])) for key, obj in objects.items()}
        heads = await context.log.heads(sorted({name for pair in subjects.values() for name in pair if name}))
        crossings = await gather_crossings(
            objects, {key: pair[0] for key, pair in subjects.items()}, self._domains, self._kept, context
        )
        resumes = any(obj["spec"]["type"] == AttestationType.RESUME for obj in objects.values())
        quarantines = await context.log.quarantines() if resumes else []
        return {
            key: Gathered(
                obj,
                constitutions.get(obj["spec"]["domain"]),
                context.config.node_id,
                heads.get(subjects[key][0]),
                heads.get(subjects[key][1]),
                _affected(obj, constitutions.get(obj["spec"]["domain"]), context.view),
                _of_chain(quarantines, constitutions.get(obj["spec"]["domain"])),
                crossings.get(key),
            )
            for key, obj in objects.items()
        }

    def decide(self, gathered: Gathered, now: int) -> Plan:
        """Record it once, or say what became of it."""
        obj, constitution = gathered.obj, gathered.constitution
        if constitution is None:
            message = f"spec.domain {obj['spec']['domain']!r} has no accepted revision yet"
            return _waits(obj, Reason.NO_ACCEPTED_REVISION, message, now)
        if constitution.latest.home_hub != gathered.node_id:
            return _waits(obj, Reason.NOT_HOME_HUB, f"{constitution.latest.home_hub} decides for this domain", now)
        if obj["spec"]["type"] == AttestationType.RESUME:
            return decide_resume(obj, constitution, gathered.quarantines, now)
        if gathered.recorded is not None:
            return _shown(gathered, constitution, gathered.recorded, now)
        if gathered.refused is not None:
            return _refused(obj, gathered.refused, now)
        return _record(gathered, constitution, now)


def _of_chain(quarantines: Sequence[Quarantine], constitution: Constitution | None) -> tuple[Quarantine, ...]:
    return tuple(item for item in quarantines if constitution is not None and item.chain_id == constitution.chain)


def _subjects(obj: Obj, constitution: Constitution | None) -> tuple[str, str]:
    refused = unsigned_subject(obj["metadata"]["uid"])
    if constitution is None:
        return "", refused
    try:
        return attestation_statement(constitution.latest.mesh_id, obj["spec"]).digest, refused
    except NotCanonicalError:
        return "", refused


def _affected(obj: Obj, constitution: Constitution | None, view: View) -> tuple[Key, ...]:
    if obj["spec"]["type"] != AttestationType.DELEGATION:
        return () if constitution is None else affected(obj, constitution, view)
    name = obj["spec"]["domain"]
    return tuple(
        dict.fromkeys([*view.by("GovernanceProposal", "domain", name), *view.by("GovernanceProposal", "domains", name)])
    )


def _waiting(obj: Obj, view: View) -> Sequence[Key]:
    """Attestations of a domain that wait for it, and those that cross into it: the others have their answer."""
    keys = view.by("Attestation", "domain", obj["metadata"]["name"])
    waiting = [key for key in keys if "lastEntry" not in ((view.get(key) or {}).get("status") or {})]
    return [*waiting, *told_of(obj, view)]


def _waits(obj: Obj, reason: str, message: str, now: int) -> Plan:
    observations = [
        observe(ConditionType.READY, False, reason, message),
        observe(ConditionType.RECONCILING, True, reason, message),
    ]
    return Plan(status=status_with(obj, {}, observations, now=now))


def _judge(obj: Obj, constitution: Constitution) -> Judged:
    recorded = parse_time(obj["metadata"]["creationTimestamp"])
    return judge_attestation(constitution.history.signing(recorded), obj["spec"], recorded=recorded)


def _record(gathered: Gathered, constitution: Constitution, now: int) -> Plan:
    judged = _judge(gathered.obj, constitution)
    if not judged.accepted or judged.statement is None:
        return _refuse(gathered, constitution, judged, unsigned_subject(gathered.obj["metadata"]["uid"]), now)
    carried: tuple[Draft, ...] = ()
    if gathered.obj["spec"]["type"] in _CARRIES:
        effect = _carried(gathered.obj, constitution, now)
        if isinstance(effect, Plan):
            return effect
        if isinstance(effect, Judged):
            return _refuse(gathered, constitution, effect, judged.statement.digest, now)
        carried = effect
    entry = _draft(gathered.obj, constitution, judged.statement.digest, judged.statement, None, "", now)
    key = Key("Attestation", gathered.obj["metadata"]["namespace"], gathered.obj["metadata"]["name"])
    return Plan(
        chain=constitution.chain,
        entries=(entry, *carried),
        events=tuple(_alarm(item) for item in carried),
        dirty=(key, Key("TrustDomain", "", constitution.latest.name), *gathered.affected),
    )


def _alarm(entry: Draft) -> Note:
    what = "announced" if entry.event_type == ANNOUNCED else "cancelled"
    reason = Reason.RECOVERY_ANNOUNCED if entry.event_type == ANNOUNCED else Reason.RECOVERY_CANCELLED
    return Note("Warning", reason, f"recovery {entry.detail['recovery']} was {what}")


def _carried(obj: Obj, constitution: Constitution, now: int) -> tuple[Draft, ...] | Judged | Plan:
    """The entry that announces or cancels a recovery; why it is refused; or a plan that waits for the announcement."""
    if obj["spec"]["type"] == AttestationType.RECOVERY:
        return _announcement(obj, constitution, now)
    acts = cancelling_acts(obj["spec"])
    digest = acts[0]["proposalDigest"]
    announced = next((entry for entry in constitution.recoveries if entry.detail["recovery"] == digest), None)
    if announced is None:
        message = f"spec.statement.acts: no recovery {digest} was announced yet"
        return _waits(obj, Reason.WAITING, message, now)
    if digest in constitution.cancelled:
        return ()
    recovery = Statement("recovery", announced.detail["statement"])
    refusal = cancellation_verdict(recovery, acts, constitution.latest)
    if refusal is not None:
        return Judged(Reason.UNAUTHORIZED, f"spec.statement.{refusal}")
    detail = {"recovery": digest, "acts": [dict(act) for act in acts]}
    return (_effect(CANCELLED, digest, constitution, detail, now),)


def _announcement(obj: Obj, constitution: Constitution, now: int) -> tuple[Draft, ...] | Judged:
    statement, signatures = announced_recovery(constitution.latest.mesh_id, obj["spec"])
    if statement.digest in constitution.cancelled:
        message = f"spec.statement: the recovery {statement.digest} was announced before, and cancelled by the admins"
        return Judged(Reason.RECOVERY_CANCELLED, message)
    if any(entry.detail["recovery"] == statement.digest for entry in constitution.recoveries):
        return ()
    refusal = announcement_verdict(statement, signatures, constitution.latest)
    if refusal is not None:
        return Judged(Reason.UNAUTHORIZED, f"spec.statement: {refusal}")
    detail = {
        "recovery": statement.digest,
        "statement": dict(statement.fields),
        "signatures": [dict(item) for item in signatures],
    }
    return (_effect(ANNOUNCED, statement.digest, constitution, detail, now),)


def _effect(event: str, digest: str, constitution: Constitution, detail: Mapping[str, Any], now: int) -> Draft:
    latest = constitution.latest
    return Draft(
        constitution.chain,
        constitution.head.entry_id,
        event,
        {"kind": "TrustDomain", "name": latest.name},
        Tether(latest.phase_id),
        now * 1_000_000,
        question="recovery.record",
        about=[digest],
        detail=detail,
    )


def _draft(
    obj: Obj,
    constitution: Constitution,
    subject: str,
    statement: Statement | None,
    reason: str | None,
    message: str,
    now: int,
) -> Draft:
    meta, spec = obj["metadata"], obj["spec"]
    detail: dict[str, Any] = {"signature": spec["signature"], "recordedAt": meta["creationTimestamp"]}
    about = []
    if statement is not None:
        detail["statement"] = dict(statement.fields)
        about = [attestation_topic(spec["type"], constitution.chain)]
    if reason is not None:
        detail |= {"reason": str(reason), "message": message[:1024]}
    about += [digest] if (digest := (spec.get("subject") or {}).get("digest")) else []
    return Draft(
        subject,
        None,
        ATTESTED if reason is None else NOT_ATTESTED,
        {"kind": "Attestation", "namespace": meta["namespace"], "name": meta["name"], "uid": meta["uid"]},
        Tether(constitution.latest.phase_id),
        now * 1_000_000,
        actor_id=spec["attester"],
        question="attestation.record",
        about=about,
        detail=detail,
    )


def _refuse(gathered: Gathered, constitution: Constitution, judged: Judged, subject: str, now: int) -> Plan:
    # One of the wrong form has no statement: its content may have no canonical form at all.
    entry = _draft(gathered.obj, constitution, subject, judged.statement, judged.reason, judged.message, now)
    return Plan(
        chain=constitution.chain,
        entries=(entry,),
        status=_answer(gathered.obj, judged.reason, judged.message, str(entry.entry_id), now),
        events=(Note("Warning", judged.reason, judged.message),),
    )


def _refused(obj: Obj, entry: Recorded, now: int) -> Plan:
    detail = entry.detail
    return Plan(status=_answer(obj, detail["reason"], detail["message"], str(entry.entry_id), now))


def _shown(gathered: Gathered, constitution: Constitution, entry: Recorded, now: int) -> Plan:
    obj = gathered.obj
    if entry.event_type == NOT_ATTESTED:
        return _refused(obj, entry, now)
    subject = entry.payload["subject"]
    reason, message = str(Reason.ACCEPTED), "recorded; the signature of its attester's key holds"
    if (subject.get("namespace"), subject["name"]) != (obj["metadata"]["namespace"], obj["metadata"]["name"]):
        reason, message = str(Reason.DUPLICATE), f"the same statement is recorded as {subject['name']}; it counts once"
    fields = {
        "digest": entry.subject_key,
        "recordedAt": entry.detail["recordedAt"],
        "lastEntry": str(entry.entry_id),
    }
    if is_expired(obj["spec"], now):
        return _expired(gathered, fields, now)
    wake = None if obj["spec"].get("expiresAt") is None else float(parse_time(obj["spec"]["expiresAt"]))
    observations = [observe(ConditionType.READY, True, reason, message)]
    if gathered.into is None:
        gone = (ConditionType.WITHIN_BOUNDARY,)
        return Plan(status=status_with(obj, fields, observations, now=now, remove=gone), wake_at=wake)
    return replace(_crossed(gathered, gathered.into, constitution, fields, observations, now), wake_at=wake)


def _expired(gathered: Gathered, fields: Mapping[str, Any], now: int) -> Plan:
    """Void from its second on; what it let cross is looked at again, once."""
    obj = gathered.obj
    message = f"void since {obj['spec']['expiresAt']}; recorded, and nothing rests on it any more"
    before = find_condition(obj.get("status"), ConditionType.READY)
    fresh = before is None or before["reason"] != Reason.EXPIRED
    observations = [observe(ConditionType.READY, True, Reason.EXPIRED, message)]
    status = status_with(obj, fields, observations, now=now, remove=(ConditionType.WITHIN_BOUNDARY,))
    return Plan(status=status, dirty=gathered.affected if fresh else ())


def _crossed(
    gathered: Gathered,
    into: Into,
    own: Constitution,
    fields: Mapping[str, Any],
    observations: list[Observation],
    now: int,
) -> Plan:
    """What the domain into which it crosses says of it: recorded there, shown here."""
    obj, digest = gathered.obj, str(fields["digest"])
    verdict = into.judge(obj, digest, own, now)
    about = tuple(item for item in [(obj["spec"].get("subject") or {}).get("digest")] if item)
    entry = crossing_entry(
        obj,
        verdict,
        into.crossed,
        digest=digest,
        from_domain=own.latest.name,
        into=into.constitution,
        about=about,
        now=now,
    )
    if not verdict.passes:
        stalled = verdict.reason == Reason.BOUNDARY_DENIED
        progress = ConditionType.STALLED if stalled else ConditionType.RECONCILING
        observations = [
            observe(kind, kind == progress, verdict.reason, verdict.message) for kind in (ConditionType.READY, progress)
        ]
    return Plan(
        chain=None if entry is None else into.constitution.chain,
        entries=() if entry is None else (entry,),
        status=status_with(obj, fields, [*observations, *crossing_condition(verdict)], now=now),
        events=crossing_note(entry, verdict),
    )


def _answer(obj: Obj, reason: str, message: str, last_entry: str, now: int) -> dict[str, Any]:
    observations = [
        observe(ConditionType.READY, False, reason, message),
        observe(ConditionType.STALLED, True, reason, message),
    ]
    return status_with(obj, {"lastEntry": last_entry}, observations, now=now)
