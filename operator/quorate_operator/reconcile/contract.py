"""DynamicContract: genesis once, then only what votes executed; altered content is found and restored (trust.md)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quorate.api.attestation import AttestationType
from quorate.api.conditions import ConditionType, Reason, observe
from quorate.audit.entry import Tether
from quorate.contracts.author import Author, author_of
from quorate.contracts.content import Content
from quorate.contracts.drift import Drift, Remedy, detect
from quorate.contracts.form import ContractRefusedError
from quorate.contracts.window import Count
from quorate_operator.errors import Stalled
from quorate_operator.kube.client import FIELD_MANAGER
from quorate_operator.kube.conditions import status_with
from quorate_operator.kube.resources import CONTENT_LABEL, Key, Obj
from quorate_operator.reconcile.contract_holders import Holdings, counted
from quorate_operator.reconcile.contract_overlay import overlay_on, own_privileges
from quorate_operator.reconcile.contract_past import CHANGED, CUT_OVER, GENESIS, Past, read_past
from quorate_operator.reconcile.contract_standing import Standing, Step, draft
from quorate_operator.reconcile.domains import Constitution, Domains
from quorate_operator.reconcile.projection import content_key, is_held
from quorate_operator.reconcile.protocol import Context, Plan, Relation
from quorate_operator.store.ports import Recorded
from quorate_operator.view import View

__all__ = ["CHANGED", "GENESIS", "DynamicContracts", "genesis_refusal"]


@dataclass(frozen=True)
class Gathered:
    """What one decision about a DynamicContract is made from.

    `head` is the contract's last entry, `past` all of them; `in_force` the content that the head names; `missing` says
    that it is not projected as it should be, `held` what stands there instead. `holding` are the nodes that hold it;
    `privileges` those that the operator's own MeshNode is narrowed to (None: not narrowed).
    """

    obj: Obj
    constitution: Constitution | None
    node_id: str
    head: Recorded | None = None
    past: Past | None = None
    in_force: Content | None = None
    missing: bool = False
    held: Obj | None = None
    holding: frozenset[str] = frozenset()
    privileges: frozenset[str] | None = None


class DynamicContracts:
    """Reconciles DynamicContracts; `holdings` are fed by the heartbeats of MeshNodes."""

    kind = "DynamicContract"

    def __init__(self, domains: Domains, holdings: Holdings) -> None:
        self._domains = domains
        self._holdings = holdings
        self._accepted: dict[str, Any] = {}
        self._narrowed: dict[str, Any] = {}
        self._past: dict[str, tuple[Recorded, Past]] = {}
        self.relations: Mapping[str, Relation] = {
            "TrustDomain": self._of_changed_domain,
            "MeshNode": self._of_narrowed_node,
            "Attestation": _of_attested_content,
            "ConfigMap": _holding,
        }

    def _of_changed_domain(self, obj: Obj, view: View) -> Sequence[Key]:
        name = obj["metadata"]["name"]
        digest = ((obj.get("status") or {}).get("accepted") or {}).get("digest")
        if self._accepted.get(name) == digest:
            return ()
        self._accepted[name] = digest
        return view.by("DynamicContract", "domain", name)

    def _of_narrowed_node(self, obj: Obj, view: View) -> Sequence[Key]:
        """A node's privileges decide about its overrides."""
        node_id, privileges = obj["spec"]["nodeId"], obj["spec"].get("privileges")
        if self._narrowed.get(node_id) == privileges:
            return ()
        self._narrowed[node_id] = privileges
        names = obj["spec"].get("trustDomains") or ()
        return [key for name in names for key in view.by("DynamicContract", "domain", name)]

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
            gathered[key] = await self._one(obj, constitution, head, contents, context)
        return gathered

    async def _one(
        self,
        obj: Obj,
        constitution: Constitution | None,
        head: Recorded | None,
        contents: Mapping[str, bytes],
        context: Context,
    ) -> Gathered:
        node_id, view = context.config.node_id, context.view
        if head is None or constitution is None:
            return Gathered(obj, constitution, node_id, head)
        digest = head.detail["digest"]
        content = Content.parse(contents[digest]) if digest in contents else _genesis(obj)
        # A genesis is its own spec, which is immutable: it has no projection.
        missing = content is not None and content.previous is not None and not is_held(view, digest)
        now = int(context.clock())
        return Gathered(
            obj,
            constitution,
            node_id,
            head,
            await self._read(head, context),
            content,
            missing,
            await context.client.get(content_key(digest)) if missing else None,
            frozenset(self._holdings.holding(constitution, _contract_id(obj), digest, view, now)),
            own_privileges(view, node_id),
        )

    async def _read(self, head: Recorded, context: Context) -> Past:
        """The contract's entries, once for each last one."""
        known = self._past.get(head.subject_key)
        if known is None or known[0].entry_id != head.entry_id:
            known = self._past[head.subject_key] = (head, await read_past(context.log, head))
        return known[1]

    def decide(self, gathered: Gathered, now: int) -> Plan:
        """Genesis, restoration of what is in force, drift, overrides, cut-over."""
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
            entry = draft(obj, Step(GENESIS, {}), None, genesis, Tether(latest.phase_id), now)
            return Plan(chain=constitution.chain, entries=(entry,), dirty=(_key(obj),))
        return _in_force(gathered, gathered.head, constitution, now)


def _key(obj: Obj) -> Key:
    return Key("DynamicContract", "", obj["metadata"]["name"])


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
        fields |= dict.fromkeys(_SHOWN)
    return Plan(status=status_with(obj, fields, observations, now=now))


_SHOWN = ("inForce", "clauseDigests", "surfacesDigest", "history", "accepts", "overlay", "drifted", "driftedBy")


def _in_force(gathered: Gathered, head: Recorded, constitution: Constitution, now: int) -> Plan:
    content = gathered.in_force
    if content is None or content.digest != head.detail["digest"] or gathered.past is None:
        raise Stalled(Reason.LOG_BEHIND, f"content {head.detail['digest']} of the last entry is not in the database")
    latest, obj = constitution.latest, gathered.obj
    standing = Standing(
        obj,
        head,
        content,
        gathered.past,
        overlay_on(gathered.node_id, latest, obj, content, gathered.past, narrowed=gathered.privileges),
        Count.of(tuple(counted(latest, now)), gathered.holding),
        Remedy(latest.spec.get("drift") or Remedy.RESTORE),
        now,
        _drift(gathered, content, head),
        gathered.missing,
        gathered.held,
    )
    steps = standing.steps()
    entries = standing.drafts(steps, Tether(latest.phase_id))
    last = str(entries[-1].entry_id if entries else head.entry_id)
    closes = any(step.event == CUT_OVER for step in steps)
    return Plan(
        chain=constitution.chain,
        entries=entries,
        # A genesis is not in the store until an entry other than its own names it.
        content={content.digest: content.data} if entries and content.previous is None else {},
        commands=standing.commands(),
        status=standing.wanted(last, cut_over=closes),
        events=tuple(note for step in steps for note in step.notes),
        wake_at=None if closes else gathered.past.window.ends,
    )


def _drift(gathered: Gathered, content: Content, head: Recorded) -> Drift | None:
    """Drift of the projection. One that is missing is drift only after it was there once: lastEntry says so."""
    if not gathered.missing:
        return None
    held = gathered.held or {}
    data = (held.get("data") or {}).get("content")
    if data is not None:
        return detect(content, data.encode(), loosened=_loosened(held), author=_author(held, data, content))
    applied = (gathered.obj.get("status") or {}).get("lastEntry") == str(head.entry_id)
    if held:
        return Drift(content.digest, None, author=_author(held, "", content))
    return Drift(content.digest, None) if applied else None


def _loosened(held: Obj) -> tuple[str, ...]:
    lost = []
    if CONTENT_LABEL not in (held["metadata"].get("labels") or {}):
        lost.append(f"its label {CONTENT_LABEL} is gone")
    if not held.get("immutable"):
        lost.append("it is not immutable")
    return tuple(lost)


def _author(held: Obj, data: str, content: Content) -> Author | None:
    fields = ("data",) if data != content.data.decode() else ()
    return author_of(held["metadata"].get("managedFields"), *fields, except_for=FIELD_MANAGER)


def _of_attested_content(obj: Obj, view: View) -> Sequence[Key]:
    """Contracts whose content in force a ContractHeld attestation says to be held."""
    if obj["spec"].get("type") != AttestationType.CONTRACT_HELD:
        return ()
    digest = (obj["spec"].get("subject") or {}).get("digest")
    return [
        _key(contract)
        for contract in view.all("DynamicContract")
        if ((contract.get("status") or {}).get("inForce") or {}).get("digest") == digest
    ]


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
