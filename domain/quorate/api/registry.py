"""The table of kinds: what the CRD generator, the operator and the command line iterate over."""

from dataclasses import dataclass

from quorate.api.attestation import Attestation
from quorate.api.audit_checkpoint import AuditCheckpoint
from quorate.api.contract_sync import ContractSync
from quorate.api.dynamic_contract import DynamicContract
from quorate.api.governance_proposal import GovernanceProposal
from quorate.api.mesh_node import MeshNode
from quorate.api.mission_policy import MissionPolicy
from quorate.api.policy_conflict import PolicyConflict
from quorate.api.resource import API_VERSION, GROUP, VERSION, Resource
from quorate.api.trust_domain import TrustDomain
from quorate.api.vote import Vote

__all__ = ["API_VERSION", "GROUP", "KINDS", "VERSION", "Kind", "kind_named"]


@dataclass(frozen=True)
class Kind:
    """The names of one kind, and its model."""

    kind: str
    plural: str
    singular: str
    short: str
    namespaced: bool
    model: type[Resource]

    @property
    def crd_name(self) -> str:
        """Name of the CustomResourceDefinition."""
        return f"{self.plural}.{GROUP}"


def _kind(model: type[Resource]) -> Kind:
    name = model.__name__
    return Kind(name, model.plural, name.lower(), model.short_name, model.namespaced, model)


KINDS: tuple[Kind, ...] = tuple(
    _kind(model)
    for model in (
        MeshNode,
        TrustDomain,
        GovernanceProposal,
        Vote,
        PolicyConflict,
        Attestation,
        DynamicContract,
        ContractSync,
        AuditCheckpoint,
        MissionPolicy,
    )
)

_BY_NAME = {kind.kind: kind for kind in KINDS}


def kind_named(name: str) -> Kind:
    """The kind with this name; raises KeyError for any other."""
    return _BY_NAME[name]
