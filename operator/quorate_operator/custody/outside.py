"""Signed checkpoints that are kept outside the database, against what the database holds (audit.md, 7 and 9).

They are what tells a restored backup or a lagging replica: compared before the first entry is sealed, and before each
checkpoint. A note that no key of the log signed says nothing; who could write such a thing may not stop a chain.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from quorate.audit.checkpoint import Checkpoint, CheckpointError, open_checkpoint
from quorate.audit.merkle import Frontier, ProofError, verify_inclusion
from quorate.audit.quarantine import Cause, Finding, Quarantine, compare
from quorate.audit.record import leaf_hash
from quorate.audit.tiles import TileError
from quorate.audit.verify import StoredHead
from quorate.identity.ed25519 import KeyRefusedError
from quorate.identity.vkey import VerifierKey, parse_verifier_key
from quorate_operator.custody.checkpoints import signer_keys
from quorate_operator.errors import Stalled
from quorate_operator.kube.resources import Obj
from quorate_operator.reconcile.cosignatures import notes_of
from quorate_operator.reconcile.domains import Constitution, Domains
from quorate_operator.reconcile.protocol import Context
from quorate_operator.store.directory import find
from quorate_operator.store.files import Files
from quorate_operator.store.ports import Log

_log = logging.getLogger(__name__)
MAX_NOTE_BYTES = 64 * 1024
"""A larger one, padded by whoever may write to its place, says nothing: as evidence it must fit into the database."""


@dataclass(frozen=True)
class Told:
    """A note about a chain, and where it was found."""

    chain: str
    note: str
    source: str


Source = Callable[[], Awaitable[Sequence[Told]]]
Keys = Callable[[Iterable[str]], Awaitable[Mapping[str, Sequence[VerifierKey]]]]
"""The keys that may sign the log of each chain."""


class LogKeys:
    """Keys of logs: those that this hub signs with, and those of the accepted constitutions."""

    def __init__(self, context: Context, domains: Domains) -> None:
        self._context = context
        self._domains = domains

    async def __call__(self, chains: Iterable[str]) -> dict[str, list[VerifierKey]]:
        """The keys of each chain; a chain whose database lost its constitution still has the hub's."""
        wanted = list(chains)
        names = [chain.partition("/")[2] for chain in wanted if "/" in chain]
        constitutions = await self._constitutions(names)
        own = signer_keys(self._context.config.log_keys)
        found: dict[str, list[VerifierKey]] = {}
        for chain in wanted:
            keys = [own[chain].verifier] if chain in own else []
            constitution = constitutions.get(chain.partition("/")[2])
            if constitution is not None and constitution.chain == chain:
                keys += _parsed(constitution.latest.log_keys)
            found[chain] = list(dict.fromkeys(keys))
        return found

    async def _constitutions(self, names: Sequence[str]) -> dict[str, Constitution]:
        """Those that can be read: one that lost its content must not keep the others from being compared."""
        try:
            return await self._domains.get(self._context, names, even_unpinned=True)
        except Stalled as error:
            if len(names) <= 1:
                _log.warning("no keys by constitution: %s", error.message, extra={"reason": error.reason})
                return {}
        return {key: value for name in names for key, value in (await self._constitutions([name])).items()}


def _parsed(texts: Iterable[str]) -> list[VerifierKey]:
    keys = []
    for text in texts:
        try:
            keys.append(parse_verifier_key(text))
        except KeyRefusedError as error:
            _log.warning("a log key of a constitution cannot be used: %s", error, extra={"reason": "BadLogKey"})
    return keys


def told_by_objects(objects: Iterable[Obj]) -> list[Told]:
    """The notes in AuditCheckpoints."""
    return [
        Told(obj["spec"]["chain"], note, f"AuditCheckpoint {obj['metadata']['name']}")
        for obj in objects
        if (note := (obj.get("status") or {}).get("note"))
    ]


def told_by_leases(leases: Iterable[Obj]) -> list[Told]:
    """The newest notes that witnesses cosigned, and those that they show as evidence of two histories."""
    return [Told(chain, note, where) for note, where in notes_of(leases) if (chain := _origin(note)) is not None]


def _origin(note: str) -> str | None:
    origin = note.partition("\n")[0]
    return origin or None


def told_by_files(files: Files, place: str) -> list[Told]:
    """The newest checkpoints of a publication; what is no log of ours has no note that verifies."""
    return [
        Told(origin, note, f"{place}, {directory.base}")
        for directory in find(files)
        if (note := directory.note()) and (origin := _origin(note)) is not None
    ]


class Outside:
    """Compares every chain with what is known of it outside.

    Args:
        log: the database's log.
        keys: who may sign.
        sources: where notes are kept.
    """

    def __init__(self, log: Log, keys: Keys, sources: Sequence[Source]) -> None:
        self._log = log
        self._keys = keys
        self._sources = sources
        self._ignored: set[str] = set()
        self.resumed: set[tuple[str, int]] = set()
        """(chain, number) of the quarantines that this process itself ended."""

    async def checkpoints(self) -> dict[str, list[tuple[Checkpoint, Told]]]:
        """Every note that a key of its log signed, by chain; history that a resumption gave up is left out.

        The owner of the database could write a resumption that gives up what speaks against him. So it is believed only
        where another note covers it, or if this process resumed the chain and has signed nothing since.

        Raises:
            OperatorError: a source or the database does not answer.
        """
        told = [item for source in self._sources for item in await source()]
        keys = await self._keys(dict.fromkeys(item.chain for item in told))
        found: dict[str, list[tuple[Checkpoint, Told]]] = {}
        for item in dict.fromkeys(told):
            try:
                if len(item.note.encode(errors="replace")) > MAX_NOTE_BYTES:
                    raise CheckpointError(f"the note is over {MAX_NOTE_BYTES} bytes")
                checkpoint = open_checkpoint(item.note, keys[item.chain], origin=item.chain)
            except CheckpointError as error:
                self._ignore(item, error)
                continue
            found.setdefault(item.chain, []).append((checkpoint, item))
        for ended in await self._log.quarantines():
            left = [pair for pair in found.get(ended.chain_id, ()) if pair[0] not in ended.lost]
            if len(left) < len(found.get(ended.chain_id, ())) and await self._stands(ended, left):
                found[ended.chain_id] = left
        return found

    async def _stands(self, ended: Quarantine, notes: Sequence[tuple[Checkpoint, Told]]) -> bool:
        if (ended.chain_id, ended.number) in self.resumed:
            return True
        return any([await vouches(self._log, checkpoint, ended) for checkpoint, _ in notes])

    async def findings(self) -> dict[str, Finding]:
        """What speaks against the database, by chain; the note of the largest size decides.

        Raises:
            OperatorError: as `checkpoints`.
        """
        told = await self.checkpoints()  # first: a chain may grow, but what a note covers must be there by now
        heads = {head.chain_id: head for head in await self._log.chains()}
        found = {}
        for chain, items in told.items():
            for checkpoint, item in sorted(items, key=lambda pair: -pair[0].size):
                finding = await self.judge(checkpoint, item, heads.get(chain))
                if finding is not None:
                    found[chain] = finding
                    break
        return found

    async def judge(self, checkpoint: Checkpoint, told: Told, head: StoredHead | None) -> Finding | None:
        """What one checkpoint says against the database."""
        size = 0 if head is None else head.size
        root = None
        if head is not None and checkpoint.size == size:
            root = Frontier.decode(size, head.frontier).root()
        elif 0 < checkpoint.size < size:
            try:
                root = (await self._log.inclusion_proof(told.chain, 0, checkpoint.size))[0].root
            except (Stalled, TileError, ProofError) as error:
                evidence = {"note": told.note, "source": told.source, "size": size}
                return Finding(Cause.OTHER_HISTORY, f"the tree cannot be read: {error}", evidence)
        return compare(checkpoint, size, root, source=told.source, note=told.note)

    def _ignore(self, item: Told, error: CheckpointError) -> None:
        if item.note not in self._ignored:
            self._ignored.add(item.note)
            _log.warning("the checkpoint in %s says nothing: %s", item.source, error, extra={"reason": "BadCheckpoint"})


async def vouches(log: Log, checkpoint: Checkpoint, ended: Quarantine) -> bool:
    """Whether the tree of a signed checkpoint holds the entry with which a quarantine ended."""
    if not ended.ending or checkpoint.size <= ended.size:
        return False
    try:
        _, path = await log.inclusion_proof(ended.chain_id, ended.size, checkpoint.size)
        leaf = leaf_hash(ended.ending)
        verify_inclusion(leaf=leaf, index=ended.size, size=checkpoint.size, proof=path, root=checkpoint.root)
    except (Stalled, TileError, ProofError):
        return False
    return True
