"""Verifies the log of a database: the answer to a list of requests."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from psycopg import sql

from quorate_operator.verification.chain import ChainWork
from quorate_operator.verification.database import Reader, reading
from quorate_operator.verification.request import ChainRequest, Report
from quorate_operator.verification.rows import IndexTally
from quorate_operator.verification.work import Done, IndexTask, Task, Worker, Workers, cores

SEGMENT = 16_384
"""Entries of one task: enough that handing it out costs nothing, few enough that the last ones end together."""
SMALL = 65_536
"""So few entries are verified without further processes, and their index rows are looked up one by one."""
_PAGES = 2048


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
        Stalled, Transient: as of `quorate_operator.verification.database.reading`; Transient `VerificationAborted`.
    """
    started = time.monotonic()
    with reading(dsn) as reader:
        salt = os.urandom(16)
        expected, stored = IndexTally(salt), IndexTally(salt)
        chains = {request.chain_id: ChainWork(reader, request, expected) for request in requests}
        tasks = [task for chain in chains.values() for task in chain.segments(SEGMENT)]
        total, through = sum(task.end - task.start for task in tasks), 0
        small = total <= SMALL
        tasks_of_indexes = _bulk(reader, chains.values()) if not small else _single(chains.values())
        count = 1 if small else cores() if workers is None else workers
        with _running(dsn, reader, expected, count, small) as run:
            for done in run([*tasks, *tasks_of_indexes]):
                expected.merge(*done.expected)
                stored.merge(*done.stored)
                if not isinstance(done.task, IndexTask):
                    chains[done.task.chain].take(done)
                    through += done.task.end - done.task.start
                    if progress is not None:
                        progress(through, total)
        for chain in chains.values():
            if small and chain.covered:
                stored.probe(reader.connection, expected, chain.chain)
        if not stored.agrees(expected) or any(chain.faulty for chain in chains.values()):
            stored = _each(reader, chains.values(), expected, tasks_of_indexes, small=small)
        else:
            stored = expected
        reports = [chain.finish(expected, stored) for chain in chains.values()]
    return Report(tuple(reports), time.monotonic() - started)


Run = Callable[[Sequence[Task]], Iterator[Done]]


@contextmanager
def _running(dsn: str, reader: Reader, expected: IndexTally, count: int, small: bool) -> Iterator[Run]:
    if count > 1:
        with Workers(dsn, reader.snapshot(), expected.salt, count) as pool:
            yield pool.run
        return
    worker = Worker(reader.connection, expected.salt, expected.probes if small else None)
    yield lambda tasks: map(worker.do, tasks)


def _each(
    reader: Reader, chains: Iterable[ChainWork], expected: IndexTally, tasks: Iterable[IndexTask], *, small: bool
) -> IndexTally:
    """What the indexes hold of each chain: one of them differs, and it must be told which."""
    stored = IndexTally(expected.salt)
    for task in tasks:
        stored.read(reader.connection, task.where, names=task.names, by_chain=True)
    for chain in chains:
        if small and chain.covered:
            stored.probe(reader.connection, expected, chain.chain)
    return stored


def _single(chains: Iterable[ChainWork]) -> list[IndexTask]:
    """Index rows of a few entries by place; names behind a checkpoint are probed instead."""
    tasks = []
    for chain in chains:
        where = sql.SQL("WHERE chain_id = {} AND seq >= {}").format(sql.Literal(chain.chain), sql.Literal(chain.start))
        tasks += [IndexTask(where, names) for names in ((False,) if chain.covered else (False, True))]
    return tasks


def _bulk(reader: Reader, chains: Iterable[ChainWork]) -> list[IndexTask]:
    """Index rows of many entries: the whole tables, page by page."""
    conditions = [
        sql.SQL("(chain_id = {} AND seq >= {})").format(sql.Literal(chain.chain), sql.Literal(chain.start))
        for chain in chains
    ]
    wanted = sql.SQL(" OR ").join(conditions)
    tasks = []
    for names, table in ((False, "quorate.audit_event_id"), (True, "quorate.audit_about")):
        pages = reader.pages(table)
        for first in range(0, pages, _PAGES):
            place = sql.SQL("WHERE ctid >= '({},0)' AND ctid < '({},0)' AND ({})").format(
                sql.Literal(first), sql.Literal(first + _PAGES), wanted
            )
            tasks.append(IndexTask(place, names))
    return tasks
