"""The offline tally: outcomes from documents alone (governance.md, "Offline"; issue 3, "Offline tally").

What the log would say is taken from the documents: a creationTimestamp, else the time that a signer claims. Each result
is the outcome document plus `proposal`, `opened` and `claimed`, the list of times that only a document asserts.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from quorate.api.conditions import Reason
from quorate.api.governance_proposal import Phase as LifePhase
from quorate.canonical import format_time
from quorate.conflicts.detect import Candidate
from quorate.conflicts.effect import is_held, loss, resumed_window
from quorate.conflicts.offline import conflicts_of, execution
from quorate.conflicts.papers import Arbitrated, Opened, Papers, Told
from quorate.conflicts.rivals import TooManyRivalsError
from quorate.identity.ed25519 import parse_public_key
from quorate.identity.statements import Statement, proposal_statement
from quorate.proposals import outcome
from quorate.proposals.acts import ActRecord
from quorate.proposals.ahead import Ahead, nothing_ahead
from quorate.proposals.amendment import OpenRevision, Standing, judge_spec
from quorate.proposals.chains import BEGINNING, Authorisation, Chains, build_chains, times_claimed
from quorate.proposals.decision import Case, decide, endorsed_at, still_endorsed
from quorate.proposals.delegation import DelegationRecord
from quorate.proposals.folder import (
    DocumentError,
    Folder,
    Object,
    acts_of,
    created,
    name_of,
    namespace_of,
    sort_documents,
    time_of,
    title_of,
)
from quorate.proposals.lifecycle import SETTLE_SECONDS, Life, Timing
from quorate.proposals.opening import Refusal, check_opening
from quorate.proposals.phase import ADOPTED, Decision
from quorate.proposals.votes import Ballot, vote_key
from quorate.trust.record import AttestationRecord

__all__ = ["DocumentError", "tally_documents"]


def tally_documents(
    objects: Sequence[Object],
    *,
    at: int,
    opened: int | None = None,
    pins: Mapping[str, str] | None = None,
    ahead: Ahead = nothing_ahead,
) -> list[dict[str, Any]]:
    """The outcome of each proposal revision in the documents, as of `at`; their order does not matter.

    Args:
        objects: Kubernetes objects: TrustDomains (every revision from 1), GovernanceProposals (every revision), Votes,
            Attestations; other kinds are passed over.
        at: Unix seconds.
        opened: The opening of each proposal's first revision; else its status, else its creationTimestamp.
        pins: Digest of revision 1 by `<meshId>/<name>`; without one, the first revision is taken on trust.
        ahead: Verifies signatures of votes before they are asked for.

    Raises:
        DocumentError: a document of the wrong form, or an opening that nothing gives.
    """
    folder = sort_documents(objects)
    if not folder.proposals:
        raise DocumentError("no GovernanceProposal among the documents: nothing to tally")
    authorised: list[tuple[int, Authorisation]] = []
    while True:
        chains = build_chains(folder, pins or {}, [found for _, found in authorised])
        ahead(list(_known_ballots(folder, chains)), chains.histories)
        results = _contested(folder, chains, at, opened)
        wanted = {refused["digest"] for refused in chains.refused}
        found = [item for result in results for item in result.authorises(at) if item[1].result in wanted]
        fresh = [item for item in found if item not in authorised]
        if not fresh:
            return [result.document for result in results]
        # The earliest alone: the revision that it brings about may change what is decided later.
        authorised.append(min(fresh, key=lambda item: item[0]))


def _known_ballots(folder: Folder, chains: Chains) -> Iterator[Ballot]:
    """The votes of domains that have an accepted revision."""
    for item in folder.votes:
        history = chains.histories.get(item["spec"]["domain"])
        if history is not None:
            yield folder.ballot(history.latest.mesh_id, item)


@dataclass(frozen=True)
class _Result:
    """What became of one revision of a proposal."""

    document: dict[str, Any]
    case: Case | Refusal
    decision: Decision | None
    conflicts: tuple[Arbitrated, ...] = ()

    @property
    def candidate(self) -> Candidate | None:
        """An adopted proposal with its timelock; None of any other, and of an emergency, which waits for nobody."""
        case, decision = self.case, self.decision
        if isinstance(case, Refusal) or decision is None or decision.outcome != ADOPTED or case.type == "Emergency":
            return None
        timing = Timing.of(self.document["rules"] or {}, case.type)
        return Candidate(case.statement, decision.at, timing.window(decision.at)[0])

    def authorises(self, at: int) -> Iterator[tuple[int, Authorisation]]:
        """The revision of a TrustDomain that an adopted proposal authorises, with the second of its decision."""
        case, decision = self.case, self.decision
        if isinstance(case, Refusal) or decision is None or decision.outcome != ADOPTED:
            return
        fields, rules = case.statement.fields, case.history.at(case.opened)
        target, change = fields["target"], fields["change"]
        if (target["kind"], target["name"], case.type) != ("TrustDomain", case.domain, "Constitutional"):
            return
        timing = Timing.of((rules and rules.rules(case.type)) or {}, case.type)
        # It is decided two seconds after T at the earliest, and the window begins with the end of the timelock.
        held = [item.held for item in self.conflicts]
        after, before = resumed_window(timing.window(decision.at), (item.resolved for item in held if item.resolved))
        first = max(after, decision.at + SETTLE_SECONDS)
        if first <= at and not is_held(held) and loss(held, case.digest) is None:
            result = Authorisation(case.domain, change["baseDigest"], change["resultDigest"], first, before)
            yield decision.at, result


def _contested(folder: Folder, chains: Chains, at: int, opened: int | None) -> list[_Result]:
    """The results with the conflicts of their proposals; votes on a conflict are votes on no proposal."""
    results = _tally(folder, chains, at, opened)
    candidates = [item for item in (result.candidate for result in results) if item is not None]
    if not candidates and not folder.conflicts:
        return results
    asked = {str(result.document["proposal"]["digest"]) for result in results}
    papers = _papers(folder, chains, asked, results)
    try:
        told = conflicts_of(candidates, papers, at)
    except TooManyRivalsError as error:
        raise DocumentError(str(error)) from error
    known = {*papers.written, *(item.found.conflict.digest for item in told.opened)}
    if not known:
        return results
    results = _tally(folder, chains, at, opened, known)
    return [_with_conflicts(result, told) for result in results]


def _with_conflicts(result: _Result, told: Told) -> _Result:
    digest = result.document["proposal"]["digest"]
    own, refused = told.of(digest)
    shown: dict[str, Any] = {"refusedConflicts": [item.document for item in refused]} if refused else {}
    if own:
        shown |= {"conflicts": [item.document for item in own]}
    if own and result.decision is not None and result.decision.outcome == ADOPTED:
        shown |= {"execution": execution(own, digest)}
    return replace(result, document={**result.document, **shown}, conflicts=tuple(own)) if shown else result


def _opened_proposals(results: Sequence[_Result]) -> dict[str, Opened]:
    """Every proposal that opened; what ended otherwise than adopted is over with its entry, at the earliest."""
    found = {}
    for result in results:
        case, decision = result.case, result.decision
        if isinstance(case, Refusal):
            continue
        ended = None
        if decision is not None and decision.outcome not in (ADOPTED, Reason.EMERGENCY_EXECUTED):
            ended = decision.at + (0 if decision.outcome == Reason.SUPERSEDED else SETTLE_SECONDS)
        found[case.digest] = Opened(case.statement.fields, case.opened, ended)
    return found


def _papers(folder: Folder, chains: Chains, asked: Collection[str], results: Sequence[_Result]) -> Papers:
    """What conflicts are told from; votes on proposals are none of it."""
    ballots: dict[str, list[Ballot]] = {}
    for item in folder.votes:
        history, digest = chains.histories.get(item["spec"]["domain"]), item["spec"]["proposal"]["digest"]
        if history is not None and digest not in asked:
            ballots.setdefault(digest, []).append(folder.ballot(history.latest.mesh_id, item))
    attested: dict[str, list[AttestationRecord]] = {}
    for item in folder.attestations:
        subject, history = item["spec"].get("subject") or {}, chains.histories.get(item["spec"]["domain"])
        if (item["spec"]["type"], subject.get("kind")) == ("Compliance", "PolicyConflict") and history is not None:
            record = AttestationRecord.of(history.latest.mesh_id, item["spec"], created(item))
            attested.setdefault(str(subject.get("digest")), []).append(record)
    return Papers(chains.histories, ballots, folder.conflicts, attested, _opened_proposals(results))


def _tally(
    folder: Folder, chains: Chains, at: int, opened: int | None, conflicts: Collection[str] = ()
) -> list[_Result]:
    proposals: dict[tuple[str, str], dict[str, _Revision]] = {}
    for item in folder.proposals:
        statement = _statement(item, chains)
        revisions = proposals.setdefault((namespace_of(item), name_of(item)), {})
        revisions.setdefault(statement.digest, _Revision(statement, [])).copies.append(item)
    asked = {digest for revisions in proposals.values() for digest in revisions}.union(conflicts)
    votes = _votes_on(folder, asked)
    return [
        result
        for _, revisions in sorted(proposals.items())
        for result in _Proposal(folder, chains, votes, at).tally(list(revisions.values()), opened)
    ]


def _votes_on(folder: Folder, asked: Collection[str]) -> dict[str | None, list[Object]]:
    """The votes by the digest that they are on; None: on nothing among the documents, so each proposal shows them."""
    found: dict[str | None, list[Object]] = {}
    for item in folder.votes:
        digest = item["spec"]["proposal"]["digest"]
        found.setdefault(digest if digest in asked else None, []).append(item)
    return found


def _statement(item: Object, chains: Chains) -> Statement:
    history = chains.histories.get(str(item["spec"].get("trustDomain")))
    mesh = "" if history is None else history.latest.mesh_id
    return proposal_statement(mesh, namespace_of(item), name_of(item), item["spec"])


@dataclass(frozen=True)
class _Revision:
    """One revision of a proposal and its copies: they differ in what the digest does not cover."""

    statement: Statement
    copies: list[Object]

    @property
    def number(self) -> int:
        return int(self.statement.fields["revision"])

    @property
    def title(self) -> str:
        return title_of(self.copies[0])

    def earliest(self, section: str, name: str) -> int | None:
        """The earliest time that a copy gives."""
        times = [time_of(item, section, name) for item in self.copies]
        return min((second for second in times if second is not None), default=None)

    @property
    def created(self) -> int | None:
        return self.earliest("metadata", "creationTimestamp")

    @property
    def place(self) -> tuple[int, int, str]:
        second = self.created
        return self.number, BEGINNING if second is None else second, self.statement.digest

    def spec(self, chains: Chains, second: int) -> Mapping[str, Any]:
        """The spec of the copy that the proposer signed, of the first in order of signatures if none is."""
        fields = self.statement.fields
        history = chains.histories.get(str(fields["domain"]))
        key = None if history is None else vote_key(history.at(second), fields["proposer"], fields["keyName"])
        specs: list[Mapping[str, Any]] = sorted(
            (item["spec"] for item in self.copies), key=lambda spec: str(spec.get("signature"))
        )
        if key is None:
            return specs[0]
        raw = parse_public_key(key.public_key)
        return next((spec for spec in specs if self.statement.verify(raw, spec.get("signature"))), specs[0])


@dataclass
class _Proposal:
    """The revisions of one proposal, one after the other."""

    folder: Folder
    chains: Chains
    votes: Mapping[str | None, Sequence[Object]]
    at: int

    def tally(self, revisions: list[_Revision], opened: int | None) -> list[_Result]:
        first, *others = sorted(revisions, key=lambda item: item.place)
        start = self._opened(first, opened)
        results, current, place, amendments = [], self._open(first, start), first, 0
        for second, item in self._recorded(others, start):
            if isinstance(current, Refusal):
                # What did not open stands in nobody's way.
                results.append(self._result(place, start, current))
                start, place, current = second, item, self._open(item, second)
                continue
            refusal = self._amends(current, item, second, amendments)
            if refusal is not None:
                results.append(self._result(item, second, refusal))
                continue
            results.append(self._result(place, start, replace(current, superseded=second)))
            start, place, current, amendments = second, item, self._open(item, second), amendments + 1
        results.append(self._result(place, start, current))
        return sorted(results, key=lambda result: int(result.document["proposal"]["revision"]))

    def _recorded(self, revisions: Sequence[_Revision], start: int) -> list[tuple[int, _Revision]]:
        """Later revisions in order of recording; one without a time is recorded with its predecessor."""
        found, before = [], start
        for item in revisions:
            before = max(start, before if item.created is None else item.created)
            found.append((before, item))
        return sorted(found, key=lambda pair: (pair[0], pair[1].number, pair[1].statement.digest))

    def _opened(self, item: _Revision, opened: int | None) -> int:
        for second in (opened, item.earliest("status", "openedAt"), item.created):
            if second is not None:
                if second > self.at:
                    message = f"the proposal opens at {format_time(second)}, after --at {format_time(self.at)}"
                    raise DocumentError(f"{item.title}: {message}")
                return second
        raise DocumentError(
            f"{item.title}: neither --opened nor status.openedAt nor metadata.creationTimestamp says when it opened"
        )

    def _open(self, item: _Revision, second: int) -> Case | Refusal:
        statement, spec = item.statement, item.spec(self.chains, second)
        if second > self.at:
            return Refusal(Reason.WAITING, f"it is recorded at {format_time(second)}, after --at")
        if spec.get("signature") is None:
            return Refusal(Reason.BAD_SIGNATURE, "spec.signature is absent: an unsigned draft does not open")
        opening = check_opening(statement, spec["signature"], self.chains.histories, second=second)
        if isinstance(opening, Refusal):
            return opening
        mesh, domain = str(statement.fields["meshId"]), str(spec["trustDomain"])
        case = Case(
            statement,
            second,
            {name: self.chains.histories[name] for name in opening.revisions},
            self._ballots(mesh, statement.digest),
            [DelegationRecord.of(mesh, found["spec"], created(found)) for found in self.folder.delegations],
            [ActRecord.of(mesh, domain, act, None) for copy in item.copies for act in acts_of(copy)],
            attestations=[
                AttestationRecord.of(mesh, found["spec"], created(found))
                for found in self.folder.attestations
                if found["spec"]["domain"] == domain
            ],
        )
        return replace(case, executed=_executed(case, item.earliest("status", "executedAt")))

    def _ballots(self, mesh: str, digest: str) -> list[Ballot]:
        """The votes on this digest, and those on none of the documents' proposals, so that each is shown."""
        found = (*self.votes.get(digest, ()), *self.votes.get(None, ()))
        return [self.folder.ballot(mesh, item) for item in found]

    def _amends(self, current: Case, item: _Revision, second: int, amendments: int) -> Refusal | None:
        """Why a later revision changes nothing; None: it supersedes the open one."""
        if second > self.at:
            return Refusal(Reason.WAITING, f"it is recorded at {format_time(second)}, after --at")
        progress, spec = decide(current, self.at), item.spec(self.chains, second)
        key = vote_key(current.history.at(second), str(spec["proposer"]), str(spec["keyName"]))
        decided = None if progress.decision is None else progress.decision.at
        revision = OpenRevision(
            current.digest,
            current.statement.fields,
            progress.deadline,
            amendments,
            Life(LifePhase.VOTING, opened_at=current.opened, decided_at=decided),
        )
        verdict = judge_spec(
            revision,
            namespace=namespace_of(item.copies[0]),
            name=name_of(item.copies[0]),
            spec=spec,
            public_key=parse_public_key(key.public_key) if key and key.valid_at(second) else None,
            recorded=second,
        )
        if verdict.standing is not Standing.AMENDS:
            return Refusal(verdict.reason, verdict.message)
        opened = self._open(item, second)
        return opened if isinstance(opened, Refusal) else None

    def _result(self, item: _Revision, second: int, case: Case | Refusal) -> _Result:
        decision = None
        if isinstance(case, Refusal):
            result, claimed = outcome.refusal(case.reason, case.message), []
        else:
            progress = decide(case, self.at)
            result, decision = outcome.document(progress), progress.decision
            claimed = ["opened", *(f"{act.act} by {act.by}" for act in case.acts)]
            claimed += [text for name in sorted(case.histories) for text in times_claimed(case.histories[name])]
        proposal = {
            "namespace": namespace_of(item.copies[0]),
            "name": name_of(item.copies[0]),
            "revision": item.number,
            "digest": item.statement.digest,
        }
        extra = {"proposal": proposal, "opened": format_time(second), "claimed": list(dict.fromkeys(claimed))}
        return _Result({**result, **extra, "refusedRevisions": self.chains.refused}, case, decision)


def _executed(case: Case, claimed: int | None) -> int | None:
    """The execution time: status.executedAt, else T of the completing endorsement (governance.md, "Emergency").

    A status that claims a second at which the endorsement did not stand is not believed.
    """
    if case.type != "Emergency":
        return claimed
    if claimed is not None and claimed >= case.opened and still_endorsed(case, claimed):
        return claimed
    return endorsed_at(case)
