"""The sandbox comes up, survives, goes down, and leaves nothing behind."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from quorate_cli.cluster import Cluster, RefusedError
from quorate_cli.sandbox.control import python_path
from quorate_cli.sandbox.errors import SandboxError
from quorate_cli.sandbox.guard import start_time
from quorate_cli.sandbox.instance import Sandbox
from quorate_operator.kube.connection import from_file


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A state directory; whatever a failing test left running in it is taken down."""
    yield tmp_path
    for state in tmp_path.iterdir():
        if (state / "sandbox.json").exists():
            Sandbox(state.name, tmp_path).down()


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.05)


def processes_of(path: Path) -> list[str]:
    """Command lines of all processes that mention `path` or work in it."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdecimal() and int(entry.name) != os.getpid() and start_time(int(entry.name)):
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if str(path) in line or str(path) in str((entry / "cwd").readlink()):
                    found.append(f"{entry.name} {line}")
    return found


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def in_other_process(code: str, root: Path) -> "subprocess.Popen[str]":
    """Run Python that brings a sandbox up, as the command line would at a terminal.

    A shell in the background, CI say, hands SIGINT down as ignored, and then Python has no Ctrl-C.
    """
    prelude = (
        "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"from pathlib import Path\nfrom quorate_cli.sandbox.instance import Sandbox\nroot = Path({str(root)!r})\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", prelude + textwrap.dedent(code)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | python_path(),
    )  # fmt: skip


BRING_UP = "Sandbox.up('one', bare=True, fast=True, state_root=root, say=lambda line: print(line, flush=True))"


def test_two_side_by_side_leave_nothing_behind(root: Path) -> None:
    """Two sandboxes run at once, each with its own cluster and database; `down` leaves no process, port or file."""
    options = {"bare": True, "fast": True, "state_root": root}
    with Sandbox.up("one", **options) as one, Sandbox.up("two", **options) as two:
        assert {one.pid("apiserver"), two.pid("apiserver")}.isdisjoint({0})
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "only-in-one"}}
        one.admin().request("POST", "/api/v1/namespaces", body=namespace)
        names = {each["metadata"]["name"] for each in two.admin().request("GET", "/api/v1/namespaces")["items"]}
        assert "only-in-one" not in names
        for each in (one, two):
            with psycopg.connect(each.dsn()) as connection:
                assert connection.execute("SELECT current_database()").fetchone() == ("quorate",)
        ports = list(one.layout.read()["ports"].values()) + list(two.layout.read()["ports"].values())
        assert len(set(ports)) == len(ports)
    assert processes_of(root) == []
    assert [port for port in ports if is_listening(port)] == []
    assert list(root.iterdir()) == []
    one.down()


def test_killed_supervisor_takes_everything_with_it_and_the_next_up_heals(root: Path) -> None:
    """Kill -9 of the supervisor leaves no process; the next `up` starts again over the same data."""
    sandbox = Sandbox.up("one", bare=True, fast=True, state_root=root)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kept"}}
    sandbox.admin().request("POST", "/api/v1/namespaces", body=namespace)
    with psycopg.connect(sandbox.dsn()) as connection:
        connection.execute("CREATE TABLE kept (x int)")
    os.kill(sandbox.status()["supervisor"]["pid"], signal.SIGKILL)
    wait_for(lambda: not processes_of(root))
    with Sandbox.up("one", bare=True, fast=True, state_root=root) as again:
        assert again.admin().request("GET", "/api/v1/namespaces/kept")["metadata"]["name"] == "kept"
        with psycopg.connect(again.dsn()) as connection:
            assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_killed_or_interrupted_up_leaves_nothing(root: Path, number: signal.Signals) -> None:
    """Kill -9 or Ctrl-C of the command in the middle of `up` leaves no process running."""
    command = in_other_process(BRING_UP, root)
    assert command.stdout is not None
    for line in command.stdout:
        # The API server takes seconds to be ready: the signal comes in the middle, also on a busy machine.
        if line.startswith("starting apiserver"):
            break
    command.send_signal(number)
    command.communicate(timeout=30)
    assert command.returncode != 0
    wait_for(lambda: not processes_of(root))


def test_two_ups_at_once_make_one_sandbox(root: Path) -> None:
    """Two `up` of one name at the same time end with one supervisor, and both succeed."""
    commands = [in_other_process(BRING_UP, root) for _ in range(2)]
    outputs = [command.communicate(timeout=60)[0] for command in commands]
    assert [command.returncode for command in commands] == [0, 0], outputs
    assert sum("starting etcd" in output for output in outputs) == 1
    assert sum("quorate_cli.sandbox.supervisor" in line for line in processes_of(root)) == 1
    Sandbox("one", root).down()
    assert processes_of(root) == []


def test_crashed_components_come_back(root: Path) -> None:
    """Kill -9 of etcd, API server or Postgres is healed; what is stopped stays stopped until start."""
    with Sandbox.up("one", bare=True, fast=True, state_root=root) as sandbox:
        for component in ("etcd", "apiserver", "postgres"):
            before = sandbox.pid(component)
            sandbox.kill(component)
            wait_for(lambda component=component, before=before: sandbox.pid(component) not in (0, before))
        for component in ("etcd", "apiserver", "postgres"):
            sandbox.wait(component)
        sandbox.stop("postgres")
        assert sandbox.status()["components"]["postgres"]["state"] == "stopped"
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(sandbox.dsn())
        sandbox.start("postgres")
        sandbox.wait("postgres")
        psycopg.connect(sandbox.dsn()).close()


def test_busy_port_is_one_sentence(root: Path) -> None:
    """A port that somebody uses is refused by name before anything starts, and without it `up` would take another."""
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        with pytest.raises(SandboxError, match=rf"^--port {port}: .* cannot be used \(.*\); choose"):
            Sandbox.up("one", bare=True, port=port, state_root=root)
    assert processes_of(root) == []


def test_component_that_crashes_ends_up_with_its_own_words(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A component that cannot start ends `up` with one sentence that quotes it; nothing is left running."""
    assets = tmp_path / "assets"
    assets.mkdir()
    for name in ("etcd", "kube-apiserver"):
        (assets / name).write_text("#!/bin/sh\necho mkdir: no space left on device >&2\nexit 1\n")
        (assets / name).chmod(0o755)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(assets))
    with pytest.raises(SandboxError, match=r"^the disk of .* is full"):
        Sandbox.up("one", bare=True, fast=True, state_root=root / "state")
    wait_for(lambda: not processes_of(root))


def test_users_have_only_their_rights(sandbox: Sandbox) -> None:
    """A client certificate is a user under RBAC: one without a binding may read nothing."""
    stranger = Cluster(from_file(sandbox.client_kubeconfig("stranger")))
    with pytest.raises(RefusedError, match='User "stranger" cannot list resource "secrets"'):
        stranger.request("GET", "/api/v1/secrets")
