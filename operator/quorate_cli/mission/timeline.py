"""From a timeline's entries to the engine's events, in order of time."""

from collections.abc import Callable, Iterator, Mapping
from heapq import merge
from typing import Any, NamedTuple

from quorate.missions.latency import bucket_of
from quorate.missions.samples import (
    DeviceMemory,
    Event,
    Gone,
    Health,
    Latencies,
    Limits,
    Metric,
    Missing,
    Online,
    Owned,
    Process,
    Processes,
    Report,
    Run,
    Stop,
    StopScope,
    Unlatch,
    Utilization,
    Xid,
)
from quorate_cli.mission.scenario import Obj, Scenario
from quorate_cli.mission.values import (
    amount,
    duration,
    integer,
    known,
    listing,
    mapping,
    one_of,
    reading,
    refuse,
    share,
    text,
)

MOST_EVENTS = 2_000_000
TIMES = frozenset({"at", "from", "to", "every"})
SAID = frozenset({"acknowledge", "ended", "start", "clockBack"})
"""What the player itself carries out."""
_AGENT = "agent"
_HEALTH = {"celsius": "celsius", "slowdown": "slowdown", "uncorrectable": "uncorrectable", "recovery": "recovery",
           "remapPending": "remap_pending", "remapFailed": "remap_failed"}  # fmt: skip
_REPORTS = {"hostMemory": Metric.HOST_MEMORY, "iteration": Metric.ITERATION, "entropy": Metric.ENTROPY,
            "epsilon": Metric.EPSILON, "delta": Metric.DELTA}  # fmt: skip


class Moment(NamedTuple):
    """What happens at a time: events, and what the player carries out by itself."""

    at: int
    order: int
    events: tuple[Event, ...]
    said: Mapping[str, Any]


class Timeline:
    """The moments of a scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self._uids = scenario.uids
        self._pids: dict[str, int] = {}
        self._count = 0
        self._makers: dict[str, Callable[[str, int, Any], Iterator[Event]]] = {
            "owners": self._owners,
            "memory": self._memory,
            "processes": self._processes,
            "deviceMemory": self._device_memory,
            "utilization": self._utilization,
            "health": self._health,
            "xid": self._xid,
            "limits": self._limits,
            "report": self._report,
            "latency": self._latency,
            "run": self._run,
            "gone": self._gone,
            "online": self._online,
            "stop": self._stop,
            "unlatch": self._unlatch,
        }
        self._entries = scenario.timeline

    def moments(self) -> Iterator[Moment]:
        """Everything in order of time; at one time in the order of the file."""
        return merge(*(self._entry(index, entry) for index, entry in enumerate(self._entries)))

    def uid(self, field: str, pod: Any) -> str:
        """The uid of `namespace/name`."""
        if pod not in self._uids:
            raise refuse(field, pod, f"is none of the pods {', '.join(self._uids)}")
        return self._uids[pod]

    def _entry(self, index: int, entry: Obj) -> Iterator[Moment]:
        where = f"timeline[{index}]"
        known(where, entry, TIMES | SAID | frozenset(self._makers))
        said = {name: entry[name] for name in SAID if name in entry}
        for at in self._times(where, entry):
            self._count += 1
            if self._count > MOST_EVENTS:
                raise refuse(where, entry.get("every"), f"the timeline has over {MOST_EVENTS} moments")
            events = tuple(
                event
                for name, make in self._makers.items()
                if name in entry
                for event in make(f"{where}.{name}", at, entry[name])
            )
            yield Moment(at, index, events, said)

    def _times(self, where: str, entry: Obj) -> range:
        if "at" in entry:
            at = duration(f"{where}.at", entry["at"])
            return range(at, at + 1)
        if "to" not in entry:
            raise refuse(where, sorted(entry), "needs at, or from and to")
        begin, end = duration(f"{where}.from", entry.get("from", 0)), duration(f"{where}.to", entry["to"])
        every = duration(f"{where}.every", entry.get("every", "1s"))
        if every == 0 or end < begin:
            raise refuse(where, entry.get("every"), "every must be more than 0, and to not before from")
        return range(begin, end + 1, every)

    def _memory(self, where: str, at: int, value: Any) -> Iterator[Event]:
        """Device → `namespace/name[/container]` → bytes: one process each; `agent` is the agent's own probe."""
        for gpu, found in mapping(where, value).items():
            if isinstance(found, str):
                yield Processes(at, gpu, one_of(f"{where}.{gpu}", found, Missing))
                continue
            rows = []
            for name, used in mapping(f"{where}.{gpu}", found).items():
                pid = self._pids.setdefault(name, 1_000 + len(self._pids))
                if name != "unknown":
                    yield self._owned(where, at, pid, 1, name)
                rows.append(Process(pid, 1, amount(f"{where}.{gpu}.{name}", used)))
            yield Processes(at, gpu, tuple(rows))

    def _owned(self, where: str, at: int, pid: int, start: int, name: str) -> Owned:
        if name == _AGENT:
            return Owned(at, pid, start, None)
        namespace, _, rest = name.partition("/")
        pod, _, container = rest.partition("/")
        return Owned(at, pid, start, self.uid(where, f"{namespace}/{pod}"), container or "main")

    def _processes(self, where: str, at: int, value: Any) -> Iterator[Event]:
        for gpu, rows in mapping(where, value).items():
            if isinstance(rows, str):
                yield Processes(at, gpu, one_of(where, rows, Missing))
                continue
            found = [self._process(where, mapping(where, row)) for row in listing(where, rows)]
            yield Processes(at, gpu, tuple(found))

    @staticmethod
    def _process(where: str, row: Mapping[str, Any]) -> Process:
        return Process(integer(where, row.get("pid")), integer(where, row.get("start")), amount(where, row.get("used")))

    def _owners(self, where: str, at: int, value: Any) -> Iterator[Event]:
        for item in listing(where, value):
            row = mapping(where, item)
            name = text(where, row.get("pod"))
            yield self._owned(where, at, integer(where, row.get("pid")), integer(where, row.get("start")), name)

    def _device_memory(self, where: str, at: int, value: Any) -> Iterator[Event]:
        for gpu, used in mapping(where, value).items():
            yield DeviceMemory(at, gpu, amount(f"{where}.{gpu}", used))

    def _utilization(self, where: str, at: int, value: Any) -> Iterator[Event]:
        for gpu, used in mapping(where, value).items():
            yield Utilization(at, gpu, share(f"{where}.{gpu}", used))

    def _health(self, where: str, at: int, value: Any) -> Iterator[Event]:
        for gpu, found in mapping(where, value).items():
            numbers = mapping(f"{where}.{gpu}", found)
            known(f"{where}.{gpu}", numbers, frozenset(_HEALTH))
            yield Health(
                at, gpu, **{_HEALTH[name]: reading(f"{where}.{gpu}.{name}", numbers[name]) for name in numbers}
            )

    def _xid(self, where: str, at: int, value: Any) -> Iterator[Event]:
        for gpu, codes in mapping(where, value).items():
            for code in listing(where, codes):
                yield Xid(at, gpu, integer(f"{where}.{gpu}", code))

    def _limits(self, where: str, at: int, value: Any) -> Iterator[Event]:
        for gpu, found in mapping(where, value).items():
            numbers = mapping(f"{where}.{gpu}", found)
            known(f"{where}.{gpu}", numbers, frozenset({"watts", "clock", "defaultWatts"}))
            watts, clock, usual = (
                reading(f"{where}.{gpu}.{name}", numbers.get(name, str(Missing.UNSUPPORTED)))
                for name in ("watts", "clock", "defaultWatts")
            )
            yield Limits(at, gpu, watts, clock, usual)

    def _report(self, where: str, at: int, value: Any) -> Iterator[Event]:
        for pod, found in mapping(where, value).items():
            uid, numbers = self.uid(where, pod), mapping(f"{where}.{pod}", found)
            known(f"{where}.{pod}", numbers, frozenset({*_REPORTS, "up", "objective"}))
            for name, number in numbers.items():
                field = f"{where}.{pod}.{name}"
                if name == "up":
                    yield Report(at, uid, Metric.UP, reading(field, {True: 10_000, False: 0}.get(number, number)))
                elif name == "objective":
                    for metric, best in mapping(field, number).items():
                        yield Report(at, uid, Metric.OBJECTIVE, reading(field, best), metric)
                elif name == "hostMemory":
                    yield Report(at, uid, Metric.HOST_MEMORY, amount(field, number))
                else:
                    yield Report(at, uid, _REPORTS[name], reading(field, number))

    def _latency(self, where: str, at: int, value: Any) -> Iterator[Event]:
        for pod, found in mapping(where, value).items():
            counts: dict[int, int] = {}
            for latency, count in mapping(f"{where}.{pod}", found).items():
                bucket = bucket_of(duration(f"{where}.{pod}", latency))
                counts[bucket] = counts.get(bucket, 0) + integer(f"{where}.{pod}.{latency}", count)
            yield Latencies(at, self.uid(where, pod), counts)

    def _run(self, where: str, at: int, value: Any) -> Iterator[Event]:
        for pod, found in mapping(where, value).items():
            run = mapping(f"{where}.{pod}", found)
            yield Run(at, self.uid(where, pod), text(where, run.get("inputs")), text(where, run.get("result")))

    def _gone(self, where: str, at: int, value: Any) -> Iterator[Event]:
        for pod in listing(where, value):
            yield Gone(at, self.uid(where, pod))

    def _online(self, where: str, at: int, value: Any) -> Iterator[Event]:
        if not isinstance(value, bool):
            raise refuse(where, value, "must be true or false")
        yield Online(at, value)

    def _stop(self, where: str, at: int, value: Any) -> Iterator[Event]:
        order = mapping(where, value)
        known(where, order, frozenset({"scope", "policy", "on"}))
        on = order.get("on", True) is True
        yield Stop(at, one_of(f"{where}.scope", order.get("scope"), StopScope), on, str(order.get("policy") or ""))

    def _unlatch(self, where: str, at: int, value: Any) -> Iterator[Event]:
        for owner in listing(where, value):
            yield Unlatch(at, text(where, owner))
