"""Votes: why one does not count, and which of a key's votes stands (governance.md, "Which votes count").

All times are whole Unix seconds. A record keeps the verdicts on its signature: counting again verifies nothing twice.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, Self, TypeVar

from quorate.api.conditions import Reason
from quorate.api.vote import Choice
from quorate.canonical import parse_time
from quorate.identity.ed25519 import KeyRefusedError, parse_public_key
from quorate.identity.statements import Statement, vote_statement
from quorate.trust.domain import DomainHistory, DomainRevision, Member, MemberKey

AHEAD_SECONDS = 300
CHOICES = frozenset({Choice.APPROVE, Choice.REJECT, Choice.ABSTAIN, Choice.VETO, Choice.RETRACT})


@dataclass(frozen=True, eq=False)
class Record:
    """A signed statement as recorded: `claimed` marks a time that only its signer asserts."""

    statement: Statement
    signature: str
    recorded: int
    claimed: bool = False
    _verdicts: dict[str, bool] = field(default_factory=dict, repr=False)

    def signed_by(self, public_key: str) -> bool:
        """Whether the key (43 characters of base64) signed the statement; verified once per key."""
        if public_key not in self._verdicts:
            try:
                self._verdicts[public_key] = self.statement.verify(parse_public_key(public_key), self.signature)
            except KeyRefusedError:
                self._verdicts[public_key] = False
        return self._verdicts[public_key]

    @cached_property
    def digest(self) -> str:
        """The statement's digest."""
        return self.statement.digest

    @cached_property
    def moment(self) -> tuple[int, str]:
        """Order of recording: by second, within one by digest."""
        return (self.recorded, self.digest)

    @cached_property
    def key_name(self) -> str:
        """The key that signed, by name; no other is tried."""
        return str(self.statement.fields["keyName"])

    @cached_property
    def sequence(self) -> int:
        """The number by which the signer orders its own statements."""
        return int(self.statement.fields["sequence"])


@dataclass(frozen=True, eq=False)
class Ballot(Record):
    """A vote."""

    @classmethod
    def of(cls, mesh_id: str, spec: Mapping[str, Any], recorded: int | None) -> Self:
        """From a Vote's spec; without a recorded second, castAt takes its place and the vote is `claimed`."""
        statement = vote_statement(mesh_id, spec)
        second = parse_time(spec["castAt"]) if recorded is None else recorded
        return cls(statement, spec["signature"], second, recorded is None)

    @cached_property
    def holder(self) -> str:
        """The voter's nodeId."""
        return str(self.statement.fields["voter"])

    @cached_property
    def made_at(self) -> int:
        """When it was signed, by its own account: castAt."""
        return parse_time(self.statement.fields["castAt"])

    @cached_property
    def choice(self) -> str:
        """What is chosen."""
        return str(self.statement.fields["choice"])


@dataclass(frozen=True)
class Question:
    """What one electorate is asked: a proposal's digest and revision in one domain, in one phase.

    `opened` pins the electorate; for a ratification it is the second of the executing entry. `allow_veto` holds roles
    and nodeIds, None: all.
    """

    digest: str
    revision: int
    type: str
    domain: str
    history: DomainHistory
    opened: int
    allow_veto: frozenset[str] | None = None
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
        if ballot not in self._admitted:
            self._admitted[ballot] = judge_vote(self, ballot, closes=ballot.recorded, at=None) is None
        return self._admitted[ballot]

    def good_in(self, revision: DomainRevision | None, record: Record, holder: str) -> bool:
        """Whether the key that was in force at the recorded second is in `revision`, unexpired at that second."""
        first = self.history.at(record.recorded)
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
    revision = question.history.at(record.recorded)
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
        at: T, None to leave out KeyRevoked and KeyExpired (at T).
    """
    fields = ballot.statement.fields
    asked = (fields.get("proposalDigest"), fields.get("revision"), fields.get("domain"))
    if asked != (question.digest, question.revision, question.domain):
        return Reason.OTHER_PROPOSAL
    if ballot.choice not in CHOICES:
        return Reason.UNKNOWN_CHOICE
    member = question.members.get(ballot.holder)
    if member is None:
        return Reason.NOT_IN_ELECTORATE
    if ballot.recorded > closes:
        return Reason.TOO_LATE
    if ballot.made_at > ballot.recorded + AHEAD_SECONDS:
        return Reason.FROM_THE_FUTURE
    if ballot.choice == Choice.VETO and not question.may_veto(member):
        return Reason.VETO_NOT_ALLOWED
    return judge_key(question, ballot, ballot.holder, at)


R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Standing(Generic[R]):
    """The standing record of each key of one holder, and why the others do not stand."""

    records: tuple[R, ...]
    reasons: Mapping[R, Reason]


def stand(records: Iterable[R]) -> Standing[R]:
    """Sequence, duplicates and equivocation per key, among one holder's records that pass every other check."""
    by_key: dict[str, list[R]] = {}
    for record in records:
        by_key.setdefault(record.key_name, []).append(record)
    reasons: dict[R, Reason] = {}
    chosen = [_highest(items, reasons) for _, items in sorted(by_key.items())]
    return Standing(tuple(item for item in chosen if item is not None), reasons)


def _highest(records: Sequence[R], reasons: dict[R, Reason]) -> R | None:
    contents: dict[int, dict[str, list[R]]] = {}
    for record in sorted(records, key=lambda item: (item.recorded, item.claimed)):
        contents.setdefault(record.sequence, {}).setdefault(record.digest, []).append(record)
    standing: R | None = None
    for _, by_content in sorted(contents.items(), reverse=True):
        if len(by_content) > 1:
            # Copies too: Equivocation comes before Duplicate.
            reasons.update((record, Reason.EQUIVOCATION) for same in by_content.values() for record in same)
            continue
        ((first, *copies),) = by_content.values()
        reasons.update(dict.fromkeys(copies, Reason.DUPLICATE))
        if standing is None:
            standing = first
        else:
            reasons[first] = Reason.OVERTAKEN
    return standing


@dataclass(frozen=True)
class MemberVote:
    """What a member's keys say together.

    `choice` is None where no choice counts; `completing` is the voteThreshold-th vote for it; `standing` says that some
    key has a standing vote, which switches a delegation off.
    """

    choice: str | None
    completing: Ballot | None
    standing: bool
    reasons: Mapping[Ballot, Reason]


NO_VOTE = MemberVote(None, None, False, {})


def member_vote(ballots: Sequence[Ballot], threshold: int) -> MemberVote:
    """The choice of a member from its votes that pass every other check; every vote gets its reason."""
    if len(ballots) == threshold == 1 and ballots[0].choice != Choice.RETRACT:
        # What nearly every member does: nothing to compare.
        return MemberVote(ballots[0].choice, ballots[0], True, {ballots[0]: Reason.COUNTED})
    stood = stand(ballots)
    reasons = dict(stood.reasons)
    live: list[Ballot] = []
    for ballot in stood.records:
        if ballot.choice == Choice.RETRACT:
            reasons[ballot] = Reason.RETRACTED
        else:
            live.append(ballot)
    by_choice: dict[str, list[Ballot]] = {}
    for ballot in sorted(live, key=lambda item: item.moment):
        by_choice.setdefault(ballot.choice, []).append(ballot)
    reached = [choice for choice, votes in by_choice.items() if len(votes) >= threshold]
    if len(reached) != 1:
        reasons.update(dict.fromkeys(live, Reason.KEYS_DISAGREE if reached else Reason.THRESHOLD_NOT_REACHED))
        return MemberVote(None, None, bool(live), reasons)
    choice = reached[0]
    for ballot in live:
        reasons[ballot] = Reason.COUNTED if ballot.choice == choice else Reason.OUTVOTED
    return MemberVote(choice, by_choice[choice][threshold - 1], True, reasons)
