"""Whose process it is: every form of path that kubelets and runtimes write, and real processes in real cgroups."""

import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from quorate.missions.samples import Missing
from quorate_agent.cgroups import ProcResolver, parse_owner
from quorate_agent.hostmemory import HostMemory

UID = "9fd6f4c1-7a0e-4f7b-9f0a-0c9d6c1f2a3b"
SLICE = UID.replace("-", "_")
CID = "0123456789abcdef" * 4
BURSTABLE = f"kubepods-burstable-pod{SLICE}.slice"
V1 = f"/kubepods/burstable/pod{UID}/{CID}"
ROOT = Path("/sys/fs/cgroup")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"0::/kubepods.slice/kubepods-burstable.slice/{BURSTABLE}/cri-containerd-{CID}.scope", (UID, CID)),
        (f"0::/kubepods.slice/kubepods-pod{SLICE}.slice/cri-containerd-{CID}.scope", (UID, CID)),
        (f"0::/kubepods/burstable/pod{UID}/{CID}", (UID, CID)),
        (f"0::/kubepods/pod{UID}/{CID}", (UID, CID)),
        (f"0::/kubepods.slice/kubepods-besteffort-pod{SLICE}.slice/crio-{CID}.scope", (UID, CID)),
        (f"0::/kubepods.slice/kubepods-burstable.slice/{BURSTABLE}/crio-{CID}.scope/container", (UID, CID)),
        (f"0::/kubepods.slice/kubepods-burstable.slice/{BURSTABLE}/docker-{CID}.scope", (UID, CID)),
        (f"0::/kubelet.slice/kubelet-kubepods.slice/kubelet-{BURSTABLE}/cri-containerd-{CID}.scope", (UID, CID)),
        (f"0::/kubelet/kubepods/burstable/pod{UID}/{CID}", (UID, CID)),
        (f"0::/../../pod{UID}/{CID}", (UID, CID)),
        (f"0::/../cri-containerd-{CID}.scope", None),
        (f"0::/kubepods/burstable/pod{'a1b2' * 8}/{CID}", ("a1b2" * 8, CID)),
        (f"0::/system.slice/containerd.service/{BURSTABLE}:cri-containerd:{CID}", (UID, CID)),
        (f"0::/kubepods/burstable/pod{UID}", (UID, "")),
        ("0::/user.slice/user-1000.slice/session-3.scope", None),
        (f"0::/docker/{CID}", None),
        ("0::/kubepods/podnot-a-uid/x", None),
        ("", None),
        (f"12:cpu,cpuacct:{V1}\n4:memory:{V1}\n1:name=systemd:{V1}", (UID, CID)),
        (f"8:devices:/\n4:memory:/kubepods.slice/{BURSTABLE}/docker-{CID}.scope\n0::/kubelet.service", (UID, CID)),
    ],
)  # fmt: skip
def test_forms_of_paths(text: str, expected: tuple[str, str] | None) -> None:
    """Systemd and cgroupfs drivers, containerd, CRI-O, docker, kind, v1 and v2, relative, static pods, no pod."""
    found = parse_owner(text)
    assert (None if found is None else (found.uid, found.container)) == expected


def proc(path: Path, pid: int, *, comm: str = "python", start: int = 77, cgroup: str = "0::/") -> None:
    folder = path / str(pid)
    folder.mkdir(parents=True)
    fields = " ".join(["S", *["0"] * 18, str(start), *["0"] * 20])
    (folder / "stat").write_text(f"{pid} ({comm}) {fields}\n")
    (folder / "cgroup").write_text(cgroup + "\n")
    (folder / "comm").write_text(comm + "\n")


def test_a_pid_that_was_reused_is_nobody(tmp_path: Path) -> None:
    """A process is its pid and its start time; a command's name may hold anything."""
    proc(tmp_path, 5, comm="a) R 1 (b c", cgroup=f"0::/kubepods/pod{UID}/{CID}")
    resolver = ProcResolver(tmp_path)
    assert resolver.start_of(5) == 77
    owner = resolver.owner_of(5, 77)
    assert owner is not None
    assert owner.uid == UID
    assert resolver.owner_of(5, 78) is None
    assert resolver.start_of(6) is None
    assert resolver.owner_of(6, 1) is None
    assert resolver.processes_of(UID) == [(5, 77, CID)]
    assert resolver.memory_path(5) == f"kubepods/pod{UID}"


@pytest.fixture
def hierarchy() -> Iterator[Path]:
    """A writable memory hierarchy of this machine, v1 or v2, with a kubepods directory of our own."""
    unified = (ROOT / "cgroup.controllers").exists()
    root = ROOT if unified else ROOT / "memory"
    if os.geteuid() != 0 or not os.access(root, os.W_OK):
        pytest.skip(f"{root} is not writable here (needs root and a memory hierarchy)")
    top = root / f"kubepods-test-{uuid.uuid4().hex[:8]}"
    try:
        top.mkdir()
    except OSError as error:
        pytest.skip(f"{top}: {error.strerror}")
    yield top
    for folder in sorted(top.rglob("*"), reverse=True):
        if folder.is_dir():
            folder.rmdir()
    top.rmdir()


def test_real_processes_in_real_cgroups(hierarchy: Path) -> None:
    """The true pid of a process in a pod's cgroup of this kernel leads to pod and container, and to its memory."""
    leaf = hierarchy / f"pod{UID}" / CID
    leaf.mkdir(parents=True)
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        try:
            (leaf / "cgroup.procs").write_text(str(sleeper.pid))
            resolver = ProcResolver()
            start = resolver.start_of(sleeper.pid)
            assert start is not None
            owner = resolver.owner_of(sleeper.pid, start)
            assert owner is not None
            assert (owner.uid, owner.container) == (UID, CID)
            assert resolver.processes_of(UID) == [(sleeper.pid, start, CID)]
            path = resolver.memory_path(sleeper.pid)
            assert path is not None
            assert path.endswith(f"pod{UID}")
            memory = HostMemory(ROOT).read(path)
            assert isinstance(memory, int)
        finally:
            sleeper.kill()
            sleeper.wait()
    assert resolver.start_of(sleeper.pid) is None


def test_host_memory_of_both_hierarchies(tmp_path: Path) -> None:
    """The working set: usage without inactive file pages; a cgroup that is gone is no zero."""
    for root, folder, usage, inactive in (
        (tmp_path / "v2", tmp_path / "v2/pod", "memory.current", "inactive_file"),
        (tmp_path / "v1", tmp_path / "v1/memory/pod", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        folder.mkdir(parents=True)
        (folder / usage).write_text("1000\n")
        (folder / "memory.stat").write_text(f"anon 5\n{inactive} 300\n")
        if root.name == "v2":
            (root / "cgroup.controllers").write_text("memory")
        assert HostMemory(root).read("pod") == 700
        assert HostMemory(root).read("gone") is Missing.LOST
        assert HostMemory(root).read(None) is Missing.LOST
