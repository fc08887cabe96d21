"""Conflicts on a real API server: adopted rivals wait, arbitrators vote by command line, the outcome is executed."""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from quorate.audit.verify import Verdict
from quorate.proposals.evidence import Pinned, verify
from quorate_cli.proposal import fetch_content
from quorate_cli.propose import base_digest, sign_proposal
from quorate_cli.sandbox.instance import Sandbox
from quorate_cli.sources import Sources
from tests.slice.fleet import Fleet, Obj, condition, wait_for, watching

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
    wait_for("the opening", lambda: phase(fleet, signed) == "Voting")
    return signed


def current(fleet: Fleet, proposal: Obj) -> Obj:
    """A proposal's status."""
    return dict(fleet.get("GovernanceProposal", proposal["metadata"]["name"]).get("status") or {})


def phase(fleet: Fleet, proposal: Obj) -> str:
    """A proposal's phase."""
    return str(current(fleet, proposal).get("phase"))


def adopt(fleet: Fleet, *proposals: Obj) -> None:
    """Three approve each, which decides it early; the deciding votes come together: timelocks share a second."""
    for voter in VOTERS:
        for proposal in proposals:
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

    return wait_for("a conflict under arbitration", probe)


def settled(fleet: Fleet, conflict: Obj, **fields: str) -> Obj:
    """Wait until the conflict's status has these fields; the status."""
    name = conflict["metadata"]["name"]

    def probe() -> Obj | None:
        status = fleet.cluster.get("PolicyConflict", name, fleet.namespace).get("status") or {}
        return status if fields.items() <= status.items() else None

    return wait_for(f"{fields} of {name}", probe)


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
    wait_for("the execution", lambda: phase(fleet, winner) == "Executed")
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
    wait_for("the execution", lambda: phase(fleet, one) == "Executed")
    assert condition(fleet.get("GovernanceProposal", names[1]), "Accepted")[0] == "True"


@pytest.mark.parametrize(("side", "ends"), [("party-a", "ConflictLost"), ("party-b", "Overridden")])
def test_a_vote_against_an_override(town: Sandbox, quorate: Call, tmp_path: Path, side: str, ends: str) -> None:
    """C25, C26: an adopted change of a shared clause waits for arbitrators; the override ends, or outlives the vote."""

    def permit(spec: Obj) -> None:
        spec["localOverridesPermitted"] = {HUB: ["2.1"]}
        spec["sharedClauses"] = {spec["contracts"][0]["name"]: ["2.1"]}

    fleet = Fleet(town, tmp_path / "fleet", change=permit, timelockSeconds=1)
    fleet.found()
    contract = copy.deepcopy(fleet.contract)
    here = {"clause": "2.1", "text": "At most 24 GiB: the cards here are small.", "reason": "small cards"}
    contract["spec"]["localOverrides"] = [here]
    fleet.cluster.apply(contract)

    def shown() -> str | None:
        items = (fleet.get("DynamicContract")["status"].get("overlay") or {}).get("items") or [{}]
        return str(items[0].get("reason"))

    wait_for("the override", lambda: shown() == "Overridden")
    one = rival(fleet, "one", "bob")
    adopt(fleet, one)
    conflict = conflict_of(fleet, one)
    assert conflict["status"]["cause"] == "OverrideContradicts"
    assert [(party["kind"], party["clause"]) for party in conflict["spec"]["parties"]] == [
        ("GovernanceProposal", "2.1"),
        ("DynamicContract", "2.1"),
    ]
    sitting = seated(fleet, conflict["status"])
    assert sorted(sitting) == ["carol", "dave", "eve"]
    wait_for("phase Conflict", lambda: phase(fleet, one) == "Conflict")
    with watching(town, "conflict", "show", conflict["metadata"]["name"], "-n", fleet.namespace) as lines:
        arbitrate(quorate, fleet, conflict, *((who, side) for who in sitting[:2]))
    pages = "".join(lines).split("---\n")
    assert " open\n" in pages[0] and " Early\n" in pages[-1] and len(set(pages)) == len(pages)
    outcome = "Executed" if side == "party-a" else "Failed"
    wait_for(outcome, lambda: phase(fleet, one) == outcome)
    wait_for(ends, lambda: shown() == ends)
    effective = quorate("contract", "show", fleet.contract_name, "--effective", "-o", "json")["clauses"]["2.1"]["text"]
    voted = one["spec"]["change"]["patch"][0]["value"]
    assert effective == (voted if side == "party-a" else here["text"])
    changed = [entry for entry in fleet.entries() if entry["event_type"] == "governance.contract.changed"]
    if side == "party-a":
        assert [list(entry["payload"]["detail"]["overruled"]) for entry in changed] == [["2.1"]]
    else:
        assert (changed, current(fleet, one)["reason"]) == ([], "ConflictLost")


def test_two_changes_of_the_surfaces_that_break_their_order(town: Sandbox, quorate: Call, tmp_path: Path) -> None:
    """C23: each monotonic alone; the first is held by a raised conflict when the second is adopted: one executes."""

    def at_once(spec: Obj) -> None:
        spec["voting"]["Constitutional"]["timelockSeconds"] = 0

    fleet = Fleet(town, tmp_path / "fleet", change=at_once)
    fleet.found()

    def on_surfaces(name: str, signed_by: str, path: str, value: list[str]) -> Obj:
        target = {"kind": "DynamicContract", "name": fleet.contract_name, "section": "surfaces"}
        base = base_digest(Sources([str(fleet.folder / "contract.yaml")]), target)
        change = {"patch": [{"op": "replace", "path": path, "value": value}], "baseDigest": base}
        return rival(fleet, name, signed_by, target=target, change=change, type="Constitutional")

    take = on_surfaces("take", "alice", "/warming/capabilities", ["read"])
    give = on_surfaces("give", "bob", "/cold/capabilities", ["read", "report"])
    names = [item["metadata"]["name"] for item in (take, rival(fleet, "clause"))]
    quorate(
        "conflict", "raise", *names, "--domain", fleet.name, "--evidence", fleet.folder / "contract.yaml",
        "-n", fleet.namespace, "--key", fleet.folder / "keys" / "dave.key",
    )  # fmt: skip
    assert conflict_of(fleet, take)["status"]["cause"] == "Raised"
    adopt(fleet, take)
    wait_for("that it is held", lambda: phase(fleet, take) == "Conflict")
    adopt(fleet, give)
    conflict = conflict_of(fleet, give)
    assert conflict["status"]["cause"] == "SurfacesNotMonotonic"
    wait_for("both in phase Conflict", lambda: phase(fleet, take) == phase(fleet, give) == "Conflict")
    winner = next(
        side
        for party, side in zip(conflict["spec"]["parties"], ("party-a", "party-b"), strict=True)
        if party["name"] == give["metadata"]["name"]
    )
    sitting = seated(fleet, conflict["status"])
    assert sorted(sitting) == ["carol", "dave", "eve"]
    arbitrate(quorate, fleet, conflict, *((who, winner) for who in sitting[:2]))
    wait_for("the execution", lambda: phase(fleet, give) == "Executed")
    wait_for("the failure", lambda: phase(fleet, take) == "Failed")
    assert current(fleet, take)["reason"] == "ConflictLost"
    held = quorate("contract", "show", fleet.contract_name, "-o", "json")["surfaces"]
    assert (held["cold"]["capabilities"], held["warming"]["capabilities"]) == (["read", "report"], ["read", "report"])
