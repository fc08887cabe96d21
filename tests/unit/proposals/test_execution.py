"""Execution of adopted proposals, and the reversal of an emergency."""

from dataclasses import replace
from typing import Any

import pytest

from quorate.api.conditions import Reason
from quorate.api.governance_proposal import Phase
from quorate.canonical import digest_of, parse_time
from quorate.contracts.content import Content
from quorate.contracts.form import ContractRefusedError
from quorate.proposals.execution import (
    Executed,
    NotExecuted,
    Postponed,
    Situation,
    Window,
    check_change,
    execute,
    reverse,
)

NOW = parse_time("2026-02-01T12:00:00Z")
ONE = {"text": "One."}
CONTENT = Content.genesis(
    {
        "contractId": "6b1b36cb-1111-4222-8333-444455556666",
        "version": "v2026.01.05",
        "clauses": {"1": ONE, "2": {"text": "Two.", "minimumType": "Constitutional"}},
    }
)
REVISION, NEXT, PROPOSAL = ("sha256:" + letter * 64 for letter in "abc")
SITUATION = Situation(REVISION, CONTENT, "acme")
WINDOW = Window(NOW - 10, NOW + 10)


def statement(patch: Any, base: Any = ONE, clause: str = "1", **change: Any) -> dict[str, Any]:
    return {
        "domain": "acme",
        "type": "Standard",
        "target": {"kind": "DynamicContract", "name": "rules", "clause": clause},
        "change": {"patch": patch, "baseDigest": digest_of(base)},
        **change,
    }


CHANGE = statement([{"op": "replace", "path": "/text", "value": "Uno."}])
DOMAIN = {
    "domain": "acme",
    "type": "Constitutional",
    "target": {"kind": "TrustDomain", "name": "acme"},
    "change": {"resultDigest": NEXT, "baseDigest": REVISION},
}


def run(what: dict[str, Any], situation: Situation = SITUATION, now: int = NOW, window: Window = WINDOW) -> Any:
    return execute(what, PROPOSAL, situation, window=window, now=now)


def test_contract_changes() -> None:
    """The result replaces exactly the content it was computed from, and the entry names both digests."""
    result = run(CHANGE)
    assert isinstance(result, Executed) and result.content is not None
    assert (result.outcome, result.base_digest, result.result_digest) == (
        Phase.EXECUTED,
        CONTENT.digest,
        result.content.digest,
    )
    assert result.content.clauses["1"] == {"text": "Uno."} and result.reverse is None
    assert result.detail("sha256:e")["version"] == "v2026.02.01"


def test_trust_domain_is_authorised() -> None:
    """For a TrustDomain execution authorises that digest within the window and changes nothing itself."""
    result = run(DOMAIN)
    assert isinstance(result, Executed) and result.content is None
    assert (result.result_digest, result.authorised_until) == (NEXT, NOW + 10)
    assert result.detail("sha256:e")["reason"] == "AwaitingRevision"


@pytest.mark.parametrize(
    ("now", "kind", "reason"),
    [
        (NOW - 11, Postponed, Reason.TIMELOCK),
        (NOW - 10, Executed, None),
        (NOW + 10, Executed, None),
        (NOW + 11, NotExecuted, Reason.WINDOW_CLOSED),
    ],
)
def test_window(now: int, kind: type[Any], reason: Reason | None) -> None:
    """Nothing executes outside the window, whose two ends belong to it; after it the proposal is Expired."""
    result = run(CHANGE, now=now)
    assert isinstance(result, kind)
    assert reason is None or result.reason is reason
    assert not isinstance(result, NotExecuted) or result.outcome is Phase.EXPIRED


@pytest.mark.parametrize(
    ("what", "situation", "reason"),
    [
        (statement([{"op": "remove", "path": "/text"}], {"text": "old"}), SITUATION, Reason.STALE_BASE),
        (statement([{"op": "remove", "path": "/text"}], ONE, "9"), SITUATION, Reason.STALE_BASE),
        (statement([{"op": "remove", "path": "/rule"}]), SITUATION, Reason.PATCH_FAILED),
        (statement([{"op": "remove", "path": "/text"}]), SITUATION, Reason.INVALID_RESULT),
        (CHANGE, replace(SITUATION, contract_domain="other"), Reason.UNKNOWN_TARGET),
        ({**DOMAIN, "change": {"resultDigest": NEXT, "baseDigest": NEXT}}, SITUATION, Reason.STALE_BASE),
    ],
)
def test_failures(what: dict[str, Any], situation: Situation, reason: Reason) -> None:
    """What does not apply any more fails with its reason and changes nothing."""
    result = run(what, situation)
    assert isinstance(result, NotExecuted)
    assert (result.outcome, result.reason) == (Phase.FAILED, reason)


@pytest.mark.parametrize(
    ("situation", "reason"),
    [(replace(SITUATION, forked=True), Reason.FORK), (replace(SITUATION, content=None), Reason.UNKNOWN_TARGET)],
)
def test_retried_inside_the_window(situation: Situation, reason: Reason) -> None:
    """A fork or a missing contract postpones until the window has closed, and records nothing."""
    result = run(CHANGE, situation)
    assert isinstance(result, Postponed)
    assert (result.reason, result.until) == (reason, NOW + 11)


@pytest.mark.parametrize(
    ("what", "situation", "reason"),
    [
        (CHANGE, SITUATION, None),
        (DOMAIN, SITUATION, None),
        (CHANGE, replace(SITUATION, content=None), Reason.UNKNOWN_TARGET),
        (CHANGE, replace(SITUATION, contract_domain="other"), Reason.UNKNOWN_TARGET),
        ({**CHANGE, "type": "Optimistic"}, SITUATION, Reason.TYPE_NOT_ALLOWED),
        (statement([{"op": "remove", "path": "/text"}], ONE, "9"), SITUATION, Reason.NO_SUCH_CLAUSE),
        (statement([{"op": "remove", "path": "/text"}], {"text": "old"}), SITUATION, Reason.STALE_BASE),
        (statement([{"op": "remove", "path": "/text"}]), SITUATION, Reason.INVALID_RESULT),
        ({**DOMAIN, "type": "Standard"}, SITUATION, Reason.TYPE_NOT_ALLOWED),
        ({**DOMAIN, "target": {"kind": "TrustDomain", "name": "other"}}, SITUATION, Reason.UNKNOWN_TARGET),
        ({**DOMAIN, "change": {"resultDigest": NEXT, "baseDigest": NEXT}}, SITUATION, Reason.STALE_BASE),
    ],
)
def test_opening_checks_the_change(what: dict[str, Any], situation: Situation, reason: Reason | None) -> None:
    """A change that cannot be executed as it stands is refused when the proposal opens."""
    if reason is None:
        check_change(what, situation, opened=NOW)
        return
    with pytest.raises(ContractRefusedError) as caught:
        check_change(what, situation, opened=NOW)
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    ("clause", "patch", "base"),
    [
        ("1", [{"op": "replace", "path": "/text", "value": "Uno."}], ONE),
        ("1", [{"op": "replace", "path": "", "value": None}], ONE),
        ("3", [{"op": "add", "path": "", "value": {"text": "Three."}}], None),
    ],
)
def test_emergency_can_be_reversed(clause: str, patch: Any, base: Any) -> None:
    """The reverse change named by the executing entry restores every clause, in a new version."""
    emergency = statement(patch, base, clause, type="Emergency")
    result = run(emergency)
    assert result.outcome is Phase.EMERGENCY_EXECUTED
    assert result.detail("sha256:e")["reverseDigest"] == digest_of(dict(result.reverse.change))
    back = reverse(emergency, PROPOSAL, result.reverse, result.content, now=NOW + 100)
    assert back.content is not None and back.content.clauses == CONTENT.clauses
    assert back.content.version == "v2026.02.01-1" and back.content.previous is not None
    assert back.content.previous.digest == result.content.digest


def test_reversal_of_a_clause_that_moved_on() -> None:
    """An emergency whose clause was changed again is not undone: that is a conflict for people."""
    emergency = {**CHANGE, "type": "Emergency"}
    first = run(emergency)
    second = execute(
        statement([{"op": "replace", "path": "/text", "value": "Eins."}], {"text": "Uno."}),
        NEXT,
        replace(SITUATION, content=first.content),
        window=WINDOW,
        now=NOW,
    )
    assert isinstance(second, Executed) and second.content is not None
    back = reverse(emergency, PROPOSAL, first.reverse, second.content, now=NOW + 100)
    assert back.content is None and "baseDigest" in str(back.conflict)
