"""The tally against a second, naive reading of governance.md on random votes, delegations, revisions and rules."""

from random import Random
from typing import Any

import pytest

from quorate.canonical import format_time
from quorate.proposals.decision import decide
from tests.unit.proposals.fleet import OPENED, Fleet, member, node
from tests.unit.proposals.oracle import Oracle

PERIOD, LATER = 24, OPENED + 10_000
NAMES = ("m0", "m1", "m2", "m3", "m4")
SHARES = (0, 1, 2500, 3334, 5000, 6666)


def rules(random: Random, period: int) -> dict[str, Any]:
    """Rules of a type with quorum, some of the options, and `period`."""
    pick = random.choice
    floor = pick((1000, 3000, 5000))
    adaptive = {
        "startBasisPoints": min(floor + pick((0, 1500, 5000)), 10_000),
        "floorBasisPoints": floor,
        "confirmSeconds": random.randrange(10),
    }
    found = {
        **pick(({"quorumBasisPoints": pick((*SHARES, 9999))}, {"adaptiveQuorum": adaptive})),
        "quorumBasis": pick((None, None, "Approve", "Cast")),
        "minimumVoters": pick((None, None, 1, 2, 4)),
        "thresholdBasisPoints": pick(SHARES),
        "vetoBasisPoints": pick((None, *SHARES)),
        "allowVeto": pick((None, None, [], ["ComplianceWitness"], [node("m0"), node("m1")])),
        "votingPeriodSeconds": period,
        "earlyDecision": pick((None, False, True)),
        "lateQuorum": pick((None, {"windowSeconds": random.randrange(9), "extensionSeconds": random.randrange(10)})),
    }
    return {name: value for name, value in found.items() if value is not None}


def members(weights: list[int], changed: list[str], not_after: int | None = None) -> list[dict[str, Any]]:
    """m0 … m4, of whom m3 needs two keys, m1 and m4 are witnesses; keys of those `changed` are replaced or end."""
    found = []
    for name, weight in zip(NAMES, weights, strict=True):
        replaced = name in changed and not_after is None
        ends = OPENED + not_after if name in changed and not_after is not None else None
        item = member(name, weight, keys=("other" if replaced else "main", "second"), not_after=ends)
        if name == "m3":
            item["voteThreshold"] = 2
        if name in ("m1", "m4"):
            item["role"] = "ComplianceWitness"
        found.append(item)
    return [*found, member("fork", 5, role="TrustFork")]


def world(random: Random) -> Fleet:
    """A fleet of five that votes at random, before, during and after the period."""
    pick = random.choice
    optimistic = {"votingPeriodSeconds": PERIOD, "objectionBasisPoints": pick(SHARES)}
    voting = {"Standard": rules(random, PERIOD), "Expedited": rules(random, PERIOD // 2), "Optimistic": optimistic}
    kind = pick(("Standard", "Standard", "Expedited", "Expedited", "Optimistic"))
    weights = [random.randrange(1, 4) if random.randrange(9) else 0 for _ in NAMES]
    revised = []
    for at in sorted(random.randrange(-3, PERIOD + 4) for _ in range(pick((0, 0, 1, 1, 2)))):
        changed, ends = random.sample(NAMES, random.randrange(4)), pick((None, random.randrange(-2, PERIOD)))
        revised.append((OPENED + at, members(weights, changed, ends)))
    fleet = Fleet(voting, members(weights, []), kind, revised=revised)
    choices = ["Approve"] * random.randrange(2, 9) + ["Reject"] * 2 + ["Abstain", "Veto", "Retract", "PartyA"]
    for _ in range(random.randrange(14)):
        who, at = pick((*NAMES * 2, "fork", "stranger")), random.randrange(-4, PERIOD + 20)
        key, sequence = pick(("main", "main", "second")), random.randrange(1, 4)
        fleet.vote(who, pick(choices), at, cast=pick((at, at, at, 0, 330)), sequence=sequence, key=key)
    for _ in range(random.randrange(4)):
        types = pick((["Standard", "Expedited", "Optimistic"], ["Standard", "Expedited"], []))
        expires = pick((None, None, PERIOD, PERIOD + 1, PERIOD + 6))
        more = {} if expires is None else {"expiresAt": format_time(OPENED + expires)}
        key, sequence = pick(("main", "main", "second")), random.randrange(1, 3)
        at = random.randrange(-4, PERIOD)
        fleet.delegate(pick(NAMES), pick((None, *NAMES)), at, types=types, key=key, sequence=sequence, **more)
    return fleet


def agree(fleet: Fleet) -> str:
    """Compare every number and every reason; returns outcome and reason."""
    case = fleet.case()
    progress, oracle = decide(case, LATER), Oracle.of(case)
    outcome, reason, at, end, decided_by = oracle.decide()
    found = progress.decision
    assert found is not None
    assert (found.outcome, str(found.reason), found.at - OPENED) == (outcome, reason, at - OPENED)
    counted, reasons = oracle.choices(decided_by, at, end)
    expected, sums = oracle.sums(counted), progress.tally.sums
    assert (sums.approve, sums.reject, sums.abstain, sums.veto) == tuple(expected.values())
    assert (sums.total, sums.voters) == (oracle.total, sum(oracle.weight(who) > 0 for who in counted))
    judged = {vote.ballot: str(vote.reason) for vote in progress.tally.votes}
    for ballot, said in zip(case.ballots, oracle.votes, strict=True):
        assert judged[ballot] == reasons[id(said)]
    return f"{fleet.kind} {outcome} {reason}"


@pytest.mark.parametrize("block", range(8))
def test_the_tally_is_what_a_naive_reading_gives(block: int) -> None:
    """Outcome, reason, T, sums and the reason of each vote agree with a reading that looks at every second anew."""
    for seed in range(block * 25, block * 25 + 25):
        try:
            agree(world(Random(seed)))
        except AssertionError as error:
            raise AssertionError(f"seed {seed}") from error


@pytest.mark.parametrize("block", range(4))
def test_a_decision_is_taken_when_due_and_stays(block: int) -> None:
    """It is taken from T + 2 on, never before; next_check looks ahead; what is recorded later changes nothing."""
    for seed in range(block * 15, block * 15 + 15):
        case = world(Random(seed)).case()
        last = decide(case, LATER).decision
        assert last is not None
        for now in range(OPENED, last.at + 12):
            progress = decide(case, now)
            assert progress.decision == (last if now >= last.at + 2 else None), (seed, now - OPENED)
            if progress.decision is None:
                assert progress.next_check is not None and progress.next_check > now, (seed, now - OPENED)
