"""`quorate conflict`, and what `quorate tally` says of conflicts, from files alone."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from quorate.canonical import format_time
from quorate_cli.output import to_yaml
from quorate_cli.yamlfiles import read_document
from tests.unit.cli.conftest import Quorate

Obj = dict[str, Any]


def printed(quorate: Quorate, *arguments: object) -> Any:
    """The documents that a command prints."""
    done = quorate(*arguments, "--dry-run", "-o", "yaml")
    assert done.code == 0, done.err
    return done.documents


@pytest.fixture
def rivals(quorate: Quorate, fleet: Path) -> Path:
    """Proposals of alice and bob on one clause, each approved by three, as files in `papers`."""
    papers = fleet / "papers"
    papers.mkdir()
    template = read_document(fleet / "proposal.yaml")
    for name, who in (("first", "alice"), ("second", "bob")):
        template["metadata"]["name"] = name
        template["spec"]["change"]["patch"][0]["value"] = f"what {who} wants"
        (fleet / f"{name}.yaml").write_text(to_yaml([template]))
        sources = ("-f", fleet / "td.yaml", "-f", fleet / "contract.yaml")
        documents = printed(
            quorate, "propose", "-f", fleet / f"{name}.yaml", *sources, "--key", fleet / "keys" / f"{who}.key"
        )
        (papers / f"{name}.yaml").write_text(to_yaml(documents))
        for voter in ("alice", "bob", "carol"):
            paths = ("-f", papers / f"{name}.yaml", "-f", fleet / "td.yaml")
            vote = printed(quorate, "vote", "approve", name, *paths, "--key", fleet / "keys" / f"{voter}.key")
            (papers / f"{name}-{voter}.yaml").write_text(to_yaml(vote))
    return papers


def tally(quorate: Quorate, fleet: Path) -> list[Obj]:
    """What the papers say an hour from now."""
    now = int(time.time())
    arguments = ("-f", fleet / "td.yaml", fleet / "papers", "--at", format_time(now + 30))
    done = quorate("tally", *arguments, "--opened", format_time(now - 5), "-o", "json")
    assert done.code == 0, done.err
    found: list[Obj] = json.loads(done.out)
    return found


def test_arbitration_from_files_alone(quorate: Quorate, fleet: Path, rivals: Path) -> None:
    """Two adopted rivals are found, the arbitrators that the tally names vote, and it says who proceeds."""
    first, second = tally(quorate, fleet)
    assert (first["execution"], second["execution"]) == ({"state": "Conflict", "reason": None},) * 2
    (conflict,) = first["conflicts"]
    document = {
        "apiVersion": "quorate.dev/v1alpha1",
        "kind": "PolicyConflict",
        "metadata": {"name": conflict["name"], "namespace": "default"},
        "spec": {"domain": conflict["domain"], "parties": conflict["parties"]},
    }
    (fleet / "conflict.yaml").write_text(to_yaml([document]))
    sitting = {seat["nodeId"] for seat in conflict["levels"][0]["arbitrators"]}
    for who in ("carol", "dave"):
        paths = ("-f", fleet / "conflict.yaml", "-f", fleet / "td.yaml", "--key", fleet / "keys" / f"{who}.key")
        (vote,) = printed(quorate, "conflict", "arbitrate", conflict["name"], "party-b", *paths)
        assert (vote["spec"]["choice"], vote["spec"]["revision"]) == ("PartyB", 1)
        assert vote["spec"]["voter"] in sitting
        (rivals / f"arbitration-{who}.yaml").write_text(to_yaml([vote]))
    found = {item["proposal"]["name"]: item for item in tally(quorate, fleet)}
    winner, loser = conflict["parties"][1]["name"], conflict["parties"][0]["name"]
    assert found[winner]["execution"] == {"state": "Proceeds", "reason": None}
    assert found[loser]["execution"] == {"state": "Failed", "reason": "ConflictLost"}
    assert all(vote["reason"] == "Counted" for vote in found[winner]["votes"])
    now = int(time.time())
    shown = quorate(
        "tally", "-f", fleet / "td.yaml", rivals, "--at", format_time(now + 30), "--opened", format_time(now - 5)
    )
    assert "Failed: ConflictLost" in shown.out
    assert f"conflict {conflict['name']}, OverlappingTimelocks, Low" in shown.out


def test_a_conflict_is_raised_with_its_attestation(quorate: Quorate, fleet: Path, rivals: Path) -> None:
    """Two documents: the parties by their digests with the evidence, and a Compliance attestation on that digest."""
    proof = fleet / "mail.txt"
    proof.write_text("they agreed on something else")
    paths = ("-f", rivals / "first.yaml", "-f", rivals / "second.yaml", "-f", fleet / "td.yaml")
    arguments = ("--domain", "fleet", "--evidence", proof, "--because", "a promise", *paths)
    conflict, attestation = printed(
        quorate, "conflict", "raise", "first", "second", *arguments, "--key", fleet / "keys" / "carol.key"
    )
    assert [party["name"] for party in conflict["spec"]["parties"]] == ["first", "second"]
    assert conflict["spec"]["evidence"][0]["description"] == "a promise"
    assert attestation["spec"]["subject"]["kind"] == "PolicyConflict"
    assert (attestation["spec"]["type"], attestation["spec"]["subject"]["name"]) == (
        "Compliance",
        conflict["metadata"]["name"],
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["raise", "one", "--evidence", "x"], "parties: 1 were given; a conflict has exactly two"),
        (["raise", "first", "DynamicContract/rules@x", "--evidence", "x"], "must be KIND/NAME@sha256:"),
        (["raise", "first", "second", "--evidence", "/nowhere"], "--evidence /nowhere"),
    ],
)
def test_bad_input_names_the_rule(quorate: Quorate, fleet: Path, rivals: Path, arguments: list[str], said: str) -> None:
    """What cannot be raised is refused with field, value and rule."""
    paths = ("-f", rivals / "first.yaml", "-f", rivals / "second.yaml", "-f", fleet / "td.yaml")
    key = ("--key", fleet / "keys" / "carol.key", "--domain", "fleet", "--dry-run")
    done = quorate("conflict", *arguments, *paths, *key)
    assert done.code == 2
    assert said in done.err
