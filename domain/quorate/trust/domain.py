"""One revision of a TrustDomain as a frozen value, and the chain of accepted revisions (trust.md)."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from types import MappingProxyType
from typing import Any

from quorate.api.schema import Privilege, Role
from quorate.canonical import digest_of, parse_time
from quorate.identity.ed25519 import parse_public_key
from quorate.identity.statements import Statement, trust_domain_statement
from quorate.trust.form import check_domain_form

PRIVILEGES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        Role.GOVERNANCE_HUB: frozenset(Privilege),
        Role.COMPLIANCE_WITNESS: frozenset({Privilege.VALIDATE_ATTESTATION, Privilege.VOTE_ON_PROPOSAL}),
        Role.TRUST_FORK: frozenset({Privilege.VALIDATE_ATTESTATION}),
    }
)
"""What each role may do (trust.md, "Roles")."""


@dataclass(frozen=True, slots=True)
class MemberKey:
    """A key of a member; `public_key` is the text of the document, `not_after` Unix seconds or None."""

    purpose: str
    name: str
    public_key: str
    not_after: int | None = None

    def valid_at(self, second: int) -> bool:
        """From `notAfter` on the key signs nothing."""
        return self.not_after is None or second < self.not_after


@dataclass(frozen=True, slots=True)
class Member:
    """A member of one revision."""

    node_id: str
    role: str
    weight: int
    learner: bool
    suspended: bool
    vote_threshold: int
    keys: tuple[MemberKey, ...]

    def key(self, purpose: str, name: str) -> MemberKey | None:
        """The key of this purpose and name, or None."""
        for key in self.keys:  # asked for every vote: a generator costs three times as much
            if key.name == name and key.purpose == purpose:
                return key
        return None

    def may(self, privilege: str) -> bool:
        """Whether the member's role has a privilege."""
        return privilege in PRIVILEGES.get(self.role, frozenset())

    @property
    def votes(self) -> bool:
        """Whether the member is in the electorate: its role may vote, and it is neither learner nor suspended."""
        return self.may(Privilege.VOTE_ON_PROPOSAL) and not self.learner and not self.suspended


@dataclass(frozen=True)
class DomainRevision:
    """One revision. Build it with `parse_domain`; `spec` is never modified."""

    name: str
    spec: Mapping[str, Any] = field(repr=False)

    @cached_property
    def statement(self) -> Statement:
        """What the admins sign."""
        return trust_domain_statement(self.name, self.spec)

    @cached_property
    def digest(self) -> str:
        """The revision's digest."""
        return self.statement.digest

    @property
    def mesh_id(self) -> str:
        """The mesh that the domain belongs to."""
        return str(self.spec["meshId"])

    @property
    def subject_key(self) -> str:
        """`<meshId>/<name>`: the domain's subject in the log, its chain and its pin."""
        return f"{self.mesh_id}/{self.name}"

    @property
    def revision(self) -> int:
        """Its number, from 1."""
        return int(self.spec["revision"])

    @property
    def previous_digest(self) -> str | None:
        """The digest of the revision before; None in revision 1."""
        return self.spec.get("previousDigest")

    @property
    def home_hub(self) -> str:
        """The node whose operator decides for this domain."""
        return str(self.spec["homeHub"])

    @property
    def phase_id(self) -> str:
        """The codex phase of the domain's log entries."""
        return str(self.spec["phaseId"])

    @cached_property
    def admins(self) -> Mapping[str, bytes]:
        """Raw public keys of the admins by name."""
        return _named_keys(self.spec["admins"])

    @property
    def admin_threshold(self) -> int:
        """How many distinct admin keys authorise the next revision."""
        return int(self.spec["adminThreshold"])

    @cached_property
    def recovery_keys(self) -> Mapping[str, bytes]:
        """Raw public keys of the recovery set by name; empty without one."""
        return _named_keys((self.spec.get("recovery") or {}).get("keys") or ())

    @cached_property
    def members(self) -> Mapping[str, Member]:
        """Members by nodeId."""
        return MappingProxyType({item["nodeId"]: _member(item) for item in self.spec["members"]})

    @cached_property
    def contracts(self) -> Mapping[str, Mapping[str, Any]]:
        """What the domain recognises: contractId → {name, contractId, genesisDigest}."""
        return MappingProxyType({item["contractId"]: item for item in self.spec.get("contracts") or ()})

    @cached_property
    def log_keys(self) -> tuple[str, ...]:
        """C2SP verifier keys that may sign checkpoints of the domain's log."""
        return tuple((self.spec.get("log") or {}).get("keys") or ())

    def rules(self, kind: str) -> Mapping[str, Any] | None:
        """The voting rules of a proposal type, as written; None if the domain does not allow the type."""
        rules = (self.spec.get("voting") or {}).get(kind)
        return None if rules is None else MappingProxyType({k: v for k, v in rules.items() if v is not None})

    @cached_property
    def electorate(self) -> "Electorate":
        """Who votes: a function of this revision alone."""
        return Electorate(self.digest, tuple(sorted(filter(_votes, self.members.values()), key=_node_id)))


@dataclass(frozen=True)
class Electorate:
    """The members that may vote, in nodeId order, and their total weight."""

    domain_digest: str
    members: tuple[Member, ...]

    @cached_property
    def total_weight(self) -> int:
        """The sum of the weights."""
        return sum(member.weight for member in self.members)

    @cached_property
    def document(self) -> dict[str, Any]:
        """What the electorate digest covers; voteThreshold is always written."""
        members = [
            {
                "nodeId": member.node_id,
                "role": member.role,
                "weight": member.weight,
                "voteThreshold": member.vote_threshold,
            }
            for member in self.members
        ]
        return {"domainDigest": self.domain_digest, "members": members, "totalWeight": self.total_weight}

    @cached_property
    def digest(self) -> str:
        """The digest of the document."""
        return digest_of(self.document)


def _votes(member: Member) -> bool:
    return member.votes


def _node_id(member: Member) -> str:
    return member.node_id


def _named_keys(keys: Sequence[Mapping[str, Any]]) -> Mapping[str, bytes]:
    return MappingProxyType({key["name"]: parse_public_key(key["publicKey"]) for key in keys})


def _member(item: Mapping[str, Any]) -> Member:
    threshold = item.get("voteThreshold")
    return Member(
        node_id=item["nodeId"],
        role=item["role"],
        weight=item["weight"],
        learner=bool(item.get("learner")),
        suspended=bool(item.get("suspended")),
        vote_threshold=1 if threshold is None else threshold,
        keys=tuple(_member_key(key) for key in item.get("keys") or ()),
    )


def _member_key(key: Mapping[str, Any]) -> MemberKey:
    not_after = key.get("notAfter")
    return MemberKey(
        key["purpose"], key["name"], key["publicKey"], None if not_after is None else parse_time(not_after)
    )


def parse_domain(name: str, spec: Mapping[str, Any]) -> DomainRevision:
    """The revision in a TrustDomain's spec; FormError where its form is wrong (trust.md, Revisions, "Form")."""
    check_domain_form(name, spec)
    return DomainRevision(name, spec)


@dataclass(frozen=True)
class AcceptedRevision:
    """A revision and the second of the entry that accepted it: it is in force from that second on."""

    revision: DomainRevision
    recorded: int


class DomainHistory:
    """The accepted revisions of one domain, 1 to n without gaps, each in force from its recorded second."""

    def __init__(self, accepted: Iterable[AcceptedRevision]) -> None:
        self.accepted = tuple(accepted)
        if not self.accepted:
            raise ValueError("a history has at least one revision")
        numbers = [item.revision.revision for item in self.accepted]
        if numbers != list(range(1, len(numbers) + 1)):
            raise ValueError(f"revisions {numbers} are not 1 to {len(numbers)}")
        self._seconds = list(accumulate((item.recorded for item in self.accepted), max))

    @property
    def latest(self) -> DomainRevision:
        """The newest accepted revision."""
        return self.accepted[-1].revision

    def at(self, second: int) -> DomainRevision | None:
        """The revision in force at a second, None before the first was recorded.

        A revision recorded at s is in force at s; of several recorded in one second the highest is. One whose entry
        gives an earlier second than its predecessor's counts from the predecessor's on: n never precedes n−1.
        """
        index = bisect_right(self._seconds, second)
        return self.accepted[index - 1].revision if index else None

    def signing(self, second: int) -> DomainRevision:
        """The revision by whose keys a signature recorded at a second is judged: the one in force.

        Before revision 1 was accepted that is revision 1: nothing before it could have said otherwise, and what git
        holds may be applied in any order.
        """
        index = bisect_right(self._seconds, second)
        return self.accepted[index - 1 if index else 0].revision

    def recorded(self, revision: int) -> int:
        """The second from which revision n is in force."""
        return self._seconds[revision - 1]

    def agrees_with(self, digests: Sequence[str]) -> bool:
        """Whether this chain and `digests` (of revisions 1, 2, …) are one a prefix of the other."""
        return all(item.revision.digest == digest for item, digest in zip(self.accepted, digests, strict=False))
