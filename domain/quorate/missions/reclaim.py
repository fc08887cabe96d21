"""GPU time that idle reclaim freed (docs/missions.md, "Idle reclaim")."""

MOST_AWAY = 1_024
"""Owners that are waited for; the one that left first is counted off."""


class Freed:
    """Counts devices × time from a reclaimed pod's departure until its owner holds devices here again."""

    __slots__ = ("_away", "_closed")

    def __init__(self) -> None:
        self._closed: dict[str, int] = {}
        self._away: dict[str, tuple[str, int, int]] = {}

    def gone(self, policy: str, owner: str, devices: int, at: int) -> None:
        """A reclaimed pod left."""
        self.back(owner, at)
        self._away[owner] = (policy, devices, at)
        if len(self._away) > MOST_AWAY:
            self.back(next(iter(self._away)), at)

    def back(self, owner: str, at: int) -> None:
        """A pod of the owner holds devices again."""
        if owner in self._away:
            policy, devices, since = self._away.pop(owner)
            self._closed[policy] = self._closed.get(policy, 0) + devices * max(0, at - since)

    def by_policy(self, now: int) -> dict[str, int]:
        """Device-microseconds freed until now, by policy."""
        total = dict(self._closed)
        for policy, devices, since in self._away.values():
            total[policy] = total.get(policy, 0) + devices * max(0, now - since)
        return total
