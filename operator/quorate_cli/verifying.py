"""Signatures of many votes, verified by as many processes as there are cores."""

from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.connection import Connection
from os import cpu_count

from quorate.canonical import hex_of_digest
from quorate.proposals.ahead import Unverified

FEW = 512
"""So few are verified sooner than a process is started."""
_ANSWER = 33
"""Bytes for each vote: its digest and whether the signature holds."""


def verify_ahead(pending: Sequence[Unverified]) -> None:
    """Verify what a tally will ask for; what no process answers, it verifies itself."""
    count = cpu_count() or 1
    if len(pending) < FEW or count < 2 or "fork" not in get_all_start_methods():
        return
    own, *others = [pending[start::count] for start in range(count)]
    context = get_context("fork")  # a child has the votes: only answers travel
    children = []
    for part in others:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_answer, args=(part, theirs), daemon=True)
        process.start()
        theirs.close()
        children.append((part, ours, process))
    for ballot, key in own:
        ballot.signed_by(key)
    for part, ours, process in children:
        with suppress(EOFError, OSError):  # ended from outside
            _tell(part, ours.recv_bytes())
        ours.close()
        process.join()


def _answer(part: Sequence[Unverified], pipe: Connection) -> None:
    found = bytearray()
    for ballot, key in part:
        found += bytes.fromhex(hex_of_digest(ballot.digest))
        found.append(ballot.signed_by(key))
    pipe.send_bytes(found)


def _tell(part: Sequence[Unverified], answers: bytes) -> None:
    for place, (ballot, key) in enumerate(part):
        *digest, holds = answers[place * _ANSWER : (place + 1) * _ANSWER]
        ballot.told("sha256:" + bytes(digest).hex(), key, holds=bool(holds))
