"""What commands sign verifies, and what they refuse names field, value and rule."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from quorate.canonical import digest_of
from quorate.identity.ed25519 import parse_public_key
from quorate.identity.statements import proposal_statement, trust_domain_statement, vote_statement
from quorate_cli.main import COMMANDS
from quorate_cli.output import to_yaml
from quorate_cli.yamlfiles import read_document
from tests.unit.cli.conftest import EXAMPLES, Quorate

CAROL = "b1d4e6f8-2c3a-4d57-a0b1-7c8d9e0f1a03"


def public(fleet: Path, name: str) -> bytes:
    return parse_public_key((fleet / "keys" / f"{name}.pub").read_text().strip())


def offline(fleet: Path) -> list[object]:
    return ["-f", fleet / "gp.yaml", "-f", fleet / "td.yaml", "--dry-run", "-o", "yaml"]


def cast(quorate: Quorate, fleet: Path, choice: str, key: str, *more: object) -> Any:
    return quorate(
        "vote", choice, "raise-memory-ceiling", "--key", fleet / "keys" / f"{key}.key", *offline(fleet), *more
    )


def test_help_lists_every_command_quickly() -> None:
    """`quorate --help` lists every command, in less than 0.4 s of processor time, and imports no heavy library."""
    code = (
        "import sys, time\nfrom quorate_cli.main import run\nrun(['--help'])\n"
        "heavy = {'kubernetes', 'psycopg', 'pydantic', 'kopf', 'httpx', 'ruamel'} & set(sys.modules)\n"
        "assert not heavy, heavy\nassert time.process_time() < 0.4, time.process_time()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in COMMANDS)
    assert "\033[" not in done.stdout


def test_an_unknown_command_and_flag_are_usage_errors(quorate: Quorate) -> None:
    """What is no command or flag ends with 2 and a sentence."""
    assert quorate("vot").code == 2
    assert quorate("vote", "approve").code == 2
    assert quorate("vote", "maybe", "x", "--key", "k").code == 2


def test_a_filled_template_is_signed_by_its_admins(fleet: Path) -> None:
    """`domain create` fills keys and genesis digest, and each admin's signature verifies over the statement."""
    document = read_document(fleet / "td.yaml")
    statement = trust_domain_statement("fleet", document["spec"])
    names = [item["name"] for item in document["spec"]["signatures"]]
    assert names == ["ada", "grace", "hedy"]
    for item in document["spec"]["signatures"]:
        assert statement.verify(public(fleet, item["name"]), item["signature"])
    genesis = read_document(fleet / "contract.yaml")["spec"]["genesis"]
    assert document["spec"]["contracts"][0]["genesisDigest"] == digest_of(genesis)


def test_the_pin_is_the_digest_of_revision_one(quorate: Quorate, fleet: Path) -> None:
    """`domain pin` prints meshId/name=digest of revision 1, and refuses any other revision."""
    document = read_document(fleet / "td.yaml")
    digest = trust_domain_statement("fleet", document["spec"]).digest
    assert quorate("domain", "pin", "-f", fleet / "td.yaml").out == f"example-mesh/fleet={digest}\n"
    document["spec"] |= {"revision": 2, "previousDigest": digest}
    (fleet / "td2.yaml").write_text(to_yaml([document]))
    refused = quorate("domain", "pin", "-f", fleet / "td2.yaml")
    assert refused.code == 2 and "has revision 2; a pin is the digest of revision 1" in refused.err


def test_a_next_revision_is_linked_to_the_one_before(quorate: Quorate, fleet: Path) -> None:
    """`--previous` sets revision and previousDigest; an admin who leaves may still sign with `--previous`."""
    document = read_document(fleet / "td.yaml")
    digest = trust_domain_statement("fleet", document["spec"]).digest
    spec = document["spec"]
    del spec["revision"], spec["signatures"]
    spec["admins"] = spec["admins"][1:]
    (fleet / "next.yaml").write_text(to_yaml([document]))
    base = ("domain", "create", "-f", fleet / "next.yaml", "--dry-run", "--key", fleet / "keys" / "ada.key")
    made = quorate(*base, "--previous", fleet / "td.yaml")
    assert made.code == 0, made.err
    new = made.document["spec"]
    assert (new["revision"], new["previousDigest"]) == (2, digest)
    assert [item["name"] for item in new["signatures"]] == ["ada"]
    refused = quorate(*base)
    assert refused.code == 1 and "is no admin's and no recovery key" in refused.err


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda spec: spec["members"][0].update(role="Emperor"), "spec.members[0].role"),
        (lambda spec: spec["members"][0].update(weight=10_001), "10001"),
        (lambda spec: spec["voting"]["Standard"].update(quorumBasisPoints=10_001), "10001"),
        (lambda spec: spec["members"][0]["keys"][0].update(publicKey="A" * 43), "low order"),
        (lambda spec: spec["members"][0]["keys"][0].update(publicKey="short"), "publicKey"),
        (
            lambda spec: spec["members"][1]["keys"][0].update(publicKey=spec["members"][0]["keys"][0]["publicKey"]),
            "keys",
        ),
        (lambda spec: spec.update(adminThreshold=4), "adminThreshold"),
        (lambda spec: spec.update(colour="red"), "colour"),
    ],
    ids=["role", "weight", "basis points", "low order", "malformed", "duplicate", "threshold", "unknown field"],
)
def test_a_bad_constitution_is_not_signed(quorate: Quorate, fleet: Path, change: Any, sentence: str) -> None:
    """A revision of the wrong form is refused before anything is signed, naming field and value."""
    document = read_document(fleet / "td.yaml")
    change(document["spec"])
    (fleet / "bad.yaml").write_text(to_yaml([document]))
    refused = quorate("domain", "sign", "-f", fleet / "bad.yaml", "--key", fleet / "keys" / "ada.key", "--dry-run")
    assert refused.code == 2
    assert sentence in refused.err and refused.err.startswith("error: TrustDomain fleet: spec")
    assert refused.out == ""


def test_a_proposal_is_completed_and_signed(fleet: Path) -> None:
    """`propose` fills proposer, key and base digest from constitution and contract, and its signature verifies."""
    document = read_document(fleet / "gp.yaml")
    spec = document["spec"]
    clause = read_document(fleet / "contract.yaml")["spec"]["genesis"]["clauses"]["2.1"]
    assert spec["change"]["baseDigest"] == digest_of(clause)
    assert spec["keyName"] == "alice"
    statement = proposal_statement("example-mesh", "default", "raise-memory-ceiling", spec)
    assert statement.verify(public(fleet, "alice"), spec["signature"])


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--clause", "9"], 1, "clause"),
        (["--clause", "1"], 1, "Constitutional"),
        (["--patch", '[{"op": "replace", "path": "/nothing", "value": 1}]'], 1, "does not apply"),
        (["--patch", '{"op": "add"}'], 2, "must be a JSON list"),
        (["--patch", '[{"op": "add", "op": "add"}]'], 2, "occurs twice"),
        (["--type", "Imperial"], 2, "spec.type 'Imperial': must be one of Standard"),
        (["--key", "nowhere.key"], 2, "key file nowhere.key"),
    ],
)
def test_a_bad_proposal_is_refused(
    quorate: Quorate, fleet: Path, arguments: list[str], code: int, sentence: str
) -> None:
    """A proposal that cannot become law is refused before it is signed."""
    documents = ["-f", fleet / "td.yaml", "-f", fleet / "contract.yaml", "--dry-run"]
    base = ["propose", "p", "--contract", "memory-rules", "--clause", "2.1", "--text", "x"]
    refused = quorate(*base, "--key", fleet / "keys" / "alice.key", *documents, *arguments)
    assert (refused.code, refused.out) == (code, "")
    assert sentence in refused.err


@pytest.mark.parametrize("choice", ["approve", "reject", "abstain", "veto", "retract"])
def test_a_vote_binds_the_digest_and_verifies(quorate: Quorate, fleet: Path, choice: str) -> None:
    """A vote carries the digest of the proposal, finds voter and key name by the key, and its signature verifies."""
    before = int(time.time())
    vote = cast(quorate, fleet, choice, "carol").document
    spec = vote["spec"]
    digest = proposal_statement(
        "example-mesh", "default", "raise-memory-ceiling", read_document(fleet / "gp.yaml")["spec"]
    ).digest
    assert (spec["proposal"]["digest"], spec["choice"]) == (digest, choice.capitalize())
    assert (spec["voter"], spec["keyName"], spec["revision"]) == (CAROL, "carol", 1)
    assert before <= spec["sequence"] <= int(time.time())
    assert vote_statement("example-mesh", spec).verify(public(fleet, "carol"), spec["signature"])


def test_a_key_of_nobody_does_not_vote(quorate: Quorate, fleet: Path) -> None:
    """A key that is no member's Vote key is refused; with voter and key name given it signs, with a warning."""
    refused = cast(quorate, fleet, "approve", "ada")
    assert (refused.code, refused.out) == (1, "")
    assert "is a Vote key of no member of TrustDomain fleet" in refused.err
    forged = cast(quorate, fleet, "approve", "ada", "--voter", CAROL, "--key-name", "carol")
    assert forged.code == 0 and "warning: --key" in forged.err
    assert not vote_statement("example-mesh", forged.document["spec"]).verify(
        public(fleet, "carol"), forged.document["spec"]["signature"]
    )


def test_formats_agree(quorate: Quorate, fleet: Path) -> None:
    """`-o json` and `-o yaml` hold the same document, `-o name` its name."""
    arguments = ("node", "register", "hub-a", "--node-id", CAROL, "--domain", "fleet", "--dry-run")
    as_json = quorate(*arguments, "-o", "json").document
    assert as_json["items"] == quorate(*arguments, "-o", "yaml").documents
    assert quorate(*arguments, "-o", "name").out.splitlines()[-1] == "meshnode.quorate.dev/hub-a"


@pytest.mark.parametrize("privileges", [(), ("ValidateAttestation", "VoteOnProposal")])
def test_a_node_is_registered_with_less_than_its_role(quorate: Quorate, privileges: tuple[str, ...]) -> None:
    """Each `--privilege` stands in the MeshNode; without one the field is absent: what its role allows."""
    options = [word for name in privileges for word in ("--privilege", name)]
    made = quorate("node", "register", "hub-a", "--domain", "fleet", "--dry-run", "-o", "json", *options)
    assert tuple(made.document["items"][-1]["spec"].get("privileges", ())) == privileges


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["node", "register", "n", "--domain", "d", "--privilege", "Rule"], "privilege 'Rule': must be one of"),
        (["node", "register", "x" * 51, "--domain", "d"], "50"),
        (["node", "register", "n", "--domain", "d", "--node-id", "5"], "expected a UUIDv4"),
        (["contract", "show", "c", "--kubeconfig", "/nowhere/config"], "/nowhere/config: the file does not exist"),
        (["contract", "show", "c"], "no cluster: give --kubeconfig FILE or --sandbox NAME"),
        (["contract", "show", "c", "--sandbox", "nobody"], "sandbox 'nobody' does not exist"),
        (["contract", "show"], "give either a name or --file"),
        (["contract", "show", "-f", EXAMPLES / "contract.yaml", "--clause", "7"], "version v2026.01.01 has 1, 2.1"),
    ],
)
def test_bad_input_ends_with_two(quorate: Quorate, arguments: list[object], sentence: str) -> None:
    """Bad input ends with exit code 2 and one sentence on standard error."""
    refused = quorate(*arguments)
    assert (refused.code, refused.out) == (2, "")
    assert sentence in refused.err and refused.err.count("\n") == 1


def test_an_unreachable_cluster_ends_with_three(quorate: Quorate, tmp_path: Path) -> None:
    """A server that does not answer ends with exit code 3 and names the server and the kubeconfig."""
    config = tmp_path / "config"
    config.write_text(
        "current-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n"
        "clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\nusers: [{name: u, user: {token: t}}]\n"
    )
    refused = quorate("contract", "show", "c", "--kubeconfig", config)
    assert refused.code == 3
    assert refused.err == f"error: API server https://127.0.0.1:1 (from {config}): Connection refused\n"


def test_a_genesis_is_shown_offline(quorate: Quorate) -> None:
    """`contract show -f` shows the clauses of a genesis with their digests."""
    shown = quorate("contract", "show", "-f", EXAMPLES / "contract.yaml", "-o", "wide")
    assert shown.code == 0
    assert "A training pod may hold at most 60 GiB" in shown.out and shown.out.count("sha256:") == 5
