"""Every reconciler, in dependency order: what others need is decided first."""

from typing import Any

from quorate_operator.kube.resources import OWN_KINDS
from quorate_operator.reconcile.contract import DynamicContracts
from quorate_operator.reconcile.domains import Domains
from quorate_operator.reconcile.mesh_node import MeshNodes
from quorate_operator.reconcile.not_built import NotBuilt
from quorate_operator.reconcile.protocol import Reconciler
from quorate_operator.reconcile.trust_domain import TrustDomains


def reconcilers() -> list[Reconciler[Any]]:
    """One reconciler per kind, in the order of `OWN_KINDS`."""
    domains = Domains()
    built: dict[str, Reconciler[Any]] = {
        item.kind: item for item in (TrustDomains(domains), MeshNodes(domains), DynamicContracts(domains))
    }
    return [built.get(resource.kind) or NotBuilt(resource.kind) for resource in OWN_KINDS]
