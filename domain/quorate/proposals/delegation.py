"""Delegations: Attestations of type Delegation, {to, types[]} (governance.md, "Delegation")."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from quorate.api.conditions import Reason
from quorate.canonical import parse_time
from quorate.identity.statements import attestation_statement
from quorate.proposals.votes import AHEAD_SECONDS, Question, Record, judge_key, stand


@dataclass(frozen=True, eq=False)
class DelegationRecord(Record):
    """A delegation as recorded."""

    @classmethod
    def of(cls, mesh_id: str, spec: Mapping[str, Any], recorded: int | None) -> Self:
        """From an Attestation's spec; without a recorded second, `at` takes its place and it is `claimed`."""
        second = parse_time(spec["at"]) if recorded is None else recorded
        return cls(attestation_statement(mesh_id, spec), spec["signature"], second, recorded is None)

    @cached_property
    def holder(self) -> str:
        """The delegator's nodeId."""
        return str(self.statement.fields["attester"])

    @cached_property
    def made_at(self) -> int:
        """`at`."""
        return parse_time(self.statement.fields["at"])

    @property
    def to(self) -> str:
        """The delegate's nodeId; empty: the key revokes what it delegated."""
        return str(self._content.get("to") or "")

    @property
    def types(self) -> tuple[str, ...]:
        """Proposal types that it covers."""
        types = self._content.get("types")
        return tuple(str(item) for item in types) if isinstance(types, list | tuple) else ()

    @cached_property
    def expires_at(self) -> int | None:
        """From this second on it is void."""
        text = self.statement.fields.get("expiresAt")
        return None if text is None else parse_time(text)

    @property
    def _content(self) -> Mapping[str, Any]:
        content = self.statement.fields.get("statement")
        return content if isinstance(content, Mapping) else {}


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
