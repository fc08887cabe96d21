"""The decision of a proposal of any type: a pure function of what is recorded and the time (governance.md, "Decision").

`decide` looks only at records ≤ now, and decides as of T when now ≥ T + 2: nothing recorded later changes T.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import NamedTuple

from quorate.api.conditions import Reason
from quorate.proposals.acts import admin_key, endorsed, threshold_reached, withdrawn_at
from quorate.proposals.case import Case, reached
from quorate.proposals.count import Count
from quorate.proposals.lifecycle import SETTLE_SECONDS
from quorate.proposals.phase import ADOPTED, EXPIRED, Decision, Phase, Poll, run_phase
from quorate.proposals.tally import Rules, Sums, Test, tests
from quorate.proposals.votes import Ballot, Question
from quorate.trust.domain import DomainHistory, DomainRevision

__all__ = ["Case", "JudgedVote", "Progress", "TallyState", "decide", "endorsed_at", "still_endorsed"]


class JudgedVote(NamedTuple):
    """A vote with the weight of its member (0 outside the electorate) and why it counts or not."""

    ballot: Ballot
    weight: int
    reason: Reason

    @property
    def counted(self) -> bool:
        """Whether it is part of its member's choice."""
        return self.reason == Reason.COUNTED


@dataclass(frozen=True)
class TallyState:
    """Every number of one electorate at second `at`, under the rules of the phase that it was then in.

    `phase` names the rules: a proposal type, or Ratification; `since` is the second from which they hold, `opened` that
    of the vote. `extended_at` is the second of a late quorum. `outstanding` are members without a counted choice (of
    an endorsement: admins who have not endorsed). `decision` is that electorate's own, None while it votes.
    """

    domain: str
    phase: str
    at: int
    revision: DomainRevision
    rules: Rules
    sums: Sums
    tests: tuple[Test, ...]
    quorum_made_by: str | None
    opened: int
    since: int
    deadline: int
    extended_at: int | None
    outstanding: tuple[str, ...]
    decision: Decision | None
    judge: Callable[[], tuple[JudgedVote, ...]] = field(repr=False, compare=False)

    @cached_property
    def votes(self) -> tuple[JudgedVote, ...]:
        """Every vote in order of recording; made when it is asked for, as one more vote changes few of them."""
        return self.judge()


@dataclass(frozen=True)
class Progress:
    """Where the vote stands at `now`.

    `decision` is None until it may be taken; its outcome is Adopted, Rejected, Expired, Withdrawn, Stopped, Superseded,
    EmergencyExecuted, Ratified or Reversed. `deadline` is the current one, `next_check` the second at which, with
    nothing more recorded, the next decision falls due (None: nothing is left to decide).
    """

    decision: Decision | None
    deadline: int
    next_check: int | None
    tallies: Mapping[str, TallyState]
    domain: str

    @property
    def tally(self) -> TallyState:
        """The tally of trustDomain."""
        return self.tallies[self.domain]


@dataclass(frozen=True)
class _Course:
    """The phases of one domain, in order; `starts` gives the second from which each is the current one."""

    names: tuple[str, ...]
    phases: tuple[Phase, ...]
    starts: tuple[int, ...]

    @property
    def decision(self) -> Decision:
        return self.phases[-1].decision

    def current(self, second: int) -> tuple[str, Phase, int]:
        index = max(place for place, start in enumerate(self.starts) if place == 0 or start <= second)
        return self.names[index], self.phases[index], self.starts[index]


def decide(case: Case, now: int) -> Progress:
    """Where the proposal stands at `now`; any later evaluation of the same records gives the same decision."""
    known = case.until(now)
    courses = {name: _course(known, name) for name in known.domains}
    verdict = _closing(known, courses, _verdict(known, courses), now)
    decided = verdict if verdict.at + SETTLE_SECONDS <= now else None
    second = now if decided is None or decided.outcome == Reason.EMERGENCY_EXECUTED else decided.at
    tallies = {name: tally_at(case, name, course, second, now) for name, course in courses.items()}
    deadline = max(state.deadline for state in tallies.values())
    follow_up = _follow_up(known, courses, decided)
    next_check = follow_up if decided is not None else verdict.at + SETTLE_SECONDS
    return Progress(decided, deadline, next_check, tallies, case.domain)


def _follow_up(case: Case, courses: Mapping[str, _Course], decided: Decision | None) -> int | None:
    """When a decided emergency's ratification is decided; None where nothing follows."""
    if decided is None or decided.outcome != Reason.EMERGENCY_EXECUTED:
        return None
    return courses[case.domain].phases[-1].end + SETTLE_SECONDS


def _poll(case: Case, name: str, rules: Rules, opened: int, earlier: Phase | None = None) -> Poll:
    question = Question(
        digest=case.digest,
        revision=int(case.statement.fields["revision"]),
        type=case.type,
        domain=name,
        history=case.histories[name],
        opened=opened,
        allow_veto=rules.allow_veto,
        border=case.border(name),
    )
    if earlier is not None and earlier.poll.question == question:
        question = earlier.poll.question  # it knows which votes it admits
    return Poll(question, rules, _ballots(case, name, case.ballots), case.delegations)


def _run(
    case: Case, name: str, label: str, rules: Rules, *, opened: int, end: int, not_before: int | None = None
) -> Phase:
    """One phase; where it was run before, from there on."""
    key = (name, label, opened, end, opened if not_before is None else not_before)
    earlier = case.kept.phases.get(key)
    poll = _poll(case, name, rules, opened, earlier)
    phase = case.kept.phases[key] = run_phase(poll, end=end, not_before=not_before, earlier=earlier)
    return phase


def _ballots(case: Case, name: str, ballots: Sequence[Ballot]) -> Sequence[Ballot]:
    """Those that are judged in a domain."""
    return ballots if len(case.domains) == 1 else [item for item in ballots if _asks(case, item) == name]


def _asks(case: Case, ballot: Ballot) -> str:
    """The domain in which a vote is judged: its own, or trustDomain if that does not vote on the proposal."""
    domain = str(ballot.statement.fields.get("domain"))
    return domain if domain in case.domains else case.domain


def rules_of(revision: DomainRevision | None, kind: str) -> Rules:
    """The rules of a type in a revision; ValueError where it has none."""
    written = None if revision is None else revision.rules(kind)
    if written is None:
        raise ValueError(f"the domain has no rules for type {kind}")
    return Rules.of(kind, written)


def _course(case: Case, name: str) -> _Course:
    if case.type == "Emergency":
        return _emergency(case)
    opened, pinned = case.opened, case.histories[name].at(case.opened)
    rules = rules_of(pinned, case.type)
    first = _run(case, name, case.type, rules, opened=opened, end=opened + rules.period)
    if case.type != "Expedited" or first.decision.outcome == ADOPTED:
        return _Course((case.type,), (first,), (opened,))
    fallen = first.decision.at
    standard = rules_of(pinned, "Standard")
    end = max(opened + standard.period, first.end)
    second = _run(case, name, "Standard", standard, opened=opened, end=end, not_before=fallen)
    return _Course((case.type, "Standard"), (first, second), (opened, fallen))


def _emergency(case: Case) -> _Course:
    """Endorsement by the admins, and after the executing entry the ratification by the Standard rules."""
    history, opened = case.history, case.opened
    rules = rules_of(history.at(opened), "Emergency")
    end = opened + rules.period
    at = endorsed_at(case)
    decision = Decision(end, EXPIRED, Reason.NOT_ENDORSED) if at is None else Decision(at, ADOPTED, Reason.PASSED)
    poll = _poll(case, case.domain, rules, opened)
    endorsing = Phase(poll, end, end, None, decision, poll.count(end))
    if at is None or case.executed is None:
        return _Course(("Emergency",), (endorsing,), (opened,))
    seconds, standard = ratification_rules(history, opened, case.executed)
    rules, end = standard.for_ratification(seconds), case.executed + seconds
    phase = _run(case, case.domain, "Ratification", rules, opened=case.executed, end=end)
    return _Course(("Emergency", "Ratification"), (endorsing, phase), (opened, case.executed))


def endorsed_at(case: Case) -> int | None:
    """T of the endorsement that completes adminThreshold, None where the period knows none."""
    end = case.opened + rules_of(case.history.at(case.opened), "Emergency").period
    return threshold_reached(case.history, case.digest, "Endorse", case.acts, opened=case.opened, until=end)


def ratification_rules(history: DomainHistory, opened: int, executed: int) -> tuple[int, Rules]:
    """The ratification's seconds and the Standard rules of the revision in force at the executing entry.

    Where that revision dropped either type, the opening revision's stand: an emergency always has its ratification.
    """
    now, before = history.at(executed), history.at(opened)
    source = now if now is not None and now.rules("Emergency") and now.rules("Standard") else before
    emergency = None if source is None else source.rules("Emergency")
    if emergency is None:
        raise ValueError("the domain has no rules for type Emergency")
    return int(emergency["ratificationSeconds"]), rules_of(source, "Standard")


def still_endorsed(case: Case, second: int) -> bool:
    """Whether the endorsing keys in force at `second`, that of an executing entry, still reach adminThreshold."""
    return endorsed(case.history, _endorsements(case), second, keep=False)


def _endorsements(case: Case) -> list[tuple[int, bytes]]:
    rules = rules_of(case.history.at(case.opened), "Emergency")
    acts = [item for item in case.acts if item.act == "Endorse" and item.about(case.digest)]
    acts = [item for item in acts if item.recorded <= case.opened + rules.period]
    return [(item.recorded, key) for item in acts if (key := admin_key(case.history, item))]


def _verdict(case: Case, courses: Mapping[str, _Course]) -> Decision:
    """The votes' verdict: the last adoption, or the first domain that does not adopt (ties by name)."""
    course = courses[case.domain]
    if case.type == "Emergency" and len(course.phases) > 1 and case.executed is not None:
        decision = course.decision
        outcome = Reason.RATIFIED if decision.outcome == ADOPTED else Reason.REVERSED
        return Decision(decision.at, outcome, decision.reason)
    decisions = [courses[name].decision for name in case.domains]
    against = [item for item in decisions if item.outcome != ADOPTED]
    if against:
        return min(against, key=lambda item: item.at)
    return max(decisions, key=lambda item: item.at)


def _closing(case: Case, courses: Mapping[str, _Course], verdict: Decision, now: int) -> Decision:
    """The verdict, or what ended the vote before it: amendment, withdrawal, stop; an executed emergency as such."""
    decided = courses[case.domain].phases[0].decision if case.type == "Emergency" else verdict
    votes_end = max(course.phases[0 if case.type == "Emergency" else -1].end for course in courses.values())
    closes = min(votes_end, decided.at)
    found: list[Decision] = []
    if case.superseded is not None and case.superseded <= closes:
        found.append(Decision(case.superseded, Reason.SUPERSEDED, Reason.SUPERSEDED))
    withdrawn = withdrawn_at(case.history, case.digest, str(case.statement.fields["proposer"]), case.acts)
    if withdrawn is not None and withdrawn <= closes:
        found.append(Decision(max(withdrawn, case.opened), Reason.WITHDRAWN, Reason.WITHDRAWN))
    stopped = threshold_reached(case.history, case.digest, "Stop", case.acts, opened=case.opened, until=now)
    if stopped is not None and _may_stop(case, decided, stopped):
        found.append(Decision(stopped, Reason.STOPPED, Reason.STOPPED))
    if found:
        return min(found, key=lambda item: item.at)
    if verdict.outcome in (Reason.RATIFIED, Reason.REVERSED) and verdict.at + SETTLE_SECONDS > now:
        return Decision(decided.at, Reason.EMERGENCY_EXECUTED, decided.reason)
    return verdict


def _may_stop(case: Case, decided: Decision, stopped: int) -> bool:
    if case.executed is not None:
        return stopped < case.executed
    return stopped <= decided.at or decided.outcome == ADOPTED


def tally_at(case: Case, name: str, course: _Course, second: int, now: int) -> TallyState:
    """Every number of one domain at a second: its own decision, where it fell before, is the second that counts."""
    own = course.decision if course.decision.at <= second and course.decision.at + SETTLE_SECONDS <= now else None
    at = second if own is None else own.at
    label, phase, since = course.current(at)
    rules, question = phase.poll.rules, phase.poll.question
    deadline = phase.deadline(at)
    poll = replace(phase.poll, ballots=_ballots(case, name, case.ordered))
    moment = max(min(at, deadline), question.opened)
    count = phase.count
    if count.end != deadline or (count.second is not None and count.second > moment):
        count = poll.count(deadline)
    sums = count.advance(moment)
    elapsed = moment - question.opened
    found = _endorsement_tests(case, moment) if label == "Emergency" else tests(rules, sums, elapsed)
    plain = label == "Emergency" or rules.objection is not None
    return TallyState(
        domain=name,
        phase=label,
        at=moment,
        revision=question.pinned,
        rules=rules,
        sums=sums,
        tests=found,
        quorum_made_by=None if plain else count.quorum_made_by(rules, elapsed),
        opened=question.opened,
        since=since,
        deadline=deadline,
        extended_at=reached(phase.extended_at, at),
        outstanding=_unendorsed(case, moment) if label == "Emergency" else count.outstanding,
        decision=own,
        judge=partial(_judged, poll, count, count.version, moment, deadline),
    )


def _judged(poll: Poll, count: Count, version: int, second: int, deadline: int) -> tuple[JudgedVote, ...]:
    """Why each vote counts or not; a count that has gone on since is made anew."""
    if count.version != version:
        count = poll.count(deadline)
        count.advance(second)
    weights = {node_id: member.weight for node_id, member in poll.question.members.items()}
    return tuple([JudgedVote(item, weights.get(item.holder, 0), count.reason(item, second)) for item in poll.ballots])


def _endorsement_tests(case: Case, second: int) -> tuple[Test, ...]:
    revision = case.history.at(second)
    now = set() if revision is None else set(revision.admins.values())
    keys = {key for recorded, key in _endorsements(case) if recorded <= second and key in now}
    needed = 0 if revision is None else revision.admin_threshold
    return (Test("endorsements", len(keys), needed, len(keys) >= needed),)


def _unendorsed(case: Case, second: int) -> tuple[str, ...]:
    revision = case.history.at(second)
    endorsing = {key for recorded, key in _endorsements(case) if recorded <= second}
    admins = {} if revision is None else revision.admins
    return tuple(sorted(name for name, key in admins.items() if key not in endorsing))
