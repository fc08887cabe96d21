"""Signed statements as recorded, and which of a key's statements stands (governance.md, "Which votes count").

A record keeps the verdicts on its signature: judging again verifies nothing twice.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Generic, Self, TypeVar

from quorate.api.conditions import Reason
from quorate.canonical import parse_time
from quorate.identity.ed25519 import KeyRefusedError, parse_public_key
from quorate.identity.statements import Statement, attestation_statement
from quorate.lazy import lazy

AHEAD_SECONDS = 300
"""How far a signer's clock may be ahead of the recorded time."""


@dataclass(frozen=True, eq=False)
class Record:
    """A signed statement as recorded: `claimed` marks a time that only its signer asserts."""

    statement: Statement
    signature: str
    recorded: int
    claimed: bool = False
    _verdicts: dict[str, bool] = field(default_factory=dict, repr=False)

    def signed_by(self, public_key: str) -> bool:
        """Whether the key (43 characters of base64) signed the statement; verified once per key."""
        known = self._verdicts.get(public_key)
        if known is None:
            try:
                known = self.statement.verify(parse_public_key(public_key), self.signature)
            except KeyRefusedError:
                known = False
            self._verdicts[public_key] = known
            self.statement.forget()
        return known

    def knows(self, public_key: str) -> bool:
        """Whether the signature was verified with this key already."""
        return public_key in self._verdicts

    def told(self, digest: str, public_key: str, *, holds: bool) -> None:
        """What another process of ours found: the digest, and whether this key signed."""
        self.__dict__["digest"] = digest
        self._verdicts[public_key] = holds

    @lazy
    def digest(self) -> str:
        """The statement's digest."""
        return self.statement.digest

    @lazy
    def moment(self) -> tuple[int, str]:
        """Order of recording: by second, within one by digest."""
        return (self.recorded, self.digest)

    @lazy
    def place(self) -> tuple[int, str, bool, str]:
        """Order of records of which two may hold the same statement."""
        return (self.recorded, self.digest, self.claimed, self.signature)

    @lazy
    def key_name(self) -> str:
        """The key that signed, by name; no other is tried."""
        return str(self.statement.fields["keyName"])

    @lazy
    def sequence(self) -> int:
        """The number by which the signer orders its own statements."""
        return int(self.statement.fields["sequence"])


@dataclass(frozen=True, eq=False)
class AttestationRecord(Record):
    """An attestation."""

    @classmethod
    def of(cls, mesh_id: str, spec: Mapping[str, Any], recorded: int | None) -> Self:
        """From an Attestation's spec; without a recorded second, `at` takes its place and it is `claimed`."""
        second = parse_time(spec["at"]) if recorded is None else recorded
        return cls(attestation_statement(mesh_id, spec), spec["signature"], second, recorded is None)

    @lazy
    def type(self) -> str:
        """What is attested."""
        return str(self.statement.fields.get("type"))

    @lazy
    def holder(self) -> str:
        """The attester's nodeId."""
        return str(self.statement.fields["attester"])

    @lazy
    def made_at(self) -> int:
        """When it was signed, by its own account: `at`."""
        return parse_time(self.statement.fields["at"])

    @lazy
    def expires_at(self) -> int | None:
        """From this second on it is void."""
        text = self.statement.fields.get("expiresAt")
        return None if text is None else parse_time(text)

    @lazy
    def subject(self) -> Mapping[str, Any]:
        """What it is about: {kind, name, digest}; empty without one."""
        subject = self.statement.fields.get("subject")
        return subject if isinstance(subject, Mapping) else {}

    @lazy
    def content(self) -> Mapping[str, Any]:
        """What is stated."""
        content = self.statement.fields.get("statement")
        return content if isinstance(content, Mapping) else {}


R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Standing(Generic[R]):
    """The standing record of each key of one holder, and why the others do not stand."""

    records: tuple[R, ...]
    reasons: Mapping[R, Reason]


def stand(records: Iterable[R]) -> Standing[R]:
    """Sequence, duplicates and equivocation per key, among one holder's records that pass every other check."""
    by_key: dict[str, list[R]] = {}
    for record in records:
        by_key.setdefault(record.key_name, []).append(record)
    reasons: dict[R, Reason] = {}
    chosen = [_highest(items, reasons) for _, items in sorted(by_key.items())]
    return Standing(tuple(item for item in chosen if item is not None), reasons)


def highest(records: Sequence[R]) -> R | None:
    """The standing record of one key."""
    return _highest(records, {})


_sequence = attrgetter("sequence")


def _highest(records: Sequence[R], reasons: dict[R, Reason]) -> R | None:
    if len(records) == 1:
        return records[0]
    if len({record.sequence for record in records}) == len(records):
        # What nearly every key does: neither copies nor equivocation.
        first, *others = sorted(records, key=_sequence, reverse=True)
        reasons.update(dict.fromkeys(others, Reason.OVERTAKEN))
        return first
    contents: dict[int, dict[str, list[R]]] = {}
    for record in sorted(records, key=lambda item: (item.recorded, item.claimed)):
        contents.setdefault(record.sequence, {}).setdefault(record.digest, []).append(record)
    standing: R | None = None
    for _, by_content in sorted(contents.items(), reverse=True):
        if len(by_content) > 1:
            # Copies too: Equivocation comes before Duplicate.
            reasons.update((record, Reason.EQUIVOCATION) for same in by_content.values() for record in same)
            continue
        ((first, *copies),) = by_content.values()
        reasons.update(dict.fromkeys(copies, Reason.DUPLICATE))
        if standing is None:
            standing = first
        else:
            reasons[first] = Reason.OVERTAKEN
    return standing
