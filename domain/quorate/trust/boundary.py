"""Boundaries: what another domain must show before what it signs counts here (docs/trust.md, "Boundaries").

The receiving domain judges with its own revision, its own seeds and attestations made under its own constitution; an
actor of whom it knows nothing has score 0. A verdict is a function of what is recorded and the second, so that an
outsider derives the same one.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quorate.api.attestation import AttestationType
from quorate.api.conditions import Reason
from quorate.api.schema import Privilege
from quorate.api.trust_domain import KeyPurpose, OnViolation
from quorate.trust.domain import DomainHistory, DomainRevision, Member
from quorate.trust.edges import FULL, Graph, GraphOverTime, about_node, holds, standing
from quorate.trust.path import Path, ScoreRules, Scores
from quorate.trust.record import AttestationRecord, stand

REASONS: Mapping[str, Reason] = {
    OnViolation.DENY: Reason.BOUNDARY_DENIED,
    OnViolation.QUARANTINE: Reason.BOUNDARY_QUARANTINED,
    OnViolation.WARN: Reason.BOUNDARY_WARNED,
}
PASSING = frozenset({Reason.BOUNDARY_MET, Reason.BOUNDARY_RELEASED, Reason.BOUNDARY_WARNED})
"""What lets a crossing count."""
_BEFORE = -(2**63)


@dataclass(frozen=True)
class Crossing:
    """Something signed under one domain that takes effect in another.

    Attributes:
        actor: nodeId of who signed it.
        public_key: The key that signed it, as text; None: not known, so not the actor's here either.
        digest: Digest of the signed statement.
        recorded: Second at which it was recorded.
        purpose: What keys that sign such a statement are for.
    """

    actor: str
    public_key: str | None
    digest: str
    recorded: int
    purpose: str = KeyPurpose.VOTE


@dataclass(frozen=True)
class Requirement:
    """What one domain asks of another."""

    minimum: int
    attestations: tuple[str, ...]
    on_violation: str

    @classmethod
    def of(cls, revision: DomainRevision, from_domain: str) -> "Requirement | None":
        """By a revision of the receiving domain; None where it has no boundaries at all.

        A domain that has boundaries, and none with this one, does not know it: unknown is not trusted.
        """
        boundaries = revision.spec.get("boundary") or ()
        if not boundaries:
            return None
        lowest = ScoreRules.of(revision.spec).minimum
        written = next((item for item in boundaries if item["fromDomain"] == from_domain), None)
        if written is None:
            return cls(max(lowest or 0, 1), (), OnViolation.DENY)
        types = tuple(dict.fromkeys(written.get("requireAttestations") or ()))
        minimum = written.get("minScoreBasisPoints")
        minimum = lowest if minimum is None else minimum
        return cls((0 if types else 1) if minimum is None else int(minimum), types, str(written["onViolation"]))


@dataclass(frozen=True)
class Verdict:
    """What becomes of a crossing at a second.

    Attributes:
        reason: BoundaryMet, or what follows from a violation; BoundaryReleased where a member let it through.
        message: Names the actor, what it has and what it needs.
        score: The best score from a root, basis points; 10000 for a root itself.
        minimum: What the boundary asks for.
        missing: Types of attestations that are required and not there.
        path: The path behind the score.
    """

    reason: Reason
    message: str
    score: int
    minimum: int
    missing: tuple[str, ...] = ()
    path: Path | None = None

    @property
    def passes(self) -> bool:
        """Whether the crossing counts."""
        return self.reason in PASSING

    def document(self, from_domain: str) -> dict[str, Any]:
        """As entries hold it."""
        hops = () if self.path is None else self.path.hops
        return {
            "fromDomain": from_domain,
            "reason": str(self.reason),
            "message": self.message[:1024],
            "scoreBasisPoints": self.score,
            "minScoreBasisPoints": self.minimum,
            "missing": list(self.missing),
            "path": [hop.edge.digest for hop in hops],
        }


def has_boundary(history: DomainHistory) -> bool:
    """Whether any accepted revision of a domain asks something of others."""
    return any(item.revision.spec.get("boundary") for item in history.accepted)


def required_types(history: DomainHistory) -> frozenset[str]:
    """Types of attestations that any accepted revision of a domain requires of others."""
    boundaries = (boundary for item in history.accepted for boundary in item.revision.spec.get("boundary") or ())
    return frozenset(kind for boundary in boundaries for kind in boundary.get("requireAttestations") or ())


KEPT_SECONDS = 256
"""Of so many changes a border keeps its verdicts, those that were asked for last: what it knows stays bounded."""


class Border:
    """The boundary of one domain towards another, over time.

    Args:
        receiver: Accepted revisions of the domain in which a crossing takes effect.
        from_domain: Name of the domain under which it was signed.
        records: Attestations made under the receiver; in any order, other domains' are passed over.
        earlier: The same border when less was recorded: what it knows of the seconds before that is taken over.
    """

    def __init__(
        self,
        receiver: DomainHistory,
        from_domain: str,
        records: Iterable[AttestationRecord],
        earlier: "Border | None" = None,
    ) -> None:
        self.receiver, self.from_domain = receiver, from_domain
        self.known = frozenset(records)
        self._seconds = sorted(self._changes())
        self._judge = _Judge(receiver, from_domain, self.known)
        self.verdicts: dict[int, dict[Crossing, Verdict]] = {} if earlier is None else self._taken_over(earlier)

    def _taken_over(self, earlier: "Border") -> dict[int, dict[Crossing, Verdict]]:
        before, now = earlier.receiver.accepted, self.receiver.accepted
        if not earlier.known <= self.known or len(before) > len(now):
            return {}
        added = [record.recorded for record in self.known - earlier.known]
        added += [self.receiver.recorded(number) for number in range(len(before) + 1, len(now) + 1)]
        first = min(added, default=None)
        return {start: found for start, found in earlier.verdicts.items() if first is None or start < first}

    def covers(self, receiver: DomainHistory, records: Sequence[AttestationRecord]) -> bool:
        """Whether it was made of just these revisions and records; both only ever grow."""
        return (len(receiver.accepted), len(records)) == (len(self.receiver.accepted), len(self.known))

    def _changes(self) -> set[int]:
        found = {self.receiver.recorded(number) for number in range(1, len(self.receiver.accepted) + 1)}
        found.update(record.recorded for record in self.known)
        found.update(record.expires_at for record in self.known if record.expires_at is not None)
        return found

    def seconds(self) -> Sequence[int]:
        """The seconds at which a verdict may change, in order: between two of them it does not."""
        return self._seconds

    def epoch(self, second: int) -> int:
        """Equal for seconds at which every verdict is the same."""
        return bisect_right(self._seconds, second)

    def judge(self, crossing: Crossing, second: int) -> Verdict:
        """What becomes of a crossing at a second (docs/trust.md, "Verdict")."""
        epoch = self.epoch(second)
        start = self._seconds[epoch - 1] if epoch else _BEFORE
        found = self.verdicts[start] = self.verdicts.pop(start, {})
        if len(self.verdicts) > KEPT_SECONDS:
            del self.verdicts[next(iter(self.verdicts))]
        if crossing not in found:
            found[crossing] = self._judge.verdict(crossing, start)
        return found[crossing]


def _has_key(member: Member, crossing: Crossing) -> bool:
    return any(
        key.public_key == crossing.public_key and key.purpose == crossing.purpose and key.valid_at(crossing.recorded)
        for key in member.keys
    )


class _Judge:
    """What the receiving domain knows, at one second after the other."""

    def __init__(self, receiver: DomainHistory, from_domain: str, records: Iterable[AttestationRecord]) -> None:
        self._receiver, self._from = receiver, from_domain
        self._trust = GraphOverTime(receiver, records)
        self._about: dict[tuple[str, str | None], list[AttestationRecord]] = {}
        self._releases: dict[str, list[AttestationRecord]] = {}
        for record in records:
            self._about.setdefault((record.type, about_node(record)), []).append(record)
            if record.type == AttestationType.BOUNDARY_CROSSING:
                self._releases.setdefault(str(record.subject.get("digest")), []).append(record)
        self._scored: tuple[Graph, ScoreRules] | None = None
        self._reached: dict[str, Scores] = {}

    def verdict(self, crossing: Crossing, second: int) -> Verdict:
        revision = self._receiver.at(second)
        if revision is None:
            message = f"{self._receiver.latest.name} had no accepted revision: nothing may cross into it"
            return Verdict(Reason.BOUNDARY_DENIED, message, 0, FULL)
        required, name = Requirement.of(revision, self._from), revision.name
        if required is None:
            return Verdict(Reason.BOUNDARY_MET, f"{name} has no boundaries", 0, 0)
        path = self._best(crossing, revision, second)
        score = 0 if path is None else path.score or FULL
        missing = tuple(kind for kind in required.attestations if not self._attested(kind, crossing.actor, second))
        has = f"{crossing.actor} of {self._from} has score {score} in {name}"
        needs = f"minScoreBasisPoints {required.minimum}"
        if missing:
            needs += f" and attestations {', '.join(required.attestations)}, of which {', '.join(missing)} is missing"
        if score >= required.minimum and not missing:
            return Verdict(Reason.BOUNDARY_MET, f"{has}; {needs}", score, required.minimum, (), path)
        reason = REASONS[required.on_violation]
        message = f"{has}; boundary from {self._from} asks for {needs}"
        released = self._released(crossing, revision, second) if reason == Reason.BOUNDARY_QUARANTINED else None
        if released is not None:
            reason = Reason.BOUNDARY_RELEASED
            message += f"; {released.holder} released it by {released.digest}"
        return Verdict(reason, message, score, required.minimum, missing, path)

    def _best(self, crossing: Crossing, revision: DomainRevision, second: int) -> Path | None:
        """The best path from a root to the actor; an empty one where the actor is a root; None: no trust.

        A nodeId that is a member here too is the same node only with a key that it has here for the same purpose, not
        expired when it signed: the other domain's admins may list any nodeId with keys of their own, or with stolen
        ones.
        """
        member = revision.members.get(crossing.actor)
        if member is not None and not _has_key(member, crossing):
            return None
        rules = ScoreRules.of(revision.spec)
        roots = rules.seeds or (revision.home_hub,)
        if member is not None and crossing.actor in roots:
            return Path(crossing.actor, crossing.actor)
        graph = self._trust.at(second)
        if self._scored is None or self._scored[0] is not graph or self._scored[1] != rules:
            self._scored, self._reached = (graph, rules), {}
        found = [self._scores(graph, root, rules).path(crossing.actor) for root in roots if root != crossing.actor]
        best = max(found, key=lambda path: (path.score, -len(path.hops)), default=None)
        return best if best is not None and best.score else None

    def _scores(self, graph: Graph, root: str, rules: ScoreRules) -> Scores:
        if root not in self._reached:
            self._reached[root] = Scores(graph, root, rules)
        return self._reached[root]

    def _attested(self, kind: str, actor: str, second: int) -> bool:
        """Whether a member here attests this type of the actor; a Compliance that says no is none."""
        records = self._about.get((kind, actor), ())
        stood = standing(self._receiver, records, second)
        return any(record.content.get("compliant") is not False for _, record in stood)

    def _released(self, crossing: Crossing, revision: DomainRevision, second: int) -> AttestationRecord | None:
        """The BoundaryCrossing by which a member that may validate attestations lets this statement through."""
        by_member: dict[str, list[AttestationRecord]] = {}
        for record in self._releases.get(crossing.digest, ()):
            if holds(self._receiver, record, second):
                by_member.setdefault(record.holder, []).append(record)
        for holder, records in sorted(by_member.items()):
            member = revision.members[holder]
            if holder == crossing.actor or member.suspended or member.learner:
                continue
            stood = stand(records).records if member.may(Privilege.VALIDATE_ATTESTATION) else ()
            last = min(stood, key=lambda item: (-item.sequence, item.digest), default=None)
            if last is not None and last.content.get("release") is True:
                return last
        return None
