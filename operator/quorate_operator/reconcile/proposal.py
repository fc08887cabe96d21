"""GovernanceProposal: opening, acts, decision, execution, each recorded before it takes effect (governance.md).

One step at a time: a plan that records entries asks to be looked at again, and the next look starts from what was
recorded. So a crash between any two steps, or a second leader, changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from quorate.api.conditions import Reason
from quorate.proposals.lifecycle import Action, due
from quorate_operator.kube.resources import Key, Obj
from quorate_operator.reconcile import proposal_decision as decision
from quorate_operator.reconcile import proposal_execution as execution
from quorate_operator.reconcile import proposal_opening as opening
from quorate_operator.reconcile.contract import GENESIS
from quorate_operator.reconcile.docket import Docket, Dockets
from quorate_operator.reconcile.domains import Domains
from quorate_operator.reconcile.proposal_gathered import Contract, Gathered
from quorate_operator.reconcile.proposal_proof import gather_proof
from quorate_operator.reconcile.proposal_status import outdated_votes, shown, unopened
from quorate_operator.reconcile.protocol import Context, Plan, Relation
from quorate_operator.view import View


class GovernanceProposals:
    """Reconciles GovernanceProposals."""

    kind = "GovernanceProposal"

    def __init__(self, domains: Domains, dockets: Dockets) -> None:
        self._domains = domains
        self._dockets = dockets
        self.relations: Mapping[str, Relation] = {
            "Vote": _of_vote,
            "TrustDomain": lambda obj, view: view.by("GovernanceProposal", "domain", obj["metadata"]["name"]),
            "ConfigMap": _of_content,
        }

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
        gathered = Gathered(
            obj=obj,
            at=int(context.clock()),
            node_id=context.config.node_id,
            constitutions=constitutions,
            live=live,
            docket=docket,
            live_heads=await context.log.heads([live.digest]) if live is not None and docket is None else {},
            contract=await _contract(context, spec if docket is None else docket.fields),
            rivals=opening.rivals(obj, context.view),
            open_by_proposer=opening.open_by_proposer(obj, context.view),
        )
        if docket is None:
            return gathered
        unseen = await self._unseen(gathered, docket, context)
        if unseen:
            return gathered.waiting_for(unseen)
        gathered = replace(gathered, outdated=outdated_votes(docket, context.view, gathered.at))
        gathered = await execution.gather_evidence(gathered, docket, context)
        return await gather_proof(gathered, docket, context)

    async def _unseen(self, gathered: Gathered, docket: Docket, context: Context) -> tuple[Key, ...]:
        """Votes that the API server has and the log has not, asked for only when a decision is about to be taken."""
        if not decision.falls_due(gathered, docket):
            return ()
        listed = await context.client.list_all("Vote", fields=f"spec.proposal.digest={docket.digest}")
        for vote in listed:
            context.view.fold(vote)
        return decision.unrecorded(docket, listed)

    def decide(self, gathered: Gathered, now: int) -> Plan:
        """The next step of the proposal's life, or its status."""
        docket = gathered.docket
        home = gathered.constitutions.get(gathered.obj["spec"]["trustDomain"])
        if home is not None and home.latest.home_hub != gathered.node_id:
            message = f"{home.latest.home_hub} decides for {home.latest.name}; this operator is another node"
            return unopened(gathered, Reason.NOT_HOME_HUB, message, now, stalled=False)
        if docket is None:
            return opening.open_proposal(gathered, now)
        if gathered.unseen:
            return Plan(dirty=gathered.unseen, wake_at=now + 1)
        plan = opening.amend(gathered, docket, now) or decision.record_acts(gathered, docket, now)
        if plan is not None:
            return plan
        todo = due(docket.life, gathered.at)
        if todo.action in (Action.DECIDE, Action.RATIFY):
            plan = decision.record_decision(gathered, docket, now)
        elif todo.action in (Action.EXECUTE, Action.EXPIRE):
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


async def _contract(context: Context, fields: Mapping[str, Any]) -> Contract | None:
    """The contract that a proposal is on: its object, last entry, and the content in force; None: no such object."""
    target = fields["target"]
    obj = context.view.get(Key("DynamicContract", "", target["name"])) if target["kind"] == "DynamicContract" else None
    if obj is None:
        return None
    contract_id = str(obj["spec"]["genesis"]["contractId"])
    head = (await context.log.heads([contract_id])).get(contract_id)
    data = None
    if head is not None and head.event_type != GENESIS:
        data = (await context.content.get([head.detail["digest"]])).get(head.detail["digest"])
    return Contract.of(obj, head, data)
