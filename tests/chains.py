"""Chains for tests: built in memory as the sealer builds them, changed as an attacker would, written to a database."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from uuid import UUID

import orjson
import psycopg

from quorate.audit.checkpoint import Checkpoint
from quorate.audit.entry import Draft, Tether, content_hash
from quorate.audit.growth import FullTile, Growth
from quorate.audit.merkle import TILE_WIDTH, Frontier
from quorate.audit.record import GENESIS_HASH, Record, chain_hash, leaf_hash
from quorate.audit.rules import StoredEntry, id_of, name_key
from quorate.audit.tiles import CHECKPOINT, bundle_at, chain_path, encode_bundle, perfect_root, tile_at
from quorate.audit.verify import StoredHead
from quorate.canonical import canonical_bytes
from quorate.identity.vkey import SignerKey

CHAIN = "mesh/acme"
SIGNER = SignerKey(CHAIN, bytes(range(32)))
SEALED = 1_700_000_000_000_000
ABOUT = "sha256:" + "ab" * 32


def draft(number: int) -> Draft:
    """An entry; every other one is about something, every third says a number."""
    event = "governance.vote.accepted" if number % 2 else "governance.vote.refused"
    return Draft(
        f"sha256:{number:064x}",
        None,
        event,
        {"kind": "Vote", "name": f"v{number}"},
        Tether("5.5", "1.2.0", ("c-1",)),
        SEALED + number * 1_000_000,
        actor_id=f"node-{number % 3}",
        about=(ABOUT,) if number % 2 else (),
        detail={"votes": number} if number % 3 == 0 else {"reason": "grüezi" if number % 5 == 0 else "plain"},
    )


@dataclass(frozen=True)
class Chain:
    """Records that follow one another."""

    chain_id: str
    records: tuple[bytes, ...]

    @cached_property
    def decoded(self) -> list[Record]:
        """The records, decoded."""
        return [Record.decode(record) for record in self.records]

    def _hashes(self) -> Iterator[bytes]:
        current = GENESIS_HASH
        for record in self.records:
            current = chain_hash(current, leaf_hash(record))
            yield current

    def head(self) -> StoredHead:
        """The head row."""
        *_, chain = self._hashes()
        last = self.decoded[-1]
        return StoredHead(self.chain_id, last.epoch, len(self.records), chain, self.frontier().encode(), last.sealed_at)

    def frontier(self, size: int | None = None) -> Frontier:
        """The tree of the first `size` records."""
        frontier = Frontier()
        for record in self.records[:size]:
            frontier.append(leaf_hash(record))
        return frontier

    def note(self, size: int | None = None, signer: SignerKey = SIGNER) -> str:
        """A signed checkpoint."""
        frontier = self.frontier(size)
        return Checkpoint(self.chain_id, frontier.size, frontier.root()).sign(signer)

    def tiles(self) -> list[FullTile]:
        """The full tiles."""
        growth = Growth(Frontier())
        return [tile for record in self.records for tile in growth.add(0, leaf_hash(record))]

    def rows(self) -> list[StoredEntry]:
        """What the tables and indexes hold."""
        return [self._row(number, record) for number, record in enumerate(self.records)]

    def _row(self, number: int, record: bytes) -> StoredEntry:
        payload = orjson.loads(self.decoded[number].content)["payload"]
        key = payload["subject"]["key"]
        names = frozenset(UUID(bytes=name_key(name)) for name in payload["about"] if name != key)
        identifier = id_of(StoredEntry(number, record))
        return StoredEntry(number, record, UUID(identifier), UUID(bytes=name_key(key)), names)

    def relinked(self, changes: Mapping[int, Callable[[Record], Record]]) -> "Chain":
        """What an attacker with all rights makes of it: records changed, everything after them chained again."""
        previous, records = GENESIS_HASH, []
        for number, record in enumerate(self.decoded):
            changed = changes.get(number, lambda same: same)(replace(record, previous=previous))
            records.append(changed.encode())
            previous = chain_hash(previous, leaf_hash(records[-1]))
        return Chain(self.chain_id, tuple(records))


def build(count: int, chain_id: str = CHAIN, drafts: Sequence[Draft] | None = None) -> Chain:
    """A chain of `count` entries."""
    previous, records = GENESIS_HASH, []
    for number, entry in enumerate(drafts or [draft(number) for number in range(count)]):
        content = entry.content
        record = Record(chain_id, 0, number, SEALED + number, previous, content_hash(content), content)
        records.append(record.encode())
        previous = chain_hash(previous, leaf_hash(records[-1]))
    return Chain(chain_id, tuple(records))


def with_content(change: Callable[[dict], None]) -> Callable[[Record], Record]:  # type: ignore[type-arg]
    """A change of the content that keeps it canonical and its hash right."""

    def changed(record: Record) -> Record:
        document = orjson.loads(record.content)
        change(document)
        content = canonical_bytes(document)
        return replace(record, content=content, entry_hash=content_hash(content))

    return changed


def write(dsn: str, chain: Chain, *notes: str) -> None:
    """Write a chain into an empty database of ours, as its owner could."""
    with psycopg.connect(dsn) as connection:
        connection.execute("SELECT quorate.make_chain(%s)", (chain.chain_id,))
        cursor = connection.cursor()
        for row in chain.rows():
            place = (chain.chain_id, row.sequence)
            cursor.execute("INSERT INTO quorate.audit_entry VALUES (%s, %s, %s)", (*place, row.record))
            cursor.execute(
                "INSERT INTO quorate.audit_event_id (chain_id, seq, event_id, subject) VALUES (%s, %s, %s, %s)",
                (*place, row.indexed_id, row.subject),
            )
            for name in row.about or ():
                cursor.execute(
                    "INSERT INTO quorate.audit_about (chain_id, seq, key) VALUES (%s, %s, %s)", (*place, name)
                )
        for tile in chain.tiles():
            values = (chain.chain_id, tile.level, tile.number, b"".join(tile.hashes), tile.root)
            cursor.execute("INSERT INTO quorate.merkle_tile VALUES (%s, %s, %s, %s, %s)", values)
        for note in notes:
            size = int(note.split("\n")[1])
            cursor.execute(
                "INSERT INTO quorate.checkpoint (chain_id, size, signer, note) VALUES (%s, %s, %s, %s)",
                (chain.chain_id, size, SIGNER.name, note),
            )
        head = chain.head()
        cursor.execute(
            "UPDATE quorate.chain_head SET epoch = %s, size = %s, chain_hash = %s, frontier = %s, sealed_at = %s"
            " WHERE chain_id = %s",
            (head.epoch, head.size, head.chain, head.frontier, head.sealed_at, chain.chain_id),
        )


def publish(folder: Path, chain: Chain, note: str | None = None) -> Path:
    """Write a chain as a directory in tlog-tiles layout; where its checkpoint lies."""
    size = len(chain.records)
    place = folder / chain_path(chain.chain_id)
    files = {CHECKPOINT: (note or chain.note()).encode()}
    level, hashes = 0, [leaf_hash(record) for record in chain.records]
    while hashes:
        for first in range(0, len(hashes), TILE_WIDTH):
            files[tile_at(level, first // TILE_WIDTH, size).path] = b"".join(hashes[first : first + TILE_WIDTH])
        full = range(0, len(hashes) // TILE_WIDTH * TILE_WIDTH, TILE_WIDTH)
        level, hashes = level + 1, [perfect_root(hashes[first : first + TILE_WIDTH]) for first in full]
    for first in range(0, size, TILE_WIDTH):
        files[bundle_at(first // TILE_WIDTH, size).path] = encode_bundle(chain.records[first : first + TILE_WIDTH])
    for name, data in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)
    return place


def tamper(dsn: str, *statements: str) -> None:
    """Change stored rows as the database's owner could, past every trigger."""
    with psycopg.connect(dsn) as connection:
        tables = connection.execute(
            "SELECT oid::regclass::text FROM pg_class"
            " WHERE relkind IN ('r', 'p') AND relnamespace = 'quorate'::regnamespace"
        ).fetchall()
        for (table,) in tables:
            connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        for statement in statements:
            connection.execute(statement)
