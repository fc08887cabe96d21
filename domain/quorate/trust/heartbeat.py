"""Heartbeats: signed proof that a node is alive and holds its key (trust.md, "Identities on a cluster")."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from quorate.api.conditions import Reason
from quorate.canonical import NotCanonicalError, format_time, is_digest, parse_time
from quorate.identity.ed25519 import parse_public_key
from quorate.identity.statements import Statement, heartbeat_statement
from quorate.trust.domain import DomainRevision, Member, MemberKey

MAX_AHEAD_SECONDS = 300
CHALLENGE_SECONDS = 3600


@dataclass(frozen=True)
class Beat:
    """A judged heartbeat: `reason` Verified, or why not; `renewed` is its renewTime in Unix seconds."""

    reason: str
    message: str
    renewed: int | None = None
    key_name: str | None = None
    held: Mapping[str, str] | None = None

    @property
    def verified(self) -> bool:
        """Whether the signature and the challenge hold."""
        return self.reason == Reason.VERIFIED


@dataclass(frozen=True)
class Challenge:
    """What a heartbeat must contain; the previous one stays valid. `issued_at` is Unix seconds."""

    current: str
    previous: str | None
    issued_at: int

    @property
    def valid(self) -> frozenset[str]:
        """The values that a heartbeat may carry."""
        return frozenset(item for item in (self.current, self.previous) if item)


def next_challenge(challenge: Challenge | None, *, fresh: str, now: int) -> Challenge:
    """The challenge in force: a new one when the current is older than 3600 s; `fresh` is 32 random bytes as text."""
    if challenge is None:
        return Challenge(fresh, None, now)
    if now - challenge.issued_at <= CHALLENGE_SECONDS:
        return challenge
    return Challenge(fresh, challenge.current, now)


def judge_heartbeat(
    domain: DomainRevision, node_id: str, heartbeat: Mapping[str, Any], challenges: Collection[str], *, now: int
) -> Beat:
    """Judge {nodeId, renewTime, challenge, held, signature} against every Machine key of the node."""
    member = domain.members.get(node_id)
    if member is None:
        return Beat(Reason.NOT_A_MEMBER, f"nodeId {node_id} is not a member of {domain.name}")
    if not challenges:
        return Beat(Reason.NO_CHALLENGE, f"TrustDomain {domain.name} has not issued a challenge yet")
    statement = heartbeat_statement(domain.mesh_id, domain.name, heartbeat)
    malformed = _malformed(heartbeat, statement)
    if malformed is not None:
        return Beat(Reason.INVALID, malformed)
    if heartbeat["nodeId"] != node_id:
        return Beat(Reason.BAD_SIGNATURE, f"the heartbeat is of node {heartbeat['nodeId']!r}, not {node_id}")
    renewed = parse_time(heartbeat["renewTime"])
    if renewed > now + MAX_AHEAD_SECONDS:
        message = f"renewTime {format_time(renewed)} is more than {MAX_AHEAD_SECONDS} s ahead"
        return Beat(Reason.FROM_THE_FUTURE, message)
    if not any(key.purpose == "Machine" for key in member.keys):
        return Beat(Reason.UNKNOWN_KEY, f"the member {node_id} has no Machine key in {domain.name}")
    key = _signer(member, statement, heartbeat.get("signature"))
    if key is None:
        return Beat(Reason.BAD_SIGNATURE, f"no Machine key of {node_id} in {domain.name} signed the heartbeat")
    if not key.valid_at(renewed):
        return Beat(Reason.KEY_EXPIRED, f"Machine key {key.name!r} expired at {format_time(key.not_after or 0)}")
    if heartbeat["challenge"] not in challenges:
        return Beat(Reason.STALE_CHALLENGE, "the heartbeat answers neither the current nor the previous challenge")
    return Beat(Reason.VERIFIED, f"Machine key {key.name!r} signed it", renewed, key.name, heartbeat["held"])


def _signer(member: Member, statement: Statement, signature: Any) -> MemberKey | None:
    for key in member.keys:
        if key.purpose == "Machine" and statement.verify(parse_public_key(key.public_key), signature):
            return key
    return None


def _malformed(heartbeat: Mapping[str, Any], statement: Statement) -> str | None:
    """What is wrong with the form: whoever writes the Lease chose every field, so nothing is taken for granted."""
    for name in ("nodeId", "challenge"):
        if not isinstance(heartbeat.get(name), str):
            return f"{name}: {heartbeat.get(name)!r} must be a string"
    try:
        parse_time(heartbeat.get("renewTime"))
        len(statement.payload)
    except NotCanonicalError as error:
        return f"the heartbeat has no canonical form: {error}"
    except ValueError as error:
        return f"renewTime: {error}"
    held = heartbeat.get("held")
    if not isinstance(held, Mapping):
        return f"held: {held!r} must be an object contractId → digest, {{}} when nothing is held"
    bad = next((contract for contract, digest in held.items() if not is_digest(digest)), None)
    return None if bad is None else f"held.{bad}: {held[bad]!r} must be a digest, sha256: and 64 hexadecimal digits"


def silent_from(renewed: int | None, *, grace_seconds: int, listed_at: int) -> int:
    """The second from which a node counts as silent: nobody is before graceSeconds after everything was listed."""
    return max(renewed or 0, listed_at) + grace_seconds
