"""Directories and bundles by strangers: what is fine is accepted, whatever was changed is not, and nothing crashes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quorate.audit.merkle import inclusion_proof
from quorate.audit.note import cosign, parse_note
from quorate.audit.proof import ProofBundle, TlogProof
from quorate.audit.record import leaf_hash
from quorate.audit.verify import ChainReport, Verdict
from quorate.identity.vkey import COSIGNATURE, SignerKey
from quorate_operator.verification.files import verify_bundle, verify_directory
from quorate_operator.verification.request import ChainRequest
from tests.chains import CHAIN, SIGNER, build, publish, with_content

SIZE = 600
WHOLE = build(SIZE)
SMALL = build(9)
TERMS = {"keys": (str(SIGNER.verifier),)}


def terms(chain: str, **more: object) -> ChainRequest:
    """The log's key is known."""
    return ChainRequest(chain, **{**TERMS, **more})  # type: ignore[arg-type]


def verified(folder: Path, **more: object) -> ChainReport:
    """The report of the one log in a directory."""
    (report,) = verify_directory(folder, lambda chain: terms(chain, **more))
    return report


def test_a_directory_is_intact_by_the_key_of_its_log(tmp_path: Path) -> None:
    """Everything is read and counted; without a known key it is unanchored, and that is said."""
    publish(tmp_path, WHOLE)
    seen: list[tuple[int, int]] = []
    (report,) = verify_directory(tmp_path, terms, lambda *at: seen.append(at))
    assert (report.verdict, report.checked, report.anchored_size) == (Verdict.INTACT, SIZE, SIZE), report.fault
    assert seen[-1] == (SIZE, SIZE)
    report = verified(tmp_path, keys=())
    assert report.verdict is Verdict.UNANCHORED and "give --log-key" in report.notes[0]
    assert verify_directory(tmp_path / "tile", terms) == []


def test_witnesses_are_required_where_they_are_asked_for(tmp_path: Path) -> None:
    """With a number of witnesses, a checkpoint is an anchor only with so many cosignatures of given keys."""
    keys = [SignerKey(f"witness-{number}", bytes([number]) * 32, COSIGNATURE) for number in (1, 2)]
    plain = parse_note(WHOLE.note())
    note = str(plain.extended([cosign(plain.text, keys[0], at=1_700_000_000)]))
    publish(tmp_path, WHOLE, note)
    names = tuple(str(key.verifier) for key in keys)
    report = verified(tmp_path, witnesses=names, require_witnesses=1)
    assert (report.verdict, report.witnesses) == (Verdict.INTACT, 1), report.fault
    report = verified(tmp_path, witnesses=names, require_witnesses=2)
    assert (report.verdict, report.anchored_size) == (Verdict.UNANCHORED, 0) and "cosignatures" in report.notes[0]


def test_a_directory_without_its_first_entries_verifies_from_where_they_begin(tmp_path: Path) -> None:
    """Bundles left out at the beginning, as where the log was pruned, are said; in the middle they are a fault."""
    place = publish(tmp_path, WHOLE)
    (place / "tile/entries/000").unlink()
    report = verified(tmp_path)
    assert (report.verdict, report.first, report.checked) == (Verdict.INTACT, 256, SIZE - 256), report.fault
    assert "entries 0…255 are not here" in report.notes[0]
    publish(tmp_path, WHOLE)
    (place / "tile/entries/001").unlink()
    assert verified(tmp_path).verdict is Verdict.TAMPERED


FILES = sorted(
    ["checkpoint", "tile/entries/000", "tile/entries/001", "tile/entries/002.p/88", "tile/0/000", "tile/0/001",
     "tile/0/002.p/88", "tile/1/000.p/2"]
)  # fmt: skip


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("change", ["gone", "cut", "longer", "empty", "byte", "folder"])
def test_each_file_of_a_directory_matters(tmp_path: Path, name: str, change: str) -> None:
    """A file that is missing, cut, longer, empty, a folder, or has another byte is never accepted as intact."""
    place = publish(tmp_path, WHOLE)
    file = place / name
    data = file.read_bytes()
    middle = len(data) // 2
    file.unlink()
    if change == "folder":
        file.mkdir()
    elif change != "gone":
        changed = {
            "cut": data[:-1], "longer": data + b"x", "empty": b"",
            "byte": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
        }  # fmt: skip
        file.write_bytes(changed[change])
    reports = verify_directory(tmp_path, terms)
    left_out = name == "tile/entries/000" and change in ("gone", "folder")
    assert all(report.checked < SIZE or report.verdict is not Verdict.INTACT for report in reports)
    assert left_out or all(report.verdict is not Verdict.INTACT for report in reports)


def test_a_directory_with_another_history_is_tampered(tmp_path: Path) -> None:
    """Records sealed again under the old checkpoint are found; under one signed by a stranger, nothing anchors them."""
    change = with_content(lambda document: document["payload"]["detail"].update(reason="never happened"))
    other = WHOLE.relinked({5: change})
    publish(tmp_path, other, WHOLE.note())
    report = verified(tmp_path)
    assert report.fault is not None and "another root" in report.fault.message
    publish(tmp_path, other, other.note(signer=SignerKey(CHAIN, bytes(32))))
    assert verified(tmp_path).verdict is Verdict.UNANCHORED


def bundle(number: int = 4) -> ProofBundle:
    """A proof bundle of an entry of the small chain."""
    leaves = [leaf_hash(record) for record in SMALL.records]
    return ProofBundle(SMALL.records[number], TlogProof(number, tuple(inclusion_proof(leaves, number)), SMALL.note()))


def test_a_bundle_proves_its_entry() -> None:
    """One entry is checked and anchored, and named; by an unknown key it is unanchored."""
    report = verify_bundle(bundle().encode(), terms)
    assert (report.verdict, report.checked, report.first, report.size) == (Verdict.INTACT, 1, 4, 9), report.fault
    assert report.entry_id == orjson.loads(SMALL.decoded[4].content)["entry_id"]
    assert verify_bundle(bundle().encode(), ChainRequest).verdict is Verdict.UNANCHORED
    required = verify_bundle(bundle().encode(), lambda chain: terms(chain, require_witnesses=1))
    assert required.verdict is Verdict.UNANCHORED


BUNDLES: dict[str, Callable[[ProofBundle], ProofBundle]] = {
    "other record": lambda whole: replace(whole, record=SMALL.records[5]),
    "other index": lambda whole: replace(whole, proof=replace(whole.proof, index=5)),
    "path": lambda whole: replace(whole, proof=replace(whole.proof, hashes=whole.proof.hashes[:-1])),
    "note": lambda whole: replace(whole, proof=replace(whole.proof, note=SMALL.note(8))),
    "size": lambda whole: replace(whole, proof=replace(whole.proof, note=whole.proof.note.replace("\n9\n", "\n10\n"))),
}


@pytest.mark.parametrize("name", BUNDLES)
def test_a_bundle_that_does_not_prove_its_entry_is_tampered(name: str) -> None:
    """Another record, place, path or checkpoint is named as the fault."""
    report = verify_bundle(BUNDLES[name](bundle()).encode(), terms)
    assert report.verdict is Verdict.TAMPERED and report.fault is not None


@settings(max_examples=300, deadline=None)
@given(offset=st.integers(0, 5000), piece=st.binary(max_size=3), cut=st.integers(0, 3))
def test_no_changed_bundle_is_accepted(offset: int, piece: bytes, cut: int) -> None:
    """Bytes replaced, left out or put in anywhere: never a crash, and intact only if the same things are said."""
    data = bundle().encode()
    offset %= len(data)
    report = verify_bundle(data[:offset] + piece + data[offset + cut :], terms)
    if report.verdict is Verdict.INTACT:
        assert (report.first, report.size, report.root) == (4, 9, SMALL.frontier().root().hex())


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["checkpoint", "tile/entries/000.p/9", "tile/0/000.p/9"]),
    offset=st.integers(0, 9000),
    piece=st.binary(max_size=4),
    cut=st.integers(0, 4),
)
def test_no_changed_directory_is_accepted(tmp_path: Path, name: str, offset: int, piece: bytes, cut: int) -> None:
    """Bytes replaced, left out or put in anywhere in any file: no crash, and intact only if the tree is the same."""
    place = publish(tmp_path, SMALL)
    data = (place / name).read_bytes()
    offset %= len(data)
    (place / name).write_bytes(data[:offset] + piece + data[offset + cut :])
    for report in verify_directory(tmp_path, terms):
        if report.verdict is Verdict.INTACT:
            assert (report.size, report.root) == (9, SMALL.frontier().root().hex())
