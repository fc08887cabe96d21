"""`python -m tests.bench.anchors [SYSTEM …]`: Quorate's direct append beside what users pick today, on one machine.

The anchors are small Go programs over public modules, built here once; nothing of them is shipped. Same payload,
callers and disk; every entry is durable (fsync) before it counts. The systems are measured in turns, so that a
neighbour's load meets them all, with the settings that were best for each here, not those it is delivered with. Needs
Go, and the module proxy for the first build.

What is alike and what is not: ours and every immudb answer with the entry found by its id, `tessera` has no such index.
Ours and `immudb-server` answer across a socket; `immudb` and `tessera` are called within their own process.
`immudb-verified` checks a proof at the caller, `tessera-published` waits for a signed checkpoint, made at most
ten times a second: ours, as `tessera`, does neither before it answers.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from quorate_operator.__main__ import collect_rarely
from tests.bench.anchors.program import Started, built, started, version_of
from tests.bench.bench_append import collected, draft_of, opened, prepare, rate_of
from tests.bench.figure import Figure, percentile
from tests.contract.server import Server

_IMMUDB = f"immudb {version_of('github.com/codenotary/immudb')}"
_TESSERA = f"Tessera {version_of('github.com/transparency-dev/tessera')} POSIX"
SYSTEMS = {
    "immudb": f"{_IMMUDB} embedded in a Go process",
    "immudb-server": f"{_IMMUDB} server",
    "immudb-verified": f"{_IMMUDB} server, verified writes",
    "tessera": f"{_TESSERA}, index durable",
    "tessera-published": f"{_TESSERA}, checkpoint published",
}
CALLERS = (64, 100, 1)
TURNS = 5
SECONDS = 1.0
Measured = list[tuple[float, float]]


def wait_of(system: str, callers: int) -> str:
    """How long a system waits for further entries; the best of some that were tried."""
    if system.startswith("tessera"):
        return "10ms"  # It never waits so long: a batch is full when every caller has called.
    return "2ms" if callers > 1 else "0ms"


async def settled() -> None:
    """Write what a turn left unwritten: else the next one's first fsync would pay for it."""
    await asyncio.to_thread(os.sync)


async def in_turns(dsn: str, anchors: dict[str, Started], callers: int) -> tuple[Measured, dict[str, Measured]]:
    """Rate and p99 of ours and of each anchor, one after another, TURNS times."""
    store = await opened(dsn)
    ours: Measured = []
    theirs: dict[str, Measured] = {system: [] for system in anchors}
    for _ in range(TURNS):
        await settled()
        rate, latencies = await rate_of(lambda key: store.log.append("bench", [draft_of(key)]), callers, SECONDS)
        ours.append((rate, percentile(latencies, 99)))
        for system, anchor in anchors.items():
            await settled()
            theirs[system].append(await asyncio.to_thread(anchor.round))
    await store.close()
    return ours, theirs


async def figures(dsn: str, systems: Sequence[str], place: Path) -> AsyncIterator[Figure]:
    """Two lines for each number of callers and system, medians of the turns: ours, the anchor's as baseline."""
    collect_rarely()  # As the operator does.
    payload = len(draft_of("0-0").content)
    for callers in CALLERS:
        with ExitStack() as running:
            anchors = {
                system: running.enter_context(
                    started(
                        system, place, callers=callers, wait=wait_of(system, callers), payload=payload, seconds=SECONDS
                    )
                )
                for system in systems
            }
            ours, theirs = await in_turns(dsn, anchors, callers)
        rate, slowest = (median(values) for values in zip(*ours, strict=True))
        name = f"direct append, {callers} {'caller' if callers == 1 else 'callers'}"
        for system, measured in theirs.items():
            base_rate, base_slowest = (median(values) for values in zip(*measured, strict=True))
            base = SYSTEMS[system]
            yield Figure(name, rate, "entries/s", base, base_rate, 1.0, of_ratio=True, at_least=True)
            yield Figure(f"{name}, p99", slowest, "ms", base, base_slowest, 1.0, of_ratio=True)


def run(systems: Sequence[str]) -> Iterator[Figure]:
    """The figures, over a Postgres with an empty log; the anchors' files lie on the same disk."""
    built()
    server = Server()
    server.start()
    try:
        yield from collected(figures(prepare(server), systems, server.root))
    finally:
        server.remove()


def main(names: list[str]) -> int:
    """Run and print; 1 if an anchor was faster."""
    if unknown := set(names) - set(SYSTEMS):
        sys.stderr.write(f"no anchor {', '.join(sorted(unknown))}; there are: {', '.join(SYSTEMS)}\n")
        return 2
    missed = sum(not figure.emit() for figure in run(names or list(SYSTEMS)))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
