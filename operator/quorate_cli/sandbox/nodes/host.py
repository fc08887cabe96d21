"""What the machine can do for real nodes, and which addresses it uses itself."""

import ipaddress
import os
import shutil
import subprocess
import sys
from pathlib import Path

from quorate_cli.sandbox.nodes import cgroup

_TOOLS = {"ip": "iproute2", "mount": "util-linux", "nsenter": "util-linux", "unshare": "util-linux"}
_PROBE = ("unshare", "--mount", "--net", "--pid", "--ipc", "--uts", "--cgroup", "--fork", "--kill-child", "sh", "-ec")
_NEEDS = """mount -t proc proc /proc
mount -t tmpfs probe /mnt
mkdir /mnt/lower /mnt/upper /mnt/work /mnt/merged /mnt/groups
mount -t overlay -o lowerdir=/mnt/lower,upperdir=/mnt/upper,workdir=/mnt/work probe /mnt/merged
mount -t cgroup -o memory cgroup /mnt/groups
ip link add bridge0 type bridge
ip link add one type veth peer name other"""
"""What every node does, tried in namespaces that end with it: root of a container may not."""
_PROBE_SECONDS = 20


def unavailable() -> str | None:
    """Why real nodes cannot run here, as the end of a sentence; None if they can."""
    if sys.platform != "linux":
        return "they need Linux"
    if os.geteuid() != 0:
        return "they need root"
    for tool, package in _TOOLS.items():
        if shutil.which(tool) is None:
            return f"`{tool}` is missing (install {package})"
    if not cgroup.hierarchies():
        return "they need cgroup v1, and this machine mounts none at /sys/fs/cgroup"
    missing = cgroup.NEEDED - {each for mounted in cgroup.hierarchies() for each in mounted.controllers}
    return f"the cgroup controllers {', '.join(sorted(missing))} are not mounted" if missing else _refused()


def _refused() -> str | None:
    for mounted in cgroup.hierarchies():
        if not os.access(mounted.directory, os.W_OK):
            return f"{mounted.directory} is read-only, as in a container"
    try:
        done = subprocess.run((*_PROBE, _NEEDS), check=False, capture_output=True, text=True, timeout=_PROBE_SECONDS)
    except subprocess.TimeoutExpired:
        return f"namespaces, mounts and links could not be tried within {_PROBE_SECONDS} s"
    said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
    return f"the system refuses root what they need, as in a container: {said}" if done.returncode else None


def ranges() -> list[str]:
    """The IPv4 ranges that the machine has a route to, but for the default route."""
    found = []
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        fields = line.split()
        destination, mask = (bytes.fromhex(fields[index])[::-1] for index in (1, 7))
        if any(mask):
            each = ipaddress.IPv4Network((int.from_bytes(destination), str(ipaddress.IPv4Address(mask))))
            found.append(str(each))
    return found
