"""The numbered cases of the governance reference (section 3), adjusted where the design decides otherwise.

What the design leaves out is a case too: that it is refused (13 split votes, 15 Spam, 39 biasing by turnout, 51 merge
patches).
"""

from typing import Any

import pytest

from quorate.api.governance_proposal import GovernanceProposalSpec, Phase
from quorate.api.vote import VoteSpec
from quorate.contracts.content import Content
from quorate.contracts.form import ContractRefusedError
from quorate.contracts.patch import Target, successor
from quorate.identity.ed25519 import parse_public_key
from quorate.identity.statements import Statement, pre_authentication_encoding, trust_domain_statement
from quorate.proposals.decision import decide
from quorate.proposals.lifecycle import Life, due
from quorate.proposals.tally import Rules, Sums, quorum_test
from quorate.trust.form import FormError, check_domain_form, check_fields
from quorate.trust.revisions import check_revision
from tests.unit.proposals.fleet import (
    OPENED,
    PERIOD,
    STANDARD,
    Fleet,
    constitution,
    history,
    member,
    node,
    public,
    seed,
)
from tests.unit.proposals.test_decision import verdict

LATER = OPENED + 10_000_000
REGIME = {
    "quorumBasisPoints": 3340,
    "thresholdBasisPoints": 5000,
    "vetoBasisPoints": 3340,
    "votingPeriodSeconds": PERIOD,
}
EXPEDITED = {"Standard": {**REGIME, "votingPeriodSeconds": 2000}, "Expedited": {**REGIME, "thresholdBasisPoints": 6670}}


def fleet(weights: list[int] | None = None, kind: str = "Standard", **rules: Any) -> Fleet:
    members = [member(f"m{i}", weight) for i, weight in enumerate(weights or [1] * 10)]
    return Fleet({"Standard": {**REGIME, **rules}}, members, kind)


@pytest.mark.parametrize(
    ("case", "pattern", "expected"),
    [
        (1, "", "QuorumNotReached"),
        (3, "YYY", "QuorumNotReached"),
        (3, "YYYY", "Passed"),
        (5, "YYNN", "ThresholdNotReached"),
        (7, "YYYYVVV", "Vetoed"),
    ],
)
def test_tally_and_quorum(case: int, pattern: str, expected: str) -> None:
    """Cases 1 to 7: quorum .334 of the total, approve over half of what decides, veto over .334 of what is cast."""
    found = verdict(fleet().cast(pattern))
    assert found is not None
    assert found[1] == expected, case


@pytest.mark.parametrize(("pattern", "at"), [("YYYYNNV", 2000), ("YYYYYNV", PERIOD)])
def test_case_9_expedited(pattern: str, at: int) -> None:
    """Case 9: .571 is not over .667, so the same votes pass as Standard; .714 passes at the Expedited end."""
    assert verdict(Fleet(EXPEDITED, kind="Expedited").cast(pattern)) == ("Adopted", "Passed", at)


def test_case_11_zero_weight() -> None:
    """Case 11: zero total weight fails without a division."""
    assert verdict(fleet([0, 0]).cast("YY")) == ("Expired", "ZeroWeight", PERIOD)


@pytest.mark.parametrize(
    ("case", "weights", "pattern", "rules", "expected"),
    [
        (17, [1] * 3, "Y", {}, None),
        (19, [1] * 4, "YNN", {"quorumBasisPoints": 5000, "quorumBasis": "Approve", "thresholdBasisPoints": 4900}, None),
        (19, [1] * 4, "YNN", {}, ("Rejected", "Early", 10)),
        (21, [1] * 4, "YY", {"thresholdBasisPoints": 4999}, ("Adopted", "Early", 10)),
        (21, [1] * 4, "YY", {"thresholdBasisPoints": 5000}, None),
    ],
)
def test_early_decision(case: int, weights: list[int], pattern: str, rules: dict[str, Any], expected: Any) -> None:
    """Cases 17 to 21 with a strict threshold: early only where no completion changes the outcome.

    A tie is no pass here: with one approval, two rejections and one member left nothing adopts over one half.
    """
    voting = {**REGIME, "earlyDecision": True, **rules}
    voting.pop("vetoBasisPoints")
    found = Fleet({"Standard": voting}, [member(f"m{i}", w) for i, w in enumerate(weights)]).cast(pattern)
    assert verdict(found, OPENED + 500) == expected, case


@pytest.mark.parametrize(("voter", "reached"), [("m0", True), ("m1", False)])
def test_case_23_quorum_of_weights(voter: str, reached: bool) -> None:
    """Case 23: weights 10, 7, 5, 2 and 76 that stay silent; of 8 % ten reach the quorum, seven do not."""
    found = fleet([10, 7, 5, 2, 76], quorumBasisPoints=800)
    found.vote(voter, "Approve")
    assert decide(found.case(), LATER).tally.tests[0].holds is reached


def test_case_25_a_vote_may_be_replaced() -> None:
    """Case 25: a second vote replaces the first and counts once; the old one again changes nothing."""
    found = fleet()
    old = found.vote("m1", "Approve")
    found.vote("m1", "Reject", 20, sequence=2)
    found.ballots.append(type(old)(old.statement, old.signature, OPENED + 30))
    sums = decide(found.case(), LATER).tally.sums
    assert (sums.approve, sums.reject) == (0, 1)
    assert [str(vote.reason) for vote in decide(found.case(), LATER).tally.votes] == [
        "Overtaken",
        "Counted",
        "Duplicate",
    ]


@pytest.mark.parametrize(("at", "approve"), [(-5, 100), (5, 1)])
def test_cases_27_and_41_weight_is_of_the_opening(at: int, approve: int) -> None:
    """Cases 27 and 41: weight changed before the opening counts, after it it does not."""
    found = fleet([1] * 4)
    found.revised = [(OPENED + at, [member("m0", 100), *(member(f"m{i}") for i in range(1, 4))])]
    found.cast("Y")
    assert decide(found.case(), LATER).tally.sums.approve == approve


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("Y", ("Adopted", "Passed", PERIOD)),
        (".Y", ("Adopted", "Early", 10)),
        ("YN", ("Rejected", "Early", 10)),
    ],
)
def test_case_29_early_needs_certainty(pattern: str, expected: tuple[str, str, int]) -> None:
    """Case 29: there is no super quorum; an early adoption needs that the rest as reject changes nothing."""
    found = fleet([30, 60, 10], earlyDecision=True, quorumBasisPoints=2000, vetoBasisPoints=None)
    assert verdict(found.cast(pattern)) == expected


def test_case_31_an_own_vote_overrides_the_delegate() -> None:
    """Case 31: the delegate carries 19; a delegator of 10 rejects: [10 against, 9 for]; a second of 2 abstains."""
    found = fleet([10, 2, 5, 2])
    for name in ("m0", "m1", "m3"):
        found.delegate(name, "m2")
    found.vote("m2", "Approve")
    assert decide(found.case(), LATER).tally.sums.approve == 19
    found.vote("m0", "Reject")
    sums = decide(found.case(), LATER).tally.sums
    assert (sums.reject, sums.approve) == (10, 9)
    found.vote("m3", "Abstain")
    sums = decide(found.case(), LATER).tally.sums
    assert (sums.reject, sums.approve, sums.abstain) == (10, 7, 2)
    found.vote("m0", "Abstain", 20, sequence=2)
    assert decide(found.case(), LATER).tally.sums.abstain == 12


@pytest.mark.parametrize(
    ("by", "at", "outcome"),
    [("m0", 0, "Withdrawn"), ("m0", 500, "Withdrawn"), ("m0", PERIOD + 1, "Adopted"), ("m1", 500, "Adopted")],
)
def test_case_33_who_may_withdraw(by: str, at: int, outcome: str) -> None:
    """Case 33: the proposer until the end, a stranger never."""
    found = fleet().cast("YYYY")
    found.act("Withdraw", by, at)
    decision = verdict(found)
    assert decision is not None
    assert decision[0] == outcome


@pytest.mark.parametrize(
    ("second", "needed"), [(0, 8000), (15, 7250), (50, 5500), (75, 4250), (100, 3000), (200, 3000)]
)
def test_case_37_a_linear_decline(second: int, needed: int) -> None:
    """Case 37, linear instead of stepped: from 80 to 30 % of the weight, never below."""
    adaptive = {"startBasisPoints": 8000, "floorBasisPoints": 3000, "confirmSeconds": 0}
    rules = Rules.of("Standard", {"adaptiveQuorum": adaptive, "votingPeriodSeconds": 100, "thresholdBasisPoints": 5000})
    assert quorum_test(rules, Sums(total=1), second).right == needed * 100


def test_case_43_one_key_in_two_members_is_refused() -> None:
    """Case 43: a key stands once among all members."""
    spec = constitution([member("m0"), {**member("m1"), "keys": member("m0")["keys"]}], {"Standard": STANDARD})
    signature = {"name": "ada", "signature": "A" * 86}
    with pytest.raises(FormError, match="once among all members"):
        check_domain_form("fleet", {**spec, "signatures": [signature]})


def test_case_45_pre_authentication_encoding() -> None:
    """Case 45: the encoding of the DSSE example; a byte more in the body or another type does not verify."""
    encoded = pre_authentication_encoding("http://example.com/HelloWorld", b"hello world")
    assert encoded == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    vote, key = Statement("vote", {"voter": node("m0")}), seed("m0.main")
    raw = bytes.fromhex("00" * 32)
    assert not vote.verify(raw, vote.sign(key))
    good = parse_public_key(public("m0.main"))
    assert vote.verify(good, vote.sign(key))
    assert not Statement("act", vote.fields).verify(good, vote.sign(key))
    assert not Statement("vote", {"voter": node("m1")}).verify(good, vote.sign(key))


def test_case_49_a_learner_is_in_no_denominator() -> None:
    """Case 49: a learner has no vote and is not in the quorum's denominator, by the accepted revision."""
    members = [member("m0"), member("m1"), *(member(f"l{i}", learner=True) for i in range(8))]
    found = Fleet({"Standard": REGIME}, members)
    found.cast("Y")
    found.vote("l0", "Reject")
    assert verdict(found) == ("Adopted", "Passed", PERIOD)
    assert decide(found.case(), LATER).tally.sums.total == 2


def test_case_53_votes_on_the_old_revision_do_not_count() -> None:
    """Case 53: a vote binds a digest and a revision."""
    found = fleet()
    for index in range(4):
        found.vote(f"m{index}", "Approve", revision=2)
    assert verdict(found) == ("Expired", "QuorumNotReached", PERIOD)


@pytest.mark.parametrize(
    "choice",
    [
        {"Approve": 7000, "Abstain": 3000},
        [{"option": "Approve", "weight": "0.9"}],
        ["Approve", "Approve"],
        -1,
        "Spam",
        None,
    ],
)
def test_cases_13_and_15_one_choice_of_those_that_there_are(choice: Any) -> None:
    """Cases 13 and 15: a vote is one whole choice: splits, weights, lists, NaN and Spam are refused by field."""
    spec = {**fleet().vote_spec("m0", "Approve"), "choice": choice}
    with pytest.raises(FormError, match=r"^spec\.choice"):
        check_fields(VoteSpec, spec, "spec")
    counted = fleet()
    counted.vote("m1", "Spam")
    assert [str(vote.reason) for vote in decide(counted.case(), LATER).tally.votes] == ["UnknownChoice"]


def test_case_35_a_change_is_all_or_nothing() -> None:
    """Case 35: where the second operation fails nothing of the first stands, and it is retried in the window only."""
    content = Content.genesis(
        {"contractId": node("m0"), "version": "v2026.01.05", "clauses": {"1": {"title": "One", "text": "One."}}}
    )
    patch = [{"op": "replace", "path": "/text", "value": "Two."}, {"op": "test", "path": "/title", "value": "Two"}]
    change = {"baseDigest": content.clause_digest("1"), "patch": patch}
    before = content.digest
    with pytest.raises(ContractRefusedError) as refused:
        successor(content, Target("1"), change, proposal_digest="sha256:" + "0" * 64, executed_at=LATER)
    assert refused.value.reason == "PatchFailed" and content.digest == before
    life = Life(Phase.ADOPTED, execute_after=100, execute_before=200)
    assert [due(life, now).action for now in (99, 100, 200, 201)] == ["Wait", "Execute", "Execute", "Expire"]


@pytest.mark.parametrize("rule", ["superMajority", "turnoutBias", "conviction"])
def test_case_39_no_rule_is_biased_by_turnout(rule: str) -> None:
    """Case 39: the share needed never depends on how many vote: such a rule is refused by name."""
    spec = constitution([member("m0")], {"Standard": {**REGIME, rule: True}})
    with pytest.raises(FormError, match=rf"^spec\.voting\.Standard\.{rule}"):
        check_domain_form("fleet", {**spec, "signatures": [{"name": "ada", "signature": "A" * 86}]})
    terms = Rules.of("Standard", REGIME)
    shares = {quorum_test(terms, Sums(approve=cast, total=210), 0).right for cast in range(0, 211, 30)}
    assert shares == {3340 * 210}


def signed(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    statement = trust_domain_statement(name, spec)
    names = ("ada", "bob")
    return {**spec, "signatures": [{"name": item, "signature": statement.sign(seed(item))} for item in names]}


def test_case_47_no_revision_goes_back_or_elsewhere() -> None:
    """Case 47: a lower or equal revision changes nothing, no keys mean no votes, one domain's is not another's."""
    first = signed("fleet", constitution([member("m0"), member("m1")], {"Standard": REGIME}))
    bare = [member("m0"), {**member("m1"), "keys": []}]
    previous = trust_domain_statement("fleet", first).digest
    second = signed("fleet", {**constitution(bare, {"Standard": REGIME}, revision=2), "previousDigest": previous})
    chain = history((0, first), (10, second))
    assert check_revision("fleet", first, chain, pin=None, now=20).unchanged
    assert check_revision("fleet", second, chain, pin=None, now=20).unchanged
    rival = signed("fleet", {**constitution(bare, {"Standard": STANDARD}, revision=2), "previousDigest": previous})
    assert check_revision("fleet", rival, chain, pin=None, now=20).reason == "Fork"
    other = check_revision("other", second, history((0, first), name="other"), pin=None, now=20)
    assert not other.accepted and other.reason in ("PreviousMismatch", "Unauthorized")
    found = Fleet({"Standard": REGIME}, [member("m0"), member("m1")], revised=[(OPENED - 5, bare)])
    found.vote("m1", "Approve")
    assert [str(vote.reason) for vote in decide(found.case(), LATER).tally.votes] == ["UnknownKey"]


@pytest.mark.parametrize("patch", [{"text": None}, {"text": "x"}, None, [{"text": None}], ["text"]])
def test_case_51_a_merge_patch_is_no_patch(patch: Any) -> None:
    """Case 51: a change is RFC 6902 operations; an RFC 7396 document is refused by field, and nothing is guessed."""
    spec = {**fleet().spec(), "signature": "A" * 86}
    spec["change"] = {**spec["change"], "patch": patch}
    content = Content.genesis({"contractId": node("m0"), "version": "v2026.01.05", "clauses": {"1": {"text": "One."}}})
    change = {"baseDigest": content.clause_digest("1"), "patch": patch}
    with pytest.raises(ContractRefusedError):
        successor(content, Target("1"), change, proposal_digest="sha256:" + "0" * 64, executed_at=LATER)
    if patch is not None:
        with pytest.raises(FormError, match=r"^spec\.change\.patch"):
            check_fields(GovernanceProposalSpec, spec, "spec")
