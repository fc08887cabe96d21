"""Kills what its creator registered once the creator is gone, however it went: the second net under PR_SET_PDEATHSIG.

Run as a script with the standard library only. Reads lines `add PID START` and `del PID START` from standard input; at
its end sends SIGKILL to the process groups that are left and exits.
"""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path


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


def main() -> None:
    """Until the pipe closes: keep the list; then kill."""
    groups: set[tuple[int, str]] = set()
    for line in sys.stdin:
        verb, pid, started = line.rstrip("\n").split(" ", 2)
        entry = (int(pid), started)
        groups.add(entry) if verb == "add" else groups.discard(entry)
    for pid, started in groups:
        # The leader may be gone already and its children not; their group keeps its number from being given away. One
        # that has it with another start time is somebody else.
        if start_time(pid) in ("", started):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    main()
