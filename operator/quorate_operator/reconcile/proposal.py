"""GovernanceProposal: opening, acts, decision, execution, each recorded before it takes effect (governance.md).

One step at a time: a plan that records entries asks to be looked at again, and the next look starts from what was
recorded. So a crash between any two steps, or a second leader, changes nothing.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from quorate.api.conditions import Reason
from quorate.api.tally import Phase
from quorate.conflicts.detect import target_key
from quorate.identity.statements import Statement
from quorate.proposals.lifecycle import Action, due
from quorate_operator.kube.resources import Key, Obj, key_of
from quorate_operator.reconcile import proposal_decision as decision
from quorate_operator.reconcile import proposal_execution as execution
from quorate_operator.reconcile import proposal_opening as opening
from quorate_operator.reconcile.behind import LastEntries
from quorate_operator.reconcile.conflict_docket import Conflicts
from quorate_operator.reconcile.contract import GENESIS
from quorate_operator.reconcile.docket import Docket
from quorate_operator.reconcile.dockets import Dockets
from quorate_operator.reconcile.domains import Constitution, Domains
from quorate_operator.reconcile.proposal_conflicts import contest, gather_contested
from quorate_operator.reconcile.proposal_evidence import gather_evidence
from quorate_operator.reconcile.proposal_gathered import Contract, Gathered
from quorate_operator.reconcile.proposal_proof import gather_proof
from quorate_operator.reconcile.proposal_status import outdated_votes, shown, unopened
from quorate_operator.reconcile.protocol import Context, Plan, Relation
from quorate_operator.store.ports import Recorded
from quorate_operator.view import View


@dataclass(frozen=True)
class _Held:
    """A contract as the cluster and the log hold it."""

    obj: Obj
    head: Recorded | None
    content: Mapping[str, bytes]

    def judged(self, constitutions: Mapping[str, Constitution]) -> Contract:
        """With the bytes in force, which are read where they matter."""
        changed = self.head is not None and self.head.event_type != GENESIS
        data = self.content.get(self.head.detail["digest"]) if changed and self.head is not None else None
        return Contract(self.obj, self.head, constitutions.get(self.obj["spec"]["trustDomain"]), data)


def _domains(obj: Obj) -> set[str]:
    return {obj["spec"]["trustDomain"], *(obj["spec"].get("domains") or ())}


def _live(domain: Constitution, obj: Obj, docket: Docket | None) -> Statement | None:
    """The statement of the live spec; made once for each edit that says what was opened."""
    edit = (obj["metadata"]["uid"], obj["metadata"].get("generation", 0))
    if docket is not None and edit in docket.edits:
        return docket.statement
    live = opening.live_statement(domain.latest, obj)
    if docket is not None and live is not None and live.digest == docket.digest:
        docket.edits.add(edit)
    return live


@dataclass(frozen=True)
class _Case:
    """A proposal with what is known before its contract is looked at."""

    obj: Obj
    docket: Docket | None
    constitutions: Mapping[str, Constitution]
    live: Statement | None

    @classmethod
    def of(cls, obj: Obj, docket: Docket | None, found: Mapping[str, Constitution]) -> "_Case":
        constitutions = {name: found[name] for name in _domains(obj) if name in found}
        own = constitutions.get(obj["spec"]["trustDomain"])
        return cls(obj, docket, constitutions, None if own is None else _live(own, obj, docket))

    @property
    def amends(self) -> bool:
        return self.docket is not None and self.live is not None and self.live.digest != self.docket.digest

    @property
    def subjects(self) -> list[str]:
        """Of the live statement, and of a refusal of this edit of the object; none where that is what was opened."""
        if self.docket is not None and not self.amends:
            return []
        return [*([] if self.live is None else [self.live.digest]), opening.refusal_subject(self.obj)]

    @property
    def contracts(self) -> set[str]:
        """Names of the contracts that the live spec and the opened revision are on."""
        fields = [self.obj["spec"], *([] if self.docket is None else [self.docket.fields])]
        return {item["target"]["name"] for item in fields if item["target"]["kind"] == "DynamicContract"}

    def contract(self, held: Mapping[str, _Held], fields: Mapping[str, Any]) -> Contract | None:
        """What these signed fields are on; None: no such object."""
        target = fields["target"]
        found = held.get(target["name"]) if target["kind"] == "DynamicContract" else None
        return None if found is None else found.judged(self.constitutions)


class GovernanceProposals:
    """Reconciles GovernanceProposals."""

    kind = "GovernanceProposal"

    def __init__(self, domains: Domains, dockets: Dockets, conflicts: Conflicts, entries: LastEntries) -> None:
        self._domains = domains
        self._dockets = dockets
        self._conflicts = conflicts
        self._entries = entries
        self._states: dict[str, Any] = {}
        self.relations: Mapping[str, Relation] = {
            "TrustDomain": self._of_changed_domain,
            "DynamicContract": _on_contract,
            "GovernanceProposal": rivals_told,
            "ConfigMap": _of_content,
            "PolicyConflict": _of_conflict,
        }

    def _of_changed_domain(self, obj: Obj, view: View) -> Sequence[Key]:
        """All proposals of a domain, but only when its last entry or a Fork alarm is another one."""
        name, status = obj["metadata"]["name"], obj.get("status") or {}
        state = (status.get("lastEntry"), (status.get("accepted") or {}).get("digest"))
        if self._states.get(name) == state:
            return ()
        self._states[name] = state
        return [*view.by("GovernanceProposal", "domain", name), *view.by("GovernanceProposal", "domains", name)]

    async def gather(self, keys: Sequence[Key], context: Context) -> dict[Key, Gathered]:
        """A few queries for all; more for each that is about to be decided, was decided, or contradicts another."""
        objects = {key: obj for key in keys if (obj := context.view.get(key)) is not None}
        dockets = await self._dockets.current(context, [(key.namespace, key.name) for key in objects])
        names = {name for obj in objects.values() for name in _domains(obj)}
        constitutions = await self._domains.get(context, names) if names else {}
        cases = {
            key: _Case.of(obj, dockets.get((key.namespace, key.name)), constitutions) for key, obj in objects.items()
        }
        held = await self._held(context, {name for case in cases.values() for name in case.contracts})
        subjects = sorted({name for case in cases.values() for name in case.subjects})
        heads = await context.log.heads(subjects) if subjects else {}
        return {key: await self._one(case, held, heads, context) for key, case in cases.items()}

    async def _one(
        self, case: "_Case", held: Mapping[str, "_Held"], heads: Mapping[str, Recorded], context: Context
    ) -> Gathered:
        obj, docket = case.obj, case.docket
        gathered = Gathered(
            obj=obj,
            at=int(context.clock()),
            node_id=context.config.node_id,
            constitutions=case.constitutions,
            live=case.live,
            docket=docket,
            live_heads={name: heads[name] for name in case.subjects if name in heads},
            contract=case.contract(held, obj["spec"] if docket is None else docket.fields),
            live_contract=case.contract(held, obj["spec"]) if case.amends else None,
            rivals=opening.rivals(obj, context.view),
            open_by_proposer=opening.open_by_proposer(obj, context.view) if docket is None else 0,
            lead=context.config.webhook_lead_seconds,
        )
        if docket is None:
            return gathered
        unseen = await self._unseen(gathered, docket, context)
        if unseen:
            return gathered.waiting_for(unseen)
        gathered = replace(
            gathered,
            outdated=outdated_votes(docket, context.view, gathered.at),
            contested=await gather_contested(gathered, docket, context, self._dockets, self._domains),
        )
        gathered = await gather_evidence(gathered, docket, context, self._conflicts, self._dockets)
        return await gather_proof(gathered, docket, context, self._domains)

    async def _unseen(self, gathered: Gathered, docket: Docket, context: Context) -> tuple[Key, ...]:
        """Votes that the API server has and the log has not, asked for only when a decision is about to be taken."""
        if not decision.falls_due(gathered, docket):
            return ()
        listed = await context.client.list_all("Vote", fields=f"spec.proposal.digest={docket.digest}")
        for vote in listed:
            context.view.fold(vote)
        decided = docket.progress(gathered.at).decision
        return () if decided is None else decision.unrecorded(docket, listed, decided.at)

    async def _held(self, context: Context, names: Collection[str]) -> dict[str, "_Held"]:
        """Contracts by name: the object, its last entry, and the bytes in force where they are not the genesis."""
        found = ((name, context.view.get(Key("DynamicContract", "", name))) for name in sorted(names))
        objects = {name: obj for name, obj in found if obj is not None}
        for obj in objects.values():
            await self._entries.check(context.log, obj)
        ids = {name: str(obj["spec"]["genesis"]["contractId"]) for name, obj in objects.items()}
        heads = await context.log.heads(sorted(set(ids.values()))) if ids else {}
        changed = {head.detail["digest"] for head in heads.values() if head.event_type != GENESIS}
        content = await context.content.get(sorted(changed)) if changed else {}
        return {name: _Held(obj, heads.get(ids[name]), content) for name, obj in objects.items()}

    def decide(self, gathered: Gathered, now: int) -> Plan:
        """The next step of the proposal's life, or its status."""
        docket = gathered.docket
        # What was opened is decided where it was opened, whatever the live spec says by now.
        home = (
            gathered.constitutions.get(gathered.obj["spec"]["trustDomain"]) if docket is None else docket.constitution
        )
        if home is not None and home.latest.home_hub != gathered.node_id:
            message = f"{home.latest.home_hub} decides for {home.latest.name}; this operator is another node"
            return unopened(gathered, Reason.NOT_HOME_HUB, message, now, stalled=False)
        if docket is None:
            return opening.open_proposal(gathered, now)
        if gathered.unseen:
            return Plan(dirty=gathered.unseen, wake_at=now + 1)
        plan = opening.amend(gathered, docket, now) or decision.record_acts(gathered, docket, now)
        plan = plan or contest(gathered, docket, now)
        if plan is not None:
            return plan
        todo = due(docket.life, gathered.at)
        if todo.action in (Action.DECIDE, Action.RATIFY):
            plan = decision.record_decision(gathered, docket, now)
        elif todo.action in (Action.EXECUTE, Action.EXPIRE) or execution.ends_now(gathered, docket):
            plan = execution.record_execution(gathered, docket, now)
        return plan or shown(gathered, docket, now)


def _of_content(obj: Obj, view: View) -> Sequence[Key]:
    """Proposals whose evidence or proof this ConfigMap projects."""
    name = obj["metadata"]["name"]
    return [
        Key("GovernanceProposal", item["metadata"]["namespace"], item["metadata"]["name"])
        for item in view.all("GovernanceProposal")
        if name in ((item.get("status") or {}).get("evidenceRef"), (item.get("status") or {}).get("proofRef"))
    ]


def _of_conflict(obj: Obj, view: View) -> Sequence[Key]:
    """The proposals that are its parties."""
    digests = [party["digest"] for party in obj["spec"]["parties"]]
    return [key for digest in digests for key in view.by("GovernanceProposal", "digest", digest)]


def _on_contract(obj: Obj, view: View) -> Sequence[Key]:
    """Proposals on a contract that wait for it: those that did not open, and those that are to be executed."""
    keys = view.by("GovernanceProposal", "target", obj["metadata"]["name"])
    return [
        key
        for key in keys
        if (((view.get(key) or {}).get("status") or {}).get("phase") or Phase.DRAFT) in (Phase.DRAFT, Phase.ADOPTED)
    ]


def rivals_told(obj: Obj, view: View) -> Sequence[Key]:
    """Open proposals whose warning lacks this one though it has room, or names it though it is open no more."""
    own, digest = key_of(obj), (obj.get("status") or {}).get("digest") or ""
    if not opening.is_open(obj):
        return [key for key in view.by("GovernanceProposal", "rival", digest) if key != own]
    told = set(view.by("GovernanceProposal", "rival", digest))
    keys = view.by("GovernanceProposal", "unwarned", target_key(obj["spec"]["target"]))
    return [key for key in keys if key != own and key not in told]
