"""A conflict as the log records it: what its arbitration and the evidence of its parties are made from."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from quorate.api.policy_conflict import Level, Severity
from quorate.canonical import digest_of, parse_time
from quorate.conflicts.arbitration import Arbitration, Progress, arbitrate
from quorate.conflicts.arbitrators import MAX_LINEAGE
from quorate.conflicts.document import Conflict, ConflictEvent
from quorate.conflicts.raised import raises
from quorate.identity.statements import Statement
from quorate.proposals.votes import Ballot
from quorate_operator.reconcile.docket import ATTESTED, is_ballot
from quorate_operator.reconcile.domains import Constitution, Domains
from quorate_operator.reconcile.protocol import Context
from quorate_operator.store.ports import Recorded


def pair_topic(conflict: Conflict) -> str:
    """The digest under which every conflict of one pair of parties is found: a pair is arbitrated once."""
    return digest_of({"kind": "ConflictPair", "parties": sorted(conflict.pair)})


def raised_topic(chain: str, node_id: str) -> str:
    """The digest under which the conflicts that one member raised are found."""
    return digest_of({"kind": "ConflictsRaisedBy", "domain": chain, "nodeId": node_id})


def raisings(entries: Iterable[Recorded], digest: str) -> list[Recorded]:
    """The accepted attestations with which members raise the conflict of this digest, in log order."""
    return [item for item in entries if item.event_type == ATTESTED and raises(item.detail["statement"], digest)]


@dataclass
class ConflictDocket:
    """What is recorded about one opened conflict. `entries` are in log order; `ballots` by the id of their entry."""

    conflict: Conflict
    opening: Recorded
    entries: tuple[Recorded, ...]
    constitutions: Mapping[str, Constitution]
    ballots: Mapping[str, Ballot]
    made: dict[int, Progress] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """The conflict's digest."""
        return self.conflict.digest

    @property
    def constitution(self) -> Constitution:
        """That of its domain."""
        return self.constitutions[self.conflict.domain]

    @property
    def opened(self) -> int:
        """The second of the opening entry."""
        return self.opening.timestamp // 1_000_000

    @cached_property
    def steps(self) -> tuple[Recorded, ...]:
        """The entries whose subject is the conflict, from the opening on."""
        found = [item for item in self.entries if item.subject_key == self.digest]
        return tuple(item for item in found if item.sequence >= self.opening.sequence)

    @property
    def head(self) -> Recorded:
        """Its last entry."""
        return self.steps[-1]

    @property
    def resolution(self) -> Recorded | None:
        """The entry that resolved it."""
        return self.head if self.head.event_type == ConflictEvent.RESOLVED else None

    @property
    def escalations(self) -> tuple[Recorded, ...]:
        """The entries by which it went up."""
        return tuple(item for item in self.steps if item.event_type == ConflictEvent.ESCALATED)

    @property
    def raising(self) -> Recorded | None:
        """The attestation on which it opened; None where it was detected."""
        named = self.opening.detail.get("attestation")
        found = (item for item in raisings(self.entries, self.digest) if item.subject_key == named)
        return next(found, None)

    @cached_property
    def closed(self) -> Mapping[int, int]:
        """Level's revision → sequence of the entry that ended it: votes of that level recorded later say nothing."""
        ended = [item for item in self.steps if item.event_type in (ConflictEvent.ESCALATED, ConflictEvent.RESOLVED)]
        return {Level(item.detail["level"]).revision: item.sequence for item in ended}

    @cached_property
    def votes(self) -> tuple[Recorded, ...]:
        """The votes on it, but for those that came after their level had ended."""
        return tuple(item for item in self.entries if is_ballot(item) and self._in_time(item))

    def _in_time(self, entry: Recorded) -> bool:
        ended = self.closed.get(entry.detail["statement"].get("revision"))
        return ended is None or entry.sequence < ended

    def recorded_subjects(self) -> set[str]:
        """Subject keys of everything that was recorded about it."""
        return {item.subject_key for item in self.entries}

    @cached_property
    def case(self) -> Arbitration:
        """What the decision is a function of."""
        detail = self.opening.detail
        return Arbitration(
            self.conflict,
            self.opened,
            Severity(detail["severity"]),
            frozenset(detail["excluded"]),
            {name: item.history for name, item in self.constitutions.items()},
            tuple(self.ballots[str(item.entry_id)] for item in self.votes),
        )

    def progress(self, now: int) -> Progress:
        """Where the arbitration stands; computed once per second and docket."""
        if now not in self.made:
            self.made.clear()
            self.made[now] = arbitrate(self.case, now)
        return self.made[now]


class Conflicts:
    """Dockets of conflicts by digest; they are few, so only ballots (their verdicts on signatures) are cached."""

    def __init__(self, domains: Domains) -> None:
        self._domains = domains
        self._ballots: dict[str, Ballot] = {}
        self._cache: dict[str, tuple[tuple[Any, ...], ConflictDocket]] = {}

    async def get(self, context: Context, digest: str) -> ConflictDocket | None:
        """The docket of a conflict that was opened; None if it was not."""
        entries = await context.log.about(digest)
        opening = next(
            (item for item in entries if item.event_type == ConflictEvent.OPENED and item.subject_key == digest), None
        )
        if opening is None:
            return None
        document = opening.detail["conflict"]
        conflict = Conflict.of(document["meshId"], document)
        constitutions = await lineage(context, self._domains, conflict.domain, opening.timestamp // 1_000_000)
        heads = sorted(str(item.head.entry_id) for item in constitutions.values())
        stamp = (len(entries), entries[-1].entry_id, *heads)
        cached = self._cache.get(digest)
        if cached is not None and cached[0] == stamp:
            return cached[1]
        docket = ConflictDocket(conflict, opening, tuple(entries), constitutions, self._of(entries))
        self._cache[digest] = (stamp, docket)
        return docket

    def _of(self, entries: Sequence[Recorded]) -> dict[str, Ballot]:
        found = {}
        for entry in filter(is_ballot, entries):
            key = str(entry.entry_id)
            if key not in self._ballots:
                statement = Statement("vote", entry.detail["statement"])
                self._ballots[key] = Ballot(
                    statement, entry.detail["signature"], parse_time(entry.detail["recordedAt"])
                )
            found[key] = self._ballots[key]
        return found


async def lineage(context: Context, domains: Domains, name: str, second: int) -> dict[str, Constitution]:
    """The constitutions of a domain and of those above it by the revisions in force at `second`, as far as known."""
    found: dict[str, Constitution] = {}
    above: str | None = name
    while above is not None and above not in found and len(found) < MAX_LINEAGE:
        constitution = (await domains.get(context, [above])).get(above)
        if constitution is None:
            break
        found[above] = constitution
        revision = constitution.history.at(second)
        above = None if revision is None else revision.spec.get("parent")
    return found
