"""The accepted constitutions, read back from the log: what every reconciler decides by, never a live spec."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quorate.canonical import digest_of_bytes, parse_json, parse_time
from quorate.trust.domain import AcceptedRevision, DomainHistory, DomainRevision
from quorate.trust.revisions import Announcement
from quorate_operator.errors import Stalled
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
    announcements: tuple[Announcement, ...] = ()
    forked: bool = False

    @property
    def latest(self) -> DomainRevision:
        """The revision in force."""
        return self.history.latest

    @property
    def chain(self) -> str:
        """The chain of the domain's decisions."""
        return self.latest.subject_key


class Domains:
    """Constitutions by TrustDomain name, cached by the head entry: the log is asked in one query per gather."""

    def __init__(self) -> None:
        self._chains: dict[str, str] = {}
        self._cache: dict[str, Constitution] = {}

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
            pin = context.config.pins.get(key)
            # A chain that began with another revision than the pin is nobody's constitution here (PinMismatch).
            if even_unpinned or pin is None or cached.history.accepted[0].revision.digest == pin:
                found[name] = cached
        return found


async def _read(context: Context, name: str, key: str, head: Recorded) -> Constitution | None:
    entries = [entry for entry in await context.log.about(key) if entry.subject_key == key]
    accepting = [entry for entry in entries if entry.event_type == ACCEPTED]
    if not accepting:
        return None
    digests = [digest for entry in accepting for digest in (entry.detail["digest"], entry.detail["signatures"])]
    content = await context.content.get(digests)
    accepted = [AcceptedRevision(_revision(name, entry, content), entry.timestamp // 1_000_000) for entry in accepting]
    last = accepting[-1].sequence
    return Constitution(
        DomainHistory(accepted),
        tuple(accepting),
        head,
        tuple(_announcements(entries)),
        forked=any(entry.event_type == FORKED and entry.sequence > last for entry in entries),
    )


def _revision(name: str, entry: Recorded, content: Mapping[str, bytes]) -> DomainRevision:
    digest, signatures = entry.detail["digest"], entry.detail["signatures"]
    if digest not in content or signatures not in content or digest_of_bytes(content[digest]) != digest:
        raise Stalled("LogBehind", f"content {digest} of entry {entry.entry_id} is not in the database")
    statement: dict[str, Any] = parse_json(content[digest])
    spec = {field: value for field, value in statement.items() if field != "name"}
    return DomainRevision(name, {**spec, "signatures": parse_json(content[signatures])})


def _announcements(entries: Sequence[Recorded]) -> Iterable[Announcement]:
    cancelled = {entry.detail["recovery"] for entry in entries if entry.event_type == CANCELLED}
    for entry in entries:
        if entry.event_type == ANNOUNCED:
            fields = entry.detail
            yield Announcement(
                fields["revision"],
                fields["previousDigest"],
                fields["resultDigest"],
                parse_time(fields["announcedAt"]),
                cancelled=fields["recovery"] in cancelled,
            )
