"""Acts and the decision of an open proposal (governance.md, "Decision")."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from quorate.api.conditions import Reason
from quorate.audit.entry import Draft
from quorate.audit.ids import unsigned_subject
from quorate.canonical import canonical_bytes, digest_of, digest_of_bytes, format_time, parse_json, parse_time
from quorate.conflicts.detect import target_topic
from quorate.identity.ed25519 import KeyRefusedError, parse_public_key
from quorate.identity.statements import act_statement, vote_statement
from quorate.proposals.amendment import judge_act
from quorate.proposals.execution import ReverseChange, reverse
from quorate.proposals.lifecycle import SETTLE_SECONDS, EventType
from quorate.proposals.outcome import document
from quorate.proposals.votes import vote_key
from quorate.trust.domain import DomainRevision
from quorate_operator.errors import Stalled
from quorate_operator.kube.resources import Key, Obj, key_of
from quorate_operator.reconcile.docket import ACT_ACCEPTED, ACT_REFUSED, Docket
from quorate_operator.reconcile.proposal_change import contract_changed
from quorate_operator.reconcile.proposal_conflicts import conflict_object, moved_on
from quorate_operator.reconcile.proposal_evidence import bundle
from quorate_operator.reconcile.proposal_gathered import Gathered
from quorate_operator.reconcile.proposal_opening import open_revision, subject_of, tether_of
from quorate_operator.reconcile.protocol import CreateChild, Note, Plan


def falls_due(gathered: Gathered, docket: Docket) -> bool:
    """Whether this look may decide: then the API server is asked for votes that the watch has not brought yet."""
    if not docket.life.open:
        return False
    progress = docket.progress(gathered.at)
    return progress.decision is not None and progress.decision.outcome != Reason.EMERGENCY_EXECUTED


def unrecorded(docket: Docket, votes: Iterable[Obj], at: int) -> tuple[Key, ...]:
    """Votes made up to second `at` (T) that the log neither accepted nor refused yet; later ones cannot matter."""
    return unrecorded_votes(str(docket.fields["meshId"]), docket.recorded_subjects(), votes, at)


def unrecorded_votes(mesh: str, known: Collection[str], votes: Iterable[Obj], at: int) -> tuple[Key, ...]:
    """Of `votes` those made up to second `at` whose subject keys are not among `known`."""
    return tuple(
        key_of(vote)
        for vote in votes
        if parse_time(vote["metadata"]["creationTimestamp"]) <= at
        and vote_statement(mesh, vote["spec"]).digest not in known
        and unsigned_subject(vote["metadata"]["uid"]) not in known
    )


def _acts(spec: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    withdrawal = spec.get("withdrawal")
    return [*(spec.get("endorsements") or ()), *(spec.get("stops") or ()), *([withdrawal] if withdrawal else ())]


def record_acts(gathered: Gathered, docket: Docket, now: int) -> Plan | None:
    """Record endorsements, stops and the withdrawal that the log does not hold yet; None if there is nothing new."""
    acts = _acts(gathered.obj["spec"])
    if not acts or docket.life.final:
        return None
    known = docket.recorded_subjects()
    latest = docket.constitution.latest
    entries: dict[str, Draft] = {}
    events = []
    for act in acts:
        statement = act_statement(latest.mesh_id, latest.name, act)
        refused_key = _refused_key(docket, act)
        if statement.digest in known or refused_key in known:
            continue
        verdict = judge_act(
            open_revision(docket, gathered.at), act, public_key=_act_key(latest, docket, act, gathered.at),
            recorded=gathered.at,
        )  # fmt: skip
        detail = {"statement": dict(statement.fields), "signature": act["signature"]}
        if not verdict.accepted:
            detail |= {"reason": str(verdict.reason), "message": verdict.message[:1024]}
            events.append(Note("Warning", verdict.reason, verdict.message))
        subject = statement.digest if verdict.accepted else refused_key
        entries[subject] = Draft(
            subject,
            None,
            ACT_ACCEPTED if verdict.accepted else ACT_REFUSED,
            subject_of(gathered.obj),
            tether_of(gathered, docket.constitution, docket.fields["target"]),
            gathered.at * 1_000_000,
            actor_id=str(act["by"]),
            question="act.record",
            about=[docket.digest],
            detail=detail,
        )
    if not entries:
        return None
    return Plan(
        chain=docket.constitution.chain,
        entries=tuple(entries.values()),
        events=tuple(events),
        dirty=(key_of(gathered.obj),),
    )


def _refused_key(docket: Docket, act: Mapping[str, Any]) -> str:
    """Subject of a refused act: it has no uid of its own, so its signed bytes and the proposal name it."""
    return unsigned_subject(digest_of({"act": dict(act), "proposal": docket.digest}))


def _act_key(latest: DomainRevision, docket: Docket, act: Mapping[str, Any], at: int) -> bytes | None:
    if act["act"] != "Withdraw":
        return latest.admins.get(act["keyName"])
    key = vote_key(latest, str(docket.fields["proposer"]), act["keyName"])
    if key is None or not key.valid_at(at):
        return None
    try:
        return parse_public_key(key.public_key)
    except KeyRefusedError:
        return None


def record_decision(gathered: Gathered, docket: Docket, now: int) -> Plan | None:
    """The entry of a decision that may be taken; None while there is none."""
    progress = docket.progress(gathered.at)
    decided = progress.decision
    if decided is None or decided.outcome in (Reason.EMERGENCY_EXECUTED, Reason.SUPERSEDED):
        return None
    if gathered.at < decided.at + SETTLE_SECONDS:
        return None
    data = canonical_bytes(document(progress))
    content = {digest_of_bytes(data): data}
    entries = [
        Draft(
            docket.digest,
            docket.head.entry_id,
            EventType.DECIDED,
            subject_of(gathered.obj),
            tether_of(gathered, docket.constitution, docket.fields["target"]),
            gathered.at * 1_000_000,
            question="proposal.decide",
            about=_on_target(docket, str(decided.outcome)),
            detail={
                "outcome": str(decided.outcome),
                "reason": str(decided.reason),
                "decidedAt": format_time(decided.at),
                "rules": progress.tally.phase,
                "outcomeDigest": digest_of_bytes(data),
            },
        )
    ]
    note, conflict = f"{decided.outcome}: {decided.reason}", None
    if decided.outcome == Reason.REVERSED:
        evidence = bundle(docket, gathered.revisions, data, parse_json(entries[0].content), None)
        changed = _reversal(gathered, docket, digest_of_bytes(evidence))
        if isinstance(changed, str):
            note, conflict = f"{note}; {changed}", moved_on(gathered, docket)
        elif changed is not None:
            entries.append(changed[0])
            content |= {**changed[1], digest_of_bytes(evidence): evidence}
    kind = "Normal" if decided.outcome in ("Adopted", "Ratified") else "Warning"
    if conflict is not None:
        entries.append(conflict.draft())
    return Plan(
        chain=docket.constitution.chain,
        entries=tuple(entries),
        commands=() if conflict is None else (CreateChild(conflict_object(conflict, docket)),),
        content=content,
        events=(Note("Normal" if kind == "Normal" else "Warning", str(decided.outcome), note),),
        dirty=(
            key_of(gathered.obj),
            *_contract_keys(gathered),
            *(() if conflict is None else (conflict.object_key,)),
        ),
    )


def _on_target(docket: Docket, outcome: str) -> list[str]:
    """Where an adopted proposal's rivals find it (docs/conflicts.md)."""
    adopted = outcome == Reason.ADOPTED
    return [target_topic(docket.constitution.chain, docket.fields["target"])] if adopted else []


def _contract_keys(gathered: Gathered) -> tuple[Key, ...]:
    return () if gathered.contract is None else (key_of(gathered.contract.obj),)


def _reversal(gathered: Gathered, docket: Docket, evidence: str) -> tuple[Draft, dict[str, bytes]] | str | None:
    """The contract change that undoes an emergency that was not ratified; a sentence where the clause moved on."""
    contract = gathered.contract
    if gathered.reverse is None:
        executed = docket.step(EventType.EXECUTED)
        reverse_digest = None if executed is None else executed.detail.get("reverseDigest")
        raise Stalled(Reason.LOG_BEHIND, f"the reverse patch {reverse_digest} is not in the database")
    if contract is None or contract.content is None:
        return f"contract {docket.fields['target']['name']} has nothing in force to reverse"
    shared = gathered.situation(docket.constitution, docket.fields).shared_clauses
    change = ReverseChange(parse_json(gathered.reverse))
    result = reverse(docket.fields, docket.digest, change, contract.content, now=gathered.at, shared_clauses=shared)
    if result.content is None:
        return str(result.conflict)
    draft = contract_changed(gathered, docket, contract, result.content, evidence)
    return draft, {result.content.digest: result.content.data}
