"""PolicyConflict: two parties that contradict each other, resolved by the votes of arbitrators (api.md)."""

from enum import StrEnum
from typing import Annotated, ClassVar

from quorate.api.resource import AGE, READY, REASON, Column, Resource, Status
from quorate.api.schema import (
    Count,
    Digest,
    Model,
    NodeId,
    ResourceName,
    Rule,
    Time,
    immutable,
    matching,
    some,
    text,
    within,
)


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


class Cause(StrEnum):
    """Why two parties cannot both be (docs/conflicts.md, "What is a conflict")."""

    OVERLAPPING_TIMELOCKS = "OverlappingTimelocks"
    SURFACES_NOT_MONOTONIC = "SurfacesNotMonotonic"
    PARENT_CONTRADICTS = "ParentContradicts"
    OVERRIDE_CONTRADICTS = "OverrideContradicts"
    CLAUSE_MOVED_ON = "ClauseMovedOn"
    RAISED = "Raised"


class Level(StrEnum):
    """Who decides; a vote's `revision` is 1, 2 or 3."""

    DOMAIN = "Domain"
    PARENT = "Parent"
    HUBS = "Hubs"

    @property
    def revision(self) -> int:
        """What an arbitrator's vote gives as `revision`."""
        return list(Level).index(self) + 1


class ConflictOutcome(StrEnum):
    """How a conflict ended."""

    PARTY_A = "PartyA"
    PARTY_B = "PartyB"
    COMPROMISE = "Compromise"
    BLOCKED = "Blocked"


class PolicyConflictSpec(Model):
    """The conflict."""

    rules: ClassVar[tuple[Rule, ...]] = immutable("domain", objects=("parties", "evidence", "severity", "arbitrators"))

    domain: ResourceName
    """TrustDomain in which it is arbitrated."""
    parties: Annotated[list[Party], some(2, minimum=2)]
    """The two sides: the first is PartyA, the second PartyB."""
    severity: Severity | None = None
    """How much is affected; where it is written it must be what follows from scope and size."""
    arbitrators: Annotated[list[NodeId], some(5)] | None = None
    """nodeIds of those who decide at level Domain; where they are written they must be the ones that follow."""
    evidence: Annotated[list[Evidence], some(32)] | None = None
    """What shows the conflict; a raised one needs some."""


class Arbitrator(Model):
    """One who decides."""

    node_id: NodeId
    """nodeId of the member."""
    domain: ResourceName
    """The domain for which it sits: what its vote names as `domain`."""
    choice: Annotated[str, text(63)] | None = None
    """Its counted choice."""


class ConflictCounts(Model):
    """Arbitrators by counted choice."""

    party_a: Count
    """For PartyA."""
    party_b: Count
    """For PartyB."""
    compromise: Count
    """For a compromise."""
    outstanding: Count
    """Without a counted choice."""


MAX_ARBITRATORS = 1024
"""Arbitrators that a status lists: who sits can be derived."""


class PolicyConflictStatus(Status):
    """The arbitration."""

    digest: Digest | None = None
    """Digest of {meshId, domain, parties, evidence}: what arbitrators' votes bind."""
    cause: Cause | None = None
    """Why the parties contradict each other."""
    severity: Severity | None = None
    """How much is affected."""
    opened_at: Time | None = None
    """When the arbitration opened: the time of its entry."""
    raised_by: NodeId | None = None
    """The member that raised it; absent where it was detected."""
    level: Level | None = None
    """Who decides now."""
    vote_revision: Annotated[int, within(1, 3)] | None = None
    """The `revision` that votes of this level carry."""
    arbitrators: Annotated[list[Arbitrator], some(MAX_ARBITRATORS)] | None = None
    """Who arbitrates at this level."""
    votes: ConflictCounts | None = None
    """How they voted."""
    ends_at: Time | None = None
    """End of the level."""
    outcome: ConflictOutcome | None = None
    """How it ended; absent while it is open."""
    reason: Annotated[str, text(63)] | None = None
    """Why it ended so, or why it came to this level."""
    decided_at: Time | None = None
    """T: the second as of which it was resolved."""


class PolicyConflict(Resource):
    """Two parties that contradict each other."""

    plural: ClassVar[str] = "policyconflicts"
    short_name: ClassVar[str] = "pcf"
    namespaced: ClassVar[bool] = True
    columns: ClassVar[tuple[Column, ...]] = (
        Column("Domain", ".spec.domain"),
        Column("Cause", ".status.cause"),
        Column("Severity", ".status.severity"),
        Column("Level", ".status.level"),
        Column("Outcome", ".status.outcome"),
        READY,
        REASON,
        Column("Ends", ".status.endsAt", "string", 1),
        AGE,
    )
    conditions: ClassVar[dict[str, str]] = {
        "Resolved": "Unknown while it is arbitrated, True when a plurality decided, False when it blocks both parties",
        "Ready": "the conflict is under arbitration, or resolved",
    }

    spec: PolicyConflictSpec
    """The conflict."""
    status: PolicyConflictStatus | None = None
    """The arbitration."""
