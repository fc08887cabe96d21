"""A conflict that a member raises: what it needs before it opens (docs/conflicts.md, "Raised by a member")."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from quorate.api.conditions import ConditionType, Reason, observe
from quorate.audit.entry import Draft, Tether
from quorate.canonical import parse_json, parse_time
from quorate.conflicts.document import PROPOSAL, Conflict, ConflictEvent, Party
from quorate.conflicts.raised import MAX_RAISED, Earlier, may_raise
from quorate.conflicts.raised import raised as raised_found
from quorate.identity.statements import Statement
from quorate.proposals.lifecycle import EventType
from quorate.trust.record import AttestationRecord
from quorate_operator.errors import Stalled
from quorate_operator.kube.conditions import status_with
from quorate_operator.kube.resources import Obj, key_of
from quorate_operator.reconcile.conflict_docket import pair_topic, raised_topic, raisings
from quorate_operator.reconcile.conflict_opening import OpeningOf, first_seats, pods_governed
from quorate_operator.reconcile.domains import Constitution
from quorate_operator.reconcile.protocol import Context, Note, Plan
from quorate_operator.store.ports import Recorded

_KINDS = (PROPOSAL, "TrustDomain", "DynamicContract")
_PENDING = frozenset({EventType.OPENED, EventType.DECIDED})


@dataclass(frozen=True)
class Raised:
    """What is known about a conflict that is not open.

    Attributes:
        raisings: Attestations of members that name it, in log order.
        parties: The last entry of each party that the log knows, by digest.
        openings: The opening entries of those that are proposals, by digest.
        proposals: Their signed fields, by digest.
        contents: Digests of those that are contents of a contract, in force once.
        arbitrated: Whether the pair was arbitrated before.
        earlier: What each of those who raised this one raised before, by nodeId.
        last: The last entry about it: a refusal.
        pods: Pods that its contract governs.
        at: The second.
    """

    raisings: tuple[Recorded, ...]
    parties: Mapping[str, Recorded]
    openings: Mapping[str, Recorded]
    proposals: Mapping[str, Mapping[str, Any]]
    contents: frozenset[str]
    arbitrated: bool
    earlier: Mapping[str, Earlier]
    last: Recorded | None
    pods: int
    at: int


async def gather_raised(obj: Obj, conflict: Conflict, constitution: Constitution, context: Context, at: int) -> Raised:
    """Read what the log knows of the conflict, its parties and whoever raised it."""
    found = raisings(await context.log.about(conflict.digest), conflict.digest)
    heads = await context.log.heads([conflict.digest, *conflict.pair])
    openings: dict[str, Recorded] = {}
    for party in conflict.parties:
        if party.kind == PROPOSAL:
            entries = await context.log.about(party.digest)
            own = [item for item in entries if item.subject_key == party.digest]
            opened = next((item for item in own if item.event_type == EventType.OPENED), None)
            openings |= {} if opened is None else {party.digest: opened}
    return Raised(
        tuple(found),
        {digest: head for digest, head in heads.items() if digest != conflict.digest},
        openings,
        await _signed_fields(list(openings), context),
        frozenset([party.digest for party in conflict.parties if await _was_in_force(party, context)]),
        any(item.event_type == ConflictEvent.OPENED for item in await context.log.about(pair_topic(conflict))),
        {node: await _earlier(node, constitution, context) for node in {_attester(item) for item in found}},
        heads.get(conflict.digest),
        sum(pods_governed(context.view, name) for name in _contracts(conflict, context)),
        at,
    )


async def _signed_fields(digests: Sequence[str], context: Context) -> dict[str, Mapping[str, Any]]:
    content = await context.content.get(digests) if digests else {}
    if len(content) < len(digests):
        missing = ", ".join(sorted(set(digests) - content.keys()))
        raise Stalled(Reason.LOG_BEHIND, f"the statement {missing} of an opened proposal is not in the database")
    return {digest: parse_json(data) for digest, data in content.items()}


async def _was_in_force(party: Party, context: Context) -> bool:
    if party.kind != "DynamicContract":
        return False
    entries = await context.log.about(party.digest)
    return any(item.event_type.startswith("governance.contract.") for item in entries)


def _attester(entry: Recorded) -> str:
    return str(entry.detail["statement"]["attester"])


async def _earlier(node_id: str, constitution: Constitution, context: Context) -> Earlier:
    entries = await context.log.about(raised_topic(constitution.chain, node_id))
    openings = [item for item in entries if item.event_type == ConflictEvent.OPENED]
    heads = await context.log.heads(sorted({item.subject_key for item in openings})) if openings else {}
    parties = Counter(party["digest"] for item in openings for party in item.detail["conflict"]["parties"])
    return Earlier(sum(head.event_type != ConflictEvent.RESOLVED for head in heads.values()), parties)


def _contracts(conflict: Conflict, context: Context) -> set[str]:
    """Names of the contracts that the parties are, or are about."""
    found = {party.name for party in conflict.parties if party.kind == "DynamicContract"}
    for party in conflict.parties:
        for key in context.view.by("GovernanceProposal", "digest", party.digest):
            found.add(str((context.view.get(key) or {})["spec"]["target"]["name"]))
    return found


def waits(obj: Obj, reason: str, message: str, now: int, **fields: object) -> Plan:
    """The status of a conflict that is not open yet."""
    observations = [
        observe(ConditionType.READY, False, reason, message),
        observe(ConditionType.RECONCILING, True, reason, message),
    ]
    return Plan(status=status_with(obj, fields, observations, now=now))


def refused(obj: Obj, reason: str, message: str, now: int, **fields: object) -> Plan:
    """The status of a conflict that cannot open as it stands."""
    observations = [
        observe(ConditionType.READY, False, reason, message),
        observe(ConditionType.STALLED, True, reason, message),
    ]
    return Plan(status=status_with(obj, fields, observations, now=now))


def open_raised(obj: Obj, raised: Raised, conflict: Conflict, constitution: Constitution, now: int) -> Plan:
    """Open it, or say what it lacks: what cannot be mended is refused, and recorded once for each reason."""
    able = [item for item in raised.raisings if _may_raise(item, constitution, raised.at)]
    if not able:
        message = (
            f"no member with ValidateAttestation attests it: sign a Compliance attestation on {conflict.digest} with "
            "`quorate conflict raise`"
        )
        return waits(obj, Reason.NOT_RAISED, message, now, digest=conflict.digest)
    if raised.arbitrated:
        message = "spec.parties: this pair was arbitrated before, or is: a pair is arbitrated once"
        return _refuse(obj, raised, conflict, constitution, Reason.ALREADY_DECIDED, message, now)
    if not conflict.evidence:
        message = "spec.evidence is empty: a raised conflict needs what shows it"
        return _refuse(obj, raised, conflict, constitution, Reason.INVALID, message, now)
    unknown = _unknown(raised, conflict, constitution)
    if unknown is not None:
        return waits(obj, Reason.UNKNOWN_PARTY, unknown, now, digest=conflict.digest)
    pending = [party.digest for party in conflict.parties if _pending(raised, party)]
    able = [item for item in able if not raised.earlier[_attester(item)].often(pending)]
    if not able:
        message = f"who raises it raised {MAX_RAISED} conflicts against the same proposal before: no more of them open"
        return _refuse(obj, raised, conflict, constitution, Reason.TOO_MANY_CONFLICTS, message, now)
    free = next((item for item in able if not raised.earlier[_attester(item)].full), None)
    if free is None:
        message = f"{_attester(able[0])} has {MAX_RAISED} raised conflicts open already"
        return waits(obj, Reason.TOO_MANY_CONFLICTS, message, now, digest=conflict.digest)
    return _open(obj, raised, conflict, constitution, free, now)


def _unknown(raised: Raised, conflict: Conflict, constitution: Constitution) -> str | None:
    """Why the parties are none that could be arbitrated; None: they are."""
    digests = {item.revision.digest for item in constitution.history.accepted}
    for index, party in enumerate(conflict.parties):
        if party.kind == PROPOSAL and party.digest not in raised.openings:
            return f"spec.parties[{index}].digest {party.digest}: no proposal with it was opened"
        if party.kind == PROPOSAL and raised.openings[party.digest].chain_id != constitution.chain:
            return f"spec.parties[{index}]: the proposal is of another domain than spec.domain"
        if party.kind == "TrustDomain" and party.digest not in digests:
            return f"spec.parties[{index}].digest {party.digest} is no accepted revision of {constitution.latest.name}"
        if party.kind == "DynamicContract" and party.digest not in raised.contents:
            return f"spec.parties[{index}].digest {party.digest} was never in force of a contract"
        if party.kind not in _KINDS:
            return f"spec.parties[{index}].kind {party.kind!r} must be one of {', '.join(_KINDS)}"
    if not any(_pending(raised, party) for party in conflict.parties):
        return "spec.parties: none of them is a proposal that has not ended"
    return None


def _pending(raised: Raised, party: Party) -> bool:
    head = raised.parties.get(party.digest)
    if party.kind != PROPOSAL or head is None or head.event_type not in _PENDING:
        return False
    return head.event_type == EventType.OPENED or head.detail["outcome"] == Reason.ADOPTED


def _may_raise(entry: Recorded, constitution: Constitution, at: int) -> bool:
    detail = entry.detail
    statement, recorded = Statement("attestation", detail["statement"]), parse_time(detail["recordedAt"])
    return may_raise(AttestationRecord(statement, detail["signature"], recorded), constitution.history, at)


def _open(
    obj: Obj, raised: Raised, conflict: Conflict, constitution: Constitution, raising: Recorded, now: int
) -> Plan:
    opening = OpeningOf(
        raised_found(conflict, constitution.latest, _attester(raising), raised.proposals),
        constitution,
        raised.at,
        pods=raised.pods,
        tether=Tether(constitution.latest.phase_id, "none", _clauses(conflict)),
        previous=None if raised.last is None else raised.last.entry_id,
        key=key_of(obj),
        raised_by=_attester(raising),
        attestation=raising.subject_key,
    )
    wrong = _written_wrong(obj, opening, constitution)
    if wrong is not None:
        return _refuse(obj, raised, conflict, constitution, Reason.INVALID, wrong, now)
    message = f"raised by {opening.raised_by}: {conflict.parties[0].name} against {conflict.parties[1].name}"
    return Plan(
        chain=constitution.chain,
        entries=(opening.draft(),),
        events=(Note("Warning", Reason.CONFLICT, message),),
        dirty=(key_of(obj),),
    )


def _clauses(conflict: Conflict) -> tuple[str, ...]:
    return tuple(sorted({party.clause for party in conflict.parties if party.clause}))


def _written_wrong(obj: Obj, opening: OpeningOf, constitution: Constitution) -> str | None:
    """Why the severity or the arbitrators that the object names are not those that follow."""
    spec = obj["spec"]
    if spec.get("severity") not in (None, str(opening.severity)):
        return f"spec.severity {spec['severity']} is not {opening.severity}, which follows from scope and size"
    if spec.get("arbitrators") is None:
        return None
    histories = {constitution.latest.name: constitution.history}
    wanted = first_seats(opening.conflict, opening.severity, opening.found.excluded, histories, opening.at)
    if list(spec["arbitrators"]) == wanted:
        return None
    return f"spec.arbitrators {spec['arbitrators']} are not {wanted}, which follow from the digest: leave them out"


def _refuse(
    obj: Obj, raised: Raised, conflict: Conflict, constitution: Constitution, reason: Reason, message: str, now: int
) -> Plan:
    last = raised.last
    if last is not None and last.detail.get("reason") == reason:
        return refused(obj, reason, message, now, digest=conflict.digest, lastEntry=str(last.entry_id))
    draft = _refusal(obj, conflict, constitution, reason, message, raised.at, None if last is None else last.entry_id)
    plan = refused(obj, reason, message, now, digest=conflict.digest, lastEntry=str(draft.entry_id))
    return replace(plan, chain=constitution.chain, entries=(draft,), events=(Note("Warning", reason, message),))


def _refusal(
    obj: Obj, conflict: Conflict, constitution: Constitution, reason: str, message: str, at: int, previous: UUID | None
) -> Draft:
    meta = obj["metadata"]
    subject = {"kind": "PolicyConflict", "namespace": meta["namespace"], "name": meta["name"], "uid": meta["uid"]}
    return Draft(
        conflict.digest,
        previous,
        ConflictEvent.REFUSED,
        subject,
        Tether(constitution.latest.phase_id, "none", _clauses(conflict)),
        at * 1_000_000,
        question="conflict.open",
        about=sorted(conflict.pair),
        detail={"reason": str(reason), "message": message[:1024]},
    )
