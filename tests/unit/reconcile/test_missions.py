"""MissionPolicies through the reconcilers: accepted, distributed, put back, refused."""

from pathlib import Path
from typing import Any

import pytest

from quorate.missions.distribution import MAX_BYTES
from quorate_operator.errors import Transient
from quorate_operator.kube.resources import Key
from quorate_operator.reconcile.mission_log import AGENTS, DOCUMENT
from tests.unit.reconcile.missions import POLICY, Missions, key_file


@pytest.fixture
async def town(tmp_path: Path) -> Missions:
    """An operator that can sign and deploys agents that enforce."""
    made = Missions(machine_key=key_file(tmp_path), agent_image="quorate/agent:1", agent_profile="enforce")
    return await made.restart()


async def test_a_policy_reaches_the_signed_document(town: Missions) -> None:
    """Accepted and distributed, each with an entry before it; Ready says so."""
    key = town.policy("training")
    await town.settle(1)
    assert town.told == ["mission.policy.accepted", "mission.policies.distributed", "mission.agents.deployed"]
    assert [policy.name for policy in town.document.policies] == ["training"]
    assert town.document.policies[0].source == POLICY
    assert (town.document.serial, town.document.hub) == (1, town.context.config.node_id)
    assert town.condition(key, "Ready")[:2] == ("True", "Ready")
    assert town.condition(key, "Distributed")[:2] == ("True", "Distributed")
    assert town.status(key)["accepted"]["digest"] == town.last("mission.policy.accepted")["digest"]


async def test_many_policies_are_one_write(town: Missions) -> None:
    """A hundred policies that come together are one document and one write; nothing more is written afterwards."""
    for number in range(100):
        town.policy(f"p{number:03}", mode=["Audit", "Warn", "Enforce"][number % 3], podSelector={
            "matchLabels": {"app": f"a{number}"}
        })  # fmt: skip
    await town.settle(2)
    assert (town.writes, len(town.document.policies), town.document.serial) == (1, 100, 1)
    await town.settle(40)
    assert town.writes == 1
    assert town.told.count("mission.policies.distributed") == 1


async def test_a_change_is_the_next_serial_and_no_change_is_none(town: Missions) -> None:
    """Serials count changes of what nodes are given, and an object that was only looked at changes nothing."""
    town.policy("training")
    await town.settle(1)
    before = town.server.objects[DOCUMENT]["data"]
    town.policy("training")  # the same spec again
    await town.settle(1)
    assert town.server.objects[DOCUMENT]["data"] == before
    town.policy("training", mode="Audit")
    await town.settle(1)
    assert (town.document.serial, town.document.policies[0].mode) == (2, "Audit")
    assert town.told[-1] == "mission.agents.deployed" or "mission.policy.changed" in town.told


async def test_a_refused_change_leaves_what_was_accepted(town: Missions) -> None:
    """The sentence names field, value and rule; nodes keep the accepted spec; it is told once."""
    key = town.policy("training")
    await town.settle(1)
    town.policy("training", utilization={"minBasisPoints": 5000, "windowSeconds": 1})
    await town.settle(2)
    status, reason, message = town.condition(key, "Ready")
    assert (status, reason) == ("False", "Invalid")
    assert message.startswith("spec.utilization.windowSeconds 1: a window must be at least twice the sample period")
    assert "what was accepted before stays in force" in message
    assert town.condition(key, "Stalled")[:2] == ("True", "Invalid")
    assert (town.document.serial, town.document.policies[0].source) == (1, POLICY)
    assert town.told.count("mission.policy.refused") == 1
    assert town.recorder.notes.count(("training", "Invalid")) == 1
    town.policy("training")
    await town.settle(1)
    assert town.condition(key, "Ready")[0] == "True"
    assert town.told[-1] == "mission.policy.changed"
    assert town.document.serial == 1


BAD: list[tuple[dict[str, Any], str]] = [
    ({"utilization": {"minBasisPoints": 1, "windowSeconds": 1}}, "spec.utilization.windowSeconds 1:"),
    ({"latency": {"targetMicroseconds": 9, "quantile": 10_000, "windowSeconds": 9}}, "spec.latency.quantile 10000:"),
    ({"budget": {"maxConcurrentEvictions": -1}}, "spec.budget.maxConcurrentEvictions"),
    ({"podSelector": {"matchLabels": {"app.kubernetes.io/part-of": "quorate"}}}, "spec.podSelector.matchLabels"),
    ({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "quorate-system"}}},
     "spec.namespaceSelector.matchLabels"),
    ({"memory": {"limit": 0}}, "spec.memory.limit 0:"),
    ({"ladder": None}, "spec.ladder 'absent':"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "begins"), BAD)
async def test_bad_input_is_refused(town: Missions, fields: dict[str, Any], begins: str) -> None:
    """Each with field, value and rule; it never reaches a node."""
    key = town.policy("bad", **fields)
    await town.settle(1)
    assert town.condition(key, "Accepted")[:2] == ("False", "Invalid")
    assert town.condition(key, "Accepted")[2].startswith(begins)
    assert DOCUMENT not in town.server.objects
    assert "accepted" not in town.status(key)


async def test_who_wins_is_shown_on_both(town: Missions) -> None:
    """The stricter bound wins; both say so, and both are distributed; it goes when the other one goes."""
    wide = town.policy("wide")
    await town.settle(1)
    strict = town.policy("strict", memory={"limit": "10Gi"})
    await town.settle(1)
    assert town.status(strict)["overlaps"] == [
        {"policy": "wide", "rule": "memory", "wins": True, "contradiction": False}
    ]
    assert town.condition(strict, "Overlaps")[:2] == ("True", "Overrules")
    assert town.condition(wide, "Overlaps")[:2] == ("True", "Overruled")
    assert "strict (limit 10737418240 bytes, scope Pod) wins over wide" in town.condition(wide, "Overlaps")[2]
    assert ("wide", "Overruled") in town.recorder.notes
    assert town.condition(wide, "Ready")[0] == "True"
    town.drop(strict)
    await town.settle(1)
    assert town.condition(wide, "Overlaps") == ("", "", "")
    assert "overlaps" not in town.status(wide)


async def test_a_contradiction_is_flagged(town: Missions) -> None:
    """A floor that another policy takes for idle: both policies name it, with field, value and rule."""
    floor = town.policy("floor", utilization={"minBasisPoints": 500, "windowSeconds": 60}, memory=None)
    idle = town.policy("reclaim", idle={"maxBasisPoints": 1000, "windowSeconds": 60}, memory=None, ladder=None)
    await town.settle(1)
    for key in (floor, idle):
        status, reason, message = town.condition(key, "Overlaps")
        assert (status, reason) == ("True", "Contradiction")
        assert "spec.idle.maxBasisPoints 1000 of reclaim" in message


async def test_an_altered_config_map_is_put_back(town: Missions) -> None:
    """The same bytes again, with an entry that names who wrote it, and an Event; a second time too."""
    town.policy("training")
    await town.settle(1)
    before = dict(town.server.objects[DOCUMENT]["data"])
    for time in (1, 2):
        town.alter(DOCUMENT, content='{"policies":[]}')
        await town.settle(1)
        assert town.server.objects[DOCUMENT]["data"] == before
        assert town.told.count("mission.policies.restored") == time
    detail = town.last("mission.policies.restored")
    assert detail["author"]["manager"] == "kubectl-edit"
    assert detail["serial"] == 1
    assert (DOCUMENT.name, "Restored") in town.recorder.notes


async def test_a_deleted_or_unsigned_config_map_is_put_back(town: Missions) -> None:
    """Another signature, or none of it left: both are altered."""
    town.policy("training")
    await town.settle(1)
    town.alter(DOCUMENT, signature="A" * 86)
    await town.settle(1)
    assert town.document.serial == 1
    town.drop(DOCUMENT)
    await town.settle(1)
    assert town.document.serial == 1
    assert town.told.count("mission.policies.restored") == 2


async def test_a_rollback_by_hand_is_put_back(town: Missions) -> None:
    """An older document, rightly signed, is what nobody may put there."""
    town.policy("training")
    await town.settle(1)
    older = dict(town.server.objects[DOCUMENT]["data"])
    town.policy("training", mode="Audit")
    await town.settle(1)
    town.alter(DOCUMENT, **older)
    await town.settle(1)
    assert town.document.serial == 2
    assert "serial 1" in town.last("mission.policies.restored")["message"]


async def test_a_write_that_fails_is_done_again_without_another_entry(town: Missions) -> None:
    """The entry comes first; what the API server refused for a while is written later, and told once."""

    def broken(verb: str, key: Key) -> None:
        if key == DOCUMENT:
            raise Transient("ApiUnavailable", "gone")

    key = town.policy("training")
    town.server.fail = broken
    await town.settle(1)
    assert town.told[-1] == "mission.policies.distributed"
    assert town.condition(key, "Ready")[:2] == ("False", "Progressing")
    town.server.fail = lambda verb, key: None
    town.agenda.mark(DOCUMENT)
    await town.settle(1)
    assert town.document.serial == 1
    assert town.told.count("mission.policies.distributed") == 1
    assert "mission.policies.restored" not in town.told
    assert town.condition(key, "Ready")[0] == "True"


async def test_a_restart_changes_nothing(town: Missions) -> None:
    """Another process reads the log and writes nothing."""
    key = town.policy("training")
    await town.settle(1)
    told, data = town.told, town.server.objects[DOCUMENT]
    await town.restart()
    await town.settle(2)
    assert (town.told, town.server.objects[DOCUMENT]) == (told, data)
    assert town.condition(key, "Ready")[0] == "True"


async def test_a_lost_log_never_gives_a_serial_twice(town: Missions) -> None:
    """The document in the cluster is newer than an empty log: the next serial is above it."""
    town.policy("training")
    await town.settle(1)
    town.policy("training", mode="Audit")
    await town.settle(1)
    town.shared.rows.clear()
    town.shared.__init__()  # type: ignore[misc]
    for obj in town.server.objects.values():
        obj.pop("status", None)
    await town.restart()
    await town.settle(2)
    assert town.document.serial == 3


async def test_without_a_machine_key_nothing_is_distributed(tmp_path: Path) -> None:
    """The condition says what to do; when the key is there it goes on by itself."""
    path = tmp_path / "hub.machine.key"
    town = await Missions(machine_key=path, agent_image="i").restart()
    key = town.policy("training", mode="Warn")
    await town.settle(1)
    assert town.condition(key, "Ready")[:2] == ("False", "NoMachineKey")
    assert str(path) in town.condition(key, "Distributed")[2]
    assert DOCUMENT not in town.server.objects
    key_file(tmp_path)
    await town.settle(35)
    assert town.condition(key, "Ready")[0] == "True"
    assert town.document.serial == 1


async def test_too_large_leaves_the_last_document(town: Missions) -> None:
    """Over 900 KiB nothing changes for anybody, and every policy that is not as accepted says so."""
    first = town.policy("training")
    await town.settle(1)
    labels = {f"quorate.dev/{'x' * 50}{number:04}": "y" * 60 for number in range(60)}
    keys = [town.policy(f"p{number:03}", podSelector={"matchLabels": labels}) for number in range(MAX_BYTES // 8000)]
    await town.settle(2)
    assert (town.document.serial, len(town.document.policies)) == (1, 1)
    status, reason, message = town.condition(keys[0], "Distributed")
    assert (status, reason) == ("False", "TooLarge")
    assert "must fit into 921600 bytes" in message
    assert town.condition(first, "Distributed")[0] == "True"
    for key in keys[1:]:
        town.drop(key)
    await town.settle(2)
    assert len(town.document.policies) == 2
    assert town.condition(keys[0], "Ready")[0] == "True"


async def test_enforce_under_an_observing_agent_is_said(tmp_path: Path) -> None:
    """Mode Enforce with profile observe, or without an agent, does not look healthy."""
    town = await Missions(machine_key=key_file(tmp_path), agent_image="i").restart()
    key = town.policy("training")
    await town.settle(1)
    assert town.condition(key, "Ready")[:2] == ("False", "AgentObserves")
    bare = await Missions(machine_key=key_file(tmp_path)).restart()
    key = bare.policy("training", mode="Audit")
    await bare.settle(1)
    assert bare.condition(key, "Ready")[:2] == ("False", "NoAgent")
    assert AGENTS not in bare.server.objects


async def test_a_clause_that_is_in_force_tethers_the_entry(town: Missions) -> None:
    """The contract's version goes with the policy; without the clause it waits and is not distributed."""
    waiting = town.policy("early", clauseRef={"contract": "rules", "clause": "1"})
    await town.settle(1)
    assert town.condition(waiting, "Ready")[:2] == ("False", "NotInForce")
    assert town.condition(waiting, "Reconciling")[0] == "True"
    await town.found()
    await town.settle(2)
    assert town.condition(waiting, "Ready")[0] == "True"
    assert town.document.policies[0].version == "v2026.01.01"
    row = next(row for row in town.shared.rows["system"] if row.recorded.event_type == "mission.policy.accepted")
    assert row.recorded.payload["tether"] == {"contractVersion": "v2026.01.01", "phaseId": "1", "clauses": ["1"]}
    wrong = town.policy("wrong", clauseRef={"contract": "rules", "clause": "9"})
    await town.settle(1)
    assert town.condition(wrong, "Ready")[:2] == ("False", "NoSuchClause")


async def test_namespace_labels_come_with_the_document(town: Missions) -> None:
    """Those pairs alone that a policy asks for."""
    town.apply("Namespace", "research", {}, labels={"team": "r", "other": "x"})
    town.apply("Namespace", "idle", {}, labels={"team": "q"})
    town.policy("training", namespaceSelector={"matchLabels": {"team": "r"}})
    await town.settle(1)
    assert town.document.namespaces == {"research": {"team": "r"}}
    town.apply("Namespace", "idle", {}, labels={"team": "r"})
    await town.settle(1)
    assert (town.document.serial, set(town.document.namespaces)) == (2, {"research", "idle"})


async def test_nodes_that_a_policy_covers_are_counted(town: Missions) -> None:
    """By its node selector, at most each half minute."""
    for number in range(5):
        town.apply("Node", f"n{number}", {}, labels={"pool": "ab"[number % 2]})
    key = town.policy("training")
    await town.settle(32)
    assert town.status(key)["nodes"] == 3
    assert town.server.calls.count(("list", Key("Node", "", ""))) == 2


async def test_a_policy_that_is_gone_leaves_the_document(town: Missions) -> None:
    """With an entry of its own; a policy of that name that comes later is accepted anew."""
    key = town.policy("training")
    await town.settle(1)
    town.drop(key)
    await town.settle(1)
    assert "mission.policy.removed" in town.told
    assert (town.document.serial, town.document.policies) == (2, ())
    town.policy("training")
    await town.settle(1)
    assert town.told.count("mission.policy.accepted") == 2
    assert town.document.serial == 3


async def test_a_log_behind_the_cluster_distributes_nothing(town: Missions) -> None:
    """A policy whose last entry the log does not hold: nothing is recorded or written for any until people looked."""
    key = town.policy("training")
    await town.settle(1)
    told, writes = town.told, town.writes
    town.server.objects[key]["status"]["lastEntry"] = "00000000-0000-5000-8000-000000000000"
    await town.restart()
    town.policy("other")
    await town.settle(2)
    assert town.errors[key].reason == "LogBehind"
    assert town.errors[DOCUMENT].reason == "LogBehind"
    assert town.writes == writes
    assert town.told == [*told, "mission.policy.accepted"]
