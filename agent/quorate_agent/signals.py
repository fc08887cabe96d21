"""Ending a pod's processes: SIGTERM, and after the grace SIGKILL, to exactly those that were meant.

A process is held by a pidfd, and only what /proc says after that is believed: a pid that was reused meanwhile, or one
of another pod, gets no signal. The sandbox's own process lives on, so that the kubelet sees containers end and not the
pod's network.
"""

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from quorate.missions.decisions import Decision
from quorate.missions.samples import Outcome
from quorate_agent.cgroups import ProcResolver
from quorate_agent.ports import Done

KILL_SECONDS = 10.0
"""How long a process may take to be gone after SIGKILL; one that waits for a device can take longer."""


@dataclass(frozen=True, slots=True)
class _Held:
    pid: int
    handle: int


class Signals:
    """`Actuator` for Terminate.

    Args:
        grace: seconds between SIGTERM and SIGKILL.
    """

    def __init__(self, resolver: ProcResolver, *, grace: float) -> None:
        self._resolver, self._grace = resolver, grace

    async def act(self, decision: Decision) -> Done:
        """End every process of the pod's containers."""
        found = await asyncio.to_thread(self._resolver.processes_of, decision.uid)
        with ExitStack() as stack:
            held = [one for pid, start, _ in found if (one := self._hold(stack, pid, start, decision.uid)) is not None]
            if not held:
                return Done(Outcome.DONE, message="no process of the pod is here")
            return await self._end(held)

    def _hold(self, stack: ExitStack, pid: int, start: int, uid: str) -> _Held | None:
        try:
            handle = os.pidfd_open(pid)
        except OSError:
            return None
        stack.callback(os.close, handle)
        owner = self._resolver.owner_of(pid, start)
        if owner is None or owner.uid != uid or self._resolver.is_pause(pid):
            return None
        return _Held(pid, handle)

    async def _end(self, held: Sequence[_Held]) -> Done:
        refused = [one.pid for one in held if not _send(one, signal.SIGTERM)]
        if len(refused) == len(held):
            return Done(Outcome.FAILED, message=f"no permission to signal {len(refused)} processes")
        left = await _gone(held, self._grace)
        for one in left:
            _send(one, signal.SIGKILL)
        still = await _gone(left, KILL_SECONDS)
        if still:
            return Done(Outcome.FAILED, message=f"{len(still)} of {len(held)} processes did not end")
        return Done(Outcome.DONE, message=f"{len(held)} processes ended, {len(left)} by SIGKILL")


def _send(one: _Held, number: signal.Signals) -> bool:
    """False where it is not permitted; one that is gone needs no signal."""
    try:
        signal.pidfd_send_signal(one.handle, number)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return True


async def _gone(held: Sequence[_Held], seconds: float) -> list[_Held]:
    """Those that are still there after `seconds`, or none as soon as all are gone."""
    loop = asyncio.get_running_loop()
    ended = {one: asyncio.Event() for one in held}
    for one, event in ended.items():
        loop.add_reader(one.handle, event.set)  # a pidfd is readable when its process is gone
    try:
        async with asyncio.timeout(seconds):
            for event in ended.values():
                await event.wait()
    except TimeoutError:
        pass
    finally:
        for one in held:
            loop.remove_reader(one.handle)
    return [one for one, event in ended.items() if not event.is_set()]
