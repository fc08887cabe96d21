"""Signed acts on a proposal: endorsements, stops, withdrawal (trust.md, "Statements"; governance.md, "Lifecycle")."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from quorate.canonical import encode_base64, parse_time
from quorate.identity.statements import act_statement
from quorate.proposals.votes import in_force_from, vote_key
from quorate.trust.domain import DomainHistory
from quorate.trust.record import Record


@dataclass(frozen=True, eq=False)
class ActRecord(Record):
    """An act as recorded."""

    @classmethod
    def of(cls, mesh_id: str, domain: str, act: Mapping[str, Any], recorded: int | None) -> Self:
        """From {act, proposalDigest, by, keyName, at, signature}; without a recorded second `at` takes its place."""
        second = parse_time(act["at"]) if recorded is None else recorded
        return cls(act_statement(mesh_id, domain, act), act["signature"], second, recorded is None)

    @property
    def act(self) -> str:
        """Endorse, Withdraw or Stop."""
        return str(self.statement.fields["act"])

    @property
    def by(self) -> str:
        """An admin's name; of a withdrawal the proposer's nodeId."""
        return str(self.statement.fields["by"])

    def about(self, digest: str) -> bool:
        """Whether it is about the proposal with this digest."""
        return bool(self.statement.fields["proposalDigest"] == digest)


def admin_key(history: DomainHistory, act: ActRecord) -> bytes | None:
    """The admin key, in force at the recorded second, that signed the act; None if none did."""
    revision = history.at(act.recorded)
    key = None if revision is None or act.by != act.key_name else revision.admins.get(act.key_name)
    return key if key is not None and act.signed_by(encode_base64(key)) else None


def withdrawn_at(history: DomainHistory, digest: str, proposer: str, acts: Iterable[ActRecord]) -> int | None:
    """The second of the first valid withdrawal by the proposer, with a Vote key in force then; None without one."""
    seconds = []
    for act in acts:
        if act.act != "Withdraw" or act.by != proposer or not act.about(digest):
            continue
        key = vote_key(history.at(act.recorded), proposer, act.key_name)
        if key is not None and key.valid_at(act.recorded) and act.signed_by(key.public_key):
            seconds.append(act.recorded)
    return min(seconds, default=None)


def threshold_reached(
    history: DomainHistory, digest: str, kind: str, acts: Iterable[ActRecord], *, opened: int, until: int
) -> int | None:
    """The first second in [opened, until] at which adminThreshold distinct admin keys had acted.

    An endorsement's key has to be in force at that second too; adminThreshold is that of the revision then in force.
    """
    signed = [(act.recorded, key) for act in acts if _is(act, kind, digest) if (key := admin_key(history, act))]
    seconds = {opened, *(second for second, _ in signed), *in_force_from(history)}
    for second in sorted(item for item in seconds if opened <= item <= until):
        if endorsed(history, signed, second, keep=kind != "Endorse"):
            return second
    return None


def endorsed(history: DomainHistory, signed: Iterable[tuple[int, bytes]], second: int, *, keep: bool) -> bool:
    """Whether enough distinct keys had acted by `second`; `keep`: a key that was removed since counts all the same."""
    revision = history.at(second)
    if revision is None:
        return False
    now = set(revision.admins.values())
    keys = {key for recorded, key in signed if recorded <= second and (keep or key in now)}
    return len(keys) >= revision.admin_threshold


def _is(act: ActRecord, kind: str, digest: str) -> bool:
    return act.act == kind and act.about(digest)
