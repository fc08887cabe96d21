"""A node's first process: runs containerd and kubelet, starts again what ends, and buries orphans.

SIGUSR1 kills kubelet and keeps it away until SIGUSR2 (`quorate_cli.sandbox.faults`).
"""

import math
import os
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path

BIN = "/opt/quorate/bin"
IMAGES = "/opt/quorate/images"
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
_ENVIRONMENT = {
    "PATH": f"{BIN}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    # Many small programs share two processors: memory matters more than the collector's share of them.
    "GOGC": "50",
    # A connection that a partition cut is given up after six seconds, not 45: then the node is soon back.
    "HTTP2_READ_IDLE_TIMEOUT_SECONDS": "3",
    "HTTP2_PING_TIMEOUT_SECONDS": "3",
}
_START_SECONDS = 20.0
_INTERVAL_SECONDS = 0.01
_FIRST_DELAY = 0.1
_LONGEST_DELAY = 5.0
_WELL_SECONDS = 10.0
_HEARD = {signal.SIGCHLD, signal.SIGUSR1, signal.SIGUSR2}


@dataclass(slots=True)
class Service:
    """A program that runs as long as the node."""

    args: list[str]
    pid: int = 0
    since: float = 0.0
    delay: float = _FIRST_DELAY
    due: float = 0.0
    """When to start it (monotonic seconds), while it does not run; infinite: it is kept away."""


def run(services: list[list[str]]) -> None:
    """Run containerd, import the images, then run the other services; never returns.

    Raises:
        OSError: containerd does not come up.
    """
    # The kernel drops what the first process of a namespace neither handles nor blocks.
    signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
    first, *others = (Service(args) for args in services)
    _start(first)
    _await_containerd()
    for archive in sorted(map(str, Path(IMAGES).glob("*.tar"))):
        _import(archive)
    _keep([first, *others])


def _start(service: Service) -> None:
    service.pid, service.since = _spawn(service.args), time.monotonic()


def _spawn(args: list[str]) -> int:
    return os.posix_spawn(args[0], args, _ENVIRONMENT, setsid=True, setsigmask=(), setsigdef=(signal.SIGPIPE,))


def _await_containerd() -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(CONTAINERD_SOCKET) == 0:
                return
        if time.monotonic() > deadline:
            raise OSError(f"containerd does not answer after {_START_SECONDS:g} s")
        time.sleep(_INTERVAL_SECONDS)


def _import(archive: str) -> None:
    args = [f"{BIN}/ctr", f"--address={CONTAINERD_SOCKET}", "--namespace=k8s.io", "images", "import", archive]
    pid = _spawn(args)
    if os.waitpid(pid, 0)[1] != 0:
        print(f"{archive} cannot be imported", flush=True)


def _keep(services: list[Service]) -> None:
    while True:
        now = time.monotonic()
        for service in services:
            if not service.pid and now >= service.due:
                _start(service)
        due = min((service.due for service in services if not service.pid), default=math.inf)
        number = _hear(due - time.monotonic())
        if number in (signal.SIGUSR1, signal.SIGUSR2):
            _hold(services[1:], away=number == signal.SIGUSR1)
        _reap(services)


def _hear(seconds: float) -> int:
    """The next signal, or 0 after `seconds`, which may be infinite."""
    if math.isinf(seconds):
        return signal.sigwaitinfo(_HEARD).si_signo
    heard = signal.sigtimedwait(_HEARD, max(0.0, seconds))
    return heard.si_signo if heard else 0


def _hold(services: list[Service], *, away: bool) -> None:
    """Kill services and keep them away, or start them again."""
    for service in services:
        service.due = math.inf if away else 0.0
        if away and service.pid:
            os.kill(service.pid, signal.SIGKILL)


def _reap(services: list[Service]) -> None:
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        for service in services:
            if service.pid == pid:
                well = time.monotonic() - service.since > _WELL_SECONDS
                service.delay = _FIRST_DELAY if well else min(service.delay * 2, _LONGEST_DELAY)
                service.pid = 0
                if not math.isinf(service.due):
                    service.due = time.monotonic() + service.delay
