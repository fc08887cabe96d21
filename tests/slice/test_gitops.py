"""What git holds is applied in any order, twice, or deleted and applied again: one outcome, and nothing fights git."""

import copy
import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from quorate_cli.cluster import NotFoundError
from quorate_cli.delegate import make_attestation
from quorate_cli.sandbox.instance import Sandbox
from tests.slice.fleet import Fleet, Obj, condition, wait_for

HUB_A = "3f0a1c5e-7b2d-4c89-9e31-5a6b7c8d9e01"
CHOICES = {"alice": "approve", "bob": "reject", "carol": "abstain", "eve": "approve"}
SECONDS = 10


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox with an operator that is the first hub."""
    with Sandbox.up("k-gitops", node_id=HUB_A, fast=True, state_root=tmp_path_factory.mktemp("gitops")) as running:
        yield running


Make = Callable[[str], Fleet]


@pytest.fixture
def make(town: Sandbox, tmp_path: Path) -> Make:
    """A fleet that is not applied yet; it votes for a few seconds and decides at the deadline alone."""

    def brisk(spec: Obj) -> None:
        del spec["voting"]["Expedited"]

    def fleet(name: str) -> Fleet:
        rules = {"votingPeriodSeconds": SECONDS, "earlyDecision": False, "timelockSeconds": 0}
        return Fleet(town, tmp_path / name, change=brisk, **rules)

    return fleet


def repository(fleet: Fleet) -> list[Obj]:
    """What the fleet's repository holds: domain, contract, one proposal, all signed votes on it, and a delegation."""
    proposal = fleet.proposal()
    question = fleet.question(proposal)
    votes = [fleet.ballot(who, choice, question=question, sequence=1) for who, choice in CHOICES.items()]
    votes.append(fleet.ballot("bob", "approve", question=question, sequence=2, name="bob-again"))
    carol = next(m for m in fleet.constitution.spec["members"] if any(k["name"] == "carol" for k in m["keys"]))
    delegation = make_attestation(
        "Delegation",
        {"to": carol["nodeId"], "types": ["Standard"]},
        fleet.signer("dave"),
        fleet.constitution,
        sequence=1,
        now=int(time.time()),
        namespace=fleet.namespace,
    )
    return [fleet.domain, fleet.contract, proposal, delegation, *votes]


def sync(fleet: Fleet, documents: list[Obj], manager: str = "argocd-controller") -> None:
    """Apply as a GitOps tool does: server-side, under its own manager, without force."""
    for document in documents:
        meta = document["metadata"]
        body = copy.deepcopy(document)

        def apply(body: Obj = body, meta: Obj = meta) -> Obj:
            path = _path(body["kind"], meta.get("namespace", ""), meta["name"])
            return fleet.cluster.request(
                "PATCH", path, body=body, query={"fieldManager": manager}, content_type="application/apply-patch+yaml"
            )

        wait_for(f"{document['kind']} applied", apply)


def _path(kind: str, namespace: str, name: str) -> str:
    plural = {
        "TrustDomain": "trustdomains",
        "DynamicContract": "dynamiccontracts",
        "GovernanceProposal": "governanceproposals",
        "Vote": "votes",
        "Attestation": "attestations",
    }[kind]
    place = f"/namespaces/{namespace}" if namespace else ""
    return f"/apis/quorate.dev/v1alpha1{place}/{plural}/{name}"


def prepare(fleet: Fleet) -> None:
    """The log's key, which no repository holds."""
    keys = fleet.folder / "keys" / "log.key"
    (fleet.sandbox.log_keys / f"{fleet.name}.key").write_bytes(keys.read_bytes())


def outcome(fleet: Fleet) -> Obj:
    """What the operator decided: outcome, numbers, and every vote with its reason."""
    status = fleet.phase("Executed")
    reasons = {}
    for vote in fleet.cluster.list("Vote", fieldSelector=f"spec.proposal.digest={status['digest']}"):
        wait_for(
            "the vote's reason", lambda vote=vote: condition(fleet.get("Vote", vote["metadata"]["name"]), "Counted")[1]
        )
        current = fleet.get("Vote", vote["metadata"]["name"])
        label = f"{current['spec']['keyName']}/{current['spec']['sequence']}"
        reasons[label] = condition(current, "Counted")[1]
    tally = {key: value for key, value in status["tally"].items() if key not in ("quorumMadeBy", "refusedVotes")}
    return {"outcome": status["outcome"], "reason": status["reason"], "tally": tally, "votes": reasons}


EXPECTED = {"alice/1": "Counted", "bob/1": "Overtaken", "bob/2": "Counted", "carol/1": "Counted",
            "eve/1": "NotInElectorate"}  # fmt: skip


def check(fleet: Fleet, found: Obj) -> None:
    """The one outcome of the repository."""
    assert found["votes"] == EXPECTED
    sums = {name: found["tally"][name] for name in ("approve", "reject", "abstain", "veto", "outstanding")}
    assert sums == {"approve": 6000, "reject": 0, "abstain": 4000, "veto": 0, "outstanding": 0}
    events = fleet.events()
    once = ("governance.proposal.opened", "governance.proposal.decided", "governance.proposal.executed")
    assert [events[name] for name in once] == [1, 1, 1]
    assert (events["governance.vote.accepted"], events["trust.attestation.accepted"]) == (4, 1)
    assert events["governance.contract.changed"] == 1
    fleet.evidence()


def held(obj: Obj) -> Obj:
    """What git may hold of an object."""
    meta = obj["metadata"]
    return {"spec": obj["spec"], **{name: meta.get(name) for name in ("labels", "annotations", "finalizers")}}


def live(fleet: Fleet, document: Obj) -> Obj:
    """The object on the cluster."""
    meta = document["metadata"]
    return fleet.cluster.get(document["kind"], meta["name"], meta.get("namespace", ""))


@pytest.mark.parametrize("order", ["as written", "backwards", "shuffled"])
def test_any_order_gives_one_outcome(make: Make, order: str) -> None:
    """Votes before their proposal, the proposal before its contract, the contract before its domain: all the same."""
    fleet = make(order.replace(" ", "-"))
    prepare(fleet)
    documents = repository(fleet)
    if order == "backwards":
        documents.reverse()
    elif order == "shuffled":
        random.Random(5).shuffle(documents)
    sync(fleet, documents)
    sync(fleet, documents)  # every tool applies again and again
    check(fleet, outcome(fleet))


def test_what_waits_says_for_what_and_then_proceeds(make: Make) -> None:
    """A vote without its proposal, a proposal without its domain, a contract without its domain: each names it."""
    fleet = make("waits")
    prepare(fleet)
    domain, contract, proposal, delegation, *votes = repository(fleet)
    sync(fleet, [delegation, *votes])
    says(fleet, "Attestation", delegation["metadata"]["name"], "NoAcceptedRevision", fleet.name)
    name = votes[0]["metadata"]["name"]
    says(fleet, "Vote", name, "UnknownProposal", fleet.proposal_name)
    sync(fleet, [proposal])
    says(fleet, "GovernanceProposal", fleet.proposal_name, "NoAcceptedRevision", fleet.name)
    sync(fleet, [contract])
    says(fleet, "DynamicContract", fleet.contract_name, "NoAcceptedRevision", fleet.name)
    sync(fleet, [domain])
    check(fleet, outcome(fleet))


def says(fleet: Fleet, kind: str, name: str, reason: str, about: str) -> None:
    """Ready=False with this reason, and a message that names what is missing."""

    def probe() -> bool:
        namespace = "" if kind == "DynamicContract" else fleet.namespace
        found = fleet.cluster.get(kind, name, namespace).get("status", {}).get("conditions") or ()
        return any(
            (item["type"], item["status"], item["reason"]) == ("Ready", "False", reason) and about in item["message"]
            for item in found
        )

    wait_for(f"{kind} {name} to say {reason} of {about}", probe)


def test_delete_and_apply_again_changes_nothing(make: Make) -> None:
    """A rebase that prunes and recreates everything while the vote goes on, and again after it, gives one outcome."""
    fleet = make("rebase")
    prepare(fleet)
    documents = repository(fleet)
    sync(fleet, documents)
    tallied = {"approve": 6000, "abstain": 4000}.items()
    wait_for(
        "the votes", lambda: tallied <= fleet.status().get("tally", {}).items()
    )  # all, however long the rest takes
    rebase(fleet, documents)
    found = outcome(fleet)
    check(fleet, found)
    in_force = fleet.get("DynamicContract")["status"]["inForce"]
    rebase(fleet, documents)
    assert outcome(fleet) == found
    check(fleet, found)
    wait_for("the contract in force", lambda: (fleet.get("DynamicContract").get("status") or {}).get("inForce"))
    assert fleet.get("DynamicContract")["status"]["inForce"] == in_force


def rebase(fleet: Fleet, documents: list[Obj]) -> None:
    """Delete every object, then apply all again in another order."""
    for document in documents:
        meta = document["metadata"]
        fleet.cluster.request("DELETE", _path(document["kind"], meta.get("namespace", ""), meta["name"]))
    for document in documents:
        wait_for("the deletion", lambda document=document: gone(fleet, document))
    again = list(documents)
    random.Random(7).shuffle(again)
    sync(fleet, again)


def gone(fleet: Fleet, document: Obj) -> bool:
    """Whether the object is not there."""
    try:
        live(fleet, document)
    except NotFoundError:
        return True
    return False


def test_the_operator_writes_nothing_that_git_holds(make: Make) -> None:
    """Spec, labels, annotations and finalizers stay as applied, and no field but status has another manager."""
    fleet = make("untouched")
    prepare(fleet)
    documents = repository(fleet)
    sync(fleet, documents)
    before = [held(live(fleet, document)) for document in documents]
    outcome(fleet)
    for document, was in zip(documents, before, strict=True):
        now = live(fleet, document)
        assert held(now) == was, document["kind"]
        assert was["spec"] == {**was["spec"], **document["spec"]}
        for entry in now["metadata"]["managedFields"]:
            if entry.get("subresource") != "status":
                assert entry["manager"] == "argocd-controller", json.dumps(entry)
    # A tool that compares what it would apply with what is there finds no difference.
    for document in documents:
        version = live(fleet, document)["metadata"]["resourceVersion"]
        sync(fleet, [document])
        after: Any = live(fleet, document)["metadata"]["resourceVersion"]
        assert after == version, document["kind"]
