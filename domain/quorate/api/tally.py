"""What a proposal's status shows of its vote: electorate, tally with every number, phase (governance.md, "Tally")."""

from enum import StrEnum
from typing import Annotated

from quorate.api.schema import (
    ContentName,
    Count,
    Digest,
    Model,
    Number,
    ResourceName,
    Revision,
    Time,
    some,
    text,
    within,
)


class Test(Model):
    """One comparison of the tally; products are exact, as decimal strings."""

    left: Number
    """What was reached."""
    right: Number
    """What it is compared with."""
    holds: bool
    """Whether the comparison holds."""


MAX_REFUSED = 16
"""Votes that do not count and are listed in a status; `quorate proposal explain` lists all of them."""


class RefusedVote(Model):
    """A vote that is not part of its member's choice."""

    voter: Annotated[str, text(63)]
    """nodeId that it names."""
    key_name: Annotated[str, text(63)]
    """Key that it names."""
    sequence: Annotated[int, within(0, 2**53 - 1)]
    """Its sequence."""
    choice: Annotated[str, text(63)]
    """What it chooses."""
    reason: Annotated[str, text(63)]
    """Why it does not count."""


class Tally(Model):
    """The tally with every number; weights in basis points of one member's full weight."""

    approve: Count
    """Weight for the proposal."""
    reject: Count
    """Weight against it."""
    abstain: Count
    """Weight that abstains."""
    veto: Count
    """Weight that vetoes."""
    cast: Count
    """approve + reject + abstain + veto."""
    outstanding: Count
    """Weight of members without a counted choice."""
    voters: Count
    """Members with weight whose choice counts."""
    minimum_voters: Test | None = None
    """Voters and how many are needed."""
    quorum: Test | None = None
    """Quorum: basis · 10000 ≥ quorum · total weight."""
    threshold: Test | None = None
    """Pass: approve · 10000 > threshold · (approve + reject + veto)."""
    veto_test: Test | None = None
    """Veto: veto · 10000 > share · cast."""
    objection: Test | None = None
    """Optimistic: (reject + veto) · 10000 > share · total weight."""
    quorum_made_by: Digest | None = None
    """Digest of the vote that made the quorum."""
    refused: Count | None = None
    """How many votes do not count, those aside that are Overtaken, Retracted or a Duplicate."""
    refused_votes: Annotated[list[RefusedVote], some(MAX_REFUSED)] | None = None
    """The first of them, with their reasons."""


class Electorate(Model):
    """Who may vote: a function of the accepted revision alone."""

    digest: Digest
    """Digest of the electorate."""
    members: Count
    """How many members may vote."""
    total_weight: Count
    """Their weight together."""
    content_ref: ContentName | None = None
    """ConfigMap in quorate-system with the list, where it is projected; otherwise it comes by the CLI."""


class Phase(StrEnum):
    """Where the proposal is in its life (governance.md, "Lifecycle")."""

    DRAFT = "Draft"
    VOTING = "Voting"
    ADOPTED = "Adopted"
    CONFLICT = "Conflict"
    EXECUTED = "Executed"
    FAILED = "Failed"
    REJECTED = "Rejected"
    WITHDRAWN = "Withdrawn"
    STOPPED = "Stopped"
    SUPERSEDED = "Superseded"
    EXPIRED = "Expired"
    EMERGENCY_EXECUTED = "EmergencyExecuted"
    RATIFIED = "Ratified"
    REVERSED = "Reversed"


class DomainTally(Model):
    """The vote of one domain in a double majority."""

    name: ResourceName
    """Name of the TrustDomain."""
    revision: Revision | None = None
    """The revision under which it votes."""
    electorate: Electorate | None = None
    """Who may vote."""
    tally: Tally | None = None
    """Its numbers."""
    voting_ends: Time | None = None
    """Its deadline."""
    outcome: Annotated[str, text(63)] | None = None
    """Its outcome."""
    reason: Annotated[str, text(63)] | None = None
    """Why."""


class ProposalReference(Model):
    """Another proposal."""

    namespace: Annotated[str, text(63)]
    """Its namespace."""
    name: Annotated[str, text(253)]
    """Its name."""
    digest: Digest | None = None
    """Its digest."""


class ConflictReference(Model):
    """A PolicyConflict that names the proposal as a party."""

    namespace: Annotated[str, text(63)]
    """Its namespace."""
    name: Annotated[str, text(253)]
    """Its name."""
    digest: Digest
    """What arbitrators vote on."""
    outcome: Annotated[str, text(63)] | None = None
    """How it ended; absent while it is open."""
