"""The auditor's commands: what they print, and the exit code of each verdict."""

import json
import time
from pathlib import Path

import pytest

from quorate.canonical import format_time
from tests.unit.cli.conftest import Quorate


def test_a_file_that_is_no_bundle_is_tampered_and_named(quorate: Quorate, tmp_path: Path) -> None:
    """`proposal verify` of a file that is no evidence bundle ends with 4 and says what is wrong with its form."""
    path = tmp_path / "bundle.json"
    path.write_text('{"format": "quorate.dev/evidence/v1"}')
    result = quorate("proposal", "verify", path)
    assert result.code == 4
    assert "fault: form:" in result.out and "TAMPERED" in result.out
    assert json.loads(quorate("proposal", "verify", path, "-o", "json").out)["verdict"] == "Tampered"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["proposal", "verify", "nowhere/bundle.json"], "nowhere/bundle.json: No such file"),
        (["proposal", "verify", "name"], "no cluster"),
        (["audit", "verify"], "no database: give --dsn or --sandbox NAME"),
        (["audit", "verify", "--dsn", "x", "--log-key", "a+b"], "--log-key a+b"),
        (["audit", "verify", "--sandbox", "nobody"], "sandbox 'nobody' does not exist"),
    ],
)
def test_bad_input_of_the_verifiers_ends_with_two(quorate: Quorate, arguments: list[str], sentence: str) -> None:
    """A verifier that got bad input ends with 2, never with a verdict."""
    refused = quorate(*arguments)
    assert (refused.code, refused.out) == (2, "")
    assert sentence in refused.err


def test_bad_pins_are_refused(quorate: Quorate, tmp_path: Path) -> None:
    """A pin of another form, and two pins of one domain, are refused."""
    path = tmp_path / "bundle.json"
    path.write_text("{}")
    digest = "sha256:" + "0" * 64
    for pins in (["fleet=" + digest], ["m/fleet=sha256:0"], [f"m/f={digest}", f"m/f={digest[:-1]}1"]):
        arguments = [part for pin in pins for part in ("--pin", pin)]
        refused = quorate("proposal", "verify", path, *arguments)
        assert refused.code == 2 and "--pin" in refused.err


def test_the_tally_of_signed_documents_is_recomputed_offline(quorate: Quorate, fleet: Path) -> None:
    """Votes signed offline are tallied from files alone: every number, and the fork's vote refused with its reason."""
    pytest.importorskip("quorate.proposals.documents", reason="the offline tally is not there yet")
    opened = int(time.time()) - 30
    for name in ("alice", "bob", "carol", "eve"):
        arguments = ("raise-memory-ceiling", "--key", fleet / "keys" / f"{name}.key")
        vote = quorate("vote", "approve", *arguments, "-f", fleet / "gp.yaml", "-f", fleet / "td.yaml", "--dry-run")
        (fleet / "votes" / f"{name}.yaml").write_text(vote.out)
    files = ("-f", fleet / "td.yaml", fleet / "gp.yaml", fleet / "votes")
    times = ("--at", format_time(opened + 300), "--opened", format_time(opened))
    result = quorate("tally", *files, *times, "-o", "json")
    assert result.code == 0, result.err
    outcome = json.loads(result.out)
    assert (outcome["outcome"], outcome["reason"]) == ("Adopted", "Early")
    assert outcome["sums"]["approve"] == 8000 and outcome["electorate"]["totalWeight"] == 10_000
    reasons = {vote["keyName"]: vote["reason"] for vote in outcome["votes"] if not vote["counted"]}
    assert reasons == {"eve": "NotInElectorate"}
    shown = quorate("tally", *files, *times)
    assert shown.code == 0 and "Adopted" in shown.out and "NotInElectorate" in shown.out
    assert quorate("tally", *files, "--at", "noon").code == 2
