"""Commands against a real API server: what they apply is stored, what they read is what is in force."""

import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quorate.canonical import canonical_bytes, digest_of, digest_of_bytes, format_time
from quorate.contracts.content import Content
from quorate.contracts.patch import Target, successor
from quorate.identity.ed25519 import parse_public_key
from quorate.identity.statements import proposal_statement, trust_domain_statement, vote_statement
from quorate.trust.domain import parse_domain
from quorate.trust.heartbeat import judge_heartbeat
from quorate_cli.heartbeat import HEARTBEAT, beat_with_key_file
from quorate_cli.output import CliError, to_yaml
from quorate_cli.sandbox.instance import Sandbox
from quorate_cli.yamlfiles import parse_yaml, read_document

EXAMPLES = Path(__file__).parents[2] / "examples" / "fleet"
HUB_A = "3f0a1c5e-7b2d-4c89-9e31-5a6b7c8d9e01"
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def quorate(sandbox: Sandbox, commands: Callable[[Sandbox], Call]) -> Call:
    """`quorate(…)` → exit code, standard output, standard error; the cluster is the sandbox."""
    return commands(sandbox)


class Fleet:
    """The example under names of its own; the test plays the operator by writing status."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox, self.folder = sandbox, folder
        tag = uuid.uuid4().hex[:8]
        self.name, self.contract, self.node = f"fleet-{tag}", f"rules-{tag}", f"hub-{tag}"
        shutil.copytree(EXAMPLES, folder)
        contract = read_document(folder / "contract.yaml")
        contract["metadata"]["name"], contract["spec"]["trustDomain"] = self.contract, self.name
        domain = read_document(folder / "trustdomain.yaml")
        domain["metadata"]["name"] = self.name
        domain["spec"]["log"]["origin"] = f"example-mesh/{self.name}"
        domain["spec"]["contracts"][0]["name"] = self.contract
        (folder / "contract.yaml").write_text(to_yaml([contract]))
        (folder / "trustdomain.yaml").write_text(to_yaml([domain]))

    def key(self, name: str) -> Path:
        return self.folder / "keys" / f"{name}.key"

    def public(self, name: str) -> bytes:
        return parse_public_key(self.key(name).with_suffix(".pub").read_text().strip())

    def status(self, kind: str, name: str, status: dict[str, Any], namespace: str = "") -> dict[str, Any]:
        """Write status as the operator does."""
        plural = {"TrustDomain": "trustdomains", "DynamicContract": "dynamiccontracts"}.get(kind, "governanceproposals")
        where = f"/namespaces/{namespace}" if namespace else ""
        path = f"/apis/quorate.dev/v1alpha1{where}/{plural}/{name}/status"
        body = {"status": {"observedGeneration": 1, **status}}
        return self.sandbox.admin().request("PATCH", path, body=body, content_type="application/merge-patch+json")

    def content(self, data: bytes) -> None:
        """Project content by digest as the operator does."""
        meta = {"name": f"quorate-{digest_of_bytes(data).removeprefix('sha256:')}", "namespace": "quorate-system"}
        manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"content": data.decode()}}
        self.sandbox.admin().create(manifest)


@pytest.fixture
def fleet(sandbox: Sandbox, quorate: Call, tmp_path: Path) -> Fleet:
    """The domain applied by the CLI, accepted with a challenge; the contract in force."""
    made = Fleet(sandbox, tmp_path / "fleet")
    code, _, err = quorate("domain", "create", "-f", made.folder / "trustdomain.yaml", "--make-keys", "--sign")
    assert code == 0, err
    live = sandbox.admin().get("TrustDomain", made.name)
    digest = trust_domain_statement(made.name, live["spec"]).digest
    moment = format_time(int(time.time()))
    challenge = {"current": "c1", "issuedAt": moment}
    accepted = {"revision": 1, "digest": digest, "at": moment}
    made.status("TrustDomain", made.name, {"accepted": accepted, "challenge": challenge})
    contract = read_document(made.folder / "contract.yaml")
    sandbox.admin().apply(contract)
    content = Content.genesis(contract["spec"]["genesis"])
    in_force = {"version": content.version, "digest": content.digest}
    made.status(
        "DynamicContract",
        made.contract,
        {"contractId": content.contract_id, "inForce": in_force, "clauseDigests": content.clause_digests},
    )
    return made


def opened(fleet: Fleet, quorate: Call, namespace: str) -> str:
    """A proposal by alice, opened by the test in the operator's place; its digest."""
    arguments = ["propose", "p", "-n", namespace, "--contract", fleet.contract, "--clause", "2.1", "--text", "72 GiB"]
    code, _, err = quorate(*arguments, "--key", fleet.key("alice"))
    assert code == 0, err
    live = fleet.sandbox.admin().get("GovernanceProposal", "p", namespace)
    digest = proposal_statement("example-mesh", namespace, "p", live["spec"]).digest
    fleet.status("GovernanceProposal", "p", {"digest": digest, "revision": 1}, namespace)
    return digest


def test_a_domain_is_applied_with_the_signatures_that_were_made(fleet: Fleet, quorate: Call) -> None:
    """What `domain create` applied reads back with the same digest, and show and pin agree."""
    live = fleet.sandbox.admin().get("TrustDomain", fleet.name)
    statement = trust_domain_statement(fleet.name, live["spec"])
    assert statement.verify(fleet.public("ada"), live["spec"]["signatures"][0]["signature"])
    assert quorate("domain", "pin", fleet.name)[1] == f"example-mesh/{fleet.name}={statement.digest}\n"
    code, shown, _ = quorate("domain", "show", fleet.name)
    assert code == 0 and statement.digest in shown and "GovernanceHub" in shown


def test_an_unaccepted_domain_is_named(sandbox: Sandbox, quorate: Call, tmp_path: Path) -> None:
    """A domain whose revision was not accepted cannot be shown or voted in, and the sentence says so."""
    made = Fleet(sandbox, tmp_path / "fleet")
    assert quorate("domain", "create", "-f", made.folder / "trustdomain.yaml", "--make-keys", "--sign")[0] == 0
    code, _, err = quorate("domain", "show", made.name)
    assert code == 1 and "no revision is accepted yet" in err


def test_the_accepted_revision_is_used_not_the_live_spec(fleet: Fleet, quorate: Call, namespace: str) -> None:
    """After an unsigned edit of the live spec, a vote still uses the accepted revision, from its content by digest."""
    cluster = fleet.sandbox.admin()
    opened(fleet, quorate, namespace)
    live = cluster.get("TrustDomain", fleet.name)
    spec = {name: value for name, value in live["spec"].items() if name != "signatures"}
    data = canonical_bytes({**spec, "name": fleet.name})
    fleet.content(data)
    members = [{**member, "keys": []} for member in live["spec"]["members"]]
    cluster.patch(live, {"spec": {"members": members}})
    code, _, err = quorate("vote", "approve", "p", "-n", namespace, "--key", fleet.key("carol"))
    assert code == 0, err


def test_a_proposal_takes_the_base_of_what_is_in_force(fleet: Fleet, quorate: Call, namespace: str) -> None:
    """`propose` signs with the digest of the clause in force, and of JSON null for a new clause."""
    opened(fleet, quorate, namespace)
    spec = fleet.sandbox.admin().get("GovernanceProposal", "p", namespace)["spec"]
    genesis = read_document(fleet.folder / "contract.yaml")["spec"]["genesis"]
    assert spec["change"]["baseDigest"] == digest_of(genesis["clauses"]["2.1"])
    assert spec["trustDomain"] == fleet.name and spec["proposer"] == HUB_A
    patch = '[{"op": "add", "path": "", "value": {"text": "new"}}]'
    arguments = ["propose", "n", "-n", namespace, "--contract", fleet.contract, "--clause", "9", "--patch", patch]
    assert quorate(*arguments, "--key", fleet.key("alice"))[0] == 0
    new = fleet.sandbox.admin().get("GovernanceProposal", "n", namespace)["spec"]
    assert new["change"]["baseDigest"] == digest_of(None)


def test_votes_count_up_and_bind_the_open_digest(fleet: Fleet, quorate: Call, namespace: str) -> None:
    """Two votes of one key have increasing sequences, bind the digest in status, and verify as stored."""
    digest = opened(fleet, quorate, namespace)
    for choice in ("approve", "reject", "retract"):
        code, _, err = quorate("vote", choice, "p", "-n", namespace, "--key", fleet.key("bob"))
        assert code == 0, err
    votes = fleet.sandbox.admin().list("Vote", namespace, fieldSelector=f"spec.proposal.digest={digest}")
    specs = sorted((vote["spec"] for vote in votes), key=lambda spec: int(spec["sequence"]))
    assert [spec["choice"] for spec in specs] == ["Approve", "Reject", "Retract"]
    assert len({spec["sequence"] for spec in specs}) == 3
    for spec in specs:
        assert vote_statement("example-mesh", spec).verify(fleet.public("bob"), spec["signature"])


def test_amend_withdraw_and_stop_are_signed(fleet: Fleet, quorate: Call, namespace: str) -> None:
    """An amendment has the next revision and keeps earlier acts; a stop is an admin's, a withdrawal the proposer's."""
    opened(fleet, quorate, namespace)
    where = ("-n", namespace)
    assert quorate("stop", "p", *where, "--key", fleet.key("ada"))[0] == 0
    refused = quorate("stop", "p", *where, "--key", fleet.key("alice"))
    assert refused[0] == 1 and "is no admin's key" in refused[2]
    amended = quorate("amend", "p", *where, "--contract", fleet.contract, "--clause", "2.1",
                      "--text", "71 GiB", "--key", fleet.key("alice"))  # fmt: skip
    assert amended[0] == 0, amended[2]
    assert quorate("withdraw", "p", *where, "--key", fleet.key("alice"))[0] == 0
    spec = fleet.sandbox.admin().get("GovernanceProposal", "p", namespace)["spec"]
    assert spec["revision"] == 2 and spec["stops"][0]["by"] == "ada" and spec["withdrawal"]["by"] == HUB_A
    statement = proposal_statement("example-mesh", namespace, "p", spec)
    assert statement.verify(fleet.public("alice"), spec["signature"])


def test_a_node_registers_and_its_heartbeat_is_judged_good(fleet: Fleet, quorate: Call) -> None:
    """`node register` makes all that `node heartbeat` needs, and the operator's own judgement finds it Verified."""
    code, _, err = quorate("node", "register", fleet.node, "--node-id", HUB_A, "--domain", fleet.name)
    assert code == 0, err
    code, _, err = quorate("node", "heartbeat", fleet.node, "--domain", fleet.name, "--key", fleet.key("hub-a"))
    assert code == 0, err
    lease = beat_with_key_file(
        fleet.sandbox.kubeconfig, node=fleet.node, domain=fleet.name, key=fleet.key("hub-a"), now=int(time.time()) + 1
    )
    assert lease["metadata"]["name"] == f"quorate-heartbeat-{fleet.name}"
    assert HEARTBEAT in lease["metadata"]["labels"]
    (heartbeat,) = parse_yaml(lease["metadata"]["annotations"][HEARTBEAT], "lease")
    domain = parse_domain(fleet.name, fleet.sandbox.admin().get("TrustDomain", fleet.name)["spec"])
    verdict = judge_heartbeat(domain, HUB_A, heartbeat, {"c1"}, now=int(time.time()))
    assert verdict.verified, verdict
    assert next(iter((verdict.held or {}).values())).startswith("sha256:")


def test_a_heartbeat_before_the_challenge_says_so(sandbox: Sandbox, quorate: Call, fleet: Fleet) -> None:
    """Without a challenge in the domain's status a heartbeat is refused with that reason."""
    assert quorate("node", "register", fleet.node, "--node-id", HUB_A, "--domain", fleet.name)[0] == 0
    fleet.status("TrustDomain", fleet.name, {"challenge": None})
    with pytest.raises(CliError, match="has no challenge yet"):
        beat_with_key_file(sandbox.kubeconfig, node=fleet.node, domain=fleet.name, key=fleet.key("hub-a"))


def test_contract_show_and_diff(fleet: Fleet, quorate: Call) -> None:
    """`contract show` prints what is in force; `contract diff` names the clause and field that changed."""
    code, shown, _ = quorate("contract", "show", fleet.contract)
    assert code == 0 and "60 GiB" in shown
    code, _, err = quorate("contract", "diff", fleet.contract)
    assert code == 0 and "no difference" in err
    genesis = Content.genesis(read_document(fleet.folder / "contract.yaml")["spec"]["genesis"])
    change = {
        "baseDigest": genesis.clause_digest("2.1"),
        "patch": [{"op": "replace", "path": "/text", "value": "72 GiB"}],
    }
    new = successor(genesis, Target("2.1"), change, proposal_digest=digest_of("p"), executed_at=int(time.time()))
    fleet.content(new.data)
    fleet.status("DynamicContract", fleet.contract, {"inForce": {"version": new.version, "digest": new.digest}})
    code, shown, _ = quorate("contract", "diff", fleet.contract)
    assert code == 0 and "clause 2.1 Changed: text" in shown and "+ text: 72 GiB" in shown
    code, _, err = quorate("contract", "show", fleet.contract, "--version", "v2030.01.01")
    assert code == 2 and "is not in the history" in err


def test_missing_objects_and_server_refusals_are_sentences(fleet: Fleet, quorate: Call, namespace: str) -> None:
    """What does not exist is named, and a refusal of the API server is passed on as it is."""
    code, _, err = quorate("vote", "approve", "nothing", "-n", namespace, "--key", fleet.key("bob"))
    assert code == 1 and f"GovernanceProposal 'nothing' does not exist in namespace {namespace}" in err
    opened(fleet, quorate, namespace)
    vote = ("vote", "approve", "p", "-n", namespace, "--key", fleet.key("bob"))
    code, _, err = quorate(*vote, "--sequence", 2**53)
    assert code == 2 and "/sequence: integer 9007199254740992 is outside" in err
    code, _, err = quorate(*vote, "--voter", "nobody", "--key-name", "bob")
    assert code == 1 and "spec.voter" in err and "nobody" in err
    code, _, err = quorate(*vote, "--into", "nowhere")
    assert code == 1 and 'namespaces "nowhere" not found' in err


def test_doctor_says_what_is_there_and_what_is_missing(sandbox: Sandbox, quorate: Call) -> None:
    """`doctor` finds the kubeconfig's own database, cluster, rights; only the operator is missing here."""
    code, out, _ = quorate("doctor", "-o", "json")
    findings = {item["check"]: item for item in next(parse_yaml(out, "doctor"))}
    assert {name for name, item in findings.items() if item["state"] == "failed"} == {"operator"}
    assert findings["definitions"]["message"] == "all 10 kinds"
    assert findings["database"]["state"] == "ok", findings["database"]
    assert code == 1 and findings["operator"]["advice"]
