"""One sample round of a GPU node through the agent's decisions: memory, utilisation, latency, host memory."""

import gc
import time
import tracemalloc
from collections.abc import Iterator

from quorate.missions.engine import Engine
from quorate.missions.policies import compile_policy
from quorate.missions.samples import (
    Event,
    Latencies,
    Metric,
    Owned,
    Pod,
    Process,
    Processes,
    Report,
    Running,
    Utilization,
)
from quorate.missions.series import SECOND
from tests.bench.figure import Figure, percentile

GPUS, PROCESSES, POLICIES, ROUNDS, DAY = 8, 8, 20, 600, 86_400
GIB = 2**30


def run() -> Iterator[Figure]:
    """A pod per device, and eight pods on each device; a day of rounds and what it leaves in memory."""
    for pods, budget in ((1, 1.0), (8, 8.0)):
        rounds = [_round(pods, number) for number in range(ROUNDS)]
        engine = _engine(pods)
        gc.collect()
        gc.freeze()
        taken = []
        for number, events in enumerate(rounds):
            begun = time.perf_counter()
            engine.step(number * SECOND, events)
            taken.append(1_000 * (time.perf_counter() - begun))
        gc.unfreeze()
        assert len(engine.watches) >= GPUS * pods * 4
        name = f"one sample round, {GPUS} GPUs × {POLICIES} policies, {pods} pods of {PROCESSES // pods} processes each"
        read = 1_000 * min(_bare(rounds[-1]) for _ in range(50))
        yield Figure(f"{name}, p50", percentile(taken[100:], 50), "ms", "the same samples only looked at", read, budget)
        yield Figure(f"{name}, p99", percentile(taken[100:], 99), "ms", "the same samples only looked at", read, budget)
    yield _growth()


def _growth() -> Figure:
    """KiB that an hour of rounds adds after an hour of rounds."""
    engine = _engine(1)
    tracemalloc.start()
    sizes = []
    for number in range(2 * 3_600):
        engine.step(number * SECOND, _round(1, number))
        if number % 3_600 == 3_599:
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0] / 1024)
    tracemalloc.stop()
    return Figure("memory after two hours of rounds", sizes[1], "KiB", "after one hour", sizes[0], 1.02, of_ratio=True)


def _bare(events: list[Event]) -> float:
    begun = time.perf_counter()
    for event in events:
        if isinstance(event, Processes) and isinstance(event.rows, tuple):
            sum(row.used for row in event.rows if isinstance(row.used, int))
    return time.perf_counter() - begun


def _engine(pods: int) -> Engine:
    modes = ("Enforce", "Warn", "Audit")
    policies = [
        compile_policy(
            f"policy-{index}",
            {
                "mode": modes[index % 3],
                "podSelector": {"matchLabels": {"app": "train"}},
                "memory": {"limit": f"{20 + index}Gi", "warnBasisPoints": 9_000},
                "hostMemory": {"limit": f"{64 + index}Gi"},
                "utilization": {"minBasisPoints": 1_000 + index, "windowSeconds": 60},
                "latency": {"targetMicroseconds": 9_000 + index, "quantile": 9_900, "windowSeconds": 60},
                "idle": {"windowSeconds": 600, "maxBasisPoints": 100},
                "ladder": [{"action": "Warn", "afterSeconds": 0}, {"action": "Evict", "afterSeconds": 60}],
            },
        )
        for index in range(POLICIES)
    ]
    engine = Engine(policies)
    events: list[Event] = []
    for gpu in range(GPUS):
        for pod in range(pods):
            uid, name = f"u{gpu}-{pod}", f"p{gpu}-{pod}"
            found = Pod(uid, "team", name, f"team/{name}", {"app": "train"}, {}, (f"GPU-{gpu}",), 0)
            events.append(Running(0, found))
            share = PROCESSES // pods
            events += [Owned(0, 100 * gpu + pod * share + row, 1, uid, "main") for row in range(share)]
    engine.step(0, events)
    return engine


def _round(pods: int, number: int) -> list[Event]:
    at = number * SECOND
    events: list[Event] = []
    for gpu in range(GPUS):
        rows = tuple(Process(100 * gpu + row, 1, GIB + number) for row in range(PROCESSES))
        events += [Processes(at, f"GPU-{gpu}", rows), Utilization(at, f"GPU-{gpu}", 7_000 + number % 100)]
        for pod in range(pods):
            events.append(Report(at, f"u{gpu}-{pod}", Metric.HOST_MEMORY, GIB))
            events.append(Latencies(at, f"u{gpu}-{pod}", {100 + bucket: 10 for bucket in range(12)}))
    return events
