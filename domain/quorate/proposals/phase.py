"""When and how one voting phase is decided (governance.md, "Tally": early, adaptive, late quorum, deadline).

Only seconds at which something changes are looked at; between them an adaptive quorum is solved for its second.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from quorate.api.conditions import Reason
from quorate.proposals.count import Count
from quorate.proposals.delegation import DelegationRecord
from quorate.proposals.tally import (
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

    `end` is the deadline; where a late quorum grew it, `extended_at` is the second of that quorum, else None.
    """

    poll: Poll
    original_end: int
    end: int
    extended_at: int | None
    decision: Decision

    def deadline(self, second: int) -> int:
        """The deadline as it was known at a second."""
        extended = self.extended_at is not None and self.extended_at <= second
        return self.end if extended else self.original_end


@dataclass(frozen=True)
class Segment:
    """Seconds `first` to `last` in which nothing is recorded; `spared` are the sums with removed keys counted."""

    first: int
    last: int
    sums: Sums
    spared: Sums

    @property
    def both(self) -> Iterable[Sums]:
        """Both counts: an adoption needs the two."""
        return (self.sums,) if self.spared == self.sums else (self.sums, self.spared)


def segments(poll: Poll, *, start: int, end: int) -> Iterator[Segment]:
    """The segments of [start, end], in order."""
    history = poll.question.history
    count = poll.count(end)
    revised = history.at(poll.question.opened) is not history.at(end)
    spared = poll.count(end, spared=True) if revised else None
    changes = count.seconds().union(in_force_from(history))
    if spared is not None:
        changes |= spared.seconds()
    firsts = [start, *sorted(second for second in changes if start < second <= end)]
    for first, following in zip(firsts, [*firsts[1:], end + 1], strict=True):
        sums = count.advance(first)
        yield Segment(first, following - 1, sums, sums if spared is None else spared.advance(first))


class _Watch:
    """Looks for a decision before the deadline, segment by segment."""

    def __init__(self, rules: Rules, opened: int, not_before: int) -> None:
        self._rules, self._opened, self._not_before = rules, opened, not_before
        self._held_from: int | None = None

    def decide(self, segment: Segment, end: int) -> Decision | None:
        found = [item for item in (self._confirmed(segment), self._early(segment, end)) if item is not None]
        return min(found, key=lambda item: item.at, default=None)

    def _early(self, segment: Segment, end: int) -> Decision | None:
        start = max(segment.first, self._not_before)
        if not self._rules.early or start > segment.last or start >= end:
            return None
        if not may_still_pass(self._rules, segment.sums):
            return Decision(start, REJECTED, Reason.EARLY)
        if not all(surely_passes(self._rules, sums) for sums in segment.both):
            return None
        at = self._quorum(segment, start)
        return None if at is None or at > segment.last or at >= end else Decision(at, ADOPTED, Reason.EARLY)

    def _quorum(self, segment: Segment, start: int) -> int | None:
        """The first second ≥ start at which both counts have quorum."""
        found = [quorum_from(self._rules, sums, start - self._opened) for sums in segment.both]
        reached = [item for item in found if item is not None]
        return self._opened + max(reached) if len(reached) == len(found) else None

    def _confirmed(self, segment: Segment) -> Decision | None:
        """Adaptive: the smallest second with quorum, pass and no veto during the whole confirmation before it."""
        adaptive = self._rules.adaptive
        if adaptive is None:
            return None
        good = all(passes(self._rules, sums) and not veto_holds(self._rules, sums) for sums in segment.both)
        at = self._quorum(segment, segment.first) if good else None
        if at is None or at > segment.last:
            self._held_from = None
            return None
        if self._held_from is None or at > segment.first:
            self._held_from = at
        at = max(self._held_from + adaptive.confirm, segment.first, self._not_before)
        return Decision(at, ADOPTED, Reason.CONFIRMED) if at <= segment.last else None


def run_phase(poll: Poll, *, end: int, not_before: int | None = None) -> Phase:
    """The decision of a phase on all that is recorded.

    Args:
        poll: Electorate, rules and records.
        end: The original deadline.
        not_before: No decision is earlier; absent: the opening.
    """
    rules, opened = poll.rules, poll.question.opened
    watch = _Watch(rules, opened, opened if not_before is None else not_before)
    quorum_seen = rules.late is None or rules.objection is not None
    last: Segment | None = None
    for segment in segments(poll, start=opened, end=end):
        if not quorum_seen and rules.late is not None:
            first = quorum_from(rules, segment.sums, segment.first - opened)
            quorum_seen = first is not None and opened + first <= segment.last
            if quorum_seen and first is not None and opened + first >= end - rules.late.window:
                return _extended(poll, watch, segment, at=opened + first, end=end)
        decision = watch.decide(segment, end)
        if decision is not None:
            return Phase(poll, end, end, None, decision)
        last = segment
    assert last is not None
    return Phase(poll, end, end, None, at_deadline(rules, last, opened, end))


def _extended(poll: Poll, watch: _Watch, segment: Segment, *, at: int, end: int) -> Phase:
    """The rest of a phase whose quorum came late, at second `at`: until then the old deadline stands."""
    assert poll.rules.late is not None
    if at > segment.first:
        decision = watch.decide(replace(segment, last=at - 1), end)
        if decision is not None:
            return Phase(poll, end, end, None, decision)
    longer = end + poll.rules.late.extension
    last = segment
    for last in segments(poll, start=at, end=longer):
        decision = watch.decide(last, longer)
        if decision is not None:
            return Phase(poll, end, longer, at, decision)
    return Phase(poll, end, longer, at, at_deadline(poll.rules, last, poll.question.opened, longer))


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
