"""Whose process it is, by its cgroup: pod uid and container id in every form that kubelets and runtimes write.

A path is what /proc/PID/cgroup says. Forms (docs/agent.md, "Whose process"): systemd slices
`…-pod<uid with _>.slice/cri-containerd-<id>.scope`, cgroupfs `/kubepods/burstable/pod<uid>/<id>`, a prefix of its own
(kind: `/kubelet/kubepods/…`), a path that is relative to the reader's own namespace (`/../../…`).
"""

import re
from pathlib import Path

from quorate_agent.ports import Owner

_POD = re.compile(r"(?:^|-)pod([0-9a-f]{8}(?:[-_]?[0-9a-f]{4}){3}[-_]?[0-9a-f]{12})(?:\.slice)?$")
_CONTAINER = re.compile(r"(?:^|[-:])([0-9a-f]{64})(?:\.scope)?$")
_WANTED = ("memory", "pids", "cpu", "name=systemd")
"""Controllers of cgroup v1 whose path is taken, in this order."""


def parse_owner(text: str) -> Owner | None:
    """The owner by the content of /proc/PID/cgroup; None: the process is no pod's."""
    for path in paths_of(text):
        found = owner_of_path(path)
        if found is not None:
            return found
    return None


def paths_of(text: str) -> list[str]:
    """The paths of the hierarchies: v2's first, then v1's in the order in which they are trusted."""
    rows = [line.split(":", 2) for line in text.splitlines() if line.count(":") >= 2]
    unified = [path for number, controllers, path in rows if number == "0" and not controllers]
    ranked = [
        (_WANTED.index(name), path)
        for _, controllers, path in rows
        for name in controllers.split(",")
        if name in _WANTED
    ]
    return unified + [path for _, path in sorted(ranked)]


def owner_of_path(path: str) -> Owner | None:
    """Pod and container of one path: the last segment that names a pod, and a container anywhere below it."""
    uid, container = "", ""
    for segment in re.split("[/:]", path):  # runc without systemd keeps its `slice:prefix:id`
        pod = _POD.search(segment)
        if pod is not None:
            uid, container = pod[1], ""
            continue
        found = _CONTAINER.search(segment)
        if uid and not container and found is not None:
            container = found[1]
    return Owner(_uid(uid), container) if uid else None


def _uid(text: str) -> str:
    """A static pod's uid is 32 hex digits without dashes; all others are written with them."""
    return text.replace("_", "-")


class ProcResolver:
    """`PodResolver` over a /proc, which is the host's where the agent shares its pid namespace."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = str(proc)

    def _text(self, pid: int, name: str) -> str:
        with open(f"{self._proc}/{pid}/{name}", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - hot
            return file.read()

    def start_of(self, pid: int) -> int | None:
        """Field 22 of stat; the command's name, which may hold anything, ends with the last parenthesis."""
        try:
            return int(self._text(pid, "stat").rpartition(")")[2].split(None, 20)[19])
        except (OSError, ValueError, IndexError):
            return None

    def owner_of(self, pid: int, start: int) -> Owner | None:
        """The start time is compared after the cgroup was read: it is then this process's."""
        try:
            found = parse_owner(self._text(pid, "cgroup"))
        except OSError:
            return None
        return found if self.start_of(pid) == start else None

    def processes_of(self, uid: str) -> list[tuple[int, int, str]]:
        """Every process of a pod: pid, start time, container id. Looks at all processes of the machine."""
        found = []
        for entry in Path(self._proc).iterdir():
            start = self.start_of(int(entry.name)) if entry.name.isdecimal() else None
            owner = None if start is None else self.owner_of(int(entry.name), start)
            if start is not None and owner is not None and owner.uid == uid and owner.container:
                found.append((int(entry.name), start, owner.container))
        return found

    def is_pause(self, pid: int) -> bool:
        """Whether it is a sandbox's process, which holds a pod's namespaces and nothing else."""
        try:
            return self._text(pid, "comm").strip() == "pause"
        except OSError:
            return False

    def memory_path(self, pid: int) -> str | None:
        """The pod's directory below the memory hierarchy's root, by a process of it; None where it has none."""
        try:
            text = self._text(pid, "cgroup")
        except OSError:
            return None
        for path in paths_of(text):
            parts = path.split("/")
            last = max((i for i, part in enumerate(parts) if _POD.search(part)), default=None)
            if last is not None and ".." not in parts:
                return "/".join(parts[1 : last + 1])
        return None
