"""Signed heartbeats: a Lease per domain in the node's namespace (trust.md, "Identities on a cluster")."""

import json
import time
from pathlib import Path
from typing import Any

from quorate.canonical import format_time
from quorate.identity.statements import heartbeat_statement
from quorate_cli.cluster import Cluster
from quorate_cli.output import CliError
from quorate_cli.place import connect
from quorate_cli.signers import Signer, open_signer, sign_statement
from quorate_cli.sources import why_not

Obj = dict[str, Any]
HEARTBEAT = "quorate.dev/heartbeat"
"""Label that the operator watches, and the annotation that holds the signed heartbeat as JSON."""


def signed_heartbeat(
    signer: Signer, *, mesh_id: str, domain: str, node_id: str, challenge: str, held: dict[str, str], now: int
) -> Obj:
    """{nodeId, renewTime, challenge, held, signature}; `now` in Unix seconds, `held` contractId → digest in force."""
    heartbeat: Obj = {"nodeId": node_id, "renewTime": format_time(now), "challenge": challenge, "held": held}
    return {**heartbeat, "signature": sign_statement(signer, heartbeat_statement(mesh_id, domain, heartbeat))}


def lease(node: str, domain: str, heartbeat: Obj, *, duration: int) -> Obj:
    """The Lease of a heartbeat: `quorate-heartbeat-<domain>` in `quorate-node-<node>`; `duration` in seconds."""
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": f"quorate-heartbeat-{domain}",
            "namespace": f"quorate-node-{node}",
            "labels": {HEARTBEAT: "true"},
            "annotations": {HEARTBEAT: json.dumps(heartbeat, sort_keys=True, separators=(",", ":"))},
        },
        "spec": {
            "holderIdentity": heartbeat["nodeId"],
            "leaseDurationSeconds": duration,
            "renewTime": heartbeat["renewTime"].replace("Z", ".000000Z"),
        },
    }


def beat(cluster: Cluster, *, node: str, domain: str, signer: Signer, now: int) -> Obj:
    """Make, sign and write the heartbeat Lease of MeshNode `node` in TrustDomain `domain`; returns the Lease.

    Reads the node's id, the domain's challenge (status) and the contracts in force of the domain (`held`). `now` is in
    Unix seconds.

    Raises:
        CliError: node or domain do not exist, the domain has no challenge yet, or the cluster cannot be reached.
    """
    member = cluster.get("MeshNode", node)
    constitution = cluster.get("TrustDomain", domain)
    challenge = ((constitution.get("status") or {}).get("challenge") or {}).get("current")
    if not challenge:
        raise CliError(f"TrustDomain {domain!r}: has no challenge yet{why_not(constitution, 'Authorized', 'Ready')}")
    heartbeat = signed_heartbeat(
        signer,
        mesh_id=constitution["spec"]["meshId"],
        domain=domain,
        node_id=member["spec"]["nodeId"],
        challenge=challenge,
        held=held_contracts(cluster, domain),
        now=now,
    )
    grace = int((member["spec"].get("heartbeat") or {}).get("graceSeconds", 180))
    return cluster.apply(lease(node, domain, heartbeat, duration=grace))


def held_contracts(cluster: Cluster, domain: str) -> dict[str, str]:
    """ContractId → digest in force of the domain's contracts on this cluster; `{}` when none."""
    contracts = [item for item in cluster.list("DynamicContract") if item["spec"].get("trustDomain") == domain]
    pairs = [(item["spec"]["genesis"]["contractId"], (item.get("status") or {}).get("inForce")) for item in contracts]
    return {contract: in_force["digest"] for contract, in_force in pairs if in_force}


def beat_with_key_file(kubeconfig: Path, *, node: str, domain: str, key: Path, now: int | None = None) -> Obj:
    """`beat` with a kubeconfig and a Machine key file, at the current time; what the sandbox's supervisor calls."""
    cluster = connect(str(kubeconfig))
    try:
        moment = int(time.time()) if now is None else now
        return beat(cluster, node=node, domain=domain, signer=open_signer(str(key)), now=moment)
    finally:
        cluster.close()
