"""Who lets a stopped chain go on: two Vote keys of different names of its accepted constitution (audit.md, 9).

Each signer makes an Attestation of type Resume that states the same: chain, number of the quarantine, epoch, size and
head on which the next epoch stands, and what was found out. Chain `system` belongs to no domain: the installation's
log key signs the same fields.

A database that goes back may number its next quarantine as one that ended, on the same head: whoever signed before the
chain was stopped spoke of that one.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from quorate.api.attestation import AttestationType
from quorate.api.conditions import Reason
from quorate.api.schema import Time
from quorate.api.trust_domain import KeyPurpose
from quorate.audit.quarantine import MIN_SIGNERS, Quarantine
from quorate.canonical import canonical_bytes, format_time, parse_time
from quorate.identity.statements import resume_statement
from quorate.identity.vkey import VerifierKey
from quorate.trust.attestations import Judged, Resume, judge_attestation
from quorate.trust.domain import DomainRevision
from quorate.trust.form import FormError, check_fields

Spec = Mapping[str, Any]


class SystemResume(Resume):
    """The document with which the installation's key lets chain `system` go on."""

    key_name: str
    """Name of the installation's log key."""
    at: Time
    """When it was signed."""
    signature: str
    """DSSE signature over the `resume` statement."""


def judge_resume(
    revision: DomainRevision, spec: Spec, quarantine: Quarantine, *, recorded: int, finding_needed: bool
) -> Judged:
    """Judge an Attestation of type Resume about an open quarantine.

    Args:
        revision: The constitution's revision in force.
        spec: The Attestation's spec.
        quarantine: The open quarantine of the domain's chain.
        recorded: Unix seconds, the Attestation's creationTimestamp.
        finding_needed: `quarantine.needs_finding` of it.

    Returns:
        Accepted; a reason of `judge_attestation`; NotInElectorate, NotQuarantined or FindingMissing.
    """
    if spec.get("type") != AttestationType.RESUME:
        return Judged(Reason.INVALID, f"spec.type {spec.get('type')!r} is not {AttestationType.RESUME}")
    judged = judge_attestation(revision, spec, recorded=recorded)
    if not judged.accepted:
        return judged
    if not revision.members[spec["attester"]].votes:
        message = f"spec.attester {spec['attester']} has no vote in {revision.name}, so it resumes nothing either"
        return Judged(Reason.NOT_IN_ELECTORATE, message, judged.statement)
    refusal = _terms(spec["statement"], spec["at"], quarantine, finding_needed=finding_needed)
    return judged if refusal is None else Judged(*refusal, judged.statement)


def _terms(stated: Spec, at: str, quarantine: Quarantine, *, finding_needed: bool) -> tuple[str, str] | None:
    if parse_time(at) < quarantine.raised_at // 1_000_000:
        raised = format_time(quarantine.raised_at // 1_000_000)
        return Reason.NOT_QUARANTINED, f"it was signed at {at}, before the chain was stopped at {raised}: sign again"
    for name, value in quarantine.terms.items():
        if stated.get(name) != value:
            message = f"the statement's {name} is {stated.get(name)!r}, that of the open quarantine is {value!r}"
            return Reason.NOT_QUARANTINED, message
    if finding_needed and not str(stated.get("finding") or "").strip():
        message = "the chain was stopped more than twice in 24 hours: the statement's finding must say what was found"
        return Reason.FINDING_MISSING, message
    return None


def agreed(revision: DomainRevision, accepted: Iterable[Judged]) -> Sequence[Judged]:
    """The accepted statements that resume a chain together; empty until there are enough.

    They state the same, finding included, and are by MIN_SIGNERS distinct Vote keys of different names.
    """
    by_statement: dict[bytes, dict[str, tuple[str, Judged]]] = {}
    for judged in accepted:
        assert judged.statement is not None
        fields = judged.statement.fields
        key = revision.members[fields["attester"]].key(KeyPurpose.VOTE, fields["keyName"])
        assert key is not None
        group = by_statement.setdefault(canonical_bytes(fields["statement"]), {})
        if all(public != key.public_key for public, _ in group.values()):
            group.setdefault(key.name, (key.public_key, judged))
    for _, group in sorted(by_statement.items()):
        if len(group) >= MIN_SIGNERS:
            return [judged for _, (_, judged) in sorted(group.items())]
    return ()


def judge_system_resume(
    document: Any, quarantine: Quarantine, keys: Iterable[VerifierKey], *, finding_needed: bool
) -> Judged:
    """Judge the document with which the installation's key resumes chain `system`.

    Args:
        document: {chain, quarantine, epoch, size, head, finding?, keyName, at, signature}.
        quarantine: The open quarantine of `system`.
        keys: The keys that may sign the log of `system`.
        finding_needed: `quarantine.needs_finding` of it.
    """
    try:
        check_fields(SystemResume, document, "resume")
        parse_time(document["at"])
    except FormError as error:
        return Judged(error.reason, str(error))
    except ValueError as error:
        return Judged(Reason.INVALID, f"resume.at: {error}")
    statement = resume_statement(document)
    key = next((key for key in keys if key.name == document["keyName"]), None)
    if key is None:
        return Judged(Reason.UNKNOWN_KEY, f"resume.keyName {document['keyName']!r} is no key of the log", statement)
    if not statement.verify(key.public_key, document["signature"]):
        return Judged(Reason.BAD_SIGNATURE, f"resume.signature is not that of {key.name!r}", statement)
    refusal = _terms(document, document["at"], quarantine, finding_needed=finding_needed)
    return Judged(*(refusal or (Reason.ACCEPTED, f"{key.name!r} signed it")), statement)
