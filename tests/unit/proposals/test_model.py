"""Every verb at random, ten thousand steps, against a small reference model: outcome, reason, T and sums agree."""

from collections import Counter
from dataclasses import replace
from random import Random

import pytest

from quorate.proposals.decision import decide
from quorate.proposals.phase import Decision
from quorate.proposals.votes import Ballot
from tests.unit.proposals.model import ADMINS, NAMES, VOTING, Desk

BLOCKS, WORLDS, STEPS = 10, 10, 100
VERBS = {
    "vote": 30,
    "change": 8,
    "retract": 4,
    "stale": 3,
    "again": 5,
    "delegate": 6,
    "undelegate": 2,
    "revoke": 3,
    "amend": 2,
    "withdraw": 1,
    "stop": 3,
    "endorse": 4,
    "time": 30,
}
CHOICES = ("Approve", "Approve", "Approve", "Reject", "Abstain", "Veto")


class World:
    """One desk and its model, driven at random; `seen` counts what came of it."""

    def __init__(self, seed: int, seen: Counter[str]) -> None:
        self.random, self.desk, self.seen = Random(seed), Desk(), seen
        self.steps: list[str] = []

    def run(self, steps: int) -> None:
        """So many verbs, each followed by a comparison."""
        for _ in range(steps):
            self.step()
            self.compare_sums()

    def step(self) -> None:
        """One verb that can be tried now; what it should do is the model's word."""
        desk = self.desk
        if desk.model.facts is None or desk.life.final:
            verb = "open"
        else:
            verb = self.random.choices(list(VERBS), list(VERBS.values()))[0]
        self.steps.append(f"{desk.now} {verb}")
        self.seen[verb] += 1
        getattr(self, verb)()

    def open(self) -> None:
        self.desk.open(self.random.choice(list(VOTING)))

    def vote(self) -> None:
        sequence = self.random.choice((1, 1, 1, 2, 3))
        self.desk.vote(self.anyone(), self.key(), self.random.choice(CHOICES), sequence)

    def change(self) -> None:
        self.desk.vote(self.anyone(), self.key(), self.random.choice(CHOICES), self.random.randrange(2, 6))

    def retract(self) -> None:
        self.desk.vote(self.anyone(), self.key(), "Retract", self.random.randrange(2, 6))

    def stale(self) -> None:
        self.desk.vote(self.anyone(), self.key(), "Approve", 9, stale=True)

    def again(self) -> None:
        assert self.desk.case is not None
        if self.desk.case.ballots:
            self.desk.again(self.random.randrange(100))

    def delegate(self) -> None:
        types = self.random.choice((list(VOTING), ["Standard", "Expedited"], ["Standard"], []))
        lasts, sequence = self.random.choice((3, 8, 100, 100)), self.random.choice((None, None, self.desk.sequence))
        self.desk.delegate(self.anyone(), self.key(), self.anyone(), types, lasts, sequence)

    def undelegate(self) -> None:
        self.desk.delegate(self.anyone(), self.key(), None, [], 100)

    def revoke(self) -> None:
        keys = [(who, key) for who in NAMES for key in ("main", "second")]
        self.desk.revise(self.random.sample(keys, self.random.randrange(1, 3)))

    def amend(self) -> None:
        desk, model = self.desk, self.desk.model
        assert desk.case is not None and model.facts is not None
        now, old = desk.now, model.facts
        in_time = now <= model.closes(now) and desk.life.decided_at is None
        before = desk.recorded(superseded=now)
        accepted = desk.open(self.random.choice(list(VOTING)), amends=True)
        assert accepted is (in_time and old.amendments < 5)
        if not accepted:
            return
        self.seen["amended"] += 1
        new, model.facts, old.superseded = model.facts, old, now
        model._phases.clear()
        found = decide(before, now + 2).decision
        assert found is not None
        assert (
            (found.outcome, str(found.reason), found.at) == model.decision(now + 2) == ("Superseded", "Superseded", now)
        )
        model.facts = new
        model._phases.clear()

    def withdraw(self) -> None:
        desk, facts = self.desk, self.desk.model.facts
        assert facts is not None
        by, forged = self.random.choice(("m0", "m0", "m1")), not self.random.randrange(5)
        in_time = desk.life.decided_at is None and desk.now <= desk.model.closes(desk.now)
        accepted = desk.act("Withdraw", by, forged=forged)
        assert accepted is (in_time and by == "m0" and not forged)
        if accepted and facts.withdrawn is None:
            facts.withdrawn = desk.now

    def stop(self) -> None:
        desk, facts = self.desk, self.desk.model.facts
        assert facts is not None
        by, forged = self.random.choice(ADMINS), not self.random.randrange(8)
        accepted = desk.act("Stop", by, forged=forged)
        assert accepted is (facts.executed is None and not forged)
        if accepted:
            facts.stops.setdefault(by, desk.now)

    def endorse(self) -> None:
        desk, facts = self.desk, self.desk.model.facts
        assert facts is not None
        by, forged = self.random.choice(ADMINS), not self.random.randrange(8)
        in_time = desk.life.decided_at is None and desk.now <= desk.progress().deadline
        accepted = desk.act("Endorse", by, forged=forged)
        assert accepted is (in_time and not forged)
        if accepted:
            facts.endorsed.setdefault(by, desk.now)

    def time(self) -> None:
        """Some seconds pass; then whatever is due is recorded."""
        desk = self.desk
        desk.now += self.random.choice((1, 1, 1, 2, 3, 5))
        self.compare()
        decision = desk.progress().decision
        if decision is None:
            return
        if desk.life.decided_at is None or decision.outcome in ("Ratified", "Reversed"):
            self.settle()
        elif decision.outcome == "Stopped":
            desk.life = type(desk.life)()  # the failing entry of a stop after the adoption closes it
            desk.model.facts = None
        elif desk.life.executed_at is None and self.random.randrange(2):
            desk.execute()
            self.seen["executed"] += 1

    def settle(self) -> None:
        self.desk.settle()
        decision = self.desk.progress().decision
        assert decision is not None
        self.seen[f"{decision.outcome} {decision.reason}"] += 1
        self.unmoved(decision)

    def unmoved(self, decision: Decision) -> None:
        """Another order of what is recorded, and copies that arrive later, change neither the decision nor the sums."""
        desk = self.desk
        case, tally = desk.recorded(), desk.progress().tally
        late = [Ballot(item.statement, item.signature, desk.now) for item in case.ballots]
        ballots, delegations, acts = [*case.ballots, *late], [*case.delegations] * 2, [*case.acts] * 2
        for items in (ballots, delegations, acts):
            self.random.shuffle(items)
        other = decide(replace(case, ballots=ballots, delegations=delegations, acts=acts), desk.now)
        assert (other.decision, other.tally.sums) == (decision, tally.sums)

    def anyone(self) -> str:
        return self.random.choice(NAMES)

    def key(self) -> str:
        return self.random.choice(("main", "main", "second"))

    def compare(self) -> None:
        """Decision, reason and T are those of the model: looked at whenever time passes, as only then they change."""
        desk, facts = self.desk, self.desk.model.facts
        if facts is None:
            return
        found, expected = desk.progress().decision, desk.model.decision(desk.now)
        assert (None if found is None else (found.outcome, str(found.reason), found.at)) == expected

    def compare_sums(self) -> None:
        """The weights by choice, at the second that the code shows."""
        desk, facts = self.desk, self.desk.model.facts
        if facts is None:
            return
        state = desk.progress().tally
        if state.phase != "Emergency":
            opened = facts.executed if state.phase == "Ratification" else facts.opened
            rules = VOTING["Standard" if state.phase == "Ratification" else state.phase]
            assert opened is not None
            sums = desk.model.sums(state.at, state.deadline, rules, opened)
            assert (state.sums.approve, state.sums.reject, state.sums.abstain, state.sums.veto) == sums


SEEN: Counter[str] = Counter()


@pytest.mark.parametrize("block", range(BLOCKS))
def test_the_code_is_what_the_model_says(block: int) -> None:
    """After each of 1000 random verbs the sums, and at each second the decision, its reason and T are the model's."""
    for seed in range(block * WORLDS, (block + 1) * WORLDS):
        world = World(seed, SEEN)
        try:
            world.run(STEPS)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, after {world.steps[-30:]}: {error}") from error


def test_the_steps_went_everywhere() -> None:
    """Ten thousand steps used every verb and reached every outcome: the agreement above is not of an empty room."""
    if SEEN.total() < BLOCKS * WORLDS * STEPS:
        pytest.skip("only counts after the whole run")
    outcomes = {name.split()[0] for name in SEEN if " " in name}
    assert {"Adopted", "Rejected", "Expired", "Withdrawn", "Stopped", "Ratified", "Reversed"} <= outcomes
    assert set(VERBS) | {"open", "amended", "executed"} <= set(SEEN)
    assert min(SEEN[name] for name in ("amended", "executed", "Rejected RevokedDuringVote")) > 0, SEEN
