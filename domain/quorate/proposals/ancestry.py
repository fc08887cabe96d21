"""The revisions of a domain in an evidence bundle, each authorised anew from the pin (trust.md)."""

from collections.abc import Callable, Mapping

from quorate.api.conditions import Reason
from quorate.canonical import parse_time
from quorate.conflicts.effect import resumed_window
from quorate.identity.statements import Statement
from quorate.proposals.bundle import Bundle, RevisionRecord, entry_second, parse_bundle
from quorate.proposals.lifecycle import EventType, Timing
from quorate.proposals.report import Check, Finding, Pinned, Report
from quorate.trust.domain import AcceptedRevision, DomainHistory
from quorate.trust.revisions import Announcement, announcement_verdict, check_revision

Verify = Callable[[bytes, Pinned], Report]


def derive_history(report: Report, bundle: Bundle, name: str, pinned: Pinned, verify: Verify) -> DomainHistory | None:
    """The chain of revisions, each authorised anew; None with a fault where it breaks."""
    key = f"{bundle.mesh_id}/{name}"
    pin = pinned.pins.get(key)
    accepted: list[AcceptedRevision] = []
    for item in bundle.domains[name].revisions:
        history = DomainHistory(accepted) if accepted else None
        second = entry_second(item.entry)
        authorised, announcements = _authority(report, key, item, history, pinned, verify)
        verdict = check_revision(
            item.name,
            item.spec,
            history,
            pin=pin,
            now=second,
            authorised_digests=authorised,
            announcements=announcements,
        )
        number = item.spec.get("revision")
        if not verdict.accepted or verdict.revision is None:
            reason = verdict.reason
            report.fault(Check.REVISION, f"{key} revision {number}: {reason}: {verdict.message}", reason)
            return None
        if verdict.revision.subject_key != key:
            report.fault(Check.REVISION, f"{key} holds a revision of {verdict.revision.subject_key}")
            return None
        report.subject(item.entry, key, ("trust.domain.accepted",), verdict.revision.digest)
        if accepted and second < accepted[-1].recorded:
            report.fault(Check.REVISION, f"{key} revision {number} was recorded before its predecessor")
        accepted.append(AcceptedRevision(verdict.revision, second))
    if not accepted:
        report.fault(Check.REVISION, f"{key}: the bundle holds no revision")
        return None
    history = DomainHistory(accepted)
    if pin is None:
        report.notes.append(f"{key} is not pinned: revision 1 {accepted[0].revision.digest} was taken as it came")
    if not history.agrees_with(pinned.accepted.get(key, ())):
        report.fault(Check.REVISION, f"{key}: the bundle's revisions and the accepted ones diverge", Reason.FORK)
    return history


def _authority(
    report: Report, key: str, item: RevisionRecord, history: DomainHistory | None, pinned: Pinned, verify: Verify
) -> tuple[list[str], list[Announcement]]:
    """What, besides its signatures, authorised a revision: results of executed proposals, announced recoveries."""
    authority = item.authority
    if authority.get("kind") == "Proposal":
        return _by_proposal(report, item, pinned, verify), []
    if authority.get("kind") == "Recovery" and history is not None:
        statement = Statement("recovery", authority["statement"])
        refusal = announcement_verdict(statement, authority["signatures"], history.latest)
        if refusal is not None:
            report.fault(Check.REVISION, f"revision {item.spec.get('revision')}: announcement: {refusal}")
            return [], []
        report.subject(authority["entry"], key, ("trust.recovery.announced",), statement.digest)
        fields = statement.fields
        announced = Announcement(
            fields["revision"], fields["previousDigest"], fields["resultDigest"], entry_second(authority["entry"])
        )
        return [], [announced]
    return [], []


def _by_proposal(report: Report, item: RevisionRecord, pinned: Pinned, verify: Verify) -> list[str]:
    """The digest that the executed proposal authorised, once its own evidence verifies too."""
    number, digest = item.spec.get("revision"), item.authority["evidenceDigest"]
    entry = item.authority["entry"]
    detail = entry["payload"]["detail"]
    data = pinned.evidence.get(digest)
    if data is None:
        report.missing.append(Finding(Check.REVISION, f"revision {number}: the evidence {digest} was not given"))
        return [detail["resultDigest"]]
    nested = verify(data, Pinned(pinned.pins, pinned.accepted, evidence=_without(pinned.evidence, digest)))
    result = None if nested.faults else _adopted_revision(nested, data, item.name)
    if (
        nested.digest != digest
        or result is None
        or (result, digest)
        != (
            detail.get("resultDigest"),
            detail.get("evidenceDigest"),
        )
    ):
        why = nested.faults[0].message if nested.faults else "it does not adopt this revision"
        report.fault(Check.REVISION, f"revision {number}: its evidence {digest} does not authorise it: {why}")
        return []
    after, before = _window(parse_bundle(data), item.name)
    second = entry_second(item.entry)
    if second < max(after, entry_second(entry)) or (before is not None and second > before):
        report.fault(Check.REVISION, f"revision {number} was accepted outside the execution window of its proposal")
        return []
    report.subject(entry, nested.proposal_digest, (EventType.EXECUTED,))
    report.missing += nested.missing
    return [result]


def _adopted_revision(nested: Report, data: bytes, name: str) -> str | None:
    """The revision that an adopted Constitutional proposal on this TrustDomain names; None for any other."""
    fields = parse_bundle(data).proposal.fields
    on_domain = fields.get("target") == {"kind": "TrustDomain", "name": name} and fields.get("domain") == name
    adopted = nested.outcome == "Adopted" and nested.blocked is None
    if not adopted or fields.get("type") != "Constitutional" or not on_domain:
        return None
    return str(fields["change"]["resultDigest"])


def _window(bundle: Bundle, name: str) -> tuple[int, int | None]:
    """The execution window of an adopted proposal, by the rules of its opening revision."""
    opened, kind = entry_second(bundle.opening), bundle.proposal.fields["type"]
    pinned = [item.spec for item in bundle.domains[name].revisions if entry_second(item.entry) <= opened][-1]
    bounds = Timing.of(pinned["voting"][kind], kind).window(parse_time(bundle.outcome["decidedAt"]))
    return resumed_window(bounds, (entry_second(item["resolution"]) for item in bundle.conflicts))


def _without(evidence: Mapping[str, bytes], digest: str) -> dict[str, bytes]:
    """Evidence never needs itself: a cycle of bundles ends here."""
    return {name: data for name, data in evidence.items() if name != digest}
