"""The count of one electorate as records arrive: sums at a second, and why each vote counts or not.

Incremental, because every second at which something was recorded has to be looked at: a record changes its member and
those who delegate to it, nothing else. A new revision in force starts the count over, as does a change of what may
cross a boundary.
"""

from collections.abc import Iterable, Mapping, Sequence
from heapq import heappop, heappush
from operator import attrgetter
from typing import Generic, NamedTuple, TypeVar

from quorate.api.conditions import Reason
from quorate.api.vote import Choice
from quorate.proposals.delegation import Delegated, DelegationRecord, delegate_of, judge_delegation
from quorate.proposals.tally import FULL, Rules, Sums
from quorate.proposals.votes import NO_CHOICE, Ballot, MemberChoice, Question, choose, judge_vote, member_vote
from quorate.trust.domain import DomainRevision

R = TypeVar("R", Ballot, DelegationRecord)
_moment = attrgetter("moment")
_VETO, _APPROVE, _REJECT, _ABSTAIN = Choice.VETO, Choice.APPROVE, Choice.REJECT, Choice.ABSTAIN


class Contribution(NamedTuple):
    """A member's counted choice; `moment` is that of the record that completed it, `digest` names that record."""

    node_id: str
    choice: str
    moment: tuple[int, str]

    @property
    def digest(self) -> str:
        """The completing vote, or the delegation where that came after the delegate's vote."""
        return self.moment[1]


class Arrivals(Generic[R]):
    """Records in order of recording, handed out by holder as the seconds pass."""

    def __init__(self, records: Iterable[R]) -> None:
        self.records: list[R] = sorted(records, key=_moment)
        self._next = 0

    def add(self, records: Iterable[R]) -> None:
        """More of them, none recorded before the last second that was asked for."""
        self.records += sorted(records, key=_moment)

    def rewind(self) -> None:
        """Start over."""
        self._next = 0

    def until(self, second: int) -> Sequence[R]:
        """The records not handed out yet that were recorded ≤ `second`."""
        records, first = self.records, self._next
        following, known = first, len(records)
        while following < known and records[following].recorded <= second:  # mostly one: sooner found than by halving
            following += 1
        self._next = following
        return records[first:following]


class KeyVotes:
    """The votes of one key in order of recording, and the one that stands; a vote costs its logarithm, in any order."""

    __slots__ = ("_by_sequence", "_sequences", "ballots", "standing")

    def __init__(self, ballot: Ballot) -> None:
        self.ballots, self.standing, self._by_sequence = [ballot], ballot, None

    ballots: list[Ballot]
    standing: Ballot | None
    _by_sequence: dict[int, Ballot | None] | None
    """None as a value: two contents, void. None as a whole: there is one vote, as nearly every key has."""
    _sequences: list[int]
    """Heap of those that may stand, negated."""

    def add(self, ballot: Ballot) -> None:
        """One more, recorded no earlier than the others."""
        if self._by_sequence is None:
            (first,) = self.ballots
            self._by_sequence, self._sequences = {first.sequence: first}, [-first.sequence]
        self.ballots.append(ballot)
        known, sequence = self._by_sequence, ballot.sequence
        if sequence not in known:
            known[sequence] = ballot
            heappush(self._sequences, -sequence)
        elif (other := known[sequence]) is not None and other.digest != ballot.digest:
            known[sequence] = None
        while self._sequences and known[-self._sequences[0]] is None:
            heappop(self._sequences)
        self.standing = known[-self._sequences[0]] if self._sequences else None


class Count:
    """The state at a second s: records ≤ s under the revision then in force.

    `spared` counts what was refused solely because its key was removed, or its notAfter moved, after the opening.
    """

    def __init__(
        self,
        question: Question,
        ballots: Iterable[Ballot],
        delegations: Iterable[DelegationRecord],
        *,
        end: int,
        spared: bool = False,
    ) -> None:
        self._question, self._spared = question, spared
        self.end = end
        self._ballots = Arrivals([item for item in ballots if item.recorded <= end and question.admits(item)])
        self._delegations = Arrivals(
            [item for item in delegations if judge_delegation(question, item, closes=end, at=None) is None]
        )
        self._revision: DomainRevision | None = None
        self._epoch: int | None = None
        self.second: int | None = None
        """To which it was advanced last."""
        self.version = 0
        """Another one after every change."""
        members = question.members.values()
        self._total = sum(member.weight for member in members)
        self._weighty = sum(member.weight > 0 for member in members)
        self._may_veto = frozenset(member.node_id for member in members if question.may_veto(member))
        self._vetoers = sum(question.members[node_id].weight for node_id in self._may_veto)
        self._clear()

    def _clear(self) -> None:
        self._ballots.rewind()
        self._delegations.rewind()
        self._cast: dict[str, dict[str, KeyVotes]] = {}
        self._named: dict[str, list[DelegationRecord]] = {}
        self._choices: dict[str, MemberChoice] = {}
        self._reasons: dict[str, Mapping[Ballot, Reason]] = {}
        self._delegates: dict[str, Delegated] = {}
        self._delegators: dict[str, set[str]] = {}
        self._counted: dict[str, Contribution] = {}
        self._weights: dict[str, int] = dict.fromkeys((_APPROVE, _REJECT, _ABSTAIN, _VETO), 0)
        self._voters = self._veto_counted = 0
        self._sums: Sums | None = None

    def add(self, ballots: Iterable[Ballot]) -> None:
        """More votes, none recorded before the second to which the count was advanced last."""
        self.version += 1
        self._ballots.add(item for item in ballots if item.recorded <= self.end and self._question.admits(item))

    def seconds(self) -> set[int]:
        """The seconds at which a record of this count was recorded."""
        found = {item.recorded for item in (*self._ballots.records, *self._delegations.records)}
        return found if self._question.border is None else found.union(self._question.border.seconds())

    def advance(self, second: int) -> Sums:
        """The sums at `second`, which never decreases."""
        if self.second != second:
            self.second, self.version = second, self.version + 1
        revision = self._question.history.at(second)
        epoch = None if self._question.border is None else self._question.border.epoch(second)
        if revision is not self._revision or epoch != self._epoch:
            self._revision, self._epoch = revision, epoch
            self._clear()
        touched = {ballot.holder for ballot in self._ballots.until(second) if self._take(ballot, second)}
        delegators: set[str] = set()
        for record in self._delegations.until(second):
            if self._good(record, record.holder, second):
                self._named.setdefault(record.holder, []).append(record)
                delegators.add(record.holder)
        for node_id in touched:
            self._choose(node_id)
        for node_id in delegators:
            self._delegate(node_id)
        if self._delegators or delegators:
            touched.update(delegators, *[self._delegators.get(node_id, ()) for node_id in touched])
        for node_id in touched:
            self._settle(node_id)
        return self.sums

    def _take(self, ballot: Ballot, second: int) -> bool:
        """Put a vote to those of its key; False where it is not good."""
        holder = ballot.holder
        if not self._good(ballot, holder, second):
            return False
        keys = self._cast.get(holder)
        if keys is None:
            keys = self._cast[holder] = {}
        key = keys.get(ballot.key_name)
        if key is None:
            keys[ballot.key_name] = KeyVotes(ballot)
        else:
            key.add(ballot)
        return True

    def _choose(self, node_id: str) -> None:
        standing = [key.standing for key in self._cast[node_id].values() if key.standing is not None]
        self._choices[node_id] = choose(standing, self._question.members[node_id].vote_threshold)
        self._reasons.pop(node_id, None)

    def _good(self, record: Ballot | DelegationRecord, holder: str, second: int) -> bool:
        if self._question.border is not None and self._question.stopped(record, holder, second) is not None:
            return False
        if self._question.history.signing(record.recorded) is self._revision:
            return True  # what was admitted under the revision in force is good in it
        if self._question.good_in(self._revision, record, holder):
            return True
        return self._spared and self._question.good_since(record, holder, second)

    def _delegate(self, node_id: str) -> None:
        before = self._delegates.pop(node_id, None)
        if before is not None:
            self._delegators[before.to].discard(node_id)
        threshold = self._question.members[node_id].vote_threshold
        after = delegate_of(self._question, self._named[node_id], threshold, self.end)
        if after is not None:
            self._delegates[node_id] = after
            self._delegators.setdefault(after.to, set()).add(node_id)

    def _contribution(self, node_id: str) -> Contribution | None:
        own = self._choices.get(node_id, NO_CHOICE)
        if own.completing is not None and own.choice is not None:
            return Contribution(node_id, own.choice, own.completing.moment)
        delegated = self._delegates.get(node_id)
        if own.standing or delegated is None:
            return None
        theirs = self._choices.get(delegated.to, NO_CHOICE)
        if theirs.completing is None or theirs.choice is None:
            return None
        if theirs.choice == _VETO and node_id not in self._may_veto:
            return None
        return Contribution(node_id, theirs.choice, max(theirs.completing.moment, delegated.completing.moment))

    def _settle(self, node_id: str) -> None:
        before, after = self._counted.get(node_id), self._contribution(node_id)
        if before == after:
            return
        if before is not None:
            self._add(self._counted.pop(node_id), -1)
        if after is not None:
            self._counted[node_id] = after
            self._add(after, 1)

    def _add(self, item: Contribution, sign: int) -> None:
        member = self._question.members[item.node_id]
        self._sums = None
        self._weights[item.choice] += sign * member.weight
        self._voters += sign * (member.weight > 0)
        if item.node_id in self._may_veto:
            self._veto_counted += sign * member.weight

    @property
    def sums(self) -> Sums:
        """The sums as they stand; the same object until one of them changes."""
        if self._sums is None:
            self._sums = Sums(
                approve=self._weights[_APPROVE],
                reject=self._weights[_REJECT],
                abstain=self._weights[_ABSTAIN],
                veto=self._weights[_VETO],
                voters=self._voters,
                total=self._total,
                outstanding_voters=self._weighty - self._voters,
                outstanding_veto=self._vetoers - self._veto_counted,
            )
        return self._sums

    @property
    def outstanding(self) -> tuple[str, ...]:
        """NodeIds of the electorate without a counted choice, in order."""
        return tuple(sorted(self._question.members.keys() - self._counted.keys()))

    def quorum_made_by(self, rules: Rules, elapsed: int) -> str | None:
        """The digest of the record that made quorum and minimumVoters, in order of recording; None without them."""
        numerator, scale = rules.quorum_share(elapsed)
        needed, minimum = numerator * self._total, rules.minimum_voters or 0
        members, basis, voters = self._question.members, 0, 0
        for moment, _, item in sorted((item.moment, item.node_id, item) for item in self._counted.values()):
            weight = members[item.node_id].weight
            basis += weight if item.choice == _APPROVE or not rules.approve_only else 0
            voters += weight > 0
            if basis * FULL * scale >= needed and voters >= minimum:
                return moment[1]
        return None

    def reason(self, ballot: Ballot, second: int) -> Reason:
        """Why a vote counts or not at `second`, to which the count was advanced last."""
        holder = ballot.holder
        reasons = self._reasons.get(holder)
        if reasons is None:
            cast = [item for key in self._cast.get(holder, {}).values() for item in key.ballots]
            member = self._question.members.get(holder)
            reasons = {} if member is None else member_vote(cast, member.vote_threshold).reasons
            self._reasons[holder] = reasons
        known = reasons.get(ballot)
        if known is not None:
            return known
        refused = judge_vote(self._question, ballot, closes=second, at=second)
        assert refused is not None
        return refused
