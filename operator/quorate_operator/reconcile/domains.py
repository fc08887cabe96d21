"""The accepted constitutions, read back from the log: what every reconciler decides by, never a live spec."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from quorate.canonical import digest_of_bytes, parse_json
from quorate.trust.domain import AcceptedRevision, DomainHistory, DomainRevision
from quorate.trust.revisions import Announcement, Authority
from quorate_operator.errors import Stalled
from quorate_operator.kube.resources import Key
from quorate_operator.reconcile.projection import content_name
from quorate_operator.reconcile.protocol import Context
from quorate_operator.store.ports import Recorded

ACCEPTED = "trust.domain.accepted"
FORKED = "trust.domain.forked"
ANNOUNCED = "trust.recovery.announced"
CANCELLED = "trust.recovery.cancelled"


@dataclass(frozen=True)
class Constitution:
    """What the log says about one TrustDomain. `accepting` are the entries of `history`, in the same order."""

    history: DomainHistory
    accepting: tuple[Recorded, ...]
    head: Recorded
    recoveries: tuple[Recorded, ...] = ()
    """Entries that announced a recovery."""
    cancelled: frozenset[str] = frozenset()
    """Digests of recovery statements that admins cancelled."""
    forked: bool = False
    """Whether a Fork alarm stands: until adminThreshold admins sign the next revision."""

    @property
    def latest(self) -> DomainRevision:
        """The revision in force."""
        return self.history.latest

    def contradicts(self, pin: str | None) -> bool:
        """Whether the chain began with another revision than the pin says."""
        return pin is not None and self.history.accepted[0].revision.digest != pin

    @property
    def chain(self) -> str:
        """The chain of the domain's decisions."""
        return self.latest.subject_key

    @property
    def announcements(self) -> tuple[Announcement, ...]:
        """The announced recoveries as a revision is judged against them."""
        return tuple(_announcement(entry, self.cancelled) for entry in self.recoveries)


class Domains:
    """Constitutions by TrustDomain name, cached by the head entry: the log is asked in one query per gather."""

    def __init__(self) -> None:
        self._chains: dict[str, str] = {}
        self._cache: dict[str, Constitution] = {}
        self._projected: dict[str, str] = {}

    async def get(
        self, context: Context, names: Iterable[str], *, even_unpinned: bool = False
    ) -> dict[str, Constitution]:
        """The constitution of each name that has an accepted revision, and that does not contradict its pin."""
        wanted = set(names)
        if wanted - self._chains.keys():
            self._chains |= {head.chain_id.partition("/")[2]: head.chain_id for head in await context.log.chains()}
        keys = {self._chains[name]: name for name in wanted if name in self._chains}
        heads = await context.log.heads(sorted(keys)) if keys else {}
        found: dict[str, Constitution] = {}
        for key, head in heads.items():
            name = keys[key]
            cached = self._cache.get(name)
            if cached is None or cached.head.entry_id != head.entry_id:
                cached = await _read(context, name, key, head)
                if cached is None:
                    continue
                self._cache[name] = cached
                self._projected |= {content_name(item.revision.digest): name for item in cached.history.accepted}
            pin = context.config.pins.get(key)
            # A chain that began with another revision than the pin is nobody's constitution here (PinMismatch).
            if even_unpinned or not cached.contradicts(pin):
                found[name] = cached
        return found

    def holding(self, content: str) -> list[Key]:
        """The TrustDomain of which a content ConfigMap projects an accepted revision; empty for any other content."""
        return [Key("TrustDomain", "", self._projected[content])] if content in self._projected else []


async def _read(context: Context, name: str, key: str, head: Recorded) -> Constitution | None:
    entries = [entry for entry in await context.log.about(key) if entry.subject_key == key]
    accepting = [entry for entry in entries if entry.event_type == ACCEPTED]
    if not accepting:
        return None
    digests = [digest for entry in accepting for digest in (entry.detail["digest"], entry.detail["signatures"])]
    content = await context.content.get(digests)
    accepted = [AcceptedRevision(_revision(name, entry, content), entry.timestamp // 1_000_000) for entry in accepting]
    signed = max(entry.sequence for entry in accepting if entry.detail["authority"] == Authority.ADMINS)
    return Constitution(
        DomainHistory(accepted),
        tuple(accepting),
        head,
        tuple(entry for entry in entries if entry.event_type == ANNOUNCED),
        frozenset(entry.detail["recovery"] for entry in entries if entry.event_type == CANCELLED),
        forked=any(entry.event_type == FORKED and entry.sequence > signed for entry in entries),
    )


def _revision(name: str, entry: Recorded, content: Mapping[str, bytes]) -> DomainRevision:
    digest, signatures = entry.detail["digest"], entry.detail["signatures"]
    if digest not in content or signatures not in content or digest_of_bytes(content[digest]) != digest:
        raise Stalled("LogBehind", f"content {digest} of entry {entry.entry_id} is not in the database")
    statement: dict[str, Any] = parse_json(content[digest])
    spec = {field: value for field, value in statement.items() if field != "name"}
    return DomainRevision(name, {**spec, "signatures": parse_json(content[signatures])})


def _announcement(entry: Recorded, cancelled: frozenset[str]) -> Announcement:
    """The delay runs from the second of the entry, whatever the statement says of itself."""
    detail = entry.detail
    fields = detail["statement"]
    return Announcement(
        fields["revision"],
        fields["previousDigest"],
        fields["resultDigest"],
        entry.timestamp // 1_000_000,
        cancelled=detail["recovery"] in cancelled,
    )
