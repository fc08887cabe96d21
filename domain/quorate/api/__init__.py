"""The custom resources of `quorate.dev/v1alpha1`: pydantic models, the source of `crds/`, `schemas/` and the docs.

`schema` holds the field types, one module per kind the models, `registry` the table of kinds, `conditions` what a
status says, `crd` and `manifests` what is applied to a cluster, `reference` the documentation pages.
"""
