"""The arithmetic of a tally: integers, exact at each boundary (governance.md, "Tally").

Weights are plain integers, ratios basis points. Nothing here knows a vote: `Sums` come from `count`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from quorate.api.conditions import Reason

FULL = 10_000


@dataclass(frozen=True)
class Adaptive:
    """A quorum that falls from `start` to `floor` over `period` seconds, held for `confirm` seconds."""

    start: int
    floor: int
    confirm: int
    period: int


@dataclass(frozen=True)
class LateRule:
    """The deadline grows by `extension` when the quorum is first reached in the last `window` seconds."""

    window: int
    extension: int


@dataclass(frozen=True)
class Rules:
    """The rules of one proposal type, from a TrustDomain's `voting` block (`written`)."""

    written: Mapping[str, Any]
    period: int
    quorum: int = 0
    approve_only: bool = False
    minimum_voters: int | None = None
    threshold: int = 0
    veto: int | None = None
    allow_veto: frozenset[str] | None = None
    early: bool = False
    adaptive: Adaptive | None = None
    late: LateRule | None = None
    objection: int | None = None

    @classmethod
    def of(cls, kind: str, written: Mapping[str, Any]) -> "Rules":
        """The rules as written for a type; only an Optimistic one has an objection share."""
        period = int(written["votingPeriodSeconds"])
        adaptive, late, allow = written.get("adaptiveQuorum"), written.get("lateQuorum"), written.get("allowVeto")
        if kind == "Optimistic":
            allowed = None if allow is None else frozenset(allow)
            return cls(written, period, allow_veto=allowed, objection=int(written["objectionBasisPoints"]))
        return cls(
            written=written,
            period=period,
            quorum=int(written.get("quorumBasisPoints") or 0),
            approve_only=written.get("quorumBasis") == "Approve",
            minimum_voters=written.get("minimumVoters"),
            threshold=int(written.get("thresholdBasisPoints") or 0),
            veto=written.get("vetoBasisPoints"),
            allow_veto=None if allow is None else frozenset(allow),
            early=bool(written.get("earlyDecision")),
            adaptive=None
            if adaptive is None
            else Adaptive(
                adaptive["startBasisPoints"], adaptive["floorBasisPoints"], adaptive["confirmSeconds"], period
            ),
            late=None if late is None else LateRule(late["windowSeconds"], late["extensionSeconds"]),
        )

    def for_ratification(self, seconds: int) -> "Rules":
        """Quorum, threshold, veto and minimumVoters only; an adaptive quorum is its floor."""
        quorum = self.quorum if self.adaptive is None else self.adaptive.floor
        return replace(self, period=seconds, quorum=quorum, early=False, adaptive=None, late=None)

    def quorum_share(self, elapsed: int) -> tuple[int, int]:
        """The needed share as (numerator, scale) `elapsed` seconds after the opening: numerator / (10000 · scale)."""
        if self.adaptive is None:
            return self.quorum, 1
        curve = self.adaptive
        return curve.start * curve.period - (curve.start - curve.floor) * min(elapsed, curve.period), curve.period


class Sums(NamedTuple):
    """Weights by choice, members with weight and a counted choice, and what is outstanding.

    A tuple, because it is made for every second at which a vote arrives.
    """

    approve: int = 0
    reject: int = 0
    abstain: int = 0
    veto: int = 0
    voters: int = 0
    total: int = 0
    outstanding_voters: int = 0
    outstanding_veto: int = 0

    @property
    def cast(self) -> int:
        """All four choices."""
        return self.approve + self.reject + self.abstain + self.veto

    @property
    def outstanding(self) -> int:
        """The weight of members without a counted choice."""
        return self.total - self.cast

    @property
    def decisive(self) -> int:
        """What the threshold is measured against."""
        return self.approve + self.reject + self.veto

    def all_approve(self) -> "Sums":
        """With all outstanding weight as approve: the completion that is best for adoption in every test."""
        approve, voters = self.approve + self.outstanding, self.voters + self.outstanding_voters
        return Sums(approve, self.reject, self.abstain, self.veto, voters, self.total)


@dataclass(frozen=True)
class Test:
    """One comparison. quorum and minimumVoters hold when left ≥ right, the others when left > right."""

    __test__ = False

    name: str
    left: int
    right: int
    holds: bool


def quorum_test(rules: Rules, sums: Sums, elapsed: int) -> Test:
    """`basis·10000 ≥ q·total`, or with an adaptive quorum both sides times its period."""
    numerator, scale = rules.quorum_share(elapsed)
    basis = sums.approve if rules.approve_only else sums.cast
    left, right = basis * FULL * scale, numerator * sums.total
    return Test("quorum", left, right, left >= right)


def enough_voters(rules: Rules, sums: Sums) -> bool:
    """minimumVoters; absent: none are needed."""
    return sums.voters >= (rules.minimum_voters or 0)


def veto_holds(rules: Rules, sums: Sums) -> bool:
    """`veto·10000 > v·cast`; without v a veto is a reject."""
    return rules.veto is not None and sums.veto * FULL > rules.veto * sums.cast


def passes(rules: Rules, sums: Sums) -> bool:
    """`approve·10000 > t·(approve + reject + veto)`."""
    return sums.approve * FULL > rules.threshold * sums.decisive


def objected(rules: Rules, sums: Sums) -> bool:
    """Optimistic: `(reject + veto)·10000 > o·total`."""
    return (sums.reject + sums.veto) * FULL > (rules.objection or 0) * sums.total


def tests(rules: Rules, sums: Sums, elapsed: int) -> tuple[Test, ...]:
    """Every comparison that the rules ask for, with both sides."""
    if rules.objection is not None:
        left, right = (sums.reject + sums.veto) * FULL, rules.objection * sums.total
        return (Test("objection", left, right, left > right),)
    found = [quorum_test(rules, sums, elapsed)]
    if rules.minimum_voters is not None:
        found.append(Test("minimumVoters", sums.voters, rules.minimum_voters, enough_voters(rules, sums)))
    if rules.veto is not None:
        found.append(Test("veto", sums.veto * FULL, rules.veto * sums.cast, veto_holds(rules, sums)))
    found.append(Test("threshold", sums.approve * FULL, rules.threshold * sums.decisive, passes(rules, sums)))
    return tuple(found)


def failure(rules: Rules, sums: Sums, elapsed: int) -> Reason | None:
    """The first reason, in the order of governance.md, why these sums do not adopt; None: they do."""
    if sums.total == 0:
        return Reason.ZERO_WEIGHT
    if rules.objection is not None:
        return Reason.OBJECTION if objected(rules, sums) else None
    if not (quorum_test(rules, sums, elapsed).holds and enough_voters(rules, sums)):
        return Reason.QUORUM_NOT_REACHED
    if veto_holds(rules, sums):
        return Reason.VETOED
    if sums.decisive == 0:
        return Reason.NO_DECISIVE_VOTE
    return None if passes(rules, sums) else Reason.THRESHOLD_NOT_REACHED


def surely_passes(rules: Rules, sums: Sums) -> bool:
    """Whether pass and no veto hold however the outstanding members choose ("Early"); quorum is judged apart.

    Pass with all outstanding weight as reject; veto with the outstanding weight that may veto as veto, no one else
    casting. Looked at whenever a vote arrives: no Sums are made for it.
    """
    if not enough_voters(rules, sums) or sums.approve * FULL <= rules.threshold * (sums.decisive + sums.outstanding):
        return False
    veto = sums.veto + sums.outstanding_veto
    return rules.veto is None or veto * FULL <= rules.veto * (sums.cast + sums.outstanding_veto)


def may_still_pass(rules: Rules, sums: Sums) -> bool:
    """Whether some completion adopts; an adaptive quorum is taken at its floor, its lowest."""
    elapsed = rules.adaptive.period if rules.adaptive else 0
    return failure(rules, sums.all_approve(), elapsed) is None


def quorum_from(rules: Rules, sums: Sums, elapsed: int) -> int | None:
    """The first elapsed second ≥ `elapsed` at which these sums have quorum and enough voters; None: never."""
    if not enough_voters(rules, sums):
        return None
    if quorum_test(rules, sums, elapsed).holds:
        return elapsed
    curve = rules.adaptive
    if curve is None or not quorum_test(rules, sums, curve.period).holds:
        return None
    # total·(start·P − drop·e) ≤ basis·10000·P, so e ≥ (total·start·P − basis·10000·P) / (total·drop).
    basis = sums.approve if rules.approve_only else sums.cast
    excess = (curve.start * sums.total - basis * FULL) * curve.period
    return max(elapsed, -(-excess // ((curve.start - curve.floor) * sums.total)))
