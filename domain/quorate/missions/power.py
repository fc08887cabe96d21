"""Power limit and clock of a device: what is wanted against what it says (docs/missions.md, "Power")."""

from collections.abc import Sequence
from dataclasses import dataclass

from quorate.missions.policies import Policy
from quorate.missions.samples import DeviceTaken, Limits, Missing, Reading
from quorate.missions.series import SECOND

AGAIN = 60 * SECOND
"""A setting is not made twice within this time."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One value to be set; `policy` is None where the device gets its own back."""

    kind: str
    value: int
    found: int
    policy: Policy | None


class PowerKeeper:
    """Keeps one device at the lowest limits that policies of one mode ask for.

    Only a higher limit than wanted is changed, and only what it had set itself is given back.
    """

    __slots__ = ("_set",)

    def __init__(self) -> None:
        self._set: dict[str, tuple[int, int]] = {}

    def taken(self, event: DeviceTaken) -> None:
        """An earlier life of the agent set a limit, or gave the device its own back (no policy)."""
        if event.policy:
            self._set[event.action] = (event.value, event.at)
        else:
            self._set.pop(event.action, None)

    def judge(self, policies: Sequence[Policy], limits: Limits, now: int) -> list[Setting]:
        """What is to be set now; nothing on an unknown reading."""
        watts = [(policy.watts, policy) for policy in policies if policy.watts is not None]
        clocks = [(policy.clock, policy) for policy in policies if policy.clock is not None]
        found = [
            self._keep("LimitPower", watts, limits.watts, limits.default_watts, now),
            self._keep("LimitClock", clocks, limits.clock, Missing.UNSUPPORTED, now),
        ]
        return [setting for setting in found if setting is not None]

    def _keep(
        self, kind: str, wanted: list[tuple[int, Policy]], current: Reading, usual: Reading, now: int
    ) -> Setting | None:
        if isinstance(current, Missing):
            return None
        before = self._set.get(kind)
        if wanted:
            value, policy = min(wanted, key=lambda pair: (pair[0], pair[1].name))
            if current <= value or (before is not None and before[0] == value and now - before[1] < AGAIN):
                return None
            self._set[kind] = (value, now)
            return Setting(kind, value, current, policy)
        if before is None:
            return None
        del self._set[kind]
        if isinstance(usual, Missing) or current != before[0]:
            return None
        return Setting(kind, usual, current, None)
