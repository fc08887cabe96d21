"""CustomResourceDefinitions from the models: pydantic's JSON schema turned into structural OpenAPI v3.

Structural means: every type is written out where it is used, nothing is nullable but for what says so, and logical
junctors hold no types. Lists are atomic unless their field says otherwise (api.md, "Conventions").
"""

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel

from quorate.api.registry import GROUP, KINDS, VERSION, Kind
from quorate.api.resource import Column
from quorate.api.schema import MAX_INTEGER, Model

Schema = dict[str, Any]
CATEGORY = "quorate"
_KEPT = (
    "type",
    "description",
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "format",
    "default",
    "nullable",
)
_INT32 = 2**31 - 1


def json_schema(kind: Kind) -> Schema:
    """The JSON schema of a kind as pydantic derives it, for editors and other programs."""
    schema = kind.model.model_json_schema(by_alias=True)
    schema["properties"]["kind"]["const"] = kind.kind
    return schema


def structural_schema(kind: Kind) -> Schema:
    """The structural OpenAPI v3 schema of a kind, with its CEL rules."""
    source = kind.model.model_json_schema(by_alias=True)
    schema = _object(source, source.get("$defs", {}), kind.model)
    schema["properties"] |= {
        "apiVersion": {"type": "string", "description": "The API group and version."},
        "kind": {"type": "string", "description": "The kind of the object."},
        "metadata": {"type": "object"},
    }
    schema["required"] = ["spec"]
    schema["properties"]["status"]["default"] = {"observedGeneration": -1}
    return schema


def custom_resource_definition(kind: Kind) -> Schema:
    """The CustomResourceDefinition of one kind."""
    version: Schema = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [_column(column) for column in kind.model.columns],
        "schema": {"openAPIV3Schema": structural_schema(kind)},
        "subresources": {"status": {}},
    }
    if kind.model.selectable:
        version["selectableFields"] = [{"jsonPath": path} for path in kind.model.selectable]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": kind.crd_name, "labels": {"app.kubernetes.io/part-of": "quorate"}},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.singular,
                "shortNames": [kind.short],
                "categories": [CATEGORY],
            },
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "versions": [version],
        },
    }


def custom_resource_definitions() -> list[Schema]:
    """The CustomResourceDefinitions of all kinds, in the order of the registry."""
    return [custom_resource_definition(kind) for kind in KINDS]


def _column(column: Column) -> Schema:
    entry: Schema = {"name": column.name, "type": column.type, "jsonPath": column.path}
    if column.priority:
        entry["priority"] = column.priority
    if column.description:
        entry["description"] = column.description
    return entry


def _object(source: Schema, definitions: Mapping[str, Schema], model: type[BaseModel]) -> Schema:
    """The schema of a model: its fields, what is required, and its CEL rules."""
    properties = {
        field.alias or name: _field(source["properties"][field.alias or name], definitions, field.annotation)
        for name, field in model.model_fields.items()
    }
    schema: Schema = {"type": "object", "description": _text(source["description"]), "properties": properties}
    if source.get("required"):
        schema["required"] = list(source["required"])
    if issubclass(model, Model) and model.rules:
        schema["x-kubernetes-validations"] = [rule.manifest() for rule in model.rules]
    return schema


def _text(description: str) -> str:
    return " ".join(description.split())


def _models_of(annotation: Any) -> dict[str, type[BaseModel]]:
    """The models that an annotation names at any depth, by the name of their JSON schema definition."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation.__name__: annotation}
    found: dict[str, type[BaseModel]] = {}
    for argument in get_args(annotation):
        found |= _models_of(argument)
    return found


def _field(source: Schema, definitions: Mapping[str, Schema], annotation: Any) -> Schema:
    return _convert(source, definitions, _models_of(annotation))


def _resolve(source: Schema, definitions: Mapping[str, Schema]) -> tuple[Schema, str | None]:
    """`source` without `| null` and `$ref`; what stands beside them wins. Also the name of the definition."""
    beside = {key: value for key, value in source.items() if key not in ("anyOf", "allOf", "$ref")}
    if "anyOf" in source and not source.get("x-kubernetes-int-or-string"):
        (inner,) = (option for option in source["anyOf"] if option.get("type") != "null")
        beside = {key: value for key, value in beside.items() if key != "default" or value is not None}
        resolved, name = _resolve(inner, definitions)
        return {**resolved, **beside}, name
    if "$ref" in source:
        name = source["$ref"].rsplit("/", 1)[1]
        resolved, _ = _resolve(definitions[name], definitions)
        return {**resolved, **beside}, name
    return source, None


def _convert(source: Schema, definitions: Mapping[str, Schema], models: Mapping[str, type[BaseModel]]) -> Schema:
    resolved, name = _resolve(source, definitions)
    if name is not None and name in models:
        described = _object(resolved, definitions, models[name])
        return described | {key: resolved[key] for key in ("default",) if key in resolved}
    schema: Schema = {key: resolved[key] for key in _KEPT if key in resolved}
    schema |= {key: value for key, value in resolved.items() if key.startswith("x-kubernetes-")}
    if schema.get("x-kubernetes-preserve-unknown-fields") and schema.get("default", 0) is None:
        del schema["default"]
    if "description" in schema:
        schema["description"] = _text(schema["description"])
    if schema.get("x-kubernetes-int-or-string"):
        return {key: value for key, value in schema.items() if key != "type"} | {"anyOf": resolved["anyOf"]}
    if schema.get("type") == "integer":
        schema["format"] = "int32" if schema.get("maximum", MAX_INTEGER) <= _INT32 else "int64"
    if schema.get("type") == "array":
        schema.setdefault("x-kubernetes-list-type", "atomic")
        schema["items"] = _convert(resolved["items"], definitions, models)
    if schema.get("type") == "object":
        values = _values(resolved)
        if values is not None:
            schema["additionalProperties"] = _convert(values, definitions, models)
    return schema


def _values(source: Schema) -> Schema | None:
    """The schema of a map's values; the pattern of its names has no structural form and is checked by the operator."""
    patterns = source.get("patternProperties")
    if patterns:
        (values,) = patterns.values()
        return dict(values)
    values = source.get("additionalProperties")
    return dict(values) if isinstance(values, dict) else None
