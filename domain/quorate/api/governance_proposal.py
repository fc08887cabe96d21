"""GovernanceProposal: a signed change of one clause, of the surfaces, or of a TrustDomain (api.md, governance.md)."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from quorate.api.resource import AGE, READY, Column, Resource, Status
from quorate.api.schema import (
    Anything,
    ClauseId,
    ContentName,
    Digest,
    KeyName,
    Model,
    NodeId,
    ProposalType,
    Rationale,
    ResourceName,
    Revision,
    Rule,
    Signature,
    Time,
    list_of,
    matching,
    some,
    text,
)
from quorate.api.tally import ConflictReference, DomainTally, Electorate, Phase, ProposalReference, Tally

__all__ = [
    "Act",
    "Change",
    "GovernanceProposal",
    "GovernanceProposalSpec",
    "GovernanceProposalStatus",
    "Phase",
    "Target",
]

MAX_ACTS = 64


class TargetKind(StrEnum):
    """What a proposal can change."""

    DYNAMIC_CONTRACT = "DynamicContract"
    TRUST_DOMAIN = "TrustDomain"


class Target(Model):
    """The one thing that the proposal changes."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.kind != 'DynamicContract' || has(self.clause) != has(self.section)",
            "a DynamicContract target requires exactly one of clause and section",
        ),
        Rule(
            "self.kind != 'TrustDomain' || (!has(self.clause) && !has(self.section))",
            "a TrustDomain target excludes clause and section",
        ),
    )

    kind: TargetKind
    """Kind of the object."""
    name: ResourceName
    """Name of the object."""
    clause: ClauseId | None = None
    """Id of the clause that changes, is added or removed."""
    section: Annotated[str, matching("surfaces", 8)] | None = None
    """`surfaces`: the proposal changes the surfaces; needs type Constitutional."""


class Operation(StrEnum):
    """RFC 6902 operations."""

    ADD = "add"
    REMOVE = "remove"
    REPLACE = "replace"
    MOVE = "move"
    COPY = "copy"
    TEST = "test"


class PatchOperation(Model):
    """One operation of RFC 6902."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.from) == (self.op in ['move', 'copy'])",
            "from is required for move and copy, and excluded otherwise",
            "from is required for move and copy, and excluded otherwise: op is %s",
            ("self.op",),
        ),
    )

    op: Operation
    """The operation."""
    path: Annotated[str, text(1024)]
    """JSON pointer inside the target; the empty string is the target itself."""
    from_: Annotated[str, text(1024)] | None = Field(default=None, alias="from")
    """JSON pointer inside the target, for move and copy."""
    value: Anything = None
    """The value of add, replace and test; null is a value (apply it with --server-side: plain apply drops null)."""


class Change(Model):
    """What changes, and what it is based on."""

    base_digest: Digest
    """Digest of the target as it is now: clause or section (JSON null for a new clause), or accepted revision."""
    patch: Annotated[list[PatchOperation], some(64, minimum=1)] | None = None
    """Operations relative to the target; for a DynamicContract."""
    result_digest: Digest | None = None
    """Digest of the next revision; for a TrustDomain."""


class ActKind(StrEnum):
    """Acts on a proposal."""

    ENDORSE = "Endorse"
    WITHDRAW = "Withdraw"
    STOP = "Stop"


class Act(Model):
    """A signed act on a proposal; outside its digest."""

    act: ActKind
    """What is done."""
    proposal_digest: Digest
    """The proposal revision to which it applies."""
    by: Annotated[str, text(63, minimum=1)]
    """Endorse and Stop: an admin's name; Withdraw: the proposer's nodeId."""
    key_name: KeyName
    """The key that signed."""
    at: Time
    """When it was signed, by the signer's clock."""
    signature: Signature
    """DSSE signature of the act's statement."""


def _acts(field: str, kind: str) -> tuple[Rule, ...]:
    return (
        Rule(f"!has(self.{field}) || self.{field}.all(a, a.act == '{kind}')", f"{field} may hold acts {kind} only"),
        Rule(
            f"!has(oldSelf.{field}) || (has(self.{field}) && oldSelf.{field}.all(a, a in self.{field}))",
            f"{field} is append-only: a signed act cannot be changed or removed",
        ),
    )


class GovernanceProposalSpec(Model):
    """The proposal; signed fields have no defaults."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.draft) || !self.draft || !has(self.signature)",
            "draft excludes signature: signing opens the proposal",
        ),
        Rule(
            "(has(self.draft) && self.draft) || has(self.signature)",
            "signature is required unless draft is true",
        ),
        Rule(
            "has(self.change.patch) == (self.target.kind == 'DynamicContract')",
            "change.patch is required for a DynamicContract and excluded for a TrustDomain",
        ),
        Rule(
            "has(self.change.resultDigest) == (self.target.kind == 'TrustDomain')",
            "change.resultDigest is required for a TrustDomain and excluded for a DynamicContract",
        ),
        Rule(
            "!has(self.target.section) || self.type == 'Constitutional'",
            "type must be Constitutional to change the surfaces",
            "type %s cannot change the surfaces: Constitutional is required",
            ("self.type",),
        ),
        Rule(
            "self.target.kind != 'TrustDomain' || self.type == 'Constitutional'",
            "type must be Constitutional to authorise a revision of a TrustDomain",
            "type %s cannot authorise a revision of a TrustDomain: Constitutional is required",
            ("self.type",),
        ),
        Rule(
            "!has(self.domains) || self.domains.size() == 0 || self.trustDomain in self.domains",
            "domains must include trustDomain",
            "domains must include trustDomain %s",
            ("self.trustDomain",),
        ),
        Rule(
            "!has(self.domains) || self.domains.size() != 1",
            "domains must be empty or name at least two domains",
        ),
        Rule(
            "!has(self.domains) || self.domains.size() == 0 || !(self.type in ['Expedited', 'Emergency'])",
            "type Expedited and Emergency exclude domains",
            "type %s excludes domains",
            ("self.type",),
        ),
        *_acts("endorsements", "Endorse"),
        *_acts("stops", "Stop"),
        Rule("!has(self.withdrawal) || self.withdrawal.act == 'Withdraw'", "withdrawal must be an act Withdraw"),
        Rule("!has(oldSelf.withdrawal) || has(self.withdrawal)", "withdrawal cannot be removed"),
    )

    trust_domain: ResourceName
    """Name of the TrustDomain that decides."""
    proposer: NodeId
    """nodeId of the proposing member."""
    key_name: KeyName
    """Vote key of the proposer that signed."""
    type: ProposalType
    """How the proposal is decided."""
    domains: Annotated[list[ResourceName], some(16)] | None = None
    """Double majority: two or more domains, trustDomain among them, each of which must adopt."""
    target: Target
    """What changes."""
    change: Change
    """How it changes."""
    rationale: Rationale | None = None
    """Why; its digest is signed."""
    revision: Revision
    """Number of this revision of the proposal, from 1; a signed higher one amends."""
    draft: bool | None = None
    """Not signed and not open yet."""
    signature: Signature | None = None
    """DSSE signature of the proposer over the proposal's statement."""
    endorsements: Annotated[list[Act], some(MAX_ACTS)] | None = None
    """Emergency: endorsements of admins."""
    withdrawal: Act | None = None
    """Withdrawal by the proposer."""
    stops: Annotated[list[Act], some(MAX_ACTS)] | None = None
    """Stops by admins, before the execution."""


class GovernanceProposalStatus(Status):
    """Everything that an observer needs to follow and re-derive the decision."""

    phase: Phase | None = None
    """Where the proposal is in its life; derived from conditions and entries."""
    digest: Digest | None = None
    """Digest of the open revision: what a vote binds."""
    revision: Revision | None = None
    """The open revision."""
    statement_ref: ContentName | None = None
    """ConfigMap in quorate-system with the statement, where it is projected; otherwise it comes by the CLI."""
    domain_revision: Revision | None = None
    """Revision of the TrustDomain under which the vote is held."""
    electorate: Electorate | None = None
    """Who may vote."""
    opened_at: Time | None = None
    """When it opened: the time of its entry."""
    voting_starts: Time | None = None
    """Start of the vote."""
    voting_ends: Time | None = None
    """The current deadline."""
    tally: Tally | None = None
    """The numbers of the accepted votes."""
    domains: Annotated[list[DomainTally], list_of(16, kind="map", keys=("name",))] | None = None
    """Double majority: each domain's vote."""
    outcome: Annotated[str, text(63)] | None = None
    """Adopted, Rejected, Expired, …; absent while open."""
    reason: Annotated[str, text(63)] | None = None
    """Why the outcome is what it is."""
    decided_at: Time | None = None
    """T: the second as of which the votes were counted."""
    execute_after: Time | None = None
    """End of the timelock."""
    execute_before: Time | None = None
    """End of the execution window."""
    executed_at: Time | None = None
    """When it was executed: the time of its entry."""
    ratification_ends: Time | None = None
    """Emergency: end of the ratification."""
    conflicts: Annotated[list[ProposalReference], some(32)] | None = None
    """Other open proposals on the same clause: a warning."""
    policy_conflicts: Annotated[list[ConflictReference], some(32)] | None = None
    """The conflicts in which the adopted proposal is a party; while one is open it does not execute."""
    outcome_digest: Digest | None = None
    """Digest of the outcome document: rules, every number, every vote with its reason (`quorate proposal explain`)."""
    evidence_digest: Digest | None = None
    """Digest of the evidence bundle."""
    evidence_ref: ContentName | None = None
    """ConfigMap in quorate-system with the evidence bundle."""
    proof_ref: ContentName | None = None
    """ConfigMap in quorate-system with the inclusion proofs."""


def _number(name: str, field: str, kind: str = "integer") -> Column:
    return Column(name, f".status.tally.{field}", kind, priority=1)


class GovernanceProposal(Resource):
    """A signed proposal to change one clause, the surfaces of a contract, or a TrustDomain."""

    plural: ClassVar[str] = "governanceproposals"
    short_name: ClassVar[str] = "gp"
    namespaced: ClassVar[bool] = True
    signed: ClassVar[bool] = True
    columns: ClassVar[tuple[Column, ...]] = (
        Column("Type", ".spec.type"),
        Column("Phase", ".status.phase"),
        Column("Outcome", ".status.outcome"),
        Column("Approve", ".status.tally.approve", "integer"),
        Column("Reject", ".status.tally.reject", "integer"),
        READY,
        _number("Abstain", "abstain"),
        _number("Veto", "veto"),
        _number("Cast", "cast"),
        _number("Outstanding", "outstanding"),
        Column("Total", ".status.electorate.totalWeight", "integer", 1, "Weight of the electorate"),
        _number("Voters", "voters"),
        _number("Quorum", "quorum.left", "string"),
        _number("Quorum Needed", "quorum.right", "string"),
        _number("Threshold", "threshold.left", "string"),
        _number("Threshold Over", "threshold.right", "string"),
        Column("Voting Ends", ".status.votingEnds", "string", 1),
        Column("Reason", ".status.reason", "string", 1),
        Column("Proposer", ".spec.proposer", "string", 1),
        AGE,
    )
    conditions: ClassVar[dict[str, str]] = {
        "Accepted": "the proposal was checked and opened",
        "SpecAccepted": "the live spec is the open revision; only a validly signed higher revision changes anything",
        "Succeeded": "Unknown while undecided, True when adopted or executed, False for any other outcome",
        "Ready": "the proposal is accepted and open, or decided",
    }

    notes: ClassVar[tuple[str, ...]] = (
        (
            "A patch whose `value` is or holds null needs `kubectl apply --server-side` or `kubectl create`: "
            "client-side apply drops null, and then the signature does not hold."
        ),
    )

    spec: GovernanceProposalSpec
    """What is proposed."""
    status: GovernanceProposalStatus | None = None
    """Tally, decision and execution."""
