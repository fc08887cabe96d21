"""Conflicts on a real API server: adopted rivals wait, arbitrators vote by command line, the outcome is executed."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from quorate.audit.verify import Verdict
from quorate.proposals.evidence import Pinned, verify
from quorate_cli.proposal import fetch_content
from quorate_cli.propose import sign_proposal
from quorate_cli.sandbox.instance import Sandbox
from tests.slice.fleet import Fleet, Obj, condition, wait_for

HUB = "3f0a1c5e-7b2d-4c89-9e31-5a6b7c8d9e01"
VOTERS = ("alice", "bob", "carol")
ARBITRATORS = ("bob", "carol", "dave", "eve")
Call = Callable[..., Any]


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox with an operator that is the hub of every domain."""
    with Sandbox.up("k-conflicts", node_id=HUB, fast=True, state_root=tmp_path_factory.mktemp("conflicts")) as running:
        yield running


@pytest.fixture
def quorate(town: Sandbox, answers: Callable[[Sandbox], Call]) -> Call:
    """`quorate(…)` on the sandbox; JSON is parsed."""
    return answers(town)


@pytest.fixture
def fleet(town: Sandbox, tmp_path: Path) -> Fleet:
    """A founded fleet with a timelock of four seconds."""
    made = Fleet(town, tmp_path / "fleet", timelockSeconds=4)
    made.found()
    return made


def rival(fleet: Fleet, name: str, signed_by: str = "alice", **fields: Any) -> Obj:
    """Another open proposal on clause 2.1."""
    document = fleet.proposal(signed_by="alice")
    document["metadata"]["name"] = f"{fleet.proposal_name}-{name}"
    for field in ("signature", "proposer", "keyName"):
        document["spec"].pop(field)
    document["spec"] |= fields
    signed = sign_proposal(document, fleet.signer(signed_by), fleet.constitution, fleet.namespace)
    wait_for("an API server", lambda: fleet.cluster.apply(signed))
    wait_for("the opening", lambda: phase(fleet, signed) == "Voting", 40)
    return signed


def current(fleet: Fleet, proposal: Obj) -> Obj:
    """A proposal's status."""
    return dict(fleet.get("GovernanceProposal", proposal["metadata"]["name"]).get("status") or {})


def phase(fleet: Fleet, proposal: Obj) -> str:
    """A proposal's phase."""
    return str(current(fleet, proposal).get("phase"))


def adopt(fleet: Fleet, *proposals: Obj) -> None:
    """Three approve each, which decides it early."""
    for proposal in proposals:
        for voter in VOTERS:
            question = fleet.question(proposal)
            fleet.vote(voter, "approve", name=f"{question.name}-{voter}"[-40:], question=question)


def conflict_of(fleet: Fleet, proposal: Obj) -> Obj:
    """Wait for the conflict of a proposal to be under arbitration; the PolicyConflict."""

    def probe() -> Obj | None:
        for item in fleet.cluster.list("PolicyConflict", fleet.namespace):
            digests = [party["digest"] for party in item["spec"]["parties"]]
            if fleet.question(proposal).digest in digests and (item.get("status") or {}).get("arbitrators"):
                return item
        return None

    return wait_for("a conflict under arbitration", probe, 30)


def settled(fleet: Fleet, conflict: Obj, **fields: str) -> Obj:
    """Wait until the conflict's status has these fields; the status."""
    name = conflict["metadata"]["name"]

    def probe() -> Obj | None:
        status = fleet.cluster.get("PolicyConflict", name, fleet.namespace).get("status") or {}
        return status if fields.items() <= status.items() else None

    return wait_for(f"{fields} of {name}", probe, 30)


def seated(fleet: Fleet, status: Obj) -> list[str]:
    """Key names of the arbitrators, in their order."""
    members = {member["nodeId"]: member["keys"][0]["name"] for member in fleet.constitution.spec["members"]}
    return [members[seat["nodeId"]] for seat in status["arbitrators"]]


def arbitrate(quorate: Call, fleet: Fleet, conflict: Obj, *choices: tuple[str, str]) -> None:
    """(key, choice) of each arbitrator, cast by command line."""
    for who, choice in choices:
        key = fleet.folder / "keys" / f"{who}.key"
        quorate("conflict", "arbitrate", conflict["metadata"]["name"], choice, "-n", fleet.namespace, "--key", key)


def test_the_winner_executes_and_the_loser_is_reconciled(quorate: Call, fleet: Fleet) -> None:
    """Adopted in overlapping timelocks: both wait past them; two of three arbitrators decide; the log has it all."""
    one, other = rival(fleet, "one"), rival(fleet, "other", "bob")
    adopt(fleet, one, other)
    conflict = conflict_of(fleet, one)
    wait_for("both in phase Conflict", lambda: phase(fleet, one) == phase(fleet, other) == "Conflict")
    sitting = seated(fleet, conflict["status"])
    assert sorted(sitting) == ["carol", "dave", "eve"]
    shown = quorate("conflict", "show", conflict["metadata"]["name"], "-n", fleet.namespace)
    assert "OverlappingTimelocks" in shown and fleet.question(one).digest in shown
    arbitrate(quorate, fleet, conflict, (sitting[0], "party-b"), (sitting[1], "party-b"))
    settled(fleet, conflict, outcome="PartyB", reason="Early")
    parties = [party["name"] for party in conflict["spec"]["parties"]]
    loser, winner = (next(item for item in (one, other) if item["metadata"]["name"] == name) for name in parties)
    wait_for("the execution", lambda: phase(fleet, winner) == "Executed", 30)
    wait_for("the failure", lambda: phase(fleet, loser) == "Failed")
    assert current(fleet, loser)["reason"] == "ConflictLost"
    status = current(fleet, winner)
    bundle = fetch_content(fleet.cluster, status["evidenceRef"], status["evidenceDigest"], "evidence")
    report = verify(bundle, pinned=Pinned(pins={fleet.chain: fleet.constitution.digest}))
    assert (report.verdict, report.applicable) == (Verdict.UNANCHORED, True), report.faults
    events = fleet.events()
    assert (events["governance.conflict.opened"], events["governance.conflict.resolved"]) == (1, 1)
    assert (events["governance.proposal.executed"], events["governance.proposal.failed"]) == (1, 1)


def test_a_tie_escalates_and_the_hubs_decide(quorate: Call, fleet: Fleet) -> None:
    """Three arbitrators, three opinions: without a parent every hub that is no party is asked next."""
    one, other = rival(fleet, "one"), rival(fleet, "other")
    adopt(fleet, one, other)
    conflict = conflict_of(fleet, one)
    sitting = seated(fleet, conflict["status"])
    assert set(sitting) < set(ARBITRATORS)
    arbitrate(quorate, fleet, conflict, *zip(sitting, ("party-a", "party-b", "compromise"), strict=True))
    status = settled(fleet, conflict, level="Hubs", reason="Tie")
    assert seated(fleet, status) == ["bob"]
    arbitrate(quorate, fleet, conflict, ("bob", "compromise"))
    settled(fleet, conflict, outcome="Compromise")
    wait_for("both failed", lambda: phase(fleet, one) == phase(fleet, other) == "Failed")
    assert {current(fleet, item)["reason"] for item in (one, other)} == {"Compromise"}


def test_a_member_raises_one(quorate: Call, fleet: Fleet, tmp_path: Path) -> None:
    """Carol's signed evidence holds an adopted proposal; without it the same object held nobody."""
    one, other = rival(fleet, "one"), rival(fleet, "other", type="Constitutional")
    proof = tmp_path / "mail.txt"
    proof.write_text("it was agreed otherwise")
    names = [item["metadata"]["name"] for item in (one, other)]
    adopt(fleet, one)
    quorate(
        "conflict", "raise", *names, "--domain", fleet.name, "--evidence", proof, "-n", fleet.namespace,
        "--key", fleet.folder / "keys" / "carol.key",
    )  # fmt: skip
    conflict = conflict_of(fleet, one)
    status = conflict["status"]
    assert status["cause"] == "Raised"
    sitting = seated(fleet, status)
    assert sorted(sitting) == ["bob", "dave", "eve"]
    wait_for("phase Conflict", lambda: phase(fleet, one) == "Conflict")
    arbitrate(quorate, fleet, conflict, *((who, "party-a") for who in sitting[:2]))
    wait_for("the execution", lambda: phase(fleet, one) == "Executed", 30)
    assert condition(fleet.get("GovernanceProposal", names[1]), "Accepted")[0] == "True"
