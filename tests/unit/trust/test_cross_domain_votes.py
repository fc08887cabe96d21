"""Votes that cross into the proposal's domain: counted as far as its boundary lets them, at every second."""

from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest

from quorate.canonical import format_time
from quorate.identity.statements import attestation_statement
from quorate.proposals.decision import Case, Progress, decide
from quorate.proposals.documents import tally_documents
from quorate.proposals.outcome import document
from quorate.trust.record import AttestationRecord
from tests.unit.proposals.fleet import (
    MESH,
    OPENED,
    PERIOD,
    STANDARD,
    Fleet,
    constitution,
    history,
    member,
    node,
    seed,
)
from tests.unit.proposals.papers import attestation, proposal, resource, signed_domain

END = OPENED + PERIOD
PARTNERS = ("p0", "p1", "p2")


def attest(by: str, kind: str, subject: dict[str, Any], statement: dict[str, Any], at: int, **more: Any) -> Any:
    """An attestation under `fleet`, `at` seconds after the opening."""
    spec = {
        "domain": "fleet",
        "attester": node(by),
        "keyName": "main",
        "sequence": 1,
        "at": format_time(OPENED + at),
        "subject": subject,
        "type": kind,
        "statement": statement,
        **more,
    }
    spec["signature"] = attestation_statement(MESH, spec).sign(seed(f"{by}.main"))
    return AttestationRecord.of(MESH, spec, OPENED + at)


def trust(by: str, whom: str, at: int = 1, weight: int = 9000, **more: Any) -> Any:
    return attest(by, "Trust", {"kind": "MeshNode", "name": node(whom)}, {"weightBasisPoints": weight}, at, **more)


def case(fleet: Fleet, *records: Any, action: str = "Deny", **rules: Any) -> Case:
    """The fleet's case with a domain `partner` of three, of which `fleet` asks for a score of 5000."""
    boundary = [{"fromDomain": "partner", "minScoreBasisPoints": 5000, "onViolation": action}]
    own = constitution(fleet.members, {"Standard": STANDARD | rules}, boundary=boundary, trust={"maxChainLength": 2})
    partner = constitution([member(name) for name in PARTNERS], {"Standard": STANDARD | rules})
    histories = {"fleet": history((0, own)), "partner": history((0, partner), name="partner")}
    return replace(fleet.case(), histories=histories, attestations=records)


def voted(partner: str = "YYY") -> Fleet:
    """Both domains approve: four of ten, and the partners as the letters say."""
    fleet = Fleet(domains=["fleet", "partner"]).cast("YYYY")
    for name, letter in zip(PARTNERS, partner, strict=True):
        if letter != ".":
            fleet.vote(name, {"Y": "Approve", "N": "Reject"}[letter], domain="partner")
    return fleet


def reasons(progress: Progress) -> dict[str, str]:
    """Reason by partner."""
    names = {node(name): name for name in PARTNERS}
    return {names[vote.ballot.holder]: str(vote.reason) for vote in progress.tallies["partner"].votes}


def outcome(progress: Progress) -> tuple[str, str, int]:
    decision = progress.decision
    assert decision is not None
    return decision.outcome, decision.reason, progress.tallies["partner"].sums.approve


ALL = tuple(trust("m0", name) for name in PARTNERS)


@pytest.mark.parametrize(
    ("action", "expected", "reason"),
    [
        ("Deny", ("Expired", "QuorumNotReached", 0), "BoundaryDenied"),
        ("Quarantine", ("Expired", "QuorumNotReached", 0), "BoundaryQuarantined"),
        ("Warn", ("Adopted", "Passed", 3), "Counted"),
    ],
)
def test_untrusted_votes_of_another_domain(action: str, expected: Any, reason: str) -> None:
    """Denied and held votes count nothing, though their members stay in the denominator; a warning lets them pass."""
    progress = decide(case(voted(), action=action), END + 2)
    assert outcome(progress) == expected
    assert set(reasons(progress).values()) == {reason}
    assert progress.tallies["partner"].sums.total == 3


def test_own_votes_cross_nothing() -> None:
    """The boundary of a domain is not asked about its own members."""
    assert decide(case(voted()), END + 2).tallies["fleet"].sums.approve == 4


def test_trusted_votes_count() -> None:
    """Vouched for by the home hub, all three count."""
    assert outcome(decide(case(voted(), *ALL), END + 2)) == ("Adopted", "Passed", 3)


def test_a_vote_counts_once_its_voter_is_trusted() -> None:
    """A vote that was denied needs not be cast again: what is attested until T counts at T, a second later nothing."""
    late = [trust("m0", name, PERIOD) for name in PARTNERS]
    too_late = [trust("m0", name, PERIOD + 1) for name in PARTNERS]
    assert reasons(decide(case(voted(), *late), OPENED + 50))["p0"] == "BoundaryDenied"
    assert outcome(decide(case(voted(), *late), END + 2)) == ("Adopted", "Passed", 3)
    assert outcome(decide(case(voted(), *too_late), END + 2))[0] == "Expired"


def test_trust_that_expires_before_the_decision_is_none() -> None:
    """Unexpired at T is what counts."""
    for seconds, result in ((PERIOD, "Expired"), (PERIOD + 1, "Adopted")):
        records = [trust("m0", name, expiresAt=format_time(OPENED + seconds)) for name in PARTNERS]
        assert outcome(decide(case(voted(), *records), END + 2))[0] == result


def test_one_trusted_voter_is_not_enough_for_the_others() -> None:
    """Each voter is judged for itself."""
    progress = decide(case(voted("YNY"), trust("m0", "p1")), END + 2)
    assert reasons(progress) == {"p0": "BoundaryDenied", "p1": "Counted", "p2": "BoundaryDenied"}
    assert outcome(progress) == ("Expired", "QuorumNotReached", 0)


def test_delegated_weight_crosses_with_its_delegator() -> None:
    """An untrusted member cannot lend its weight to a trusted one; a trusted one can."""
    fleet = Fleet(domains=["fleet", "partner"]).cast("YYYY")
    fleet.vote("p0", "Approve", domain="partner")
    for name in ("p1", "p2"):
        fleet.delegate(name, "p0", domain="partner")
    approve = [decide(case(fleet, *ALL[:count]), END + 2).tallies["partner"].sums.approve for count in range(4)]
    assert approve == [0, 1, 2, 3]


def test_a_release_lets_a_held_vote_count() -> None:
    """Quarantined until a member of the proposal's domain releases this very vote."""
    fleet = voted("Y..")
    held = fleet.ballots[-1]
    subject = {"kind": "Vote", "name": "v", "digest": held.digest}
    release = attest("m1", "BoundaryCrossing", subject, {"release": True}, 20)
    before, after = (decide(case(fleet, *records, action="Quarantine"), END + 2) for records in ((), (release,)))
    assert (reasons(before)["p0"], reasons(after)["p0"]) == ("BoundaryQuarantined", "Counted")
    assert outcome(after)[2] == 1


def test_early_adoption_waits_for_trust() -> None:
    """Decided at the second at which the voters became trusted, not at that of their votes."""
    fleet = voted().cast("....YYYYYY")
    records = [trust("m0", name, 40) for name in PARTNERS]
    decided = decide(case(fleet, *records, earlyDecision=True), END + 2).decision
    assert decided is not None
    assert (decided.reason, decided.at) == ("Early", OPENED + 40)


def test_order_never_matters() -> None:
    """Votes and attestations in any order give one outcome document."""
    fleet = voted("YNY")
    records = [*ALL, trust("m0", "p1", 30, 10, sequence=2)]
    expected = document(decide(case(fleet, *records), END + 2))
    for order in permutations(records):
        assert document(decide(case(fleet, *order), END + 2)) == expected
    backwards = replace(case(fleet, *records), ballots=tuple(reversed(fleet.ballots)))
    assert document(decide(backwards, END + 2)) == expected


@pytest.mark.parametrize(("trusted", "expected"), [(3, "Adopted"), (1, "Expired")])
def test_the_offline_tally_judges_the_same(trusted: int, expected: str) -> None:
    """From documents alone, in any order: TrustDomains, proposal, votes and the attestations of the domain."""
    fleet = voted()
    boundary = [{"fromDomain": "partner", "minScoreBasisPoints": 5000, "onViolation": "Deny"}]
    own = constitution(fleet.members, {"Standard": STANDARD}, boundary=boundary, trust={"maxChainLength": 2})
    partner = constitution([member(name) for name in PARTNERS], {"Standard": STANDARD})
    objects = [
        signed_domain(own, OPENED - 9),
        signed_domain(partner, OPENED - 9, name="partner"),
        proposal(fleet.spec(), OPENED),
        *(
            resource("Vote", f"v{index}", fleet.vote_spec(name, "Approve", domain=domain), OPENED + 10)
            for index, (name, domain) in enumerate(
                [*((f"m{number}", "fleet") for number in range(4)), *((name, "partner") for name in PARTNERS)]
            )
        ),
        *(
            attestation(
                "Trust",
                {"weightBasisPoints": 9000},
                OPENED + 20,
                subject={"kind": "MeshNode", "name": node(name)},
            )
            for name in PARTNERS[:trusted]
        ),
    ]
    for order in (objects, objects[::-1]):
        (result,) = tally_documents(order, at=END + 2)
        assert result["outcome"] == expected
        denied = [vote for vote in result["domains"]["partner"]["votes"] if vote["reason"] == "BoundaryDenied"]
        assert len(denied) == 3 - trusted
