"""Changes of a contract relative to their target."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.api.conditions import Reason
from quorate.canonical import digest_of, parse_time
from quorate.contracts.content import NULL_DIGEST, Content
from quorate.contracts.diff import Kind, compare, json_patch
from quorate.contracts.drift import Remedy, detect
from quorate.contracts.form import ContractRefusedError
from quorate.contracts.patch import Target, apply_patch, changed_target, check_type, successor

NOW = parse_time("2026-02-01T12:00:00Z")
ONE = {"text": "One.", "title": "First"}
SURFACES = {"cold": {"capabilities": ["inference"]}, "warming": {"capabilities": ["inference", "tools"]}}
CONTENT = Content.genesis(
    {
        "contractId": "6b1b36cb-1111-4222-8333-444455556666",
        "version": "v2026.01.05",
        "clauses": {"1": ONE, "2": {"text": "Two.", "minimumType": "Constitutional"}},
        "surfaces": SURFACES,
    }
)
PROPOSAL = "sha256:" + "b" * 64


def change(patch: list[dict[str, Any]], base: Any = ONE) -> dict[str, Any]:
    return {"patch": patch, "baseDigest": digest_of(base)}


def run(target: Target, what: dict[str, Any], **more: Any) -> Content:
    return successor(CONTENT, target, what, proposal_digest=PROPOSAL, executed_at=NOW, **more)


def test_clause_changes_and_nothing_else() -> None:
    """A patch of a clause changes that clause, names what it replaced and its proposal, and leaves the input alone."""
    result = run(Target("1"), change([{"op": "replace", "path": "/text", "value": "Uno."}]))
    assert result.clauses["1"] == {"text": "Uno.", "title": "First"}
    assert result.clauses["2"] == CONTENT.clauses["2"] and result.surfaces == CONTENT.surfaces
    assert result.document["previous"] == {"version": "v2026.01.05", "digest": CONTENT.digest}
    assert (result.version, result.proposal_digest) == ("v2026.02.01", PROPOSAL)
    assert CONTENT.clauses["1"] == ONE


def test_add_and_remove_a_clause() -> None:
    """One add at "" on the digest of null creates a clause; one replace at "" with null removes it."""
    added = run(Target("3"), change([{"op": "add", "path": "", "value": {"text": "Three."}}], None))
    assert added.clauses["3"] == {"text": "Three."}
    assert digest_of(None) == NULL_DIGEST
    removed = run(Target("1"), change([{"op": "replace", "path": "", "value": None}]))
    assert set(removed.clauses) == {"2"}


def test_surfaces() -> None:
    """The section surfaces is patched as a whole and must stay monotonic."""
    path = "/warming/capabilities/-"
    grown = run(Target(), change([{"op": "add", "path": path, "value": "ensemble"}], SURFACES))
    assert grown.surfaces is not None and grown.surfaces["warming"]["capabilities"][-1] == "ensemble"
    with pytest.raises(ContractRefusedError, match="missing capabilities present in cold: inference") as caught:
        run(Target(), change([{"op": "remove", "path": "/warming/capabilities/0"}], SURFACES))
    assert caught.value.reason is Reason.INVALID_RESULT


REFUSED = [
    ("9", change([{"op": "replace", "path": "/text", "value": "x"}], None), Reason.NO_SUCH_CLAUSE),
    ("9", change([{"op": "replace", "path": "", "value": None}], None), Reason.NO_SUCH_CLAUSE),
    ("9", change([{"op": "add", "path": "", "value": {"text": "x"}}], ONE), Reason.NO_SUCH_CLAUSE),
    ("1", change([{"op": "add", "path": "", "value": {"text": "x"}}], None), Reason.STALE_BASE),
    ("1", change([{"op": "replace", "path": "/text", "value": "x"}], {"text": "old"}), Reason.STALE_BASE),
    ("1", change([{"op": "remove", "path": ""}]), Reason.PATCH_FAILED),
    ("1", change([{"op": "remove", "path": "/nothing"}]), Reason.PATCH_FAILED),
    ("1", change([{"op": "replace", "path": "/rule", "value": "x"}]), Reason.PATCH_FAILED),
    ("1", change([{"op": "test", "path": "/text", "value": "x"}]), Reason.PATCH_FAILED),
    ("1", change([{"op": "add", "path": "/0/x", "value": "x"}]), Reason.PATCH_FAILED),
    ("1", change([{"op": "add", "path": "text", "value": "x"}]), Reason.PATCH_FAILED),
    ("1", change([{"op": "add", "path": "/text"}]), Reason.PATCH_FAILED),
    ("1", change([{"op": "add", "path": "/text", "value": "x", "note": "y"}]), Reason.PATCH_FAILED),
    ("1", change([{"op": "merge", "path": "/text", "value": "x"}]), Reason.PATCH_FAILED),
    ("1", change([]), Reason.PATCH_FAILED),
    ("1", change([{"op": "test", "path": "/text", "value": "One."}] * 65), Reason.PATCH_FAILED),
    ("1", change([{"op": "remove", "path": "/text"}]), Reason.INVALID_RESULT),
    ("1", change([{"op": "replace", "path": "/text", "value": None}]), Reason.INVALID_RESULT),
    ("1", change([{"op": "replace", "path": "", "value": [1]}]), Reason.INVALID_RESULT),
    ("1", change([{"op": "add", "path": "/weight", "value": 1}]), Reason.INVALID_RESULT),
    ("1", change([{"op": "add", "path": "/rule", "value": "x" * 4097}]), Reason.INVALID_RESULT),
]


@pytest.mark.parametrize(("clause", "what", "reason"), REFUSED)
def test_refusals(clause: str, what: dict[str, Any], reason: Reason) -> None:
    """What does not apply, is based on something else or gives no clause is refused with its reason."""
    with pytest.raises(ContractRefusedError) as caught:
        changed_target(CONTENT, Target(clause), what)
    assert caught.value.reason is reason


def test_all_or_nothing_on_the_whole() -> None:
    """Rules of the contract as a whole are checked on the result: the 129th clause, a shared clause removed."""
    many = Content.genesis({**CONTENT.document, "clauses": {str(i): {"text": "a"} for i in range(128)}})
    with pytest.raises(ContractRefusedError, match="at most 128"):
        successor(
            many,
            Target("200"),
            change([{"op": "add", "path": "", "value": {"text": "x"}}], None),
            proposal_digest=PROPOSAL,
            executed_at=NOW,
        )
    with pytest.raises(ContractRefusedError, match="sharedClauses"):
        run(Target("1"), change([{"op": "replace", "path": "", "value": None}]), shared_clauses=["1"])


@pytest.mark.parametrize(
    ("target", "kind", "allowed"),
    [
        (Target("1"), "Standard", True),
        (Target("1"), "Expedited", False),
        (Target("2"), "Standard", False),
        (Target("2"), "Constitutional", True),
        (Target("9"), "Optimistic", False),
        (Target("9"), "Emergency", True),
        (Target(), "Standard", False),
        (Target(), "Constitutional", True),
    ],
)
def test_minimum_type(target: Target, kind: str, allowed: bool) -> None:
    """A target demands at least its minimumType: Standard where it says nothing, Constitutional for the surfaces."""
    if allowed:
        check_type(CONTENT, target, kind)
        return
    with pytest.raises(ContractRefusedError) as caught:
        check_type(CONTENT, target, kind)
    assert caught.value.reason is Reason.TYPE_NOT_ALLOWED


@pytest.mark.parametrize(
    "target", [{}, {"clause": "1", "section": "surfaces"}, {"section": "clauses"}, {"clause": "a"}]
)
def test_target_form(target: dict[str, str]) -> None:
    """A target names exactly one clause, or the section surfaces."""
    with pytest.raises(ContractRefusedError):
        Target.parse(target)


def test_truth_is_not_one() -> None:
    """A test operation tells true from 1, as JSON does."""
    with pytest.raises(ContractRefusedError):
        apply_patch({"a": 1}, [{"op": "test", "path": "/a", "value": True}])


@pytest.mark.parametrize(
    "patch",
    [
        pytest.param([{"op": "copy", "from": "", "path": f"/{index}"} for index in range(64)], id="wide"),
        pytest.param([{"op": "copy", "from": "", "path": "/a" * 2**index} for index in range(16)], id="deep"),
        pytest.param([{"op": "add", "path": "/a" * index, "value": {"a": {}}} for index in range(1, 65)], id="nested"),
    ],
)
def test_a_patch_that_grows_without_end(patch: list[dict[str, Any]]) -> None:
    """Operations that double the document, in width or depth, are refused before it is larger than any contract."""
    with pytest.raises(ContractRefusedError, match=r"change\.patch\[\d+\] leaves") as refused:
        run(Target("1"), change(patch))
    assert refused.value.reason is Reason.PATCH_FAILED


texts = st.dictionaries(st.sampled_from(["title", "text", "rule"]), st.text(min_size=1, max_size=5))


@given(texts, texts)
def test_difference_is_a_patch(before: dict[str, str], after: dict[str, str]) -> None:
    """The operations between two clauses lead from one to the other."""
    operations = json_patch(before, after)
    assert (apply_patch(before, operations) if operations else before) == after


def test_compare_and_drift() -> None:
    """Two contents are compared clause by clause, and drift names what differs and what follows."""
    clauses = {"1": {**ONE, "text": "Altered."}, "10": {"text": "Ten."}}
    held = Content.genesis({**CONTENT.document, "clauses": clauses, "surfaces": {"cold": {}}})
    changes = compare(CONTENT, held)
    assert [(item.part, item.kind) for item in changes] == [
        ("1", Kind.CHANGED),
        ("2", Kind.REMOVED),
        ("10", Kind.ADDED),
        ("surfaces/cold", Kind.CHANGED),
        ("surfaces/warming", Kind.REMOVED),
    ]
    assert [field.field for field in changes[0].fields] == ["text"]
    drift = detect(CONTENT, held.data)
    assert drift is not None and drift.names[0] == "1"
    assert "clause 1 Changed: text" in drift.report() and "is restored" in drift.report()
    assert "report only" in drift.report(Remedy.REPORT)


def test_drift_of_what_is_no_contract() -> None:
    """Missing or unreadable content is drift too; the content in force is none."""
    assert detect(CONTENT, CONTENT.data) is None
    missing, broken = detect(CONTENT, None), detect(CONTENT, b"rubbish")
    assert missing is not None and "is missing" in missing.report()
    assert broken is not None and "not a contract" in broken.report()
