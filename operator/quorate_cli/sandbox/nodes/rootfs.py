"""The file system that a node sees: a small root of its own, nothing of the machine's that can be written.

Called in the node's first process, in new mount, pid, network and cgroup namespaces, with which what is mounted ends.
"""

import os
import stat
from pathlib import Path

from quorate_cli.sandbox.nodes import kernel
from quorate_cli.sandbox.nodes.cgroup import Hierarchy

_PROGRAMS = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32")
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "kmsg", "fuse", "net/tun")
_LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "ptmx": "pts/ptmx"}
_QUIET = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
_KUBELET_WANTS = {
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
}
"""What kubelet would write into the machine's kernel: it reads these instead, and leaves them."""


def enter(node: Path, programs: Path, images: Path, groups: list[Hierarchy]) -> None:
    """Become a process in the node's root.

    `node` holds `etc`, `var` and an empty `root`; `programs` is the directory of the node's binaries, `images` that of
    the archives it imports.
    """
    kernel.mount("", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
    root = node / "root"
    kernel.mount("tmpfs", root, "tmpfs", kernel.MS_NOSUID, "mode=755")
    _machine(root)
    own = {"etc": node / "etc", "var": node / "var", "opt/quorate/bin": programs, "opt/quorate/images": images}
    for name, source in own.items():
        (root / name).mkdir(parents=True)
        kernel.bind(source, root / name, read_only=name != "var")
    _devices(root / "dev")
    (root / "root").mkdir()
    for name, kind, flags, options in (
        ("run", "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=755"),
        ("tmp", "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=1777"),
        ("proc", "proc", _QUIET, ""),
        ("sys", "sysfs", _QUIET, ""),
    ):
        (root / name).mkdir()
        kernel.mount(kind, root / name, kind, flags, options)
    _groups(root / "sys/fs/cgroup", groups)
    _settings(root)
    (root / ".old").mkdir()
    kernel.pivot_root(root, root / ".old")
    # Pods with mount propagation, and kubelet itself, want a shared root.
    kernel.mount("", "/", "", kernel.MS_REC | kernel.MS_SHARED)


def _machine(root: Path) -> None:
    """The machine's programs, for reading; links stay links."""
    for name in _PROGRAMS:
        source, target = Path("/", name), root / name
        if source.is_symlink():
            target.symlink_to(source.readlink())
        elif source.is_dir():
            target.mkdir()
            kernel.bind(source, target, read_only=True)


def _devices(directory: Path) -> None:
    directory.mkdir()
    kernel.mount("tmpfs", directory, "tmpfs", kernel.MS_NOSUID, "mode=755")
    for name in _DEVICES:
        source, target = Path("/dev", name), directory / name
        if source.exists():
            found = source.stat()
            target.parent.mkdir(exist_ok=True)
            os.mknod(target, stat.S_IFCHR, found.st_rdev)
            target.chmod(stat.S_IMODE(found.st_mode))
    for name, link in _LINKS.items():
        (directory / name).symlink_to(link)
    for name, kind, options in (
        ("pts", "devpts", "newinstance,ptmxmode=0666"),
        ("shm", "tmpfs", ""),
        ("mqueue", "mqueue", ""),
    ):
        (directory / name).mkdir()
        kernel.mount(kind, directory / name, kind, kernel.MS_NOSUID | kernel.MS_NOEXEC, options)


def _groups(directory: Path, groups: list[Hierarchy]) -> None:
    """The node's control groups; in its cgroup namespace its own directory is their root."""
    kernel.mount("tmpfs", directory, "tmpfs", _QUIET, "mode=755")
    for each in groups:
        target = directory / each.directory.name
        target.mkdir()
        kernel.mount("cgroup", target, "cgroup", _QUIET, each.options)
        for name in each.controllers:
            if name != target.name:
                (directory / name).symlink_to(target.name)


def _settings(root: Path) -> None:
    """Kernel settings that are the machine's cannot be written, and kubelet finds those that it wants."""
    settings = root / "proc/sys"
    for place in (settings / "kernel", settings / "vm", settings / "fs", root / "proc/sysrq-trigger"):
        if place.exists():
            kernel.bind(place, place, read_only=True)
    for name, value in _KUBELET_WANTS.items():
        shown = root / "run" / f"sysctl-{name.replace('/', '-')}"
        shown.write_text(f"{value}\n")
        kernel.bind(shown, settings / name, read_only=True)
