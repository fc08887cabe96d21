"""The one signed ConfigMap of node policies: written when they change, put back when altered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from quorate.api.conditions import Reason
from quorate.audit.quarantine import SYSTEM
from quorate.canonical import NotCanonicalError, digest_of_bytes, parse_json
from quorate.contracts.author import Author, author_of
from quorate.missions.acceptance import Judged
from quorate.missions.distribution import CONTENT, SIGNATURE, DistributionRefusedError, asked_of, document_of, is_signed
from quorate.missions.distribution import sign as sign_document
from quorate.missions.fleet import longest_deadline
from quorate_operator.errors import Stalled
from quorate_operator.kube.client import FIELD_MANAGER
from quorate_operator.kube.resources import CONTENT_LABEL, Key, Obj
from quorate_operator.machine_key import MachineKey, read_machine_key
from quorate_operator.reconcile.behind import LastEntries
from quorate_operator.reconcile.mission_log import (
    AGENTS,
    DISTRIBUTED,
    DOCUMENT,
    NO_PHASE,
    REMOVED,
    RESTORED,
    Document,
    MissionLog,
    Past,
    draft_of,
    policy_key,
)
from quorate_operator.reconcile.mission_policy import MissionPolicies, Trouble
from quorate_operator.reconcile.protocol import ApplyChild, Context, Note, Plan, Relation
from quorate_operator.store.ports import Draft
from quorate_operator.view import View

QUIET_SECONDS, LONGEST_SECONDS = 0.1, 0.5
"""Policies that change together are one document, made when none changed for so long, at the latest after that."""
RETRY_SECONDS = 30


@dataclass(frozen=True)
class Held:
    """What stands in the cluster: `obj` None where nothing does; `intact` where it is the last document."""

    obj: Obj | None
    intact: bool
    serial: int = 0
    """Of a document that our key signed; 0 for anything else."""


@dataclass(frozen=True)
class Gathered:
    """What one decision about the document is made from.

    `accepted` are all policies that belong into it, `removed` those of the last one that are no more. `altered`: this
    process saw the last document in place, or found another one at its start. `look_at`: policies are still changing.
    """

    past: Past
    hub: str
    key: MachineKey | None
    accepted: tuple[Judged, ...]
    removed: tuple[str, ...]
    namespaces: Mapping[str, Mapping[str, str]]
    held: Held
    altered: bool
    look_at: float | None
    dirty: tuple[Key, ...]

    @property
    def differs(self) -> bool:
        """Whether the last document is not what agents should be given."""
        last = self.past.document
        digests = {item.policy.name: item.digest for item in self.accepted}
        if last is None:
            return bool(digests)
        return last.digests != digests or last.namespaces != self.namespaces


class NodePolicies:
    """Reconciles the ConfigMap; one key, whatever the number of policies."""

    kind = "ConfigMap"

    def __init__(self, log: MissionLog, policies: MissionPolicies, entries: LastEntries) -> None:
        self._log, self._policies, self._entries = log, policies, entries
        self._generations: dict[str, Any] = {}
        self._pending: tuple[Any, float, float] | None = None
        self._first: UUID | None = None
        self._begun = False
        self._applied: UUID | None = None
        self._met: Mapping[str, Any] = {}
        self.relations: Mapping[str, Relation] = {"MissionPolicy": self._of_policy, "Namespace": self._of_namespace}

    def _of_policy(self, obj: Obj, view: View) -> Sequence[Key]:
        """A policy that came, changed or went; our own status writes do not count."""
        meta = obj["metadata"]
        name, state = meta["name"], (meta.get("uid"), meta.get("generation"))
        if view.get(policy_key(name)) is None:
            self._generations.pop(name, None)
        elif self._generations.get(name) == state:
            return ()
        else:
            self._generations[name] = state
        return (DOCUMENT,)

    def _of_namespace(self, obj: Obj, view: View) -> Sequence[Key]:
        """Labels of a namespace, where a policy asks for any."""
        asks = any(policy["spec"].get("namespaceSelector") for policy in view.all("MissionPolicy"))
        return (DOCUMENT,) if asks else ()

    async def gather(self, keys: Sequence[Key], context: Context) -> dict[Key, Gathered]:
        """One query for entries; the ConfigMap itself only where the view does not show the last document.

        Raises:
            Stalled: `LogBehind`, a policy's status names an entry that the log does not hold.
        """
        if DOCUMENT not in keys:
            return {}
        objects = list(context.view.all("MissionPolicy"))
        for last in (await self._entries.missing(context.log, objects)).values():
            raise Stalled(
                Reason.LOG_BEHIND, f"entry {last} of a MissionPolicy is not in the log; see docs/quarantine.md"
            )
        names = [obj["metadata"]["name"] for obj in objects]
        past = await self._log.read(context, names)
        if past.document is not None and (gone := sorted(past.document.entries.keys() - set(names))):
            past = replace(past, heads={**past.heads, **(await self._log.read(context, gone)).heads})
        accepted = tuple(past.accepted[name] for name in sorted(past.accepted))
        if past.document is None and not accepted:
            return {}
        key, trouble = self._key(context)
        held = await self._held(past, key, context)
        gathered = Gathered(
            past,
            context.config.node_id,
            key,
            accepted,
            tuple(sorted((past.document.entries.keys() if past.document else set()) - set(names))),
            asked_of([item.entry for item in accepted], _labels(context.view)),
            held,
            self._altered(past, held),
            None,
            (),
        )
        gathered = replace(gathered, look_at=self._look_at(gathered, context.clock()))
        trouble = trouble or _too_large(gathered)
        return {DOCUMENT: self._told(gathered, trouble)}

    def _key(self, context: Context) -> tuple[MachineKey | None, Trouble | None]:
        try:
            return read_machine_key(context.config.machine_key), None
        except Stalled as error:
            return None, Trouble(Reason.NO_MACHINE_KEY, error.message)

    async def _held(self, past: Past, key: MachineKey | None, context: Context) -> Held:
        document = past.document
        obj = await context.client.get(DOCUMENT)
        if obj is None or key is None:
            return Held(obj, intact=False)
        data = obj.get("data") or {}
        content, signature = str(data.get(CONTENT, "")).encode(), data.get(SIGNATURE)
        labelled = CONTENT_LABEL in (obj["metadata"].get("labels") or {})
        signed = is_signed(content, signature, key.public)
        intact = document is not None and digest_of_bytes(content) == document.digest and signed and labelled
        return Held(obj, intact, _serial(content) if signed else 0)

    def _altered(self, past: Past, held: Held) -> bool:
        """Whether what differs is more than a document of this process that has not been written yet."""
        last = None if past.document_head is None else past.document_head.entry_id
        if not self._begun:
            self._begun, self._first = True, last
        if held.intact:
            self._applied = last
        return not held.intact and last is not None and last in (self._first, self._applied)

    def _look_at(self, gathered: Gathered, now: float) -> float | None:
        """When to look again, while policies are still changing."""
        if not gathered.differs:
            self._pending = None
            return None
        state = [item.digest for item in gathered.accepted], gathered.removed, gathered.namespaces
        known, since, changed = self._pending or (None, now, now)
        if known != state:
            changed = now
        self._pending = (state, since, changed)
        due = min(changed + QUIET_SECONDS, since + LONGEST_SECONDS)
        if now < due:
            return due
        self._pending = None
        return None

    def _told(self, gathered: Gathered, trouble: Trouble | None) -> Gathered:
        """Policies hear of a trouble that begins, changes or ends, and of others that they now meet or meet no more."""
        met = gathered.past.document.meetings if gathered.past.document is not None else {}
        names = {item.policy.name for item in gathered.accepted}
        if trouble == self._policies.trouble:
            names = {name for name in names if self._met.get(name) != met.get(name)}
        self._policies.trouble, self._met = trouble, met
        dirty = tuple(policy_key(name) for name in sorted(names))
        return replace(gathered, dirty=dirty, key=None if trouble is not None else gathered.key)

    def decide(self, gathered: Gathered, now: int) -> Plan:
        """A new document, or the last one again where another stands in its place."""
        if gathered.key is None:
            return Plan(dirty=gathered.dirty, wake_at=now + RETRY_SECONDS)
        if gathered.look_at is not None:
            return Plan(dirty=gathered.dirty, wake_at=gathered.look_at)
        if gathered.differs:
            return _distribute(gathered, gathered.key, now)
        if gathered.past.document is None or gathered.held.intact:
            return Plan(dirty=gathered.dirty)
        return _restore(gathered, gathered.past.document, gathered.key, now)


def _labels(view: View) -> dict[str, Mapping[str, str]]:
    return {obj["metadata"]["name"]: obj["metadata"].get("labels") or {} for obj in view.all("Namespace")}


def _serial(content: bytes) -> int:
    try:
        return int(parse_json(content)["serial"])
    except (NotCanonicalError, KeyError, TypeError, ValueError):
        return 0


def _too_large(gathered: Gathered) -> Trouble | None:
    """Why the policies do not fit; the last document then stays for all of them."""
    if not gathered.differs:
        return None
    try:
        _data(gathered)
    except DistributionRefusedError as error:
        return Trouble(Reason.TOO_LARGE, f"{error}; the last document stays until then")
    return None


def _next_serial(gathered: Gathered) -> int:
    """A serial that no agent saw before, also when the log is a restored one."""
    head = gathered.past.document_head
    return max(0 if head is None else int(head.detail["serial"]), gathered.held.serial) + 1


def _data(gathered: Gathered) -> bytes:
    entries = [item.entry for item in gathered.accepted]
    return document_of(_next_serial(gathered), gathered.hub, entries, gathered.namespaces)


def manifest(data: bytes, key: MachineKey) -> Obj:
    """The ConfigMap of a document; no ownerReference, because it outlives every policy."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": DOCUMENT.name,
            "namespace": DOCUMENT.namespace,
            "labels": {CONTENT_LABEL: "true", "app.kubernetes.io/part-of": "quorate"},
        },
        "data": {CONTENT: data.decode(), SIGNATURE: sign_document(data, key.private)},
    }


def _distribute(gathered: Gathered, key: MachineKey, now: int) -> Plan:
    past, last, data = gathered.past, gathered.past.document, _data(gathered)
    digest, serial = digest_of_bytes(data), _next_serial(gathered)
    before = longest_deadline(last.policies) if last is not None else 0
    held_until = max(last.held_until if last is not None else 0, now + before if before else 0)
    detail = {"digest": digest, "serial": serial, "policies": len(gathered.accepted), "heldUntil": held_until}
    entry = draft_of(DOCUMENT, gathered.held.obj, past.document_head, DISTRIBUTED, detail, now, NO_PHASE)
    return Plan(
        chain=SYSTEM,
        entries=(*_removals(gathered, now), entry),
        content={digest: data},
        commands=(ApplyChild(manifest(data, key)),),
        dirty=(*gathered.dirty, *_changed(gathered), AGENTS, DOCUMENT),
    )


def _removals(gathered: Gathered, now: int) -> list[Draft]:
    heads = gathered.past.heads
    detail = {"digest": ""}
    return [
        draft_of(policy_key(name), None, heads[name], REMOVED, detail, now, NO_PHASE)
        for name in gathered.removed
        if name in heads and heads[name].event_type != REMOVED
    ]


def _changed(gathered: Gathered) -> list[Key]:
    """Policies of which the document says something else now."""
    last = gathered.past.document
    before = {} if last is None else last.digests
    after = {item.policy.name: item.digest for item in gathered.accepted}
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    return [policy_key(name) for name in sorted(changed & after.keys())]


def _restore(gathered: Gathered, document: Document, key: MachineKey, now: int) -> Plan:
    """The last document again: told where somebody altered it, plain where it was never written."""
    command = ApplyChild(manifest(document.data, key))
    dirty = (*gathered.dirty, AGENTS, DOCUMENT, *(policy_key(name) for name in document.entries))
    if not gathered.altered:
        return Plan(commands=(command,), dirty=dirty)
    obj = gathered.held.obj or {}
    content = str((obj.get("data") or {}).get(CONTENT, ""))
    author = _author(obj)
    message = f"ConfigMap {DOCUMENT.namespace}/{DOCUMENT.name} was " + ("deleted" if not obj else "altered")
    message += f" by {author.sentence()}" if author is not None else ""
    if gathered.held.serial:
        message += f"; it held the signed document of serial {gathered.held.serial}, whose successor was lost or undone"
    head = document.head.detail
    detail: dict[str, Any] = {
        **{name: head[name] for name in ("digest", "serial", "policies", "heldUntil")},
        "held": digest_of_bytes(content.encode()) if obj else "",
        "message": message,
    }
    if author is not None:
        detail["author"] = author.document()
    entry = draft_of(DOCUMENT, gathered.held.obj, document.head, RESTORED, detail, now, NO_PHASE)
    note = Note("Warning", Reason.RESTORED, f"{message}; the signed document of serial {document.serial} is back")
    return Plan(chain=SYSTEM, entries=(entry,), commands=(command,), events=(note,), dirty=dirty)


def _author(obj: Obj) -> Author | None:
    managed = (obj.get("metadata") or {}).get("managedFields")
    return author_of(managed, "data", except_for=FIELD_MANAGER)
