"""What else the lifecycle can meet, on a real API server and Postgres: amendments, acts, rivals, emergencies."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from quorate.canonical import format_time
from quorate.identity.statements import attestation_statement, recovery_statement, trust_domain_statement
from quorate_cli.acts import make_act
from quorate_cli.domain import add_signature
from quorate_cli.propose import sign_proposal
from quorate_cli.sandbox.instance import Sandbox
from quorate_cli.signers import sign_statement
from quorate_cli.sources import constitution_of
from tests.slice.fleet import ADMINS, Fleet, Obj, condition, wait_for

HUB_A = "3f0a1c5e-7b2d-4c89-9e31-5a6b7c8d9e01"
GROUP = "quorate.dev/v1alpha1"
ALL = ("alice", "bob", "carol", "dave")
MakeFleet = Callable[..., Fleet]


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox with an operator that is the first hub."""
    with Sandbox.up("k-town", node_id=HUB_A, fast=True, state_root=tmp_path_factory.mktemp("town")) as running:
        yield running


def brisk(spec: Obj) -> None:
    """Every type, decided as soon as it is sure, executed at once."""
    spec["voting"]["Constitutional"] |= {"timelockSeconds": 0, "quorumBasis": "Cast"}
    spec["voting"]["Emergency"] = {"votingPeriodSeconds": 60, "ratificationSeconds": 2}
    spec["recovery"]["delaySeconds"] = 8  # long enough that a slow machine shows what waits for it
    del spec["voting"]["Expedited"]


@pytest.fixture
def make(town: Sandbox, tmp_path: Path) -> MakeFleet:
    """A founded fleet with brisk rules; keywords replace Standard rules."""

    def fleet(change: Callable[[Obj], None] = lambda spec: None, **voting: Any) -> Fleet:
        def both(spec: Obj) -> None:
            brisk(spec)
            change(spec)

        made = Fleet(town, tmp_path / "fleet", change=both, **{"timelockSeconds": 0, **voting})
        made.found()
        return made

    return fleet


def message(obj: Obj, kind: str) -> str:
    """The sentence of a condition."""
    found = (item for item in obj["status"]["conditions"] if item["type"] == kind)
    return str(next(found)["message"])


def says(fleet: Fleet, kind: str, name: str | None, what: str, reason: str, seconds: float = 60.0) -> Obj:
    """Wait until a condition has this reason; the object."""

    def probe() -> Obj | None:
        obj = fleet.get(kind, name)
        return obj if condition(obj, what)[1] == reason else None

    return wait_for(f"{what} {reason} of {kind} {name or ''}", probe, seconds)


def named(fleet: Fleet, name: str, **fields: Any) -> Obj:
    """Another signed proposal of the fleet's proposer."""
    document = fleet.proposal()
    document["metadata"]["name"] = f"{fleet.proposal_name}-{name}"
    document["spec"].pop("signature")
    document["spec"] |= fields
    return sign_proposal(document, fleet.signer("alice"), fleet.constitution, fleet.namespace)


def following(fleet: Fleet, *signers: str, before: Obj | None = None, **changes: Any) -> Obj:
    """The revision of the constitution that follows, signed by these keys."""
    document: Obj = json.loads(json.dumps(before or fleet.domain))
    spec = document["spec"]
    digest = trust_domain_statement(fleet.name, spec).digest
    spec |= {"revision": spec["revision"] + 1, "previousDigest": digest, "signatures": [], **changes}
    for name in signers:
        add_signature(document, fleet.signer(name), name=name)
    return document


def attest(fleet: Fleet, kind: str, key: str, statement: Obj, **fields: Any) -> str:
    """Apply an Attestation of the member that has this key; its name."""
    member = next(m for m in fleet.constitution.spec["members"] if any(k["name"] == key for k in m["keys"]))
    fleet.cast += 1
    spec = {
        "domain": fleet.name,
        "attester": member["nodeId"],
        "keyName": key,
        "sequence": fleet.cast,
        "at": format_time(int(time.time())),
        "type": kind,
        "statement": statement,
        **fields,
    }
    spec["signature"] = sign_statement(fleet.signer(key), attestation_statement(fleet.constitution.mesh_id, spec))
    name = f"{fleet.name}-{kind.lower()}-{fleet.cast}"
    meta = {"name": name, "namespace": fleet.namespace}
    fleet.cluster.apply({"apiVersion": GROUP, "kind": "Attestation", "metadata": meta, "spec": spec})
    return name


def attested(fleet: Fleet, name: str, reason: str) -> Obj:
    """Wait for the answer to an Attestation."""

    def probe() -> Obj | None:
        obj = fleet.cluster.get("Attestation", name, fleet.namespace)
        return obj if condition(obj, "Ready")[1] == reason else None

    return wait_for(f"{reason} of {name}", probe)


def edit(fleet: Fleet, name: str | None = None, **fields: Any) -> None:
    """Change fields of a proposal's spec, whatever the operator writes meanwhile."""
    wait_for("the edit", lambda: fleet.cluster.patch(fleet.get("GovernanceProposal", name), {"spec": fields}) or True)


def revised(fleet: Fleet, number: int) -> None:
    """Wait for an accepted revision."""

    def probe() -> bool:
        accepted = (fleet.get("TrustDomain").get("status") or {}).get("accepted") or {}
        return bool(accepted.get("revision") == number)

    wait_for(f"revision {number}", probe)


def acts(fleet: Fleet, kind: str, digest: str) -> list[Obj]:
    """An act of each admin whose signature reaches the threshold."""
    now = int(time.time())
    return [
        make_act(kind, fleet.signer(name), fleet.constitution, digest, by=name, key_name=name, now=now)
        for name in ADMINS
    ]


def clause(fleet: Fleet) -> str:
    """The digest in force of the clause that proposals are on."""
    return str(fleet.get("DynamicContract")["status"]["clauseDigests"]["2.1"])


def test_a_signed_higher_revision_supersedes_and_an_unsigned_edit_does_not(make: MakeFleet) -> None:
    """The amendment opens its own digest without old votes; a vote on the old digest is told so."""
    fleet = make()
    fleet.open()
    old = fleet.question()
    fleet.counted(fleet.vote("alice", "approve"), "Counted")
    edit(fleet, rationale="edited")
    edited = says(fleet, "GovernanceProposal", None, "SpecAccepted", "SpecChanged")
    assert "revision 1 stands" in message(edited, "SpecAccepted")
    stale = fleet.proposal(revision=2)
    stale["spec"]["change"]["baseDigest"] = "sha256:" + "0" * 64
    stale["spec"].pop("signature")
    fleet.cluster.apply(sign_proposal(stale, fleet.signer("alice"), fleet.constitution, fleet.namespace))
    says(fleet, "GovernanceProposal", None, "SpecAccepted", "StaleBase")
    second = fleet.proposal(gib=80, revision=2)
    fleet.cluster.apply(second)
    wait_for("revision 2", lambda: fleet.status()["revision"] == 2)
    assert fleet.status()["tally"]["cast"] == 0
    refused = fleet.counted(fleet.vote("bob", "approve", question=old), "OtherProposal")
    assert "superseded" in message(refused, "Counted")
    for who in ALL:
        fleet.vote(who, "approve", question=fleet.question(second))
    fleet.phase("Executed")
    assert fleet.events()["governance.proposal.superseded"] == 1
    fleet.evidence()


def test_proposer_withdraws_and_admins_stop(make: MakeFleet) -> None:
    """One Vote key of the proposer withdraws an open proposal; adminThreshold admins stop an adopted one."""
    fleet = make(timelockSeconds=60)
    stopped = named(fleet, "stopped")
    fleet.cluster.apply(stopped)
    opened = fleet.open()
    digest = opened["status"]["digest"]
    proposer = opened["spec"]["proposer"]
    wrong = make_act(
        "Withdraw", fleet.signer("bob"), fleet.constitution, digest, by=proposer, key_name="alice", now=int(time.time())
    )
    edit(fleet, withdrawal=wrong)
    wait_for("the refused act", lambda: fleet.events()["governance.act.refused"] == 1)
    assert fleet.status()["phase"] == "Voting"
    right = make_act(
        "Withdraw", fleet.signer("alice"), fleet.constitution, digest, by=proposer, key_name="alice",
        now=int(time.time()),
    )  # fmt: skip
    edit(fleet, withdrawal=right)
    assert fleet.phase("Withdrawn")["outcome"] == "Withdrawn"
    name = stopped["metadata"]["name"]
    for who in ALL:
        fleet.vote(who, "approve", question=fleet.question(stopped))
    adopted = says(fleet, "GovernanceProposal", name, "Succeeded", "Adopted")
    edit(fleet, name, stops=acts(fleet, "Stop", adopted["status"]["digest"]))
    says(fleet, "GovernanceProposal", name, "Succeeded", "Stopped")
    assert "governance.contract.changed" not in fleet.events()


def test_of_two_rivals_the_second_meets_a_stale_base(make: MakeFleet) -> None:
    """Both carry the warning, both are voted on; the first that is executed wins, the other fails with StaleBase."""
    fleet = make()
    rival = named(fleet, "rival")
    fleet.open()
    fleet.cluster.apply(rival)
    name = rival["metadata"]["name"]
    for other in (None, name):
        wait_for(f"conflict {other}", lambda o=other: fleet.get("GovernanceProposal", o)["status"].get("conflicts"))
    for who in ALL:
        fleet.vote(who, "approve")
    fleet.phase("Executed")
    for who in ALL:
        fleet.vote(who, "approve", question=fleet.question(rival))
    failed = says(fleet, "GovernanceProposal", name, "Succeeded", "Failed")
    assert failed["status"]["reason"] == "StaleBase"
    assert condition(failed, "Succeeded")[0] == "False"


def test_bad_openings_say_what_is_wrong(make: MakeFleet) -> None:
    """Each refused opening has its reason, one entry, and opens nothing."""
    fleet = make()
    base = fleet.proposal()["spec"]
    patch = base["change"]["patch"]
    target = base["target"]
    empty = "sha256:" + "0" * 64
    cases: dict[str, tuple[Obj, str]] = {
        "type": ({"type": "Expedited"}, "TypeNotAllowed"),
        "clause": ({"target": {**target, "clause": "9.9"}}, "NoSuchClause"),
        "patch": ({"change": {**base["change"], "patch": [{**patch[0], "path": "/nowhere/x"}]}}, "PatchFailed"),
        "base": ({"change": {**base["change"], "baseDigest": empty}}, "StaleBase"),
        "domains": ({"domains": [fleet.name, "elsewhere"]}, "NoAcceptedRevision"),
    }
    for name, (fields, _) in cases.items():
        fleet.cluster.apply(named(fleet, name, **fields))
    forged = named(fleet, "forged")
    forged["spec"]["rationale"] = "another one"
    fleet.cluster.apply(forged)
    eve = named(fleet, "eve")
    for field in ("signature", "proposer", "keyName"):
        eve["spec"].pop(field)
    fleet.cluster.apply(sign_proposal(eve, fleet.signer("eve"), fleet.constitution, fleet.namespace))
    expected = {name: reason for name, (_, reason) in cases.items()}
    expected |= {"forged": "BadSignature", "eve": "ProposerNotAllowed"}
    for name, reason in expected.items():
        refused = says(fleet, "GovernanceProposal", f"{fleet.proposal_name}-{name}", "Accepted", reason)
        assert condition(refused, "Ready")[0] == "False"
    assert fleet.events()["governance.proposal.refused"] == len(expected) - 1
    assert "governance.proposal.opened" not in fleet.events()


def test_a_constitutional_proposal_authorises_the_next_revision(make: MakeFleet) -> None:
    """Unsigned it is Unauthorized; once the vote was executed that digest, and only that, is accepted."""
    fleet = make()
    second = following(fleet, phaseId="5.6")
    digest = trust_domain_statement(fleet.name, second["spec"]).digest
    fleet.cluster.apply(second)
    says(fleet, "TrustDomain", None, "Authorized", "Unauthorized")
    document = fleet.proposal()
    document["spec"] |= {
        "type": "Constitutional",
        "target": {"kind": "TrustDomain", "name": fleet.name},
        "change": {"baseDigest": fleet.constitution.digest, "resultDigest": digest},
    }
    document["spec"].pop("signature")
    document = sign_proposal(document, fleet.signer("alice"), fleet.constitution, fleet.namespace)
    fleet.cluster.apply(document)
    for who in ALL:
        fleet.vote(who, "approve", question=fleet.question(document))
    fleet.phase("Executed")
    revised(fleet, 2)
    wait_for("the proposal to say so", lambda: fleet.status()["reason"] == "Executed")
    accepted = [item for item in fleet.entries() if item["event_type"] == "trust.domain.accepted"][-1]
    assert accepted["payload"]["detail"]["authority"] == "Proposal"
    assert accepted["payload"]["detail"]["proposalDigest"] == fleet.status()["digest"]
    # A vote under revision 2 carries that authority in its own evidence.
    later = named(fleet, "later")
    fleet.cluster.apply(later)
    says(fleet, "GovernanceProposal", later["metadata"]["name"], "Accepted", "Accepted")


@pytest.mark.parametrize("ratify", [True, False])
def test_an_emergency_is_ratified_or_reversed(make: MakeFleet, ratify: bool) -> None:
    """Two admins execute at once; the electorate's vote afterwards keeps the change, or it is undone by the log."""
    fleet = make()
    before = clause(fleet)
    opened = fleet.open(type="Emergency")
    if ratify:
        for who in ALL:
            fleet.vote(who, "approve", question=fleet.question(opened))
    endorsements = acts(fleet, "Endorse", opened["status"]["digest"])
    edit(fleet, endorsements=endorsements)
    status = fleet.phase("Ratified" if ratify else "Reversed")
    executed, *undone = [item for item in fleet.entries() if item["event_type"] == "governance.contract.changed"]
    assert executed["payload"]["detail"]["digest"] != fleet.get("DynamicContract")["status"]["history"][-1]["digest"]
    if ratify:
        wait_for("the change", lambda: clause(fleet) != before)
    else:
        wait_for("the old clause", lambda: clause(fleet) == before)
        in_force = fleet.get("DynamicContract")["status"]["inForce"]
        assert in_force["evidenceDigest"] == status["evidenceDigest"]
    assert len(undone) == (0 if ratify else 1)
    fleet.evidence()


def test_a_delegated_weight_counts_with_its_delegate(make: MakeFleet) -> None:
    """A delegation is recorded, gives its weight to the delegate's choice, and is part of the evidence."""
    fleet = make()
    members = {key["name"]: m["nodeId"] for m in fleet.constitution.spec["members"] for key in m["keys"]}
    fleet.open()
    attested(fleet, attest(fleet, "Delegation", "dave", {"to": members["carol"], "types": ["Standard"]}), "Accepted")
    fleet.vote("carol", "approve")
    wait_for("both weights", lambda: fleet.status()["tally"]["approve"] == 4000)
    forged = attest(fleet, "Delegation", "dave", {"to": members["carol"], "types": ["Standard"]}, keyName="bob")
    attested(fleet, forged, "UnknownKey")
    attested(fleet, attest(fleet, "Trust", "dave", {"weightBasisPoints": 1}), "Invalid")
    fleet.vote("alice", "approve")  # decides it early: who comes after that may be too late
    status = fleet.phase("Executed")
    assert status["tally"]["approve"] == 7000
    bundle = json.loads(fleet.evidence())
    assert len(bundle["delegations"]) == 2


def test_a_recovery_is_announced_cancelled_and_accepted_after_its_delay(make: MakeFleet) -> None:
    """The recovery key announces; the admins cancel one; a second one is accepted when the delay has run."""
    fleet = make()
    new = [{"name": "vault", "publicKey": item["publicKey"]} for item in fleet.domain["spec"]["recovery"]["keys"]]

    def announce(revision: Obj) -> str:
        spec = revision["spec"]
        recovery = {
            "revision": 2,
            "previousDigest": spec["previousDigest"],
            "resultDigest": trust_domain_statement(fleet.name, spec).digest,
            "at": format_time(int(time.time())),
        }
        statement = recovery_statement(fleet.constitution.mesh_id, fleet.name, recovery)
        signature = {"name": "vault", "signature": sign_statement(fleet.signer("vault"), statement)}
        name = attest(fleet, "Recovery", "carol", {**recovery, "signatures": [signature]})
        attested(fleet, name, "Accepted")
        return str(statement.digest)

    first = following(fleet, "vault", admins=new, adminThreshold=1)
    digest = announce(first)
    attested(
        fleet,
        attest(fleet, "CancelRecovery", "carol", {"acts": acts(fleet, "CancelRecovery", digest)[:1]}),
        "Unauthorized",
    )
    attested(
        fleet, attest(fleet, "CancelRecovery", "carol", {"acts": acts(fleet, "CancelRecovery", digest)}), "Accepted"
    )
    second = following(fleet, "vault", admins=[{**new[0], "name": "vault-2"}], adminThreshold=1)
    digest = announce(second)
    fleet.cluster.apply(second)
    refused = says(fleet, "TrustDomain", None, "Authorized", "Unauthorized")
    assert "may be accepted from" in message(refused, "Authorized")
    revised(fleet, 2)
    events = fleet.events()
    assert (events["trust.recovery.announced"], events["trust.recovery.cancelled"]) == (2, 1)
    fleet.constitution = constitution_of(second)
    fleet.open()


def test_a_fork_blocks_execution_until_the_next_revision(make: MakeFleet) -> None:
    """Two authorised second revisions: the alarm stands, an adopted proposal waits, the third revision frees it."""
    fleet = make()
    second = following(fleet, *ADMINS, phaseId="5.6")
    fleet.cluster.apply(second)
    revised(fleet, 2)
    fleet.cluster.apply(following(fleet, *ADMINS, phaseId="5.7"))
    forked = says(fleet, "TrustDomain", None, "Forked", "Fork")
    assert forked["status"]["accepted"]["digest"] == trust_domain_statement(fleet.name, second["spec"]).digest
    fleet.open()
    for who in ALL:
        fleet.vote(who, "approve")
    fleet.phase("Adopted")
    says(fleet, "GovernanceProposal", None, "Ready", "Fork")
    fleet.cluster.apply(following(fleet, *ADMINS, before=second, phaseId="5.8"))
    fleet.phase("Executed")
    assert condition(fleet.get("TrustDomain"), "Forked")[0] == ""
    assert fleet.events()["trust.domain.forked"] == 1
    fleet.evidence()


def test_delete_and_recreate_undoes_neither_vote_nor_pin(make: MakeFleet) -> None:
    """A recreated contract has what the votes decided; a recreated domain with another revision 1 is PinMismatch."""
    fleet = make()
    fleet.open()
    for who in ALL:
        fleet.vote(who, "approve")
    fleet.phase("Executed")
    wait_for("the change", lambda: len(fleet.get("DynamicContract")["status"]["history"]) == 2)
    was = fleet.get("DynamicContract")["status"]
    for kind in ("dynamiccontracts", "trustdomains"):
        name = fleet.contract_name if kind == "dynamiccontracts" else fleet.name
        fleet.cluster.request("DELETE", f"/apis/{GROUP}/{kind}/{name}")
    other = json.loads(json.dumps(fleet.domain))
    other["spec"] |= {"phaseId": "6", "signatures": []}
    for name in ADMINS:
        add_signature(other, fleet.signer(name))
    fleet.cluster.apply(other)
    says(fleet, "TrustDomain", None, "Authorized", "PinMismatch")
    fleet.cluster.apply(fleet.domain)
    says(fleet, "TrustDomain", None, "Authorized", "Authorized")
    fleet.cluster.apply(fleet.contract)
    again = says(fleet, "DynamicContract", None, "Ready", "InForce")["status"]
    for field in ("inForce", "history", "clauseDigests", "lastEntry"):
        assert again[field] == was[field]
    assert fleet.events()["governance.contract.genesis"] == 1


def test_drift_is_reported_where_the_domain_says_so_and_unknown_genesis_is_not_in_force(make: MakeFleet) -> None:
    """With drift Report what is missing stays missing, and is said; a contract not listed is not in force."""
    fleet = make(lambda spec: spec.update(drift="Report"))
    stranger = json.loads(json.dumps(fleet.contract))
    stranger["metadata"]["name"] += "-x"
    stranger["spec"]["genesis"]["contractId"] = "00000000-0000-4000-8000-000000000001"
    fleet.cluster.apply(stranger)
    refused = says(fleet, "DynamicContract", stranger["metadata"]["name"], "Authorized", "UnknownGenesis")
    assert "inForce" not in refused["status"]
    fleet.open()
    for who in ALL:
        fleet.vote(who, "approve")
    fleet.phase("Executed")
    wait_for("the change", lambda: len(fleet.get("DynamicContract")["status"]["history"]) == 2)
    reference = fleet.get("DynamicContract")["status"]["inForce"]["contentRef"]
    fleet.cluster.request("DELETE", f"/api/v1/namespaces/quorate-system/configmaps/{reference}")
    drifted = says(fleet, "DynamicContract", None, "Drifted", "Drifted")
    assert condition(drifted, "Ready") == ("False", "Drifted")
    assert fleet.events()["governance.contract.drifted"] == 1


def test_a_node_says_what_it_waits_for(make: MakeFleet) -> None:
    """Without its namespace a node waits for that, with it for a heartbeat; a stranger is no member."""
    fleet = make()
    member = fleet.constitution.spec["members"][1]["nodeId"]

    def node(name: str, node_id: str) -> None:
        spec = {"nodeId": node_id, "trustDomains": [fleet.name]}
        meta = {"name": f"{fleet.name}-{name}"}
        fleet.cluster.apply({"apiVersion": GROUP, "kind": "MeshNode", "metadata": meta, "spec": spec})

    node("bob", member)
    node("who", "00000000-0000-4000-8000-000000000002")
    waiting = says(fleet, "MeshNode", f"{fleet.name}-bob", "Ready", "NamespaceMissing")
    assert condition(waiting, "Reconciling")[0] == "True"
    says(fleet, "MeshNode", f"{fleet.name}-who", "Ready", "NotAMember")
