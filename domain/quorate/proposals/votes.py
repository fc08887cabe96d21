"""Votes: why one does not count, and which of a key's votes stands (governance.md, "Which votes count").

All times are whole Unix seconds.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter
from typing import Any, NamedTuple, Self

from quorate.api.conditions import Reason
from quorate.api.vote import Choice
from quorate.canonical import parse_time
from quorate.identity.statements import vote_statement
from quorate.lazy import lazy
from quorate.trust.boundary import Border, Crossing, Verdict
from quorate.trust.domain import DomainHistory, DomainRevision, Member, MemberKey
from quorate.trust.record import AHEAD_SECONDS, Record, stand

CHOICES = frozenset({Choice.APPROVE, Choice.REJECT, Choice.ABSTAIN, Choice.VETO, Choice.RETRACT})
_VETO, _RETRACT = Choice.VETO.value, Choice.RETRACT.value  # an enum is looked up and compared slowly
_moment = attrgetter("moment")


@dataclass(frozen=True, eq=False)
class Ballot(Record):
    """A vote."""

    @classmethod
    def of(cls, mesh_id: str, spec: Mapping[str, Any], recorded: int | None) -> Self:
        """From a Vote's spec; without a recorded second, castAt takes its place and the vote is `claimed`."""
        statement = vote_statement(mesh_id, spec)
        second = parse_time(spec["castAt"]) if recorded is None else recorded
        return cls(statement, spec["signature"], second, recorded is None)

    @lazy
    def holder(self) -> str:
        """The voter's nodeId."""
        return str(self.statement.fields["voter"])

    @lazy
    def made_at(self) -> int:
        """When it was signed, by its own account: castAt."""
        return parse_time(self.statement.fields["castAt"])

    @lazy
    def choice(self) -> str:
        """What is chosen."""
        return str(self.statement.fields["choice"])


@dataclass(frozen=True)
class Question:
    """What one electorate is asked: a proposal's digest and revision in one domain, in one phase.

    `opened` pins the electorate; for a ratification it is the second of the executing entry. `allow_veto` holds roles
    and nodeIds, None: all. `choices` are those that a vote may make. `border` is there where the votes count in another
    domain, trustDomain: what that asks of this one (docs/trust.md, "Boundaries").
    """

    digest: str
    revision: int
    type: str
    domain: str
    history: DomainHistory
    opened: int
    allow_veto: frozenset[str] | None = None
    choices: frozenset[str] = CHOICES
    border: Border | None = None
    _admitted: dict[Ballot, bool] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def pinned(self) -> DomainRevision:
        """The opening revision: it gives membership, weight and voteThreshold."""
        revision = self.history.at(self.opened)
        if revision is None:
            raise ValueError(f"no revision of {self.domain} is in force at {self.opened}")
        return revision

    @cached_property
    def members(self) -> Mapping[str, Member]:
        """The electorate by nodeId."""
        return {member.node_id: member for member in self.pinned.electorate.members}

    def may_veto(self, member: Member) -> bool:
        """Whether the member's role or nodeId is in allowVeto."""
        return self.allow_veto is None or bool({member.role, member.node_id} & self.allow_veto)

    def admits(self, ballot: Ballot) -> bool:
        """Whether a vote passes every check that no end and no T has a part in; looked at once per vote."""
        known = self._admitted.get(ballot)
        if known is None:
            known = self._admitted[ballot] = judge_vote(self, ballot, closes=ballot.recorded, at=None) is None
        return known

    def stopped(self, record: Record, holder: str, second: int) -> Reason | None:
        """Why a vote or a delegation does not cross into trustDomain at a second; None: it does, or need not."""
        verdict = self.crossing(record, holder, second)
        return None if verdict is None or verdict.passes else verdict.reason

    def crossing(self, record: Record, holder: str, second: int) -> Verdict | None:
        """What the boundary of trustDomain says of a vote or a delegation; None where nothing is crossed."""
        if self.border is None:
            return None
        key = vote_key(self.history.signing(record.recorded), holder, record.key_name)
        signer = None if key is None else key.public_key
        return self.border.judge(Crossing(holder, signer, record.digest, record.recorded), second)

    def good_in(self, revision: DomainRevision | None, record: Record, holder: str) -> bool:
        """Whether the key that was in force at the recorded second is in `revision`, unexpired at that second."""
        first = self.history.signing(record.recorded)
        key = vote_key(revision, holder, record.key_name)
        then = key if first is revision else vote_key(first, holder, record.key_name)
        if then is None or key is None:
            return False
        return key.public_key == then.public_key and key.valid_at(record.recorded)

    def good_since(self, record: Record, holder: str, second: int) -> bool:
        """Whether its key was good in some revision in force between the opening (or the record) and `second`.

        Then only a removal after the opening can have voided it (governance.md, "Keys").
        """
        start = max(record.recorded, self.opened)
        revisions = [self.history.at(start)]
        revisions += [self.history.at(item) for item in in_force_from(self.history) if start < item <= second]
        return any(self.good_in(revision, record, holder) for revision in revisions)


def in_force_from(history: DomainHistory) -> list[int]:
    """The seconds from which the revisions are in force, in order."""
    return [history.recorded(number) for number in range(1, len(history.accepted) + 1)]


def vote_key(revision: DomainRevision | None, holder: str, name: str) -> MemberKey | None:
    """The Vote key of a member in a revision, None where there is none."""
    member = None if revision is None else revision.members.get(holder)
    return None if member is None else member.key("Vote", name)


def judge_key(question: Question, record: Record, holder: str, at: int | None) -> Reason | None:
    """Reasons UnknownKey to KeyExpired (at T), in their order; `at` None leaves out what depends on T."""
    revision = question.history.signing(record.recorded)
    key = vote_key(revision, holder, record.key_name)
    if key is None:
        return Reason.UNKNOWN_KEY
    if not key.valid_at(record.recorded):
        return Reason.KEY_EXPIRED
    if not record.signed_by(key.public_key):
        return Reason.BAD_SIGNATURE
    latest = revision if at is None else question.history.at(at)
    if latest is revision:
        return None
    now = vote_key(latest, holder, record.key_name)
    if now is None or now.public_key != key.public_key:
        return Reason.KEY_REVOKED
    return None if now.valid_at(record.recorded) else Reason.KEY_EXPIRED


def judge_vote(question: Question, ballot: Ballot, *, closes: int, at: int | None) -> Reason | None:
    """Why a vote is refused by itself, in the order of governance.md ("Reasons of a vote"); None: it is not.

    Args:
        question: What is asked.
        ballot: The vote.
        closes: The last recorded second that counts: the end, or T where the decision came before.
        at: T, None to leave out KeyRevoked, KeyExpired (at T) and what a boundary stops.
    """
    fields, recorded = ballot.statement.fields, ballot.recorded
    asked = (fields.get("proposalDigest"), fields.get("revision"), fields.get("domain"))
    if asked != (question.digest, question.revision, question.domain):
        return Reason.OTHER_PROPOSAL
    choice = ballot.choice
    if choice not in question.choices:
        return Reason.UNKNOWN_CHOICE
    holder = ballot.holder
    member = question.members.get(holder)
    if member is None:
        return Reason.NOT_IN_ELECTORATE
    if recorded > closes:
        return Reason.TOO_LATE
    if ballot.made_at > recorded + AHEAD_SECONDS:
        return Reason.FROM_THE_FUTURE
    if choice == _VETO and not question.may_veto(member):
        return Reason.VETO_NOT_ALLOWED
    refused = judge_key(question, ballot, holder, at)
    return refused if refused is not None or at is None else question.stopped(ballot, holder, at)


class MemberChoice(NamedTuple):
    """What a member's keys say together.

    `choice` is None where no choice counts; `completing` is the voteThreshold-th vote for it; `standing` says that some
    key has a standing vote, which switches a delegation off; `disagree` that two choices reach voteThreshold.
    """

    choice: str | None
    completing: Ballot | None
    standing: bool
    disagree: bool = False


NO_CHOICE = MemberChoice(None, None, standing=False)


def choose(standing: Iterable[Ballot], threshold: int) -> MemberChoice:
    """The choice of a member from the standing vote of each of its keys."""
    by_choice: dict[str, list[Ballot]] = {}
    for ballot in standing:
        choice = ballot.choice
        if choice in by_choice:
            by_choice[choice].append(ballot)
        elif choice != _RETRACT:
            by_choice[choice] = [ballot]
    reached = [choice for choice, votes in by_choice.items() if len(votes) >= threshold]
    if len(reached) != 1:
        return MemberChoice(None, None, bool(by_choice), bool(reached))
    votes = sorted(by_choice[reached[0]], key=_moment)
    return MemberChoice(reached[0], votes[threshold - 1], standing=True)


@dataclass(frozen=True)
class MemberVote:
    """A member's choice, and why each of its votes is part of it or not."""

    choice: str | None
    completing: Ballot | None
    standing: bool
    reasons: Mapping[Ballot, Reason]


def member_vote(ballots: Sequence[Ballot], threshold: int) -> MemberVote:
    """The choice of a member from its votes that pass every other check; every vote gets its reason."""
    stood = stand(ballots)
    found = choose(stood.records, threshold)
    reasons = dict(stood.reasons)
    for ballot in stood.records:
        if ballot.choice == _RETRACT:
            reasons[ballot] = Reason.RETRACTED
        elif found.choice is None:
            reasons[ballot] = Reason.KEYS_DISAGREE if found.disagree else Reason.THRESHOLD_NOT_REACHED
        else:
            reasons[ballot] = Reason.COUNTED if ballot.choice == found.choice else Reason.OUTVOTED
    return MemberVote(found.choice, found.completing, found.standing, reasons)
