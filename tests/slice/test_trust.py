"""Trust on a real API server: attestations give a score, one that expires falls away, boundaries stop or warn."""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from quorate_cli.sandbox.instance import Sandbox
from tests.slice.fleet import Fleet, Obj, condition, wait_for, watching

HUB = "3f0a1c5e-7b2d-4c89-9e31-5a6b7c8d9e01"
VOTERS = ("bob", "carol", "dave")
TRUST = {"decayBasisPoints": 9000, "maxChainLength": 3, "minScoreBasisPoints": 5000}
Call = Callable[..., Any]


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox with an operator that is the hub of every domain."""
    with Sandbox.up("k-trust", node_id=HUB, fast=True, state_root=tmp_path_factory.mktemp("trust")) as running:
        yield running


@pytest.fixture
def quorate(town: Sandbox, answers: Callable[[Sandbox], Call]) -> Call:
    """`quorate(…)` on the sandbox; JSON is parsed."""
    return answers(town)


def stranger(town: Sandbox, folder: Path, name: str) -> Fleet:
    """A domain whose voters are nobody in any other one."""

    def change(spec: Obj) -> None:
        for member in spec["members"][1:]:
            member["nodeId"] = str(uuid.uuid4())

    return Fleet(town, folder, name=name, change=change, timelockSeconds=0)


def node(fleet: Fleet, key: str) -> str:
    """The nodeId of the member that has this key."""
    members = fleet.constitution.spec["members"]
    return str(next(m["nodeId"] for m in members if any(k["name"] == key for k in m["keys"])))


def attest(quorate: Call, fleet: Fleet, *arguments: object) -> Obj:
    """Attest as alice, the hub's person, and wait until it is recorded."""
    key = fleet.folder / "keys" / "alice.key"
    made = quorate("attest", *arguments, "--domain", fleet.name, "--key", key, "-o", "json")
    return says(fleet, "Attestation", made["metadata"]["name"], "Ready", "Accepted")


def says(fleet: Fleet, kind: str, name: str, what: str, reason: str, seconds: float = 60.0) -> Obj:
    def probe() -> Obj | None:
        obj = fleet.cluster.get(kind, name, fleet.namespace)
        return obj if condition(obj, what)[1] == reason else None

    return wait_for(f"{what} {reason} of {kind} {name}", probe, seconds)


def told(fleet: Fleet, name: str) -> set[str]:
    """Reasons of the Events about an object."""
    listed = fleet.cluster.request("GET", f"/apis/events.k8s.io/v1/namespaces/{fleet.namespace}/events")
    return {item["reason"] for item in listed["items"] if item["regarding"]["name"] == name}


def test_attestations_give_a_score_and_an_expired_one_falls_away(town: Sandbox, tmp_path: Path, quorate: Call) -> None:
    """`trust path` explains the chain edge by edge; from expiresAt on the edge is gone, and the object says so."""
    fleet = Fleet(town, tmp_path / "fleet", change=lambda spec: spec.update(trust={**TRUST, "seeds": [HUB]}))
    fleet.found()
    attest(quorate, fleet, "trust", "bob", "--weight", "9000")
    key = fleet.folder / "keys" / "bob.key"
    made = quorate(
        "attest", "trust", "carol", "--weight", "8000", "--expires", "8s", "--domain", fleet.name, "--key", key, "-o",
        "json",
    )  # fmt: skip

    def recorded() -> str | None:
        return (fleet.cluster.get("Attestation", made["metadata"]["name"], fleet.namespace).get("status") or {}).get(
            "recordedAt"
        )

    at = ("--at", wait_for("the record", recorded))  # a slow machine asks when it has expired already
    ends = ("alice", "carol", "--domain", fleet.name)
    found = quorate("trust", "path", *ends, *at, "-o", "json")
    assert (found["scoreBasisPoints"], found["trusted"]) == (5832, True)
    assert [edge["scoreBasisPoints"] for edge in found["edges"]] == [8100, 5832]
    assert found["edges"][1]["attestation"] == f"default/{made['metadata']['name']}"
    assert "5832 of 10000" in quorate("trust", "path", *ends, *at)
    ranks = quorate("trust", "rank", "--domain", fleet.name, *at, "-o", "json")
    assert [row["node"] for row in ranks] == [node(fleet, name) for name in ("alice", "bob", "carol")]
    with watching(town, "trust", "path", *ends, until=" 0 of 10000") as lines:
        says(fleet, "Attestation", made["metadata"]["name"], "Ready", "Expired")
    assert lines[0].startswith("From:") and sum("Score:" in line for line in lines) <= 2
    assert quorate("trust", "path", *ends, "-o", "json")["scoreBasisPoints"] == 0
    assert fleet.events()["trust.attestation.accepted"] == 2


def test_a_boundary_denies_or_warns_of_votes_of_another_domain(town: Sandbox, tmp_path: Path, quorate: Call) -> None:
    """Denied with reason, Event and entry until the voter is trusted; warned of, a vote counts at once."""
    denied, warned = (stranger(town, tmp_path / name, f"{name}-{uuid.uuid4().hex[:8]}") for name in ("deny", "warn"))

    def change(spec: Obj) -> None:
        boundary = [(denied.name, "Deny"), (warned.name, "Warn")]
        spec |= {"trust": TRUST, "boundary": [{"fromDomain": name, "onViolation": action} for name, action in boundary]}

    fleet = Fleet(town, tmp_path / "fleet", change=change, timelockSeconds=0)
    for each in (denied, warned, fleet):
        each.found()
    names = sorted([fleet.name, denied.name, warned.name])
    fleet.open(domains=names)
    question = fleet.question(fleet.get("GovernanceProposal"))
    votes = {(each.name, name): cast(each, fleet, name, question) for each in (denied, warned) for name in VOTERS}
    stopped, passed = votes[denied.name, "bob"], votes[warned.name, "bob"]
    vote = says(fleet, "Vote", stopped, "Counted", "BoundaryDenied")
    assert condition(vote, "WithinBoundary") == ("False", "BoundaryDenied")
    assert f"{node(denied, 'bob')} of {denied.name} has score 0" in str(vote["status"]["conditions"])
    vote = says(fleet, "Vote", passed, "Counted", "Counted")
    assert condition(vote, "WithinBoundary") == ("False", "BoundaryWarned")
    wait_for("the refusal's Event", lambda: "BoundaryDenied" in told(fleet, stopped))
    wait_for("the warning", lambda: "BoundaryWarned" in told(fleet, passed))
    for name in VOTERS:
        wait_for("its verdict", lambda n=name: condition(fleet.get("Vote", votes[denied.name, n]), "Counted")[1])
    events = fleet.events()
    assert (events["trust.boundary.denied"], events["trust.boundary.warned"]) == (3, 3)
    assert approves(fleet) == {denied.name: 0, fleet.name: 0, warned.name: 7000}
    for name in VOTERS:
        attest(quorate, fleet, "trust", node(denied, name), "--weight", "9000")
        says(fleet, "Vote", votes[denied.name, name], "Counted", "Counted")
    assert approves(fleet)[denied.name] == 7000
    for name in ("alice", "bob", "carol", "dave"):
        fleet.vote(name, "approve", question=question)
    fleet.phase("Executed")
    assert fleet.events()["trust.boundary.passed"] == 3
    assert len(json.loads(fleet.evidence())["attestations"]) == 3


def cast(voter: Fleet, proposer: Fleet, name: str, question: Any) -> str:
    """A vote of another domain on the proposal; its name."""
    ballot = voter.ballot(name, "approve", question=question, now=int(time.time()))
    ballot["metadata"]["name"] = f"{proposer.proposal_name}-{voter.name}-{name}"
    proposer.cluster.apply(ballot)
    return str(ballot["metadata"]["name"])


def approves(fleet: Fleet) -> dict[str, int]:
    """What each domain approves, as shown."""
    return {item["name"]: item["tally"]["approve"] for item in fleet.status()["domains"]}
