"""Actions that were begun within the last hour, on the disk: cool-downs and latches survive a restart of the agent."""

from pathlib import Path
from typing import Any

import orjson

from quorate.api.mission_policy import LadderAction
from quorate.missions.samples import Pod, Taken
from quorate.missions.series import SECOND
from quorate_agent.files import write_whole
from quorate_agent.ports import SpoolError

HOUR = 3_600 * SECOND
MOST = 4_096


class TakenActions:
    """Uid, owner, action and time of each; a file that cannot be read is taken for an empty one, and replaced."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._rows: list[tuple[str, str, str, int]] = []
        try:
            self._rows = [(str(uid), str(owner), str(action), int(at)) for uid, owner, action, at in _read(file)]
        except (ValueError, TypeError):
            self._rows = []

    def earlier(self, now: int) -> list[Taken]:
        """Those of the last hour."""
        known = set(LadderAction)
        return [
            Taken(at, uid, owner, LadderAction(action))
            for uid, owner, action, at in self._rows
            if now - HOUR < at <= now and action in known
        ]

    def add(self, pods: list[tuple[Pod, str]], now: int) -> None:
        """Write down that actions are begun.

        Raises:
            SpoolError: it could not be written, so they must not be begun.
        """
        rows = [row for row in self._rows if row[3] > now - HOUR]
        rows += [(pod.uid, pod.owner, action, now) for pod, action in pods]
        self._rows = rows[-MOST:]
        try:
            write_whole(self._file, orjson.dumps(self._rows))
        except OSError as error:
            raise SpoolError(f"{self._file}: {error.strerror}") from error


def _read(file: Path) -> list[Any]:
    try:
        found = orjson.loads(file.read_bytes())
    except OSError:
        return []
    return found if isinstance(found, list) else []
