"""Opening and amending a proposal (governance.md, "Lifecycle"; trust.md, "Statements")."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import chain
from typing import Any

from quorate.api.conditions import Reason
from quorate.audit.entry import Draft, Tether
from quorate.audit.ids import unsigned_subject
from quorate.canonical import NotCanonicalError, canonical_bytes, digest_of_bytes, format_time
from quorate.conflicts.detect import target_key
from quorate.contracts.form import ContractRefusedError
from quorate.identity.ed25519 import KeyRefusedError, parse_public_key
from quorate.identity.statements import Statement, proposal_statement
from quorate.proposals.amendment import OpenRevision, SpecVerdict, Standing, as_recorded, judge_spec
from quorate.proposals.case import Kept
from quorate.proposals.decision import decide
from quorate.proposals.execution import check_change
from quorate.proposals.lifecycle import SETTLE_SECONDS, EventType
from quorate.proposals.opening import Opening, Refusal, check_opening
from quorate.proposals.outcome import document, refusal
from quorate.proposals.votes import vote_key
from quorate.trust.domain import DomainRevision
from quorate_operator.kube.resources import Key, Obj, key_of
from quorate_operator.reconcile.docket import Docket, name_topic
from quorate_operator.reconcile.domains import Constitution
from quorate_operator.reconcile.proposal_gathered import Gathered
from quorate_operator.reconcile.proposal_status import unopened
from quorate_operator.reconcile.protocol import Note, Plan
from quorate_operator.store.ports import Recorded
from quorate_operator.view import MAX_RIVALS, OPEN_PHASES, View, proposed_by

MAX_OPEN = 10
RETRY_SECONDS = 5
MAX_REFUSAL = 1024
"""Characters of the message of a refused opening: in its entry, its outcome document and its status."""


def live_statement(domain: DomainRevision, obj: Obj) -> Statement | None:
    """The statement of the live spec; None where it has no canonical form."""
    meta = obj["metadata"]
    statement = proposal_statement(domain.mesh_id, meta["namespace"], meta["name"], obj["spec"])
    try:
        return statement if statement.payload else None
    except NotCanonicalError:
        return None


def is_open(item: Obj) -> bool:
    """Whether a proposal's status says that its votes may still change the outcome."""
    return (item.get("status") or {}).get("phase") in OPEN_PHASES


def rivals(obj: Obj, view: View) -> tuple[Mapping[str, Any], ...]:
    """Other open proposals on the same clause or section: a warning, never an obstacle (docs/conflicts.md, 1).

    Those that the status names already come first: a warning that is full changes only when one of them is closed.
    """
    own = key_of(obj)
    told = {item["digest"] for item in (obj.get("status") or {}).get("conflicts") or ()}
    found: dict[Key, Mapping[str, Any]] = {}
    named = (key for digest in told for key in view.by("GovernanceProposal", "digest", digest))
    for key in chain(named, view.each("GovernanceProposal", "open", target_key(obj["spec"]["target"]))):
        if len(found) == MAX_RIVALS:
            break
        other = view.get(key)
        if key != own and other is not None and is_open(other) and _same_target(other, obj):
            found[key] = {"namespace": key.namespace, "name": key.name, "digest": other["status"]["digest"]}
    return tuple(found[key] for key in sorted(found))


def _same_target(one: Obj, other: Obj) -> bool:
    return target_key(one["spec"]["target"]) == target_key(other["spec"]["target"])


def open_by_proposer(obj: Obj, view: View) -> int:
    """How many other proposals of this proposer and type are open in the domain."""
    own = key_of(obj)
    return sum(key != own for key in view.each("GovernanceProposal", "proposed", proposed_by(obj["spec"])))


def open_proposal(gathered: Gathered, now: int) -> Plan:
    """Record the opening, or say why it does not open."""
    obj, spec = gathered.obj, gathered.obj["spec"]
    if spec.get("draft"):
        return unopened(gathered, Reason.DRAFT, "spec.draft: sign the proposal to open it", now, stalled=False)
    domain = gathered.constitutions.get(spec["trustDomain"])
    if domain is None:
        message = f"spec.trustDomain {spec['trustDomain']!r} has no accepted revision yet"
        return unopened(gathered, Reason.NO_ACCEPTED_REVISION, message, now, stalled=False)
    if gathered.live is None:
        return unopened(gathered, Reason.INVALID, "spec has no canonical form: see docs/formats.md", now, stalled=True)
    if gathered.contract is None and spec["target"]["kind"] == "DynamicContract":
        message = f"spec.target.name: there is no DynamicContract {spec['target']['name']!r} yet"
        return unopened(gathered, Reason.UNKNOWN_TARGET, message, now, stalled=False)
    histories = {name: item.history for name, item in gathered.constitutions.items()}
    verdict = check_opening(gathered.live, spec.get("signature"), histories, second=gathered.at)
    if not isinstance(verdict, Opening):
        waits = verdict.reason == Reason.NO_ACCEPTED_REVISION
        if waits:
            return unopened(gathered, verdict.reason, verdict.message, now, stalled=False)
        return _refuse(gathered, domain, verdict.reason, verdict.message, now)
    limit = (domain.latest.rules(spec["type"]) or {}).get("maxOpenPerProposer", MAX_OPEN)
    if gathered.open_by_proposer >= limit:
        message = (
            f"spec.proposer has {gathered.open_by_proposer} open proposals of this type; maxOpenPerProposer {limit}"
        )
        waiting = unopened(gathered, Reason.TOO_MANY_OPEN, message, now, stalled=False)
        return replace(waiting, wake_at=now + RETRY_SECONDS)
    try:
        check_change(gathered.live.fields, gathered.situation(domain, gathered.live.fields), opened=gathered.at)
    except ContractRefusedError as error:
        return _refuse(gathered, domain, error.reason, str(error), now)
    previous = gathered.live_heads.get(gathered.live.digest)
    entry = _opened(gathered, gathered.live, verdict, domain, previous)
    return Plan(
        chain=domain.chain,
        entries=(entry,),
        content=_content(gathered.live, verdict),
        dirty=(Key("GovernanceProposal", obj["metadata"]["namespace"], obj["metadata"]["name"]),),
    )


def _content(statement: Statement, verdict: Opening) -> dict[str, bytes]:
    content = {statement.digest: statement.payload}
    for revision in verdict.revisions.values():
        content[revision.electorate.digest] = canonical_bytes(revision.electorate.document)
    return content


def subject_of(obj: Obj) -> dict[str, Any]:
    """The subject of entries about a proposal."""
    meta = obj["metadata"]
    return {
        "kind": "GovernanceProposal",
        "namespace": meta["namespace"],
        "name": meta["name"],
        "uid": meta["uid"],
        "generation": meta.get("generation"),
    }


def tether_of(gathered: Gathered, domain: Constitution, target: Mapping[str, Any]) -> Tether:
    """Which rules an entry about the proposal was made under (row A13)."""
    content = None if gathered.contract is None else gathered.contract.content
    clauses = (str(target["clause"]),) if target.get("clause") else ()
    return Tether(domain.latest.phase_id, "none" if content is None else content.version, clauses)


def _opened(
    gathered: Gathered, statement: Statement, verdict: Opening, domain: Constitution, previous: Recorded | None
) -> Draft:
    meta = gathered.obj["metadata"]
    electorates = {name: item.electorate.digest for name, item in verdict.revisions.items()}
    return Draft(
        statement.digest,
        None if previous is None else previous.entry_id,
        EventType.OPENED,
        subject_of(gathered.obj),
        tether_of(gathered, domain, statement.fields["target"]),
        gathered.at * 1_000_000,
        actor_id=str(statement.fields["proposer"]),
        question="proposal.open",
        about=[name_topic(meta["namespace"], meta["name"]), *electorates.values()],
        detail={
            "signature": gathered.obj["spec"]["signature"],
            "revisions": {name: item.revision for name, item in verdict.revisions.items()},
            "electorates": electorates,
        },
    )


_UNSIGNED = frozenset(
    {Reason.BAD_SIGNATURE, Reason.UNKNOWN_KEY, Reason.NOT_SIGNED, Reason.PROPOSER_NOT_ALLOWED, Reason.INVALID_DOMAINS}
)
"""Refusals before the signature was found to hold."""


def refusal_subject(obj: Obj) -> str:
    """Subject of a refusal of an object whose signature is not valid: one edit of it."""
    meta = obj["metadata"]
    return unsigned_subject(f"{meta['uid']}/{meta.get('generation')}")


def _refuse(gathered: Gathered, domain: Constitution, reason: str, message: str, now: int) -> Plan:
    """A refusal is recorded once for what it says; it may open later (a base that holds again, say)."""
    obj, live = gathered.obj, gathered.live
    assert live is not None
    message = message[:MAX_REFUSAL]
    subject = refusal_subject(obj) if reason in _UNSIGNED else live.digest
    last = gathered.live_heads.get(subject)
    if last is not None and last.detail.get("reason") == reason:
        outcome = last.detail.get("outcomeDigest")
        return unopened(gathered, reason, message, now, stalled=True, outcome=outcome)
    data = canonical_bytes(refusal(str(reason), message))
    outcome = digest_of_bytes(data)
    plan = unopened(gathered, reason, message, now, stalled=True, outcome=outcome)
    entry = Draft(
        subject,
        None if last is None else last.entry_id,
        EventType.REFUSED,
        subject_of(obj),
        tether_of(gathered, domain, obj["spec"]["target"]),
        gathered.at * 1_000_000,
        question="proposal.open",
        about=[live.digest],
        detail={"reason": str(reason), "message": message, "outcomeDigest": outcome},
    )
    events = (Note("Warning", str(reason), message),)
    return Plan(chain=domain.chain, entries=(entry,), status=plan.status, events=events, content={outcome: data})


def open_revision(docket: Docket, at: int) -> OpenRevision:
    """The open revision as amendments and acts are judged against it."""
    earlier = int(docket.opening.detail.get("amendments", 0))
    progress = docket.progress(at)
    reached = progress.decision.at if progress.decision is not None else None
    if reached is None and progress.next_check is not None:
        reached = progress.next_check - SETTLE_SECONDS
    return OpenRevision(docket.digest, docket.fields, progress.deadline, earlier, docket.life, reached)


def spec_verdict(gathered: Gathered, docket: Docket) -> SpecVerdict:
    """What the live spec is to the open revision (condition SpecAccepted)."""
    if gathered.live is not None and gathered.live.digest == docket.digest:
        return as_recorded(docket.digest)
    spec, meta = gathered.obj["spec"], gathered.obj["metadata"]
    key = vote_key(docket.constitution.history.at(gathered.at), str(spec.get("proposer")), str(spec.get("keyName")))
    raw = None
    if key is not None and key.valid_at(gathered.at):
        try:
            raw = parse_public_key(key.public_key)
        except KeyRefusedError:
            raw = None
    verdict = judge_spec(
        open_revision(docket, gathered.at),
        namespace=meta["namespace"],
        name=meta["name"],
        spec=spec,
        public_key=raw,
        recorded=gathered.at,
    )
    if verdict.standing is not Standing.AMENDS:
        return verdict
    refusal = _may_open(gathered, docket.constitution)
    if isinstance(refusal, Opening):
        return verdict
    message = f"{refusal.message}; revision {docket.fields['revision']} stands"
    return replace(verdict, standing=Standing.REFUSED, reason=refusal.reason, message=message)


def _may_open(gathered: Gathered, domain: Constitution) -> Opening | Refusal:
    """Whether an amendment could open by itself: what an opening checks."""
    if gathered.live is None:
        return Refusal(Reason.INVALID, "spec has no canonical form: see docs/formats.md")
    histories = {name: item.history for name, item in gathered.constitutions.items()}
    verdict = check_opening(gathered.live, gathered.obj["spec"].get("signature"), histories, second=gathered.at)
    if isinstance(verdict, Opening):
        try:
            check_change(gathered.live.fields, gathered.situation(domain, gathered.live.fields), opened=gathered.at)
        except ContractRefusedError as error:
            return Refusal(Reason(error.reason), str(error))
    return verdict


def amend(gathered: Gathered, docket: Docket, now: int) -> Plan | None:
    """A validly signed higher revision closes the open one and opens its own digest, in one transaction."""
    if not docket.life.open or gathered.live is None or gathered.live.digest == docket.digest:
        return None
    verdict = spec_verdict(gathered, docket)
    domain = docket.constitution
    opening = _may_open(gathered, domain) if verdict.standing is Standing.AMENDS else None
    if not isinstance(opening, Opening):
        return None
    ended = decide(replace(docket.case, superseded=gathered.at, kept=Kept()), gathered.at + SETTLE_SECONDS)
    data = canonical_bytes(document(ended))
    superseded = Draft(
        docket.digest,
        docket.head.entry_id,
        EventType.SUPERSEDED,
        subject_of(gathered.obj),
        tether_of(gathered, domain, docket.fields["target"]),
        gathered.at * 1_000_000,
        actor_id=str(docket.fields["proposer"]),
        question="proposal.amend",
        about=[gathered.live.digest],
        detail={"by": gathered.live.digest, "at": format_time(gathered.at), "outcomeDigest": digest_of_bytes(data)},
    )
    opened = _opened(gathered, gathered.live, opening, domain, gathered.live_heads.get(gathered.live.digest))
    count = int(docket.opening.detail.get("amendments", 0)) + 1
    successor = replace(opened, detail={**opened.detail, "amendments": count})
    key = Key("GovernanceProposal", gathered.obj["metadata"]["namespace"], gathered.obj["metadata"]["name"])
    return Plan(
        chain=domain.chain,
        entries=(superseded, successor),
        content={**_content(gathered.live, opening), digest_of_bytes(data): data},
        events=(Note("Normal", Reason.SUPERSEDED, verdict.message),),
        dirty=(key,),
    )
