"""Proof bundles and tlog-proofs: what is accepted, what is refused, and that nothing else is believed."""

import base64
import json
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.audit import tiles
from quorate.audit.entry import Draft, Tether, content_hash
from quorate.audit.proof import (
    MAX_BUNDLE_BYTES,
    BundleError,
    NotProvenError,
    ProofBundle,
    TlogProof,
    examine_bundle,
    open_bundle,
    parse_bundle,
    parse_tlog_proof,
)
from quorate.audit.record import Record
from quorate.identity.vkey import SignerKey
from tests.unit.audit.tree import CHAIN, SIGNER, Tree, sealed


def content(number: int) -> bytes:
    return Draft(
        f"mesh/n{number}", None, "trust.domain.accepted", SUBJECT, Tether("5.5"), 1_700_000_000_000_000
    ).content


SUBJECT = {"kind": "TrustDomain", "name": "acme"}
TREE = Tree(sealed([content(number) for number in range(300)]))


def bundle(index: int = 77, size: int = 300, tree: Tree = TREE) -> ProofBundle:
    path = tiles.inclusion(index, size).hashes(
        tree.every_tile() if size == 300 else Tree(tree.records[:size]).every_tile()
    )
    return ProofBundle(tree.records[index], TlogProof(index, tuple(path), tree.note(size)))


GOOD = bundle()


@pytest.mark.parametrize(("index", "size"), [(0, 1), (0, 300), (77, 300), (255, 256), (256, 257), (299, 300)])
def test_a_bundle_proves_its_entry(index: int, size: int) -> None:
    """What was made is read back unchanged and proves the entry under the log's key."""
    made = bundle(index, size)
    read = parse_bundle(made.encode())
    assert read == made and parse_tlog_proof(made.proof.text()) == made.proof
    proven = open_bundle(read, [SIGNER.verifier])
    assert proven.record.sequence == index and proven.checkpoint.size == size
    assert proven.content["entry_id"] == str(UUID(proven.content["entry_id"]))


def record_with(**changes: Any) -> bytes:
    return replace(Record.decode(GOOD.record), **changes).encode()


def one_leaf(record: bytes, chain: str = CHAIN) -> ProofBundle:
    """A bundle whose log holds nothing but the record: only the record itself can be at fault."""
    return ProofBundle(record, TlogProof(0, (), Tree([record], chain).note(signer=SIGNER)))


FLOAT = content(77).replace(b'"detail":{}', b'"detail":{"x":1.5}')
FAULTS: list[tuple[str, ProofBundle, str]] = [
    ("record", replace(GOOD, record=b""), "not a record"),
    ("record", replace(GOOD, record=b"\x02" + GOOD.record[1:]), "version 2"),
    ("record", replace(GOOD, record=record_with(chain_id="mesh.example/other")), "belongs to chain"),
    ("record", replace(GOOD, record=record_with(sequence=78)), "sequence 78"),
    ("record", replace(GOOD, proof=replace(GOOD.proof, index=78)), "sequence 77, its proof 78"),
    (
        "record",
        replace(GOOD, proof=replace(GOOD.proof, note=Tree(TREE.records, "mesh.example/x").note())),
        "belongs to",
    ),
    ("content", replace(GOOD, record=record_with(content=content(5))), "entry hash"),
    ("content", one_leaf(record_with(sequence=0, content=b" {}", entry_hash=content_hash(b" {}"))), "canonical"),
    ("content", one_leaf(record_with(sequence=0, content=b"{}", entry_hash=content_hash(b"{}"))), "entry_id"),
    (
        "content",
        one_leaf(record_with(sequence=0, content=FLOAT, entry_hash=content_hash(FLOAT))),
        "float",
    ),
    ("merkle", replace(GOOD, record=record_with(sealed_at=1)), "another root"),
    ("merkle", replace(GOOD, record=record_with(epoch=1)), "another root"),
    ("merkle", replace(GOOD, record=record_with(previous=bytes(32))), "another root"),
    ("merkle", replace(GOOD, proof=replace(GOOD.proof, hashes=GOOD.proof.hashes[:-1])), "shorter"),
    ("merkle", replace(GOOD, proof=replace(GOOD.proof, hashes=(*GOOD.proof.hashes, bytes(32)))), "longer"),
    ("merkle", replace(GOOD, proof=replace(GOOD.proof, hashes=GOOD.proof.hashes[::-1])), "another root"),
    ("merkle", replace(GOOD, proof=replace(GOOD.proof, note=TREE.note(70))), "beyond"),
    ("checkpoint", replace(GOOD, proof=replace(GOOD.proof, note="")), "signature block"),
    ("checkpoint", replace(GOOD, proof=replace(GOOD.proof, note="a\n\n— a AAAAAAAA\n")), "three lines"),
]


@pytest.mark.parametrize(("phase", "bad", "says"), FAULTS)
def test_what_does_not_prove_is_named(phase: str, bad: ProofBundle, says: str) -> None:
    """Each change of record, path, place and checkpoint is found, in the phase that it belongs to."""
    with pytest.raises(NotProvenError, match=says) as caught:
        examine_bundle(bad)
    assert caught.value.phase == phase


def test_only_a_known_key_of_the_log_counts() -> None:
    """Another key, no key, and a changed signature prove nothing."""
    with pytest.raises(NotProvenError, match="no known key"):
        open_bundle(GOOD, [SignerKey(CHAIN, bytes(32)).verifier])
    with pytest.raises(NotProvenError, match="no known key"):
        open_bundle(GOOD, [])
    head, _, line = GOOD.proof.note.rpartition(" ")
    raw = bytearray(base64.b64decode(line))
    raw[-1] ^= 1
    forged = f"{head} {base64.b64encode(raw).decode()}\n"
    with pytest.raises(NotProvenError, match="does not verify"):
        open_bundle(replace(GOOD, proof=replace(GOOD.proof, note=forged)), [SIGNER.verifier])


HASH = base64.b64encode(bytes(32)).decode()
REFUSED = [
    ("c2sp.org/tlog-proof@v2\nindex 0\n\nnote", "begins with"),
    ("c2sp.org/tlog-proof@v1\nindex 0\nnote", "empty line"),
    ("c2sp.org/tlog-proof@v1\n\nnote", "index"),
    ("c2sp.org/tlog-proof@v1\nextra !!\nindex 0\n\nnote", "extra"),
    ("c2sp.org/tlog-proof@v1\nindex 0\nextra AA==\n\nnote", "base64"),
    ("c2sp.org/tlog-proof@v1\nindex 00\n\nnote", "decimal"),
    ("c2sp.org/tlog-proof@v1\nindex -1\n\nnote", "decimal"),
    ("c2sp.org/tlog-proof@v1\nindex ٣\n\nnote", "decimal"),
    ("c2sp.org/tlog-proof@v1\nindex \n\nnote", "decimal"),
    ("c2sp.org/tlog-proof@v1\nindex 9223372036854775808\n\nnote", "above"),
    (f"c2sp.org/tlog-proof@v1\nindex 0\n{HASH[:-4]}\n\nnote", "32 bytes"),
    (f"c2sp.org/tlog-proof@v1\nindex 0\n{HASH[:-2]}B=\n\nnote", "unused bits"),
    (f"c2sp.org/tlog-proof@v1\nindex 0\n{HASH}\r\n\nnote", "base64"),
    ("c2sp.org/tlog-proof@v1\nindex 0\n" + f"{HASH}\n" * 64 + "\nnote", "more than 63"),
]


@pytest.mark.parametrize(("text", "says"), REFUSED)
def test_what_is_no_tlog_proof_is_refused(text: str, says: str) -> None:
    """Every deviation from c2sp.org/tlog-proof is refused with the part that is wrong."""
    with pytest.raises(BundleError, match=says):
        parse_tlog_proof(text)


# What follows are the cases of TestMarshal in transparency-dev/formats, proof/tlog_proof_test.go (Apache-2.0).
@pytest.mark.parametrize(
    ("proof", "text"),
    [
        (TlogProof(5, (bytes(32),), "test checkpoint\n"), f"index 5\n{HASH}\n\ntest checkpoint\n"),
        (
            TlogProof(10, (bytes(32),), "c\n", b"extra information"),
            f"extra ZXh0cmEgaW5mb3JtYXRpb24=\nindex 10\n{HASH}\n\nc\n",
        ),
        (TlogProof(0, (), "checkpoint\n"), "index 0\n\ncheckpoint\n"),
    ],
)
def test_tlog_proofs_are_written_as_the_public_package_does(proof: TlogProof, text: str) -> None:
    """The text is that of the published Go package, with and without extra data and hashes."""
    assert proof.text() == "c2sp.org/tlog-proof@v1\n" + text
    assert parse_tlog_proof(proof.text()) == proof


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"format":"quorate.dev/proof/v2","record":"","proof":""}',
        b'{"format":"quorate.dev/entry-proof/v1","record":""}',
        b'{"format":"quorate.dev/entry-proof/v1","record":"","proof":"","more":1}',
        b'{"format":"quorate.dev/entry-proof/v1","record":1,"proof":""}',
        b'{"format":"quorate.dev/entry-proof/v1","record":"AAA","proof":""}',
        b'{"format":"quorate.dev/entry-proof/v1","format":"quorate.dev/proof/v1","record":"","proof":""}',
        b"\xff\xfe",
        b"[" * 100_000,
        b" " * (MAX_BUNDLE_BYTES + 1),
    ],
)
def test_what_is_no_bundle_is_refused(data: bytes) -> None:
    """Other JSON, other members, names twice, deep nesting and too many bytes are refused, none crashes."""
    with pytest.raises(BundleError):
        parse_bundle(data)


def accepted(data: bytes) -> ProofBundle | None:
    try:
        read = parse_bundle(data)
        open_bundle(read, [SIGNER.verifier])
    except (BundleError, NotProvenError):
        return None
    return read


ENCODED = GOOD.encode()


@settings(max_examples=400)
@given(st.data())
def test_a_damaged_bundle_is_refused_or_proves_the_same(data: st.DataObject) -> None:
    """Bytes cut, changed, put in or doubled anywhere: no crash, and nothing else is ever proven."""
    at = data.draw(st.integers(0, len(ENCODED) - 1))
    upto = data.draw(st.integers(at, min(len(ENCODED), at + 40)))
    put = data.draw(st.one_of(st.binary(max_size=4), st.sampled_from([b"", ENCODED[at:upto] * 2, b"\n", b" ", b"\\n"])))
    read = accepted(ENCODED[:at] + put + ENCODED[upto:])
    # Unsigned lines of a note, and white space in the JSON, may differ.
    assert read is None or (read.record, read.proof.index, read.proof.hashes) == (
        GOOD.record,
        GOOD.proof.index,
        GOOD.proof.hashes,
    )


def test_every_changed_byte_of_the_record_and_path_is_noticed() -> None:
    """No single byte of a record or of a hash can change without the bundle being refused."""
    for at in range(len(GOOD.record)):
        changed = GOOD.record[:at] + bytes([GOOD.record[at] ^ 1]) + GOOD.record[at + 1 :]
        assert accepted(replace(GOOD, record=changed).encode()) is None
    for at, item in enumerate(GOOD.proof.hashes):
        path = list(GOOD.proof.hashes)
        path[at] = bytes([item[0] ^ 1]) + item[1:]
        assert accepted(replace(GOOD, proof=replace(GOOD.proof, hashes=tuple(path))).encode()) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_without_a_crash(data: bytes) -> None:
    """Random bytes, also inside a well-formed frame, never prove anything."""
    assert accepted(data) is None
    frame = {
        "format": "quorate.dev/entry-proof/v1",
        "record": base64.b64encode(data).decode(),
        "proof": GOOD.proof.text(),
    }
    assert accepted(json.dumps(frame).encode()) is None
