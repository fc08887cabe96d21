"""TrustDomain: the constitution and the root of trust (trust.md)."""

from enum import StrEnum
from typing import Annotated, ClassVar

from quorate.api.resource import AGE, READY, REASON, Column, Resource, Status, condition_column
from quorate.api.schema import (
    UUID4,
    BasisPoints,
    ClauseId,
    ContentName,
    Count,
    Digest,
    KeyName,
    MemberKey,
    MeshId,
    Model,
    NodeId,
    RawKey,
    ResourceName,
    Revision,
    Role,
    Rule,
    Seconds,
    Signature,
    Time,
    Uuid,
    VerifierKey,
    matching,
    names_match,
    some,
    text,
    within,
)
from quorate.api.voting import Voting

MAX_MEMBERS = 1024
MAX_CONTRACTS = 1024


class KeyPurpose(StrEnum):
    """What a member's key may sign (trust.md, "Key purposes")."""

    VOTE = "Vote"
    MACHINE = "Machine"
    WITNESS = "Witness"


class NamedKey(Model):
    """A named Ed25519 key of an admin or of the recovery set."""

    name: KeyName
    """Name that signatures and acts give; unique in its set."""
    public_key: RawKey
    """The 32 raw bytes as 43 characters of base64 without padding."""


class RecoverySet(Model):
    """Who may replace lost admin keys, after an announced delay."""

    keys: Annotated[list[NamedKey], some(64, minimum=1)]
    """The recovery keys."""
    threshold: Annotated[int, within(1, 64)]
    """How many distinct recovery keys must sign."""
    delay_seconds: Seconds
    """Time between the announcement and the earliest acceptance."""


class DomainLog(Model):
    """The domain's transparency log."""

    origin: Annotated[str, matching(r"[^\s+]+", 512)]
    """`<meshId>/<name>`, the first line of every checkpoint."""
    keys: Annotated[list[VerifierKey], some(16, minimum=1)]
    """C2SP verifier keys that may sign checkpoints."""


class SigningKey(Model):
    """A key of a member."""

    purpose: KeyPurpose
    """What the key may sign."""
    name: KeyName
    """Name that a vote or an attestation gives; binding."""
    public_key: MemberKey
    """Vote and Machine: 43 characters of base64; Witness: a C2SP verifier key."""
    not_after: Time | None = None
    """From this second on the key signs nothing."""


class Member(Model):
    """A member by the constitution; the electorate follows from these fields alone."""

    node_id: NodeId
    """The member's id."""
    role: Role
    """What the member may do."""
    weight: BasisPoints
    """Voting weight, 0 to 10000."""
    learner: bool | None = None
    """Takes part but does not vote yet."""
    suspended: bool | None = None
    """Does not vote."""
    keys: Annotated[list[SigningKey], some(32)] | None = None
    """The member's keys."""
    vote_threshold: Annotated[int, within(1, 32)] | None = None
    """How many of its Vote keys must agree; absent: 1."""


class ContractGenesis(Model):
    """A contract that the domain recognises."""

    name: ResourceName
    """Name of the DynamicContract."""
    contract_id: Uuid
    """The contract's id."""
    genesis_digest: Digest
    """Digest of the contract's genesis."""


class TrustRules(Model):
    """How trust scores are derived (governance.md, "Trust")."""

    decay_basis_points: BasisPoints | None = None
    """Factor per hop."""
    min_score_basis_points: BasisPoints | None = None
    """Lowest score that counts as trusted."""
    max_chain_length: Annotated[int, within(1, 64)] | None = None
    """Longest path of attestations."""
    seeds: Annotated[list[NodeId], some(MAX_MEMBERS)] | None = None
    """Nodes from which the domain-wide rank starts."""


class OnViolation(StrEnum):
    """What follows when a boundary is violated."""

    DENY = "Deny"
    QUARANTINE = "Quarantine"
    WARN = "Warn"


class Boundary(Model):
    """What another domain must show before its objects count here."""

    from_domain: ResourceName
    """The other domain."""
    min_score_basis_points: BasisPoints | None = None
    """Lowest trust score that passes."""
    require_attestations: Annotated[list[Annotated[str, text(63, minimum=1)]], some(32)] | None = None
    """Types of attestations that must be present."""
    on_violation: OnViolation
    """What follows otherwise."""


class StorageReference(Model):
    """Where the domain's large content is kept besides Postgres."""

    name: ResourceName
    """Name of the storage that the operator is configured with."""


class DomainSignature(Model):
    """A signature over the revision's statement."""

    name: KeyName
    """The admin's or recovery key's name; only that key is tried."""
    signature: Signature
    """DSSE signature, 86 characters of base64 without padding."""


class Scope(StrEnum):
    """How far the domain reaches."""

    FEDERATED = "Federated"
    ISOLATED = "Isolated"
    LOCAL = "Local"


class DriftPolicy(StrEnum):
    """What follows when content in force was altered."""

    RESTORE = "Restore"
    REPORT = "Report"


class TrustDomainSpec(Model):
    """One revision of the constitution, signed as a whole; no field has a default."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.adminThreshold <= self.admins.size()",
            "adminThreshold must not exceed the number of admins",
            "adminThreshold %d must not exceed the number of admins, %d",
            ("self.adminThreshold", "self.admins.size()"),
        ),
        Rule(
            "!has(self.recovery) || self.recovery.threshold <= self.recovery.keys.size()",
            "recovery.threshold must not exceed the number of recovery.keys",
            "recovery.threshold %d must not exceed the number of recovery.keys, %d",
            ("self.recovery.threshold", "self.recovery.keys.size()"),
        ),
        Rule(
            "self.revision == 1 || has(self.previousDigest)",
            "previousDigest is required from revision 2 on: the digest of the revision before",
            "previousDigest is required from revision 2 on: revision is %d",
            ("self.revision",),
        ),
        names_match("localOverridesPermitted", UUID4, "a nodeId"),
    )

    mesh_id: MeshId
    """The mesh to which the domain belongs."""
    revision: Revision
    """Number of this revision, from 1."""
    previous_digest: Digest | None = None
    """Digest of the revision before; absent in revision 1."""
    home_hub: NodeId
    """The node whose operator decides for this domain."""
    admins: Annotated[list[NamedKey], some(64, minimum=1)]
    """Keys that authorise the next revision."""
    admin_threshold: Annotated[int, within(1, 64)]
    """How many distinct admin keys must sign."""
    recovery: RecoverySet | None = None
    """Who may replace lost admin keys."""
    log: DomainLog | None = None
    """The domain's transparency log."""
    members: Annotated[list[Member], some(MAX_MEMBERS)]
    """The members; nodeIds and public keys are unique."""
    contracts: Annotated[list[ContractGenesis], some(MAX_CONTRACTS)] | None = None
    """The contracts that the domain recognises."""
    phase_id: Annotated[str, matching("[0-9]+([.][0-9]+)*", 63)]
    """The codex phase to which the domain's log entries are tied."""
    parent: ResourceName | None = None
    """The domain above."""
    scope: Scope | None = None
    """How far the domain reaches."""
    shared_clauses: Annotated[dict[str, Annotated[list[ClauseId], some(128)]], some(MAX_CONTRACTS)] | None = None
    """Per contract, the clauses that are shared with the parent."""
    local_overrides_permitted: Annotated[dict[str, Annotated[list[ClauseId], some(128)]], some(MAX_MEMBERS)] | None = (
        None
    )
    """Per nodeId, the clauses that the node may override locally."""
    drift: DriftPolicy | None = None
    """What follows when content in force was altered; absent: Restore."""
    require_proof: bool | None = None
    """Receivers apply a change only with its proof."""
    voting: Voting | None = None
    """The proposal types that are allowed, and their rules."""
    trust: TrustRules | None = None
    """How trust scores are derived."""
    boundary: Annotated[list[Boundary], some(64)] | None = None
    """What other domains must show."""
    storage: StorageReference | None = None
    """Where large content is kept besides Postgres."""
    signatures: Annotated[list[DomainSignature], some(256)] | None = None
    """Signatures over everything else in this spec and the object's name."""


class AcceptedRevision(Model):
    """The revision in force."""

    revision: Revision
    """Its number."""
    digest: Digest
    """Its digest."""
    content_ref: ContentName | None = None
    """ConfigMap in quorate-system with its statement."""
    at: Time | None = None
    """When it was accepted: the time of its entry."""


class Challenge(Model):
    """What a heartbeat must contain to prove that it is fresh."""

    current: Annotated[str, text(128)]
    """The newest challenge."""
    previous: Annotated[str, text(128)] | None = None
    """The one before, still valid."""
    issued_at: Time
    """When the current one was issued."""


class MemberCounts(Model):
    """Members by state."""

    total: Annotated[int, within(0, MAX_MEMBERS)]
    """All members of the accepted revision."""
    verified: Annotated[int, within(0, MAX_MEMBERS)] | None = None
    """Those that proved possession of a Machine key."""
    silent: Annotated[int, within(0, MAX_MEMBERS)] | None = None
    """Those without a fresh heartbeat."""


class TrustDomainStatus(Status):
    """What is in force; everybody reads this, never the live spec."""

    accepted: AcceptedRevision | None = None
    """The revision in force."""
    challenge: Challenge | None = None
    """What heartbeats must contain."""
    members: MemberCounts | None = None
    """Members by state."""
    home_hub: Annotated[str, text(63)] | None = None
    """The node that decides, by the accepted revision."""
    open_proposals: Count | None = None
    """Proposals that are open in this domain."""


class TrustDomain(Resource):
    """The constitution of a domain: members, weights, keys and voting rules, signed by its admins."""

    plural: ClassVar[str] = "trustdomains"
    short_name: ClassVar[str] = "td"
    signed: ClassVar[bool] = True
    columns: ClassVar[tuple[Column, ...]] = (
        Column("Revision", ".spec.revision", "integer", description="Revision in the spec"),
        Column("Accepted", ".status.accepted.revision", "integer", description="Revision in force"),
        Column("Members", ".status.members.total", "integer"),
        Column("Verified", ".status.members.verified", "integer"),
        Column("Silent", ".status.members.silent", "integer", priority=1),
        condition_column("Authorized"),
        READY,
        REASON,
        Column("Digest", ".status.accepted.digest", priority=1),
        AGE,
    )
    conditions: ClassVar[dict[str, str]] = {
        "Authorized": "the revision in the spec is signed as the one before demands; otherwise that one stays in force",
        "Forked": "two authorised revisions with one number exist: execution is blocked until the admins sign the next",
        "Ready": "a revision is in force and the spec is that revision",
    }

    notes: ClassVar[tuple[str, ...]] = (
        (
            "A TrustDomain over 256 KiB needs `kubectl apply --server-side`: client-side apply copies the manifest "
            "into an annotation, which the API server bounds (`metadata.annotations: Too long: may not be more than "
            "262144 bytes`)."
        ),
        "The signed document may have up to 768 KiB of canonical UTF-8; a larger one is refused with `TooLarge`.",
    )

    spec: TrustDomainSpec
    """One signed revision."""
    status: TrustDomainStatus | None = None
    """What is in force."""
