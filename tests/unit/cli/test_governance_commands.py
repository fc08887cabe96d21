"""The verbs of governance as generators of signed documents, offline: each verifies, or is refused with a sentence."""

from pathlib import Path
from typing import Any

import pytest

from quorate.canonical import parse_time
from quorate.identity.ed25519 import parse_public_key
from quorate.identity.statements import (
    act_statement,
    attestation_statement,
    proposal_statement,
    recovery_statement,
    trust_domain_statement,
)
from quorate.trust.domain import parse_domain
from quorate_cli.output import to_yaml
from quorate_cli.yamlfiles import read_document
from tests.unit.cli.conftest import Quorate, Result

CAROL = "b1d4e6f8-2c3a-4d57-a0b1-7c8d9e0f1a03"


def public(fleet: Path, name: str) -> bytes:
    return parse_public_key((fleet / "keys" / f"{name}.pub").read_text().strip())


def node(fleet: Path, key: str) -> str:
    members = read_document(fleet / "td.yaml")["spec"]["members"]
    return str(next(m["nodeId"] for m in members if any(k["name"] == key for k in m.get("keys", ()))))


def offline(quorate: Quorate, fleet: Path, *arguments: object, documents: tuple[str, ...] = ("td.yaml",)) -> Result:
    """The command with documents, printing what it signed."""
    files = [part for name in documents for part in ("-f", fleet / name)]
    return quorate(*arguments, *files, "--dry-run", "-o", "yaml")


def keys(fleet: Path, *names: str) -> list[object]:
    return [part for name in names for part in ("--key", fleet / "keys" / f"{name}.key")]


def revised(result: Result, fleet: Path, *signers: str) -> Any:
    """The next revision: linked, well formed, and signed by these."""
    assert result.code == 0, result.err
    document, before = result.document, read_document(fleet / "td.yaml")
    spec = document["spec"]
    assert spec["revision"] == 2
    assert spec["previousDigest"] == trust_domain_statement("fleet", before["spec"]).digest
    parse_domain("fleet", spec)
    assert [item["name"] for item in spec.get("signatures", ())] == list(signers)
    for item in spec.get("signatures", ()):
        statement = trust_domain_statement("fleet", spec)
        assert statement.verify(public(fleet, item["name"]), item["signature"])
    return spec


@pytest.mark.parametrize(
    ("command", "field", "key", "by"),
    [
        ("endorse", "endorsements", "ada", "ada"),
        ("stop", "stops", "ada", "ada"),
        ("withdraw", "withdrawal", "alice", ""),
    ],
)
def test_an_act_is_signed_on_the_digest(
    quorate: Quorate, fleet: Path, command: str, field: str, key: str, by: str
) -> None:
    """Endorsements and stops are an admin's, a withdrawal the proposer's; the rest of the proposal stays as it is."""
    made = offline(quorate, fleet, command, "raise-memory-ceiling", *keys(fleet, key), documents=("gp.yaml", "td.yaml"))
    assert made.code == 0, made.err
    before, spec = read_document(fleet / "gp.yaml")["spec"], made.document["spec"]
    act = spec.pop(field)
    assert spec == before
    act = act[0] if isinstance(act, list) else act
    assert act["by"] == (by or before["proposer"])
    assert act["proposalDigest"] == proposal_statement("example-mesh", "default", "raise-memory-ceiling", before).digest
    assert act_statement("example-mesh", "fleet", act).verify(public(fleet, key), act["signature"])


@pytest.mark.parametrize(("command", "key"), [("endorse", "alice"), ("stop", "alice"), ("withdraw", "bob")])
def test_an_act_of_somebody_else_is_refused(quorate: Quorate, fleet: Path, command: str, key: str) -> None:
    """A key that may not act signs nothing."""
    refused = offline(
        quorate, fleet, command, "raise-memory-ceiling", *keys(fleet, key), documents=("gp.yaml", "td.yaml")
    )
    assert (refused.code, refused.out) == (1, "") and "--key" in refused.err


def test_an_amendment_is_the_next_revision(quorate: Quorate, fleet: Path) -> None:
    """What is not given stays, acts stay, the base is that of now, and the new statement is signed."""
    documents = ("gp.yaml", "td.yaml", "contract.yaml")
    acted = offline(quorate, fleet, "stop", "raise-memory-ceiling", *keys(fleet, "ada"), documents=documents)
    (fleet / "gp.yaml").write_text(to_yaml([acted.document]))
    made = offline(
        quorate, fleet, "amend", "raise-memory-ceiling", "--text", "71", *keys(fleet, "alice"), documents=documents
    )
    assert made.code == 0, made.err
    before, spec = acted.document["spec"], made.document["spec"]
    assert spec["revision"] == 2 and spec["change"]["patch"][0]["value"] == "71"
    assert {name: spec[name] for name in ("stops", "target", "type")} == {
        name: before[name] for name in ("stops", "target", "type")
    }
    statement = proposal_statement("example-mesh", "default", "raise-memory-ceiling", spec)
    assert statement.verify(public(fleet, "alice"), spec["signature"])
    refused = offline(quorate, fleet, "amend", "raise-memory-ceiling", *keys(fleet, "bob"), documents=documents)
    assert refused.code == 1 and refused.out == ""


def test_a_delegation_names_a_member_by_id_or_key_name(quorate: Quorate, fleet: Path) -> None:
    """The Attestation verifies and names delegate and types; `--revoke` names nobody."""
    for to in ("carol", node(fleet, "carol")):
        made = offline(quorate, fleet, "delegate", to, "--domain", "fleet", "--type", "Standard", *keys(fleet, "dave"))
        spec = made.document["spec"]
        assert spec["statement"] == {"to": node(fleet, "carol"), "types": ["Standard"]}
        assert (spec["attester"], spec["type"]) == (node(fleet, "dave"), "Delegation")
        assert attestation_statement("example-mesh", spec).verify(public(fleet, "dave"), spec["signature"])
    back = offline(quorate, fleet, "delegate", "--revoke", "--domain", "fleet", *keys(fleet, "dave"))
    assert back.document["spec"]["statement"] == {"to": "", "types": []}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["dave"], "is yourself"),
        (["nobody"], "is neither a member's nodeId nor the name"),
        ([], "give either the member to delegate to, or --revoke"),
        (["carol", "--revoke"], "give either the member to delegate to, or --revoke"),
        (["carol", "--type", "Imperial"], "--type 'Imperial': must be one of"),
        (["carol", "--expires", "tomorrow"], "--expires: "),
    ],
)
def test_a_bad_delegation_is_refused(quorate: Quorate, fleet: Path, arguments: list[str], sentence: str) -> None:
    """Before anything is signed."""
    refused = offline(quorate, fleet, "delegate", *arguments, "--domain", "fleet", *keys(fleet, "dave"))
    assert (refused.code, refused.out) == (2, "") and sentence in refused.err


def test_a_member_is_added_with_its_keys(quorate: Quorate, fleet: Path) -> None:
    """Keys come as text or as files; the next revision is linked and signed, and lacks no signature."""
    assert quorate("keygen", "frank", "frank-node", "-d", fleet / "keys").code == 0
    frank = (fleet / "keys" / "frank.pub").read_text().strip()
    made = offline(
        quorate, fleet, "domain", "member", "add", "fleet", "11111111-2222-4333-8444-555555555555", "--role",
        "ComplianceWitness", "--weight", "500", "--learner", "--vote", f"main={frank}",
        "--machine", fleet / "keys" / "frank-node.pub", *keys(fleet, "ada", "grace"),
    )  # fmt: skip
    member = revised(made, fleet, "ada", "grace")["members"][-1]
    assert (member["weight"], member["learner"]) == (500, True)
    assert [(key["purpose"], key["name"]) for key in member["keys"]] == [("Vote", "main"), ("Machine", "frank-node")]
    assert "must sign" not in made.err


def test_a_rotated_key_signs_on_for_a_while(quorate: Quorate, fleet: Path) -> None:
    """The old key gets a notAfter, the new one the same purpose; with no overlap the old one is gone."""
    assert quorate("keygen", "carol2", "-d", fleet / "keys").code == 0
    base = ("domain", "member", "rotate", "fleet", node(fleet, "carol"), "--key-name", "carol", "--to",
            fleet / "keys" / "carol2.pub", *keys(fleet, "ada", "grace"))  # fmt: skip
    spec = revised(offline(quorate, fleet, *base), fleet, "ada", "grace")
    member = next(item for item in spec["members"] if item["nodeId"] == node(fleet, "carol"))
    old, new = (next(key for key in member["keys"] if key["name"] == name) for name in ("carol", "carol2"))
    assert parse_time(old["notAfter"]) > 0 and new["purpose"] == "Vote" and "notAfter" not in new
    spec = revised(offline(quorate, fleet, *base, "--overlap-seconds", "0"), fleet, "ada", "grace")
    member = next(item for item in spec["members"] if item["nodeId"] == node(fleet, "carol"))
    assert [key["name"] for key in member["keys"] if key["purpose"] == "Vote"] == ["carol2"]


def test_a_key_and_a_member_are_revoked_and_suspended(quorate: Quorate, fleet: Path) -> None:
    """One key, a whole member, or its vote is taken away; each is one signed revision."""
    carol = node(fleet, "carol")
    who = ("fleet", carol, *keys(fleet, "ada", "grace"))
    spec = revised(offline(quorate, fleet, "domain", "member", "suspend", *who), fleet, "ada", "grace")
    assert [item["nodeId"] for item in spec["members"] if item.get("suspended")] == [carol]
    spec = revised(offline(quorate, fleet, "domain", "member", "revoke", *who, "--member"), fleet, "ada", "grace")
    assert carol not in [item["nodeId"] for item in spec["members"]]
    made = offline(quorate, fleet, "domain", "member", "revoke", *who, "--key-name", "carol")
    spec = revised(made, fleet, "ada", "grace")
    member = next(item for item in spec["members"] if item["nodeId"] == carol)
    assert "carol" not in [key["name"] for key in member["keys"]]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["suspend", "fleet", "carol"], "NODEID carol: is no member"),
        (["suspend", "fleet", CAROL, "--lift"], "is not suspended"),
        (["promote", "fleet", CAROL], "is no learner"),
        (["revoke", "fleet", CAROL], "give either --key-name NAME or --member"),
        (["revoke", "fleet", CAROL, "--key-name", "x"], "has 0 such keys; it has "),
        (["rotate", "fleet", CAROL, "--key-name", "carol", "--to", "x=short"], "--vote 'x=short'"),
        (["add", "fleet", CAROL, "--role", "GovernanceHub", "--weight", "1"], "is a member already"),
        (["add", "fleet", "11111111-2222-4333-8444-555555555555", "--role", "King", "--weight", "1"], "King"),
    ],
)
def test_a_bad_change_of_members_is_refused(quorate: Quorate, fleet: Path, arguments: list[str], sentence: str) -> None:
    """Nothing is signed, and the sentence names what is wrong."""
    refused = offline(quorate, fleet, "domain", "member", *arguments, *keys(fleet, "ada"))
    assert (refused.code, refused.out) == (2, ""), refused.err
    assert sentence in refused.err


def test_missing_signatures_are_named(quorate: Quorate, fleet: Path) -> None:
    """Too few admins of either set are counted and named; unsigned, the digest for a proposal is said."""
    assert quorate("keygen", "rosa", "-p", "admin", "-d", fleet / "keys").code == 0
    rosa = fleet / "keys" / "rosa.pub"
    made = offline(quorate, fleet, "domain", "admins", "fleet", "--remove", "ada", "--add", rosa, *keys(fleet, "ada"))
    spec = revised(made, fleet, "ada")
    assert {admin["name"] for admin in spec["admins"]} == {"grace", "hedy", "rosa"}
    assert "1 more of the admins in force must sign (grace, hedy)" in made.err
    assert "2 more of the new admins must sign (grace, hedy, rosa)" in made.err
    unsigned = offline(quorate, fleet, "domain", "admins", "fleet", "--threshold", "1")
    digest = trust_domain_statement("fleet", revised(unsigned, fleet)).digest
    assert f"unsigned, with digest {digest}" in unsigned.err
    shown = quorate("domain", "admins", "fleet", "-f", fleet / "td.yaml")
    assert "grace" in shown.out and "2 of 3 must sign" in shown.err


def test_a_recovery_is_announced_cancelled_and_completed(quorate: Quorate, fleet: Path) -> None:
    """The recovery key signs the announcement and the revision, the admins the cancellation; each verifies."""
    before = read_document(fleet / "td.yaml")
    recovery = [item["name"] for item in before["spec"]["recovery"]["keys"]]
    signers = keys(fleet, *recovery)
    document = offline(quorate, fleet, "domain", "admins", "fleet", "--remove", "ada").document
    (fleet / "next.yaml").write_text(to_yaml([document]))
    carrier = ("--carrier", fleet / "keys" / "carol.key")
    told = offline(quorate, fleet, "domain", "recover", "announce", "-r", fleet / "next.yaml", *carrier, *signers)
    assert told.code == 0, told.err
    statement = told.document["spec"]["statement"]
    assert statement["resultDigest"] == trust_domain_statement("fleet", document["spec"]).digest
    signed = recovery_statement("example-mesh", "fleet", statement)
    for item in statement["signatures"]:
        assert signed.verify(public(fleet, item["name"]), item["signature"])
    (fleet / "att.yaml").write_text(to_yaml([told.document]))
    name = told.document["metadata"]["name"]
    cancelled = offline(
        quorate, fleet, "domain", "recover", "cancel", name, *carrier, *keys(fleet, "ada", "grace"),
        documents=("td.yaml", "att.yaml"),
    )  # fmt: skip
    acts = cancelled.document["spec"]["statement"]["acts"]
    assert [act["by"] for act in acts] == ["ada", "grace"]
    for act in acts:
        assert act["proposalDigest"] == signed.digest
        assert act_statement("example-mesh", "fleet", act).verify(public(fleet, act["by"]), act["signature"])
    done = offline(quorate, fleet, "domain", "recover", "complete", "-r", fleet / "next.yaml", *signers)
    revised(done, fleet, *recovery)
    refused = offline(
        quorate, fleet, "domain", "recover", "announce", "-r", fleet / "next.yaml", *carrier, *keys(fleet, "ada")
    )
    assert (refused.code, refused.out) == (1, "") and "is no recovery key of TrustDomain fleet" in refused.err


def test_an_offline_tally_is_explained(quorate: Quorate, fleet: Path) -> None:
    """`tally --explain` puts each rule into formula and numbers, and each refused vote into a sentence."""
    votes = []
    for choice, who in (("approve", "alice"), ("reject", "eve")):
        cast = offline(quorate, fleet, "vote", choice, "raise-memory-ceiling", *keys(fleet, who),
                       documents=("gp.yaml", "td.yaml"))  # fmt: skip
        votes.append(cast.document)
    (fleet / "votes.yaml").write_text(to_yaml(votes))
    files = [part for name in ("td.yaml", "gp.yaml", "votes.yaml") for part in ("-f", fleet / name)]
    told = quorate("tally", *files, "--opened", "2026-01-01T00:00:00Z", "--at", "2100-01-01T00:00:00Z", "--explain")
    assert told.code == 0, told.err
    assert "basis · 10000 ≥ quorum · total, quorumBasisPoints 5000" in told.out
    assert "0 < 50000000" in told.out and "Expired (QuorumNotReached)" in told.out
    assert "it was recorded after the end" in told.out
    assert "its voter is not in the electorate of the opening" in told.out
