"""`quorate audit log --follow`: what is sealed from now on, without gap, also across restarts of Postgres.

The entries of one chain become visible in their order, as each batch is sealed under the lock of the chain's head; so
"everything after the last one seen" misses nothing. That each entry continues the one shown before it is checked.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import psycopg

from quorate.audit.record import GENESIS_HASH, Record, chain_hash, leaf_hash
from quorate_cli.audit.search import DivergentError, Filter
from quorate_cli.audit.shown import Shown
from quorate_cli.audit.source import BLOCK, Database
from quorate_cli.database import place_of
from quorate_cli.output import tell

LONGEST_PAUSE = 5.0


@dataclass
class Place:
    """How far a chain was read: the next sequence, and the chain hash before it (None: not yet known)."""

    sequence: int = 0
    chain: bytes | None = GENESIS_HASH


@dataclass
class Follower:
    """Follows one database from `places` on; `chains` empty means all, those that are yet to be made too."""

    dsn: str
    chains: Sequence[str]
    wanted: Filter
    unreadable: Callable[[str, int, ValueError], None]
    places: dict[str, Place]
    _database: Database | None = None
    _connection: "psycopg.Connection[object] | None" = None
    _lost: bool = field(default=False)

    @classmethod
    def after(
        cls,
        dsn: str,
        chains: Sequence[str],
        wanted: Filter,
        unreadable: Callable[[str, int, ValueError], None],
        ends: Mapping[str, int],
    ) -> "Follower":
        """Follow what comes after the first `ends[chain]` entries of each chain."""
        places = {chain: Place(end, None if end else GENESIS_HASH) for chain, end in ends.items()}
        return cls(dsn, chains, wanted, unreadable, places)

    def poll(self) -> tuple[list[Shown], bool]:
        """What was sealed since, at most one block of each chain, and whether there is more. An outage is no entry."""
        try:
            found, more = self._poll(self._connected())
        except psycopg.OperationalError as error:
            if not self._lost:
                tell(f"note: database {place_of(self.dsn)}: {' '.join(str(error).split())}; waiting for it")
            self._lost, self._connection = True, None
            return [], False
        if self._lost:
            tell(f"note: database {place_of(self.dsn)}: it is back")
            self._lost = False
        return found, more

    def _connected(self) -> Database:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(
                self.dsn, autocommit=True, connect_timeout=5, application_name="quorate audit log"
            )
            self._database = Database(self._connection, place_of(self.dsn))
        assert self._database is not None
        return self._database

    def _poll(self, database: Database) -> tuple[list[Shown], bool]:
        found: list[Shown] = []
        more = False
        for chain in self.chains or database.chains():
            place = self.places.setdefault(chain, Place())
            end = database.bounds(chain)[1]
            if end < place.sequence:
                raise DivergentError(
                    f"{chain}: the log has {end} entries, but {place.sequence} were there: it was set back"
                )
            upto = min(end, place.sequence + BLOCK)
            for sequence, record in database.block(chain, place.sequence, upto) if upto > place.sequence else ():
                found.extend(self._next(chain, place, sequence, record))
            more = more or upto < end
        return sorted(found, key=lambda shown: shown.sealed_at), more

    def _next(self, chain: str, place: Place, sequence: int, record: bytes) -> Iterator[Shown]:
        try:
            previous = Record.decode(record).previous
            shown = Shown.of(record) if self.wanted.may_match(record) else None
        except ValueError as error:
            self.unreadable(chain, sequence, error)
            place.sequence, place.chain = sequence + 1, None
            return
        if sequence != place.sequence or place.chain not in (None, previous):
            raise DivergentError(
                f"{chain}, entry {sequence}: it does not continue what was shown; run `quorate audit verify`"
            )
        place.sequence, place.chain = sequence + 1, chain_hash(previous, leaf_hash(record))
        if shown is not None and self.wanted.matches(shown):
            yield shown


def follow(followers: Sequence[Follower], interval: float) -> Iterator[list[Shown]]:
    """What is sealed, in portions sorted by sealed time, until interrupted; asks every `interval` seconds."""
    never = threading.Event()
    pause = interval
    while True:
        polled = [follower.poll() for follower in followers]
        if rows := [shown for found, _ in polled for shown in found]:
            yield sorted(rows, key=lambda shown: shown.sealed_at)
        lost = any(follower._lost for follower in followers)  # noqa: SLF001 - the same module's class
        pause = min(max(pause, interval) * 2, LONGEST_PAUSE) if lost else interval
        if not any(more for _, more in polled):
            never.wait(pause)
