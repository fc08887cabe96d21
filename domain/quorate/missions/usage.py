"""Utilisation: the floor, and devices that are held and not used (docs/missions.md, "Rules", "Idle reclaim")."""

from collections.abc import Mapping
from dataclasses import dataclass

from quorate.api.mission_rules import RuleName, Statistic
from quorate.missions import periods
from quorate.missions.decisions import Severity
from quorate.missions.periods import PERIODS
from quorate.missions.samples import Event, Missing, Pod, Utilization
from quorate.missions.series import SECOND, Series
from quorate.missions.verdict import WHOLE, State, Validator, Verdict, floor, unknown

PERIOD = PERIODS[RuleName.UTILIZATION]
STALE = periods.STALE[RuleName.UTILIZATION]
EXEMPT_LABEL = "quorate.dev/idle-exempt"


class _Devices:
    """One window per device of a pod, and what the source calls its number."""

    __slots__ = ("series", "since", "source", "statistic", "words")

    def __init__(self, gpus: tuple[str, ...], window: int, words: str) -> None:
        self.series = {gpu: Series(window, PERIOD, STALE) for gpu in gpus}
        self.words = words
        self.source = ""
        self.statistic = words.replace("{source}", "utilisation")
        self.since = 0

    def take(self, event: Event) -> None:
        """Take a reading; more than the whole is no utilisation (zombies make the driver say so)."""
        if not isinstance(event, Utilization):
            return
        series, value = self.series.get(event.gpu), event.value
        if series is None:
            return
        if not isinstance(value, Missing) and 0 <= value <= WHOLE:
            series.add(event.at, value)
        self.since = event.at
        if event.source != self.source:
            self.source = event.source
            self.statistic = self.words.replace("{source}", event.source)

    @property
    def until(self) -> int:
        """When the first device's last number is stale."""
        return min([series.until for series in self.series.values()], default=0)


@dataclass(frozen=True, slots=True)
class UtilizationSpec:
    """Floor in basis points, summary, window and grace in microseconds."""

    minimum: int
    statistic: Statistic
    window: int
    grace: int

    rule = RuleName.UTILIZATION
    reads = (Utilization,)

    @property
    def strictness(self) -> tuple[int, ...]:
        """The highest floor; then the shortest window."""
        return (-self.minimum, self.window)

    @property
    def bound(self) -> str:
        """The bound in words."""
        return f"at least {self.minimum} basis points, {self.statistic} of {self.window // SECOND} s"

    def watch(self, pod: Pod, margin: int) -> Validator:
        """Judges the pod's lowest device."""
        return UtilizationValidator(self, pod, margin)


class UtilizationValidator:
    """The lowest device decides; one that is certainly below is enough, all must be known to be good.

    Samples within the grace are not taken: a window that reaches into it would demand something of it afterwards.
    """

    __slots__ = ("_demands", "_devices", "_margin", "_spec", "_started")

    def __init__(self, spec: UtilizationSpec, pod: Pod, margin: int) -> None:
        self._spec = spec
        self._margin = margin
        self._started = pod.started
        self._demands = (pod.started or 0) + spec.grace
        self._devices = _Devices(
            pod.gpus, spec.window, f"{spec.statistic} of {{source}} in {spec.window // SECOND} s, lowest device"
        )

    def take(self, event: Event) -> None:
        """Take a device's reading."""
        if isinstance(event, Utilization) and event.at >= self._demands:
            self._devices.take(event)

    def _value(self, series: Series, now: int) -> int | None:
        statistic = self._spec.statistic
        if statistic is Statistic.MEAN:
            return series.mean(now)
        if statistic is Statistic.MAX:
            return series.maximum(now)
        return series.percentile(5_000 if statistic is Statistic.P50 else 9_500, now)

    def judge(self, now: int) -> Verdict:
        """The lowest device against the floor."""
        spec = self._spec
        statistic = self._devices.statistic
        if now < self._demands and self._started is not None:
            return Verdict(State.BETWEEN, Severity.LOW, statistic, (("grace", spec.grace // SECOND),), now)
        if spec.grace and self._started is None:
            return unknown("when the pod started is not known, so the grace may not be over")
        lowest, gaps = None, False
        for series in self._devices.series.values():
            value = self._value(series, now)
            if value is None:
                gaps = True
            elif lowest is None or value < lowest:
                lowest = value
        if lowest is None or (gaps and lowest >= spec.minimum):
            return unknown(f"{statistic}: the window of a device has gaps")
        evidence = (("basisPoints", lowest), ("minimum", spec.minimum))
        state = floor(lowest, spec.minimum, self._margin, WHOLE)
        return Verdict(state, Severity.MEDIUM, statistic, evidence, self._devices.since, self._devices.until)

    def due(self) -> int | None:
        """The end of the grace brings no sample, the next sample will do."""
        return None


@dataclass(frozen=True, slots=True)
class IdleSpec:
    """Utilisation up to which a device is idle, window and grace in microseconds, labels of exempt pods."""

    maximum: int
    window: int
    grace: int
    exempt: Mapping[str, str] | None

    rule = RuleName.IDLE
    reads = (Utilization,)

    @property
    def strictness(self) -> tuple[int, ...]:
        """The shortest window; then the highest ceiling and the shortest grace."""
        return (self.window, -self.maximum, self.grace)

    @property
    def bound(self) -> str:
        """The bound in words."""
        return f"idle up to {self.maximum} basis points for {self.window // SECOND} s"

    def exempts(self, pod: Pod) -> bool:
        """Whether the pod is never reclaimed."""
        if pod.labels.get(EXEMPT_LABEL) == "true":
            return True
        return self.exempt is not None and all(pod.labels.get(key) == value for key, value in self.exempt.items())

    def watch(self, pod: Pod, margin: int) -> Validator:
        """Judges all devices of the pod."""
        del margin
        return IdleValidator(self, pod)


class IdleValidator:
    """Idle only when every sample of every device says so: unknown is not idle, and one busy sample is enough."""

    __slots__ = ("_devices", "_exempt", "_spec")

    def __init__(self, spec: IdleSpec, pod: Pod) -> None:
        self._spec = spec
        self._exempt = spec.exempts(pod)
        self._devices = _Devices(
            pod.gpus, spec.window, f"Max of {{source}} in {spec.window // SECOND} s, busiest device"
        )

    def take(self, event: Event) -> None:
        """Take a device's reading."""
        self._devices.take(event)

    def judge(self, now: int) -> Verdict:
        """The busiest device against the ceiling."""
        spec = self._spec
        statistic = self._devices.statistic
        since = self._devices.since
        if self._exempt:
            return Verdict(State.GOOD, Severity.LOW, "exempt from reclaim", (), since)
        highest: list[int | None] = []
        for series in self._devices.series.values():
            if series.seen_above(spec.maximum, now):
                return Verdict(State.GOOD, Severity.LOW, statistic, (), since)
            highest.append(series.maximum(now))
        known = [value for value in highest if value is not None]
        if len(known) < len(highest) or not known:
            return unknown(f"{statistic}: the window of a device has gaps")
        evidence = (("basisPoints", max(known)), ("maximum", spec.maximum), ("devices", len(known)))
        return Verdict(State.BROKEN, Severity.HIGH, statistic, evidence, since, self._devices.until)

    def due(self) -> int | None:
        """Only samples change it."""
        return None
