"""The operator's frame on a real API server and Postgres: election, watch, status, stop and start, bad starts."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest

from quorate_cli.cluster import NotFoundError
from quorate_cli.sandbox import install
from quorate_cli.sandbox.instance import Sandbox

T = TypeVar("T")
NODE_ID = "5f1c3b52-5d4e-4a0c-9a46-3c1d5a1f0001"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/quorate-system/leases/quorate-operator"
POLICIES = "/apis/quorate.dev/v1alpha1/missionpolicies"
LEASE_SECONDS = 3


def wait_for(what: str, probe: Callable[[], T], seconds: float = 60.0) -> T:
    """Poll until truthy; what is waited for is part of the failure."""
    deadline = time.monotonic() + seconds
    while True:
        if value := probe():
            return value
        assert time.monotonic() < deadline, f"{what} did not come true in {seconds:g} s"
        time.sleep(0.02)


class Process:
    """One operator process with the rights of the manifests."""

    def __init__(self, sandbox: Sandbox, directory: Path, *args: str, env: dict[str, str] | None = None) -> None:
        self.log = directory / f"{uuid.uuid4().hex}.log"
        command = [sys.executable, "-m", "quorate_operator", f"--node-id={NODE_ID}", "--http=127.0.0.1:0"]
        command += [f"--kubeconfig={sandbox.operator_kubeconfig}", f"--lease-seconds={LEASE_SECONDS}", *args]
        environment = {**os.environ, "QUORATE_DSN": sandbox.dsn(install.OPERATOR_ROLE), **(env or {})}
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(command, stderr=output, env=environment)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def reasons(self) -> list[str]:
        return [line["reason"] for line in self.lines() if "reason" in line]

    def leads(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        return "Leading" in self.reasons()

    def get(self, path: str) -> tuple[int, str]:
        port = next(line["message"].rpartition(":")[2] for line in self.lines() if line.get("reason") == "Probes")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = 20.0) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(seconds)


@pytest.fixture
def start(sandbox: Sandbox, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def make(*args: str, env: dict[str, str] | None = None) -> Process:
        started.append(Process(sandbox, tmp_path, *args, env=env))
        return started[-1]

    yield make
    for process in started:
        process.stop(signal.SIGKILL)
    # The next test need not wait for the Lease of a killed process.
    with suppress(NotFoundError):
        sandbox.admin().request("DELETE", LEASE)


def make_policy(sandbox: Sandbox) -> str:
    name = f"frame-{uuid.uuid4().hex[:8]}"
    spec = {"missionType": "Training", "mode": "Audit", "podSelector": {"matchLabels": {"app": "x"}}}
    body = {"apiVersion": "quorate.dev/v1alpha1", "kind": "MissionPolicy", "metadata": {"name": name}, "spec": spec}
    sandbox.admin().request("POST", POLICIES, body=body)
    return name


def conditions(sandbox: Sandbox, name: str) -> dict[str, tuple[str, str]]:
    obj = sandbox.admin().request("GET", f"{POLICIES}/{name}")
    found = (obj.get("status") or {}).get("conditions") or []
    return {item["type"]: (item["status"], item["reason"]) for item in found}


def holder(sandbox: Sandbox) -> str:
    return sandbox.admin().request("GET", LEASE)["spec"].get("holderIdentity") or ""


STALLED = {"Ready": ("False", "Invalid"), "Stalled": ("True", "Invalid"), "Accepted": ("False", "Invalid")}


def test_objects_from_before_and_after_the_start_get_a_status(sandbox: Sandbox, start: Callable[..., Process]) -> None:
    """Listed or watched, a policy without a rule is told so; the probes agree that all is well."""
    before = make_policy(sandbox)
    process = start()
    wait_for("status of the older object", lambda: conditions(sandbox, before) == STALLED)
    after = make_policy(sandbox)
    wait_for("status of the newer object", lambda: conditions(sandbox, after) == STALLED)
    assert process.get("/healthz") == (200, "ok\n")
    wait_for("readiness", lambda: process.get("/readyz") == (200, "ok\n"))
    assert "quorate_leader 1.0" in process.get("/metrics")[1]


def test_a_graceful_stop_hands_over_at_once(sandbox: Sandbox, start: Callable[..., Process]) -> None:
    """SIGTERM releases the Lease; the standby leads before the Lease would have expired, and decides."""
    lasting = 40
    first = start(f"--lease-seconds={lasting}")
    wait_for("the first to lead", first.leads)
    second = start(f"--lease-seconds={lasting}")
    wait_for("the second to stand by", lambda: "Probes" in second.reasons() and second.get("/readyz")[0] == 200)
    assert not second.leads()
    stopped = time.monotonic()
    assert first.stop() == 0
    wait_for("the second to lead", second.leads)
    assert time.monotonic() - stopped < lasting
    name = make_policy(sandbox)
    wait_for("its decision", lambda: conditions(sandbox, name) == STALLED)


def test_after_a_kill_the_next_decides_within_lease_and_five_seconds(
    sandbox: Sandbox, start: Callable[..., Process]
) -> None:
    """After kill -9 the Lease must expire; a new process then leads and heals what was left."""
    first = start()
    wait_for("the first to lead", first.leads)
    first.stop(signal.SIGKILL)
    killed, name = time.monotonic(), make_policy(sandbox)
    second = start()
    wait_for("the next to be up", lambda: "Probes" in second.reasons())
    up = time.monotonic()  # what the interpreter's own start takes is the machine's
    wait_for("the decision of the next", lambda: conditions(sandbox, name) == STALLED)
    assert time.monotonic() - max(up, killed + LEASE_SECONDS) < 5


def test_a_leader_that_lost_its_lease_exits(sandbox: Sandbox, start: Callable[..., Process]) -> None:
    """Another holder in the Lease ends the process with an error, and it does not take the Lease back."""
    process = start()
    wait_for("leadership", process.leads)

    def steal() -> bool:
        lease = sandbox.admin().request("GET", LEASE)
        lease["spec"] |= {"holderIdentity": "thief", "leaseDurationSeconds": 60}
        try:
            sandbox.admin().request("PUT", LEASE, body=lease)
        except Exception:  # noqa: BLE001 - it renewed in between
            return False
        return True

    wait_for("the theft", steal)
    assert process.process.wait(60) == 1
    assert process.reasons()[-1] == "LostLeadership"
    assert holder(sandbox) == "thief"


def test_a_paused_leader_does_not_write_after_another_took_over(
    sandbox: Sandbox, start: Callable[..., Process]
) -> None:
    """SIGSTOP beyond the Lease: the other leads; continued, the first finds out and ends."""
    first = start()
    wait_for("the first to lead", first.leads)
    first.process.send_signal(signal.SIGSTOP)
    second = start()
    wait_for("the second to lead", second.leads)
    first.process.send_signal(signal.SIGCONT)
    assert first.process.wait(60) == 1
    assert "LostLeadership" in first.reasons()
    assert second.leads()


@pytest.mark.parametrize(
    ("args", "env", "code", "sentence"),
    [
        (("--kubeconfig=/nonexistent/config",), {}, 2, "kubeconfig /nonexistent/config: the file does not exist"),
        (("--pin=x",), {}, 2, "--pin 'x': must be <meshId>/<name>=sha256:<64 hex digits>"),
        ((), {"QUORATE_DSN": "host=/nonexistent dbname=x"}, 1, "DatabaseUnavailable"),
    ],
)
def test_a_start_that_cannot_work_ends_with_one_sentence(
    start: Callable[..., Process], args: tuple[str, ...], env: dict[str, str], code: int, sentence: str
) -> None:
    """A file, flag or database that cannot be used is named, and nothing is retried for ever."""
    process = start(*args, env=env)
    assert process.process.wait(30) == code
    assert sentence in process.log.read_text()


def test_missing_rights_are_named(sandbox: Sandbox, start: Callable[..., Process]) -> None:
    """A user without the operator's ClusterRole is told which rights it lacks and what grants them."""
    process = start(f"--kubeconfig={sandbox.client_kubeconfig('nobody')}")
    assert process.process.wait(30) == 1
    assert process.reasons()[-1] == "RightsMissing"
    message = process.lines()[-1]["message"]
    assert "list trustdomains" in message
    assert message.endswith("; apply manifests/rbac.yaml")


def test_a_deleted_object_is_forgotten_and_edits_are_seen(sandbox: Sandbox, start: Callable[..., Process]) -> None:
    """A status that somebody removes comes back; deleting an object leaves no error behind."""
    process = start()
    name = make_policy(sandbox)
    wait_for("status", lambda: conditions(sandbox, name) == STALLED)
    sandbox.admin().request("DELETE", f"{POLICIES}/{name}")
    other = make_policy(sandbox)
    wait_for("status of the other", lambda: conditions(sandbox, other) == STALLED)
    assert [line for line in process.lines() if line["level"] == "error"] == []
