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
from quorate.trust.revisions import Verdict, check_revision
from quorate_operator.kube.conditions import status_with
from quorate_operator.kube.resources import Key, Obj
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
    authorised: frozenset[str]
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

    def __init__(self, domains: Domains) -> None:
        self._domains = domains
        self._last_count: dict[str, float] = {}
        # A spec of one generation against one chain always gets one answer, and a large document takes long to check.
        self._unchanged: dict[str, tuple[Any, ...]] = {}
        self.relations = {
            "ConfigMap": lambda obj, view: view.keys("TrustDomain") if _is_content_of_domain(obj, view) else (),
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
        authorised: frozenset[str] = frozenset()
        projection: tuple[Command, ...] = ()
        if constitution is not None:
            latest = constitution.latest
            projection = project(context.view, latest.digest, latest.statement.payload)
            if obj["spec"].get("revision") == latest.revision + 1:
                digest = DomainRevision(key.name, obj["spec"]).digest
                entries = await context.log.about(digest)
                authorised = frozenset(digest for entry in entries if entry.event_type == EXECUTED)
        nodes = [context.view.get(node) for node in context.view.by("MeshNode", "domain", key.name)]
        statuses = [(node or {}).get("status") for node in nodes]
        return Gathered(
            obj,
            constitution,
            context.config.pins.get(f"{obj['spec'].get('meshId')}/{key.name}"),
            context.config.node_id,
            authorised,
            refusals.get(unsigned_subject(obj["metadata"]["uid"])),
            secrets.token_urlsafe(24),
            projection,
            sum(is_true(status, ConditionType.IDENTITY_VERIFIED) for status in statuses),
            sum(not is_true(status, ConditionType.HEARTBEATING) for status in statuses),
            self._recount_at(key.name, len(nodes), context.clock()),
        )

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
            authorised_digests=gathered.authorised,
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


def _is_content_of_domain(obj: Obj, view: Any) -> bool:
    name = obj["metadata"]["name"]
    return any(
        ((domain.get("status") or {}).get("accepted") or {}).get("contentRef") == name
        for domain in view.all("TrustDomain")
    )


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
        events=(Note("Warning", verdict.reason, message),),
        commands=gathered.projection,
        wake_at=verdict.retry_at or (_challenge_due(fields) if fields else None),
    )


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
