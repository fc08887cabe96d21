"""Local overrides within what the domain permits (docs/contracts.md, "Overrides")."""

from typing import Any

import pytest

from quorate.api.conditions import Reason
from quorate.contracts.content import Content
from quorate.contracts.overlay import Overlay, Permission, judge_overrides, permission
from quorate.trust.domain import DomainRevision

NODE = "11111111-1111-4111-8111-111111111111"
CONTENT = Content.genesis(
    {
        "contractId": "6b1b36cb-1111-4222-8333-444455556666",
        "version": "v2026.01.05",
        "clauses": {"1": {"text": "One."}, "2": {"text": "Two.", "title": "Second"}, "2.10": {"text": "Ten."}},
    }
)
ALLOWED = Permission(NODE, frozenset({"1", "2", "9"}))


def domain(**changes: Any) -> DomainRevision:
    member = {"nodeId": NODE, "role": "GovernanceHub", "weight": 1, **changes.pop("member", {})}
    return DomainRevision("d", {"members": [member], "localOverridesPermitted": {NODE: ["1"]}, **changes})


def override(clause: str, text: str = "Here.", reason: str = "a lab") -> dict[str, str]:
    return {"clause": clause, "text": text, "reason": reason}


def judged(*overrides: dict[str, str], content: Content = CONTENT, recorded: Overlay | None = None) -> Overlay:
    known = {item["clause"]: item for item in recorded.documents} if recorded else None
    return judge_overrides(content, overrides, ALLOWED, known)


def changed(clause: str, text: str) -> Content:
    clauses = {**CONTENT.clauses, clause: {**CONTENT.clauses.get(clause, {}), "text": text}}
    return Content(CONTENT.contract_id, "v2026.01.06", clauses)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (override("1"), Reason.OVERRIDDEN),
        (override("9"), Reason.NO_SUCH_CLAUSE),
        (override("2.10"), Reason.OVERRIDE_NOT_PERMITTED),
        (override("1", "x" * 4097), Reason.INVALID),
        (override("1", ""), Reason.INVALID),
    ],
)
def test_table(given: dict[str, str], reason: Reason) -> None:
    """Each override is judged by itself, in the order of the page."""
    (item,) = judged(given).items
    assert item.reason is reason
    assert given["clause"] in item.message


def test_what_is_not_listed_is_not_permitted() -> None:
    """A clause that the domain does not list for the node stays as voted, and the message says what is listed."""
    overlay = judge_overrides(CONTENT, [override("2")], Permission(NODE, frozenset({"1"})))
    assert overlay.items[0].reason is Reason.OVERRIDE_NOT_PERMITTED
    assert "lists 1 for node" in overlay.items[0].message
    assert overlay.effective_digest == CONTENT.digest


@pytest.mark.parametrize(
    ("revision", "narrowed", "refused"),
    [
        (domain(), None, ""),
        (domain(), ["OverridePolicy"], ""),
        (domain(), ["VoteOnProposal"], "leave out OverridePolicy"),
        (domain(), [], "leave out OverridePolicy"),
        (domain(member={"role": "ComplianceWitness"}), None, "no privilege OverridePolicy"),
        (domain(member={"suspended": True}), None, "is suspended"),
        (domain(member={"nodeId": "22222222-1111-4111-8111-111111111111"}), None, "is not a member"),
    ],
)
def test_who_may(revision: DomainRevision, narrowed: list[str] | None, refused: str) -> None:
    """A member whose role holds OverridePolicy, neither suspended nor narrowed; nobody else."""
    allowed = permission(revision, NODE, narrowed=narrowed)
    assert (allowed.refusal is None) is (refused == "")
    assert refused in (allowed.refusal or "")
    item = judge_overrides(CONTENT, [override("1")], allowed).items[0]
    assert item.applied is (refused == "")


def test_the_effective_content() -> None:
    """The text of what holds is replaced and nothing else; content in force and its digest stay what was voted."""
    overlay = judged(override("2.10"), override("2", "Zwei."))
    assert overlay.effective["clauses"] == {
        "1": {"text": "One."},
        "2": {"text": "Zwei.", "title": "Second"},
        "2.10": {"text": "Ten."},
    }
    assert overlay.effective["overridden"] == ["2"]
    assert overlay.effective["base"] == CONTENT.digest
    assert overlay.effective_digest != CONTENT.digest
    assert CONTENT.clauses["2"]["text"] == "Two."


def test_a_newer_vote_stands_above_an_older_override() -> None:
    """After the clause was changed by vote the override is stale, for good, until it is set anew."""
    before = judged(override("1"))
    after = judged(override("1"), content=changed("1", "Uno."), recorded=before)
    assert after.items[0].reason is Reason.OVERRIDE_STALE
    assert after.effective_digest == changed("1", "Uno.").digest
    again = judged(override("1"), content=changed("1", "Uno."), recorded=after)
    assert again.documents == after.documents
    anew = judged(override("1", reason="still a lab"), content=changed("1", "Uno."), recorded=after)
    assert anew.items[0].applied


def test_a_vote_on_another_clause_changes_nothing() -> None:
    """An override outlives changes of other clauses."""
    before = judged(override("1"))
    after = judged(override("1"), content=changed("2", "Zwei."), recorded=before)
    assert after.documents == before.documents


def test_a_shared_clause_is_overridden_on_the_same_terms() -> None:
    """Listed for the node it holds, shared or not; what a vote on it meets is for the conflicts to say."""
    allowed = permission(domain(sharedClauses={"rules": ["1", "2"]}), NODE)
    items = judge_overrides(CONTENT, [override("1"), override("2")], allowed).items
    assert [item.reason for item in items] == [Reason.OVERRIDDEN, Reason.OVERRIDE_NOT_PERMITTED]


def test_what_lost_an_arbitration_is_not_set_anew() -> None:
    """While the text that won is in force no override of the clause holds; after another vote one set anew does."""
    won = changed("1", "Uno.")
    overruled = {"1": won.clause_digest("1")}
    lost = judge_overrides(won, [override("1"), override("2")], ALLOWED, {}, overruled)
    assert [item.reason for item in lost.items] == [Reason.CONFLICT_LOST, Reason.OVERRIDDEN]
    recorded = {item["clause"]: item for item in lost.documents}
    anew = judge_overrides(won, [override("1", "Anew.")], ALLOWED, recorded, overruled)
    assert anew.items[0].reason is Reason.CONFLICT_LOST
    assert anew.effective_digest == won.digest
    later = changed("1", "Un.")
    assert (
        judge_overrides(later, [override("1")], ALLOWED, recorded, overruled).items[0].reason is Reason.OVERRIDE_STALE
    )
    assert judge_overrides(later, [override("1", "Anew.")], ALLOWED, recorded, overruled).items[0].applied


def test_a_clause_twice_is_refused() -> None:
    """The CRD's list map forbids it; whoever gets around that does not choose which one holds."""
    overlay = judged(override("1", "a"), override("1", "b"))
    assert [item.reason for item in overlay.items] == [Reason.OVERRIDDEN, Reason.INVALID]


def test_too_large_as_a_whole() -> None:
    """What would make the effective content larger than 512 KiB has no effect at all."""
    clauses = {str(number): {"text": "x" * 4000} for number in range(1, 127)}
    content = Content(CONTENT.contract_id, "v2026.01.05", clauses)
    allowed = Permission(NODE, frozenset(clauses))
    overlay = judge_overrides(content, [override(name, "\x01" * 4000) for name in clauses], allowed)
    assert {item.reason for item in overlay.items} == {Reason.TOO_LARGE}
    assert overlay.effective_digest == content.digest
