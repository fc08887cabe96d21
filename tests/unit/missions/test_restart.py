"""What an earlier life of the agent, or an earlier policy, did to devices: nothing stays closed or lowered for ever."""

from collections.abc import Mapping

import pytest

from quorate.missions.decisions import Decision, Effect
from quorate.missions.engine import Engine
from quorate.missions.policies import Policy, compile_policy
from quorate.missions.samples import DeviceTaken, Event, Gone, Limits, Pod, Running, Stop, StopScope
from quorate.missions.series import SECOND

POD = Pod("u", "team", "train", "team/train", gpus=("G",), started=0)
RULES = {"runtimeLimitSeconds": 86_400, "ladder": [{"action": "Warn", "afterSeconds": 0}]}
CLOSED = DeviceTaken(0, "G", "DenyCompute", "p")
NODE = Stop(0, StopScope.NODE, on=True)


def policy(mode: str = "Enforce", **spec: object) -> Policy:
    return compile_policy("p", {"mode": mode, **RULES, **spec})


def acts(made: list[Decision]) -> list[tuple[str, str]]:
    return [(decision.action, decision.subject) for decision in made if decision.effect is Effect.ACT]


@pytest.mark.parametrize(
    ("policies", "events", "opened"),
    [
        ([policy(emergencyStop=True)], [CLOSED], False),
        ([policy()], [CLOSED, NODE], False),
        ([policy()], [CLOSED], True),
        ([policy("Audit", emergencyStop=True)], [CLOSED], True),
        ([], [CLOSED, NODE], True),
        ([policy(emergencyStop=True)], [CLOSED, DeviceTaken(1, "G", "AllowCompute", "p")], False),
    ],
)
def test_a_restarted_agent_opens_what_it_closed(policies: list[Policy], events: list[Event], opened: bool) -> None:
    """A device that an earlier life closed is opened exactly when no stop of an enforced policy holds it closed."""
    engine = Engine(policies)
    assert acts(engine.step(SECOND, events)) == ([("AllowCompute", "G")] if opened else [])
    assert acts(engine.step(2 * SECOND)) == []


def test_a_closed_device_is_opened_when_the_stop_ends_after_a_restart() -> None:
    """The order ends in the second life: the device is opened, once, and was not closed a second time."""
    engine = Engine([policy()])
    assert acts(engine.step(SECOND, [CLOSED, NODE])) == []
    made = engine.step(2 * SECOND, [Stop(2 * SECOND, StopScope.NODE, on=False)])
    assert acts(made) == [("AllowCompute", "G")]


def test_a_policy_that_stops_no_more_opens_the_device() -> None:
    """The pod is gone when emergencyStop is taken back: nobody holds the device, and it is opened all the same."""
    engine = Engine([policy(emergencyStop=True)])
    made = engine.step(0, [Running(0, POD)])
    assert acts(made) == [("Terminate", "team/train"), ("DenyCompute", "G")]
    engine.step(SECOND, [Gone(SECOND, "u")])
    engine.govern([policy()])
    assert acts(engine.step(2 * SECOND)) == [("AllowCompute", "G")]


@pytest.mark.parametrize(
    ("taken", "given_back"), [({"policy": "p"}, [("LimitPower", "G")]), ({"policy": ""}, []), ({}, [])]
)
def test_a_restarted_agent_gives_back_what_it_lowered(
    taken: Mapping[str, str], given_back: list[tuple[str, str]]
) -> None:
    """A limit that an earlier life set, and no policy asks for, gives way to the device's own; a foreign one stays."""
    engine = Engine([])
    engine.step(0, [DeviceTaken(0, "G", "LimitPower", value=300, **taken)] if taken else [])
    assert acts(engine.step(SECOND, [Limits(SECOND, "G", 300, 1_500, 700)])) == given_back
