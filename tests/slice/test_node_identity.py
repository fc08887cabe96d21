"""What a node and the operator may do on a cluster, with real credentials (trust.md, "Identities on a cluster")."""

import time
import uuid
from dataclasses import dataclass
from typing import Any

import pytest

from quorate.api import manifests
from quorate_cli.cluster import Cluster, RefusedError
from quorate_cli.sandbox.instance import Sandbox
from quorate_operator.kube import connection
from quorate_operator.kube.connection import Connection
from tests.slice.test_resources import example

_GROUPS = {
    "v1": "/api/v1",
    "rbac.authorization.k8s.io/v1": "/apis/rbac.authorization.k8s.io/v1",
    "quorate.dev/v1alpha1": "/apis/quorate.dev/v1alpha1",
    "admissionregistration.k8s.io/v1": "/apis/admissionregistration.k8s.io/v1",
}
_PLURALS = {"ValidatingAdmissionPolicy": "validatingadmissionpolicies"}
_DENIED = "ValidatingAdmissionPolicy 'quorate-node-identity' with binding 'quorate-node-identity' denied request: "


def apply(cluster: Cluster, manifest: dict[str, Any]) -> dict[str, Any]:
    """Server-side apply of any manifest that `quorate.api.manifests` makes."""
    meta, kind = manifest["metadata"], manifest["kind"]
    namespace = f"/namespaces/{meta['namespace']}" if "namespace" in meta else ""
    plural = _PLURALS.get(kind, kind.lower() + "s")
    query = {"fieldManager": "test", "force": "true", "fieldValidation": "Strict"}
    path = f"{_GROUPS[manifest['apiVersion']]}{namespace}/{plural}/{meta['name']}"
    return cluster.request("PATCH", path, body=manifest, query=query, content_type="application/apply-patch+yaml")


@dataclass(frozen=True)
class Node:
    """A registered node and a client with its own credentials."""

    name: str
    node_id: str
    cluster: Cluster

    @property
    def namespace(self) -> str:
        return manifests.node_namespace(self.name)

    def vote(self, **changes: Any) -> dict[str, Any]:
        """A vote of this node, with changes to spec and metadata."""
        return self._made("Vote", "voter", changes)

    def attestation(self, **changes: Any) -> dict[str, Any]:
        """An attestation of this node, with changes to spec and metadata."""
        return self._made("Attestation", "attester", changes)

    def lease(self, name: str, namespace: str = "") -> dict[str, Any]:
        """A Lease in the node's namespace."""
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": name, "namespace": namespace or self.namespace},
        }

    def write(self, document: dict[str, Any]) -> dict[str, Any]:
        """Create with the node's credentials."""
        plurals = {"Vote": "votes", "Attestation": "attestations", "Lease": "leases"}
        path = f"/apis/{document['apiVersion']}/namespaces/{document['metadata']['namespace']}"
        return self.cluster.request("POST", f"{path}/{plurals[document['kind']]}", body=document)

    def _made(self, kind: str, field: str, changes: dict[str, Any]) -> dict[str, Any]:
        document = example(kind, changes.pop("namespace", self.namespace))
        document["spec"] |= {field: self.node_id, **changes}
        return document


def register(admin: Cluster, source: Connection, name: str) -> Node:
    """What `quorate node register` applies, and a token of the node's ServiceAccount."""
    node_id = str(uuid.uuid4())
    for manifest in manifests.node_identity(name, node_id, ["fleet"]):
        found = apply(admin, manifest)
        if manifest["kind"] == "ResourceQuota":
            # No controller counts here: what it would write, so that the quota is known to admission.
            used = dict.fromkeys(manifest["spec"]["hard"], "0")
            path = f"/api/v1/namespaces/{found['metadata']['namespace']}/resourcequotas/node/status"
            body = {"status": {"hard": manifest["spec"]["hard"], "used": used}}
            admin.request("PATCH", path, body=body, content_type="application/merge-patch+json")
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}}
    path = f"/api/v1/namespaces/{manifests.node_namespace(name)}/serviceaccounts/node/token"
    token = admin.request("POST", path, body=request)["status"]["token"]
    return Node(name, node_id, Cluster(Connection(source.server, ca=source.ca, token=token)))


def eventually(action: Any, *, refused: str, seconds: float = 60) -> Any:
    """The result of `action`, repeated while it is refused with a sentence that holds `refused`."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return action()
        except RefusedError as error:
            if refused not in str(error) or time.monotonic() > deadline:
                raise


@pytest.fixture(scope="module")
def admin(sandbox: Sandbox) -> Cluster:
    """The administrator, with roles and policies applied as generated."""
    cluster = sandbox.admin()
    for manifest in [*manifests.rbac(), *manifests.admission()]:
        apply(cluster, manifest)
    return cluster


@pytest.fixture(scope="module")
def node(sandbox: Sandbox, admin: Cluster) -> Node:
    """A registered node whose rights, quota and policy are in effect."""
    source = connection.from_file(sandbox.kubeconfig)
    made = register(admin, source, f"n-{uuid.uuid4().hex[:8]}")
    eventually(lambda: made.write(made.attestation()), refused="orbidden")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            made.write(made.lease(f"probe-{uuid.uuid4().hex[:8]}"))
        except RefusedError:
            return made
    raise AssertionError("the admission policy never came into effect")


@pytest.fixture(scope="module")
def other(sandbox: Sandbox, admin: Cluster) -> Node:
    """A second registered node."""
    return register(admin, connection.from_file(sandbox.kubeconfig), f"n-{uuid.uuid4().hex[:8]}")


def refusal(node: Node, document: dict[str, Any]) -> str:
    """The sentence that the node gets."""
    with pytest.raises(RefusedError) as caught:
        node.write(document)
    return str(caught.value)


def test_a_node_writes_its_own_objects(node: Node) -> None:
    """A node creates votes, attestations and heartbeats of its own in its namespace, and reads them."""
    vote = node.write(node.vote())
    node.write(node.attestation())
    node.write(node.lease("quorate-heartbeat-fleet"))
    node.write(node.lease("quorate-cosignature-fleet"))
    assert node.cluster.get("Vote", vote["metadata"]["name"], node.namespace)["spec"]["voter"] == node.node_id
    node.cluster.request(
        "DELETE", f"{_GROUPS['quorate.dev/v1alpha1']}/namespaces/{node.namespace}/votes/{vote['metadata']['name']}"
    )


def test_a_node_votes_as_itself_only(node: Node, other: Node) -> None:
    """A vote of another node is refused with field, value and rule."""
    said = refusal(node, node.vote(voter=other.node_id))
    assert said.endswith(
        f"{_DENIED}spec.voter {other.node_id} is not this node: namespace {node.namespace} belongs to {node.node_id}"
    )


def test_a_node_attests_as_itself_only(node: Node, other: Node) -> None:
    """An attestation of another node is refused with field, value and rule."""
    said = refusal(node, node.attestation(attester=other.node_id))
    assert said.endswith(
        f"{_DENIED}spec.attester {other.node_id} is not this node: namespace {node.namespace} belongs to {node.node_id}"
    )


def test_a_node_writes_heartbeat_leases_only(node: Node) -> None:
    """A Lease of another name is refused."""
    said = refusal(node, node.lease("kube-controller-manager"))
    assert said.endswith(
        f"{_DENIED}lease kube-controller-manager is not for nodes: they write quorate-heartbeat-<domain> "
        "and quorate-cosignature-<domain> only"
    )


def test_a_node_stays_in_its_namespace(node: Node, other: Node, admin: Cluster) -> None:
    """RBAC keeps a node out of another namespace; where a role lets it in by mistake, the policy still does."""
    intruding = node.vote(namespace=other.namespace)
    assert "cannot create resource" in refusal(node, intruding)
    subject = {"kind": "ServiceAccount", "namespace": node.namespace, "name": "node"}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "mistake", "namespace": other.namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "node"},
        "subjects": [subject],
    }
    apply(admin, binding)
    deadline = time.monotonic() + 60
    while "cannot create resource" in (said := refusal(node, intruding)) and time.monotonic() < deadline:
        continue
    assert said.endswith(
        f"{_DENIED}namespace {other.namespace} is not that of the node: it may write in {node.namespace} only"
    )


def test_a_node_writes_nothing_else(node: Node, admin: Cluster) -> None:
    """Another kind is refused by the policy even where a role allows it."""
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]}]
    meta = {"name": "mistake", "namespace": node.namespace}
    api = "rbac.authorization.k8s.io/v1"
    subject = {"kind": "ServiceAccount", "namespace": node.namespace, "name": "node"}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "mistake"}
    apply(admin, {"apiVersion": api, "kind": "Role", "metadata": meta, "rules": rules})
    apply(
        admin, {"apiVersion": api, "kind": "RoleBinding", "metadata": meta, "roleRef": reference, "subjects": [subject]}
    )

    def attempt() -> str:
        with pytest.raises(RefusedError) as caught:
            node.cluster.request(
                "POST",
                f"/api/v1/namespaces/{node.namespace}/configmaps",
                body={"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}},
            )
        return str(caught.value)

    deadline = time.monotonic() + 60
    while "cannot create resource" in (said := attempt()) and time.monotonic() < deadline:
        continue
    assert said.endswith(
        f"{_DENIED}resource configmaps is not for nodes: they write votes, attestations and leases only"
    )


def test_privileges_narrow_what_the_own_identity_writes(node: Node, admin: Cluster, namespace: str) -> None:
    """Without VoteOnProposal a node's identity writes neither Vote nor Delegation; it writes the rest, others all."""
    path = f"{_GROUPS['quorate.dev/v1alpha1']}/meshnodes/{node.name}"

    def narrow(privileges: list[str] | None) -> None:
        body = {"spec": {"privileges": privileges}}
        admin.request("PATCH", path, body=body, content_type="application/merge-patch+json")

    narrow(["ValidateAttestation"])
    rule = f"MeshNode {node.name} spec.privileges [ValidateAttestation] does not hold VoteOnProposal"
    deadline = time.monotonic() + 60
    said = ""
    while rule not in said and time.monotonic() < deadline:
        try:
            node.write(node.vote())
        except RefusedError as error:
            said = str(error)
    assert said.endswith(f"{rule}: its own identity may not write votes")
    delegation = node.attestation(type="Delegation")
    assert refusal(node, delegation).endswith(f"{rule}: its own identity may not write attestations")
    node.write(node.attestation())
    node.write(node.lease(f"quorate-heartbeat-{uuid.uuid4().hex[:8]}"))
    assert admin.create(node.vote(namespace=namespace))["spec"]["voter"] == node.node_id
    narrow(None)
    eventually(lambda: node.write(node.vote()), refused="does not hold VoteOnProposal")


def test_a_node_reads_the_constitution(node: Node) -> None:
    """A node reads domains and their challenges, but no Secret and no other node's namespace."""
    eventually(lambda: node.cluster.list("TrustDomain"), refused="cannot list resource")
    with pytest.raises(RefusedError, match="cannot list resource"):
        node.cluster.request("GET", f"/api/v1/namespaces/{node.namespace}/secrets")
    with pytest.raises(RefusedError, match="cannot list resource"):
        node.cluster.list("Vote", "default")


def test_people_are_not_held(admin: Cluster, namespace: str) -> None:
    """The policy matches node identities only: a person writes anybody's signed vote wherever RBAC lets them."""
    assert admin.create(example("Vote", namespace))["metadata"]["namespace"] == namespace


def allowed(admin: Cluster, verb: str, group: str, resource: str, **where: str) -> bool:
    """Whether the Kubernetes user quorate-operator may do this."""
    plural, _, subresource = resource.partition("/")
    attributes = {"verb": verb, "group": group, "resource": plural, "subresource": subresource, **where}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": "quorate-operator", "resourceAttributes": attributes},
    }
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    return bool(admin.request("POST", path, body=review)["status"]["allowed"])


@pytest.mark.parametrize(
    ("right", "where", "expected"),
    [
        (("watch", "quorate.dev", "trustdomains"), {}, True),
        (("patch", "quorate.dev", "trustdomains/status"), {}, True),
        (("patch", "quorate.dev", "trustdomains"), {}, False),
        (("update", "quorate.dev", "votes"), {}, False),
        (("create", "quorate.dev", "votes"), {}, False),
        (("delete", "quorate.dev", "votes"), {}, True),
        (("delete", "quorate.dev", "trustdomains"), {}, False),
        (("create", "", "configmaps"), {"namespace": "quorate-system"}, True),
        (("create", "", "configmaps"), {"namespace": "default"}, False),
        (
            ("update", "coordination.k8s.io", "leases"),
            {"namespace": "quorate-system", "name": "quorate-operator"},
            True,
        ),
        (("update", "coordination.k8s.io", "leases"), {"namespace": "kube-system"}, False),
        (("list", "coordination.k8s.io", "leases"), {}, True),
        (("get", "", "secrets"), {}, False),
        (("create", "", "namespaces"), {}, False),
        (("create", "events.k8s.io", "events"), {"namespace": "default"}, True),
    ],
)
def test_the_operator_has_what_it_needs_and_no_more(
    admin: Cluster, right: tuple[str, str, str], where: dict[str, str], expected: bool
) -> None:
    """The operator's roles allow statuses, content and its Lease; no signed spec, no Secret, no namespace."""
    assert allowed(admin, *right, **where) is expected
