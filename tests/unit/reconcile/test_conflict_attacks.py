"""What a hub, a member or whoever may create objects tries with conflicts, through the reconcilers."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from quorate.audit.verify import Verdict
from quorate.canonical import canonical_bytes, digest_of, parse_json
from quorate.conflicts.arbitrators import rank
from quorate.identity.statements import Statement, trust_domain_statement
from quorate.identity.vkey import SignerKey
from quorate.proposals.bundle import parse_bundle
from quorate.proposals.evidence import Pinned, verify
from quorate_operator.kube.resources import Key
from tests.unit.proposals.fleet import MESH, member, node, public, seed

from .test_conflicts import (
    LOCKED,
    NAMES,
    SHARED,
    adopt,
    arbitrate,
    founded,
    party,
    propose,
    raise_one,
    raised,
    signed_as,
    six,
    two_adopted,
)
from .town import Town, sign_domain

__all__ = ["six"]
pytestmark = pytest.mark.usefixtures("six")


async def won() -> tuple[Town, dict[str, Any]]:
    """The evidence of a proposal that won its conflict, with the town in which it did."""
    town, _, _, conflict = await two_adopted()
    arbitrate(town, conflict, "AA")
    await town.settle(40)
    document: dict[str, Any] = parse_json(town.content(town.status(party(town, conflict, "A"))["evidenceRef"]))
    return town, document


def exclude_an_honest_one(document: dict[str, Any]) -> None:
    """Leave out one who would have sat: the votes of the others still add up."""
    seats = [seat["nodeId"] for seat in document["resolution"]["payload"]["detail"]["arbitrators"]]
    voted = {item["statement"]["voter"] for item in document["votes"]}
    (silent,) = [seat for seat in seats if seat not in voted]
    document["opening"]["payload"]["detail"]["excluded"][silent] = "proposer of b"
    (other,) = {node(name) for name in NAMES} - {node("m0"), node("m1"), *seats}
    arbitrators = document["resolution"]["payload"]["detail"]["arbitrators"]
    next(seat for seat in arbitrators if seat["nodeId"] == silent)["nodeId"] = other
    order = {seat: index for index, seat in enumerate(_ranked(document))}
    arbitrators.sort(key=lambda seat: order[seat["nodeId"]])


def _ranked(document: dict[str, Any]) -> list[str]:
    digest = digest_of(document["conflict"])
    return sorted((node(name) for name in NAMES), key=lambda node_id: rank(digest, node_id))


def make_up_a_rival(document: dict[str, Any]) -> None:
    """A rival that its proposer never signed."""
    for item in document["proposals"]:
        item["signature"] = "A" * 86


@pytest.mark.parametrize(
    ("forge", "said"), [(exclude_an_honest_one, "excluded were"), (make_up_a_rival, "could not open: BadSignature")]
)
async def test_a_hub_does_not_choose_who_sits(forge: Callable[[dict[str, Any]], None], said: str) -> None:
    """Whoever is excluded without being a party, or by a rival that nobody signed, is found in the evidence."""
    _, document = await won()
    assert verify(canonical_bytes(document), pinned=Pinned()).applicable
    forge(document["conflicts"][0])
    report = verify(canonical_bytes(document), pinned=Pinned())
    assert report.verdict is Verdict.TAMPERED
    assert {said in item.message for item in report.faults} == {True}, report.faults


async def test_a_copy_of_an_entry_that_differs_has_to_be_proven() -> None:
    """A conflict repeats entries of its domain: one that was altered is an entry of its own, which no proof covers."""
    _, document = await won()
    same = len(parse_bundle(document).entries())
    altered = copy.deepcopy(document)
    (revision,) = altered["conflicts"][0]["domains"]["fleet"]
    revision["entry"]["timestamp"] = "2020-01-01T00:00:00.000000Z"
    assert len(parse_bundle(altered).entries()) == same + 1


async def test_a_raiser_that_deletes_its_conflict_blocks_nobody() -> None:
    """The object of an open conflict comes back with its evidence, and the arbitration goes on to its end."""
    town, one, (conflict,) = await raised()
    raise_one(town, conflict)
    await town.settle(3)
    assert town.status(one)["phase"] == "Conflict"
    del town.server.objects[conflict]
    await town.restart()
    await town.settle(1)
    assert town.server.objects[conflict]["spec"]["evidence"]
    arbitrate(town, conflict, "AA")
    await town.settle(40)
    assert town.status(one)["phase"] == "Executed"
    assert not town.errors


async def test_an_occupied_name_hides_no_conflict() -> None:
    """Somebody took the name of a detected conflict, and the next: its object has another, and it is decided."""
    town, one, other, conflict = await two_adopted()
    squatted = dict(town.server.objects[conflict]["spec"])
    squatted["parties"] = [{**item, "digest": digest_of(item["name"])} for item in squatted["parties"]]
    town = await founded()
    town.apply("PolicyConflict", conflict.name, squatted, "default")
    town.apply("PolicyConflict", f"{conflict.name}-2", squatted, "default")
    await adopt(town, propose(town, "a"), propose(town, "b", "m1"))
    found = Key("PolicyConflict", "default", f"{conflict.name}-3")
    assert town.status(found)["cause"] == "OverlappingTimelocks"
    arbitrate(town, found, "AA")
    await town.settle(40)
    assert {town.status(key)["phase"] for key in (one, other)} == {"Executed", "Failed"}


async def test_a_member_delays_a_proposal_three_times_at_most() -> None:
    """Raised again after each resolution, with other parties each time: the fourth is refused, and nobody waits."""
    town, one, conflicts = await raised(4)
    for number, conflict in enumerate(conflicts, 1):
        raise_one(town, conflict, sequence=number)
        await town.settle(1)
        if number < 4:
            arbitrate(town, conflict, "AA")
            await town.settle(3)
            assert town.status(conflict)["outcome"] == "PartyA"
    assert town.condition(conflicts[3], "Ready")[1] == "TooManyConflicts"
    await town.settle(40)
    assert town.status(one)["phase"] == "Executed"
    assert town.entries.count("governance.conflict.refused") == 1


async def test_what_was_arbitrated_is_anchored() -> None:
    """The proof covers the conflict's entries, votes and the parent's revisions, each under its own chain's key."""
    town = await Town().restart()
    logs = {name: SignerKey(f"{MESH}/{name}", seed(f"log-{name}")) for name in ("fleet", "above")}
    above = {**town.domain_spec(), "members": [member(f"p{number}") for number in range(4)], "contracts": []}
    above["log"] = {"origin": f"{MESH}/above", "keys": [str(logs["above"].verifier)]}
    town.apply("TrustDomain", "above", signed_as("above", above))
    own = {"origin": f"{MESH}/fleet", "keys": [str(logs["fleet"].verifier)]}
    await town.found(voting={"Standard": LOCKED}, parent="above", log=own, **SHARED)
    proposal = propose(town, "a")
    await adopt(town, proposal)
    (conflict,) = [key for key in town.server.objects if key.kind == "PolicyConflict"]
    arbitrate(town, conflict, "AB")
    await town.settle(102)
    arbitrate(town, conflict, "AAA-")
    await town.settle(3)
    assert town.status(proposal)["phase"] == "Executed"
    for key in logs.values():
        await town.context.log.checkpoint(key.name, key)
    town.agenda.mark(proposal)
    await town.settle()
    status = town.status(proposal)
    report = verify(town.content(status["evidenceRef"]), pinned=Pinned(), proof=town.content(status["proofRef"]))
    assert report.verdict is Verdict.INTACT, report.faults


async def test_a_rival_signed_with_a_removed_key_is_found() -> None:
    """A hub that holds a key which was removed before the rival opened cannot make up that rival."""
    town = await Town().restart()
    spec = {**town.domain_spec(voting={"Standard": LOCKED, "Constitutional": LOCKED})}
    del spec["signatures"]
    stolen = copy.deepcopy(spec)
    rival = next(item for item in stolen["members"] if item["nodeId"] == node("m1"))
    rival["keys"][0]["publicKey"] = public("m1.stolen")
    town.apply("TrustDomain", "fleet", sign_domain(stolen))
    town.contract = town.apply("DynamicContract", "rules", {"trustDomain": "fleet", "genesis": town.genesis()})
    await town.settle(2)
    digest = trust_domain_statement("fleet", stolen).digest
    town.apply("TrustDomain", "fleet", sign_domain({**spec, "revision": 2, "previousDigest": digest}))
    await town.settle(2)
    await adopt(town, propose(town, "a"), propose(town, "b", "m1"))
    (conflict,) = [key for key in town.server.objects if key.kind == "PolicyConflict"]
    arbitrate(town, conflict, "AA")
    await town.settle(40)
    document = parse_json(town.content(town.status(party(town, conflict, "A"))["evidenceRef"]))
    assert verify(canonical_bytes(document), pinned=Pinned()).applicable
    (made_up,) = [item for item in document["conflicts"][0]["proposals"] if item["statement"]["name"] == "b"]
    made_up["signature"] = Statement("proposal", made_up["statement"]).sign(seed("m1.stolen"))
    report = verify(canonical_bytes(document), pinned=Pinned())
    assert any("party b could not open: BadSignature" in item.message for item in report.faults)
    assert report.verdict is Verdict.TAMPERED
