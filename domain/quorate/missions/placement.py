"""Which pods hold which devices, and the samples that concern each (docs/missions.md, "Whose memory")."""

from collections.abc import Iterator, Mapping

from quorate.missions.attribution import Attribution
from quorate.missions.gate import Tracked
from quorate.missions.memory import STALE
from quorate.missions.samples import Device, DeviceMemory, Held, Missing, Pod, Processes


class Placement:
    """The pods of a node by device.

    Attributes:
        holders: device → uid → pod.
        attribution: who owns which process.
    """

    __slots__ = ("_listed", "_totals", "_whole", "attribution", "holders")

    def __init__(self) -> None:
        self.attribution = Attribution()
        self.holders: dict[str, dict[str, Tracked]] = {}
        self._totals: dict[str, int] = {}
        self._listed: dict[str, int] = {}
        self._whole: dict[str, DeviceMemory] = {}

    def place(self, tracked: Tracked) -> None:
        """A pod holds its devices."""
        for gpu in tracked.pod.gpus:
            self.holders.setdefault(gpu, {})[tracked.pod.uid] = tracked

    def remove(self, tracked: Tracked) -> None:
        """It holds them no more."""
        for gpu in tracked.pod.gpus:
            self.holders.get(gpu, {}).pop(tracked.pod.uid, None)

    def on(self, gpu: str) -> Mapping[str, Tracked]:
        """The pods on a device."""
        return self.holders.get(gpu, {})

    def total(self, pod: Pod) -> int | None:
        """Bytes of all devices of a pod; None where one is not known."""
        totals = [self._totals.get(gpu) for gpu in pod.gpus]
        known = [total for total in totals if total is not None]
        return sum(known) if known and len(known) == len(totals) else None

    def device(self, event: Device) -> None:
        """Learn a device's memory."""
        if not isinstance(event.total, Missing):
            self._totals[event.gpu] = event.total

    def shares(self, event: Processes) -> Iterator[tuple[str, Held]]:
        """Each pod's share by a process list: uid and share."""
        holders = self.on(event.gpu)
        if isinstance(event.rows, Missing):
            self._listed.pop(event.gpu, None)
            whole = self._whole.get(event.gpu)
            if len(holders) == 1 and whole is not None and event.at - whole.at <= STALE:
                yield from self.alone(whole)  # the device's total says as much
                return
        else:
            self._listed[event.gpu] = event.at
        yield from self.attribution.share(event, frozenset(holders)).items()

    def alone(self, event: DeviceMemory) -> Iterator[tuple[str, Held]]:
        """The device's total as the share of the only pod on it, while there is no process list."""
        holders = self.on(event.gpu)
        listed = self._listed.get(event.gpu)
        self._whole[event.gpu] = event
        if len(holders) != 1 or (listed is not None and event.at - listed <= STALE):
            return
        number = event.used
        shares = {"": number} if isinstance(number, int) else {}
        for uid in holders:
            yield uid, Held(event.at, event.gpu, shares, bool(shares), whole=True)
