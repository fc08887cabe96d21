"""Attestation: a signed, immutable statement of a member (api.md): trust, held contracts, delegation, recovery."""

from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import Field

from quorate.api.resource import AGE, READY, REASON, Column, Resource, Status
from quorate.api.schema import (
    Digest,
    KeyName,
    Model,
    NodeId,
    ResourceName,
    Rule,
    Signature,
    Time,
    immutable,
    matching,
    text,
    within,
)


class AttestationType(StrEnum):
    """What is attested."""

    TRUST = "Trust"
    CONTRACT_HELD = "ContractHeld"
    CONTRACT_CHANGE = "ContractChange"
    COMPLIANCE = "Compliance"
    BOUNDARY_CROSSING = "BoundaryCrossing"
    DELEGATION = "Delegation"
    RECOVERY = "Recovery"
    CANCEL_RECOVERY = "CancelRecovery"
    RESUME = "Resume"


class Subject(Model):
    """What the attestation is about."""

    kind: Annotated[str, matching("[A-Za-z][A-Za-z0-9]*", 63)]
    """Kind of the subject."""
    name: Annotated[str, text(253, minimum=1)]
    """Name or id of the subject."""
    digest: Digest | None = None
    """Digest of the subject, where its content is meant."""


class AttestationSpec(Model):
    """The attestation; immutable."""

    rules: ClassVar[tuple[Rule, ...]] = immutable(
        "domain",
        "attester",
        "keyName",
        "sequence",
        "at",
        "type",
        "expiresAt",
        "signature",
        objects=("subject", "statement"),
    )

    domain: ResourceName
    """TrustDomain under whose constitution it counts."""
    attester: NodeId
    """nodeId of the attesting member."""
    key_name: KeyName
    """Key that signed."""
    sequence: Annotated[int, within(0, 2**53 - 1)]
    """Per attester, key and type: the highest stands."""
    at: Time
    """When it was signed, by the attester's clock."""
    subject: Subject | None = None
    """What it is about."""
    type: AttestationType
    """What is attested."""
    expires_at: Time | None = None
    """From this second on it is void."""
    statement: Annotated[
        dict[str, Any], Field(max_length=64, json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})
    ]
    """What is stated, by type. Trust: {weightBasisPoints}; Delegation: {to, types}; Compliance: {compliant} and more;
    BoundaryCrossing: {release}; Recovery, CancelRecovery: the statement and its signatures; Resume: {chain, quarantine,
    epoch, size, head, finding}."""
    signature: Signature
    """DSSE signature over the attestation's statement."""


class AttestationStatus(Status):
    """What became of the attestation."""

    digest: Digest | None = None
    """Digest of the attestation's statement."""
    recorded_at: Time | None = None
    """When it counts as made: its creationTimestamp."""


class Attestation(Resource):
    """A signed statement of a member about another object."""

    plural: ClassVar[str] = "attestations"
    short_name: ClassVar[str] = "att"
    namespaced: ClassVar[bool] = True
    signed: ClassVar[bool] = True
    columns: ClassVar[tuple[Column, ...]] = (
        Column("Type", ".spec.type"),
        Column("Subject", ".spec.subject.name"),
        READY,
        REASON,
        Column("Attester", ".spec.attester", priority=1),
        Column("Expires", ".spec.expiresAt", priority=1),
        AGE,
    )
    conditions: ClassVar[dict[str, str]] = {
        "Ready": "the attestation was checked and recorded; a refused one is Ready=False and Stalled=True",
        "WithinBoundary": "only where it is about an object of another domain: what that domain's boundary asks is met",
    }

    spec: AttestationSpec
    """The attestation."""
    status: AttestationStatus | None = None
    """What became of it."""
