"""A notice: somebody's vote is needed until a second (docs/notifications.md)."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from quorate.canonical import digest_of, format_time

EVENT_TYPE = "governance.vote.needed"
"""`type` of a message, as subscribers filter by it."""
MAX_NAMED = 64
"""At most so many of those whose vote is missing are listed; `waitingFor.total` counts all of them."""


class Cause(StrEnum):
    """Why a notice is sent."""

    OPENED = "Opened"
    ENDING_SOON = "EndingSoon"
    EXTENDED = "Extended"
    ENDORSEMENT = "Endorsement"
    RATIFICATION = "Ratification"
    ARBITRATION = "Arbitration"


@dataclass(frozen=True, slots=True)
class Notice:
    """One message. Everything in it follows from what is recorded, so it is the same whoever computes it again.

    Attributes:
        cause: Why it is sent.
        kind: Kind of the object that is voted on: GovernanceProposal or PolicyConflict.
        namespace: Its namespace.
        name: Its name.
        digest: What a vote has to bind.
        domain: Name of the TrustDomain whose electorate is asked.
        due: The second from which it is to be sent, Unix time.
        until: The last second at which a vote counts.
        waiting_for: nodeIds (for an endorsement: admins' names) without a counted choice, in order of name.
        step: What is to be done, one sentence.
    """

    cause: Cause
    kind: str
    namespace: str
    name: str
    digest: str
    domain: str
    due: int
    until: int
    waiting_for: tuple[str, ...] = ()
    step: str = ""

    @property
    def id(self) -> str:
        """`msg_` and 32 hex digits of what is asked: the same at every attempt, restart and leader."""
        asked = {"digest": self.digest, "domain": self.domain, "cause": str(self.cause), "due": self.due}
        return f"msg_{digest_of(asked).removeprefix('sha256:')[:32]}"

    @property
    def document(self) -> Mapping[str, Any]:
        """The message: {type, timestamp, data}, as Standard Webhooks has it."""
        return {
            "type": EVENT_TYPE,
            "timestamp": format_time(self.due),
            "data": {
                "cause": str(self.cause),
                "object": {"kind": self.kind, "namespace": self.namespace, "name": self.name},
                "digest": self.digest,
                "domain": self.domain,
                "until": format_time(self.until),
                "waitingFor": {"total": len(self.waiting_for), "names": list(self.waiting_for[:MAX_NAMED])},
                "step": self.step,
            },
        }

    @property
    def sentence(self) -> str:
        """The message for people, in an Event."""
        return f"{self.cause}: {len(self.waiting_for)} are asked until {format_time(self.until)}. {self.step}".rstrip()
