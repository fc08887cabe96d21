"""A chain is stopped when its database lies, and goes on when two people signed: on a real cluster and database."""

import json
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from quorate.audit.quarantine import RAISED, RESUMED
from quorate_cli.main import run
from quorate_cli.sandbox.instance import Sandbox
from tests.slice.backup import Backup
from tests.slice.fleet import Fleet, Obj, condition, wait_for

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox with an operator."""
    with Sandbox.up("quarantine", fast=True, state_root=tmp_path_factory.mktemp("quarantine")) as running:
        yield running


@pytest.fixture
def quorate(mesh: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """`quorate(…)` on the sandbox → exit code, standard output, standard error."""
    monkeypatch.setenv("KUBECONFIG", str(mesh.kubeconfig))

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def founded(mesh: Sandbox, folder: Path) -> Fleet:
    """A fleet whose log was signed and verified."""
    fleet = Fleet(mesh, folder, earlyDecision=False, votingPeriodSeconds=600)
    fleet.found()
    wait_for("a verified checkpoint", lambda: ready(fleet) == ("True", "Ready"))
    return fleet


def checkpoint(fleet: Fleet) -> Obj:
    """The AuditCheckpoint of a fleet."""
    return fleet.cluster.find("AuditCheckpoint", fleet.name) or {}


def ready(fleet: Fleet) -> tuple[str, str]:
    """Its condition Ready."""
    return condition(checkpoint(fleet), "Ready")


def demand(fleet: Fleet, verify: str) -> None:
    """Set spec.verify; with Full, everything is verified now."""
    wait_for("the demand", lambda: fleet.cluster.patch(checkpoint(fleet), {"spec": {"verify": verify}}))


def superuser(mesh: Sandbox, *statements: str) -> None:
    """Run statements as nobody may but a superuser, past every trigger."""
    with psycopg.connect(mesh.dsn()) as connection:
        connection.execute("SET LOCAL client_min_messages = error")
        partitions = connection.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'quorate.audit_entry'::regclass"
        ).fetchall()
        for table in ["quorate.audit_entry", *(name for (name,) in partitions)]:
            connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        for statement in statements:
            connection.execute(statement)
        for table in ["quorate.audit_entry", *(name for (name,) in partitions)]:
            for trigger in ("append_only", "no_truncate"):
                connection.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger}")


def flip(mesh: Sandbox, chain: str, sequence: int) -> None:
    """Change one bit of an entry; once more, and it is as it was."""
    changed = "set_byte(record, length(record) - 3, get_byte(record, length(record) - 3) # 1)"
    where = f"chain_id = '{chain}' AND seq = {sequence}"
    superuser(mesh, f"UPDATE quorate.audit_entry SET record = {changed} WHERE {where}")


def metrics(mesh: Sandbox) -> str:
    """What the operator's /metrics say."""
    port = mesh.status()["ports"]["operator"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        return str(answer.read().decode())


def size_of(mesh: Sandbox, chain: str) -> int:
    """Entries of a chain, by its head row."""
    with psycopg.connect(mesh.dsn()) as connection:
        row = connection.execute("SELECT size FROM quorate.chain_head WHERE chain_id = %s", (chain,)).fetchone()
    return 0 if row is None else int(row[0])


def test_one_changed_byte(mesh: Sandbox, quorate: Call, tmp_path: Path) -> None:
    """The next full verification stops the chain, alone; two people and an intact log let it go on."""
    fleet, other = founded(mesh, tmp_path / "a"), founded(mesh, tmp_path / "b")
    flip(mesh, fleet.chain, 1)
    demand(fleet, "Full")
    wait_for("the quarantine", lambda: ready(fleet) == ("False", "ChainQuarantined"))
    stopped = wait_for("its verification", lambda: checkpoint(fleet) if failed(fleet) else None)
    assert stopped["status"]["result"] == "Tampered"
    assert stopped["status"]["quarantine"]["cause"] == "VerificationFailed"
    assert "entry 1" in stopped["status"]["quarantine"]["message"]
    assert f'quorate_log_intact{{chain="{fleet.chain}"}} 0.0' in metrics(mesh)
    assert f'quorate_chain_quarantined{{chain="{fleet.chain}"}} 1.0' in metrics(mesh)
    wait_for("an Event", lambda: warned(fleet, "VerificationFailed"))

    # What is stopped says so; what is not goes on.
    size = size_of(mesh, fleet.chain)
    fleet.cluster.apply(fleet.proposal())
    proposal = lambda: condition(fleet.get("GovernanceProposal"), "Ready")  # noqa: E731
    wait_for("the stopped proposal", lambda: proposal() == ("False", "ChainQuarantined"))
    other.open()
    code, out, _ = quorate("audit", "quarantine", "show", "-o", "json")
    (row,) = json.loads(out)
    assert (code, row["chain"], row["size"], row["signatures"]) == (0, fleet.chain, size, [])

    # One signer is not enough, nor the same one twice; and nobody signs damage away.
    sign(quorate, fleet, "alice")
    wait_for("the first signature", lambda: reasons(fleet) == ["Accepted"])
    sign(quorate, fleet, "alice")
    wait_for("the same signer", lambda: reasons(fleet) == ["Accepted"] * 2)
    sign(quorate, fleet, "bob")
    wait_for("the refusal", lambda: "full verification says Tampered" in message(checkpoint(fleet)))
    assert size_of(mesh, fleet.chain) == size

    flip(mesh, fleet.chain, 1)
    demand(fleet, "SinceLast")
    demand(fleet, "Full")
    wait_for("the resumption", lambda: "quarantine" not in checkpoint(fleet)["status"])
    wait_for("the proposal", lambda: condition(fleet.get("GovernanceProposal"), "Accepted")[0] == "True")
    wait_for("the statements' end", lambda: reasons(fleet) == ["Resumed"] * 3)
    entries = fleet.entries()
    resumed = entries[size]
    assert resumed["event_type"] == RESUMED
    detail = resumed["payload"]["detail"]
    assert (detail["size"], detail["epoch"], detail["verification"]["verdict"]) == (size, 0, "Intact")
    assert [item["statement"]["keyName"] for item in detail["signatures"]] == ["alice", "bob"]
    wait_for("a verified checkpoint", lambda: ready(fleet) == ("True", "Ready"))
    assert {"system.quarantine.raised", "system.verification.failed"} <= system_events(mesh)


def failed(fleet: Fleet) -> bool:
    """Whether the last verification is shown to have failed."""
    return condition(checkpoint(fleet), "Verified") == ("False", "VerificationFailed")


def message(obj: Obj) -> str:
    """The message of Ready."""
    conditions = obj["status"]["conditions"]
    return next(str(item["message"]) for item in conditions if item["type"] == "Ready")


def warned(fleet: Fleet, reason: str) -> bool:
    """Whether an Event about the AuditCheckpoint has this reason."""
    path = "/apis/events.k8s.io/v1/events"
    found = fleet.cluster.request("GET", path, query={"fieldSelector": f"reason={reason}"})
    return any(item["regarding"]["name"] == fleet.name for item in found["items"])


def sign(quorate: Call, fleet: Fleet, name: str, *more: str) -> None:
    """One signature under the resumption."""
    key = fleet.folder / "keys" / f"{name}.key"
    code, _, err = quorate("audit", "quarantine", "resume", fleet.chain, "--key", key, "-n", "default", *more)
    assert code == 0, err


def reasons(fleet: Fleet) -> list[str]:
    """What became of the fleet's Attestations of type Resume."""
    own = [item for item in fleet.cluster.list("Attestation") if item["spec"]["domain"] == fleet.name]
    return [condition(item, "Ready")[1] for item in own]


def system_events(mesh: Sandbox) -> set[str]:
    """Types of the entries in chain `system`."""
    from quorate.audit.record import Record  # noqa: PLC0415
    from quorate.canonical import parse_json  # noqa: PLC0415

    with psycopg.connect(mesh.dsn()) as connection:
        rows: list[Any] = connection.execute(
            "SELECT record FROM quorate.audit_entry WHERE chain_id = 'system'"
        ).fetchall()
    return {str(parse_json(Record.decode(bytes(record)).content)["event_type"]) for (record,) in rows}


def test_an_older_database(mesh: Sandbox, quorate: Call, tmp_path: Path) -> None:
    """A copy of the data directory put back is found out at start: nothing is sealed on it until two people signed."""
    fleet = founded(mesh, tmp_path / "fleet")
    before = size_of(mesh, fleet.chain)
    backup = Backup(mesh, tmp_path)
    fleet.open()
    wait_for("a later checkpoint", lambda: checkpoint(fleet)["status"]["size"] > before)
    lost = checkpoint(fleet)["status"]

    backup.put_back()
    wait_for("the quarantine", lambda: ready(fleet) == ("False", "ChainQuarantined"))
    assert checkpoint(fleet)["status"]["quarantine"]["cause"] == "DatabaseBehind"
    assert size_of(mesh, fleet.chain) == before

    sign(quorate, fleet, "alice", "--finding", "the backup of last night was restored")
    sign(quorate, fleet, "bob")
    wait_for("the resumption", lambda: "quarantine" not in checkpoint(fleet)["status"])
    resumed = fleet.entries()[before]
    assert resumed["payload"]["detail"]["lost"] == [{"size": lost["size"], "root": lost["root"]}]
    assert resumed["payload"]["detail"]["finding"] == "the backup of last night was restored"
    wait_for("a verified checkpoint", lambda: ready(fleet) == ("True", "Ready"))


def test_the_third_quarantine_of_a_day(mesh: Sandbox, quorate: Call, tmp_path: Path) -> None:
    """It resumes only with a written finding that both signed."""
    fleet = founded(mesh, tmp_path / "fleet")
    with psycopg.connect(mesh.dsn()) as connection:
        for number in (1, 2):
            row = (fleet.chain, number, "SplitView", "told by hand", "{}", 0, 1, bytes(32))
            connection.execute("INSERT INTO quorate.quarantine VALUES (%s, %s, %s, %s, %s, %s, %s, %s)", row)
            connection.execute("INSERT INTO quorate.resumption VALUES (%s, %s, 0)", (fleet.chain, number))
        connection.execute("SELECT quorate.stop_chain(%s, 'SplitView', 'told by hand', '{}')", (fleet.chain,))
    wait_for("the quarantine", lambda: checkpoint(fleet)["status"].get("quarantine", {}).get("needsFinding"))
    key = fleet.folder / "keys" / "alice.key"
    code, _, err = quorate("audit", "quarantine", "resume", fleet.chain, "--key", key)
    assert code == 2
    assert "--finding: is required" in err
    sign(quorate, fleet, "alice", "--finding", "three drills in a row")
    sign(quorate, fleet, "bob", "--finding", "another story")
    wait_for("both", lambda: reasons(fleet) == ["Accepted"] * 2)
    assert "quarantine" in checkpoint(fleet)["status"]
    sign(quorate, fleet, "bob", "--finding", "three drills in a row")
    wait_for("the resumption", lambda: "quarantine" not in checkpoint(fleet)["status"])


def test_system_is_stopped_alone(mesh: Sandbox, quorate: Call, tmp_path: Path) -> None:
    """With `system` stopped a domain is founded all the same; the installation's key lets it go on, no other."""
    wait_for("entries of system", lambda: size_of(mesh, "system"))
    with psycopg.connect(mesh.dsn()) as connection:
        connection.execute("SELECT quorate.stop_chain('system', 'SplitView', 'told by hand', '{}')")
    shown = lambda: mesh.admin().find("AuditCheckpoint", "system") or {}  # noqa: E731
    wait_for("the quarantine", lambda: (shown().get("status") or {}).get("quarantine"))
    fleet = founded(mesh, tmp_path / "fleet")
    code, _, err = quorate("audit", "quarantine", "resume", "system", "--key", fleet.folder / "keys" / "alice.key")
    assert code == 0, err
    wait_for("the refusal", lambda: "is not that of" in message(shown()))
    code, _, err = quorate("audit", "quarantine", "resume", "system", "--key", mesh.log_keys / "system.key")
    assert code == 0, err
    wait_for("the resumption", lambda: "quarantine" not in shown()["status"])
    wait_for("its entries", lambda: {RAISED, RESUMED} <= system_events(mesh))
