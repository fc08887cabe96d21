"""Random days on a GPU node: load, faults, answers and refusals, with what must hold checked at every decision."""

import random
from dataclasses import dataclass, field

from quorate.api.mission_policy import LadderAction, PolicyMode
from quorate.missions.decisions import Decision, Effect, Step
from quorate.missions.engine import Engine
from quorate.missions.ladder import HARD, REMOVES
from quorate.missions.policies import Policy, compile_policy
from quorate.missions.samples import (
    Acknowledged,
    Answer,
    Ended,
    Event,
    Gone,
    Missing,
    Online,
    Outcome,
    Owned,
    Pod,
    Process,
    Processes,
    Running,
    Utilization,
)
from quorate.missions.series import SECOND

GIB = 2**30
DAY = 86_400 * SECOND
LIMIT, COOL_DOWN, STALE = 20 * GIB, 120 * SECOND, 3 * SECOND
GPUS = ("GPU-0", "GPU-1", "GPU-2", "GPU-3")
MODES = {"GPU-0": "Enforce", "GPU-1": "Enforce", "GPU-2": "Warn", "GPU-3": "Audit"}
AFTER = (0, 4, 20, 40, 100)
TAKES = frozenset({LadderAction.FREE_MEMORY, LadderAction.CHECKPOINT_AND_ABORT})


def policies() -> list[Policy]:
    """One for each mode: memory, idle and a ladder to the end, without an hour's worth of latches to wait for."""
    ladder = [
        {"action": "Warn", "afterSeconds": AFTER[0]},
        {"action": "FreeMemory", "afterSeconds": AFTER[1], "acknowledgeSeconds": 10},
        {"action": "CheckpointAndAbort", "afterSeconds": AFTER[2], "acknowledgeSeconds": 10},
        {"action": "Evict", "afterSeconds": AFTER[3]},
        {"action": "Terminate", "afterSeconds": AFTER[4]},
    ]
    return [
        compile_policy(
            mode.lower(),
            {
                "mode": mode,
                "podSelector": {"matchLabels": {"mode": mode}},
                "memory": {"limit": "20Gi", "warnBasisPoints": 8000, "cleanupBasisPoints": 9000},
                "idle": {"windowSeconds": 60, "graceSeconds": 20},
                "cooldownSeconds": COOL_DOWN // SECOND,
                "budget": {"maxNodeEvictionsPerHour": 20, "maxConcurrentEvictions": 2, "offlineTerminate": True},
                "ladder": ladder,
            },
        )
        for mode in ("Enforce", "Warn", "Audit")
    ]


@dataclass
class Truth:
    """What the world knows of a pod: the last reading of its memory and when, and what it was told."""

    pod: Pod
    used: int | Missing = Missing.UNSUPPORTED
    at: int = -DAY
    granted: bool = False
    refused_at: int | None = None
    refused_id: str = ""
    taken: dict[str, int] = field(default_factory=dict)
    busy: list[tuple[int, int | Missing]] = field(default_factory=list)
    broken: int = 0
    began: tuple[int, int] = (0, 0)

    def known(self, now: int) -> int:
        """For how long fresh samples have shown until now that the memory rule was broken."""
        bad = isinstance(self.used, int) and self.used >= LIMIT * 8 // 10
        return self.broken + (min(now, self.at + STALE) - self.at if bad else 0)


class Day:
    """Twenty-four hours of virtual time; `run` raises AssertionError where a property is broken."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.engine = Engine(policies())
        self.now = 0
        self.online = True
        self.pods: dict[str, Truth] = {}
        self.waiting: list[tuple[int, Event]] = []
        self.made = 0
        self.acts = 0
        self._number = 0

    def run(self) -> None:
        """Episodes of minutes with hours between them, until the day is over."""
        for gpu in GPUS:
            self.step([self.start(gpu)])
        while self.now < DAY:
            self.episode()
            self.now += self.chance.randrange(60, 4_000) * SECOND
            self.flush()

    def start(self, gpu: str) -> Event:
        """A new pod on a device, of the same owner as the one before."""
        self._number += 1
        uid, mode = f"u{self._number}", MODES[gpu]
        pod = Pod(uid, "team", uid, f"team/{gpu}", {"mode": mode}, {}, (gpu,), self.now, TAKES)
        self.pods[gpu] = Truth(pod)
        return Running(self.now, pod)

    def episode(self) -> None:
        """Some minutes of samples each two seconds, with faults."""
        levels: dict[str, int | Missing] = {gpu: self.level() for gpu in GPUS}
        loads: dict[str, int | Missing] = {gpu: self.chance.choice((0, 5_000)) for gpu in GPUS}
        for _ in range(self.chance.randrange(20, 120)):
            self.now += 2 * SECOND
            self.flush()
            for gpu in GPUS:
                if self.chance.random() < 0.1:
                    levels[gpu] = self.level()
                if self.chance.random() < 0.03:
                    loads[gpu] = self.chance.choice((0, 5_000, Missing.UNSUPPORTED, Missing.LOST))
            self.step([*self.faults(), *(event for gpu in GPUS for event in self.sample(gpu, levels[gpu], loads[gpu]))])

    def level(self) -> int | Missing:
        """Bytes that a pod uses, or why they are not known."""
        if self.chance.random() < 0.15:
            return self.chance.choice(list(Missing))
        return self.chance.choice((1, 10, 17, 19, 25, 25, 25)) * GIB

    def sample(self, gpu: str, used: int | Missing, load: int | Missing) -> list[Event]:
        """A process list and a utilisation, or a missed round."""
        if self.chance.random() < 0.05:
            return []
        truth, pid = self.pods[gpu], int(self.pods[gpu].pod.uid[1:])
        truth.broken = truth.known(self.now)
        truth.used, truth.at = used, self.now
        truth.busy.append((self.now, load))
        del truth.busy[:-100]
        rows = (Process(pid, 1, used),) if self.chance.random() < 0.9 else used if isinstance(used, Missing) else None
        listed = Processes(self.now, gpu, rows if rows is not None else (Process(pid, 1, used),))
        return [Owned(self.now, pid, 1, truth.pod.uid, "main"), listed, Utilization(self.now, gpu, load)]

    def faults(self) -> list[Event]:
        """The network goes and comes, pods restart and are replaced."""
        found: list[Event] = []
        if self.chance.random() < 0.02:
            self.online = not self.online
            found.append(Online(self.now, self.online))
        if self.chance.random() < 0.01:
            gpu = self.chance.choice(GPUS)
            found += [Gone(self.now, self.pods[gpu].pod.uid), self.start(gpu)]
        return found

    def flush(self) -> None:
        """What is due before now: answers, and what the engine wants to be woken for."""
        while True:
            times = [at for at, _ in self.waiting] + ([self.engine.due] if self.engine.due is not None else [])
            due = min(times, default=self.now + 1)
            if due > self.now:
                return
            end, self.now = self.now, max(due, self.engine.now)
            ready = [event for at, event in self.waiting if at <= self.now]
            self.waiting = [(at, event) for at, event in self.waiting if at > self.now]
            self.step(ready)
            self.now = max(end, self.now)

    def step(self, events: list[Event]) -> None:
        """One step, every decision checked."""
        for event in events:
            if isinstance(event, Ended):
                self.told(event)
        for made in self.engine.step(self.now, events):
            self.made += 1
            self.check(made)

    def told(self, event: Ended) -> None:
        """Remember refusals and grants."""
        for truth in self.pods.values():
            if event.decision.startswith(truth.pod.uid + "/"):
                if event.outcome is Outcome.DONE:
                    truth.granted, truth.refused_at = True, None
                elif event.outcome is Outcome.REFUSED:
                    truth.refused_at, truth.refused_id = self.now, event.decision

    def check(self, made: Decision) -> None:
        """What must hold of a decision; then the world answers it."""
        if made.mode is not PolicyMode.ENFORCE:
            assert made.effect is not Effect.ACT, made
        truth = next(truth for truth in self.pods.values() if truth.pod.uid == made.uid)
        self.check_time(made, truth)
        if made.effect is not Effect.ACT:
            return
        self.acts += 1
        if made.rule == "memory":
            assert isinstance(truth.used, int), f"acted on unknown: {made}"
            enough = truth.used > LIMIT if made.action in HARD else truth.used >= LIMIT * 9 // 10
            assert enough, f"acted on a good reading of {truth.used}: {made}"
            assert self.now - truth.at <= STALE, f"acted on a stale reading: {made}"
        else:
            window = [load for at, load in truth.busy if self.now - 60 * SECOND <= at]
            assert not any(isinstance(load, int) and load > 0 for load in window), f"reclaimed a busy pod: {made}"
            assert sum(load == 0 for load in window) >= 20, f"reclaimed on unknown: {made}"
        self.check_order(made, truth)
        self.answer(made)

    def check_order(self, made: Decision, truth: Truth) -> None:
        """Cool-down, refusals, and the budgets that a termination must not circumvent."""
        if made.step is Step.STARTED:
            last = truth.taken.get(made.action)
            assert last is None or self.now - last >= COOL_DOWN, f"twice within the cool-down: {made}"
            if made.action == LadderAction.TERMINATE:
                assert truth.granted or not self.online, f"terminated while budgets are respected: {made}"
        elif made.step is Step.RETRIED and truth.refused_at is not None and truth.refused_id == made.id:
            assert self.now - truth.refused_at >= 30 * SECOND, f"asked again at once: {made}"
        truth.taken[made.action] = self.now

    def check_time(self, made: Decision, truth: Truth) -> None:
        """A rung begins only after it was known to be broken for long enough: unknown time does not count."""
        if made.rule == "memory":
            began = int(made.id.split("/")[-2])
            if truth.began[0] != began:
                truth.began = began, truth.known(self.now)
            known = truth.known(self.now) - truth.began[1]
            if made.step is Step.STARTED:
                assert known >= AFTER[made.rung] * SECOND, f"known to be broken for {known} us only: {made}"

    def answer(self, made: Decision) -> None:
        """The workload or the operator says something, late or never."""
        at = self.now + self.chance.randrange(1, 20) * SECOND // 2
        if made.action in REMOVES:
            outcome = self.chance.choice(list(Outcome) if self.online else [Outcome.UNAVAILABLE, Outcome.DONE])
            self.waiting += [(at, Ended(at, made.id, outcome))] * self.chance.choice((1, 1, 2))
        elif self.chance.random() < 0.7:
            self.waiting.append((at, Acknowledged(at, made.id, self.chance.choice(list(Answer)))))
