"""The conflicts of an adopted proposal: found before it executes, and waited for (docs/conflicts.md)."""

from dataclasses import replace

from quorate.api.conditions import Reason, some_of
from quorate.api.policy_conflict import Cause, Severity
from quorate.api.tally import Phase
from quorate.conflicts.detect import Candidate, Override, Surroundings, detect, lacks_parent, target_topic
from quorate.conflicts.document import PROPOSAL, Conflict, Found, Party
from quorate.conflicts.effect import is_held, loss, met_override
from quorate.proposals.execution import Postponed
from quorate.proposals.lifecycle import SETTLE_SECONDS, EventType
from quorate_operator.kube.resources import Key, Obj, key_of
from quorate_operator.reconcile.conflict_opening import OpeningOf, first_seats, manifest, pods_governed, vacant
from quorate_operator.reconcile.contract_overlay import overlay_on, own_privileges
from quorate_operator.reconcile.contract_past import read_past
from quorate_operator.reconcile.docket import Docket
from quorate_operator.reconcile.dockets import Dockets
from quorate_operator.reconcile.domains import Domains
from quorate_operator.reconcile.proposal_execution import is_stopped
from quorate_operator.reconcile.proposal_gathered import Contested, Gathered
from quorate_operator.reconcile.proposal_opening import tether_of
from quorate_operator.reconcile.proposal_status import shown
from quorate_operator.reconcile.protocol import Context, CreateChild, Note, Plan


async def gather_contested(
    gathered: Gathered, docket: Docket, context: Context, dockets: Dockets, domains: Domains
) -> Contested:
    """Compare an adopted proposal that has not ended with everything that it may contradict."""
    target = docket.fields["target"]
    contract = target["name"] if target["kind"] == "DynamicContract" else None
    if docket.life.phase is Phase.EMERGENCY_EXECUTED:
        return Contested(pods=pods_governed(context.view, contract))  # for the case that its reversal fails
    if docket.life.phase is not Phase.ADOPTED or docket.fields["type"] == "Emergency":
        return Contested()
    latest = docket.constitution.latest
    parent = latest.spec.get("parent")
    above = (await domains.get(context, [parent])).get(parent) if parent else None
    around = Surroundings(
        domain=latest,
        parent=None if above is None else above.latest,
        content=None if gathered.contract is None else gathered.contract.content,
        rivals=await _rivals(docket, context, dockets),
        overrides=await _overrides(gathered, docket, context),
    )
    proposal = candidate(docket)
    known = {item.conflict.pair for item in docket.conflicts}
    found = tuple(item for item in detect(proposal, around) if item.conflict.pair not in known)
    heads = await context.log.heads([item.conflict.digest for item in found]) if found else {}
    return Contested(
        found,
        {digest: head.entry_id for digest, head in heads.items()},
        lacks_parent(proposal, around),
        pods_governed(context.view, contract),
        tuple(_missing(docket, context)),
        await _awaited(gathered, docket, context, dockets),
    )


def candidate(docket: Docket) -> Candidate:
    """An adopted proposal with the timelock that its decision gave it."""
    life = docket.uncontested
    assert life.decided_at is not None
    assert life.execute_after is not None
    return Candidate(docket.statement, life.decided_at, life.execute_after)


async def _rivals(docket: Docket, context: Context, dockets: Dockets) -> tuple[Candidate, ...]:
    """Other adopted proposals on the target that have not ended, from the log; an emergency waits for nobody."""
    topic = target_topic(docket.constitution.chain, docket.fields["target"])
    adopted = {item.subject_key for item in await context.log.about(topic)} - {docket.digest}
    heads = await context.log.heads(sorted(adopted)) if adopted else {}
    pending = sorted(digest for digest, head in heads.items() if head.event_type == EventType.DECIDED)
    found = [await dockets.get(context, digest) for digest in pending]
    return tuple(
        candidate(item) for item in found if item is not None and item.fields["type"] != "Emergency" and not _ends(item)
    )


async def _awaited(gathered: Gathered, docket: Docket, context: Context, dockets: Dockets) -> tuple[Key, ...]:
    """Open rivals whose T may lie within the timelock that has just ended: a decision comes two seconds after its T.

    Without this wait it would hang on a moment's delay whether the two contest each other.
    """
    life, at = docket.uncontested, gathered.at
    assert life.decided_at is not None
    assert life.execute_after is not None
    if at < life.execute_after or life.execute_after == life.decided_at:
        return ()
    found = []
    for item in gathered.rivals:
        rival = await dockets.get(context, item["digest"])
        if rival is None or not rival.life.open or rival.fields["type"] == "Emergency":
            continue
        progress = rival.progress(at)
        second = progress.decision.at if progress.decision is not None else (progress.next_check or 0) - SETTLE_SECONDS
        if second <= life.execute_after or at < life.execute_after + SETTLE_SECONDS:
            found.append(Key("GovernanceProposal", item["namespace"], item["name"]))
    return tuple(found)


def _ends(docket: Docket) -> bool:
    """Whether it only waits for its failing entry: it contests nothing any more."""
    return docket.life.phase is not Phase.ADOPTED or loss(docket.conflicts, docket.digest) is not None


async def _overrides(gathered: Gathered, docket: Docket, context: Context) -> tuple[Override, ...]:
    """What holds on this cluster of the contract's overrides and was announced by an entry; none a second time."""
    contract = gathered.contract
    if contract is None or contract.content is None or contract.head is None or met_override(docket.conflicts):
        return ()
    obj = contract.obj
    if not obj["spec"].get("localOverrides"):
        return ()
    past, node_id = await read_past(context.log, contract.head), gathered.node_id
    narrowed = own_privileges(context.view, node_id)
    overlay = overlay_on(node_id, docket.constitution.latest, obj, contract.content, past, narrowed=narrowed)
    return tuple(
        Override(obj["metadata"]["name"], item.clause, item.text, node_id, item.override)
        for item in overlay.applied
        if past.recorded.get(item.clause) == item.document()
    )


def _missing(docket: Docket, context: Context) -> list[Obj]:
    """Objects of open conflicts that have none, deleted say: without one nobody would see or decide the conflict.

    They are made beside the proposal: that namespace exists.
    """
    found = []
    for item in docket.conflicts:
        conflict = item.conflict
        if not item.open or context.view.by("PolicyConflict", "digest", conflict.digest):
            continue
        key = vacant(context.view, conflict, Key("PolicyConflict", str(docket.fields["namespace"]), item.name))
        if key is None:
            continue
        opening = docket.opening_of(conflict.digest)
        severity, excluded = Severity(opening["severity"]), opening["excluded"]
        seated = first_seats(conflict, severity, excluded, docket.histories, item.opened)
        found.append(manifest(conflict, severity, seated, key))
    return found


def contest(gathered: Gathered, docket: Docket, now: int) -> Plan | None:
    """Open what was found, or wait for the arbitration; None: nothing stands in the way, or it ends anyway."""
    contested, life = gathered.contested, docket.life
    if life.phase is not Phase.ADOPTED or is_stopped(gathered, docket) or loss(docket.conflicts, docket.digest):
        return None
    if contested.found:
        return _opened(gathered, docket, contested)
    if is_held(docket.conflicts):
        names = some_of([f"{item.namespace}/{item.name}" for item in docket.conflicts if item.open])
        message = f"it does not execute before arbitrators have decided conflict {names}"
        return _waits(gathered, docket, Postponed(Reason.CONFLICT, message), now)
    if contested.awaited:
        postponed = Postponed(Reason.TIMELOCK, "a rival may have been adopted within the timelock", now + 1)
        plan = _waits(gathered, docket, postponed, now)
        return replace(plan, dirty=(*plan.dirty, *contested.awaited))
    if contested.parentless and (life.execute_before is None or now <= life.execute_before):
        parent = docket.constitution.latest.spec["parent"]
        until = None if life.execute_before is None else life.execute_before + 1
        message = (
            f"the clause is shared with parent {parent!r}, of which no revision is accepted here: whether the change "
            "contradicts it cannot be told"
        )
        return _waits(gathered, docket, Postponed(Reason.UNKNOWN_DOMAIN, message, until), now)
    return None


def _waits(gathered: Gathered, docket: Docket, postponed: Postponed, now: int) -> Plan:
    plan = shown(gathered, docket, now, postponed=postponed)
    missing = tuple(CreateChild(item) for item in gathered.contested.missing)
    keys = tuple(key_of(item) for item in gathered.contested.missing)
    return replace(plan, commands=(*plan.commands, *missing), dirty=(*plan.dirty, *keys))


def _opened(gathered: Gathered, docket: Docket, contested: Contested) -> Plan:
    tether = tether_of(gathered, docket.constitution, docket.fields["target"])
    openings = [
        OpeningOf(
            found,
            docket.constitution,
            gathered.at,
            contested.pods,
            tether,
            contested.previous.get(found.conflict.digest),
        )
        for found in contested.found
    ]
    parties = {party for item in openings for party in item.conflict.parties if party.namespace is not None}
    return Plan(
        chain=docket.constitution.chain,
        entries=tuple(item.draft() for item in openings),
        commands=tuple(CreateChild(conflict_object(item, docket)) for item in openings),
        events=tuple(
            Note(
                "Warning",
                Reason.CONFLICT,
                f"{item.found.cause}: {item.conflict.parties[0].name} against {item.conflict.parties[1].name}; "
                f"arbitrated as PolicyConflict {item.object_key.namespace}/{item.object_key.name}",
            )
            for item in openings
        ),
        dirty=(
            key_of(gathered.obj),
            *(Key(party.kind, str(party.namespace), party.name) for party in sorted(parties, key=lambda p: p.digest)),
            *(item.object_key for item in openings),
        ),
    )


def moved_on(gathered: Gathered, docket: Docket) -> OpeningOf | None:
    """The conflict of an emergency that was not ratified with what its clause became since; None: nothing is there."""
    contract, fields = gathered.contract, docket.fields
    if contract is None or contract.content is None:
        return None
    target = fields["target"]
    one = Party(PROPOSAL, fields["name"], docket.digest, fields["namespace"], target.get("clause"))
    other = Party("DynamicContract", target["name"], contract.content.digest, clause=target.get("clause"))
    conflict = Conflict(str(fields["meshId"]), str(fields["domain"]), (one, other))
    return OpeningOf(
        Found(conflict, Cause.CLAUSE_MOVED_ON, {str(fields["proposer"]): f"proposer of {one.name}"}, (target,)),
        docket.constitution,
        gathered.at,
        gathered.contested.pods,
        tether_of(gathered, docket.constitution, target),
    )


def conflict_object(opening: OpeningOf, docket: Docket) -> Obj:
    """The PolicyConflict that shows it."""
    seated = first_seats(opening.conflict, opening.severity, opening.found.excluded, docket.histories, opening.at)
    return manifest(opening.conflict, opening.severity, seated, opening.object_key)
