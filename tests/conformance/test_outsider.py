"""Outsider proof: public Go modules, and a second verifier written from docs/audit-format.md, judge our files."""

import base64
import json
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from hashlib import sha256
from pathlib import Path

import pytest

from quorate.audit import tiles
from quorate.audit.ids import entry_id
from quorate.audit.note import cosign, parse_note
from quorate.audit.proof import ProofBundle, TlogProof
from quorate.audit.record import GENESIS_HASH, Record, chain_hash, leaf_hash
from quorate.canonical import canonical_bytes
from quorate.identity.vkey import COSIGNATURE, SignerKey
from quorate_operator.store.directory import LogDirectory
from quorate_operator.store.directory_writer import write_view
from quorate_operator.store.files import LocalFiles
from tests.conformance.go import RefusedError, outsider
from tests.unit.audit.tree import CHAIN, SIGNER, Tree, sealed
from tests.unit.test_formats import DOCS, fences

LOG = [SIGNER.verifier]
WITNESS = SignerKey("mesh.example/witness", bytes([8]) * 32, COSIGNATURE)


def content(number: int) -> bytes:
    """An entry as short as may be; every tenth with text of all planes."""
    detail = {"text": 'é\u2028 \U0001f512 "\\\b\f\n\r\t\x00\x1f', "\U0001f512": -(2**53 - 1), "\ufb01": [], "€": None}
    return canonical_bytes(
        {
            "entry_id": str(entry_id(f"n{number}", None)),
            "timestamp": "2026-02-01T11:59:30.000000Z",
            "event_type": "trust.node.verified",
            "payload": {
                "subject": {"key": f"n{number}", "kind": "MeshNode", "name": "n"},
                "tether": {"contractVersion": "none", "phaseId": "5.5", "clauses": []},
                "about": [],
                "previous": None,
                "detail": detail if number % 10 == 0 else {},
            },
        }
    )


@cache
def tree(size: int) -> Tree:
    return Tree(sealed([content(number) for number in range(size)]))


async def published(root: Path, size: int, *, first: int = 0, cosigned: bool = False) -> Path:
    """A directory as the operator publishes it, in two steps."""
    log = tree(size)
    directory = LogDirectory.of(LocalFiles(root), CHAIN)
    if not first and size > 40:
        await write_view(directory, log, log.note(size - 40))
    note = log.note(size)
    if cosigned:
        note = str(parse_note(note).extended([cosign(parse_note(note).text, WITNESS, at=1_769_947_560)]))
    await write_view(directory, log, note, first=first)
    return root / tiles.chain_path(CHAIN)


def bundle(log: Tree, index: int, size: int) -> ProofBundle:
    held = Tree(log.records[:size]).every_tile()
    return ProofBundle(
        log.records[index], TlogProof(index, tuple(tiles.inclusion(index, size).hashes(held)), log.note(size))
    )


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 700, 66_000])
async def test_published_directories_verify(tmp_path: Path, size: int) -> None:
    """Records, every tile and the signed root hold for code that knows nothing of ours, also over three levels."""
    folder = await published(tmp_path, size)
    found = outsider("directory", "-dir", folder, log=LOG)
    assert (found["origin"], found["size"]) == (CHAIN, size)
    assert found["tiles"] == len(list(tiles.covering(0, size, size)))


async def test_cosignatures_verify(tmp_path: Path) -> None:
    """A witness's cosignature is one for the public package, and as many are required as asked."""
    folder = await published(tmp_path, 300, cosigned=True)
    found = outsider("directory", "-dir", folder, "-need", 1, log=LOG, witnesses=[WITNESS.verifier])
    assert found["cosigners"] == [WITNESS.name]
    with pytest.raises(RefusedError, match="1 witnesses cosigned it, not 2"):
        outsider("directory", "-dir", folder, "-need", 2, log=LOG, witnesses=[WITNESS.verifier])
    other = SignerKey(WITNESS.name, bytes(32), COSIGNATURE)
    with pytest.raises(RefusedError, match="0 witnesses"):
        outsider("directory", "-dir", folder, "-need", 1, log=LOG, witnesses=[other.verifier])


async def test_the_end_of_a_log_verifies(tmp_path: Path) -> None:
    """A directory without its first entries proves the rest, each in its place of the whole tree."""
    folder = await published(tmp_path, 700, first=512)
    assert outsider("directory", "-dir", folder, "-first", 512, log=LOG)["size"] == 700


async def test_an_archived_part_verifies(tmp_path: Path) -> None:
    """A directory of some entries in the middle proves them in the whole tree; a record changed there is refused."""
    directory = LogDirectory(LocalFiles(tmp_path), "")
    await write_view(directory, tree(66_000), tree(66_000).note(), first=512, end=1024)
    arguments = ("directory", "-dir", tmp_path, "-first", 512, "-end", 1024)
    assert outsider(*arguments, log=LOG)["size"] == 66_000
    file = tmp_path / "tile/entries/003"
    file.write_bytes(file.read_bytes()[:-3] + b"???")
    with pytest.raises(RefusedError, match="content: entry 1023"):
        outsider(*arguments, log=LOG)


@pytest.mark.parametrize(("index", "size"), [(0, 1), (0, 300), (255, 256), (256, 257), (299, 300), (65_999, 66_000)])
async def test_bundles_verify_and_are_those_of_other_code(tmp_path: Path, index: int, size: int) -> None:
    """A bundle proves its entry to the public packages, byte for byte the proof that they make from the tiles."""
    log = tree(66_000 if size == 66_000 else 300)
    file = tmp_path / "bundle.json"
    file.write_bytes(bundle(log, index, size).encode())
    extra = ["-dir", await published(tmp_path / "log", size)] if size in (300, 66_000) else []
    found = outsider("bundle", "-file", file, *extra, log=LOG)
    assert (found["index"], found["size"]) == (index, size)
    assert found["entry_id"] == str(entry_id(f"n{index}", None))


def test_the_example_of_the_documentation_verifies(tmp_path: Path) -> None:
    """The bundle on the page proves entry 1 under the page's keys, cosignature included."""
    page = (DOCS / "audit-format.md").read_text(encoding="utf-8")
    keys = {
        line.split("`")[1]: line.split("`")[-2]
        for line in (DOCS / "formats.md").read_text(encoding="utf-8").splitlines()
        if line.startswith(("| `log` | `mesh", "| `witness` | `mesh"))
    }
    assert "```json bundle" in page
    (tmp_path / "b").write_text(fences()["bundle"])
    found = outsider("bundle", "-file", tmp_path / "b", "-need", 1, log=[keys["log"]], witnesses=[keys["witness"]])
    assert (found["origin"], found["index"], found["size"]) == ("mesh.example/fleet", 1, 3)


@pytest.mark.parametrize(("old", "new"), [(1, 2), (255, 256), (256, 300), (299, 300), (300, 300), (65_537, 66_000)])
def test_consistency_proofs_verify(tmp_path: Path, old: int, new: int) -> None:
    """What we hand to witnesses convinces the public package; with one hash changed it does not."""
    log = tree(66_000)
    proof = tiles.consistency(old, new).hashes(Tree(log.records[:new]).every_tile())

    def ask(hashes: list[bytes]) -> None:
        (tmp_path / "old").write_text(log.note(old))
        (tmp_path / "new").write_text(log.note(new))
        (tmp_path / "proof").write_text("".join(f"{base64.b64encode(item).decode()}\n" for item in hashes))
        outsider(
            "consistency", "-old", tmp_path / "old", "-new", tmp_path / "new", "-proof", tmp_path / "proof", log=LOG
        )

    ask(proof)
    for at, item in enumerate(proof):
        with pytest.raises(RefusedError):
            ask([*proof[:at], sha256(item).digest(), *proof[at + 1 :]])


async def test_one_changed_byte_is_refused(tmp_path: Path) -> None:
    """Whichever file of the directory has one bit changed, a byte more or less, the outsider refuses it."""
    folder = await published(tmp_path, 300)
    chance = random.Random(4)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.parent.name != "001.p")
    files += [folder / "tile/0/001.p/44", folder / "tile/entries/001.p/44"]
    assert len(files) == 6
    for file in files:
        good = file.read_bytes()
        for _ in range(8):
            at = chance.randrange(len(good))
            file.write_bytes(good[:at] + bytes([good[at] ^ 1 << chance.randrange(8)]) + good[at + 1 :])
            with pytest.raises(RefusedError):
                outsider("directory", "-dir", folder, log=LOG)
        for bad in (good[:-1], good + b"\0", b""):
            file.write_bytes(bad)
            with pytest.raises(RefusedError):
                outsider("directory", "-dir", folder, log=LOG)
        file.write_bytes(good)
    outsider("directory", "-dir", folder, log=LOG)


async def test_one_changed_byte_of_a_bundle_is_refused(tmp_path: Path) -> None:
    """Record, path and checkpoint of a bundle: one bit, and it proves nothing."""
    good, file, chance = json.loads(bundle(tree(300), 77, 300).encode()), tmp_path / "b", random.Random(4)
    for name in ("record", "proof"):
        for _ in range(40):
            at = chance.randrange(len(good[name]))
            letter = "A" if good[name][at] != "A" else "B"
            file.write_text(json.dumps(good | {name: good[name][:at] + letter + good[name][at + 1 :]}))
            with pytest.raises(RefusedError):
                outsider("bundle", "-file", file, log=LOG)


def changed(number: int, change: Callable[[Record], Record], *, relink: bool = False) -> Tree:
    """A log with one record changed; with `relink` everything after it made to fit, as who owns the database can."""
    records, previous = [], GENESIS_HASH
    for at, data in enumerate(tree(300).records):
        record = Record.decode(data)
        record = change(record) if at == number else record
        records.append((replace(record, previous=previous) if relink else record).encode())
        previous = chain_hash(previous, leaf_hash(records[-1]))
    return Tree(records)


@pytest.mark.parametrize(
    ("says", "change"),
    [
        ("record: entry 9: it says sequence 10", {"sequence": 10}),
        ("record: entry 9: it belongs to chain", {"chain_id": "mesh.example/other"}),
        ("record: entry 9: epoch 1 cannot follow epoch 0", {"epoch": 1}),
        ("record: entry 9: the sealed time decreases", {"sealed_at": 1}),
        ("chain: entry 9: it does not follow", {"previous": bytes(32)}),
        ("content: entry 9: entry_hash", {"entry_hash": bytes(32)}),
        ("content: entry 9: entry_hash", {"content": content(8)}),
    ],
)
async def test_the_second_verifier_names_faults(tmp_path: Path, says: str, change: dict[str, object]) -> None:
    """A signed log whose tree holds, but one of whose records breaks a rule of the page, is refused by that rule."""
    log = changed(9, lambda record: replace(record, **change), relink="previous" not in change)  # type: ignore[arg-type]
    await write_view(LogDirectory.of(LocalFiles(tmp_path), CHAIN), log, log.note())
    with pytest.raises(RefusedError, match=says):
        outsider("directory", "-dir", tmp_path / CHAIN, log=LOG)


@pytest.mark.parametrize(
    ("says", "old", "new"),
    [
        ("canonical", b'"detail":{}', b'"detail": {}'),
        ("number 1.0", b'"detail":{}', b'"detail":{"a":1.0}'),
        ("twice", b'"detail":{}', b'"detail":{"a":1,"a":1}'),
        ("unknown member", b'{"entry_id"', b'{"alien":1,"entry_id"'),
        ("event_type", b"trust.node.verified", b"Trust.node.verified"),
        ("timestamp", b"2026-02-01T", b"2026-02-30T"),
        ("tether", b'"phaseId":"5.5"', b'"phaseId":"5.x"'),
        ("about", b'"about":[]', b'"about":["md5:1"]'),
        ("entry_id", b'"key":"n9"', b'"key":"n8"'),
    ],
)
async def test_the_second_verifier_reads_content_by_the_page(tmp_path: Path, says: str, old: bytes, new: bytes) -> None:
    """Content that hashes right but breaks a rule for contents is refused by that rule."""
    contents = [content(number) for number in range(20)]
    assert old in contents[9]
    contents[9] = contents[9].replace(old, new)
    log = Tree(sealed(contents))
    await write_view(LogDirectory.of(LocalFiles(tmp_path), CHAIN), log, log.note())
    with pytest.raises(RefusedError, match=f"content: entry 9: .*{says}"):
        outsider("directory", "-dir", tmp_path / CHAIN, log=LOG)


async def test_a_log_rewritten_by_its_owner_has_no_signature(tmp_path: Path) -> None:
    """Everything made to fit after a change, but without the log's key: the root is another one."""
    folder = await published(tmp_path / "true", 300)
    forged = Tree(sealed([content(number if number != 9 else 1009) for number in range(300)]))
    await write_view(LogDirectory.of(LocalFiles(tmp_path / "false"), CHAIN), forged, forged.note())
    shutil.copy(folder / "checkpoint", tmp_path / "false" / CHAIN / "checkpoint")
    with pytest.raises(RefusedError, match="another root"):
        outsider("directory", "-dir", tmp_path / "false" / CHAIN, log=LOG)
