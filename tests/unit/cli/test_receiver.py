"""`quorate proposal verify` as a receiver and as a member: what only they know."""

import json
from pathlib import Path
from typing import Any

import pytest

from quorate.canonical import canonical_bytes, format_time
from quorate.proposals.bundle import bundle_digest
from quorate_cli.output import to_yaml
from tests.unit.cli.conftest import Quorate
from tests.unit.proposals.evidence_case import CHAIN, NODES, OPENED
from tests.unit.proposals.test_evidence import authorised_revision
from tests.unit.proposals.test_hostile_hub import PIN, proof_of_acceptance, rejection, story, withheld


def vote(digest: str) -> dict[str, Any]:
    """NODES[2]'s rejection as the Vote that it applied."""
    spec = {
        "proposal": {"namespace": "ns", "name": "p", "digest": digest},
        "revision": 1,
        "voter": NODES[2],
        "keyName": "alice",
        "domain": "acme",
        "choice": "Reject",
        "sequence": 1,
        "castAt": format_time(OPENED + 12),
        "signature": "A" * 86,
    }
    return {"apiVersion": "quorate.dev/v1alpha1", "kind": "Vote", "metadata": {"name": "mine"}, "spec": spec}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A bundle from which a rejection was withheld, that vote, and the proof of its acceptance."""
    forged = withheld()
    digest = forged.bundle["proposalDigest"]
    (tmp_path / "bundle.json").write_bytes(canonical_bytes(forged.bundle))
    (tmp_path / "mine.yaml").write_text(to_yaml([vote(digest)]))
    (tmp_path / "mine.proof").write_bytes(proof_of_acceptance(story().log, rejection(digest)))
    return tmp_path


def test_a_member_is_alarmed(quorate: Quorate, files: Path) -> None:
    """Without --mine the bundle is Unanchored; with it the absent vote is an alarm and the command ends with 1."""
    base = ("proposal", "verify", files / "bundle.json", "--pin", f"{CHAIN}={PIN}")
    assert quorate(*base).code == 5
    found = quorate(*base, "--mine", files / "mine.yaml", "-o", "json")
    report = json.loads(found.out)
    assert (found.code, report["verdict"]) == (1, "Unanchored")
    assert [(item["level"], item["check"]) for item in report["findings"]] == [("alarm", "own vote")]


def test_a_member_with_proof_refuses(quorate: Quorate, files: Path) -> None:
    """With the proof that the log accepted the vote the verdict is Tampered, exit 4."""
    base = ("proposal", "verify", files / "bundle.json", "--pin", f"{CHAIN}={PIN}", "--mine", files / "mine.yaml")
    found = quorate(*base, "--mine-proof", files / "mine.proof")
    assert found.code == 4 and "fault: own vote: own vote sha256:" in found.out and "is absent" in found.out


def test_a_proposal_that_was_applied_before_is_replayed(quorate: Quorate, files: Path) -> None:
    """--applied with the proposal's digest refuses; another form is bad input."""
    digest = json.loads((files / "bundle.json").read_bytes())["proposalDigest"]
    base = ("proposal", "verify", files / "bundle.json", "--pin", f"{CHAIN}={PIN}")
    found = quorate(*base, "--applied", digest)
    assert found.code == 4 and "was applied before" in found.out
    assert quorate(*base, "--applied", "p").code == 2


def test_evidence_of_a_revision_is_given(quorate: Quorate, tmp_path: Path) -> None:
    """A revision that a proposal authorised: CannotTell without that proposal's bundle, verified with it."""
    bundle, authority = authorised_revision()
    (tmp_path / "b.json").write_bytes(canonical_bytes(bundle))
    (tmp_path / "a.json").write_bytes(authority + b"\n")
    base = ("proposal", "verify", tmp_path / "b.json", "--pin", f"{CHAIN}={PIN}")
    assert quorate(*base).code == 6
    found = quorate(*base, "--evidence", tmp_path / "a.json", "-o", "json")
    assert found.code == 5 and json.loads(found.out)["digest"] == bundle_digest(bundle)


@pytest.mark.parametrize(
    ("change", "said"),
    [({"kind": "MeshNode"}, "only Votes and Attestations"), ({"spec": {"castAt": "soon"}}, "spec.castAt: 'soon'")],
)
def test_what_is_no_vote_is_bad_input(quorate: Quorate, files: Path, change: dict[str, Any], said: str) -> None:
    """--mine with another kind or without a time ends with 2 and names it."""
    (files / "mine.yaml").write_text(to_yaml([{**vote("sha256:" + "0" * 64), **change}]))
    found = quorate("proposal", "verify", files / "bundle.json", "--mine", files / "mine.yaml")
    assert found.code == 2 and said in found.err
