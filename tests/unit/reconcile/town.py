"""A cluster of one dict, a log in memory, and the real reconcilers between them: no Kubernetes, no Postgres."""

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any

from quorate.canonical import format_time
from quorate.contracts.content import Content
from quorate.identity.statements import heartbeat_statement, proposal_statement, trust_domain_statement, vote_statement
from quorate_operator.config import Config
from quorate_operator.errors import OperatorError, Stalled
from quorate_operator.kube.resources import Key, Obj, key_of
from quorate_operator.planner import Agenda
from quorate_operator.reconcile.effects import Applier
from quorate_operator.reconcile.protocol import Context
from quorate_operator.reconcile.registry import reconcilers
from quorate_operator.reconcile.routes import Routes
from quorate_operator.store.memory import MemoryStore, Shared
from quorate_operator.view import View
from tests.unit.operator.fakes import FakeClient, FakeRecorder
from tests.unit.proposals.fleet import MESH, constitution, member, node, public, seed

GROUP = "quorate.dev/v1alpha1"
CONTRACT_ID = "22222222-2222-4222-8222-222222222222"
NAMES = ("m0", "m1", "m2", "m3")
CHAIN = f"{MESH}/fleet"
STANDARD = {
    "quorumBasisPoints": 5000,
    "thresholdBasisPoints": 5000,
    "votingPeriodSeconds": 100,
    "executionWindowSeconds": 50,
}


class Server(FakeClient):
    """Adds what reconcilers ask for beyond the applier."""

    async def list_all(
        self, kind: str, *, namespace: str = "", labels: str = "", fields: str = "", metadata_only: bool = False
    ) -> list[Obj]:
        """All of a kind; a field selector is by the vote's proposal digest."""
        self.calls.append(("list", Key(kind, namespace, "")))
        digest = fields.partition("=")[2]
        found = [copy.deepcopy(obj) for key, obj in self.objects.items() if key.kind == kind]
        return [obj for obj in found if not digest or obj["spec"]["proposal"]["digest"] == digest]

    async def create(self, body: Obj) -> Obj:
        """As the API server, or the failure that a test wants."""
        self.fail("create", key_of(body))
        return await super().create(body)

    async def apply(self, body: Obj) -> Obj:
        """Server-side apply of a whole child."""
        key = key_of(body)
        self.calls.append(("apply", key))
        self.fail("apply", key)
        old = self.objects.get(key)
        self._applied = getattr(self, "_applied", 0) + 1
        version = str(int(old["metadata"]["resourceVersion"]) + 1) if old else "1"
        uid = old["metadata"]["uid"] if old else f"child-{self._applied}"
        return self.put({**body, "metadata": {**body["metadata"], "resourceVersion": version, "uid": uid}})

    async def delete(self, key: Key, *, uid: str | None = None) -> bool:
        """Gone."""
        return self.objects.pop(key, None) is not None


class Town:
    """One operator; `restart` makes another on the same log and cluster."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.server, self.shared, self.recorder = Server(), Shared(), FakeRecorder()
        self.pins: dict[str, str] = {}
        self.errors: dict[Key, OperatorError] = {}
        self._objects = 0

    async def restart(self) -> "Town":
        """A new process: nothing in memory, everything listed and marked."""
        store = MemoryStore(self.shared, clock=lambda: int(self.now * 1_000_000))
        await store.take("test")
        self.view, self.agenda, self.reconcilers = View(), Agenda(), reconcilers()
        config = Config(node_id=node("m0"), dsn="", pins=self.pins)
        self.context = Context(self.view, self.server, store.log, store.content, config, lambda: self.now)  # type: ignore[arg-type]
        self.routes = Routes(self.reconcilers, self.view)
        self.applier = Applier(
            client=self.server,  # type: ignore[arg-type]
            log=store.log,
            view=self.view,
            routes=self.routes,
            recorder=self.recorder,  # type: ignore[arg-type]
        )
        for obj in list(self.server.objects.values()):
            self.view.fold(copy.deepcopy(obj))
            self.agenda.mark(key_of(obj))
        return self

    def apply(self, kind: str, name: str, spec: Mapping[str, Any], namespace: str = "", **meta: Any) -> Key:
        """Create an object or replace its spec, and mark what it concerns."""
        key = Key(kind, namespace, name)
        old = self.server.objects.get(key)
        self._objects += 1
        metadata: Obj = {
            "name": name,
            "uid": old["metadata"]["uid"] if old else f"uid-{self._objects}",
            "generation": old["metadata"]["generation"] + 1 if old else 1,
            "creationTimestamp": old["metadata"]["creationTimestamp"] if old else format_time(int(self.now)),
            "resourceVersion": str(int(old["metadata"]["resourceVersion"]) + 1) if old else "1",
            **({"namespace": namespace} if namespace else {}),
            **meta,
        }
        api = "coordination.k8s.io/v1" if kind == "Lease" else GROUP
        obj = {"apiVersion": api, "kind": kind, "metadata": metadata, "spec": dict(spec)}
        if old and "status" in old:
            obj["status"] = old["status"]
        self.server.put(obj)
        self.view.fold(copy.deepcopy(obj))
        for touched in self.routes.touched(obj):
            self.agenda.mark(touched)
        return key

    async def settle(self, seconds: int = 0) -> None:
        """Let time pass second by second, and at each do all that is to be done."""
        for step in range(seconds + 1):
            self.now += 1 if step else 0
            self.agenda.collect_due(self.now)
            for _ in range(300):
                for reconciler in self.reconcilers:
                    await self._round(reconciler, self.agenda.take(reconciler.kind, 128))
                if not any(self.agenda._dirty.get(reconciler.kind) for reconciler in self.reconcilers):
                    break
            else:
                raise AssertionError("it never comes to rest")

    async def _round(self, reconciler: Any, keys: Sequence[Key]) -> None:
        if not keys:
            return
        try:
            gathered = await reconciler.gather(keys, self.context)
        except Stalled as error:
            if len(keys) == 1:
                self.errors[keys[0]] = error
                return
            for key in keys:
                await self._round(reconciler, [key])
            return
        for key, value in gathered.items():
            try:
                plan = reconciler.decide(value, int(self.now))
                done = await self.applier.apply(key, plan)
            except OperatorError as error:
                self.errors[key] = error
                continue
            self.agenda.wake(key, plan.wake_at)
            for other in (*self.applier.touched(key), *plan.dirty, *(() if done else (key,))):
                self.agenda.mark(other)

    def status(self, key: Key) -> Obj:
        """The status on the server."""
        return dict(self.server.objects[key].get("status") or {})

    def content(self, reference: str) -> bytes:
        """The bytes that a content ConfigMap projects."""
        return str(self.server.objects[Key("ConfigMap", "quorate-system", reference)]["data"]["content"]).encode()

    def condition(self, key: Key, kind: str) -> tuple[str, str, str]:
        """(status, reason, message); empty while it is not there."""
        found = (item for item in self.status(key).get("conditions") or () if item["type"] == kind)
        return next(((item["status"], item["reason"], item["message"]) for item in found), ("", "", ""))

    @property
    def entries(self) -> list[str]:
        """Event types of the chain, in order."""
        return [row.recorded.event_type for row in self.shared.rows.get(CHAIN, ())]

    def genesis(self) -> dict[str, Any]:
        """The contract's genesis: one clause."""
        clauses = {"1": {"title": "Memory", "text": "at most 60 GiB"}}
        return {"contractId": CONTRACT_ID, "version": "v2026.01.01", "clauses": clauses}

    def domain_spec(self, **more: Any) -> dict[str, Any]:
        """Revision 1, signed by both admins."""
        members = [member(name) for name in NAMES]
        for item, name in zip(members, NAMES, strict=True):
            item["keys"].append({"purpose": "Machine", "name": "machine", "publicKey": public(f"{name}.machine")})
        listed = [{"name": "rules", "contractId": CONTRACT_ID, "genesisDigest": Content.genesis(self.genesis()).digest}]
        voting = {"Standard": STANDARD, "Constitutional": STANDARD}
        return sign_domain(constitution(members, more.pop("voting", voting), contracts=listed, **more))

    async def found(self, **more: Any) -> None:
        """Domain and contract, both in force."""
        self.domain = self.apply("TrustDomain", "fleet", self.domain_spec(**more))
        self.contract = self.apply("DynamicContract", "rules", {"trustDomain": "fleet", "genesis": self.genesis()})
        await self.settle()

    def propose(self, name: str = "p", **more: Any) -> Key:
        """A signed proposal of m0 on clause 1."""
        spec: Obj = {
            "trustDomain": "fleet",
            "proposer": node("m0"),
            "keyName": "main",
            "type": "Standard",
            "target": {"kind": "DynamicContract", "name": "rules", "clause": "1"},
            "change": {
                "baseDigest": Content.genesis(self.genesis()).clause_digest("1"),
                "patch": [{"op": "replace", "path": "/text", "value": f"at most {name}"}],
            },
            "revision": 1,
            **more,
        }
        spec["signature"] = proposal_statement(MESH, "default", name, spec).sign(seed("m0.main"))
        return self.apply("GovernanceProposal", name, spec, "default")

    def vote(self, on: Key, who: str, choice: str, name: str = "", **more: Any) -> Key:
        """A Vote; `signature` or any other field may be given."""
        spec: Obj = {
            "proposal": {"namespace": "default", "name": on.name, "digest": self.status(on)["digest"]},
            "revision": 1,
            "voter": node(who),
            "keyName": "main",
            "domain": "fleet",
            "choice": choice,
            "sequence": 1,
            "castAt": format_time(int(self.now)),
            **more,
        }
        spec.setdefault("signature", vote_statement(MESH, spec).sign(seed(f"{who}.main")))
        return self.apply("Vote", name or f"{on.name}-{who}", spec, "default")

    def beat(
        self, who: str, *, at: int, challenge: str, signer: str = "", held: Mapping[str, str] | None = None
    ) -> None:
        """A heartbeat in the node's Lease."""
        beat = {"nodeId": node(who), "renewTime": format_time(at), "challenge": challenge, "held": dict(held or {})}
        beat["signature"] = heartbeat_statement(MESH, "fleet", beat).sign(seed(signer or f"{who}.machine"))
        annotations = {"quorate.dev/heartbeat": json.dumps(beat)}
        self.apply("Lease", "quorate-heartbeat-fleet", {}, f"quorate-node-{who}", annotations=annotations)


def sign_domain(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The spec with the signatures of both admins."""
    statement = trust_domain_statement("fleet", spec)
    names = ("ada", "bob")
    return {**spec, "signatures": [{"name": name, "signature": statement.sign(seed(name))} for name in names]}
