"""What has to happen next, as one sentence: who has to act, until when, and what is missing for which test.

The numbers are those of the tally: the least weight that, cast as said and nothing else changing, makes a test hold.
"""

from collections.abc import Mapping
from heapq import nsmallest

from quorate.api.conditions import MAX_NAMED, Reason, some_of
from quorate.api.tally import Phase
from quorate.canonical import format_time
from quorate.proposals.decision import TallyState
from quorate.proposals.lifecycle import Life
from quorate.proposals.tally import (
    FULL,
    Rules,
    Sums,
    enough_voters,
    failure,
    objected,
    quorum_test,
    veto_holds,
)
from quorate.trust.domain import Member

_AGAIN = "a new proposal may be opened"
_AFTER = {
    Phase.REJECTED: f"nothing follows; {_AGAIN}",
    Phase.EXPIRED: f"nothing follows; {_AGAIN}",
    Phase.WITHDRAWN: f"nothing follows; {_AGAIN}",
    Phase.STOPPED: f"nothing follows; {_AGAIN}",
    Phase.REVERSED: f"what was executed was undone; {_AGAIN}",
    Phase.EXECUTED: "nothing is left to do: the change is in force",
    Phase.RATIFIED: "nothing is left to do: the change stays in force",
    Phase.SUPERSEDED: "vote on the revision that took its place",
}
_FAILED = {
    Reason.STALE_BASE: "the target changed meanwhile: propose the change again on what is in force now",
    Reason.COMPROMISE: "the arbitrators want a compromise: propose one on what is in force now",
    Reason.CONFLICT_LOST: f"the arbitrators decided for the other party; {_AGAIN}",
    Reason.WINDOW_CLOSED: f"it was not executed in time; {_AGAIN}",
}


def next_step(life: Life, tallies: Mapping[str, TallyState], *, name: str) -> str:
    """The sentence for an opened proposal called `name`, without an end mark."""
    if life.open:
        return _all_open(tallies, name)
    if life.phase is Phase.ADOPTED:
        return _adopted(life, name)
    return _FAILED.get(Reason(life.reason), "") if life.reason in _FAILED else _after(life)


def _after(life: Life) -> str:
    return _AFTER.get(life.phase, f"nothing follows; {_AGAIN}")


def _adopted(life: Life, name: str) -> str:
    parts = []
    if life.execute_after is not None:
        parts.append(f"it is executed by itself from {format_time(life.execute_after)} on")
    if life.execute_before is not None:
        parts.append(f"until {format_time(life.execute_before)}")
    return " ".join([*parts, f"unless the admins stop it before (`quorate stop {name}`)"])


def _all_open(tallies: Mapping[str, TallyState], name: str) -> str:
    if len(tallies) == 1:
        return voting_step(next(iter(tallies.values())), name)
    return "; ".join(
        f"{domain}: {voting_step(state, name)}" for domain, state in sorted(tallies.items()) if state.decision is None
    )


def voting_step(state: TallyState, name: str) -> str:
    """What one electorate has to do: what is missing, who has not voted, how, until when."""
    until = format_time(state.deadline)
    if state.phase == "Emergency":
        return _endorsing(state, name, until)
    people = _people(state)
    if people is None:
        return f"{_missing(state)}; everybody has voted, a vote may be changed until {until}"
    return f"{_missing(state)}; {people}: `quorate vote CHOICE {name}` until {until}"


def _endorsing(state: TallyState, name: str, until: str) -> str:
    lacking = next((test.right - test.left for test in state.tests if test.name == "endorsements"), 0)
    if lacking <= 0:
        return "endorsed: it is executed at once"
    who = some_of(state.outstanding)
    return f"{lacking} more admins have to endorse, of {who}: `quorate endorse {name}` until {until}, else it expires"


def _people(state: TallyState) -> str | None:
    members = {member.node_id: member for member in state.revision.electorate.members}
    waiting = [members[node_id] for node_id in state.outstanding if members[node_id].weight > 0]
    if not waiting:
        return None
    weight = sum(member.weight for member in waiting)
    first = nsmallest(MAX_NAMED, waiting, key=lambda member: (-member.weight, member.node_id))
    return f"{len(waiting)} with weight {weight} have not voted: {some_of([*map(_label, first)], len(waiting))}"


def _label(member: Member) -> str:
    keys = ", ".join(key.name for key in member.keys if key.purpose == "Vote")
    return f"{member.node_id} ({keys})" if keys else member.node_id


def _missing(state: TallyState) -> str:
    """What the tests lack, in the order in which they are judged."""
    rules, sums, elapsed = state.rules, state.sums, state.at - state.opened
    if sums.total == 0:
        return "the electorate has no weight, so nothing can be adopted"
    if rules.objection is not None:
        needed = rules.objection * sums.total // FULL + 1
        if objected(rules, sums):
            return f"objected: {sums.reject + sums.veto} of the needed weight {needed}"
        return f"adopted at the end unless reject and veto reach weight {needed}, they have {sums.reject + sums.veto}"
    if failure(rules, sums, elapsed) is None:
        early = "" if not rules.early else ", or as soon as no outstanding vote can change that"
        return f"as it stands it is adopted at the end{early}"
    lacking = [*_quorum(state, elapsed), *_veto(state), *_threshold(state)]
    return "to be adopted it lacks " + " and ".join(lacking)


def quorum_lacking(rules: Rules, sums: Sums, elapsed: int) -> int:
    """The least further weight (approving, with quorumBasis Approve) with which the quorum holds; 0: it holds."""
    test = quorum_test(rules, sums, elapsed)
    _, scale = rules.quorum_share(elapsed)
    return max(0, -(-(test.right - test.left) // (FULL * scale)))


def approval_lacking(rules: Rules, sums: Sums) -> int:
    """The least further approving weight a with (approve + a) · 10000 > t · (decisive + a); 0: it passes."""
    short = rules.threshold * sums.decisive - sums.approve * FULL
    return 0 if short < 0 else short // (FULL - rules.threshold) + 1


def _quorum(state: TallyState, elapsed: int) -> list[str]:
    rules, sums = state.rules, state.sums
    lacking = []
    weight = quorum_lacking(rules, sums, elapsed)
    if weight:
        kind = "approving weight" if rules.approve_only else "weight that votes"
        falls = "" if rules.adaptive is None else " (less as time passes)"
        lacking.append(f"{weight} {kind} for the quorum{falls}")
    if not enough_voters(rules, sums):
        lacking.append(f"{(rules.minimum_voters or 0) - sums.voters} more voters for minimumVoters")
    return lacking


def _veto(state: TallyState) -> list[str]:
    if not veto_holds(state.rules, state.sums):
        return []
    return [f"that the veto is taken back (weight {state.sums.veto} of {state.sums.cast} cast)"]


def _threshold(state: TallyState) -> list[str]:
    least, outstanding = approval_lacking(state.rules, state.sums), state.sums.outstanding
    if least == 0:
        return []
    beyond = "" if least <= outstanding else f", of which only {outstanding} is outstanding"
    return [f"{least} approving weight for the threshold{beyond}"]
