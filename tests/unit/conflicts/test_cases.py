"""The numbered cases of docs/conflicts.md that the pure rules decide."""

from hashlib import sha256
from typing import Any

import pytest

from quorate.api.conditions import Reason
from quorate.api.governance_proposal import Phase
from quorate.api.policy_conflict import Cause, ConflictOutcome, Level, Severity
from quorate.canonical import digest_of
from quorate.conflicts.arbitration import arbitrate
from quorate.conflicts.arbitrators import rank
from quorate.conflicts.detect import Candidate, Override, Surroundings, detect, lacks_parent
from quorate.conflicts.document import Conflict, Party
from quorate.conflicts.effect import Held, loss, met_override, overruled, resumed, resumed_window
from quorate.conflicts.raised import raised
from quorate.conflicts.severity import Extent, scope_of, severity_of
from quorate.contracts.content import Content
from quorate.contracts.patch import Target, changed_target
from quorate.proposals.lifecycle import Life
from quorate.trust.domain import DomainRevision
from tests.unit.conflicts.arena import END, NAMES, Arena, candidate
from tests.unit.proposals.fleet import OPENED, PERIOD, STANDARD, constitution, member, node

DOMAIN = DomainRevision("fleet", constitution([member(name) for name in NAMES], {"Standard": STANDARD}))


def _domain(**more: object) -> DomainRevision:
    return DomainRevision("fleet", {**DOMAIN.spec, **more})


def test_c2_timelocks_that_share_one_second_conflict() -> None:
    """C2: the end of one timelock is T of the other: both ends belong to it."""
    one, other = candidate("a"), candidate("b", 150, proposer="m1")
    (found,) = detect(one, Surroundings(DOMAIN, rivals=(other,)))
    assert found.cause is Cause.OVERLAPPING_TIMELOCKS
    assert {party.digest for party in found.conflict.parties} == {one.digest, other.digest}
    assert set(found.excluded) == {node("m0"), node("m1")}


def test_c3_timelocks_that_share_none_do_not() -> None:
    """C3: whoever is adopted after the other's timelock ended comes too late to contest it."""
    assert not list(detect(candidate("a"), Surroundings(DOMAIN, rivals=(candidate("b", 151),))))


def test_c4_three_rivals_are_three_pairs() -> None:
    """C4: each proposal finds its two, in the same words as the others do."""
    rivals = tuple(candidate(name) for name in "abc")
    found = {item.conflict.digest for rival in rivals for item in detect(rival, Surroundings(DOMAIN, rivals=rivals))}
    assert len(found) == 3


def test_c5_the_lowest_hashes_sit() -> None:
    """C5: of ten that may, the three with the lowest SHA-256(digest ‖ nodeId)."""
    arena = Arena()
    digest = bytes.fromhex(arena.conflict.digest.removeprefix("sha256:"))
    hashes = {node(name): sha256(digest + node(name).encode()).digest() for name in NAMES}
    assert [seat.node_id for seat in arena.bench()] == sorted(hashes, key=lambda item: hashes[item])[:3]
    assert all(rank(arena.conflict.digest, node_id) == value for node_id, value in hashes.items())


def test_c6_a_party_never_sits() -> None:
    """C6: whoever would be first is passed over once it is a party; the others move up."""
    before = Arena().bench()
    after = Arena(excluded=frozenset({before[0].node_id})).bench()
    assert after[:2] == before[1:]
    assert before[0] not in after


def test_c7_two_cannot_decide() -> None:
    """C7: with two that may sit, the level escalates at the second at which it began."""
    arena = Arena(members=[member("m0"), member("m1")])
    progress = arbitrate(arena.case(), OPENED)
    (first,) = progress.escalations
    assert first.step is not None
    assert (first.step.reason, first.step.at, progress.current.level) == (
        Reason.TOO_FEW_ARBITRATORS,
        OPENED,
        Level.HUBS,
    )


def test_c8_a_majority_that_nobody_can_turn_decides_early() -> None:
    """C8: two of three for PartyA; T is the second of the vote that made it."""
    progress = arbitrate(Arena().cast("AA").case(), OPENED + 12)
    assert progress.step is not None
    assert (progress.step.outcome, progress.step.reason, progress.step.at) == (
        ConflictOutcome.PARTY_A,
        Reason.EARLY,
        OPENED + 10,
    )
    assert arbitrate(Arena().cast("AA").case(), OPENED + 11).step is None


def test_c9_one_vote_is_a_plurality_at_the_end() -> None:
    """C9: those who stay away leave it to those who vote; until the end nothing is decided."""
    arena = Arena().cast("A")
    progress = arbitrate(arena.case(), END + 2)
    assert progress.step is not None
    assert (progress.step.outcome, progress.step.reason) == (ConflictOutcome.PARTY_A, Reason.PLURALITY)
    waiting = arbitrate(arena.case(), END + 1)
    assert (waiting.step, waiting.next_check) == (None, END + 2)


@pytest.mark.parametrize("above", [True, False])
def test_c10_a_tie_escalates_one_level(above: bool) -> None:
    """C10: A, B, Compromise: the parent's members are asked next, or all hubs where there is no parent."""
    arena = Arena(parent=[member(f"p{number}") for number in range(6)] if above else None).cast("ABC")
    progress = arbitrate(arena.case(), OPENED + 12)
    assert progress.current.level is (Level.PARENT if above else Level.HUBS)
    assert progress.escalations[0].step is not None
    assert progress.escalations[0].step.reason is Reason.TIE
    assert len(progress.current.seats) == (3 if above else 10)


def test_c11_silence_blocks() -> None:
    """C11: nobody votes at any of three levels: after three periods both are blocked."""
    arena = Arena(parent=[member(f"p{number}") for number in range(6)])
    progress = arbitrate(arena.case(), OPENED + 3 * PERIOD + 2)
    assert progress.step is not None
    assert (progress.step.outcome, progress.step.reason, progress.step.at) == (
        ConflictOutcome.BLOCKED,
        Reason.UNRESOLVED,
        OPENED + 3 * PERIOD,
    )


def test_c12_a_vote_taken_back_decides_nothing() -> None:
    """C12: of two votes for PartyA one is retracted in the same second: one of three is no early majority."""
    arena = Arena().cast("AA")
    arena.vote(arena.bench()[1], "Retract", 10, sequence=2)
    progress = arbitrate(arena.case(), OPENED + 100)
    assert progress.step is None
    assert progress.current.counts.document == {"partyA": 1, "partyB": 0, "compromise": 0, "outstanding": 2}


def test_c13_equivocation_voids() -> None:
    """C13: two choices under one sequence: neither counts."""
    arena = Arena().cast("A-")
    arena.vote(arena.bench()[0], "PartyB", 11)
    state = arbitrate(arena.case(), OPENED + 100).current
    assert {item.reason for item in state.votes} == {Reason.EQUIVOCATION}
    assert state.counts.outstanding == 3


def test_c14_a_revoked_key_voids() -> None:
    """C14: the key is removed before T: the vote says nothing at the end, though it was taken."""
    bench = Arena().bench()
    left = [member(name) for name in NAMES if node(name) != bench[0].node_id]
    arena = Arena(revised=[(20, left)]).cast("AB")
    progress = arbitrate(arena.case(), END + 2)
    assert progress.step is not None
    assert progress.step.outcome is ConflictOutcome.PARTY_B
    assert [item.reason for item in progress.levels[0].votes if item.ballot.holder == bench[0].node_id] == [
        Reason.KEY_REVOKED
    ]


def test_c15_a_level_that_is_over_takes_no_votes() -> None:
    """C15: a vote of level 1 after its tie is TooLate, and is none of level 2."""
    arena = Arena().cast("ABC")
    arena.vote(arena.bench()[0], "PartyB", 40, sequence=2)
    progress = arbitrate(arena.case(), OPENED + 100)
    assert progress.current.level is Level.HUBS
    assert progress.current.counts.outstanding == 10
    assert progress.levels[0].votes[-1].reason is Reason.TOO_LATE


def test_c16_and_c17_what_a_loser_fails_with() -> None:
    """C16, C17: Compromise and Blocked end both; otherwise the other party alone."""
    conflict = Arena().conflict
    first, second = (party.digest for party in conflict.parties)
    said = {
        outcome: tuple(
            None if (found := loss([Held(conflict, 0, "x", 1, outcome)], digest)) is None else found[0]
            for digest in (first, second)
        )
        for outcome in ConflictOutcome
    }
    assert said == {
        ConflictOutcome.PARTY_A: (None, Reason.CONFLICT_LOST),
        ConflictOutcome.PARTY_B: (Reason.CONFLICT_LOST, None),
        ConflictOutcome.COMPROMISE: (Reason.COMPROMISE, Reason.COMPROMISE),
        ConflictOutcome.BLOCKED: (Reason.UNRESOLVED, Reason.UNRESOLVED),
    }


def test_c18_the_winner_has_a_whole_window() -> None:
    """C18: the window keeps its length and begins at the resolution, unless that fell into the timelock."""
    conflict = Arena().conflict
    life = Life(Phase.ADOPTED, decided_at=100, execute_after=150, execute_before=200)
    late = resumed(life, [Held(conflict, 110, "x", 900, "PartyA")])
    assert (late.execute_after, late.execute_before) == (900, 950)
    assert resumed(life, [Held(conflict, 110, "x", 120, "PartyA")]) == life
    assert resumed_window((150, None), [900]) == (900, None)


def test_c19_an_unknown_parent_is_not_trusted() -> None:
    """C19: whether a shared clause contradicts a parent that is unknown here cannot be told, so nothing executes."""
    proposal = candidate("a")
    shared = _domain(parent="above", sharedClauses={"rules": ["1"]})
    assert lacks_parent(proposal, Surroundings(shared))
    assert not lacks_parent(proposal, Surroundings(_domain(parent="above")))
    parent = DomainRevision("above", DOMAIN.spec)
    (found,) = detect(proposal, Surroundings(shared, parent=parent))
    assert (found.cause, found.conflict.parties[1].name) == (Cause.PARENT_CONTRADICTS, "above")
    both = candidate("a", domains=["fleet", "above"])
    assert not list(detect(both, Surroundings(shared, parent=parent)))


SURFACES = Content.genesis(
    {
        "contractId": "6b1b36cb-1111-4222-8333-444455556666",
        "version": "v2026.01.05",
        "clauses": {"1": {"text": "One."}},
        "surfaces": {"cold": {"capabilities": []}, "warming": {"capabilities": ["read", "write"]}},
    }
)
GIVE = [{"op": "add", "path": "/cold/capabilities/-", "value": "read"}]
TAKE = [{"op": "replace", "path": "/warming/capabilities", "value": ["write"]}]
WIDEN = [{"op": "add", "path": "/warming/capabilities/-", "value": "report"}]
REMOVE = [{"op": "replace", "path": "", "value": None}]


def on_surfaces(name: str, patch: list[dict[str, Any]], decided: int = 100) -> Candidate:
    """An adopted change of the surfaces, whose timelock ends at 150 when it was decided at 100."""
    target = {"kind": "DynamicContract", "name": "rules", "section": "surfaces"}
    base = digest_of(SURFACES.document["surfaces"])
    return candidate(name, decided, target=target, change={"baseDigest": base, "patch": patch})


@pytest.mark.parametrize(
    ("patches", "decided", "cause"),
    [
        ((GIVE, TAKE), 151, Cause.SURFACES_NOT_MONOTONIC),
        ((TAKE, GIVE), 151, Cause.SURFACES_NOT_MONOTONIC),
        ((GIVE, TAKE), 150, Cause.OVERLAPPING_TIMELOCKS),
        ((GIVE, WIDEN), 151, None),
        ((GIVE, REMOVE), 151, None),
        ((REMOVE, TAKE), 151, None),
    ],
)
def test_c23_and_c24_surfaces_after_both(
    patches: tuple[list[dict[str, Any]], list[dict[str, Any]]], decided: int, cause: Cause | None
) -> None:
    """C23, C24: what each grants alone may take from a state what the one below has by then; timelocks come first."""
    one, other = on_surfaces("a", patches[0]), on_surfaces("b", patches[1], decided)
    for item in (one, other):
        changed_target(SURFACES, Target(), item.fields["change"])
    pairs = [(one, other), (other, one)]
    found = [list(detect(first, Surroundings(DOMAIN, None, SURFACES, (second,)))) for first, second in pairs]
    assert [[item.cause for item in each] for each in found] == [[] if cause is None else [cause]] * 2
    assert found[0] == found[1]


def test_clauses_have_no_order_to_break() -> None:
    """Changes of a clause apart in time are no conflict, whatever the contract's surfaces are."""
    rival = candidate("b", 151)
    assert not list(detect(candidate("a"), Surroundings(DOMAIN, None, SURFACES, (rival,))))


@pytest.mark.parametrize(
    ("shared", "text", "conflicts"), [(["1"], "Here.", 1), (["1"], "x", 0), (["2"], "Here.", 0), ([], "Here.", 0)]
)
def test_c25_and_c27_a_vote_against_an_override(shared: list[str], text: str, conflicts: int) -> None:
    """C25, C27: an override that holds contests a shared clause's change to another text, and nothing else."""
    change = {"baseDigest": SURFACES.clause_digest("1"), "patch": [{"op": "replace", "path": "/text", "value": "x"}]}
    proposal = candidate("a", change=change)
    override = Override("rules", "1", text, node("m5"), "sha256:" + "5" * 64)
    around = Surroundings(_domain(sharedClauses={"rules": shared}), None, SURFACES, overrides=(override,))
    found = list(detect(proposal, around))
    assert [item.cause for item in found] == [Cause.OVERRIDE_CONTRADICTS] * conflicts
    for item in found:
        assert [party.digest for party in item.conflict.parties] == [proposal.digest, override.digest]
        assert set(item.excluded) == {node("m0"), node("m5")}


def test_c25_and_c26_what_an_override_loses() -> None:
    """C25, C26: only PartyA of an arbitration against an override ends it, and there is one for each proposal."""
    conflict = Arena().conflict
    sides = {outcome: [Held(conflict, 0, Cause.OVERRIDE_CONTRADICTS, 1, outcome)] for outcome in ConflictOutcome}
    assert {outcome: overruled(held) for outcome, held in sides.items()} == {
        outcome: ("1",) if outcome is ConflictOutcome.PARTY_A else () for outcome in ConflictOutcome
    }
    assert overruled([Held(conflict, 0, Cause.OVERLAPPING_TIMELOCKS, 1, ConflictOutcome.PARTY_A)]) == ()
    assert met_override([Held(conflict, 0, Cause.OVERRIDE_CONTRADICTS)])
    assert not met_override([Held(conflict, 0, Cause.OVERLAPPING_TIMELOCKS)])


def test_an_unknown_parent_cannot_arbitrate() -> None:
    """A tie under a parent that is unknown here blocks both: who decides next cannot be derived."""
    arena = Arena(parent=[member("p0")], known_parent=False).cast("ABC")
    progress = arbitrate(arena.case(), OPENED + 12)
    assert progress.step is not None
    assert (progress.step.outcome, progress.current.level) == (ConflictOutcome.BLOCKED, Level.PARENT)


@pytest.mark.parametrize(
    ("extent", "severity"),
    [
        (Extent(0, 9, 99), Severity.LOW),
        (Extent(0, 10, 0), Severity.MEDIUM),
        (Extent(0, 9, 100), Severity.MEDIUM),
        (Extent(1, 99, 999), Severity.HIGH),
        (Extent(1, 100, 0), Severity.CRITICAL),
        (Extent(2, 0, 1000), Severity.CRITICAL),
        (Extent(0, None, 0), Severity.HIGH),
    ],
)
def test_severity_at_its_boundaries(extent: Extent, severity: Severity) -> None:
    """Points of scope and of the larger size; what is unknown counts as the most."""
    assert severity_of(extent) is severity


CLAUSE = {"kind": "DynamicContract", "name": "rules", "clause": "1"}
ON_SURFACES = {"kind": "DynamicContract", "name": "rules", "section": "surfaces"}
TRUST_DOMAIN = {"kind": "TrustDomain", "name": "fleet"}


@pytest.mark.parametrize(
    ("target", "shared", "scope"),
    [(CLAUSE, {}, 0), (CLAUSE, {"rules": ["1"]}, 1), (ON_SURFACES, {}, 1), (TRUST_DOMAIN, {}, 2)],
)
def test_scope_of_rivals(target: dict[str, Any], shared: dict[str, list[str]], scope: int) -> None:
    """What the rivals change says the scope; a member that raises the same pair does not lower it."""
    domain = _domain(sharedClauses=shared)
    one, other = candidate("a", target=target), candidate("b", proposer="m1", target=target)
    (found,) = detect(one, Surroundings(domain, rivals=(other,)))
    assert scope_of(found) == scope
    unclear = [Party(item.party.kind, item.party.name, item.digest) for item in (one, other)]
    conflict = Conflict(domain.mesh_id, domain.name, (unclear[0], unclear[1]))
    proposals = {item.digest: item.fields for item in (one, other)}
    assert scope_of(raised(conflict, domain, node("m2"), proposals)) == scope


@pytest.mark.parametrize(("eligible", "severity", "sit"), [(10, Severity.HIGH, 5), (4, Severity.CRITICAL, 4)])
def test_three_to_five_sit(eligible: int, severity: Severity, sit: int) -> None:
    """High and Critical seat five, or as many as there are."""
    assert len(Arena(members=[member(name) for name in NAMES[:eligible]], severity=severity).bench()) == sit
