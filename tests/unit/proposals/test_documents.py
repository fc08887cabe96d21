"""The offline tally: outcomes from documents alone."""

from time import process_time
from typing import Any

import pytest

from quorate.canonical import format_time
from quorate.identity.statements import trust_domain_statement
from quorate.proposals.decision import Case, decide
from quorate.proposals.documents import DocumentError, tally_documents
from tests.unit.proposals.fleet import OPENED, PERIOD, STANDARD, Fleet, constitution, member
from tests.unit.proposals.papers import folder, proposal, signed_domain

END = OPENED + PERIOD + 2
Object = dict[str, Any]


def test_an_outcome_from_documents() -> None:
    """The document has every number; a vote without a recorded time is claimed."""
    (result,) = tally_documents(folder(Fleet()), at=END, opened=OPENED)
    assert (result["outcome"], result["reason"], result["decidedAt"]) == (
        "Adopted",
        "Passed",
        format_time(OPENED + PERIOD),
    )
    assert result["sums"] == {"approve": 4, "reject": 1, "abstain": 0, "veto": 0, "cast": 5, "outstanding": 5}
    assert result["tests"] == [
        {"name": "quorum", "left": 50_000, "right": 33_400, "holds": True},
        {"name": "threshold", "left": 40_000, "right": 25_000, "holds": True},
    ]
    assert result["electorate"]["members"] == result["electorate"]["totalWeight"] == 10
    assert result["rules"] == STANDARD
    assert result["votes"][0]["time"] == format_time(OPENED + 10)
    assert all(vote["claimed"] and vote["counted"] for vote in result["votes"])
    assert result["domains"] == {}


def test_undecided_before_the_second_second() -> None:
    """At T + 1 nothing is decided, yet every number is shown."""
    (result,) = tally_documents(folder(Fleet()), at=END - 1, opened=OPENED)
    assert (result["outcome"], result["decidedAt"], result["sums"]["cast"]) == (None, None, 5)


def test_an_unsigned_revision_changes_nothing() -> None:
    """A chain is verified by signatures; a revision that the admins did not sign is named, and not in force."""
    first = constitution([member("m0")], {"Standard": STANDARD})
    second = {**constitution([member("m1")], {"Standard": STANDARD}, revision=2)}
    second["previousDigest"] = trust_domain_statement("fleet", first).digest
    forged = signed_domain(second)
    forged["spec"]["signatures"] = forged["spec"]["signatures"][:1]
    fleet = Fleet(members=[member("m0")])
    (result,) = tally_documents([*folder(fleet, "Y"), forged], at=END, opened=OPENED)
    assert result["electorate"]["members"] == 1
    assert result["refusedRevisions"][0]["reason"] == "Unauthorized"


def test_an_amendment_supersedes() -> None:
    """A signed higher revision closes the first; it opens its own digest without the old votes."""
    fleet = Fleet()
    amended = proposal({**fleet.spec(), "revision": 2}, OPENED + 500)
    first, second = tally_documents([*folder(fleet), amended], at=OPENED + 2000, opened=OPENED)
    assert (first["outcome"], first["decidedAt"]) == ("Superseded", format_time(OPENED + 500))
    assert (second["outcome"], second["reason"]) == ("Expired", "QuorumNotReached")
    late = proposal({**fleet.spec(), "revision": 2}, END)
    first, second = tally_documents([*folder(fleet), late], at=OPENED + 2000, opened=OPENED)
    assert (first["outcome"], second["reason"]) == ("Adopted", "AmendmentTooLate")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"type": "Constitutional"}, "TypeNotAllowed"),
        ({"keyName": "none"}, "UnknownKey"),
        ({"proposer": "22222222-2222-4222-8222-222222222222"}, "ProposerNotAllowed"),
        ({"domains": ["fleet", "unknown"]}, "NoAcceptedRevision"),
        ({"trustDomain": "unknown"}, "NoAcceptedRevision"),
    ],
)
def test_refused_openings(change: Object, reason: str) -> None:
    """A proposal that may not open says why."""
    fleet = Fleet()
    items = [folder(fleet)[0], proposal({**fleet.spec(), **change})]
    (result,) = tally_documents(items, at=END, opened=OPENED)
    assert (result["outcome"], result["reason"]) == ("Refused", reason)


def test_bad_documents() -> None:
    """Errors name object, field, value and rule."""
    items = folder(Fleet())
    with pytest.raises(DocumentError, match="neither --opened nor"):
        tally_documents(items, at=END)
    items[2]["spec"]["sequence"] = -1
    with pytest.raises(DocumentError, match=r"Vote v10-0: spec.sequence -1 must be an integer"):
        tally_documents(items, at=END, opened=OPENED)


def timed(case: Case) -> float:
    start = process_time()
    decide(case, OPENED + 4000)
    return process_time() - start


def test_a_thousand_votes_are_quick() -> None:
    """With the signatures' verdicts known, a thousand votes at as many seconds are decided in well under 100 ms."""
    members = [member(f"m{i}") for i in range(1000)]
    rules = {**STANDARD, "votingPeriodSeconds": 5000, "earlyDecision": True}
    fleet = Fleet({"Standard": rules}, members)
    for index in range(1000):
        fleet.vote(f"m{index}", "Approve" if index % 2 else "Reject", index)
    case = fleet.case()
    decide(case, OPENED + 4000)
    took = min(timed(case) for _ in range(5))
    print(f"decide, 1000 votes: {took * 1000:.1f} ms")
    assert took < 0.1
