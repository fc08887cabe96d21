"""One node's process tree: its cgroups, its namespaces, its place in the network, and its first process.

A component of the sandbox. The node's first process is killed when the launcher ends, however it ends, and with it, by
the kernel, everything in the node's pid namespace; the supervisor removes the cgroups (`Spec.groups`).
"""

import contextlib
import json
import os
import select
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from quorate_cli.sandbox.nodes import cgroup, init, kernel, rootfs

_NAMESPACES = (
    kernel.CLONE_NEWNS | kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS | kernel.CLONE_NEWCGROUP
)
_PLUG_SECONDS = 15.0
_INTERVAL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Config:
    """What a launcher is told, in its configuration file."""

    name: str
    address: str
    pods: str
    directory: str
    group: str
    programs: str
    """Directory of the node's binaries (`parts.find`)."""
    images: str
    fabric: str
    """The fabric's Unix socket."""
    services: list[list[str]]
    """Command lines, containerd's first."""


def main(file: str) -> int:
    """Run the node that a configuration file describes, until it ends or SIGTERM comes."""
    config = Config(**json.loads(Path(file).read_text()))
    groups = cgroup.create(config.group)
    said, says = os.pipe()
    hears, told = os.pipe()
    kernel.unshare(kernel.CLONE_NEWPID)
    pid = os.fork()
    if pid == 0:
        os.close(said)
        os.close(told)
        _node(config, groups, hears, says)
    os.close(says)
    os.close(hears)
    try:
        if not os.read(said, 1):
            raise OSError("its first process ended while it made its namespaces")
        with _plug(config, pid) as fabric:
            os.write(told, b"+")
            why = _watch(pid, fabric)
    except OSError as error:
        why = str(error)
    if why:
        print(f"node {config.name} ends: {why}", flush=True)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    cgroup.remove(config.group)
    os.waitpid(pid, 0)
    return 1 if why else 0


def _plug(config: Config, pid: int) -> socket.socket:
    """Connect the namespace of process `pid` to the fabric; the connection lasts as long as both.

    Raises:
        OSError: the fabric does not answer, or refuses.
    """
    request = {"name": config.name, "pid": pid, "address": config.address, "pods": config.pods}
    deadline = time.monotonic() + _PLUG_SECONDS
    connection = socket.socket(socket.AF_UNIX)
    while connection.connect_ex(config.fabric) != 0:
        if time.monotonic() > deadline:
            raise OSError(f"the nodes' network does not answer after {_PLUG_SECONDS:g} s")
        time.sleep(_INTERVAL_SECONDS)
    connection.settimeout(_PLUG_SECONDS)
    connection.sendall(f"PLUG {json.dumps(request)}\n".encode())
    if (answer := connection.recv(4096).decode().strip()) != "ok":
        raise OSError(answer or "the nodes' network ended")
    return connection


def _watch(pid: int, fabric: socket.socket) -> str:
    """Wait for an end: empty when SIGTERM asked for it, else why."""
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGTERM, lambda *_: None)
    ended = os.pidfd_open(pid)
    ready, _, _ = select.select([wake, ended, fabric.fileno()], [], [])
    if wake in ready:
        return ""
    return "its first process ended" if ended in ready else "the nodes' network ended"


def _node(config: Config, groups: list[Path], hears: int, says: int) -> None:
    """The child: become the node's first process; does not return."""
    try:
        kernel.die_with_parent()
        cgroup.join(groups)
        hierarchies = cgroup.hierarchies()
        kernel.unshare(_NAMESPACES)
        os.write(says, b"+")
        if os.read(hears, 1):
            os.close(says)
            os.close(hears)
            socket.sethostname(config.name)
            rootfs.enter(Path(config.directory), Path(config.programs), Path(config.images), hierarchies)
            init.run(config.services)
    except BaseException as error:  # noqa: BLE001 - whatever it is must not run on as a second launcher
        print(f"node {config.name}: {type(error).__name__}: {error}", flush=True)
    finally:
        os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
