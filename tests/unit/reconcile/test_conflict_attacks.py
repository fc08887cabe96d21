"""What a hub, a member or whoever may create objects tries with conflicts, through the reconcilers."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from quorate.audit.verify import Verdict
from quorate.canonical import canonical_bytes, digest_of, parse_json
from quorate.conflicts.arbitrators import rank
from quorate.proposals.bundle import parse_bundle
from quorate.proposals.evidence import Pinned, verify
from tests.unit.proposals.fleet import node

from .test_conflicts import (
    NAMES,
    arbitrate,
    party,
    six,
    two_adopted,
)
from .town import Town

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
    ("forge", "said"), [(exclude_an_honest_one, "excluded were"), (make_up_a_rival, "is not signed by its proposer")]
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
