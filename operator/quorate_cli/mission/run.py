"""Plays a scenario in virtual time and compares: every sample, deadline and response at its own time."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from typing import Any

from quorate.api.mission_policy import LadderAction
from quorate.missions.decisions import Decision, Effect, Step
from quorate.missions.engine import Engine
from quorate.missions.ladder import REMOVES
from quorate.missions.samples import Acknowledged, Answer, Device, Ended, Event, Outcome, Running
from quorate.missions.selection import Finding, findings
from quorate_cli.mission.compare import Difference, compare, compare_findings, compare_refused
from quorate_cli.mission.scenario import Scenario, read_scenarios
from quorate_cli.mission.timeline import Moment, Timeline
from quorate_cli.mission.values import duration, listing, mapping, one_of, refuse

RESPONDS = 1_000_000
"""Microseconds after which the world answers."""


@dataclass(frozen=True)
class Result:
    """What a test gave; `differences` are empty where it passed."""

    file: str
    name: str
    decisions: list[Decision]
    findings: list[Finding]
    differences: list[Difference]
    freed: dict[str, int]

    @property
    def passed(self) -> bool:
        """Whether everything is as expected."""
        return all(difference.kind == " " for difference in self.differences)


def run_file(path: str) -> Iterator[Result]:
    """Play every test of a file or folder; BadInputError where one cannot be read."""
    for file, scenario in read_scenarios(path):
        yield run(file, scenario)


def run(file: str, scenario: Scenario) -> Result:
    """Play one test."""
    player = Player(scenario)
    decisions = [made for made in player.play() if made.step not in scenario.ignore]
    found = findings(scenario.policies)
    differences = [
        *compare_refused(scenario.expect_refused, scenario.refused),
        *compare_findings(scenario.expect_findings, found),
        *compare(scenario.expect, decisions),
    ]
    freed = player.engine.freed.by_policy(player.engine.now)
    return Result(file, scenario.name, decisions, found, differences, freed)


class Player:
    """An engine, its virtual clock, and a world that responds."""

    def __init__(self, scenario: Scenario) -> None:
        self.engine = Engine(scenario.policies, scenario.labels)
        self._scenario = scenario
        self._timeline = Timeline(scenario)
        self._pods = {item.pod.uid: item.pod for item in scenario.pods}
        self._last: dict[str, Decision] = {}
        self._later: list[tuple[int, int, Event]] = []
        self._queued = 0
        self._decisions: list[Decision] = []

    def play(self) -> list[Decision]:
        """Every decision, from the first moment to the last and to `ends`."""
        self._begin()
        batch: list[Event] = []
        now = 0
        for moment in self._timeline.moments():
            if moment.at > now:
                self._step(now, batch)
                batch = []
                self._until(moment.at)
                now = moment.at
            batch += moment.events
            self._say(moment, batch)
        self._step(now, batch)
        end = max(self._scenario.ends, now)
        self._until(end)
        self._step(end, [])
        return self._decisions

    def _begin(self) -> None:
        for gpu, total in self._scenario.devices.items():
            self._queue(0, Device(0, gpu, total))
        for item in self._scenario.pods:
            self._queue(item.starts, Running(item.starts, item.pod))

    def _queue(self, at: int, event: Event) -> None:
        self._queued += 1
        heappush(self._later, (at, self._queued, event))

    def _until(self, end: int) -> None:
        """Everything that is due before `end`: responses, and what the engine asked to be woken for."""
        while True:
            due = self.engine.due
            later = self._later[0][0] if self._later else None
            times = [time for time in (due, later) if time is not None and time < end]
            if not times:
                return
            self._step(max(min(times), self.engine.now), [])

    def _step(self, now: int, events: list[Event]) -> None:
        ready: list[Event] = []
        while self._later and self._later[0][0] <= now:
            ready.append(heappop(self._later)[2])
        for made in self.engine.step(now, [*ready, *events]):
            self._decisions.append(made)
            if made.effect is Effect.ACT and made.step in (Step.STARTED, Step.RETRIED) and made.uid:
                self._last[made.uid] = made
                self._respond(made, now)

    def _respond(self, made: Decision, now: int) -> None:
        said = self._scenario.responses.get(LadderAction(made.action))
        at = now + RESPONDS
        if isinstance(said, Outcome):
            self._queue(at, Ended(at, made.id, said))
        elif isinstance(said, Answer):
            self._queue(at, Acknowledged(at, made.id, said))

    def _say(self, moment: Moment, batch: list[Event]) -> None:
        """What the timeline says about the last action on a pod, restarts, and a clock that goes back."""
        at = moment.at
        for name, value in moment.said.items():
            where = f"timeline[{moment.order}].{name}"
            if name == "clockBack":
                self._step(at, batch)
                batch.clear()
                self._decisions += self.engine.step(max(0, at - duration(where, value)))
            elif name == "start":
                batch += [self._restart(where, at, pod) for pod in listing(where, value)]
            else:
                batch += [self._said(where, at, pod, said) for pod, said in mapping(where, value).items()]

    def _restart(self, where: str, at: int, pod: Any) -> Event:
        uid = self._timeline.uid(where, pod)
        self._pods[uid] = replace(self._pods[uid], started=at)
        return Running(at, self._pods[uid])

    def _said(self, where: str, at: int, pod: str, said: Any) -> Event:
        last = self._last.get(self._timeline.uid(where, pod))
        if last is None:
            raise refuse(where, pod, f"nothing was begun on it before {at // 1_000_000} s")
        if LadderAction(last.action) in REMOVES:
            return Ended(at, last.id, one_of(where, said, Outcome))
        return Acknowledged(at, last.id, one_of(where, said, Answer))
