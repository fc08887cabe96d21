"""Power settings of all devices of a node, by mode: enforced ones are kept, others are told once."""

from collections.abc import Iterator, Sequence

from quorate.api.mission_policy import PolicyMode
from quorate.missions.policies import Policy
from quorate.missions.power import PowerKeeper, Setting
from quorate.missions.samples import DeviceTaken, Limits


class Settings:
    """One keeper per device and mode."""

    __slots__ = ("_keepers", "_told")

    def __init__(self) -> None:
        self._keepers: dict[tuple[str, PolicyMode], PowerKeeper] = {}
        self._told: set[tuple[str, str, PolicyMode]] = set()

    def forget(self) -> None:
        """Policies changed: tell trials again."""
        self._told.clear()

    def taken(self, event: DeviceTaken) -> None:
        """What an earlier life of the agent set is given back when nobody asks for it any more."""
        self._keepers.setdefault((event.gpu, PolicyMode.ENFORCE), PowerKeeper()).taken(event)

    def judge(self, policies: Sequence[Policy], limits: Limits, now: int) -> Iterator[tuple[Setting, PolicyMode]]:
        """What is to be set on a device, and in which mode it is asked for."""
        for mode in PolicyMode:
            ours = [policy for policy in policies if policy.mode is mode]
            keeper = self._keepers.setdefault((limits.gpu, mode), PowerKeeper())
            for setting in keeper.judge(ours, limits, now):
                told = (limits.gpu, setting.kind, mode)
                if mode is PolicyMode.ENFORCE or (setting.policy is not None and told not in self._told):
                    self._told.add(told)
                    yield setting, mode
