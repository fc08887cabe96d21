"""What the node knows across rules and pods, and whether an action may be taken (docs/missions.md, "The ladder")."""

from quorate.api.mission_policy import LadderAction
from quorate.api.mission_rules import RuleName
from quorate.missions.breaker import Breaker
from quorate.missions.decisions import Hold
from quorate.missions.ladder import HARD, REMOVES, Ladder
from quorate.missions.policies import Policy
from quorate.missions.samples import Pod
from quorate.missions.series import SECOND
from quorate.missions.verdict import Channel, Validator, Verdict

HOUR = 3_600 * SECOND
LATCH_AFTER = 3
"""Hard actions on the pods of one owner within an hour."""
MOST_OWNERS = 4_096


class Node:
    """Connection, evictions under way, breaker and latches of one node."""

    __slots__ = ("_latches", "asked", "breaker", "leaving", "online")

    def __init__(self) -> None:
        self.online = True
        self.breaker = Breaker(HOUR)
        self.leaving: dict[str, str] = {}
        """Uid of a pod that is being evicted or terminated → the policy that asked."""
        self.asked: set[str] = set()
        """Those of them whose outcome is not known: the breaker counts them as if they were done."""
        self._latches: dict[str, Breaker] = {}

    def hard(self, owner: str, at: int) -> None:
        """A hard action on a pod of the owner was taken."""
        self._latches.setdefault(owner, Breaker(HOUR, LATCH_AFTER)).count(at)
        if len(self._latches) > MOST_OWNERS:
            del self._latches[next(iter(self._latches))]

    def latched_until(self, owner: str, now: int) -> int | None:
        """Until when nothing hard is done to the owner's pods; None: it may be."""
        latch = self._latches.get(owner)
        until = latch.open_until(now, LATCH_AFTER) if latch else None
        if latch and until is None and not latch.counted:
            del self._latches[owner]
        return until

    def unlatch(self, owner: str) -> None:
        """A person lets the agent act again."""
        self._latches.pop(owner, None)

    def under_way(self, policy: str) -> int:
        """How many removals a policy has under way."""
        return sum(1 for name in self.leaving.values() if name == policy)


class Tracked:
    """A pod on the node with its rules.

    Attributes:
        taken: action → when it was last begun on this pod.
        granted: its eviction was granted.
        stopped: when an emergency stop terminated it last.
    """

    __slots__ = ("granted", "pod", "policies", "removed_for", "routes", "stopped", "taken", "told", "watches")

    def __init__(self, pod: Pod) -> None:
        self.pod = pod
        self.policies: tuple[Policy, ...] = ()
        self.watches: list[Watch] = []
        self.routes: dict[Channel, list[Watch]] = {}
        self.taken: dict[LadderAction, int] = {}
        self.granted = False
        self.removed_for: RuleName | None = None
        self.stopped: int | None = None
        self.told: set[str] = set()


class Watch:
    """One rule of one pod: validator and ladder, and the gate that the ladder asks.

    Attributes:
        due: when it is to be judged without a sample; None: no need.
        verdict: the last one.
    """

    __slots__ = ("due", "flagged", "ladder", "node", "overruled", "policy", "rule", "tracked", "validator", "verdict")

    def __init__(
        self, node: Node, tracked: Tracked, policy: Policy, rule: RuleName, validator: Validator, ladder: Ladder
    ) -> None:
        self.node = node
        self.tracked = tracked
        self.policy = policy
        self.rule = rule
        self.validator = validator
        self.ladder = ladder
        self.due: int | None = None
        self.verdict: Verdict | None = None
        self.flagged = False
        self.overruled: tuple[str, ...] = ()

    def key(self, began: int | None, rung: int) -> str:
        """Identity of the action that a rung began; the same for its retries."""
        return f"{self.tracked.pod.uid}/{self.policy.name}/{self.rule}/{began}/{rung}"

    @property
    def current(self) -> str:
        """Identity of the action that the ladder is at."""
        return self.key(self.ladder.began, self.ladder.rung)

    def blocked(self, action: LadderAction, now: int, *, again: bool) -> tuple[Hold, int | None] | None:
        """Why an action may not be taken now, and when to ask again."""
        pod, node = self.tracked, self.node
        own_eviction = pod.granted and action is LadderAction.TERMINATE
        if pod.pod.uid in node.leaving and not own_eviction:
            return Hold.LEAVING, None
        taken = pod.taken.get(action)
        if taken is not None and not again and now < taken + self.policy.cooldown:
            return Hold.COOL_DOWN, taken + self.policy.cooldown
        if action in HARD:
            until = node.latched_until(pod.pod.owner, now)
            if until is not None:
                return Hold.LATCH, until
        return self._removal(action, now, own_eviction) if action in REMOVES else None

    def _removal(self, action: LadderAction, now: int, own_eviction: bool) -> tuple[Hold, int | None] | None:
        budget, node = self.policy.budget, self.node
        if action is LadderAction.EVICT and not node.online:
            return Hold.OFFLINE, None
        if action is LadderAction.TERMINATE and not own_eviction:
            if not node.online and not budget.offline_terminate:
                return Hold.OFFLINE, None
            if node.online and budget.respects:
                return Hold.NOT_EVICTED, None
        if own_eviction:
            return None
        until = node.breaker.open_until(now, budget.node_per_hour - len(node.asked))
        if until is not None:
            return Hold.NODE_BREAKER, until
        if node.under_way(self.policy.name) >= budget.concurrent:
            return Hold.CONCURRENCY, None
        return None
