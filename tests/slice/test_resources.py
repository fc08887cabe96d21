"""The custom resources on a real API server: accepted, round-tripped, refused with the right sentence."""

import copy
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from quorate.api.crd import custom_resource_definition
from quorate.api.registry import KINDS, Kind, kind_named
from quorate_cli.cluster import Cluster, RefusedError
from quorate_cli.output import CliError
from quorate_cli.sandbox.instance import Sandbox
from tests.slice.bad_manifests import CHANGED, CREATED
from tests.slice.refusals import ACT, REMOVED, Bad

MANIFESTS = Path(__file__).parent / "manifests"
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
HUB = "3f0a1c5e-7b2d-4c89-9e31-5a6b7c8d9e01"
WITNESS = "3f0a1c5e-7b2d-4c89-9e31-5a6b7c8d9e02"
_EXAMPLES = {kind.kind: YAML(typ="safe", pure=True).load(MANIFESTS / f"{kind.singular}.yaml") for kind in KINDS}


def example(kind: str, namespace: str, name: str = "") -> dict[str, Any]:
    """The example of a kind under a name of its own."""
    document = copy.deepcopy(_EXAMPLES[kind])
    document["metadata"] = {"name": name or f"x-{uuid.uuid4().hex[:12]}"}
    if kind_named(kind).namespaced:
        document["metadata"]["namespace"] = namespace
    return document


def edited(document: dict[str, Any], edit: dict[str, Any]) -> dict[str, Any]:
    """A copy with each path of `edit` set, or removed."""
    document = copy.deepcopy(document)
    for path, value in edit.items():
        *parents, last = path.split(".")
        here: Any = document
        for part in parents:
            here = here[int(part)] if isinstance(here, list) else here[part]
        if value is REMOVED:
            del here[last]
        else:
            here[last] = value
    return document


def path_of(document: dict[str, Any]) -> str:
    """Request path of an object."""
    kind, meta = kind_named(document["kind"]), document["metadata"]
    namespace = f"/namespaces/{meta['namespace']}" if kind.namespaced else ""
    return f"/apis/quorate.dev/v1alpha1{namespace}/{kind.plural}/{meta['name']}"


def replace(cluster: Cluster, document: dict[str, Any]) -> dict[str, Any]:
    """Write a whole object that was read before."""
    return cluster.request("PUT", path_of(document), body=document)


_UNCHECKED = (
    ", <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation]"
)


def sentence(error: RefusedError, document: dict[str, Any]) -> str:
    """What the API server said, without the object's name and its remark that CEL rules were not reached."""
    name = document["metadata"]["name"]
    said = str(error).removeprefix(f'{document["kind"]}.quorate.dev "{name}" is invalid: ').replace(name, "NAME")
    return said.removesuffix(_UNCHECKED).removeprefix("[") if said.endswith(_UNCHECKED) else said


@pytest.fixture(scope="module")
def cluster(sandbox: Sandbox) -> Cluster:
    """A client with the administrator's rights; all CRDs and manifests are applied."""
    return sandbox.admin()


@each_kind
def test_the_api_server_accepts_and_serves(kind: Kind, cluster: Cluster) -> None:
    """Each CRD passes the API server's structural and CEL cost checks, as generated."""
    wanted = custom_resource_definition(kind)
    query = {"fieldManager": "test", "force": "true", "fieldValidation": "Strict"}
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{kind.crd_name}"
    found = cluster.request("PATCH", path, body=wanted, query=query, content_type="application/apply-patch+yaml")
    states = {entry["type"]: entry["status"] for entry in found["status"]["conditions"]}
    assert states["NamesAccepted"] == "True"
    assert "NonStructuralSchema" not in states


@each_kind
def test_examples_come_back_as_written(kind: Kind, cluster: Cluster, namespace: str) -> None:
    """What was written is what is read, and nothing looks observed: status.observedGeneration is -1."""
    document = example(kind.kind, namespace)
    cluster.create(document)
    found = cluster.get(kind.kind, document["metadata"]["name"], document["metadata"].get("namespace", ""))
    assert found["spec"] == document["spec"]
    assert found["status"] == {"observedGeneration": -1}


@pytest.mark.parametrize("bad", CREATED, ids=lambda bad: bad.id)
def test_bad_manifests_get_their_sentence(bad: Bad, cluster: Cluster, namespace: str) -> None:
    """Each bad manifest is refused with exactly the sentence that names field, value and rule."""
    document = edited(example(bad.kind, namespace), bad.edit)
    with pytest.raises(RefusedError) as caught:
        cluster.create(document)
    assert sentence(caught.value, document) == bad.sentence


@pytest.mark.parametrize("bad", CHANGED, ids=lambda bad: bad.id)
def test_immutable_fields_get_their_sentence(bad: Bad, cluster: Cluster, namespace: str) -> None:
    """What is immutable cannot be set, changed or removed later, and the sentence says so."""
    document = cluster.create(example(bad.kind, namespace))
    with pytest.raises(RefusedError) as caught:
        replace(cluster, edited(document, bad.edit))
    assert sentence(caught.value, document) == bad.sentence


def test_status_writes_do_not_touch_an_immutable_spec(cluster: Cluster, namespace: str) -> None:
    """The operator's status patch passes the immutability of a nested statement."""
    document = example("Attestation", namespace)
    document["spec"]["statement"] = {"recovery": {"revision": 2, "list": [1, {"a": None}]}, "signatures": []}
    cluster.create(document)
    digest = "sha256:" + "1" * 64
    found = cluster.request(
        "PATCH",
        path_of(document) + "/status",
        body={"status": {"digest": digest}},
        content_type="application/merge-patch+json",
    )
    assert found["status"]["digest"] == digest
    assert found["spec"] == document["spec"]


def test_null_is_a_value_of_a_patch(cluster: Cluster, namespace: str) -> None:
    """`replace "" null` removes a clause; null survives at any depth, for a signature covers it."""
    document = example("GovernanceProposal", namespace)
    document["spec"]["change"]["patch"] = [
        {"op": "replace", "path": "", "value": None},
        {"op": "add", "path": "/x", "value": {"a": None, "b": [None, {"c": None}]}},
    ]
    assert cluster.create(document)["spec"] == document["spec"]
    assert (
        cluster.apply(example("GovernanceProposal", namespace) | {"spec": document["spec"]})["spec"] == document["spec"]
    )


def test_signed_acts_are_append_only(cluster: Cluster, namespace: str) -> None:
    """A stop can be added to a proposal, but neither changed nor removed."""
    document = cluster.create(example("GovernanceProposal", namespace))
    document["spec"]["stops"] = [ACT]
    document = replace(cluster, document)
    for stops in ([], [{**ACT, "by": "grace"}]):
        with pytest.raises(RefusedError) as caught:
            replace(cluster, edited(document, {"spec.stops": stops}))
        assert "stops is append-only: a signed act cannot be changed or removed" in str(caught.value)
    document["spec"]["stops"] = [{**ACT, "by": "grace"}, ACT]
    assert len(replace(cluster, document)["spec"]["stops"]) == 2


def test_a_full_trust_domain_is_accepted(cluster: Cluster) -> None:
    """1024 members and 1024 contracts pass validation (trust.md, "Revisions of a TrustDomain")."""
    document = example("TrustDomain", "")
    spec = document["spec"]
    node = "00000000-0000-4000-8000-{:012x}"
    spec["members"] = [
        {"nodeId": node.format(index), "role": "GovernanceHub", "weight": 1, "keys": spec["members"][0]["keys"]}
        for index in range(1024)
    ]
    spec["contracts"] = [spec["contracts"][0] | {"name": f"contract-{index}"} for index in range(1024)]
    assert len(cluster.apply(document)["spec"]["members"]) == 1024
    spec["members"].append(spec["members"][0])
    with pytest.raises(RefusedError, match=r"spec.members: Too many: 1025: must have at most 1024 items"):
        cluster.apply(document)
    cluster.request("DELETE", path_of(document))


def test_bounds_count_characters(cluster: Cluster, namespace: str) -> None:
    """4096 characters fit a rationale whatever their bytes, although the refusal of 4097 speaks of bytes."""
    document = edited(example("GovernanceProposal", namespace), {"spec.rationale": "ü" * 4096})
    assert cluster.create(document)["spec"] == document["spec"]


def test_a_huge_manifest_gets_a_sentence(cluster: Cluster, namespace: str) -> None:
    """A manifest of over 3 MB is refused by the API server as a whole."""
    document = edited(example("GovernanceProposal", namespace), {"spec.change.patch.0.value": "x" * 3_200_000})
    with pytest.raises(RefusedError, match=r"[Tt]oo large|limit"):
        cluster.create(document)


def test_votes_are_found_by_proposal_digest(cluster: Cluster, namespace: str) -> None:
    """A field selector on spec.proposal.digest lists exactly the votes on one proposal."""
    mine, other = example("Vote", namespace), example("Vote", namespace)
    other["spec"]["proposal"]["digest"] = "sha256:" + "2" * 64
    for vote in (mine, other):
        cluster.create(vote)
    digest = mine["spec"]["proposal"]["digest"]
    found = cluster.list("Vote", namespace, fieldSelector=f"spec.proposal.digest={digest}")
    assert [vote["metadata"]["name"] for vote in found] == [mine["metadata"]["name"]]


def published(cluster: Cluster) -> dict[str, Any]:
    """The schemas of the published OpenAPI document, once it holds all kinds: the API server publishes with delay."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            document = cluster.request("GET", "/openapi/v3/apis/quorate.dev/v1alpha1")
        except CliError:
            document = {}
        schemas = (document.get("components") or {}).get("schemas") or {}
        if all(f"dev.quorate.v1alpha1.{kind.kind}" in schemas for kind in KINDS):
            return dict(schemas)
        threading.Event().wait(0.2)
    raise AssertionError("the API server did not publish all kinds within 60 s")


@each_kind
def test_every_kind_explains_itself(kind: Kind, cluster: Cluster) -> None:
    """The published OpenAPI document, which `kubectl explain` prints, describes each top-level field of the spec."""
    schema = published(cluster)[f"dev.quorate.v1alpha1.{kind.kind}"]
    assert schema["description"]
    assert all(field.get("description") for field in schema["properties"]["spec"]["properties"].values())
