"""The sandbox's supervisor: one detached process that owns every other process of one sandbox.

`python -m quorate_cli.sandbox.supervisor STATE CONTROL FD` with an inherited socket FD to the command that brings the
sandbox up: if that ends before it says `detach`, everything is taken down. Later commands come over the Unix socket
CONTROL. One JSON object per line each way:

| request | effect |
|---|---|
| `{"do": "start", "spec": {…}}` | start a component (`Spec`) and keep it running |
| `{"do": "start", "name": …}` | the same for a known one |
| `{"do": "stop", "name": …, "signal": N}` | stop it and keep it stopped |
| `{"do": "kill", "name": …, "signal": N}` | send a signal; what dies of it is started again |
| `{"do": "fault", "kind": …, "name": …, "gpu": …, "seconds": N}` | let something fail for a while (`faults.py`) |
| `{"do": "heal", "name": …}` | end that of a node, GPU or `apiserver` before its time; all if empty |
| `{"do": "set", "values": {…}}` | keep values in `sandbox.json` |
| `{"do": "status"}` | only answer |
| `{"do": "detach"}`, `{"do": "down"}` | live on alone; stop everything in reverse order and end |

Every answer is `sandbox.json`'s content, or `{"error": sentence}`. One thread, standard library only: children are
started by the main thread, whose end the kernel watches for them (PR_SET_PDEATHSIG).
"""

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quorate_cli.sandbox.faults import FaultError, Faults
from quorate_cli.sandbox.guard import clear_groups, start_time
from quorate_cli.sandbox.processes import Guard, kill_group, spawn, sweep

_FIRST_DELAY = 0.2
_LONGEST_DELAY = 10.0
# A component that ran this long was well: the next crash starts the delays anew.
_WELL_SECONDS = 20.0
_CLEAR_SECONDS = 5.0
_LOG_LIMIT = 20 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Spec:
    """How one component is run."""

    name: str
    args: list[str]
    stage: int
    """Components stop by stage, the highest first; those of one stage together."""
    env: dict[str, str] = field(default_factory=dict)
    """Added to the supervisor's environment."""
    stop_signal: int = signal.SIGTERM
    grace: float = 5.0
    """Seconds from the stop signal to SIGKILL."""
    unprivileged: bool = False
    """Run as another user in a user namespace (`processes.spawn`)."""
    directory: str = ""
    """Where it and its children work, and nobody else: who is left there when it has ended is killed."""
    stale: list[str] = field(default_factory=list)
    """Files that a crash leaves and that keep it from starting; removed before each start (Linux)."""
    groups: list[str] = field(default_factory=list)
    """Its own cgroups, which it makes: they are removed, with who is in them, when it has ended."""


@dataclass(slots=True)
class Component:
    """A component and its process, if it has one."""

    spec: Spec
    wanted: bool = True
    process: subprocess.Popen[bytes] | None = None
    started: str = ""
    since: float = 0.0
    restarts: int = 0
    failures: int = 0
    exit_code: int | None = None
    due: float | None = None
    """When to start it again (monotonic seconds)."""
    kill_at: float | None = None
    """When the grace ends (monotonic seconds)."""

    @property
    def pid(self) -> int:
        """Its process; 0 while it has none."""
        return self.process.pid if self.process else 0

    @property
    def groups(self) -> list[str]:
        """Its cgroups."""
        return self.spec.groups

    def shown(self) -> dict[str, Any]:
        """What `status` tells."""
        pid = self.pid
        if pid:
            state = "stopping" if self.kill_at is not None else "running"
        else:
            state = "restarting" if self.wanted else "stopped"
        return {
            "state": state,
            "pid": pid,
            "startTime": self.started if pid else "",
            "since": int(self.since),
            "restarts": self.restarts,
            "exitCode": self.exit_code,
        }


def clear(spec: Spec) -> None:
    """Make sure that nothing of an earlier run of a component is left.

    Postgres's own check would not do: a zombie, or a number given to somebody else, passes for its old process, and
    in a namespace of its own it cannot see the old shared memory.
    """
    if spec.directory and sys.platform == "linux":
        sweep(Path(spec.directory))
        for path in spec.stale:
            Path(path).unlink(missing_ok=True)


class Supervisor:
    """Starts, restarts and stops components; see the module for the protocol."""

    def __init__(self, state: Path, listener: socket.socket, guard: Guard) -> None:
        self._file = state / "sandbox.json"
        self._logs = state / "logs"
        self._state = state
        self._guard = guard
        self._components: dict[str, Component] = {}
        fabric = Path(listener.getsockname()).with_name("fabric")
        self._faults = Faults(state, fabric, self._components, stop=self._cut_off, start=self._resume)
        self._values: dict[str, Any] = self._kept()
        self._ending = False
        self._owner: socket.socket | None = None
        self._buffers: dict[socket.socket, bytes] = {}
        self._selector = selectors.DefaultSelector()
        self._listener = listener
        self._selector.register(listener, selectors.EVENT_READ, self._accept)

    def own(self, owner: socket.socket) -> None:
        """Take everything down when this connection ends before it says `detach`."""
        self._owner = owner
        self._add(owner)

    def end(self, *_: object) -> None:
        """Begin to take everything down."""
        self._ending = True

    def run(self, wake: socket.socket) -> None:
        """Serve until everything is down."""
        self._selector.register(wake, selectors.EVENT_READ, lambda ready: ready.recv(4096))
        self._write()
        while True:
            before = [component.shown() for component in self._components.values()]
            self._reap()
            # What goes down has no fault that should end by starting it.
            healed = not self._ending and self._faults.tend()
            self._start_due()
            if self._ending and self._stop_next_stage():
                return
            if healed or [component.shown() for component in self._components.values()] != before:
                self._write()
            for key, _ in self._selector.select(self._patience()):
                key.data(key.fileobj)

    def _kept(self) -> dict[str, Any]:
        with contextlib.suppress(OSError, ValueError):
            kept: dict[str, Any] = json.loads(self._file.read_text())
            return {key: value for key, value in kept.items() if key not in ("components", "supervisor", "faults")}
        return {}

    def _patience(self) -> float | None:
        moments = [moment for each in self._components.values() for moment in (each.due, each.kill_at) if moment]
        if not self._ending and (due := self._faults.next_due()) is not None:
            moments.append(due)
        return max(0.0, min(moments) - time.monotonic()) if moments else None

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            self._add(listener.accept()[0])

    def _add(self, connection: socket.socket) -> None:
        connection.settimeout(5)
        self._buffers[connection] = b""
        self._selector.register(connection, selectors.EVENT_READ, self._receive)

    def _receive(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(65536)
        except OSError:
            data = b""
        if not data:
            self._drop(connection)
            return
        *lines, self._buffers[connection] = (self._buffers[connection] + data).split(b"\n")
        for line in lines:
            answer = json.dumps(self._answer(connection, line)).encode() + b"\n"
            try:
                connection.sendall(answer)
            except OSError:
                self._drop(connection)
                return

    def _drop(self, connection: socket.socket) -> None:
        if self._buffers.pop(connection, None) is None:
            return
        self._selector.unregister(connection)
        connection.close()
        if connection is self._owner:
            self.end()

    def _answer(self, connection: socket.socket, line: bytes) -> dict[str, Any]:
        try:
            request: dict[str, Any] = json.loads(line)
            handler: Callable[[socket.socket, dict[str, Any]], None] = getattr(self, f"_do_{request['do']}")
            handler(connection, request)
        except FaultError as error:
            return {"error": str(error)}
        except OSError as error:
            return {"error": f"{error.filename or 'the sandbox'}: {error.strerror}", "errno": error.errno}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            return {"error": f"the supervisor does not understand {line[:80]!r} ({error})"}
        self._write()
        return self._shown()

    def _do_status(self, connection: socket.socket, request: dict[str, Any]) -> None:
        pass

    def _do_set(self, _: socket.socket, request: dict[str, Any]) -> None:
        self._values.update(request["values"])

    def _do_start(self, _: socket.socket, request: dict[str, Any]) -> None:
        if "spec" in request:
            spec = Spec(**request["spec"])
            old = self._components.get(spec.name)
            if old is not None and old.process is not None:
                raise ValueError(f"{spec.name} is running")
            self._components[spec.name] = Component(spec)
            component = self._components[spec.name]
        else:
            component = self._components[request["name"]]
        component.wanted, component.failures = True, 0
        if component.process is None:
            self._spawn(component)

    def _do_stop(self, _: socket.socket, request: dict[str, Any]) -> None:
        self._stop(self._components[request["name"]], request.get("signal"))

    def _do_kill(self, _: socket.socket, request: dict[str, Any]) -> None:
        process = self._components[request["name"]].process
        if process is not None:
            os.kill(process.pid, request["signal"])

    def _do_fault(self, _: socket.socket, request: dict[str, Any]) -> None:
        self._faults.begin(request["kind"], request["name"], request["gpu"], request["seconds"])

    def _do_heal(self, _: socket.socket, request: dict[str, Any]) -> None:
        self._faults.heal(request["name"])

    def _cut_off(self, name: str) -> None:
        self._stop(self._components[name], signal.SIGKILL)

    def _resume(self, name: str) -> None:
        component = self._components[name]
        component.wanted, component.failures = True, 0
        if component.process is None:
            component.due = time.monotonic()

    def _do_detach(self, connection: socket.socket, _: dict[str, Any]) -> None:
        if connection is self._owner:
            self._owner = None

    def _do_down(self, _: socket.socket, request: dict[str, Any]) -> None:
        self.end()

    def _spawn(self, component: Component) -> None:
        spec = component.spec
        path = self._logs / f"{spec.name}.log"
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size > _LOG_LIMIT:
                path.replace(path.with_suffix(".log.1"))
        component.due = component.kill_at = None
        clear(spec)
        with path.open("ab") as log:
            process = spawn(
                spec.args, log=log, env=os.environ | spec.env, cwd=self._state, unprivileged=spec.unprivileged
            )
        component.process, component.started = process, start_time(process.pid)
        component.since, component.exit_code = time.time(), None
        self._guard.add(process.pid, component.started)
        for group in spec.groups:
            self._guard.own(group)

    def _reap(self) -> None:
        for component in self._components.values():
            if (process := component.process) is None:
                continue
            # Look without reaping: until it is reaped its pid, and so its group's, cannot be anybody else's.
            if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                kill_group(process.pid)
                component.exit_code = process.wait()
                if component.spec.directory:
                    with contextlib.suppress(TimeoutError):
                        sweep(Path(component.spec.directory))
                clear_groups(component.spec.groups, _CLEAR_SECONDS)
                self._ended(component, process.pid)
            elif component.kill_at is not None and time.monotonic() >= component.kill_at:
                kill_group(process.pid)
                component.kill_at = time.monotonic() + component.spec.grace

    def _ended(self, component: Component, pid: int) -> None:
        self._guard.remove(pid, component.started)
        component.process, component.kill_at = None, None
        if component.wanted and not self._ending:
            well = time.time() - component.since > _WELL_SECONDS
            component.failures = 0 if well else component.failures + 1
            delay = _FIRST_DELAY * 2.0 ** min(max(component.failures - 1, 0), 16)
            component.due = time.monotonic() + min(delay, _LONGEST_DELAY)

    def _start_due(self) -> None:
        for component in self._components.values():
            if component.due is not None and time.monotonic() >= component.due and not self._ending:
                component.restarts += 1
                try:
                    self._spawn(component)
                except OSError:
                    # Full disk or a binary that is being replaced: as any other crash, tried again later.
                    component.failures += 1
                    component.due = time.monotonic() + _LONGEST_DELAY

    def _stop(self, component: Component, number: int | None = None) -> None:
        component.wanted, component.due = False, None
        if component.process is not None and component.kill_at is None:
            component.kill_at = time.monotonic() + component.spec.grace
            os.kill(component.process.pid, number or component.spec.stop_signal)
            # One that somebody stopped (SIGSTOP) would sit out its grace.
            os.kill(component.process.pid, signal.SIGCONT)

    def _stop_next_stage(self) -> bool:
        """Stop the highest stage that still runs; True when nothing is left."""
        for component in self._components.values():
            component.wanted, component.due = False, None
        running = [component for component in self._components.values() if component.process is not None]
        highest = max((component.spec.stage for component in running), default=0)
        for component in running:
            if component.spec.stage == highest:
                self._stop(component)
        return not running

    def _shown(self) -> dict[str, Any]:
        own = {"pid": os.getpid(), "startTime": start_time(os.getpid()), "stopping": self._ending}
        shown = {name: component.shown() for name, component in self._components.items()}
        return {**self._values, "supervisor": own, "components": shown, "faults": self._faults.shown()}

    def _write(self) -> None:
        temporary = self._file.with_name(".sandbox.json.new")
        # A full disk must not end the supervisor; the file is a view of what it knows.
        with contextlib.suppress(OSError):
            temporary.touch(mode=0o600)
            temporary.write_text(json.dumps(self._shown(), indent=2) + "\n")
            temporary.replace(self._file)


def main(state: Path, control: Path, owner: int) -> None:
    """Run the supervisor of the sandbox in `state`."""
    wake, waker = socket.socketpair()
    waker.setblocking(False)
    wake.setblocking(False)
    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    control.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener, Guard() as guard:
        listener.bind(str(control))
        listener.listen(16)
        supervisor = Supervisor(state, listener, guard)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, supervisor.end)
        signal.signal(signal.SIGINT, supervisor.end)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        supervisor.own(socket.socket(fileno=owner))
        supervisor.run(wake)
        control.unlink(missing_ok=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
