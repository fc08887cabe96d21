"""The operator's configuration: flags, each with an environment twin (`--node-id` / `QUORATE_NODE_ID`)."""

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from quorate.canonical import is_digest

_PIN = re.compile(r"[^/=]+/[^/=]+")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
_ARCHIVE = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


PROFILES = ("observe", "enforce")


class ConfigError(ValueError):
    """A flag or variable that cannot be used; the message names it, its value and the rule."""


@dataclass(frozen=True, slots=True)
class Config:
    """Everything the composition root needs; times in seconds."""

    node_id: str
    """UUID of the hub this operator is; it decides only for domains whose homeHub this is (trust.md)."""
    dsn: str = field(repr=False)
    """Postgres connection string; may hold a password, so it is never printed."""
    kubeconfig: Path | None = None
    """None: the Pod's own ServiceAccount."""
    pins: Mapping[str, str] = field(default_factory=dict)
    """`<meshId>/<name>` → digest of revision 1."""
    log_keys: Path | None = None
    """Directory of C2SP signer keys of the logs."""
    lease_seconds: float = 15.0
    http: tuple[str, int] = ("127.0.0.1", 8080)
    checkpoint_seconds: int = 60
    publish: str = ""
    """Directory or URL where the log is published; empty: nowhere."""
    verify_at: int = 2 * 3600
    """Seconds after midnight UTC from which the whole log is verified by night."""
    archives: Mapping[str, Path] = field(default_factory=dict)
    """Directory of each archive that an AuditCheckpoint may name."""
    retention_days: int = 90
    webhook: str = field(default="", repr=False)
    """Receiver of "your vote is needed"; may hold a token, so it is never printed. Empty: Events alone."""
    webhook_key: Path | None = None
    """File of the keys that sign its messages."""
    webhook_lead_seconds: int = 86_400
    """How long before its end a vote is reminded of."""
    machine_key: Path | None = None
    """File of the Machine key that signs what node agents are given; None: no policy reaches a node."""
    agent_image: str = ""
    """Image of the node agent; empty: the operator deploys none."""
    agent_env: Mapping[str, str] = field(default_factory=dict)
    """Further environment of the node agent, its flags by their twins."""
    agent_profile: str = "observe"
    """Rights of the node agent, one of `PROFILES`."""
    identity: str = ""
    """Holder identity in the Lease; empty: host name and process id."""

    @property
    def renew_deadline_seconds(self) -> float:
        """How long the leader tries to renew before it stops: 10 of 15."""
        return self.lease_seconds * 2 / 3

    @property
    def retry_seconds(self) -> float:
        """How often leader and candidates try: 2 of 15."""
        return self.lease_seconds * 2 / 15


_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _pins(values: Sequence[str]) -> dict[str, str]:
    pins: dict[str, str] = {}
    for value in values:
        domain, _, digest = value.partition("=")
        if not _PIN.fullmatch(domain) or not is_digest(digest):
            raise ConfigError(f"--pin {value!r}: must be <meshId>/<name>=sha256:<64 hex digits>")
        if pins.setdefault(domain, digest) != digest:
            raise ConfigError(f"--pin {value!r}: {domain} is already pinned to {pins[domain]}")
    return pins


def _archives(values: Sequence[str]) -> dict[str, Path]:
    archives: dict[str, Path] = {}
    for value in values:
        name, _, place = value.partition("=")
        if not _ARCHIVE.fullmatch(name) or not place:
            raise ConfigError(f"--archives {value!r}: must be <name>=<directory>, the name of [a-z0-9.-]")
        if archives.setdefault(name, Path(place)) != Path(place):
            raise ConfigError(f"--archives {value!r}: {name} is already {archives[name]}")
    return archives


def _variables(values: Sequence[str]) -> dict[str, str]:
    variables: dict[str, str] = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not equals or not _VARIABLE.fullmatch(name):
            raise ConfigError(f"--agent-env {value!r}: must be NAME=VALUE, the name of [A-Z0-9_]")
        variables[name] = text
    return variables


def _address(value: str) -> tuple[str, int]:
    host, _, port = value.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"--http {value!r}: must be HOST:PORT with a port up to 65535")
    return host.strip("[]"), int(port)


def _number(name: str, value: str, minimum: float) -> float:
    try:
        number = float(value)
    except ValueError:
        raise ConfigError(f"{name} {value!r}: must be a number") from None
    if not number >= minimum or number == float("inf"):
        raise ConfigError(f"{name} {value!r}: must be at least {minimum:g}")
    return number


def _time_of_day(name: str, value: str) -> int:
    found = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)", value, re.ASCII)
    if found is None:
        raise ConfigError(f"{name} {value!r}: must be HH:MM, from 00:00 to 23:59")
    return int(found[1]) * 3600 + int(found[2]) * 60


def _webhook(url: str, key: str) -> str:
    """The sentence never shows the URL: its path may be a token."""
    if not url:
        return url
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError("--webhook: must be an http or https URL with a host")
    if parts.username is not None or parts.password is not None:
        raise ConfigError("--webhook: must hold no user and no password; the signature tells who calls")
    if not key:
        raise ConfigError("--webhook-key: is required with --webhook: messages are signed")
    return url


def _parser(env: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="quorate-operator", description="The Quorate operator.", allow_abbrev=False)

    def flag(name: str, default: str, text: str) -> None:
        variable = "QUORATE_" + name.removeprefix("--").upper().replace("-", "_")
        parser.add_argument(name, default=env.get(variable, default), help=f"{text} ({variable})")

    flag("--node-id", "", "UUID of the hub that this operator is")
    flag("--dsn", "", "Postgres connection string")
    flag("--kubeconfig", "", "kubeconfig; without it the Pod's ServiceAccount")
    flag("--log-keys", "", "directory of C2SP signer keys")
    flag("--lease-seconds", "15", "duration of the leader Lease")
    flag("--http", "127.0.0.1:8080", "HOST:PORT of probes and metrics")
    flag("--checkpoint-seconds", "60", "longest time between checkpoints")
    flag("--publish", "", "directory or object store URL (s3://, gs://, az://) where the log is published")
    flag("--verify-at", "02:00", "HH:MM UTC from which the whole log is verified, each chain within the hour")
    flag("--retention-days", "90", "days that decided proposals and votes are kept")
    flag("--webhook", "", "http(s) URL that is told when votes are needed")
    flag("--webhook-key", "", "file of the keys that sign what --webhook is told, whsec_… or whsk_…, one a line")
    flag("--webhook-lead-seconds", "86400", "how long before its end a vote is reminded of")
    flag("--machine-key", "", "file of the Machine key that signs what node agents are given")
    flag("--agent-image", "", "image of the node agent; without it none is deployed")
    flag("--agent-profile", "observe", "observe (the agent touches nothing) or enforce")
    flag("--identity", "", "holder identity in the Lease")
    pins = env.get("QUORATE_PIN", "").replace(",", " ").split()
    archives = env.get("QUORATE_ARCHIVES", "").replace(",", " ").split()
    parser.add_argument(
        "--archives", action="append", default=archives, help="name=DIR of an archive, repeatable (QUORATE_ARCHIVES)"
    )
    variables = env.get("QUORATE_AGENT_ENV", "").split()
    parser.add_argument(
        "--agent-env", action="append", default=variables, help="NAME=VALUE, repeatable (QUORATE_AGENT_ENV)"
    )
    parser.add_argument("--pin", action="append", default=pins, help="meshId/name=digest, repeatable (QUORATE_PIN)")
    return parser


def parse(argv: Sequence[str], env: Mapping[str, str]) -> Config:
    """Configuration from the command line and the environment.

    Raises:
        ConfigError: a value is missing or cannot be used.
    """
    args = _parser(env).parse_args(argv)
    if not _UUID.fullmatch(args.node_id):
        raise ConfigError(f"--node-id {args.node_id!r}: must be a lower-case UUID")
    if args.agent_profile not in PROFILES:
        raise ConfigError(f"--agent-profile {args.agent_profile!r}: must be one of {', '.join(PROFILES)}")
    if not args.dsn:
        raise ConfigError("--dsn: a Postgres connection string is required")
    return Config(
        node_id=args.node_id,
        dsn=args.dsn,
        kubeconfig=Path(args.kubeconfig) if args.kubeconfig else None,
        pins=_pins(args.pin),
        log_keys=Path(args.log_keys) if args.log_keys else None,
        lease_seconds=_number("--lease-seconds", args.lease_seconds, 1),
        http=_address(args.http),
        publish=args.publish,
        checkpoint_seconds=int(_number("--checkpoint-seconds", args.checkpoint_seconds, 1)),
        verify_at=_time_of_day("--verify-at", args.verify_at),
        archives=_archives(args.archives),
        retention_days=int(_number("--retention-days", args.retention_days, 1)),
        machine_key=Path(args.machine_key) if args.machine_key else None,
        agent_image=args.agent_image,
        agent_profile=args.agent_profile,
        agent_env=_variables(args.agent_env),
        identity=args.identity,
        webhook=_webhook(args.webhook, args.webhook_key),
        webhook_key=Path(args.webhook_key) if args.webhook_key else None,
        webhook_lead_seconds=int(_number("--webhook-lead-seconds", args.webhook_lead_seconds, 1)),
    )
