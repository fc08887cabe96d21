"""Who lets a stopped chain go on: the table of docs/quarantine.md, case by case."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from quorate.api.conditions import Reason
from quorate.audit.quarantine import SYSTEM, Cause, Quarantine, needs_finding
from quorate.canonical import parse_time
from quorate.identity.statements import attestation_statement, resume_statement
from quorate.identity.vkey import SignerKey
from quorate.trust.attestations import Judged
from quorate.trust.domain import DomainRevision
from quorate.trust.resumption import agreed, judge_resume, judge_system_resume
from tests.unit.trust.domains import NAME, NODES, first, key, member, public, revision, seed

AT = "2026-02-01T12:00:00Z"
RECORDED = parse_time(AT) + 5
HOUR = 3_600_000_000
QUARANTINE = Quarantine(f"mesh/{NAME}", 2, Cause.DATABASE_BEHIND, "behind", parse_time(AT) * 1_000_000, 0, 7, bytes(32))
INSTALLATION = SignerKey(SYSTEM, seed("installation"))


def resume(node: int = 0, label: str | None = None, finding: str | None = None, **stated: Any) -> dict[str, Any]:
    """A Resume by a node's Vote key, signed; `stated` replaces terms."""
    name = label or f"vote-{node}"
    terms = {**QUARANTINE.terms, **stated, **({} if finding is None else {"finding": finding})}
    spec: dict[str, Any] = {
        "domain": NAME, "attester": NODES[node], "keyName": name, "sequence": 1, "at": AT, "type": "Resume",
        "statement": terms,
    }  # fmt: skip
    return {**spec, "signature": attestation_statement("mesh", spec).sign(seed(name))}


def domain(**changes: Any) -> DomainRevision:
    return revision(first(**changes))


def judge(spec: Mapping[str, Any], *, needed: bool = False, of: DomainRevision | None = None) -> Judged:
    return judge_resume(of or domain(), spec, QUARANTINE, recorded=RECORDED, finding_needed=needed)


def together(*specs: Mapping[str, Any], of: DomainRevision | None = None) -> list[str]:
    """Key names of those who resume together."""
    rules = of or domain()
    found = agreed(rules, [judged for spec in specs if (judged := judge(spec, of=rules)).accepted])
    return [item.statement.fields["keyName"] for item in found if item.statement is not None]


def test_two_names_resume() -> None:
    """Two Vote keys of different names that state the same are enough, in the order of their names."""
    assert together(resume(1), resume(0)) == ["vote-0", "vote-1"]
    assert together(resume(0, finding="a"), resume(1, finding="a")) == ["vote-0", "vote-1"]


@pytest.mark.parametrize(
    "specs",
    [
        [resume(0)],
        [resume(0), resume(0)],
        [resume(0, finding="a"), resume(1, finding="b")],
        [resume(0), resume(1, finding="b")],
    ],
    ids=["one", "the same twice", "other findings", "one without"],
)
def test_less_is_not_enough(specs: list[dict[str, Any]]) -> None:
    """One signer, the same one twice, or two who state different things resume nothing."""
    assert together(*specs) == []


def test_two_names_of_one_member_are_two_people() -> None:
    """Two people are two distinct Vote keys of different names (trust.md), whoever's they are."""
    two = domain(members=[member(0, keys=[key("vote-0"), key("second")]), member(1)])
    assert together(resume(0), resume(0, "second"), of=two) == ["second", "vote-0"]


def test_one_name_of_two_members_is_one() -> None:
    """Keys of the same name count once, although they are of two members."""
    one = domain(members=[member(0), member(1, keys=[{**key("vote-0"), "publicKey": public("vote-1")}])])
    spec = {name: value for name, value in resume(1).items() if name != "signature"} | {"keyName": "vote-0"}
    other = {**spec, "signature": attestation_statement("mesh", spec).sign(seed("vote-1"))}
    assert judge(other, of=one).accepted
    assert together(resume(0), other, of=one) == []


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (resume(quarantine=1), Reason.NOT_QUARANTINED),
        (resume(size=8), Reason.NOT_QUARANTINED),
        (resume(epoch=1), Reason.NOT_QUARANTINED),
        (resume(head="sha256:" + "a" * 64), Reason.NOT_QUARANTINED),
        (resume(chain="mesh/other"), Reason.NOT_QUARANTINED),
        (resume(size="7"), Reason.INVALID),
        (resume(finding=""), Reason.INVALID),
        (resume(finding="x" * 2001), Reason.INVALID),
        ({**resume(), "type": "Trust", "statement": {"weightBasisPoints": 1}}, Reason.INVALID),
        ({**resume(), "signature": resume(1)["signature"]}, Reason.BAD_SIGNATURE),
        ({**resume(), "keyName": "machine-0"}, Reason.UNKNOWN_KEY),
        ({**resume(), "attester": NODES[4]}, Reason.NOT_A_MEMBER),
    ],
)
def test_refused(spec: dict[str, Any], reason: str) -> None:
    """Other terms than those of the open quarantine, another form, another key: each has its reason."""
    assert judge(spec).reason == reason


@pytest.mark.parametrize("change", [{"suspended": True}, {"learner": True}, {"role": "TrustFork"}])
def test_who_has_no_vote_resumes_nothing(change: dict[str, Any]) -> None:
    """Suspended members, learners and forks have Vote keys that count for nothing here either."""
    assert judge(resume(), of=domain(members=[member(0, **change), member(1), member(2)])).reason == "NotInElectorate"


def test_an_expired_key_resumes_nothing() -> None:
    """A key signs until notAfter, by the time at which the Attestation was recorded."""
    expired = domain(members=[member(0, keys=[key("vote-0", notAfter=AT)]), member(1)])
    assert judge(resume(), of=expired).reason == Reason.KEY_EXPIRED


def test_what_was_signed_before_resumes_nothing() -> None:
    """After a restore the next quarantine may have the terms of one that ended: its signatures are not used again."""
    later = replace(QUARANTINE, raised_at=QUARANTINE.raised_at + 1_000_000)
    judged = judge_resume(domain(), resume(), later, recorded=RECORDED, finding_needed=False)
    assert judged.reason == Reason.NOT_QUARANTINED and "before the chain was stopped" in judged.message
    document = {**replace(later, chain_id=SYSTEM).terms, "keyName": SYSTEM, "at": AT}
    document["signature"] = resume_statement(document).sign(INSTALLATION.seed)
    keys, system = [INSTALLATION.verifier], replace(later, chain_id=SYSTEM)
    assert judge_system_resume(document, system, keys, finding_needed=False).reason == Reason.NOT_QUARANTINED


def test_a_flap_takes_a_finding() -> None:
    """From the third quarantine within 24 hours on, a finding that is not blank is required."""
    assert judge(resume(), needed=True).reason == Reason.FINDING_MISSING
    assert judge(resume(finding="  "), needed=True).reason == Reason.FINDING_MISSING
    assert judge(resume(finding="the replica lagged"), needed=True).accepted


@pytest.mark.parametrize(
    ("hours", "needed"),
    [([0], False), ([0, 5], False), ([0, 5, 10], True), ([0, 5, 24], False), ([0, 1, 2, 30], False)],
)
def test_flaps_are_counted_to_the_raising(hours: list[int], needed: bool) -> None:
    """More than two quarantines in the 24 hours up to the last one's raising, however long it is open."""
    raised = [replace(QUARANTINE, number=index + 1, raised_at=hour * HOUR) for index, hour in enumerate(hours)]
    assert needs_finding(raised[-1], raised) is needed


class TestSystem:
    quarantine = replace(QUARANTINE, chain_id=SYSTEM)

    def document(self, signer: SignerKey = INSTALLATION, **changes: Any) -> dict[str, Any]:
        """A resume of `system`, signed."""
        document = {**self.quarantine.terms, "keyName": SYSTEM, "at": AT, **changes}
        return {**document, "signature": resume_statement(document).sign(signer.seed)}

    def judge(self, document: Any, *, needed: bool = False) -> str:
        return judge_system_resume(document, self.quarantine, [INSTALLATION.verifier], finding_needed=needed).reason

    def test_the_installations_key_resumes(self) -> None:
        """One signature of the installation's log key over the terms is enough."""
        assert self.judge(self.document()) == Reason.ACCEPTED

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"size": 8}, Reason.NOT_QUARANTINED),
            ({"chain": "mesh/acme"}, Reason.NOT_QUARANTINED),
            ({"keyName": "other"}, Reason.UNKNOWN_KEY),
            ({"size": 1.5}, Reason.INVALID),
            ({"more": 1}, Reason.INVALID),
            ({"at": "2026-02-31T12:00:00Z"}, Reason.INVALID),
        ],
    )
    def test_refused(self, changes: dict[str, Any], reason: str) -> None:
        """Other terms, another key name, another form."""
        document = {**self.document(), **changes}
        if reason != Reason.INVALID:
            document = self.document(**changes)
        assert self.judge(document) == reason

    def test_another_key(self) -> None:
        """A signature of another key is refused, as is what is no object at all."""
        assert self.judge(self.document(SignerKey(SYSTEM, seed("thief")))) == Reason.BAD_SIGNATURE
        assert self.judge(["resume"]) == Reason.INVALID

    def test_a_flap_takes_a_finding(self) -> None:
        """As for every chain."""
        assert self.judge(self.document(), needed=True) == Reason.FINDING_MISSING
        assert self.judge(self.document(finding="power"), needed=True) == Reason.ACCEPTED
