"""The DaemonSet of the node agents follows the policies, and is never taken away while an action may be in flight."""

from pathlib import Path
from typing import Any

import pytest

from quorate.canonical import encode_base64
from quorate_agent.config import parse
from quorate_operator.kube.resources import Obj
from quorate_operator.reconcile.agent_manifest import holds, terms_of
from quorate_operator.reconcile.mission_log import AGENTS
from tests.unit.reconcile.missions import PUBLIC, Missions, key_file

DEADLINE = 100 + 300
"""Of the ladder in `missions.POLICY`: its last step after 100 s, and the time that a pod takes to go."""


@pytest.fixture
async def town(tmp_path: Path) -> Missions:
    """An operator that deploys agents which enforce."""
    made = Missions(machine_key=key_file(tmp_path), agent_image="quorate/agent:1", agent_profile="enforce")
    return await made.restart()


def pod(town: Missions) -> Obj:
    return dict(town.server.objects[AGENTS]["spec"]["template"]["spec"])


async def test_the_scope_is_the_union_of_the_node_selectors(town: Missions) -> None:
    """A selector that another one includes adds nothing; one policy for all nodes means all nodes."""
    town.policy("a")
    town.policy("b", nodeSelector={"matchLabels": {"pool": "b"}})
    town.policy("c", nodeSelector={"matchLabels": {"pool": "b", "gpu": "h200"}})
    await town.settle(1)
    assert terms_of(town.server.objects[AGENTS]) == ({"pool": "a"}, {"pool": "b"})
    town.policy("d", nodeSelector=None)
    await town.settle(1)
    assert "affinity" not in pod(town)


@pytest.mark.parametrize(("profile", "added"), [("observe", []), ("enforce", ["SYS_ADMIN", "KILL"])])
async def test_profiles(tmp_path: Path, profile: str, added: list[str]) -> None:
    """Observe has no capability; enforce has two; both see the node's processes and verify with the operator's key."""
    town = await Missions(machine_key=key_file(tmp_path), agent_image="i:1", agent_profile=profile).restart()
    town.policy("training", mode="Warn")
    await town.settle(1)
    (container,) = pod(town)["containers"]
    assert pod(town)["hostPID"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": added}
    assert {"name": "QUORATE_POLICY_KEY", "value": encode_base64(PUBLIC)} in container["env"]
    assert container["image"] == "i:1"


async def test_the_agent_understands_its_environment(tmp_path: Path) -> None:
    """Its own configuration takes what the DaemonSet gives, with what `--agent-env` adds or replaces."""
    more = {"QUORATE_BACKEND": "simulated", "QUORATE_SOURCE": "/var/lib/quorate-agent/gpus.json"}
    town = await Missions(machine_key=key_file(tmp_path), agent_image="i:1", agent_env=more).restart()
    town.policy("training", mode="Warn")
    await town.settle(1)
    (container,) = pod(town)["containers"]
    given = {item["name"]: item.get("value", "node-1") for item in container["env"]}
    config = parse([], given)
    assert (config.node, config.policy_key, config.dry_run, config.backend) == ("node-1", PUBLIC, True, "simulated")
    mounted = {Path(item["mountPath"]) for item in container["volumeMounts"]}
    assert config.socket is not None
    paths = (config.state, config.socket.parent, config.pod_resources.parent, config.runtime.parent, config.cgroup)
    assert set(paths) == mounted
    assert config.http == ("0.0.0.0", 9400)


async def test_it_stays_until_no_action_can_be_in_flight(town: Missions) -> None:
    """The last policy in Enforce is gone: agents stay for its longest deadline, then go, with an entry before it."""
    key = town.policy("training")
    await town.settle(1)
    town.drop(key)
    await town.settle(DEADLINE - 5)
    assert AGENTS in town.server.objects
    assert "mission.agents.withdrawn" not in town.told
    await town.settle(10)
    assert AGENTS not in town.server.objects
    assert town.told[-1] == "mission.agents.withdrawn"


async def test_a_restart_does_not_forget_what_is_in_flight(town: Missions) -> None:
    """The time is in the log: another process keeps the agents as long."""
    key = town.policy("training")
    await town.settle(1)
    town.drop(key)
    await town.settle(1)
    await town.restart()
    await town.settle(DEADLINE - 10)
    assert AGENTS in town.server.objects
    await town.settle(15)
    assert AGENTS not in town.server.objects


async def test_audit_and_warn_hold_nothing_up(town: Missions) -> None:
    """They act on nothing, so the agents go at once."""
    key = town.policy("training", mode="Audit")
    await town.settle(1)
    assert AGENTS in town.server.objects
    town.drop(key)
    await town.settle(1)
    assert AGENTS not in town.server.objects


async def test_a_scope_shrinks_only_afterwards(town: Missions) -> None:
    """Nodes that a policy no longer selects keep their agent for the deadline, or its action would stop half way."""
    town.policy("training")
    await town.settle(1)
    town.policy("training", nodeSelector={"matchLabels": {"pool": "b"}})
    await town.settle(1)
    assert terms_of(town.server.objects[AGENTS]) == ({"pool": "a"}, {"pool": "b"})
    await town.settle(DEADLINE + 65)
    assert terms_of(town.server.objects[AGENTS]) == ({"pool": "b"},)


async def test_an_altered_daemon_set_is_put_back(town: Missions) -> None:
    """With an entry; what the API server adds by itself is no alteration."""
    town.policy("training")
    await town.settle(1)
    live = town.server.objects[AGENTS]
    live["spec"]["revisionHistoryLimit"] = 10
    live["spec"]["template"]["spec"]["containers"][0]["terminationMessagePath"] = "/dev/termination-log"
    await town.settle(65)
    assert "mission.agents.restored" not in town.told
    live["spec"]["template"]["spec"]["containers"][0]["image"] = "evil"
    await town.settle(65)
    assert pod(town)["containers"][0]["image"] == "quorate/agent:1"
    assert town.told.count("mission.agents.restored") == 1


CASES: list[tuple[Any, Any, bool]] = [
    ({"a": 1, "b": 2}, {"a": 1}, True),
    ({"a": 1}, {"a": 1, "b": 2}, False),
    ([{"name": "x", "v": 1}, {"name": "sidecar"}], [{"name": "x"}], True),
    ([{"name": "x", "v": 1}], [{"name": "x", "v": 2}], False),
    (["ALL", "NET"], ["ALL"], False),
    ({}, {"add": []}, True),
    ({"add": ["NET"]}, {"add": []}, False),
    (None, {"a": 1}, False),
]


@pytest.mark.parametrize(("live", "wanted", "expected"), CASES)
def test_what_is_wanted_is_held(live: Any, wanted: Any, expected: bool) -> None:
    """More in the live object is nobody's fault; less or other is."""
    assert holds(live, wanted) is expected
