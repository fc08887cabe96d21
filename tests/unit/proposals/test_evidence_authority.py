"""Evidence where something other than admins and accepted votes decides: recoveries, refused votes, several domains."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from quorate.audit.verify import Verdict
from quorate.canonical import canonical_bytes, format_time
from quorate.identity.statements import recovery_statement, trust_domain_statement
from quorate.proposals.bundle import Bundle, RevisionRecord
from quorate.proposals.evidence import Check, Pinned, Report, verify
from quorate.proposals.replay import recompute
from quorate.trust.domain import DomainHistory
from tests.unit.proposals.evidence_case import (
    CHAIN,
    NODES,
    OPENED,
    SEEDS,
    Log,
    Story,
    domain_spec,
    next_revision,
    proposal_spec,
    public,
)

DELAY = 1000
RECOVERY = {"keys": [{"name": "safe", "publicKey": public(NODES[2])}], "threshold": 1, "delaySeconds": DELAY}


def check(bundle: Mapping[str, Any], pins: Mapping[str, str]) -> Report:
    return verify(canonical_bytes(dict(bundle)), pinned=Pinned(pins=pins))


def recovered(*, waited: int = DELAY, signer: str = NODES[2], **changes: Any) -> Report:
    """The verification of a decision under revision 2, which the recovery set announced and signed."""
    log, first = Log(), domain_spec(recovery=RECOVERY)
    pin = trust_domain_statement("acme", first).digest
    began = OPENED - 10_000
    records = [RevisionRecord("acme", first, log.append("trust.domain.accepted", CHAIN, began, [pin]))]
    admins = [{"name": "new", "publicKey": public(NODES[1])}]
    second = {**next_revision(first), "phaseId": first["phaseId"], "admins": admins, **changes}
    result = trust_domain_statement("acme", second)
    fields = {"revision": 2, "previousDigest": pin, "resultDigest": result.digest, "at": format_time(began)}
    statement = recovery_statement("mesh", "acme", fields)
    announced = log.append("trust.recovery.announced", CHAIN, began + 100, [statement.digest])
    authority = {
        "kind": "Recovery",
        "statement": dict(statement.fields),
        "signatures": [{"name": "safe", "signature": statement.sign(SEEDS[signer])}],
        "entry": announced,
    }
    accepted = log.append("trust.domain.accepted", CHAIN, began + 100 + waited, [result.digest])
    second["signatures"] = [{"name": "safe", "signature": result.sign(SEEDS[NODES[2]])}]
    records.append(RevisionRecord("acme", second, accepted, authority))
    return check(Story(recompute, log=log, revisions=records).decide(), {CHAIN: pin})


def test_a_revision_by_recovery() -> None:
    """A bundle with a revision that the recovery set announced and signed verifies from the pin."""
    report = recovered()
    assert report.faults == [] and report.verdict is Verdict.UNANCHORED and report.counts["revisions"] == 2


@pytest.mark.parametrize(
    ("story", "said"),
    [
        ({"waited": DELAY - 1}, "may be accepted from"),
        ({"signer": NODES[0]}, "0 of the recovery keys signed the announcement"),
        ({"phaseId": "9"}, "a recovery may not change phaseId"),
    ],
)
def test_a_false_recovery_is_named(story: dict[str, Any], said: str) -> None:
    """Too early, announced by another key, or changing more than the admins: the revision does not hold."""
    report = recovered(**story)
    assert report.verdict is Verdict.TAMPERED
    assert any(item.check is Check.REVISION and said in item.message for item in report.faults), report.faults


def believing(bundle: Bundle, histories: Mapping[str, DomainHistory]) -> Mapping[str, Any]:
    """What a hub records that leaves out the votes that it refused."""
    return recompute(replace(bundle, votes=tuple(vote for vote in bundle.votes if vote.accepted)), histories)


def pin_of(bundle: Mapping[str, Any], name: str = "acme") -> str:
    return str(bundle["domains"][name]["revisions"][0]["entry"]["payload"]["about"][0])


def test_a_refused_vote_is_judged_again() -> None:
    """A hub that refuses a good vote is caught: the votes in the bundle give another outcome than the one recorded."""
    honest = Story(recompute, choices=("Approve", "Approve", "Reject"), refuses=(1,)).decide()
    assert check(honest, {CHAIN: pin_of(honest)}).faults == []
    biased = Story(believing, choices=("Reject", "Approve", "Approve"), refuses=(1, 2)).decide()
    assert biased["outcome"]["outcome"] == "Expired"
    report = check(biased, {CHAIN: pin_of(biased)})
    assert report.outcome == "Adopted" and report.verdict is Verdict.TAMPERED
    assert {item.check for item in report.faults} == {Check.OUTCOME}


def test_a_refused_vote_with_a_bad_signature_changes_nothing() -> None:
    """What was refused for good reason stays out of the count, and is no fault."""
    story = Story(recompute, choices=("Approve", "Approve", "Reject"))
    bundle = copy.deepcopy(story.decide())
    before = check(bundle, {CHAIN: pin_of(bundle)})
    assert before.faults == []
    vote = bundle["votes"][0]
    vote["signature"] = "A" * 86
    vote["entry"]["event_type"] = "governance.vote.refused"
    report = check(bundle, {CHAIN: pin_of(bundle)})
    assert {item.check for item in report.faults} == {Check.OUTCOME}
    assert "BadSignature" in " ".join(item.message for item in report.faults)


def majority() -> dict[str, Any]:
    """A decision by acme and other, whose revisions each stand in the bundle."""
    log, spec = Log(), domain_spec("other")
    entry = log.append(
        "trust.domain.accepted", "mesh/other", OPENED - 50, [trust_domain_statement("other", spec).digest]
    )
    proposal = {**proposal_spec(), "domains": ["acme", "other"]}
    return Story(recompute, proposal, log=log, others={"other": RevisionRecord("other", spec, entry)}).decide()


def test_a_double_majority_is_evidence() -> None:
    """Each domain's chain, electorate and votes are in the bundle, and both are counted again."""
    bundle = majority()
    pins = {CHAIN: pin_of(bundle), "mesh/other": pin_of(bundle, "other")}
    report = check(bundle, pins)
    assert report.faults == [] and report.outcome == "Adopted"
    assert report.counts["domains"] == 2 and report.counts["votes"] == 5
    assert bundle["outcome"]["domains"]["other"]["sums"]["approve"] == 200


@pytest.mark.parametrize("what", ["domain", "vote", "electorate", "outcome", "pin"])
def test_a_part_of_a_double_majority_cannot_be_left_out(what: str) -> None:
    """Without the other domain, its vote, its electorate or its numbers the bundle does not hold."""
    bundle = copy.deepcopy(majority())
    pins = {CHAIN: pin_of(bundle), "mesh/other": pin_of(bundle, "other")}
    if what == "domain":
        del bundle["domains"]["other"]
    elif what == "vote":
        bundle["votes"] = [vote for vote in bundle["votes"] if vote["statement"]["domain"] == "acme"]
    elif what == "electorate":
        bundle["domains"]["other"]["electorate"]["totalWeight"] = 3
    elif what == "outcome":
        bundle["outcome"]["domains"]["other"]["sums"]["approve"] = 300
    else:
        pins["mesh/other"] = "sha256:" + "0" * 64
    report = check(bundle, pins)
    assert report.verdict is Verdict.TAMPERED and not report.applicable
