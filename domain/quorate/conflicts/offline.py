"""Conflicts found and counted from documents alone (docs/conflicts.md; governance.md, "Offline").

What only a hub knows is not told from documents: overrides of its contracts, surfaces after both changes, and pods (the
severity in a PolicyConflict document is taken instead, as claimed). Times are those that the documents claim.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from quorate.api.conditions import Reason
from quorate.api.policy_conflict import Cause, Severity
from quorate.api.schema import Privilege
from quorate.canonical import format_time, parse_time
from quorate.conflicts.arbitration import Arbitration, LevelState, Progress, arbitrate
from quorate.conflicts.detect import Candidate, Surroundings, detect
from quorate.conflicts.document import Conflict, Found
from quorate.conflicts.effect import Held, is_held, loss
from quorate.conflicts.raised import raised
from quorate.conflicts.severity import Extent, scope_of, severity_of
from quorate.proposals.lifecycle import SETTLE_SECONDS
from quorate.proposals.votes import Ballot, vote_key
from quorate.trust.domain import DomainHistory
from quorate.trust.record import AttestationRecord

Histories = Mapping[str, DomainHistory]


@dataclass(frozen=True)
class Papers:
    """Documents beside the proposals.

    Attributes:
        histories: Accepted revisions by domain.
        ballots: Every vote on a digest, by digest.
        conflicts: PolicyConflict objects.
        attestations: Those of type Compliance, by the digest of their subject.
        proposals: The fields of each proposal that opened, by its digest.
    """

    histories: Histories
    ballots: Mapping[str, Sequence[Ballot]]
    conflicts: Sequence[Mapping[str, Any]]
    attestations: Mapping[str, Sequence[AttestationRecord]]
    proposals: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Arbitrated:
    """A conflict with the second at which it opened, and where it stands."""

    found: Found
    severity: Severity
    opened: int
    progress: Progress

    @property
    def held(self) -> Held:
        """As entries would tell it: resolved two seconds after T."""
        conflict, step = self.found.conflict, self.progress.step
        held = Held(conflict, self.opened, self.found.cause, namespace=conflict.namespace, name=conflict.name)
        if step is None or step.outcome is None:
            return held
        return replace(held, resolved=max(step.at + SETTLE_SECONDS, self.opened), outcome=str(step.outcome))

    @property
    def document(self) -> dict[str, Any]:
        """What the tally shows of it."""
        conflict, step = self.found.conflict, self.progress.step
        return {
            "digest": conflict.digest,
            "name": conflict.name,
            "domain": conflict.domain,
            "cause": str(self.found.cause),
            "severity": str(self.severity),
            "opened": format_time(self.opened),
            "parties": [party.document for party in conflict.parties],
            "excluded": dict(self.found.excluded),
            "levels": [_level(state) for state in self.progress.levels],
            "outcome": None if step is None or step.outcome is None else str(step.outcome),
            "reason": None if step is None else str(step.reason),
            "decidedAt": None if step is None else format_time(step.at),
        }


def _level(state: LevelState) -> dict[str, Any]:
    votes = [
        {
            "voter": vote.ballot.holder,
            "keyName": vote.ballot.key_name,
            "sequence": vote.ballot.sequence,
            "choice": vote.ballot.choice,
            "counted": vote.reason == Reason.COUNTED,
            "reason": str(vote.reason),
            "time": format_time(vote.ballot.recorded),
        }
        for vote in state.votes
    ]
    step = state.step
    return {**state.document, "result": None if step is None else str(step.outcome or "Escalated"), "ballots": votes}


def conflicts_of(adopted: Iterable[Candidate], papers: Papers, at: int) -> list[Arbitrated]:
    """Every conflict among adopted proposals that was open by `at`, in order of opening and digest.

    A party that had lost before another conflict would open contests nothing any more.
    """
    known = [item for item in adopted if item.decided + SETTLE_SECONDS <= at]
    opened: dict[str, Arbitrated] = {}
    pairs: set[frozenset[str]] = set()
    for second, found in sorted(_found(known, papers), key=lambda pair: (pair[0], pair[1].conflict.digest)):
        over = any(_ended(opened.values(), party.digest, second) for party in found.conflict.parties)
        if second > at or over or found.conflict.pair in pairs:
            continue
        pairs.add(found.conflict.pair)
        arbitrated = _arbitrate(found, second, papers, at)
        if arbitrated is not None:
            opened[found.conflict.digest] = arbitrated
    return list(opened.values())


def _ended(opened: Iterable[Arbitrated], digest: str, second: int) -> bool:
    lost = loss((item.held for item in opened if item.held.conflict.side(digest)), digest)
    return lost is not None and lost[1].resolved is not None and lost[1].resolved < second


def _found(adopted: Sequence[Candidate], papers: Papers) -> Iterator[tuple[int, Found]]:
    """Each conflict with the second at which it opens: both parties are decided then."""
    for one, other in combinations(adopted, 2):
        domain = papers.histories[str(one.fields["domain"])].at(max(one.decided, other.decided))
        if domain is not None and one.fields["domain"] == other.fields["domain"]:
            around = Surroundings(domain, rivals=(other,))
            second = max(one.decided, other.decided) + SETTLE_SECONDS
            yield from ((second, item) for item in detect(one, around) if item.cause != Cause.PARENT_CONTRADICTS)
    for one in adopted:
        second = one.decided + SETTLE_SECONDS
        domain = papers.histories[str(one.fields["domain"])].at(second)
        parent = None if domain is None else papers.histories.get(str(domain.spec.get("parent")))
        if domain is not None and parent is not None:
            yield from ((second, item) for item in detect(one, Surroundings(domain, parent.at(second))))
    for item in papers.conflicts:
        yield from _raised(item, adopted, papers)


def _raised(item: Mapping[str, Any], adopted: Sequence[Candidate], papers: Papers) -> Iterator[tuple[int, Found]]:
    """A conflict that a member raised: with evidence, about an adopted proposal, attested by a key that was good."""
    history = papers.histories.get(item["spec"]["domain"])
    if history is None or not item["spec"].get("evidence"):
        return
    conflict = Conflict.of(history.latest.mesh_id, item["spec"])
    parties = {one.digest: one for one in adopted if conflict.side(one.digest)}
    for record in sorted(papers.attestations.get(conflict.digest, ()), key=lambda found: found.moment):
        if parties and _may_raise(record, history):
            decided = min(one.decided + SETTLE_SECONDS for one in parties.values())
            claimed = (item.get("status") or {}).get("openedAt")
            second = max(record.recorded, decided) if claimed is None else parse_time(claimed)
            revision = history.at(second)
            if revision is not None:
                yield second, raised(conflict, revision, record.holder, papers.proposals)
            return


def _may_raise(record: AttestationRecord, history: DomainHistory) -> bool:
    revision = history.at(record.recorded)
    member = None if revision is None else revision.members.get(record.holder)
    key = vote_key(revision, record.holder, record.key_name)
    if member is None or key is None or not member.may(Privilege.VALIDATE_ATTESTATION) or member.suspended:
        return False
    return key.valid_at(record.recorded) and record.signed_by(key.public_key)


def _arbitrate(found: Found, second: int, papers: Papers, at: int) -> Arbitrated | None:
    conflict = found.conflict
    document = _document(conflict, papers.conflicts)
    claimed = ((document or {}).get("status") or {}).get("openedAt")
    opened = second if claimed is None else parse_time(claimed)
    revision = papers.histories[conflict.domain].at(opened)
    if revision is None:
        return None
    severity = severity_of(Extent(scope_of(found), len(revision.members), 0))
    for part in ((document or {}).get("status") or {}, (document or {}).get("spec") or {}):
        severity = Severity(part["severity"]) if part.get("severity") else severity
    ballots = tuple(papers.ballots.get(conflict.digest, ()))
    case = Arbitration(conflict, opened, severity, frozenset(found.excluded), papers.histories, ballots)
    return Arbitrated(found, severity, opened, arbitrate(case, at))


def _document(conflict: Conflict, documents: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    same = (item for item in documents if Conflict.of(conflict.mesh_id, item["spec"]).digest == conflict.digest)
    return next(same, None)


def execution(conflicts: Iterable[Arbitrated], digest: str) -> dict[str, Any] | None:
    """What the conflicts of an adopted proposal mean for it; None: it is party of none."""
    held = [item.held for item in conflicts if item.held.conflict.side(digest)]
    if not held:
        return None
    lost = loss(held, digest)
    if lost is not None:
        return {"state": "Failed", "reason": str(lost[0])}
    return {"state": "Conflict" if is_held(held) else "Proceeds", "reason": None}
