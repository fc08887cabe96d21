"""Attestations: form by type, the attester's key, expiry, recoveries that travel in them (trust.md, "Statements").

An expired attestation is still recorded: an expired delegation by its sequence replaces an older one, and then says
nothing more (governance.md, "Delegation"). What a valid one is worth is for `edges` and `boundary` to say.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from quorate.api.attestation import AttestationSpec, AttestationType
from quorate.api.conditions import Reason
from quorate.api.schema import (
    UUID4,
    Digest,
    KeyName,
    Model,
    ProposalType,
    Revision,
    Signature,
    Time,
    matching,
    some,
    text,
    within,
)
from quorate.api.trust_domain import DomainSignature
from quorate.audit.quarantine import MAX_FINDING
from quorate.canonical import NotCanonicalError, canonical_bytes, format_time, parse_time
from quorate.identity.ed25519 import parse_public_key
from quorate.identity.statements import Statement, attestation_statement, recovery_statement
from quorate.trust.domain import DomainRevision
from quorate.trust.edges import NODE_KIND, purpose_of
from quorate.trust.form import FormError, check_fields
from quorate.trust.record import AHEAD_SECONDS

Spec = Mapping[str, Any]


class Delegation(Model):
    """What a Delegation states."""

    to: Annotated[str, matching(f"({UUID4})?", 36)]
    """The delegate; empty: the key revokes what it delegated."""
    types: Annotated[list[ProposalType], some(len(ProposalType))] | None = None
    """Proposal types that are delegated; absent or empty: none."""


class Trust(Model):
    """What a Trust attestation states."""

    weight_basis_points: Annotated[int, within(1, 10_000)]
    """Weight of the edge from the attester to the subject."""


class Crossing(Model):
    """What a BoundaryCrossing states about the Vote or Attestation whose digest its subject names."""

    release: bool
    """Whether what a boundary holds may count; false takes an earlier release back."""


class Recovery(Model):
    """A recovery statement with its signatures; meshId and domain are the attestation's."""

    revision: Revision
    """Number of the revision that is announced."""
    previous_digest: Digest
    """Digest of the accepted revision that it will follow."""
    result_digest: Digest
    """Digest of the announced revision."""
    at: Time
    """When it was signed."""
    signatures: Annotated[list[DomainSignature], some(64, minimum=1)]
    """Signatures of recovery keys over the recovery statement."""


class CancelAct(Model):
    """One admin's act against an announced recovery."""

    act: Literal["CancelRecovery"]
    """What is done."""
    proposal_digest: Digest
    """Digest of the recovery statement."""
    by: KeyName
    """The admin's name."""
    key_name: KeyName
    """The same name."""
    at: Time
    """When it was signed."""
    signature: Signature
    """Signature over the act's statement."""


class Cancellation(Model):
    """What a CancelRecovery states."""

    acts: Annotated[list[CancelAct], some(64, minimum=1)]
    """Acts of admins; adminThreshold distinct keys cancel."""


class Resume(Model):
    """What a Resume states: from where the stopped chain may go on. Rules: `quorate.trust.resumption`."""

    chain: Annotated[str, text(512, minimum=1)]
    """The chain."""
    quarantine: Annotated[int, within(1, 2**53 - 1)]
    """Number of the quarantine in the chain."""
    epoch: Annotated[int, within(0, 2**32 - 1)]
    """Epoch that ends."""
    size: Annotated[int, within(0, 2**53 - 1)]
    """Entries on which the next epoch stands."""
    head: Digest
    """Chain hash of the last of them."""
    finding: Annotated[str, text(MAX_FINDING, minimum=1)] | None = None
    """What was found out; required from the third quarantine within 24 hours on."""


STATEMENTS: Mapping[str, type[Model]] = {
    AttestationType.DELEGATION: Delegation,
    AttestationType.TRUST: Trust,
    AttestationType.BOUNDARY_CROSSING: Crossing,
    AttestationType.RECOVERY: Recovery,
    AttestationType.CANCEL_RECOVERY: Cancellation,
    AttestationType.RESUME: Resume,
}
"""Form of `statement` by type; of the other types it is free."""


@dataclass(frozen=True)
class Judged:
    """A judged attestation: `reason` Accepted, or why not."""

    reason: str
    message: str
    statement: Statement | None = None

    @property
    def accepted(self) -> bool:
        """Whether it is well formed and signed by a key of its attester."""
        return self.reason == Reason.ACCEPTED


def check_attestation_form(spec: Spec) -> None:
    """Refuse an Attestation's spec of the wrong form: FormError (Invalid) names field, value and rule."""
    try:
        canonical_bytes(dict(spec))
    except NotCanonicalError as error:
        raise FormError("spec", str(error)) from error
    check_fields(AttestationSpec, spec, "spec")
    model = STATEMENTS.get(spec["type"])
    if model is not None:
        check_fields(model, spec["statement"], "spec.statement")
    _check_subject(spec)
    for field, time in _times(spec):
        try:
            parse_time(time)
        except ValueError as error:
            raise FormError(field, str(error)) from error
    for index, act in enumerate(cancelling_acts(spec)):
        if act["by"] != act["keyName"]:
            rule = f"{act['keyName']!r} must be the admin's name in by, {act['by']!r}"
            raise FormError(f"spec.statement.acts[{index}].keyName", rule)


def _check_subject(spec: Spec) -> None:
    """Trust is in a node, by its nodeId; a crossing is released by the digest of what was signed."""
    subject = spec.get("subject") or {}
    kind, name = subject.get("kind"), str(subject.get("name"))
    if spec["type"] == AttestationType.TRUST and (kind != NODE_KIND or not re.fullmatch(UUID4, name)):
        rule = f"{kind} {name!r} must be of kind {NODE_KIND}, its name a nodeId: Trust is in a node"
        raise FormError("spec.subject", rule)
    if spec["type"] == AttestationType.BOUNDARY_CROSSING and subject.get("digest") is None:
        raise FormError("spec.subject.digest", "is absent; a BoundaryCrossing names the Vote or Attestation by it")


def _times(spec: Spec) -> Iterator[tuple[str, Any]]:
    """Every time in the spec with its field; the models know their pattern, not the calendar."""
    yield "spec.at", spec["at"]
    if spec.get("expiresAt") is not None:
        yield "spec.expiresAt", spec["expiresAt"]
    if spec["type"] == AttestationType.RECOVERY:
        yield "spec.statement.at", spec["statement"]["at"]
    for index, act in enumerate(cancelling_acts(spec)):
        yield f"spec.statement.acts[{index}].at", act["at"]


def judge_attestation(domain: DomainRevision, spec: Spec, *, recorded: int) -> Judged:
    """Judge an Attestation under the revision in force when it was recorded.

    The order is that of a vote's reasons: Invalid, UnknownDomain, NotAMember, FromTheFuture, UnknownKey, KeyExpired,
    BadSignature. A Machine key acknowledges (ContractHeld), everything else is signed by people with Vote keys.

    Args:
        domain: The revision in force at `recorded`.
        spec: The Attestation's spec.
        recorded: Unix seconds, its creationTimestamp.
    """
    try:
        check_attestation_form(spec)
    except FormError as error:
        return Judged(error.reason, str(error))
    statement = attestation_statement(domain.mesh_id, spec)
    reason, message = _judge_signer(domain, spec, statement, recorded)
    return Judged(reason, message, statement)


def _judge_signer(domain: DomainRevision, spec: Spec, statement: Statement, recorded: int) -> tuple[str, str]:
    attester, name = spec["attester"], spec["keyName"]
    if spec["domain"] != domain.name:
        return Reason.UNKNOWN_DOMAIN, f"spec.domain {spec['domain']!r} is not {domain.name!r}"
    member = domain.members.get(attester)
    if member is None:
        return Reason.NOT_A_MEMBER, f"spec.attester {attester} is not a member of {domain.name}"
    if parse_time(spec["at"]) > recorded + AHEAD_SECONDS:
        message = f"spec.at {spec['at']} is more than {AHEAD_SECONDS} s after {format_time(recorded)}"
        return Reason.FROM_THE_FUTURE, message
    purpose = purpose_of(spec["type"])
    key = member.key(purpose, name)
    if key is None:
        return Reason.UNKNOWN_KEY, f"spec.keyName {name!r} is no {purpose} key of {attester} in {domain.name}"
    if not key.valid_at(recorded):
        return Reason.KEY_EXPIRED, f"spec.keyName {name!r} expired at {format_time(key.not_after or 0)}"
    if not statement.verify(parse_public_key(key.public_key), spec["signature"]):
        return Reason.BAD_SIGNATURE, f"spec.signature is not that of {purpose} key {name!r} over these fields"
    return Reason.ACCEPTED, f"{purpose} key {name!r} of {attester} signed it"


def is_expired(spec: Spec, second: int) -> bool:
    """Whether an attestation says nothing (more) at a second: from `expiresAt` on it is void."""
    return spec.get("expiresAt") is not None and second >= parse_time(spec["expiresAt"])


def announced_recovery(mesh_id: str, spec: Spec) -> tuple[Statement, Sequence[Spec]]:
    """The recovery statement in a well-formed Attestation of type Recovery, and its signatures.

    Whether it may be announced: `revisions.announcement_verdict`.
    """
    content = spec["statement"]
    return recovery_statement(mesh_id, spec["domain"], content), content["signatures"]


def cancelling_acts(spec: Spec) -> Sequence[Spec]:
    """The acts in a well-formed Attestation of type CancelRecovery, none in any other.

    Whether they cancel a recovery: `revisions.cancellation_verdict`.
    """
    acts: Sequence[Spec] = spec["statement"]["acts"] if spec["type"] == AttestationType.CANCEL_RECOVERY else ()
    return acts
