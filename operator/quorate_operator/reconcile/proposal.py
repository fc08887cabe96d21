"""GovernanceProposal: opening, acts, decision, execution, each recorded before it takes effect (governance.md).

One step at a time: a plan that records entries asks to be looked at again, and the next look starts from what was
recorded. So a crash between any two steps, or a second leader, changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
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
from quorate_operator.reconcile.docket import Docket, Dockets
from quorate_operator.reconcile.domains import Constitution, Domains
from quorate_operator.reconcile.proposal_conflicts import contest, gather_contested
from quorate_operator.reconcile.proposal_evidence import gather_evidence
from quorate_operator.reconcile.proposal_gathered import Contract, Gathered
from quorate_operator.reconcile.proposal_proof import gather_proof
from quorate_operator.reconcile.proposal_status import outdated_votes, shown, unopened
from quorate_operator.reconcile.protocol import Context, Plan, Relation
from quorate_operator.store.ports import Recorded
from quorate_operator.view import View


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
            "Vote": _of_vote,
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
        """Two or three queries a proposal: few are open at a time, and each is decided on its own."""
        found = {}
        for key in keys:
            obj = context.view.get(key)
            if obj is not None:
                found[key] = await self._one(key, obj, context)
        return found

    async def _one(self, key: Key, obj: Obj, context: Context) -> Gathered:
        spec = obj["spec"]
        names = {spec["trustDomain"], *(spec.get("domains") or ())}
        docket = await self._dockets.current(context, key.namespace, key.name)
        constitutions = await self._domains.get(context, names)
        live = None
        if spec["trustDomain"] in constitutions:
            live = opening.live_statement(constitutions[spec["trustDomain"]].latest, obj)
        fields = spec if docket is None else docket.fields
        amends = docket is not None and live is not None and live.digest != docket.digest
        gathered = Gathered(
            obj=obj,
            at=int(context.clock()),
            node_id=context.config.node_id,
            constitutions=constitutions,
            live=live,
            docket=docket,
            live_heads=await self._heads(obj, live, context) if docket is None or amends else {},
            contract=await self._contract(context, constitutions, fields),
            live_contract=await self._contract(context, constitutions, spec) if amends else None,
            rivals=opening.rivals(obj, context.view),
            open_by_proposer=opening.open_by_proposer(obj, context.view),
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

    @staticmethod
    async def _heads(obj: Obj, live: Statement | None, context: Context) -> Mapping[str, Recorded]:
        """Last entries of the live statement, and of a refusal of this edit of the object."""
        statement = [] if live is None else [live.digest]
        return await context.log.heads([*statement, opening.refusal_subject(obj)])

    async def _contract(
        self, context: Context, constitutions: Mapping[str, Constitution], fields: Mapping[str, Any]
    ) -> Contract | None:
        """What a proposal is on: the object, its last entry, and the content in force; None: no such object."""
        target = fields["target"]
        if target["kind"] != "DynamicContract":
            return None
        obj = context.view.get(Key("DynamicContract", "", target["name"]))
        if obj is None:
            return None
        await self._entries.check(context.log, obj)
        contract_id = str(obj["spec"]["genesis"]["contractId"])
        head = (await context.log.heads([contract_id])).get(contract_id)
        data = None
        if head is not None and head.event_type != GENESIS:
            data = (await context.content.get([head.detail["digest"]])).get(head.detail["digest"])
        return Contract.of(obj, constitutions.get(obj["spec"]["trustDomain"]), head, data)

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


def _of_vote(obj: Obj, view: View) -> Sequence[Key]:
    """The proposal that a vote names, and any open one with the digest that it binds."""
    proposal = obj["spec"].get("proposal") or {}
    named = Key("GovernanceProposal", proposal.get("namespace", ""), proposal.get("name", ""))
    return [
        key for key in (named, *view.by("GovernanceProposal", "digest", proposal.get("digest", ""))) if view.get(key)
    ]


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
