"""Signed heartbeats: a Lease per domain in the node's namespace (trust.md, "Identities on a cluster")."""

from pathlib import Path
from typing import Any

from quorate_cli.cluster import Cluster
from quorate_cli.signers import Signer

Obj = dict[str, Any]
HEARTBEAT = "quorate.dev/heartbeat"
"""Label that the operator watches, and the annotation that holds the signed heartbeat as JSON."""


def beat(cluster: Cluster, *, node: str, domain: str, signer: Signer, now: int) -> Obj:
    """Make, sign and write the heartbeat Lease of MeshNode `node` in TrustDomain `domain`; returns the Lease.

    Reads the node's id, the domain's challenge (status) and the contracts in force of the domain (`held`). `now` is in
    Unix seconds.

    Raises:
        CliError: node or domain do not exist, the domain has no challenge yet, or the cluster cannot be reached.
    """
    raise NotImplementedError


def beat_with_key_file(kubeconfig: Path, *, node: str, domain: str, key: Path, now: int | None = None) -> Obj:
    """`beat` with a kubeconfig and a Machine key file, at the current time; what the sandbox's supervisor calls."""
    raise NotImplementedError
