"""Conflicts through the reconcilers: found, arbitrated, and what becomes of the parties (docs/conflicts.md)."""

from collections.abc import Callable
from typing import Any

import pytest

from quorate.audit.verify import Verdict
from quorate.canonical import canonical_bytes, digest_of, format_time, parse_json
from quorate.identity.statements import (
    act_statement,
    attestation_statement,
    proposal_statement,
    trust_domain_statement,
    vote_statement,
)
from quorate.proposals.documents import tally_documents
from quorate.proposals.evidence import Pinned, verify
from quorate_operator.kube.resources import Key
from tests.unit.proposals.fleet import MESH, member, node, seed

from . import town as towns
from .town import STANDARD, Town

NAMES = tuple(f"m{number}" for number in range(6))
LOCKED = {**STANDARD, "timelockSeconds": 30, "earlyDecision": True}
SHARED = {"sharedClauses": {"rules": ["1"]}}


@pytest.fixture
def six(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six members, so that three may sit when two are parties."""
    monkeypatch.setattr(towns, "NAMES", NAMES)


async def founded(**more: Any) -> Town:
    """A domain with a timelock, and its contract in force."""
    town = await Town().restart()
    await town.found(voting={"Standard": LOCKED, "Constitutional": LOCKED}, **more)
    return town


def propose(town: Town, name: str, proposer: str = "m0", **more: Any) -> Key:
    """A proposal of this member."""
    key = town.propose(name, proposer=node(proposer), **more)
    spec = {**town.server.objects[key]["spec"]}
    spec["signature"] = proposal_statement(MESH, "default", name, spec).sign(seed(f"{proposer}.main"))
    return town.apply("GovernanceProposal", name, spec, "default")


async def adopt(town: Town, *proposals: Key) -> None:
    """Everybody approves, and it is decided early."""
    await town.settle()
    for proposal in proposals:
        for who in NAMES:
            town.vote(proposal, who, "Approve")
    await town.settle(2)


async def two_adopted(**more: Any) -> tuple[Town, Key, Key, Key]:
    """Two rivals adopted in overlapping timelocks, and the conflict that they are parties of."""
    town = await founded(**more)
    one, other = propose(town, "a"), propose(town, "b", "m1")
    await adopt(town, one, other)
    (conflict,) = [key for key in town.server.objects if key.kind == "PolicyConflict"]
    return town, one, other, conflict


def arbitrate(town: Town, conflict: Key, choices: str, **more: Any) -> list[Key]:
    """The arbitrators that the status names vote in their order: A, B, C, or `-`."""
    status, words = town.status(conflict), {"A": "PartyA", "B": "PartyB", "C": "Compromise"}
    by_node = {node(name): name for name in (*NAMES, "p0", "p1", "p2", "p3")}
    found = []
    for seat, letter in zip(status["arbitrators"], choices, strict=False):
        if letter == "-":
            continue
        who = by_node[seat["nodeId"]]
        spec = {
            "proposal": {"namespace": "default", "name": conflict.name, "digest": status["digest"]},
            "revision": status["voteRevision"],
            "voter": seat["nodeId"],
            "keyName": "main",
            "domain": seat["domain"],
            "choice": words[letter],
            "sequence": 1,
            "castAt": format_time(int(town.now)),
            **more,
        }
        spec["signature"] = vote_statement(MESH, spec).sign(seed(f"{who}.main"))
        name = f"{conflict.name}-{status['level'].lower()}-{who}"
        found.append(town.apply("Vote", name, spec, "default"))
    return found


def party(town: Town, conflict: Key, side: str) -> Key:
    """The proposal that is PartyA or PartyB."""
    found = town.server.objects[conflict]["spec"]["parties"]["AB".index(side)]
    return Key(found["kind"], found["namespace"], found["name"])


pytestmark = pytest.mark.usefixtures("six")


async def test_c1_open_rivals_are_warned_of_and_nothing_else() -> None:
    """C1: both name each other, both go on, no conflict opens."""
    town = await founded()
    one, other = propose(town, "a"), propose(town, "b", "m1")
    await town.settle()
    assert [item["name"] for item in town.status(one)["conflicts"]] == ["b"]
    assert [item["name"] for item in town.status(other)["conflicts"]] == ["a"]
    assert not [key for key in town.server.objects if key.kind == "PolicyConflict"]


async def test_two_adopted_rivals_wait_for_arbitrators() -> None:
    """Neither executes when its timelock ends; the conflict names cause, severity, and who decides until when."""
    town, one, other, conflict = await two_adopted()
    await town.settle(40)
    assert {town.status(key)["phase"] for key in (one, other)} == {"Conflict"}
    assert {town.status(key)["outcome"] for key in (one, other)} == {"Adopted"}
    status = town.status(conflict)
    assert (status["cause"], status["severity"], status["level"]) == ("OverlappingTimelocks", "Low", "Domain")
    assert len(status["arbitrators"]) == 3
    assert not {node("m0"), node("m1")} & {item["nodeId"] for item in status["arbitrators"]}
    assert town.status(one)["policyConflicts"][0]["name"] == conflict.name
    assert town.entries.count("governance.conflict.opened") == 1
    assert "governance.proposal.executed" not in town.entries
    assert not town.errors


async def test_the_winner_executes_and_the_loser_fails() -> None:
    """A plurality decides: the change is in force, the other party is Failed, and each evidence shows why."""
    town, _, _, conflict = await two_adopted()
    votes = arbitrate(town, conflict, "BB")
    await town.settle(40)
    winner, loser = party(town, conflict, "B"), party(town, conflict, "A")
    assert (town.status(winner)["phase"], town.status(loser)["phase"]) == ("Executed", "Failed")
    assert town.status(loser)["reason"] == "ConflictLost"
    assert town.status(conflict)["outcome"] == "PartyB"
    assert {town.condition(vote, "Counted")[0] for vote in votes} == {"True"}
    assert town.status(town.contract)["inForce"]["proposalDigest"] == town.status(winner)["digest"]
    assert not town.errors
    report = verify(town.content(town.status(winner)["evidenceRef"]), pinned=Pinned())
    assert (report.verdict, report.outcome, report.applicable) == (Verdict.UNANCHORED, "Adopted", True)
    report = verify(town.content(town.status(loser)["evidenceRef"]), pinned=Pinned())
    assert (report.verdict, report.applicable) == (Verdict.UNANCHORED, False)


async def test_c10_and_c17_ties_escalate_and_block() -> None:
    """C10, C17: a tie at level Domain asks all hubs; a tie there ends both."""
    town, one, other, conflict = await two_adopted()
    arbitrate(town, conflict, "ABC")
    await town.settle(3)
    status = town.status(conflict)
    assert (status["level"], status["voteRevision"], status["reason"]) == ("Hubs", 3, "Tie")
    assert len(status["arbitrators"]) == 4
    arbitrate(town, conflict, "ABAB")
    await town.settle(3)
    assert (town.status(conflict)["outcome"], town.status(conflict)["reason"]) == ("Blocked", "Unresolved")
    assert [town.status(key)["reason"] for key in (one, other)] == ["Unresolved"] * 2
    assert [town.status(key)["phase"] for key in (one, other)] == ["Failed"] * 2
    assert town.entries.count("governance.conflict.escalated") == 1
    for key in (one, other):
        report = verify(town.content(town.status(key)["evidenceRef"]), pinned=Pinned())
        assert (report.verdict, report.applicable) == (Verdict.UNANCHORED, False)


async def test_c15_a_late_vote_says_nothing() -> None:
    """C15: a vote on a level that is over is refused, and so is one on a level that is not reached."""
    town, _, _, conflict = await two_adopted()
    early = arbitrate(town, conflict, "A", revision=3)[0]
    await town.settle()
    assert town.condition(early, "Counted")[:2] == ("False", "OtherProposal")
    arbitrate(town, conflict, "ABC", sequence=2)
    await town.settle(3)
    assert town.status(conflict)["level"] == "Hubs"
    seat = town.server.objects[Key("Vote", "default", f"{conflict.name}-domain-{early.name.rpartition('-')[2]}")]
    spec = {**seat["spec"], "choice": "PartyB", "sequence": 9, "castAt": format_time(int(town.now))}
    who = early.name.rpartition("-")[2]
    spec["signature"] = vote_statement(MESH, spec).sign(seed(f"{who}.main"))
    late = town.apply("Vote", "late", spec, "default")
    await town.settle()
    assert town.condition(late, "Counted")[:2] == ("False", "TooLate")


async def test_c16_a_compromise_is_a_new_proposal_on_the_same_base() -> None:
    """C16: both end, the clause is as before, and a proposal on it that both write executes."""
    town, one, other, conflict = await two_adopted()
    arbitrate(town, conflict, "CC")
    await town.settle(3)
    assert [town.status(key)["reason"] for key in (one, other)] == ["Compromise"] * 2
    both = propose(town, "c", "m2")
    await adopt(town, both)
    await town.settle(40)
    assert town.status(both)["phase"] == "Executed"


async def test_c18_the_window_begins_with_the_resolution() -> None:
    """C18: decided long after the window would have closed, the winner still executes."""
    town, _, _, conflict = await two_adopted()
    await town.settle(90)
    arbitrate(town, conflict, "AA")
    await town.settle(3)
    assert town.status(party(town, conflict, "A"))["phase"] == "Executed"


async def test_c19_a_shared_clause_waits_for_its_parent() -> None:
    """C19: the parent has no accepted revision here: nothing executes, and the window closes over it."""
    town = await founded(parent="above", **SHARED)
    proposal = propose(town, "a")
    await adopt(town, proposal)
    await town.settle(40)
    assert town.condition(proposal, "Ready")[1] == "UnknownDomain"
    await town.settle(60)
    assert (town.status(proposal)["phase"], town.status(proposal)["reason"]) == ("Expired", "WindowClosed")


def raise_one(town: Town, conflict: Key, who: str = "m2", **more: Any) -> Key:
    """A member's Compliance attestation on the conflict that the object describes."""
    spec: dict[str, Any] = {
        "domain": "fleet",
        "attester": node(who),
        "keyName": "main",
        "sequence": 1,
        "at": format_time(int(town.now)),
        "type": "Compliance",
        "subject": {"kind": "PolicyConflict", "name": conflict.name, "digest": town.status(conflict)["digest"]},
        "statement": {"compliant": False},
        **more,
    }
    spec["signature"] = attestation_statement(MESH, spec).sign(seed(f"{who}.main"))
    return town.apply("Attestation", f"raise-{conflict.name}-{who}", spec, "default")


def contested(town: Town, name: str, *parties: Key, evidence: str = "it was promised") -> Key:
    """A PolicyConflict as a member writes it."""
    spec = {
        "domain": "fleet",
        "parties": [
            {"kind": key.kind, "namespace": key.namespace, "name": key.name, "digest": town.status(key)["digest"]}
            for key in parties
        ],
        "evidence": [{"digest": digest_of(evidence), "description": evidence}],
    }
    return town.apply("PolicyConflict", name, spec, "default")


async def raised(count: int = 1) -> tuple[Town, Key, list[Key]]:
    """A proposal adopted on clause 1, others open, and as many conflicts with them as a member wrote."""
    town = await founded()
    one = propose(town, "a")
    others = [propose(town, f"o{number}", "m1", type="Constitutional") for number in range(count)]
    await adopt(town, one)
    found = [contested(town, f"c{number}", one, other) for number, other in enumerate(others)]
    await town.settle()
    return town, one, found


async def test_c20_an_unsigned_one_stops_nobody() -> None:
    """C20: without a member's attestation it waits, and the proposal executes."""
    town, one, (conflict,) = await raised()
    assert town.condition(conflict, "Ready")[:2] == ("False", "NotRaised")
    await town.settle(40)
    assert town.status(one)["phase"] == "Executed"


async def test_a_member_raises_one() -> None:
    """Attested, it opens: the adopted party waits, whoever raised it does not sit, and the winner executes."""
    town, one, (conflict,) = await raised()
    raise_one(town, conflict)
    await town.settle(40)
    status = town.status(conflict)
    assert (status["cause"], status["raisedBy"]) == ("Raised", node("m2"))
    assert not {node("m0"), node("m1"), node("m2")} & {item["nodeId"] for item in status["arbitrators"]}
    assert town.status(one)["phase"] == "Conflict"
    arbitrate(town, conflict, "AA")
    await town.settle(3)
    assert town.status(one)["phase"] == "Executed"


async def test_c21_a_fourth_waits() -> None:
    """C21: three raised ones of a member are open; the fourth waits until one is resolved."""
    town, _, conflicts = await raised(3)
    others = [Key("GovernanceProposal", "default", f"o{number}") for number in range(2)]
    conflicts.append(contested(town, "c3", *others))
    await town.settle()
    for conflict in conflicts:
        raise_one(town, conflict)
        await town.settle()
    assert [town.condition(key, "Ready")[1] for key in conflicts] == ["Arbitration"] * 3 + ["TooManyConflicts"]
    arbitrate(town, conflicts[0], "AA")
    await town.settle(10)
    assert "openedAt" in town.status(conflicts[3])


async def test_c22_a_pair_is_arbitrated_once() -> None:
    """C22: other evidence makes another digest, but the pair was decided."""
    town, one, (conflict,) = await raised()
    raise_one(town, conflict)
    await town.settle()
    arbitrate(town, conflict, "AA")
    await town.settle(3)
    again = contested(town, "again", one, Key("GovernanceProposal", "default", "o0"), evidence="something else")
    await town.settle()
    raise_one(town, again, sequence=2)
    await town.settle()
    assert town.condition(again, "Ready")[:2] == ("False", "AlreadyDecided")
    assert town.entries.count("governance.conflict.refused") == 1


async def test_a_restart_changes_nothing() -> None:
    """A new process on the same log, with the objects of conflicts deleted: they come back, nothing is appended."""
    town, _, _, conflict = await two_adopted()
    before = list(town.entries)
    del town.server.objects[conflict]
    await town.restart()
    await town.settle(1)
    assert town.entries == before
    assert town.status(conflict)["level"] == "Domain"


async def test_a_parent_is_asked_after_the_domain() -> None:
    """A shared clause changed without the parent's vote: its revision is the other party, and its members sit next."""
    town = await Town().restart()
    parents = [member(f"p{number}") for number in range(4)]
    above = town.domain_spec()
    above = {**above, "members": parents, "contracts": []}
    town.apply("TrustDomain", "above", signed_as("above", above))
    await town.found(voting={"Standard": LOCKED}, parent="above", **SHARED)
    proposal = propose(town, "a")
    await adopt(town, proposal)
    (conflict,) = [key for key in town.server.objects if key.kind == "PolicyConflict"]
    assert (town.status(conflict)["cause"], town.status(conflict)["severity"]) == ("ParentContradicts", "High")
    arbitrate(town, conflict, "AB")
    await town.settle(102)
    assert (town.status(conflict)["level"], town.status(conflict)["reason"]) == ("Parent", "Tie")
    assert {item["domain"] for item in town.status(conflict)["arbitrators"]} == {"above"}
    arbitrate(town, conflict, "BB-B")
    await town.settle(3)
    assert town.status(conflict)["outcome"] == "PartyB"
    assert (town.status(proposal)["phase"], town.status(proposal)["reason"]) == ("Failed", "ConflictLost")
    report = verify(town.content(town.status(proposal)["evidenceRef"]), pinned=Pinned())
    assert report.verdict is Verdict.UNANCHORED, report.faults


def signed_as(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Revision 1 of a domain of another name, signed by both admins."""
    plain = {key: value for key, value in spec.items() if key != "signatures"}
    statement = trust_domain_statement(name, plain)
    return {
        **plain,
        "signatures": [{"name": admin, "signature": statement.sign(seed(admin))} for admin in ("ada", "bob")],
    }


async def test_an_emergency_whose_clause_moved_on_is_a_conflict() -> None:
    """Reversed, but another vote changed the clause meanwhile: people decide what follows; nobody waits for it."""
    town = await Town().restart()
    short = {**STANDARD, "votingPeriodSeconds": 20, "earlyDecision": True}
    emergency = {"votingPeriodSeconds": 50, "ratificationSeconds": 60}
    await town.found(voting={"Standard": {**short, "timelockSeconds": 5}, "Emergency": emergency})
    urgent = propose(town, "urgent", type="Emergency")
    await town.settle()
    endorse(town, urgent)
    await town.settle(5)
    assert town.status(urgent)["phase"] == "EmergencyExecuted"
    held = town.status(town.contract)["clauseDigests"]["1"]
    change = {"baseDigest": held, "patch": [{"op": "replace", "path": "/text", "value": "something else"}]}
    later = propose(town, "later", "m1", change=change)
    await adopt(town, later)
    await town.settle(80)
    assert town.status(later)["phase"] == "Executed"
    assert town.status(urgent)["outcome"] == "Reversed"
    (conflict,) = [key for key in town.server.objects if key.kind == "PolicyConflict"]
    assert town.status(conflict)["cause"] == "ClauseMovedOn"
    assert town.status(town.contract)["inForce"]["proposalDigest"] == town.status(later)["digest"]
    assert not town.errors


def endorse(town: Town, proposal: Key) -> None:
    """Both admins endorse an emergency."""
    spec = {**town.server.objects[proposal]["spec"], "endorsements": []}
    for admin in ("ada", "bob"):
        act = {
            "act": "Endorse",
            "proposalDigest": town.status(proposal)["digest"],
            "by": admin,
            "keyName": admin,
            "at": format_time(int(town.now)),
        }
        act["signature"] = act_statement(MESH, "fleet", act).sign(seed(admin))
        spec["endorsements"].append(act)
    town.apply("GovernanceProposal", proposal.name, spec, "default")


PERMITTED: dict[str, Any] = {"localOverridesPermitted": {node("m0"): ["1"]}, **SHARED}


def override(town: Town, text: str = "at most 10 GiB") -> None:
    """This node's override of clause 1."""
    spec = {**town.server.objects[town.contract]["spec"]}
    spec["localOverrides"] = [{"clause": "1", "text": text, "reason": "small cards"}]
    town.apply("DynamicContract", "rules", spec)


def overlay(town: Town) -> tuple[list[str], bool]:
    """The reasons that the overlay shows, and whether anything else than what was voted holds here."""
    status = town.status(town.contract)
    shown = status["overlay"]
    return [item["reason"] for item in shown["items"]], shown["effectiveDigest"] != status["inForce"]["digest"]


async def overridden(name: str = "a", **domain: Any) -> tuple[Town, Key, list[Key]]:
    """An override of clause 1, then a proposal that changes it, adopted; the conflicts that opened."""
    town = await founded(**domain)
    override(town)
    proposal = propose(town, name, "m1")
    await adopt(town, proposal)
    return town, proposal, [key for key in town.server.objects if key.kind == "PolicyConflict"]


async def test_c25_a_vote_that_wins_ends_the_override() -> None:
    """C25: it executes, the override is ConflictLost, set anew and after a restart too; another vote opens the way."""
    town, proposal, (conflict,) = await overridden(**PERMITTED)
    assert town.status(conflict)["cause"] == "OverrideContradicts"
    assert overlay(town) == (["Overridden"], True)
    assert node("m0") not in {item["nodeId"] for item in town.status(conflict)["arbitrators"]}
    arbitrate(town, conflict, "AA")
    await town.settle(40)
    assert town.status(proposal)["phase"] == "Executed"
    assert overlay(town) == (["ConflictLost"], False)
    report = verify(town.content(town.status(proposal)["evidenceRef"]), pinned=Pinned())
    assert (report.verdict, report.applicable) == (Verdict.UNANCHORED, True), report.faults
    entries = [row.recorded for row in town.shared.rows[towns.CHAIN]]
    (entry,) = [item for item in entries if item.event_type == "governance.contract.changed"]
    assert entry.detail["overruled"] == {"1": town.status(town.contract)["clauseDigests"]["1"]}
    override(town, "at most 11 GiB")
    await (await town.restart()).settle()
    assert overlay(town) == (["ConflictLost"], False)
    digest = town.status(town.contract)["clauseDigests"]["1"]
    change = {"baseDigest": digest, "patch": [{"op": "replace", "path": "/text", "value": "another"}]}
    later = propose(town, "later", "m1", change=change)
    await adopt(town, later)
    await town.settle(40)
    assert town.status(later)["phase"] == "Executed"
    override(town, "at most 12 GiB")
    await town.settle()
    assert overlay(town) == (["Overridden"], True)
    assert not town.errors


async def test_c26_an_override_that_wins_is_kept() -> None:
    """C26: the proposal is Failed, ConflictLost; the clause is as before and the override holds as before."""
    town, proposal, (conflict,) = await overridden(**PERMITTED)
    before = town.status(town.contract)
    arbitrate(town, conflict, "BB")
    await town.settle(40)
    assert (town.status(proposal)["phase"], town.status(proposal)["reason"]) == ("Failed", "ConflictLost")
    assert town.status(town.contract) == before
    assert overlay(town) == (["Overridden"], True)
    assert not town.errors


@pytest.mark.parametrize(
    ("name", "domain", "after"),
    [
        ("a", SHARED, ["OverrideNotPermitted"]),
        ("a", {"localOverridesPermitted": PERMITTED["localOverridesPermitted"]}, ["OverrideStale"]),
        ("10 GiB", PERMITTED, ["OverrideStale"]),
    ],
)
async def test_c27_an_override_that_contradicts_nothing(name: str, domain: dict[str, Any], after: list[str]) -> None:
    """C27: one that does not hold, of a clause that is not shared, or of the voted text stops no vote."""
    town = await founded(**domain)
    override(town)
    patch = [{"op": "replace", "path": "/text", "value": f"at most {name}"}]
    base = town.status(town.contract)["clauseDigests"]["1"]
    proposal = propose(town, "a", "m1", change={"baseDigest": base, "patch": patch})
    await adopt(town, proposal)
    await town.settle(40)
    assert town.status(proposal)["phase"] == "Executed"
    assert not [key for key in town.server.objects if key.kind == "PolicyConflict"]
    assert overlay(town) == (after, False)


async def test_a_proposal_meets_the_override_once() -> None:
    """While arbitrators decide and after it, an override that is edited opens no other conflict and ends with it."""
    town, proposal, (conflict,) = await overridden(**PERMITTED)
    override(town, "at most 9 GiB")
    await town.settle(5)
    arbitrate(town, conflict, "AA")
    await town.settle(3)
    override(town, "at most 8 GiB")
    await town.settle(40)
    assert town.status(proposal)["phase"] == "Executed"
    assert town.entries.count("governance.conflict.opened") == 1
    assert overlay(town) == (["ConflictLost"], False)


def offline(town: Town) -> dict[str, dict[str, Any]]:
    """The tally of the cluster's documents alone, without any status, by the proposal's name."""
    kinds = ("TrustDomain", "GovernanceProposal", "Vote", "Attestation", "PolicyConflict")
    documents = []
    for obj in town.server.objects.values():
        if obj["kind"] in kinds:
            plain = {key: value for key, value in obj.items() if key != "status"}
            documents.append(plain)
    found = tally_documents(documents, at=int(town.now))
    return {item["proposal"]["name"]: item for item in found}


@pytest.mark.parametrize(
    ("choices", "states"), [("AA", {"Proceeds", "Failed"}), ("CC", {"Failed"}), ("A", {"Conflict"})]
)
async def test_an_outsider_finds_the_same_conflict(choices: str, states: set[str]) -> None:
    """From documents alone: the same digest, arbitrators, counts and outcome, and what they mean for each party."""
    town, one, _, conflict = await two_adopted()
    arbitrate(town, conflict, choices)
    await town.settle(5)
    found = offline(town)
    shown, status = found["a"]["conflicts"][0], town.status(conflict)
    assert (shown["digest"], shown["cause"], shown["severity"]) == (
        status["digest"],
        status["cause"],
        status["severity"],
    )
    assert shown["outcome"] == status.get("outcome")
    level = shown["levels"][-1]
    assert [seat["nodeId"] for seat in level["arbitrators"]] == [seat["nodeId"] for seat in status["arbitrators"]]
    assert level["votes"] == status["votes"]
    assert {found[name]["execution"]["state"] for name in "ab"} == states
    assert {vote["reason"] for vote in found["a"]["votes"]} == {"Counted"}
    if choices == "AA":
        assert found[party(town, conflict, "A").name]["execution"]["state"] == "Proceeds"
        assert town.status(one)["phase"] in ("Failed", "Adopted", "Executed")


async def test_an_outsider_counts_a_raised_one() -> None:
    """A raised conflict is told from its document and its attestation; without the latter it stops nobody."""
    town, one, (conflict,) = await raised()
    assert "execution" not in offline(town)["a"]
    raise_one(town, conflict)
    await town.settle(3)
    arbitrate(town, conflict, "BB")
    await town.settle(3)
    assert town.status(one)["reason"] == "ConflictLost"
    assert offline(town)["a"]["execution"] == {"state": "Failed", "reason": "ConflictLost"}


@pytest.fixture
async def bundle() -> dict[str, Any]:
    """The evidence of a proposal that won its conflict after a tie, as a document."""
    town, _, _, conflict = await two_adopted()
    arbitrate(town, conflict, "ABC")
    await town.settle(3)
    arbitrate(town, conflict, "AAA-")
    await town.settle(40)
    winner = party(town, conflict, "A")
    assert town.status(winner)["phase"] == "Executed"
    document: dict[str, Any] = parse_json(town.content(town.status(winner)["evidenceRef"]))
    return document


def drop_votes(document: dict[str, Any]) -> None:
    """Withhold every vote of the arbitrators."""
    document["votes"] = []


def spare_a_party(document: dict[str, Any]) -> None:
    """Let the proposers arbitrate."""
    document["opening"]["payload"]["detail"]["excluded"] = {}


def other_winner(document: dict[str, Any]) -> None:
    """Say that the other party won."""
    document["resolution"]["payload"]["detail"]["outcome"] = "PartyB"


def forge_a_vote(document: dict[str, Any]) -> None:
    """Turn one vote without its key."""
    vote = next(item for item in document["votes"] if item["statement"]["choice"] == "PartyA")
    vote["statement"]["choice"] = "PartyB"


def hide_the_rival(document: dict[str, Any]) -> None:
    """Leave out who the other party's proposer was."""
    document["proposals"] = document["proposals"][:1]


def raise_severity(document: dict[str, Any]) -> None:
    """Seat more arbitrators than follow."""
    document["opening"]["payload"]["detail"]["severity"] = "Critical"


def skip_the_tie(document: dict[str, Any]) -> None:
    """Pretend that the first level was never held."""
    document["escalations"] = []


@pytest.mark.parametrize(
    "forge", [drop_votes, spare_a_party, other_winner, forge_a_vote, hide_the_rival, raise_severity, skip_the_tie]
)
async def test_a_forged_resolution_is_found(bundle: dict[str, Any], forge: Callable[[dict[str, Any]], None]) -> None:
    """Whatever a hub changes of a resolution, the evidence no longer verifies."""
    assert verify(canonical_bytes(bundle), pinned=Pinned()).applicable
    forge(bundle["conflicts"][0])
    report = verify(canonical_bytes(bundle), pinned=Pinned())
    assert report.verdict is Verdict.TAMPERED
    assert not report.applicable


@pytest.mark.parametrize(("gap", "conflicts"), [(30, 1), (31, 0)])
async def test_c2_and_c3_through_the_log(gap: int, conflicts: int) -> None:
    """C2, C3: T of the second in the last second of the first one's timelock conflicts, a second later it does not."""
    town = await founded()
    one, other = propose(town, "a"), propose(town, "b", "m1")
    await town.settle()
    for who in NAMES:
        town.vote(one, who, "Approve")
    await town.settle(gap)
    for who in NAMES:
        town.vote(other, who, "Approve")
    await town.settle(10)
    assert len([key for key in town.server.objects if key.kind == "PolicyConflict"]) == conflicts
    assert town.status(one)["phase"] == ("Conflict" if conflicts else "Executed")
    assert (town.status(other)["phase"] == "Conflict") == bool(conflicts)
    assert ("execution" in offline(town)["a"]) == bool(conflicts)


@pytest.mark.parametrize(
    ("party", "said"),
    [
        ({"kind": "DynamicContract", "name": "rules", "digest": digest_of("nothing")}, "was never in force"),
        ({"kind": "GovernanceProposal", "namespace": "default", "name": "x", "digest": digest_of(1)}, "was opened"),
        ({"kind": "TrustDomain", "name": "fleet", "digest": digest_of(2)}, "is no accepted revision"),
        ({"kind": "Secret", "name": "x", "digest": digest_of(3)}, "must be one of"),
    ],
)
async def test_parties_that_nobody_knows(party: dict[str, Any], said: str) -> None:
    """A raised conflict names what the log knows, or it waits, and says what it does not know."""
    town, _, (conflict,) = await raised()
    spec = {**town.server.objects[conflict]["spec"]}
    unknown = town.apply("PolicyConflict", "unknown", {**spec, "parties": [spec["parties"][0], party]}, "default")
    await town.settle()
    raise_one(town, unknown)
    await town.settle()
    assert town.condition(unknown, "Ready")[1] == "UnknownParty"
    assert said in town.condition(unknown, "Ready")[2]


async def test_arbitrators_are_told() -> None:
    """One notice asks those who sit and have not voted, until the end of the level; once resolved nobody is asked."""
    town, _, _, conflict = await two_adopted()
    first = arbitrate(town, conflict, "A")
    await town.settle()
    reconciler = next(item for item in town.reconcilers if item.kind == "PolicyConflict")
    plan = reconciler.decide((await reconciler.gather([conflict], town.context))[conflict], int(town.now))
    (notice,) = plan.notices or ()
    status = town.status(conflict)
    voted = town.server.objects[first[0]]["spec"]["voter"]
    assert set(notice.waiting_for) == {seat["nodeId"] for seat in status["arbitrators"]} - {voted}
    assert (notice.digest, format_time(notice.until)) == (status["digest"], status["endsAt"])
    arbitrate(town, conflict, "-A")
    await town.settle(3)
    plan = reconciler.decide((await reconciler.gather([conflict], town.context))[conflict], int(town.now))
    assert plan.notices == ()


async def test_documents_in_any_order_give_one_outcome() -> None:
    """Conflicts too: reversed, or each document twice, the offline result is the same."""
    town, _, _, conflict = await two_adopted()
    arbitrate(town, conflict, "ABA")
    await town.settle(3)
    documents = [obj for obj in town.server.objects.values() if obj["kind"] in ("TrustDomain", *_VOTED)]
    plain = [{key: value for key, value in obj.items() if key != "status"} for obj in documents]
    at = int(town.now)
    once = tally_documents(plain, at=at)
    assert once[0]["conflicts"][0]["outcome"] == "PartyA"
    assert tally_documents(plain[::-1], at=at) == once
    doubled = tally_documents(plain + plain, at=at)
    assert [item["execution"] for item in doubled] == [item["execution"] for item in once]


_VOTED = ("GovernanceProposal", "Vote", "PolicyConflict")


async def test_one_party_twice_is_no_conflict() -> None:
    """Both sides with one digest: nobody could say which wins, so it is Invalid and nothing waits for it."""
    town = await founded()
    one = propose(town, "a")
    await adopt(town, one)
    twice = contested(town, "twice", one, one)
    await town.settle(40)
    assert town.condition(twice, "Ready")[:2] == ("False", "Invalid")
    assert town.status(one)["phase"] == "Executed"
    assert not town.errors


async def test_what_comes_after_the_execution_is_no_part_of_it() -> None:
    """A conflict raised later, with a party that was executed long ago, changes neither its status nor its evidence."""
    town = await founded()
    one, other = propose(town, "a"), propose(town, "o", "m1", type="Constitutional")
    await adopt(town, one)
    await town.settle(40)
    before = town.status(one)
    assert before["phase"] == "Executed"
    conflict = contested(town, "late", one, other)
    await town.settle()
    raise_one(town, conflict)
    await town.settle()
    arbitrate(town, conflict, "BB")
    await town.settle(3)
    assert town.status(conflict)["outcome"] == "PartyB"
    assert town.status(one) == before
    await town.restart()
    await town.settle()
    assert town.status(one) == before
