"""Arbitration: the levels of a conflict run to their decisions (docs/conflicts.md, "The vote").

A pure function of what is recorded and the time: only what was recorded ≤ T counts, whenever it is computed.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from quorate.api.conditions import Reason
from quorate.api.policy_conflict import ConflictOutcome, Level, Severity
from quorate.api.vote import Choice
from quorate.canonical import format_time
from quorate.conflicts.arbitrators import Lineage, Seat, by_domain, needed, seats
from quorate.conflicts.document import Conflict
from quorate.proposals.count import Arrivals, KeyVotes
from quorate.proposals.lifecycle import SETTLE_SECONDS
from quorate.proposals.votes import Ballot, Question, choose, in_force_from, judge_key, judge_vote, member_vote
from quorate.trust.domain import DomainHistory, DomainRevision, Member

LEVEL_SECONDS = 259_200
"""How long a level lasts where the domain has no Standard rules."""
SIDES = (Choice.PARTY_A, Choice.PARTY_B, Choice.COMPROMISE)
_ALWAYS = -(2**63)
CHOICES = frozenset({*SIDES, Choice.RETRACT})


@dataclass(frozen=True)
class Arbitration:
    """What is recorded about one opened conflict.

    Attributes:
        conflict: The parties.
        opened: The second of the opening entry: it pins arbitrators and rules of every level.
        severity: As the opening found it.
        excluded: nodeIds that may not arbitrate: the parties.
        histories: Accepted revisions of the domain and of those above it.
        ballots: Votes on its digest, of any level.
        since: The first second at which a vote on the level that is looked at may be recorded.
    """

    conflict: Conflict
    opened: int
    severity: Severity
    excluded: frozenset[str]
    histories: Mapping[str, DomainHistory]
    ballots: Sequence[Ballot] = ()
    since: int = _ALWAYS

    @cached_property
    def lineage(self) -> Lineage:
        """The domain and those above it."""
        return Lineage.of(self.conflict.domain, self.histories, self.opened)

    @cached_property
    def period(self) -> int:
        """Seconds of a level."""
        return level_seconds(self.lineage.revisions[0])


def level_seconds(revision: DomainRevision) -> int:
    """`votingPeriodSeconds` of the Standard rules, or the constant."""
    return int((revision.rules("Standard") or {}).get("votingPeriodSeconds", LEVEL_SECONDS))


@dataclass(frozen=True)
class SeatQuestion(Question):
    """A conflict put to those who sit for one domain at one level."""

    sitting: frozenset[str] = frozenset()

    @cached_property
    def members(self) -> Mapping[str, Member]:
        """The arbitrators, whatever they may do in other votes."""
        return {node_id: self.pinned.members[node_id] for node_id in sorted(self.sitting)}


Questions = Mapping[str, SeatQuestion]
"""What is asked at one level, by the domain for which people sit."""


@dataclass(frozen=True)
class Counts:
    """Arbitrators by counted choice."""

    party_a: int
    party_b: int
    compromise: int
    outstanding: int

    @property
    def document(self) -> dict[str, int]:
        """As in status and entries."""
        fields = (self.party_a, self.party_b, self.compromise, self.outstanding)
        return dict(zip(("partyA", "partyB", "compromise", "outstanding"), fields, strict=True))

    @property
    def ranked(self) -> list[tuple[int, str]]:
        """(votes, choice), most first."""
        pairs = zip((self.party_a, self.party_b, self.compromise), SIDES, strict=True)
        return sorted(((votes, str(side)) for votes, side in pairs), key=lambda pair: -pair[0])


@dataclass(frozen=True)
class JudgedBallot:
    """A vote of a level and why it counts or not."""

    ballot: Ballot
    reason: Reason


@dataclass(frozen=True)
class Step:
    """What a level came to as of `at` (T); `outcome` None: it escalates."""

    at: int
    outcome: ConflictOutcome | None
    reason: Reason


@dataclass(frozen=True)
class LevelState:
    """One level: who sits, from when until when, the count as of `at`, and its decision once there is one."""

    level: Level
    seats: tuple[Seat, ...]
    starts: int
    ends: int
    at: int
    counts: Counts
    choices: Mapping[str, str]
    votes: tuple[JudgedBallot, ...]
    step: Step | None

    @property
    def document(self) -> dict[str, Any]:
        """The numbers, as entries and the offline tally give them."""
        return {
            "level": str(self.level),
            "starts": format_time(self.starts),
            "ends": format_time(self.ends),
            "arbitrators": [
                {"nodeId": seat.node_id, "domain": seat.domain}
                | ({"choice": self.choices[seat.node_id]} if seat.node_id in self.choices else {})
                for seat in self.seats
            ],
            "votes": self.counts.document,
        }


@dataclass(frozen=True)
class Progress:
    """Where an arbitration stands at `now`: the levels up to the current one.

    `step` is the resolution, None while there is none; `next_check` the second at which, with nothing more recorded,
    the next decision may be recorded.
    """

    levels: tuple[LevelState, ...]
    step: Step | None
    next_check: int | None

    @property
    def current(self) -> LevelState:
        """The last level that was reached."""
        return self.levels[-1]

    @property
    def escalations(self) -> tuple[LevelState, ...]:
        """The levels that were left undecided."""
        return tuple(item for item in self.levels if item.step is not None and item.step.outcome is None)


def arbitrate(case: Arbitration, now: int) -> Progress:
    """Run the levels, each to its decision, as far as they may be recorded at `now`."""
    known = replace(case, ballots=tuple(item for item in case.ballots if item.recorded <= now))
    levels: list[LevelState] = []
    start, since = case.opened, _ALWAYS
    for level in case.lineage.levels:
        state, step = _run(replace(known, since=since), level, start, now)
        levels.append(state)
        if state.step is None:
            return Progress(tuple(levels), None, step.at + SETTLE_SECONDS)
        if step.outcome is not None:
            return Progress(tuple(levels), step, None)
        start = step.at
        # Nobody can know of a level before the one below is decided; where nobody sat, nothing was waited for.
        since = since if len(state.seats) < needed(level) else step.at + SETTLE_SECONDS
    raise AssertionError("the top level always decides")


def _run(case: Arbitration, level: Level, start: int, now: int) -> tuple[LevelState, Step]:
    chosen = seats(level, case.conflict.digest, case.severity, case.lineage, excluded=case.excluded, second=case.opened)
    sitting = chosen or ()
    questions = _questions(case, level, sitting)
    step = _verdict(case, questions, sitting, level, start) if chosen is not None else _unknown(start)
    # A level at which nobody can decide needs no vote waited for.
    settled = len(sitting) < needed(level) or step.at + SETTLE_SECONDS <= now
    at = step.at if settled else max(now, start)
    return _state(case, questions, level, sitting, start, at, step if settled else None), step


def _unknown(start: int) -> Step:
    """The domain above is unknown here: nobody can be asked, so nothing of either party takes effect."""
    return Step(start, ConflictOutcome.BLOCKED, Reason.UNRESOLVED)


def _verdict(case: Arbitration, questions: Questions, chosen: Sequence[Seat], level: Level, start: int) -> Step:
    """The level's decision if nothing more is recorded; its second may lie ahead."""
    if len(chosen) < needed(level):
        return _escalates(level, start, Reason.TOO_FEW_ARBITRATORS)
    end = start + case.period
    bench = _Bench(case, questions, len(chosen))
    for second in bench.seconds(start, end):
        counts = bench.at(second)
        (most, side), (runner_up, _) = counts.ranked[:2]
        if second < end and most > runner_up + counts.outstanding:
            return Step(second, ConflictOutcome(side), Reason.EARLY)
        if second == end and most > runner_up:
            return Step(second, ConflictOutcome(side), Reason.PLURALITY)
        if second == end or not counts.outstanding:
            return _escalates(level, second, Reason.TIE)
    raise AssertionError("the end is the last second that is looked at")


def _escalates(level: Level, second: int, reason: Reason) -> Step:
    if level is Level.HUBS:
        return Step(second, ConflictOutcome.BLOCKED, Reason.UNRESOLVED)
    return Step(second, None, reason)


def _questions(case: Arbitration, level: Level, chosen: Sequence[Seat]) -> Questions:
    return {
        name: SeatQuestion(
            digest=case.conflict.digest,
            revision=level.revision,
            type="Arbitration",
            domain=name,
            history=case.histories[name],
            opened=case.opened,
            choices=CHOICES,
            sitting=sitting,
        )
        for name, sitting in by_domain(chosen).items()
    }


class _Bench:
    """The counts of a level as the seconds pass: a vote changes its arbitrator's choice and nothing else.

    Only votes that an arbitrator signed are looked at again: anybody may write others.
    """

    def __init__(self, case: Arbitration, questions: Questions, seated: int) -> None:
        self._questions, self._seated = questions, seated
        self._arrivals = Arrivals([item for item in case.ballots if _admits(case, questions, item)])
        self._revisions: list[DomainRevision | None] = []
        self._cast: dict[str, dict[str, KeyVotes]] = {}
        self._choices: dict[str, str | None] = {}

    def seconds(self, start: int, end: int) -> list[int]:
        """Seconds at which the count may change, and the end."""
        changes = {item.recorded for item in self._arrivals.records}
        changes.update(second for item in self._questions.values() for second in in_force_from(item.history))
        return sorted({start, end, *(second for second in changes if start < second < end)})

    def at(self, second: int) -> Counts:
        """The counts at a second, which never decreases."""
        revisions = [item.history.at(second) for item in self._questions.values()]
        if revisions != self._revisions:
            self._revisions, self._cast, self._choices = revisions, {}, {}
            self._arrivals.rewind()
        touched: dict[str, SeatQuestion] = {}
        for ballot in self._arrivals.until(second):
            question = self._questions[str(ballot.statement.fields["domain"])]
            if judge_key(question, ballot, ballot.holder, second) is None:
                touched[ballot.holder] = question
                keys = self._cast.setdefault(ballot.holder, {})
                if ballot.key_name in keys:
                    keys[ballot.key_name].add(ballot)
                else:
                    keys[ballot.key_name] = KeyVotes(ballot)
        for node_id, question in touched.items():
            standing = [key.standing for key in self._cast[node_id].values() if key.standing is not None]
            self._choices[node_id] = choose(standing, question.members[node_id].vote_threshold).choice
        return _counts(Counter(choice for choice in self._choices.values() if choice is not None), self._seated)


def _admits(case: Arbitration, questions: Questions, ballot: Ballot) -> bool:
    """Whether a vote passes every check that T has no part in."""
    question = questions.get(str(ballot.statement.fields.get("domain")))
    return question is not None and ballot.recorded >= case.since and question.admits(ballot)


def _counts(votes: Counter[str], seated: int) -> Counts:
    party_a, party_b, compromise = (votes[str(side)] for side in SIDES)
    return Counts(party_a, party_b, compromise, seated - votes.total())


def _state(
    case: Arbitration,
    questions: Questions,
    level: Level,
    chosen: tuple[Seat, ...],
    start: int,
    at: int,
    step: Step | None,
) -> LevelState:
    """Choices, and the reason of each vote, at a second."""
    end = start if len(chosen) < needed(level) else start + case.period
    closes = min(at, end)
    good: dict[str, list[Ballot]] = {}
    reasons: dict[Ballot, Reason] = {}
    ballots = [item for item in case.ballots if item.statement.fields.get("revision") == level.revision]
    for ballot in ballots:
        reason = _refused(case, questions, ballot, closes)
        if reason is None:
            good.setdefault(ballot.holder, []).append(ballot)
        else:
            reasons[ballot] = reason
    choices: dict[str, str] = {}
    for seat in chosen:
        threshold = questions[seat.domain].members[seat.node_id].vote_threshold
        vote = member_vote(good.get(seat.node_id, ()), threshold)
        reasons |= vote.reasons
        if vote.choice is not None:
            choices[seat.node_id] = vote.choice
    votes = tuple(
        JudgedBallot(ballot, reasons[ballot])
        for ballot in sorted(ballots, key=lambda item: (*item.moment, item.signature))
    )
    counts = _counts(Counter(choices.values()), len(chosen))
    return LevelState(level, chosen, start, end, at, counts, choices, votes, step)


def _refused(case: Arbitration, questions: Questions, ballot: Ballot, closes: int) -> Reason | None:
    """Why a vote says nothing by itself: judged in its own domain, if anybody sits for that; None: it does."""
    question = questions.get(str(ballot.statement.fields.get("domain")))
    if question is None:
        return Reason.NOT_IN_ELECTORATE
    if ballot.recorded < case.since:
        return Reason.OTHER_PROPOSAL
    return judge_vote(question, ballot, closes=closes, at=closes)
