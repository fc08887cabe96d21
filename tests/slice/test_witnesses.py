"""Witnesses as processes of their own, with the rights of their nodes, against a real hub."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from quorate.audit.checkpoint import Checkpoint, open_checkpoint
from quorate.audit.merkle import consistency_proof, root_of
from quorate.audit.note import cosign, parse_note, verify_note
from quorate.audit.witness import Consistency
from quorate.audit.witness_form import consistency_document
from quorate.identity.vkey import COSIGNATURE, SignerKey, VerifierKey, parse_signer_key, parse_verifier_key
from quorate_cli.cluster import RefusedError
from quorate_cli.main import run
from quorate_cli.place import READER, connect
from quorate_cli.sandbox.instance import Sandbox
from quorate_operator.kube.resources import CONFLICT_ANNOTATION, COSIGNED_ANNOTATION, HEARTBEAT_LABEL
from tests.slice.backup import Backup
from tests.slice.fleet import Fleet, Obj, condition, wait_for

HUB_A = "3f0a1c5e-7b2d-4c89-9e31-5a6b7c8d9e01"
NODES = {"witness-a": "b1d4e6f8-2c3a-4d57-a0b1-7c8d9e0f1a03", "witness-b": "d7e8f9a0-3b4c-4e68-b2c3-8d9e0f1a2b04"}


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox whose operator is the hub, and two registered witnesses."""
    with Sandbox.up("witness", node_id=HUB_A, fast=True, state_root=tmp_path_factory.mktemp("town")) as running:
        for name, node_id in NODES.items():
            arguments = ["node", "register", name, "--node-id", node_id, "--domain", "fleet"]
            assert run([*arguments, "--kubeconfig", str(running.kubeconfig)]) == 0
        yield running


class Watched(Fleet):
    """A fleet with witnesses."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        super().__init__(sandbox, folder)
        self.log_key = parse_signer_key((folder / "keys" / "log.key").read_text())

    def checkpoint(self) -> Obj:
        """The AuditCheckpoint of the fleet's chain."""
        return self.cluster.get("AuditCheckpoint", self.name)

    def demand(self, witnesses: int) -> None:
        """Ask for so many cosignatures."""
        wait_for("a checkpoint", lambda: (self.checkpoint().get("status") or {}).get("note"))
        spec = {"chain": self.chain, "verify": "None", "requireWitnesses": witnesses}
        api = "quorate.dev/v1alpha1"
        self.cluster.apply(
            {"apiVersion": api, "kind": "AuditCheckpoint", "metadata": {"name": self.name}, "spec": spec}
        )

    def ready(self, reason: str, seconds: float = 60) -> Obj:
        """Wait until the AuditCheckpoint has this reason; its status."""

        def probe() -> Obj | None:
            obj = self.checkpoint()
            return dict(obj["status"]) if condition(obj, "Ready")[1] == reason else None

        return wait_for(f"Ready with {reason}", probe, seconds)

    def arguments(self, node: str) -> list[str]:
        """The command line of a witness with its node's own credential, and the pin of the constitution."""
        user = f"system:serviceaccount:quorate-node-{node}:node"
        kubeconfig = self.sandbox.client_kubeconfig(user, ("system:serviceaccounts",))
        return [
            *("witness", "run", node, "--domain", self.name, "--state", str(self.folder / node)),
            *("--key", str(self.folder / "keys" / f"{node}-log.key"), "--kubeconfig", str(kubeconfig)),
            *("--pin", f"{self.chain}={self.constitution.digest}"),
        ]

    def once(self, node: str) -> int:
        """One round; its exit code."""
        return run([*self.arguments(node), "--once"])

    @contextmanager
    def watching(self, node: str) -> Iterator["subprocess.Popen[bytes]"]:
        """A witness that runs as long as this lasts; killed, not asked."""
        command = [sys.executable, "-m", "quorate_cli", *self.arguments(node), "--interval", "1"]
        with (self.folder / f"{node}.out").open("ab") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out)
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def lease(self, node: str) -> Obj:
        """What the witness shows."""
        return self.cluster.get("Lease", f"quorate-cosignature-{self.name}", f"quorate-node-{node}")

    def witness_key(self, node: str) -> VerifierKey:
        return parse_verifier_key((self.folder / "keys" / f"{node}-log.pub").read_text().strip())

    def cosigners(self, note: str) -> set[str]:
        """Names of the witnesses whose cosignatures on a note verify."""
        keys = [self.witness_key(node) for node in NODES]
        return {item.key.name for item in verify_note(note, [self.log_key.verifier], keys).cosignatures}

    def verified(self, note: str, *witnesses: str) -> int:
        """Exit code of the verification with a note that was kept outside, which all of these must have cosigned."""
        kept = self.folder / "checkpoint"
        kept.write_text(note)
        arguments = ["--chain", self.chain, "--dsn", self.sandbox.dsn(READER), "--checkpoint", str(kept)]
        arguments += ["--log-key", str(self.log_key.verifier), "--require-witnesses", str(len(witnesses))]
        keys = [argument for key in witnesses for argument in ("--witness", key)]
        return run(["audit", "verify", *arguments, *keys])

    def restore_check(self, *more: str) -> int:
        """Exit code of `quorate restore check` for the fleet."""
        place = ["--kubeconfig", str(self.sandbox.kubeconfig), "--dsn", self.sandbox.dsn(READER)]
        return run(["restore", "check", "--domain", self.name, *place, *more])

    def show(self, note: str, consistency: Consistency | None = None) -> None:
        """Replace what the hub shows; its operator must be stopped."""
        offered = [] if consistency is None else [consistency_document(consistency)]
        path = f"/apis/quorate.dev/v1alpha1/auditcheckpoints/{self.name}/status"
        body = {"status": {"note": note, "consistency": offered}}
        self.cluster.request("PATCH", path, body=body, content_type="application/merge-patch+json")


@pytest.fixture
def fleet(town: Sandbox, tmp_path: Path) -> Watched:
    """A founded fleet whose first checkpoint is signed."""
    made = Watched(town, tmp_path / "fleet")
    made.found()
    return made


@contextmanager
def stopped(sandbox: Sandbox) -> Iterator[None]:
    """The operator is away."""
    sandbox.stop("operator")
    try:
        yield
    finally:
        sandbox.start("operator")


def test_two_witnesses_cosign_and_only_then_it_is_ready(fleet: Watched) -> None:
    """With requireWitnesses 2 it is Ready once two members cosigned, also after the log grew and one was killed."""
    fleet.demand(2)
    fleet.ready("WitnessesMissing")
    with fleet.watching("witness-a") as first:
        status = wait_for("a cosignature", lambda: fleet.checkpoint()["status"].get("cosignatures"))
        assert [item["name"] for item in status] == ["example-mesh/witness-a-log"]
        fleet.ready("WitnessesMissing")
        with fleet.watching("witness-b"):
            status = fleet.ready("Ready")
            assert fleet.cosigners(status["note"]) == {"example-mesh/witness-a-log", "example-mesh/witness-b-log"}
            os.kill(first.pid, signal.SIGKILL)
            first.wait()
            fleet.open()
            grown = wait_for("growth", lambda: _grown(fleet, status["size"]))
            assert condition(grown, "Ready")[1] == "WitnessesMissing"
            with fleet.watching("witness-a"):
                status = fleet.ready("Ready")
                assert status["size"] >= grown["status"]["size"] and len(status["cosignatures"]) == 2
    first_key, second_key = (str(fleet.witness_key(node)) for node in NODES)
    stranger = str(SignerKey("example-mesh/stranger", bytes(32), COSIGNATURE).verifier)
    assert fleet.verified(status["note"], first_key, second_key) == 0
    assert fleet.verified(status["note"], first_key, stranger) == 5, "one of two is not enough"


def _grown(fleet: Watched, size: int) -> Obj | None:
    obj = fleet.checkpoint()
    return obj if obj["status"]["size"] > size and not obj["status"].get("cosignatures") else None


def test_two_histories_are_refused_proven_and_stop_the_chain(fleet: Watched, tmp_path: Path) -> None:
    """Whoever holds the log's key and shows another history gets no cosignature, and evidence that anyone can check."""
    fleet.demand(1)
    assert fleet.once("witness-a") == 0
    note = fleet.ready("Ready")["note"]
    seen = open_checkpoint(note, [fleet.log_key.verifier], origin=fleet.chain)
    other = [bytes([7]) * 31 + bytes([n]) for n in range(seen.size + 3)]
    forged = Checkpoint(fleet.chain, len(other), root_of(other)).sign(fleet.log_key)
    offered = Consistency(seen.size, root_of(other[: seen.size]), tuple(consistency_proof(other, seen.size)))
    with stopped(fleet.sandbox):
        fleet.show(forged, offered)
        assert fleet.once("witness-a") == 4
        annotations = fleet.lease("witness-a")["metadata"]["annotations"]
        assert fleet.cosigners(annotations[COSIGNED_ANNOTATION]) == {"example-mesh/witness-a-log"}
        assert parse_note(annotations[COSIGNED_ANNOTATION]).text == parse_note(note).text
        evidence = tmp_path / "evidence.json"
        evidence.write_text(annotations[CONFLICT_ANNOTATION])
        assert run(["witness", "check", str(evidence), "--log-key", str(fleet.log_key.verifier)]) == 0
        fleet.show(note)
        assert fleet.once("witness-a") == 4, "it keeps refusing"
    status = fleet.ready("ChainQuarantined", 90)
    assert status["quarantine"]["cause"] in ("SplitView", "DatabaseBehind")


def test_an_older_view_is_not_cosigned(fleet: Watched) -> None:
    """A hub that shows an older checkpoint gets nothing, and the larger one stays where everybody sees it."""
    fleet.demand(1)
    assert fleet.once("witness-a") == 0
    first = fleet.ready("Ready")
    fleet.open()
    wait_for("growth", lambda: _grown(fleet, first["size"]))
    assert fleet.once("witness-a") == 0
    newest = fleet.ready("Ready")["note"]
    with stopped(fleet.sandbox):
        fleet.show(first["note"])
        assert fleet.once("witness-a") == 1
    shown = fleet.lease("witness-a")["metadata"]["annotations"][COSIGNED_ANNOTATION]
    assert parse_note(shown).text == parse_note(newest).text


def test_a_database_that_went_back_is_stopped_by_what_a_witness_saw(fleet: Watched) -> None:
    """A cosigned checkpoint that the log's key signed and the database lacks stops the chain at the next start."""
    fleet.demand(1)
    assert fleet.once("witness-a") == 0
    fleet.ready("Ready")
    with stopped(fleet.sandbox):
        lost = parse_note(Checkpoint(fleet.chain, 1000, bytes(32)).sign(fleet.log_key))
        key: SignerKey = parse_signer_key((fleet.folder / "keys" / "witness-a-log.key").read_text())
        lease = fleet.lease("witness-a")
        note = str(lost.extended([cosign(lost.text, key, at=1)]))
        labels = {HEARTBEAT_LABEL: "cosignature"}
        meta = {name: lease["metadata"][name] for name in ("name", "namespace")}
        meta |= {"labels": labels, "annotations": {COSIGNED_ANNOTATION: note}}
        fleet.cluster.apply({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta})
    status = fleet.ready("ChainQuarantined", 90)
    assert status["quarantine"]["cause"] == "DatabaseBehind"


def test_a_restored_database_is_witnessed_again(
    fleet: Watched, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After two people resumed an older database its witness refuses until it is reset; then all is as before."""
    fleet.demand(1)
    assert fleet.once("witness-a") == 0
    before = fleet.ready("Ready")["size"]
    backup = Backup(fleet.sandbox, tmp_path)
    fleet.open()
    wait_for("growth", lambda: _grown(fleet, before))
    assert fleet.once("witness-a") == 0
    lost = fleet.ready("Ready")
    backup.put_back()
    status = fleet.ready("ChainQuarantined")
    assert status["quarantine"]["cause"] == "DatabaseBehind"
    assert fleet.restore_check("--apply") == 1, "a stopped chain is left alone"

    for signer, *more in (("alice", "--finding", "last night's backup"), ("bob",)):
        key = str(fleet.folder / "keys" / f"{signer}.key")
        arguments = ["audit", "quarantine", "resume", fleet.chain, "--key", key, "-n", "default", *more]
        assert run([*arguments, "--kubeconfig", str(fleet.sandbox.kubeconfig)]) == 0
    status = fleet.ready("WitnessesMissing")
    assert "quarantine" not in status and status["note"] != lost["note"]
    assert fleet.once("witness-a") in (1, 4), "an older view, or another one of the same size"
    shown = fleet.lease("witness-a")["metadata"]["annotations"][COSIGNED_ANNOTATION]
    assert parse_note(shown).text == parse_note(lost["note"]).text, "it keeps to what it saw"

    capsys.readouterr()
    assert fleet.restore_check("-o", "json") == 1
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["kind"], row["state"], row["chain"]) == ("GovernanceProposal", "ready", fleet.chain)
    assert "opened anew" in row["follows"] and row["missing"][0].startswith("entry ")
    assert condition(fleet.get("GovernanceProposal"), "Ready")[1] == "LogBehind"
    assert fleet.restore_check("--apply") == 0
    wait_for("the opening", lambda: condition(fleet.get("GovernanceProposal"), "Accepted")[0] == "True")
    assert fleet.restore_check() == 0

    reset = ["witness", "reset", fleet.chain, "--state", str(fleet.folder / "witness-a")]
    assert run([*reset, "--reason", "resumed after quarantine 1: last night's backup"]) == 0
    wait_for("its cosignature of the new epoch", lambda: fleet.once("witness-a") == 0 and _is_ready(fleet))
    status = fleet.ready("Ready")
    assert fleet.cosigners(status["note"]) == {"example-mesh/witness-a-log"}
    assert fleet.verified(status["note"], str(fleet.witness_key("witness-a"))) == 0


def _is_ready(fleet: Watched) -> bool:
    return condition(fleet.checkpoint(), "Ready")[0] == "True"


def test_a_witness_stays_in_its_namespace(fleet: Watched) -> None:
    """With its own rights a witness reads checkpoints, and writes no other node's Lease and no status."""
    fleet.demand(0)
    arguments = fleet.arguments("witness-a")
    own = connect(arguments[arguments.index("--kubeconfig") + 1])
    assert own.get("AuditCheckpoint", fleet.name)["status"]["note"]
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": f"quorate-cosignature-{fleet.name}", "namespace": "quorate-node-witness-b"},
    }
    refused: list[Callable[[], object]] = [
        lambda: own.apply(lease),
        lambda: own.request(
            "PATCH",
            f"/apis/quorate.dev/v1alpha1/auditcheckpoints/{fleet.name}/status",
            body={"status": {"note": "x"}},
            content_type="application/merge-patch+json",
        ),
    ]
    for attempt in refused:
        with pytest.raises(RefusedError) as caught:
            attempt()
        assert caught.value.status == 403
