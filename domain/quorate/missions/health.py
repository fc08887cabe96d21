"""Health of the devices: XID, ECC, row remapping, recovery action, temperature (docs/missions.md, "Rules")."""

from dataclasses import dataclass

from quorate.api.mission_rules import RuleName
from quorate.missions import periods
from quorate.missions.decisions import Severity
from quorate.missions.samples import Event, Health, Missing, Pod, Reading, Xid
from quorate.missions.series import SECOND
from quorate.missions.verdict import State, Validator, Verdict, ceiling, unknown

STALE = periods.STALE[RuleName.HEALTH]
XID_HOLDS = 600 * SECOND
APPLICATION_XIDS = frozenset({13, 31, 43, 45, 68})
"""Errors of the application itself; k8s-device-plugin ignores them too (109, a reset, it should not)."""
RESTART_XIDS = frozenset({94})
"""Contained: the application must restart, the device goes on."""
FATAL_XIDS = frozenset({48, 79, 95, 119, 120})
"""Uncontained memory errors, a device off the bus, a GPU system processor that does not answer."""

Finding = tuple[Severity, str, int]
"""Severity, what was found, the number."""


@dataclass(frozen=True, slots=True)
class HealthSpec:
    """XIDs that are the application's own, highest temperature in degrees Celsius."""

    ignored: frozenset[int]
    celsius: int | None

    rule = RuleName.HEALTH
    reads = (Health, Xid)

    @property
    def strictness(self) -> tuple[int, ...]:
        """The lowest temperature; then the fewest ignored."""
        return (10_000 if self.celsius is None else self.celsius, len(self.ignored))

    @property
    def bound(self) -> str:
        """The bound in words."""
        most = "" if self.celsius is None else f", at most {self.celsius} °C"
        return f"XIDs but {len(self.ignored)}{most}"

    def watch(self, pod: Pod, margin: int) -> Validator:
        """Judges the pod's devices."""
        return HealthValidator(self, pod, margin)


class _Device:
    """What is known of one device."""

    __slots__ = ("health", "uncorrectable", "xids")

    def __init__(self) -> None:
        self.health: Health | None = None
        self.uncorrectable: int | None = None
        """At first sight: what had happened before is not the workload's."""
        self.xids: dict[int, int] = {}
        """Code → when it was last seen."""


class HealthValidator:
    """The gravest finding over the pod's devices."""

    __slots__ = ("_devices", "_margin", "_spec")

    def __init__(self, spec: HealthSpec, pod: Pod, margin: int) -> None:
        self._spec = spec
        self._margin = margin
        self._devices = {gpu: _Device() for gpu in pod.gpus}

    def take(self, event: Event) -> None:
        """Take slow readings or an XID."""
        if isinstance(event, Xid):
            device = self._devices.get(event.gpu)
            if device is not None and event.code not in self._spec.ignored:
                device.xids[event.code] = event.at
        elif isinstance(event, Health):
            device = self._devices.get(event.gpu)
            if device is not None:
                device.health = event
                if device.uncorrectable is None and not isinstance(event.uncorrectable, Missing):
                    device.uncorrectable = event.uncorrectable

    def judge(self, now: int) -> Verdict:
        """The gravest finding; good only when every device was read lately."""
        gravest: Finding | None = None
        since, gpu, fresh = 0, "", bool(self._devices)
        for name, device in self._devices.items():
            fresh = fresh and _fresh(device.health, now)
            for at, finding in self._findings(device, now):
                if gravest is None or finding[0] > gravest[0]:
                    gravest, since, gpu = finding, at, name
        if gravest is not None:
            severity, what, number = gravest
            until = since + (XID_HOLDS if what == "xid" else STALE)
            return Verdict(State.BROKEN, severity, what, ((what, number), ("gpu", gpu)), since, until)
        if not fresh:
            return unknown("the health of a device was not read lately")
        read = [device.health for device in self._devices.values() if device.health is not None]
        state = State.BETWEEN if any(self._warm(health) for health in read) else State.GOOD
        return Verdict(state, Severity.LOW, "no finding", (), now, min(health.at for health in read) + STALE)

    def _warm(self, health: Health) -> bool:
        """Whether a device is not yet so much cooler than it may be that heat is over."""
        celsius, most = health.celsius, self._spec.celsius
        if most is None or isinstance(celsius, Missing):
            return False
        return ceiling(celsius, most, self._margin) is not State.GOOD

    def _findings(self, device: _Device, now: int) -> list[tuple[int, Finding]]:
        found: list[tuple[int, Finding]] = []
        for code, at in list(device.xids.items()):
            if now - at >= XID_HOLDS:
                del device.xids[code]
                continue
            found.append((at, (_xid_severity(code, device.health), "xid", code)))
        health = device.health
        if health is None or now - health.at > STALE:
            return found
        before = device.uncorrectable
        table = (
            (_above(health.uncorrectable, before), Severity.HIGH, "uncorrectableErrors", health.uncorrectable),
            (_above(health.remap_failed, 0), Severity.CRITICAL, "remapFailed", health.remap_failed),
            (_above(health.remap_pending, 0), Severity.MEDIUM, "remapPending", health.remap_pending),
            (_above(health.slowdown, 0), Severity.MEDIUM, "slowdown", health.slowdown),
            (_above(health.celsius, self._spec.celsius), Severity.HIGH, "celsius", health.celsius),
        )
        for broken, severity, what, number in table:
            if broken and isinstance(number, int):
                found.append((health.at, (severity, what, number)))
        return found

    def due(self) -> int | None:
        """When the first XID is no longer held against the device."""
        ends = [at + XID_HOLDS for device in self._devices.values() for at in device.xids.values()]
        return min(ends, default=None)


def _above(number: Reading, bound: int | None) -> bool:
    return not isinstance(number, Missing) and bound is not None and number > bound


def _fresh(health: Health | None, now: int) -> bool:
    """Read lately, with at least one number: a lost device answers nothing."""
    if health is None or now - health.at > STALE:
        return False
    numbers = (health.celsius, health.slowdown, health.uncorrectable, health.remap_pending, health.remap_failed)
    return any(not isinstance(number, Missing) for number in numbers)


def _xid_severity(code: int, health: Health | None) -> Severity:
    """The driver's own recovery action where it says one, else the code."""
    if code in RESTART_XIDS:
        return Severity.HIGH
    if code in FATAL_XIDS or (health is not None and _above(health.recovery, 0)):
        return Severity.CRITICAL
    return Severity.MEDIUM
