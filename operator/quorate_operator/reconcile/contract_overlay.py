"""What this cluster's node overrides of a contract, as the contract and the proposals on it see it."""

from collections.abc import Collection

from quorate.contracts.content import Content
from quorate.contracts.overlay import Overlay, judge_overrides, permission
from quorate.trust.domain import DomainRevision
from quorate_operator.kube.resources import Obj
from quorate_operator.reconcile.contract_past import Past
from quorate_operator.view import View


def own_privileges(view: View, node_id: str) -> frozenset[str] | None:
    """What the MeshNode of the operator's node is narrowed to; of several with this nodeId, what all of them leave."""
    nodes = [view.get(key) for key in view.by("MeshNode", "nodeId", node_id)]
    written = [obj["spec"]["privileges"] for obj in nodes if obj is not None and "privileges" in obj["spec"]]
    return frozenset.intersection(*map(frozenset, written)) if written else None


def overlay_on(
    node_id: str, domain: DomainRevision, obj: Obj, content: Content, past: Past, *, narrowed: Collection[str] | None
) -> Overlay:
    """`spec.localOverrides` of a DynamicContract, judged on the content in force.

    Args:
        node_id: The operator's.
        domain: The accepted revision of the contract's domain.
        obj: The DynamicContract.
        content: What is in force.
        past: The contract's entries.
        narrowed: `own_privileges`.
    """
    overrides = obj["spec"].get("localOverrides") or ()
    allowed = permission(domain, node_id, narrowed=narrowed)
    return judge_overrides(content, overrides, allowed, past.recorded, past.overruled)
