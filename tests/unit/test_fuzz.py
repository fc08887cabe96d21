"""Ten thousand broken manifests of every kind: no crash, no silent accept.

Each is refused by its model with a sentence that names the field, or it is valid and the operator's reconcilers say in
a condition what they make of it; and whatever it is, the offline tally, which no API server protects, judges it.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest
from ruamel.yaml import YAML

from quorate.api.registry import KINDS, Kind
from quorate.canonical import NotCanonicalError
from quorate.identity.statements import Statement, attestation_statement, trust_domain_statement, vote_statement
from quorate.proposals.documents import DocumentError, tally_documents
from quorate.trust.form import FormError, check_fields
from tests.unit.fuzz import Document, broken
from tests.unit.proposals.fleet import MESH, OPENED, Fleet, node
from tests.unit.proposals.papers import attestation, folder
from tests.unit.reconcile.town import Town

MANIFESTS = Path(__file__).resolve().parents[1] / "slice" / "manifests"
EACH, TALLIED = 1000, 400
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)


@cache
def example(kind: str) -> Document:
    """The valid example of a kind."""
    return YAML(typ="safe", pure=True).load(MANIFESTS / f"{kind.lower()}.yaml")  # type: ignore[no-any-return]


def refusal(kind: Kind, document: Document) -> str | None:
    """The sentence of the model, None where it accepts."""
    try:
        check_fields(kind.model, document, kind.kind)
    except FormError as error:
        return str(error)
    return None


@each_kind
async def test_refused_with_the_field_or_judged(kind: Kind) -> None:
    """A thousand of each kind: a sentence that begins with the field, or a condition with reason and message."""
    valid: list[Document] = []
    for seed in range(EACH):
        document, said = broken(example(kind.kind), Random(f"{kind.kind} {seed}"))
        sentence = refusal(kind, document)
        if sentence is None:
            valid.append(document)
            continue
        field, _, rule = sentence.partition(": ")
        assert field.startswith(kind.kind) and rule and len(sentence) < 1000, (seed, said, sentence)
    assert EACH / 20 < len(valid) < EACH / 2, "the fuzzer breaks too much or too little"
    for start in range(0, len(valid), 40):
        await judged(kind, valid[start : start + 40])


async def judged(kind: Kind, documents: list[Document]) -> None:
    """The reconcilers of a whole operator look at them, and each gets its condition."""
    town = await Town().restart()
    config = replace(town.context.config, node_id=str(example("TrustDomain")["spec"]["homeHub"]))
    town.context = replace(town.context, config=config)
    for other in ("TrustDomain", "DynamicContract", "GovernanceProposal"):
        if other != kind.kind:
            await _apply(town, example(other), 0)
    await town.settle()
    keys = [(await _apply(town, document, number), document) for number, document in enumerate(documents)]
    await town.settle(2)
    for key, document in keys:
        said = town.errors.get(key)
        condition = town.condition(key, "Ready")
        assert (condition[1] and condition[2]) or said is not None, (document, condition)


async def _apply(town: Town, document: Document, number: int) -> Any:
    meta = document["metadata"]
    name = meta["name"] if number == 0 else f"{meta['name']}-{number}"
    return town.apply(document["kind"], name, document["spec"], meta.get("namespace", ""))


Statements = Callable[[Document], Statement]
SIGNED: dict[str, Statements] = {
    "Vote": lambda item: vote_statement(MESH, item["spec"]),
    "Attestation": lambda item: attestation_statement(MESH, item["spec"]),
    "TrustDomain": lambda item: trust_domain_statement(item["metadata"]["name"], item["spec"]),
}


def papers() -> list[Document]:
    """A domain, a proposal, votes and a delegation of m5 to m0 that all count."""
    delegation = attestation(
        "Delegation", {"to": node("m0"), "types": ["Standard"]}, OPENED + 5, by="m5", expiresAt="2100-01-01T00:00:00Z"
    )
    return [*folder(Fleet(), "YYYNA"), delegation]


@pytest.mark.parametrize("which", ["TrustDomain", "GovernanceProposal", "Vote", "Attestation"])
def test_the_offline_tally_judges_whatever_it_gets(which: str) -> None:
    """Each broken document is refused in a sentence, or stands in the outcome; a changed statement never counts."""
    good = papers()
    before = tally_documents(good, at=OPENED + 2000, opened=OPENED)[0]
    place = next(index for index, item in enumerate(good) if item["kind"] == which)
    seen: Counter[str] = Counter()
    for seed in range(TALLIED):
        document, said = broken(good[place], Random(f"tally {which} {seed}"))
        objects = [*good[:place], document, *good[place + 1 :]]
        results = tallied(objects)
        if isinstance(results, DocumentError):
            seen["refused"] += 1
            assert str(results), (seed, said)
            continue
        seen["judged"] += 1
        assert results, (seed, said)
        if not same(which, document, good[place]):
            assert results[0]["sums"] != before["sums"] or results[0]["outcome"] == "Refused", (seed, said)
    assert seen["refused"] and seen["judged"], seen


def tallied(objects: list[Document]) -> list[dict[str, Any]] | DocumentError:
    """What the tally says."""
    try:
        return tally_documents(objects, at=OPENED + 2000, opened=OPENED)
    except DocumentError as error:
        return error


def same(which: str, document: Document, valid: Document) -> bool:
    """Whether what is signed is unchanged (or whether only signing tells: a proposal's digest is what votes bind)."""
    make = SIGNED.get(which)
    if make is None:
        return True
    try:
        changed = make(document).digest != make(valid).digest
    except (NotCanonicalError, AttributeError, TypeError, RecursionError):
        changed = True
    return (
        not changed
        and document["spec"].get("signature") == valid["spec"].get("signature")
        and (document["spec"].get("signatures") == valid["spec"].get("signatures"))
    )
