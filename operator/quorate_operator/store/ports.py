"""What the operator may rely on of its store; each clause is a contract test run against every implementation."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol
from uuid import UUID

from quorate.audit.checkpoint import Checkpoint
from quorate.audit.entry import Draft
from quorate.audit.erasure import Erasable
from quorate.audit.note import SignatureLine
from quorate.audit.quarantine import Finding, Quarantine
from quorate.audit.rules import StoredEntry
from quorate.audit.tiles import Tile
from quorate.audit.verify import StoredHead
from quorate.identity.vkey import SignerKey
from quorate_operator.store.recorded import Recorded

__all__ = ["Content", "Draft", "Log", "Recorded", "Term"]

Bytes = Mapping[str, bytes | Erasable]
"""Content by digest; payload that may be erased by its salted digest, which the draft names in `erasable`."""


class Log(Protocol):
    """The append-only log: one chain per TrustDomain, and `system`."""

    async def append(self, chain: str, drafts: Sequence[Draft], content: Bytes | None = None) -> list[Recorded]:
        """Record `drafts` in this order, with the content that they name, in one transaction; direct append.

        Durable when it returns. If none of the entry ids is recorded, all are written. If any is, nothing is written
        and the recorded ones come back, in the order of `drafts`, with `existing=True`. Appending the same drafts
        again is therefore always safe, also after an unknown commit. Only the leader of the current term may append.

        A captured entry (`Draft.captured`) may be of any age; its source's sequence must increase, over all chains. Its
        subject has captured entries only: they do not name a `previous`. Who captured it is the caller's to check
        (`quorate.audit.captured.verify`).

        Raises:
            Stalled: `EntryRefused` (content, size or time rule: at most 5 minutes ahead, at most 5 minutes behind),
                `LogBehind` (a draft's `previous` is not its subject's last entry, and it is not recorded either).
            Transient: `LogBusy` (back-pressure, with retry_after), `DatabaseUnavailable`.
            LostLeadership: another process took a later term.
        """
        ...

    async def heads(self, subject_keys: Sequence[str]) -> dict[str, Recorded]:
        """The last entry of each subject that has one; one query."""
        ...

    async def recorded(self, entry_ids: Sequence[UUID]) -> dict[UUID, Recorded]:
        """The entries with these ids that the log holds; one query."""
        ...

    async def about(self, name: str) -> list[Recorded]:
        """Every entry whose subject key is `name`, or that names it in `payload.about`; by (chain, sequence)."""
        ...

    async def since(self, known: Mapping[str, Recorded | None]) -> dict[str, list[Recorded]]:
        """What `about` says of each name, but of the chain of the entry given for it nothing before that; one query.

        That entry is known of before: an append adds behind it. Where it is not the first of its chain, the log is not
        what it was (pruned, restored), and `about` is to be asked again.
        """
        ...

    async def chains(self) -> list[StoredHead]:
        """The head of every chain, by chain id."""
        ...

    def entries(self, chain: str, start: int = 0, end: int | None = None) -> AsyncIterator[StoredEntry]:
        """Entries with start ≤ sequence < end in ascending order, streamed in constant memory."""
        ...

    async def checkpoint(self, chain: str, signer: SignerKey) -> str:
        """Sign the chain's head as a C2SP checkpoint, keep the note, and return it.

        The note of a size that already has one by this key comes back unchanged. Raises Stalled (`ChainUnknown`)
        when the chain has no entry.
        """
        ...

    async def checkpoints(self, chain: str, start: int = 0) -> list[str]:
        """Stored signed notes of `start` entries or more, by size, each with the cosignatures kept for it."""
        ...

    async def newest_checkpoint(self, chain: str) -> str | None:
        """The last of `checkpoints`, without reading the others."""
        ...

    async def keep_cosignatures(self, chain: str, size: int, lines: Sequence[SignatureLine]) -> None:
        """Keep witnesses' lines for the checkpoint of `size`; of each key the first one stays.

        The caller has verified them over the text of that checkpoint. Raises Stalled (`ChainUnknown`) when the chain
        has no checkpoint of this size, LostLeadership as `append`.
        """
        ...

    async def tiles(self, chain: str, wanted: Sequence[Tile]) -> dict[Tile, bytes]:
        """The bytes of Merkle tiles, full or partial, as stored; left out or too short where the chain has no such."""
        ...

    async def inclusion_proof(self, chain: str, sequence: int, size: int) -> tuple[Checkpoint, list[bytes]]:
        """The unsigned head at `size` and the audit path of leaf `sequence` in it, from the leaf upwards.

        Raises Stalled (`ChainUnknown`) when the chain has fewer than `size` entries, ProofError for an impossible path.
        """
        ...

    async def consistency_proof(self, chain: str, old: int, size: int) -> list[bytes]:
        """The proof that the tree of `old` entries is a prefix of that of `size`; errors of `inclusion_proof`."""
        ...

    async def quarantines(self) -> list[Quarantine]:
        """Every quarantine there ever was, by (chain, number); those with `resumed_at` None are open."""
        ...

    async def stop(self, chain: str, finding: Finding) -> Quarantine | None:
        """Stop the chain: from now on an append to it raises Transient (`ChainQuarantined`, retry_after 60).

        The new quarantine, or None where one is open already. A chain that does not exist is made, empty, and stopped.
        """
        ...

    async def resume(self, quarantine: Quarantine, draft: Draft) -> Recorded:
        """End an open quarantine: record `draft` (`quarantine.resumed_draft`) as first entry of the next epoch.

        One transaction; again after an unknown commit is safe.

        Raises:
            Stalled: `NotQuarantined`, the quarantine is not the open one or its head moved; `EntryRefused`.
            Transient, LostLeadership: as `append`.
        """
        ...


class Content(Protocol):
    """Bytes by digest; written only in the transaction of the entries that name them."""

    async def get(self, digests: Sequence[str]) -> dict[str, bytes]:
        """The bytes of each digest that is there, checked against it; one query.

        Raises:
            Stalled: `ContentCorrupt` when stored bytes do not have their digest.
        """
        ...

    async def erasable(self, entry_id: UUID) -> dict[str, Erasable | None]:
        """The erasable payload of an entry by digest, None where it was erased; one query."""
        ...


class Term(Protocol):
    """Who may write: terms only grow, and the last one taken wins."""

    async def take(self, holder: str) -> int:
        """Become the one writer; the new term. Whoever held an earlier one gets LostLeadership at its next write."""
        ...
