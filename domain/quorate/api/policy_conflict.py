"""PolicyConflict: two parties that contradict each other, resolved by the votes of arbitrators (api.md)."""

from enum import StrEnum
from typing import Annotated, ClassVar

from quorate.api.resource import AGE, READY, REASON, Column, Resource, Status
from quorate.api.schema import Digest, Model, NodeId, ResourceName, Time, matching, some, text


class Severity(StrEnum):
    """How much is affected."""

    LOW = "Low"
    MEDIUM = "Medium"
    HIGH = "High"
    CRITICAL = "Critical"


class Party(Model):
    """One side of the conflict."""

    kind: Annotated[str, matching("[A-Za-z][A-Za-z0-9]*", 63)]
    """Kind of the object: GovernanceProposal, TrustDomain, DynamicContract, …"""
    namespace: Annotated[str, text(63)] | None = None
    """Its namespace."""
    name: ResourceName
    """Its name."""
    digest: Digest
    """Its digest."""
    clause: Annotated[str, text(63)] | None = None
    """The clause that is contradicted."""


class Evidence(Model):
    """What shows the conflict."""

    digest: Digest
    """Digest of the content."""
    description: Annotated[str, text(1024)] | None = None
    """What it shows."""


class PolicyConflictSpec(Model):
    """The conflict."""

    domain: ResourceName
    """TrustDomain in which it is arbitrated."""
    parties: Annotated[list[Party], some(8, minimum=2)]
    """The sides; the first is PartyA, the second PartyB."""
    severity: Severity
    """How much is affected."""
    arbitrators: Annotated[list[NodeId], some(5)] | None = None
    """nodeIds of those who decide, three to five."""
    evidence: Annotated[list[Evidence], some(32)] | None = None
    """What shows the conflict."""


class PolicyConflictStatus(Status):
    """The arbitration."""

    digest: Digest | None = None
    """Digest of {meshId, domain, parties, evidence}: what arbitrators' votes bind."""
    outcome: Annotated[str, text(63)] | None = None
    """PartyA, PartyB, Compromise or Escalated."""
    escalation_level: Annotated[str, text(63)] | None = None
    """Who decides now: domain, parent, or all hubs."""
    decided_at: Time | None = None
    """When it was resolved."""


class PolicyConflict(Resource):
    """Two or more parties that contradict each other."""

    plural: ClassVar[str] = "policyconflicts"
    short_name: ClassVar[str] = "pc"
    namespaced: ClassVar[bool] = True
    columns: ClassVar[tuple[Column, ...]] = (
        Column("Domain", ".spec.domain"),
        Column("Severity", ".spec.severity"),
        Column("Outcome", ".status.outcome"),
        READY,
        REASON,
        AGE,
    )
    conditions: ClassVar[dict[str, str]] = {
        "Ready": "the conflict is under arbitration, or resolved",
    }

    spec: PolicyConflictSpec
    """The conflict."""
    status: PolicyConflictStatus | None = None
    """The arbitration."""
