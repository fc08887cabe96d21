"""Delegations: Attestations of type Delegation, {to, types[]} (governance.md, "Delegation")."""

from collections.abc import Iterable
from dataclasses import dataclass

from quorate.api.conditions import Reason
from quorate.proposals.votes import Question, judge_key
from quorate.trust.record import AHEAD_SECONDS, AttestationRecord, stand


@dataclass(frozen=True, eq=False)
class DelegationRecord(AttestationRecord):
    """A delegation as recorded."""

    @property
    def to(self) -> str:
        """The delegate's nodeId; empty: the key revokes what it delegated."""
        return str(self.content.get("to") or "")

    @property
    def types(self) -> tuple[str, ...]:
        """Proposal types that it covers."""
        types = self.content.get("types")
        return tuple(str(item) for item in types) if isinstance(types, list | tuple) else ()


def judge_delegation(question: Question, record: DelegationRecord, *, closes: int, at: int | None) -> Reason | None:
    """Why a delegation is refused by itself, with the checks of a vote; None: it is not."""
    fields = record.statement.fields
    if fields.get("type") != "Delegation" or fields.get("domain") != question.domain:
        return Reason.OTHER_PROPOSAL
    if record.holder not in question.members:
        return Reason.NOT_IN_ELECTORATE
    if record.recorded > closes:
        return Reason.TOO_LATE
    if record.made_at > record.recorded + AHEAD_SECONDS:
        return Reason.FROM_THE_FUTURE
    return judge_key(question, record, record.holder, at)


@dataclass(frozen=True)
class Delegated:
    """To whom a member delegates, and the record that completed it."""

    to: str
    completing: DelegationRecord


def delegate_of(question: Question, records: Iterable[DelegationRecord], threshold: int, end: int) -> Delegated | None:
    """The delegate that `threshold` keys of one member name, None where none or two are; `end` is the phase's."""
    by_delegate: dict[str, list[DelegationRecord]] = {}
    for record in sorted(stand(records).records, key=lambda item: item.moment):
        if _delegates(question, record, end):
            by_delegate.setdefault(record.to, []).append(record)
    reached = [to for to, named in by_delegate.items() if len(named) >= threshold]
    if len(reached) != 1:
        return None
    return Delegated(reached[0], by_delegate[reached[0]][threshold - 1])


def _delegates(question: Question, record: DelegationRecord, end: int) -> bool:
    """Whether a standing record delegates: unexpired at the end, listing the type, to a member of the electorate."""
    unexpired = record.expires_at is None or record.expires_at > end
    return unexpired and question.type in record.types and record.to in question.members
