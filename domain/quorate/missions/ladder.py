"""The escalation of one rule of one pod: state × verdict × time → moves (docs/missions.md, "The ladder").

It knows nothing of other pods and policies: whether an action may be taken now is asked of `Gate`.
"""

from dataclasses import dataclass
from typing import Final, Protocol

from quorate.api.mission_policy import LadderAction, Strategy
from quorate.missions.decisions import Hold, Severity, Step
from quorate.missions.recovery import action_of
from quorate.missions.samples import Answer, Outcome
from quorate.missions.series import SECOND
from quorate.missions.verdict import State, Verdict

DIRECTIVES: Final = frozenset({
    LadderAction.FREE_MEMORY, LadderAction.REDUCE_PRECISION, LadderAction.REDUCE_BATCH, LadderAction.DISABLE_OPTIONAL,
    LadderAction.CHECKPOINT, LadderAction.ROLL_BACK, LadderAction.CHECKPOINT_AND_ABORT,
})  # fmt: skip
"""Asked of the workload, which answers."""
ASKED: Final = DIRECTIVES | {LadderAction.RECOVER}
HARD: Final = frozenset({LadderAction.CHECKPOINT_AND_ABORT, LadderAction.EVICT, LadderAction.TERMINATE})
"""End the run."""
REMOVES: Final = frozenset({LadderAction.EVICT, LadderAction.TERMINATE})
"""Carried out by somebody else, who says how it ended."""
HARDNESS: Final = {
    action: 0 if action is LadderAction.WARN else 1 for action in LadderAction
} | {LadderAction.CHECKPOINT_AND_ABORT: 2, LadderAction.EVICT: 3, LadderAction.TERMINATE: 4}  # fmt: skip
CLIMBS: Final = {Severity.LOW: 0, Severity.MEDIUM: 1, Severity.HIGH: 4, Severity.CRITICAL: 4}
"""The hardest rung of a severity."""
BACK_OFF: Final = (30 * SECOND, 60 * SECOND, 120 * SECOND, 240 * SECOND, 300 * SECOND)
_HOLDS: Final = {
    Outcome.REFUSED: Hold.DISRUPTION_BUDGET,
    Outcome.BREAKER: Hold.FLEET_BREAKER,
    Outcome.UNAVAILABLE: Hold.OFFLINE,
    Outcome.FAILED: Hold.FAILED,
}


@dataclass(frozen=True, slots=True)
class Rung:
    """One step: `after` so long known to be broken, `acknowledge` to answer and take effect; microseconds."""

    action: LadderAction
    after: int
    acknowledge: int


@dataclass(frozen=True, slots=True)
class Move:
    """What the ladder does; `ready` is when it was due, in microseconds."""

    step: Step
    rung: int
    action: LadderAction | None
    ready: int
    hold: Hold | None = None
    attempt: int = 1
    strategy: Strategy | None = None


class Gate(Protocol):
    """Whether an action may be taken on the pod now."""

    def blocked(self, action: LadderAction, now: int, *, again: bool) -> tuple[Hold, int | None] | None:
        """Why not, and when to ask (None: when something happens); None: it may. `again`: a retry of its own."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a ladder is built from; `clear` in microseconds.

    Attributes:
        acts: mode Enforce; else it climbs by time alone.
        takes: directives that the workload registered for.
    """

    rungs: tuple[Rung, ...]
    strategy: Strategy
    clear: int
    acts: bool
    offline_terminate: bool
    takes: frozenset[LadderAction]


class Ladder:
    """The state of one escalation.

    Attributes:
        began: when the violation began; None while there is none.
        rung: index of the last rung that was started or skipped; -1 before the first.
        hold: why it is held.
        takes: the directives that the workload registered for; may change while it runs.
        due: when to look at it again without a sample; None: no need.
    """

    __slots__ = ("_answered", "_attempt", "_broken", "_broken_from", "_clear_since", "_fresh_until", "_judged",
                 "_level", "_raised", "_ready", "_refusal", "_retry_at", "_strategy", "_terms", "_told", "_until",
                 "_wait_outcome", "action", "began", "due", "hold", "rung", "takes")  # fmt: skip

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self.takes = terms.takes
        self.reset()

    def reset(self) -> None:
        """No violation: as in the beginning."""
        self.began: int | None = None
        self.rung = -1
        self.action: LadderAction | None = None
        self.hold: Hold | None = None
        self.due: int | None = None
        self._broken_from: int | None = None
        self._broken = 0
        self._fresh_until: int | None = None
        self._judged = 0
        self._clear_since: int | None = None
        self._until: int | None = None
        self._answered = False
        self._wait_outcome = False
        self._retry_at: int | None = None
        self._refusal: Hold | None = None
        self._attempt = 1
        self._ready = 0
        self._strategy: Strategy | None = None
        self._told: set[Hold] = set()
        self._level = Severity.LOW
        self._raised = 0

    def judge(self, verdict: Verdict, now: int, gate: Gate) -> list[Move]:
        """Take a verdict; what follows from it now."""
        state = verdict.state
        if self.began is None and state is not State.BROKEN:
            return []
        self.due = None
        self._count(verdict, now)
        if state is State.GOOD:
            return self._good(now)
        self._clear_since = None
        if state is State.UNKNOWN:
            return self._held(Hold.UNKNOWN, None, now)
        if state is State.BETWEEN:
            return []
        if self.began is None:
            self.began = self._ready = min(verdict.since, now)
        if verdict.severity > self._level:
            self._raised = min(verdict.since, now)
        self._level = verdict.severity
        return self._climb(verdict, now, gate)

    def _count(self, verdict: Verdict, now: int) -> None:
        """Add up the time known to be broken; what passed after the samples were stale is neither that nor good."""
        known = now if self._fresh_until is None else max(self._judged, min(now, self._fresh_until))
        if known < now:
            self._clear_since = None
        begun, self._broken_from = self._broken_from, None
        if begun is not None:
            self._broken += known - begun
        if verdict.state is State.BROKEN:
            goes_on = begun is not None and known == now
            earliest = self._judged if known == now else known
            self._broken_from = now if goes_on else max(min(verdict.since, now), earliest)
        self._fresh_until, self._judged = verdict.until, now

    def _reached(self, after: int) -> int:
        """When it has been known to be broken for so long, given that it is broken now."""
        return (self._broken_from or 0) + after - self._broken

    def _good(self, now: int) -> list[Move]:
        if self._clear_since is None:
            self._clear_since = now
        if now - self._clear_since < self._terms.clear:
            self.due = self._clear_since + self._terms.clear
            return []
        ready, strategy, rung = self._clear_since + self._terms.clear, self._strategy, self.rung
        self.reset()
        return [Move(Step.RECOVERED if strategy else Step.CLEARED, rung, None, ready, strategy=strategy)]

    def _held(self, hold: Hold, again: int | None, now: int, action: LadderAction | None = None) -> list[Move]:
        """Hold, and say so once on this rung."""
        self.due = again
        self.hold = hold
        if hold in self._told:
            return []
        self._told.add(hold)
        return [Move(Step.LATCHED if hold is Hold.LATCH else Step.HELD, self.rung, action, now, hold)]

    def _climb(self, verdict: Verdict, now: int, gate: Gate) -> list[Move]:
        moves: list[Move] = []
        while True:
            if self._wait_outcome and not self._may_pass_outcome(now):
                return moves + self._retry(verdict, now, gate)
            if not self._answer_over(now, moves):
                return moves
            if not self._next(verdict, now, gate, moves):
                return moves

    def _answer_over(self, now: int, moves: list[Move]) -> bool:
        """Whether the workload has answered, or its time is over."""
        if self._until is None:
            return True
        if now < self._until:
            self.due = self._until
            self.hold = None
            return False
        if self._terms.acts and not self._answered:
            moves.append(Move(Step.UNANSWERED, self.rung, self.action, self._until))
        self._ready = max(self._ready, self._until)
        self._until = None
        return True

    def _may_pass_outcome(self, now: int) -> bool:
        """Nobody can be asked for an eviction, and the policy lets the agent terminate by itself."""
        if self._retry_at is None or self._refusal is not Hold.OFFLINE:
            return False
        return self._terminates_offline(self.rung + 1, now)

    def _terminates_offline(self, index: int, now: int) -> bool:
        rungs = self._terms.rungs
        if not self._terms.offline_terminate or index >= len(rungs):
            return False
        return rungs[index].action is LadderAction.TERMINATE and now >= self._reached(rungs[index].after)

    def _retry(self, verdict: Verdict, now: int, gate: Gate) -> list[Move]:
        """Ask again for what was refused; nothing while the outcome is not known."""
        if self._retry_at is None or self.action is None:
            self.hold = None
            return []
        if HARDNESS[self.action] > CLIMBS[verdict.severity]:
            return []
        if now < self._retry_at:
            self.due, self.hold = self._sooner(self._retry_at, self.rung, now), self._refusal
            return []
        blocked = gate.blocked(self.action, now, again=True)
        if blocked is not None:
            return self._held(*blocked, now, self.action)
        ready, self._retry_at = self._retry_at, None
        self._attempt += 1
        self.hold = None
        return [Move(Step.RETRIED, self.rung, self.action, ready, attempt=self._attempt)]

    def _next(self, verdict: Verdict, now: int, gate: Gate, moves: list[Move]) -> bool:
        """Start or skip the next rung; False where it has to wait or there is none."""
        rungs, index = self._terms.rungs, self.rung + 1
        if index >= len(rungs):
            self.hold = None
            return False
        rung = rungs[index]
        strategy = self._terms.strategy if rung.action is LadderAction.RECOVER else None
        action = action_of(strategy, self.takes) if strategy else rung.action
        if HARDNESS[action] > CLIMBS[verdict.severity]:
            self.hold = None
            return False
        ready = self._reached(0 if verdict.severity is Severity.CRITICAL else rung.after)
        if now < ready:
            self.due, self.hold = ready, None
            return False
        if action in DIRECTIVES and action not in self.takes:
            moves.append(Move(Step.SKIPPED, index, action, ready, Hold.NO_TAKER, strategy=strategy))
            self._arrive(index, None)
            return True
        blocked = gate.blocked(action, now, again=False) if self._terms.acts else None
        if blocked is not None:
            if blocked[0] is Hold.OFFLINE and self._terminates_offline(index + 1, now):
                moves.append(Move(Step.SKIPPED, index, action, ready, Hold.OFFLINE))
                self._arrive(index, None)
                return True
            moves += self._held(*blocked, now, action)
            self.due = self._sooner(self.due, index, now)
            return False
        ready = max(ready, self._raised)
        if self._told:  # it was held: what counts is the sample that let it go on
            ready = max(ready, min(verdict.since, now))
        self._start(index, action, strategy, now)
        moves.append(Move(Step.STARTED, index, action, max(ready, self._ready), strategy=strategy))
        return True

    def _sooner(self, due: int | None, index: int, now: int) -> int | None:
        """While an eviction is held offline, the rung after it may be due first."""
        rungs, following = self._terms.rungs, index + 1
        if not self._terms.offline_terminate or following >= len(rungs):
            return due
        after = self._reached(rungs[following].after)
        return after if after > now and (due is None or after < due) else due

    def _arrive(self, index: int, action: LadderAction | None) -> None:
        self.rung = index
        self.action = action
        self.hold = None
        self._until = None
        self._answered = False
        self._wait_outcome = False
        self._retry_at = None
        self._attempt = 1
        self._strategy = None
        self._told.clear()

    def _start(self, index: int, action: LadderAction, strategy: Strategy | None, now: int) -> None:
        self._arrive(index, action)
        self._strategy = strategy
        if action in DIRECTIVES:
            self._until = now + self._terms.rungs[index].acknowledge
        self._wait_outcome = self._terms.acts and action in REMOVES

    def answer(self, answer: Answer, now: int) -> Move | None:
        """The workload answered the directive: Done leaves it the rest of its time to take effect."""
        if self._until is None or self._answered:
            return None
        self._answered = True
        if answer is not Answer.DONE:
            self._ready = now
            self._until = None
        return Move(Step.ANSWERED, self.rung, self.action, now)

    def ended(self, outcome: Outcome, now: int) -> Move | None:
        """The action was carried out, or not; said again it changes nothing."""
        if not self._wait_outcome or self._retry_at is not None:
            return None
        if outcome is Outcome.DONE:
            self._wait_outcome = False
            self._ready = now
            return None
        self._retry_at = now + BACK_OFF[min(self._attempt, len(BACK_OFF)) - 1]
        self.due = self._retry_at
        self.hold = self._refusal = _HOLDS[outcome]
        return Move(Step.HELD, self.rung, self.action, now, self.hold, self._attempt)
