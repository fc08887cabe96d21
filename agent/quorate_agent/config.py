"""The agent's configuration: flags, each with an environment twin (`--node-name` / `QUORATE_NODE_NAME`)."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from quorate.identity.ed25519 import KeyRefusedError, parse_public_key

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
MIB = 2**20


class ConfigError(ValueError):
    """A flag or variable that cannot be used; the message names it, its value and the rule."""


@dataclass(frozen=True, slots=True)
class Config:
    """Everything the composition root needs."""

    node: str
    state: Path
    """Directory of the node's key, the spool and the policies; a hostPath, the agent's alone."""
    policy_key: bytes
    """The operator's Machine key, 32 bytes."""
    backend: str = "nvml"
    source: Path | None = None
    """File of a simulated or replayed backend."""
    api_server: str = ""
    """URL; empty: no API server is asked, and the policies are those on the disk."""
    token: Path = ACCOUNT / "token"
    ca: Path | None = None
    ingest: str = ""
    """URL of the operator's `/ingest`; empty: the agent is offline."""
    ingest_ca: Path | None = None
    socket: Path | None = None
    """Of the workloads; None: there is none."""
    pod_resources: Path = Path("/var/lib/kubelet/pod-resources/kubelet.sock")
    runtime: Path = Path("/run/containerd/containerd.sock")
    proc: Path = Path("/proc")
    cgroup: Path = Path("/sys/fs/cgroup")
    http: tuple[str, int] | None = ("127.0.0.1", 9400)
    labels: Mapping[str, str] = field(default_factory=dict)
    """Of the node, besides those that the API server says."""
    resources: tuple[str, ...] = ("nvidia.com/gpu",)
    """Extended resources whose devices are GPUs."""
    dry_run: bool = False
    grace_seconds: int = 30
    """Between SIGTERM and SIGKILL."""
    spool_bytes: int = 64 * MIB


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="quorate-agent", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("--node-name", metavar="NAME", help="of this node; in a pod: spec.nodeName")
    add("--state", metavar="DIR", help="directory of key, spool and policies (a hostPath)")
    add("--policy-key", metavar="KEY", help="the operator's Machine key, 43 characters of base64")
    add("--backend", choices=("nvml", "simulated", "replay"), help="where readings come from (nvml)")
    add("--source", metavar="FILE", help="state file of simulated devices, or a recording")
    add("--api-server", metavar="URL", help="empty: policies are those on the disk")
    add("--token", metavar="FILE", help="ServiceAccount token")
    add("--ca", metavar="FILE", help="certificates of the API server's issuer")
    add("--ingest", metavar="URL", help="the operator's address for reports and evictions; empty: offline")
    add("--ingest-ca", metavar="FILE", help="certificates of its issuer")
    add("--socket", metavar="PATH", help="socket for workloads; empty: none")
    add("--pod-resources", metavar="PATH", help="the kubelet's pod-resources socket")
    add("--runtime", metavar="PATH", help="the container runtime's CRI socket")
    add("--proc", metavar="DIR", help="the host's /proc")
    add("--cgroup", metavar="DIR", help="the host's /sys/fs/cgroup")
    add("--http", metavar="HOST:PORT", help="for /healthz, /readyz and /metrics; empty: none")
    add("--node-label", metavar="KEY=VALUE", action="append", help="a label of the node; repeatable")
    add("--resource", metavar="NAME", action="append", help="extended resource whose devices are GPUs; repeatable")
    add("--dry-run", action="store_const", const="true", help="policies in Enforce are judged as if in Warn")
    add("--grace-seconds", metavar="N", help="between SIGTERM and SIGKILL (30)")
    add("--spool-mebibytes", metavar="N", help="size of the spool (64)")
    return parser


_LISTS = ("node_label", "resource")
_REQUIRED = ("node_name", "state", "policy_key")


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Config:
    """The configuration of flags and environment; a flag wins.

    Raises:
        ConfigError: names flag, value and rule.
    """
    given = vars(_parser().parse_args(list(arguments)))
    for name, value in given.items():
        if value is None:
            text = environment.get(f"QUORATE_{name.upper()}")
            given[name] = None if text is None else text.split(",") if name in _LISTS and text else text
    for name in _REQUIRED:
        if not given[name]:
            raise ConfigError(f"{_flag(name)}: required")
    return _config({name: value for name, value in given.items() if value})


def _config(given: Mapping[str, str]) -> Config:
    backend = given.get("backend", "nvml")
    if backend not in ("nvml", "simulated", "replay"):
        raise ConfigError(f"--backend {backend!r}: must be nvml, simulated or replay")
    if (backend == "nvml") is ("source" in given):
        raise ConfigError(f"--source {given.get('source', '')!r}: needed by simulated and replay, and by them alone")
    usual = Config(given["node_name"], Path(given["state"]), _key(given["policy_key"]))
    path = {
        name: Path(given[name]) for name in ("token", "pod_resources", "runtime", "proc", "cgroup") if name in given
    }
    maybe = {name: Path(given[name]) for name in ("source", "ca", "ingest_ca", "socket") if name in given}
    ca = maybe.pop("ca", None)
    return Config(
        usual.node,
        usual.state,
        usual.policy_key,
        backend=backend,
        api_server=_url("api_server", given),
        ingest=_url("ingest", given),
        ca=ca or (ACCOUNT / "ca.crt" if (ACCOUNT / "ca.crt").exists() else None),
        http=_address(given["http"]) if "http" in given else usual.http,
        labels=dict(_pair(item) for item in given.get("node_label", ())),
        resources=tuple(given.get("resource", ())) or usual.resources,
        dry_run=given.get("dry_run") == "true",
        grace_seconds=_count("grace_seconds", given, usual.grace_seconds, 3_600),
        spool_bytes=_count("spool_mebibytes", given, usual.spool_bytes // MIB, 4_096) * MIB,
        **path,
        **maybe,
    )


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _key(text: str) -> bytes:
    try:
        return parse_public_key(text)
    except KeyRefusedError as error:
        raise ConfigError(f"--policy-key {text!r}: {error}") from error


def _url(name: str, given: Mapping[str, str]) -> str:
    text = given.get(name, "")
    parts = urlsplit(text)
    if text and (parts.scheme not in ("http", "https") or not parts.hostname or parts.username):
        raise ConfigError(f"{_flag(name)} {text!r}: must be http://HOST or https://HOST, without user or password")
    return text.rstrip("/")


def _address(text: str) -> tuple[str, int] | None:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65_535:
        raise ConfigError(f"--http {text!r}: must be HOST:PORT")
    return host or "0.0.0.0", int(port)  # noqa: S104 - an empty host asks for it


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise ConfigError(f"--node-label {text!r}: must be KEY=VALUE")
    return key, value


def _count(name: str, given: Mapping[str, str], usual: int, most: int) -> int:
    text = given.get(name, str(usual))
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise ConfigError(f"{_flag(name)} {text!r}: must be an integer from 1 to {most}")
    return int(text)
