"""The evidence of a decision, and its verification from the bundle alone (trust.md, "Evidence and proof").

`build` makes the bundle that the executing entry names; `verify` trusts nothing in it: revisions are authorised again
from the pin, signatures checked, entry ids and digests derived, the outcome recomputed by the code that decided it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from quorate.api.conditions import Reason
from quorate.api.trust_domain import KeyPurpose
from quorate.canonical import NotCanonicalError, canonical_bytes, digest_of, parse_json
from quorate.conflicts.record import check_conflicts
from quorate.contracts.content import Content
from quorate.contracts.form import ContractRefusedError
from quorate.contracts.patch import Target, assemble, changed_target
from quorate.identity.ed25519 import KeyRefusedError, parse_public_key
from quorate.identity.statements import Statement
from quorate.identity.vkey import VerifierKey, parse_verifier_key
from quorate.proposals.ahead import Ahead, nothing_ahead
from quorate.proposals.ancestry import derive_history
from quorate.proposals.bundle import (
    Bundle,
    BundleError,
    DomainRecord,
    Entry,
    RevisionRecord,
    Signed,
    bundle_digest,
    entry_second,
    parse_bundle,
)
from quorate.proposals.lifecycle import EventType
from quorate.proposals.opening import Refusal, check_opening
from quorate.proposals.own import check_own
from quorate.proposals.proof import check_proof
from quorate.proposals.replay import recompute
from quorate.proposals.report import Check, Finding, Pinned, Report
from quorate.proposals.votes import vote_key
from quorate.trust.domain import DomainHistory, DomainRevision
from quorate.trust.edges import purpose_of

__all__ = ["Check", "Finding", "Pinned", "Report", "build", "bundle_digest", "verify"]


def build(
    *,
    mesh_id: str,
    domain: str,
    revisions: Mapping[str, Sequence[RevisionRecord]],
    electorates: Mapping[str, Mapping[str, Any]],
    proposal: Statement,
    signature: str,
    opening: Entry,
    acts: Iterable[Signed],
    votes: Iterable[Signed],
    delegations: Iterable[Signed],
    outcome: Mapping[str, Any],
    outcome_entry: Entry,
    executing: Entry | None = None,
    attestations: Iterable[Signed] = (),
    conflicts: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """The bundle of a decided proposal revision; its digest is `bundle_digest` of it.

    Args:
        mesh_id: Of the domain.
        domain: The domain that decides.
        revisions: Per domain, all revisions from 1 to the last used.
        electorates: Per domain, the electorate document of the opening revision.
        proposal: Its statement.
        signature: The proposer's.
        opening: The entry that opened it.
        acts: Accepted and refused acts with their entries.
        votes: Accepted and refused votes with their entries.
        delegations: Delegations with their entries.
        outcome: The outcome document (governance.md, "Tally").
        outcome_entry: The entry that decided it.
        executing: The executing entry of an emergency, where its ratification is what was decided.
        attestations: Accepted ones under `domain` that its boundaries ask about, with their entries.
        conflicts: The resolved conflicts that it was a party of (`quorate.conflicts.record`).
    """
    bundle = Bundle(
        mesh_id,
        domain,
        proposal.digest,
        {name: DomainRecord(tuple(items), electorates[name]) for name, items in revisions.items()},
        proposal,
        signature,
        opening,
        tuple(acts),
        tuple(votes),
        tuple(delegations),
        outcome,
        outcome_entry,
        executing,
        tuple(attestations),
        tuple(conflicts),
    )
    return bundle.document()


def verify(
    data: bytes,
    *,
    pinned: Pinned = Pinned(),  # noqa: B008 - frozen
    proof: bytes | None = None,
    ahead: Ahead = nothing_ahead,
) -> Report:
    """Verify the canonical bytes of a bundle, offline; each failure is named in the report, none is raised.

    `ahead` verifies signatures of votes before they are asked for.
    """
    report = Report()
    try:
        document = parse_json(data)
        bundle = parse_bundle(document)
        if canonical_bytes(document) != data:
            report.fault(Check.FORM, "the bundle is not in canonical form, so its digest is not that of its content")
    except (NotCanonicalError, BundleError) as error:
        report.fault(Check.FORM, str(error))
        return report
    report.digest, report.proposal_digest = bundle_digest(document), bundle.proposal_digest
    report.counts = {
        "domains": len(bundle.domains),
        "revisions": sum(len(record.revisions) for record in bundle.domains.values()),
        "votes": len(bundle.votes),
        "delegations": len(bundle.delegations),
        "acts": len(bundle.acts),
        "entries": len(bundle.entries()),
    }
    try:
        _verify(report, bundle, pinned, proof, ahead)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        report.fault(Check.FORM, f"a part of the bundle is not of the form that it must have: {error!r}")
    return report


def _verify(report: Report, bundle: Bundle, pinned: Pinned, proof: bytes | None, ahead: Ahead) -> None:
    histories = {
        name: history
        for name in bundle.domains
        if (history := derive_history(report, bundle, name, pinned, _nested)) is not None
    }
    if bundle.domain not in histories:
        report.fault(
            Check.REVISION, f"no chain of revisions of domain {bundle.domain} holds: nothing else can be checked"
        )
        return
    ahead([item.ballot for item in bundle.votes], histories)
    _check_proposal(report, bundle, histories)
    _check_electorates(report, bundle, histories)
    _check_signed(report, bundle, histories)
    _check_outcome(report, bundle, histories)
    above = check_conflicts(report, bundle, lambda part, name: derive_history(report, part, name, pinned, _nested))
    _check_receiver(report, bundle, pinned, histories)
    if pinned.contract is not None:
        _check_execution(report, bundle, *pinned.contract)
    _check_proof(report, bundle, [*histories.values(), *above], proof)


def _nested(data: bytes, pinned: Pinned) -> Report:
    return verify(data, pinned=pinned)


def _member_key(
    revision: DomainRevision | None, node_id: Any, key_name: Any, second: int, purpose: str
) -> bytes | None:
    """The raw key of a member in a revision, None where it has none of this name and purpose valid at `second`."""
    member = None if revision is None else revision.members.get(node_id)
    key = None if member is None else member.key(purpose, key_name)
    if key is None or not key.valid_at(second):
        return None
    try:
        return parse_public_key(key.public_key)
    except KeyRefusedError:
        return None


def _check_proposal(report: Report, bundle: Bundle, histories: Mapping[str, DomainHistory]) -> None:
    fields, opened = bundle.proposal.fields, entry_second(bundle.opening)
    if bundle.proposal.digest != bundle.proposal_digest:
        message = f"the statement has digest {bundle.proposal.digest}, not {bundle.proposal_digest}"
        report.fault(Check.PROPOSAL, message)
    if (fields.get("meshId"), fields.get("domain")) != (bundle.mesh_id, bundle.domain):
        report.fault(Check.PROPOSAL, f"the proposal is of domain {fields.get('meshId')}/{fields.get('domain')}")
    report.subject(bundle.opening, bundle.proposal_digest, (EventType.OPENED,))
    verdict = check_opening(bundle.proposal, bundle.proposal_signature, histories, second=opened)
    if isinstance(verdict, Refusal):
        message = f"the proposal could not open: {verdict.reason}: {verdict.message}"
        report.fault(Check.PROPOSAL, message, verdict.reason)
    wanted = set(fields.get("domains") or (bundle.domain,))
    if wanted != set(bundle.domains):
        report.fault(Check.PROPOSAL, f"the proposal is for {sorted(wanted)}, the bundle for {sorted(bundle.domains)}")


def _check_electorates(report: Report, bundle: Bundle, histories: Mapping[str, DomainHistory]) -> None:
    opened = entry_second(bundle.opening)
    for name, history in histories.items():
        revision = history.at(opened)
        if revision is None:
            report.fault(Check.ELECTORATE, f"{name} had no accepted revision when the proposal opened")
        elif revision.electorate.document != bundle.domains[name].electorate:
            report.fault(
                Check.ELECTORATE, f"the electorate of {name} does not follow from revision {revision.revision}"
            )


def _check_signed(report: Report, bundle: Bundle, histories: Mapping[str, DomainHistory]) -> None:
    """Entries and signatures of votes, delegations and acts; whether a vote counts is for the tally to say."""
    kinds = (
        ("vote", "voter", bundle.votes),
        ("attestation", "attester", (*bundle.delegations, *bundle.attestations)),
        ("act", "by", bundle.acts),
    )
    seen: set[str] = set()
    for kind, who, items in kinds:
        prefix = "trust.attestation" if kind == "attestation" else f"governance.{kind}"
        for item in items:
            name = f"{kind} {item.statement.digest} by {item.statement.fields.get(who)}"
            if item.entry["entry_id"] in seen:
                report.fault(Check.ENTRY, f"{name}: entry {item.entry['entry_id']} occurs twice")
            seen.add(item.entry["entry_id"])
            key = item.statement.digest
            if not item.accepted and item.entry["payload"]["subject"]["key"].startswith("uid:"):
                key = item.entry["payload"]["subject"]["key"]
            about = None if kind == "attestation" else bundle.proposal_digest
            report.subject(item.entry, key, (f"{prefix}.accepted", f"{prefix}.refused"), about)
            if item.accepted and not _signature_holds(item, who, bundle, histories):
                report.fault(Check.SIGNATURE, f"{name} was accepted, but its signature does not verify")


def _signature_holds(item: Signed, who: str, bundle: Bundle, histories: Mapping[str, DomainHistory]) -> bool:
    fields = item.statement.fields
    history = histories.get(str(fields.get("domain", bundle.domain)))
    if history is None:
        return False
    revision = history.signing(item.recorded)
    if item.statement.kind == "vote":
        vote = vote_key(revision, str(fields.get(who)), str(fields.get("keyName")))
        return vote is not None and vote.valid_at(item.recorded) and item.ballot.signed_by(vote.public_key)
    if item.statement.kind == "act" and fields.get("act") != "Withdraw":
        key = revision.admins.get(str(fields.get("by")))
    else:
        purpose = purpose_of(str(fields.get("type"))) if item.statement.kind == "attestation" else KeyPurpose.VOTE
        key = _member_key(revision, fields.get(who), fields.get("keyName"), item.recorded, purpose)
    return key is not None and item.statement.verify(key, item.signature)


def _check_outcome(report: Report, bundle: Bundle, histories: Mapping[str, DomainHistory]) -> None:
    recorded, detail = bundle.outcome, bundle.outcome_entry["payload"]["detail"]
    report.subject(bundle.outcome_entry, bundle.proposal_digest, (EventType.DECIDED,))
    if bundle.executing is not None:
        report.subject(bundle.executing, bundle.proposal_digest, (EventType.EXECUTED,))
    for name in ("outcome", "reason", "decidedAt"):
        if detail.get(name) != recorded.get(name):
            message = f"the outcome entry says {name} {detail.get(name)!r}, the document {recorded.get(name)!r}"
            report.fault(Check.OUTCOME, message)
    digest = digest_of(dict(recorded))
    if detail.get("outcomeDigest") != digest:
        report.fault(Check.OUTCOME, f"the outcome document has digest {digest}, not {detail.get('outcomeDigest')}")
    if set(histories) != set(bundle.domains):
        return
    try:
        derived = recompute(bundle, histories)
    except (ValueError, KeyError, TypeError) as error:
        report.fault(Check.OUTCOME, f"the outcome cannot be recomputed: {error!r}")
        return
    report.outcome, report.reason = derived.get("outcome"), derived.get("reason")
    for name in sorted({*derived, *recorded}):
        if derived.get(name) != recorded.get(name):
            message = f"{name}: the votes give {derived.get(name)!r}, recorded is {recorded.get(name)!r}"
            report.fault(Check.OUTCOME, message)


def _check_receiver(report: Report, bundle: Bundle, pinned: Pinned, histories: Mapping[str, DomainHistory]) -> None:
    """What only this receiver can know: its own votes, and what it applied before."""
    check_own(report, bundle, pinned.own, pinned.accepting, _keys(bundle, histories.values()))
    if bundle.proposal_digest in set(pinned.applied):
        message = f"proposal {bundle.proposal_digest} was applied before"
        report.fault(Check.REPLAY, message, Reason.REPLAYED)


def _check_execution(report: Report, bundle: Bundle, base: bytes, result: bytes) -> None:
    """Whether the result follows from the base by this proposal, whatever day's version it got."""
    fields = bundle.proposal.fields
    try:
        before, after = Content.parse(base), Content.parse(result)
        target = Target.parse(fields["target"])
        value = changed_target(before, target, fields["change"])
        derived = assemble(before, target, value, after.version, bundle.proposal_digest)
    except ContractRefusedError as error:
        report.fault(Check.EXECUTION, f"the change does not lead from base to result: {error}", error.reason)
        return
    if derived.digest != after.digest:
        message = f"the change leads to {derived.digest}, the result given is {after.digest}"
        report.fault(Check.EXECUTION, message)


def _check_proof(report: Report, bundle: Bundle, histories: Iterable[DomainHistory], proof: bytes | None) -> None:
    if proof is None:
        return
    try:
        document = parse_json(proof)
    except NotCanonicalError as error:
        report.fault(Check.PROOF, f"the proof is not strict JSON: {error}")
        return
    keys = _keys(bundle, histories)
    faults = check_proof(document, evidence_digest=report.digest, entries=bundle.entries(), keys=keys)
    for message in faults:
        report.fault(Check.PROOF, message)
    report.anchored = not faults


def _keys(bundle: Bundle, histories: Iterable[DomainHistory]) -> dict[str, list[VerifierKey]]:
    """The log keys of each chain: of every revision, as a checkpoint may be of a time before the last rotation."""
    found: dict[str, dict[str, VerifierKey]] = {}
    for item in (item for history in histories for item in history.accepted):
        keys = found.setdefault(f"{bundle.mesh_id}/{item.revision.name}", {})
        keys |= {text: parse_verifier_key(text) for text in item.revision.log_keys if text not in keys}
    return {chain: list(keys.values()) for chain, keys in found.items()}
