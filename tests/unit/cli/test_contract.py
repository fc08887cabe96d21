"""`quorate contract`, `mesh` and `document` against a cluster of one dict."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quorate.canonical import digest_of
from quorate.contracts.content import Content, Previous
from quorate.contracts.overlay import Permission, judge_overrides
from quorate_cli import sources
from quorate_cli.cluster import NotFoundError
from tests.unit.cli.conftest import Quorate
from tests.unit.proposals.fleet import MESH, member, node, public

Obj = dict[str, Any]
PROPOSAL = "sha256:" + "ab" * 32
GENESIS = {
    "contractId": "6b1b36cb-1111-4222-8333-444455556666",
    "version": "v2026.01.05",
    "clauses": {"2.9": {"text": "Nine."}, "2.10": {"title": "Memory", "text": "Ten."}},
    "surfaces": {"cold": {"capabilities": ["inference"]}, "warming": {"capabilities": ["inference", "tools"]}},
}
FIRST = Content.genesis(GENESIS)
NOW = Content(
    FIRST.contract_id,
    "v2026.02.01",
    {**FIRST.clauses, "2.10": {"title": "Memory", "text": "Zehn."}},
    FIRST.surfaces,
    Previous(FIRST.version, FIRST.digest),
    PROPOSAL,
)
HERE = {"clause": "2.9", "text": "Nine here.", "reason": "a lab"}


class OneDict:
    """What the commands ask of a cluster."""

    namespace = "default"

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Obj] = {}

    def put(self, kind: str, name: str, spec: Obj, **more: Any) -> Obj:
        meta = {
            "name": name,
            "namespace": "default",
            "resourceVersion": "1",
            "creationTimestamp": "2026-02-01T00:00:00Z",
        }
        self.objects[kind, name] = {"kind": kind, "metadata": {**meta, **more.pop("meta", {})}, "spec": spec, **more}
        return self.objects[kind, name]

    def get(self, kind: str, name: str, namespace: str = "") -> Obj:
        if (kind, name) not in self.objects:
            raise NotFoundError(f"{kind} {name!r} does not exist")
        return copy.deepcopy(self.objects[kind, name])

    def changes(self, kind: str, name: str, namespace: str = "") -> Iterator[Obj]:
        yield self.get(kind, name, namespace)

    def find(self, kind: str, name: str, namespace: str = "") -> Obj | None:
        return self.objects.get((kind, name))

    def list(self, kind: str, namespace: str = "", **selectors: str) -> list[Obj]:
        digest = selectors.get("fieldSelector", "=").partition("=")[2]
        found = [obj for (known, _), obj in self.objects.items() if known == kind]
        return [obj for obj in found if not digest or obj["spec"]["proposal"]["digest"] == digest]


def domain() -> Obj:
    members = [member("hub"), {**member("edge"), "role": "ComplianceWitness"}]
    for item, name in zip(members, ("hub", "edge"), strict=True):
        item["keys"].append({"purpose": "Machine", "name": "machine", "publicKey": public(f"{name}.machine")})
    return {"meshId": MESH, "homeHub": node("hub"), "revision": 1, "members": members, "phaseId": "5.5"}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> OneDict:
    """One domain, one contract in its second version with an override, one proposal, two votes, two nodes."""
    made = OneDict()
    monkeypatch.setattr(sources, "connect", lambda *_: made)
    spec = domain()
    accepted = {"revision": 1, "digest": sources.constitution_of({"metadata": {"name": "fleet"}, "spec": spec}).digest}
    made.put("TrustDomain", "fleet", spec, status={"accepted": accepted})
    overlay = judge_overrides(NOW, [HERE], Permission(node("hub"), frozenset({"2.9"})))
    in_force = {
        "version": NOW.version,
        "digest": NOW.digest,
        "proposalDigest": PROPOSAL,
        "since": "2026-02-01T00:00:09Z",
    }
    status = {
        "inForce": {**in_force, "contentRef": f"quorate-{NOW.digest[7:]}"},
        "history": [
            {"version": NOW.version, "digest": NOW.digest, "proposalDigest": PROPOSAL, "at": "2026-02-01T00:00:09Z"},
            {"version": FIRST.version, "digest": FIRST.digest, "at": "2026-01-05T00:00:00Z"},
        ],
        "accepts": [
            {"version": NOW.version, "digest": NOW.digest},
            {"version": FIRST.version, "digest": FIRST.digest, "until": "2099-01-01T00:00:00Z"},
        ],
        "overlay": {"effectiveDigest": overlay.effective_digest, "items": overlay.documents},
        "holders": 1,
    }
    made.put(
        "DynamicContract",
        "rules",
        {"trustDomain": "fleet", "genesis": GENESIS, "localOverrides": [HERE]},
        status=status,
    )
    made.put("ConfigMap", f"quorate-{NOW.digest[7:]}", {}, data={"content": NOW.data.decode()})
    shown = {"digest": PROPOSAL, "outcome": "Executed", "evidenceDigest": "sha256:" + "cd" * 32}
    made.put("GovernanceProposal", "raise", {"type": "Standard"}, status=shown)
    for key, choice, truth in (("alice", "Approve", "True"), ("bob", "Approve", "True"), ("carol", "Reject", "False")):
        vote = {"proposal": {"digest": PROPOSAL}, "voter": node(key), "keyName": key, "choice": choice, "sequence": 1}
        counted = {"type": "Counted", "status": truth, "reason": "Counted" if truth == "True" else "TooLate"}
        made.put("Vote", key, vote, status={"conditions": [counted]})
    alive = [{"type": kind, "status": "True", "reason": "Ready"} for kind in ("IdentityVerified", "Heartbeating")]
    connections = [{"node": "edge", "type": "Direct"}]
    made.put(
        "MeshNode",
        "hub",
        {"nodeId": node("hub"), "trustDomains": ["fleet"], "connections": connections},
        status={"conditions": alive},
    )
    made.put("MeshNode", "edge", {"nodeId": node("edge"), "trustDomains": ["fleet"]})
    return made


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["--state", "warming", "--capability", "tools"], 0, "Granted"),
        (["--state", "cold", "--capability", "tools"], 1, "NotGranted"),
        (["--capability", "tools"], 1, "NotGranted"),
        (["--state", "hot", "--capability", "inference"], 0, "Granted"),
        (["--version", NOW.version, "--digest", NOW.digest], 0, "Accepted"),
        (["--version", FIRST.version, "--digest", FIRST.digest], 0, "Accepted"),
        (["--version", FIRST.version, "--digest", NOW.digest], 1, "Fork"),
        (["--version", "v2025.01.01", "--digest", NOW.digest], 1, "VersionUnsupported"),
        (["--state", "warming", "--capability", "tools", "--version", "v2025.01.01", "--digest", NOW.digest], 1,
         "VersionUnsupported"),
        (["--state", "warming"], 2, ""),
        (["--version", NOW.version], 2, ""),
        (["--tier", "Infinite"], 2, ""),
    ],
)  # fmt: skip
def test_gate(quorate: Quorate, cluster: OneDict, arguments: list[str], code: int, reason: str) -> None:
    """Exit 0 for all that is granted, 1 for a refusal with its reason, 2 where nothing was asked."""
    result = quorate("contract", "gate", "rules", *arguments, "-o", "json")
    assert result.code == code
    assert code == 2 or json.loads(result.out)["reason"] == reason
    assert code == 2 or json.loads(result.out)["allowed"] is (code == 0)


def test_gate_of_a_file(quorate: Quorate, tmp_path: Path) -> None:
    """A contract in a file is asked without any cluster."""
    document = {
        "kind": "DynamicContract",
        "metadata": {"name": "rules"},
        "spec": {"trustDomain": "d", "genesis": GENESIS},
    }
    (tmp_path / "c.yaml").write_text(json.dumps(document))
    asked = ("contract", "gate", "-f", tmp_path / "c.yaml", "--state", "warming", "--capability", "tools")
    result = quorate(*asked)
    assert result.code == 0
    assert "Granted: warming grants it" in result.out


def test_show_and_effective(quorate: Quorate, cluster: OneDict) -> None:
    """What was voted, and with --effective what holds here, each under its own digest."""
    assert quorate("contract", "show", "rules", "-o", "yaml").document["digest"] == NOW.digest
    effective = quorate("contract", "show", "rules", "--effective", "-o", "yaml").document
    assert effective["clauses"]["2.9"]["text"] == "Nine here."
    digest = effective.pop("digest")
    assert (
        digest
        == digest_of(effective)
        == cluster.objects["DynamicContract", "rules"]["status"]["overlay"]["effectiveDigest"]
    )
    table = quorate("contract", "show", "rules", "--effective").out
    assert "(overridden here)" in table
    assert f"{FIRST.version} until 2099-01-01T00:00:00Z" in table
    assert quorate("contract", "show", "rules", "--effective", "--version", "genesis").code == 2


def test_an_overlay_that_was_not_recorded_is_not_shown(quorate: Quorate, cluster: OneDict) -> None:
    """Overrides edited since the operator looked are refused rather than shown as what holds."""
    cluster.objects["DynamicContract", "rules"]["spec"]["localOverrides"] = [{**HERE, "text": "Whatever."}]
    result = quorate("contract", "show", "rules", "--effective")
    assert result.code == 1
    assert "status.overlay" in result.err


def test_history_names_who_voted(quorate: Quorate, cluster: OneDict) -> None:
    """Each version with its proposal, its votes that count, and the evidence; oldest first."""
    genesis, change = json.loads(quorate("contract", "history", "rules", "-o", "json").out)
    assert (genesis["event"], genesis["version"]) == ("genesis", FIRST.version)
    assert change["proposal"] == {
        "digest": PROPOSAL,
        "name": "default/raise",
        "type": "Standard",
        "outcome": "Executed",
    }
    assert change["evidenceDigest"] == "sha256:" + "cd" * 32
    assert [(vote["keyName"], vote["counted"]) for vote in change["votes"]] == [
        ("alice", True),
        ("bob", True),
        ("carol", False),
    ]
    table = quorate("contract", "history", "rules").out
    assert "Approve: alice, bob" in table
    assert "carol" not in table


def test_history_says_what_is_gone(quorate: Quorate, cluster: OneDict) -> None:
    """A proposal that was removed after its retention is said to be, with where it still is."""
    del cluster.objects["GovernanceProposal", "raise"]
    assert "--log has it" in quorate("contract", "history", "rules").out


def test_diff_of_versions(quorate: Quorate, cluster: OneDict) -> None:
    """Without more the version in force is compared with the one before."""
    shown = json.loads(quorate("contract", "diff", "rules", "-o", "json").out)
    assert [change["part"] for change in shown["changes"]] == ["2.10"]


def test_the_sync_document(quorate: Quorate, cluster: OneDict, tmp_path: Path) -> None:
    """What is in force goes to every member; the document passes the check of a reader."""
    made = json.loads(quorate("contract", "export", "rules").out)
    assert made["target_node_ids"] == sorted([node("hub"), node("edge")])
    assert (made["source_node_id"], made["contract_hash"]) == (node("hub"), NOW.digest[7:])
    assert (
        json.loads(quorate("contract", "export", "rules", "--mode", "Diff").out)["diff"]["base_hash"]
        == FIRST.digest[7:]
    )
    (tmp_path / "sync.json").write_text(json.dumps(made))
    assert quorate("document", "check", tmp_path / "sync.json").code == 0


def test_the_sync_document_of_a_contract_sync(quorate: Quorate, cluster: OneDict) -> None:
    """Targets, mode and failures are those of the object; one that brings another version is refused."""
    spec = {
        "contract": "rules",
        "version": NOW.version,
        "digest": NOW.digest,
        "targets": {"nodes": ["edge"]},
        "mode": "Full",
    }
    status = {"failed": [{"node": "edge", "reason": "StaleBase"}]}
    cluster.put("ContractSync", "s", spec, status=status)
    made = json.loads(quorate("contract", "export", "rules", "--sync", "s").out)
    assert (made["sync_type"], made["target_node_ids"]) == ("full", [node("edge")])
    assert made["failed_nodes"] == [{"node_id": node("edge"), "error": "StaleBase"}]
    cluster.put("ContractSync", "s", {**spec, "version": "v2026.02.02"})
    assert quorate("contract", "export", "rules", "--sync", "s").code == 2


def test_the_topology_document(quorate: Quorate, cluster: OneDict, tmp_path: Path) -> None:
    """Members, roles and connections of what is live; readable again, with predecessor, and drawn."""
    first = tmp_path / "first.json"
    first.write_text(quorate("mesh", "export", "--at", "2026-02-01T00:00:00Z").out)
    made = json.loads(first.read_text())
    assert {item["node_id"]: item["status"] for item in made["nodes"]} == {
        node("hub"): "active",
        node("edge"): "pending",
    }
    again = json.loads(quorate("mesh", "export", "--previous", first).out)
    assert again["previous_topology_id"] == made["topology_id"]
    assert quorate("document", "check", first, "-o", "name").out.strip() == made["topology_id"]
    drawing = quorate("mesh", "draw").out
    assert drawing.startswith("flowchart LR")
    assert '"hub"' in drawing
    assert "-->" in drawing
    assert quorate("mesh", "draw", first).out.count("subgraph") == 1


def test_a_document_that_does_not_hold_is_refused(quorate: Quorate, cluster: OneDict, tmp_path: Path) -> None:
    """One bad document among good ones gives exit 1 and a sentence with the field."""
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    made = json.loads(quorate("mesh", "export").out)
    good.write_text(json.dumps(made))
    bad.write_text(json.dumps({**made, "topology_hash": "00" * 32}))
    result = quorate("document", "check", good, bad)
    assert result.code == 1
    assert "topology_hash" in result.err
    assert quorate("document", "schema", "governance_mesh_topology").code == 0
    assert quorate("document", "schema", "other").code == 2
