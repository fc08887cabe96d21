"""A node's control groups: one directory in each cgroup v1 hierarchy, which the node sees as its root."""

from dataclasses import dataclass
from pathlib import Path

from quorate_cli.sandbox.guard import clear_groups

ROOT = Path("/sys/fs/cgroup")
NEEDED = {"cpu", "cpuset", "memory", "devices", "freezer", "pids"}
"""Without these kubelet or runc does not start."""
REMOVE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """A mounted cgroup v1 hierarchy."""

    directory: Path
    controllers: tuple[str, ...]
    name: str = ""
    """Of one without controllers, like systemd's own: containerd finds no cgroup at all where one is missing."""

    @property
    def options(self) -> str:
        """Mount options that mean this hierarchy."""
        return ",".join(self.controllers) or f"none,name={self.name}"


def hierarchies() -> list[Hierarchy]:
    """The machine's v1 hierarchies."""
    mounts, found = Path("/proc/self/mounts"), []
    for line in mounts.read_text().splitlines() if mounts.exists() else ():
        _, directory, kind, options, *_ = line.split()
        if kind == "cgroup" and Path(directory).parent == ROOT:
            names = tuple(each for each in options.split(",") if each in _controllers())
            name = next((each[5:] for each in options.split(",") if each.startswith("name=")), "")
            if names or name:
                found.append(Hierarchy(Path(directory), names, name))
    return found


def _controllers() -> set[str]:
    return {line.split()[0] for line in Path("/proc/cgroups").read_text().splitlines() if not line.startswith("#")}


def directories(group: str) -> list[Path]:
    """Where a group is, in every hierarchy."""
    return [each.directory / group for each in hierarchies()]


def create(group: str) -> list[Path]:
    """Make a group in every hierarchy; what is left of an earlier one, processes too, is removed first.

    Raises:
        TimeoutError: something of the earlier one cannot be removed.
    """
    remove(group)
    made = directories(group)
    for directory in made:
        directory.mkdir()
        # A cpuset takes nobody before it says which processors and memory it has.
        for name in ("cpuset.cpus", "cpuset.mems"):
            if (directory / name).exists():
                (directory / name).write_text((directory.parent / name).read_text())
    return made


def join(groups: list[Path]) -> None:
    """Move the calling process there."""
    for directory in groups:
        (directory / "cgroup.procs").write_text("0")


def remove(group: str, seconds: float = REMOVE_SECONDS) -> None:
    """Kill who is in a group or below and remove it from every hierarchy; idempotent.

    Raises:
        TimeoutError: something is still there after `seconds`.
    """
    left = clear_groups([str(directory) for directory in directories(group)], seconds)
    if left:
        raise TimeoutError(f"the cgroups {', '.join(left)} cannot be removed")
