"""A member's alarm: its own votes and delegations against the evidence (trust.md, on a compromised hub).

A hub cannot make a vote, but it can withhold or mis-time one, and only the member knows what it signed. The table is in
docs/evidence.md, "Your own votes".
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from quorate.api.conditions import Reason
from quorate.audit.proof import BundleError, NotProvenError, examine_bundle, open_bundle, parse_bundle
from quorate.canonical import parse_time
from quorate.identity.statements import Statement
from quorate.identity.vkey import VerifierKey
from quorate.proposals.bundle import Bundle, Entry, Signed, entry_second
from quorate.proposals.report import Check, Finding, Report

ACCEPTING = {"vote": "governance.vote.accepted", "attestation": "trust.attestation.accepted"}


@dataclass(frozen=True)
class _Accepted:
    """The accepting entry of an own statement, proven to be in the log."""

    entry: Entry

    @property
    def recorded(self) -> int:
        text = self.entry["payload"]["detail"].get("recordedAt")
        return entry_second(self.entry) if text is None else parse_time(text)


def check_own(
    report: Report,
    bundle: Bundle,
    own: Iterable[Statement],
    proofs: Iterable[bytes],
    keys: Mapping[str, Sequence[VerifierKey]],
) -> None:
    """Faults and alarms for what this member signed and the bundle lacks or contradicts.

    Args:
        report: Gets them; an alarm where only the member's word stands, a fault where the log's does.
        bundle: The evidence.
        own: The member's vote and delegation statements; those about something else are passed over.
        proofs: Proof bundles (docs/audit-format.md) of their accepting entries.
        keys: Log keys by chain, from the bundle's own revisions.
    """
    accepting = _accepting(report, proofs, keys)
    # What was recorded after T has no place in the evidence.
    closes = parse_time(bundle.outcome["decidedAt"])
    held: dict[str, Signed] = {}
    for item in (*bundle.votes, *bundle.delegations):
        if item.statement.digest not in held or item.accepted:
            held[item.statement.digest] = item
    for statement in own:
        if _concerns(bundle, statement):
            _check(report, bundle, statement, held.get(statement.digest), accepting.get(statement.digest), closes)


def _concerns(bundle: Bundle, statement: Statement) -> bool:
    fields = statement.fields
    if fields.get("meshId") != bundle.mesh_id or fields.get("domain") not in bundle.domains:
        return False
    if statement.kind == "vote":
        return bool(fields.get("proposalDigest") == bundle.proposal_digest)
    return bool(fields.get("type") == "Delegation")


def _accepting(
    report: Report, proofs: Iterable[bytes], keys: Mapping[str, Sequence[VerifierKey]]
) -> dict[str, _Accepted]:
    """The accepting entries that the proofs show, by the digest of what they accept."""
    found: dict[str, _Accepted] = {}
    for data in proofs:
        try:
            bundle = parse_bundle(data)
            content = open_bundle(bundle, keys.get(examine_bundle(bundle).record.chain_id, ())).content
        except (BundleError, NotProvenError) as error:
            report.notes.append(f"a proof of an own vote does not hold and was not used: {error}")
            continue
        if content["event_type"] in ACCEPTING.values():
            found[content["payload"]["subject"]["key"]] = _Accepted(content)
    return found


def _check(
    report: Report, bundle: Bundle, statement: Statement, item: Signed | None, proven: _Accepted | None, closes: int
) -> None:
    made = statement.fields["castAt" if statement.kind == "vote" else "at"]
    name = f"own {'vote' if statement.kind == 'vote' else 'delegation'} {statement.digest} of {made}"
    if (parse_time(made) if proven is None else proven.recorded) > closes:
        report.notes.append(f"{name}: recorded after the decision's T {bundle.outcome['decidedAt']}: not part of it")
        return
    findings = report.alarms if proven is None else report.faults
    if item is None:
        findings.append(_finding(f"{name} is absent"))
    elif not item.accepted:
        reason = item.entry["payload"]["detail"].get("reason")
        findings.append(_finding(f"{name} was refused: {reason}", reason))
    elif proven is not None and proven.entry["entry_id"] != item.entry["entry_id"]:
        findings.append(
            _finding(f"{name} was accepted by entry {proven.entry['entry_id']}, not by {item.entry['entry_id']}")
        )
    elif proven is not None and proven.recorded != item.recorded:
        findings.append(_finding(f"{name} was recorded at second {proven.recorded}, the bundle says {item.recorded}"))
    elif item.recorded > closes:
        message = f"{name} was recorded at second {item.recorded}, after T {bundle.outcome['decidedAt']}: it is TooLate"
        report.alarms.append(_finding(message, Reason.TOO_LATE))


def _finding(message: str, reason: str | None = None) -> Finding:
    return Finding(Check.OWN_VOTE, message, reason)
