"""Signatures of many votes, verified by as many processes as there are cores.

The votes are cut into pieces whose numbers wait in a pipe; every process, this one too, takes the next number when it
is done with the last, so that all end together however much of a core each of them gets.
"""

import gc
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.connection import Connection, wait

from quorate.canonical import hex_of_digest
from quorate.proposals.ahead import unverified
from quorate.proposals.votes import Ballot
from quorate.trust.domain import DomainHistory

FEW = 512
"""So few are verified sooner than a process is started."""
PIECES = 256
"""A piece's number is one byte, which no two processes can read."""
_ANSWER = 33
"""Bytes for each vote: its digest and whether the signature holds."""

Histories = Mapping[str, DomainHistory]


def verify_ahead(ballots: Sequence[Ballot], histories: Histories) -> None:
    """Verify what a tally will ask for, where that is much and there is more than one core."""
    processes = os.cpu_count() or 1
    if len(ballots) >= FEW and processes > 1 and "fork" in get_all_start_methods():
        verify_together(ballots, histories, processes)


def verify_together(ballots: Sequence[Ballot], histories: Histories, processes: int) -> None:
    """Verify with `processes` of them, this one included.

    A process that ends before its time leaves a piece unanswered: those votes are verified when they are asked for.
    """
    size = max(1, -(-len(ballots) // PIECES))
    pieces = [ballots[start : start + size] for start in range(0, len(ballots), size)]
    numbers = _numbers(len(pieces))
    context = get_context("fork")  # a child has the votes: only answers travel
    pipes, children = [], []
    try:
        for _ in range(processes - 1):
            ours, theirs = context.Pipe(duplex=False)
            pipes.append(ours)
            child = context.Process(target=_answer, args=(numbers, pieces, histories, theirs), daemon=True)
            child.start()
            children.append(child)
            theirs.close()
        while number := os.read(numbers, 1):
            for ballot, key in unverified(pieces[number[0]], histories):
                ballot.signed_by(key)
            _take(pipes, pieces, histories, timeout=0)
        while pipes:
            _take(pipes, pieces, histories, timeout=None)
    finally:
        os.close(numbers)
        for child in children:
            child.kill()  # it has answered all, or nobody wants to know any more
            child.join()
            child.close()


def _numbers(count: int) -> int:
    """The reading end of a pipe that holds 0 to count − 1 and then is at its end."""
    reading, writing = os.pipe()
    os.write(writing, bytes(range(count)))
    os.close(writing)  # before a child has it too
    return reading


def _answer(numbers: int, pieces: Sequence[Sequence[Ballot]], histories: Histories, pipe: Connection) -> None:
    gc.disable()  # it would look through, and so copy, all that the parent has
    while number := os.read(numbers, 1):
        found = bytearray(number)
        for ballot, key in unverified(pieces[number[0]], histories):
            found += bytes.fromhex(hex_of_digest(ballot.digest))
            found.append(ballot.signed_by(key))
        pipe.send_bytes(found)


def _take(
    pipes: list[Connection], pieces: Sequence[Sequence[Ballot]], histories: Histories, *, timeout: float | None
) -> None:
    """Tell the votes what came; a pipe at its end is closed and taken out."""
    for pipe in _ready(pipes, timeout):
        answers = b""
        with suppress(EOFError, OSError):  # done, or ended from outside
            answers = pipe.recv_bytes()
        if answers:
            _tell(pieces[answers[0]], histories, answers)
        else:
            pipe.close()
            pipes.remove(pipe)


def _ready(pipes: Sequence[Connection], timeout: float | None) -> Iterable[Connection]:
    return [pipe for pipe in wait(pipes, timeout) if isinstance(pipe, Connection)]


def _tell(piece: Sequence[Ballot], histories: Histories, answers: bytes) -> None:
    place = 1
    for ballot, key in unverified(piece, histories):
        digest = "sha256:" + answers[place : place + _ANSWER - 1].hex()
        ballot.told(digest, key, holds=answers[place + _ANSWER - 1] == 1)
        place += _ANSWER
