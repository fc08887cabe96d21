"""Processes to be killed: `python -m tests.contract.worker sealer|client NAME DSN JOURNAL KEY`.

Each caller appends one entry after another and writes to its journal what a real client would remember: `try ID` before
it asks, `done ID` once it was told that the entry is durable. A process that starts again reads the journal and asks
again for what it was never told about, as a client does that lost an answer.
"""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID

import psycopg

from quorate.audit.entry import Draft, Tether
from quorate.identity.vkey import SignerKey
from quorate_operator.errors import OperatorError
from quorate_operator.store.intake import Intake
from quorate_operator.store.log import PostgresStore

CHAIN = "mesh/domain"
CALLERS = 8
SIGNER = SignerKey(CHAIN, bytes(range(32)))


def draft(key: str, previous: UUID | None) -> Draft:
    """The next entry of a caller's subject; asked for again it has the same id."""
    subject = {"kind": "Vote", "name": key}
    return Draft(key, previous, "governance.vote.accepted", subject, Tether("0"), time.time_ns() // 1000)


class Journal:
    """What one caller remembers; a line that was cut off by a kill counts as never written."""

    def __init__(self, path: Path) -> None:
        self.asked: list[str] = []
        self.told: set[str] = set()
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        for word, entry in (line.split() for line in lines if line.endswith("\n")):
            self.told.add(entry) if word == "done" else self.asked.append(entry)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        if lines and not lines[-1].endswith("\n"):
            os.write(self._file, b"\n")

    @property
    def previous(self) -> tuple[UUID | None, bool]:
        """The entry that the next one follows, and whether the last question is open."""
        last = self.asked[-1] if self.asked else None
        if last is None or last in self.told:
            return (UUID(last) if last else None), False
        return (UUID(self.asked[-2]) if len(self.asked) > 1 else None), True

    def note(self, word: str, entry: UUID) -> None:
        """Write a line, in one write."""
        os.write(self._file, f"{word} {entry}\n".encode())


async def calls(key: str, journal: Journal, ask: Callable[[str, UUID | None], Awaitable[None]]) -> None:
    """Append for ever, each entry after the one before; a refusal that passes is waited out."""
    previous, again = journal.previous
    while True:
        made = draft(key, previous)
        if not again:
            journal.note("try", made.entry_id)
        try:
            await ask(key, previous)
        except (OperatorError, psycopg.OperationalError) as error:
            again = True
            await asyncio.sleep(getattr(error, "retry_after", 0) or 0.05)
            continue
        journal.note("done", made.entry_id)
        previous, again = made.entry_id, False


async def seal(name: str, dsn: str, folder: Path, key: bytes) -> None:
    """The leader: takes a term, moves what was taken in, appends by itself, and hands checkpoints out."""
    store = PostgresStore(dsn, intake_key=key, patience=30)
    while True:
        with contextlib.suppress(OperatorError):
            await store.open()
            await store.take(name)
            break
        await asyncio.sleep(0.05)

    async def ask(subject: str, previous: UUID | None) -> None:
        await store.log.append(CHAIN, [draft(subject, previous)])

    async def checkpoints() -> None:
        while True:
            await asyncio.sleep(0.2)
            with contextlib.suppress(OperatorError):
                note = await store.log.checkpoint(CHAIN, SIGNER)
                size = note.split("\n", 2)[1]
                (folder / f"{name}-{size}.tmp").write_text(note)
                (folder / f"{name}-{size}.tmp").rename(folder / f"checkpoint-{size}")

    subjects = [f"direct-{number}" for number in range(CALLERS)]
    await asyncio.gather(checkpoints(), *(calls(it, Journal(folder / f"{it}.journal"), ask) for it in subjects))


async def change(name: str, dsn: str, folder: Path, key: bytes) -> None:
    """A client: each change of state and its entry in one transaction."""
    intake = Intake(key)

    async def caller(subject: str) -> None:
        held: list[psycopg.AsyncConnection[tuple[object, ...]]] = []

        async def ask(subject: str, previous: UUID | None) -> None:
            if not held or held[0].closed:
                held[:] = [await psycopg.AsyncConnection.connect(dsn)]
            (connection,) = held
            made = draft(subject, previous)
            async with connection.transaction():
                row = await connection.execute("SELECT FROM public.state WHERE entry = %s", (made.entry_id,))
                if await row.fetchone() is not None:
                    return  # it was committed, only the answer was lost
                await connection.execute("INSERT INTO public.state VALUES (%s)", (made.entry_id,))
                await intake.put(connection, CHAIN, made)

        await calls(subject, Journal(folder / f"{subject}.journal"), ask)

    await asyncio.gather(*(caller(f"{name}-{number}") for number in range(CALLERS)))


if __name__ == "__main__":
    role, given, where, journals, secret = sys.argv[1:]
    asyncio.run({"sealer": seal, "client": change}[role](given, where, Path(journals), bytes.fromhex(secret)))
