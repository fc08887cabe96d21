"""Faults that heal by themselves: the supervisor's side (docs/faults.md).

Standard library only, like the supervisor, but for what is imported when a GPU is lost.
"""

import math
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

SHORTEST_SECONDS, DEFAULT_SECONDS, LONGEST_SECONDS = 1, 30, 3600
API_SERVER = "apiserver"
_NODE = "node-"
_AGAIN_SECONDS = 1.0
_FABRIC_SECONDS = 3.0


class Kind(StrEnum):
    """What fails."""

    NODE_STOP = "node-stop"
    NODE_PAUSE = "node-pause"
    KUBELET_KILL = "kubelet-kill"
    PARTITION = "partition"
    GPU_LOST = "gpu-lost"
    API_STOP = "api-stop"


STOPS = {Kind.NODE_STOP, Kind.API_STOP}
"""Faults that are a component which does not run."""


class FaultError(Exception):
    """A fault that cannot be; one sentence with field, value and rule."""


class Running(Protocol):
    """What is asked of a component (`supervisor.Component`)."""

    wanted: bool
    started: str

    @property
    def pid(self) -> int:
        """Its process; 0 while it has none."""

    @property
    def groups(self) -> list[str]:
        """Its cgroups."""


@dataclass(slots=True)
class Fault:
    """A fault that is on."""

    kind: Kind
    name: str
    """The node; `apiserver` for `api-stop`."""
    gpu: str
    """Id of the GPU that is lost; else empty."""
    until: float
    """Its end, Unix seconds: what is shown."""
    due: float
    """When to end it (monotonic seconds)."""
    component: str
    """Of the sandbox, that it is about."""
    mark: str
    """Start time of the component's process when it began: the fault is over with that process."""

    @property
    def target(self) -> str:
        """What fails: one fault at a time."""
        return self.gpu or self.name

    def shown(self) -> dict[str, Any]:
        """What `status` tells; seconds that are left: `remaining`."""
        return {"kind": self.kind, "name": self.name, "gpu": self.gpu, "until": round(self.until, 3)}


def remaining(shown: Mapping[str, Any], now: float) -> int:
    """Seconds that a fault, as `status` shows it, still has at `now` (Unix seconds)."""
    return max(0, math.ceil(float(shown["until"]) - now))


class Faults:
    """The faults of one sandbox. Called by the supervisor's one thread."""

    def __init__(
        self,
        state: Path,
        fabric: Path,
        components: Mapping[str, Running],
        *,
        stop: Callable[[str], None],
        start: Callable[[str], None],
    ) -> None:
        """`state` of the sandbox, the `fabric`'s socket; `stop` kills a component and keeps it stopped."""
        self._state = state
        self._fabric = fabric
        self._components = components
        self._stop = stop
        self._start = start
        self._on: list[Fault] = []

    def begin(self, kind: str, name: str, gpu: str, seconds: float) -> None:
        """Let something fail for `seconds`.

        Raises:
            FaultError: it cannot: no such thing, it does not run, or it fails already.
        """
        fault = self._checked(Kind(kind), name, gpu, seconds)
        try:
            self._apply(fault)
        except (OSError, ValueError) as error:
            raise FaultError(f"{fault.kind} {fault.target}: {getattr(error, 'strerror', None) or error}") from None
        self._on.append(fault)

    def heal(self, name: str = "") -> None:
        """End the faults of a node, GPU or `apiserver` now, or all.

        Raises:
            FaultError: it has none.
        """
        found = [fault for fault in self._on if name in ("", fault.target)]
        if name and not found:
            targets = ", ".join(fault.target for fault in self._on) or "nothing"
            raise FaultError(f"NAME {name!r}: must have a fault on; {targets} has one")
        for fault in found:
            fault.due, fault.until = time.monotonic(), time.time()
        self.tend()

    def tend(self) -> bool:
        """End what is due, forget what is over; whether anything changed."""
        before = len(self._on)
        self._on = [fault for fault in self._on if not self._over(fault) and not self._ended(fault)]
        return len(self._on) != before

    def next_due(self) -> float | None:
        """When to `tend` next (monotonic seconds)."""
        return min((fault.due for fault in self._on), default=None)

    def shown(self) -> list[dict[str, Any]]:
        """What is on."""
        return [fault.shown() for fault in self._on]

    def _checked(self, kind: Kind, name: str, gpu: str, seconds: float) -> Fault:
        if not SHORTEST_SECONDS <= seconds <= LONGEST_SECONDS:
            raise FaultError(f"--for {seconds:g}s: must be from {SHORTEST_SECONDS}s to 1h")
        if kind is Kind.API_STOP:
            if name not in ("", API_SERVER):
                raise FaultError(f"NAME {name!r}: api-stop takes none, there is one API server")
            name = component = API_SERVER
        else:
            component = f"{_NODE}{name}"
            if component not in self._components:
                raise FaultError(f"NODE {name!r}: must be a real node of this sandbox ({self._nodes()})")
        if kind is Kind.GPU_LOST:
            gpu = self._gpu(name, gpu)
        process = self._components[component]
        fault = Fault(kind, name, gpu, time.time() + seconds, time.monotonic() + seconds, component, process.started)
        for other in self._on:
            if other.target == fault.target:
                left = remaining(other.shown(), time.time())
                raise FaultError(
                    f"{fault.target} fails already ({other.kind}, {left} s left); end that: "
                    f"quorate sandbox fault heal {fault.target}"
                )
        if not process.pid and kind is not Kind.GPU_LOST:
            raise FaultError(f"{fault.target} does not run now, so it cannot fail")
        return fault

    def _nodes(self) -> str:
        names = [name.removeprefix(_NODE) for name in self._components if name.startswith(_NODE)]
        return ", ".join(names) or "it has none; start one with: quorate sandbox up --real-nodes N"

    def _gpu(self, node: str, name: str) -> str:
        from quorate_cli.sandbox.nodes import gpus  # noqa: PLC0415 - see the module

        listed = [gpu.id for gpu in gpus.read(self._state / "gpus.json") if gpu.node == node]
        found = [each for each in listed if name and each.startswith(name)]
        if len(found) != 1:
            raise FaultError(
                f"GPU {name!r}: must be the beginning of one GPU of {node} ({', '.join(listed) or 'none'})"
            )
        return found[0]

    def _over(self, fault: Fault) -> bool:
        component = self._components[fault.component]
        if fault.kind in STOPS:
            return component.wanted
        if fault.kind is Kind.GPU_LOST:
            return False
        return not component.pid or component.started != fault.mark

    def _ended(self, fault: Fault) -> bool:
        if time.monotonic() < fault.due:
            return False
        try:
            self._undo(fault)
        except (OSError, ValueError):  # the second: of a file of GPUs that somebody spoilt
            fault.due = time.monotonic() + _AGAIN_SECONDS
            return False
        return True

    def _apply(self, fault: Fault) -> None:
        match fault.kind:
            case Kind.NODE_STOP | Kind.API_STOP:
                self._stop(fault.component)
            case Kind.NODE_PAUSE:
                self._freeze(fault, "FROZEN")
            case Kind.KUBELET_KILL:
                self._kill_kubelet(fault)
            case Kind.PARTITION:
                self._ask_fabric(f"CUT {fault.name}")
            case Kind.GPU_LOST:
                self._set_gpu(fault, healthy=False)

    def _undo(self, fault: Fault) -> None:
        match fault.kind:
            case Kind.NODE_STOP | Kind.API_STOP:
                self._start(fault.component)
            case Kind.NODE_PAUSE:
                self._freeze(fault, "THAWED")
            case Kind.KUBELET_KILL:
                os.kill(self._init(fault), signal.SIGUSR2)
            case Kind.PARTITION:
                self._ask_fabric(f"MEND {fault.name}")
            case Kind.GPU_LOST:
                self._set_gpu(fault, healthy=True)

    def _freeze(self, fault: Fault, state: str) -> None:
        for group in self._components[fault.component].groups:
            file = Path(group, "freezer.state")
            if file.exists():
                file.write_text(state)

    def _init(self, fault: Fault) -> int:
        """The node's first process: the launcher's only child."""
        children = _children(self._components[fault.component].pid)
        if not children:
            raise OSError("the node is only starting")
        return children[0]

    def _kill_kubelet(self, fault: Fault) -> None:
        """Tell the first process to keep kubelet away; before it has one it would not hear."""
        init = self._init(fault)
        if not any(Path(f"/proc/{pid}/comm").read_text() == "kubelet\n" for pid in _children(init)):
            raise OSError("the node has no kubelet now")
        os.kill(init, signal.SIGUSR1)

    def _ask_fabric(self, request: str) -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_FABRIC_SECONDS)
            connection.connect(str(self._fabric))
            connection.sendall(f"{request}\n".encode())
            if (answer := connection.recv(4096).decode().strip()) != "ok":
                raise OSError(answer or "the nodes' network does not answer")

    def _set_gpu(self, fault: Fault, *, healthy: bool) -> None:
        from quorate_cli.sandbox.errors import SandboxError  # noqa: PLC0415 - see the module
        from quorate_cli.sandbox.layout import Layout  # noqa: PLC0415
        from quorate_cli.sandbox.nodes import gpus  # noqa: PLC0415

        try:
            gpus.set_health(Layout(self._state.parent, self._state.name), fault.gpu, healthy=healthy)
        except SandboxError as error:
            raise OSError(str(error)) from None


def _children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
