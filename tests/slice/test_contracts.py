"""Contracts on a real API server and Postgres: who wrote around the vote, overrides, the cut-over, documents."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from quorate_cli.heartbeat import lease, signed_heartbeat
from quorate_cli.sandbox.instance import Sandbox
from tests.slice.fleet import Fleet, Obj, condition, wait_for

HUB_A = "3f0a1c5e-7b2d-4c89-9e31-5a6b7c8d9e01"
VOTERS = ("alice", "bob", "carol")
"""With the last of them it is decided: a fourth one would be late, or not, by chance."""
MACHINES = ("hub-a", "hub-b", "witness-a", "witness-b", "fork")
CONFIG_MAPS = "/api/v1/namespaces/quorate-system/configmaps"
HERE = {"clause": "3", "text": "A pod that has spent its privacy budget is paused.", "reason": "a small lab"}
MakeFleet = Callable[..., Fleet]
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox with an operator that is the first hub."""
    with Sandbox.up("k-contracts", node_id=HUB_A, fast=True, state_root=tmp_path_factory.mktemp("town")) as running:
        yield running


@pytest.fixture
def make(town: Sandbox, tmp_path: Path) -> MakeFleet:
    """A founded fleet whose Standard proposals execute at once."""

    def fleet(change: Callable[[Obj], None] = lambda spec: None) -> Fleet:
        made = Fleet(town, tmp_path / "fleet", change=change, timelockSeconds=0)
        made.found()
        return made

    return fleet


@pytest.fixture
def quorate(town: Sandbox, commands: Callable[[Sandbox], Call]) -> Call:
    """(exit code, standard output, standard error) of a command against the sandbox."""
    return commands(town)


def executed(fleet: Fleet) -> Obj:
    """The fleet's proposal, approved by everybody and executed; the contract's status."""
    fleet.open()
    for who in VOTERS:
        fleet.vote(who, "approve")
    fleet.phase("Executed")

    def projected() -> Obj | None:
        status = fleet.get("DynamicContract")["status"]
        name = status["inForce"].get("contentRef")
        return status if name and fleet.cluster.find("ConfigMap", name, "quorate-system") else None

    return wait_for("the content of the change", projected)


def told(fleet: Fleet, kind: str, reason: str) -> str:
    """Wait until a condition of the contract has this reason; its message."""

    def probe() -> str | None:
        status = fleet.get("DynamicContract").get("status") or {}
        found = (item for item in status.get("conditions") or () if (item["type"], item["reason"]) == (kind, reason))
        return next((str(item["message"]) for item in found), None)

    return wait_for(f"{kind} {reason}", probe)


def noted(fleet: Fleet, reason: str) -> list[Obj]:
    """Wait for an Event of this reason about the contract."""

    def probe() -> list[Obj]:
        listed = fleet.cluster.request("GET", "/apis/events.k8s.io/v1/events")["items"]
        return [
            item for item in listed if item["reason"] == reason and item["regarding"]["name"] == fleet.contract_name
        ]

    return wait_for(f"Event {reason}", probe)


def write_around(fleet: Fleet, name: str, content: str, manager: str) -> None:
    """Somebody with full rights replaces the immutable ConfigMap."""
    fleet.cluster.request("DELETE", f"{CONFIG_MAPS}/{name}")
    meta = {"name": name, "namespace": "quorate-system", "labels": {"quorate.dev/content": "true"}}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "immutable": True, "data": {"content": content}}

    def placed() -> bool:
        held = fleet.cluster.find("ConfigMap", name, "quorate-system")
        if held is not None and held["data"]["content"] == content:
            return True
        if held is not None:  # the operator was faster
            fleet.cluster.request("DELETE", f"{CONFIG_MAPS}/{name}")
        fleet.cluster.request("POST", CONFIG_MAPS, body=body, query={"fieldManager": manager})
        return True

    wait_for("the forged content", placed)


def content_of(fleet: Fleet, name: str) -> str:
    """What the ConfigMap holds."""
    return str((fleet.cluster.find("ConfigMap", name, "quorate-system") or {}).get("data", {}).get("content"))


def test_whoever_writes_around_the_vote_is_named_and_it_is_restored(make: MakeFleet) -> None:
    """With drift Restore: entry, Event and condition name clause and field manager, and the voted bytes are back."""
    fleet = make()
    name = executed(fleet)["inForce"]["contentRef"]
    voted = content_of(fleet, name)
    write_around(fleet, name, voted.replace("72 GiB", "900 GiB"), "mallory-edit")
    wait_for("the voted content", lambda: content_of(fleet, name) == voted)

    def accused() -> str | None:
        message = told(fleet, "Drifted", "Restored")
        return message if "mallory-edit" in message else None

    message = wait_for("the author", accused)
    assert "clause 2.1 Changed: text" in message
    assert condition(fleet.get("DynamicContract"), "Ready")[0] == "True"
    assert fleet.get("DynamicContract")["status"]["driftedBy"]["manager"] == "mallory-edit"
    assert any("mallory-edit" in item["note"] for item in noted(fleet, "Drifted"))
    entry = [item for item in fleet.entries() if item["event_type"] == "governance.contract.restored"][-1]
    assert entry["payload"]["detail"]["author"]["manager"] == "mallory-edit"
    assert entry["payload"]["tether"]["clauses"] == ["2.1"]


def test_whoever_writes_around_the_vote_is_named_and_it_is_reported(make: MakeFleet, quorate: Call) -> None:
    """With drift Report nothing is touched; `contract diff --held` compares with the log; put back it is Ready."""
    fleet = make(lambda spec: spec.update(drift="Report"))
    name = executed(fleet)["inForce"]["contentRef"]
    voted = content_of(fleet, name)
    forged = voted.replace("72 GiB", "900 GiB")
    write_around(fleet, name, forged, "mallory-edit")
    wait_for("the author", lambda: "mallory-edit" in told(fleet, "Drifted", "Drifted"))
    assert condition(fleet.get("DynamicContract"), "Ready") == ("False", "Drifted")
    assert fleet.get("DynamicContract")["status"]["drifted"] == ["2.1"]
    code, out, err = quorate("contract", "diff", fleet.contract_name, "--held", "-o", "json")
    assert code == 1, err
    assert json.loads(out)["author"]["manager"] == "mallory-edit"
    assert [change["part"] for change in json.loads(out)["changes"]] == ["2.1"]
    assert content_of(fleet, name) == forged
    write_around(fleet, name, voted, "kubectl")
    told(fleet, "Drifted", "NotDrifted")
    assert condition(fleet.get("DynamicContract"), "Ready")[0] == "True"
    assert quorate("contract", "diff", fleet.contract_name, "--held")[0] == 0


def test_overrides_within_what_the_constitution_permits(make: MakeFleet, quorate: Call) -> None:
    """What is permitted holds, a shared clause too, beside what is refused with its reason; a vote makes it stale."""

    def permit(spec: Obj) -> None:
        spec["localOverridesPermitted"] = {HUB_A: ["2.1", "2.2", "3"]}
        spec["sharedClauses"] = {spec["contracts"][0]["name"]: ["2.2"]}

    fleet = make(permit)
    overrides = [HERE, {**HERE, "clause": "2.1"}, {**HERE, "clause": "2.2"}, {**HERE, "clause": "1"}]
    contract = json.loads(json.dumps(fleet.contract))
    contract["spec"]["localOverrides"] = overrides
    fleet.cluster.apply(contract)
    message = told(fleet, "Overridden", "OverrideNotPermitted")
    assert condition(fleet.get("DynamicContract"), "Overridden")[0] == "True"
    assert "OverrideNotPermitted" in message
    assert noted(fleet, "OverrideNotPermitted")[0]["type"] == "Warning"
    shown = {item["clause"]: item["reason"] for item in fleet.get("DynamicContract")["status"]["overlay"]["items"]}
    assert shown == {"1": "OverrideNotPermitted", "2.1": "Overridden", "2.2": "Overridden", "3": "Overridden"}
    code, out, err = quorate("contract", "show", fleet.contract_name, "--effective", "-o", "json")
    assert code == 0, err
    effective = json.loads(out)
    assert (effective["overridden"], effective["clauses"]["3"]["text"]) == (["2.1", "2.2", "3"], HERE["text"])
    executed(fleet)

    def stale() -> bool:
        items = fleet.get("DynamicContract")["status"]["overlay"]["items"]
        return [item["reason"] for item in items if item["clause"] == "2.1"] == ["OverrideStale"]

    wait_for("the override to be stale", stale)
    assert fleet.events()["governance.contract.overridden"] == 2
    fleet.cluster.patch(fleet.get("DynamicContract"), {"spec": {"localOverrides": None}})
    told(fleet, "Overridden", "NotOverridden")
    assert fleet.get("DynamicContract")["spec"]["genesis"] == fleet.contract["spec"]["genesis"]


def held_by(fleet: Fleet, machine: str, digest: str) -> None:
    """A heartbeat of a member's node, which is registered first."""
    member = next(m for m in fleet.constitution.spec["members"] if any(k["name"] == machine for k in m["keys"]))
    node = f"{fleet.name}-{machine}"
    if fleet.cluster.find("MeshNode", node) is None:
        fleet.cluster.request(
            "POST", "/api/v1/namespaces", body={"metadata": {"name": f"quorate-node-{node}"}, "apiVersion": "v1"}
        )
        spec = {"nodeId": member["nodeId"], "trustDomains": [fleet.name]}
        meta = {"name": node}
        fleet.cluster.apply({"apiVersion": "quorate.dev/v1alpha1", "kind": "MeshNode", "metadata": meta, "spec": spec})
    challenge = fleet.get("TrustDomain")["status"]["challenge"]["current"]
    heartbeat = signed_heartbeat(
        fleet.signer(machine),
        mesh_id=fleet.constitution.mesh_id,
        domain=fleet.name,
        node_id=member["nodeId"],
        challenge=challenge,
        held={fleet.contract["spec"]["genesis"]["contractId"]: digest},
        now=int(time.time()),
    )
    fleet.cluster.apply(lease(node, fleet.name, heartbeat, duration=180))


def test_the_cut_over_is_counted_by_heartbeats(make: MakeFleet, quorate: Call) -> None:
    """The version before is accepted until the last member's signed heartbeat holds the new one, then refused."""
    fleet = make()
    before = fleet.get("DynamicContract")["status"]["inForce"]
    status = executed(fleet)
    digest, version = status["inForce"]["digest"], status["inForce"]["version"]
    assert [item["digest"] for item in fleet.get("DynamicContract")["status"]["accepts"]] == [digest, before["digest"]]
    asked = ("contract", "gate", fleet.contract_name, "--version", before["version"], "--digest", before["digest"])
    assert quorate(*asked)[0] == 0
    held_by(fleet, MACHINES[0], before["digest"])
    for machine in MACHINES[1:]:
        held_by(fleet, machine, digest)
    wait_for("four holders", lambda: fleet.get("DynamicContract")["status"].get("holders") == 4)
    assert "governance.contract.cutover" not in fleet.events()
    held_by(fleet, MACHINES[0], digest)
    wait_for("the cut-over", lambda: len(fleet.get("DynamicContract")["status"]["accepts"]) == 1)
    (entry,) = [item for item in fleet.entries() if item["event_type"] == "governance.contract.cutover"]
    assert entry["payload"]["detail"]["cause"] == "AllHold"
    assert entry["payload"]["detail"]["nodes"] == {"counted": 5, "holding": 5}
    code, out, _ = quorate(*asked, "-o", "json")
    assert (code, json.loads(out)["reason"]) == (1, "VersionUnsupported")
    assert version in json.loads(out)["message"]


def test_the_documents_fit_their_schemas_and_the_history_names_the_voters(
    make: MakeFleet, quorate: Call, tmp_path: Path
) -> None:
    """All three documents are made from live objects and pass the check of a reader; who voted is in the history."""
    fleet = make()
    executed(fleet)
    held_by(fleet, MACHINES[0], "sha256:" + "00" * 32)
    wait_for("a node", lambda: condition(fleet.get("MeshNode", f"{fleet.name}-{MACHINES[0]}"), "Ready")[0] == "True")
    made: dict[str, Any] = {}
    for name, arguments in {
        "proposal": ("proposal", "export", fleet.proposal_name),
        "sync": ("contract", "export", fleet.contract_name),
        "topology": ("mesh", "export", "--domain", fleet.name),
    }.items():
        code, out, err = quorate(*arguments)
        assert code == 0, err
        (tmp_path / f"{name}.json").write_text(out)
        made[name] = json.loads(out)
    assert quorate("document", "check", *sorted(tmp_path.glob("*.json")))[0] == 0
    assert made["sync"]["contract_version"] == made["sync"]["contract_version"][:11]
    assert [item["status"] for item in made["topology"]["nodes"]].count("active") == 1
    code, out, err = quorate("contract", "history", fleet.contract_name, "-o", "json")
    assert code == 0, err
    change = json.loads(out)[-1]
    assert sorted(vote["keyName"] for vote in change["votes"]) == sorted(VOTERS)
    code, out, err = quorate("contract", "history", fleet.contract_name, "--log", "-o", "json")
    assert code == 0, err
    logged = json.loads(out)
    assert [item["event"] for item in logged] == ["genesis", "changed"]
    assert sorted(vote["keyName"] for vote in logged[-1]["votes"]) == sorted(VOTERS)
    assert logged[-1]["evidenceDigest"] == change["evidenceDigest"]
