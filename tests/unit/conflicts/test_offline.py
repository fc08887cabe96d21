"""Conflicts from documents alone: what a sender of many documents costs, and limits that no status can lift."""

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from quorate.canonical import format_time
from quorate.conflicts import offline
from quorate.conflicts.detect import Candidate, Surroundings, detect
from quorate.conflicts.document import Conflict, Found
from quorate.conflicts.offline import conflicts_of, execution
from quorate.conflicts.papers import Opened, Papers, Told
from quorate.conflicts.rivals import MAX_RIVALS, TooManyRivalsError, rivals_among
from quorate.identity.statements import attestation_statement
from quorate.trust.record import AttestationRecord
from tests.unit.conflicts.arena import NAMES, Arena, candidate
from tests.unit.proposals.fleet import MESH, OPENED, PERIOD, STANDARD, constitution, history, member, node, seed

LATE = OPENED + 10 * PERIOD


def papers(
    proposals: Iterable[Candidate] = (),
    conflicts: Iterable[dict[str, Any]] = (),
    raisings: Iterable[tuple[str, AttestationRecord]] = (),
    **more: Any,
) -> Papers:
    """The documents of the arena's domain, whose proposals opened before they were decided."""
    attested: dict[str, list[AttestationRecord]] = {}
    for digest, record in raisings:
        attested.setdefault(digest, []).append(record)
    opened = {item.digest: Opened(item.fields, item.decided - 50, None) for item in proposals}
    histories = more.pop("histories", Arena().histories)
    return Papers(histories, {}, list(conflicts), attested, opened)


def raised(name: str, one: Candidate, other: Candidate, **status: Any) -> dict[str, Any]:
    """A PolicyConflict that a member wrote."""
    spec = {
        "domain": "fleet",
        "parties": [one.party.document, other.party.document],
        "evidence": [{"digest": "sha256:" + "e" * 64, "description": name}],
    }
    return {"kind": "PolicyConflict", "metadata": {"name": name}, "spec": spec, "status": status}


def by(who: str, document: dict[str, Any], at: int) -> tuple[str, AttestationRecord]:
    """The digest of a written conflict, and the attestation with which a member raises it."""
    digest = Conflict.of(MESH, document["spec"]).digest
    spec: dict[str, Any] = {
        "domain": "fleet",
        "attester": node(who),
        "keyName": "main",
        "sequence": 1,
        "at": format_time(at),
        "type": "Compliance",
        "subject": {"kind": "PolicyConflict", "name": document["metadata"]["name"], "digest": digest},
        "statement": {"compliant": False},
    }
    spec["signature"] = attestation_statement(MESH, spec).sign(seed(f"{who}.main"))
    return digest, AttestationRecord.of(MESH, spec, at)


def apart(count: int) -> list[Candidate]:
    """Proposals on one clause, each decided after the timelock of the one before had ended."""
    return [candidate(f"p{number}", OPENED + 100 * number) for number in range(count)]


@pytest.mark.parametrize("where", ["one clause", "many clauses"])
def test_rivals_are_not_compared_pairwise(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """A thousand adopted proposals that contest nothing are looked at once each, not half a million times."""
    looked = []

    def counting(proposal: Candidate, around: Surroundings) -> Iterator[Found]:
        looked.append(proposal)
        return detect(proposal, around)

    monkeypatch.setattr(offline, "detect", counting)
    adopted = apart(1000)
    if where == "many clauses":
        target = {"kind": "DynamicContract", "name": "rules"}
        adopted = [candidate(f"p{n}", OPENED, target={**target, "clause": str(n)}) for n in range(1000)]
    told = conflicts_of(adopted, papers(adopted), LATE * 2)
    assert told.opened == ()
    assert len(looked) <= len(adopted)


def test_every_overlapping_pair_is_found() -> None:
    """The quick way finds what comparing all of them finds."""
    adopted = [candidate(f"p{number}", OPENED + number * 7 % 200, 30) for number in range(40)]
    pairs = {frozenset((one.digest, other.digest)) for one, other in rivals_among(adopted)}
    slow = {
        frozenset((one.digest, other.digest))
        for one in adopted
        for other in adopted
        if one.digest != other.digest and max(one.decided, other.decided) <= min(one.execute_after, other.execute_after)
    }
    assert pairs == slow
    assert len(pairs) > 40


def test_more_rivals_than_any_domain_adopts_are_refused() -> None:
    """Their conflicts would be the square of their number: one sentence names the target and the second."""
    adopted = [candidate(f"p{number}", OPENED + number) for number in range(MAX_RIVALS + 1)]
    with pytest.raises(TooManyRivalsError, match=r"more than 64 adopted proposals on DynamicContract/rules/1"):
        conflicts_of([candidate(f"p{n}", OPENED + n, 500) for n in range(MAX_RIVALS + 1)], papers(adopted), LATE)


def four(claims: bool = False) -> tuple[list[Candidate], list[dict[str, Any]]]:
    """Five proposals on as many clauses, and four conflicts that a member wrote about pairs of them."""
    target = {"kind": "DynamicContract", "name": "rules"}
    adopted = [candidate(f"p{n}", OPENED, proposer="m1", target={**target, "clause": str(n)}) for n in range(5)]
    status = {"openedAt": format_time(OPENED + 20)} if claims else {}
    written = [raised(f"c{n}", adopted[n], adopted[n + 1], **status) for n in range(4)]
    return adopted, written


def told(adopted: list[Candidate], written: list[dict[str, Any]], at: int, who: str = "m2") -> Told:
    """What the documents tell when one member raised all of them at one second."""
    raisings = [by(who, item, OPENED + 10) for item in written]
    return conflicts_of(adopted, papers(adopted, written, raisings), at)


def names(found: Told) -> list[str]:
    """The refused ones with their reasons."""
    return [f"{item.written.name}: {item.reason}" for item in found.refused]


def test_c21_a_fourth_waits_for_room() -> None:
    """C21: three of a member are open; the fourth opens when the first of them is resolved, by documents too."""
    adopted, written = four()
    before = told(adopted, written, OPENED + 1000)
    assert (len(before.opened), len(before.refused)) == (3, 1)
    assert before.refused[0].reason == "TooManyConflicts"
    after = told(adopted, written, OPENED + 2 * PERIOD + 100)
    assert (len(after.opened), names(after)) == (4, [])
    assert after.opened[3].opened == min(item.held.resolved or LATE for item in after.opened[:3])


def test_c28_a_status_lifts_no_limit() -> None:
    """C28: four that their hub claims to have opened at once: one is refused, and the claim is named."""
    adopted, written = four(claims=True)
    found = told(adopted, written, LATE)
    assert len(found.opened) == 3
    (refusal,) = found.refused
    assert refusal.reason == "TooManyConflicts"
    assert "its status claims that it opened at" in refusal.message
    assert refusal.document["claimed"] == format_time(OPENED + 20)


def test_c28_three_ever_against_one_proposal() -> None:
    """C28: the fourth of one member against the same proposal is refused, that of another member is not."""
    target = {"kind": "DynamicContract", "name": "r"}
    one, *others = (
        candidate(f"p{n}", OPENED, 10**6, proposer="m1", target={**target, "clause": str(n)}) for n in range(5)
    )
    adopted = [one, *others]
    written = [raised(f"c{n}", one, other) for n, other in enumerate(others)]
    found = told(adopted, written, LATE * 4)
    # Nobody votes: the first one blocks the proposal, and nothing of it is pending any more but the others.
    assert len(found.opened) == 3
    assert [item.reason for item in found.refused] == ["TooManyConflicts"]
    raisings = [by("m3" if n == 3 else "m2", item, OPENED + 10) for n, item in enumerate(written)]
    assert len(conflicts_of(adopted, papers(adopted, written, raisings), OPENED + 100).opened) == 4


@pytest.mark.parametrize(
    ("attested", "reason"),
    [((), "NotRaised"), (("m9",), "NotRaised"), (("p0",), "NotRaised"), (("m2", "m3"), None)],
)
def test_a_claim_needs_a_member(attested: tuple[str, ...], reason: str | None) -> None:
    """What a status says is opened is not, without an attestation of a member that may and whose key still is there."""
    members = [member(name) for name in NAMES[:9]]
    revised = history(
        (0, constitution([member(name) for name in NAMES], {"Standard": STANDARD})),
        (OPENED + 15, constitution(members, {"Standard": STANDARD}, revision=2)),
    )
    adopted, written = four(claims=True)
    raisings = [by(name, written[0], OPENED + 10) for name in attested]
    found = conflicts_of(adopted, papers(adopted, written[:1], raisings, histories={"fleet": revised}), LATE)
    assert [str(item.reason) for item in found.refused] == ([reason] if reason else [])


def test_many_waiting_conflicts_cost_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """A member's conflicts that wait are looked at when there is room for one, not all of them each time."""
    target = {"kind": "DynamicContract", "name": "rules"}
    adopted = [candidate(f"p{n}", OPENED, proposer="m1", target={**target, "clause": str(n)}) for n in range(301)]
    written = [raised(f"c{n}", adopted[n], adopted[n + 1]) for n in range(300)]
    tries = []
    course = offline._Course._raise

    def counting(self: Any, item: Any, second: int) -> None:
        tries.append(item)
        course(self, item, second)

    monkeypatch.setattr(offline._Course, "_raise", counting)
    found = told(adopted, written, LATE * 100)
    assert len(found.opened) + len(found.refused) == 300
    assert len(tries) < 3 * 300


def test_what_a_conflict_means_for_its_party() -> None:
    """Open: it waits; nobody decided: it failed; none: nothing is said."""
    adopted, written = four()
    digest = adopted[0].digest
    early = told(adopted, written[:1], OPENED + 100).of(digest)[0]
    assert execution(early, digest) == {"state": "Conflict", "reason": None}
    late = told(adopted, written[:1], LATE).of(digest)[0]
    assert execution(late, digest) == {"state": "Failed", "reason": "Unresolved"}
    assert execution([], digest) is None
