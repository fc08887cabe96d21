"""Runs the command line in this process, with keys made once."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from quorate_cli.main import run
from quorate_cli.yamlfiles import parse_yaml

EXAMPLES = Path(__file__).parents[3] / "examples" / "fleet"


class Result(NamedTuple):
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def documents(self) -> list[Any]:
        """The YAML documents on standard output."""
        return list(parse_yaml(self.out, "standard output"))

    @property
    def document(self) -> Any:
        """The only YAML document on standard output."""
        (document,) = self.documents
        return document


Quorate = Callable[..., Result]


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No cluster, sandbox, database or agent of the developer is used."""
    for name in ("KUBECONFIG", "QUORATE_SANDBOX", "QUORATE_DSN", "SSH_AUTH_SOCK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("QUORATE_STATE", str(tmp_path / "state"))


@pytest.fixture
def quorate(capsys: pytest.CaptureFixture[str]) -> Quorate:
    """`quorate("vote", …)` → Result."""

    def call(*arguments: object) -> Result:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def signed_fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example with keys made, the domain signed as `td.yaml` and alice's proposal as `gp.yaml`."""
    folder = tmp_path_factory.mktemp("fleet") / "fleet"
    shutil.copytree(EXAMPLES, folder)
    domain = folder / "td.yaml"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        patch.delenv("KUBECONFIG", raising=False)
        domain.write_text(_printed("domain", "create", "-f", folder / "trustdomain.yaml", "--make-keys", "--sign"))
        proposal = ("propose", "-f", folder / "proposal.yaml", "-f", domain, "-f", folder / "contract.yaml")
        (folder / "gp.yaml").write_text(_printed(*proposal, "--key", folder / "keys" / "alice.key"))
    return folder


def _printed(*arguments: object) -> str:
    from contextlib import redirect_stdout  # noqa: PLC0415
    from io import StringIO  # noqa: PLC0415

    stream = StringIO()
    with redirect_stdout(stream):
        assert run([*map(str, arguments), "--dry-run", "-o", "yaml"]) == 0
    return stream.getvalue()


@pytest.fixture
def fleet(signed_fleet: Path, tmp_path: Path) -> Path:
    """A copy of the signed example for one test."""
    shutil.copytree(signed_fleet, tmp_path / "fleet")
    return tmp_path / "fleet"
