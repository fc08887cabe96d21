"""What a real node runs, built once from pinned modules into `<cache>/nodes/<key>`."""

import hashlib
import json
import platform
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from quorate_cli.sandbox import debian, gobuild
from quorate_cli.sandbox.binaries import Cache, cache_root, this_machine
from quorate_cli.sandbox.errors import SandboxError
from quorate_cli.sandbox.layout import locked
from quorate_cli.sandbox.processes import Guard
from quorate_cli.sandbox.versions import CONTAINERD, KUBERNETES, LDFLAGS, RUNC

Say = Callable[[str], None]
_CONTAINERD = "github.com/containerd/containerd/v2"
_CONTAINERD_LDFLAGS = f"-s -w -X {_CONTAINERD}/version.Version={CONTAINERD}"
_CONTAINERD_TAGS = "no_btrfs,no_devmapper,no_zfs,no_aufs"
_PLUGINS = "github.com/containernetworking/plugins/plugins"


@dataclass(frozen=True, slots=True)
class Part:
    """One binary: the module under `hack/` that pins it, its package and how it is linked."""

    module: str
    package: str
    ldflags: str = "-s -w"
    tags: str = ""
    minutes: int = 1


PARTS = {
    "kubelet": Part("kubelet", "k8s.io/kubernetes/cmd/kubelet", LDFLAGS),
    "containerd": Part("nodes", f"{_CONTAINERD}/cmd/containerd", _CONTAINERD_LDFLAGS, _CONTAINERD_TAGS, 3),
    "containerd-shim-runc-v2": Part(
        "nodes", f"{_CONTAINERD}/cmd/containerd-shim-runc-v2", _CONTAINERD_LDFLAGS, _CONTAINERD_TAGS
    ),
    "ctr": Part("nodes", f"{_CONTAINERD}/cmd/ctr", _CONTAINERD_LDFLAGS, _CONTAINERD_TAGS),
    "bridge": Part("nodes", f"{_PLUGINS}/main/bridge"),
    "host-local": Part("nodes", f"{_PLUGINS}/ipam/host-local"),
    # Without the seccomp tag every pod that drops privileges fails ("unable to init seccomp").
    "runc": Part(
        "nodes",
        "github.com/opencontainers/runc",
        f"-s -w -extldflags -static -X main.version={RUNC}",
        "seccomp,netgo,osusergo",
    ),
}
"""Binary → how it is built, in the order that compiles shared packages first; `pause` is C and comes last."""
NAMES = (*PARTS, "pause")


def find(say: Say) -> Path:
    """The directory that holds every part, built if need be; `say` gets a line for every step that takes long.

    Raises:
        SandboxError: one cannot be built; what could be stays in the cache.
    """
    cache = Cache(cache_root() / "nodes" / _key())
    if all(cache.get(name) for name in NAMES):
        return cache.directory
    try:
        cache.directory.mkdir(parents=True, exist_ok=True)
        with locked(cache.directory.with_name(f".{cache.directory.name}.lock")):
            cache.clean()
            _build([name for name in NAMES if not cache.get(name)], cache, say)
    except OSError as error:
        raise SandboxError(
            f"the parts of real nodes cannot be kept in {cache.directory} ({error.strerror}); "
            "free space there, or name another directory in QUORATE_CACHE"
        ) from None
    return cache.directory


def _key() -> str:
    target, hack = this_machine(), gobuild.hack_directory()
    parts = [[name, part.package, part.ldflags, part.tags] for name, part in PARTS.items()]
    digest = hashlib.sha256(json.dumps([parts, target.os, target.arch]).encode())
    for file in (hack / module / name for module in ("kubelet", "nodes") for name in ("go.mod", "go.sum")):
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return f"{KUBERNETES}-{digest.hexdigest()[:16]}"


def _build(names: list[str], cache: Cache, say: Say) -> None:
    go, hack = gobuild.find_go(), gobuild.hack_directory()
    gobuild.check_space(cache.directory)
    with Guard() as guard:
        for number, name in enumerate(names, 1):
            minutes = PARTS[name].minutes if name in PARTS else 1
            say(f"building {name} ({number} of {len(names)}; up to {minutes} min the first time on two cores)")
            output = cache.directory / f".part-{name}"
            args, env, module = _command(name, go, hack, output, say)
            gobuild.compile_one(name, args, env, module, output, guard)
            cache.put(name, output)


def _command(name: str, go: str, hack: Path, output: Path, say: Say) -> tuple[list[str], dict[str, str], Path]:
    if name == "pause":
        source = _module_directory(go, hack / "kubelet", "k8s.io/kubernetes") / "build/pause/linux/pause.c"
        args = [_gcc(), "-Os", "-s", "-static", f"-DVERSION={KUBERNETES[1:]}", "-o", str(output), str(source)]
        return args, {}, hack / "kubelet"
    part = PARTS[name]
    args = [go, "build", "-mod=readonly", "-trimpath", "-tags", part.tags, "-ldflags", part.ldflags]
    args += ["-o", str(output), part.package]
    env = _static_c(say) if name == "runc" else {"CGO_ENABLED": "0"}
    return args, env, hack / part.module


def _module_directory(go: str, module: Path, path: str) -> Path:
    """Where Go keeps a pinned module's sources."""
    done = subprocess.run(
        [go, "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", path],
        cwd=module, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if done.returncode != 0 or not done.stdout.strip():
        raise SandboxError(f"the sources of {path} cannot be found: {done.stderr.strip()[-300:]}")
    return Path(done.stdout.strip())


def _gcc() -> str:
    found = shutil.which("gcc")
    if found is None:
        raise SandboxError("building runc and pause needs gcc with a static C library; install gcc and libc6-dev")
    return found


def _static_c(say: Say) -> dict[str, str]:
    """Where cgo finds a static libseccomp: the system's, else Debian's package, unpacked in the cache."""
    env = {"CGO_ENABLED": "1", "CC": _gcc()}
    if Path("/usr/include/seccomp.h").exists():
        return env
    root = debian.package("libseccomp-dev", purpose="building runc", say=say)
    libraries = f"{root}/usr/lib/{platform.machine()}-linux-gnu"
    return env | {
        "CGO_CFLAGS": f"-O2 -I{root}/usr/include",
        "CGO_LDFLAGS": f"-L{libraries}",
        "PKG_CONFIG_PATH": f"{libraries}/pkgconfig",
        "PKG_CONFIG_SYSROOT_DIR": str(root),
    }
