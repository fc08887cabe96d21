"""What conflicts are told from where there are documents alone, and what is told of them (docs/conflicts.md)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from quorate.api.conditions import Reason
from quorate.api.policy_conflict import Severity
from quorate.canonical import format_time, parse_time
from quorate.conflicts.arbitration import LevelState, Progress
from quorate.conflicts.document import PROPOSAL, Conflict, Found
from quorate.conflicts.effect import Held
from quorate.proposals.lifecycle import SETTLE_SECONDS
from quorate.proposals.votes import Ballot
from quorate.trust.domain import DomainHistory
from quorate.trust.record import AttestationRecord

Object = Mapping[str, Any]


@dataclass(frozen=True)
class Opened:
    """A proposal that opened: its signed fields, and seconds. `ended` None: it is open, or was adopted."""

    fields: Mapping[str, Any]
    opened: int
    ended: int | None


@dataclass(frozen=True)
class Papers:
    """Documents beside the proposals.

    Attributes:
        histories: Accepted revisions by domain.
        ballots: Every vote on a digest, by digest.
        conflicts: PolicyConflict objects.
        attestations: Those of type Compliance, by the digest of their subject.
        proposals: Each proposal that opened, by its digest.
    """

    histories: Mapping[str, DomainHistory]
    ballots: Mapping[str, Sequence[Ballot]]
    conflicts: Sequence[Object]
    attestations: Mapping[str, Sequence[AttestationRecord]]
    proposals: Mapping[str, Opened]

    @cached_property
    def written(self) -> Mapping[str, "Written"]:
        """The PolicyConflicts of known domains by digest, whatever the order and the number of their copies."""
        copies: dict[str, list[Object]] = {}
        found: dict[str, Conflict] = {}
        for item in self.conflicts:
            history = self.histories.get(item["spec"]["domain"])
            if history is not None:
                conflict = Conflict.of(history.latest.mesh_id, item["spec"])
                found[conflict.digest] = conflict
                copies.setdefault(conflict.digest, []).append(item)
        return {digest: Written(found[digest], min(items, key=_claims)) for digest, items in copies.items()}

    def signed_fields(self, conflict: Conflict) -> dict[str, Mapping[str, Any]]:
        """The fields of its parties that are proposals and opened, by digest."""
        parties = (party.digest for party in conflict.parties if party.kind == PROPOSAL)
        return {digest: self.proposals[digest].fields for digest in parties if digest in self.proposals}


def _claims(item: Object) -> tuple[str, str, str, str]:
    status, spec = item.get("status") or {}, item["spec"]
    name = str(item["metadata"].get("name"))
    return str(status.get("openedAt") or "~"), str(status.get("severity")), str(spec.get("severity")), name


@dataclass(frozen=True)
class Written:
    """A conflict as a PolicyConflict describes it."""

    conflict: Conflict
    document: Object

    @property
    def name(self) -> str:
        """The object's name."""
        return str(self.document["metadata"].get("name"))

    @property
    def opened(self) -> int | None:
        """The second at which its status claims that it opened."""
        text = (self.document.get("status") or {}).get("openedAt")
        return None if text is None else parse_time(text)

    @property
    def severity(self) -> Severity | None:
        """What it claims: the pods are not known from documents."""
        for part in (self.document.get("spec") or {}, self.document.get("status") or {}):
            if part.get("severity"):
                return Severity(part["severity"])
        return None


@dataclass(frozen=True)
class Arbitrated:
    """A conflict with the second at which it opened, and where it stands; `raised_by` the member that raised it."""

    found: Found
    severity: Severity
    opened: int
    progress: Progress
    raised_by: str | None = None

    @cached_property
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
            "raisedBy": self.raised_by,
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


@dataclass(frozen=True)
class Refused:
    """A raised conflict that the rules do not let open, whatever its status claims."""

    written: Written
    reason: Reason
    message: str

    @property
    def document(self) -> dict[str, Any]:
        """What the tally shows of it."""
        claimed = self.written.opened
        return {
            "digest": self.written.conflict.digest,
            "name": self.written.name,
            "reason": str(self.reason),
            "message": self.message,
            "claimed": None if claimed is None else format_time(claimed),
        }


class Told:
    """Every conflict that opened, in that order, and every raised one that did not, each found by its parties."""

    def __init__(self, opened: Iterable[Arbitrated] = (), refused: Iterable[Refused] = ()) -> None:
        self.opened, self.refused = tuple(opened), tuple(refused)
        self._of: dict[str, tuple[list[Arbitrated], list[Refused]]] = {}
        for item in self.opened:
            for digest in item.found.conflict.pair:
                self._of.setdefault(digest, ([], []))[0].append(item)
        for refusal in self.refused:
            for digest in refusal.written.conflict.pair:
                self._of.setdefault(digest, ([], []))[1].append(refusal)

    def of(self, digest: str) -> tuple[Sequence[Arbitrated], Sequence[Refused]]:
        """Those that a proposal is a party of."""
        return self._of.get(digest, ((), ()))
