"""Every reconciler, in dependency order: what others need is decided first."""

from typing import Any

from quorate_operator.kube.resources import OWN_KINDS, Key
from quorate_operator.reconcile.attestation import Attestations
from quorate_operator.reconcile.behind import Checked, LastEntries
from quorate_operator.reconcile.checkpoint import AuditCheckpoints
from quorate_operator.reconcile.conflict import PolicyConflicts
from quorate_operator.reconcile.conflict_docket import Conflicts
from quorate_operator.reconcile.conflict_vote import AllVotes
from quorate_operator.reconcile.contract import DynamicContracts
from quorate_operator.reconcile.contract_holders import Holdings
from quorate_operator.reconcile.dockets import Dockets
from quorate_operator.reconcile.domains import Domains
from quorate_operator.reconcile.mesh_node import MeshNodes
from quorate_operator.reconcile.mission_agents import Agents
from quorate_operator.reconcile.mission_document import NodePolicies
from quorate_operator.reconcile.mission_log import AGENTS, DOCUMENT, MissionLog
from quorate_operator.reconcile.mission_policy import MissionPolicies
from quorate_operator.reconcile.not_built import NotBuilt
from quorate_operator.reconcile.proposal import GovernanceProposals
from quorate_operator.reconcile.protocol import Reconciler
from quorate_operator.reconcile.trust_domain import TrustDomains
from quorate_operator.reconcile.vote import Votes

AT_START: tuple[Key, ...] = (DOCUMENT, AGENTS)
"""What is looked at first although no object may be there that asks for it."""


def reconcilers() -> list[Reconciler[Any]]:
    """One reconciler per kind, in the order of `OWN_KINDS`; then what is made of MissionPolicies."""
    domains, entries = Domains(), LastEntries()
    dockets, holdings, conflicts = Dockets(domains), Holdings(), Conflicts(domains)
    missions = MissionLog()
    policies = MissionPolicies(missions, domains)
    built: dict[str, Reconciler[Any]] = {
        item.kind: Checked(item, entries)
        for item in (
            TrustDomains(domains, dockets),
            MeshNodes(domains, holdings),
            DynamicContracts(domains, holdings),
            Attestations(domains),
            AllVotes(Votes(dockets), conflicts),
            GovernanceProposals(domains, dockets, conflicts, entries),
            PolicyConflicts(domains, conflicts),
            AuditCheckpoints(domains),
            policies,
        )
    }
    own = [built.get(resource.kind) or NotBuilt(resource.kind) for resource in OWN_KINDS]
    return [*own, NodePolicies(missions, policies, entries), Agents(missions)]
