"""What a decision is made from: everything that is recorded about one opened proposal revision."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from operator import attrgetter

from quorate.identity.statements import Statement
from quorate.proposals.acts import ActRecord
from quorate.proposals.delegation import DelegationRecord
from quorate.proposals.phase import Phase
from quorate.proposals.votes import Ballot, in_force_from
from quorate.trust.boundary import Border, has_boundary
from quorate.trust.domain import DomainHistory
from quorate.trust.record import AttestationRecord


@dataclass
class Kept:
    """What a look at a proposal leaves for the next one, which has the same votes and more; it changes no outcome."""

    phases: dict[tuple[str, str, int, int, int], Phase] = field(default_factory=dict)
    given: tuple[Ballot, ...] = ()
    ordered: tuple[Ballot, ...] = ()

    def order(self, ballots: Sequence[Ballot]) -> tuple[Ballot, ...]:
        """The votes in order of recording; later ones are put behind those that are in order already."""
        given, known = tuple(ballots), len(self.given)
        more = sorted(given[known:], key=_place)
        if given[:known] != self.given or (more and self.ordered and more[0].place < self.ordered[-1].place):
            self.ordered = tuple(sorted(given, key=_place))
        else:
            self.ordered += tuple(more)
        self.given = given
        return self.ordered


_place = attrgetter("place")


@dataclass(frozen=True)
class Case:
    """What is recorded about one opened proposal revision. Seconds are Unix time.

    Attributes:
        statement: The proposal's statement.
        opened: The second of the opening entry.
        histories: Accepted revisions by domain name: trustDomain, and each of `domains`.
        ballots: Votes, whatever they are about; each gets a reason.
        delegations: Delegations of the domains.
        attestations: Those made under trustDomain that its boundaries ask about, where other domains vote too.
        kept: How far it was looked at; a case made later of the same proposal, with more votes, may take it over.
        borders: What is known of them already, by domain; a case made later of the same proposal may share it.
        acts: Endorsements, stops and withdrawals.
        executed: The second of the executing entry, if there is one.
        superseded: The second of the entry of a valid amendment, if there is one.
    """

    statement: Statement
    opened: int
    histories: Mapping[str, DomainHistory]
    ballots: Sequence[Ballot] = ()
    delegations: Sequence[DelegationRecord] = ()
    acts: Sequence[ActRecord] = ()
    executed: int | None = None
    superseded: int | None = None
    attestations: Sequence[AttestationRecord] = ()
    borders: dict[str, Border] = field(default_factory=dict, repr=False, compare=False)
    kept: Kept = field(default_factory=Kept, repr=False, compare=False)

    @property
    def digest(self) -> str:
        """The proposal's digest."""
        return self.statement.digest

    @property
    def type(self) -> str:
        """The proposal's type; a fallback changes the rules, never the type."""
        return str(self.statement.fields["type"])

    @property
    def domain(self) -> str:
        """TrustDomain: acts are signed for it."""
        return str(self.statement.fields["domain"])

    @cached_property
    def domains(self) -> tuple[str, ...]:
        """The domains that vote, in order of name."""
        return tuple(sorted({self.domain, *(self.statement.fields.get("domains") or ())}))

    @property
    def history(self) -> DomainHistory:
        """The revisions of trustDomain."""
        return self.histories[self.domain]

    def border(self, name: str) -> Border | None:
        """What trustDomain asks of the votes of another domain; None for its own, or while it has no boundary."""
        if name == self.domain or not has_boundary(self.history):
            return None
        border = self.borders.get(name)
        if border is None or not border.covers(self.history, self.attestations):
            border = self.borders[name] = Border(self.history, name, self.attestations, border)
        return border

    @cached_property
    def ordered(self) -> tuple[Ballot, ...]:
        """The votes in order of recording."""
        return self.kept.order(self.ballots)

    def until(self, second: int) -> "Case":
        """Only what was recorded ≤ `second`, the votes in order."""
        known = bisect_right(self.ordered, second, key=lambda item: item.recorded)
        return replace(
            self,
            ballots=self.ordered[:known],
            delegations=tuple(item for item in self.delegations if item.recorded <= second),
            acts=tuple(item for item in self.acts if item.recorded <= second),
            attestations=tuple(item for item in self.attestations if item.recorded <= second),
            histories={name: _until(history, second) for name, history in self.histories.items()},
            executed=reached(self.executed, second),
            superseded=reached(self.superseded, second),
        )


def reached(moment: int | None, second: int) -> int | None:
    """The moment, where it is not after `second`."""
    return moment if moment is not None and moment <= second else None


def _until(history: DomainHistory, second: int) -> DomainHistory:
    known = [item for item, start in zip(history.accepted, in_force_from(history), strict=True) if start <= second]
    return DomainHistory(known) if known and len(known) < len(history.accepted) else history
