"""Stops chains and tells of it: row in the database first, then log output, metric, entry in `system`, Events.

Whoever finds that a chain cannot be trusted calls `Quarantines.raise_quarantine`; a reconciler puts a `StopChain` into
its plan's commands. Each step may be repeated: an open quarantine stays the one there is.
"""

import logging
import time
from collections.abc import Callable, Sequence

from quorate.audit.quarantine import SYSTEM, Finding, Quarantine, evidence_bytes, raised_draft
from quorate.canonical import digest_of_bytes
from quorate_operator.errors import Fatal, OperatorError
from quorate_operator.http import metrics
from quorate_operator.store.ports import Draft, Log

_log = logging.getLogger(__name__)


class Quarantines:
    """The quarantines of one installation.

    Args:
        log: where they are kept.
        changed: hears of a chain that was stopped or goes on.
        clock: Unix seconds.
    """

    def __init__(
        self, log: Log, changed: Callable[[str], None] = lambda chain: None, clock: Callable[[], float] = time.time
    ) -> None:
        self._log = log
        self._clock = clock
        self._changed = changed
        self._told: set[tuple[str, int]] = set()
        self.open: dict[str, Quarantine] = {}
        """The open ones by chain, as of the last look."""
        self.leads = True
        """Whether this process has the term, without which nothing is recorded; stopping a chain takes none."""

    async def look(self) -> dict[str, Quarantine]:
        """Read them, set the metrics, and write the entries of those that `system` does not know yet; the open ones."""
        everything = await self._log.quarantines()
        now_open = {item.chain_id: item for item in everything if item.resumed_at is None}
        for chain in {item.chain_id for item in everything}:
            metrics.QUARANTINED.labels(chain).set(chain in now_open)
        changed = [chain for chain in {*self.open, *now_open} if self.open.get(chain) != now_open.get(chain)]
        self.open = now_open
        for chain in changed:
            self._changed(chain)
        for item in everything:
            await self._tell(item)
        return now_open

    async def raise_quarantine(self, chain: str, finding: Finding, *drafts: Draft) -> Quarantine | None:
        """Stop a chain; the new quarantine, None where one is open already. `drafts` go to `system` with its entry.

        Raises:
            OperatorError: the database did not answer, so the chain may not be stopped; try again.
        """
        raised = await self._log.stop(chain, finding)
        if raised is None:
            return None
        message = f"chain {chain} is stopped (quarantine {raised.number}, {finding.cause}): {finding.message}"
        _log.critical(message, extra={"reason": "ChainQuarantined", "chain": chain, "cause": str(finding.cause)})
        metrics.QUARANTINES.labels(chain, str(finding.cause)).inc()
        if drafts:
            await self._record(drafts, {})
        await self.look()
        return raised

    async def _tell(self, item: Quarantine) -> None:
        if (item.chain_id, item.number) in self._told:
            return
        evidence = evidence_bytes(item)
        if await self._record(
            [raised_draft(item, int(self._clock() * 1_000_000))], {digest_of_bytes(evidence): evidence}
        ):
            self._told.add((item.chain_id, item.number))

    async def _record(self, drafts: Sequence[Draft], content: dict[str, bytes]) -> bool:
        """Append to `system`; what cannot be recorded now (it is stopped itself, or away) is in the table."""
        if SYSTEM in self.open or not self.leads:
            return False
        try:
            await self._log.append(SYSTEM, drafts, content=content)
        except Fatal:
            raise
        except OperatorError as error:
            _log.warning("not recorded in chain system: %s", error.message, extra={"reason": error.reason})
            return False
        return True
