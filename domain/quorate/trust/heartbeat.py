"""Heartbeats: signed proof that a node is alive and holds its key (trust.md, "Identities on a cluster")."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from quorate.api.conditions import Reason
from quorate.canonical import format_time, parse_time
from quorate.identity.ed25519 import parse_public_key
from quorate.identity.statements import heartbeat_statement
from quorate.trust.domain import DomainRevision

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
    if heartbeat.get("nodeId") != node_id:
        return Beat(Reason.BAD_SIGNATURE, f"the heartbeat is of node {heartbeat.get('nodeId')!r}, not {node_id}")
    try:
        renewed = parse_time(heartbeat.get("renewTime"))
    except ValueError as error:
        return Beat(Reason.INVALID, f"renewTime: {error}")
    if renewed > now + MAX_AHEAD_SECONDS:
        message = f"renewTime {format_time(renewed)} is more than {MAX_AHEAD_SECONDS} s ahead"
        return Beat(Reason.FROM_THE_FUTURE, message)
    machine = [key for key in member.keys if key.purpose == "Machine"]
    if not machine:
        return Beat(Reason.UNKNOWN_KEY, f"the member {node_id} has no Machine key in {domain.name}")
    statement = heartbeat_statement(domain.mesh_id, domain.name, heartbeat)
    for key in machine:
        if not statement.verify(parse_public_key(key.public_key), heartbeat.get("signature")):
            continue
        if not key.valid_at(renewed):
            return Beat(Reason.KEY_EXPIRED, f"Machine key {key.name!r} expired at {format_time(key.not_after or 0)}")
        if heartbeat.get("challenge") not in challenges:
            return Beat(Reason.STALE_CHALLENGE, "the heartbeat answers neither the current nor the previous challenge")
        held = heartbeat.get("held") or {}
        return Beat(Reason.VERIFIED, f"Machine key {key.name!r} signed it", renewed, key.name, held)
    return Beat(Reason.BAD_SIGNATURE, f"no Machine key of {node_id} in {domain.name} signed the heartbeat")


def silent_from(renewed: int | None, *, grace_seconds: int, listed_at: int) -> int:
    """The second from which a node counts as silent: nobody is before graceSeconds after everything was listed."""
    return max(renewed or 0, listed_at) + grace_seconds
