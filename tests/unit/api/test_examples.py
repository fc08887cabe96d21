"""The example of each kind is valid by its model and by its JSON schema, and its signatures hold."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from quorate.api.crd import json_schema
from quorate.api.registry import KINDS, Kind, kind_named
from quorate.canonical import decode_base64, digest_of
from quorate.identity import statements

MANIFESTS = Path(__file__).resolve().parents[2] / "slice" / "manifests"
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)


def example(kind: Kind) -> dict[str, Any]:
    return YAML(typ="safe", pure=True).load(MANIFESTS / f"{kind.singular}.yaml")


def spec(name: str) -> dict[str, Any]:
    return example(kind_named(name))["spec"]


def key(name: str) -> bytes:
    keys = [entry for member in spec("TrustDomain")["members"] for entry in member["keys"]]
    keys += spec("TrustDomain")["admins"]
    (public,) = (entry["publicKey"] for entry in keys if entry["name"] == name)
    return decode_base64(public, length=32)


@each_kind
def test_examples_are_valid(kind: Kind) -> None:
    """The example passes the model and the schema for editors, and the model gives back what it read."""
    document = example(kind)
    model = kind.model.model_validate(document)
    jsonschema.validate(document, json_schema(kind))
    assert model.model_dump(by_alias=True, exclude_none=True, mode="json") == document


@each_kind
def test_unknown_fields_are_refused(kind: Kind) -> None:
    """Nothing accepted is silently ignored."""
    document = example(kind)
    document["spec"]["surprise"] = 1
    with pytest.raises(ValueError, match="surprise"):
        kind.model.model_validate(document)


def test_signatures_hold() -> None:
    """Domain, proposal, vote and attestation are signed by the keys that the domain lists."""
    domain = spec("TrustDomain")
    constitution = statements.trust_domain_statement("fleet", domain)
    assert all(constitution.verify(key(entry["name"]), entry["signature"]) for entry in domain["signatures"])
    raised = spec("GovernanceProposal")
    proposal = statements.proposal_statement("example-mesh", "default", "raise-memory", raised)
    assert proposal.verify(key(raised["keyName"]), raised["signature"])
    vote = spec("Vote")
    assert vote["proposal"]["digest"] == proposal.digest
    assert statements.vote_statement("example-mesh", vote).verify(key(vote["keyName"]), vote["signature"])
    attestation = spec("Attestation")
    statement = statements.attestation_statement("example-mesh", attestation)
    assert statement.verify(key(attestation["keyName"]), attestation["signature"])


def test_the_contract_is_the_one_that_the_domain_lists() -> None:
    """Genesis digest and base digest are those of the contract's example."""
    genesis = spec("DynamicContract")["genesis"]
    assert spec("TrustDomain")["contracts"][0]["genesisDigest"] == digest_of(genesis)
    assert spec("GovernanceProposal")["change"]["baseDigest"] == digest_of(genesis["clauses"]["5.5"])
