"""`quorate attest` and `quorate trust`, offline: signed documents out, scores explained from documents alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from quorate.canonical import format_time, parse_time
from quorate.identity.statements import attestation_statement, vote_statement
from quorate.trust.attestations import judge_attestation
from quorate.trust.domain import parse_domain
from quorate_cli.domain import add_signature
from quorate_cli.output import to_yaml
from quorate_cli.signers import open_signer
from quorate_cli.yamlfiles import read_document
from tests.unit.cli.conftest import Quorate, Result

STRANGER = "11111111-2222-4333-8444-555555555555"
PEOPLE = ("alice", "bob", "carol", "dave", "eve")
SHA = "sha256:" + "a" * 64


@pytest.fixture
def trusting(fleet: Path) -> Path:
    """The example domain with trust rules: decay 9000, three edges, alice's and bob's nodes the seeds."""
    document = read_document(fleet / "td.yaml")
    seeds = [node(fleet, name) for name in ("alice", "bob")]
    document["spec"] |= {"trust": {"decayBasisPoints": 9000, "maxChainLength": 3, "seeds": seeds}, "signatures": []}
    document["spec"]["trust"]["minScoreBasisPoints"] = 5000
    for name in ("ada", "grace"):
        add_signature(document, open_signer(str(fleet / "keys" / f"{name}.key")))
    (fleet / "td.yaml").write_text(to_yaml([document]))
    return fleet


def node(fleet: Path, key: str) -> str:
    members = read_document(fleet / "td.yaml")["spec"]["members"]
    return str(next(m["nodeId"] for m in members if any(k["name"] == key for k in m.get("keys", ()))))


def attest(quorate: Quorate, fleet: Path, *arguments: object, key: str = "alice") -> Result:
    where = ("--domain", "fleet", "--key", fleet / "keys" / f"{key}.key", "-f", fleet / "td.yaml")
    return quorate("attest", *arguments, *where, "--dry-run", "-o", "yaml")


def vouch(quorate: Quorate, fleet: Path, by: str, whom: str, weight: int, **fields: Any) -> Any:
    """A Trust attestation, kept beside the others; it was recorded long before any test asks."""
    made = attest(quorate, fleet, "trust", whom, "--weight", weight, key=by)
    assert made.code == 0, made.err
    document = made.document
    document["metadata"]["creationTimestamp"] = document["spec"]["at"]
    folder = fleet / "attested"
    folder.mkdir(exist_ok=True)
    document["metadata"] |= fields
    (folder / f"{by}-{whom}.yaml").write_text(to_yaml([document]))
    return document


def trust(quorate: Quorate, fleet: Path, *arguments: object) -> Any:
    done = quorate("trust", *arguments, "--domain", "fleet", "-f", fleet / "td.yaml", "-f", fleet / "attested", "-o",
                   "json")  # fmt: skip
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_each_attestation_is_what_the_operator_accepts(quorate: Quorate, trusting: Path) -> None:
    """Every command signs a document that is judged Accepted, of its type and about its subject."""
    domain = parse_domain("fleet", read_document(trusting / "td.yaml")["spec"])
    carol = node(trusting, "carol")
    cases: list[tuple[tuple[object, ...], str, str, Any, Any]] = [
        (("trust", "carol", "--weight", "9000"), "alice", "Trust", {"kind": "MeshNode", "name": carol},
         {"weightBasisPoints": 9000}),
        (("trust", STRANGER, "--weight", "1"), "alice", "Trust", {"kind": "MeshNode", "name": STRANGER},
         {"weightBasisPoints": 1}),
        (("compliance", "MeshNode/carol", "--statement", '{"clause": "2.1"}'), "dave", "Compliance",
         {"kind": "MeshNode", "name": carol}, {"clause": "2.1", "compliant": True}),
        (("compliance", "DynamicContract/rules", "--fails", "--digest", SHA), "dave", "Compliance",
         {"kind": "DynamicContract", "name": "rules", "digest": SHA}, {"compliant": False}),
        (("held", "rules", "--digest", SHA), "hub-a", "ContractHeld",
         {"kind": "DynamicContract", "name": "rules", "digest": SHA}, {}),
        (("change", "rules", "--digest", SHA), "bob", "ContractChange",
         {"kind": "DynamicContract", "name": "rules", "digest": SHA}, {}),
    ]  # fmt: skip
    for arguments, key, kind, subject, statement in cases:
        made = attest(quorate, trusting, *arguments, key=key)
        assert made.code == 0, made.err
        spec = made.document["spec"]
        verdict = judge_attestation(domain, spec, recorded=parse_time(spec["at"]))
        assert verdict.accepted, verdict.message
        assert (spec["type"], spec["subject"], spec["statement"]) == (kind, subject, statement)


def test_a_release_binds_the_digest_of_the_vote(quorate: Quorate, trusting: Path) -> None:
    """The digest is that of the signed statement in the document, whatever its status claims."""
    name = read_document(trusting / "gp.yaml")["metadata"]["name"]
    vote = quorate(
        "vote", "approve", name, "--key", trusting / "keys" / "bob.key", "-f", trusting / "gp.yaml", "-f",
        trusting / "td.yaml", "--dry-run", "-o", "yaml",
    )  # fmt: skip
    document = vote.document
    (trusting / "vote.yaml").write_text(to_yaml([{**document, "status": {"digest": SHA}}]))
    reference = f"Vote/{document['metadata']['name']}"
    made = attest(quorate, trusting, "release", reference, "-f", trusting / "vote.yaml")
    spec = made.document["spec"]
    assert spec["subject"]["digest"] == vote_statement("example-mesh", document["spec"]).digest
    assert (spec["type"], spec["statement"]) == ("BoundaryCrossing", {"release": True})
    back = attest(quorate, trusting, "release", reference, "--take-back", "-f", trusting / "vote.yaml")
    assert back.document["spec"]["statement"] == {"release": False}


@pytest.mark.parametrize(
    ("arguments", "key", "code", "sentence"),
    [
        (("trust", "nobody", "--weight", "5"), "alice", 2, "is neither a member's nodeId nor the name"),
        (("trust", "carol", "--weight", "0"), "alice", 2, ""),
        (("trust", "carol", "--weight", "5", "--expires", "soon"), "alice", 2, "nor a span like 12h or 180d"),
        (("held", "rules", "--digest", SHA), "alice", 1, "is a Machine key of no member"),
        (("held", "rules", "--digest", "abc"), "hub-a", 2, "must be sha256:"),
        (("trust", "carol", "--weight", "5"), "hub-a", 1, "is a Vote key of no member"),
        (("compliance", "carol"), "alice", 2, "must be KIND/NAME"),
        (("compliance", "MeshNode/carol", "--statement", "[1]"), "alice", 2, "must be a JSON object"),
        (("compliance", "MeshNode/carol", "--statement", '{"a": 0.5}'), "alice", 2, "--statement"),
        (("release", "DynamicContract/rules"), "alice", 2, "must be Vote/NAME or Attestation/NAME"),
    ],
)
def test_what_cannot_be_signed_is_refused(
    quorate: Quorate, trusting: Path, arguments: tuple[str, ...], key: str, code: int, sentence: str
) -> None:
    """A sentence names field, value and rule; nothing is printed to be applied."""
    refused = attest(quorate, trusting, *arguments, key=key)
    assert (refused.code, refused.out) == (code, "")
    assert sentence in refused.err


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("12h", 43_200), ("180d", 15_552_000)])
def test_a_span_is_from_now(quorate: Quorate, trusting: Path, text: str, seconds: int) -> None:
    """`--expires 180d` counts from the signing second."""
    spec = attest(quorate, trusting, "trust", "carol", "--weight", "5", "--expires", text).document["spec"]
    assert parse_time(spec["expiresAt"]) - parse_time(spec["at"]) == seconds


def test_a_path_is_explained_edge_by_edge(quorate: Quorate, trusting: Path) -> None:
    """Score, rules, and each edge with its attestation, what is left after it, and when it ends."""
    first = vouch(quorate, trusting, "alice", "bob", 9000)
    vouch(quorate, trusting, "bob", "carol", 8000)
    vouch(quorate, trusting, "alice", "carol", 5000)
    found = trust(quorate, trusting, "path", "alice", "carol")
    assert (found["scoreBasisPoints"], found["trusted"]) == (5832, True)
    assert found["rules"] == {"decayBasisPoints": 9000, "maxChainLength": 3}
    assert [(edge["weightBasisPoints"], edge["scoreBasisPoints"]) for edge in found["edges"]] == [
        (9000, 8100),
        (8000, 5832),
    ]
    digest = attestation_statement("example-mesh", first["spec"]).digest
    assert (found["edges"][0]["attestation"], found["edges"][0]["digest"]) == (
        f"default/{first['metadata']['name']}",
        digest,
    )
    none = trust(quorate, trusting, "path", "carol", "alice")
    assert (none["scoreBasisPoints"], none["trusted"], none["edges"]) == (0, False, [])


def test_the_table_says_the_same(quorate: Quorate, trusting: Path) -> None:
    """People read the score and one line per edge."""
    vouch(quorate, trusting, "alice", "bob", 9000)
    shown = quorate("trust", "path", "alice", "bob", "--domain", "fleet", "-f", trusting / "td.yaml", "-f",
                    trusting / "attested")  # fmt: skip
    assert "8100 of 10000" in shown.out
    assert "decay 9000, at most 3 edges" in shown.out
    assert "9000     8100" in shown.out


def test_a_forged_or_expired_attestation_is_no_edge(quorate: Quorate, trusting: Path) -> None:
    """What was changed after signing, or is void at --at, gives no score."""
    document = vouch(quorate, trusting, "alice", "bob", 100)
    document["spec"]["statement"]["weightBasisPoints"] = 9000
    (trusting / "attested" / "alice-bob.yaml").write_text(to_yaml([document]))
    assert trust(quorate, trusting, "path", "alice", "bob")["scoreBasisPoints"] == 0
    made = attest(quorate, trusting, "trust", "carol", "--weight", "9000", "--expires", "1h").document
    (trusting / "attested" / "carol.yaml").write_text(to_yaml([made]))
    end = parse_time(made["spec"]["expiresAt"])
    for second, score in ((end - 1, 8100), (end, 0)):
        found = trust(quorate, trusting, "path", "alice", "carol", "--at", format_time(second))
        assert found["scoreBasisPoints"] == score


def test_nodes_are_ranked_with_what_is_said_of_their_compliance(quorate: Quorate, trusting: Path) -> None:
    """Ranks fall from the seeds; compliance is the Wilson bound of the attesters that say yes or no."""
    vouch(quorate, trusting, "alice", "carol", 9000)
    for by in ("alice", "bob"):
        made = attest(quorate, trusting, "compliance", "MeshNode/carol", *(("--fails",) if by == "bob" else ()), key=by)
        (trusting / "attested" / f"compliance-{by}.yaml").write_text(to_yaml([made.document]))
    rows = trust(quorate, trusting, "rank")
    assert [row["node"] for row in rows][-1] == node(trusting, "carol")
    carol = next(row for row in rows if row["node"] == node(trusting, "carol"))
    assert (carol["compliant"], carol["observed"], carol["complianceBasisPoints"]) == (1, 2, 945)
    assert sum(row["rank"] for row in rows) > 10**12 - 100
    assert all(row["rank"] > 0 for row in rows)


def test_a_domain_that_is_not_there(quorate: Quorate, trusting: Path) -> None:
    """Bad input names the domain."""
    refused = quorate("trust", "rank", "--domain", "other", "-f", trusting / "td.yaml")
    assert (refused.code, "no TrustDomain of this name" in refused.err) == (2, True)
