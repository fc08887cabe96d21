"""The offline tally where chains, copies, order and the other document kinds come in."""

import copy
from random import Random
from typing import Any

import pytest

from quorate.canonical import format_time, parse_time
from quorate.identity.statements import proposal_statement
from quorate.proposals.documents import DocumentError, tally_documents
from tests.unit.proposals.fleet import MESH, OPENED, PERIOD, STANDARD, Fleet, constitution, member, node, public, seed
from tests.unit.proposals.papers import (
    RECOVERY,
    Object,
    act,
    attestation,
    digest_of_domain,
    folder,
    proposal,
    recovery,
    resource,
    signed_domain,
    votes,
)
from tests.unit.proposals.test_decision import EMERGENCY

END = OPENED + PERIOD + 2


def tally(items: list[Object], at: int = END, opened: int | None = OPENED, **more: Any) -> Object:
    (result,) = tally_documents(items, at=at, opened=opened, **more)
    return result


def next_of(spec: Object, **changes: Any) -> Object:
    return {**spec, "revision": spec["revision"] + 1, "previousDigest": digest_of_domain(spec), **changes}


def verdict(result: Object) -> tuple[str, str, int | None]:
    decided = result["decidedAt"]
    return result["outcome"], result["reason"], decided and _since(decided)


def _since(text: str) -> int:
    return parse_time(text) - OPENED


# Order and copies.


def test_order_and_copies_of_documents_do_not_matter() -> None:
    """The same documents in any order give the same result, byte for byte; twice the same file adds duplicates only."""
    fleet = Fleet(members=[member(f"m{i}") for i in range(10)])
    first = constitution(fleet.members, fleet.voting)
    second = next_of(first, members=[member(f"m{i}", 2) for i in range(10)])
    items = [*folder(fleet), signed_domain(second, OPENED - 50)]
    items += votes(fleet, "..Y", 30) + votes(fleet, "N", 20, sequence=2) + votes(fleet, "Y", 20, sequence=2)
    expected = tally(items)
    assert expected["electorate"]["totalWeight"] == 20
    for seed_ in range(8):
        Random(seed_).shuffle(items)
        assert tally(items) == expected
    twice = tally(items + copy.deepcopy(items))
    same = ("outcome", "reason", "decidedAt", "sums", "tests", "electorate", "quorumMadeBy", "claimed")
    assert {name: twice[name] for name in same} == {name: expected[name] for name in same}
    assert len(twice["votes"]) == 2 * len(expected["votes"])
    assert sum(vote["counted"] for vote in twice["votes"]) == sum(vote["counted"] for vote in expected["votes"])


def test_a_badly_signed_copy_of_a_proposal_closes_nothing() -> None:
    """Of two copies of one revision the one that the proposer signed opens, whichever comes first."""
    items = folder(Fleet())
    forged = copy.deepcopy(items[1])
    forged["spec"]["signature"] = "A" * 86
    for documents in ([forged, *items], [*items, forged]):
        assert verdict(tally(documents)) == ("Adopted", "Passed", PERIOD)
    assert tally([items[0], forged])["reason"] == "BadSignature"


def test_a_refused_opening_stands_in_nobodys_way() -> None:
    """After a revision that could not open a properly signed one opens, and it is no amendment."""
    fleet = Fleet()
    items = folder(fleet)
    bad = proposal({**fleet.spec(), "rationale": "other"}, by="m1.main")
    first, second = tally_documents([*items, bad], at=END, opened=OPENED)
    assert {first["outcome"], second["outcome"]} == {"Refused", "Adopted"}


def test_several_proposals_are_independent() -> None:
    """Each proposal has its own document; a vote on none of them is shown in each as OtherProposal."""
    fleet = Fleet()
    other = proposal({**fleet.spec(), "rationale": "x"})
    other["metadata"]["name"] = "q"
    stray = votes(fleet, "Y", proposal={"digest": "sha256:" + "3" * 64})
    first, second = tally_documents([*folder(fleet), other, *stray], at=END, opened=OPENED)
    assert [vote["reason"] for vote in first["votes"]].count("OtherProposal") == 1
    assert second["reason"] == "BadSignature"


# When it opened, and what is claimed.


def test_the_opening_is_the_flag_else_the_status_else_the_creation() -> None:
    """governance.md, Offline: from --opened, else status, else creationTimestamp, else refused."""
    items = folder(Fleet())
    with pytest.raises(DocumentError, match="neither --opened nor"):
        tally(items, opened=None)
    items[1]["metadata"]["creationTimestamp"] = format_time(OPENED - 7)
    assert tally(items, opened=None)["opened"] == format_time(OPENED - 7)
    items[1]["status"] = {"openedAt": format_time(OPENED - 3)}
    assert tally(items, opened=None)["opened"] == format_time(OPENED - 3)
    assert tally(items)["opened"] == format_time(OPENED)
    with pytest.raises(DocumentError, match="after --at"):
        tally(items, at=OPENED - 1)


def test_a_recorded_vote_is_not_claimed() -> None:
    """With a creationTimestamp the vote has that time and is not claimed."""
    items = folder(Fleet())
    items[2]["metadata"]["creationTimestamp"] = format_time(OPENED + PERIOD + 1)
    result = tally(items)
    assert [vote["claimed"] for vote in result["votes"]].count(False) == 1
    assert next(vote["reason"] for vote in result["votes"] if not vote["claimed"]) == "TooLate"


def test_a_revision_counts_from_its_creation() -> None:
    """A revision is in force from its creationTimestamp; one without is recorded with its predecessor."""
    fleet = Fleet()
    first = constitution(fleet.members, fleet.voting)
    second = next_of(first, members=[member("m0")])
    for created, members in ((OPENED, 1), (OPENED + 1, 10), (None, 1), (OPENED - 10**9, 1)):
        result = tally([*folder(fleet), signed_domain(second, created)])
        assert result["electorate"]["members"] == members


# What authorises a revision.


def recovered(delay_from: int, accepted: int, *more: Object, keys: tuple[str, ...] = ("safe", "bank")) -> Object:
    fleet = Fleet()
    first = constitution(fleet.members, fleet.voting, recovery=RECOVERY)
    admins = [{"name": "new", "publicKey": public("new")}]
    second = next_of(first, admins=admins, adminThreshold=1)
    announced, _ = recovery(second, delay_from, keys)
    items = [signed_domain(first), *folder(fleet)[1:], announced, *more]
    return tally([*items, signed_domain(second, accepted, by=("safe", "bank"))])


@pytest.mark.parametrize(
    ("announced", "accepted", "refused"),
    [(OPENED - 200, OPENED - 100, 0), (OPENED - 200, OPENED - 101, 1), (OPENED - 50, OPENED - 60, 1)],
)
def test_a_recovery_authorises_after_its_delay(announced: int, accepted: int, refused: int) -> None:
    """The delay runs from the announcement's time; a second too early is Unauthorized."""
    result = recovered(announced, accepted)
    assert len(result["refusedRevisions"]) == refused
    assert all(found["reason"] == "Unauthorized" for found in result["refusedRevisions"])


def test_a_recovery_needs_its_threshold_and_no_cancellation() -> None:
    """One recovery key announces nothing; adminThreshold admins cancel."""
    assert recovered(OPENED - 200, OPENED, keys=("safe",))["refusedRevisions"]
    fleet = Fleet()
    first = constitution(fleet.members, fleet.voting, recovery=RECOVERY)
    second = next_of(first, admins=[{"name": "new", "publicKey": public("new")}], adminThreshold=1)
    _, digest = recovery(second, OPENED - 200, ("safe", "bank"))
    acts = [act("CancelRecovery", name, digest, -150) for name in ("ada", "bob")]
    assert recovered(OPENED - 200, OPENED, attestation("CancelRecovery", {"acts": acts}, OPENED - 150))[
        "refusedRevisions"
    ]
    one = attestation("CancelRecovery", {"acts": acts[:1]}, OPENED - 150)
    assert not recovered(OPENED - 200, OPENED, one)["refusedRevisions"]


CONSTITUTIONAL = {
    "Standard": STANDARD,
    "Constitutional": {**STANDARD, "timelockSeconds": 50, "executionWindowSeconds": 100},
}


def by_proposal(pattern: str, recorded: int | None) -> list[Object]:
    """An adopted proposal names revision 2, which doubles every weight; a second proposal is voted on under it."""
    fleet = Fleet(CONSTITUTIONAL)
    first = constitution(fleet.members, fleet.voting)
    second = next_of(first, members=[member(f"m{i}", 2) for i in range(10)])
    spec = {
        **fleet.spec(),
        "type": "Constitutional",
        "target": {"kind": "TrustDomain", "name": "fleet"},
        "change": {"baseDigest": digest_of_domain(first), "resultDigest": digest_of_domain(second)},
    }
    named = proposal(spec, OPENED)
    digest = proposal_statement(MESH, "default", "p", spec).digest
    cast = votes(fleet, pattern, proposal={"digest": digest})
    later = {**fleet.spec(), "rationale": "later"}
    signed = resource("GovernanceProposal", "q", {**later}, OPENED + 2000)
    signed["spec"]["signature"] = proposal_statement(MESH, "default", "q", later).sign(seed("m0.main"))
    domain = signed_domain(second, recorded, by=())
    return tally_documents([signed, domain, *cast, named, signed_domain(first)], at=OPENED + 4000)


@pytest.mark.parametrize(
    ("pattern", "recorded", "weight"),
    [
        ("YYYY", PERIOD + 50, 20),
        ("YYYY", PERIOD + 150, 20),
        ("YYYY", PERIOD + 49, 10),
        ("YYYY", PERIOD + 151, 10),
        ("YYNN", PERIOD + 50, 10),
        ("YYYY", None, 10),
    ],
)
def test_an_adopted_proposal_authorises_the_revision(pattern: str, recorded: int | None, weight: int) -> None:
    """It authorises exactly the next revision with its digest, inside the window after the timelock."""
    first, second = by_proposal(pattern, None if recorded is None else OPENED + recorded)
    assert first["electorate"]["totalWeight"] == 10
    assert second["electorate"]["totalWeight"] == weight
    assert bool(second["refusedRevisions"]) is (weight == 10)


def test_a_pin_decides_which_domain_it_is() -> None:
    """Another revision 1 than the pinned one is not accepted, so nothing opens."""
    fleet = Fleet()
    items = folder(fleet)
    digest = digest_of_domain(constitution(fleet.members, fleet.voting))
    assert tally(items, pins={f"{MESH}/fleet": digest})["outcome"] == "Adopted"
    result = tally(items, pins={f"{MESH}/fleet": "sha256:" + "0" * 64})
    assert (result["outcome"], result["reason"]) == ("Refused", "NoAcceptedRevision")
    assert result["refusedRevisions"][0]["reason"] == "PinMismatch"


def test_of_two_rivals_the_first_in_log_order_stands() -> None:
    """Two authorised revisions with one number: the earlier is accepted, the other is a Fork, in any order."""
    fleet = Fleet()
    first = constitution(fleet.members, fleet.voting)
    rivals = [signed_domain(next_of(first, members=[member(f"m{i}") for i in range(n)]), OPENED - n) for n in (3, 5)]
    for documents in (rivals, rivals[::-1]):
        result = tally([*documents, *folder(fleet)])
        assert result["electorate"]["members"] == 5
        assert [found["reason"] for found in result["refusedRevisions"]] == ["Fork"]


# Amendments.


def amended(*times: int | None, numbers: tuple[int, ...] | None = None) -> list[Object]:
    fleet = Fleet()
    count = len(times)
    specs = [
        proposal({**fleet.spec(), "revision": number}, None if at is None else OPENED + at)
        for number, at in zip(numbers or range(2, count + 2), times, strict=True)
    ]
    return tally_documents([*reversed(specs), *folder(fleet)], at=OPENED + 90_000, opened=OPENED)


def test_at_most_five_amendments() -> None:
    """The sixth is TooManyAmendments, and the fifth goes on."""
    results = amended(10, 20, 30, 40, 50, 60)
    assert [result["outcome"] for result in results] == ["Superseded"] * 5 + ["Expired", "Refused"]
    assert results[-1]["reason"] == "TooManyAmendments"


def test_an_amendment_without_a_time_is_recorded_with_its_predecessor() -> None:
    """Without creationTimestamp the amendment closes the revision before it at its opening."""
    first, second = amended(None)
    assert verdict(first) == ("Superseded", "Superseded", 0)
    assert second["opened"] == format_time(OPENED)


def test_a_lower_revision_recorded_later_amends_nothing() -> None:
    """Revision 3 was recorded before revision 2: 3 amends, 2 is no higher revision any more."""
    first, second, third = amended(300, 200, numbers=(2, 3))
    assert verdict(first) == ("Superseded", "Superseded", 200)
    assert (second["outcome"], third["outcome"]) == ("Refused", "Expired")


# Acts, emergencies and delegations.


def test_offline_withdrawal_and_stop() -> None:
    """An act is recorded at its `at`, and is claimed."""
    fleet = Fleet()
    items = folder(fleet)
    items[1]["spec"]["withdrawal"] = act("Withdraw", "m0", fleet.digest, 300)
    result = tally(items)
    assert verdict(result) == ("Withdrawn", "Withdrawn", 300)
    assert f"Withdraw by {node('m0')}" in result["claimed"]
    items[1]["spec"].pop("withdrawal")
    items[1]["spec"]["stops"] = [act("Stop", name, fleet.digest, PERIOD + 5) for name in ("ada", "bob")]
    assert verdict(tally(items)) == ("Adopted", "Passed", PERIOD)
    assert verdict(tally(items, at=END + 5)) == ("Stopped", "Stopped", PERIOD + 5)


@pytest.mark.parametrize(
    ("executed", "expected"),
    [
        (None, ("Ratified", "Passed", 520)),
        (103, ("Ratified", "Passed", 603)),
        (15, ("Ratified", "Passed", 520)),
    ],
)
def test_an_offline_emergency(executed: int | None, expected: tuple[str, str, int]) -> None:
    """Executed at status.executedAt, else at T of the completing endorsement; a time before that is not believed."""
    fleet = Fleet(EMERGENCY, kind="Emergency")
    items = folder(fleet, "YYYY")
    items[1]["spec"]["endorsements"] = [
        act("Endorse", "ada", fleet.digest, 10),
        act("Endorse", "bob", fleet.digest, 20),
    ]
    if executed is not None:
        items[1]["status"] = {"executedAt": format_time(OPENED + executed)}
    assert verdict(tally(items, at=OPENED + 100))[0] in ("EmergencyExecuted", "Adopted")
    assert verdict(tally(items, at=OPENED + 1000)) == expected
    items[1]["spec"]["endorsements"].pop()
    assert verdict(tally(items, at=OPENED + 1000)) == ("Expired", "NotEndorsed", 100)


def test_an_offline_delegation() -> None:
    """A Delegation among the documents gives the delegator's weight to the delegate's choice."""
    fleet = Fleet()
    given = attestation("Delegation", {"to": node("m0"), "types": ["Standard"]}, OPENED, by="m7")
    assert tally([*folder(fleet), given])["sums"]["approve"] == 5
    revoked = attestation("Delegation", {"to": "", "types": ["Standard"]}, OPENED, by="m7", sequence=2)
    assert tally([given, *folder(fleet), revoked])["sums"]["approve"] == 4


@pytest.mark.parametrize(
    ("domains", "reason"),
    [
        (["fleet", "fleet"], "InvalidDomains"),
        (["fleet"], "InvalidDomains"),
        (["other", "third"], "InvalidDomains"),
        (["fleet", "far"], "InvalidDomains"),
        (["fleet", "away"], "InvalidDomains"),
        ([], None),
        (["fleet", "other"], None),
    ],
)
def test_the_domains_of_a_double_majority(domains: list[str], reason: str | None) -> None:
    """Empty or at least two distinct names with trustDomain, of one meshId and one homeHub."""
    fleet = Fleet(domains=domains)
    base = constitution([member("o0")], fleet.voting)
    items = [
        signed_domain(base, name="other"),
        signed_domain({**base, "revision": 1}, name="third"),
        signed_domain({**base, "meshId": "22222222-2222-4222-8222-222222222222"}, name="far"),
        signed_domain({**base, "homeHub": node("m5")}, name="away"),
    ]
    result = tally([*folder(fleet), *items])
    assert (result["reason"] if result["outcome"] == "Refused" else None) == reason
    assert bool(result["domains"]) is (domains == ["fleet", "other"])


@pytest.mark.parametrize("kind", ["Expedited", "Emergency"])
def test_expedited_and_emergency_exclude_domains(kind: str) -> None:
    """A double majority is refused for them."""
    fleet = Fleet(EMERGENCY, kind=kind, domains=["fleet", "other"])
    other = signed_domain(constitution([member("o0")], EMERGENCY), name="other")
    assert tally([*folder(fleet), other])["reason"] == "InvalidDomains"


# Bad input: one sentence with object, field, value and rule.


def _member_key(domain: Object, value: str) -> None:
    domain["spec"]["members"][1]["keys"][0]["publicKey"] = value


@pytest.mark.parametrize(
    ("index", "change", "said"),
    [
        (0, lambda item: item["spec"]["members"][0].update(role="King"), r"TrustDomain fleet: spec.members\[0\].role"),
        (0, lambda item: _member_key(item, "AAAA"), r"members\[1\].keys\[0\].publicKey"),
        (0, lambda item: _member_key(item, "A" * 43), r"members\[1\].keys\[0\].publicKey: 'A{43}'"),
        (0, lambda item: _member_key(item, public("m0.main")), "it may stand once among all members"),
        (0, lambda item: item["spec"]["voting"]["Standard"].update(quorumBasisPoints=10_001), "quorumBasisPoints"),
        (0, lambda item: item["spec"].update(adminThreshold=3), "spec.adminThreshold: 3 must be between 1 and"),
        (1, lambda item: item["spec"].update(type="Coup"), "GovernanceProposal p: spec.type"),
        (1, lambda item: item["spec"].update(revision="1"), "spec.revision"),
        (1, lambda item: item["metadata"].update(name=None), "metadata.name None must be a string"),
        (1, lambda item: item["metadata"].update(creationTimestamp="now"), "metadata.creationTimestamp: 'now'"),
        (1, lambda item: item.update(status="good"), r"status 'good' must be an object"),
        (1, lambda item: item.update(spec=None), r"\(GovernanceProposal\): spec None must be an object"),
        (2, lambda item: item["spec"].update(castAt="2024-02-31T00:00:00Z"), "spec.castAt '2024-02-31T00:00:00Z'"),
        (2, lambda item: item["spec"].update(sequence=1.5), "1.5 is a floating-point number"),
        (2, lambda item: item["spec"].update(proposal="p"), "spec.proposal 'p' must be an object"),
        (2, lambda item: item["spec"].update(rationale="\ud800"), "lone surrogate"),
        (2, lambda item: item.pop("kind"), "kind is required"),
    ],
)
def test_a_document_of_the_wrong_form_is_named(index: int, change: Any, said: str) -> None:
    """The error names object, field, value and rule."""
    items = copy.deepcopy(folder(Fleet()))
    change(items[index])
    with pytest.raises(DocumentError, match=said):
        tally(items)
