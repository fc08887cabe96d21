"""docs/audit-format.md: the worked example is derived again, by Quorate's code and by the page's own rules."""

import base64
import re
import struct
from hashlib import sha256
from uuid import NAMESPACE_DNS, UUID, uuid5

import pytest
import rfc8785

from quorate.audit.checkpoint import open_checkpoint
from quorate.audit.entry import check_content, content_hash
from quorate.audit.ids import NAMESPACE, entry_id
from quorate.audit.merkle import inclusion_proof, verify_consistency, verify_inclusion
from quorate.audit.record import Record
from quorate.canonical import parse_json
from quorate.identity.vkey import parse_verifier_key
from tests.unit.test_formats import DOCS, DOMAIN, MESH, digest, facts, fences, hashed, obj, revision, seed

PAGE = (DOCS / "audit-format.md").read_text(encoding="utf-8")
CHAIN = f"{MESH}/{DOMAIN}"
LOG = parse_verifier_key(revision().log_keys[0])


def leaves() -> list[bytes]:
    """The leaves of the three entries."""
    return [hashed(facts(f"content {index}")["leaf"]) for index in range(3)]


def node(left: bytes, right: bytes) -> bytes:
    """An inner node, by the page's rule."""
    return sha256(b"\x01" + left + right).digest()


def record(index: int) -> bytes:
    """The record of an entry of the page."""
    return bytes.fromhex(facts(f"content {index}")["header"]) + fences()[f"content {index}"].encode()


def log_line(text: str) -> str:
    """The log's signature line over the text of a checkpoint."""
    return f"— {LOG.name} {base64.b64encode(LOG.key_id + seed('log').sign(text.encode())).decode()}\n"


def test_namespace() -> None:
    """The namespace of ids on the page is the one that the code uses, and follows by the page's rule."""
    assert UUID(re.search(r"N = `([^`]+)`", PAGE)[1]) == NAMESPACE == uuid5(NAMESPACE_DNS, "quorate.dev")  # type: ignore[index]


@pytest.mark.parametrize("index", [0, 1, 2])
def test_records(index: int) -> None:
    """Entry id, entry hash, header, leaf and chain hash follow from the content by the page's rules and the code."""
    content, told = fences()[f"content {index}"].encode(), facts(f"content {index}")
    entry = parse_json(content)
    assert rfc8785.dumps(entry) == content
    check_content(entry)
    key = entry["payload"]["subject"]["key"]
    assert told["entry_id"] == entry["entry_id"] == str(uuid5(NAMESPACE, f"{key}/")) == str(entry_id(key, None))
    assert told["entry_hash"] == digest(b"loa-commons:audit:QuorateEntry:1.0.0" + content)
    previous = hashed(told["previous chain hash"])
    assert previous == (hashed(facts(f"content {index - 1}")["chain hash"]) if index else bytes(32))
    header = b"\x01" + struct.pack(">H", len(CHAIN)) + CHAIN.encode()
    header += struct.pack(">IQq", int(told["epoch"]), int(told["sequence"]), int(told["sealed time"]))
    header += previous + hashed(told["entry_hash"])
    assert told["header"] == header.hex()
    assert told["leaf"] == digest(b"\0" + header + content)
    assert told["chain hash"] == digest(b"quorate.dev/chain/v1\0" + previous + hashed(told["leaf"]))
    decoded = Record.decode(header + content)
    assert (decoded.sequence, decoded.content, decoded.entry_hash) == (index, content, content_hash(content))


def test_header_table() -> None:
    """The offsets of the page's table are those of the header, with L = 18 for this chain."""
    rows = re.findall(r"^\| (\d+)(?: \+ L)? \| (\d+|L|rest) \| (.+?) \|$", PAGE, re.MULTILINE)
    assert [row[0] for row in rows] == ["0", "1", "3", "3", "7", "15", "23", "55", "87"]
    end = 3
    for offset, size, _ in rows[3:-1]:
        assert int(offset) == end
        end += int(size)
    assert len(bytes.fromhex(facts("content 0")["header"])) == 87 + len(CHAIN)


def test_checkpoint() -> None:
    """The checkpoint covers the first two records and is signed by the log key of the TrustDomain."""
    root = node(*leaves()[:2])
    assert f"root `sha256:{root.hex()}`" in PAGE
    text = f"{CHAIN}\n2\n{base64.b64encode(root).decode()}\n"
    note = fences()["checkpoint"] + "\n"
    assert note == f"{text}\n{log_line(text)}"
    assert open_checkpoint(note, [LOG], origin=CHAIN).root == root


def test_cosigned_checkpoint() -> None:
    """The cosigned checkpoint covers all three records; log and witness signed it as the page says."""
    zero, one, two = leaves()
    root = node(node(zero, one), two)
    assert f"Root `sha256:{root.hex()}`" in PAGE
    text = f"{CHAIN}\n3\n{base64.b64encode(root).decode()}\n"
    witness = parse_verifier_key(
        next(key["publicKey"] for key in obj("object trustdomain")["members"][1]["keys"] if key["purpose"] == "Witness")
    )
    seconds = int(re.search(r"which is `(\d+)`", PAGE)[1])  # type: ignore[index]
    signature = seed("witness").sign(f"cosignature/v1\ntime {seconds}\n{text}".encode())
    line = base64.b64encode(witness.key_id + struct.pack(">Q", seconds) + signature).decode()
    note = fences()["cosigned"] + "\n"
    assert note == f"{text}\n{log_line(text)}— {witness.name} {line}\n"
    assert open_checkpoint(note, [LOG], origin=CHAIN).size == 3


def test_consistency() -> None:
    """The consistency proof of the page leads from the first checkpoint to the second."""
    zero, one, two = leaves()
    proof = [base64.b64decode(re.search(r"one hash \(leaf 2\): `([^`]+)`", PAGE)[1])]  # type: ignore[index]
    verify_consistency(
        old_size=2, old_root=node(zero, one), size=3, root=node(node(zero, one), two), proof=proof
    )  # fmt: skip
    assert proof == [two]


def test_bundle() -> None:
    """The proof bundle of the page holds record 1 and its audit path in the cosigned checkpoint."""
    bundle, told = obj("bundle"), leaves()
    assert base64.b64decode(bundle["record"], validate=True) == record(1)
    first, index, zero, two, empty, note = bundle["proof"].split("\n", 5)
    assert (first, index, empty, note) == ("c2sp.org/tlog-proof@v1", "index 1", "", fences()["cosigned"] + "\n")
    path = [base64.b64decode(step, validate=True) for step in (zero, two)]
    assert path == [told[0], told[2]] == inclusion_proof(told, 1)
    root = open_checkpoint(note, [LOG], origin=CHAIN).root
    verify_inclusion(leaf=sha256(b"\0" + record(1)).digest(), index=1, size=3, proof=path, root=root)
