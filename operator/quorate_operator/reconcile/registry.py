"""Every reconciler, in dependency order: what others need is decided first."""

from typing import Any

from quorate_operator.kube.resources import OWN_KINDS
from quorate_operator.reconcile.not_built import NotBuilt
from quorate_operator.reconcile.protocol import Reconciler


def reconcilers() -> list[Reconciler[Any]]:
    """One reconciler per kind, in the order of `OWN_KINDS`."""
    built: dict[str, Reconciler[Any]] = {}
    return [built.get(resource.kind) or NotBuilt(resource.kind) for resource in OWN_KINDS]
