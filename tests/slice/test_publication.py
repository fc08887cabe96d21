"""The operator publishes: checkpoints and cosignatures reach the directory, and an outsider verifies what is there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from quorate.audit.note import parse_note
from quorate.audit.tiles import chain_path
from quorate_cli.main import run
from quorate_cli.sandbox.instance import Sandbox
from quorate_operator.store.directory import LogDirectory
from quorate_operator.store.files import LocalFiles
from tests.conformance.go import outsider
from tests.slice.fleet import Fleet, wait_for

HUB = "3f0a1c5e-7b2d-4c89-9e31-5a6b7c8d9e01"
WITNESS = ("witness-a", "b1d4e6f8-2c3a-4d57-a0b1-7c8d9e0f1a03")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("published")


@pytest.fixture(scope="module")
def town(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox whose operator is the hub and publishes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUORATE_PUBLISH", str(published))
        with Sandbox.up("publish", node_id=HUB, fast=True, state_root=tmp_path_factory.mktemp("town")) as running:
            name, node_id = WITNESS
            arguments = ["node", "register", name, "--node-id", node_id, "--domain", "fleet"]
            assert run([*arguments, "--kubeconfig", str(running.kubeconfig)]) == 0
            yield running


def test_checkpoints_and_cosignatures_are_published(
    town: Sandbox, published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The directory verifies elsewhere after a checkpoint; a witness line arrives; a bundle proves the first entry."""
    fleet, keys_folder = Fleet(town, tmp_path / "fleet"), tmp_path / "fleet" / "keys"
    fleet.found()
    place, folder = LogDirectory.of(LocalFiles(published), fleet.chain), published / chain_path(fleet.chain)
    wait_for("a published checkpoint", place.note)
    keys = {name: (keys_folder / f"{name}.pub").read_text().strip() for name in ("log", "witness-a-log")}
    found = outsider("directory", "-dir", folder, log=[keys["log"]])
    assert found["origin"] == fleet.chain and found["size"] >= 1
    witness = [
        *("witness", "run", WITNESS[0], "--domain", fleet.name, "--state", str(tmp_path / "state"), "--once"),
        *("--key", str(keys_folder / "witness-a-log.key"), "--kubeconfig", str(town.kubeconfig)),
        *("--pin", f"{fleet.chain}={fleet.constitution.digest}"),
    ]
    wait_for("a round of the witness", lambda: run(witness) == 0)
    wait_for("a cosigned checkpoint", lambda: len(parse_note(place.note() or "").signatures) > 1)
    found = outsider("directory", "-dir", folder, "-need", 1, log=[keys["log"]], witnesses=[keys["witness-a-log"]])
    assert len(found["cosigners"]) == 1
    capsys.readouterr()
    bundle = tmp_path / "bundle.json"
    assert run(["audit", "prove", f"{fleet.chain}/0", "--from", str(published), "-o", str(bundle)]) == 0
    assert outsider("bundle", "-file", bundle, log=[keys["log"]])["index"] == 0
