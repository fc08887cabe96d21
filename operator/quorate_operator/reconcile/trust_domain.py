"""TrustDomain: accept the next revision by its authority, keep the old one in force otherwise (trust.md)."""

import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quorate.api.conditions import ConditionType, Observation, Reason, is_true, observe
from quorate.audit.entry import Draft, Tether
from quorate.audit.ids import unsigned_subject
from quorate.canonical import canonical_bytes, digest_of_bytes, format_time, parse_time
from quorate.trust.domain import DomainRevision
from quorate.trust.heartbeat import CHALLENGE_SECONDS, Challenge, next_challenge
from quorate.trust.revisions import Authority, Verdict, check_revision
from quorate_operator.kube.conditions import status_with
from quorate_operator.kube.resources import Key, Obj
from quorate_operator.reconcile.dockets import Dockets
from quorate_operator.reconcile.domains import ACCEPTED, FORKED, Constitution, Domains
from quorate_operator.reconcile.projection import content_name, project
from quorate_operator.reconcile.protocol import Command, Context, Note, Plan, Relation
from quorate_operator.store.ports import Recorded

REFUSED = "trust.domain.refused"
EXECUTED = "governance.proposal.executed"
COUNT_SECONDS = 2
"""Between two writes of a status of which only the member counts differ; longer in large domains."""
_COUNTED_PER_SECOND = 100


@dataclass(frozen=True)
class Gathered:
    """What one decision about a TrustDomain is made from."""

    obj: Obj
    constitution: Constitution | None
    pin: str | None
    node_id: str
    authorised_by: str | None
    """Digest of the executed proposal that authorises the spec now, inside its execution window."""
    refusal: Recorded | None
    fresh: str
    projection: tuple[Command, ...]
    verified: int
    silent: int
    recount_at: int | None
    """The counts were written a moment ago: show others from then on."""


class TrustDomains:
    """Reconciles TrustDomains."""

    kind = "TrustDomain"
    relations: Mapping[str, Relation]

    def __init__(self, domains: Domains, dockets: Dockets) -> None:
        self._domains = domains
        self._dockets = dockets
        self._last_count: dict[str, float] = {}
        # A spec of one generation against one chain always gets one answer, and a large document takes long to check.
        self._unchanged: dict[str, tuple[Any, ...]] = {}
        self.relations = {
            "ConfigMap": lambda obj, _: self._domains.holding(obj["metadata"]["name"]),
            "Attestation": lambda obj, _: (
                [Key("TrustDomain", "", obj["spec"].get("domain", ""))]
                if obj["spec"].get("type") in ("Recovery", "CancelRecovery")
                else ()
            ),
        }

    async def gather(self, keys: Sequence[Key], context: Context) -> dict[Key, Gathered]:
        """One query for the heads, one for refusals, and one more only for a revision that is not accepted yet."""
        objects = {key: obj for key in keys if (obj := context.view.get(key)) is not None}
        constitutions = await self._domains.get(context, [key.name for key in objects], even_unpinned=True)
        refusals = await context.log.heads([unsigned_subject(obj["metadata"]["uid"]) for obj in objects.values()])
        return {
            key: await self._one(key, obj, constitutions.get(key.name), refusals, context)
            for key, obj in objects.items()
        }

    async def _one(
        self,
        key: Key,
        obj: Obj,
        constitution: Constitution | None,
        refusals: Mapping[str, Recorded],
        context: Context,
    ) -> Gathered:
        authorised_by: str | None = None
        projection: tuple[Command, ...] = ()
        members: frozenset[str] = frozenset()
        if constitution is not None:
            projection = tuple(
                command
                for item in constitution.history.accepted
                for command in project(context.view, item.revision.digest, item.revision.statement.payload)
            )
            members = frozenset(constitution.latest.members)
            if obj["spec"].get("revision") == constitution.latest.revision + 1:
                authorised_by = await self._authorised_by(key.name, obj, context)
        nodes = [context.view.get(node) for node in context.view.by("MeshNode", "domain", key.name)]
        statuses = [node.get("status") for node in nodes if node is not None and node["spec"]["nodeId"] in members]
        return Gathered(
            obj,
            constitution,
            context.config.pins.get(f"{obj['spec'].get('meshId')}/{key.name}"),
            context.config.node_id,
            authorised_by,
            refusals.get(unsigned_subject(obj["metadata"]["uid"])),
            secrets.token_urlsafe(24),
            projection,
            sum(is_true(status, ConditionType.IDENTITY_VERIFIED) for status in statuses),
            sum(not is_true(status, ConditionType.HEARTBEATING) for status in statuses),
            self._recount_at(key.name, len(nodes), context.clock()),
        )

    async def _authorised_by(self, name: str, obj: Obj, context: Context) -> str | None:
        """The executed Constitutional proposal that names the revision's digest, while its execution window lasts."""
        digest = DomainRevision(name, obj["spec"]).digest
        for entry in await context.log.about(digest):
            if entry.event_type != EXECUTED or entry.detail.get("resultDigest") != digest:
                continue
            docket = await self._dockets.get(context, entry.subject_key)
            if docket is None or docket.fields["target"] != {"kind": "TrustDomain", "name": name}:
                continue
            before = docket.life.execute_before
            if before is None or int(context.clock()) <= before:
                return entry.subject_key
        return None

    def _recount_at(self, name: str, nodes: int, now: float) -> int | None:
        """When members may be counted again, None if now: their number moves while a fleet comes up.

        Each write carries the whole constitution through the API server, so a large one is counted less often.
        """
        due = self._last_count.get(name, 0.0) + max(COUNT_SECONDS, nodes / _COUNTED_PER_SECOND)
        if now < due:
            return math.ceil(due)
        self._last_count[name] = now
        return None

    def decide(self, gathered: Gathered, now: int) -> Plan:
        """Accept, refuse, or keep; then the challenge and the counts."""
        obj, constitution = gathered.obj, gathered.constitution
        name, seen = obj["metadata"]["name"], _seen(gathered)
        if constitution is not None and self._unchanged.get(name) == seen:
            latest = constitution.latest
            return _keep(gathered, now) if latest.home_hub == gathered.node_id else _not_home(obj, latest, now)
        verdict = check_revision(
            name,
            obj["spec"],
            None if constitution is None else constitution.history,
            pin=gathered.pin,
            now=now,
            authorised_digests=_authorised(gathered),
            announcements=() if constitution is None else constitution.announcements,
        )
        home = (constitution.latest if constitution else verdict.revision) if verdict.accepted or constitution else None
        if home is not None and home.home_hub != gathered.node_id:
            return _not_home(obj, home, now)
        if verdict.accepted:
            return _accept(gathered, verdict, now)
        if not verdict.unchanged:
            return _refuse(gathered, verdict, now)
        self._unchanged[name] = seen
        return _keep(gathered, now)


def _seen(gathered: Gathered) -> tuple[Any, ...]:
    meta, constitution = gathered.obj["metadata"], gathered.constitution
    return meta["uid"], meta.get("generation"), None if constitution is None else constitution.head.entry_id


def _authorised(gathered: Gathered) -> frozenset[str]:
    if gathered.authorised_by is None:
        return frozenset()
    return frozenset({DomainRevision(gathered.obj["metadata"]["name"], gathered.obj["spec"]).digest})


def _subject(obj: Obj) -> dict[str, Any]:
    meta = obj["metadata"]
    return {"kind": "TrustDomain", "name": meta["name"], "uid": meta["uid"], "generation": meta.get("generation")}


def _not_home(obj: Obj, home: DomainRevision, now: int) -> Plan:
    message = f"spec.homeHub {home.home_hub} decides for this domain; this operator is another node"
    observations = [observe(ConditionType.READY, False, Reason.NOT_HOME_HUB, message)]
    return Plan(status=status_with(obj, {"homeHub": home.home_hub}, observations, now=now))


def _accept(gathered: Gathered, verdict: Verdict, now: int) -> Plan:
    """Audit the acceptance; the status follows from the entry when the key is looked at again."""
    revision, constitution = verdict.revision, gathered.constitution
    assert revision is not None
    assert verdict.authority is not None
    signatures = canonical_bytes(list(revision.spec.get("signatures") or ()))
    signatures_digest = digest_of_bytes(signatures)
    detail = {
        "revision": revision.revision,
        "digest": revision.digest,
        "previousDigest": revision.previous_digest or "",
        "signatures": signatures_digest,
        "authority": str(verdict.authority),
        "firstUse": verdict.first_use and gathered.pin is None,
    }
    if verdict.authority == Authority.PROPOSAL and gathered.authorised_by is not None:
        detail["proposalDigest"] = gathered.authorised_by
    draft = Draft(
        revision.subject_key,
        None if constitution is None else constitution.head.entry_id,
        ACCEPTED,
        _subject(gathered.obj),
        Tether(revision.phase_id),
        # A clock that was set back must not make a revision older than the one before it.
        max(now, 0 if constitution is None else constitution.history.accepted[-1].recorded) * 1_000_000,
        question="trustdomain.accept",
        about=[revision.digest],
        detail=detail,
    )
    return Plan(
        chain=revision.subject_key,
        entries=(draft,),
        content={revision.digest: revision.statement.payload, signatures_digest: signatures},
        dirty=(Key("TrustDomain", "", revision.name),),
    )


def _refuse(gathered: Gathered, verdict: Verdict, now: int) -> Plan:
    obj, constitution = gathered.obj, gathered.constitution
    message = verdict.message
    if constitution is not None and constitution.contradicts(gathered.pin):
        # Nothing of a chain that began with another revision 1 than the pin is in force here.
        return _not_pinned(gathered, message, now)
    if constitution is not None:
        message += f"; revision {constitution.latest.revision} stays in force"
    observations = [
        observe(ConditionType.AUTHORIZED, False, verdict.reason, message),
        observe(ConditionType.READY, False, verdict.reason, message),
        observe(ConditionType.STALLED, True, verdict.reason, message),
    ]
    if verdict.fork:
        observations.append(observe(ConditionType.FORKED, True, Reason.FORK, message))
    entries = _refusal_entries(gathered, verdict, now)
    fields = {} if constitution is None else _in_force(gathered, constitution, now)
    return Plan(
        chain="system" if entries and constitution is None else (constitution.chain if constitution else None),
        entries=entries,
        status=status_with(obj, fields, observations, now=now),
        events=(Note("Warning", verdict.reason, message),) if entries else (),
        commands=gathered.projection,
        wake_at=verdict.retry_at or (_challenge_due(fields) if fields else None),
    )


def _not_pinned(gathered: Gathered, message: str, now: int) -> Plan:
    conditions = (ConditionType.AUTHORIZED, False), (ConditionType.READY, False), (ConditionType.STALLED, True)
    observations = [observe(kind, truth, Reason.PIN_MISMATCH, message) for kind, truth in conditions]
    fields = {"accepted": None, "challenge": None, "members": None}
    return Plan(status=status_with(gathered.obj, fields, observations, now=now))


def _refusal_entries(gathered: Gathered, verdict: Verdict, now: int) -> tuple[Draft, ...]:
    """One entry per refused content: nothing is logged again for what the last refusal already says."""
    obj, constitution = gathered.obj, gathered.constitution
    attempted = "" if verdict.revision is None else verdict.revision.digest
    said = {"reason": str(verdict.reason), "message": verdict.message[:1024], "digest": attempted}
    if verdict.fork and constitution is not None:
        if constitution.forked:
            return ()
        key, previous, event = constitution.chain, constitution.head.entry_id, FORKED
    else:
        last = gathered.refusal
        if last is not None and all(last.detail.get(name) == value for name, value in said.items()):
            return ()
        key, event = unsigned_subject(obj["metadata"]["uid"]), REFUSED
        previous = None if last is None else last.entry_id  # type: ignore[assignment]
    tether = Tether("0" if constitution is None else constitution.latest.phase_id)
    return (
        Draft(key, previous, event, _subject(obj), tether, now * 1_000_000, question="trustdomain.accept", detail=said),
    )


def _keep(gathered: Gathered, now: int) -> Plan:
    constitution = gathered.constitution
    assert constitution is not None
    latest = constitution.latest
    fields = _in_force(gathered, constitution, now)
    written = gathered.obj["spec"]["revision"]
    current = written == latest.revision
    message = f"revision {latest.revision} is in force" + (
        "" if current else f"; spec holds the older revision {written}"
    )
    open_recoveries = [
        item for item in constitution.announcements if not item.cancelled and item.previous_digest == latest.digest
    ]
    if open_recoveries:
        message += f"; a recovery to {open_recoveries[0].result_digest} is announced: the admins may cancel it"
    observations: list[Observation] = [
        observe(ConditionType.AUTHORIZED, True, Reason.AUTHORIZED, f"revision {written} is authorised"),
        observe(ConditionType.READY, current, Reason.READY if current else Reason.SUPERSEDED, message),
    ]
    if constitution.forked:
        message = "two authorised revisions with one number exist: the admins must sign the next one"
        observations.append(observe(ConditionType.FORKED, True, Reason.FORK, message))
    gone = () if constitution.forked else (ConditionType.FORKED,)
    status = status_with(gathered.obj, fields, observations, now=now, remove=gone)
    if gathered.recount_at is not None and _only_counts_differ(gathered.obj.get("status") or {}, status):
        return Plan(commands=gathered.projection, wake_at=gathered.recount_at)
    return Plan(status=status, commands=gathered.projection, wake_at=_challenge_due(fields))


def _only_counts_differ(current: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    names = {*current, *wanted} - {"members"}
    return all(current.get(name) == wanted.get(name) for name in names)


def _challenge_due(fields: Mapping[str, Any]) -> float:
    return parse_time(fields["challenge"]["issuedAt"]) + CHALLENGE_SECONDS + 1


def _in_force(gathered: Gathered, constitution: Constitution, now: int) -> dict[str, Any]:
    latest = constitution.latest
    current = (gathered.obj.get("status") or {}).get("challenge")
    held = None
    if current:
        held = Challenge(current["current"], current.get("previous"), parse_time(current["issuedAt"]))
    challenge = next_challenge(held, fresh=gathered.fresh, now=now)
    return {
        "accepted": {
            "revision": latest.revision,
            "digest": latest.digest,
            "contentRef": content_name(latest.digest),
            "at": format_time(constitution.history.recorded(latest.revision)),
        },
        "homeHub": latest.home_hub,
        "challenge": {
            "current": challenge.current,
            "issuedAt": format_time(challenge.issued_at),
            **({"previous": challenge.previous} if challenge.previous else {}),
        },
        "members": {"total": len(latest.members), "verified": gathered.verified, "silent": gathered.silent},
        "lastEntry": str(constitution.head.entry_id),
    }
