"""What the loop has said and the agent does not have yet: bounded, merged in place, never waited for.

The loop's threads write, the speaker takes. A histogram is written under a lock that the loop only tries: where it is
taken, by another thread or by what a signal handler interrupts, the value waits in a deque until somebody has it. All
else is one step of a dict, deque or counter. Forking is safe: a child starts with a ledger of its own (`Mission`).
"""

from __future__ import annotations

import time
from collections import deque
from itertools import count
from threading import Lock
from typing import Any

from quorate_mission._wire import MOST_COUNT, MOST_OBJECTIVES, MOST_SOURCES, MOST_SPAN, NAME

BUCKETS = 464
MOST_MICROSECONDS = 2**32 - 1
MOST_LATE = 16_384
"""Values that wait for the lock; as many come while a thread that has it is not scheduled."""
STEP = 16
"""Values that wait and are merged by a call that has the lock."""
MOST_RUNS = 64


def bucket_of(microseconds: int) -> int:
    """The bucket of a latency: sixteen to each power of two, exact up to 31 µs."""
    value = min(microseconds, MOST_MICROSECONDS)
    shift = max(0, value.bit_length() - 5)
    return (shift << 4) + (value >> shift)


class Ledger:
    """The numbers of one process."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: dict[str, list[int]] = {"": [0] * BUCKETS}
        self._late: deque[tuple[str, int]] = deque()
        self._losses = count()
        self._seen = 0
        self._gauges: dict[str, int] = {}
        self._objective: dict[str, int] = {}
        self.runs: deque[dict[str, Any]] = deque(maxlen=MOST_RUNS)
        self._since = time.monotonic_ns()

    def latency(self, microseconds: int, source: str) -> None:
        """Count one request."""
        value = min(microseconds, MOST_MICROSECONDS)
        shift = value.bit_length() - 5
        bucket = (shift << 4) + (value >> shift) if shift > 0 else value
        if bucket < 0:
            self.lose()
        elif self._lock.acquire(False):  # by position: half the time of a keyword
            try:
                self._counts[source][bucket] += 1
                if self._late:
                    self._merge(STEP)
            except KeyError:
                self._count(source, bucket)
            finally:
                self._lock.release()
        elif len(self._late) < MOST_LATE:
            self._late.append((source, bucket))
        else:
            self.lose()

    def _count(self, source: str, bucket: int) -> None:
        """With the lock."""
        try:
            self._counts[source][bucket] += 1
        except KeyError:
            if len(self._counts) < MOST_SOURCES and NAME.fullmatch(source):
                self._counts[source] = [0] * BUCKETS
                self._counts[source][bucket] = 1
            else:
                self.lose()

    def _merge(self, most: int) -> None:
        """With the lock: count what waited for it."""
        for _ in range(min(most, len(self._late))):
            self._count(*self._late.popleft())

    def gauge(self, name: str, value: int) -> None:
        """Set a gauge; the last value counts."""
        self._gauges[name] = value

    def objective(self, name: str, value: int) -> None:
        """Set an objective; the last value counts."""
        if name in self._objective or (len(self._objective) < MOST_OBJECTIVES and NAME.fullmatch(name)):
            self._objective[name] = value
        else:
            self.lose()

    def lose(self) -> None:
        """A call that says nothing that could be reported."""
        next(self._losses)

    def take(self) -> dict[str, Any]:
        """The speaker: what happened since the last time, as the members of a report; empty where nothing did."""
        now = time.monotonic_ns()
        span, self._since = (now - self._since) // 1000, now
        latency = self._latency()
        if span > MOST_SPAN:  # what was measured so long ago says nothing about now
            latency = {}
        found: dict[str, Any] = {"latency": latency, "gauges": _emptied(self._gauges),
                                 "objective": _emptied(self._objective), "lost": self._lost()}  # fmt: skip
        members = {name: value for name, value in found.items() if value}
        return {"span": min(span, MOST_SPAN), **members}

    def _lost(self) -> int:
        seen, before = next(self._losses), self._seen  # looking counts too
        self._seen = seen + 1
        return seen - before

    def _latency(self) -> dict[str, list[list[int]]]:
        with self._lock:  # the loop never waits for it
            self._merge(MOST_LATE)
            fresh = {source: [0] * BUCKETS for source in self._counts}
            counts, self._counts = self._counts, fresh
        pairs = {
            source: [[bucket, min(count, MOST_COUNT)] for bucket, count in enumerate(row) if count]
            for source, row in counts.items()
        }
        return {source: row for source, row in pairs.items() if row}


def _emptied(values: dict[str, int]) -> dict[str, int]:
    """Take every value out; one that is set meanwhile stays for the next time."""
    return {name: values.pop(name) for name in list(values)}
