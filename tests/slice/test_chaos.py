"""The story while processes die: the same outcome, no entry lost or doubled, and a log that verifies.

Each test has a TrustDomain of its own; most votes are decided at a deadline, so that it can fall into an outage.
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from quorate.canonical import parse_time
from quorate_cli.sandbox import install
from quorate_cli.sandbox.instance import Sandbox
from tests.slice.fleet import Fleet, Obj, wait_for, watching
from tests.slice.lagging import LaggingServer

EXPECTED = {
    "trust.domain.accepted": 1,
    "governance.contract.genesis": 1,
    "governance.proposal.opened": 1,
    "governance.vote.accepted": 5,
    "governance.vote.refused": 2,
    "governance.proposal.decided": 1,
    "governance.proposal.executed": 1,
    "governance.contract.changed": 1,
}
"""What `tell` leaves in the log, whatever happened meanwhile."""
SUMS = {"approve": 8000, "reject": 2000, "abstain": 0, "veto": 0, "cast": 10000, "outstanding": 0, "voters": 4}
PERIOD = 7
LEASE = "/apis/coordination.k8s.io/v1/namespaces/quorate-system/leases/quorate-operator"


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox with an operator."""
    with Sandbox.up("chaos", fast=True, state_root=tmp_path_factory.mktemp("chaos")) as running:
        yield running


@pytest.fixture
def make(mesh: Sandbox, tmp_path: Path) -> Callable[..., Fleet]:
    """A fleet whose constitution and contract are in force."""

    def founded(period: int = PERIOD, **voting: Any) -> Fleet:
        rules = {"earlyDecision": False, "votingPeriodSeconds": period, "timelockSeconds": 1, **voting}
        fleet = Fleet(mesh, tmp_path / "fleet", **rules)
        fleet.found()
        return fleet

    return founded


def propose(fleet: Fleet) -> None:
    """Apply the proposal, without waiting for its opening."""
    wait_for("an API server", lambda: fleet.cluster.apply(fleet.proposal()), 40)


def cast(fleet: Fleet) -> None:
    """Every vote of the story, good and bad: 8000 approve, 2000 reject, one overtaken, one twice, two refused."""
    first = fleet.vote("alice", "abstain")
    fleet.vote("alice", "approve")
    fleet.vote("bob", "approve")
    fleet.vote("bob", "reject", name="forged", signed_by="eve")
    again = wait_for("the first vote", lambda: fleet.renamed(first, "replayed"), 40)
    wait_for("an API server", lambda: fleet.cluster.apply(again), 40)
    fleet.vote("eve", "approve")
    fleet.vote("carol", "approve")
    fleet.vote("dave", "reject")


def check(fleet: Fleet, seconds: float = 60.0) -> None:
    """It was executed once, with these numbers, and the log holds each entry once and verifies."""
    status = fleet.phase("Executed", seconds)
    assert status["outcome"] == "Executed"
    assert {name: status["tally"][name] for name in SUMS} == SUMS
    in_force = wait_for("the change", lambda: _changed(fleet, status["digest"]), seconds)
    assert in_force["evidenceDigest"] == status["evidenceDigest"]
    assert len(fleet.get("DynamicContract")["status"]["history"]) == 2
    for name, reason in (("forged", "BadSignature"), ("replayed", "Duplicate")):
        fleet.counted(f"{fleet.proposal_name}-{name}", reason, seconds)
    wait_for(f"the entries {EXPECTED}", lambda: fleet.events() == EXPECTED, seconds)
    fleet.evidence()
    assert fleet.events() == EXPECTED


def _changed(fleet: Fleet, digest: str) -> Obj | None:
    in_force = fleet.get("DynamicContract")["status"].get("inForce") or {}
    return in_force if in_force.get("proposalDigest") == digest else None


class Killer(threading.Thread):
    """Kills the operator at the given seconds from now; `killed` counts."""

    def __init__(self, mesh: Sandbox, moments: list[float]) -> None:
        super().__init__(daemon=True)
        self._mesh, self._moments = mesh, sorted(moments)
        self.killed = 0
        self.start()

    def run(self) -> None:
        began = time.monotonic()
        for moment in self._moments:
            threading.Event().wait(max(0.0, began + moment - time.monotonic()))
            if pid := self._mesh.pid("operator"):
                os.kill(pid, signal.SIGKILL)
                self.killed += 1


@pytest.mark.parametrize(
    "seed", [*range(3), *(pytest.param(number, marks=pytest.mark.long) for number in range(3, 20))]
)
def test_the_operator_is_killed_at_random_moments(make: Callable[..., Fleet], mesh: Sandbox, seed: int) -> None:
    """Kill -9 between proposal and execution, at moments that the seed chooses, changes nothing."""
    fleet, chance = make(), random.Random(seed)
    killer = Killer(mesh, [chance.uniform(0, PERIOD), chance.uniform(PERIOD, PERIOD + 4)])
    propose(fleet)
    cast(fleet)
    fleet.phase("Executed", 60)
    killer.join()
    assert killer.killed >= 1
    check(fleet)


def test_postgres_is_away_for_20_seconds_mid_vote(make: Callable[..., Fleet], mesh: Sandbox) -> None:
    """Nothing takes effect while nothing can be recorded; what was cast meanwhile counts by its own time."""
    fleet = make(15)
    fleet.open()
    mesh.stop("postgres")
    began = time.monotonic()
    try:
        cast(fleet)
        wait_for("20 seconds", lambda: time.monotonic() - began >= 20, 30)
        assert fleet.status()["phase"] == "Voting"
        assert parse_time(fleet.status()["votingEnds"]) < time.time()
    finally:
        mesh.start("postgres")
    mesh.wait("postgres")
    check(fleet)


def test_the_api_server_is_killed_mid_vote(make: Callable[..., Fleet], mesh: Sandbox) -> None:
    """Votes are cast before and after a kill -9 of the API server, and all count; who watches sees the end too.

    A quorum of all has it decided by the last vote and not by a deadline: the server may take its time to come back.
    """
    fleet = make(300, earlyDecision=True, quorumBasisPoints=10_000)
    fleet.open()
    with watching(mesh, "proposal", "show", fleet.proposal_name, "-n", fleet.namespace) as lines:
        killed = threading.Timer(0.2, lambda: mesh.kill("apiserver"))
        killed.start()
        cast(fleet)
        killed.join()
        mesh.wait("apiserver", 60)
        check(fleet)
    assert lines[0].startswith("PHASE") and lines[-1].startswith("Executed")
    told = [line for line in lines if line.endswith("; asked again until it answers\n")]
    assert told and lines.count("the API server answers again\n") == len(told)
    shown = [line for line in lines if line.startswith(("Voting", "Adopted", "Executed"))]
    assert all(one != other for one, other in pairwise(shown))


@contextmanager
def other_operator(mesh: Sandbox, folder: Path, kubeconfig: Path | None = None) -> Iterator[Callable[[], bool]]:
    """A second operator process with a Lease identity of its own; the value tells whether it leads."""
    log = folder / "other.log"
    command = [sys.executable, "-m", "quorate_operator", f"--node-id={mesh.node_id}", "--http=127.0.0.1:0"]
    command += [f"--kubeconfig={kubeconfig or mesh.operator_kubeconfig}", "--lease-seconds=3", "--identity=other"]
    command += [f"--log-keys={mesh.log_keys}"]
    environment = {**os.environ, "QUORATE_DSN": mesh.dsn(install.OPERATOR_ROLE)}
    with log.open("wb") as output:
        process = subprocess.Popen(command, stderr=output, env=environment)

    def leads() -> bool:
        assert process.poll() is None, log.read_text()[-3000:]
        lease = mesh.admin().request("GET", LEASE)
        return bool(lease["spec"].get("holderIdentity") == "other")

    try:
        yield leads
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


def test_two_leaders_have_one_effect(make: Callable[..., Fleet], mesh: Sandbox, tmp_path: Path) -> None:
    """A leader is held beyond its Lease and another takes over and decides: released, it repeats nothing."""
    fleet = make(10)
    fleet.open()
    held = mesh.pid("operator")
    with other_operator(mesh, tmp_path) as leads:
        os.kill(held, signal.SIGSTOP)
        try:
            cast(fleet)
            wait_for("the other's leadership", leads, 30)
            ends = parse_time(fleet.status()["votingEnds"])
            wait_for("the deadline", lambda: time.time() >= ends + 2, 30)
        finally:
            os.kill(held, signal.SIGCONT)
        check(fleet)
        wait_for("the end of the first", lambda: mesh.pid("operator") not in (0, held), 30)
        assert fleet.events() == EXPECTED
    mesh.wait("operator", 60)
    assert fleet.events() == EXPECTED


def test_a_watch_that_lags_behind_the_deadline(make: Callable[..., Fleet], mesh: Sandbox, tmp_path: Path) -> None:
    """Votes that the watch has not shown by the decision count all the same: they are listed again before it."""
    fleet = make(10)
    lagging = LaggingServer(mesh.operator_kubeconfig, "votes")
    kubeconfig = lagging.kubeconfig(tmp_path / "lagging.kubeconfig")
    with ExitStack() as stack:
        stack.callback(mesh.wait, "operator", 60)
        stack.callback(mesh.start, "operator")
        mesh.stop("operator")
        stack.callback(lagging.close)
        leads = stack.enter_context(other_operator(mesh, tmp_path, kubeconfig))
        wait_for("its leadership", leads, 30)
        fleet.open()
        lagging.passing.clear()
        cast(fleet)
        assert lagging.lagged.wait(10)
        fleet.phase("Executed", 40)
        assert not lagging.passing.is_set()
        assert fleet.status()["tally"]["cast"] == 10000
        lagging.passing.set()
        check(fleet)
