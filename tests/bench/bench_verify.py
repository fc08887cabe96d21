"""Full verification of a chain in memory, against one SHA-256 over each of the same records."""

import hashlib
import time
from collections.abc import Iterator

from quorate.audit.entry import Draft, Tether
from quorate.audit.verify import ChainVerifier, StoredEntry, StoredHead, Verdict
from quorate_operator.store.batch import Batch, Head, items_of
from tests.bench.figure import Figure

ENTRIES, BATCH, CHAIN = 100_000, 1000, "bench-mesh/fleet"
_NOW = 1_780_000_000_000_000


def run() -> Iterator[Figure]:
    """Entries per second of one process; the budget is that of architecture.md, which is for two cores."""
    head = Head()
    rows: list[StoredEntry] = []
    for start in range(0, ENTRIES, BATCH):
        batch = Batch(CHAIN, head, recorded={}, subjects={}, now=_NOW)
        batch.add(items_of([_draft(number) for number in range(start, start + BATCH)]))
        rows += [StoredEntry(row.recorded.sequence, row.recorded.record, row.recorded.entry_id) for row in batch.rows]
    begun = time.perf_counter()
    for row in rows:
        hashlib.sha256(row.record).digest()
    hashed = time.perf_counter() - begun
    begun = time.perf_counter()
    verifier = ChainVerifier(CHAIN)
    for row in rows:
        verifier.feed(row)
    report = verifier.finish(StoredHead(CHAIN, head.epoch, head.size, head.chain, head.frontier.encode()))
    verified = time.perf_counter() - begun
    assert report.verdict is Verdict.UNANCHORED, report.fault
    name = "one SHA-256 over each record"
    yield Figure("full verification, one process", ENTRIES / verified, "entries/s", name, ENTRIES / hashed, 200_000,
                 at_least=True)  # fmt: skip


def _draft(number: int) -> Draft:
    return Draft(
        f"subject-{number}",
        None,
        "governance.vote.accepted",
        {"kind": "Vote", "name": f"v{number}"},
        Tether("1"),
        _NOW,
        detail={"statement": "x" * 200},
    )
