"""Two domains at once, delegations, recoveries, a pin that the log contradicts: all in memory."""

import pytest

from quorate.canonical import digest_of, format_time
from quorate.identity.statements import act_statement, attestation_statement, recovery_statement, trust_domain_statement
from quorate.proposals.evidence import Pinned, verify
from quorate.proposals.report import Verdict
from quorate_operator.kube.resources import Key
from tests.unit.proposals.fleet import MESH, constitution, member, node, public, seed

from .town import NAMES, STANDARD, Town


@pytest.fixture
async def town() -> Town:
    """A domain and its contract in force."""
    made = await Town().restart()
    await made.found()
    return made


def delegate(town: Town, who: str, to: str, domain: str, name: str) -> Key:
    """A signed delegation of Standard proposals."""
    spec = {
        "domain": domain, "attester": node(who), "keyName": "main", "sequence": 1, "at": format_time(int(town.now)),
        "type": "Delegation", "statement": {"to": node(to), "types": ["Standard"]},
    }  # fmt: skip
    signature = attestation_statement(MESH, spec).sign(seed(f"{who}.main"))
    return town.apply("Attestation", name, {**spec, "signature": signature}, "default")


async def test_a_double_majority_with_a_delegation_in_the_other_domain(town: Town) -> None:
    """Both domains adopt; the other one's delegation counts there, and the evidence of it all verifies."""
    spec = constitution([member(name) for name in NAMES], {"Standard": STANDARD})
    statement = trust_domain_statement("other", spec)
    signatures = [{"name": name, "signature": statement.sign(seed(name))} for name in ("ada", "bob")]
    town.apply("TrustDomain", "other", {**spec, "signatures": signatures})
    await town.settle()
    said = delegate(town, "m3", "m1", "other", "d")
    proposal = town.propose(domains=["fleet", "other"])
    await town.settle()
    assert town.condition(said, "Ready")[:2] == ("True", "Accepted")
    for who in NAMES:
        town.vote(proposal, who, "Approve")
    for who in ("m0", "m1"):
        town.vote(proposal, who, "Approve", f"other-{who}", domain="other", sequence=2)
    await town.settle(103)
    assert not town.errors
    status = town.status(proposal)
    assert status["phase"] == "Executed"
    assert {item["name"]: item["tally"]["approve"] for item in status["domains"]} == {"fleet": 4, "other": 3}
    report = verify(town.content(status["evidenceRef"]), pinned=Pinned())
    assert report.verdict is Verdict.UNANCHORED, report.faults
    assert report.counts["delegations"] == 1


async def test_a_delegation_after_the_decision_changes_nothing_shown(town: Town) -> None:
    """What was decided on stays what is shown, also in a new process."""
    proposal = town.propose()
    await town.settle()
    for who in NAMES[:3]:
        town.vote(proposal, who, "Approve")
    await town.settle(103)
    shown = town.status(proposal)
    delegate(town, "m3", "m1", "fleet", "late")
    await town.restart()
    await town.settle(1)
    assert town.status(proposal) == shown


async def test_a_pin_that_the_log_contradicts_puts_nothing_in_force(town: Town) -> None:
    """PinMismatch: the domain says so, shows no accepted revision, and proposals and votes on it stall."""
    proposal = town.propose()
    await town.settle()
    town.pins[f"{MESH}/fleet"] = digest_of("another")
    await town.restart()
    entries = list(town.entries)
    vote = town.vote(proposal, "m1", "Approve")
    await town.settle()
    assert town.condition(town.domain, "Authorized")[:2] == ("False", "PinMismatch")
    assert "accepted" not in town.status(town.domain)
    assert {town.errors[key].reason for key in (proposal, vote)} == {"PinMismatch"}
    assert town.entries == entries


@pytest.mark.parametrize("outcome", ["Ratified", "Reversed"])
async def test_an_emergency_keeps_the_evidence_of_both_decisions(outcome: str) -> None:
    """Executed on endorsement; the ratification's own evidence verifies, and the executing entry's stays projected."""
    town = await Town().restart()
    emergency = {"votingPeriodSeconds": 50, "ratificationSeconds": 20}
    await town.found(voting={"Standard": STANDARD, "Emergency": emergency})
    proposal = town.propose(type="Emergency")
    await town.settle()
    for who in NAMES if outcome == "Ratified" else ():
        town.vote(proposal, who, "Approve")
    spec = town.server.objects[proposal]["spec"]
    acts = []
    for name in ("ada", "bob"):
        act = {
            "act": "Endorse", "proposalDigest": town.status(proposal)["digest"], "by": name, "keyName": name,
            "at": format_time(int(town.now)),
        }  # fmt: skip
        acts.append({**act, "signature": act_statement(MESH, "fleet", act).sign(seed(name))})
    town.apply("GovernanceProposal", "p", {**spec, "endorsements": acts}, "default")
    await town.settle(3)
    executed = town.status(proposal)
    assert executed["phase"] == "EmergencyExecuted"
    first = town.status(town.contract)["inForce"]["evidenceDigest"]
    assert first == executed["evidenceDigest"]
    del town.server.objects[Key("ConfigMap", "quorate-system", executed["evidenceRef"])]
    await town.restart()
    await town.settle(22)
    status = town.status(proposal)
    assert status["phase"] == outcome and status["evidenceDigest"] != first
    for reference in (executed["evidenceRef"], status["evidenceRef"]):
        report = verify(town.content(reference), pinned=Pinned())
        assert report.verdict is Verdict.UNANCHORED, report.faults
    in_force = town.status(town.contract)["inForce"]["evidenceDigest"]
    assert in_force == (first if outcome == "Ratified" else status["evidenceDigest"])
    assert town.entries.count("governance.contract.changed") == (1 if outcome == "Ratified" else 2)
    assert not town.errors


async def test_evidence_after_a_recovery_carries_the_announcement() -> None:
    """New admins by an announced recovery: a decision under their revision verifies from its evidence alone."""
    town = await Town().restart()
    await town.found(
        recovery={"keys": [{"name": "vault", "publicKey": public("vault")}], "threshold": 1, "delaySeconds": 5}
    )
    spec = {name: value for name, value in town.server.objects[town.domain]["spec"].items() if name != "signatures"}
    digest = trust_domain_statement("fleet", spec).digest
    admins = [{"name": "eva", "publicKey": public("eva")}]
    second = {**spec, "revision": 2, "previousDigest": digest, "admins": admins, "adminThreshold": 1}
    statement = trust_domain_statement("fleet", second)
    second["signatures"] = [{"name": "vault", "signature": statement.sign(seed("vault"))}]
    recovery = {
        "revision": 2,
        "previousDigest": digest,
        "resultDigest": statement.digest,
        "at": format_time(int(town.now)),
    }
    signature = {"name": "vault", "signature": recovery_statement(MESH, "fleet", recovery).sign(seed("vault"))}
    said = {
        "domain": "fleet", "attester": node("m1"), "keyName": "main", "sequence": 1, "at": format_time(int(town.now)),
        "type": "Recovery", "statement": {**recovery, "signatures": [signature]},
    }  # fmt: skip
    said["signature"] = attestation_statement(MESH, said).sign(seed("m1.main"))
    town.apply("Attestation", "r", said, "default")
    town.apply("TrustDomain", "fleet", second)
    await town.settle(4)
    assert town.condition(town.domain, "Authorized")[:2] == ("False", "Unauthorized")
    await town.settle(2)
    assert town.status(town.domain)["accepted"]["revision"] == 2
    assert ("r", "RecoveryAnnounced") in town.recorder.notes
    proposal = town.propose()
    await town.settle()
    for who in NAMES:
        town.vote(proposal, who, "Approve")
    await town.settle(103)
    report = verify(town.content(town.status(proposal)["evidenceRef"]), pinned=Pinned())
    assert report.verdict is Verdict.UNANCHORED, report.faults
