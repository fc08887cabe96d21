"""DynamicContract: genesis once, then only what votes executed; altered content is found and restored (trust.md)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quorate.api.conditions import ConditionType, Reason, is_true, observe
from quorate.api.dynamic_contract import MAX_HISTORY
from quorate.audit.entry import Draft, Tether
from quorate.canonical import format_time
from quorate.contracts.content import Content
from quorate.contracts.drift import Drift, Remedy, detect
from quorate.contracts.form import ContractRefusedError
from quorate.trust.domain import DomainRevision
from quorate_operator.errors import Stalled
from quorate_operator.kube.conditions import status_with
from quorate_operator.kube.resources import CONTENT_LABEL, Key, Obj
from quorate_operator.reconcile.domains import Constitution, Domains
from quorate_operator.reconcile.projection import content_key, content_manifest, is_held
from quorate_operator.reconcile.protocol import Command, Context, CreateChild, Note, Plan, Relation, Remove
from quorate_operator.store.ports import Recorded
from quorate_operator.view import View

GENESIS = "governance.contract.genesis"
CHANGED = "governance.contract.changed"
DRIFTED = "governance.contract.drifted"
RESTORED = "governance.contract.restored"


@dataclass(frozen=True)
class Gathered:
    """What one decision about a DynamicContract is made from.

    `head` is the contract's last entry; `in_force` the content that it names; `held` the altered projection, if any.
    """

    obj: Obj
    constitution: Constitution | None
    node_id: str
    head: Recorded | None = None
    in_force: Content | None = None
    history: tuple[Recorded, ...] = ()
    missing: bool = False
    held: Obj | None = None


class DynamicContracts:
    """Reconciles DynamicContracts."""

    kind = "DynamicContract"

    def __init__(self, domains: Domains) -> None:
        self._domains = domains
        self._accepted: dict[str, Any] = {}
        self.relations: Mapping[str, Relation] = {
            "TrustDomain": self._of_changed_domain,
            "ConfigMap": _holding,
        }

    def _of_changed_domain(self, obj: Obj, view: View) -> Sequence[Key]:
        name = obj["metadata"]["name"]
        digest = ((obj.get("status") or {}).get("accepted") or {}).get("digest")
        if self._accepted.get(name) == digest:
            return ()
        self._accepted[name] = digest
        return view.by("DynamicContract", "domain", name)

    async def gather(self, keys: Sequence[Key], context: Context) -> dict[Key, Gathered]:
        """One query for constitutions, one for the contracts' last entries, one for content that changed."""
        objects = {key: obj for key in keys if (obj := context.view.get(key)) is not None}
        constitutions = await self._domains.get(context, {obj["spec"]["trustDomain"] for obj in objects.values()})
        heads = await context.log.heads(sorted({_contract_id(obj) for obj in objects.values()}))
        digests = {head.detail["digest"] for head in heads.values() if head.event_type != GENESIS}
        contents = await context.content.get(sorted(digests)) if digests else {}
        gathered = {}
        for key, obj in objects.items():
            head = heads.get(_contract_id(obj))
            constitution = constitutions.get(obj["spec"]["trustDomain"])
            gathered[key] = await self._one(key, obj, constitution, head, contents, context)
        return gathered

    async def _one(
        self,
        key: Key,
        obj: Obj,
        constitution: Constitution | None,
        head: Recorded | None,
        contents: Mapping[str, bytes],
        context: Context,
    ) -> Gathered:
        if head is None:
            return Gathered(obj, constitution, context.config.node_id)
        digest = head.detail["digest"]
        status = obj.get("status") or {}
        current = status.get("lastEntry") == str(head.entry_id) and "inForce" in status
        history: tuple[Recorded, ...] = ()
        if not current:
            history = tuple(
                entry for entry in await context.log.about(_contract_id(obj)) if entry.event_type in (GENESIS, CHANGED)
            )
        if digest not in contents:
            return Gathered(obj, constitution, context.config.node_id, head, _genesis(obj), history)
        held = None
        if not is_held(context.view, digest):
            held = await context.client.get(content_key(digest))
        return Gathered(
            obj,
            constitution,
            context.config.node_id,
            head,
            Content.parse(contents[digest]),
            history,
            missing=not is_held(context.view, digest),
            held=held,
        )

    def decide(self, gathered: Gathered, now: int) -> Plan:
        """Genesis, restoration of what is in force, or drift."""
        obj, constitution = gathered.obj, gathered.constitution
        name = obj["spec"]["trustDomain"]
        if constitution is None:
            message = f"spec.trustDomain {name!r} has no accepted revision yet"
            return _not_ready(obj, Reason.NO_ACCEPTED_REVISION, message, now, stalled=False)
        latest = constitution.latest
        if latest.home_hub != gathered.node_id:
            message = f"{latest.home_hub} decides for {name}; this operator is another node"
            return _not_ready(obj, Reason.NOT_HOME_HUB, message, now, stalled=False)
        try:
            genesis = Content.genesis(obj["spec"]["genesis"])
        except ContractRefusedError as error:
            return _not_ready(obj, error.reason, str(error), now, stalled=True)
        refusal = genesis_refusal(obj, genesis, constitution, gathered.head)
        if refusal is not None:
            return _not_ready(obj, Reason.UNKNOWN_GENESIS, refusal, now, stalled=True, authorised=False)
        if gathered.head is None:
            return _begin(obj, genesis, constitution, now)
        return _in_force(gathered, gathered.head, constitution, now)


def _contract_id(obj: Obj) -> str:
    return str(obj["spec"]["genesis"]["contractId"])


def _genesis(obj: Obj) -> Content | None:
    try:
        return Content.genesis(obj["spec"]["genesis"])
    except ContractRefusedError:
        return None


def genesis_refusal(obj: Obj, genesis: Content, constitution: Constitution, head: Recorded | None) -> str | None:
    """Why the genesis is not one of the domain's contracts; None if it is (trust.md, "Contracts").

    `head` is the contract's last entry: what another domain decided about this contractId is not this one's.
    """
    domain = constitution.latest
    if head is not None and head.chain_id != constitution.chain:
        return f"spec.genesis.contractId {genesis.contract_id} belongs to {head.chain_id}, not to {constitution.chain}"
    listed = domain.contracts.get(genesis.contract_id)
    if listed is None:
        return f"spec.genesis.contractId {genesis.contract_id} is not among the contracts of {domain.name}"
    if listed["name"] != obj["metadata"]["name"]:
        return f"metadata.name {obj['metadata']['name']!r}: {domain.name} knows this contract as {listed['name']!r}"
    if listed["genesisDigest"] != genesis.digest:
        return f"spec.genesis has digest {genesis.digest}; {domain.name} lists {listed['genesisDigest']}"
    return None


def _not_ready(obj: Obj, reason: str, message: str, now: int, *, stalled: bool, authorised: bool | None = None) -> Plan:
    progress = ConditionType.STALLED if stalled else ConditionType.RECONCILING
    observations = [
        observe(ConditionType.READY, False, reason, message),
        observe(progress, True, reason, message),
    ]
    if authorised is not None:
        observations.append(observe(ConditionType.AUTHORIZED, authorised, reason, message))
    fields: dict[str, Any] = {"contractId": _contract_id(obj), "domain": obj["spec"]["trustDomain"]}
    if authorised is False:
        # Nothing of it is in force; what was comes back from the log when the domain lists it again.
        fields |= dict.fromkeys(("inForce", "clauseDigests", "surfacesDigest", "history", "drifted"))
    return Plan(status=status_with(obj, fields, observations, now=now))


def _draft(
    obj: Obj, event: str, previous: Recorded | None, content: Content, latest: DomainRevision, now: int, **detail: Any
) -> Draft:
    meta = obj["metadata"]
    named = {"digest": content.digest, "version": content.version, **detail}
    return Draft(
        content.contract_id,
        None if previous is None else previous.entry_id,
        event,
        {"kind": "DynamicContract", "name": meta["name"], "uid": meta["uid"], "generation": meta.get("generation")},
        Tether(latest.phase_id, contract_version=content.version),
        now * 1_000_000,
        question="contract.observe",
        about=[content.digest],
        detail=named,
    )


def _begin(obj: Obj, genesis: Content, constitution: Constitution, now: int) -> Plan:
    """The log has no entry for this contractId: its genesis comes into force, once."""
    draft = _draft(obj, GENESIS, None, genesis, constitution.latest, now)
    in_force = {"version": genesis.version, "digest": genesis.digest, "since": format_time(now)}
    return Plan(
        chain=constitution.chain,
        entries=(draft,),
        status=_status(obj, genesis, in_force, [in_force], str(draft.entry_id), now),
    )


def _in_force(gathered: Gathered, head: Recorded, constitution: Constitution, now: int) -> Plan:
    obj, content = gathered.obj, gathered.in_force
    if content is None or content.digest != head.detail["digest"]:
        raise Stalled(Reason.LOG_BEHIND, f"content {head.detail['digest']} of the last entry is not in the database")
    detail = head.detail
    remedy = Remedy(constitution.latest.spec.get("drift") or Remedy.RESTORE)
    drift = _drift(gathered, content)
    status = obj.get("status") or {}
    in_force, past = status.get("inForce") or {}, status.get("history") or []
    if gathered.history:
        changes = [_version(entry) for entry in gathered.history]
        in_force, past = changes[-1], list(reversed(changes))[:MAX_HISTORY]
    if drift is None:
        commands: tuple[Command, ...] = ()
        if gathered.missing:
            # Never drift: the projection of a change that was just executed does not exist yet.
            commands = (CreateChild(content_manifest(content.digest, content.data)),)
        wanted = _status(obj, content, in_force, past, str(head.entry_id), now)
        return Plan(status=wanted, commands=commands)
    return _drifted(gathered, head, content, constitution, drift, remedy, (in_force, past, detail), now)


def _drift(gathered: Gathered, content: Content) -> Drift | None:
    """Drift of the projection. One that is missing is drift only after it was there once: lastEntry says so."""
    if not gathered.missing:
        return None
    data = ((gathered.held or {}).get("data") or {}).get("content")
    if gathered.held is not None and data is not None:
        found = detect(content, data.encode())
        if found is not None or gathered.held.get("immutable"):
            return found
    applied = (gathered.obj.get("status") or {}).get("lastEntry") == str(
        gathered.head.entry_id if gathered.head else ""
    )
    return Drift(content.digest, None) if applied or gathered.held is not None else None


def _drifted(
    gathered: Gathered,
    head: Recorded,
    content: Content,
    constitution: Constitution,
    drift: Drift,
    remedy: Remedy,
    kept: tuple[Any, Any, Mapping[str, Any]],
    now: int,
) -> Plan:
    in_force, past, detail = kept
    obj = gathered.obj
    message = drift.report(remedy)
    status = obj.get("status") or {}
    event = RESTORED if remedy is Remedy.RESTORE else DRIFTED
    same = head.event_type == event and detail.get("held") == (drift.held_digest or "")
    # The entry is there already: its effect was lost with a crash, or the drift that it reported still stands.
    recorded = same and (status.get("lastEntry") != str(head.entry_id) or is_true(status, ConditionType.DRIFTED))
    entries: tuple[Draft, ...] = ()
    if not recorded:
        named = {name: detail[name] for name in ("proposalDigest", "evidenceDigest", "since") if name in detail}
        extra = {**named, "held": drift.held_digest or "", "message": message[:1024]}
        entries = (_draft(obj, event, head, content, constitution.latest, now, **extra),)
    commands: tuple[Command, ...] = ()
    if remedy is Remedy.RESTORE:
        commands = (CreateChild(content_manifest(content.digest, content.data)),)
        if gathered.held is not None:
            commands = (Remove(content_key(content.digest), gathered.held["metadata"]["uid"]), *commands)
    last = str(entries[-1].entry_id) if entries else str(head.entry_id)
    wanted = _status(obj, content, in_force, past, last, now, drift=message, restored=remedy is Remedy.RESTORE)
    wanted["drifted"] = drift.names
    return Plan(
        chain=constitution.chain,
        entries=entries,
        commands=commands,
        status=wanted,
        events=(Note("Warning", Reason.DRIFTED, message),) if entries else (),
    )


def _version(entry: Recorded) -> dict[str, Any]:
    detail = entry.detail
    version = {
        "version": detail["version"],
        "digest": detail["digest"],
        "since": format_time(entry.timestamp // 1_000_000),
    }
    for name in ("proposalDigest", "evidenceDigest"):
        if detail.get(name):
            version[name] = detail[name]
    return version


def _status(
    obj: Obj,
    content: Content,
    in_force: Mapping[str, Any],
    past: Sequence[Mapping[str, Any]],
    last_entry: str,
    now: int,
    *,
    drift: str | None = None,
    restored: bool = False,
) -> dict[str, Any]:
    ready = drift is None or restored
    observations = [
        observe(ConditionType.AUTHORIZED, True, Reason.AUTHORIZED, f"{obj['spec']['trustDomain']} lists this genesis"),
        observe(
            ConditionType.READY,
            ready,
            Reason.IN_FORCE if ready else Reason.DRIFTED,
            f"version {content.version} is in force" if ready else str(drift),
        ),
    ]
    if drift is None and is_true(obj.get("status"), ConditionType.DRIFTED):
        observations.append(observe(ConditionType.DRIFTED, False, Reason.NOT_DRIFTED, "the content is as voted"))
    if drift is not None:
        reason = Reason.RESTORED if restored else Reason.DRIFTED
        observations.append(observe(ConditionType.DRIFTED, not restored, reason, drift))
    versions = [
        {"version": item["version"], "digest": item["digest"], "at": item.get("since") or item.get("at")}
        | ({"proposalDigest": item["proposalDigest"]} if item.get("proposalDigest") else {})
        for item in past
    ]
    reference = {"contentRef": f"quorate-{content.digest.removeprefix('sha256:')}"} if content.previous else {}
    fields = {
        "contractId": content.contract_id,
        "domain": obj["spec"]["trustDomain"],
        "inForce": {**in_force, **reference},
        "clauseDigests": content.clause_digests,
        "surfacesDigest": content.surfaces_digest if content.surfaces is not None else None,
        "history": versions,
        "lastEntry": last_entry,
        "drifted": None,
    }
    return status_with(obj, fields, observations, now=now)


def _holding(obj: Obj, view: View) -> Sequence[Key]:
    """Contracts whose content in force is projected by this ConfigMap."""
    if CONTENT_LABEL not in (obj["metadata"].get("labels") or {}):
        return ()
    name = obj["metadata"]["name"]
    return [
        Key("DynamicContract", "", contract["metadata"]["name"])
        for contract in view.all("DynamicContract")
        if ((contract.get("status") or {}).get("inForce") or {}).get("contentRef") == name
    ]
