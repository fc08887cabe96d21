"""The voting rules of a TrustDomain, one block per proposal type (governance.md, "Tally"; trust.md, "Form")."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from quorate.api.schema import BasisPoints, Model, Period, Rule, Seconds, some, text, within


class QuorumBasis(StrEnum):
    """Which weight counts towards the quorum."""

    CAST = "Cast"
    APPROVE = "Approve"


class AdaptiveQuorum(Model):
    """A quorum that falls linearly from start to floor over the voting period."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.floorBasisPoints <= self.startBasisPoints",
            "floorBasisPoints must not exceed startBasisPoints",
            "floorBasisPoints %d must not exceed startBasisPoints %d",
            ("self.floorBasisPoints", "self.startBasisPoints"),
        ),
    )

    start_basis_points: BasisPoints
    """Quorum at the opening, in basis points of the electorate's weight."""
    floor_basis_points: BasisPoints
    """Quorum at the end of the original period."""
    confirm_seconds: Seconds
    """For how long quorum, threshold and no veto must hold together before adoption."""


class LateQuorum(Model):
    """Extension of the deadline when the quorum is reached at the last moment."""

    window_seconds: Seconds
    """The last seconds before the deadline in which a first quorum extends it."""
    extension_seconds: Seconds
    """By how much the deadline grows, once per phase."""


class VotingRules(Model):
    """The rules of one proposal type; what is absent does not apply."""

    quorum_basis_points: BasisPoints | None = None
    """Quorum in basis points of the electorate's weight; exactly one of this and adaptiveQuorum."""
    quorum_basis: QuorumBasis | None = None
    """What counts towards the quorum: all that is cast (when absent), or approvals only."""
    minimum_voters: Annotated[int, within(0, 1024)] | None = None
    """Members with weight whose choice must count, besides the quorum."""
    threshold_basis_points: Annotated[int, within(0, 9999)] | None = None
    """Approvals must exceed this share of approve + reject + veto."""
    veto_basis_points: BasisPoints | None = None
    """Vetoes above this share of what is cast reject; absent: a veto counts as reject."""
    allow_veto: Annotated[list[Annotated[str, text(63, minimum=1)]], some(256)] | None = None
    """Roles or nodeIds that may veto; absent: all; empty: none."""
    voting_period_seconds: Period | None = None
    """Length of the vote."""
    early_decision: bool | None = None
    """Decide as soon as no completion of the vote can change the outcome."""
    adaptive_quorum: AdaptiveQuorum | None = None
    """A falling quorum in place of quorumBasisPoints."""
    late_quorum: LateQuorum | None = None
    """Extension for a quorum reached at the last moment."""
    timelock_seconds: Seconds | None = None
    """Wait between adoption and execution."""
    execution_window_seconds: Period | None = None
    """How long after the timelock the execution may take place."""
    ratification_seconds: Period | None = None
    """Emergency only: length of the ratification that follows the execution."""
    objection_basis_points: BasisPoints | None = None
    """Optimistic only: objections above this share of the electorate's weight reject."""
    max_open_per_proposer: Annotated[int, within(1, 1000)] | None = None
    """Open proposals of this type per proposer; absent: 10."""


def _requires(type_name: str, *fields: str) -> Rule:
    present = " && ".join(f"has(self.{type_name}.{field})" for field in fields)
    return Rule(
        f"!has(self.{type_name}) || ({present})",
        f"{type_name} requires {' and '.join(fields)}",
    )


def _one_quorum(type_name: str) -> Rule:
    rules = f"self.{type_name}"
    return Rule(
        f"!has({rules}) || has({rules}.quorumBasisPoints) != has({rules}.adaptiveQuorum)",
        f"{type_name} requires exactly one of quorumBasisPoints and adaptiveQuorum",
    )


def _needs_standard(type_name: str) -> Rule:
    return Rule(f"!has(self.{type_name}) || has(self.Standard)", f"{type_name} requires Standard: it falls back on it")


class Voting(Model):
    """The proposal types that the domain allows, each with its rules; an absent type is not allowed."""

    rules: ClassVar[tuple[Rule, ...]] = (
        *(_one_quorum(name) for name in ("Standard", "Expedited", "Constitutional")),
        *(
            _requires(name, "thresholdBasisPoints", "votingPeriodSeconds")
            for name in ("Standard", "Expedited", "Constitutional")
        ),
        _requires("Emergency", "votingPeriodSeconds", "ratificationSeconds"),
        _requires("Optimistic", "votingPeriodSeconds", "objectionBasisPoints"),
        _needs_standard("Emergency"),
        _needs_standard("Expedited"),
    )

    standard: VotingRules | None = Field(default=None, alias="Standard")
    """Rules of Standard proposals."""
    expedited: VotingRules | None = Field(default=None, alias="Expedited")
    """Rules of Expedited proposals, which fall back to Standard."""
    constitutional: VotingRules | None = Field(default=None, alias="Constitutional")
    """Rules of Constitutional proposals."""
    emergency: VotingRules | None = Field(default=None, alias="Emergency")
    """Rules of Emergency proposals: period for the admins' endorsements, then ratification by the Standard rules."""
    optimistic: VotingRules | None = Field(default=None, alias="Optimistic")
    """Rules of Optimistic proposals, adopted unless there are objections."""
