"""Emergency stops: which pods are terminated, which devices are closed (docs/missions.md, "Emergency stop")."""

from collections.abc import Iterator, Mapping, Sequence

from quorate.api.mission_policy import LadderAction, PolicyMode
from quorate.missions.decisions import Decision
from quorate.missions.gate import Tracked
from quorate.missions.policies import Policy
from quorate.missions.record import ALLOW, DENY, compute_decision, stop_decision
from quorate.missions.samples import DeviceTaken, Stop, StopScope

_ORDER = {PolicyMode.ENFORCE: 0, PolicyMode.WARN: 1, PolicyMode.AUDIT: 2}


class Emergency:
    """The stops in force.

    Attributes:
        due: when to look at the pods; None: nothing to do.
    """

    __slots__ = ("_closed", "_orders", "_policies", "due")

    def __init__(self) -> None:
        self.due: int | None = None
        self._orders: dict[tuple[StopScope, str], int] = {}
        self._closed: dict[str, str] = {}
        """Device → name of the policy whose stop closed it."""
        self._policies: dict[str, Policy] = {}

    def govern(self, policies: Sequence[Policy], now: int) -> None:
        """Other policies are in force."""
        self._policies = {policy.name: policy for policy in policies}
        self.look(now)

    def taken(self, event: DeviceTaken) -> None:
        """An earlier life of the agent closed or opened a device."""
        if event.action == DENY:
            self._closed[event.gpu] = event.policy
        elif event.action == ALLOW:
            self._closed.pop(event.gpu, None)

    def order(self, event: Stop) -> None:
        """A stop begins or ends."""
        key = (event.scope, event.name)
        if event.on:
            self._orders.setdefault(key, event.at)
        else:
            self._orders.pop(key, None)

    def look(self, now: int) -> None:
        """Something changed that a stop may concern."""
        self.due = now

    def _stops(self, policy: Policy) -> tuple[str, int] | None:
        """The scope of a stop of a policy's pods, and since when; None: there is none."""
        for scope, name in ((StopScope.FLEET, ""), (StopScope.NODE, ""), (StopScope.POLICY, policy.name)):
            since = self._orders.get((scope, name))
            if since is not None:
                return str(scope), since
        return (str(StopScope.POLICY), 0) if policy.stop else None

    def judge(
        self, pods: Mapping[str, Tracked], holders: Mapping[str, Mapping[str, Tracked]], now: int
    ) -> Iterator[Decision]:
        """Terminate what is to be stopped, again after the cool-down; close and open devices."""
        self.due = None
        stopped: dict[str, Policy] = {}
        for uid, tracked in pods.items():
            found = [(policy, stop) for policy in tracked.policies if (stop := self._stops(policy)) is not None]
            if not found:
                tracked.told.discard("stop")
                continue
            policy, (scope, since) = min(found, key=lambda pair: (_ORDER[pair[0].mode], pair[0].name))
            if policy.mode is PolicyMode.ENFORCE:
                stopped[uid] = policy
                if self._again(tracked, policy, now):
                    tracked.stopped = now
                    yield stop_decision(tracked, policy, scope, since or now, now)
            elif "stop" not in tracked.told:
                tracked.told.add("stop")
                yield stop_decision(tracked, policy, scope, since or now, now)
        yield from self._devices(stopped, holders, now)

    def _again(self, tracked: Tracked, policy: Policy, now: int) -> bool:
        """Whether the pod was not terminated within the cool-down."""
        last = tracked.taken.get(LadderAction.TERMINATE)
        free = last is None or now >= last + policy.cooldown
        again = (now if free or last is None else last) + max(policy.cooldown, 1)
        self.due = again if self.due is None else min(self.due, again)
        return free

    def _devices(
        self, stopped: Mapping[str, Policy], holders: Mapping[str, Mapping[str, Tracked]], now: int
    ) -> Iterator[Decision]:
        for gpu, held in holders.items():
            if gpu not in self._closed and held and all(uid in stopped for uid in held):
                policy = stopped[next(iter(held))]
                self._closed[gpu] = policy.name
                yield compute_decision(gpu, DENY, policy, now)
        for gpu, name in list(self._closed.items()):
            strangers = any(uid not in stopped for uid in holders.get(gpu, {}))
            if strangers or not self._closes(name):
                del self._closed[gpu]
                yield compute_decision(gpu, ALLOW, self._policies.get(name), now)

    def _closes(self, name: str) -> bool:
        """Whether the stop that closed a device is still in force, as the policy is now."""
        policy = self._policies.get(name)
        return policy is not None and policy.mode is PolicyMode.ENFORCE and self._stops(policy) is not None
