"""Vote: one signed, immutable choice on the digest of a proposal or of a PolicyConflict (api.md, governance.md)."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from quorate.api.resource import AGE, READY, Column, Resource, Status, condition_column
from quorate.api.schema import (
    Count,
    Digest,
    KeyName,
    Model,
    Namespace,
    NodeId,
    Rationale,
    ResourceName,
    Revision,
    Rule,
    Signature,
    Time,
    immutable,
    within,
)


class Choice(StrEnum):
    """What a voter chooses; PartyA, PartyB and Compromise where the vote is on a PolicyConflict."""

    APPROVE = "Approve"
    REJECT = "Reject"
    ABSTAIN = "Abstain"
    VETO = "Veto"
    RETRACT = "Retract"
    PARTY_A = "PartyA"
    PARTY_B = "PartyB"
    COMPROMISE = "Compromise"


class VotedObject(Model):
    """What is voted on; the digest alone is signed and binds."""

    namespace: Namespace
    """Namespace of the GovernanceProposal or PolicyConflict."""
    name: ResourceName
    """Its name."""
    digest: Digest
    """Its digest."""


class VoteSpec(Model):
    """The vote; immutable."""

    rules: ClassVar[tuple[Rule, ...]] = immutable(
        "revision",
        "voter",
        "keyName",
        "domain",
        "choice",
        "sequence",
        "castAt",
        "signature",
        objects=("proposal", "rationale"),
    )

    proposal: VotedObject
    """What is voted on."""
    revision: Revision
    """Revision of the proposal."""
    voter: NodeId
    """nodeId of the voting member."""
    key_name: KeyName
    """Vote key that signed."""
    domain: ResourceName
    """TrustDomain whose electorate the voter belongs to."""
    choice: Choice
    """What the voter chooses; Retract takes the key's standing vote back."""
    sequence: Annotated[int, within(0, 2**53 - 1)]
    """Per voter and key: the highest stands."""
    rationale: Rationale | None = None
    """Why; its digest is signed."""
    cast_at: Time
    """When it was signed, by the voter's clock."""
    signature: Signature
    """DSSE signature over the vote's statement."""


class VoteStatus(Status):
    """What became of the vote."""

    digest: Digest | None = None
    """Digest of the vote's statement."""
    recorded_at: Time | None = None
    """When the vote counts as cast: its creationTimestamp."""
    weight: Count | None = None
    """Weight with which it counts."""


class Vote(Resource):
    """One signed choice of a member."""

    plural: ClassVar[str] = "votes"
    short_name: ClassVar[str] = "vt"
    namespaced: ClassVar[bool] = True
    signed: ClassVar[bool] = True
    selectable: ClassVar[tuple[str, ...]] = (".spec.proposal.digest",)
    columns: ClassVar[tuple[Column, ...]] = (
        Column("Proposal", ".spec.proposal.name"),
        Column("Choice", ".spec.choice"),
        condition_column("Counted"),
        condition_column("Counted", field="reason", name="Reason"),
        READY,
        Column("Voter", ".spec.voter", priority=1),
        Column("Key", ".spec.keyName", priority=1),
        Column("Sequence", ".spec.sequence", "integer", priority=1),
        AGE,
    )
    conditions: ClassVar[dict[str, str]] = {
        "Counted": "the vote is part of its member's choice; otherwise the reason says why not",
        "Ready": "the vote was accepted, though it may be overtaken; a refused vote is Ready=False and Stalled=True",
        "WithinBoundary": "only where it is cast in another domain: what the proposal's domain asks of that one is met",
    }

    spec: VoteSpec
    """The vote."""
    status: VoteStatus | None = Field(default=None)
    """What became of it."""
