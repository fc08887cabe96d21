"""DynamicContract: clauses that change by vote only; git owns the spec, votes own what is in force (api.md)."""

from enum import StrEnum
from typing import Annotated, ClassVar

from quorate.api.resource import AGE, READY, Column, Resource, Status, condition_column
from quorate.api.schema import (
    CLAUSE_ID,
    ClauseId,
    ContentName,
    ContractVersion,
    Count,
    Digest,
    Model,
    ProposalType,
    Rationale,
    ResourceName,
    Rule,
    Time,
    Uuid,
    immutable,
    list_of,
    names_match,
    some,
    text,
)

MAX_CLAUSES = 128
MAX_HISTORY = 24

Item = Annotated[str, text(64, minimum=1)]


class RateLimitTier(StrEnum):
    """How much a party may ask for, ascending."""

    RESTRICTED = "Restricted"
    STANDARD = "Standard"
    EXTENDED = "Extended"
    UNLIMITED = "Unlimited"


class Clause(Model):
    """One clause of a contract."""

    title: Annotated[str, text(253)] | None = None
    """Heading."""
    text: Annotated[str, text(4096, minimum=1)]
    """The clause for people."""
    rule: Annotated[str, text(4096)] | None = None
    """The clause for programs."""
    minimum_type: ProposalType | None = None
    """The weakest proposal type that may change it; absent: Standard."""


class Surface(Model):
    """What a party in one reputation state may use."""

    schemas: Annotated[list[Item], some(32)] | None = None
    """Documents that it may exchange."""
    capabilities: Annotated[list[Item], some(32)] | None = None
    """Functions that it may call."""
    rate_limit_tier: RateLimitTier | None = None
    """How much it may ask for."""
    ensemble_strategies: Annotated[list[Item], some(32)] | None = None
    """Ensemble strategies that it may use."""


class Surfaces(Model):
    """The surface of each reputation state; each holds at least what the one below holds."""

    cold: Surface | None = None
    """Nothing is known about the party."""
    warming: Surface | None = None
    """First experience."""
    established: Surface | None = None
    """Enough experience."""
    authoritative: Surface | None = None
    """The highest state."""


class Genesis(Model):
    """The contract as it begins; its digest stands in the TrustDomain."""

    rules: ClassVar[tuple[Rule, ...]] = (names_match("clauses", CLAUSE_ID, "a clause id: numbers joined by dots"),)

    contract_id: Uuid
    """The contract's id."""
    version: ContractVersion
    """The first version, vYYYY.MM.DD[-n]."""
    clauses: Annotated[dict[ClauseId, Clause], some(MAX_CLAUSES)]
    """The clauses by id."""
    surfaces: Surfaces | None = None
    """What parties may use, by reputation state."""


class LocalOverride(Model):
    """An overlay of one clause on this cluster, where the domain permits it."""

    clause: ClauseId
    """Id of the clause."""
    text: Annotated[str, text(4096, minimum=1)]
    """What holds here."""
    reason: Rationale
    """Why."""


class DynamicContractSpec(Model):
    """The beginning and local overlays; what is in force is status."""

    rules: ClassVar[tuple[Rule, ...]] = immutable("trustDomain", objects=("genesis",))

    trust_domain: ResourceName
    """Name of the TrustDomain whose votes change the contract; immutable."""
    genesis: Genesis
    """The contract as it begins; immutable."""
    local_overrides: Annotated[list[LocalOverride], list_of(MAX_CLAUSES, kind="map", keys=("clause",))] | None = None
    """Overlays on this cluster; mutable."""


class InForce(Model):
    """The content in force."""

    version: ContractVersion
    """Its version."""
    digest: Digest
    """Its digest."""
    content_ref: ContentName | None = None
    """ConfigMap in quorate-system with the content; absent for the genesis, which is its own spec."""
    proposal_digest: Digest | None = None
    """The proposal that made it."""
    evidence_digest: Digest | None = None
    """The evidence for that."""
    since: Time | None = None
    """When it came into force: the time of its entry."""


class PastVersion(Model):
    """A version that was in force."""

    version: ContractVersion
    """Its version."""
    digest: Digest
    """Its digest."""
    proposal_digest: Digest | None = None
    """The proposal that made it."""
    at: Time | None = None
    """When it came into force."""


class AcceptedVersion(Model):
    """A version that parties may hold now."""

    version: ContractVersion
    """Its version."""
    digest: Digest
    """Its digest."""
    until: Time | None = None
    """From then on it is no longer accepted; absent: in force."""


class OverlayItem(Model):
    """One override and what became of it."""

    clause: ClauseId
    """Id of the clause."""
    base: Digest
    """Digest of the clause that it was set upon."""
    override: Digest
    """Digest of the override {clause, text, reason}."""
    reason: Annotated[str, text(63)]
    """Overridden, or why it is refused."""


class ContractOverlay(Model):
    """Local overrides as they were recorded."""

    effective_digest: Digest
    """Digest of the effective content: what holds on this node."""
    items: Annotated[list[OverlayItem], some(MAX_CLAUSES)]
    """The overrides in the order of their clauses."""


class DriftAuthor(Model):
    """Who last wrote altered content, as the writer named itself."""

    manager: Annotated[str, text(128)]
    """Field manager."""
    operation: Annotated[str, text(63)]
    """Apply or Update."""
    time: Time | None = None
    """When, as the API server recorded it."""


class DynamicContractStatus(Status):
    """What is in force, by vote."""

    contract_id: Uuid | None = None
    """The contract's id."""
    domain: Annotated[str, text(253)] | None = None
    """Name of the TrustDomain."""
    in_force: InForce | None = None
    """The content in force."""
    clause_digests: Annotated[dict[str, Digest], some(MAX_CLAUSES)] | None = None
    """Digest of each clause in force: the baseDigest of a proposal."""
    surfaces_digest: Digest | None = None
    """Digest of the surfaces in force."""
    history: Annotated[list[PastVersion], some(MAX_HISTORY)] | None = None
    """The latest versions, newest first."""
    holders: Count | None = None
    """Counted nodes that hold the digest in force, by heartbeat or ContractHeld attestation."""
    accepts: Annotated[list[AcceptedVersion], some(2)] | None = None
    """The versions that are accepted now: the one in force, and the one before until the cut-over."""
    overlay: ContractOverlay | None = None
    """Local overrides, where there are any."""
    drifted: Annotated[list[Annotated[str, text(63)]], some(MAX_CLAUSES)] | None = None
    """Clauses whose content was altered outside a vote."""
    drifted_by: DriftAuthor | None = None
    """Who wrote the content that drifted last, as far as the object told."""


class DynamicContract(Resource):
    """A contract of clauses that change by signed vote only."""

    plural: ClassVar[str] = "dynamiccontracts"
    short_name: ClassVar[str] = "dc"
    signed: ClassVar[bool] = True
    columns: ClassVar[tuple[Column, ...]] = (
        Column("Domain", ".spec.trustDomain"),
        Column("Version", ".status.inForce.version"),
        READY,
        condition_column("Ready", field="reason", name="Reason"),
        condition_column("Drifted"),
        condition_column("Overridden", priority=1),
        Column("Holders", ".status.holders", "integer", priority=1),
        Column("Digest", ".status.inForce.digest", priority=1),
        AGE,
    )
    conditions: ClassVar[dict[str, str]] = {
        "Authorized": "the domain's accepted revision lists this genesis",
        "Drifted": "content in force was altered outside a vote; restored or reported as the domain says",
        "Overridden": "local overrides hold on this node, or are refused for the reason that is given",
        "Ready": "a content is in force and not altered",
    }

    spec: DynamicContractSpec
    """Genesis and local overlays."""
    status: DynamicContractStatus | None = None
    """What is in force."""
