"""Actions that were begun, on the disk: cool-downs, latches and what was set on devices survive a restart."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from quorate.api.mission_policy import LadderAction
from quorate.missions.samples import DeviceTaken, Pod, Taken
from quorate.missions.series import SECOND
from quorate_agent.files import write_whole
from quorate_agent.ports import SpoolError

HOUR = 3_600 * SECOND
MOST = 4_096


class TakenActions:
    """On pods those of the last hour, on devices the last of each kind; a file that cannot be read is an empty one."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._rows: list[tuple[str, str, str, int]] = []
        self._devices: dict[str, DeviceTaken] = {}
        try:
            kept = _read(file)
            self._rows = [(str(uid), str(owner), str(action), int(at)) for uid, owner, action, at in kept["pods"]]
            for at, gpu, action, policy, value in kept["devices"]:
                self._note(DeviceTaken(int(at), str(gpu), str(action), str(policy), int(value)))
        except (ValueError, TypeError, KeyError):
            self._rows, self._devices = [], {}

    def earlier(self, now: int) -> list[Taken]:
        """Those of the last hour."""
        known = set(LadderAction)
        return [
            Taken(at, uid, owner, LadderAction(action))
            for uid, owner, action, at in self._rows
            if now - HOUR < at <= now and action in known
        ]

    def devices(self) -> list[DeviceTaken]:
        """What was done to devices, in the order in which it was."""
        return sorted(self._devices.values(), key=lambda taken: taken.at)

    def _note(self, taken: DeviceTaken) -> None:
        kind = "Compute" if taken.action.endswith("Compute") else taken.action
        self._devices[f"{taken.gpu}/{kind}"] = taken

    def add(self, pods: list[tuple[Pod, str]], devices: Iterable[DeviceTaken], now: int) -> None:
        """Write down that actions are begun.

        Raises:
            SpoolError: it could not be written, so they must not be begun.
        """
        rows = [row for row in self._rows if row[3] > now - HOUR]
        rows += [(pod.uid, pod.owner, action, now) for pod, action in pods]
        self._rows = rows[-MOST:]
        for taken in devices:
            self._note(taken)
        try:
            kept = [(each.at, each.gpu, each.action, each.policy, each.value) for each in self.devices()]
            write_whole(self._file, orjson.dumps({"pods": self._rows, "devices": kept}))
        except OSError as error:
            raise SpoolError(f"{self._file}: {error.strerror}") from error


def _read(file: Path) -> dict[str, Any]:
    try:
        return dict(orjson.loads(file.read_bytes()))
    except FileNotFoundError:
        return {"pods": [], "devices": []}
    except OSError as error:
        raise ValueError(str(error)) from error
