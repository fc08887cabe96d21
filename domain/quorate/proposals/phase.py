"""When and how one voting phase is decided (governance.md, "Tally": early, adaptive, late quorum, deadline).

Only seconds at which something changes are looked at; between them an adaptive quorum is solved for its second.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from quorate.api.conditions import Reason
from quorate.proposals.count import Count
from quorate.proposals.delegation import DelegationRecord
from quorate.proposals.tally import (
    Adaptive,
    Rules,
    Sums,
    failure,
    may_still_pass,
    passes,
    quorum_from,
    surely_passes,
    veto_holds,
)
from quorate.proposals.votes import Ballot, Question, in_force_from

ADOPTED, REJECTED, EXPIRED = "Adopted", "Rejected", "Expired"
_EXPIRING = frozenset({Reason.ZERO_WEIGHT, Reason.QUORUM_NOT_REACHED})


@dataclass(frozen=True)
class Decision:
    """What is decided as of second `at` (T)."""

    at: int
    outcome: str
    reason: Reason


@dataclass(frozen=True)
class Poll:
    """One electorate's question with its rules, and what was recorded about it."""

    question: Question
    rules: Rules
    ballots: Sequence[Ballot]
    delegations: Sequence[DelegationRecord]

    def count(self, end: int, *, spared: bool = False) -> Count:
        """A count for a phase that ends at `end`."""
        return Count(self.question, self.ballots, self.delegations, end=end, spared=spared)


@dataclass(frozen=True)
class Phase:
    """A phase run to its decision on what is recorded.

    `end` is the deadline; where a late quorum grew it, `extended_at` is the second of that quorum, else None. `trail`
    is there while nothing was decided before the deadline: it takes in what is recorded next. `count` is the one that
    the decision was taken by; both belong to the last phase that was run on them.
    """

    poll: Poll
    original_end: int
    end: int
    extended_at: int | None
    decision: Decision
    count: Count
    trail: "Trail | None" = None

    def deadline(self, second: int) -> int:
        """The deadline as it was known at a second."""
        extended = self.extended_at is not None and self.extended_at <= second
        return self.end if extended else self.original_end

    def since(self, poll: Poll) -> Sequence[Ballot] | None:
        """The votes that `poll` has more than this phase's, all recorded after them; None: it is another poll."""
        mine, theirs = self.poll.ballots, poll.ballots
        if poll.question is not self.poll.question or list(poll.delegations) != list(self.poll.delegations):
            return None
        return theirs[len(mine) :] if list(theirs[: len(mine)]) == list(mine) else None


class Segment(NamedTuple):
    """Seconds `first` to `last` in which nothing is recorded; `spared` are the sums with removed keys counted."""

    first: int
    last: int
    sums: Sums
    spared: Sums

    @property
    def both(self) -> Iterable[Sums]:
        """Both counts: an adoption needs the two."""
        return (self.sums,) if self.spared == self.sums else (self.sums, self.spared)


class Trail:
    """The segments of [start, end], in order; what is recorded later changes the last one and what follows it.

    `spared` is the second count, where the revision in force changes. Without `watched` only the last segment is
    looked at.
    """

    def __init__(self, poll: Poll, *, start: int, end: int, watched: bool) -> None:
        history = poll.question.history
        self._end, self._watched = end, watched
        self.count = poll.count(end)
        revised = history.at(poll.question.opened) is not history.at(end)
        self._spared = poll.count(end, spared=True) if revised else None
        changes = self.count.seconds().union(in_force_from(history))
        if self._spared is not None:
            changes |= self._spared.seconds()
        self._firsts = [start, *sorted(second for second in changes if start < second <= end)]
        self.held_from: int | None = None
        """What the watch knew before the last segment."""
        self.quorum_seen = False
        """Likewise."""

    def add(self, ballots: Sequence[Ballot]) -> bool:
        """Take in more votes, the last segment is looked at again; False if one belongs before it."""
        last = self._firsts[-1]
        if any(ballot.recorded < last for ballot in ballots):
            return False
        for count in (self.count, self._spared):
            if count is not None:
                count.add(ballots)
        seconds = {ballot.recorded for ballot in ballots}
        self._firsts = [last, *sorted(second for second in seconds if last < second <= self._end)]
        return True

    def segments(self) -> Iterator[Segment]:
        """Those that were not looked at, and the last one."""
        firsts = self._firsts if self._watched else self._firsts[-1:]
        for first, following in zip(firsts, [*firsts[1:], self._end + 1], strict=True):
            sums = self.count.advance(first)
            yield Segment(first, following - 1, sums, sums if self._spared is None else self._spared.advance(first))


class _Watch:
    """Looks for a decision before the deadline, segment by segment."""

    def __init__(self, rules: Rules, opened: int, not_before: int) -> None:
        self._rules, self._opened, self._not_before = rules, opened, not_before
        self.held_from: int | None = None
        self._open: Sums | None = None
        """Sums that decide nothing early, whenever they hold: most votes leave the sums as they were."""

    def decide(self, segment: Segment, end: int) -> Decision | None:
        confirmed = None if self._rules.adaptive is None else self._confirmed(segment, self._rules.adaptive)
        early = self._early(segment, end) if self._rules.early and segment.sums is not self._open else None
        if confirmed is None or early is None:
            return confirmed or early
        return min(confirmed, early, key=lambda item: item.at)

    def _early(self, segment: Segment, end: int) -> Decision | None:
        start = max(segment.first, self._not_before)
        if start > segment.last or start >= end:
            return None
        if not may_still_pass(self._rules, segment.sums):
            return Decision(start, REJECTED, Reason.EARLY)
        if not surely_passes(self._rules, segment.sums):
            self._open = segment.sums
            return None
        if segment.spared is not segment.sums and not surely_passes(self._rules, segment.spared):
            return None
        at = self._quorum(segment, start)
        return None if at is None or at > segment.last or at >= end else Decision(at, ADOPTED, Reason.EARLY)

    def _quorum(self, segment: Segment, start: int) -> int | None:
        """The first second ≥ start at which both counts have quorum."""
        found = [quorum_from(self._rules, sums, start - self._opened) for sums in segment.both]
        reached = [item for item in found if item is not None]
        return self._opened + max(reached) if len(reached) == len(found) else None

    def _confirmed(self, segment: Segment, adaptive: Adaptive) -> Decision | None:
        """Adaptive: the smallest second with quorum, pass and no veto during the whole confirmation before it."""
        good = all(passes(self._rules, sums) and not veto_holds(self._rules, sums) for sums in segment.both)
        at = self._quorum(segment, segment.first) if good else None
        if at is None or at > segment.last:
            self.held_from = None
            return None
        if self.held_from is None or at > segment.first:
            self.held_from = at
        at = max(self.held_from + adaptive.confirm, segment.first, self._not_before)
        return Decision(at, ADOPTED, Reason.CONFIRMED) if at <= segment.last else None


def run_phase(poll: Poll, *, end: int, not_before: int | None = None, earlier: Phase | None = None) -> Phase:
    """The decision of a phase on all that is recorded.

    Args:
        poll: Electorate, rules and records.
        end: The original deadline.
        not_before: No decision is earlier; absent: the opening.
        earlier: The same phase run when less was recorded; it is not to be used any more.
    """
    rules, opened = poll.rules, poll.question.opened
    more = None if earlier is None else earlier.since(poll)
    if earlier is not None and more is not None and not more:
        return earlier
    late = rules.late is not None and rules.objection is None
    trail = None if earlier is None or more is None else earlier.trail
    if trail is None or not trail.add(more or ()):
        trail = Trail(poll, start=opened, end=end, watched=late or rules.early or rules.adaptive is not None)
        trail.quorum_seen = not late
    watch = _Watch(rules, opened, opened if not_before is None else not_before)
    watch.held_from, quorum_seen = trail.held_from, trail.quorum_seen
    last: Segment | None = None
    for segment in trail.segments():
        trail.held_from, trail.quorum_seen = watch.held_from, quorum_seen
        if not quorum_seen and rules.late is not None:
            first = quorum_from(rules, segment.sums, segment.first - opened)
            quorum_seen = first is not None and opened + first <= segment.last
            if quorum_seen and first is not None and opened + first >= end - rules.late.window:
                return _extended(poll, watch, segment, trail.count, at=opened + first, end=end)
        decision = watch.decide(segment, end)
        if decision is not None:
            return Phase(poll, end, end, None, decision, trail.count)
        last = segment
    assert last is not None
    return Phase(poll, end, end, None, at_deadline(rules, last, opened, end), trail.count, trail)


def _extended(poll: Poll, watch: _Watch, segment: Segment, count: Count, *, at: int, end: int) -> Phase:
    """The rest of a phase whose quorum came late, at second `at`: until then the old deadline stands."""
    assert poll.rules.late is not None
    if at > segment.first:
        decision = watch.decide(segment._replace(last=at - 1), end)
        if decision is not None:
            return Phase(poll, end, end, None, decision, count)
    longer = end + poll.rules.late.extension
    last, trail = segment, Trail(poll, start=at, end=longer, watched=True)
    for last in trail.segments():
        decision = watch.decide(last, longer)
        if decision is not None:
            return Phase(poll, end, longer, at, decision, trail.count)
    return Phase(poll, end, longer, at, at_deadline(poll.rules, last, poll.question.opened, longer), trail.count)


def at_deadline(rules: Rules, segment: Segment, opened: int, end: int) -> Decision:
    """The decision at the end, by the order of reasons."""
    reason = failure(rules, segment.sums, end - opened)
    if reason is not None:
        return Decision(end, EXPIRED if reason in _EXPIRING else REJECTED, reason)
    if failure(rules, segment.spared, end - opened) is not None:
        return Decision(end, REJECTED, Reason.REVOKED_DURING_VOTE)
    if rules.adaptive is not None:
        return Decision(end, EXPIRED, Reason.NOT_CONFIRMED)
    return Decision(end, ADOPTED, Reason.PASSED if rules.objection is None else Reason.NO_OBJECTION)
