"""What the operator's unit tests stand on: an API server of one dict, and a reconciler that does as told."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from quorate_operator.config import Config
from quorate_operator.errors import Conflict
from quorate_operator.kube.resources import Key, Obj, key_of
from quorate_operator.kube.status import merge_patch
from quorate_operator.planner import Planner
from quorate_operator.reconcile.effects import Applier
from quorate_operator.reconcile.protocol import Context, Plan, Relation
from quorate_operator.reconcile.routes import Routes
from quorate_operator.store.memory import MemoryStore
from quorate_operator.view import View


def node(name: str, version: int = 1, **spec: Any) -> Obj:
    return {
        "apiVersion": "quorate.dev/v1alpha1",
        "kind": "MeshNode",
        "metadata": {"name": name, "uid": f"uid-{name}", "resourceVersion": str(version), "generation": 1},
        "spec": spec,
    }


def apply_merge(target: Any, patch: Any) -> Any:
    """RFC 7386, section 2, as the API server does it."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = apply_merge(result.get(name), value)
    return result


class FakeClient:
    """Objects by key with resource versions; only what the applier calls."""

    def __init__(self) -> None:
        self.objects: dict[Key, Obj] = {}
        self.calls: list[tuple[str, Key]] = []
        self.fail: Callable[[str, Key], None] = lambda verb, key: None

    def put(self, obj: Obj) -> Obj:
        """Store a copy."""
        self.objects[key_of(obj)] = copy.deepcopy(obj)
        return obj

    async def get(self, key: Key) -> Obj | None:
        """The object, or None."""
        self.calls.append(("get", key))
        return copy.deepcopy(self.objects.get(key))

    async def patch_status(self, key: Key, patch: Mapping[str, Any]) -> Obj:
        """Merge patch, 409 on another version."""
        self.calls.append(("status", key))
        self.fail("status", key)
        obj = self.objects[key]
        if patch["metadata"]["resourceVersion"] != obj["metadata"]["resourceVersion"]:
            raise Conflict(f"{key} was modified")
        obj["status"] = apply_merge(obj.get("status"), patch["status"])
        obj["metadata"]["resourceVersion"] = str(int(obj["metadata"]["resourceVersion"]) + 1)
        return copy.deepcopy(obj)

    async def create(self, body: Obj) -> Obj:
        """409 if it exists."""
        self.calls.append(("create", key_of(body)))
        if key_of(body) in self.objects:
            raise Conflict("exists")
        return self.put({**body, "metadata": {**body["metadata"], "resourceVersion": "1", "uid": "u"}})


class FakeRecorder:
    def __init__(self) -> None:
        self.notes: list[tuple[str, str]] = []

    def record(self, obj: Obj, kind: str, reason: str, note: str) -> None:
        """Remember it."""
        self.notes.append((obj["metadata"]["name"], reason))


class Told:
    """A reconciler that returns what a function says; remembers which keys it was asked about, in which order."""

    def __init__(self, decide: Callable[[Obj, int], Plan], kind: str = "MeshNode") -> None:
        self.kind = kind
        self.relations: Mapping[str, Relation] = {}
        self.gathers: list[list[Key]] = []
        self.decided: list[Key] = []
        self.broken: Callable[[Sequence[Key]], None] = lambda keys: None
        self._decide = decide

    async def gather(self, keys: Sequence[Key], context: Context) -> dict[Key, Obj]:
        """The objects of the view."""
        self.gathers.append(list(keys))
        self.broken(keys)
        return {key: obj for key in keys if (obj := context.view.get(key)) is not None}

    def decide(self, gathered: Obj, now: int) -> Plan:
        """What the function says."""
        self.decided.append(key_of(gathered))
        return self._decide(gathered, now)


class World:
    """A planner over fakes and the in-memory store, with a clock that tests move."""

    def __init__(self, *reconcilers: Told, batch: int = 128) -> None:
        self.now = 1_000_000.0
        self.view, self.client, self.store, self.recorder = View(), FakeClient(), MemoryStore(), FakeRecorder()
        config = Config(node_id="00000000-0000-4000-8000-000000000000", dsn="")
        context = Context(self.view, self.client, self.store.log, self.store.content, config, lambda: self.now)
        self.routes = Routes(reconcilers, self.view)
        applier = Applier(
            client=self.client, log=self.store.log, view=self.view, routes=self.routes, recorder=self.recorder
        )
        self.planner = Planner(context, reconcilers, applier, batch=batch, coalesce=0)

    def add(self, obj: Obj) -> Key:
        """An object of the server and of the view, marked."""
        self.client.put(obj)
        self.view.fold(obj)
        key = key_of(obj)
        self.planner.mark([key])
        return key

    def status(self, key: Key) -> Any:
        """The status on the server."""
        return self.client.objects[key].get("status")


__all__ = ["FakeClient", "Told", "World", "apply_merge", "merge_patch", "node"]
