"""The kinds that the operator reads and writes, and keys that name one object of them."""

from dataclasses import dataclass
from typing import Any, NamedTuple

GROUP = "quorate.dev"
VERSION = "v1alpha1"
SYSTEM_NAMESPACE = "quorate-system"
HEARTBEAT_LABEL = "quorate.dev/heartbeat"
"""On every Lease of a node: heartbeats, and the cosignatures of witnesses (value `cosignature`)."""
COSIGNED_ANNOTATION = "quorate.dev/cosigned-checkpoint"
CONFLICT_ANNOTATION = "quorate.dev/conflicting-checkpoints"
CONTENT_LABEL = "quorate.dev/content"

Obj = dict[str, Any]
"""A raw Kubernetes object as the API server sends it."""


class Key(NamedTuple):
    """Names one object; `namespace` is empty for cluster-wide kinds."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Resource:
    """Where a kind lives in the API: enough to build its paths."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool

    @property
    def api_version(self) -> str:
        """`apiVersion` as written in an object."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Request path of the collection, of one object or of its subresource."""
        parts = [f"apis/{self.group}" if self.group else "api", self.version]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/" + "/".join(parts)


def _own(kind: str, plural: str, *, namespaced: bool = False) -> Resource:
    return Resource(GROUP, VERSION, kind, plural, namespaced)


OWN_KINDS: tuple[Resource, ...] = (
    _own("TrustDomain", "trustdomains"),
    _own("MeshNode", "meshnodes"),
    _own("DynamicContract", "dynamiccontracts"),
    _own("Attestation", "attestations", namespaced=True),
    _own("Vote", "votes", namespaced=True),
    _own("GovernanceProposal", "governanceproposals", namespaced=True),
    _own("PolicyConflict", "policyconflicts", namespaced=True),
    _own("ContractSync", "contractsyncs"),
    _own("AuditCheckpoint", "auditcheckpoints"),
    _own("MissionPolicy", "missionpolicies"),
)
"""In dependency order: a pass reconciles the kinds in this order."""

LEASE = Resource("coordination.k8s.io", "v1", "Lease", "leases", namespaced=True)
CONFIG_MAP = Resource("", "v1", "ConfigMap", "configmaps", namespaced=True)
NAMESPACE = Resource("", "v1", "Namespace", "namespaces", namespaced=False)
NODE = Resource("", "v1", "Node", "nodes", namespaced=False)
DAEMON_SET = Resource("apps", "v1", "DaemonSet", "daemonsets", namespaced=True)
EVENT = Resource("events.k8s.io", "v1", "Event", "events", namespaced=True)
CRD = Resource("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False)
ACCESS_REVIEW = Resource(
    "authorization.k8s.io", "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", namespaced=False
)

WATCHED: dict[str, Resource] = {item.kind: item for item in (*OWN_KINDS, LEASE, CONFIG_MAP, NAMESPACE)}
"""Kinds that the view holds; Leases and ConfigMaps only with our labels."""

BY_KIND: dict[str, Resource] = {
    item.kind: item for item in (*OWN_KINDS, LEASE, CONFIG_MAP, NAMESPACE, NODE, DAEMON_SET, EVENT, CRD, ACCESS_REVIEW)
}


def key_of(obj: Obj) -> Key:
    """The key of a raw object that has `kind` and `metadata`."""
    meta = obj["metadata"]
    return Key(obj["kind"], meta.get("namespace") or "", meta["name"])
