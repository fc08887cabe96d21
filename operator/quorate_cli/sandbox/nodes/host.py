"""What the machine can do for real nodes, and which addresses it uses itself."""

import ipaddress
import os
import shutil
import sys
from pathlib import Path

from quorate_cli.sandbox.nodes import cgroup

_TOOLS = {"ip": "iproute2", "mount": "util-linux", "nsenter": "util-linux"}


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
    return f"the cgroup controllers {', '.join(sorted(missing))} are not mounted" if missing else None


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
