"""The generated CustomResourceDefinitions keep the rules of api.md, "Conventions"."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quorate.api.crd import custom_resource_definition, json_schema
from quorate.api.registry import KINDS, Kind, kind_named

ROOT = Path(__file__).resolve().parents[3]
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)


def version_of(kind: Kind) -> dict[str, Any]:
    return custom_resource_definition(kind)["spec"]["versions"][0]


def schema_of(kind: Kind) -> dict[str, Any]:
    return version_of(kind)["schema"]["openAPIV3Schema"]


def walk(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, field in schema.get("properties", {}).items():
        yield from walk(field, f"{path}.{name}")
    for name, suffix in (("items", "[]"), ("additionalProperties", ".*")):
        if name in schema:
            yield from walk(schema[name], path + suffix)


def fields(kind: Kind) -> list[tuple[str, dict[str, Any]]]:
    found = [*walk(schema_of(kind)["properties"]["spec"], "spec")]
    return [*found, *walk(schema_of(kind)["properties"]["status"], "status")]


def test_generated_files_do_not_drift() -> None:
    """What lies in crds/, manifests/, schemas/ and docs/reference/ is what the models generate."""
    command = [sys.executable, str(ROOT / "hack" / "generate.py"), "--check"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_ten_kinds_with_their_short_names() -> None:
    """Exactly the kinds of api.md exist, with the scope and the short name written there."""
    assert {(kind.kind, kind.short, kind.namespaced) for kind in KINDS} == {
        ("MeshNode", "mn", False),
        ("TrustDomain", "td", False),
        ("GovernanceProposal", "gp", True),
        ("Vote", "vt", True),
        ("PolicyConflict", "pcf", True),
        ("Attestation", "att", True),
        ("DynamicContract", "dc", False),
        ("ContractSync", "csync", False),
        ("AuditCheckpoint", "ac", False),
        ("MissionPolicy", "mp", False),
    }


@each_kind
def test_every_field_is_described(kind: Kind) -> None:
    """`kubectl explain` has a sentence for each field."""
    named = [(path, field) for path, field in fields(kind) if not path.endswith(("[]", ".*"))]
    assert [path for path, field in named if not field.get("description", "").endswith((".", ")", "…", "."))] == []


@each_kind
def test_everything_is_bounded(kind: Kind) -> None:
    """Each string, list, map and integer has a bound, as the API server's cost check and etcd need it."""
    unbounded = []
    for path, field in fields(kind):
        match field.get("type"):
            case "string":
                bounded = "maxLength" in field or "enum" in field
            case "array":
                bounded = "maxItems" in field
            case "integer":
                bounded = "minimum" in field and "maximum" in field and field["format"] in ("int32", "int64")
            case "object":
                bounded = "properties" in field or "maxProperties" in field
            case "boolean":
                bounded = True
            case _:
                bounded = "x-kubernetes-int-or-string" in field or field.get("x-kubernetes-preserve-unknown-fields")
        unbounded += [] if bounded else [path]
    assert unbounded == []


@each_kind
def test_schemas_are_structural(kind: Kind) -> None:
    """No reference, no unknown keyword, no float, and nothing but a patch's value is nullable."""
    allowed = {"type", "description", "enum", "pattern", "minLength", "maxLength", "minimum", "maximum", "minItems"}
    allowed |= {"maxItems", "minProperties", "maxProperties", "format", "default", "nullable", "properties"}
    allowed |= {"required", "items", "additionalProperties", "anyOf"}
    for path, field in fields(kind):
        extra = {key for key in field if key not in allowed and not key.startswith("x-kubernetes-")}
        assert (path, extra) == (path, set())
        assert field.get("type") != "number", path
        if field.get("nullable"):
            assert path == "spec.change.patch[].value"


@each_kind
def test_lists_have_a_list_type(kind: Kind) -> None:
    """Each list says how it merges; the lists of signed documents are atomic but for acts and overlays."""
    for path, field in fields(kind):
        if field.get("type") == "array":
            assert "x-kubernetes-list-type" in field, path
    merged = {path for path, field in fields(kind) if field.get("x-kubernetes-list-type") in ("map", "set")}
    if kind.model.signed:
        assert {path for path in merged if path.startswith("spec")} <= {"spec.localOverrides"}


@each_kind
def test_signed_specs_have_no_defaults(kind: Kind) -> None:
    """A default would change what was signed: absence has a meaning, never a stored value (trust.md, "Statements")."""
    defaults = [path for path, field in walk(schema_of(kind)["properties"]["spec"], "spec") if "default" in field]
    if kind.model.signed:
        assert defaults == []
    else:
        assert all(path.startswith("spec.heartbeat") for path in defaults)


@each_kind
def test_status_starts_as_unobserved(kind: Kind) -> None:
    """Nothing looks healthy before the operator has seen it (kstatus)."""
    status = schema_of(kind)["properties"]["status"]
    assert status["default"] == {"observedGeneration": -1}
    assert version_of(kind)["subresources"] == {"status": {}}
    conditions = status["properties"]["conditions"]
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]
    assert "lastEntry" in status["properties"]


@each_kind
def test_columns_point_at_fields(kind: Kind) -> None:
    """Each printer column shows a field that the schema has, or a condition that the kind documents."""
    schema = schema_of(kind)
    for column in version_of(kind)["additionalPrinterColumns"]:
        path = column["jsonPath"]
        if "conditions[" in path:
            assert path.split('"')[1] in kind.model.conditions, path
            continue
        if path.startswith(".metadata"):
            continue
        here = schema
        for part in path.strip(".").split("."):
            here = here["properties"][part]
        assert here["type"] == column["type"] or column["type"] == "string"


def test_proposal_columns() -> None:
    """`kubectl get gp` fits a screen; `-o wide` shows every number of the tally."""
    columns = version_of(kind_named("GovernanceProposal"))["additionalPrinterColumns"]
    plain = [column["name"] for column in columns if not column.get("priority")]
    wide = {column["name"] for column in columns if column.get("priority")}
    assert plain == ["Type", "Phase", "Outcome", "Approve", "Reject", "Ready", "Age"]
    assert wide >= {"Abstain", "Veto", "Cast", "Outstanding", "Total", "Quorum", "Threshold", "Voting Ends", "Reason"}


def test_votes_are_selected_by_proposal_digest() -> None:
    """The operator lists a proposal's votes again by a field selector before it decides."""
    assert version_of(kind_named("Vote"))["selectableFields"] == [{"jsonPath": ".spec.proposal.digest"}]


@each_kind
def test_names_carry_the_category(kind: Kind) -> None:
    """`kubectl get quorate` shows all kinds."""
    names = custom_resource_definition(kind)["spec"]["names"]
    assert (names["categories"], names["shortNames"]) == (["quorate"], [kind.short])


@each_kind
def test_json_schema_is_closed(kind: Kind) -> None:
    """The schema for editors refuses unknown fields and any other kind."""
    schema = json_schema(kind)
    assert schema["additionalProperties"] is False
    assert schema["properties"]["kind"]["const"] == kind.kind
