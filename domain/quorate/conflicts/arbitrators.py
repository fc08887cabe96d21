"""Who arbitrates at which level: deterministic, never a party (docs/conflicts.md, "Who arbitrates")."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from quorate.api.policy_conflict import Level, Severity
from quorate.api.schema import Privilege, Role
from quorate.canonical import hex_of_digest
from quorate.conflicts.severity import MIN_SEATS, SEATS
from quorate.trust.domain import DomainHistory, DomainRevision, Member

MAX_LINEAGE = 16
"""Domains above one another that are looked at; a cycle of parents ends where it began."""


@dataclass(frozen=True, order=True)
class Seat:
    """An arbitrator and the domain for which it sits."""

    node_id: str
    domain: str


@dataclass(frozen=True)
class Lineage:
    """A domain and those above it, nearest first, each in the revision in force at the conflict's opening.

    `missing` is a parent that is named but of which nothing was accepted here: nothing can be said of it or above.
    """

    revisions: tuple[DomainRevision, ...]
    missing: str | None = None

    @classmethod
    def of(cls, domain: str, histories: Mapping[str, DomainHistory], second: int) -> "Lineage":
        """From the accepted revisions by domain name; the first revision is the domain's own.

        Raises:
            ValueError: the domain itself has no revision at `second`.
        """
        found: list[DomainRevision] = []
        name: str | None = domain
        while name is not None and len(found) < MAX_LINEAGE and name not in {item.name for item in found}:
            revision = histories[name].at(second) if name in histories else None
            if revision is None:
                if not found:
                    raise ValueError(f"no revision of {domain} is in force at {second}")
                return cls(tuple(found), name)
            found.append(revision)
            name = revision.spec.get("parent")
        return cls(tuple(found))

    @property
    def levels(self) -> tuple[Level, ...]:
        """The levels that there are: without a parent its level is left out."""
        above = len(self.revisions) > 1 or self.missing is not None
        return tuple(Level) if above else (Level.DOMAIN, Level.HUBS)


def rank(digest: str, node_id: str) -> bytes:
    """SHA-256 of the 32 bytes of the conflict's digest followed by the nodeId: the lowest sit."""
    return sha256(bytes.fromhex(hex_of_digest(digest)) + node_id.encode()).digest()


def may_arbitrate(member: Member, second: int) -> bool:
    """Whether a member could cast a vote as arbitrator at `second`, parties aside."""
    keys = sum(key.purpose == "Vote" and key.valid_at(second) for key in member.keys)
    able = member.may(Privilege.VALIDATE_ATTESTATION) and not member.learner and not member.suspended
    return able and keys >= member.vote_threshold


def seats(
    level: Level, digest: str, severity: Severity, lineage: Lineage, *, excluded: Collection[str], second: int
) -> tuple[Seat, ...] | None:
    """The arbitrators of a level, in ascending order of rank; None where a domain that it needs is unknown.

    Fewer than `needed` of the level: nobody can decide there.
    """
    if lineage.missing is not None and (level is Level.HUBS or (level is Level.PARENT and len(lineage.revisions) < 2)):
        return None
    chosen = lineage.revisions if level is Level.HUBS else lineage.revisions[level.revision - 1 : level.revision]
    nearest: dict[str, Seat] = {}
    for revision in chosen:
        for member in revision.members.values():
            hub = level is not Level.HUBS or member.role == Role.GOVERNANCE_HUB
            if hub and member.node_id not in excluded and may_arbitrate(member, second):
                nearest.setdefault(member.node_id, Seat(member.node_id, revision.name))
    ordered = sorted(nearest.values(), key=lambda seat: rank(digest, seat.node_id))
    return tuple(ordered if level is Level.HUBS else ordered[: SEATS[severity]])


def needed(level: Level) -> int:
    """How many arbitrators a level must have."""
    return 1 if level is Level.HUBS else MIN_SEATS


def by_domain(chosen: Sequence[Seat]) -> Mapping[str, frozenset[str]]:
    """The nodeIds by the domain for which they sit."""
    names = {seat.domain for seat in chosen}
    return {name: frozenset(seat.node_id for seat in chosen if seat.domain == name) for name in sorted(names)}
