"""Real nodes leave nothing behind: processes, mounts, cgroups, links, routes and kernel settings, before and after.

Other sandboxes may run on the machine meanwhile: of processes, mounts and cgroups, those of this sandbox are compared,
and of the host's own namespace everything.
"""

import contextlib
import dataclasses
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from quorate_cli.sandbox.faults import Kind
from quorate_cli.sandbox.guard import start_time
from quorate_cli.sandbox.instance import Sandbox
from quorate_cli.sandbox.nodes import host, plan
from quorate_cli.sandbox.nodes.config import PAUSE_IMAGE
from tests.slice.real_nodes import Kubectl, pod, wait_for

NAME = "leftovers"
SETTINGS = (
    "net/ipv4/ip_forward", "net/ipv4/conf/*/forwarding", "net/ipv4/conf/*/send_redirects", "net/ipv6/conf/*/forwarding",
    "net/bridge/*", "net/netfilter/nf_conntrack_max", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_max*",
    "vm/overcommit_memory", "vm/panic_on_oom",
)  # fmt: skip
"""What kubelet, CNI plugins or a router would change."""


@dataclasses.dataclass(frozen=True)
class Machine:
    """What a sandbox could leave, on the machine as a whole."""

    processes: list[str]
    """Of the sandbox: by command line, directory, cgroup or mounts."""
    mounts: list[str]
    """The host's own, and those of the sandbox in any other namespace."""
    cgroups: list[str]
    """The sandbox's, and those at the top of each hierarchy that are no other sandbox's."""
    links: list[str]
    routes: list[str]
    settings: dict[str, str]


def machine(root: Path) -> Machine:
    """What there is now; `root`: the state directory."""
    nodes = plan.nodes(Sandbox(NAME, root).layout, plan.network(plan.DEFAULT_NETWORK), 1)
    ours = nodes[0].group.rpartition("-real-")[0]
    processes, mounts = _of_processes(root, ours)
    tops = [each for each in Path("/sys/fs/cgroup").glob("*/*/") if not each.is_symlink()]
    return Machine(
        processes=processes,
        mounts=[*sorted(_host_mounts()), *mounts],
        cgroups=sorted(str(each) for each in tops if ours in each.name or not each.name.startswith("quorate-")),
        links=_ip("-o", "link", "show"),
        routes=[*_ip("-4", "route", "show", "table", "all"), *_ip("-6", "route", "show", "table", "all")],
        settings={
            str(file): file.read_text()
            for pattern in SETTINGS
            for file in sorted(Path("/proc/sys").glob(pattern))
            if file.is_file()
        },
    )


def _of_processes(root: Path, group: str) -> tuple[list[str], list[str]]:
    # A mount tells the place within its file system, whose own place may be anywhere above.
    own, processes, mounts = "/".join(root.parts[-2:]), [], []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int(entry.name) == os.getpid() or not start_time(int(entry.name)):
                continue
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            inside = [each for each in (entry / "mountinfo").read_text().splitlines() if own in each]
            mounts += inside
            if (
                str(root) in line
                or str(root) in str((entry / "cwd").readlink())
                or group in (entry / "cgroup").read_text()
                or inside
            ):
                processes.append(f"{entry.name} {line}")
    return processes, mounts


def _host_mounts() -> list[str]:
    """Place, type and source of each; the number of a mount says nothing."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [f"{each.split()[4]} {each.partition(' - ')[2].rsplit(' ', 1)[0]}" for each in lines]


def _ip(*arguments: str) -> list[str]:
    shown = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=True, timeout=10).stdout
    # The time that an address learnt from the network is still good for runs on.
    return sorted(re.sub(r" expires \d+sec", "", line) for line in shown.splitlines())


def difference(before: Machine, after: Machine) -> dict[str, object]:
    """Which of the six is not as it was, and how."""
    pairs = {
        field.name: (getattr(before, field.name), getattr(after, field.name)) for field in dataclasses.fields(before)
    }
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


@pytest.fixture
def before(tmp_path: Path) -> Iterator[Machine]:
    """The machine as it is without the sandbox; what a failing test left is taken down."""
    if reason := host.unavailable():
        pytest.skip(f"no real nodes: {reason}")
    yield machine(tmp_path)
    Sandbox(NAME, tmp_path).down()


@pytest.fixture
def sandbox(before: Machine, tmp_path: Path) -> Sandbox:
    """One real node on which a pod runs."""
    sandbox = Sandbox.up(
        NAME, nodes=0, real_nodes=1, gpus_per_node=1, operator=False, fast=True, state_root=tmp_path, timeout=120
    )
    on = Kubectl(sandbox, "default")
    wait_for(lambda: on.get("serviceaccounts")["items"], "the default ServiceAccount")
    quiet = pod("quiet")
    quiet["spec"]["containers"] = [{"name": "main", "image": PAUSE_IMAGE}]
    on.apply(quiet)
    wait_for(lambda: on.phase("quiet") == "Running", "the pod runs")
    shown = difference(before, machine(tmp_path))
    assert set(shown) == {"processes", "mounts", "cgroups"}, "a running node is nowhere else on the machine"
    return sandbox


def test_down(before: Machine, sandbox: Sandbox, tmp_path: Path) -> None:
    """`down` leaves the machine as it was, also while a fault is on."""
    sandbox.fault(Kind.PARTITION, "real-1", seconds=600)
    sandbox.down()
    assert difference(before, machine(tmp_path)) == {}


def test_supervisor_killed(before: Machine, sandbox: Sandbox, tmp_path: Path) -> None:
    """Kill -9 of the supervisor leaves the machine as it was, without another command, also while a node is frozen."""
    sandbox.fault(Kind.NODE_PAUSE, "real-1", seconds=600)
    os.kill(sandbox.status()["supervisor"]["pid"], signal.SIGKILL)
    wait_for(lambda: not difference(before, machine(tmp_path)), "everything is as it was")


def test_supervisor_and_guard_killed(before: Machine, sandbox: Sandbox, tmp_path: Path) -> None:
    """Kill -9 of both, while a node is frozen: what is left of it is taken away by the next `down`."""
    sandbox.fault(Kind.NODE_PAUSE, "real-1", seconds=600)
    supervisor = sandbox.status()["supervisor"]["pid"]
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    (guard,) = (int(each) for each in children if "guard.py" in Path(f"/proc/{each}/cmdline").read_text())
    for pid in (guard, supervisor):
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not start_time(supervisor), "the supervisor is gone")
    assert "cgroups" in difference(before, machine(tmp_path))
    sandbox.down()
    assert difference(before, machine(tmp_path)) == {}
