"""Where the control plane's binaries come from; a stand-in for the compiler makes small files quickly."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from quorate_cli.sandbox import binaries, download
from quorate_cli.sandbox.control import python_path
from quorate_cli.sandbox.errors import SandboxError
from quorate_cli.sandbox.guard import start_time


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own, no KUBEBUILDER_ASSETS, and no release host."""
    monkeypatch.setenv("QUORATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)

    def unavailable(*_: object) -> None:
        raise download.UnavailableError("no network in this test")

    monkeypatch.setattr(download, "fetch", unavailable)


def stand_in_go(directory: Path, body: str) -> None:
    """A `go` that answers `env GOVERSION` and runs `body` (with the output's path in $out) for `build`."""
    directory.mkdir(exist_ok=True)
    go = directory / "go"
    go.write_text(
        "#!/bin/sh\n"
        'if [ "$1" = env ]; then echo go1.26.8; exit; fi\n'
        'while [ "$1" != -o ]; do shift; done\nout=$2\n' + body + "\n"
    )
    go.chmod(0o755)


def use_path(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.05)


def find(*names: str) -> dict[str, Path]:
    return binaries.find(names, say=lambda line: None)


def test_builds_once_and_then_takes_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was built is taken from the cache; no compiler is needed any more."""
    stand_in_go(tmp_path / "bin", 'echo "#!/bin/sh" > "$out"')
    use_path(monkeypatch, tmp_path / "bin")
    first = find("etcd", "kwok")
    (tmp_path / "bin" / "go").unlink()
    assert find("etcd", "kwok") == first
    assert all(os.access(path, os.X_OK) for path in first.values())


def test_half_built_cache_heals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A truncated binary and the leavings of an interrupted build are made anew."""
    stand_in_go(tmp_path / "bin", 'echo "#!/bin/sh whole" > "$out"')
    use_path(monkeypatch, tmp_path / "bin")
    path = find("etcd")["etcd"]
    path.write_text("#!/b")
    (path.parent / ".part-etcd").write_text("half")
    assert find("etcd")["etcd"].read_text() == "#!/bin/sh whole\n"
    assert not list(path.parent.glob(".part-*"))


def test_assets_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """KUBEBUILDER_ASSETS wins for what it holds; a directory that is not there is refused by name."""
    assets = tmp_path / "assets"
    assets.mkdir()
    (assets / "etcd").write_text("#!/bin/sh\n")
    (assets / "etcd").chmod(0o755)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(assets))
    assert find("etcd") == {"etcd": assets / "etcd"}
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "nowhere"))
    with pytest.raises(SandboxError, match=r"^KUBEBUILDER_ASSETS=.*/nowhere: is not a directory"):
        find("etcd")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("echo 'write $out: no space left on device' >&2; exit 1", "^the disk filled up while building etcd"),
        ("echo 'dial tcp: lookup proxy: no such host' >&2; exit 1", "^the Go modules of etcd cannot be downloaded"),
        ("echo 'x.go:1: undefined: y' >&2; exit 1", "^building etcd failed: x.go:1: undefined: y$"),
    ],
)
def test_failed_build_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, sentence: str
) -> None:
    """A build that fails is told in one sentence, and a later one succeeds."""
    use_path(monkeypatch, tmp_path / "bin")
    stand_in_go(tmp_path / "bin", body)
    with pytest.raises(SandboxError, match=sentence):
        find("etcd")
    stand_in_go(tmp_path / "bin", 'echo ok > "$out"')
    assert find("etcd")["etcd"].read_text() == "ok\n"


def test_missing_go_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Go, and with an old one, the sentence says what to install."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    with pytest.raises(
        SandboxError, match=r"^building the control plane needs Go, and there is no `go` here; install Go 1\.26"
    ):
        find("etcd")
    old = tmp_path / "bin" / "go"
    old.write_text("#!/bin/sh\necho go1.19.8\n")
    old.chmod(0o755)
    with pytest.raises(SandboxError, match=r"is go1\.19\.8; install Go 1\.26"):
        find("etcd")


def test_killed_builder_leaves_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill -9 in the middle of a build kills the compiler and its children; the next try builds."""
    pids = tmp_path / "pids"
    stand_in_go(tmp_path / "bin", f"sleep 300 & echo $! $$ > {pids}; wait")
    use_path(monkeypatch, tmp_path / "bin")
    code = (
        "from quorate_cli.sandbox import gobuild; from pathlib import Path\n"
        f"gobuild.build(['etcd'], Path({str(tmp_path)!r}), lambda *a: None, print)"
    )
    builder = subprocess.Popen([sys.executable, "-c", code], env=os.environ | python_path())
    wait_for(lambda: pids.exists() and len(pids.read_text().split()) == 2)
    builder.send_signal(signal.SIGKILL)
    builder.wait()
    wait_for(lambda: not any(start_time(int(pid)) for pid in pids.read_text().split()))
    stand_in_go(tmp_path / "bin", 'echo ok > "$out"')
    assert find("etcd")["etcd"].read_text() == "ok\n"


def test_unreachable_release_host_fails_fast(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A host that never answers costs a few seconds at most."""
    monkeypatch.undo()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr(download, "_KUBERNETES", url)
        began = time.monotonic()
        with pytest.raises(download.UnavailableError):
            download.fetch("kubectl", "linux", "amd64", tmp_path / "kubectl", lambda line: None)
        assert time.monotonic() - began < 9  # the contact is given up after 3, a stalled answer after 10
