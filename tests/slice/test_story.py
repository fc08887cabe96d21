"""The story of `make demo` as assertions: a rule changes by signed vote on a real cluster, and the log proves it."""

import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from quorate.canonical import digest_of_bytes, parse_time
from quorate.documents.schema import DocumentKind, validate
from quorate_cli.domain import add_signature
from quorate_cli.main import run
from quorate_cli.place import READER
from quorate_cli.sandbox import binaries
from quorate_cli.sandbox.instance import Sandbox
from tests.slice.fleet import ADMINS, Fleet, Obj, condition, wait_for

REPORT_SCHEMA = Path(__file__).parents[2] / "schemas/compliance-report.json"
HUB_A = "3f0a1c5e-7b2d-4c89-9e31-5a6b7c8d9e01"


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox with an operator that is the first hub."""
    with Sandbox.up("story", node_id=HUB_A, fast=True, state_root=tmp_path_factory.mktemp("story")) as running:
        yield running


@dataclass
class Story:
    """What was seen on the way."""

    fleet: Fleet
    votes: dict[str, str] = field(default_factory=dict)
    tally: Obj = field(default_factory=dict)
    shown: str = ""
    adopted: Obj = field(default_factory=dict)


@pytest.fixture(scope="module")
def story(mesh: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """The whole of it, once: a proposal, good and bad votes, adopted and executed."""
    # A quorum of all: decided with the last vote, which nobody's slowness makes a late one.
    rules = {"timelockSeconds": 4, "quorumBasisPoints": 10_000}
    told = Story(Fleet(mesh, tmp_path_factory.mktemp("story") / "fleet", **rules))
    fleet, votes = told.fleet, told.votes
    fleet.found()
    fleet.open()
    votes["first"] = fleet.vote("alice", "abstain")
    votes["alice"] = fleet.vote("alice", "approve")
    votes["bob"] = fleet.vote("bob", "approve")
    votes["forged"] = fleet.vote("bob", "reject", name="forged", signed_by="eve")
    votes["fork"] = fleet.vote("eve", "approve")
    other = fleet.question(fleet.proposal(gib=80))
    votes["other"] = fleet.vote("dave", "reject", name="other", question=other)
    fleet.counted(votes["first"], "Overtaken")
    fleet.cluster.apply(fleet.renamed(votes["first"], "replayed"))
    votes["replayed"] = f"{fleet.proposal_name}-replayed"
    fleet.counted(votes["bob"], "Counted")
    wait_for("both votes in the tally", lambda: (fleet.status().get("tally") or {}).get("voters") == 2)
    told.tally, told.shown = fleet.status()["tally"], kubectl(mesh, "get", "gp", fleet.proposal_name, "-o", "wide")
    for who, choice in (("carol", "approve"), ("dave", "reject")):
        votes[who] = fleet.vote(who, choice)
    told.adopted = fleet.phase("Adopted")
    fleet.phase("Executed")
    return told


def kubectl(sandbox: Sandbox, *arguments: str) -> str:
    """Standard output of kubectl."""
    program = binaries.find(["kubectl"], say=lambda line: None)["kubectl"]
    command = [str(program), f"--kubeconfig={sandbox.kubeconfig}", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.mark.parametrize(
    ("vote", "reason", "ready"),
    [
        ("forged", "BadSignature", "False"),
        ("fork", "NotInElectorate", "False"),
        ("other", "OtherProposal", "False"),
        ("first", "Overtaken", "True"),
        ("replayed", "Duplicate", "True"),
    ],
)
def test_a_vote_that_must_not_count_says_why(story: Story, vote: str, reason: str, ready: str) -> None:
    """Counted is False with the reason, Ready and Stalled as api.md says, and a Warning Event gives the sentence."""
    fleet = story.fleet
    obj = fleet.counted(story.votes[vote], reason)
    assert condition(obj, "Counted") == ("False", reason)
    assert condition(obj, "Ready")[0] == ready
    assert (condition(obj, "Stalled")[0] == "True") is (ready == "False")

    def told() -> bool:
        events = fleet.cluster.request("GET", "/api/v1/namespaces/default/events")["items"]
        return any(
            (event["reason"], event["type"], event["involvedObject"]["name"])
            == (reason, "Warning", obj["metadata"]["name"])
            for event in events
        )

    wait_for(f"the Event {reason}", told)


def test_status_and_kubectl_show_every_number(story: Story) -> None:
    """Sums as integers, both sides of each test as decimal strings, in status and in the wide columns."""
    # How many of the refused votes had arrived when the second approval was counted is chance.
    assert {name: value for name, value in story.tally.items() if not name.startswith("refused")} == {
        "approve": 6000,
        "reject": 0,
        "abstain": 0,
        "veto": 0,
        "cast": 6000,
        "outstanding": 4000,
        "voters": 2,
        "quorum": {"left": "60000000", "right": "100000000", "holds": False},
        "minimumVoters": {"left": "2", "right": "2", "holds": True},
        "threshold": {"left": "60000000", "right": "30000000", "holds": True},
        "vetoTest": {"left": "0", "right": "19800000", "holds": False},
    }
    header, row = story.shown.splitlines()
    assert {"APPROVE", "REJECT", "ABSTAIN", "VETO", "CAST", "OUTSTANDING", "TOTAL", "VOTERS", "QUORUM"} <= set(
        header.split()
    )
    for number in ("6000", "4000", "10000", "60000000", "100000000", "30000000"):
        assert number in row.split()


def test_it_is_adopted_early_and_executed_after_the_timelock(story: Story) -> None:
    """8000 of 10000 approve: adopted before the deadline, executed after the timelock, with every time in status."""
    adopted, status = story.adopted, story.fleet.status()
    assert (adopted["outcome"], adopted["reason"]) == ("Adopted", "Early")
    assert adopted["decidedAt"] < adopted["votingEnds"]
    sums = {name: status["tally"][name] for name in ("approve", "reject", "abstain", "veto", "cast", "outstanding")}
    assert sums == {"approve": 8000, "reject": 2000, "abstain": 0, "veto": 0, "cast": 10000, "outstanding": 0}
    assert status["outcome"] == "Executed"
    assert status["executedAt"] >= adopted["executeAfter"]
    assert condition(story.fleet.get("GovernanceProposal"), "Succeeded")[0] == "True"


def test_clause_version_and_digest_in_force_change(story: Story) -> None:
    """The contract's status has the new version and digest, by the proposal and its evidence."""
    fleet = story.fleet

    def changed() -> Obj | None:
        status = fleet.get("DynamicContract")["status"]
        return status if len(status["history"]) == 2 else None

    status = wait_for("the change in force", changed)
    new, old = status["history"]
    assert new["version"] > old["version"] and new["digest"] != old["digest"]
    assert status["inForce"]["digest"] == new["digest"]
    proposal = fleet.status()
    assert status["inForce"]["proposalDigest"] == proposal["digest"]
    assert status["inForce"]["evidenceDigest"] == proposal["evidenceDigest"]


def test_every_transition_is_one_entry(story: Story) -> None:
    """The chain verifies, and holds each transition exactly once, however many objects said the same."""
    wait_for("the change's entry", lambda: story.fleet.events()["governance.contract.changed"])
    events = story.fleet.events()
    for name, count in {
        "trust.domain.accepted": 1,
        "governance.contract.genesis": 1,
        "governance.proposal.opened": 1,
        "governance.vote.accepted": 5,
        "governance.vote.refused": 3,
        "governance.proposal.decided": 1,
        "governance.proposal.executed": 1,
        "governance.contract.changed": 1,
    }.items():
        assert events[name] == count, (name, events)
    assert set(events) == {
        "trust.domain.accepted", "governance.contract.genesis", "governance.proposal.opened",
        "governance.vote.accepted", "governance.vote.refused", "governance.proposal.decided",
        "governance.proposal.executed", "governance.contract.changed",
    }  # fmt: skip


def test_the_evidence_verifies_offline(story: Story, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`quorate proposal verify` re-derives the decision from the ConfigMap's bytes; a changed vote is found."""
    fleet = story.fleet
    bundle = tmp_path / "evidence.json"
    bundle.write_bytes(fleet.evidence())
    assert digest_of_bytes(bundle.read_bytes()) == fleet.status()["evidenceDigest"]
    pin = f"--pin={fleet.chain}={fleet.constitution.digest}"
    assert run(["proposal", "verify", str(bundle), pin, "-o", "json"]) == 5
    report = json.loads(capsys.readouterr().out)
    assert (report["verdict"], report["outcome"], report["reason"]) == ("Unanchored", "Adopted", "Early")
    assert report["checked"]["votes"] == 8
    bundle.write_bytes(bundle.read_bytes().replace(b'"choice":"Reject"', b'"choice":"Approve"', 1))
    assert run(["proposal", "verify", str(bundle), pin]) == 4


def test_the_proof_anchors_the_evidence(story: Story, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A signed checkpoint covers the decision: status names the proof, and with it the verdict is Intact."""
    fleet = story.fleet
    wait_for("the proof", lambda: fleet.status().get("proofRef"))
    config, pin = f"--kubeconfig={fleet.sandbox.kubeconfig}", f"--pin={fleet.chain}={fleet.constitution.digest}"
    files = (str(tmp_path / "evidence.json"), str(tmp_path / "proof.json"))
    assert run(["proposal", "evidence", fleet.proposal_name, "--out", files[0], "--proof-out", files[1], config]) == 0
    assert run(["proposal", "verify", files[0], "--proof", files[1], pin]) == 0
    assert "INTACT" in capsys.readouterr().out


def test_the_exported_document_fits_its_schema(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    """`quorate proposal export` gives the JSON document of the founding schema: both texts, status, weights."""
    fleet = story.fleet
    assert run(["proposal", "export", fleet.proposal_name, "--kubeconfig", str(fleet.sandbox.kubeconfig)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert validate(DocumentKind.PROPOSAL, document) == document
    assert document["status"] == "adopted"
    assert document["voting_result"]["approve_votes"] == fleet.status()["tally"]["approve"]
    assert document["changes"]["current_text"] != document["changes"]["proposed_text"]


def test_an_unsigned_edit_of_the_constitution_changes_nothing(story: Story) -> None:
    """A next revision without the admins' signatures is Unauthorized, and the old one stays in force."""
    fleet = story.fleet
    live = fleet.get("TrustDomain")
    edit = {"revision": 2, "previousDigest": fleet.constitution.digest, "adminThreshold": 1}
    fleet.cluster.patch(live, {"spec": edit})
    wait_for("the refusal", lambda: condition(fleet.get("TrustDomain"), "Authorized") == ("False", "Unauthorized"))
    assert fleet.get("TrustDomain")["status"]["accepted"]["digest"] == fleet.constitution.digest
    wait_for("its entry", lambda: fleet.events()["trust.domain.refused"] == 1)
    replaced = {**fleet.get("TrustDomain"), "spec": live["spec"]}
    path = f"/apis/quorate.dev/v1alpha1/trustdomains/{fleet.name}"
    fleet.cluster.request("PUT", path, body=replaced)
    wait_for("the signed one again", lambda: condition(fleet.get("TrustDomain"), "Authorized")[0] == "True")


def test_replaced_content_is_named_and_restored(story: Story) -> None:
    """Another content under the name of the digest in force: Drifted with the clause, an Event, and restored."""
    fleet = story.fleet
    reference = fleet.get("DynamicContract")["status"]["inForce"]["contentRef"]
    path = "/api/v1/namespaces/quorate-system/configmaps"
    held = fleet.cluster.request("GET", f"{path}/{reference}")
    meta = {name: held["metadata"][name] for name in ("name", "namespace", "labels")}
    altered = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": meta,
        "immutable": True,
        "data": {"content": held["data"]["content"].replace("72 GiB", "96 GiB")},
    }
    fleet.sandbox.stop("operator")
    fleet.cluster.request("DELETE", f"{path}/{reference}")
    fleet.cluster.request("POST", path, body=altered)
    fleet.sandbox.start("operator")
    wait_for("Drifted", lambda: condition(fleet.get("DynamicContract"), "Drifted") != ("", ""))
    wait_for("the content again", lambda: fleet.cluster.request("GET", f"{path}/{reference}")["data"] == held["data"])
    restored = [entry for entry in fleet.entries() if entry["event_type"] == "governance.contract.restored"]
    assert len(restored) == 1
    assert "clause 2.1" in restored[0]["payload"]["detail"]["message"]


def test_the_log_is_verified_and_anchored_by_the_command(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    """`quorate audit verify` re-derives the chain from Postgres and counts what it checked."""
    fleet = story.fleet
    dsn = fleet.sandbox.dsn(READER)
    arguments = ["audit", "verify", "--dsn", dsn, "--chain", fleet.chain, f"--kubeconfig={fleet.sandbox.kubeconfig}"]
    assert run([*arguments, "-o", "json"]) in (0, 5)
    chain = json.loads(capsys.readouterr().out)["chains"][0]
    assert chain["checked"] == len(fleet.entries())


def test_the_report_tells_the_story(story: Story, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`quorate audit report` says who decided what, with every number, and what was refused; so does the page."""
    fleet, files = story.fleet, (tmp_path / "report.json", tmp_path / "report.html")
    for file in files:
        dsn = ["--dsn", fleet.sandbox.dsn(READER), f"--kubeconfig={fleet.sandbox.kubeconfig}"]
        form = ["-o", file.suffix.removeprefix("."), "--out", str(file), "--chain", fleet.chain, "--since", "1h"]
        assert run(["audit", "report", *dsn, *form]) == 0, capsys.readouterr().err
    report = json.loads(files[0].read_text())
    jsonschema.validate(report, json.loads(REPORT_SCHEMA.read_text()))
    (proposal,) = report["proposals"]
    assert (proposal["outcome"], proposal["reason"], proposal["type"]) == ("Adopted", "Early", "Standard")
    numbers = proposal["numbers"]
    assert numbers["sums"]["approve"] == fleet.status()["tally"]["approve"] and len(numbers["votes"]) == 8
    assert proposal["executed"]["evidenceDigest"] == fleet.status()["evidenceDigest"]
    (contract,) = report["contracts"]
    changed = next(event for event in contract["events"] if event["event"] == "governance.contract.changed")
    assert changed["newDigest"] == fleet.get("DynamicContract")["status"]["inForce"]["digest"]
    assert sum(item["recorded"] for item in report["votes"]) >= 5 and report["refusals"]["total"] >= 3
    assert report["verification"]["verdict"] in ("Intact", "Unanchored") and report["guards"][0]["ddlGuard"] is True
    assert fleet.proposal_name in files[1].read_text() and "Adopted" in files[1].read_text()


def crowd(spec: Obj) -> None:
    """Bob's member has three keys of which two must agree, and carol's an expired key."""
    bob, carol = spec["members"][1], spec["members"][2]
    bob["keys"] += [{"purpose": "Vote", "name": f"bob-{n}", "publicKey": f"file:bob-{n}.pub"} for n in (2, 3)]
    bob["voteThreshold"] = 2
    old = {
        "purpose": "Vote",
        "name": "carol-old",
        "publicKey": "file:carol-old.pub",
        "notAfter": "2026-01-01T00:00:00Z",
    }
    carol["keys"].append(old)


@pytest.fixture(scope="module")
def refusals(mesh: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> tuple[Fleet, dict[str, str]]:
    """One proposal, and a vote for every reason not to count it: name of the case → Vote."""
    fleet = Fleet(mesh, tmp_path_factory.mktemp("refusals") / "fleet", change=crowd, earlyDecision=False)
    fleet.found()
    fleet.open()
    votes = {
        "unknown-choice": fleet.vote("alice", "approve", unsigned={"choice": "PartyA"}),
        "future": fleet.vote("alice", "approve", now=int(time.time()) + 3600, name="future"),
        "no-veto": fleet.vote("alice", "veto"),
        "unknown-key": fleet.vote("alice", "approve", unsigned={"keyName": "mallory"}),
        "expired": fleet.vote("carol-old", "approve"),
        "twice-a": fleet.vote("carol", "approve", sequence=7, name="twice-a"),
        "twice-b": fleet.vote("carol", "reject", sequence=7, name="twice-b"),
        "alone": fleet.vote("bob", "approve"),
        "dave-approve": fleet.vote("dave", "approve"),
        "dave-retract": fleet.vote("dave", "retract"),
    }
    return fleet, votes


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("unknown-choice", "UnknownChoice"),
        ("future", "FromTheFuture"),
        ("no-veto", "VetoNotAllowed"),
        ("unknown-key", "UnknownKey"),
        ("expired", "KeyExpired"),
        ("twice-a", "Equivocation"),
        ("twice-b", "Equivocation"),
        ("alone", "ThresholdNotReached"),
        ("dave-approve", "Overtaken"),
        ("dave-retract", "Retracted"),
    ],
)
def test_every_other_reason_reaches_the_vote(refusals: tuple[Fleet, dict[str, str]], case: str, reason: str) -> None:
    """Each reason of governance.md that this proposal can meet is in its Vote's condition."""
    fleet, votes = refusals
    assert condition(fleet.counted(votes[case], reason), "Counted")[0] == "False"


def test_keys_of_one_member_that_disagree_or_are_outvoted(refusals: tuple[Fleet, dict[str, str]]) -> None:
    """With voteThreshold 2 the second agreeing key completes the member's choice; the third key is Outvoted."""
    fleet, votes = refusals
    second = fleet.vote("bob-2", "approve")
    third = fleet.vote("bob-3", "reject")
    fleet.counted(second, "Counted")
    fleet.counted(votes["alone"], "Counted")
    fleet.counted(third, "Outvoted")


def test_a_removed_key_is_revoked_and_a_decided_vote_is_too_late(story: Story, mesh: Sandbox, tmp_path: Path) -> None:
    """A vote whose key a later revision removed is KeyRevoked; one that comes after the decision is TooLate."""
    late = story.fleet.vote("bob", "reject", name="late")
    story.fleet.counted(late, "TooLate")
    fleet = Fleet(mesh, tmp_path / "fleet", earlyDecision=False)
    fleet.found()
    fleet.open()
    vote = fleet.vote("dave", "reject")
    recorded = parse_time(fleet.counted(vote, "Counted")["status"]["recordedAt"])
    # A revision of the same second is in force at the vote's, whatever came first: UnknownKey (governance.md).
    wait_for("a later second", lambda: time.time() >= recorded + 1)
    _remove_key(fleet, "dave")
    fleet.counted(vote, "KeyRevoked")


def _remove_key(fleet: Fleet, name: str) -> None:
    document: dict[str, Any] = json.loads(json.dumps(fleet.domain))
    spec = document["spec"]
    spec["revision"], spec["previousDigest"] = 2, fleet.constitution.digest
    for member in spec["members"]:
        member["keys"] = [key for key in member["keys"] if key["name"] != name]
    spec.pop("signatures")
    for admin in ADMINS:
        add_signature(document, fleet.signer(admin))
    fleet.cluster.apply(document)
    wait_for("revision 2", lambda: (fleet.get("TrustDomain").get("status") or {})["accepted"]["revision"] == 2)
