"""Contracts in force: overrides, the counted cut-over, and what was written around the vote."""

import copy
from typing import Any

import pytest

from quorate.canonical import format_time
from quorate.contracts.window import DUAL_ACCEPT_SECONDS
from quorate.identity.statements import attestation_statement, trust_domain_statement
from quorate_operator.kube.resources import Key
from tests.unit.proposals.fleet import MESH, node, seed

from .town import CONTRACT_ID, NAMES, Town, sign_domain

HERE = {"clause": "1", "text": "at most 20 GiB", "reason": "a small lab"}


async def founded(**more: Any) -> Town:
    """A domain and its contract in force."""
    town = await Town().restart()
    await town.found(**more)
    return town


async def changed(town: Town, name: str = "p", **more: Any) -> None:
    """A proposal on clause 1 that everybody approved, executed."""
    base = town.status(town.contract)["clauseDigests"]["1"]
    patch = [{"op": "replace", "path": "/text", "value": f"at most {name}"}]
    proposal = town.propose(name, change={"baseDigest": base, "patch": patch}, **more)
    await town.settle()
    for who in NAMES:
        town.vote(proposal, who, "Approve")
    await town.settle(103)
    assert town.status(proposal)["outcome"] == "Executed"


def overriding(town: Town, *overrides: dict[str, str]) -> None:
    """Set spec.localOverrides."""
    town.apply(
        "DynamicContract", "rules", {"trustDomain": "fleet", "genesis": town.genesis(), "localOverrides": [*overrides]}
    )


def overlaid(town: Town) -> list[str]:
    """The reasons that the overlay shows."""
    return [item["reason"] for item in (town.status(town.contract).get("overlay") or {}).get("items", ())]


async def beats(town: Town, *names: str, digest: str) -> None:
    """Heartbeats of these nodes that hold a digest."""
    for name in names:
        town.apply("Namespace", f"quorate-node-{name}", {})
        key = Key("MeshNode", "", name)
        if key not in town.server.objects:
            spec = {"nodeId": node(name), "trustDomains": ["fleet"], "heartbeat": {"graceSeconds": 604_800}}
            town.apply("MeshNode", name, spec)
        challenge = town.status(town.domain)["challenge"]["current"]
        town.now += 1
        town.beat(name, at=int(town.now), challenge=challenge, held={CONTRACT_ID: digest})
    await town.settle()


async def rewrite(town: Town, change: Any) -> str:
    """Somebody replaces the projected content; its name."""
    name = str(town.status(town.contract)["inForce"]["contentRef"])
    key = Key("ConfigMap", "quorate-system", name)
    obj = copy.deepcopy(town.server.objects[key])
    change(obj)
    meta = obj["metadata"]
    meta |= {"uid": "theirs", "resourceVersion": str(int(meta["resourceVersion"]) + 1)}
    meta["managedFields"] = [
        {"manager": "kubectl-edit", "operation": "Update", "time": "2026-01-02T00:00:00Z", "fieldsV1": {"f:data": {}}}
    ]
    town.server.put(obj)
    if meta.get("labels"):
        town.view.fold(copy.deepcopy(obj))
    else:
        town.view.remove(key)  # what lost its label is deleted for a watch by label
    town.agenda.mark(town.contract)
    await town.settle()
    return name


def other_text(obj: Any) -> None:
    """The clause says something else."""
    obj["data"]["content"] = obj["data"]["content"].replace("at most p", "as much as you like")


async def test_a_permitted_override_holds_and_is_shown() -> None:
    """One entry, a Normal Event, the condition, and an effective digest; what is in force stays what it was."""
    town = await founded(localOverridesPermitted={node("m0"): ["1"]})
    before = town.status(town.contract)["inForce"]
    overriding(town, HERE)
    await town.settle()
    assert town.condition(town.contract, "Overridden")[:2] == ("True", "Overridden")
    assert town.status(town.contract)["overlay"]["effectiveDigest"] != before["digest"]
    assert town.status(town.contract)["inForce"] == before
    assert town.condition(town.contract, "Ready")[:2] == ("True", "InForce")
    assert town.entries.count("governance.contract.overridden") == 1
    assert ("rules", "Overridden") in town.recorder.notes
    overriding(town)
    await town.settle()
    assert town.condition(town.contract, "Overridden")[:2] == ("False", "NotOverridden")
    assert "overlay" not in town.status(town.contract)
    assert town.entries.count("governance.contract.overridden") == 2


@pytest.mark.parametrize(
    ("rules", "override", "reason"),
    [
        ({}, HERE, "OverrideNotPermitted"),
        ({"localOverridesPermitted": {node("m1"): ["1"]}}, HERE, "OverrideNotPermitted"),
        ({"sharedClauses": {"rules": ["1"]}}, HERE, "OverrideNotPermitted"),
        ({"localOverridesPermitted": {node("m0"): ["7"]}}, {**HERE, "clause": "7"}, "NoSuchClause"),
    ],
)
async def test_a_forbidden_override_is_refused(rules: dict[str, Any], override: dict[str, str], reason: str) -> None:
    """Condition, Warning and entry name the reason; nothing else changes, and nothing is repeated."""
    town = await founded(**rules)
    overriding(town, override)
    await town.settle()
    await (await town.restart()).settle(5)
    assert town.condition(town.contract, "Overridden")[:2] == ("False", reason)
    assert town.status(town.contract)["overlay"]["effectiveDigest"] == town.status(town.contract)["inForce"]["digest"]
    assert town.entries.count("governance.contract.overridden") == 1
    assert town.recorder.notes.count(("rules", reason)) == 1
    assert town.condition(town.contract, "Ready")[0] == "True"


async def test_a_newer_vote_stands_above_the_override() -> None:
    """After a vote changed the clause the override is stale, by an entry in the same chain; set anew it holds."""
    town = await founded(localOverridesPermitted={node("m0"): ["1"]})
    overriding(town, HERE)
    await town.settle()
    await changed(town)
    assert overlaid(town) == ["OverrideStale"]
    assert town.condition(town.contract, "Overridden")[:2] == ("False", "OverrideStale")
    overriding(town, {**HERE, "reason": "still a small lab"})
    await town.settle()
    assert overlaid(town) == ["Overridden"]
    assert town.entries.count("governance.contract.overridden") == 3
    assert not town.errors


async def test_the_privileges_of_the_own_node_narrow_overrides() -> None:
    """A MeshNode that leaves out OverridePolicy takes the override back."""
    town = await founded(localOverridesPermitted={node("m0"): ["1"]})
    overriding(town, HERE)
    spec = {"nodeId": node("m0"), "trustDomains": ["fleet"], "privileges": ["VoteOnProposal"]}
    town.apply("MeshNode", "m0", spec)
    await town.settle()
    assert overlaid(town) == ["OverrideNotPermitted"]


async def test_a_revision_that_permits_lets_it_hold() -> None:
    """What the constitution says next is applied to overrides that are there."""
    town = await founded()
    overriding(town, HERE)
    await town.settle()
    first = town.server.objects[town.domain]["spec"]
    digest = town.status(town.domain)["accepted"]["digest"]
    spec = {**first, "revision": 2, "previousDigest": digest, "localOverridesPermitted": {node("m0"): ["1"]}}
    town.apply("TrustDomain", "fleet", sign_domain(spec))
    await town.settle()
    assert overlaid(town) == ["Overridden"]


async def test_the_cut_over_comes_when_everybody_holds() -> None:
    """Both versions are accepted until the last counted node holds the new one; then one entry ends the old one."""
    town = await founded()
    first = town.status(town.contract)["inForce"]["digest"]
    await changed(town)
    status = town.status(town.contract)
    second, version = status["inForce"]["digest"], status["inForce"]["version"]
    assert [item["digest"] for item in status["accepts"]] == [second, first]
    assert status["accepts"][1]["until"] == format_time(int(_since(town)) + DUAL_ACCEPT_SECONDS)
    await beats(town, *NAMES[:3], digest=second)
    assert town.status(town.contract)["holders"] == 3
    assert "governance.contract.cutover" not in town.entries
    await beats(town, NAMES[3], digest=second)
    assert town.status(town.contract)["accepts"] == [{"version": version, "digest": second}]
    await (await town.restart()).settle(3)
    assert town.entries.count("governance.contract.cutover") == 1
    await beats(town, NAMES[0], digest=first)
    assert len(town.status(town.contract)["accepts"]) == 1
    assert town.status(town.contract)["holders"] == 3


def _since(town: Town) -> int:
    rows = [row.recorded for row in town.shared.rows[f"{MESH}/fleet"]]
    return max(entry.timestamp for entry in rows if entry.event_type == "governance.contract.changed") // 1_000_000


async def test_the_window_ends_without_the_last_node() -> None:
    """A node that says nothing holds the window open for 14 days and not a second longer."""
    town = await founded()
    await changed(town)
    town.now = _since(town) + DUAL_ACCEPT_SECONDS - 1
    await town.settle()
    assert "governance.contract.cutover" not in town.entries
    await town.settle(1)
    assert town.entries.count("governance.contract.cutover") == 1
    assert len(town.status(town.contract)["accepts"]) == 1


async def test_the_next_change_opens_a_window_of_its_own() -> None:
    """After a cut-over the next change accepts its own predecessor again."""
    town = await founded()
    await changed(town)
    await beats(town, *NAMES, digest=town.status(town.contract)["inForce"]["digest"])
    await changed(town, "q")
    assert len(town.status(town.contract)["accepts"]) == 2
    assert len(town.status(town.contract)["history"]) == 3


async def test_an_attestation_says_it_too() -> None:
    """ContractHeld by a member's Machine key counts as much as a heartbeat; signed by nobody it counts nothing."""
    town = await founded()
    digest = town.status(town.contract)["inForce"]["digest"]
    for sequence, (who, signer) in enumerate((("m1", "m1.machine"), ("m2", "m3.machine")), 1):
        spec: dict[str, Any] = {
            "domain": "fleet",
            "attester": node(who),
            "keyName": "machine",
            "sequence": sequence,
            "at": format_time(int(town.now)),
            "subject": {"kind": "DynamicContract", "name": "rules", "digest": digest},
            "type": "ContractHeld",
            "statement": {},
        }
        spec["signature"] = attestation_statement(MESH, spec).sign(seed(signer))
        town.apply("Attestation", f"held-{who}", spec, "default")
    await town.settle()
    assert town.condition(Key("Attestation", "default", "held-m1"), "Ready")[0] == "True"
    assert town.status(town.contract)["holders"] == 1


@pytest.mark.parametrize("action", ["Deny", "Quarantine", "Warn"])
@pytest.mark.parametrize("crossing", ["signed under another domain", "about another domain's contract"])
async def test_what_crosses_a_boundary_holds_nothing(action: str, crossing: str) -> None:
    """Its domain and its contract are asked, whatever the boundary says: outside of it only a warning is left."""
    town = await Town().restart()
    boundary = [{"fromDomain": "partner", "minScoreBasisPoints": 5000, "onViolation": action}]
    await town.found(boundary=boundary)
    spec = town.domain_spec(boundary=[{**boundary[0], "fromDomain": "fleet"}])
    plain = {name: value for name, value in spec.items() if name not in ("signatures", "contracts")}
    statement = trust_domain_statement("partner", plain)
    signatures = [{"name": name, "signature": statement.sign(seed(name))} for name in ("ada", "bob")]
    town.apply("TrustDomain", "partner", {**plain, "signatures": signatures})
    town.apply("DynamicContract", "theirs", {"trustDomain": "partner", "genesis": town.genesis()})
    await town.settle()
    digest = town.status(town.contract)["inForce"]["digest"]
    under, name = ("partner", "rules") if crossing.startswith("signed") else ("fleet", "theirs")
    held = {
        "domain": under,
        "attester": node("m1"),
        "keyName": "machine",
        "sequence": 1,
        "at": format_time(int(town.now)),
        "subject": {"kind": "DynamicContract", "name": name, "digest": digest},
        "type": "ContractHeld",
        "statement": {},
    }
    held["signature"] = attestation_statement(MESH, held).sign(seed("m1.machine"))
    key = town.apply("Attestation", "held", held, "default")
    await town.settle()
    assert town.condition(key, "WithinBoundary")[0] == "False"
    assert town.status(town.contract)["holders"] == 0


async def test_who_wrote_it_is_named_and_it_is_restored() -> None:
    """Entry, Event and condition name clause and field manager; the content is back, byte for byte."""
    town = await founded()
    await changed(town)
    name = await rewrite(town, other_text)
    assert "at most p" in town.content(name).decode()
    status, reason, message = town.condition(town.contract, "Drifted")
    assert (status, reason) == ("False", "Restored")
    assert "clause 1 Changed: text" in message
    assert "kubectl-edit (Update, 2026-01-02T00:00:00Z)" in message
    assert town.status(town.contract)["driftedBy"]["manager"] == "kubectl-edit"
    assert town.entries.count("governance.contract.restored") == 1
    assert ("rules", "Drifted") in town.recorder.notes
    await rewrite(town, other_text)
    assert town.entries.count("governance.contract.restored") == 2


async def test_who_wrote_it_is_named_and_only_reported() -> None:
    """With drift Report nothing is touched, once is enough, and Ready is False until a person puts it back."""
    town = await founded(drift="Report")
    await changed(town)
    voted = {}
    name = str(town.status(town.contract)["inForce"]["contentRef"])
    voted["content"] = town.content(name).decode()
    await rewrite(town, other_text)
    await (await town.restart()).settle(5)
    assert town.condition(town.contract, "Ready")[:2] == ("False", "Drifted")
    assert town.status(town.contract)["drifted"] == ["1"]
    assert town.entries.count("governance.contract.drifted") == 1
    assert "as much as you like" in town.content(name).decode()
    overriding(town, HERE)
    await town.settle()
    assert town.entries.count("governance.contract.drifted") == 1
    await rewrite(town, lambda obj: obj["data"].update(voted))
    assert town.condition(town.contract, "Ready")[:2] == ("True", "InForce")
    assert town.condition(town.contract, "Drifted")[:2] == ("False", "NotDrifted")
    assert "drifted" not in town.status(town.contract)


@pytest.mark.parametrize("loosen", [lambda obj: obj["metadata"].pop("labels"), lambda obj: obj.pop("immutable")])
async def test_a_content_that_lost_its_hold_is_put_back(loosen: Any) -> None:
    """Without label or immutability the content is not watched or not safe: restored like altered bytes."""
    town = await founded()
    await changed(town)
    name = await rewrite(town, loosen)
    held = town.server.objects[Key("ConfigMap", "quorate-system", name)]
    assert held["immutable"] is True
    assert held["metadata"]["labels"] == {"quorate.dev/content": "true"}
    assert town.entries.count("governance.contract.restored") == 1
