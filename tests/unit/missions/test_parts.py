"""Buckets, processes, breakers, quantities, the second life of an agent, power and policy changes."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.api.mission_policy import LadderAction
from quorate.api.mission_rules import Direction
from quorate.missions.attribution import MOST_OWNERS, Attribution
from quorate.missions.breaker import Breaker
from quorate.missions.decisions import Decision, Effect, Hold, Step
from quorate.missions.engine import Engine
from quorate.missions.health import HealthSpec
from quorate.missions.latency import MOST_BUCKET, MOST_MICROSECONDS, LatencySpec, bucket_of, edges
from quorate.missions.policies import Policy, compile_policy
from quorate.missions.privacy import PrivacySpec
from quorate.missions.progress import ConvergenceSpec
from quorate.missions.quantity import bytes_of
from quorate.missions.samples import (
    DeviceMemory,
    Ended,
    Health,
    Latencies,
    Metric,
    Outcome,
    Owned,
    Pod,
    Process,
    Processes,
    Report,
    Running,
    Taken,
)
from quorate.missions.series import SECOND, Series
from quorate.missions.types import MISSION_TYPES
from quorate.missions.verdict import State

GIB = 2**30
POD = Pod("u", "team", "train", "team/train", gpus=("G",), started=0)


def policy(**spec: object) -> Policy:
    usual = {"mode": "Enforce", "memory": {"limit": "1Gi"}, "ladder": [{"action": "Evict", "afterSeconds": 0}]}
    return compile_policy("p", {**usual, **spec})


def breach(engine: Engine, at: int) -> list[Decision]:
    return engine.step(at, [DeviceMemory(at, "G", 2 * GIB)])


@given(st.integers(0, MOST_MICROSECONDS))
def test_a_bucket_holds_its_latency(microseconds: int) -> None:
    """A latency lies between its bucket's edges, which are within a sixteenth of it."""
    low, high = edges(bucket_of(microseconds))
    assert low <= microseconds <= high
    assert high - low <= microseconds // 16
    assert bucket_of(high) == bucket_of(low)
    assert bucket_of(high + 1) == bucket_of(microseconds) + 1 or high == MOST_MICROSECONDS


@given(
    st.lists(st.integers(1, 20_000), min_size=100, max_size=300), st.integers(100, 15_000), st.integers(5_000, 9_900)
)
def test_a_quantile_is_broken_only_for_certain(latencies: list[int], target: int, quantile: int) -> None:
    """Where the verdict is broken the exact quantile is over the target; where it is good it is not."""
    validator = LatencySpec(target, quantile, 10 * SECOND).watch(POD, 0)
    counts: dict[int, int] = {}
    for latency in latencies:
        counts[bucket_of(latency)] = counts.get(bucket_of(latency), 0) + 1
    for at in (2 * SECOND, 11 * SECOND):
        validator.take(Latencies(at, "u", counts))
    exact = sorted(latencies)[-(-len(latencies) * quantile // 10_000) - 1]
    state = validator.judge(12 * SECOND).state
    assert state is not State.UNKNOWN
    assert state is not State.BROKEN or exact > target
    assert state is not State.GOOD or exact <= target


def test_counts_of_a_hostile_workload() -> None:
    """Negative counts and buckets that do not exist are left out; a flood of reports is merged."""
    validator = LatencySpec(1_000, 5_000, 10 * SECOND).watch(POD, 0)
    for second in (2, 3):  # the first has left the window when it is judged
        for turn in range(1_000):
            at = second * SECOND + turn
            validator.take(Latencies(at, "u", {-1: 5, MOST_BUCKET + 1: 5, 3: -9, 4: 1}))
    found = validator.judge(12 * SECOND)
    assert found.state is State.GOOD
    assert dict(found.evidence)["requests"] == 1_000


def test_owners_of_processes_are_bounded() -> None:
    """A node that starts and ends processes for ever costs no memory for ever."""
    attribution = Attribution()
    for pid in range(3 * MOST_OWNERS):
        attribution.own(Owned(0, pid, 1, "u", "main"))
    rows = (Process(3 * MOST_OWNERS - 1, 1, GIB), Process(1, 9, GIB))
    shares = attribution.share(Processes(0, "G", rows), frozenset({"u"}))
    assert shares["u"].containers == {"main": GIB}
    assert attribution.unattributed == {"G": GIB}


def test_a_breaker_closes_when_the_oldest_is_over() -> None:
    """Two are allowed in an hour; the third when an hour has passed since the first."""
    breaker = Breaker(3_600)
    assert breaker.open_until(0, 0) == 3_600
    breaker.count(0)
    breaker.count(100)
    assert breaker.open_until(200, 2) == 3_600
    assert breaker.open_until(3_600, 2) is None


@pytest.mark.parametrize(
    ("quantity", "number"), [("20Gi", 20 * GIB), ("1.5G", 1_500_000_000), (7, 7), ("1500m", 1), ("0.5Ki", 512)]
)
def test_quantities(quantity: int | str, number: int) -> None:
    """Whole bytes, rounded down."""
    assert bytes_of(quantity) == number


def test_an_outcome_told_again_changes_nothing() -> None:
    """After a reconnect the same outcome comes again: no decision, no second eviction."""
    engine = Engine([policy()])
    engine.step(0, [Running(0, POD)])
    (made,) = breach(engine, SECOND)
    assert made.effect is Effect.ACT
    for _ in range(3):
        assert engine.step(2 * SECOND, [Ended(2 * SECOND, made.id, Outcome.DONE)]) == []
    assert engine.node.breaker.counted == 1
    assert breach(engine, 3 * SECOND) == []


def test_a_restarted_agent_keeps_its_cool_down() -> None:
    """What the spool says was done counts as done: the new engine waits for the cool-down's end."""
    engine = Engine([policy(cooldownSeconds=60)])
    engine.step(10 * SECOND, [Running(0, POD), Taken(5 * SECOND, "u", "team/train", LadderAction.EVICT)])
    (held,) = breach(engine, 11 * SECOND)
    assert (held.step, held.hold) == (Step.HELD, Hold.COOL_DOWN)
    assert engine.due == 65 * SECOND


def test_a_policy_that_did_not_change_keeps_its_rung() -> None:
    """Another set of policies with the same policy in it begins nothing anew; a changed one does."""
    engine = Engine([policy()])
    engine.step(0, [Running(0, POD)])
    (made,) = breach(engine, SECOND)
    engine.govern([policy(), compile_policy("q", {"mode": "Audit", "idle": {"windowSeconds": 60}})])
    assert breach(engine, 2 * SECOND) == []
    engine.step(3 * SECOND, [Ended(3 * SECOND, made.id, Outcome.REFUSED)])
    engine.govern([policy(memory={"limit": "512Mi"})])
    (again,) = breach(engine, 4 * SECOND)
    assert (again.step, again.hold) == (Step.HELD, Hold.COOL_DOWN)


@pytest.mark.parametrize("name", MISSION_TYPES)
def test_every_type_compiles(name: str) -> None:
    """A policy that names a built-in type and nothing else has rules, and a ladder to enforce them."""
    compiled = compile_policy("typed", {"missionType": name, "mode": "Enforce"})
    assert compiled.rules
    assert all(compiled.ladders.values())


@pytest.mark.parametrize(
    ("started", "states"), [(0, ["UNKNOWN", "UNKNOWN", "BROKEN"]), (5_000 * SECOND, ["BROKEN", "BROKEN", "BROKEN"])]
)
def test_a_window_of_privacy_counts_what_was_seen_to_be_spent(started: int, states: list[str]) -> None:
    """An agent that comes later does not know when the first total was spent, unless the pod is younger."""
    validator = PrivacySpec(1_000_000, None, 3_600 * SECOND).watch(replace(POD, started=started), 0)
    found = []
    for second, total in ((8_000, 5_000_000), (8_010, 6_000_000), (8_020, 6_000_001)):
        at = second * SECOND
        validator.take(Report(at, "u", Metric.EPSILON, total))
        found.append(validator.judge(at).state.name)
    assert found == states
    assert validator.judge(12_000 * SECOND).state is State.GOOD


def test_iterations_break_nothing_while_the_objective_is_unknown() -> None:
    """A workload that reports iterations only has not shown that it did not reach its target."""
    spec = ConvergenceSpec("loss", Direction.MINIMIZE, 0, 60 * SECOND, target=1, iterations=3)
    validator = spec.watch(POD, 0)
    validator.take(Report(SECOND, "u", Metric.ITERATION, 4))
    assert validator.judge(SECOND).state is State.UNKNOWN
    validator.take(Report(2 * SECOND, "u", Metric.OBJECTIVE, 2, "loss"))
    assert validator.judge(2 * SECOND).state is State.BROKEN
    assert validator.judge(90 * SECOND).state is State.UNKNOWN


def test_heat_is_over_by_the_margin() -> None:
    """A device just below its highest temperature neither climbs nor clears."""
    validator = HealthSpec(frozenset(), 80).watch(POD, 500)
    states = []
    for second, celsius in ((1, 81), (2, 80), (3, 77), (4, 76)):
        validator.take(Health(second * SECOND, "G", celsius))
        states.append(validator.judge(second * SECOND).state)
    assert states == [State.BROKEN, State.BETWEEN, State.BETWEEN, State.GOOD]


def test_a_mean_is_below_a_floor_only_for_certain() -> None:
    """Slots of unequal counts are not rounded against the workload: exactly the floor is kept."""
    series = Series(12 * SECOND, SECOND, 5 * SECOND)
    for slot in range(7):
        for number in range(3):
            series.add((2 * slot) * SECOND + number * SECOND // 2, 9_990 + (number == 0) - (slot == 3 and number == 0))
    assert series.mean(13 * SECOND) == 9_990
