"""What a workload holds: calls that touch memory only (docs/workload-sdk.md)."""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import math
import os
import time
import weakref
from collections.abc import Iterator
from threading import Lock
from types import TracebackType
from typing import Callable

from quorate_mission._directives import ACTIONS, Book, Cannot, Directive
from quorate_mission._ledger import Ledger
from quorate_mission._link import Wake
from quorate_mission._speaker import Speaker
from quorate_mission._wire import MOST_FACTS, MOST_INTEGER, NAME, clean

DEFAULT_PATH = "/run/quorate/mission.sock"
FAREWELL = 1.0
"""Seconds that the end of the process waits for the last report, where an agent listens."""
Handler = Callable[[Directive], object]
_alive: weakref.WeakSet[Mission] = weakref.WeakSet()


def connect(path: str | None = None) -> Mission:
    """A mission that speaks with the agent at `path` (absent: `QUORATE_MISSION_SOCKET`, else the usual place).

    Never fails and never waits: where there is no agent the mission does nothing, until there is one.
    """
    return Mission(path or os.environ.get("QUORATE_MISSION_SOCKET") or DEFAULT_PATH)


class _Timed:
    """Measures a block."""

    __slots__ = ("_begun", "_mission", "_source")

    def __init__(self, mission: Mission, source: str) -> None:
        self._mission, self._source, self._begun = mission, source, 0.0

    def __enter__(self) -> None:
        self._begun = time.perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._mission.latency(time.perf_counter() - self._begun, self._source)


class Mission:
    """Reports of one process, and what the agent asks of it. All methods may be called from any thread.

    A value that is no number, or out of range, is counted as lost and reported as such; nothing is raised. A forked
    child begins anew, with a session and a thread of its own from its first call on.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._handlers: dict[str, Handler | None] = {}
        self._starting = Lock()
        self._begin()
        _alive.add(self)
        self._start()

    def _begin(self) -> None:
        """The state of a process."""
        self.aborting = False
        """A CheckpointAndAbort was done: the loop should end."""
        self._ledger = Ledger()
        self._wake = Wake()
        self._book = Book(self._wake)
        self._facts: dict[str, str] = {}
        self._speaker: Speaker | None = None
        self._asleep = True

    def _start(self) -> None:
        with self._starting:
            if self._asleep:
                self._asleep = False
                if self._wake.read < 0:
                    return
                self._speaker = Speaker(self._path, self._ledger, self._book, self._wake, self._taken)
                with contextlib.suppress(RuntimeError):  # no thread to be had: a mission without an agent
                    self._speaker.start()

    def _taken(self) -> list[str]:
        return sorted(self._handlers.copy())

    def _forked(self) -> None:
        """In the child: nothing of the parent's is used again, no lock of its is taken."""
        speaker, self._starting = self._speaker, Lock()
        self._wake.close()
        if speaker is not None:
            speaker.abandon()
        self._begin()

    @property
    def connected(self) -> bool:
        """Whether an agent listens now."""
        return self._speaker is not None and self._speaker.connected

    def latency(self, seconds: float, source: str = "") -> None:
        """A request took so long; `source` as the latency rule of the policy names it."""
        if self._asleep:
            self._start()
        try:
            self._ledger.latency(int(seconds * 1e6 + 0.5), source)
        except Exception:  # noqa: BLE001 - whatever was passed, the loop goes on
            self._ledger.lose()

    def timed(self, source: str = "") -> _Timed:
        """A context manager that reports how long its block took."""
        return _Timed(self, source)

    def iteration(self, done: int) -> None:
        """So many iterations are done."""
        self._gauge("Iteration", done, 1, int)

    def objective(self, name: str, value: float) -> None:
        """The value of the metric that a convergence rule names, now."""
        if self._asleep:
            self._start()
        try:
            millionths = round(float(value) * 1e6)
            if -MOST_INTEGER <= millionths <= MOST_INTEGER:
                self._ledger.objective(name, millionths)
                return
        except Exception:  # noqa: BLE001, S110 - whatever was passed, the loop goes on
            pass
        self._ledger.lose()

    def entropy(self, bits: float) -> None:
        """Entropy in bits per symbol."""
        self._gauge("Entropy", bits, 1e3, round)

    def privacy(self, epsilon: float, delta: float | None = None) -> None:
        """Privacy spent since the start; rounded up, so that never less is reported than was spent."""
        self._gauge("Epsilon", epsilon, 1e6, _up)
        if delta is not None:
            self._gauge("Delta", delta, 1e12, _up)

    def up(self, serving: bool = True) -> None:
        """Whether requests are served; say it again each second or so while it is true."""
        self._gauge("Up", 10_000 if serving else 0, 1, int)

    def facts(self, **facts: object) -> None:
        """What the run is made from, for reproducibility: seed, versions, data."""
        for name, value in facts.items():
            if NAME.fullmatch(name) and (name in self._facts or len(self._facts) < MOST_FACTS):
                self._facts[name] = clean(value)
            else:
                self._ledger.lose()

    def result(self, result: bytes | str) -> None:
        """The run ended with this result (hashed here); runs of equal facts must have equal results."""
        if self._asleep:
            self._start()
        data = result.encode("utf-8", "replace") if isinstance(result, str) else result
        try:
            digest = hashlib.sha256(data).hexdigest()
        except TypeError:
            self._ledger.lose()
            return
        self._ledger.runs.append({"facts": dict(self._facts), "result": digest})
        self._wake()

    def on(self, action: str, handler: Handler) -> None:
        """The workload can do `action`, by calling `handler` from `obey`.

        Raises:
            ValueError: there is no such directive. The only error of a mission: a mistake in the program's text.
        """
        self.takes(action)
        self._handlers[action] = handler

    def takes(self, *actions: str) -> None:
        """The workload can do these, and looks for them in `directives()` itself.

        Raises:
            ValueError: there is no such directive.
        """
        for action in actions:
            if action not in ACTIONS:
                raise ValueError(f"{action!r} is no directive: one of {', '.join(ACTIONS)}")
            self._handlers.setdefault(action, None)
        self._wake()

    def directives(self) -> Iterator[Directive]:
        """What was asked and is not begun; each comes once, and not after its time. Answer each."""
        inbox = self._book.inbox
        while inbox:
            try:
                directive = inbox.popleft()
            except IndexError:  # another thread was quicker
                return
            if directive.remaining:
                yield directive

    def obey(self) -> None:
        """Call the handlers of what was asked, here and now; costs nothing where nothing was asked.

        What a handler raises is the answer: `Cannot` is Refused, any other exception Failed; else it is Done, and what
        it returns is the reason.
        """
        if self._asleep:
            self._start()
        if self._book.inbox:
            for directive in self.directives():
                self._carry_out(directive)

    def _carry_out(self, directive: Directive) -> None:
        handler = self._handlers.get(directive.action)
        if handler is None:
            directive.cannot("no handler")
            return
        try:
            said = handler(directive)
        except Cannot as reason:
            directive.cannot(reason)
        except Exception as error:  # noqa: BLE001 - a handler's failure is an answer, the loop goes on
            directive.failed(f"{type(error).__name__}: {error}")
        else:
            self.aborting |= directive.action == "CheckpointAndAbort"
            directive.done("" if said is None else said)

    def close(self, seconds: float = FAREWELL) -> None:
        """Send the last report; waits so long at most. Called at exit too."""
        speaker = self._speaker
        if speaker is not None and speaker.is_alive():
            speaker.close(seconds)

    def _gauge(self, name: str, value: float, scale: float, whole: Callable[[float], int]) -> None:
        if self._asleep:
            self._start()
        try:
            units = whole(float(value) * scale) if scale != 1 else whole(value)
            if 0 <= units <= MOST_INTEGER:
                self._ledger.gauge(name, units)
                return
        except Exception:  # noqa: BLE001, S110 - whatever was passed, the loop goes on
            pass
        self._ledger.lose()


def _up(value: float) -> int:
    """The next integer; what floating point adds in the last digits is no spending."""
    return math.ceil(round(value, 3))


def _after_fork() -> None:
    for mission in list(_alive):
        mission._forked()  # noqa: SLF001 - this module's own


def _at_exit() -> None:
    for mission in list(_alive):
        mission.close()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
