"""What the probes say, as one small state that the event loop writes and the probe thread reads."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

_NEVER = float("-inf")


@dataclass(slots=True)
class Health:
    """Plain attributes, each written by the loop alone; reading them from another thread needs no lock.

    Ages are in seconds. `starting_seconds` is how long a process may take until its planner beats.
    """

    leader: bool = False
    database: bool = False
    listed: bool = False
    stopping: bool = False
    planner_beat: Callable[[], float] = lambda: _NEVER
    election_beat: Callable[[], float] = lambda: _NEVER
    watch_beat: float = _NEVER
    beat_seconds: float = 30.0
    watch_seconds: float = 60.0
    started: float = field(default_factory=time.monotonic)
    clock: Callable[[], float] = time.monotonic

    def problems(self) -> list[str]:
        """Why the process should be restarted; empty while it lives."""
        now, problems = self.clock(), list[str]()
        if now - self.started < self.beat_seconds:
            return problems
        if not self.leader:
            return (
                problems
                if now - self.election_beat() < self.watch_seconds
                else ["election: no answer from the API server"]
            )
        if now - self.planner_beat() > self.beat_seconds:
            problems.append(f"planner: no heartbeat for {self.beat_seconds:g} s")
        if now - self.watch_beat > self.watch_seconds:
            problems.append(f"watch: no renewal of our own Lease seen for {self.watch_seconds:g} s")
        return problems

    def missing(self) -> list[str]:
        """What is missing until it is ready; a standby is ready without having listed anything."""
        missing = ["stopping"] if self.stopping else []
        if not self.database:
            missing.append("database")
        if self.leader and not self.listed:
            missing.append("not every kind was listed")
        if not self.leader and self.clock() - self.election_beat() > self.watch_seconds:
            missing.append("API server")
        return missing
