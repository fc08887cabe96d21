"""MeshNode: proof of possession and liveness from signed heartbeats (trust.md, "Identities on a cluster")."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quorate.api.conditions import ConditionType, Observation, Reason, observe
from quorate.api.manifests import NODE_ID_LABEL
from quorate.audit.entry import Draft, Tether
from quorate.canonical import parse_time
from quorate.trust.heartbeat import Beat, judge_heartbeat, silent_from
from quorate.trust.privileges import narrowed
from quorate_operator.kube.conditions import status_with
from quorate_operator.kube.resources import HEARTBEAT_LABEL, Key, Obj
from quorate_operator.reconcile.contract_holders import Holdings
from quorate_operator.reconcile.domains import Constitution, Domains
from quorate_operator.reconcile.protocol import Context, Note, Plan, Relation
from quorate_operator.store.ports import Recorded
from quorate_operator.view import View

VERIFIED = "trust.node.verified"
SILENT = "trust.node.silent"
REFUSED = "trust.node.refused"
NODE_NAMESPACE = "quorate-node-"
LEASE = "quorate-heartbeat-"
FIRST_HEARTBEAT_SECONDS = 1
LOOK_SECONDS = 1.0
NAMESPACE_SECONDS = 10


@dataclass(frozen=True)
class Place:
    """A node in one of its domains: the constitution in force, its challenges, and the newest heartbeat, if any.

    `beat` is the verdict on it, of the newest one that was verified where an older one was written back.
    """

    domain: str
    constitution: Constitution | None
    challenges: frozenset[str]
    beat: Beat | None
    contracts: tuple[Key, ...] = ()
    """Contracts of which the node holds something else than before."""


@dataclass(frozen=True)
class Gathered:
    """What one decision about a MeshNode is made from."""

    obj: Obj
    places: tuple[Place, ...]
    head: Recorded | None
    node_id: str
    listed_at: int
    namespaced: bool = True
    """Whether the node's namespace is there; only looked up for one without heartbeat."""


class MeshNodes:
    """Reconciles MeshNodes."""

    kind = "MeshNode"

    def __init__(self, domains: Domains, holdings: Holdings) -> None:
        self._domains = domains
        self._holdings = holdings
        self._newest: dict[tuple[str, str], Beat] = {}
        self._namespaces: set[str] = set()
        self._namespaces_at = 0.0
        self._answered: dict[str, tuple[Any, Any]] = {}
        self._listed_at: int | None = None
        self.relations: Mapping[str, Relation] = {
            "Lease": lambda obj, _: (
                [Key("MeshNode", "", obj["metadata"]["namespace"].removeprefix(NODE_NAMESPACE))]
                if obj["metadata"]["name"].startswith(LEASE)
                else ()
            ),
            "TrustDomain": self._members_of_changed,
        }

    def _members_of_changed(self, obj: Obj, view: View) -> Sequence[Key]:
        """All nodes of a domain, but only when its accepted revision or its challenge is another one."""
        name, status = obj["metadata"]["name"], obj.get("status") or {}
        state = ((status.get("accepted") or {}).get("digest"), (status.get("challenge") or {}).get("current"))
        if self._answered.get(name) == state:
            return ()
        self._answered[name] = state
        return view.by("MeshNode", "domain", name)

    async def gather(self, keys: Sequence[Key], context: Context) -> dict[Key, Gathered]:
        """One query for constitutions, one for the nodes' last entries; heartbeats come from the view."""
        if self._listed_at is None:
            self._listed_at = int(context.clock())
        objects = {key: obj for key in keys if (obj := context.view.get(key)) is not None}
        names = {name for obj in objects.values() for name in obj["spec"].get("trustDomains") or ()}
        constitutions = await self._domains.get(context, names)
        subjects = {key: _subject_key(obj, constitutions) for key, obj in objects.items()}
        heads = await context.log.heads(sorted({subject for subject in subjects.values() if subject}))
        now = int(context.clock())
        places = {
            key: tuple(
                self._place(obj, name, constitutions.get(name), context.view, now)
                for name in obj["spec"].get("trustDomains") or ()
            )
            for key, obj in objects.items()
        }
        await self._look_for_namespaces([key for key in objects if _silent(places[key])], context)
        return {
            key: Gathered(
                obj,
                places[key],
                heads.get(subjects[key] or ""),
                context.config.node_id,
                self._listed_at,
                not _silent(places[key]) or f"{NODE_NAMESPACE}{key.name}" in self._namespaces,
            )
            for key, obj in objects.items()
        }

    async def _look_for_namespaces(self, keys: Sequence[Key], context: Context) -> None:
        """One listing for any number of nodes without a heartbeat, and not again within a second."""
        now = context.clock()
        unknown = any(f"{NODE_NAMESPACE}{key.name}" not in self._namespaces for key in keys)
        if unknown and now - self._namespaces_at >= LOOK_SECONDS:
            self._namespaces_at = now
            listed = await context.client.list_all("Namespace", labels=NODE_ID_LABEL)
            self._namespaces = {item["metadata"]["name"] for item in listed}

    def _place(self, obj: Obj, domain: str, constitution: Constitution | None, view: View, now: int) -> Place:
        name = obj["metadata"]["name"]
        status = (view.get(Key("TrustDomain", "", domain)) or {}).get("status") or {}
        challenge = status.get("challenge") or {}
        challenges = frozenset(value for which in ("current", "previous") if (value := challenge.get(which)))
        heartbeat = _heartbeat(view.get(Key("Lease", f"{NODE_NAMESPACE}{name}", f"{LEASE}{domain}")))
        beat = None
        if heartbeat is not None and constitution is not None:
            found = judge_heartbeat(constitution.latest, obj["spec"]["nodeId"], heartbeat, challenges, now=now)
            beat = self._latest(name, domain, found)
        return Place(domain, constitution, challenges, beat, self._note(domain, obj["spec"]["nodeId"], beat, view))

    def _note(self, domain: str, node_id: str, beat: Beat | None, view: View) -> tuple[Key, ...]:
        """Remember what a verified heartbeat says that the node holds; the contracts that this concerns."""
        if beat is None:
            return ()
        changed = self._holdings.note(domain, node_id, beat.held if beat.verified else None)
        return tuple(key for contract in changed for key in view.by("DynamicContract", "contractId", contract))

    def _latest(self, node: str, domain: str, beat: Beat) -> Beat:
        """RenewTime only grows: an older heartbeat, written back, does not take the place of one that was verified."""
        known = self._newest.get((node, domain))
        if not beat.verified or beat.renewed is None:
            return beat
        if known is not None and known.renewed is not None and beat.renewed < known.renewed:
            return known
        self._newest[node, domain] = beat
        return beat

    def decide(self, gathered: Gathered, now: int) -> Plan:
        """Judge each domain's heartbeat; the node is what the worst of them is."""
        grace = int((gathered.obj["spec"].get("heartbeat") or {}).get("graceSeconds", 180))
        standings = [_standing(place, gathered, grace, now) for place in gathered.places]
        if not standings:
            return Plan(status=status_with(gathered.obj, {"domains": []}, _nowhere(), now=now))
        shown = next((item for item in standings if not item.ready), standings[0])
        if shown.reason == Reason.NO_HEARTBEAT and _just_created(gathered.obj, now):
            # The first heartbeat of a node that registers is on its way: one status write instead of two.
            return Plan(wake_at=now + FIRST_HEARTBEAT_SECONDS)
        entries, chain = _entries(gathered, standings, shown, now)
        observations = _observations(gathered.obj, standings, shown)
        member = [
            {"name": place.domain, "role": place.constitution.latest.members[node_id].role}
            for place in gathered.places
            if place.constitution is not None
            and (node_id := gathered.obj["spec"]["nodeId"]) in place.constitution.latest.members
        ]
        observations.append(_narrowed(gathered.obj, [item["role"] for item in member]))
        fields: dict[str, Any] = {"domains": member}
        last = entries[-1].entry_id if entries else (gathered.head.entry_id if gathered.head else None)
        if last is not None:
            fields["lastEntry"] = str(last)
        due: list[float] = [item.silent_at for item in standings if item.ready and item.silent_at is not None]
        if shown.reason == Reason.NAMESPACE_MISSING:
            due.append(now + NAMESPACE_SECONDS)
        events: tuple[Note, ...] = ()
        if entries and entries[0].event_type != VERIFIED:
            events = (Note("Warning", shown.reason, shown.message),)
        return Plan(
            chain=chain,
            entries=entries,
            status=status_with(gathered.obj, fields, observations, now=now),
            events=events,
            wake_at=min(due, default=None),
            dirty=(
                *(Key("TrustDomain", "", place.domain) for place in gathered.places if entries),
                *(key for place in gathered.places for key in place.contracts),
            ),
        )


def _just_created(obj: Obj, now: int) -> bool:
    created = obj["metadata"].get("creationTimestamp")
    if created is None or (obj.get("status") or {}).get("conditions"):
        return False
    return now - parse_time(created) < FIRST_HEARTBEAT_SECONDS


@dataclass(frozen=True)
class Standing:
    """How a node stands in one domain."""

    place: Place
    reason: str
    message: str
    verified: bool = False
    fresh: bool = False
    silent_at: int | None = None
    beat: Beat | None = None

    @property
    def ready(self) -> bool:
        """Verified and heartbeating."""
        return self.verified and self.fresh


def _standing(place: Place, gathered: Gathered, grace: int, now: int) -> Standing:
    node_id = gathered.obj["spec"]["nodeId"]
    if place.constitution is None:
        message = f"TrustDomain {place.domain} has no accepted revision yet"
        return Standing(place, Reason.NO_ACCEPTED_REVISION, message)
    latest = place.constitution.latest
    if latest.home_hub != gathered.node_id:
        return Standing(place, Reason.NOT_HOME_HUB, f"{latest.home_hub} decides for {place.domain}")
    if node_id not in latest.members:
        return Standing(place, Reason.NOT_A_MEMBER, f"spec.nodeId {node_id} is not a member of {place.domain}")
    if not place.challenges:
        return Standing(place, Reason.NO_CHALLENGE, f"TrustDomain {place.domain} has not issued a challenge yet")
    if place.beat is None and not gathered.namespaced:
        namespace = f"{NODE_NAMESPACE}{gathered.obj['metadata']['name']}"
        return Standing(place, Reason.NAMESPACE_MISSING, f"there is no Namespace {namespace}: quorate node register")
    if place.beat is None:
        lease = f"{NODE_NAMESPACE}{gathered.obj['metadata']['name']}/{LEASE}{place.domain}"
        return Standing(place, Reason.NO_HEARTBEAT, f"no heartbeat yet: the node writes Lease {lease}")
    beat = place.beat
    if not beat.verified:
        return Standing(place, beat.reason, beat.message, beat=beat)
    silent_at = silent_from(beat.renewed, grace_seconds=grace, listed_at=gathered.listed_at)
    if now >= silent_at:
        message = f"the last heartbeat for {place.domain} is older than {grace} s"
        return Standing(place, Reason.SILENT, message, verified=True, beat=beat)
    return Standing(place, Reason.READY, "verified and heartbeating", True, True, silent_at, beat)


def _observations(obj: Obj, standings: Sequence[Standing], shown: Standing) -> list[Observation]:
    verified, fresh = all(item.verified for item in standings), all(item.fresh for item in standings)
    if obj["spec"].get("suspended") and shown.ready:
        shown = Standing(shown.place, Reason.SUSPENDED, "spec.suspended: takes no part in scheduling and sync")
    ready = verified and fresh and not obj["spec"].get("suspended")
    reason = Reason.VERIFIED if verified else shown.reason
    message = "a Machine key of each domain's accepted revision signed the heartbeat" if verified else shown.message
    alive = Reason.HEARTBEATING if fresh else shown.reason
    observations = [
        observe(ConditionType.IDENTITY_VERIFIED, verified, reason, message),
        observe(ConditionType.HEARTBEATING, fresh, alive, "heartbeats are fresh" if fresh else shown.message),
        observe(ConditionType.READY, ready, Reason.READY if ready else shown.reason, shown.message),
    ]
    if shown.reason in (Reason.NOT_A_MEMBER, Reason.UNKNOWN_KEY):
        observations.append(observe(ConditionType.STALLED, True, shown.reason, shown.message))
    elif not ready and shown.reason != Reason.SUSPENDED:
        observations.append(observe(ConditionType.RECONCILING, True, shown.reason, shown.message))
    return observations


def _nowhere() -> list[Observation]:
    message = "spec.trustDomains names no domain: the node takes part in none"
    return [
        observe(ConditionType.READY, False, Reason.NO_DOMAIN, message),
        observe(ConditionType.STALLED, True, Reason.NO_DOMAIN, message),
    ]


def _narrowed(obj: Obj, roles: Sequence[str]) -> Observation:
    """The condition; admission is what holds the node to it (quorate.api.manifests)."""
    found = narrowed(obj["spec"].get("privileges"), roles)
    reason = Reason.PRIVILEGES_NARROWED if found.withheld else Reason.PRIVILEGES_OF_ROLE
    return observe(ConditionType.NARROWED, bool(found.withheld), reason, found.message)


_WAITING = frozenset(
    {
        Reason.NO_ACCEPTED_REVISION,
        Reason.NOT_HOME_HUB,
        Reason.NO_CHALLENGE,
        Reason.NO_HEARTBEAT,
        Reason.NAMESPACE_MISSING,
        Reason.NOT_A_MEMBER,
    }
)


def _entries(
    gathered: Gathered, standings: Sequence[Standing], shown: Standing, now: int
) -> tuple[tuple[Draft, ...], str | None]:
    """An entry when the node's recorded state changes; waiting for a first heartbeat is no state."""
    constitution = next((item.place.constitution for item in standings if item.place.constitution is not None), None)
    if constitution is None or shown.reason in _WAITING:
        return (), None
    event = VERIFIED if shown.ready else SILENT if shown.reason == Reason.SILENT else REFUSED
    head = gathered.head
    if head is not None and head.event_type == event and head.detail.get("reason") == str(shown.reason):
        return (), None
    meta = gathered.obj["metadata"]
    keys = {item.place.domain: item.beat.key_name for item in standings if item.beat and item.beat.key_name}
    draft = Draft(
        f"{constitution.latest.mesh_id}/{gathered.obj['spec']['nodeId']}",
        None if head is None else head.entry_id,
        event,
        {"kind": "MeshNode", "name": meta["name"], "uid": meta["uid"], "generation": meta.get("generation")},
        Tether(constitution.latest.phase_id),
        now * 1_000_000,
        actor_id=gathered.obj["spec"]["nodeId"],
        question="meshnode.observe",
        detail={"reason": str(shown.reason), "message": shown.message, "machineKeys": keys},
    )
    return (draft,), constitution.chain


def _silent(places: Sequence[Place]) -> bool:
    """Whether a node whose domain is ready for it has not written any heartbeat."""
    return any(place.beat is None and bool(place.challenges) for place in places)


def _heartbeat(lease: Obj | None) -> Mapping[str, Any] | None:
    """The signed heartbeat in a Lease's annotation; None if there is none or it is not a JSON object."""
    text = ((lease or {}).get("metadata", {}).get("annotations") or {}).get(HEARTBEAT_LABEL)
    if not text or len(text) > 256 * 1024:
        return None
    try:
        heartbeat = json.loads(text)
    except ValueError:
        return None
    return heartbeat if isinstance(heartbeat, dict) else None


def _subject_key(obj: Obj, constitutions: Mapping[str, Constitution]) -> str | None:
    for name in obj["spec"].get("trustDomains") or ():
        if name in constitutions:
            return f"{constitutions[name].latest.mesh_id}/{obj['spec']['nodeId']}"
    return None
