"""Host memory of pods: the working set of a pod's memory cgroup, as the kubelet reckons it."""

from pathlib import Path

from quorate.missions.samples import Missing, Reading


class HostMemory:
    """Reads cgroup v2 or v1 below a root.

    Args:
        root: the host's /sys/fs/cgroup.
    """

    def __init__(self, root: Path) -> None:
        unified = (root / "cgroup.controllers").exists()
        self._root = root if unified else root / "memory"
        self._usage = "memory.current" if unified else "memory.usage_in_bytes"
        self._inactive = "inactive_file " if unified else "total_inactive_file "

    def read(self, path: str | None) -> Reading:
        """Usage without file pages that nobody used lately; LOST where the cgroup is gone or was never found."""
        if path is None:
            return Missing.LOST
        directory = self._root / path
        try:
            used = int((directory / self._usage).read_text())
            stat = (directory / "memory.stat").read_text()
        except PermissionError:
            return Missing.NO_PERMISSION
        except (OSError, ValueError):
            return Missing.LOST
        inactive = next((line for line in stat.splitlines() if line.startswith(self._inactive)), "0 0")
        return max(0, used - int(inactive.split()[1]))
