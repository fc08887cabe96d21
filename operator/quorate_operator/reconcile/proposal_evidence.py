"""The evidence of a decision: a function of the log alone, so that it is always the same (trust.md, "Evidence")."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from quorate.api.conditions import Reason
from quorate.canonical import canonical_bytes, digest_of_bytes, parse_json
from quorate.conflicts.document import PROPOSAL
from quorate.proposals.bundle import RevisionRecord
from quorate.proposals.evidence import build
from quorate.proposals.lifecycle import EventType
from quorate.trust.revisions import Authority
from quorate_operator.errors import Stalled
from quorate_operator.reconcile.conflict_docket import ConflictDocket, Conflicts
from quorate_operator.reconcile.docket import (
    ACT_ACCEPTED,
    ACT_REFUSED,
    ATTESTED,
    NOT_ATTESTED,
    Docket,
    signed,
)
from quorate_operator.reconcile.dockets import Dockets
from quorate_operator.reconcile.domains import Constitution
from quorate_operator.reconcile.projection import is_held, project
from quorate_operator.reconcile.proposal_gathered import Gathered
from quorate_operator.reconcile.protocol import Command, Context
from quorate_operator.store.ports import Recorded

Revisions = Mapping[str, Sequence[RevisionRecord]]


async def gather_evidence(
    gathered: Gathered, docket: Docket, context: Context, conflicts: Conflicts, dockets: Dockets
) -> Gathered:
    """The bundle of the newest decision with its projection; of an executed emergency what its reversal needs."""
    decided, executed = docket.step(EventType.DECIDED), docket.step(EventType.EXECUTED)
    if executed is not None and "reverseDigest" in executed.detail:
        content = await context.content.get([executed.detail["reverseDigest"]])
        revisions = {} if docket.life.final else await _revisions(docket, None, context)
        gathered = replace(gathered, reverse=content.get(executed.detail["reverseDigest"]), revisions=revisions)
    if decided is None:
        return gathered
    evidence = await _held(docket, decided, context, conflicts, dockets)
    projections = project(context.view, digest_of_bytes(evidence), evidence)
    projections += await _of_execution(executed, digest_of_bytes(evidence), context)
    return replace(gathered, evidence=evidence, projections=projections)


async def _of_execution(executed: Recorded | None, newest: str, context: Context) -> tuple[Command, ...]:
    """The evidence that the executing entry names, where a ratification has one of its own since."""
    digest = newest if executed is None else executed.detail["evidenceDigest"]
    if digest == newest or is_held(context.view, digest):
        return ()
    content = await context.content.get([digest])
    return project(context.view, digest, content[digest]) if digest in content else ()


async def _held(docket: Docket, decided: Recorded, context: Context, conflicts: Conflicts, dockets: Dockets) -> bytes:
    held = docket.made.get("evidence")
    if held is not None and held[0] == decided.entry_id:
        return held[1]  # a docket is made anew with each entry, that of a resolution too
    digest = decided.detail["outcomeDigest"]
    outcome = (await context.content.get([digest])).get(digest)
    if outcome is None:
        raise Stalled(Reason.LOG_BEHIND, f"the outcome {digest} of a decided proposal is not in the database")
    revisions = await _revisions(docket, decided, context)
    arbitrated = [] if docket.life.open else await conflict_documents(docket, context, conflicts, dockets)
    data = bundle(docket, revisions, outcome, decided.content, decided, arbitrated)
    docket.made["evidence"] = (decided.entry_id, data)
    return data


def bundle(
    docket: Docket,
    revisions: Revisions,
    outcome: bytes,
    entry: Mapping[str, Any],
    decided: Recorded | None,
    conflicts: Sequence[Mapping[str, Any]] = (),
) -> bytes:
    """The canonical bytes of the bundle.

    Args:
        docket: What is recorded.
        revisions: Of each domain, from 1 to the last used.
        outcome: The canonical outcome document.
        entry: The content of the deciding entry.
        decided: That entry as recorded; None while it is only about to be.
        conflicts: The resolved conflicts that it was a party of.
    """
    executed = docket.step(EventType.EXECUTED)
    ratified = entry["payload"]["detail"]["outcome"] in (Reason.RATIFIED, Reason.REVERSED)
    others, delegations = docket.before(decided, docket.others), docket.before(decided, docket.delegations)
    document = build(
        mesh_id=str(docket.fields["meshId"]),
        domain=str(docket.fields["domain"]),
        revisions=revisions,
        electorates={name: _electorate(item, docket.opened) for name, item in docket.constitutions.items()},
        proposal=docket.statement,
        signature=docket.opening.detail["signature"],
        opening=docket.opening.content,
        acts=[signed(item, "act") for item in others if item.event_type in (ACT_ACCEPTED, ACT_REFUSED)],
        votes=[signed(replace(item), "vote") for item in docket.before(decided, [entry for entry, _ in docket.votes])],
        delegations=[
            signed(item, "attestation") for item in delegations if item.event_type in (ATTESTED, NOT_ATTESTED)
        ],
        attestations=[signed(item, "attestation") for item in docket.asked(decided)],
        outcome=parse_json(outcome),
        outcome_entry=entry,
        executing=executed.content if ratified and executed is not None else None,
        conflicts=conflicts,
    )
    return canonical_bytes(document)


def _electorate(constitution: Constitution, second: int) -> Mapping[str, Any]:
    revision = constitution.history.at(second)
    assert revision is not None
    return revision.electorate.document


async def _revisions(docket: Docket, decided: Recorded | None, context: Context) -> Revisions:
    """The revisions of each domain that were accepted before the decision, with what authorised them."""
    return {
        name: [
            await revision_record(name, constitution, index, context)
            for index in range(len(docket.before(decided, constitution.accepting)))
        ]
        for name, constitution in docket.constitutions.items()
    }


async def conflict_documents(
    docket: Docket, context: Context, conflicts: Conflicts, dockets: Dockets
) -> list[dict[str, Any]]:
    """The resolved conflicts of a proposal, with everything that their arbitration is recounted from."""
    found = []
    for item in docket.conflicts:
        arbitrated = None if item.open else await conflicts.get(context, item.conflict.digest)
        if arbitrated is not None:
            found.append(await _conflict(arbitrated, context, dockets))
    return found


async def _conflict(arbitrated: ConflictDocket, context: Context, dockets: Dockets) -> dict[str, Any]:
    resolution = arbitrated.resolution
    assert resolution is not None
    proposals = []
    for party in arbitrated.conflict.parties:
        rival = await dockets.get(context, party.digest) if party.kind == PROPOSAL else None
        if rival is not None:
            signature = rival.opening.detail["signature"]
            proposals.append(
                {"statement": dict(rival.fields), "signature": signature, "opening": rival.opening.content}
            )
    domains = {}
    for name, constitution in arbitrated.constitutions.items():
        # The order between two chains is that of the entries' times, as for votes of two domains.
        count = sum(item.timestamp <= resolution.timestamp for item in constitution.accepting)
        records = [await revision_record(name, constitution, index, context) for index in range(count)]
        domains[name] = [record.document() for record in records]
    raising = arbitrated.raising
    return {
        **({} if raising is None else {"attestation": signed(raising, "attestation").document()}),
        "conflict": arbitrated.conflict.document,
        "opening": arbitrated.opening.content,
        "escalations": [item.content for item in arbitrated.escalations],
        "resolution": resolution.content,
        "proposals": proposals,
        "domains": domains,
        "votes": [signed(item, "vote").document() for item in arbitrated.votes],
    }


async def revision_record(name: str, constitution: Constitution, index: int, context: Context) -> RevisionRecord:
    """One accepted revision with its entry and what authorised it."""
    entry, revision = constitution.accepting[index], constitution.history.accepted[index].revision
    authority: dict[str, Any] = {"kind": entry.detail["authority"]}
    if authority["kind"] == Authority.PROPOSAL:
        proposal = entry.detail["proposalDigest"]
        entries = await context.log.about(revision.digest)
        executing = next(
            item for item in entries if item.event_type == EventType.EXECUTED and item.subject_key == proposal
        )
        authority |= {"evidenceDigest": executing.detail["evidenceDigest"], "entry": executing.content}
    elif authority["kind"] == Authority.RECOVERY:
        announced = next(
            item for item in constitution.recoveries if item.detail["statement"]["resultDigest"] == revision.digest
        )
        fields = {name: announced.detail[name] for name in ("statement", "signatures")}
        authority |= {**fields, "entry": announced.content}
    return RevisionRecord(name, revision.spec, entry.content, authority)
