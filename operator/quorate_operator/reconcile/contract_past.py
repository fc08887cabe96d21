"""What the log says of one contract: its versions, its recorded overlay, drift and cut-over."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from quorate.canonical import format_time
from quorate.contracts.window import Identity, Window
from quorate_operator.store.ports import Log, Recorded

GENESIS = "governance.contract.genesis"
CHANGED = "governance.contract.changed"
DRIFTED = "governance.contract.drifted"
RESTORED = "governance.contract.restored"
OVERRIDDEN = "governance.contract.overridden"
CUT_OVER = "governance.contract.cutover"


@dataclass(frozen=True)
class Version:
    """A version that came into force, and the second of its entry."""

    version: str
    digest: str
    since: int
    proposal_digest: str | None = None
    evidence_digest: str | None = None

    @property
    def identity(self) -> Identity:
        """Version and digest."""
        return Identity(self.version, self.digest)

    def in_force(self) -> dict[str, Any]:
        """As `status.inForce` shows it, but for contentRef."""
        return {**self._named("since"), **({"evidenceDigest": self.evidence_digest} if self.evidence_digest else {})}

    def past(self) -> dict[str, Any]:
        """As `status.history` shows it."""
        return self._named("at")

    def _named(self, time: str) -> dict[str, Any]:
        named = {"version": self.version, "digest": self.digest, time: format_time(self.since)}
        return named | ({"proposalDigest": self.proposal_digest} if self.proposal_digest else {})


@dataclass(frozen=True)
class Past:
    """A contract's entries, read once for each last entry.

    `versions` are oldest first; `overlay` are the items of the last overlay; `drift` is (event, held digest or empty)
    of what was last recorded about the content in force; `cut_over` says that only the newest version is accepted.
    `overruled`: clause → its digest as the change left it that won against this node's override of it.
    """

    versions: tuple[Version, ...]
    overlay: tuple[Mapping[str, Any], ...] = ()
    drift: tuple[str, str] | None = None
    cut_over: bool = False
    recorded: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    overruled: Mapping[str, str] = field(default_factory=dict)

    @property
    def window(self) -> Window:
        """Which versions are accepted."""
        current = self.versions[-1]
        previous = self.versions[-2].identity if len(self.versions) > 1 else None
        return Window(current.identity, previous, current.since, self.cut_over)


def past_of(entries: Sequence[Recorded]) -> Past | None:
    """The past in a contract's entries, oldest first; None where its genesis never came into force."""
    versions: list[Version] = []
    overlay: tuple[Mapping[str, Any], ...] = ()
    drift: tuple[str, str] | None = None
    cut_over = False
    overruled: dict[str, str] = {}
    for entry in entries:
        if entry.event_type in (GENESIS, CHANGED):
            versions.append(_version(entry))
            overruled |= entry.detail.get("overruled") or {}
            drift, cut_over = None, False
        elif entry.event_type in (DRIFTED, RESTORED):
            drift = entry.event_type, str(entry.detail.get("held") or "")
        elif entry.event_type == OVERRIDDEN:
            overlay = tuple(entry.detail["items"])
        elif entry.event_type == CUT_OVER:
            cut_over = True
    if not versions:
        return None
    return Past(tuple(versions), overlay, drift, cut_over, {item["clause"]: item for item in overlay}, overruled)


async def read_past(log: Log, head: Recorded) -> Past:
    """The past of the contract whose last entry is `head`; what that alone says, where the rest is in an archive."""
    entries = [entry for entry in await log.about(head.subject_key) if entry.chain_id == head.chain_id]
    past = past_of([entry for entry in entries if entry.subject_key == head.subject_key])
    return past or Past((Version(head.detail["version"], head.detail["digest"], head.timestamp // 1_000_000),))


def _version(entry: Recorded) -> Version:
    detail = entry.detail
    return Version(
        str(detail["version"]),
        str(detail["digest"]),
        entry.timestamp // 1_000_000,
        detail.get("proposalDigest"),
        detail.get("evidenceDigest"),
    )
