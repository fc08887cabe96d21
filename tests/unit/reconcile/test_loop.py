"""The loop from log to status and back: what survives a crash, a restart, a lost or an older database."""

import contextlib

import pytest

from quorate.canonical import digest_of, encode_base64, format_time
from quorate.identity.statements import act_statement, trust_domain_statement
from quorate.proposals.evidence import Pinned, verify
from quorate.proposals.report import Verdict
from quorate_operator.errors import Transient
from quorate_operator.kube.resources import Key
from tests.unit.proposals.fleet import MESH, node, seed

from .town import NAMES, Town, sign_domain

STORY = [
    "trust.domain.accepted",
    "governance.contract.genesis",
    "governance.proposal.opened",
    *["governance.vote.accepted"] * 4,
    "governance.proposal.decided",
    "governance.proposal.executed",
    "governance.contract.changed",
]


@pytest.fixture
async def town() -> Town:
    """A domain and its contract in force."""
    made = await Town().restart()
    await made.found()
    return made


async def adopted(town: Town, **more: object) -> Key:
    """A proposal that everybody approved, executed."""
    proposal = town.propose(**more)
    await town.settle()
    for who in NAMES:
        town.vote(proposal, who, "Approve")
    await town.settle(103)
    return proposal


async def test_a_rule_changes_and_routine_is_no_event(town: Town) -> None:
    """Opened, voted, decided, executed, changed: once each; no Event for a routine Ready."""
    proposal = await adopted(town)
    assert town.status(proposal)["outcome"] == "Executed"
    assert town.status(town.contract)["inForce"]["proposalDigest"] == town.status(proposal)["digest"]
    assert town.entries == STORY
    assert town.recorder.notes == [("p", "Adopted"), ("p", "Executed")]
    assert not town.errors


async def test_a_restart_changes_nothing(town: Town) -> None:
    """A new process on the same log and cluster appends nothing, writes no status and tells no Event."""
    await adopted(town)
    before = (list(town.entries), list(town.recorder.notes))
    versions = {key: obj["metadata"]["resourceVersion"] for key, obj in town.server.objects.items()}
    await town.restart()
    await town.settle()
    assert (town.entries, town.recorder.notes) == before
    assert {key: obj["metadata"]["resourceVersion"] for key, obj in town.server.objects.items()} == versions


async def story(town: Town) -> None:
    """The whole way, from wherever it stopped."""
    proposal = Key("GovernanceProposal", "default", "p")
    if Key("TrustDomain", "", "fleet") not in town.server.objects:
        await town.found()
    if proposal not in town.server.objects:
        town.propose()
    await town.settle()
    for who in NAMES:
        if Key("Vote", "default", f"p-{who}") not in town.server.objects:
            town.vote(proposal, who, "Approve")
    await town.settle(103)


@pytest.mark.parametrize("failing", range(13))
async def test_a_crash_between_entry_and_effect_is_healed(failing: int) -> None:
    """Whichever write is the first that never happens, the next process ends with one entry each and all effects."""
    town = await Town().restart()
    writes = 0

    def fail(what: str, key: Key) -> None:
        nonlocal writes
        writes += 1
        if writes > failing:
            raise Transient("Crashed", f"{what} {key}")

    town.server.fail = fail
    with contextlib.suppress(KeyError):  # what the crash left undone is not there to go on with
        await story(town)
    assert writes > failing
    town.server.fail = lambda what, key: None
    await town.restart()
    await story(town)
    assert town.entries == STORY
    contract = town.status(Key("DynamicContract", "", "rules"))
    proposal = town.status(Key("GovernanceProposal", "default", "p"))
    assert contract["inForce"]["proposalDigest"] == proposal["digest"]
    assert (proposal["phase"], len(contract["history"])) == ("Executed", 2)
    references = (contract["inForce"]["contentRef"], proposal["evidenceRef"])
    assert all(Key("ConfigMap", "quorate-system", name) in town.server.objects for name in references)
    assert all(town.condition(Key("Vote", "default", f"p-{who}"), "Counted")[0] == "True" for who in NAMES)


async def test_a_log_that_is_behind_the_cluster_stalls(town: Town) -> None:
    """An empty database under a cluster with decisions: nothing is begun anew, LogBehind names the entry."""
    await adopted(town)
    town.shared.rows.clear()
    town.shared.heads.clear()
    await town.restart()
    await town.settle()
    assert town.entries == []
    error = town.errors[town.contract]
    assert error.reason == "LogBehind"
    assert town.status(town.contract)["lastEntry"] in error.message


async def test_lost_content_stalls_only_what_needs_it(town: Town) -> None:
    """Content of the contract in force is gone from the database: that contract stalls, its domain does not."""
    await adopted(town)
    del town.shared.content[town.status(town.contract)["inForce"]["digest"]]
    await town.restart()
    town.errors.clear()
    await town.settle()
    assert {key: error.reason for key, error in town.errors.items()} == {town.contract: "LogBehind"}


async def test_a_recreated_contract_has_what_votes_decided(town: Town) -> None:
    """Delete and recreate brings back content, history and proposal, without an entry."""
    await adopted(town)
    was, entries = town.status(town.contract), list(town.entries)
    spec = town.server.objects.pop(town.contract)["spec"]
    town.view.remove(town.contract)
    town.apply("DynamicContract", "rules", spec)
    await town.settle()
    assert town.status(town.contract)["inForce"] == was["inForce"]
    assert town.status(town.contract)["history"] == was["history"]
    assert town.entries == entries


async def test_an_authorisation_ends_with_its_execution_window(town: Town) -> None:
    """A revision that an executed proposal names is accepted inside the window and Unauthorized after it."""
    spec = {name: value for name, value in town.domain_spec().items() if name != "signatures"}
    digest = trust_domain_statement("fleet", spec).digest
    second = {**spec, "revision": 2, "previousDigest": digest, "phaseId": "2", "signatures": []}
    result = trust_domain_statement("fleet", second).digest
    change = {"baseDigest": digest, "resultDigest": result}
    target = {"kind": "TrustDomain", "name": "fleet"}
    proposal = await adopted(town, type="Constitutional", target=target, change=change)
    assert town.status(proposal)["outcome"] == "Executed"
    assert town.status(proposal)["reason"] == "AwaitingRevision"
    await town.settle(60)
    assert town.status(proposal)["reason"] == "WindowClosed"
    town.apply("TrustDomain", "fleet", second)
    await town.settle()
    assert town.condition(town.domain, "Authorized")[:2] == ("False", "Unauthorized")


async def test_a_revision_in_the_window_is_accepted_by_its_proposal(town: Town) -> None:
    """The revision that was applied too early is accepted as soon as the proposal is executed."""
    spec = {name: value for name, value in town.domain_spec().items() if name != "signatures"}
    digest = trust_domain_statement("fleet", spec).digest
    second = {**spec, "revision": 2, "previousDigest": digest, "phaseId": "2", "signatures": []}
    town.apply("TrustDomain", "fleet", second)
    await town.settle()
    assert town.condition(town.domain, "Authorized")[:2] == ("False", "Unauthorized")
    change = {"baseDigest": digest, "resultDigest": trust_domain_statement("fleet", second).digest}
    target = {"kind": "TrustDomain", "name": "fleet"}
    proposal = await adopted(town, type="Constitutional", target=target, change=change)
    assert town.status(town.domain)["accepted"]["revision"] == 2
    assert town.status(proposal)["reason"] == "Executed"
    later = await adopted(town, name="later")
    assert town.status(later)["domainRevision"] == 2
    known = {town.status(proposal)["evidenceDigest"]: town.content(town.status(proposal)["evidenceRef"])}
    report = verify(town.content(town.status(later)["evidenceRef"]), pinned=Pinned(evidence=known))
    assert report.verdict is Verdict.UNANCHORED, (report.faults, report.missing)


async def test_a_contract_that_the_domain_drops_is_not_in_force(town: Town) -> None:
    """UnknownGenesis after a revision without it: nothing of it is in force; listed again, it all comes back."""
    await adopted(town)
    was = town.status(town.contract)["inForce"]
    spec = {name: value for name, value in town.domain_spec().items() if name != "signatures"}
    for number, contracts in ((2, []), (3, spec["contracts"])):
        before = trust_domain_statement("fleet", spec).digest
        spec = {**spec, "revision": number, "previousDigest": before, "contracts": contracts}
        town.apply("TrustDomain", "fleet", sign_domain(spec))
        await town.settle()
        status = town.status(town.contract)
        if number == 2:
            assert town.condition(town.contract, "Authorized")[1] == "UnknownGenesis"
            assert "inForce" not in status
    assert status["inForce"] == was


async def test_one_act_in_two_proposals_is_refused_in_each(town: Town) -> None:
    """An act on one proposal, copied into another, is refused there once, and both come to rest."""
    first, second = town.propose("a"), town.propose("b")
    await town.settle()
    act = {
        "act": "Stop", "proposalDigest": digest_of("none"), "by": "ada", "keyName": "ada",
        "at": format_time(int(town.now)),
    }  # fmt: skip
    act["signature"] = act_statement(MESH, "fleet", act).sign(seed("ada"))
    for key in (first, second):
        spec = town.server.objects[key]["spec"]
        town.apply("GovernanceProposal", key.name, {**spec, "stops": [act]}, "default")
    await town.settle()
    assert town.entries.count("governance.act.refused") == 2


async def test_rivals_warn_each_other_once(town: Town) -> None:
    """Two open proposals on one clause name each other, with one Event each."""
    first = town.propose("a")
    await town.settle()
    second = town.propose("b")
    await town.settle()
    assert [item["name"] for item in town.status(first)["conflicts"]] == ["b"]
    assert [item["name"] for item in town.status(second)["conflicts"]] == ["a"]
    assert sorted(town.recorder.notes) == [("a", "Conflict"), ("b", "Conflict")]


@pytest.mark.parametrize("failing", range(5))
async def test_a_refusal_is_recorded_once_whatever_crashes(town: Town, failing: int) -> None:
    """Refused revision, opening, signature, vote, attestation: one entry each, and in the end each status says so."""
    proposal = town.propose()
    await town.settle()
    writes = 0

    def fail(what: str, key: Key) -> None:
        nonlocal writes
        writes += 1
        if writes > failing:
            raise Transient("Crashed", f"{what} {key}")

    town.server.fail = fail
    spec = town.domain_spec()
    town.apply("TrustDomain", "fleet", {**spec, "phaseId": "2", "revision": 2, "previousDigest": digest_of("other")})
    stale = town.propose(
        "stale", change={"baseDigest": digest_of("other"), "patch": [{"op": "remove", "path": "/text"}]}
    )
    signature = encode_base64(bytes(64))
    forged = town.apply(
        "GovernanceProposal", "forged", {**town.server.objects[proposal]["spec"], "signature": signature}, "default"
    )
    vote = town.vote(proposal, "m1", "Approve", signature=signature)
    said = {
        "domain": "fleet", "attester": node("m1"), "keyName": "main", "sequence": 1, "type": "Delegation",
        "at": format_time(int(town.now)), "statement": {"to": node("m2"), "types": ["Standard"]},
        "signature": signature,
    }  # fmt: skip
    attestation = town.apply("Attestation", "a", said, "default")
    await town.settle()
    assert writes > failing
    town.server.fail = lambda what, key: None
    await town.restart()
    await town.settle(2)
    for event, count in {
        "governance.proposal.refused": 2,
        "governance.vote.refused": 1,
        "trust.attestation.refused": 1,
    }.items():
        assert town.entries.count(event) == count
    reasons = {
        town.domain: "PreviousMismatch",
        stale: "StaleBase",
        forged: "BadSignature",
        vote: "BadSignature",
        attestation: "BadSignature",
    }
    assert {key: town.condition(key, "Ready")[1] for key in reasons} == reasons
    await town.restart()
    before = list(town.entries)
    await town.settle(2)
    assert town.entries == before
