"""A proposal revision as the log records it: what votes, tally, decision and execution are made from.

Never from live specs: an entry that was recorded stands, whatever happened to the objects since (trust.md, Entries).
Ballots keep the verdicts on their signatures, and go from docket to docket (`dockets`): an entry never changes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from uuid import UUID

from quorate.api.attestation import AttestationType
from quorate.api.conditions import Reason
from quorate.canonical import digest_of, parse_time
from quorate.conflicts.document import ConflictEvent
from quorate.conflicts.effect import Held, held_conflicts, resumed
from quorate.identity.statements import Statement
from quorate.proposals.acts import ActRecord
from quorate.proposals.bundle import Signed
from quorate.proposals.case import Kept
from quorate.proposals.decision import Case, Progress, decide
from quorate.proposals.delegation import DelegationRecord
from quorate.proposals.lifecycle import EventType, Life, Step, Timing, derive
from quorate.proposals.votes import Ballot, Question
from quorate.trust.boundary import Border
from quorate.trust.domain import DomainHistory
from quorate_operator.reconcile.crossing import AskedRecords, attestation_topic
from quorate_operator.reconcile.domains import Constitution
from quorate_operator.store.ports import Recorded

VOTE_ACCEPTED = "governance.vote.accepted"
VOTE_REFUSED = "governance.vote.refused"
ACT_ACCEPTED = "governance.act.accepted"
ACT_REFUSED = "governance.act.refused"
ATTESTED = "trust.attestation.accepted"
NOT_ATTESTED = "trust.attestation.refused"
_STEPS = frozenset(EventType)


def name_topic(namespace: str, name: str) -> str:
    """The digest under which the openings of one GovernanceProposal are found, whatever became of its status."""
    return digest_of({"kind": "GovernanceProposal", "namespace": namespace, "name": name})


def delegation_topic(chain: str) -> str:
    """The digest under which the delegations of one domain are found, by its chain."""
    return attestation_topic(AttestationType.DELEGATION, chain)


@dataclass
class Docket:
    """What is recorded about one opened proposal revision. `entries` are in log order.

    `delegations` are the entries about delegations in its domains, whichever proposal they will serve.
    """

    digest: str
    statement: Statement
    opening: Recorded
    entries: tuple[Recorded, ...]
    constitutions: Mapping[str, Constitution]
    delegations: tuple[Recorded, ...] = ()
    attestations: tuple[Recorded, ...] = ()
    """Entries that decide whose votes of other domains count; none where no other domain votes, or nothing is asked."""
    records: AskedRecords = field(default_factory=AskedRecords)
    borders: dict[str, Border] = field(default_factory=dict)
    """What boundaries said so far, taken over from docket to docket."""
    kept: Kept = field(default_factory=Kept)
    """How far the votes were counted, likewise."""
    questions: dict[str, Question] = field(default_factory=dict)
    """What each domain's members were asked, likewise."""
    edits: set[tuple[str, int]] = field(default_factory=set)
    """Uid and generation of live specs that say the statement word for word, likewise."""
    delegated: dict[UUID, DelegationRecord] = field(default_factory=dict)
    """Delegations by the id of their entry, with the verdicts on their signatures; likewise."""
    votes: tuple[tuple[Recorded, Ballot], ...] = ()
    """Of `entries` the votes, refused ones too: the tally gives each its reason again."""
    others: tuple[Recorded, ...] = ()
    """Of `entries` all else, which are few."""

    made: dict[str, tuple[Any, bytes]] = field(default_factory=dict)
    """Documents made from the log, by kind, each with what it was made for: they never change."""

    @property
    def fields(self) -> Mapping[str, Any]:
        """The signed fields."""
        return self.statement.fields

    @property
    def related(self) -> tuple[Any, ...]:
        """What is recorded elsewhere and decides with it."""
        return self.constitutions, self.delegations, self.attestations

    @property
    def constitution(self) -> Constitution:
        """That of trustDomain."""
        return self.constitutions[str(self.fields["domain"])]

    @property
    def opened(self) -> int:
        """The second of the opening entry."""
        return self.opening.timestamp // 1_000_000

    @cached_property
    def steps(self) -> tuple[Recorded, ...]:
        """The entries whose subject is this revision."""
        return tuple(item for item in self.others if item.subject_key == self.digest and item.event_type in _STEPS)

    @property
    def head(self) -> Recorded:
        """The revision's last entry."""
        return self.steps[-1]

    def step(self, event: EventType) -> Recorded | None:
        """The newest entry of a type, None without one."""
        return next((item for item in reversed(self.steps) if item.event_type == event), None)

    @cached_property
    def acts(self) -> tuple[ActRecord, ...]:
        """Accepted acts, recorded at the second of their entry."""
        return tuple(_act(item) for item in self.others if item.event_type == ACT_ACCEPTED)

    @cached_property
    def accepted_ballots(self) -> frozenset[Ballot]:
        """The votes that the log took; a refused copy of one, forged say, is another ballot."""
        return frozenset(ballot for item, ballot in self.votes if item.event_type == VOTE_ACCEPTED)

    def recorded_subjects(self) -> set[str]:
        """Subject keys of everything that was recorded about this revision."""
        return {item.subject_key for item in self.entries}

    @cached_property
    def histories(self) -> Mapping[str, DomainHistory]:
        """Accepted revisions by domain."""
        return {name: item.history for name, item in self.constitutions.items()}

    @property
    def final_decision(self) -> Recorded | None:
        """The decision after which no vote counts any more; an emergency's adoption is none, it is ratified yet."""
        decided = self.step(EventType.DECIDED)
        emergency = self.fields["type"] == "Emergency"
        if decided is None or (emergency and decided.detail["outcome"] == Reason.ADOPTED):
            return None
        return decided

    @property
    def takes_votes(self) -> bool:
        """Whether a vote that is recorded now can still count."""
        return self.final_decision is None and not self.life.final

    def before(self, decided: Recorded | None, entries: Iterable[Recorded]) -> tuple[Recorded, ...]:
        """The entries that a decision was taken on: those that the log took first (all while there is none).

        The order between two chains is that of the entries' times.
        """
        return tuple(entries) if decided is None else tuple(item for item in entries if _is_before(decided, item))

    @cached_property
    def case(self) -> Case:
        """What the decision is a function of; once it is recorded, only what it was recorded on."""
        executed, superseded = self.step(EventType.EXECUTED), self.step(EventType.SUPERSEDED)
        decided = self.final_decision
        delegations = self.before(decided, self.delegations)
        return Case(
            self.statement,
            self.opened,
            self.histories,
            tuple(ballot for item, ballot in self.votes if decided is None or _is_before(decided, item)),
            tuple(self._delegation(item) for item in delegations if item.event_type == ATTESTED),
            self.acts,
            executed=None if executed is None else executed.timestamp // 1_000_000,
            superseded=None if superseded is None else superseded.timestamp // 1_000_000,
            attestations=tuple(self.records.of(item) for item in self.asked(decided)),
            borders=self.borders,
            kept=self.kept,
        )

    def question(self, name: str) -> Question:
        """What the members of a domain were asked; where that does not vote, those of trustDomain."""
        domain = name if name in self.histories else str(self.fields["domain"])
        history, border = self.histories[domain], self.case.border(domain)
        held = self.questions.get(domain)
        if held is None or held.history is not history or held.border is not border:
            held = self.questions[domain] = Question(
                digest=self.digest,
                revision=int(self.fields["revision"]),
                type=str(self.fields["type"]),
                domain=domain,
                history=history,
                opened=self.opened,
                border=border,
            )
        return held

    def _delegation(self, entry: Recorded) -> DelegationRecord:
        if entry.entry_id not in self.delegated:
            self.delegated[entry.entry_id] = _delegation(entry)
        return self.delegated[entry.entry_id]

    def asked(self, decided: Recorded | None) -> tuple[Recorded, ...]:
        """The accepted ones of `attestations` that a decision was taken on."""
        return tuple(item for item in self.before(decided, self.attestations) if item.event_type == ATTESTED)

    def progress(self, now: int) -> Progress:
        """Where the vote stands; computed once per second and docket."""
        cached = self.__dict__.setdefault("_progress", {})
        if now not in cached:
            cached.clear()
            cached[now] = decide(self.case, now)
        return cached[now]  # type: ignore[no-any-return]

    def judged(self, now: int) -> Mapping[str, str]:
        """Why each accepted vote counts or not, by its digest; computed once per tally, as every vote asks."""
        progress = self.progress(now)
        held = self.__dict__.get("_judged")
        if held is None or held[0] is not progress:
            votes = (vote for tally in progress.tallies.values() for vote in tally.votes)
            accepted = self.accepted_ballots
            found = {vote.ballot.digest: str(vote.reason) for vote in votes if vote.ballot in accepted}
            held = self.__dict__["_judged"] = (progress, found)
        return held[1]

    @cached_property
    def life(self) -> Life:
        """Where the revision is in its life, from its own entries and those of its conflicts."""
        return resumed(self.uncontested, self.conflicts)

    @cached_property
    def uncontested(self) -> Life:
        """Its life by its own entries alone: with the timelock that its decision gave it."""
        decided = self.step(EventType.DECIDED)
        kind = str(self.fields["type"])
        rules_type = kind if decided is None else str(decided.detail.get("rules", kind))
        if rules_type == "Ratification":
            rules_type = kind
        opening = self.constitution.history.at(self.opened)
        rules = {} if opening is None else opening.rules(rules_type) or {}
        return derive([Step.of(item.content) for item in self.steps], Timing.of(rules, kind))

    def opening_of(self, conflict: str) -> Mapping[str, Any]:
        """What the entry that opened one of its conflicts says."""
        events = (item for item in self.others if item.event_type == ConflictEvent.OPENED)
        return next(item.detail for item in events if item.subject_key == conflict)

    @cached_property
    def conflicts(self) -> tuple[Held, ...]:
        """The conflicts that were opened against it (docs/conflicts.md), as they stood when it ended.

        What comes later is no part of its evidence: that never changes after the execution.
        """
        ended = next((item.sequence for item in self.steps if _ends(item)), None)
        found = (item for item in self.others if item.event_type.startswith("governance.conflict."))
        return held_conflicts(item.content for item in found if ended is None or item.sequence < ended)


def _is_before(decided: Recorded, entry: Recorded) -> bool:
    if entry.chain_id == decided.chain_id:
        return entry.sequence < decided.sequence
    return entry.timestamp <= decided.timestamp


def _ends(step: Recorded) -> bool:
    """Whether nothing is executed after an entry of the revision."""
    if step.event_type == EventType.DECIDED:
        return bool(step.detail["outcome"] != Reason.ADOPTED)
    return step.event_type in (EventType.EXECUTED, EventType.FAILED, EventType.SUPERSEDED)


def signed(entry: Recorded, kind: str) -> Signed:
    """A vote, an act or a delegation with its signature and entry, for the evidence."""
    return Signed(Statement(kind, entry.detail["statement"]), entry.detail["signature"], entry.content)


def _act(entry: Recorded) -> ActRecord:
    statement = Statement("act", entry.detail["statement"])
    return ActRecord(statement, entry.detail["signature"], entry.timestamp // 1_000_000)


def _delegation(entry: Recorded) -> DelegationRecord:
    statement = Statement("attestation", entry.detail["statement"])
    return DelegationRecord(statement, entry.detail["signature"], parse_time(entry.detail["recordedAt"]))


def is_ballot(entry: Recorded) -> bool:
    """Whether an entry is a vote's; one of the wrong form is no vote, so that nobody has to count it."""
    if entry.event_type == VOTE_REFUSED:
        return bool(entry.detail["reason"] != Reason.INVALID)
    return entry.event_type == VOTE_ACCEPTED
