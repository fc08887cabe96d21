"""What an outsider is told of raised conflicts: from the evidence of a party, and from documents alone."""

import copy
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

import pytest

from quorate.audit.ids import entry_id
from quorate.audit.verify import Verdict
from quorate.canonical import canonical_bytes, format_time, parse_json
from quorate.conflicts import raised as rules
from quorate.identity.statements import attestation_statement, trust_domain_statement
from quorate.identity.vkey import SignerKey
from quorate.proposals import evidence as evidences
from quorate.proposals.ancestry import derive_history
from quorate.proposals.bundle import parse_bundle
from quorate.proposals.documents import DocumentError, tally_documents
from quorate.proposals.evidence import Pinned, verify
from quorate_operator.kube.resources import Key
from tests.unit.cli.test_tally import places
from tests.unit.proposals.fleet import MESH, node, seed

from .test_conflicts import (
    LOCKED,
    adopt,
    arbitrate,
    contested,
    offline,
    propose,
    raise_one,
    raised,
    six,
)
from .town import Town, sign_domain

__all__ = ["six"]
pytestmark = pytest.mark.usefixtures("six")


def evidence(town: Town, proposal: Key) -> dict[str, Any]:
    """The bundle that the proposal's status names."""
    document: dict[str, Any] = parse_json(town.content(town.status(proposal)["evidenceRef"]))
    return document


async def one_raised() -> tuple[Town, dict[str, Any]]:
    """A proposal that won a raised conflict and executed, with its evidence."""
    town, one, (conflict,) = await raised()
    raise_one(town, conflict)
    await town.settle(3)
    arbitrate(town, conflict, "AA")
    await town.settle(40)
    assert town.status(one)["phase"] == "Executed"
    return town, evidence(town, one)


async def test_who_raised_it_is_in_the_evidence() -> None:
    """The signed attestation travels in the bundle, of version 2, and its entry is among those to be proven."""
    _, document = await one_raised()
    assert document["format"] == "quorate.dev/evidence/v2"
    (conflict,) = document["conflicts"]
    assert conflict["attestation"]["statement"]["attester"] == node("m2")
    report = verify(canonical_bytes(document), pinned=Pinned())
    assert (report.verdict, report.applicable) == (Verdict.UNANCHORED, True), report.faults
    assert conflict["attestation"]["entry"] in [entry for _, entry in parse_bundle(document).entries()]


async def test_c29_a_bundle_of_version_1_does_not_tell_who_raised_it() -> None:
    """C29: made before version 2, it is read, but nobody can say that a member raised the conflict."""
    _, document = await one_raised()
    del document["conflicts"][0]["attestation"]
    report = verify(canonical_bytes(document), pinned=Pinned())
    assert report.verdict is Verdict.TAMPERED
    for party in document["conflicts"][0]["proposals"]:
        del party["opening"]
    report = verify(canonical_bytes(document), pinned=Pinned())
    assert report.verdict is Verdict.TAMPERED
    assert "with no opening" in report.faults[0].message
    document["format"] = "quorate.dev/evidence/v1"
    report = verify(canonical_bytes(document), pinned=Pinned())
    assert (report.verdict, report.applicable, report.faults) == (Verdict.CANNOT_TELL, False, [])
    assert node("m2") in report.missing[0].message


def name_another(document: dict[str, Any]) -> None:
    """Say that somebody else raised it, so that this one does not sit."""
    document["opening"]["payload"]["detail"]["raisedBy"] = node("m4")
    excluded = document["opening"]["payload"]["detail"]["excluded"]
    excluded[node("m4")] = excluded.pop(node("m2"))


def forge_a_raiser(document: dict[str, Any]) -> None:
    """An attestation that somebody else never signed."""
    name_another(document)
    attestation = document["attestation"]
    attestation["statement"]["attester"] = node("m4")
    _recorded(document, attestation)


def borrow_a_raiser(document: dict[str, Any]) -> None:
    """One that the member did sign, about something else."""
    attestation = document["attestation"]
    attestation["statement"]["subject"]["digest"] = "sha256:" + "1" * 64
    spec = {**attestation["statement"]}
    attestation["signature"] = attestation_statement(MESH, spec).sign(seed("m2.main"))
    _recorded(document, attestation)


def _recorded(document: dict[str, Any], attestation: dict[str, Any]) -> None:
    """Let the hub's entry and the opening fit what was made up."""
    digest = attestation_statement(MESH, attestation["statement"]).digest
    attestation["entry"]["payload"]["subject"]["key"] = digest
    attestation["entry"]["entry_id"] = _entry_id(digest)
    document["opening"]["payload"]["detail"]["attestation"] = digest


def _entry_id(subject: str) -> str:
    return str(entry_id(subject, None))


def open_it_first(document: dict[str, Any]) -> None:
    """Record the attestation after the opening."""
    document["attestation"]["entry"]["timestamp"] = "2030-01-01T00:00:00.000000Z"


def leave_one_out(document: dict[str, Any]) -> None:
    """A detected conflict was raised by nobody."""
    document["opening"]["payload"]["detail"]["cause"] = "OverlappingTimelocks"


@pytest.mark.parametrize("forge", [name_another, forge_a_raiser, borrow_a_raiser, open_it_first, leave_one_out])
async def test_c29_a_raiser_is_not_made_up(forge: Callable[[dict[str, Any]], None]) -> None:
    """C29: an attestation of somebody else, of another conflict, forged, or recorded later than the opening."""
    _, document = await one_raised()
    forge(document["conflicts"][0])
    report = verify(canonical_bytes(document), pinned=Pinned())
    assert report.verdict is Verdict.TAMPERED
    assert not report.applicable


async def four_raised(monkeypatch: pytest.MonkeyPatch) -> tuple[Town, Key, list[Key]]:
    """A hub that allows one member four conflicts against one proposal, one after the other."""
    monkeypatch.setattr(rules, "MAX_RAISED", 99)
    town, one, conflicts = await raised(4)
    for number, conflict in enumerate(conflicts, 1):
        raise_one(town, conflict, sequence=number)
        await town.settle(1)
        arbitrate(town, conflict, "BB" if number == 4 else "AA")
        await town.settle(3)
    monkeypatch.undo()
    assert town.status(one)["reason"] == "ConflictLost"
    return town, one, conflicts


async def test_c28_a_fourth_one_is_found_in_the_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    """C28: three conflicts of one member against the proposal are read, the fourth makes the bundle Tampered."""
    town, one, _ = await four_raised(monkeypatch)
    document = evidence(town, one)
    report = verify(canonical_bytes(document), pinned=Pinned())
    assert [item.reason for item in report.faults] == ["TooManyConflicts"]
    fewer = copy.deepcopy(document)
    del fewer["conflicts"][3]
    assert verify(canonical_bytes(fewer), pinned=Pinned()).faults == []


async def test_a_pair_that_was_arbitrated_twice_is_found() -> None:
    """One conflict given twice, or a second one of the same pair, is a fault."""
    _, document = await one_raised()
    document["conflicts"] *= 2
    report = verify(canonical_bytes(document), pinned=Pinned())
    assert any("arbitrated twice" in item.message for item in report.faults)


async def test_what_is_raised_is_anchored() -> None:
    """The proof covers the attestation too."""
    town = await Town().restart()
    log = SignerKey(f"{MESH}/fleet", seed("log"))
    own = {"origin": f"{MESH}/fleet", "keys": [str(log.verifier)]}
    await town.found(voting={"Standard": LOCKED, "Constitutional": LOCKED}, log=own)
    one, other = propose(town, "a"), propose(town, "o", "m1", type="Constitutional")
    await adopt(town, one)
    conflict = contested(town, "c", one, other)
    await town.settle()
    raise_one(town, conflict)
    await town.settle(3)
    arbitrate(town, conflict, "AA")
    await town.settle(40)
    await town.context.log.checkpoint(log.name, log)
    town.agenda.mark(one)
    await town.settle()
    status = town.status(one)
    report = verify(town.content(status["evidenceRef"]), pinned=Pinned(), proof=town.content(status["proofRef"]))
    assert report.verdict is Verdict.INTACT, report.faults


async def test_c28_a_fourth_one_is_refused_by_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    """C28: the tally of the documents stops at three: the proposal that the hub failed would proceed."""
    town, _, conflicts = await four_raised(monkeypatch)
    found = offline(town)["a"]
    assert len(found["conflicts"]) == 3
    assert [(item["name"], item["reason"]) for item in found["refusedConflicts"]] == [
        (conflicts[3].name, "TooManyConflicts")
    ]
    assert found["execution"] == {"state": "Proceeds", "reason": None}


async def test_a_chain_that_conflicts_repeat_is_authorised_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three conflicts that carry the same revisions cost one derivation of them besides the bundle's own."""
    town, one, conflicts = await raised(3)
    for number, conflict in enumerate(conflicts, 1):
        raise_one(town, conflict, sequence=number)
        await town.settle(1)
        arbitrate(town, conflict, "AA")
        await town.settle(3)
    await town.settle(40)
    document = evidence(town, one)
    assert len(document["conflicts"]) == 3
    derived = []

    def counting(*arguments: Any) -> Any:
        derived.append(arguments[2])
        return derive_history(*arguments)

    monkeypatch.setattr(evidences, "derive_history", counting)
    assert verify(canonical_bytes(document), pinned=Pinned()).applicable
    assert derived == ["fleet", "fleet"]


async def test_mutated_conflict_documents_end_in_a_sentence() -> None:
    """Whatever stands in a PolicyConflict or in an attestation on it, the tally tells or refuses with one sentence."""
    town, _, conflicts = await raised(2)
    for number, conflict in enumerate(conflicts, 1):
        raise_one(town, conflict, sequence=number)
    await town.settle(2)
    arbitrate(town, conflicts[0], "AA")
    await town.settle(3)
    kinds = ("TrustDomain", "GovernanceProposal", "Vote", "Attestation", "PolicyConflict")
    documents = [obj for obj in town.server.objects.values() if obj["kind"] in kinds]
    odd = [(n, place) for n, obj in enumerate(documents) if obj["kind"] in kinds[3:] for place in places(obj)]
    junk: list[Any] = [
        None,
        True,
        -1,
        2**60,
        1.5,
        "",
        "x",
        {},
        [],
        [{}],
        "9999-12-31T23:59:59Z",
        "sha256:" + "0" * 64,
        node("m3"),
    ]
    chance = Random(7)
    for _ in range(150):
        items = copy.deepcopy(documents)
        number, (*parents, last) = chance.choice(odd)
        inner: Any = items[number]
        for step in parents:
            inner = inner[step]
        inner[last] = chance.choice(junk)
        with suppress(DocumentError):
            tally_documents(items, at=int(town.now))


@pytest.mark.parametrize("severity", ["Severe", 5, {}])
async def test_a_severity_that_does_not_exist_is_named(severity: object) -> None:
    """A status is nobody's signature: what it claims is of a form, or refused with field and rule."""
    town, _, (conflict,) = await raised()
    raise_one(town, conflict)
    await town.settle(2)
    town.server.objects[conflict]["status"]["severity"] = severity
    documents = [obj for key, obj in town.server.objects.items() if key.kind in ("GovernanceProposal", conflict.kind)]
    with pytest.raises(DocumentError, match=r"PolicyConflict c0: status.severity .* must be one of Low, Medium"):
        tally_documents(documents, at=int(town.now))


async def test_c30_a_key_that_was_removed_raises_nothing() -> None:
    """C30: there is room for a conflict after its member's key was removed: it does not open, by documents neither."""
    town, _, conflicts = await raised(3)
    conflicts.append(contested(town, "c4", *(Key("GovernanceProposal", "default", f"o{n}") for n in range(2))))
    await town.settle()
    for number, conflict in enumerate(conflicts, 1):
        raise_one(town, conflict, sequence=number)
        await town.settle(1)
    assert town.condition(conflicts[3], "Ready")[1] == "TooManyConflicts"
    before = {name: value for name, value in town.server.objects[town.domain]["spec"].items() if name != "signatures"}
    members = [item for item in before["members"] if item["nodeId"] != node("m2")]
    digest = trust_domain_statement("fleet", before).digest
    await town.settle(1)
    second = {**before, "revision": 2, "previousDigest": digest, "members": members}
    first = copy.deepcopy(town.server.objects[town.domain])
    town.apply("TrustDomain", "fleet", sign_domain(second))
    await town.settle(2)
    arbitrate(town, conflicts[0], "AA")
    await town.settle(10)
    assert town.status(conflicts[0])["outcome"] == "PartyA"
    assert town.condition(conflicts[3], "Ready")[1] == "NotRaised"
    assert "openedAt" not in town.status(conflicts[3])
    town.server.objects[town.domain]["metadata"]["creationTimestamp"] = format_time(int(town.now) - 12)
    town.server.objects[Key("TrustDomain", "", "first")] = first
    refused = offline(town)["o0"]["refusedConflicts"]
    assert [(item["name"], item["reason"]) for item in refused] == [("c4", "NotRaised")]
