"""MissionPolicies on a real API server and Postgres: refused or accepted, and in one signed document for the nodes."""

import signal
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from quorate.canonical import decode_base64
from quorate.missions.distribution import NodePolicies, parse
from quorate_cli.cluster import RefusedError
from quorate_cli.keys import Purpose, make_key
from quorate_cli.sandbox.instance import Sandbox
from tests.slice.fleet import condition, wait_for
from tests.slice.test_operator_frame import LEASE, Process

Obj = dict[str, Any]
SYSTEM = "/api/v1/namespaces/quorate-system/configmaps"
DOCUMENT = f"{SYSTEM}/quorate-node-policies"
AGENTS = "/apis/apps/v1/namespaces/quorate-system/daemonsets/quorate-agent"
POLICIES = "/apis/quorate.dev/v1alpha1/missionpolicies"


class Hub:
    """An operator with a Machine key of its own, stopped and started as a test likes."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox, self.cluster, self.folder = sandbox, sandbox.admin(), folder
        made = make_key("hub", Purpose.MACHINE, folder)
        self.public = decode_base64(made["publicKey"], length=32)
        self.arguments = (f"--machine-key={made['file']}", "--agent-image=quorate/agent:1", "--agent-profile=enforce")
        self.process: Process | None = None

    def start(self) -> None:
        """Start it and wait until it leads."""
        self.process = Process(self.sandbox, self.folder, *self.arguments)
        wait_for("the operator leads", self.process.leads)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it."""
        if self.process is not None:
            self.process.stop(number)

    def policy(self, **fields: Any) -> str:
        """Create a policy for pods of its own; its name."""
        name = f"mp-{uuid.uuid4().hex[:8]}"
        selector = {"podSelector": {"matchLabels": {"app": name}}}
        spec = {"mode": "Audit", "memory": {"limit": "20Gi"}, **selector, **fields}
        body = {"apiVersion": "quorate.dev/v1alpha1", "kind": "MissionPolicy", "metadata": {"name": name}}
        self.cluster.request("POST", POLICIES, body={**body, "spec": {k: v for k, v in spec.items() if v is not None}})
        return name

    def get(self, name: str) -> Obj:
        """A policy."""
        return self.cluster.request("GET", f"{POLICIES}/{name}")

    def says(self, name: str, kind: str, status: str, reason: str = "") -> bool:
        """Whether a condition of a policy has this status and reason."""
        found = condition(self.get(name), kind)
        return found[0] == status and (not reason or found[1] == reason)

    def message(self, name: str, kind: str) -> str:
        """Message of a condition."""
        found = self.get(name)["status"]["conditions"]
        return next(str(item["message"]) for item in found if item["type"] == kind)

    def ready(self, *names: str) -> None:
        """Wait until these are Ready."""
        for name in names:
            wait_for(f"{name} ready", partial(self.says, name, "Ready", "True"))

    def document(self) -> NodePolicies:
        """What an agent would read: parsed and verified by the domain's code."""
        data = self.cluster.request("GET", DOCUMENT)["data"]
        return parse(data["content"].encode(), data["signature"], self.public)

    def entries(self, event: str, after: int = 0) -> list[Obj]:
        """Details of the entries of chain `system` of one type."""
        query = (
            "SELECT content #> '{payload,detail}' FROM quorate.entry WHERE chain_id = 'system' AND event_type = %s "
            "AND (content #>> '{payload,detail,serial}')::bigint > %s ORDER BY seq"
        )
        with psycopg.connect(self.sandbox.dsn()) as connection:
            return [row[0] for row in connection.execute(query, (event, after)).fetchall()]


@pytest.fixture(scope="module")
def hub(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """One that leads; policies of other tests are removed first."""
    made = Hub(sandbox, tmp_path_factory.mktemp("hub"))
    made.cluster.request("DELETE", POLICIES)
    made.start()
    yield made
    made.stop()
    made.cluster.request("DELETE", POLICIES)
    made.cluster.request("DELETE", LEASE)


def test_a_policy_reaches_the_nodes(hub: Hub) -> None:
    """Applied, accepted, signed, verified as an agent does it; agents are deployed where it selects nodes."""
    hub.cluster.request("POST", "/api/v1/nodes", body=node("mission-a", pool="a"))
    name = hub.policy(nodeSelector={"matchLabels": {"pool": "a"}})
    hub.ready(name)
    document = hub.document()
    assert name in [policy.name for policy in document.policies]
    status = hub.get(name)["status"]
    assert status["accepted"]["digest"].startswith("sha256:")
    assert status["nodes"] == 1
    assert hub.entries("mission.policies.distributed")[-1]["digest"] == document.digest
    agents = wait_for("the agents", lambda: find(hub, AGENTS)) or {}
    (term,) = agents["spec"]["template"]["spec"]["affinity"]["nodeAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]["nodeSelectorTerms"]
    assert term == {"matchExpressions": [{"key": "pool", "operator": "In", "values": ["a"]}]}


def node(name: str, **labels: str) -> Obj:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}


def find(hub: Hub, path: str) -> Obj | None:
    """The object, or None."""
    try:
        return hub.cluster.request("GET", path)
    except RefusedError as error:
        if error.status == 404:
            return None
        raise


REFUSED: list[tuple[Obj, str]] = [
    ({"budget": {"maxConcurrentEvictions": -1}}, "spec.budget.maxConcurrentEvictions"),
    ({"latency": {"targetMicroseconds": 5, "quantile": 0, "windowSeconds": 60}}, "spec.latency.quantile"),
    ({"utilization": {"minBasisPoints": 5, "windowSeconds": 0}}, "spec.utilization.windowSeconds"),
    ({"ladder": [{"action": "Explode", "afterSeconds": 0}]}, "spec.ladder[0].action"),
]


@pytest.mark.parametrize(("fields", "field"), REFUSED)
def test_what_the_schema_refuses(hub: Hub, fields: Obj, field: str) -> None:
    """A negative budget, a quantile of nothing, an action that does not exist: never stored."""
    with pytest.raises(RefusedError, match="spec") as caught:
        hub.policy(**fields)
    assert field in str(caught.value)


FLAGGED: list[tuple[Obj, str]] = [
    ({"utilization": {"minBasisPoints": 5, "windowSeconds": 1}}, "spec.utilization.windowSeconds 1: a window must"),
    ({"latency": {"targetMicroseconds": 5, "quantile": 10_000, "windowSeconds": 60}}, "spec.latency.quantile 10000"),
    ({"podSelector": {"matchLabels": {"app.kubernetes.io/part-of": "quorate"}}}, "spec.podSelector.matchLabels"),
    ({"mode": "Enforce"}, "spec.ladder 'absent': mode Enforce needs a step"),
    ({"memory": None}, "spec 'no rule'"),
]


@pytest.mark.parametrize(("fields", "begins"), FLAGGED)
def test_what_the_operator_refuses(hub: Hub, fields: Obj, begins: str) -> None:
    """What no schema can say gets a condition with field, value and rule, and reaches no node."""
    name = hub.policy(**fields)
    wait_for("its refusal", lambda: condition(hub.get(name), "Accepted") == ("False", "Invalid"))
    assert condition(hub.get(name), "Stalled") == ("True", "Invalid")
    assert hub.message(name, "Ready").startswith(begins)
    assert name not in [policy.name for policy in hub.document().policies]


def test_policies_that_contradict_are_flagged_on_both(hub: Hub) -> None:
    """The floor of one is idle for the other; of two bounds the stricter one wins, and both say so."""
    selector = {"matchLabels": {"app": uuid.uuid4().hex[:8]}}
    floor = hub.policy(podSelector=selector, utilization={"minBasisPoints": 500, "windowSeconds": 60})
    idle = hub.policy(podSelector=selector, memory={"limit": "10Gi"}, idle={"maxBasisPoints": 900, "windowSeconds": 60})
    for name, other in ((floor, idle), (idle, floor)):
        wait_for("the flag", partial(hub.says, name, "Overlaps", "True", "Contradiction"))
        assert "spec.idle.maxBasisPoints 900" in hub.message(name, "Overlaps")
        met = {item["rule"]: item for item in hub.get(name)["status"]["overlaps"]}
        assert met["idle"] == {"policy": other, "rule": "idle", "wins": name == idle, "contradiction": True}
        assert met["memory"]["wins"] is (name == idle)


ALTERED: list[Callable[[Obj], Obj]] = [
    lambda obj: {"data": {"content": "{}"}},
    lambda obj: {"data": {"signature": "A" * 86}},
    lambda obj: {"metadata": {"labels": {"quorate.dev/content": None}}},
    lambda obj: {"data": None},
]


@pytest.mark.parametrize("change", ALTERED)
def test_an_altered_document_is_put_back(hub: Hub, change: Callable[[Obj], Obj]) -> None:
    """The same bytes and signature again, with an entry that names who did it."""
    hub.ready(hub.policy())
    before = wait_for("the document", lambda: find(hub, DOCUMENT)) or {}
    hub.document()
    told = len(hub.entries("mission.policies.restored"))
    hub.cluster.request(
        "PATCH", DOCUMENT, body=change(before), query={"fieldManager": "mallory"},
        content_type="application/merge-patch+json",
    )  # fmt: skip
    wait_for("the entry", lambda: len(hub.entries("mission.policies.restored")) == told + 1)
    after = wait_for("it is back", lambda: back(hub, before)) or {}
    assert after["metadata"]["labels"]["quorate.dev/content"] == "true"
    hub.document()


def back(hub: Hub, before: Obj) -> Obj | None:
    """The ConfigMap, once it holds what it held."""
    obj = find(hub, DOCUMENT)
    same = obj is not None and obj.get("data") == before["data"] and obj["metadata"].get("labels")
    return obj if same and "quorate.dev/content" in (obj or {})["metadata"]["labels"] else None


def test_a_deleted_document_is_put_back(hub: Hub) -> None:
    """Also while the operator was away."""
    hub.ready(hub.policy())
    serial = hub.document().serial
    hub.cluster.request("DELETE", DOCUMENT)
    wait_for("it is back", lambda: find(hub, DOCUMENT))
    assert hub.document().serial == serial
    hub.stop()
    hub.cluster.request("DELETE", DOCUMENT)
    hub.start()
    wait_for("it is back again", lambda: find(hub, DOCUMENT))
    assert hub.document().serial == serial


def test_a_hundred_policies_are_one_write(hub: Hub) -> None:
    """All of them in one document, of the next serial, with one entry; none of them needs another write."""
    hub.ready(hub.policy())
    serial = hub.document().serial
    hub.stop()
    names = [hub.policy() for _ in range(100)]
    hub.start()
    hub.ready(*names)
    assert set(names) <= {policy.name for policy in hub.document().policies}
    assert hub.document().serial == serial + 1
    assert len(hub.entries("mission.policies.distributed", after=serial)) == 1


def test_a_killed_operator_loses_no_change(hub: Hub) -> None:
    """Kill -9 right after policies were applied: the next one distributes them, each once, with rising serials."""
    names = [hub.policy() for _ in range(10)]
    hub.stop(signal.SIGKILL)
    names.append(hub.policy())
    hub.start()
    hub.ready(*names)
    serials = [entry["serial"] for entry in hub.entries("mission.policies.distributed")]
    assert serials == sorted(set(serials))
    assert set(names) <= {policy.name for policy in hub.document().policies}
