"""Which versions of a contract are accepted now, and when the one before is no longer (docs/contracts.md, "Versions").

Versions are parsed and compared as numbers, never as text. A receiver never goes back; one version with two digests is
a fork.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from quorate.api.conditions import Reason
from quorate.canonical import format_time, is_digest
from quorate.contracts.version import Version, VersionError

DUAL_ACCEPT_SECONDS = 14 * 86_400
"""For how long the version before is accepted at most; the counted cut-over ends it earlier."""


@dataclass(frozen=True)
class Identity:
    """A version and the digest of its content."""

    version: str
    digest: str

    def document(self) -> dict[str, str]:
        """As JSON."""
        return {"version": self.version, "digest": self.digest}


@dataclass(frozen=True)
class Verdict:
    """`reason` Accepted, or why not; `alarm` where somebody made two contents of one version."""

    reason: Reason
    message: str

    @property
    def accepted(self) -> bool:
        """Whether the version is good."""
        return self.reason is Reason.ACCEPTED

    @property
    def alarm(self) -> bool:
        """Whether people must look: a fork."""
        return self.reason is Reason.FORK


class Cause(StrEnum):
    """Why a cut-over came."""

    ALL_HOLD = "AllHold"
    WINDOW_OVER = "WindowOver"


@dataclass(frozen=True)
class Count:
    """The nodes that are counted, and those of them that hold the current version; nodeIds."""

    counted: frozenset[str] = frozenset()
    holding: frozenset[str] = frozenset()

    @classmethod
    def of(cls, counted: Collection[str], holding: Collection[str]) -> "Count":
        """Only nodes that are counted hold."""
        return cls(frozenset(counted), frozenset(counted) & frozenset(holding))

    @property
    def complete(self) -> bool:
        """Whether every counted node holds it; nobody at all is not everybody."""
        return bool(self.counted) and self.holding == self.counted

    def document(self) -> dict[str, int]:
        """As JSON."""
        return {"counted": len(self.counted), "holding": len(self.holding)}


@dataclass(frozen=True)
class Window:
    """What is accepted of one contract. `since`: Unix second from which `current` is in force.

    `cut_over`: the log holds the entry that ended the acceptance of `previous`; it never comes back.
    """

    current: Identity
    previous: Identity | None = None
    since: int = 0
    cut_over: bool = False
    seconds: int = DUAL_ACCEPT_SECONDS

    @property
    def ends(self) -> int | None:
        """The second from which `previous` is no longer accepted, at the latest; None where it is not accepted."""
        return None if self.previous is None or self.cut_over else self.since + self.seconds

    def accepted(self, now: int) -> tuple[Identity, ...]:
        """What is accepted at `now`, the current one first."""
        if self.previous is None or self.ends is None or now >= self.ends:
            return (self.current,)
        return (self.current, self.previous)

    def due(self, count: Count, now: int) -> Cause | None:
        """Why the cut-over is to be recorded at `now`; None while the window stays open, or none is."""
        if self.ends is None:
            return None
        if now >= self.ends:
            return Cause.WINDOW_OVER
        return Cause.ALL_HOLD if count.complete else None

    def judge(self, version: Any, digest: Any, now: int) -> Verdict:
        """Whether a party that holds this version with this digest is accepted at `now`.

        Reasons: Invalid (form), Fork (a known version with another digest), Accepted, VersionUnsupported (older, or
        the previous one after the cut-over), NotInForce (newer than what is in force here).
        """
        try:
            asked = Version.parse(version)
        except VersionError as error:
            return Verdict(Reason.INVALID, str(error))
        if not is_digest(digest):
            return Verdict(Reason.INVALID, f"digest {digest!r} must be sha256: and 64 hexadecimal digits")
        for known in (self.current, self.previous):
            if known is not None and asked == Version.parse(known.version) and digest != known.digest:
                return _fork(asked, digest, known.digest)
        current = Version.parse(self.current.version)
        if asked > current:
            return Verdict(Reason.NOT_IN_FORCE, f"version {asked} is newer than {current}, which is in force here")
        if Identity(str(asked), digest) in self.accepted(now):
            return Verdict(Reason.ACCEPTED, self._how_long(asked, current))
        return Verdict(
            Reason.VERSION_UNSUPPORTED,
            f"version {asked} is no longer accepted: take {current} with digest {self.current.digest}",
        )

    def _how_long(self, asked: Version, current: Version) -> str:
        if asked == current:
            return f"version {current} is in force"
        return f"version {asked} is accepted until {format_time(self.ends or 0)} at the latest; take {current}"


def _fork(version: Version, digest: str, known: str) -> Verdict:
    return Verdict(Reason.FORK, f"version {version} has digest {known} here and {digest} there: two contents, a fork")


def judge_offer(held: Identity | None, offered: Identity) -> Verdict:
    """Whether a receiver that holds `held` may take `offered`: forward only.

    Reasons: Invalid (form), Replayed (it holds this already), Fork (the same version with another digest), Rollback
    (an older version), Accepted.
    """
    try:
        new = Version.parse(offered.version)
        old = None if held is None else Version.parse(held.version)
    except VersionError as error:
        return Verdict(Reason.INVALID, str(error))
    if held is None or old is None or new > old:
        return Verdict(Reason.ACCEPTED, f"version {new} follows")
    if new == old and held.digest != offered.digest:
        return _fork(new, offered.digest, held.digest)
    if held == offered:
        return Verdict(Reason.REPLAYED, f"version {new} is held already")
    return Verdict(Reason.ROLLBACK, f"version {new} is older than {old}, which is held: nothing goes back")
