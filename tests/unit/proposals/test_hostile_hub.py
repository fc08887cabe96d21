"""A compromised hub: it writes any object and owns the log's key, but no member's and no admin's.

Each forgery is made whole: entries, ids, electorate, outcome, log and proof are rebuilt with the operator's own code,
so that nothing but what the hub cannot make is wrong. The receiver has pinned revision 1.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from quorate.audit.checkpoint import Checkpoint
from quorate.audit.entry import content_hash
from quorate.audit.merkle import inclusion_proof, root_of
from quorate.audit.proof import ProofBundle, TlogProof
from quorate.audit.record import GENESIS_HASH, Record, chain_hash, leaf_hash
from quorate.audit.verify import Verdict
from quorate.canonical import canonical_bytes, digest_of, encode_base64, format_time
from quorate.contracts.patch import Target, successor
from quorate.identity.ed25519 import public_key_of
from quorate.identity.statements import Statement, proposal_statement, trust_domain_statement, vote_statement
from quorate.identity.vkey import SignerKey
from quorate.proposals.ancestry import derive_history
from quorate.proposals.bundle import Bundle, RevisionRecord, Signed, bundle_digest, parse_bundle
from quorate.proposals.evidence import Check, Pinned, Report, verify
from quorate.proposals.replay import recompute
from quorate.trust.domain import DomainHistory
from tests.unit.proposals.evidence_case import (
    CHAIN,
    CONTENT,
    LOG,
    NODES,
    OPENED,
    SEEDS,
    Log,
    Story,
    cast,
    domain_spec,
    next_revision,
    proposal_spec,
)

HUB = bytes([66]) * 32
"""The only key that the hub has besides the log's."""
PIN = trust_domain_statement("acme", domain_spec()).digest
PINNED = Pinned(pins={CHAIN: PIN})
HUB_PUBLIC = encode_base64(public_key_of(HUB))


@dataclass
class Forged:
    """What the hub hands out."""

    bundle: dict[str, Any]
    log: Log
    key: SignerKey = LOG
    pinned: Pinned = PINNED
    proof: dict[str, Any] | None = None

    def check(self) -> Report:
        proof = self.proof or self.log.proof(bundle_digest(self.bundle))
        return verify(canonical_bytes(self.bundle), pinned=self.pinned, proof=canonical_bytes(proof))


def believed(bundle: Bundle, histories: Mapping[str, DomainHistory]) -> Mapping[str, Any]:
    """The outcome that the hub wants: what its votes would give if their signatures were good."""
    good = tuple(replace(vote, signature=vote.statement.sign(seed_of(vote))) for vote in bundle.votes)
    return recompute(replace(bundle, votes=good), histories)


def seed_of(vote: Signed) -> bytes:
    return SEEDS[str(vote.statement.fields["voter"])]


def story(**more: Any) -> Forged:
    made = Story(more.pop("recompute", recompute), **more)
    return Forged(made.decide(), made.log)


def other_members() -> Forged:
    """Its own constitution: a revision 1 with its own admin and member."""
    log, spec = Log(), domain_spec()
    spec["admins"] = [{"name": "root", "publicKey": HUB_PUBLIC}]
    spec["signatures"] = [{"name": "root", "signature": trust_domain_statement("acme", spec).sign(HUB)}]
    return _under(spec, log)


def heavier_member() -> Forged:
    """The admins' revision 1 with another weight, under their signature."""
    spec = domain_spec()
    spec["members"][0]["weight"] = 10_000
    return _under(spec, Log())


def _under(spec: dict[str, Any], log: Log) -> Forged:
    entry = log.append("trust.domain.accepted", CHAIN, OPENED - 100, [trust_domain_statement("acme", spec).digest])
    return story(log=log, revisions=[RevisionRecord("acme", spec, entry)])


def second_revision(change: Callable[[dict[str, Any]], None]) -> Callable[[], Forged]:
    """Revision 1 as it is, and a second one that no admin signed."""

    def forge() -> Forged:
        log, first = Log(), domain_spec()
        records = [RevisionRecord("acme", first, log.append("trust.domain.accepted", CHAIN, OPENED - 100, [PIN]))]
        second = copy.deepcopy(next_revision(first))
        change(second)
        statement = trust_domain_statement("acme", second)
        second["signatures"] = [{"name": "root", "signature": statement.sign(HUB)}]
        entry = log.append("trust.domain.accepted", CHAIN, OPENED - 50, [statement.digest])
        return story(log=log, revisions=[*records, RevisionRecord("acme", second, entry)])

    return forge


def add_member(spec: dict[str, Any]) -> None:
    """Itself, with all the weight."""
    keys = [{"purpose": "Vote", "name": "alice", "publicKey": HUB_PUBLIC}]
    node = "99999999-9999-4999-8999-999999999999"
    spec["members"].append({"nodeId": node, "role": "GovernanceHub", "weight": 10_000, "keys": keys})


def replace_key(spec: dict[str, Any]) -> None:
    """A member's key by its own."""
    spec["members"][2]["keys"][0]["publicKey"] = HUB_PUBLIC


def lower_quorum(spec: dict[str, Any]) -> None:
    """The rules of the vote."""
    spec["voting"]["Standard"]["quorumBasisPoints"] = 1


def forged_votes() -> Forged:
    """Votes of members, signed with its own key, and the outcome that they would give."""
    forged = story(choices=("Approve", "Approve", "Approve"), recompute=believed)
    for vote in forged.bundle["votes"]:
        vote["signature"] = Statement("vote", vote["statement"]).sign(HUB)
    return forged


def turned_votes() -> Forged:
    """Members' rejections turned into approvals under their old signatures."""

    def wanted(bundle: Bundle, histories: Mapping[str, DomainHistory]) -> Mapping[str, Any]:
        turned = tuple(_approve(vote) for vote in bundle.votes)
        return believed(replace(bundle, votes=turned), histories)

    made = Story(wanted, choices=("Reject", "Reject", "Reject"))
    bundle = made.decide()
    document = copy.deepcopy(bundle)
    log = made.log
    for vote in document["votes"]:
        vote["statement"]["choice"] = "Approve"
        statement = Statement("vote", vote["statement"])
        entry = log.append("governance.vote.accepted", statement.digest, OPENED + 30, [bundle["proposalDigest"]])
        vote["entry"] = {**entry, "payload": {**entry["payload"], "detail": {"recordedAt": format_time(OPENED + 10)}}}
    return Forged(document, log)


def _approve(vote: Signed) -> Signed:
    return replace(vote, statement=Statement("vote", {**vote.statement.fields, "choice": "Approve"}))


def votes_on_something_else() -> Forged:
    """Real votes on another proposal, recorded as votes on this one."""
    log = Log()
    other = proposal_statement("mesh", "ns", "other", {**proposal_spec(), "revision": 2})

    def wanted(bundle: Bundle, histories: Mapping[str, DomainHistory]) -> Mapping[str, Any]:
        fields = {"proposalDigest": bundle.proposal_digest, "revision": 1}
        moved = tuple(
            replace(vote, statement=Statement("vote", {**vote.statement.fields, **fields})) for vote in bundle.votes
        )
        return believed(replace(bundle, votes=moved), histories)

    forged = story(log=log, choices=("Approve", "Approve"), recompute=wanted)
    for index, vote in enumerate(list(forged.bundle["votes"])):
        node = vote["statement"]["voter"]
        made = cast(Log(), other, node, "Approve", OPENED + 10 + index)
        entry = log.append(
            "governance.vote.accepted", made.statement.digest, OPENED + 20, [forged.bundle["proposalDigest"]]
        )
        forged.bundle["votes"][index] = {
            "statement": dict(made.statement.fields), "signature": made.signature, "entry": entry
        }  # fmt: skip
    return forged


def voted_out() -> Forged:
    """Good votes refused for a reason that does not hold, and the outcome without them."""

    def wanted(bundle: Bundle, histories: Mapping[str, DomainHistory]) -> Mapping[str, Any]:
        return recompute(replace(bundle, votes=tuple(vote for vote in bundle.votes if vote.accepted)), histories)

    return story(choices=("Approve", "Reject", "Reject"), refuses=(1, 2), recompute=wanted)


def executed_without_votes() -> Forged:
    """No vote at all, and the outcome Adopted."""

    def wanted(bundle: Bundle, histories: Mapping[str, DomainHistory]) -> Mapping[str, Any]:
        found = dict(recompute(bundle, histories))
        return {**found, "outcome": "Adopted", "reason": "Passed"}

    return story(choices=(), recompute=wanted)


def forged_delegation() -> Forged:
    """A delegation of a member that it never signed, and the outcome that it would give."""

    def wanted(bundle: Bundle, histories: Mapping[str, DomainHistory]) -> Mapping[str, Any]:
        return recompute(bundle, histories)

    forged = story(choices=("Abstain", "Approve"), delegates=True, recompute=wanted)
    item = forged.bundle["delegations"][0]
    item["signature"] = Statement("attestation", item["statement"]).sign(HUB)
    return forged


def forged_endorsement() -> Forged:
    """An emergency that no admin endorsed."""
    emergency = {**proposal_spec(), "type": "Emergency"}
    forged = story(
        spec=emergency, choices=("Approve",) * 2, acts=("Endorse",), executed=OPENED + 30, decides=OPENED + 1032
    )
    item = forged.bundle["acts"][0]
    item["signature"] = Statement("act", item["statement"]).sign(HUB)
    return forged


def forged_proposal() -> Forged:
    """A proposal in a member's name that it never signed."""
    forged = story()
    forged.bundle["proposal"]["signature"] = Statement("proposal", forged.bundle["proposal"]["statement"]).sign(HUB)
    return forged


def other_content() -> Forged:
    """A contract's content that the proposal does not lead to."""
    forged = story()
    change = {**proposal_spec()["change"], "patch": [{"op": "replace", "path": "/text", "value": "Mine."}]}
    digest = forged.bundle["proposalDigest"]
    wrong = successor(CONTENT, Target("1"), change, proposal_digest=digest, executed_at=OPENED + 4000)
    forged.pinned = Pinned(PINNED.pins, contract=(CONTENT.data, wrong.data))
    return forged


def history_that_forks() -> Forged:
    """A chain of revisions that is not the one that the receiver accepted."""
    forged = story()
    forged.pinned = Pinned(PINNED.pins, {CHAIN: ["sha256:" + "7" * 64]})
    return forged


def executed_again() -> Forged:
    """A proposal that the receiver applied before."""
    forged = story()
    forged.pinned = Pinned(PINNED.pins, applied=[forged.bundle["proposalDigest"]])
    return forged


def log_of_its_own() -> Forged:
    """The same entries under another log key."""
    forged = story()
    proof = forged.log.proof(bundle_digest(forged.bundle))
    checkpoint = Checkpoint(CHAIN, *_head(forged.log))
    proof["chains"][0]["checkpoint"] = checkpoint.sign(SignerKey(CHAIN, HUB))
    forged.proof = proof
    return forged


def proof_of_other_evidence() -> Forged:
    """The proof of another decision."""
    forged, other = story(), story(choices=("Approve", "Approve"))
    forged.proof = other.log.proof(bundle_digest(other.bundle))
    return forged


def numbers_of_its_own() -> Forged:
    """Another electorate than the revision gives."""
    forged = story()
    forged.bundle["domains"]["acme"]["electorate"]["totalWeight"] = 100
    return forged


def _records(log: Log) -> list[bytes]:
    chain, records = GENESIS_HASH, []
    for index, entry in enumerate(log.entries):
        content = canonical_bytes(entry)
        record = Record(CHAIN, 0, index, 10**15 + index, chain, content_hash(content), content).encode()
        chain = chain_hash(chain, leaf_hash(record))
        records.append(record)
    return records


def _head(log: Log) -> tuple[int, bytes]:
    leaves = [leaf_hash(record) for record in _records(log)]
    return len(leaves), root_of(leaves)


FORGERIES: list[tuple[Callable[[], Forged], Check, str]] = [
    (other_members, Check.REVISION, "PinMismatch"),
    (heavier_member, Check.REVISION, "PinMismatch"),
    (second_revision(add_member), Check.REVISION, "Unauthorized"),
    (second_revision(replace_key), Check.REVISION, "Unauthorized"),
    (second_revision(lower_quorum), Check.REVISION, "Unauthorized"),
    (history_that_forks, Check.REVISION, "Fork"),
    (numbers_of_its_own, Check.ELECTORATE, "does not follow from revision 1"),
    (forged_proposal, Check.PROPOSAL, "BadSignature"),
    (forged_votes, Check.SIGNATURE, "its signature does not verify"),
    (forged_votes, Check.OUTCOME, "BadSignature"),
    (turned_votes, Check.SIGNATURE, "its signature does not verify"),
    (votes_on_something_else, Check.OUTCOME, "OtherProposal"),
    (voted_out, Check.OUTCOME, "the votes give 'Rejected', recorded is 'Expired'"),
    (executed_without_votes, Check.OUTCOME, "the votes give 'Expired', recorded is 'Adopted'"),
    (forged_delegation, Check.SIGNATURE, "its signature does not verify"),
    (forged_endorsement, Check.SIGNATURE, "its signature does not verify"),
    (other_content, Check.EXECUTION, "the change leads to"),
    (executed_again, Check.REPLAY, "was applied before"),
    (log_of_its_own, Check.PROOF, "no known key signed the note"),
    (proof_of_other_evidence, Check.PROOF, "the proof is of evidence"),
]


@pytest.mark.parametrize(("forge", "expected", "said"), FORGERIES)
def test_each_forgery_is_refused_with_its_reason(forge: Callable[[], Forged], expected: Check, said: str) -> None:
    """Whatever the hub makes up, a receiver that pinned revision 1 refuses it and names why."""
    report = forge().check()
    assert report.verdict is Verdict.TAMPERED and not report.applicable
    assert any(item.check is expected and said in f"{item.reason} {item.message}" for item in report.faults)


def test_the_honest_hub_is_believed() -> None:
    """The same machinery without a forgery verifies and anchors: the refusals are not of the test's making."""
    report = story().check()
    assert report.faults == [] and report.verdict is Verdict.INTACT and report.applicable


# What it can do: withhold and mis-time. Only the member knows.


@dataclass
class Member:
    """NODES[2], who rejected `offset` seconds after the opening; perhaps it holds the proof of the accepting entry."""

    forged: Forged
    own: Statement
    proofs: list[bytes] = field(default_factory=list)

    def check(self) -> Report:
        pinned = Pinned(PINNED.pins, own=[self.own], accepting=self.proofs)
        return verify(canonical_bytes(self.forged.bundle), pinned=pinned)


def rejection(digest: str, second: int = OPENED + 12) -> Statement:
    spec = {
        "proposal": {"digest": digest}, "revision": 1, "voter": NODES[2], "keyName": "alice", "domain": "acme",
        "choice": "Reject", "sequence": 1, "castAt": format_time(second),
    }  # fmt: skip
    return vote_statement("mesh", spec)


def proof_of_acceptance(log: Log, statement: Statement, key: SignerKey = LOG) -> bytes:
    """What `quorate audit prove` gave the member when its vote was accepted."""
    index = next(i for i, entry in enumerate(log.entries) if entry["payload"]["subject"]["key"] == statement.digest)
    records = _records(log)
    leaves = [leaf_hash(record) for record in records]
    note = Checkpoint(CHAIN, len(leaves), root_of(leaves)).sign(key)
    return ProofBundle(records[index], TlogProof(index, tuple(inclusion_proof(leaves, index)), note)).encode()


def withheld() -> Forged:
    """The hub leaves a rejection out; everything else adds up."""
    return story(choices=("Approve", "Approve"))


def test_a_withheld_vote_verifies_and_alarms_its_member() -> None:
    """Nobody but the member can know: the bundle holds, and the member's own vote is absent: an alarm."""
    forged = withheld()
    assert forged.check().verdict is Verdict.INTACT
    report = Member(forged, rejection(forged.bundle["proposalDigest"])).check()
    assert report.faults == []
    (alarm,) = report.alarms
    assert alarm.check is Check.OWN_VOTE and alarm.message.endswith("is absent")


def test_a_withheld_vote_whose_acceptance_is_proven_is_refused() -> None:
    """With the proof that the log accepted it in time, the bundle is refused."""
    forged = withheld()
    honest = story()
    own = rejection(forged.bundle["proposalDigest"])
    member = Member(forged, own, [proof_of_acceptance(honest.log, own)])
    report = member.check()
    assert report.verdict is Verdict.TAMPERED and report.faults[0].message.endswith("is absent")


@pytest.mark.parametrize("key", [SignerKey(CHAIN, HUB), SignerKey("mesh/other", bytes([9]) * 32)])
def test_a_proof_by_another_log_is_no_proof(key: SignerKey) -> None:
    """Only a log key of the domain's revisions makes a proof; else it is the member's word, and a note says so."""
    forged, honest = withheld(), story()
    own = rejection(forged.bundle["proposalDigest"])
    report = Member(forged, own, [proof_of_acceptance(honest.log, own, key), b"{}"]).check()
    assert report.faults == [] and len(report.alarms) == 1 and len(report.notes) == 2


def test_a_vote_that_is_there_is_silent() -> None:
    """An own vote that the bundle holds as accepted raises nothing, with or without its proof."""
    honest = story()
    own = rejection(honest.bundle["proposalDigest"])
    for proofs in ([], [proof_of_acceptance(honest.log, own)]):
        report = Member(honest, own, proofs).check()
        assert (report.faults, report.alarms, report.notes) == ([], [], [])


def test_a_vote_recorded_too_late_alarms_its_member() -> None:
    """A vote cast in time and recorded after T is named; a proof of another second refuses the bundle."""
    forged, honest = withheld(), story()
    own = rejection(forged.bundle["proposalDigest"])
    late = cast(
        forged.log, Statement("proposal", forged.bundle["proposal"]["statement"]), NODES[2], "Reject", OPENED + 12
    )
    entry = copy.deepcopy(dict(late.entry))
    entry["payload"]["detail"]["recordedAt"] = format_time(OPENED + 3601)
    forged.bundle["votes"].append({**late.document(), "entry": entry})
    forged.bundle = rebuilt(forged)
    report = Member(forged, own).check()
    assert report.faults == [] and "it is TooLate" in report.alarms[0].message
    report = Member(forged, own, [proof_of_acceptance(honest.log, own)]).check()
    assert f"recorded at second {OPENED + 12}, the bundle says {OPENED + 3601}" in report.faults[0].message


def rebuilt(forged: Forged) -> dict[str, Any]:
    """The bundle with the outcome that its own votes give: what a careful hub writes."""
    bundle = parse_bundle(forged.bundle)
    found = derive_history(Report(), bundle, "acme", PINNED, lambda *_: Report())
    assert found is not None
    outcome = dict(recompute(bundle, {"acme": found}))
    document = bundle.document()
    detail = document["outcomeEntry"]["payload"]["detail"]
    detail |= {name: outcome[name] for name in ("outcome", "reason", "decidedAt")} | {
        "outcomeDigest": digest_of(outcome)
    }
    return {**document, "outcome": outcome}


def test_a_refused_own_vote_says_why() -> None:
    """An own vote that the hub refused is an alarm with the hub's reason."""
    forged = story(refuses=(2,))
    report = Member(forged, rejection(forged.bundle["proposalDigest"])).check()
    assert [item.reason for item in report.alarms] == ["TooLate"] and "was refused: TooLate" in report.alarms[0].message


def test_what_concerns_something_else_raises_nothing() -> None:
    """Own votes on other proposals are passed over; one cast after the decision is only noted."""
    honest = story(choices=("Approve", "Approve"))
    assert Member(honest, rejection("sha256:" + "0" * 64)).check().alarms == []
    report = Member(honest, rejection(honest.bundle["proposalDigest"], OPENED + 10_000)).check()
    assert report.alarms == [] and "recorded after the decision's T" in report.notes[0]


def test_a_withheld_revocation_of_a_delegation_alarms() -> None:
    """A delegation that its member took back, where the hub shows only the first, is the member's alarm."""
    forged = story(choices=("Abstain", "Approve"), delegates=True)
    revoked = copy.deepcopy(forged.bundle["delegations"][0]["statement"])
    revoked |= {"sequence": 2, "statement": {"to": "", "types": []}, "at": format_time(OPENED + 16)}
    report = Member(forged, Statement("attestation", revoked)).check()
    assert report.faults == [] and "own delegation" in report.alarms[0].message
