"""Every end of a revision leaves its outcome document, and both domains of a double majority are explained."""

from typing import Any

import pytest

from quorate.canonical import digest_of, encode_base64, parse_json
from quorate.identity.statements import proposal_statement
from quorate.proposals.documents import tally_documents
from quorate_cli.output import CliError
from quorate_cli.proposal.explain import _on_cluster, from_bundle, show
from quorate_operator.kube.resources import Key
from tests.unit.proposals.fleet import MESH, seed

from .test_crossings import PARTNERS, partner
from .town import CHAIN, NAMES, Town


class Cluster:
    """What `quorate` asks a cluster for, from the town's objects."""

    def __init__(self, town: Town) -> None:
        self._objects = town.server.objects

    def get(self, kind: str, name: str, namespace: str = "") -> dict[str, Any]:
        """The object."""
        return self._objects[Key(kind, namespace, name)]

    def list(self, kind: str, namespace: str = "", **selectors: str) -> list[dict[str, Any]]:
        """Votes by their proposal's digest."""
        digest = selectors["fieldSelector"].partition("=")[2]
        votes = (obj for key, obj in self._objects.items() if key.kind == kind)
        return [vote for vote in votes if vote["spec"]["proposal"]["digest"] == digest]


def explained(town: Town, proposal: Key) -> dict[str, Any]:
    """What `quorate proposal explain` says of it."""
    found: dict[str, Any] = _on_cluster(Cluster(town), town.server.objects[proposal])  # type: ignore[arg-type]
    return found


def entry(town: Town, event: str) -> Any:
    """`detail` of the only entry of a type."""
    (found,) = [row.recorded for row in town.shared.rows[CHAIN] if row.recorded.event_type == event]
    return found.detail


async def test_a_superseded_revision_has_its_outcome_document() -> None:
    """The numbers of that second, as the outsider counts them from the documents alone."""
    town = await Town().restart()
    await town.found()
    proposal = town.propose()
    await town.settle()
    town.vote(proposal, "m1", "Approve")
    town.vote(proposal, "m2", "Reject")
    await town.settle(5)
    first = town.server.objects[proposal]
    spec = {**first["spec"], "revision": 2, "rationale": "shorter"}
    spec["signature"] = proposal_statement(MESH, "default", "p", spec).sign(seed("m0.main"))
    second = {**first, "spec": spec, "metadata": {**first["metadata"], "creationTimestamp": "1970-01-12T13:46:45Z"}}
    documents = [obj for obj in town.server.objects.values() if obj["kind"] in ("TrustDomain", "Vote")]
    offline, _ = tally_documents([*documents, first, second], at=int(town.now) + 2)
    town.apply("GovernanceProposal", "p", spec, "default")
    await town.settle(3)
    detail = entry(town, "governance.proposal.superseded")
    outcome = parse_json(town.shared.content[detail["outcomeDigest"]])
    assert (outcome["outcome"], outcome["reason"], outcome["sums"]["approve"]) == ("Superseded", "Superseded", 1)
    assert outcome == {name: offline[name] for name in outcome}
    assert digest_of(outcome) == detail["outcomeDigest"]
    assert town.status(proposal)["revision"] == 2


async def test_a_refused_opening_has_its_outcome_document(capsys: pytest.CaptureFixture[str]) -> None:
    """Reason and message, named by entry and status, recorded once; `explain` says it from the cluster or the file."""
    town = await Town().restart()
    await town.found()
    spec = {**town.server.objects[town.propose()]["spec"], "signature": encode_base64(bytes(64))}
    forged = town.apply("GovernanceProposal", "forged", spec, "default")
    await town.settle(1)
    detail, status = entry(town, "governance.proposal.refused"), town.status(forged)
    data = town.shared.content[detail["outcomeDigest"]]
    assert parse_json(data)["reason"] == "BadSignature"
    assert status["outcomeDigest"] == detail["outcomeDigest"]
    found = explained(town, forged)
    assert digest_of(found["outcome"]) == detail["outcomeDigest"]
    assert from_bundle(data, "outcome.json")["outcome"] == found["outcome"]
    show(found, wide=False)
    assert "Refused (BadSignature): spec.signature" in capsys.readouterr().out
    await town.restart()
    await town.settle(2)
    assert town.status(forged) == status
    assert town.entries.count("governance.proposal.refused") == 1


async def test_a_draft_is_not_explained_as_refused() -> None:
    """What only waits to be signed was neither counted nor refused."""
    town = await Town().restart()
    await town.found()
    draft = town.propose(draft=True)
    await town.settle()
    with pytest.raises(CliError, match="nothing is counted yet"):
        explained(town, draft)


async def test_an_open_double_majority_is_explained_for_each_domain(capsys: pytest.CaptureFixture[str]) -> None:
    """Numbers, rules and refused votes of both domains, before anything is decided."""
    town = await Town().restart()
    await town.found()
    town.apply("TrustDomain", "partner", partner())
    await town.settle()
    proposal = town.propose(domains=["fleet", "partner"])
    await town.settle()
    for name in NAMES[:2]:
        town.vote(proposal, name, "Approve")
    town.vote(proposal, PARTNERS[0], "Reject", domain="partner")
    town.vote(proposal, "m3", "Approve", "stranger", domain="partner")
    await town.settle()
    found = explained(town, proposal)["outcome"]
    assert {name: part["sums"]["cast"] for name, part in found["domains"].items()} == {"fleet": 2, "partner": 1}
    assert found["domains"]["partner"]["rules"]["quorumBasisPoints"] == 5000
    show(explained(town, proposal), wide=False)
    told = capsys.readouterr().out
    assert "each of fleet, partner has to adopt it" in told
    assert "fleet: not decided yet" in told
    assert "partner: not decided yet" in told
    assert "approve 0, reject 1, abstain 0, veto 0, cast 1, outstanding 2" in told
    partners = told[told.index("partner: not decided") :]
    assert "its voter is not in the electorate of the opening" in partners
    assert told.count("approve 2, reject 0") == 1
