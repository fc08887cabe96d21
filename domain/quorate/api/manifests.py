"""Roles, admission policy and node identities as plain manifests (trust.md, "Identities on a cluster").

`manifests/rbac.yaml` and `manifests/admission.yaml` are generated from here; `node_identity` is what
`quorate node register` prints or applies.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from quorate.api.registry import API_VERSION, GROUP, KINDS
from quorate.api.schema import UUID4, Privilege

Manifest = dict[str, Any]

NAMESPACE = "quorate-system"
OPERATOR = "quorate-operator"
AGENT = "quorate-agent"
"""ServiceAccount, roles and DaemonSet of the node agents."""
NODE_POLICIES = "quorate-node-policies"
"""ConfigMap that they read (docs/missions-distribution.md)."""
NODE_PREFIX = "quorate-node-"
NODE_ACCOUNT = "node"
NODE_ID_LABEL = f"{GROUP}/node-id"
HEARTBEAT_PREFIX = "quorate-heartbeat-"
COSIGNATURE_PREFIX = "quorate-cosignature-"
NOTIFICATIONS = "quorate-notifications"
"""Lease that remembers which notices were sent (docs/notifications.md)."""
NODE_LEASES = (HEARTBEAT_PREFIX, COSIGNATURE_PREFIX)
"""What the Leases of a node begin with; the name of a TrustDomain follows."""
MAX_NODE_NAME = 50
NODE_QUOTA = 500
_RBAC = "rbac.authorization.k8s.io"
_PART_OF = {"app.kubernetes.io/part-of": "quorate"}
_READ = ["get", "list", "watch"]
_WRITE = ["create", "update", "patch", "delete"]


def _rule(groups: Sequence[str], resources: Sequence[str], verbs: Sequence[str], **more: list[str]) -> Manifest:
    return {"apiGroups": list(groups), "resources": list(resources), "verbs": list(verbs), **more}


def _object(kind: str, name: str, namespace: str = "", *, api: str = f"{_RBAC}/v1", **content: Any) -> Manifest:
    labels = _PART_OF | content.pop("labels", {})
    metadata: Manifest = {"name": name, "labels": labels}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **content}


def _binding(role: str, subjects: list[Manifest], name: str, namespace: str = "") -> Manifest:
    """Binds a Role inside `namespace`, or a ClusterRole everywhere."""
    scope = "" if namespace else "Cluster"
    reference = {"apiGroup": _RBAC, "kind": f"{scope}Role", "name": role}
    return _object(f"{scope}RoleBinding", name, namespace, roleRef=reference, subjects=subjects)


def _operator_subjects() -> list[Manifest]:
    return [
        {"kind": "User", "apiGroup": _RBAC, "name": OPERATOR},
        {"kind": "ServiceAccount", "namespace": NAMESPACE, "name": OPERATOR},
    ]


def _operator_rules() -> list[Manifest]:
    """What the operator may do anywhere: it reads specs and writes status; it never writes a signed spec."""
    plurals = [kind.plural for kind in KINDS]
    return [
        _rule([GROUP], plurals, _READ),
        _rule([GROUP], [f"{plural}/status" for plural in plurals], ["get", "patch", "update"]),
        _rule([GROUP], ["auditcheckpoints", "policyconflicts"], ["create", "patch"]),
        _rule([GROUP], ["governanceproposals", "votes", "attestations"], ["delete"]),
        _rule([GROUP], ["missionpolicies"], ["patch"]),
        _rule(["apiextensions.k8s.io"], ["customresourcedefinitions"], _READ),
        _rule([""], ["namespaces"], _READ),
        # How many nodes a MissionPolicy covers.
        _rule([""], ["nodes"], ["list"]),
        _rule(["coordination.k8s.io"], ["leases"], _READ),
        # Kopf watches a kind in the whole cluster; the label selector it sends is no limit that RBAC could check.
        _rule([""], ["configmaps"], ["list", "watch"]),
        _rule(["", "events.k8s.io"], ["events"], ["create", "patch"]),
        # An agent asks, the operator checks that the pod is on the agent's node and evicts it: never past a
        # PodDisruptionBudget, and it cannot delete one.
        _rule([""], ["pods"], ["get"]),
        _rule([""], ["pods/eviction"], ["create"]),
    ]


def _system_rules() -> list[Manifest]:
    """What the operator may do in its own namespace: its two Leases, content projections, the agents' DaemonSet."""
    return [
        _rule(["coordination.k8s.io"], ["leases"], ["create"]),
        _rule(["coordination.k8s.io"], ["leases"], ["get", "update", "patch"], resourceNames=[OPERATOR, NOTIFICATIONS]),
        _rule([""], ["configmaps"], [*_READ, *_WRITE]),
        _rule(["apps"], ["daemonsets"], ["create"]),
        _rule(["apps"], ["daemonsets"], ["get", "patch", "delete"], resourceNames=[AGENT]),
    ]


def _people_roles() -> list[Manifest]:
    """Roles aggregated into view, edit and admin; nobody but the operator writes a status."""
    plurals = [kind.plural for kind in KINDS]
    verbs = {"view": _READ, "edit": [*_READ, *_WRITE], "admin": [*_READ, *_WRITE, "deletecollection"]}
    return [
        _object(
            "ClusterRole",
            f"quorate-{role}",
            labels={f"{_RBAC}/aggregate-to-{role}": "true"},
            rules=[_rule([GROUP], plurals, allowed)],
        )
        for role, allowed in verbs.items()
    ]


def _node_reader() -> Manifest:
    """What every node may read: the constitution, its challenges, what is put to the vote, checkpoints."""
    read = ["trustdomains", "meshnodes", "dynamiccontracts", "contractsyncs", "governanceproposals", "auditcheckpoints"]
    return _object("ClusterRole", "quorate-node-reader", rules=[_rule([GROUP], read, _READ)])


def _agent() -> list[Manifest]:
    """What node agents may do: read. They write nothing in Kubernetes; the operator evicts (gpu.md, "Ladder")."""
    account = [{"kind": "ServiceAccount", "namespace": NAMESPACE, "name": AGENT}]
    return [
        _object("ServiceAccount", AGENT, NAMESPACE, api="v1"),
        # Its own node's labels, by which it picks its policies; the pods on it are told by kubelet and runtime.
        _object("ClusterRole", AGENT, rules=[_rule([""], ["nodes"], ["get"])]),
        _binding(AGENT, account, AGENT),
        _object("Role", AGENT, NAMESPACE, rules=[_rule([""], ["configmaps"], _READ, resourceNames=[NODE_POLICIES])]),
        _binding(AGENT, account, AGENT, NAMESPACE),
    ]


def rbac() -> list[Manifest]:
    """Namespace, ServiceAccount and roles of the operator and the agents, of people, and what nodes may read."""
    return [
        _object("Namespace", NAMESPACE, api="v1"),
        _object("ServiceAccount", OPERATOR, NAMESPACE, api="v1"),
        _object("ClusterRole", OPERATOR, rules=_operator_rules()),
        _binding(OPERATOR, _operator_subjects(), OPERATOR),
        _object("Role", OPERATOR, NAMESPACE, rules=_system_rules()),
        _binding(OPERATOR, _operator_subjects(), OPERATOR, NAMESPACE),
        *_agent(),
        *_people_roles(),
        _node_reader(),
    ]


def _identity_check(resource: str, field: str) -> Manifest:
    """A node signs as itself only: `field` of its objects is the node id of its namespace."""
    label = "variables.nodeId"
    return {
        "expression": f"request.resource.resource != '{resource}' || request.operation == 'DELETE' || "
        f"object.spec.{field} == {label}",
        "message": f"{field} must be the node id of the namespace",
        "messageExpression": f"'spec.{field} ' + object.spec.{field} + ' is not this node: namespace ' + "
        f"variables.where + ' belongs to ' + {label}",
    }


_IS_NODE: Manifest = {
    "name": "is-node",
    "expression": f"request.userInfo.username.matches('^system:serviceaccount:{NODE_PREFIX}[^:]*:{NODE_ACCOUNT}$')",
}


def _policy_spec() -> Manifest:
    everything = {"apiVersions": ["*"], "operations": ["CREATE", "UPDATE", "DELETE"]}
    return {
        "failurePolicy": "Fail",
        "matchConstraints": {
            "resourceRules": [
                {"apiGroups": ["*"], "resources": ["*/*"], "scope": "Namespaced", **everything},
                {"apiGroups": [GROUP], "resources": ["*/*"], "scope": "Cluster", **everything},
            ]
        },
        "matchConditions": [_IS_NODE],
        "variables": [
            # Empty request fields are absent, not empty strings.
            {"name": "where", "expression": "has(request.namespace) ? request.namespace : ''"},
            {"name": "part", "expression": "has(request.subResource) ? request.subResource : ''"},
            {"name": "own", "expression": "request.userInfo.username.split(':')[2]"},
            {"name": "subject", "expression": "request.operation == 'DELETE' ? oldObject : object"},
            {
                "name": "nodeId",
                "expression": "namespaceObject != null && has(namespaceObject.metadata.labels) && "
                f"'{NODE_ID_LABEL}' in namespaceObject.metadata.labels ? "
                f"namespaceObject.metadata.labels['{NODE_ID_LABEL}'] : ''",
            },
        ],
        "validations": _validations(),
    }


def _validations() -> list[Manifest]:
    leases = " and ".join(f"{prefix}<domain>" for prefix in NODE_LEASES)
    return [
        {
            "expression": "variables.where == variables.own",
            "message": "a node writes in its own namespace only",
            "messageExpression": "'namespace ' + (variables.where == '' ? 'none' : variables.where) + "
            "' is not that of the node: it may write in ' + variables.own + ' only'",
        },
        {
            "expression": "variables.part == '' && "
            f"((request.resource.group == '{GROUP}' && request.resource.resource in ['votes', 'attestations']) || "
            "(request.resource.group == 'coordination.k8s.io' && request.resource.resource == 'leases'))",
            "message": "a node writes Votes, Attestations and Leases only",
            "messageExpression": "'resource ' + request.resource.resource + (variables.part == '' ? '' : '/' + "
            "variables.part) + ' is not for nodes: they write votes, attestations and leases only'",
        },
        _identity_check("votes", "voter"),
        _identity_check("attestations", "attester"),
        {
            "expression": "request.resource.resource != 'leases' || "
            + " || ".join(f"variables.subject.metadata.name.startsWith('{prefix}')" for prefix in NODE_LEASES),
            "message": f"a node writes Leases named {leases} only",
            "messageExpression": "'lease ' + variables.subject.metadata.name + "
            f"' is not for nodes: they write {leases} only'",
        },
    ]


def _patch_policy() -> Manifest:
    """Operations that lost their value: client-side `kubectl apply` drops null, and then no signature would hold.

    A rule of the CRD cannot say it: a field that keeps unknown content is invisible to CEL there.
    """
    lost = "o, o.op in ['add', 'replace', 'test'] && !has(o.value)"
    return {
        "failurePolicy": "Fail",
        "matchConstraints": {
            "resourceRules": [
                {
                    "apiGroups": [GROUP],
                    "apiVersions": ["*"],
                    "operations": ["CREATE", "UPDATE"],
                    "resources": ["governanceproposals"],
                }
            ]
        },
        "validations": [
            {
                "expression": f"!has(object.spec.change.patch) || !object.spec.change.patch.exists({lost})",
                "message": "spec.change.patch: value is required for add, replace and test",
                "messageExpression": "'spec.change.patch: op ' + "
                f"object.spec.change.patch.filter({lost})[0].op + ' requires value; if it is null, use "
                "kubectl apply --server-side: plain kubectl apply drops null'",
            }
        ],
    }


def _privileges_policy() -> Manifest:
    """A node's own identity writes no more than its MeshNode's `spec.privileges` leaves it; looked at per MeshNode.

    Signed votes are not voided: whoever else applies one is not matched.
    """
    voting = "(request.resource.resource == 'votes' || object.spec.type == 'Delegation')"
    return {
        "failurePolicy": "Fail",
        "paramKind": {"apiVersion": API_VERSION, "kind": "MeshNode"},
        "matchConstraints": {
            "resourceRules": [
                {
                    "apiGroups": [GROUP],
                    "apiVersions": ["*"],
                    "operations": ["CREATE", "UPDATE"],
                    "resources": ["votes", "attestations"],
                }
            ]
        },
        "matchConditions": [_IS_NODE],
        "variables": [
            {"name": "own", "expression": "request.userInfo.username.split(':')[2]"},
            {
                "name": "needed",
                "expression": f"{voting} ? '{Privilege.VOTE_ON_PROPOSAL}' : '{Privilege.VALIDATE_ATTESTATION}'",
            },
        ],
        "validations": [
            {
                "expression": f"'{NODE_PREFIX}' + params.metadata.name != variables.own || "
                "!has(params.spec.privileges) || variables.needed in params.spec.privileges",
                "message": "spec.privileges of the MeshNode does not hold the privilege",
                "messageExpression": "'MeshNode ' + params.metadata.name + ' spec.privileges [' + "
                "params.spec.privileges.join(', ') + '] does not hold ' + variables.needed + "
                "': its own identity may not write ' + request.resource.resource",
            }
        ],
    }


def _policy(name: str, spec: Manifest) -> list[Manifest]:
    api = "admissionregistration.k8s.io/v1"
    binding: Manifest = {"policyName": name, "validationActions": ["Deny"]}
    if "paramKind" in spec:
        binding["paramRef"] = {"selector": {}, "parameterNotFoundAction": "Allow"}
    return [
        _object("ValidatingAdmissionPolicy", name, api=api, spec=spec),
        _object("ValidatingAdmissionPolicyBinding", name, api=api, spec=binding),
    ]


def admission() -> list[Manifest]:
    """The ValidatingAdmissionPolicies and their bindings.

    One holds node identities to their own namespace and name, one to the privileges of their MeshNode, one refuses a
    patch that lost a null on its way.
    """
    return [
        *_policy("quorate-node-identity", _policy_spec()),
        *_policy("quorate-node-privileges", _privileges_policy()),
        *_policy("quorate-patch-value", _patch_policy()),
    ]


def node_namespace(name: str) -> str:
    """Namespace of the MeshNode `name`; raises ValueError if it cannot be one."""
    if len(name) > MAX_NODE_NAME or re.fullmatch("[a-z0-9]([-a-z0-9]*[a-z0-9])?", name) is None:
        raise ValueError(
            f"name {name!r}: a MeshNode with an identity is named by at most {MAX_NODE_NAME} lower-case letters, "
            "digits and dashes, since its namespace carries the name"
        )
    return NODE_PREFIX + name


def _node_rules() -> list[Manifest]:
    return [
        _rule([GROUP], ["votes", "attestations"], [*_READ, "create", "delete"]),
        _rule(["coordination.k8s.io"], ["leases"], ["get", "list", "watch", "create", "update", "patch"]),
    ]


def _privileges(names: Iterable[str]) -> list[str]:
    found, known = list(dict.fromkeys(names)), list(map(str, Privilege))
    for name in found:
        if name not in known:
            raise ValueError(f"privilege {name!r}: must be one of {', '.join(known)}")
    return found


def node_identity(
    name: str, node_id: str, trust_domains: Iterable[str] = (), privileges: Iterable[str] | None = None
) -> list[Manifest]:
    """What gives the node `name` an identity on this cluster, in the order in which it is applied.

    Namespace with the node's id, ServiceAccount, Role and RoleBinding, ResourceQuota, the right to read the mesh, and
    the MeshNode; `privileges` narrow it (None: what its role allows). Raises ValueError for a name that no namespace
    can carry, a node id that is no UUIDv4, or what is no privilege.
    """
    namespace = node_namespace(name)
    if re.fullmatch(UUID4, node_id) is None:
        raise ValueError(f"nodeId {node_id!r}: expected a UUIDv4 in lower case")
    account = [{"kind": "ServiceAccount", "namespace": namespace, "name": NODE_ACCOUNT}]
    quota = {f"count/{plural}.{GROUP}": str(NODE_QUOTA) for plural in ("votes", "attestations")}
    spec: Manifest = {"nodeId": node_id}
    if domains := list(trust_domains):
        spec["trustDomains"] = domains
    if privileges is not None:
        spec["privileges"] = _privileges(privileges)
    return [
        _object("Namespace", namespace, api="v1", labels={NODE_ID_LABEL: node_id}),
        _object("ServiceAccount", NODE_ACCOUNT, namespace, api="v1"),
        _object("Role", NODE_ACCOUNT, namespace, rules=_node_rules()),
        _binding(NODE_ACCOUNT, account, NODE_ACCOUNT, namespace),
        _object("ResourceQuota", NODE_ACCOUNT, namespace, api="v1", spec={"hard": quota}),
        _binding("quorate-node-reader", account, namespace),
        _object("MeshNode", name, api=API_VERSION, spec=spec),
    ]
