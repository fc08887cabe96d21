"""Conflicts found and counted from documents alone (docs/conflicts.md; governance.md, "Offline").

What only a hub knows is not told from documents: overrides of its contracts, surfaces after both changes, and pods (the
severity in a PolicyConflict document is taken instead, as claimed). Times are those that the documents claim. The cost
grows with the documents, not with their pairs: whoever sends many gets no more of the reader's time for each.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from heapq import heappop, heappush
from typing import Any

from quorate.api.conditions import Reason
from quorate.api.policy_conflict import Cause
from quorate.canonical import format_time
from quorate.conflicts.arbitration import Arbitration, arbitrate
from quorate.conflicts.detect import Candidate, Surroundings, detect
from quorate.conflicts.document import PROPOSAL, Conflict, Found
from quorate.conflicts.effect import is_held, loss
from quorate.conflicts.papers import Arbitrated, Papers, Refused, Told, Written
from quorate.conflicts.raised import MAX_RAISED, Earlier, may_raise, raised
from quorate.conflicts.rivals import rivals_among
from quorate.conflicts.severity import Extent, scope_of, severity_of
from quorate.proposals.lifecycle import SETTLE_SECONDS
from quorate.trust.domain import DomainHistory
from quorate.trust.record import AttestationRecord

_ROOM, _DUE = 0, 1


def conflicts_of(adopted: Iterable[Candidate], papers: Papers, at: int) -> Told:
    """Every conflict that was open by `at`, in order of opening and digest, and the raised ones that are refused.

    A party that had lost before another conflict would open contests nothing any more.

    Raises:
        TooManyRivalsError: more proposals contest each other than any domain adopts at once.
    """
    course = _Course(papers, at)
    known = [item for item in adopted if item.decided + SETTLE_SECONDS <= at]
    for second, found in (*_rivals(known, papers), *_parents(known, papers)):
        course.detected(second, found)
    for written in papers.written.values():
        if written.conflict.evidence:
            course.written(written)
    return course.run()


def _rivals(adopted: Sequence[Candidate], papers: Papers) -> Iterator[tuple[int, Found]]:
    """Each with the second at which it opens: both parties are decided then."""
    for one, other in rivals_among(adopted):
        decided = max(one.decided, other.decided)
        domain = papers.histories[str(one.fields["domain"])].at(decided)
        if domain is not None:
            found = detect(one, Surroundings(domain, rivals=(other,)))
            yield from ((decided + SETTLE_SECONDS, item) for item in found if item.cause != Cause.PARENT_CONTRADICTS)


def _parents(adopted: Sequence[Candidate], papers: Papers) -> Iterator[tuple[int, Found]]:
    for one in adopted:
        second = one.decided + SETTLE_SECONDS
        domain = papers.histories[str(one.fields["domain"])].at(second)
        parent = None if domain is None else papers.histories.get(str(domain.spec.get("parent")))
        if domain is not None and parent is not None:
            yield from ((second, item) for item in detect(one, Surroundings(domain, parent.at(second))))


class _Course:
    """The conflicts in the order of time: each opens when the rules let it, on what is known by then."""

    def __init__(self, papers: Papers, at: int) -> None:
        self._papers, self._at = papers, at
        self._agenda: list[tuple[int, int, str]] = []
        self._found: dict[str, Found] = {}
        self._written: dict[str, Written] = {}
        self._opened: dict[str, Arbitrated] = {}
        self._refused: dict[str, Refused] = {}
        self._pairs: set[frozenset[str]] = set()
        self._lost: dict[str, int] = {}
        self._raised: dict[str, list[Arbitrated]] = {}
        self._against: dict[str, Counter[str]] = {}
        self._waiting: dict[str, list[str]] = {}

    def detected(self, second: int, found: Found) -> None:
        """A conflict that nobody has to raise."""
        self._found[found.conflict.digest] = found
        heappush(self._agenda, (second, _DUE, found.conflict.digest))

    def written(self, written: Written) -> None:
        """One that a member would have raised: due when its parties had opened and somebody attested it."""
        digest = written.conflict.digest
        self._written[digest] = written
        records = self._records(digest)
        if not records:
            self._refuse(written, Reason.NOT_RAISED, "no member attests it")
            return
        opened = [self._papers.proposals[item].opened for item in self._papers.signed_fields(written.conflict)]
        due = max([records[0].recorded, *opened]) if written.opened is None else written.opened
        heappush(self._agenda, (due, _DUE, digest))

    def run(self) -> Told:
        """What opened by the end, and what did not."""
        while self._agenda and self._agenda[0][0] <= self._at:
            second, what, key = heappop(self._agenda)
            if what == _ROOM:
                self._room(key, second)
            elif key in self._found:
                self._detect(self._found[key], second)
            else:
                self._raise(self._written[key], second)
        return Told(self._opened.values(), [item for _, item in sorted(self._refused.items())])

    def _records(self, digest: str) -> list[AttestationRecord]:
        return sorted(self._papers.attestations.get(digest, ()), key=lambda item: item.moment)

    def _detect(self, found: Found, second: int) -> None:
        over = any(self._lost.get(party.digest, second) < second for party in found.conflict.parties)
        if not over and found.conflict.pair not in self._pairs:
            self._open(found, second)

    def _raise(self, written: Written, second: int) -> None:
        """Open it, or say why not; one that only lacks room or a later attestation is looked at again."""
        conflict, digest = written.conflict, written.conflict.digest
        if digest in self._opened:
            return
        history, records = self._papers.histories[conflict.domain], self._records(digest)
        obstacle = self._obstacle(conflict, history, second)
        if obstacle is not None:
            self._refuse(written, *obstacle)
            return
        able = [item for item in records if item.recorded <= second and may_raise(item, history, second)]
        pending = [party.digest for party in conflict.parties if self._pending(party.digest, second)]
        few = [item for item in able if not self._earlier(item.holder, second).often(pending)]
        free = next((item for item in few if not self._earlier(item.holder, second).full), None)
        revision = history.at(second)
        if free is not None and revision is not None:
            found = raised(conflict, revision, free.holder, self._papers.signed_fields(conflict))
            self._open(found, second, free.holder)
            return
        if not able:
            self._refuse(written, Reason.NOT_RAISED, "no member who may raise it attests it with a key that is valid")
        elif not few:
            message = f"who raises it raised {MAX_RAISED} conflicts against the same proposal before"
            self._refuse(written, Reason.TOO_MANY_CONFLICTS, message)
        else:
            message = f"{few[0].holder} has {MAX_RAISED} raised conflicts open already"
            self._refuse(written, Reason.TOO_MANY_CONFLICTS, message)
        if written.opened is None:
            for node_id in {item.holder for item in few}:
                heappush(self._waiting.setdefault(node_id, []), digest)
            later = [item.recorded for item in records if item.recorded > second]
            if later:
                heappush(self._agenda, (min(later), _DUE, digest))

    def _obstacle(self, conflict: Conflict, history: DomainHistory, second: int) -> tuple[Reason, str] | None:
        """What no attestation mends."""
        if conflict.pair in self._pairs:
            return Reason.ALREADY_DECIDED, "this pair was arbitrated before, or is"
        revisions = {item.revision.digest for item in history.accepted}
        for party in conflict.parties:
            proposal = self._papers.proposals.get(party.digest)
            opened = proposal is not None and proposal.opened <= second
            if party.kind == PROPOSAL and not (opened and proposal and proposal.fields["domain"] == conflict.domain):
                return Reason.UNKNOWN_PARTY, f"no proposal of {conflict.domain} with digest {party.digest} was open"
            if party.kind == "TrustDomain" and party.digest not in revisions:
                return Reason.UNKNOWN_PARTY, f"{party.digest} is no accepted revision of {conflict.domain}"
        if len(conflict.pair) < 2 or not any(self._pending(party.digest, second) for party in conflict.parties):
            return Reason.UNKNOWN_PARTY, "none of its parties is a proposal that has not ended"
        return None

    def _pending(self, digest: str, second: int) -> bool:
        """Whether it is a proposal that may still be executed; one that lost a conflict may not."""
        proposal = self._papers.proposals.get(digest)
        if proposal is None or (proposal.ended is not None and proposal.ended < second):
            return False
        return self._lost.get(digest, second) >= second

    def _earlier(self, node_id: str, second: int) -> Earlier:
        """What the member raised; time only goes on, so what is resolved is let go."""
        known = self._raised.setdefault(node_id, [])
        known[:] = [item for item in known if item.held.resolved is None or item.held.resolved > second]
        return Earlier(len(known), self._against.get(node_id, {}))

    def _room(self, node_id: str, second: int) -> None:
        """One of a member's conflicts is resolved: the first of those that wait for it may open."""
        waiting = self._waiting.get(node_id, [])
        for _ in range(len(waiting)):
            if self._earlier(node_id, second).full:
                return
            self._raise(self._written[heappop(waiting)], second)

    def _refuse(self, written: Written, reason: Reason, message: str) -> None:
        if written.opened is not None:
            message = f"{message}; its status claims that it opened at {format_time(written.opened)}"
        self._refused[written.conflict.digest] = Refused(written, reason, message)

    def _open(self, found: Found, second: int, raiser: str | None = None) -> None:
        conflict = found.conflict
        arbitrated = self._arbitrate(found, second, raiser)
        if arbitrated is None:
            return
        self._refused.pop(conflict.digest, None)
        self._opened[conflict.digest] = arbitrated
        self._pairs.add(conflict.pair)
        held = arbitrated.held
        if held.resolved is not None:
            for digest in (item for item in conflict.pair if held.lost_by(item)):
                self._lost[digest] = min(held.resolved, self._lost.get(digest, held.resolved))
        if raiser is not None:
            self._raised.setdefault(raiser, []).append(arbitrated)
            self._against.setdefault(raiser, Counter()).update(conflict.pair)
            if held.resolved is not None:
                heappush(self._agenda, (held.resolved, _ROOM, raiser))

    def _arbitrate(self, found: Found, second: int, raiser: str | None) -> Arbitrated | None:
        conflict, papers = found.conflict, self._papers
        written = papers.written.get(conflict.digest)
        opened = max(second, (written and written.opened) or second)
        revision = papers.histories[conflict.domain].at(opened)
        if revision is None or opened > self._at:
            return None
        severity = (written and written.severity) or severity_of(Extent(scope_of(found), len(revision.members), 0))
        ballots = tuple(papers.ballots.get(conflict.digest, ()))
        case = Arbitration(conflict, opened, severity, frozenset(found.excluded), papers.histories, ballots)
        return Arbitrated(found, severity, opened, arbitrate(case, self._at), raiser)


def execution(conflicts: Iterable[Arbitrated], digest: str) -> dict[str, Any] | None:
    """What the conflicts of an adopted proposal mean for it; None: it is party of none."""
    held = [item.held for item in conflicts]
    if not held:
        return None
    lost = loss(held, digest)
    if lost is not None:
        return {"state": "Failed", "reason": str(lost[0])}
    return {"state": "Conflict" if is_held(held) else "Proceeds", "reason": None}
