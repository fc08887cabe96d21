"""The evidence bundle: complete, canonical, and verified without trusting anything in it."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from quorate.audit.verify import Verdict
from quorate.canonical import canonical_bytes, digest_of
from quorate.canonical import digest_of_bytes as digest_of_data
from quorate.contracts.patch import Target, successor
from quorate.identity.statements import trust_domain_statement
from quorate.proposals.bundle import RevisionRecord, bundle_digest, parse_bundle
from quorate.proposals.evidence import Check, Pinned, Report, verify
from quorate.proposals.replay import recompute
from tests.unit.proposals.evidence_case import (
    CHAIN,
    CONTENT,
    NODES,
    OPENED,
    SEEDS,
    Log,
    Story,
    domain_spec,
    next_revision,
    proof_of,
    proposal_spec,
)

STORY = Story(recompute)
BUNDLE, LOG = STORY.decide(), STORY.log
PIN = BUNDLE["domains"]["acme"]["revisions"][0]["entry"]["payload"]["about"][0]
PINNED = Pinned(pins={CHAIN: PIN})


def check(bundle: dict[str, Any], pinned: Pinned = PINNED, proof: bytes | None = None) -> Report:
    return verify(canonical_bytes(bundle), pinned=pinned, proof=proof)


def test_good_bundle_is_unanchored_without_proof() -> None:
    """A bundle re-tallies to the recorded outcome; without a proof the report says UNANCHORED."""
    report = check(BUNDLE)
    assert report.faults == [] and report.missing == [] and report.notes == []
    assert (report.outcome, report.reason, report.verdict) == ("Adopted", "Passed", Verdict.UNANCHORED)
    assert report.digest == bundle_digest(BUNDLE) == digest_of(BUNDLE)
    assert report.counts == {"domains": 1, "revisions": 1, "votes": 3, "delegations": 0, "acts": 0, "entries": 6}
    assert report.applicable


def test_proof_anchors() -> None:
    """With the proof of every entry under a checkpoint of the domain's log key the bundle is anchored."""
    report = check(BUNDLE, proof=proof_of(BUNDLE, LOG))
    assert report.faults == [] and report.verdict is Verdict.INTACT


def test_bundle_round_trip() -> None:
    """Parsing and writing a bundle gives the same bytes, in whatever order the votes come."""
    shuffled = copy.deepcopy(BUNDLE)
    shuffled["votes"].reverse()
    assert parse_bundle(canonical_bytes(shuffled)).document() == BUNDLE


Change = Callable[[dict[str, Any]], None]


def revise(path: str, value: Any) -> Change:
    def apply(bundle: dict[str, Any]) -> None:
        *parents, last = path.split("/")
        place: Any = bundle
        for step in parents:
            place = place[int(step) if isinstance(place, list) else step]
        place[int(last) if isinstance(place, list) else last] = value

    return apply


def drop(path: str) -> Change:
    def apply(bundle: dict[str, Any]) -> None:
        place: Any = bundle
        *parents, last = path.split("/")
        for step in parents:
            place = place[int(step) if isinstance(place, list) else step]
        del place[int(last) if isinstance(place, list) else last]

    return apply


REVISION = "domains/acme/revisions/0"


@pytest.mark.parametrize(
    ("change", "expected", "said"),
    [
        (revise("format", "other"), Check.FORM, "format 'other'"),
        (drop("votes"), Check.FORM, "holds exactly"),
        (revise("extra", 1), Check.FORM, "holds exactly"),
        (revise("votes/0/entry/entry_id", "0" * 8), Check.FORM, "give the id"),
        (revise("opening/payload/subject/key", "sha256:" + "0" * 64), Check.FORM, "give the id"),
        (revise("opening/timestamp", "yesterday"), Check.FORM, "yesterday"),
        (revise(f"{REVISION}/statement/adminThreshold", 2), Check.REVISION, "adminThreshold"),
        (revise(f"{REVISION}/statement/members/0/weight", 10000), Check.REVISION, "pinned"),
        (revise(f"{REVISION}/signatures/0/signature", "A" * 86), Check.REVISION, "0 of its own admins"),
        (revise("domains/acme/revisions", []), Check.REVISION, "holds no revision"),
        (revise("domains/acme/electorate/totalWeight", 1), Check.ELECTORATE, "does not follow"),
        (revise("proposal/statement/type", "Constitutional"), Check.PROPOSAL, "the statement has digest"),
        (revise("proposal/signature", "A" * 86), Check.PROPOSAL, "could not open: BadSignature"),
        (revise("proposalDigest", "sha256:" + "0" * 64), Check.PROPOSAL, "the statement has digest"),
        (revise("votes/0/statement/choice", "Abstain"), Check.ENTRY, "is about"),
        (revise("votes/0/signature", "A" * 86), Check.SIGNATURE, "was accepted, but its signature"),
        (revise("votes/0/entry/event_type", "governance.act.accepted"), Check.ENTRY, "expected governance.vote"),
        (revise("votes/0/entry/payload/about", []), Check.ENTRY, "payload.about"),
        (drop("votes/0"), Check.OUTCOME, "the votes give"),
        (revise("outcome/reason", "Early"), Check.OUTCOME, "the outcome entry says reason"),
        (revise("outcome/sums/approve", 300), Check.OUTCOME, "the outcome document has digest"),
        (revise("outcomeEntry/event_type", "governance.proposal.executed"), Check.ENTRY, "governance.proposal.decided"),
        (revise("outcomeEntry/payload/detail/outcome", "Rejected"), Check.OUTCOME, "'Rejected'"),
    ],
)
def test_each_forgery_is_named(change: Change, expected: Check, said: str) -> None:
    """Whatever part of a bundle is altered, the report is TAMPERED and names it."""
    bundle = copy.deepcopy(BUNDLE)
    change(bundle)
    report = check(bundle)
    assert report.verdict is Verdict.TAMPERED and not report.applicable
    assert any(finding.check is expected and said in finding.message for finding in report.faults), report.faults


def paths(value: Any, prefix: str = "") -> list[str]:
    if isinstance(value, dict):
        return [path for name, item in value.items() for path in paths(item, f"{prefix}/{name}")]
    if isinstance(value, list):
        return [path for index, item in enumerate(value) for path in paths(item, f"{prefix}/{index}")]
    return [prefix.removeprefix("/")]


def test_every_altered_value_shows_against_the_proof() -> None:
    """No value of a bundle can be altered, whichever it is, without a fault: the proof is of these bytes."""
    proof = proof_of(BUNDLE, LOG)
    for path in paths(BUNDLE):
        bundle = copy.deepcopy(BUNDLE)
        revise(path, "altered")(bundle)
        assert check(bundle, proof=proof).verdict is Verdict.TAMPERED, path


def test_pins() -> None:
    """Another pin refuses the bundle; without one the report says that revision 1 was taken as it came."""
    assert check(BUNDLE, Pinned(pins={CHAIN: "sha256:" + "0" * 64})).faults[0].reason == "PinMismatch"
    assert "not pinned" in check(BUNDLE, Pinned()).notes[0]


def test_accepted_chain_must_agree() -> None:
    """A receiver's accepted revisions and the bundle's are one a prefix of the other, else it is a Fork."""
    assert check(BUNDLE, Pinned(PINNED.pins, {CHAIN: [PIN, "sha256:" + "1" * 64]})).faults == []
    (fault,) = check(BUNDLE, Pinned(PINNED.pins, {CHAIN: ["sha256:" + "1" * 64]})).faults
    assert fault.reason == "Fork"


def test_replay() -> None:
    """A proposal that this receiver already applied is Replayed."""
    (fault,) = check(BUNDLE, Pinned(PINNED.pins, applied=[BUNDLE["proposalDigest"]])).faults
    assert fault.reason == "Replayed"


def test_execution_is_recomputed() -> None:
    """Given base and result, the change must lead from one to the other, by this proposal."""
    target, change = Target("1"), proposal_spec()["change"]
    digest = BUNDLE["proposalDigest"]
    good = successor(CONTENT, target, change, proposal_digest=digest, executed_at=OPENED + 4000)
    assert check(BUNDLE, Pinned(PINNED.pins, contract=(CONTENT.data, good.data))).faults == []
    other = {**change, "patch": [{"op": "replace", "path": "/text", "value": "Eins."}]}
    wrong = successor(CONTENT, target, other, proposal_digest=digest, executed_at=OPENED + 4000)
    assert check(BUNDLE, Pinned(PINNED.pins, contract=(CONTENT.data, wrong.data))).faults[0].check is Check.EXECUTION
    assert check(BUNDLE, Pinned(PINNED.pins, contract=(good.data, good.data))).faults[0].reason == "StaleBase"


def proof_with(change: Change) -> bytes:
    proof = LOG.proof(bundle_digest(BUNDLE))
    change(proof)
    return canonical_bytes(proof)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (revise("format", "other"), "format 'other'"),
        (revise("evidenceDigest", "sha256:" + "0" * 64), "the proof is of evidence"),
        (drop("chains/0/entries/2"), "has no inclusion proof"),
        (revise("chains/0/entries/2/index", 3), "the record says"),
        (revise("chains/0/entries/2/path/0", "AAAA"), "leads to another root"),
        (revise("chains/0/entries/2/record", "AAAA"), "not a record"),
        (revise("chains/0/checkpoint", "no note"), "checkpoint of chain"),
        (revise("chains", []), "has no inclusion proof"),
        (revise("chains", 1), "not of the form"),
    ],
)
def test_false_proofs(change: Change, said: str) -> None:
    """A proof of something else, with a gap, or under a checkpoint that does not verify is named."""
    report = check(BUNDLE, proof=proof_with(change))
    assert report.verdict is Verdict.TAMPERED
    assert any(finding.check is Check.PROOF and said in finding.message for finding in report.faults), report.faults


def test_proof_by_another_log() -> None:
    """A log of the same entries whose checkpoint an unknown key signed proves nothing."""
    bundle = copy.deepcopy(BUNDLE)
    assert SEEDS and NODES and isinstance(LOG, Log)
    forged = LOG.proof(bundle_digest(bundle))
    note = forged["chains"][0]["checkpoint"]
    forged["chains"][0]["checkpoint"] = note.replace("— mesh/acme", "— mesh/other")
    report = check(bundle, proof=canonical_bytes(forged))
    assert "no known key signed the note" in report.faults[0].message


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"a":1.5}', b'{"format":"quorate.dev/evidence/v1"}'])
def test_rubbish(data: bytes) -> None:
    """What is no bundle at all is a fault of form, never an exception."""
    report = verify(data)
    assert report.faults[0].check is Check.FORM and report.verdict is Verdict.TAMPERED


def test_delegations_and_acts_are_evidence() -> None:
    """A delegation and a stop are signed, recorded, and part of what is counted again."""
    delegated = Story(recompute, choices=("Abstain", "Approve"), delegates=True)
    bundle = delegated.decide()
    report = check(bundle)
    assert report.faults == [] and report.counts["delegations"] == 1
    assert bundle["outcome"]["sums"]["approve"] == 200
    forged = copy.deepcopy(bundle)
    forged["delegations"][0]["signature"] = "A" * 86
    assert any(item.check is Check.SIGNATURE for item in check(forged).faults)
    stopped = Story(recompute, acts=("Stop",)).decide()
    report = check(stopped)
    assert report.faults == [] and report.outcome == "Stopped" and not report.applicable
    del stopped["acts"][0]
    assert any(item.check is Check.OUTCOME for item in check(stopped).faults)


def authorised_revision(
    change: Callable[[dict[str, Any]], None] | None = None, *, accepted_at: int = OPENED - 5000
) -> tuple[dict[str, Any], bytes]:
    """A decision under revision 2, which a Constitutional proposal authorised, and that proposal's evidence."""
    second = next_revision(domain_spec())
    result = trust_domain_statement("acme", second).digest
    spec = {
        **proposal_spec(),
        "type": "Constitutional",
        "target": {"kind": "TrustDomain", "name": "acme"},
        "change": {"baseDigest": PIN, "resultDigest": result},
    }
    if change is not None:
        change(spec)
    first = Story(recompute, spec, opened=OPENED - 10_000)
    evidence = first.decide()
    key = evidence["proposalDigest"]
    digest = bundle_digest(evidence)
    executed = first.log.append(
        "governance.proposal.executed", key, OPENED - 6000, [], evidenceDigest=digest, resultDigest=result
    )
    accepted = first.log.append("trust.domain.accepted", CHAIN, accepted_at, [result])
    authority = {"kind": "Proposal", "evidenceDigest": digest, "entry": executed}
    revisions = [*first.revisions, RevisionRecord("acme", second, accepted, authority)]
    later = Story(recompute, log=first.log, revisions=revisions)
    return later.decide(), canonical_bytes(evidence)


def test_revision_by_proposal() -> None:
    """A revision that a proposal authorised needs that proposal's evidence, which is verified as well."""
    bundle, evidence = authorised_revision()
    report = check(bundle, Pinned(PINNED.pins, evidence={digest_of_data(evidence): evidence}))
    assert report.faults == [] and report.verdict is Verdict.UNANCHORED
    missing = check(bundle)
    assert missing.faults == [] and missing.verdict is Verdict.CANNOT_TELL and not missing.applicable
    other = evidence.replace(b"Approve", b"Abstain")
    forged = check(bundle, Pinned(PINNED.pins, evidence={digest_of_data(evidence): other}))
    assert forged.faults[0].check is Check.REVISION and "does not authorise" in forged.faults[0].message


def test_a_revision_before_its_proposal_was_executed() -> None:
    """What a proposal authorises is accepted after its execution, inside its window."""
    bundle, evidence = authorised_revision(accepted_at=OPENED - 6001)
    report = check(bundle, Pinned(PINNED.pins, evidence={digest_of_data(evidence): evidence}))
    assert "outside the execution window" in report.faults[0].message


def test_only_a_constitutional_proposal_authorises() -> None:
    """An adopted proposal of a lesser type authorises no revision."""
    bundle, evidence = authorised_revision(lambda spec: spec.update(type="Standard"))
    report = check(bundle, Pinned(PINNED.pins, evidence={digest_of_data(evidence): evidence}))
    assert "does not adopt this revision" in report.faults[0].message


@pytest.mark.parametrize(
    ("choices", "outcome"), [(("Approve", "Approve"), "Ratified"), (("Approve", "Reject", "Reject"), "Reversed")]
)
def test_ratification(choices: tuple[str, ...], outcome: str) -> None:
    """The evidence of a ratification holds the executing entry with which it opened, and is counted again from it."""
    emergency = {**proposal_spec(), "type": "Emergency"}
    ends = OPENED + 30 + 1000 + 2
    story = Story(recompute, emergency, choices=choices, acts=("Endorse",), executed=OPENED + 30, decides=ends)
    bundle = story.decide()
    report = check(bundle, proof=proof_of(bundle, story.log))
    assert report.faults == [] and report.outcome == outcome and report.verdict is Verdict.INTACT
    assert report.applicable is (outcome == "Reversed")
    del bundle["executing"]
    assert any(item.check is Check.OUTCOME for item in check(bundle).faults)
