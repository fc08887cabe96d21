"""A witness's rounds, on a cluster in memory: what it stores, signs and shows, and what a kill -9 leaves."""

import importlib
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from quorate.audit.checkpoint import parse_checkpoint
from quorate.audit.note import parse_note, verify_note
from quorate.audit.witness import Consistency, Refusal, Refuse, check_conflict
from quorate.audit.witness_form import consistency_document, encode_conflict, parse_conflict
from quorate.identity.vkey import COSIGNATURE, SignerKey
from quorate_cli.main import run
from quorate_cli.output import BadInputError, CliError
from quorate_cli.place import connect
from quorate_cli.witness.attend import Round, Witness
from quorate_cli.witness.memory import Memory
from quorate_cli.witness.trust import Trusted
from quorate_operator.kube import connection
from quorate_operator.kube.resources import CONFLICT_ANNOTATION, COSIGNED_ANNOTATION
from tests.unit.audit.test_witness import KEYS, LOG, ORIGIN, leaves, note, offer

KEY = SignerKey("mesh/w", bytes([3]) * 32, COSIGNATURE)
TRUSTED = Trusted(ORIGIN, tuple(KEYS))
LEASE = ("quorate-node-w", "quorate-cosignature-fleet")


class Folder:
    """A cluster whose objects are files, so that they outlive a killed process."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(exist_ok=True)

    def offer(self, shown: str, consistency: list[Consistency] | None = None) -> None:
        """What the hub shows from now on."""
        status = {"note": shown, "consistency": [consistency_document(item) for item in consistency or ()]}
        self._write("checkpoint", {"spec": {"chain": ORIGIN}, "status": status})

    def list(self, kind: str) -> list[Any]:
        assert kind == "AuditCheckpoint"
        strangers = [{"spec": {"chain": "mesh/other"}, "status": {"note": "x"}}, {"spec": {"chain": ORIGIN}}]
        return [*strangers, *([self._read("checkpoint")] if (self.root / "checkpoint").exists() else [])]

    def find(self, kind: str, name: str, namespace: str) -> Any:
        assert (kind, namespace, name) == ("Lease", *LEASE)
        return self._read("lease") if (self.root / "lease").exists() else None

    def apply(self, obj: Any) -> None:
        assert (obj["metadata"]["namespace"], obj["metadata"]["name"]) == LEASE
        self._write("lease", obj)

    def annotation(self, name: str) -> Any:
        """What the witness shows."""
        lease = self.find("Lease", LEASE[1], LEASE[0])
        return None if lease is None else lease["metadata"]["annotations"].get(name)

    def cosigned(self) -> tuple[int, int]:
        """(size, time) of the cosignature that is shown; it must verify."""
        verified = verify_note(self.annotation(COSIGNED_ANNOTATION), KEYS, [KEY.verifier])
        (cosignature,) = verified.cosignatures
        assert len(verified.signatures) == 2
        return parse_checkpoint(verified.text).size, cosignature.at

    def forget(self) -> None:
        (self.root / "lease").unlink()

    def _read(self, name: str) -> Any:
        return json.loads((self.root / name).read_text())

    def _write(self, name: str, value: Any) -> None:
        (self.root / f"{name}.new").write_text(json.dumps(value))
        (self.root / f"{name}.new").replace(self.root / name)


@pytest.fixture
def cluster(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "cluster")


def attend(cluster: Folder, memory: Path, now: int = 100) -> Round:
    """One round of a new process."""
    kept = Memory(memory)
    with kept.locked():
        return Witness(cluster, kept, KEY, node="w", clock=lambda: now).attend(TRUSTED)  # type: ignore[arg-type]


def reason(found: Round) -> Refusal:
    (refusal,) = found.refusals
    return refusal.reason


def test_a_log_that_grows_is_cosigned(cluster: Folder, tmp_path: Path) -> None:
    """Each new checkpoint is cosigned once, at the time of the round; the same one is not signed or written again."""
    cluster.offer(note(leaves(5)))
    assert attend(cluster, tmp_path / "w", 100).wrote and cluster.cosigned() == (5, 100)
    assert not attend(cluster, tmp_path / "w", 110).wrote and cluster.cosigned() == (5, 100)
    cluster.offer(note(leaves(9)), offer(leaves(9), 5))
    assert attend(cluster, tmp_path / "w", 120).wrote and cluster.cosigned() == (9, 120)
    assert [view.size for view in Memory(tmp_path / "w").read(ORIGIN).earlier] == [5]


def test_what_is_not_proven_is_not_cosigned(cluster: Folder, tmp_path: Path) -> None:
    """Without the proof, or when the hub shows an older checkpoint, what is shown stays what was cosigned last."""
    cluster.offer(note(leaves(5)))
    attend(cluster, tmp_path / "w", 100)
    for shown, expected in ((note(leaves(9)), Refusal.PROOF_MISSING), (note(leaves(3)), Refusal.HAVE_NEWER)):
        cluster.offer(shown)
        found = attend(cluster, tmp_path / "w", 200)
        assert reason(found) is expected and not found.wrote and cluster.cosigned() == (5, 100)


def test_two_histories_stop_the_witness_and_are_shown(cluster: Folder, tmp_path: Path) -> None:
    """Evidence stands beside the last good cosignature, and nothing is cosigned until a person resets the witness."""
    cluster.offer(note(leaves(5)))
    attend(cluster, tmp_path / "w", 100)
    cluster.offer(note(leaves(9, 1)), offer(leaves(9, 1), 5))
    assert reason(attend(cluster, tmp_path / "w", 200)) is Refusal.SPLIT_VIEW
    evidence = cluster.annotation(CONFLICT_ANNOTATION)
    assert [item.size for item in check_conflict(parse_conflict(evidence), KEYS, origin=ORIGIN)] == [5, 9]
    assert cluster.cosigned() == (5, 100)
    cluster.offer(note(leaves(6)), offer(leaves(6), 5))
    assert reason(attend(cluster, tmp_path / "w", 300)) is Refusal.IN_CONFLICT and cluster.cosigned() == (5, 100)
    kept = Memory(tmp_path / "w").put_aside(ORIGIN, "resumed", 300)
    assert json.loads(kept.read_text())["state"]["last"]["size"] == 5
    cluster.offer(note(leaves(9, 1)))
    assert attend(cluster, tmp_path / "w", 400).wrote and cluster.cosigned() == (9, 400)
    assert cluster.annotation(CONFLICT_ANNOTATION) is None


def test_a_lost_folder_is_made_good_by_the_lease(cluster: Folder, tmp_path: Path) -> None:
    """What the witness's own Lease shows binds it too: with a new or an older folder it cosigns no other tree."""
    cluster.offer(note(leaves(5)))
    attend(cluster, tmp_path / "old")
    cluster.offer(note(leaves(9)), offer(leaves(9), 5))
    attend(cluster, tmp_path / "w")
    cluster.offer(note(leaves(9, 1)))
    for folder in ("new", "old"):
        assert reason(attend(cluster, tmp_path / folder)) is Refusal.SPLIT_VIEW


def test_a_lease_that_somebody_changed_is_written_again(cluster: Folder, tmp_path: Path) -> None:
    """A removed Lease, or one with another signature in it, does not keep the cosignature from being shown."""
    cluster.offer(note(leaves(5)))
    attend(cluster, tmp_path / "w")
    cluster.forget()
    assert attend(cluster, tmp_path / "w", 200).wrote and cluster.cosigned() == (5, 200)
    lease = cluster.find("Lease", LEASE[1], LEASE[0])
    good = lease["metadata"]["annotations"][COSIGNED_ANNOTATION]
    for bad in ("", "x", good.replace("\n5\n", "\n4\n"), note(leaves(5))):
        lease["metadata"]["annotations"][COSIGNED_ANNOTATION] = bad
        cluster.apply(lease)
        assert attend(cluster, tmp_path / "w", 300).wrote and cluster.cosigned() == (5, 300)


def test_a_state_that_cannot_be_used_stops_the_witness(cluster: Folder, tmp_path: Path) -> None:
    """A damaged state is no first sight."""
    cluster.offer(note(leaves(5)))
    attend(cluster, tmp_path / "w")
    path = tmp_path / "w" / ORIGIN / "witness.json"
    for damaged in (b"", b"{}", path.read_bytes()[:-5], path.read_bytes().replace(ORIGIN.encode(), b"mesh/other")):
        path.write_bytes(damaged)
        with pytest.raises(CliError):
            attend(cluster, tmp_path / "w")


def test_what_cannot_be_stored_is_not_cosigned(
    cluster: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the folder refuses the write, no cosignature is made."""

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    cluster.offer(note(leaves(5)))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CliError, match="nothing is cosigned"):
        attend(cluster, tmp_path / "w")
    assert cluster.annotation(COSIGNED_ANNOTATION) is None


def test_one_process_holds_a_folder(tmp_path: Path) -> None:
    """A second witness on the same folder is refused."""
    with Memory(tmp_path).locked(), pytest.raises(CliError, match="another witness"), Memory(tmp_path).locked():
        pass


WITH_EFFECTS = ("quorate_cli/witness/", "quorate_operator/store/files.py")
"""Where a kill can make a difference; everything else that a round calls computes."""


def _killed_at(line: int, work: Callable[[], object]) -> bool:
    """Run `work` in a child that is killed by signal 9 before its n-th line in WITH_EFFECTS; whether it was."""
    child = os.fork()
    if child == 0:
        left = line

        def trace(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal left
            ours = any(part in frame.f_code.co_filename for part in WITH_EFFECTS)
            if event == "line" and ours:
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return trace if ours else None

        sys.settrace(trace)
        try:
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def _recording(cluster: Folder, memory: Path, made: Path) -> Round:
    """A round that writes down each cosignature in the moment in which it is made."""
    module: Any = importlib.import_module("quorate_cli.witness.attend")
    real = module.cosign

    def cosign(text: str, witness: SignerKey, *, at: int) -> Any:
        line = real(text, witness, at=at)
        with made.open("a") as file:
            file.write(json.dumps(text) + "\n")
        return line

    module.cosign = cosign
    try:
        return attend(cluster, memory)
    finally:
        module.cosign = real


@pytest.fixture
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the process dies here, not the machine, and hundreds of fsyncs take their time."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.mark.usefixtures("no_fsync")
def test_kill_9_at_any_line_never_leads_to_two_histories(tmp_path: Path) -> None:
    """Killed anywhere and then shown another history, the witness has cosigned one of the two and never both."""
    honest, forged, line, killed = leaves(9), leaves(9, 1, 3), 0, True
    while killed:
        root = tmp_path / str(line)
        root.mkdir()
        cluster, memory, made = Folder(root / "cluster"), root / "w", root / "made"
        cluster.offer(note(leaves(5)))
        _recording(cluster, memory, made)
        cluster.offer(note(honest), offer(honest, 5))
        killed = _killed_at(line, lambda: _recording(cluster, memory, made))  # noqa: B023 - called at once
        cluster.offer(note(forged), offer(forged, 5, 3))
        found = _recording(cluster, memory, made)
        assert isinstance(found.decisions[0], Refuse) and found.refusals[0].alarm
        cluster.offer(note(leaves(20)), offer(leaves(20), 5, 9))
        _recording(cluster, memory, made)
        texts = [json.loads(text) for text in made.read_text().splitlines()]
        assert {parse_note(note(leaves(5))).text} <= set(texts) <= {parse_note(note(leaves(n))).text for n in (5, 9)}
        assert cluster.cosigned()[0] in (5, 9)
        line += 1
    assert line > 80


@pytest.mark.usefixtures("no_fsync")
def test_kill_9_at_any_line_loses_nothing(tmp_path: Path) -> None:
    """Killed at every fourth line, the next round cosigns what the hub shows, as if nothing had been."""
    line, killed = 0, True
    while killed:
        root = tmp_path / str(line)
        root.mkdir()
        cluster, memory = Folder(root / "cluster"), root / "w"
        cluster.offer(note(leaves(5)))
        killed = _killed_at(line, lambda: attend(cluster, memory))  # noqa: B023 - called at once
        cluster.offer(note(leaves(5)))
        attend(cluster, memory)
        assert cluster.cosigned()[0] == 5
        line += 4


def test_evidence_is_checked_by_anyone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`witness check` takes evidence and the log's key; what proves nothing fails, as does another key."""
    cluster = Folder(tmp_path / "c")
    cluster.offer(note(leaves(5)))
    attend(cluster, tmp_path / "w")
    cluster.offer(note(leaves(9, 1)), offer(leaves(9, 1), 5))
    state = attend(cluster, tmp_path / "w").state
    assert state.conflict is not None
    evidence = tmp_path / "evidence.json"
    evidence.write_bytes(encode_conflict(state.conflict))
    assert run(["witness", "check", str(evidence), "--log-key", str(LOG.verifier)]) == 0
    assert "signed two histories" in capsys.readouterr().err
    other = SignerKey(ORIGIN, bytes([7]) * 32).verifier
    assert run(["witness", "check", str(evidence), "--log-key", str(other)]) == 1
    evidence.write_text("{}")
    assert run(["witness", "check", str(evidence), "--log-key", str(LOG.verifier)]) == 2
    assert run(["witness", "show", "--state", str(tmp_path / "w"), "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["conflict"]["sizes"] == [5, 9]
    assert run(["witness", "reset", ORIGIN, "--state", str(tmp_path / "w"), "--reason", "resumed"]) == 0
    assert run(["witness", "reset", "mesh/none", "--state", str(tmp_path / "w"), "--reason", "x"]) == 2
    assert Memory(tmp_path / "w").read(ORIGIN).last is None


def test_a_log_key_is_no_witness_key(tmp_path: Path) -> None:
    """A key of algorithm 0x01 is refused by its number, before anything is read."""
    from quorate_cli.witness import read_witness_key  # noqa: PLC0415

    for content in (LOG.encode(), "nonsense"):
        file = tmp_path / "k.key"
        file.write_text(content)
        file.chmod(0o600)
        with pytest.raises(BadInputError):
            read_witness_key(str(file))


def test_in_a_pod_its_service_account_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a kubeconfig the Pod's ServiceAccount is used, elsewhere the lack is named."""
    with pytest.raises(BadInputError, match="no cluster"):
        connect()
    account = tmp_path / "account"
    account.mkdir()
    monkeypatch.setattr(connection, "_SERVICE_ACCOUNT", account)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    with pytest.raises(BadInputError, match="no ServiceAccount token"):
        connect()
    for name in ("token", "ca.crt"):
        (account / name).write_text(name)
    assert connect().source == "the Pod's ServiceAccount"
