"""What a new cluster and database get: resources, rights, admission policy, schema, simulated nodes."""

import time
from collections.abc import Iterable
from typing import Any

from quorate.api.crd import custom_resource_definitions
from quorate.api.manifests import admission, rbac
from quorate.audit.quarantine import SYSTEM
from quorate_cli.cluster import Cluster, RefusedError
from quorate_cli.keys import Purpose, make_key
from quorate_cli.sandbox import postgres
from quorate_cli.sandbox.errors import SandboxError
from quorate_cli.sandbox.layout import MACHINE_KEY, Layout
from quorate_operator.errors import OperatorError
from quorate_operator.store import intake, migrate

Obj = dict[str, Any]
_PLURALS = {"ValidatingAdmissionPolicy": "validatingadmissionpolicies"}
_APPLY = {"fieldManager": "quorate-sandbox", "force": "true"}
_RBAC = "rbac.authorization.k8s.io/v1"
OPERATOR_ROLE = "quorate_operator"
"""Login of the operator: a member of the schema's roles."""


def apply(cluster: Cluster, manifests: Iterable[Obj]) -> None:
    """Server-side apply of any manifests, in their order."""
    for manifest in manifests:
        meta = manifest["metadata"]
        plural = _PLURALS.get(manifest["kind"], f"{manifest['kind'].lower()}s")
        version = manifest["apiVersion"]
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        space = f"/namespaces/{meta['namespace']}" if "namespace" in meta else ""
        cluster.request(
            "PATCH",
            f"{root}{space}/{plural}/{meta['name']}",
            body=manifest,
            query=_APPLY,
            content_type="application/apply-patch+yaml",
        )


def install_resources(cluster: Cluster, deadline: float) -> None:
    """CRDs, RBAC and the admission policy of the manifests; waits until the API server serves every kind.

    `deadline` in monotonic seconds.
    """
    definitions = custom_resource_definitions()
    apply(cluster, definitions)
    apply(cluster, rbac())
    apply(cluster, admission())
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    names = {definition["metadata"]["name"] for definition in definitions}
    while time.monotonic() < deadline:
        listed = cluster.request("GET", path)["items"]
        if names <= {crd["metadata"]["name"] for crd in listed if _is_established(crd)}:
            return
        time.sleep(0.05)
    raise SandboxError(
        "the API server does not serve the CustomResourceDefinitions; see `quorate sandbox logs apiserver`"
    )


def _is_established(crd: Obj) -> bool:
    conditions = crd.get("status", {}).get("conditions", ())
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)


def install_kwok_rights(cluster: Cluster) -> None:
    """What kwok may do, as user `kwok`: play nodes and pods, no more."""
    rules = [
        {
            "apiGroups": [""],
            "resources": ["nodes", "pods"],
            "verbs": ["get", "list", "watch", "patch", "update", "delete"],
        },
        {"apiGroups": [""], "resources": ["nodes/status", "pods/status"], "verbs": ["patch", "update"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["*"]},
        {"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch", "update"]},
    ]
    name = {"name": "quorate-sandbox-kwok"}
    role = {"apiVersion": _RBAC, "kind": "ClusterRole", "metadata": name, "rules": rules}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", **name}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "kwok"}
    binding = {"apiVersion": _RBAC, "kind": "ClusterRoleBinding", "metadata": name, "roleRef": reference,
               "subjects": [subject]}  # fmt: skip
    apply(cluster, [role, binding])


def create_nodes(cluster: Cluster, count: int, gpus: int) -> None:
    """`count` nodes `gpu-node-0…`, each with `gpus` of `nvidia.com/gpu`; those that exist are left."""
    capacity = {"cpu": "128", "memory": "1Ti", "pods": "110", "ephemeral-storage": "1Ti"}
    labels = {"type": "kwok", "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    if gpus:
        capacity["nvidia.com/gpu"] = str(gpus)
        labels["nvidia.com/gpu.present"] = "true"
    for number in range(count):
        name = f"gpu-node-{number}"
        metadata = {
            "name": name,
            "labels": {**labels, "kubernetes.io/hostname": name},
            "annotations": {"kwok.x-k8s.io/node": "fake"},
        }
        node = {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "status": {"capacity": capacity}}
        try:
            cluster.request("POST", "/api/v1/nodes", body=node)
        except RefusedError as error:
            if error.status != 409:
                raise


def install_database(layout: Layout) -> None:
    """The database, its schema by the operator's own migrations, and a login for each role."""
    postgres.create_database(layout)
    dsn = postgres.dsn(layout, postgres.SUPERUSER)
    try:
        migrate.migrate(dsn)
        migrate.create_login(dsn, OPERATOR_ROLE)
        intake.make_key(layout.state / "log-keys")
        if not (layout.state / "log-keys" / f"{SYSTEM}.key").exists():
            make_key(SYSTEM, Purpose.LOG, layout.state / "log-keys")
        if not (layout.state / MACHINE_KEY).exists():
            make_key(MACHINE_KEY.removesuffix(".key"), Purpose.MACHINE, layout.state)
    except OperatorError as error:
        raise SandboxError(str(error)) from None
    postgres.allow_logins(layout, migrate.ROLES)
