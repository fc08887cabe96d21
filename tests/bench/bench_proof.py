"""Proof bundles out of a large log: made (found by id, path from tiles, examined, encoded) and verified offline.

Baselines in the same run: one round trip for the record alone, and one bare Ed25519 verification.
"""

import asyncio
import random
import time
from collections.abc import Iterator
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from quorate.audit.note import parse_note
from quorate.audit.proof import open_bundle, parse_bundle
from quorate_cli.audit.prove import bundle_of, examined
from quorate_operator.store.log import PostgresStore
from tests.bench.figure import Figure, percentile
from tests.bench.filled import CHAIN, SIGNER, Filled, filled

ENTRIES = 200_000
ROUNDS = 300


def run() -> Iterator[Figure]:
    """The rows on a log of 200 000 entries."""
    with filled(ENTRIES) as log:
        yield from rows(log)


def rows(log: Filled) -> list[Figure]:
    """Milliseconds at the 99th percentile, over entries chosen at random."""
    bundles, made, found = asyncio.run(_make(log))
    verified, bare = _verify(bundles)
    size = f"{log.size:,}".replace(",", " ")
    return [
        Figure(f"proof bundle of one entry of {size}, made, p99", made, "ms", "its record alone, p99", found, 50),
        Figure(f"proof bundle of one entry of {size}, verified, p99", verified, "ms", "one Ed25519, p99", bare, 5),
    ]


async def _make(log: Filled) -> tuple[list[bytes], float, float]:
    chance = random.Random(1)
    ids = [UUID(log.entry_id(chance.randrange(log.size))) for _ in range(ROUNDS)]
    store = PostgresStore(log.dsn)
    await store.open()
    try:
        await store.take("bench")
        await store.log.checkpoint(CHAIN, SIGNER)
        bundles, made, found = [], [], []
        for identifier in ids[:20] + ids:
            started = time.perf_counter()
            bundle = await bundle_of(store.log, identifier)
            examined(bundle)
            bundles.append(bundle.encode())
            made.append(time.perf_counter() - started)
            started = time.perf_counter()
            await store.log.recorded([identifier])
            found.append(time.perf_counter() - started)
    finally:
        await store.close()
    return bundles, 1000 * percentile(made[20:], 99), 1000 * percentile(found[20:], 99)


def _verify(bundles: list[bytes]) -> tuple[float, float]:
    keys = [SIGNER.verifier]
    verified, bare = [], []
    public = Ed25519PublicKey.from_public_bytes(SIGNER.verifier.public_key)
    for data in bundles:
        started = time.perf_counter()
        proven = open_bundle(parse_bundle(data), keys)
        verified.append(time.perf_counter() - started)
        signature = parse_note(parse_bundle(data).proof.note).signatures[0].signature
        started = time.perf_counter()
        public.verify(signature, proven.checkpoint.text().encode())
        bare.append(time.perf_counter() - started)
    return 1000 * percentile(verified, 99), 1000 * percentile(bare, 99)
