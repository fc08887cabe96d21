"""Work of a verification that can be done by several processes, each with its own connection on one snapshot."""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from typing import Any

import psycopg
from psycopg import sql

from quorate.audit.scan import Scanner
from quorate.audit.segment import Segment
from quorate_operator.errors import Transient
from quorate_operator.verification.rows import Connection, Expected, IndexTally, blocks


@dataclass(frozen=True)
class SegmentTask:
    """Scan the entries start ≤ n < end of a chain; `views` are sizes at which a checkpoint is to be compared."""

    chain: str
    start: int
    end: int
    views: tuple[int, ...] = ()


@dataclass(frozen=True)
class IndexTask:
    """Add up the rows of an index that satisfy `where`; `names` is the index of names, else that of ids.

    `by_chain` gives each chain its own sum, and takes twice as long.
    """

    where: sql.Composable
    names: bool = False
    by_chain: bool = False


Task = SegmentTask | IndexTask
Sums = tuple[dict[bytes, int], dict[bytes, int]]


@dataclass(frozen=True)
class Done:
    """A task with its result: the segment (None: look again), what the indexes should hold, and what they do hold."""

    task: Task
    segment: Segment | None = None
    expected: Sums = field(default_factory=lambda: ({}, {}))
    stored: Sums = field(default_factory=lambda: ({}, {}))


class Worker:
    """Does tasks on a connection; keeps the shapes that it learnt of each chain."""

    def __init__(
        self, connection: Connection, salt: bytes, probes: "list[tuple[bytes, bytes, bytes]] | None" = None
    ) -> None:
        self._connection, self._probes = connection, probes
        self._expected, self._stored = IndexTally(salt), IndexTally(salt)
        self._scanners: dict[str, Scanner] = {}

    def do(self, task: Task) -> Done:
        """Do one task; psycopg.Error when the database fails."""
        if isinstance(task, IndexTask):
            self._stored.read(self._connection, task.where, names=task.names, by_chain=task.by_chain)
            return Done(task, stored=self._stored.take())
        scanner = self._scanners.get(task.chain)
        if scanner is None:
            scanner = self._scanners[task.chain] = Scanner(
                task.chain, Expected(self._expected, task.chain, self._probes)
            )
        mark = len(self._probes or ())
        rows = blocks(self._connection, task.chain, task.start, task.end)
        segment = scanner.scan(task.start, task.end, rows, views=task.views, tiles=True)
        rows.close()
        expected = self._expected.take()
        if segment is not None:
            return Done(task, segment, expected)
        if self._probes is not None:
            del self._probes[mark:]
        return Done(task)


def _serve(dsn: str, snapshot: str, salt: bytes, pipe: Pipe, others: Sequence[Pipe]) -> None:
    """A worker process: tasks come, results go, until the pipe is closed, also by the death of who holds its end."""
    for other in others:
        other.close()
    with suppress(EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        try:
            with psycopg.connect(dsn, connect_timeout=10, application_name="quorate audit") as connection:
                connection.read_only = True
                connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot)))
                worker = Worker(connection, salt)
                while True:
                    pipe.send(worker.do(pipe.recv()))
        except psycopg.Error as error:
            pipe.send(f"{type(error).__name__}: {error}")


class Workers:
    """Processes that do tasks; a context manager, which ends them."""

    def __init__(self, dsn: str, snapshot: str, salt: bytes, count: int) -> None:
        self._pipes: list[Pipe] = []
        self._processes: list[Any] = []
        context = get_context("fork")  # the key of Python's hash is shared by processes that are forked
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_serve, args=(dsn, snapshot, salt, theirs, [*self._pipes, ours]), daemon=True
            )
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.terminate()
            process.join(10)

    def run(self, tasks: Sequence[Task]) -> Iterator[Done]:
        """The results in the order of the tasks; a task more than there are workers is given out ahead.

        Raises:
            Transient: `DatabaseUnavailable` or `VerificationAborted`, a worker failed.
        """
        waiting = deque(enumerate(tasks))
        given: dict[Pipe, deque[int]] = {pipe: deque() for pipe in self._pipes}
        done: dict[int, Done] = {}
        for following in range(len(tasks)):
            while following not in done:
                for pipe, numbers in given.items():
                    # No further ahead than this, so that results that wait for their turn stay few.
                    while waiting and len(numbers) < 2 and waiting[0][0] < following + 8 * len(given):
                        number, task = waiting.popleft()
                        self._send(pipe, task)
                        numbers.append(number)
                for ready in wait([pipe for pipe, numbers in given.items() if numbers]):
                    assert isinstance(ready, Pipe)
                    done[given[ready].popleft()] = self._receive(ready)
            yield done.pop(following)

    @staticmethod
    def _send(pipe: Pipe, task: Task) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # its last words are waiting, or its end
            pipe.send(task)

    @staticmethod
    def _receive(pipe: Pipe) -> Done:
        try:
            result = pipe.recv()
        except (EOFError, ConnectionResetError) as error:
            raise Transient("VerificationAborted", "a process of the verification was ended from outside") from error
        if isinstance(result, str):
            raise Transient("DatabaseUnavailable", " ".join(result.split()))
        assert isinstance(result, Done)
        return result


def cores() -> int:
    """How many processes are worth starting."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
