"""Entries, records, chain, tree and the verifier, without a database."""

from dataclasses import replace
from hashlib import sha256
from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.audit.checkpoint import Checkpoint, CheckpointError, open_checkpoint, parse_checkpoint
from quorate.audit.entry import Draft, EntryRefusedError, Tether, content_hash, format_timestamp, parse_timestamp
from quorate.audit.ids import NAMESPACE, entry_id
from quorate.audit.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    inclusion_proof,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from quorate.audit.record import GENESIS_HASH, MAX_RECORD_BYTES, Record, RecordError, chain_hash, leaf_hash
from quorate.audit.rules import StoredEntry
from quorate.audit.verify import ChainVerifier, StoredHead, Verdict, combine
from quorate.identity.vkey import SignerKey

CHAIN = "mesh/acme"
SIGNER = SignerKey(CHAIN, bytes(range(32)))
SUBJECT = {"kind": "TrustDomain", "name": "acme"}


def draft(number: int = 0, previous: UUID | None = None, **changes: object) -> Draft:
    base = Draft(f"mesh/n{number}", previous, "trust.domain.accepted", SUBJECT, Tether("5.5"), 1_700_000_000_000_000)
    return replace(base, **changes)  # type: ignore[arg-type]


def sealed(count: int) -> tuple[list[StoredEntry], StoredHead]:
    """A chain of `count` entries as the database would hold it."""
    frontier, previous, rows = Frontier(), GENESIS_HASH, []
    for number in range(count):
        entry = draft(number)
        record = Record(CHAIN, 0, number, 10 + number, previous, content_hash(entry.content), entry.content).encode()
        leaf = leaf_hash(record)
        previous = chain_hash(previous, leaf)
        frontier.append(leaf)
        rows.append(StoredEntry(number, record, entry.entry_id))
    return rows, StoredHead(CHAIN, 0, count, previous, frontier.encode())


def verify(rows: list[StoredEntry], head: StoredHead | None, *anchors: str) -> ChainVerifier:
    verifier = ChainVerifier(CHAIN, keys=[SIGNER.verifier], anchors=anchors)
    for row in rows:
        if not verifier.feed(row):
            break
    verifier.finish(head)
    return verifier


class TestEntry:
    def test_id_follows_subject_and_predecessor(self) -> None:
        """The id is UUIDv5 of subject key, a slash, and the previous id or nothing."""
        first = entry_id("mesh/acme", None)
        assert first == uuid5(NAMESPACE, "mesh/acme/")
        assert entry_id("mesh/acme", first) == uuid5(NAMESPACE, f"mesh/acme/{first}")

    @given(st.integers(-(10**14), 4 * 10**15))
    def test_timestamps_round_trip(self, micros: int) -> None:
        """A timestamp keeps its microseconds exactly."""
        assert parse_timestamp(format_timestamp(micros)) == micros

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"event_type": "Trust.domain"}, "event_type"),
            ({"tether": Tether("")}, "phaseId"),
            ({"tether": Tether("5.5", contract_version="")}, "contractVersion"),
            ({"tether": Tether("5.5", clauses=("",))}, "clauses"),
            ({"actor_id": ""}, "actor_id"),
            ({"subject": {"kind": "TrustDomain"}}, "subject"),
            ({"about": ["md5:1"]}, "about"),
            ({"detail": {"x": "a" * 20_000}}, "16384 bytes"),
            ({"detail": {"x": 0.5}}, "floating-point"),
        ],
    )
    def test_refusals_name_the_field(self, changes: dict[str, object], sentence: str) -> None:
        """An entry without tether, subject or with a float never becomes content."""
        with pytest.raises(ValueError, match=sentence):
            _ = draft(**changes).content  # type: ignore[arg-type]

    def test_refusal_type(self) -> None:
        """Refusals are of one type that callers can catch."""
        with pytest.raises(EntryRefusedError):
            _ = draft(event_type="x").content


class TestRecord:
    def test_round_trip(self) -> None:
        """What was encoded is what is decoded."""
        record = Record("mesh/é", 3, 2**40, -5, b"\x01" * 32, b"\x02" * 32, b"{}")
        assert Record.decode(record.encode()) == record

    def test_size_limit(self) -> None:
        """A record of 65 535 bytes is accepted, one more is not."""
        empty = len(Record(CHAIN, 0, 0, 0, GENESIS_HASH, GENESIS_HASH, b"").encode())
        fits = b"x" * (MAX_RECORD_BYTES - empty)
        assert len(Record(CHAIN, 0, 0, 0, GENESIS_HASH, GENESIS_HASH, fits).encode()) == MAX_RECORD_BYTES
        with pytest.raises(RecordError, match="65536"):
            Record(CHAIN, 0, 0, 0, GENESIS_HASH, GENESIS_HASH, fits + b"x").encode()

    @given(st.binary(max_size=200))
    def test_garbage_is_refused_not_crashed_on(self, data: bytes) -> None:
        """Random bytes either parse back to themselves or raise RecordError."""
        try:
            record = Record.decode(data)
        except RecordError:
            return
        assert record.encode() == data


class TestTree:
    @given(st.integers(1, 70))
    def test_proofs_hold_for_every_leaf_and_prefix(self, size: int) -> None:
        """Each leaf proves its inclusion, each prefix its consistency."""
        leaves = [sha256(bytes([number])).digest() for number in range(size)]
        root = root_of(leaves)
        for index, leaf in enumerate(leaves):
            verify_inclusion(leaf=leaf, index=index, size=size, proof=inclusion_proof(leaves, index), root=root)
            old = root_of(leaves[: index + 1])
            proof = consistency_proof(leaves, index + 1)
            verify_consistency(old_size=index + 1, old_root=old, size=size, root=root, proof=proof)

    def test_empty_root(self) -> None:
        """The empty tree's root is SHA-256 of nothing."""
        assert Frontier().root() == EMPTY_ROOT == sha256(b"").digest()


class TestVerifier:
    def test_intact_chain_without_anchor_is_unanchored(self) -> None:
        """A chain that only the database vouches for is not called intact."""
        assert verify(*sealed(5)).report.verdict is Verdict.UNANCHORED

    def test_anchored_chain_is_intact(self) -> None:
        """An external checkpoint over a prefix anchors it."""
        rows, head = sealed(5)
        anchor = Checkpoint(CHAIN, 3, root_of([leaf_hash(row.record) for row in rows[:3]])).sign(SIGNER)
        report = verify(rows, head, anchor).report
        assert (report.verdict, report.anchored_size, report.checked) == (Verdict.INTACT, 3, 5)

    def test_truncation_behind_an_anchor_is_found(self) -> None:
        """A chain shorter than a signed checkpoint is truncated, however consistent it is."""
        rows, _ = sealed(5)
        anchor = Checkpoint(CHAIN, 5, root_of([leaf_hash(row.record) for row in rows])).sign(SIGNER)
        short, head = sealed(4)
        fault = verify(short, head, anchor).report.fault
        assert fault is not None and "truncated" in fault.message

    def test_rewritten_history_behind_an_anchor_is_found(self) -> None:
        """A wholly recomputed chain does not match the old checkpoint."""
        rows, head = sealed(3)
        anchor = Checkpoint(CHAIN, 3, bytes(32)).sign(SIGNER)
        fault = verify(rows, head, anchor).report.fault
        assert fault is not None and fault.phase == "checkpoint"

    def test_every_flipped_byte_names_its_entry(self) -> None:
        """Any single byte of a record changed is found, at its own entry or as a break behind it."""
        rows, head = sealed(3)
        for index, row in enumerate(rows):
            for position in range(len(row.record)):
                changed = row.record[:position] + bytes([row.record[position] ^ 1]) + row.record[position + 1 :]
                mutated = [*rows[:index], replace(row, record=changed), *rows[index + 1 :]]
                fault = verify(mutated, head).report.fault
                assert fault is not None and fault.sequence in (index, index + 1, None), position

    def test_another_id_in_the_index_is_found(self) -> None:
        """An index that has another id for a place is a fault there."""
        rows, head = sealed(2)
        fault = verify([rows[0], replace(rows[1], indexed_id=rows[0].indexed_id)], head).report.fault
        assert fault is not None and fault.sequence == 1

    @pytest.mark.parametrize("order", [(1, 0, 2), (0, 2), (1, 2), (0, 0, 1, 2), (0, 1)])
    def test_reorder_deletion_doubling_truncation(self, order: tuple[int, ...]) -> None:
        """Rows out of order, missing or doubled are faults."""
        rows, head = sealed(3)
        assert verify([rows[number] for number in order], head).report.verdict is Verdict.TAMPERED

    def test_missing_head_is_a_fault(self) -> None:
        """Entries without a head row are a fault, and so is a head that does not match."""
        rows, head = sealed(2)
        assert verify(rows, None).report.verdict is Verdict.TAMPERED
        assert verify(rows, replace(head, chain=bytes(32))).report.verdict is Verdict.TAMPERED

    def test_nothing_checked_is_not_success(self) -> None:
        """An empty chain and an empty set of chains tell nothing."""
        assert verify([], StoredHead(CHAIN, 0, 0, GENESIS_HASH, b"")).report.verdict is Verdict.CANNOT_TELL
        assert combine([]) is Verdict.CANNOT_TELL

    def test_checkpoint_of_another_log_or_key_is_refused(self) -> None:
        """A checkpoint counts only for its own origin and under a known key."""
        note = Checkpoint("mesh/other", 1, bytes(32)).sign(SignerKey("mesh/other", bytes(32)))
        with pytest.raises(CheckpointError):
            open_checkpoint(note, [SIGNER.verifier], origin=CHAIN)
        assert verify(*sealed(1), note).report.verdict is Verdict.TAMPERED

    @pytest.mark.parametrize("text", ["", "a\n1\n", "a\n01\nAAAA\n", "a\n-1\nAAAA\n", "a\n1\n*\n", "a\n1\nAAAA\nx\n"])
    def test_malformed_checkpoints(self, text: str) -> None:
        """Malformed checkpoint texts raise CheckpointError."""
        with pytest.raises(CheckpointError):
            parse_checkpoint(text)
