"""Attestations and what crosses a boundary, through the reconcilers: entries, conditions, Events, evidence."""

from typing import Any

import pytest

from quorate.canonical import format_time
from quorate.identity.statements import attestation_statement, trust_domain_statement
from quorate.proposals.evidence import Pinned, verify
from quorate_operator.kube.resources import Key
from tests.unit.proposals.fleet import MESH, constitution, member, node, public, seed

from .town import CHAIN, NAMES, STANDARD, Town

PARTNERS = ("p0", "p1", "p2")
TRUST = {"decayBasisPoints": 9000, "maxChainLength": 3}


def partner() -> dict[str, Any]:
    """Domain `partner`, decided by the same hub, signed by the same admins."""
    members = [member(name) for name in PARTNERS]
    members[0]["keys"].append({"purpose": "Machine", "name": "machine", "publicKey": public("p0.machine")})
    spec = constitution(members, {"Standard": STANDARD})
    statement = trust_domain_statement("partner", spec)
    return {**spec, "signatures": [{"name": n, "signature": statement.sign(seed(n))} for n in ("ada", "bob")]}


async def found(action: str, **more: Any) -> Town:
    """Both domains in force; `fleet` asks 5000 of `partner`."""
    town = await Town().restart()
    boundary = [{"fromDomain": "partner", "minScoreBasisPoints": 5000, "onViolation": action, **more}]
    await town.found(boundary=boundary, trust=TRUST)
    town.apply("TrustDomain", "partner", partner())
    await town.settle()
    return town


def attest(town: Town, by: str, kind: str, subject: dict[str, Any], statement: dict[str, Any], **more: Any) -> Key:
    """Apply an attestation of a member; its key is `main`, or `keyName`."""
    name = more.pop("name", f"{kind.lower()}-{by}-{len(town.server.objects)}")
    spec = {
        "domain": "fleet",
        "attester": node(by),
        "keyName": "main",
        "sequence": 1,
        "at": format_time(int(town.now)),
        "subject": subject,
        "type": kind,
        "statement": statement,
        **more,
    }
    spec["signature"] = attestation_statement(MESH, spec).sign(seed(f"{by}.{spec['keyName']}"))
    return town.apply("Attestation", name, spec, "default")


def trust(town: Town, by: str, whom: str, weight: int = 9000, **more: Any) -> Key:
    subject = {"kind": "MeshNode", "name": node(whom)}
    return attest(town, by, "Trust", subject, {"weightBasisPoints": weight}, **more)


def contract(name: str) -> dict[str, Any]:
    """The subject of an attestation about a contract."""
    return {"kind": "DynamicContract", "name": name}


async def proposed(town: Town) -> Key:
    """A proposal of both domains, approved by all of fleet."""
    key = town.propose(domains=["fleet", "partner"])
    await town.settle()
    for name in NAMES:
        town.vote(key, name, "Approve")
    await town.settle()
    return key


def tally(town: Town, proposal: Key) -> int:
    """What partner approves, as shown."""
    found = {item["name"]: item["tally"]["approve"] for item in town.status(proposal)["domains"]}
    return int(found["partner"])


def crossings(town: Town) -> list[str]:
    return [event for event in town.entries if event.startswith("trust.boundary.")]


def told(town: Town, key: Key) -> list[str]:
    return [reason for name, reason in town.recorder.notes if name == key.name and reason.startswith("Boundary")]


async def test_a_denied_vote_has_condition_event_and_entry_and_counts_once_trusted() -> None:
    """Denied at the boundary; when the hub vouches for the voter it counts, and each change is an entry."""
    town = await found("Deny")
    proposal = await proposed(town)
    vote = town.vote(proposal, "p0", "Approve", domain="partner")
    await town.settle()
    assert town.condition(vote, "Counted")[:2] == ("False", "BoundaryDenied")
    assert town.condition(vote, "Ready")[:2] == ("False", "BoundaryDenied")
    status, reason, message = town.condition(vote, "WithinBoundary")
    assert (status, reason) == ("False", "BoundaryDenied")
    assert f"{node('p0')} of partner has score 0 in fleet" in message
    assert tally(town, proposal) == 0
    assert crossings(town) == ["trust.boundary.denied"]
    assert told(town, vote) == ["BoundaryDenied"]
    trust(town, "m0", "p0")
    await town.settle()
    assert town.condition(vote, "Counted")[:2] == ("True", "Counted")
    assert town.condition(vote, "WithinBoundary")[:2] == ("True", "BoundaryMet")
    assert town.condition(vote, "Stalled") == ("", "", "")
    assert tally(town, proposal) == 1
    assert crossings(town) == ["trust.boundary.denied", "trust.boundary.passed"]
    assert not town.errors


async def test_a_warned_vote_counts() -> None:
    """Warn: counted, with entry, Event and condition."""
    town = await found("Warn")
    proposal = await proposed(town)
    vote = town.vote(proposal, "p0", "Approve", domain="partner")
    await town.settle()
    assert town.condition(vote, "Counted")[:2] == ("True", "Counted")
    assert town.condition(vote, "WithinBoundary")[:2] == ("False", "BoundaryWarned")
    assert (crossings(town), told(town, vote)) == (["trust.boundary.warned"], ["BoundaryWarned"])
    assert tally(town, proposal) == 1


async def test_a_held_vote_is_released() -> None:
    """Quarantine: recorded and shown, Reconciling, not counted until a member of the domain releases it."""
    town = await found("Quarantine")
    proposal = await proposed(town)
    vote = town.vote(proposal, "p0", "Approve", domain="partner")
    await town.settle()
    assert town.condition(vote, "Counted")[:2] == ("False", "BoundaryQuarantined")
    assert town.condition(vote, "Reconciling")[0] == "True"
    subject = {"kind": "Vote", "name": vote.name, "digest": town.status(vote)["digest"]}
    attest(town, "m1", "BoundaryCrossing", subject, {"release": True})
    await town.settle()
    assert town.condition(vote, "Counted")[:2] == ("True", "Counted")
    assert town.condition(vote, "WithinBoundary")[:2] == ("True", "BoundaryReleased")
    assert crossings(town) == ["trust.boundary.quarantined", "trust.boundary.passed"]
    assert tally(town, proposal) == 1


@pytest.mark.parametrize("trusted", [True, False])
async def test_the_evidence_gives_the_same_verdict_offline(trusted: bool) -> None:
    """An outsider re-tallies a proposal of two domains with its boundary, from the bundle alone."""
    town = await found("Deny")
    if trusted:
        for name in PARTNERS:
            trust(town, "m0", name)
    proposal = await proposed(town)
    for name in PARTNERS:
        town.vote(proposal, name, "Approve", domain="partner")
    await town.settle(103)
    assert town.status(proposal)["phase"] == ("Executed" if trusted else "Expired")
    report = verify(town.content(town.status(proposal)["evidenceRef"]), pinned=Pinned())
    assert (report.faults, report.outcome) == ([], "Adopted" if trusted else "Expired")
    assert not town.errors


async def test_an_expired_attestation_says_so_and_what_rested_on_it_falls() -> None:
    """At its second the condition is Expired, the vote that it let cross is denied, and the log says both."""
    town = await found("Deny")
    proposal = await proposed(town)
    key = trust(town, "m0", "p0", expiresAt=format_time(int(town.now) + 20))
    vote = town.vote(proposal, "p0", "Approve", domain="partner")
    await town.settle(19)
    assert town.condition(key, "Ready")[:2] == ("True", "Accepted")
    assert town.condition(vote, "Counted")[:2] == ("True", "Counted")
    await town.settle(1)
    assert town.condition(key, "Ready")[:2] == ("True", "Expired")
    assert town.condition(vote, "Counted")[:2] == ("False", "BoundaryDenied")
    assert crossings(town) == ["trust.boundary.denied"]
    assert tally(town, proposal) == 0


async def test_a_restart_says_nothing_twice() -> None:
    """A new process reads verdicts back from the log: no second entry, the same conditions."""
    town = await found("Deny")
    proposal = await proposed(town)
    vote = town.vote(proposal, "p0", "Approve", domain="partner")
    await town.settle()
    entries, status = list(town.entries), town.status(vote)
    await town.restart()
    await town.settle(1)
    assert (town.entries, town.status(vote)) == (entries, status)


@pytest.mark.parametrize(
    ("kind", "by", "statement"),
    [
        ("Trust", "m1", {"weightBasisPoints": 9000}),
        ("Compliance", "m1", {"compliant": True}),
        ("ContractChange", "m1", {}),
        ("ContractHeld", "m1", {}),
    ],
)
async def test_every_type_is_recorded(kind: str, by: str, statement: dict[str, Any]) -> None:
    """Accepted, Ready, with its digest; nothing in its own domain is a crossing."""
    town = await found("Deny")
    keys = {"keyName": "machine"} if kind == "ContractHeld" else {}
    key = attest(town, by, kind, {"kind": "MeshNode", "name": node("m2")}, statement, **keys)
    await town.settle()
    assert town.condition(key, "Ready")[:2] == ("True", "Accepted")
    assert town.condition(key, "WithinBoundary") == ("", "", "")
    assert town.entries[-1] == "trust.attestation.accepted"
    assert town.status(key)["digest"].startswith("sha256:")


@pytest.mark.parametrize(
    ("action", "ready", "reason"),
    [
        ("Deny", "False", "BoundaryDenied"),
        ("Quarantine", "False", "BoundaryQuarantined"),
        ("Warn", "True", "Accepted"),
    ],
)
async def test_an_attestation_about_another_domains_contract_crosses(action: str, ready: str, reason: str) -> None:
    """A partner's acknowledgement of fleet's contract: recorded in its own chain, judged in fleet's."""
    town = await found(action)
    key = attest(
        town,
        "p0",
        "ContractHeld",
        {"kind": "DynamicContract", "name": "rules"},
        {},
        domain="partner",
        keyName="machine",
    )
    await town.settle()
    own = [row.recorded.event_type for row in town.shared.rows[f"{MESH}/partner"]]
    assert own[-1] == "trust.attestation.accepted"
    assert town.condition(key, "Ready")[:2] == (ready, reason)
    assert town.condition(key, "WithinBoundary")[0] == "False"
    assert len(crossings(town)) == 1
    trust(town, "m0", "p0")
    await town.settle()
    assert town.condition(key, "Ready")[:2] == ("True", "Accepted")
    assert town.condition(key, "WithinBoundary")[:2] == ("True", "BoundaryMet")
    assert crossings(town)[1:] == ["trust.boundary.passed"]
    assert not town.errors


async def test_an_attestation_waits_for_the_contract_that_it_is_about() -> None:
    """Applied before the contract exists it crosses nothing yet; once it is known whose it is, its boundary judges."""
    town = await found("Deny")
    key = attest(
        town,
        "p0",
        "ContractHeld",
        {"kind": "DynamicContract", "name": "later"},
        {},
        domain="partner",
        keyName="machine",
    )
    await town.settle()
    assert town.condition(key, "WithinBoundary") == ("", "", "")
    town.apply("DynamicContract", "later", {"trustDomain": "fleet", "genesis": town.genesis()})
    await town.settle()
    assert town.condition(key, "WithinBoundary")[:2] == ("False", "BoundaryDenied")
    assert town.shared.rows[CHAIN][-1].recorded.event_type == "trust.boundary.denied"


async def test_a_malformed_trust_is_refused() -> None:
    """Invalid, with field, value and rule."""
    town = await found("Deny")
    key = attest(town, "m1", "Trust", {"kind": "MeshNode", "name": "m2"}, {"weightBasisPoints": 9000})
    await town.settle()
    assert town.condition(key, "Ready")[:2] == ("False", "Invalid")
    assert "spec.subject" in town.condition(key, "Ready")[2]
