"""When which device is asked what, and what its answers are to the engine (docs/missions.md, "Samples").

All devices are asked at the same moments, so that the agent wakes for all of them at once. A device that has not
answered is not asked again: once that took too long its readings are `Timeout`, and the others go on.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from quorate.missions.samples import (
    DeviceMemory,
    Event,
    Health,
    Limits,
    Missing,
    Owned,
    Process,
    Processes,
    Utilization,
)
from quorate.missions.series import SECOND
from quorate_agent.ports import Condition, Gpu, Listed, Load, PodResolver, PowerState
from quorate_agent.workers import Answer, Kind

PERIODS: Final = {
    Kind.MEMORY: SECOND // 4,
    Kind.PROCESSES: SECOND,
    Kind.UTILIZATION: SECOND,
    Kind.CONDITION: 10 * SECOND,
    Kind.POWER: 10 * SECOND,
}
"""Process lists come at a jump of the memory too, and once a second without one: two processes may trade places."""
JUMP = 16 * 2**20
"""Bytes by which a device's memory must differ from what it was at the last process list."""
LISTS_APART = SECOND // 2
HANGS = 2 * SECOND
"""A device that has not answered for so long is told as `Timeout`, again each second."""
SETTLE = SECOND // 40
"""Answers are waited for together for so long."""
FORGET = 4_096


@dataclass(slots=True)
class _Device:
    gpu: str
    due: dict[Kind, int]
    number: int = 0
    waits: set[Kind] = field(default_factory=set)
    """Kinds that were asked and not answered."""
    asked: int = 0
    told: int = 0
    """When it was last told that it hangs."""
    listed: int = 0
    memory: int = 0
    """Bytes in use when the last process list was asked for, and `latest` now."""
    latest: int = 0


class Sampler:
    """The schedule of all devices.

    Args:
        ask: gives a device's thread its questions: device, number, kinds.
        settle: called when late answers are not waited for any more.
        resolver: whose processes these are; `name_of` tells a container by its id.
        own: the agent's own pid, which is left out.
    """

    def __init__(
        self,
        ask: Callable[[str, int, tuple[Kind, ...]], None],
        settle: Callable[[], None],
        resolver: PodResolver,
        name_of: Callable[[str], str],
        own: int,
    ) -> None:
        self._ask, self._settle, self._resolver, self._name_of, self._own = ask, settle, resolver, name_of, own
        self._devices: dict[str, _Device] = {}
        self._owned: dict[tuple[int, int], bool] = {}
        self._waits_until: int | None = None

    def add(self, gpus: Iterable[Gpu], now: int) -> list[str]:
        """Begin with devices that are not known yet; their UUIDs."""
        new = [gpu.uuid for gpu in gpus if gpu.uuid not in self._devices]
        for uuid in new:
            begin = next((min(device.due.values()) for device in self._devices.values()), now)
            self._devices[uuid] = _Device(uuid, dict.fromkeys(Kind, begin))
        return new

    @property
    def due(self) -> int | None:
        """When to call `tick` next."""
        times = [
            device.told + SECOND if device.told else device.asked + HANGS if device.waits else min(device.due.values())
            for device in self._devices.values()
        ]
        if self._waits_until is not None:
            times.append(self._waits_until)
        return min(times, default=None)

    @property
    def hanging(self) -> list[str]:
        """Devices that do not answer."""
        return [device.gpu for device in self._devices.values() if device.told]

    def tick(self, now: int) -> list[Event]:
        """Ask what is due; the events say who does not answer."""
        events: list[Event] = []
        asked = False
        for device in self._devices.values():
            if device.waits:
                if now >= (device.told + SECOND if device.told else device.asked + HANGS):
                    device.told = now
                    events += _silent(device.gpu, now)
                continue
            kinds = tuple(kind for kind, due in device.due.items() if due <= now)
            if kinds:
                self._put(device, kinds, now)
                asked = True
        if asked:
            self._waits_until = now + SETTLE
        elif self._waits_until is not None and now >= self._waits_until:
            self._waits_until = None
            self._settle()
        return events

    def _put(self, device: _Device, kinds: tuple[Kind, ...], now: int) -> None:
        for kind in kinds:
            period = PERIODS[kind]
            missed = max(0, (now - device.due[kind]) // period)
            device.due[kind] += (missed + 1) * period
        if Kind.PROCESSES in kinds:
            device.listed, device.memory = now, device.latest
            device.due[Kind.PROCESSES] = self._aligned(device, now + PERIODS[Kind.PROCESSES])
        device.number += 1
        device.waits, device.asked, device.told = set(kinds), now, 0
        self._ask(device.gpu, device.number, kinds)

    @staticmethod
    def _aligned(device: _Device, wanted: int) -> int:
        """The moment of the memory's schedule at or after `wanted`: one wake-up serves both."""
        due, period = device.due[Kind.MEMORY], PERIODS[Kind.MEMORY]
        return due + -(-(wanted - due) // period) * period

    def take(self, answers: Iterable[Answer]) -> list[Event]:
        """What the answers are to the engine; one that comes after its device was told to hang is not believed."""
        events: list[Event] = []
        for answer in answers:
            device = self._devices.get(answer.gpu)
            if device is None or answer.number != device.number:
                continue
            late = device.told != 0
            device.waits.discard(answer.kind)
            if not device.waits:
                device.told = 0
            if not late:
                events += self._events(device, answer)
        if not any(device.waits for device in self._devices.values()):
            self._waits_until = None
        return events

    def _events(self, device: _Device, answer: Answer) -> Iterator[Event]:
        at, gpu, value = answer.at, answer.gpu, answer.value
        if answer.kind is Kind.MEMORY:
            self._look(device, value, at)
            yield DeviceMemory(at, gpu, value)
        elif answer.kind is Kind.PROCESSES:
            yield from self._listed(at, gpu, value)
        elif answer.kind is Kind.UTILIZATION and isinstance(value, Load):
            yield Utilization(at, gpu, value.value, value.source)
        elif isinstance(value, Condition):
            yield Health(at, gpu, value.celsius, value.slowdown, value.uncorrectable, value.remap_pending,
                         value.remap_failed, value.recovery)  # fmt: skip
        elif isinstance(value, PowerState):
            yield Limits(at, gpu, value.watts, value.clock, value.default_watts)

    def _look(self, device: _Device, used: int | Missing, now: int) -> None:
        """A jump of the memory brings the next process list forward."""
        if isinstance(used, Missing):
            return
        device.latest = used
        if abs(used - device.memory) >= JUMP and not device.waits - {Kind.MEMORY}:
            device.due[Kind.PROCESSES] = min(device.due[Kind.PROCESSES], max(now, device.listed + LISTS_APART))

    def _listed(self, at: int, gpu: str, rows: tuple[Listed, ...] | Missing) -> Iterator[Event]:
        if isinstance(rows, Missing):
            yield Processes(at, gpu, rows)
            return
        found = []
        for row in rows:
            start = self._resolver.start_of(row.pid)
            key = (row.pid, start or 0)
            if start is not None and not self._owned.get(key):
                yield from self._own_up(at, key)
            found.append(Process(row.pid, start or 0, row.used))
        yield Processes(at, gpu, tuple(found))

    def _own_up(self, at: int, key: tuple[int, int]) -> Iterator[Event]:
        """Who owns a process; asked again with each list while nobody does."""
        if len(self._owned) > FORGET:
            self._owned.clear()
        pid, start = key
        if pid == self._own:
            self._owned[key] = True
            yield Owned(at, pid, start, None)
            return
        owner = self._resolver.owner_of(pid, start)
        self._owned[key] = owner is not None
        if owner is not None:
            yield Owned(at, pid, start, owner.uid, self._name_of(owner.container))


def _silent(gpu: str, at: int) -> list[Event]:
    """What a device that hangs says."""
    late = Missing.TIMEOUT
    return [
        DeviceMemory(at, gpu, late),
        Processes(at, gpu, late),
        Utilization(at, gpu, late),
        Health(at, gpu, late, late, late, late, late, late),
    ]
