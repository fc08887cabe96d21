"""`quorate audit verify` by its options: since, one entry, directories, bundles, witnesses, and how it ends."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from quorate_cli.main import run
from tests.chains import CHAIN, SIGNER, build, publish, tamper, write
from tests.contract.server import Server

SIZE = 300
WHOLE = build(SIZE)
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def dsn(postgres: Server, database: str) -> str:
    """A database with one chain and two checkpoints."""
    made = postgres.dsn(database)
    write(made, WHOLE, WHOLE.note(200), WHOLE.note())
    return made


@pytest.fixture
def verify(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """`verify(…)` → exit code, standard output, standard error; without any cluster, the log's key given."""
    for name in ("KUBECONFIG", "QUORATE_SANDBOX", "QUORATE_DSN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run(["audit", "verify", *map(str, arguments), "--log-key", str(SIGNER.verifier)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_since_a_checkpoint_only_the_rest_is_read(dsn: str, verify: Call, tmp_path: Path) -> None:
    """A file anchors what it covers; a size takes the database's own checkpoint, which anchors nothing."""
    (tmp_path / "note").write_text(WHOLE.note(200))
    code, out, _ = verify("--dsn", dsn, "--since", tmp_path / "note", "-o", "json")
    chain = json.loads(out)["chains"][0]
    assert (code, chain["checked"], chain["first"], chain["anchoredSize"]) == (0, 100, 200, 200)
    code, out, _ = verify("--dsn", dsn, "--since", 250)
    assert code == 5 and "checked: 100 entries" in out and "entries 0…199 are covered" in out
    code, _, err = verify("--dsn", dsn, "--since", tmp_path / "none")
    assert code == 2 and "--since" in err


def test_one_entry_is_proven_from_the_database(dsn: str, verify: Call) -> None:
    """By place or id; intact by the log's key, refused where it is not there."""
    code, out, _ = verify("--dsn", dsn, "--entry", f"{CHAIN}/7", "-o", "json")
    chain = json.loads(out)["chains"][0]
    assert (code, chain["checked"], chain["first"]) == (0, 1, 7)
    assert verify("--dsn", dsn, "--entry", chain["entryId"], "-o", "name")[:2] == (0, "Intact\n")
    assert verify("--dsn", dsn, "--entry", f"{CHAIN}/900")[0] == 1


def test_a_directory_and_a_bundle_need_no_database(dsn: str, verify: Call, tmp_path: Path) -> None:
    """What was exported verifies by itself; a changed file ends with 4, a folder without a log and options of the
    database with 2.
    """
    place = publish(tmp_path / "log", WHOLE)
    code, out, _ = verify(tmp_path / "log")
    assert code == 0 and "checked: 300 entries of 1 chains" in out
    (place / "tile/entries/000").write_bytes(b"x")
    code, out, _ = verify(tmp_path / "log")
    assert code == 4 and "tile/entries/000" in out and "TAMPERED" in out
    (tmp_path / "empty").mkdir()
    assert verify(tmp_path / "empty")[0] == 2
    assert verify(tmp_path / "nothing")[0] == 2
    assert verify(tmp_path / "log", "--since", 5)[0] == 2
    bundle = tmp_path / "bundle.json"
    assert run(["audit", "prove", f"{CHAIN}/7", "--dsn", dsn, "-o", str(bundle)]) == 0
    assert verify(bundle)[0] == 0
    bundle.write_text(bundle.read_text().replace("index 7", "index 8"))
    code, out, _ = verify(bundle)
    assert code == 4 and "its proof 8" in out


def test_witnesses_that_are_required_must_be_given_and_have_cosigned(dsn: str, verify: Call, tmp_path: Path) -> None:
    """More required than given is bad input; none that cosigned is no anchor."""
    assert verify("--dsn", dsn, "--require-witnesses", 1)[0] == 2
    key = "witness+8b3d3a3c+BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    assert verify("--dsn", dsn, "--witness", key, "--require-witnesses", 1)[0] == 2


def test_a_fault_is_told_with_its_place(dsn: str, verify: Call) -> None:
    """Chain, sequence, entry id and phase stand in the line that people read."""
    tamper(dsn, "UPDATE quorate.audit_event_id SET subject = gen_random_uuid() WHERE seq = 17")
    code, out, _ = verify("--dsn", dsn)
    assert code == 4 and f"{CHAIN}, entry 17 (" in out and "index: the index of subjects" in out
