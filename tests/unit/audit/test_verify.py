"""The verifier finds and names every change, and the fast scan agrees with it; all without a database."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from uuid import UUID, uuid4

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from quorate.audit.archive import Point
from quorate.audit.checkpoint import Checkpoint
from quorate.audit.entry import Draft, Tether, content_hash
from quorate.audit.growth import Growth
from quorate.audit.merkle import Frontier
from quorate.audit.quarantine import RESUMED
from quorate.audit.record import Record, chain_hash, leaf_hash
from quorate.audit.rules import NO_ROW
from quorate.audit.scan import Block, Scanner, block_of
from quorate.audit.segment import Segment
from quorate.audit.verify import (
    ChainReport,
    ChainVerifier,
    Start,
    StoredEntry,
    StoredHead,
    StoredTile,
    Verdict,
    combine,
)
from quorate.canonical import encode_base64
from quorate.identity.vkey import SignerKey
from tests.chains import CHAIN, SEALED, SIGNER, Chain, build, draft, with_content

SIZE = 700
WHOLE = build(SIZE)
SMALL = build(12)
Rows = list[StoredEntry]


def tiles_of(chain: Chain) -> dict[tuple[int, int], StoredTile]:
    """The stored tiles."""
    return {(tile.level, tile.number): StoredTile(b"".join(tile.hashes), tile.root) for tile in chain.tiles()}


def verify(
    rows: Sequence[StoredEntry],
    head: StoredHead | None,
    *,
    stored: Sequence[str] = (),
    anchors: Sequence[str] = (),
    tiles: dict[tuple[int, int], StoredTile] | None = None,
) -> ChainReport:
    """The exact verifier's report."""
    held = None if tiles is None else lambda level, number: tiles.get((level, number))
    verifier = ChainVerifier(CHAIN, keys=[SIGNER.verifier], stored=stored, anchors=anchors, tiles=held)
    for row in rows:
        if not verifier.feed(row):
            break
    return verifier.finish(head)


class Collected:
    """Port `Found`: remembers what indexes must hold."""

    def __init__(self) -> None:
        self.ids: list[tuple[bytes, bytes, bytes]] = []
        self.about: dict[bytes, set[bytes]] = {}

    def entries(self, ids: Sequence[bytes], sequences: Sequence[bytes], keys: Sequence[bytes]) -> None:
        self.ids += zip(ids, sequences, keys, strict=True)

    def names(self, sequence: bytes, key: bytes, names: Sequence[bytes]) -> None:
        self.about[sequence] = set(names) - {key}


def blocks(chain: Chain, start: int, end: int) -> list[Block]:
    """The blocks of a segment, with their tiles."""
    tiles, found, first = tiles_of(chain), [], start
    while first < end:
        last = min((first // 256 + 1) * 256, end)
        tile = tiles.get((0, first // 256))
        held = (None, None) if tile is None else (tile.hashes, tile.root)
        found.append(block_of(chain.records[first:last], *held))
        first = last
    return found


def scan(chain: Chain, start: int = 0, end: int | None = None, views: Sequence[int] = ()) -> Segment | None:
    """What the fast scan makes of a part of a chain."""
    last = len(chain.records) if end is None else end
    return Scanner(CHAIN, Collected()).scan(start, last, blocks(chain, start, last), views=views, tiles=True)


def test_an_intact_chain_is_intact_with_an_anchor_and_unanchored_without() -> None:
    """Everything is counted; only a checkpoint from outside makes it more than unanchored."""
    report = verify(WHOLE.rows(), WHOLE.head(), stored=[WHOLE.note(300)], tiles=tiles_of(WHOLE))
    assert (report.verdict, report.checked, report.checkpoints) == (Verdict.UNANCHORED, SIZE, 1), report.fault
    report = verify(WHOLE.rows(), WHOLE.head(), anchors=[WHOLE.note(300), WHOLE.note(650)])
    assert (report.verdict, report.anchored_size, report.root) == (
        Verdict.INTACT, 650, WHOLE.frontier().root().hex()
    )  # fmt: skip


def test_nothing_checked_is_no_success() -> None:
    """Without an entry, and without a chain, the verdict is that nothing can be told."""
    assert verify([], None).verdict is Verdict.TAMPERED
    assert verify([], StoredHead(CHAIN, 0, 0, bytes(32), b"")).verdict is Verdict.CANNOT_TELL
    assert combine([]) is Verdict.CANNOT_TELL


HEADER_CHANGES: dict[str, tuple[Callable[[Record], Record], str]] = {
    "chain_id": (lambda record: replace(record, chain_id="mesh/other"), "record"),
    "epoch": (lambda record: replace(record, epoch=1), "record"),
    "epoch far": (lambda record: replace(record, epoch=7), "record"),
    "sequence": (lambda record: replace(record, sequence=record.sequence + 1), "record"),
    "sealed_at": (lambda record: replace(record, sealed_at=record.sealed_at - 10), "record"),
    "previous": (lambda record: replace(record, previous=bytes(32)), "chain"),
    "entry_hash": (lambda record: replace(record, entry_hash=bytes(32)), "content"),
    "content": (lambda record: replace(record, content=record.content.replace(b"plain", b"plane")), "content"),
}


@pytest.mark.parametrize("name", HEADER_CHANGES)
def test_each_header_field_is_found_and_named_even_relinked(name: str) -> None:
    """One changed field of one record ends the chain at that entry; with everything after it chained again as well."""
    change, phase = HEADER_CHANGES[name]
    place = 7
    rows = SMALL.rows()
    changed = change(SMALL.decoded[place])
    assert changed != SMALL.decoded[place]
    rows[place] = replace(rows[place], record=changed.encode())
    report = verify(rows, SMALL.head())
    assert report.fault is not None and (report.fault.sequence, report.fault.phase) == (place, phase)
    relinked = SMALL.relinked({place: change})
    report = verify([replace(row, indexed_id=None) for row in relinked.rows()], relinked.head())
    if name != "previous":
        assert report.fault is not None and (report.fault.sequence, report.fault.phase) == (place, phase)
    assert scan(relinked) is None


def test_a_sealed_time_that_runs_backwards_in_the_next_entry_is_found() -> None:
    """A sealed time moved into the future makes the following entry run backwards."""
    relinked = SMALL.relinked({3: lambda record: replace(record, sealed_at=record.sealed_at + 10**9)})
    report = verify(relinked.rows(), relinked.head())
    assert report.fault is not None and (report.fault.sequence, report.fault.phase) == (4, "record")


def _without(*path: str) -> Callable[[dict], None]:
    def change(document: dict) -> None:
        for name in path[:-1]:
            document = document[name]
        del document[path[-1]]

    return change


def _set(value: object, *path: str) -> Callable[[dict], None]:
    def change(document: dict) -> None:
        for name in path[:-1]:
            document = document[name]
        document[path[-1]] = value

    return change


BROKEN_CONTENT = {
    "no entry_id": _without("entry_id"),
    "no timestamp": _without("timestamp"),
    "no event_type": _without("event_type"),
    "no payload": _without("payload"),
    "no subject": _without("payload", "subject"),
    "no key": _without("payload", "subject", "key"),
    "no kind": _without("payload", "subject", "kind"),
    "no name": _without("payload", "subject", "name"),
    "no tether": _without("payload", "tether"),
    "no phase": _without("payload", "tether", "phaseId"),
    "no version": _without("payload", "tether", "contractVersion"),
    "no clauses": _without("payload", "tether", "clauses"),
    "more": _set(1, "more"),
    "more tether": _set("x", "payload", "tether", "more"),
    "empty actor": _set("", "actor_id"),
    "event type": _set("governance.vote", "event_type"),
    "time": _set("2026-02-30T00:00:00.000000Z", "timestamp"),
    "time digits": _set("2026-02-03T00:00:00.000Z", "timestamp"),
    "empty key": _set("", "payload", "subject", "key"),
    "empty kind": _set("", "payload", "subject", "kind"),
    "empty name": _set("", "payload", "subject", "name"),
    "phase": _set("5.", "payload", "tether", "phaseId"),
    "version": _set("", "payload", "tether", "contractVersion"),
    "clauses": _set([""], "payload", "tether", "clauses"),
    "about": _set(["sha256:x"], "payload", "about"),
    "payload": _set([], "payload"),
    "number for id": _set(5, "entry_id"),
    "number for key": _set(5, "payload", "subject", "key"),
}


@pytest.mark.parametrize("name", BROKEN_CONTENT)
def test_content_that_breaks_a_rule_is_found_though_everything_is_hashed_again(name: str) -> None:
    """An attacker who seals again what no entry may be is told by the rule."""
    relinked = SMALL.relinked({7: with_content(BROKEN_CONTENT[name])})
    rows = [StoredEntry(number, record) for number, record in enumerate(relinked.records)]
    report = verify(rows, relinked.head())
    assert report.fault is not None and (report.fault.sequence, report.fault.phase) == (7, "content")
    assert scan(relinked) is None


NOT_CANONICAL: dict[str, Callable[[bytes], bytes]] = {
    "space": lambda content: content.replace(b'","', b'", "', 1),
    "name twice": lambda content: content.replace(b'"detail":{', b'"detail":{"a":1,"a":2,', 1),
    "order": lambda content: content[:-1] + b',"actor_id":"x"}',
    "float": lambda content: content.replace(b'"votes":6', b'"votes":6.5', 1),
    "float as integer": lambda content: content.replace(b'"votes":6', b'"votes":6.0', 1),
    "exponent": lambda content: content.replace(b'"votes":6', b'"votes":6e1', 1),
    "large": lambda content: content.replace(b'"votes":6', b'"votes":9007199254740992', 1),
    "leading zero": lambda content: content.replace(b'"votes":6', b'"votes":06', 1),
    "minus zero": lambda content: content.replace(b'"votes":6', b'"votes":-0', 1),
    "escape": lambda content: content.replace(b'"Vote"', b'"\\u0056ote"', 1),
    "truncated": lambda content: content[:-1],
    "not utf-8": lambda content: content.replace(b'"Vote"', b'"\xff"', 1),
    "two documents": lambda content: content + b"{}",
}


@pytest.mark.parametrize("name", NOT_CANONICAL)
def test_content_that_is_not_canonical_is_found_by_both_ways(name: str) -> None:
    """Bytes that parse but are not the one form of their value are refused by the rules and by the scan."""

    def change(record: Record) -> Record:
        content = NOT_CANONICAL[name](record.content)
        assert content != record.content
        return replace(record, content=content, entry_hash=content_hash(content))

    relinked = SMALL.relinked({6: change})
    report = verify([StoredEntry(number, record) for number, record in enumerate(relinked.records)], relinked.head())
    assert report.fault is not None and (report.fault.sequence, report.fault.phase) == (6, "content")
    assert scan(relinked) is None


def _swap(rows: Rows) -> Rows:
    rows[3], rows[4] = rows[4], rows[3]
    return rows


def _swap_records(rows: Rows) -> Rows:
    rows[3], rows[4] = replace(rows[3], record=rows[4].record), replace(rows[4], record=rows[3].record)
    return rows


ROW_CHANGES: dict[str, tuple[Callable[[Rows], Rows], str]] = {
    "reordered rows": (_swap, "chain"),
    "reordered records": (_swap_records, "index"),
    "deleted": (lambda rows: rows[:5] + rows[6:], "chain"),
    "deleted and numbered again": (
        lambda rows: rows[:5] + [replace(row, sequence=row.sequence - 1) for row in rows[6:]], "record"
    ),
    "first deleted": (lambda rows: rows[1:], "chain"),
    "truncated": (lambda rows: rows[:-1], "chain"),
    "doubled": (lambda rows: [*rows[:5], rows[4], *rows[5:]], "chain"),
    "seq": (lambda rows: [*rows[:5], replace(rows[5], sequence=50), *rows[6:]], "chain"),
    "indexed id": (lambda rows: [*rows[:5], replace(rows[5], indexed_id=uuid4()), *rows[6:]], "index"),
    "id not indexed": (lambda rows: [*rows[:5], replace(rows[5], indexed_id=NO_ROW), *rows[6:]], "index"),
    "subject": (lambda rows: [*rows[:5], replace(rows[5], subject=uuid4()), *rows[6:]], "index"),
    "about lacks": (lambda rows: [*rows[:5], replace(rows[5], about=frozenset()), *rows[6:]], "index"),
    "about more": (lambda rows: [*rows[:4], replace(rows[4], about=frozenset([uuid4()])), *rows[5:]], "index"),
    "about other": (lambda rows: [*rows[:5], replace(rows[5], about=frozenset([uuid4()])), *rows[6:]], "index"),
    "record cut": (lambda rows: [*rows[:5], replace(rows[5], record=rows[5].record[:60]), *rows[6:]], "record"),
    "version": (lambda rows: [*rows[:5], replace(rows[5], record=b"\2" + rows[5].record[1:]), *rows[6:]], "record"),
}  # fmt: skip


@pytest.mark.parametrize("name", ROW_CHANGES)
def test_each_change_of_rows_is_found(name: str) -> None:
    """Reordered, deleted, doubled, cut or otherwise indexed rows are named by their phase."""
    change, phase = ROW_CHANGES[name]
    report = verify(change(SMALL.rows()), SMALL.head())
    assert report.fault is not None and report.fault.phase == phase, report.fault


HEAD_CHANGES = {
    "epoch": (1, "record"),
    "size": (SIZE + 1, "chain"),
    "chain": (bytes(32), "chain"),
    "frontier": (bytes(32 * SIZE.bit_count()), "merkle"),
    "sealed_at": (5, "record"),
}


@pytest.mark.parametrize("name", HEAD_CHANGES)
def test_each_column_of_the_head_is_found(name: str) -> None:
    """A head row that does not follow from the entries is named; so is none at all."""
    value, phase = HEAD_CHANGES[name]
    report = verify(WHOLE.rows(), replace(WHOLE.head(), **{name: value}))
    assert report.fault is not None and report.fault.phase == phase
    report = verify(WHOLE.rows(), None)
    assert report.fault is not None and "no head row" in report.fault.message


@pytest.mark.parametrize("place", sorted(tiles_of(WHOLE)))
@pytest.mark.parametrize("kind", ["missing", "hashes", "root", "short"])
def test_each_tile_is_found(place: tuple[int, int], kind: str) -> None:
    """A tile that is missing, or holds other hashes or another root, is named; the scan does not accept it either."""
    tiles = tiles_of(WHOLE)
    held = tiles.pop(place)
    changed = {
        "hashes": StoredTile(bytes(32) + held.hashes[32:], held.root),
        "root": StoredTile(held.hashes, bytes(32)),
        "short": StoredTile(held.hashes[:-32], held.root),
    }
    tiles |= {place: changed[kind]} if kind in changed else {}
    report = verify(WHOLE.rows(), WHOLE.head(), tiles=tiles)
    assert report.fault is not None and report.fault.phase == "merkle"
    assert f"tile {place[1]} of level {place[0]}" in report.fault.message


def test_checkpoints_tell_truncation_and_another_history() -> None:
    """A checkpoint beyond the end, one with another root, by a wrong signature, or of another log, is a fault."""
    cut = Chain(CHAIN, WHOLE.records[:600])
    assert "truncated" in verify(cut.rows(), cut.head(), anchors=[WHOLE.note(650)]).fault.message
    other = WHOLE.relinked({5: with_content(_set("other", "payload", "detail", "reason"))})
    assert verify([StoredEntry(n, r) for n, r in enumerate(other.records)], other.head()).fault is None
    fault = verify(other.rows(), other.head(), anchors=[WHOLE.note(600)]).fault
    assert fault is not None and (fault.phase, fault.message) == (
        "checkpoint", "the given checkpoint of size 600 has another root"
    )  # fmt: skip
    wrong = WHOLE.note(600).replace("\n600\n", "\n601\n")
    assert "does not verify" in verify(WHOLE.rows(), WHOLE.head(), stored=[wrong]).fault.message
    foreign = Checkpoint("mesh/other", 600, WHOLE.frontier(600).root()).sign(SIGNER)
    assert "log 'mesh/other'" in verify(WHOLE.rows(), WHOLE.head(), stored=[foreign]).fault.message
    stranger = SignerKey(CHAIN, bytes(32))
    assert verify(WHOLE.rows(), WHOLE.head(), anchors=[WHOLE.note(600, stranger)]).verdict is Verdict.TAMPERED


def test_a_whole_chain_that_is_gone_is_found_by_its_checkpoint() -> None:
    """No row and no head, but a checkpoint from outside: tampered, not unknown."""
    assert verify([], None, anchors=[WHOLE.note()]).verdict is Verdict.TAMPERED


@pytest.mark.parametrize("start", [1, 255, 256, 300, 512, 699])
def test_verification_goes_on_from_any_size(start: int) -> None:
    """From the state behind any entry the rest is verified, joined or fed, with the same root at the end."""
    chain = chain_hash(WHOLE.decoded[start - 1].previous, leaf_hash(WHOLE.records[start - 1]))
    point = Point(start, 0, WHOLE.decoded[start - 1].sealed_at, chain)
    for joined in (True, False):
        tiles = tiles_of(WHOLE)
        verifier = ChainVerifier(
            CHAIN,
            keys=[SIGNER.verifier],
            anchors=[WHOLE.note(start), WHOLE.note(690), WHOLE.note()],
            start=Start(point, WHOLE.frontier(start), "test"),
            tiles=lambda level, number, held=tiles: held.get((level, number)),
        )
        if joined:
            segment = scan(WHOLE, start, views=verifier.wanted)
            assert segment is not None and verifier.join(segment)
        else:
            assert all(map(verifier.feed, WHOLE.rows()[start:]))
        report = verifier.finish(WHOLE.head())
        wanted = (Verdict.INTACT, SIZE - start, SIZE, WHOLE.frontier().root().hex())
        assert (report.verdict, report.checked, report.anchored_size, report.root) == wanted, report.fault


@settings(max_examples=60, deadline=None)
@given(cuts=st.sets(st.integers(1, SIZE - 1), max_size=5), noted=st.sets(st.integers(1, SIZE), max_size=4))
def test_segments_joined_say_what_entries_fed_say(cuts: set[int], noted: set[int]) -> None:
    """However a chain is cut, joining its segments gives the report of feeding its entries."""
    notes = [WHOLE.note(size) for size in sorted(noted)]
    tiles = tiles_of(WHOLE)
    verifier = ChainVerifier(
        CHAIN, keys=[SIGNER.verifier], anchors=notes, tiles=lambda level, number: tiles.get((level, number))
    )
    edges = [0, *sorted(cuts), SIZE]
    for start, end in pairwise(edges):
        segment = scan(WHOLE, start, end, views=[size for size in noted if start < size < end])
        assert segment is not None and verifier.join(segment)
    assert verifier.finish(WHOLE.head()) == verify(WHOLE.rows(), WHOLE.head(), anchors=notes)


PART = build(40)


@settings(max_examples=400, deadline=None)
@given(place=st.integers(0, 39), offset=st.integers(0, 2000), value=st.integers(0, 255), again=st.booleans())
def test_the_scan_accepts_nothing_that_the_rules_refuse(place: int, offset: int, value: int, *, again: bool) -> None:
    """One byte of one record set to anything, hashed and chained again or not: where the rules find a fault, the scan
    does not say fine; what both accept leads to the same root, and names the same ids, subjects and names.
    """
    record = PART.records[place]
    offset %= len(record)
    data = record[:offset] + bytes([value]) + record[offset + 1 :]
    if again:
        try:
            header = Record.decode(data)
        except ValueError:
            return
        changed = PART.relinked(
            {place: lambda old: replace(header, previous=old.previous, entry_hash=content_hash(header.content))}
        )
    else:
        changed = Chain(CHAIN, (*PART.records[:place], data, *PART.records[place + 1 :]))
    exact = ChainVerifier(CHAIN)
    fine = all(exact.feed(StoredEntry(number, item)) for number, item in enumerate(changed.records))
    found = Collected()
    segment = Scanner(CHAIN, found).scan(0, 40, [block_of(changed.records)])
    if segment is None:
        return
    joined = ChainVerifier(CHAIN)
    assert fine and joined.join(segment), "the scan accepted what the rules refuse"
    assert joined.finish(None).root == exact.finish(None).root
    contents = [orjson.loads(item.content) for item in changed.decoded]
    assert sorted(int.from_bytes(item[1], "big") for item in found.ids) == list(range(40))
    assert {item[0].decode(): item[2].decode() for item in found.ids} == {
        content["entry_id"]: content["payload"]["subject"]["key"] for content in contents
    }


PIECES = st.sampled_from([b"", b"\n", b"\n\n", b'"', b"\\", b"\\n", b"}", b'"}', b"\x00", b"\xc3\xbc", b"[]", b"null"])


@settings(max_examples=400, deadline=None)
@given(
    place=st.integers(0, 39), other=st.integers(0, 39), cut=st.integers(0, 600), rest=st.integers(0, 600), piece=PIECES
)
@example(place=1, other=0, cut=0, rest=0, piece=b"\n")
@example(place=39, other=0, cut=600, rest=600, piece=b"\n")
def test_the_scan_accepts_no_content_put_together_from_others(
    place: int, other: int, cut: int, rest: int, piece: bytes
) -> None:
    """A content that is the beginning of one, a piece, and the end of another, hashed and chained again: whatever the
    scan makes of it and of its neighbours, which it looks at together, the rules say the same.
    """
    content = PART.decoded[place].content[:cut] + piece + PART.decoded[other].content[rest:]
    changed = PART.relinked({place: lambda old: replace(old, content=content, entry_hash=content_hash(content))})
    exact = ChainVerifier(CHAIN)
    fine = all(exact.feed(StoredEntry(number, item)) for number, item in enumerate(changed.records))
    segment = Scanner(CHAIN, Collected()).scan(0, 40, [block_of(changed.records)])
    assert (segment is not None) == fine


@pytest.mark.parametrize("length", [0, 1, 50, 93, 94])
@pytest.mark.parametrize("place", [0, 7, 11])
def test_the_scan_reads_no_record_beyond_its_end(place: int, length: int) -> None:
    """A record that is too short for its header, with the rest of it before the next one, is looked at again."""
    records = list(SMALL.records)
    whole = b"".join(records)
    block = block_of(records)
    ends = [*block.ends]
    ends[place] = block.begins[place] + length
    assert Scanner(CHAIN, Collected()).scan(0, 12, [block._replace(data=whole, ends=ends)]) is None
    assert Scanner(CHAIN, Collected()).scan(0, 12, [block_of(records)]) is not None


def test_contents_of_many_shapes_are_scanned_together() -> None:
    """Entries whose contents differ in form, in any order, also when one form is known for some of them only."""
    drafts = [
        replace(draft(number), detail={f"m{number % 5}": number, "text": "a b" * (number % 7)}) for number in range(60)
    ]
    chain = build(60, drafts=drafts)
    scanner = Scanner(CHAIN, found := Collected())
    for _ in range(3):
        found.ids.clear()
        assert scanner.scan(0, 60, [block_of(chain.records)]) is not None
        assert [item[1] for item in sorted(found.ids, key=lambda item: item[1])] == [
            number.to_bytes(8, "big") for number in range(60)
        ]


def test_the_scan_accepts_a_whole_chain_and_knows_its_indexes() -> None:
    """What is fine is joined, not looked at again; with the digests that entries are about."""
    found = Collected()
    segment = Scanner(CHAIN, found).scan(0, SIZE, blocks(WHOLE, 0, SIZE), tiles=True)
    assert segment is not None and ChainVerifier(CHAIN).join(segment)
    assert len(found.ids) == SIZE
    for row in WHOLE.rows():
        assert UUID(next(iter(found.ids))[0].decode())
        assert bool(row.about) == bool(found.about.get(row.sequence.to_bytes(8, "big")))


def test_a_segment_that_does_not_follow_is_not_joined() -> None:
    """Another place, another predecessor, another epoch or an earlier time: nothing changes."""
    verifier = ChainVerifier(CHAIN)
    segment = scan(WHOLE, 256, 512)
    assert segment is not None and not verifier.join(segment)
    first = scan(WHOLE, 0, 256)
    assert first is not None
    assert not verifier.join(replace(first, epoch=1)) and not verifier.join(replace(first, previous=bytes([1]) * 32))
    assert verifier.join(first) and verifier.size == 256
    assert not verifier.join(replace(segment, first_sealed=1))
    assert verifier.join(segment)


def test_a_tree_grows_by_subtrees_as_by_leaves() -> None:
    """Adding subtrees of any height at their place gives the frontier of adding their leaves."""
    leaves = [leaf_hash(record) for record in WHOLE.records[:512]]
    whole, parts = Growth(Frontier()), Growth(Frontier())
    for leaf in leaves:
        whole.add(0, leaf)
    for height, start in ((8, 0), (7, 256), (6, 384), (0, 448)):
        frontier = Frontier()
        for leaf in leaves[start : start + (1 << height)]:
            frontier.append(leaf)
        parts.add(height, frontier.hashes[0])
    for leaf in leaves[449:]:
        parts.add(0, leaf)
    assert parts.frontier.hashes == whole.frontier.hashes
    with pytest.raises(ValueError, match="does not end at a multiple"):
        Growth(Frontier(1, [bytes(32)])).add(1, bytes(32))


def test_a_draft_of_the_tests_is_what_the_sealer_takes() -> None:
    """The chains here are made of entries that the log would take."""
    assert orjson.loads(draft(6).content)["payload"]["detail"] == {"votes": 6}


def resumed(lost: Sequence[Checkpoint] = (), **changes: object) -> Chain:
    """A chain of 12 entries in epoch 0, a resumption as entry 12, and two entries in epoch 1."""
    head = SMALL.head()
    terms = {"chain": CHAIN, "quarantine": 1, "epoch": 0, "size": 12, "head": f"sha256:{head.chain.hex()}", **changes}
    detail = {
        **terms,
        "cause": "OtherHistory",
        "lost": [{"size": item.size, "root": encode_base64(item.root)} for item in lost],
        "signatures": [
            {"statement": {"keyName": name, "statement": terms}, "signature": "x"} for name in ("ada", "bob")
        ],
        "verification": {},
    }
    subject = {"kind": "Quarantine", "name": f"{CHAIN}/1"}
    entry = Draft(f"resumption/{CHAIN}/1", None, RESUMED, subject, Tether("5.5"), SEALED, detail=detail)
    whole = build(15, drafts=[*map(draft, range(12)), entry, *map(draft, range(12, 14))])
    later = {number: lambda record: replace(record, epoch=1) for number in (12, 13, 14)}
    return whole.relinked(later)


def test_an_epoch_begins_with_the_resumption_that_cites_the_old_head() -> None:
    """After it the chain goes on in the next epoch, by feeding and by joining what lies on either side."""
    chain = resumed()
    assert verify(chain.rows(), chain.head()).verdict is Verdict.UNANCHORED
    verifier = ChainVerifier(CHAIN)
    first = scan(chain, 0, 12)
    assert first is not None and verifier.join(first)
    assert scan(chain, 0, 15) is None
    after = scan(chain, 12, 15)
    assert after is not None and not verifier.join(after)
    assert all(map(verifier.feed, chain.rows()[12:]))
    assert verifier.finish(chain.head()).epoch == 1


@pytest.mark.parametrize(
    "changes", [{"head": "sha256:" + "0" * 64}, {"size": 11}, {"epoch": 1}, {"chain": "mesh/other"}], ids=str
)
def test_a_resumption_that_cites_another_head_begins_no_epoch(changes: dict[str, object]) -> None:
    """Chain, epoch, size and head must be those on which it stands."""
    chain = resumed(**changes)
    fault = verify(chain.rows(), chain.head()).fault
    assert fault is not None and (fault.phase, fault.sequence) == ("record", 12)


def test_a_checkpoint_that_a_resumption_cites_as_lost_is_no_fault() -> None:
    """People signed that this history was lost; one that they did not name still is a fault."""
    lost = [Checkpoint(CHAIN, 9, bytes(32)), Checkpoint(CHAIN, 90, bytes(32))]
    chain = resumed(lost)
    later = [Checkpoint(CHAIN, 13, chain.frontier(13).root()).sign(SIGNER)]
    report = verify(chain.rows(), chain.head(), anchors=[*(item.sign(SIGNER) for item in lost), *later])
    assert report.fault is None and "was lost: resumed" in report.notes[0]
    other = Checkpoint(CHAIN, 10, bytes(32)).sign(SIGNER)
    assert verify(chain.rows(), chain.head(), anchors=[other, *later]).verdict is Verdict.TAMPERED


@pytest.mark.parametrize("size", [9, 90])
def test_a_resumption_that_no_anchor_covers_gives_up_nothing(size: int) -> None:
    """Whoever holds the bytes can write one: what was kept outside is a fault until a later one vouches for it."""
    lost = Checkpoint(CHAIN, size, bytes(32))
    chain = resumed([lost])
    early = Checkpoint(CHAIN, 12, chain.frontier(12).root()).sign(SIGNER)
    for anchors in ([], [early]):
        report = verify(chain.rows(), chain.head(), anchors=[lost.sign(SIGNER), *anchors])
        assert report.verdict is Verdict.TAMPERED and report.fault is not None
        assert report.fault.phase == "checkpoint"
