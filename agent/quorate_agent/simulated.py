"""Simulated devices and pods of a node: one JSON file says what there is, and writing it makes things happen.

    {"gpus": [{"uuid": "GPU-1", "total": 85899345920, "utilizationBasisPoints": 9000,
               "processes": [{"pid": 4711, "used": 1073741824, "start": 5, "pod": "<uid>", "container": "main"}]}],
     "pods": [{"uid": "…", "namespace": "team", "name": "train-0", "owner": "team/train", "gpus": ["GPU-1"]}]}

The sandbox writes it; setters change it, so that a setting is read back. All members but `uuid` have defaults
(docs/agent.md, "Simulated devices").
"""

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from quorate.missions.samples import Missing, Pod, Reading
from quorate_agent.files import write_whole
from quorate_agent.ports import Condition, Gpu, Listed, Load, Owner, PowerState

TOTAL = 80 * 2**30
_CONDITION = {"celsius": "celsius", "slowdown": "slowdown", "uncorrectable": "uncorrectable", "recovery": "recovery",
              "remapPending": "remap_pending", "remapFailed": "remap_failed"}  # fmt: skip
_STEP = 0.25
"""Seconds between looks at the file by who waits for an event."""


class StateFile:
    """The file, read again when it changed. A file that is absent or no JSON is a node without devices."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int, int] | None = None
        self._lock = threading.Lock()
        self._state: Mapping[str, Any] = {}

    def read(self) -> Mapping[str, Any]:
        """What it says now."""
        try:
            found = self.path.stat()
            seen = (found.st_mtime_ns, found.st_ino, found.st_size)
            if seen != self._seen:
                with self._lock:
                    state = orjson.loads(self.path.read_bytes())
                    self._state, self._seen = (state if isinstance(state, dict) else {}), seen
        except (OSError, ValueError):
            self._state, self._seen = {}, None
        return self._state

    def gpu(self, uuid: str) -> Mapping[str, Any] | None:
        """A device; None where there is none, or it is lost."""
        found = next((gpu for gpu in self.read().get("gpus", ()) if gpu.get("uuid") == uuid), None)
        return None if found is None or found.get("lost") else found

    def change(self, uuid: str, changes: Mapping[str, Any]) -> Missing | None:
        """Write members of a device, atomically."""
        if self.gpu(uuid) is None:
            return Missing.LOST
        with self._lock:
            state = orjson.loads(self.path.read_bytes())
            for gpu in state["gpus"]:
                if gpu["uuid"] == uuid:
                    gpu.update(changes)
            write_whole(self.path, orjson.dumps(state))
        return None


def reading(value: Any, absent: Reading = Missing.UNSUPPORTED) -> Reading:
    """An integer or the name of a reason; `absent` for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return Missing(value) if isinstance(value, str) and value in set(Missing) else absent


class SimulatedBackend:
    """`GpuBackend` over a state file."""

    name = "simulated"

    def __init__(self, path: Path) -> None:
        self._file = StateFile(path)
        self._told: dict[str, int] = {}

    def _gpu(self, gpu: str) -> Mapping[str, Any] | None:
        """A device, after as long as it hangs."""
        found = self._file.gpu(gpu)
        while found is not None and found.get("hangs"):
            time.sleep(_STEP)
            found = self._file.gpu(gpu)
        return found

    def devices(self) -> tuple[Gpu, ...] | Missing:
        """All in the file, lost ones too."""
        return tuple(
            Gpu(gpu["uuid"], index, str(gpu.get("model", "Simulated")), reading(gpu.get("total"), TOTAL),
                gpu.get("mig") is True)
            for index, gpu in enumerate(self._file.read().get("gpus", ()))
        )  # fmt: skip

    def memory(self, gpu: str) -> Reading:
        """`memory`, or the sum of the processes."""
        found = self._gpu(gpu)
        if found is None:
            return Missing.LOST
        rows = [reading(row.get("used"), 0) for row in found.get("processes", ())]
        return reading(found.get("memory"), sum(row for row in rows if isinstance(row, int)))

    def processes(self, gpu: str) -> tuple[Listed, ...] | Missing:
        """`processes`."""
        found = self._gpu(gpu)
        if found is None:
            return Missing.LOST
        rows = found.get("processes", [])
        if isinstance(rows, str):
            return Missing(rows) if rows in set(Missing) else Missing.UNSUPPORTED
        return tuple(Listed(row["pid"], reading(row.get("used"))) for row in rows)

    def utilization(self, gpu: str) -> Load:
        """`utilizationBasisPoints`, not on a device with MIG."""
        found = self._gpu(gpu)
        if found is None:
            return Load(Missing.LOST)
        value = Missing.UNSUPPORTED if found.get("mig") else reading(found.get("utilizationBasisPoints"), 0)
        return Load(min(value, 10_000) if isinstance(value, int) else value, str(found.get("source", "duty cycle")))

    def condition(self, gpu: str) -> Condition:
        """`celsius`, `slowdown`, …; what is not said is not supported."""
        found = self._gpu(gpu)
        if found is None:
            return Condition(*([Missing.LOST] * 6))
        return Condition(**{ours: reading(found.get(name)) for name, ours in _CONDITION.items()})

    def power(self, gpu: str) -> PowerState:
        """`watts`, `megahertz`, `defaultWatts`."""
        found = self._gpu(gpu)
        if found is None:
            return PowerState(Missing.LOST, Missing.LOST, Missing.LOST)
        return PowerState(*(reading(found.get(name)) for name in ("watts", "megahertz", "defaultWatts")))

    def wait(self, gpu: str, seconds: int) -> tuple[int, ...] | Missing:
        """`xids` is a list that grows: what was appended since the last call."""
        deadline = time.monotonic() + seconds
        while True:
            found = self._file.gpu(gpu)
            xids = list(found.get("xids", ())) if found is not None else []
            told = self._told.setdefault(gpu, len(xids))
            self._told[gpu] = len(xids)
            if len(xids) > told:
                return tuple(xids[told:])
            left = deadline - time.monotonic()
            if left <= 0:
                return () if found is not None else Missing.LOST
            time.sleep(min(_STEP, left))

    def limit_power(self, gpu: str, watts: int) -> Missing | None:
        """Sets `watts`."""
        return self._file.change(gpu, {"watts": watts})

    def limit_clock(self, gpu: str, megahertz: int) -> Missing | None:
        """Sets `megahertz`; 0 takes the limit away."""
        found = self._file.gpu(gpu) or {}
        usual = found.get("defaultMegahertz", found.get("megahertz"))
        return self._file.change(gpu, {"megahertz": megahertz or usual, "defaultMegahertz": usual})

    def allow_compute(self, gpu: str, *, allowed: bool) -> Missing | None:
        """Sets `computeAllowed`."""
        return self._file.change(gpu, {"computeAllowed": allowed})


class SimulatedPods:
    """`PodSource` and `PodResolver` over the same file; what its rows say, not what /proc says."""

    def __init__(self, path: Path) -> None:
        self._file = StateFile(path)
        self._seen: Mapping[str, Any] | None = None
        self._rows: dict[int, Mapping[str, Any]] = {}

    async def pods(self) -> Sequence[Pod] | Missing:
        """`pods`."""
        return [_pod(pod) for pod in self._file.read().get("pods", ())]

    def container_name(self, container: str) -> str:
        """Containers go by their names."""
        return container

    def _row(self, pid: int) -> Mapping[str, Any] | None:
        state = self._file.read()
        if state is not self._seen:
            gpus = [gpu for gpu in state.get("gpus", ()) if isinstance(gpu.get("processes"), list)]
            self._rows = {row["pid"]: row for gpu in gpus for row in gpu["processes"]}
            self._seen = state
        return self._rows.get(pid)

    def start_of(self, pid: int) -> int | None:
        """`start`, 1 where it is not said."""
        row = self._row(pid)
        return None if row is None else int(row.get("start", 1))

    def owner_of(self, pid: int, start: int) -> Owner | None:
        """`pod` and `container`."""
        row = self._row(pid)
        if row is None or int(row.get("start", 1)) != start or "pod" not in row:
            return None
        return Owner(str(row["pod"]), str(row.get("container", "main")))


def _pod(pod: Mapping[str, Any]) -> Pod:
    name = f"{pod.get('namespace', 'default')}/{pod.get('name', pod['uid'])}"
    namespace, _, short = name.partition("/")
    return Pod(
        uid=pod["uid"],
        namespace=namespace,
        name=short,
        owner=str(pod.get("owner", name)),
        labels=dict(pod.get("labels", {})),
        namespace_labels=dict(pod.get("namespaceLabels", {})),
        gpus=tuple(pod.get("gpus", ())),
        started=pod.get("started"),
    )
