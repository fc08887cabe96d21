"""Broken manifests on a real API server: it and the models agree on what is accepted."""

import re
from random import Random
from typing import Any

import orjson
import pytest

from quorate.api.registry import KINDS, Kind
from quorate.trust.form import FormError, check_fields
from quorate_cli.cluster import Cluster, RefusedError
from quorate_cli.sandbox.instance import Sandbox
from tests.slice.test_resources import example
from tests.unit.fuzz import broken

EACH = 40
FIELDS = re.compile(
    r"should match|Unsupported value|Required value|Too long|Too many|must be of type|unknown field"
    r"|should be (less|greater)|should have at (least|most)"
)
"""What the schema says of single fields; anything else is a rule over several, or a list's uniqueness."""


@pytest.fixture(scope="module")
def cluster(sandbox: Sandbox) -> Cluster:
    """The administrator."""
    return sandbox.admin()


def answer(cluster: Cluster, kind: Kind, document: dict[str, Any]) -> str | None:
    """The API server's sentence, None where it accepts; nothing is kept."""
    namespace = f"/namespaces/{document['metadata']['namespace']}" if kind.namespaced else ""
    path = f"/apis/quorate.dev/v1alpha1{namespace}/{kind.plural}"
    query = {"dryRun": "All", "fieldValidation": "Strict", "fieldManager": "test"}
    try:
        cluster.request("POST", path, body=document, query=query)
    except RefusedError as error:
        return str(error)
    return None


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_models_and_api_server_agree(kind: Kind, cluster: Cluster, namespace: str) -> None:
    """What the API server accepts the model accepts; what the model refuses the API server refuses, with a sentence."""
    good = example(kind.kind, namespace)
    accepted = 0
    for seed in range(EACH):
        document, said = broken(good, Random(f"slice {kind.kind} {seed}"))
        try:
            orjson.dumps(document)
        except TypeError:
            continue  # lone surrogates and endless nesting are no JSON that anybody could send
        try:
            check_fields(kind.model, document, kind.kind)
            refused = None
        except FormError as error:
            refused = str(error)
        sentence = answer(cluster, kind, document)
        accepted += sentence is None
        where = (kind.kind, seed, said, refused, sentence)
        if sentence is None:
            assert refused is None, where
        elif refused is None:
            assert FIELDS.search(sentence) is None, where
        else:
            assert len(sentence) > 20, where
    assert accepted < EACH
