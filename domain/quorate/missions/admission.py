"""How much a workload may ask of the agent: connections and messages (docs/mission-protocol.md, "Bounds")."""

from quorate.missions.series import SECOND

MOST_OF_POD = 16
MOST_OF_NODE = 1_024
MOST_PODS = 4_096
"""Pods whose pace is remembered."""


class Allowance:
    """A token bucket: `burst` at once, `rate` a second; exact integers, full at the beginning."""

    __slots__ = ("_full", "_last", "_price", "_stock")

    def __init__(self, *, rate: int, burst: int) -> None:
        self._price = SECOND // rate
        self._full = self._stock = burst * self._price
        self._last: int | None = None

    def may(self, now: int) -> bool:
        """Take one if there is one."""
        if self._last is not None:
            self._stock = min(self._full, self._stock + max(0, now - self._last))
        self._last = now
        if self._stock < self._price:
            return False
        self._stock -= self._price
        return True

    def wait(self) -> int:
        """Microseconds from the last look until there is one."""
        return max(0, self._price - self._stock)


class Admission:
    """Counts the connections of pods."""

    __slots__ = ("_open", "_pace", "_total")

    def __init__(self) -> None:
        self._open: dict[str, int] = {}
        self._pace: dict[str, Allowance] = {}
        self._total = 0

    def enter(self, uid: str, now: int) -> bool:
        """Whether a pod may have one more connection; it is counted if so."""
        pace = self._pace.setdefault(uid, Allowance(rate=8, burst=32))
        if len(self._pace) > MOST_PODS:
            idle = next((other for other in self._pace if other not in self._open and other != uid), None)
            self._pace.pop(idle or next(iter(self._pace)))
        if not pace.may(now) or self._open.get(uid, 0) >= MOST_OF_POD or self._total >= MOST_OF_NODE:
            return False
        self._open[uid] = self._open.get(uid, 0) + 1
        self._total += 1
        return True

    def leave(self, uid: str) -> None:
        """A connection that was counted ended."""
        self._total -= 1
        self._open[uid] -= 1
        if not self._open[uid]:
            del self._open[uid]
