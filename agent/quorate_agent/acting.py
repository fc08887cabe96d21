"""Who carries out which decision: workloads, the operator, signals, the device itself."""

import asyncio
from typing import Final, Protocol

from quorate.api.mission_policy import LadderAction
from quorate.missions.decisions import Decision
from quorate.missions.ladder import DIRECTIVES, REMOVES
from quorate.missions.policies import Policy
from quorate.missions.protocol import Directive
from quorate.missions.samples import Acknowledged, Answer, DeviceTaken, Ended, Event, Missing, Outcome
from quorate.missions.series import SECOND
from quorate_agent.ports import Actuator, Done, GpuBackend
from quorate_agent.workers import aside

ACKNOWLEDGE = 30 * SECOND
DEVICE_SECONDS = 10.0
"""How long setting something on a device may take."""
_DIRECTIVES: Final = frozenset(str(action) for action in DIRECTIVES)
_REMOVES: Final = frozenset(str(action) for action in REMOVES)


class Directed(Protocol):
    """The workloads' end: asks the workloads of a pod; False where none takes it."""

    def direct(self, uid: str, directive: Directive) -> bool:
        """See `workloads.Workloads.direct`."""


class Acting:
    """Chooses by action; what nobody is there for fails.

    Args:
        workloads: None without a socket; evictions: None while there is no operator; signals: None where the agent
            may send none.
    """

    def __init__(
        self, backend: GpuBackend, workloads: Directed | None, evictions: Actuator | None, signals: Actuator | None
    ) -> None:
        self._backend, self._workloads, self._evictions, self._signals = backend, workloads, evictions, signals

    async def act(self, decision: Decision, policy: Policy | None) -> Done | None:
        """Carry out a decision that was written down; None: the workload's answer comes as an event of its own."""
        action = decision.action
        if action in _DIRECTIVES:
            return self._direct(decision, policy)
        if action == LadderAction.EVICT:
            if self._evictions is None:
                return Done(Outcome.UNAVAILABLE, message="there is no operator")
            return await self._evictions.act(decision)
        if action == LadderAction.TERMINATE:
            if self._signals is None:
                return Done(Outcome.FAILED, message="the agent sees no processes")
            return await self._signals.act(decision)
        return await self._set(decision)

    def _direct(self, decision: Decision, policy: Policy | None) -> Done | None:
        numbers = {name: value for name, value in decision.evidence if isinstance(value, int)}
        directive = Directive(
            decision.id, LadderAction(decision.action), _within(decision, policy), decision.policy,
            str(decision.rule or ""), numbers,
        )  # fmt: skip
        if self._workloads is not None and self._workloads.direct(decision.uid, directive):
            return None
        return Done(answer=Answer.FAILED, message="no workload of the pod takes it")

    async def _set(self, decision: Decision) -> Done:
        """On a device; the thread is left alone if the driver hangs in it."""
        number = _value(decision)
        backend, gpu = self._backend, decision.subject
        calls = {
            "LimitPower": lambda: backend.limit_power(gpu, number),
            "LimitClock": lambda: backend.limit_clock(gpu, number),
            "DenyCompute": lambda: backend.allow_compute(gpu, allowed=False),
            "AllowCompute": lambda: backend.allow_compute(gpu, allowed=True),
        }
        call = calls.get(decision.action)
        if call is None:
            return Done(Outcome.FAILED, message=f"{decision.action} is not known to this agent")
        try:
            async with asyncio.timeout(DEVICE_SECONDS):
                failed: Missing | None = await aside(call)
        except TimeoutError:
            failed = Missing.TIMEOUT
        return Done(Outcome.DONE) if failed is None else Done(Outcome.FAILED, message=str(failed))


def _within(decision: Decision, policy: Policy | None) -> int:
    """Microseconds to answer, as the rung says."""
    if policy is None or decision.rule is None or decision.rung < 0:
        return ACKNOWLEDGE
    rungs = policy.ladders.get(decision.rule, ())
    return rungs[decision.rung].acknowledge if decision.rung < len(rungs) else ACKNOWLEDGE


def _value(decision: Decision) -> int:
    """What is to be set."""
    value = dict(decision.evidence).get("value", 0)
    return value if isinstance(value, int) else 0


def taken_on_device(decision: Decision) -> DeviceTaken:
    """What a later life of the agent is told of it."""
    return DeviceTaken(decision.at, decision.subject, decision.action, decision.policy, _value(decision))


def ending(decision: Decision, done: Done | None, at: int) -> list[Event]:
    """What the engine is told of how an action ended; None: it could not be begun."""
    if not decision.uid:
        return []
    if decision.action in _REMOVES:
        return [Ended(at, decision.id, Outcome.FAILED if done is None else done.outcome or Outcome.FAILED)]
    return [Acknowledged(at, decision.id, Answer.FAILED if done is None else done.answer or Answer.FAILED)]
