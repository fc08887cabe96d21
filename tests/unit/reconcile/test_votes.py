"""Votes against the log: what it takes, what it refuses, and that no object can hold up a decision."""

import pytest

from quorate.canonical import encode_base64, format_time
from quorate_operator.kube.resources import Key
from tests.unit.proposals.fleet import node

from .town import NAMES, STANDARD, Town


@pytest.fixture
async def town() -> Town:
    """A domain and its contract in force."""
    made = await Town().restart()
    await made.found()
    return made


@pytest.fixture
async def proposal(town: Town) -> Key:
    """An open proposal."""
    key = town.propose()
    await town.settle()
    return key


async def test_an_impossible_time_is_refused_and_delays_nothing(town: Town, proposal: Key) -> None:
    """CastAt in the year 0 passes the schema: the vote is Invalid, and the decision is taken all the same."""
    bad = town.vote(proposal, "m1", "Reject", "bad", castAt="0000-01-01T00:00:00Z")
    await town.settle()
    assert town.condition(bad, "Counted")[:2] == ("False", "Invalid")
    assert "castAt" in town.condition(bad, "Counted")[2]
    for who in NAMES:
        town.vote(proposal, who, "Approve")
    await town.settle(103)
    assert town.status(proposal)["phase"] == "Executed"
    assert not town.errors


@pytest.mark.parametrize("forged_first", [True, False])
async def test_a_copy_with_a_forged_signature_says_nothing_about_the_vote(
    town: Town, proposal: Key, forged_first: bool
) -> None:
    """The same statement under another signature is BadSignature, before or after the true vote, which counts."""
    fields = {"castAt": format_time(int(town.now))}
    forged = {**fields, "signature": encode_base64(bytes(64))}
    if forged_first:
        town.vote(proposal, "m1", "Approve", "forged", **forged)
        await town.settle()
    true = town.vote(proposal, "m1", "Approve", **fields)
    await town.settle()
    if not forged_first:
        town.vote(proposal, "m1", "Approve", "forged", **forged)
    await town.settle(1)
    assert town.condition(true, "Counted")[:2] == ("True", "Counted")
    assert town.status(true)["weight"] == 1
    assert town.condition(Key("Vote", "default", "forged"), "Counted")[:2] == ("False", "BadSignature")


async def test_a_vote_on_no_opened_digest_waits_or_is_told(town: Town, proposal: Key) -> None:
    """A higher revision may still come, so the vote waits; for the revision that is open it is OtherProposal."""
    other = {"namespace": "default", "name": "p", "digest": "sha256:" + "0" * 64}
    waiting = town.vote(proposal, "m1", "Approve", "waiting", proposal=other, revision=2)
    wrong = town.vote(proposal, "m1", "Approve", "wrong", proposal=other)
    elsewhere = town.vote(proposal, "m1", "Approve", "elsewhere", domain="other")
    await town.settle()
    assert town.condition(waiting, "Ready")[:2] == ("False", "UnknownProposal")
    assert town.condition(waiting, "Reconciling")[0] == "True"
    assert town.condition(wrong, "Counted")[1] == "OtherProposal"
    assert town.condition(elsewhere, "Counted")[1:] == (
        "OtherProposal",
        "spec.domain 'other' does not vote on this proposal",
    )


async def test_a_vote_after_the_decision_is_too_late_whatever_its_time(town: Town, proposal: Key) -> None:
    """Once the decision is recorded nothing is accepted, and what is shown stays what was decided."""
    for who in NAMES[:3]:
        town.vote(proposal, who, "Approve")
    await town.settle(103)
    shown = town.status(proposal)["tally"]
    late = town.vote(proposal, "m3", "Reject")
    town.server.objects[late]["metadata"]["creationTimestamp"] = format_time(int(town.now) - 50)
    await town.restart()
    await town.settle()
    assert town.condition(late, "Counted")[1] == "TooLate"
    assert town.status(proposal)["tally"] == shown


async def test_one_event_per_refusal_and_none_for_a_change_of_mind(town: Town, proposal: Key) -> None:
    """A refused vote warns once, however often it is looked at; a retracted one does not."""
    town.vote(proposal, "m1", "Approve", "first")
    await town.settle()
    town.vote(proposal, "m1", "Retract", "second", sequence=2)
    town.vote(proposal, "m2", "Approve", "forged", signature=encode_base64(bytes(64)))
    await town.settle(3)
    await town.restart()
    await town.settle()
    assert sorted(town.recorder.notes) == [("first", "Overtaken"), ("forged", "BadSignature")]


async def test_an_amendment_after_the_votes_have_decided_is_too_late() -> None:
    """Between T and the entry of the decision nothing may supersede any more: AmendmentTooLate, and it is adopted."""
    town = await Town().restart()
    await town.found(voting={"Standard": {**STANDARD, "earlyDecision": True}})
    proposal = town.propose()
    await town.settle()
    for who in NAMES:
        town.vote(proposal, who, "Approve")
    await town.settle(1)
    assert town.status(proposal)["phase"] == "Voting"
    town.propose(rationale="better", revision=2)
    await town.settle()
    assert town.condition(proposal, "SpecAccepted")[:2] == ("False", "AmendmentTooLate")
    await town.settle(2)
    assert town.status(proposal)["phase"] == "Executed"
    assert town.status(proposal)["revision"] == 1


async def recorded_only(town: Town, vote: Key) -> None:
    """Its entry, and nothing that follows from it: the process ends before."""
    votes = next(item for item in town.reconcilers if item.kind == "Vote")
    gathered = await votes.gather([vote], town.context)
    plan = votes.decide(gathered[vote], int(town.now))
    assert plan.chain is not None
    await town.context.log.append(plan.chain, plan.entries, content=plan.content)


async def test_a_vote_that_was_recorded_just_before_the_end_is_in_the_tally(town: Town, proposal: Key) -> None:
    """Recorded, then the process ends, or another leads: who comes next shows it in tally and vote, with no entry."""
    await recorded_only(town, vote := town.vote(proposal, "m1", "Approve"))
    entries = list(town.entries)
    await town.restart()
    await town.settle()
    assert town.status(proposal)["tally"]["cast"] == 1
    assert town.condition(vote, "Counted")[:2] == ("True", "Counted")
    assert town.entries == entries


async def test_a_vote_that_another_leader_recorded_is_in_the_next_tally(town: Town, proposal: Key) -> None:
    """What another process wrote since the last look is read on like one's own, although the docket is held."""
    town.vote(proposal, "m2", "Approve")
    await town.settle()
    vote = town.vote(proposal, "m1", "Approve")
    other = Town()
    other.server, other.shared, other.now = town.server, town.shared, town.now
    await recorded_only(await other.restart(), vote)
    town.agenda.mark(proposal)
    await town.settle()
    assert town.status(proposal)["tally"]["cast"] == 2


async def test_a_refused_vote_is_told_in_its_proposal(town: Town, proposal: Key) -> None:
    """The tally says who was refused and why; the vote that is in order counts beside it."""
    town.vote(proposal, "m1", "Approve", "forged", signature=encode_base64(bytes(64)))
    town.vote(proposal, "m2", "Approve")
    await town.settle()
    tally = town.status(proposal)["tally"]
    assert (tally["cast"], tally["refused"]) == (1, 1)
    assert [(item["voter"], item["reason"]) for item in tally["refusedVotes"]] == [(node("m1"), "BadSignature")]


async def test_a_spec_that_is_edited_and_edited_back_is_judged_each_time(town: Town, proposal: Key) -> None:
    """What one edit said is not taken for what the next says, nor for what another object of the name says."""
    spec = town.server.objects[proposal]["spec"]
    said = []
    for rationale in (None, "other words", None):
        town.apply("GovernanceProposal", "p", {**spec, "rationale": rationale}, "default")
        await town.settle()
        said.append(town.condition(proposal, "SpecAccepted")[:2])
    assert said == [("True", "Accepted"), ("False", "SpecChanged"), ("True", "Accepted")]
    del town.server.objects[proposal]
    town.view.remove(proposal)
    town.apply("GovernanceProposal", "p", {**spec, "rationale": "other words"}, "default")
    await town.settle()
    assert town.condition(proposal, "SpecAccepted")[:2] == ("False", "SpecChanged")
