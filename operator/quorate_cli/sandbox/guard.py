"""Kills what its creator registered once the creator is gone, however it went: the second net under PR_SET_PDEATHSIG.

Run as a script with the standard library only. Reads lines `add PID START` and `del PID START` from standard input; at
its end sends SIGKILL to the process groups that are left, removes the cgroups that a line `own DIRECTORY` named, and
exits.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

_CLEAR_SECONDS = 10.0


def start_time(pid: int) -> str:
    """When a process started, in the platform's own notation; empty if there is none, or only a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return "" if Path("/proc/self").exists() else _start_time_of_ps(pid)
    except (OSError, ValueError):
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def _start_time_of_ps(pid: int) -> str:
    listed = subprocess.run(
        ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    state, _, started = listed.stdout.strip().partition(" ")
    return "" if state.startswith("Z") else started.strip()


def clear_groups(directories: Iterable[str], seconds: float) -> list[str]:
    """Kill who is in these cgroups (v1) or below, and remove them; which are left after `seconds`."""
    deadline = time.monotonic() + seconds
    while left := [directory for directory in directories if Path(directory).is_dir() and not _removed(directory)]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.005)
    return left


def _removed(directory: str) -> bool:
    for place, _, files in os.walk(directory, topdown=False):
        # Frozen processes do not die before they are thawed.
        if "freezer.state" in files:
            with contextlib.suppress(OSError):
                Path(place, "freezer.state").write_text("THAWED")
        with contextlib.suppress(OSError):
            for pid in filter(None, map(int, Path(place, "cgroup.procs").read_text().split())):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            Path(place).rmdir()
    return not Path(directory).is_dir()


def main() -> None:
    """Until the pipe closes: keep the list; then kill."""
    groups: set[tuple[int, str]] = set()
    owned: set[str] = set()
    for line in sys.stdin:
        verb, _, rest = line.rstrip("\n").partition(" ")
        if verb == "own":
            owned.add(rest)
            continue
        pid, started = rest.split(" ", 1)
        entry = (int(pid), started)
        groups.add(entry) if verb == "add" else groups.discard(entry)
    for pid, started in groups:
        # The leader may be gone already and its children not; their group keeps its number from being given away. One
        # that has it with another start time is somebody else.
        if start_time(pid) in ("", started):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
    clear_groups(owned, _CLEAR_SECONDS)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    main()
