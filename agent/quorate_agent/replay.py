"""Recordings of a node's devices: every answer with its time, written by `quorate agent record`, played back.

    {"format": "quorate.dev/gpu-recording/v1",
     "devices": [{"uuid": …, "index": 0, "model": …, "total": …, "mig": false}],
     "answers": {"memory": {"GPU-1": [[0, 1024], [250000, "Lost"]]}, "processes": …}}

Times are microseconds since the recording began. Between two answers the earlier one holds.
"""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from quorate.missions.samples import Missing, Reading
from quorate_agent.ports import Clock, Condition, Gpu, GpuBackend, Listed, Load, PowerState

FORMAT = "quorate.dev/gpu-recording/v1"
_NAMES: Mapping[str, Missing] = {str(name): name for name in Missing}


class RecordingError(ValueError):
    """A file that is no recording; the message names the file and what is wrong."""


class ReplayBackend:
    """`GpuBackend` over a recording, from its beginning; nothing can be set, and after the last answer it repeats it.

    Raises:
        RecordingError: the file is none.
    """

    name = "replay"

    def __init__(self, path: Path, clock: Clock) -> None:
        try:
            recording = orjson.loads(path.read_bytes())
            if recording.get("format") != FORMAT:
                raise RecordingError(f"{path}: format {recording.get('format')!r} must be {FORMAT}")
            self._devices = tuple(Gpu(**gpu | {"total": _value(gpu["total"])}) for gpu in recording["devices"])
            self._answers: Mapping[str, Mapping[str, list[Any]]] = recording["answers"]
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise RecordingError(f"{path}: {error}") from error
        self._clock = clock
        self._began = clock.now()
        self._told: dict[str, int] = {}

    def _at(self, kind: str, gpu: str) -> Any:
        """The last answer until now, the first one from the beginning; LOST where none was recorded."""
        answers = self._answers.get(kind, {}).get(gpu, [])
        count = bisect_right(answers, self._clock.now() - self._began, key=lambda answer: answer[0])
        return answers[max(count, 1) - 1][1] if answers else str(Missing.LOST)

    def devices(self) -> tuple[Gpu, ...] | Missing:
        """As they were at the beginning."""
        return self._devices

    def memory(self, gpu: str) -> Reading:
        """As recorded."""
        return _value(self._at("memory", gpu))

    def processes(self, gpu: str) -> tuple[Listed, ...] | Missing:
        """As recorded."""
        rows = self._at("processes", gpu)
        return _NAMES[rows] if isinstance(rows, str) else tuple(Listed(pid, _value(used)) for pid, used in rows)

    def utilization(self, gpu: str) -> Load:
        """As recorded."""
        answer = self._at("utilization", gpu)
        return Load(_NAMES[answer]) if isinstance(answer, str) else Load(_value(answer[0]), answer[1])

    def condition(self, gpu: str) -> Condition:
        """As recorded."""
        answer = self._at("condition", gpu)
        if isinstance(answer, str):
            return Condition(*([_NAMES[answer]] * 6))
        return Condition(**{name: _value(value) for name, value in answer.items()})

    def power(self, gpu: str) -> PowerState:
        """As recorded."""
        answer = self._at("power", gpu)
        if isinstance(answer, str):
            return PowerState(*([_NAMES[answer]] * 3))
        return PowerState(**{name: _value(value) for name, value in answer.items()})

    def wait(self, gpu: str, seconds: int) -> tuple[int, ...] | Missing:
        """The XID errors whose time has come; does not block."""
        events = self._answers.get("xids", {}).get(gpu, [])
        if gpu not in {device.uuid for device in self._devices}:
            return Missing.LOST
        until = bisect_right(events, self._clock.now() - self._began, key=lambda event: event[0])
        told, self._told[gpu] = self._told.get(gpu, 0), until
        return tuple(code for _, code in events[told:until])

    def limit_power(self, gpu: str, watts: int) -> Missing | None:
        """A recording cannot be changed."""
        return self._fixed(gpu)

    def limit_clock(self, gpu: str, megahertz: int) -> Missing | None:
        """A recording cannot be changed."""
        return self._fixed(gpu)

    def allow_compute(self, gpu: str, *, allowed: bool) -> Missing | None:
        """A recording cannot be changed."""
        return self._fixed(gpu)

    def _fixed(self, gpu: str) -> Missing:
        return Missing.UNSUPPORTED if any(device.uuid == gpu for device in self._devices) else Missing.LOST


class Recorder:
    """Asks a backend everything, again and again, and keeps each answer that differs from the last."""

    def __init__(self, backend: GpuBackend, clock: Clock) -> None:
        self._backend, self._clock, self._began = backend, clock, clock.now()
        devices = backend.devices()
        self._devices = () if isinstance(devices, Missing) else devices
        self._answers: dict[str, dict[str, list[Any]]] = {}

    def round(self) -> None:
        """One answer of every getter of every device; no setter is called."""
        backend = self._backend
        for gpu in (device.uuid for device in self._devices):
            self._keep("memory", gpu, _plain(backend.memory(gpu)))
            rows = backend.processes(gpu)
            plain = str(rows) if isinstance(rows, Missing) else [[row.pid, _plain(row.used)] for row in rows]
            self._keep("processes", gpu, plain)
            load = backend.utilization(gpu)
            self._keep("utilization", gpu, [_plain(load.value), load.source])
            for kind, found in (("condition", backend.condition(gpu)), ("power", backend.power(gpu))):
                self._keep(kind, gpu, {name: _plain(value) for name, value in asdict(found).items()})
            codes = backend.wait(gpu, 0)
            if not isinstance(codes, Missing) and codes:
                self.xids(gpu, codes)

    def xids(self, gpu: str, codes: tuple[int, ...]) -> None:
        """Errors that were reported now."""
        at = self._clock.now() - self._began
        self._answers.setdefault("xids", {}).setdefault(gpu, []).extend([at, code] for code in codes)

    def _keep(self, kind: str, gpu: str, answer: Any) -> None:
        kept = self._answers.setdefault(kind, {}).setdefault(gpu, [])
        if not kept or kept[-1][1] != answer:
            kept.append([self._clock.now() - self._began, answer])

    def document(self) -> dict[str, Any]:
        """The recording."""
        devices = [asdict(device) | {"total": _plain(device.total)} for device in self._devices]
        return {"format": FORMAT, "devices": devices, "answers": self._answers}


def _plain(value: Reading) -> int | str:
    return str(value) if isinstance(value, Missing) else value


def _value(value: int | str) -> Reading:
    return _NAMES[value] if isinstance(value, str) else value
