"""The outcome document: what was decided and every number behind it (governance.md, "The outcome document")."""

from collections.abc import Mapping
from typing import Any

from quorate.canonical import MAX_INTEGER, format_time
from quorate.proposals.decision import JudgedVote, Progress, TallyState
from quorate.proposals.phase import Decision
from quorate.proposals.tally import Test


def document(progress: Progress) -> dict[str, Any]:
    """The outcome document; outcome, reason and decidedAt are null while nothing is decided.

    Of a double majority the numbers are trustDomain's, and `domains` has those of each domain by name.
    """
    tallies = progress.tallies
    domains = {name: electorate_document(state) for name, state in tallies.items()} if len(tallies) > 1 else {}
    return {**_decision(progress.decision), **_numbers(progress.tally), "domains": domains}


def electorate_document(state: TallyState) -> dict[str, Any]:
    """The part of one domain: the same fields, without `domains`."""
    return {**_decision(state.decision), **_numbers(state)}


def refusal(reason: str, message: str) -> dict[str, Any]:
    """The document of a proposal whose opening is refused: there is no electorate, and nothing is counted."""
    return {
        "outcome": "Refused",
        "reason": reason,
        "message": message,
        "decidedAt": None,
        "electorate": None,
        "rules": None,
        "sums": None,
        "tests": [],
        "quorumMadeBy": None,
        "votes": [],
        "domains": {},
    }


def exact(number: int) -> int | str:
    """A number as JSON can carry it: beyond 2^53 - 1 a decimal string."""
    return number if abs(number) <= MAX_INTEGER else str(number)


def _decision(decision: Decision | None) -> dict[str, Any]:
    if decision is None:
        return {"outcome": None, "reason": None, "decidedAt": None}
    return {
        "outcome": str(decision.outcome),
        "reason": str(decision.reason),
        "decidedAt": format_time(decision.at),
    }


def _numbers(state: TallyState) -> dict[str, Any]:
    electorate, sums = state.revision.electorate, state.sums
    return {
        "electorate": {
            "digest": electorate.digest,
            "members": len(electorate.members),
            "totalWeight": electorate.total_weight,
        },
        "rules": dict(state.rules.written),
        "sums": {
            "approve": sums.approve,
            "reject": sums.reject,
            "abstain": sums.abstain,
            "veto": sums.veto,
            "cast": sums.cast,
            "outstanding": sums.outstanding,
        },
        "tests": [_test(test) for test in state.tests],
        "quorumMadeBy": state.quorum_made_by,
        "votes": [_vote(vote) for vote in state.votes],
    }


def _test(test: Test) -> dict[str, Any]:
    return {"name": test.name, "left": exact(test.left), "right": exact(test.right), "holds": test.holds}


def _vote(vote: JudgedVote) -> Mapping[str, Any]:
    ballot = vote.ballot
    return {
        "voter": ballot.holder,
        "keyName": ballot.key_name,
        "sequence": ballot.sequence,
        "choice": ballot.choice,
        "weight": vote.weight,
        "counted": vote.counted,
        "reason": str(vote.reason),
        "time": format_time(ballot.recorded),
        "claimed": ballot.claimed,
    }
