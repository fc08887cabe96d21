"""Roles, admission policy and node identities (trust.md, "Identities on a cluster")."""

import pytest

from quorate.api import manifests
from quorate.api.registry import KINDS

NODE_ID = "3f0a1c5e-7b2d-4c89-9e31-5a6b7c8d9e01"


def named(kind: str, name: str) -> dict[str, object]:
    (found,) = (entry for entry in manifests.rbac() if entry["kind"] == kind and entry["metadata"]["name"] == name)
    return found


def test_the_operator_writes_no_signed_spec() -> None:
    """The operator may write every status, but no spec of a kind that members sign."""
    signed = {kind.plural for kind in KINDS if kind.model.signed}
    for rule in named("ClusterRole", "quorate-operator")["rules"]:
        if rule["apiGroups"] == ["quorate.dev"] and {"create", "update", "patch"} & set(rule["verbs"]):
            assert not signed & set(rule["resources"])


def test_no_role_uses_a_wildcard() -> None:
    """Least privilege: verbs, groups and resources are named."""
    for entry in [*manifests.rbac(), *manifests.node_identity("hub-a", NODE_ID)]:
        for rule in entry.get("rules", ()):
            assert "*" not in [*rule["verbs"], *rule["apiGroups"], *rule["resources"]]


def test_people_cannot_write_a_status() -> None:
    """view, edit and admin reach no status: what is in force is the operator's alone."""
    for role in ("view", "edit", "admin"):
        entry = named("ClusterRole", f"quorate-{role}")
        assert entry["metadata"]["labels"][f"rbac.authorization.k8s.io/aggregate-to-{role}"] == "true"
        assert all("/" not in resource for rule in entry["rules"] for resource in rule["resources"])


def test_the_operator_evicts_pods_and_cannot_delete_them() -> None:
    """A pod ends by its Eviction alone, which a PodDisruptionBudget can refuse."""
    rules = named("ClusterRole", "quorate-operator")["rules"]
    about = {each: rule["verbs"] for rule in rules for each in rule["resources"] if each.startswith("pods")}
    assert about == {"pods": ["get"], "pods/eviction": ["create"]}


def test_a_node_identity_is_complete() -> None:
    """`quorate node register` makes namespace, account, role, binding, quota, the right to read, and the MeshNode."""
    found = manifests.node_identity("hub-a", NODE_ID, ["fleet"])
    assert [entry["kind"] for entry in found] == [
        "Namespace",
        "ServiceAccount",
        "Role",
        "RoleBinding",
        "ResourceQuota",
        "ClusterRoleBinding",
        "MeshNode",
    ]
    assert found[0]["metadata"] == {
        "name": "quorate-node-hub-a",
        "labels": {"app.kubernetes.io/part-of": "quorate", "quorate.dev/node-id": NODE_ID},
    }
    assert found[4]["spec"]["hard"] == {"count/votes.quorate.dev": "500", "count/attestations.quorate.dev": "500"}
    assert found[6]["spec"] == {"nodeId": NODE_ID, "trustDomains": ["fleet"]}


@pytest.mark.parametrize("name", ["", "a" * 51, "Hub", "hub.a", "-hub", "hub-"])
def test_names_that_no_namespace_can_carry(name: str) -> None:
    """A name over 50 characters, or one that is no label, is refused with field, value and rule."""
    with pytest.raises(ValueError, match=f"name {name!r}: .*at most 50 lower-case letters, digits and dashes"):
        manifests.node_identity(name, NODE_ID)


def test_a_node_id_is_a_uuid() -> None:
    """Another node id is refused with field, value and rule."""
    with pytest.raises(ValueError, match="nodeId 'hub-a': expected a UUIDv4 in lower case"):
        manifests.node_identity("hub-a", "hub-a")


def test_privileges_narrow_the_node() -> None:
    """Given ones stand in the MeshNode once each, none leave it nothing, and another word is refused."""
    for given, written in ((["VoteOnProposal", "VoteOnProposal"], ["VoteOnProposal"]), ([], [])):
        assert manifests.node_identity("hub-a", NODE_ID, (), given)[-1]["spec"]["privileges"] == written
    with pytest.raises(ValueError, match="privilege 'Rule': must be one of ProposePolicy, ValidateAttestation"):
        manifests.node_identity("hub-a", NODE_ID, (), ["Rule"])
