"""Manifests and the verification of archives: every field bound, hostile bytes refused."""

import json
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.audit.archive import (
    GENESIS,
    ArchiveError,
    ArchiveVerifier,
    Manifest,
    Point,
    check_file,
    is_kept,
    parse_manifest,
)
from quorate.audit.checkpoint import Checkpoint
from quorate.audit.entry import content_hash
from quorate.audit.erasure import SALT_BYTES, Erasable, erasing
from quorate.audit.merkle import Frontier, consistency_proof, root_of
from quorate.audit.record import Record, chain_hash, leaf_hash
from quorate.canonical import canonical_bytes, digest_of_bytes
from quorate.identity.vkey import SignerKey

CHAIN = "mesh/acme"
SIGNER = SignerKey(CHAIN, bytes(range(32)))


def _records(count: int) -> list[bytes]:
    made: list[bytes] = []
    at = GENESIS.chain_hash
    for number in range(count):
        content = canonical_bytes({"n": number})
        record = Record(CHAIN, 0, number, 10 * number, at, content_hash(content), content).encode()
        at = chain_hash(at, leaf_hash(record))
        made.append(record)
    return made


RECORDS = _records(12)
LEAVES = [leaf_hash(record) for record in RECORDS]


def _point(size: int) -> Point:
    at = GENESIS
    for record in RECORDS[:size]:
        at = at.after(CHAIN, record)
    return at


def _manifest(first: int = 3, end: int = 8, size: int = 12) -> Manifest:
    frontier = Frontier()
    for leaf in LEAVES[:first]:
        frontier.append(leaf)
    note = Checkpoint(CHAIN, size, root_of(LEAVES[:size])).sign(SIGNER)
    files = {"checkpoint": digest_of_bytes(note.encode()), "tile/entries/000.p/12": digest_of_bytes(b"x")}
    proof = tuple(consistency_proof(LEAVES[:size], end))
    return Manifest(CHAIN, _point(first), _point(end), tuple(frontier.hashes), proof, note, files)


def _verify(manifest: Manifest, records: list[bytes]) -> Point:
    verifier = ArchiveVerifier(manifest, [SIGNER.verifier])
    for record in records:
        verifier.feed(record)
    return verifier.finish()


@pytest.mark.parametrize(("first", "end", "size"), [(0, 12, 12), (0, 1, 12), (3, 8, 12), (8, 12, 12), (11, 12, 12)])
def test_a_range_verifies(first: int, end: int, size: int) -> None:
    """From any start to any end, by a checkpoint of at least that size; the manifest survives its bytes."""
    manifest = _manifest(first, end, size)
    assert _verify(manifest, RECORDS[first:end]) == _point(end)
    assert parse_manifest(manifest.encode()) == manifest
    assert manifest.name == f"{first}-{end}" and manifest.digest == digest_of_bytes(manifest.encode())


def test_every_change_is_found() -> None:
    """Records left out, doubled, swapped or changed in any byte; another state at either end, proof or frontier."""
    manifest, records = _manifest(), RECORDS[3:8]
    wrong = [records[:-1], [*records, RECORDS[8]], records[1:], [records[0], *records], [*records[1::-1], *records[2:]]]
    for position in range(len(records[2])):
        changed = bytearray(records[2])
        changed[position] ^= 1
        wrong.append([*records[:2], bytes(changed), *records[3:]])
    for given_records in wrong:
        with pytest.raises(ArchiveError):
            _verify(manifest, given_records)
    flipped = bytes([manifest.after.chain_hash[0] ^ 1]) + manifest.after.chain_hash[1:]
    for other in (
        replace(manifest, before=replace(manifest.before, chain_hash=flipped)),
        replace(manifest, after=replace(manifest.after, chain_hash=flipped)),
        replace(manifest, after=replace(manifest.after, sealed_at=0)),
        replace(manifest, frontier=(flipped, *manifest.frontier[1:])),
        replace(manifest, consistency=manifest.consistency[:-1]),
        replace(manifest, chain="mesh/other"),
        replace(manifest, checkpoint=_manifest(3, 8, 11).checkpoint),
        replace(manifest, checkpoint=Checkpoint(CHAIN, 12, root_of(LEAVES)).sign(replace(SIGNER, seed=bytes(32)))),
    ):
        with pytest.raises(ArchiveError):
            _verify(other, records)


def _changed(path: tuple[Any, ...], value: Any) -> bytes:
    document = json.loads(_manifest().encode())
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return canonical_bytes(document)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        _manifest().encode() + b"\n",
        _changed(("format",), "quorate.dev/archive/v2"),
        _changed(("more",), 1),
        _changed(("chain",), 1),
        _changed(("before", "size"), -1),
        _changed(("before", "size"), True),
        _changed(("before", "size"), 8),
        _changed(("before", "size"), 4),
        _changed(("after", "chainHash"), "00"),
        _changed(("after", "more"), 1),
        _changed(("frontier",), ["zz" * 32]),
        _changed(("consistency",), ["00" * 32] * 200),
        _changed(("files", "../../etc/passwd"), digest_of_bytes(b"")),
        _changed(("files", "/checkpoint"), digest_of_bytes(b"")),
        _changed(("files", "tile/0/000/../x"), digest_of_bytes(b"")),
        _changed(("files", "manifest.json"), digest_of_bytes(b"")),
        _changed(("files", "content/" + "0" * 64), digest_of_bytes(b"")),
        _changed(("files", "checkpoint"), "sha256:00"),
        _changed(("files",), []),
    ],
)
def test_a_malformed_manifest_is_refused(data: bytes) -> None:
    """What `encode` cannot have written is no manifest."""
    with pytest.raises(ArchiveError):
        parse_manifest(data)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(_manifest().encode()) - 1), st.integers(0, 255), st.booleans())
def test_hostile_manifests(position: int, byte: int, cut: bool) -> None:
    """Changed or cut anywhere, a manifest is refused, or reads as one with another digest; never anything else."""
    data = _manifest().encode()
    hostile = data[:position] if cut else data[:position] + bytes([byte]) + data[position + 1 :]
    try:
        manifest = parse_manifest(hostile)
    except ArchiveError:
        return
    assert manifest.encode() == hostile


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_hostile_records(data: bytes) -> None:
    """Whatever bytes are fed as a record, they are refused as such."""
    verifier = ArchiveVerifier(_manifest(), [SIGNER.verifier])
    with pytest.raises(ArchiveError):
        verifier.feed(data)


def test_files_and_content() -> None:
    """A file is the one that the manifest names; content has its digest as its name."""
    manifest = _manifest()
    check_file(manifest, "tile/entries/000.p/12", b"x")
    for path, data in (("tile/entries/000.p/12", b"y"), ("other", b"x")):
        with pytest.raises(ArchiveError):
            check_file(manifest, path, data)
    digest = digest_of_bytes(b"bulk")
    with_content = replace(manifest, files={**manifest.files, f"content/{digest[7:]}": digest})
    assert parse_manifest(with_content.encode()).content == [digest]


def test_what_stays() -> None:
    """Entries that the operator reads again stay, by the kind of their subject."""
    assert is_kept({"payload": {"subject": {"kind": "GovernanceProposal"}}})
    assert not is_kept({"payload": {"subject": {"kind": "Reading"}}})


def test_erasable_payload() -> None:
    """The digest is salted, the salt has its length, and an erasure has a reason and names no bytes."""
    one, two = Erasable(b"name", bytes(SALT_BYTES)), Erasable(b"name", bytes([1] * SALT_BYTES))
    assert one.digest != two.digest != digest_of_bytes(b"name")
    assert one.digest == digest_of_bytes(b"quorate.dev/erasable/v1\x00" + one.salt + one.data)
    with pytest.raises(ValueError, match="salt"):
        Erasable(b"name", b"short")
    entry = erasing(UUID(int=1), [two.digest, one.digest], reason="asked", actor="dpo", now=0)
    assert entry.detail["digests"] == sorted([one.digest, two.digest])
    with pytest.raises(ValueError, match="reason"):
        erasing(UUID(int=1), [one.digest], reason=" ", actor="dpo", now=0)
