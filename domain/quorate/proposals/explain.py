"""An outcome in sentences: each rule with its formula and numbers, each vote that does not count with its reason.

A function of the outcome document alone (`quorate.proposals.outcome`), so that whoever holds one can explain it: from
an evidence bundle, from an offline tally, from the content that `status.outcomeDigest` names.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quorate.api.conditions import Reason

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """One test as it was applied: `formula` in the terms of governance.md, `numbers` put in, `verdict` what follows."""

    rule: str
    formula: str
    numbers: str
    holds: bool
    verdict: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """One electorate's outcome. `refused` are (vote of the document, why in a sentence)."""

    headline: str
    inputs: tuple[str, ...]
    steps: tuple[Step, ...]
    refused: tuple[tuple[Document, str], ...]


def explain(document: Document) -> Explanation:
    """The explanation of an outcome document, or of the part of one domain in it."""
    return Explanation(
        _headline(document),
        tuple(_inputs(document)),
        tuple(_step(test, document.get("rules") or {}) for test in document.get("tests") or ()),
        tuple((vote, why(vote)) for vote in document.get("votes") or () if not vote["counted"]),
    )


_OUTCOMES: Mapping[str, str] = {
    Reason.PASSED: "at the deadline every test held",
    Reason.EARLY: "nothing that was outstanding could change it any more",
    Reason.CONFIRMED: "every test held at each second of the confirmation",
    Reason.NO_OBJECTION: "nobody objected enough",
    Reason.OBJECTION: "reject and veto exceeded the objection's share",
    Reason.ZERO_WEIGHT: "the electorate has no weight",
    Reason.QUORUM_NOT_REACHED: "too few voted",
    Reason.NOT_CONFIRMED: "every test held at the end, but not long enough before it",
    Reason.NOT_ENDORSED: "too few admins endorsed in time",
    Reason.VETOED: "the veto's share was exceeded",
    Reason.NO_DECISIVE_VOTE: "nobody approved, rejected or vetoed",
    Reason.THRESHOLD_NOT_REACHED: "too few of those who decided approved",
    Reason.REVOKED_DURING_VOTE: "it would be adopted only without the votes of keys that were removed during the vote",
    Reason.WITHDRAWN: "its proposer withdrew it",
    Reason.STOPPED: "adminThreshold admins stopped it",
    Reason.SUPERSEDED: "a signed higher revision took its place",
}


def _headline(document: Document) -> str:
    outcome, reason = document.get("outcome"), document.get("reason")
    if outcome is None:
        return "not decided yet; the numbers are those of now"
    because = document.get("message") or _OUTCOMES.get(reason or "", "")
    at = f" as of {document['decidedAt']}" if document.get("decidedAt") else ""
    return f"{outcome} ({reason}){at}: {because}" if because else f"{outcome} ({reason}){at}"


def _inputs(document: Document) -> list[str]:
    electorate, sums, rules = document.get("electorate"), document.get("sums"), document.get("rules") or {}
    found = []
    if electorate:
        found.append(f"electorate: {electorate['members']} members with weight {electorate['totalWeight']}")
    if sums:
        found.append(", ".join(f"{name} {sums[name]}" for name in _SUMS))
    found += [f"{name} {rules[name]}" for name in _SHOWN if rules.get(name) is not None]
    if document.get("quorumMadeBy"):
        found.append(f"the quorum was made by vote {document['quorumMadeBy']}")
    return found


_SUMS = ("approve", "reject", "abstain", "veto", "cast", "outstanding")
_SHOWN = ("quorumBasis", "minimumVoters", "votingPeriodSeconds", "earlyDecision", "adaptiveQuorum", "lateQuorum")

_TESTS: Mapping[str, tuple[str, str, str, str]] = {
    "quorum": ("basis · 10000 ≥ quorum · total", "≥", "enough weight voted", "too little weight voted: Expired"),
    "minimumVoters": ("voters ≥ minimumVoters", "≥", "enough members voted", "too few members voted: Expired"),
    "veto": ("veto · 10000 > share · cast", ">", "vetoed: Rejected", "no veto"),
    "threshold": (
        "approve · 10000 > threshold · (approve + reject + veto)",
        ">",
        "approved",
        "not approved: Rejected",
    ),
    "objection": ("(reject + veto) · 10000 > share · total", ">", "objected: Rejected", "not objected"),
    "endorsements": ("endorsing admin keys ≥ adminThreshold", "≥", "endorsed: executed", "not endorsed yet"),
}
"""Test → formula, sign, what follows if it holds, what if not."""
_SHARE = {
    "quorum": "quorumBasisPoints",
    "veto": "vetoBasisPoints",
    "threshold": "thresholdBasisPoints",
    "objection": "objectionBasisPoints",
}


def _step(test: Document, rules: Document) -> Step:
    formula, sign, good, bad = _TESTS.get(test["name"], (str(test["name"]), "vs", "holds", "fails"))
    share = rules.get(_SHARE.get(test["name"], ""))
    if test["name"] == "quorum" and rules.get("adaptiveQuorum"):
        formula = "basis · 10000 · P ≥ (start · P − (start − floor) · min(e, P)) · total"
    elif share is not None:
        formula = f"{formula}, {_SHARE[test['name']]} {share}"
    holds = bool(test["holds"])
    numbers = f"{test['left']} {sign if holds else _NOT[sign]} {test['right']}"
    return Step(test["name"], formula, numbers, holds, good if holds else bad)


_NOT = {"≥": "<", ">": "≤", "vs": "vs"}

_WHY: Mapping[str, str] = {
    Reason.OTHER_PROPOSAL: "it binds another digest",
    Reason.UNKNOWN_CHOICE: "its choice does not exist here",
    Reason.NOT_IN_ELECTORATE: "its voter is not in the electorate of the opening",
    Reason.TOO_LATE: "it was recorded after the end",
    Reason.FROM_THE_FUTURE: "it was signed more than 300 s after it was recorded",
    Reason.VETO_NOT_ALLOWED: "its voter may not veto",
    Reason.UNKNOWN_KEY: "its voter had no such Vote key when it was recorded",
    Reason.KEY_EXPIRED: "its key had expired when it was recorded or when the vote was decided",
    Reason.BAD_SIGNATURE: "its signature does not hold",
    Reason.KEY_REVOKED: "its key was removed before the vote was decided",
    Reason.EQUIVOCATION: "its key signed another content with the same sequence: both are void",
    Reason.DUPLICATE: "the same statement counts already",
    Reason.OVERTAKEN: "its key voted again with a higher sequence",
    Reason.RETRACTED: "its key took its vote back",
    Reason.THRESHOLD_NOT_REACHED: "too few keys of its member agree (voteThreshold)",
    Reason.KEYS_DISAGREE: "two choices both reach the member's voteThreshold",
    Reason.OUTVOTED: "the member's other keys chose otherwise",
}


def why(vote: Document) -> str:
    """Why a vote of an outcome document does not count, in a sentence."""
    return _WHY.get(vote["reason"], str(vote["reason"]))
