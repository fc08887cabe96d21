"""The offline tally: outcomes from documents alone (governance.md, "Offline"; issue 3, "Offline tally").

What the log would say is taken from the documents: a creationTimestamp, else the time that a signer claims. Each result
is the outcome document plus `proposal`, `opened` and `claimed`, the list of times that only a document asserts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from quorate.api.conditions import Reason
from quorate.api.governance_proposal import GovernanceProposalSpec
from quorate.api.governance_proposal import Phase as LifePhase
from quorate.canonical import MAX_INTEGER, NotCanonicalError, format_time, parse_time
from quorate.identity.ed25519 import parse_public_key
from quorate.identity.statements import Statement, proposal_statement
from quorate.proposals import outcome
from quorate.proposals.acts import ActRecord
from quorate.proposals.amendment import OpenRevision, Standing, judge_spec
from quorate.proposals.decision import Case, decide, endorsed_at
from quorate.proposals.delegation import DelegationRecord
from quorate.proposals.lifecycle import Life
from quorate.proposals.opening import Refusal, check_opening
from quorate.proposals.votes import Ballot, vote_key
from quorate.trust.domain import AcceptedRevision, DomainHistory
from quorate.trust.form import check_fields
from quorate.trust.revisions import check_revision

Object = Mapping[str, Any]


class DocumentError(ValueError):
    """A document that cannot be used; the message names the object, field, value and rule."""


@dataclass
class Folder:
    """The documents by kind, as found; `refused` lists revisions that were not accepted."""

    domains: list[Object] = field(default_factory=list)
    proposals: list[Object] = field(default_factory=list)
    votes: list[Object] = field(default_factory=list)
    attestations: list[Object] = field(default_factory=list)
    refused: list[dict[str, Any]] = field(default_factory=list)


def tally_documents(
    objects: Sequence[Object], *, at: int, opened: int | None = None, pins: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """The outcome of each proposal revision in the documents, as of `at`.

    Args:
        objects: Kubernetes objects: TrustDomains (every revision from 1), GovernanceProposals (every revision), Votes,
            Attestations; other kinds are passed over.
        at: Unix seconds.
        opened: The opening of each proposal's first revision; else its status, else its creationTimestamp.
        pins: Digest of revision 1 by `<meshId>/<name>`; without one, the first revision is taken on trust.

    Raises:
        DocumentError: a document of the wrong form, or an opening that nothing gives.
    """
    folder = _sort(objects)
    histories = _histories(folder, at, pins or {})
    names: dict[tuple[str, str], list[Object]] = {}
    for item in folder.proposals:
        check_proposal(item)
        names.setdefault((_namespace(item), _name(item)), []).append(item)
    if not names:
        raise DocumentError("no GovernanceProposal among the documents: nothing to tally")
    asked = {_statement(item, histories).digest for item in folder.proposals}
    results = []
    for revisions in names.values():
        results += _Proposal(folder, histories, asked, at).tally(revisions, opened)
    return results


def _sort(objects: Sequence[Object]) -> Folder:
    folder = Folder()
    places = {
        "TrustDomain": folder.domains,
        "GovernanceProposal": folder.proposals,
        "Vote": folder.votes,
        "Attestation": folder.attestations,
    }
    for index, item in enumerate(objects):
        if not isinstance(item.get("kind"), str):
            raise DocumentError(f"document {index + 1}: kind is required; expected a Kubernetes object")
        if item["kind"] not in places:
            continue
        for part in ("metadata", "spec"):
            if not isinstance(item.get(part), Mapping):
                raise DocumentError(f"document {index + 1} ({item['kind']}): {part} {item.get(part)!r}: not an object")
        places[item["kind"]].append(item)
    for vote in folder.votes:
        check_vote(vote)
    folder.attestations = [item for item in folder.attestations if item["spec"].get("type") == "Delegation"]
    for item in folder.attestations:
        _check(item, _DELEGATION)
    return folder


def _name(item: Object) -> str:
    name = item["metadata"].get("name")
    if not isinstance(name, str):
        raise DocumentError(f"{item['kind']}: metadata.name {name!r} must be a string")
    return name


def _namespace(item: Object) -> str:
    return str(item["metadata"].get("namespace") or "default")


def _title(item: Object) -> str:
    return f"{item['kind']} {item['metadata'].get('name')}"


def _time(item: Object, section: str, name: str) -> int | None:
    text = (item.get(section) or {}).get(name)
    try:
        return None if text is None else parse_time(text)
    except ValueError as error:
        raise DocumentError(f"{_title(item)}: {section}.{name}: {error}") from error


def created(item: Object) -> int | None:
    """The second of metadata.creationTimestamp, None without one."""
    return _time(item, "metadata", "creationTimestamp")


def _text(value: Any) -> str | None:
    return None if isinstance(value, str) else "must be a string"


def _whole(value: Any) -> str | None:
    whole = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_INTEGER
    return None if whole else "must be an integer from 0 to 2^53-1"


def _moment(value: Any) -> str | None:
    try:
        parse_time(value)
    except ValueError as error:
        return str(error)
    return None


def _optional_moment(value: Any) -> str | None:
    return None if value is None else _moment(value)


def _object(value: Any) -> str | None:
    return None if isinstance(value, Mapping) else "must be an object"


_Checks = Mapping[str, Callable[[Any], str | None]]
_VOTE: _Checks = {
    "proposal": _object,
    "proposal.digest": _text,
    "revision": _whole,
    "voter": _text,
    "keyName": _text,
    "domain": _text,
    "choice": _text,
    "sequence": _whole,
    "castAt": _moment,
    "signature": _text,
}
_DELEGATION: _Checks = {
    "domain": _text,
    "attester": _text,
    "keyName": _text,
    "sequence": _whole,
    "at": _moment,
    "expiresAt": _optional_moment,
    "statement": _object,
    "signature": _text,
}


def _check(item: Object, checks: _Checks) -> None:
    for path, rule in checks.items():
        value: Any = item["spec"]
        for part in path.split("."):
            value = value.get(part)
        wrong = rule(value)
        if wrong is not None:
            raise DocumentError(f"{_title(item)}: spec.{path} {value!r} {wrong}")


def check_vote(item: Object) -> None:
    """Refuse a vote that has no statement; an unknown choice or a bad signature is a vote's reason, not an error."""
    _check(item, _VOTE)


def check_proposal(item: Object) -> None:
    """Refuse a proposal of the wrong form."""
    try:
        check_fields(GovernanceProposalSpec, item["spec"], "spec")
    except ValueError as error:
        raise DocumentError(f"{_title(item)}: {error}") from error


def _histories(folder: Folder, at: int, pins: Mapping[str, str]) -> dict[str, DomainHistory]:
    """The accepted chain of each domain: from revision 1, each authorised by the one before."""
    accepted: dict[str, list[AcceptedRevision]] = {}

    def number(item: Object) -> int:
        revision = item["spec"].get("revision")
        return revision if isinstance(revision, int) else 0

    for item in sorted(folder.domains, key=number):
        name, spec = _name(item), item["spec"]
        chain = accepted.setdefault(name, [])
        history = DomainHistory(chain) if chain else None
        verdict = check_revision(name, spec, history, pin=pins.get(f"{spec.get('meshId')}/{name}"), now=at)
        if verdict.accepted and verdict.revision is not None:
            before = chain[-1].recorded if chain else 0
            chain.append(AcceptedRevision(verdict.revision, max(before, created(item) or before)))
        elif not verdict.unchanged:
            reason, revision = str(verdict.reason), spec.get("revision")
            folder.refused.append({"domain": name, "revision": revision, "reason": reason, "message": verdict.message})
    return {name: DomainHistory(chain) for name, chain in accepted.items() if chain}


def _statement(item: Object, histories: Mapping[str, DomainHistory]) -> Statement:
    history = histories.get(str(item["spec"].get("trustDomain")))
    mesh = "" if history is None else history.latest.mesh_id
    statement = proposal_statement(mesh, _namespace(item), _name(item), item["spec"])
    try:
        _ = statement.digest
    except NotCanonicalError as error:
        raise DocumentError(f"{_title(item)}: spec{error}") from error
    return statement


@dataclass
class _Proposal:
    """The revisions of one proposal, one after the other."""

    folder: Folder
    histories: Mapping[str, DomainHistory]
    asked: set[str]
    at: int

    def tally(self, revisions: Sequence[Object], opened: int | None) -> list[dict[str, Any]]:
        unique = {_statement(item, self.histories).digest: item for item in reversed(revisions)}
        ordered = sorted(unique.values(), key=lambda item: int(item["spec"]["revision"]))
        start = self._opened(ordered[0], opened)
        results, current = [], self._open(ordered[0], start)
        amendments, place = 0, ordered[0]
        for item in ordered[1:]:
            second = created(item)
            second = start if second is None else max(second, start)
            refusal = self._amends(current, item, second, amendments)
            if refusal is not None:
                results.append(self._document(item, second, refusal))
                continue
            assert isinstance(current, Case)
            results.append(self._document(place, start, replace(current, superseded=second)))
            amendments, start, place = amendments + 1, second, item
            current = self._open(item, second)
        results.append(self._document(place, start, current))
        return sorted(results, key=lambda result: int(result["proposal"]["revision"]))

    def _opened(self, item: Object, opened: int | None) -> int:
        for second in (opened, _time(item, "status", "openedAt"), created(item)):
            if second is not None:
                if second > self.at:
                    message = f"the proposal opens at {format_time(second)}, after --at {format_time(self.at)}"
                    raise DocumentError(f"{_title(item)}: {message}")
                return second
        raise DocumentError(
            f"{_title(item)}: neither --opened nor status.openedAt nor metadata.creationTimestamp says when it opened"
        )

    def _open(self, item: Object, second: int) -> Case | Refusal:
        statement, spec = _statement(item, self.histories), item["spec"]
        if spec.get("signature") is None:
            return Refusal(Reason.BAD_SIGNATURE, "spec.signature is absent: an unsigned draft does not open")
        opening = check_opening(statement, spec["signature"], self.histories, second=second)
        if isinstance(opening, Refusal):
            return opening
        mesh, domain = str(statement.fields["meshId"]), str(spec["trustDomain"])
        acts = [*(spec.get("endorsements") or ()), *(spec.get("stops") or ())]
        acts += [spec["withdrawal"]] if spec.get("withdrawal") else []
        case = Case(
            statement,
            second,
            {name: self.histories[name] for name in opening.revisions},
            self._ballots(mesh, statement.digest),
            [DelegationRecord.of(mesh, found["spec"], created(found)) for found in self.folder.attestations],
            [ActRecord.of(mesh, domain, act, None) for act in acts],
            executed=_time(item, "status", "executedAt"),
        )
        if case.type == "Emergency" and case.executed is None:
            return replace(case, executed=endorsed_at(case))
        return case

    def _ballots(self, mesh: str, digest: str) -> list[Ballot]:
        """The votes on this digest, and those on none of the documents' proposals, so that each is shown."""
        found = []
        for item in self.folder.votes:
            voted = item["spec"]["proposal"]["digest"]
            if voted == digest or voted not in self.asked:
                ballot = Ballot.of(mesh, item["spec"], created(item))
                try:
                    _ = ballot.digest
                except NotCanonicalError as error:
                    raise DocumentError(f"{_title(item)}: spec{error}") from error
                found.append(ballot)
        return found

    def _amends(self, current: Case | Refusal, item: Object, second: int, amendments: int) -> Refusal | None:
        """Why a later revision changes nothing; None: it supersedes the open one."""
        if isinstance(current, Refusal):
            return Refusal(Reason.NOT_ACCEPTED, f"the revision before it did not open: {current.message}")
        if second > self.at:
            return Refusal(Reason.WAITING, f"it is recorded at {format_time(second)}, after --at")
        progress, spec = decide(current, self.at), item["spec"]
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
            namespace=_namespace(item),
            name=_name(item),
            spec=spec,
            public_key=parse_public_key(key.public_key) if key and key.valid_at(second) else None,
            recorded=second,
        )
        if verdict.standing is not Standing.AMENDS:
            return Refusal(verdict.reason, verdict.message)
        opened = self._open(item, second)
        return opened if isinstance(opened, Refusal) else None

    def _document(self, item: Object, second: int, case: Case | Refusal) -> dict[str, Any]:
        if isinstance(case, Refusal):
            result, claimed = outcome.refusal(case.reason, case.message), []
        else:
            result = outcome.document(decide(case, self.at))
            claimed = ["opened", *(f"{act.act} by {act.by}" for act in case.acts)]
            claimed += [f"{name} from revision 1" for name in sorted(case.histories)]
        proposal = {
            "namespace": _namespace(item),
            "name": _name(item),
            "revision": item["spec"]["revision"],
            "digest": _statement(item, self.histories).digest,
        }
        extra = {"proposal": proposal, "opened": format_time(second), "claimed": claimed}
        return {**result, **extra, "refusedRevisions": self.folder.refused}
