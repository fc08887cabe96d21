"""Every row of issue 4's table, each with its baseline in the same run; `QUORATE_BENCH_ENTRIES` is the size of the log.

`python -m tests.bench audit` fills a database with ten million entries, which takes minutes and about 15 GB of disk.
"""

import os
from collections.abc import AsyncIterator, Iterator
from statistics import median

import psycopg

from quorate_operator.store.log import PostgresStore
from tests.bench import bench_append, bench_intake, bench_proof, bench_verify
from tests.bench.bench_append import collected, draft_of, prepare, rate_of
from tests.bench.figure import Figure
from tests.bench.filled import CHAIN, fill
from tests.contract.server import Server

ENTRIES = int(os.environ.get("QUORATE_BENCH_ENTRIES", "10000000"))
FEW, CALLERS, ROUNDS = 10_000, 64, 7
SETTINGS = ("shared_buffers=2GB", "max_wal_size=8GB")
"""What docs/database.md advises for a log of millions: its indexes over random keys stay in memory."""
_BYTES = """
SELECT sum(pg_total_relation_size(c.oid)), (SELECT sum(size) FROM quorate.chain_head)
FROM pg_class c WHERE c.relnamespace = 'quorate'::regnamespace AND c.relkind = 'r'
AND (c.relname LIKE 'audit\\_%' OR c.relname = 'merkle_tile')
"""


def _bytes(server: Server) -> Iterator[Figure]:
    """What the direct appends of this run left on disk, random index order and all."""
    with psycopg.connect(server.dsn("bench")) as connection:
        row = connection.execute(_BYTES).fetchone()
    assert row is not None
    payload = len(draft_of("63-1000-100000000000000").content)
    yield Figure("bytes per entry on disk, all indexes and tiles", float(row[0] / row[1]), "bytes",
                 "payload", payload, 3.5, of_ratio=True)  # fmt: skip


async def _rate(dsn: str) -> float:
    store = PostgresStore(dsn)
    await store.open()
    await store.take("bench")
    rate, _ = await rate_of(lambda key: store.log.append(CHAIN, [draft_of(key)]), CALLERS)
    await store.close()
    return rate


async def _at_size(few: str, many: str) -> AsyncIterator[Figure]:
    """Append rate with a long log, in turns with that of a short one."""
    pairs = [(await _rate(few), await _rate(many)) for _ in range(ROUNDS)]
    short, long = (median(rates) for rates in zip(*pairs, strict=True))
    yield Figure(f"direct append with {ENTRIES} entries there", long, "entries/s", f"with {FEW} there", short, 0.9,
                 of_ratio=True, at_least=True)  # fmt: skip


def run() -> Iterator[Figure]:
    """Direct and coupled appends on a new database; then what depends on the size, on filled ones."""
    server = Server(settings=SETTINGS)
    server.start()
    try:
        dsn = prepare(server)
        yield from collected(bench_append.figures(dsn))
        yield from _bytes(server)
        yield from collected(bench_intake.figures(dsn))
        few, many = fill(server, FEW, database="few"), fill(server, ENTRIES, database="many")
        yield from bench_proof.rows(many)
        yield from bench_verify.figures(many)
        yield from collected(_at_size(few.dsn, many.dsn))
    finally:
        server.remove()
